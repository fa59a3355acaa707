# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# Bad input and machines that can't: one clear line, a status that says which,
# nothing on stdout, nothing lost.
. "${srcdir:-.}/tests/tap.sh"

TLBMARK_STORE=$tmp/records.db
export TLBMARK_STORE
unset XDG_DATA_HOME
cpus=$(nproc)
uid=$(id -u)

# refuses NAME STATUS PATTERN COMMAND...
refuses() {
	name=$1
	want=$2
	pattern=$3
	shift 3
	got=0
	"$@" >"$tmp/out" 2>"$tmp/err" </dev/null || got=$?
	if [ "$got" -ne "$want" ]; then
		not_ok "$name" "$* returned $got, not $want:" "$(cat "$tmp/err")"
	elif [ -s "$tmp/out" ]; then
		not_ok "$name" "printed on stdout:" "$(cat "$tmp/out")"
	elif [ "$(wc -l <"$tmp/err")" -ne 1 ]; then
		not_ok "$name" "not one line:" "$(cat "$tmp/err")"
	elif ! grep -q -e "$pattern" "$tmp/err"; then
		not_ok "$name" "no '$pattern' in:" "$(cat "$tmp/err")"
	else
		ok "$name"
	fi
}

run="$tlbmark run --quiet --no-plots"
short="--ops 5 --repeat 1 --no-verify"

# shellcheck disable=SC2086 # the words of $run and $short are meant
input() {
	name=$1
	pattern=$2
	shift 2
	refuses "$name" 2 "$pattern" $run "$@"
}

refuses 'unknown command' 2 "unknown command 'rum'" "$tlbmark" rum
input 'unknown workload' "unknown workload 'mumap'" mumap
input 'unknown option' "unknown option '--colour=red'" --colour=red
input 'missing value' "missing after '--pages'" munmap --pages
input 'range backwards' 'runs backwards' munmap --pages 34..32
input 'not a number' 'missing in' munmap --pages many
input 'out of range' 'outside of' munmap --pages 0
input 'unknown choice' 'is none of' munmap --kind 3k
input 'parameter of another workload' 'is no parameter of' mprotect --threads 1
input '0 CPUs' '--initiators 0' munmap --initiators 0
input 'more responders than CPUs' '--responders' munmap --responders "$cpus"
input 'huge number of responders' '--responders' munmap --responders 99999999999999999999
input 'unknown state' "'asleep' is none of" munmap --state asleep
input 'unknown distance' "'far' is none of" munmap --distance far
input 'no such initiator CPU' 'initiator-cpu' munmap --initiator-cpu 4096
input 'no such node' '--memory-node\|node' munmap --memory-node 1000
input 'no unit' 'with a unit' munmap --duration 5
input 'endless duration' 'to 24h' munmap --duration 1000h
input 'no operations' 'whole number' munmap --ops 0
input 'more repeats than an interval takes' 'from 1 to 256' munmap --repeat 257
input 'bad seed' 'whole number' munmap --seed x
input 'bad probe' 'none of auto' munmap --probe magic
input 'both formats' 'do not go together' munmap --json --csv
input 'both sizes' 'do not go together' munmap --quick --full
input 'unknown load' 'nonsense' null --ops 1 --background nonsense
refuses 'no store yet' 3 'no store there' "$tlbmark" show last
refuses 'list of an unknown workload' 2 "unknown workload" "$tlbmark" list mumap

is 'no store was made by any of these' '' "$(find "$tmp" -name 'records*')"

# One CPU only: a shootdown needs two.
# shellcheck disable=SC2086
refuses 'one CPU' 3 'only one CPU' taskset -c "$(taskset -pc $$ | sed 's/.*: //; s/[-,].*//')" \
	$run munmap $short

# Stores that can't be used. Each keeps what is there.
head -c 4096 /dev/urandom >"$tmp/corrupt.db"
before=$(cksum <"$tmp/corrupt.db")
# shellcheck disable=SC2086
refuses 'corrupt store' 3 "$tmp/corrupt.db" $run null $short --store "$tmp/corrupt.db"
is 'the corrupt store is left alone' "$before" "$(cksum <"$tmp/corrupt.db")"
mkdir "$tmp/folder.db"
# shellcheck disable=SC2086
refuses 'a folder for a store' 3 folder.db $run null $short --store "$tmp/folder.db"

