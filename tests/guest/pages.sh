# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh disable=SC2016
# What the kernel does with pages by itself, on the oldest and the newest
# kernel: written out to a disk, reclaimed to swap and from a file, merged,
# split, pinned while their page tables go, moved together, and taken away to see
# from which node they are wanted. Each flushes, and loses nothing.
. "${srcdir:-.}/tests/guest/guest.sh"
need_guests 6.1 6.12

quick='run --quick --repeat 1 --ops 30 --quiet --no-plots'
measured='$cell.role = "measured" and not $cell.floor'

# behaves NAME SHAPE ARGUMENT...: in a guest of $series with a new store, all of
# it runs, checks a lot, finds nothing, and interrupts the responders.
behaves() {
	name="$series: $1"
	shape=$2
	shift 2
	rm -f "$TLBMARK_STORE"*
	# shellcheck disable=SC2086 # words are meant
	boots "$name" "$series" $shape -- $quick "$@"
	is "$name: every run ends well" 0 "$(of_records 'count(*)' '$status != "ok"')"
	is "$name: nothing is lost or stale" '1|0' "$(of_records \
		'min($verify.checks) > 30, sum($verify.violations)' "$measured")"
	is "$name: responders are interrupted" 1 "$(of_records \
		'min($derived.ipis_per_op) > 0.3' "$measured and \$cell.responders > 0")"
}

for series in 6.1 6.12; do
	behaves 'pages' '--cpus 2' writeback reclaim reclaim_race zap_race thp_split gup_race --responders 1
	behaves 'memory full of holes' '--cpus 2' compact --responders 1 --ops 10
	is "$series: memory full of holes: half of the pages move, at least" 1 "$(of_records \
		'min($counters.moved > 0.5 * $counts.ops * $cell.parameters.pages)' "$measured")"
	behaves 'swap' '--cpus 2' madvise_pageout --backing anon --responders 1
	behaves 'two nodes' '--cpus 4 --nodes 2' numa_hint --responders 1
	# The longest: ksmd goes over all of a guest's memory.
	[ "$series" = 6.1 ] || behaves 'ksmd' '--cpus 2' ksm --responders 1
done
finish
