# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh disable=SC2016
# Kernel addresses on both kernels: what is flushed, by which function and how
# often; that nothing stale is read after a flush, and that it is before.
. "${srcdir:-.}/tests/guest/guest.sh"
need_guests 6.1 6.12

# holds NAME WORKLOAD WHERE CONDITION: of the one record of that cell.
holds() {
	holds_where="\$cell.workload = '$2' and \$cell.role = 'measured' and $3"
	if [ "$(of_records "coalesce($4, 0)" "$holds_where")" = 1 ]; then
		ok "$1"
	else
		not_ok "$1" "not so: $4" "$(of_records "\$status || ' ' || \$why || ' ' ||
			\$counts || ' ' || \$derived || ' ' || \$probe.functions || ' ' ||
			coalesce(\$counters, '') || ' ' || coalesce(\$verify, '')" "$holds_where")"
	fi
}

# Calls of a function on the responder, inside the operations.
range='coalesce($probe.functions.do_kernel_range_flush.in, 0)'
full='coalesce($probe.functions.do_flush_tlb_all.in, 0)'
attribute='coalesce($probe.functions.__cpa_flush_tlb.in, 0)'
clean='$verify.checks > 0 and $verify.violations = 0'
size='$cell.parameters.pages'
vmap="\$cell.parameters.how = 'vmap'"
# The stack of a thread that ended lies in an area like any other, and is flushed
# with the next purge: a small range by itself, a full flush with another far away.
others=4
predicted='$derived.kernel_flushes_per_op / $derived.kernel_flushes_per_op_predicted'

for kernel in 6.1 6.12; do
	rm -f "$TLBMARK_STORE"*
	# The responder sleeps, and is flushed all the same: two CPUs that spin would
	# take turns on a busy host, and this is long.
	boots "$kernel: lazy" "$kernel" -- run --ops 40000 --repeat 3 --responders 1 --state idle \
		--mode lazy --batch 1024 --no-plots --quiet vmap
	# Two of three: where the host takes the guest's CPU away, a purge comes late.
	is "$kernel, lazy: 40,000 purged as often as predicted, +-5%" 1 "$(of_records \
		"sum(\$counts.ops = 40000 and $predicted between 0.95 and 1.05) >= 2" \
		"\$cell.workload = 'vmap'")"

	# One that sleeps may find a call by itself when it wakes up: counts are exact
	# where it does not.
	rm -f "$TLBMARK_STORE"*
	boots "$kernel: eager" "$kernel" -- run --ops 200 --repeat 1 --responders 1 \
		--pages 32,33 --mode eager --how vmap,vm_map_ram,vmalloc --waiting 1000 --touch yes --to uc,wc \
		--no-plots --quiet alias_lifetime set_memory vm_unmap_aliases vmap
	holds "$kernel, eager: 32 pages by range, once an operation" vmap \
		"32 = $size and $vmap" "\$counts.ops = 200 and $range + $full = 200 and $full <= $others"
	holds "$kernel, eager: 33 pages fully, once an operation" vmap \
		"33 = $size and $vmap" "\$counts.ops = 200 and $full = 200 and $range = 0"
	is "$kernel: no CPU reads an area of any kind after its purge" 6 "$(of_records 'count(*)' \
		"\$cell.workload = 'vmap' and $clean")"
	holds "$kernel: most aliases are stale before vm_unmap_aliases, none after" \
		vm_unmap_aliases "32 = $size" "\$counters.loads_mapped = 200 * 60 and
		\$counters.loads_stale_before * 2 > \$counters.loads_mapped and
		\$counters.loads_stale_after = 0 and $clean"
	# It purges before it makes its own areas, too.
	holds "$kernel: and it flushes once, and fully" vm_unmap_aliases "32 = $size" \
		"$full between 200 and 200 + $others and $range <= $others"
	holds "$kernel: an alias lives until the purge" alias_lifetime "32 = $size" \
		"\$counts.ops = 200 and \$counters.evicted * 2 < 200 and
		\$counters.unmaps > 497 and \$metrics.life.count = 200 and
		\$counts.deliveries_expected = 0 and \$metrics.op.p50_ns > 100000"
	for to in uc wc; do
		times=2
		[ $to = uc ] || times=3
		holds "$kernel: set_memory_$to and _wb flush $times times" set_memory \
			"32 = $size and \$cell.parameters.to = '$to'" \
			"$attribute + $full between $times * 200 and $times * 200 + $others"
		holds "$kernel: who may write is known everywhere after set_memory_ro, for $to" set_memory \
			"32 = $size and \$cell.parameters.to = '$to'" "$clean"
	done
	rm -f "$TLBMARK_STORE"*
	boots "$kernel: the shootdown alone" "$kernel" -- run --ops 200 --repeat 1 --responders 1 \
		--mode eager --timed flush,shootdown --no-plots --quiet vmap
	is "$kernel: it holds every flush, as the call around it does" 1 "$(of_records \
		"count(*) = 2 and min($range + $full) = 200 and max($range + $full) <= 200 + $others and
		max($full) <= $others" "\$cell.workload = 'vmap'")"
	# Which of the two is longer is a matter of instructions: medians of times
	# change places where something else keeps the machine busy.
	rm -f "$TLBMARK_STORE"*
	boots "$kernel: the shootdown alone, in instructions" "$kernel" --deterministic -- run --ops 40 --repeat 1 \
		--responders 1 --mode eager --timed flush,shootdown --no-plots --quiet vmap
	is "$kernel: it is shorter than the call around it" 1 "$(of_records \
		"count(*) = 2 and min(\$metrics.op.p50_ns) > 0 and sum(\$metrics.op.p50_ns *
		iif(\$cell.parameters.timed = 'flush', 1, -1)) > 0" "\$cell.workload = 'vmap'")"
done
finish
