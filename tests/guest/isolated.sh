# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# What interrupts a NOHZ_FULL CPU that runs user code, on both kernels: exact
# counts by function, and the same from the probe and from /proc/interrupts.
. "${srcdir:-.}/tests/guest/guest.sh"
need_guests 6.1 6.12

# of_ours EXPRESSION HAMMER: of the one record with that hammer, with its first responder's members.
of_ours() {
	sqlite3 "$TLBMARK_STORE" "select $1 from (select json,
		json_extract(json, '\$.responders[0]') as cpu, json_extract(json, '\$.status') as status
		from records where json_extract(json, '\$.cell.workload') = 'isolated' and
		json_extract(json, '\$.cell.parameters.hammer') = '$2')"
}

# calls NAME COLUMN: how often the isolated CPU ran that callback.
calls() {
	echo "coalesce(json_extract(cpu, '\$.functions.$1.$2'), 0)"
}

# both NAME: in operations and outside.
both() {
	echo "(coalesce(json_extract(cpu, '\$.$1.in'), 0) + coalesce(json_extract(cpu, '\$.$1.out'), 0))"
}

# line NAME: of /proc/interrupts.
line() {
	echo "json_extract(cpu, '\$.interrupts.$1')"
}

# between NAME LOW HIGH VALUE
between() {
	if [ "${4:-0}" -ge "$2" ] && [ "${4:-0}" -le "$3" ]; then
		ok "$1 ($4)"
	else
		not_ok "$1" "${4:-no figure} is not $2 to $3"
	fi
}

flushes="$(calls do_kernel_range_flush in) + $(calls do_flush_tlb_all in)"
cpa="$(calls __cpa_flush_tlb in) + $(calls __cpa_flush_all in)"
user="$(both functions.flush_tlb_func)"
hammers='none munmap vmap-eager set-memory vmap-lazy'

for kernel in 6.1 6.12; do
	rm -f "$TLBMARK_STORE"*
	boots "$kernel: exact ones" "$kernel" --cpus 3 --isolated 1 -- \
		run isolated --hammer none,munmap,vmap-eager,set-memory --ops 200 --repeat 1 \
		--no-plots --quiet
	boots "$kernel: lazily" "$kernel" --cpus 3 --isolated 1 -- \
		run isolated --hammer vmap-lazy --ops 20000 --repeat 1 --no-plots --quiet
	for hammer in $hammers; do
		is "$kernel: $hammer: on the isolated CPU, by user code, without a page fault" "1 ok 0" \
			"$(of_ours "json_extract(cpu, '\$.cpu') || ' ' || status || ' ' ||
				json_extract(cpu, '\$.page_faults')" "$hammer")"
		is "$kernel: $hammer: function calls by the probe and /proc/interrupts agree" 1 \
			"$(of_ours "abs($(both handlers) - $(line function_call)) <= 2" "$hammer")"
		is "$kernel: $hammer: so do timer ticks" 1 \
			"$(of_ours "abs($(both causes.timer) - $(line timer)) <= 2" "$hammer")"
	done
	for hammer in none munmap; do
		is "$kernel: $hammer: no flush comes to that CPU" 0 \
			"$(of_ours "$flushes + $cpa + $user" "$hammer")"
	done
	is "$kernel: vmap-eager: one flush an operation" 200 "$(of_ours "$flushes" vmap-eager)"
	is "$kernel: set-memory: two" 400 "$(of_ours "$cpa" set-memory)"
	# 64 MiB wait on 3 CPUs, 17 pages an area: one flush in 964, or somewhat
	# fewer, since a worker purges: later, where the machine is busy.
	between "$kernel: vmap-lazy: few flushes" 5 25 \
		"$(of_ours "$flushes + $(calls do_kernel_range_flush out) +
			$(calls do_flush_tlb_all out)" vmap-lazy)"
	"$tlbmark" show >"$tmp/table"
	passes "$kernel: the table tells" grep -q 'interrupts an operation and isolated CPU' "$tmp/table"
done
finish
