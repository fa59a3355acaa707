# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# For tests that boot guests; sourced in place of tap.sh. What guests measure is
# in the store $TLBMARK_STORE, a new one for each test.
. "${srcdir:-.}/tests/tap.sh"

TLBMARK_STORE=$tmp/records.db
export TLBMARK_STORE

# Ends the test where no guest can be booted, or one of the kernels is not to be had.
# need_guests KERNEL...
need_guests() {
	command -v qemu-system-x86_64 >/dev/null ||
		skip_all "no QEMU: install qemu-system-x86"
	command -v sqlite3 >/dev/null || skip_all "no sqlite3: install sqlite3"
	for needed in "$@"; do
		need_status=0
		"$tlbmark" lab modules --kernel "$needed" >"$tmp/lab.out" 2>&1 || need_status=$?
		case $need_status in
		0) ;;
		# "Cannot": no network, no space, a tool that is not installed.
		3) skip_all "no kernel $needed: $(tail -n 1 "$tmp/lab.out")" ;;
		*)
			not_ok "the modules for $needed" "$(tail -n 20 "$tmp/lab.out")"
			finish
			;;
		esac
	done
}

# build_kernel CONFIGURATION [SERIES...]: $kernel is then a kernel of
# kernels/configs, with those patches. Ends the test where it cannot be built here.
build_kernel() {
	build_status=0
	build_config=$1
	shift
	# shellcheck disable=SC2154 # set in tap.sh
	built=$(LAB_CONFIG=$build_config sh "$top_srcdir/kernels/lab/build" "$@" 2>"$tmp/build.out") ||
		build_status=$?
	# shellcheck disable=SC2034 # kernel is for the tests
	case $build_status in
	0) kernel=$built/vmlinuz ;;
	3) skip_all "no kernel to be built: $(tail -n 1 "$tmp/build.out")" ;;
	*)
		not_ok "a kernel of $build_config${*:+ with $*}" "$(tail -n 20 "$tmp/build.out")"
		finish
		;;
	esac
}

# boots NAME KERNEL [OPTION...] -- COMMAND...: the guest's command ends with
# status 0, and its kernel complains of nothing.
boots() {
	boots_name=$1
	boots_kernel=$2
	shift 2
	passes "$boots_name" "$tlbmark" lab run --kernel "$boots_kernel" "$@"
}

# of_records EXPRESSION WHERE: an SQL expression over the records, where $.a.b.c
# stands for a member of one.
of_records() {
	sqlite3 "$TLBMARK_STORE" "$(printf 'select %s from records where %s' "$1" "$2" |
		sed "s/\\\$\\([a-z0-9_.]*\\)/json_extract(json, '\$.\\1')/g")"
}
