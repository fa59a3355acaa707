# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh disable=SC2016
# Ways of user space to a shootdown, in guests of both of Debian's kernels: each
# is flushed once an operation, and its oracle finds nothing. pkey_mprotect needs
# a processor with protection keys, which the emulated one is.
. "${srcdir:-.}/tests/guest/guest.sh"
need_guests 6.1 6.12

measured='$cell.role = "measured" and not $cell.floor'

# measures NAME KERNEL ARGUMENT...: into a new store.
measures() {
	name=$1
	version=$2
	shift 2
	rm -f "$TLBMARK_STORE"*
	boots "$name" "$version" -- run --quick --repeat 1 --ops 30 --quiet \
		--no-plots "$@"
	is "$name: every run ends well" 0 "$(of_records 'count(*)' '$status != "ok"')"
	is "$name: none finds a stale translation" '0|1' "$(of_records \
		'sum($verify.violations), min($verify.checks > 50)' "$measured")"
	# An operation during which a responder's CPU is taken away may do without.
	is "$name: each operation flushes the responder" 1 "$(of_records \
		'min($probe.flush.remote_shootdown.in > 0.9 * $counts.ops)' "$measured")"
}

for version in 6.1 6.12; do
	measures "$version" "$version" brk madvise_cold madvise_remove pkey_mprotect punch_hole \
		shmdt truncate
	is "$version: all of them ran" 7 "$(of_records 'count(*)' "$measured")"
	measures "$version, a shared page table" "$version" hugetlb_unshare \
		--how munmap,mprotect,mremap --users 1,2 --pages 8
	is "$version: taken away in all ways" 6 "$(of_records 'count(*)' "$measured")"
	measures "$version, from another process" "$version" process_madvise --caller other \
		--advice cold,pageout,collapse --pages 2 --ranges 2
	is "$version: each of the ranges is flushed" '3|1' "$(of_records \
		'count(*), min($probe.flush.remote_shootdown.in > 1.8 * $counts.ops)' "$measured")"
done
finish
