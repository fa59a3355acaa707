# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh disable=SC2016
# Guests with hardware threads, packages and memory nodes: responders sit at
# the distance that was asked for, the kernel flushes each of them once an
# operation, several initiators flush each other, and pages that move between
# nodes lose nothing. Times mean nothing here and nobody looks at them: the
# guest's CPUs take turns on a few real ones.
. "${srcdir:-.}/tests/guest/guest.sh"
need_guests 6.12

two='--cpus 8 --sockets 2 --cores 2 --threads 2 --nodes 2'
four='--cpus 4 --sockets 4 --nodes 4'
quick='run --quick --repeat 1 --quiet --no-plots'

# plans SHAPE ARGUMENT...: what would be run in a guest of this shape.
plans() {
	shape=$1
	shift
	# shellcheck disable=SC2086 # words are meant
	"$tlbmark" lab run --kernel 6.12 --modules none $shape -- run --quick --dry-run "$@" \
		>"$tmp/plan" 2>&1 || :
}

# measures NAME SHAPE ARGUMENT...: into a new store.
measures() {
	name=$1
	shape=$2
	shift 2
	rm -f "$TLBMARK_STORE"*
	# shellcheck disable=SC2086 # words are meant
	boots "$name" 6.12 --modules none $shape -- $quick "$@"
	is "$name: every run ends well" 0 "$(of_records 'count(*)' '$status != "ok"')"
}

# Each responder once an operation, give or take one: a CPU that the kernel
# has just borrowed holds no translation, and now and then something else of
# the process is flushed.
flushed() {
	is "$1: flush_tlb_func runs once an operation on each responder" 1 "$(of_records '
		min($probe.functions.flush_tlb_func.in between
		0.9 * $counts.ops * $cell.responders and 1.1 * $counts.ops * $cell.responders)' \
		"\$cell.role = 'measured' and \$cell.workload = '$2'")"
}

# --- who sits where -------------------------------------------------------------

plans "$two" mprotect --repeat 1 --responders 1 --distance smt,cache,remote
is 'one responder of each class: its thread, its neighbour, the other package' '1 2 4' \
	"$(sed -n 's/^.* mprotect.* spin, CPU 0 -> 1 responder on \([0-9]*\).*/\1/p' "$tmp/plan" |
		sort -n | xargs)"
plans "$two" mprotect --responders 1 --distance package
is 'classes are counted' '1 smt, 2 cache, 0 package, 4 remote' \
	"$(sed -n 's/.* sees \(.*\): ask .*/\1/p' "$tmp/plan")"

# --- what the kernel does -------------------------------------------------------

measures 'two packages, each class' "$two" mprotect --responders 1 \
	--distance smt,cache,remote --ops 30
is 'the records tell the distance' '1 smt 2 cache 4 remote' "$(of_records '
	($cell.responder_cpus ->> 0) || " " || $cell.distance' \
	"\$cell.role = 'measured' and \$cell.workload = 'mprotect' order by 1" | xargs)"
flushed 'two packages' mprotect

measures 'four nodes: two responders, migrating' "$four" migrate --responders 2 \
	--memory-node 2 --pages 8 --ops 12
flushed 'four nodes' migrate
is 'migrations lose no update' '1|0' "$(of_records \
	'sum($verify.checks) > 100, sum($verify.violations)' \
	"\$cell.role = 'measured' and \$cell.workload = 'migrate'")"
is 'the memory node is in the records' 2 "$(of_records 'distinct $cell.memory_node' \
	"\$cell.role = 'measured' and \$cell.workload = 'migrate'")"

# Those who flush at the same time share interrupts, so there are fewer than
# one for each of the others; but with all of them awake, never next to none.
measures 'many: 4 initiators' "$two" many --initiators 4 --responders 0 --ops 200
is 'initiators flush each other' '4|1' "$(of_records \
	'$cell.initiators, $derived.ipis_per_op between 0.3 and 3.1' \
	"\$cell.role = 'measured' and \$cell.workload = 'many'")"
finish
