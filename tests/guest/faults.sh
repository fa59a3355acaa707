# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# A kernel that forgets a flush is found, by the path that it is forgotten in; and
# the same kernel, when it forgets none, is not. docs/faults.md says what each
# fault is. kernels/lab/build makes the kernel, in six minutes of CPU time unless
# the cache has it.
. "${srcdir:-.}/tests/guest/guest.sh"
# shellcheck disable=SC2119 # no kernel of Debian's
need_guests
build_kernel guest faults

iommu=none
nodes=1

# stress FAULT OPTION...: in a guest that has it, with the IOMMU that $iommu says. What
# it prints on standard error would come in between: from the guest they are two streams.
# shellcheck disable=SC2317 # `exits` calls it
stress() {
	fault=$1
	shift
	# shellcheck disable=SC2154 # set in build_kernel and in tap.sh
	"$tlbmark" lab run --kernel "$kernel" --build-tree "${kernel%/*}/build" --cpus 4 --nodes "$nodes" --iommu "$iommu" \
		--append "tlbmark_fault=$fault" --timeout 5m -- stress --quiet --seed 1 "$@" 2>"$tmp/stress.err"
}

# finds FAULT WORKLOADS OPTION...: one of these is the path that the violation names.
finds() {
	fault_name=$1
	paths=$2
	shift 2
	exits "$fault_name: found" 1 stress "$fault_name" --duration 60s --until-violation "$@"
	# shellcheck disable=SC2154 # set in tap.sh
	found=$(sed -n 's/^.* stale translations\{0,1\} seen, the first after .* s in \([a-z_]*\).*/\1/p' "$tmp/tap.out")
	case " $paths " in
	*" ${found:-none} "*) ok "$fault_name: in $found" ;;
	*) not_ok "$fault_name: in one of $paths" "found in: $found" "$(tail -n 20 "$tmp/tap.out" "$tmp/stress.err")" ;;
	esac
	sed -n 's/^tlbmark: \(stale .*\)/# \1/p' "$tmp/stress.err" | cut -c1-200
}

# traced FAULT: and what the kernel traced before it was told beside it.
traced() {
	if grep -Eq '^ +-[0-9]+ ticks  CPU [0-9]+  .*  (tlb_flush|csd_[a-z_]+|ipi_[a-z_]+): ' "$tmp/stress.err"; then
		ok "$1: with the kernel's trace"
	else
		not_ok "$1: with the kernel's trace" "$(tail -n 20 "$tmp/stress.err")"
	fi
}

exits 'none: nothing is found' 0 stress none --duration 20s
# However slow the machine: no workload goes without a turn while the storm has its time.
if awk '$1 == "storm" { storm = $3 } /^not reached/ { missed = 1 } END { exit !storm || (missed && storm > 3) }' "$tmp/tap.out"; then
	ok 'each workload has a turn before the storm has most of the time'
else
	not_ok 'each workload has a turn before the storm has most of the time' "$(cat "$tmp/tap.out")"
fi
finds cow cow --workloads cow
finds fork fork --workloads fork
finds mprotect 'mprotect pkey_mprotect' --workloads mprotect,pkey_mprotect
traced mprotect
finds mremap mremap --workloads mremap
finds collapse 'gup_race madvise_collapse' --workloads gup_race,madvise_collapse
finds clear-refs clear_refs --workloads clear_refs
finds collapse-file madvise_collapse --workloads madvise_collapse
finds uffd-move-thp uffd_move --workloads uffd_move
finds pagemap-hugetlb pagemap_scan --workloads pagemap_scan
finds hugetlb-unshare hugetlb_unshare --workloads hugetlb_unshare
finds uprobe uprobe --workloads uprobe
finds batched compact --workloads compact
finds gather 'brk exit fork hugetlb_unshare madvise_collapse madvise_dontneed madvise_free madvise_remove many mprotect munmap mremap pkey_mprotect punch_hole reclaim shmdt storm truncate uffd_wp'
finds random storm --workloads storm
finds kernel-remote 'vmap vm_unmap_aliases' --workloads vmap,vm_unmap_aliases
finds set-memory set_memory --workloads set_memory
finds reset-perms set_memory --workloads set_memory
finds batched-pending reclaim_race --workloads reclaim_race
finds nested zap_race --workloads zap_race
finds secondary notifier --workloads notifier
finds mremap-thp mremap --workloads mremap
finds ksm-protect ksm --workloads ksm
nodes=2
finds numa-hint numa_hint --workloads numa_hint
finds thp-migrate migrate --workloads migrate
iommu=strict
finds iotlb 'dma dma_window' --workloads dma,dma_window
iommu=lazy
exits 'none: nothing is found behind a flush queue' 0 stress none --duration 10s --workloads dma,dma_window
finds fq-early dma --workloads dma
finish
