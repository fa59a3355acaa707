# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# The include rule holds, and the script that checks it notices each kind of
# breach.
. "${srcdir:-.}/tests/tap.sh"
check=$top_srcdir/tests/check-includes

passes "the tree keeps the include rule" sh "$check" "$top_srcdir"

# breach NAME FILE INCLUDE: a small tree with that one line added.
breach() {
	rm -rf "$tmp/tree"
	mkdir -p "$tmp/tree/bench" "$tmp/tree/include/tlbmark" "$tmp/tree/results" \
		"$tmp/tree/plots" "$tmp/tree/workloads/kmod" "$tmp/tree/tests/unit"
	echo '#include <stdint.h>' >"$tmp/tree/include/tlbmark/uapi.h"
	echo '#include <tlbmark/uapi.h>' >"$tmp/tree/bench/hist.h"
	echo '#include "hist.h"' >"$tmp/tree/bench/run.h"
	echo '#include "hist.h"' >"$tmp/tree/bench/record.h"
	echo '#include "bench/record.h"' >"$tmp/tree/results/store.c"
	echo '#include <tlbmark/workload.h>' >"$tmp/tree/workloads/munmap.c"
	echo "#include $3" >>"$tmp/tree/$2"
	exits "$1" "$4" sh "$check" "$tmp/tree"
	[ "$4" -eq 0 ] || is "$1: one line says where" 1 "$(grep -c "^$2: " "$tmp/tap.out")"
}

breach "a tree that keeps it passes" bench/run.h '"clock.h"' 0
breach "to the right" bench/hist.h '"run.h"' 1
breach "a file of no layer" bench/surprise.c '"run.h"' 1
breach "a header of no layer" bench/run.h '"surprise.h"' 1
breach "a workload that sees the core" workloads/munmap.c '"bench/run.h"' 1
breach "a module that sees the workload interface" workloads/kmod/vmap.c '<tlbmark/workload.h>' 1
breach "results that run" results/store.c '"bench/run.h"' 1
breach "plots that run" plots/plot.c '"../bench/run.h"' 1
breach "the store before the record" bench/record.h '"results/store.h"' 1

# Through another header: record.h may include run.h, but then the store
# reaches it.
breach "no way round, either" results/store.c '"bench/hist.h"' 0
echo '#include "run.h"' >>"$tmp/tree/bench/record.h"
exits "results that reach run.h through record.h" 1 sh "$check" "$tmp/tree"
finish
