# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh disable=SC2016
# The smallest kernel that starts a program on two CPUs: no /proc, no /sys, no
# futex, no madvise, no memory files, no log. Nothing may crash or hang there;
# what lacks something is left out with its name, the rest measures.
#
# kernels/lab/build makes it of kernels/configs/tiny, in two minutes of two CPUs
# unless the cache has it.
. "${srcdir:-.}/tests/guest/guest.sh"
# shellcheck disable=SC2119 # no kernel of Debian's
need_guests
build_kernel tiny

# Without ACPI a kernel finds one CPU a package.
# shellcheck disable=SC2317 # `passes` calls it
guest() {
	"$tlbmark" lab run --kernel "$kernel" --cpus 2 --sockets 2 --modules none --timeout 5m -- "$@"
}

passes 'doctor' guest doctor
passes 'a plan is made' guest run --dry-run --quick

# left_out WORKLOAD REASON: and the reason names what is missing.
left_out() {
	if grep "^left out: $1[: ]" "$tmp/tap.out" | grep -q "$2"; then
		ok "$1 is left out for want of $2"
	else
		not_ok "$1 is left out for want of $2" "$(grep "^left out: $1" "$tmp/tap.out")"
	fi
}

left_out clear_refs CONFIG_PROC_FS
left_out compact CONFIG_TRANSPARENT_HUGEPAGE
left_out exec_args CONFIG_PROC_FS
left_out hugetlb_unshare 'no hugetlb pages'
left_out kernel_vmalloc CONFIG_BPF_SYSCALL
left_out madvise_cold CONFIG_ADVISE_SYSCALLS
left_out madvise_collapse CONFIG_TRANSPARENT_HUGEPAGE
left_out madvise_dontneed CONFIG_ADVISE_SYSCALLS
left_out madvise_free CONFIG_ADVISE_SYSCALLS
left_out madvise_pageout CONFIG_ADVISE_SYSCALLS
left_out madvise_remove CONFIG_ADVISE_SYSCALLS
left_out many CONFIG_
left_out membarrier CONFIG_MEMBARRIER
left_out migrate CONFIG_NUMA
left_out pagemap_scan CONFIG_USERFAULTFD
left_out uffd_move CONFIG_USERFAULTFD
left_out uffd_wp CONFIG_USERFAULTFD
left_out numa_hint CONFIG_NUMA_BALANCING
left_out pkey_mprotect CONFIG_X86_INTEL_MEMORY_PROTECTION_KEYS
left_out process_madvise CONFIG_ADVISE_SYSCALLS
left_out punch_hole CONFIG_MEMFD_CREATE
left_out shmdt CONFIG_SYSVIPC
left_out storm CONFIG_ADVISE_SYSCALLS
left_out thp_split CONFIG_TRANSPARENT_HUGEPAGE
left_out truncate CONFIG_MEMFD_CREATE
left_out uprobe CONFIG_UPROBE_EVENTS
left_out writeback 'no directory on a disk'

passes 'everything that is left runs' guest run --quick --repeat 1 --ops 30 --quiet --no-plots
measured='$cell.role = "measured"'
is 'and ends well' 0 "$(of_records 'count(*)' '$status != "ok"')"
is 'these are measured' 'brk clock cow exit fork gup_race mprotect mremap munmap null' \
	"$(of_records 'distinct $cell.workload' "$measured order by 1" | xargs)"
is 'none finds a stale translation' '0|1' \
	"$(of_records 'sum($verify.violations), min($verify.checks > 0)' \
		"$measured and not \$cell.floor")"
# By the gaps alone; some responders are not there when an operation begins, and
# in the workloads that are not gated ("some") each may do without.
is 'responders are interrupted' 1 \
	"$(of_records 'min($counts.deliveries > 0 and ($cell.gate != "every" or
		$counts.deliveries * 2 > $counts.deliveries_expected))' \
		"$measured and \$cell.responders > 0")"
is 'the processor tells the distance' remote \
	"$(of_records 'distinct $cell.distance' "$measured and \$cell.responders > 0")"
finish
