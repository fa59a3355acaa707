# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# tlbmark-gbench as the tools for Google Benchmark use it. Only cells that
# nothing on a busy machine makes invalid are run: controls and floors.
. "${srcdir:-.}/tests/tap.sh"

gbench=$top_builddir/tlbmark-gbench
compare=/usr/share/benchmark/compare.py
[ -x "$gbench" ] || skip_all "tlbmark-gbench was not built: install libbenchmark-dev"

# python NAME CODE [ARGUMENT...]: CODE fails by an exception.
python() {
	tap_title=$1
	shift
	if command -v "$python3" >/dev/null; then
		passes "$tap_title" "$python3" -c "$@"
	else
		skip "$tap_title" "no python3"
	fi
}

"$gbench" --benchmark_list_tests >"$tmp/list" 2>"$tmp/left-out"
is "names are unique" "" "$(sort "$tmp/list" | uniq -d)"
is "every cell has its three quantiles" "$(grep -c '/p50/' "$tmp/list") $(grep -c '/p50/' "$tmp/list")" \
	"$(grep -c '/p99/' "$tmp/list") $(grep -c '/p99\.9/' "$tmp/list")"
for name in null clock membarrier munmap; do
	passes "$name is among them" grep -q "^$name/" "$tmp/list"
done

cells='^(null|munmap/pages:1/kind:4k/backing:anon/tables:kept/how:munmap/responders:0)/'
passes "a filter, repetitions and a file" "$gbench" --benchmark_min_time=0.02 \
	--benchmark_filter="$cells" --benchmark_repetitions=3 --benchmark_out="$tmp/a.json" \
	--benchmark_out_format=json
python "the file is strict JSON, with caches and every row once" '
import json, sys
def refuse(text): raise ValueError(text)
with open(sys.argv[1]) as file:
    report = json.load(file, parse_constant=refuse)
assert isinstance(report["context"]["caches"], list), "no caches"
assert report["context"]["tlbmark_version"], "no version"
rows = report["benchmarks"]
keys = [(row["name"], row.get("repetition_index")) for row in rows]
assert len(keys) == len(set(keys)), "a row is there twice"
runs = [row for row in rows if row["run_type"] == "iteration"]
cells = set(row["name"] for row in runs)
assert len(cells) == 6 and len(runs) == 18, (len(cells), len(runs))
assert all(row["real_time"] > 0 and row["threads"] == 1 for row in runs), runs
at = {(row["name"].split("/")[0], row["name"].split("/")[-2], row["repetition_index"]): row for row in runs}
for (cell, quantile, n), row in at.items():
    assert row["real_time"] >= at[cell, "p50", n]["real_time"], (cell, quantile, n)
    assert row["operations"] == at[cell, "p50", n]["operations"], "not of the same run"
' "$tmp/a.json"

if [ ! -f "$compare" ]; then
	skip "compare.py takes it" "no $compare: install libbenchmark-tools"
elif ! "$python3" -c 'import scipy.stats' 2>/dev/null; then
	skip "compare.py takes it" "no python3-scipy"
else
	passes "compare.py takes it" "$python3" "$compare" benchmarks "$tmp/a.json" "$tmp/a.json"
fi

# A workload that cannot run: no result, and the status says so.
exits "a row without a result is a failure" 1 \
	env TLBMARK_EXEC_HELPER=/bin/true "$gbench" --benchmark_min_time=0.01 \
	--benchmark_filter='^exec_args/.*/p50' --benchmark_out="$tmp/b.json"
python "and is marked in the file" '
import json, sys
with open(sys.argv[1]) as file:
    rows = json.load(file)["benchmarks"]
assert any(row.get("error_occurred") and row["error_message"] for row in rows), rows
' "$tmp/b.json"

exits "a filter that selects nothing" 2 "$gbench" --benchmark_filter=no-such-workload
exits "an unknown option" 2 "$gbench" --no-such-option
exits "a plan that is none" 2 "$gbench" --tlbmark_plan=huge
exits "no time at all" 2 "$gbench" --benchmark_min_time=0
exits "help" 0 "$gbench" --help
finish
