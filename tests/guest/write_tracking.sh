# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh disable=SC2016
# uffd_wp, uffd_move, clear_refs and pagemap_scan, on both kernels: each flushes
# as often as its comment says, no store is missed, and what the kernel is too old
# for is left out with the version that has it.
. "${srcdir:-.}/tests/guest/guest.sh"
need_guests 6.1 6.12

# left_out WORKLOAD VERSION: in the output of the last boot
left_out() {
	if grep "$1 cannot run here: .*(Linux $2)" "$tmp/tap.out" >/dev/null; then
		ok "$kernel: $1 is left out for want of Linux $2"
	else
		not_ok "$kernel: $1 is left out for want of Linux $2" "$(cat "$tmp/tap.out")"
	fi
}

# measure OPTION...: a few operations beside one responder
# shellcheck disable=SC2317 # `passes` calls it
measure() {
	"$tlbmark" lab run --kernel "$kernel" --cpus 2 --modules none -- \
		run --ops 30 --repeat 1 --responders 1 --no-plots --quiet "$@"
}

# told WORKLOAD PARAMETERS: remote flushes an operation, by the kernel's own count,
# to the nearest: a busy machine keeps one or the other from the responder
told() {
	is "$kernel: $1 $2 flushes $3 times" "$3" "$(of_records \
		'cast(round(1.0 * $probe.flush.remote_shootdown.in / $counts.ops) as integer)' \
		"\$cell.role = 'measured' and \$cell.responders = 1 and \$cell.label like '$1 %$2%'")"
}

for kernel in 6.1 6.12; do
	rm -f "$TLBMARK_STORE"*
	passes "$kernel: base pages" measure --pages 8 uffd_wp clear_refs \
		--clear soft-dirty,referenced --backing anon
	told uffd_wp kind=4k 1
	told clear_refs clear=soft-dirty 1
	told clear_refs clear=referenced 0
	if [ "$kernel" = 6.1 ]; then
		exits "$kernel: uffd_move cannot run" 3 measure uffd_move
		left_out uffd_move 6.8
		exits "$kernel: pagemap_scan cannot run" 3 measure pagemap_scan
		left_out pagemap_scan 6.7
	else
		passes "$kernel: base pages, since 6.7" measure --pages 8 uffd_move pagemap_scan \
			--backing anon,shared --report written,nothing
		told uffd_move kind=4k 8
		told pagemap_scan 'backing=anon report=written' 1
		told pagemap_scan 'backing=anon report=nothing' 1
		told pagemap_scan 'backing=shared report=written' 1
		passes "$kernel: huge pages" measure --pages 2 --kind thp --backing anon \
			uffd_move pagemap_scan clear_refs uffd_wp
		told uffd_move kind=thp 2
		told pagemap_scan kind=thp 2
		told clear_refs kind=thp 3
		told uffd_wp kind=thp 1
	fi
	is "$kernel: every run ends well" 0 "$(of_records 'count(*)' '$status != "ok"')"
	is "$kernel: each is checked, and no store is missed" '1|0' "$(of_records \
		'min($verify.checks > 0), sum($verify.violations)' \
		"\$cell.role = 'measured' and not \$cell.floor")"
done
finish
