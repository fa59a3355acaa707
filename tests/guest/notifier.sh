# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh disable=SC2016
# mmu_notifiers, on both kernels: how often each kind is told of an operation, of
# how many pages, that it is in time, and what the table makes of them.
. "${srcdir:-.}/tests/guest/guest.sh"
need_guests 6.1 6.12

start='$counters.callbacks_start'
end='$counters.callbacks_end'
secondary='$counters.callbacks_secondary'
count='$cell.parameters.count'
pages='$cell.parameters.pages'
ops='$counts.ops'

# of_ours EXPRESSION WHERE: of the records that are no floor's.
of_ours() {
	of_records "$1" "\$cell.workload = 'notifier' and ($2)"
}

# none NAME WHERE: no record for which it holds.
none() {
	is "$1" "" "$(of_ours "\$cell.label || ' ' || \$counters || ' ' || \$verify" "$2")"
}

# kind KINDS: the records of these.
kind() {
	echo "\$cell.parameters.kind in ($1)"
}

for kernel in 6.1 6.12; do
	# Before 6.6 the end of the range told of the flush once more; from then on
	# the processor's ceiling, 33 pages, is that of secondary TLBs as well.
	flushes=1
	full="$secondary * ($pages = 34)"
	if [ "$kernel" = 6.1 ]; then
		flushes=2
		full=0
	fi
	rm -f "$TLBMARK_STORE"*
	boots "$kernel: all kinds, beyond the ceiling" "$kernel" --cpus 2 -- \
		run notifier --ops 100 --repeat 1 --responders 0 --probe none --no-plots --quiet \
		--kind all --count 0,1,8 --pages 34
	boots "$kernel: the other operations, below it" "$kernel" --cpus 2 -- \
		run notifier --ops 60 --repeat 6 --responders 0 --probe none --no-plots --quiet \
		--op mprotect,madvise_dontneed --kind both --count 0,2 --pages 33
	is "$kernel: a record each" 36 "$(of_ours 'count(*)' "\$status = 'ok' and $ops >= 60")"
	none "$kernel: told of the range once before and once after, each notifier" \
		"$(kind "'range', 'both'") and ($start != $ops * $count or $end != $start)"
	none "$kernel: told of the pages that change, and no others" \
		"\$counters.range_pages != $start * $pages"
	none "$kernel: told of the flush $flushes times" \
		"$(kind "'secondary', 'both'") and $secondary != $ops * $count * $flushes"
	none "$kernel: of its pages, or of all" "\$counters.secondary_full != $full or
		\$counters.secondary_pages != ($secondary - $full) * $pages"
	none "$kernel: not told what it does not implement" \
		"($(kind "'empty', 'secondary'") and $start + $end != 0) or
		($(kind "'empty', 'range'") and $secondary != 0)"
	is "$kernel: the oracle looked at each" 16 "$(of_ours 'count(*)' '$verify.checks >= 32')"
	none "$kernel: all were told in time" '$verify.violations != 0'
	# shellcheck disable=SC2154 # set in tap.sh
	"$tlbmark" show >"$tmp/table"
	is "$kernel: the table compares with count=0, with an interval" 2 \
		"$(grep -cE 'vs count=0: [+-][0-9.]+ (ns|us|ms) \[' "$tmp/table")"
	# Their counts differ by operation: what is asked is the TLBs that they keep.
	boots "$kernel: operations by other paths" "$kernel" --cpus 2 -- \
		run notifier --ops 2 --repeat 1 --responders 0 --probe none --no-plots --quiet \
		--op mremap,cow,punch_hole,collapse,pageout --kind both --count 1 --pages 8
	is "$kernel: the TLBs of both kinds forgot what changed" 5 "$(of_ours 'count(*)' \
		"\$cell.parameters.pages = 8 and \$verify.checks >= 2 * 8 * 2 and \$verify.violations = 0")"
done
finish
