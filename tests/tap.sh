# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh disable=SC2034
# TAP for the system tests. A test sources this, calls ok / not_ok / is / skip
# any number of times and ends with `finish`. In a test, $top_srcdir is the
# source, $top_builddir the build (both absolute), $tmp an empty folder of its
# own that is removed at the end, and $tlbmark the program under test,
# $python3 a Python.

tap_count=0
top_srcdir=$(CDPATH='' cd -- "${srcdir:-.}" && pwd)
top_builddir=$(pwd)
tlbmark=$top_builddir/tlbmark
# The system's own comes first: its modules are what quickstart installs.
python3=/usr/bin/python3
[ -x "$python3" ] || python3=python3
tmp=$(mktemp -d "${TMPDIR:-/tmp}/tlbmark-test.XXXXXX") || exit 99
TLBMARK_TEST_MARK=$tmp # by which what is started here is known
export TLBMARK_TEST_MARK
trap 'rm -rf "$tmp"' EXIT
trap 'exit 99' HUP INT TERM

ok() {
	tap_count=$((tap_count + 1))
	echo "ok $tap_count - $1"
}

# not_ok NAME [WHY...]
not_ok() {
	tap_count=$((tap_count + 1))
	echo "not ok $tap_count - $1"
	shift
	[ $# -eq 0 ] || printf '%s\n' "$*" | sed 's/^/# /'
}

# skip NAME REASON: it cannot be tried here.
skip() {
	tap_count=$((tap_count + 1))
	echo "ok $tap_count # SKIP $1: $2"
}

# is NAME EXPECTED ACTUAL
is() {
	if [ "$2" = "$3" ]; then
		ok "$1"
	else
		not_ok "$1" "expected: $2" "got: $3"
	fi
}

# passes NAME COMMAND...: status 0; what it printed is shown when it is not.
passes() {
	tap_name=$1
	shift
	if "$@" >"$tmp/tap.out" 2>&1; then
		ok "$tap_name"
	else
		not_ok "$tap_name" "$* returned $?:" "$(cat "$tmp/tap.out")"
	fi
}

# exits NAME STATUS COMMAND...
exits() {
	tap_name=$1
	tap_want=$2
	shift 2
	tap_got=0
	"$@" >"$tmp/tap.out" 2>&1 || tap_got=$?
	if [ "$tap_got" -eq "$tap_want" ]; then
		ok "$tap_name"
	else
		not_ok "$tap_name" "$* returned $tap_got, not $tap_want:" "$(cat "$tmp/tap.out")"
	fi
}

# Processes that this test started, with their names; the dead that nobody reaped have
# no environment.
processes() {
	env -u TLBMARK_TEST_MARK grep -lsF "TLBMARK_TEST_MARK=$tmp" /proc/[0-9]*/environ |
		while IFS=/ read -r _ _ tap_pid _; do
			echo "$tap_pid $(cat "/proc/$tap_pid/comm" 2>/dev/null)"
		done
}

# no_process NAME: after five seconds at most, none of them is left.
no_process() {
	tap_waited=0
	while [ -n "$(processes)" ] && [ $tap_waited -lt 50 ]; do
		sleep 0.1
		tap_waited=$((tap_waited + 1))
	done
	is "$1: no process is left" '' "$(processes)"
}

# skip_all REASON: nothing in this file can be tried here; does not return.
skip_all() {
	echo "1..0 # SKIP $1"
	exit 0
}

finish() {
	echo "1..$tap_count"
	exit 0
}