if [ "$uid" -ne 0 ]; then
	skip 'disks' 'needs root to make them'
elif ! unshare -m true 2>/dev/null; then
	skip 'disks' 'no mounts of its own here (a chroot that is no mount point?)'
else
	# A read-only and a full disk, in a mount namespace of their own.
	cat >"$tmp/disks" <<'EOF'
set -e
mkdir -p "$1/ro" "$1/full"
mount -t tmpfs -o ro tmpfs "$1/ro"
mount -t tmpfs -o size=128k tmpfs "$1/full"
shift
exec "$@"
EOF
	# shellcheck disable=SC2086
	refuses 'read-only disk' 3 "$tmp/ro" unshare -m sh "$tmp/disks" "$tmp" \
		$run null $short --store "$tmp/ro/records.db"

	# A disk that fills up half-way: every record is in the store or spilled.
	got=0
	# shellcheck disable=SC2016
	TMPDIR=$tmp unshare -m sh "$tmp/disks" "$tmp" sh -c '
		"$1" run --quiet --no-plots --no-verify --ops 2000 --repeat 4 --responders 0 \
			--json --store "$2/full/records.db" null clock mprotect
		status=$?
		cp "$2"/full/records.db* "$2/" && exit $status' sh "$tlbmark" "$tmp" \
		>"$tmp/out" 2>"$tmp/err" || got=$?
	is 'full disk: status' 3 "$got"
	spilled=$(cat "$tmp"/tlbmark-spill-*.jsonl | wc -l)
	stored=$(sqlite3 "$tmp/records.db" 'select count(*) from records' 2>>"$tmp/err")
	planned=$("$tlbmark" run --dry-run --ops 2000 --repeat 4 --responders 0 null clock mprotect |
		sed -n '1s/.* rows, \([0-9]*\) runs.*/\1/p')
	if [ "$spilled" -gt 0 ] && [ "$((spilled + stored))" -eq "$planned" ]; then
		ok 'full disk: nothing is lost'
	else
		not_ok 'full disk: nothing is lost' \
			"$stored stored, $spilled spilled, $planned planned" "$(cat "$tmp/err")"
	fi
	rm -f "$tmp"/records.db*
	passes 'spilled records are taken in' "$tlbmark" show --import "$tmp"/tlbmark-spill-*.jsonl
	is 'all of them' "$spilled" "$(sqlite3 "$tmp/records.db" 'select count(*) from records')"
	refuses 'unknown record' 2 . "$tlbmark" show 0123456789abcdef
	rm -f "$tmp"/records.db*

fi

if [ "$uid" -eq 0 ]; then
	# Without privilege: measures by the gaps alone, and can't set knobs. A
	# copy, since the build may lie where only root can go.
	chmod 755 "$tmp"
	mkdir -m 777 "$tmp/nobody"
	cp "$tlbmark" "$tmp/tlbmark"
	run="$tmp/tlbmark run --quiet --no-plots"
	# shellcheck disable=SC2086
	refuses 'no privilege for a knob' 3 transparent_hugepage \
		setpriv --reuid 65534 --regid 65534 --clear-groups env TMPDIR="$tmp/nobody" \
		$run null $short --thp never --store "$tmp/nobody/records.db"
	# shellcheck disable=SC2086
	refuses 'no privilege for the probe' 3 bpf \
		setpriv --reuid 65534 --regid 65534 --clear-groups env TMPDIR="$tmp/nobody" \
		$run null $short --probe bpf --store "$tmp/nobody/records.db"
	# shellcheck disable=SC2086
	passes 'no privilege: the gaps still tell' \
		setpriv --reuid 65534 --regid 65534 --clear-groups env TMPDIR="$tmp/nobody" \
		$run null mprotect $short --store "$tmp/nobody/records.db"
	run="$tlbmark run --quiet --no-plots"
else
	skip 'privileges' 'needs root to give them up'
fi

if command -v strace >/dev/null 2>&1; then
	# shellcheck disable=SC2086
	strace -o /dev/null -e trace=none $run null $short >"$tmp/out" 2>"$tmp/err"
	is 'traced: status' 3 $?
	is 'traced: one line' 1 "$(grep -c 'traces this one' "$tmp/err")"
else
	skip 'traced' 'no strace here'
fi

# Not enough memory for what was asked.
# shellcheck disable=SC2086
refuses 'no memory' 3 . $run munmap --pages 4294967295 $short

finish
