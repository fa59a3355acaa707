# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh disable=SC2016
# DMA behind an emulated IOMMU, on both kernels: what an unmap invalidates in each
# mode, that data arrives, and until when a device can write to what was unmapped.
. "${srcdir:-.}/tests/guest/guest.sh"
need_guests 6.1 6.12

# of WORKLOAD MODE EXPRESSION: of the one record of that cell.
of() {
	of_records "$3" "\$cell.workload = '$1' and \$cell.parameters.mode = '$2'"
}

# holds NAME WORKLOAD MODE CONDITION
holds() {
	if [ "$(of "$2" "$3" "$4")" = 1 ]; then
		ok "$1"
	else
		not_ok "$1" "not so: $4" "$(of "$2" "$3" \
			"\$status || ' ' || \$why || ' ' || \$counters || ' ' || \$verify")"
	fi
}

unmaps='$counters.unmaps_watched'
invalidations='$counters.iotlb_invalidations'
landed='$counters.landed'
blocked='$counters.blocked'
# A write that was over before its unmap had returned is early, blocked in the middle of that or not.
faults='$counters.fault_interrupts between $counters.blocked and $counters.blocked + $counters.early'
no_violation='$verify.checks > 0 and $verify.violations = 0'

for kernel in 6.1 6.12; do
	rm -f "$TLBMARK_STORE"*
	boots "$kernel: all modes in one boot" "$kernel" --cpus 2 --iommu strict -- \
		run --ops 2000 --duration 2s --repeat 1 --responders 0 --probe none --no-plots --quiet \
		--mode strict,lazy,passthrough --lead 30000 dma dma_window
	is "$kernel: and each has its record" 6 "$(of_records 'count(*)' \
		"\$cell.workload like 'dma%' and \$status = 'ok'")"
	holds "$kernel, strict: an invalidation an unmap" dma strict \
		"$unmaps >= 2000 and $invalidations = $unmaps"
	holds "$kernel, lazy: under one in a hundred, but some" dma lazy \
		"$unmaps >= 2000 and $invalidations between 1 and $unmaps / 100"
	holds "$kernel, passthrough: none" dma passthrough \
		"$unmaps >= 2000 and $invalidations = 0"
	# Four transfers there and back, in strict mode the invalidations, and five of these.
	for mode in "strict 6" "lazy 5"; do
		holds "$kernel, ${mode% *}: an address that is given again means what it is mapped to" \
			dma "${mode% *}" "\$verify.checks > ${mode#* } and $no_violation"
	done
	for mode in strict lazy passthrough; do
		holds "$kernel, $mode: the data is right" dma $mode "$no_violation"
		holds "$kernel, $mode: the device writes when it may, only" dma_window $mode \
			"$no_violation"
	done
	holds "$kernel, strict: nothing lands after the unmap" dma_window strict \
		"$landed = 0 and $blocked > 0"
	holds "$kernel, strict: each write that does not is a fault" dma_window strict \
		"$faults and \$counters.blocked_watched = $blocked"
	holds "$kernel, lazy: some land, some are too late" dma_window lazy \
		"$landed > 0 and $blocked > 0 and $faults"
	holds "$kernel, lazy: the record has the window" dma_window lazy \
		"\$metrics.stale.count = $landed and \$metrics.gone.count = $blocked and
		\$metrics.stale.min_ns < \$metrics.gone.max_ns"
	holds "$kernel, passthrough: all land" dma_window passthrough \
		"$landed > 0 and $blocked = 0 and \$counters.fault_interrupts = 0"
done
finish
