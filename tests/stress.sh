# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# `tlbmark stress`: what it refuses, that it is silent here, that it finds calls
# which do nothing, and lays the kernel's trace beside them, that it can be replayed,
# and that it leaves nothing behind.
. "${srcdir:-.}/tests/tap.sh"

# stress ARGUMENT...
# shellcheck disable=SC2317 # `exits` calls it
stress() {
	# shellcheck disable=SC2154 # set in tap.sh
	"$tlbmark" stress --quiet "$@"
}

# value FILE EXPRESSION: of a verdict, by Python's json.
value() {
	"$python3" -c 'import json, sys; v = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"
}

# said NAME TEXT: in what the last command printed.
said() {
	if grep -qF -- "$2" "$tmp/tap.out"; then
		ok "$1"
	else
		not_ok "$1" "no '$2' in:" "$(cat "$tmp/tap.out")"
	fi
}

# Can the kernel's trace be had here? Not asked of the program, which is to be tested.
can_trace=$("$python3" -c '
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print("yes" if int(status["CapEff"], 16) >> 21 & 1 and "tracefs" in open("/proc/filesystems").read() else "")')
case $(cat /sys/kernel/security/lockdown 2>/dev/null) in
*'[none]'* | '') ;;
*) can_trace= ;;
esac

# instance PID: "there" or "gone". Looked at in a mount that nobody else has.
mkdir "$tmp/tracefs"
# shellcheck disable=SC2016 # expanded by the inner shell
instance() {
	unshare -m sh -c 'mount -t tracefs none "$1" || exit 1
		[ -d "$1/instances/tlbmark-$2" ] && echo there || echo gone' sh "$tmp/tracefs" "$1"
}

# --- what it refuses -------------------------------------------------------------

exits 'an unknown workload' 2 stress nothing
said '... and says so' "unknown workload 'nothing'"
exits 'a workload without an oracle' 2 stress --workloads munmap,null
said '... and says which' "the workload 'null' has no oracle"
exits 'a time without a unit' 2 stress --duration 10
exits 'a seed that is no number' 2 stress --seed x
echo '{}' >"$tmp/other"
exits 'a file that is no verdict' 2 stress --replay "$tmp/other"
said '... and says so' 'this is no verdict'
exits 'a file that is not there' 2 stress --replay "$tmp/none"
exits 'one CPU' 3 taskset -c 0 "$tlbmark" stress --duration 1s
said '... and says why' 'only one CPU may be used here'

# --- here --------------------------------------------------------------------------

exits 'nothing is stale here' 0 stress --duration 4s --seed 11 --out "$tmp/verdict" \
	cow fork madvise_dontneed mprotect mremap munmap storm
said '... and says so' 'no stale translation seen'
is 'every path was checked' True "$(value "$tmp/verdict" 'all(p["checks"] > 0 for p in v["paths"])')"
is 'and nothing failed or was found' '0 0' \
	"$(value "$tmp/verdict" 'sum(p["failed"] for p in v["paths"])') $(value "$tmp/verdict" 'v["violations"]')"
is 'the machine was shot at' True \
	"$(value "$tmp/verdict" 'v["shootdowns"] is None or v["shootdowns"] > 1000')"
exits 'again' 0 "$tlbmark" stress --quiet --replay "$tmp/verdict" --out "$tmp/again"
is 'the same seed, time and workloads' "$(value "$tmp/verdict" '(v["seed"], v["duration_ns"], v["workloads"])')" \
	"$(value "$tmp/again" '(v["seed"], v["duration_ns"], v["workloads"])')"

exits 'no time for all' 0 stress --duration 100ms --seed 11
said '... and says what had no turn' 'not reached in this time: '

# As on a kernel without KSM; without root that is left out anyway.
# shellcheck disable=SC2016,SC2317 # expanded by the inner shell; `exits` calls it
without_ksm() {
	if [ "$(id -u)" = 0 ] && [ -d /sys/kernel/mm/ksm ]; then
		unshare -m sh -c 'mount -t tmpfs none /sys/kernel/mm/ksm && exec "$@"' sh "$tlbmark" "$@"
	else
		"$tlbmark" "$@"
	fi
}
exits 'nothing that could run' 3 without_ksm stress --duration 1s --workloads ksm
said '... is no clean verdict' 'nothing was checked'
said '... and says why' 'left out: ksm: '

# --- where calls lie -----------------------------------------------------------------

lie=$top_builddir/tests/lie.so
if [ -e "$lie" ] && ! nm -D "$tlbmark" 2>/dev/null | grep -q '__asan_init\|__tsan_init'; then
	# found NAME CALL EVERY WORKLOAD...
	found() {
		name=$1 call=$2 every=$3
		shift 3
		exits "$name: found" 1 env LD_PRELOAD="$lie" LIE="$call" LIE_EVERY="$every" \
			"$tlbmark" stress --quiet --duration 20s --until-violation --seed 3 \
			--out "$tmp/found" "$@"
		is "$name: in the right path" "$1" "$(value "$tmp/found" 'v["told"][0]["cell"].split()[0]')"
		sed -n 's/^tlbmark: stale/# stale/p' "$tmp/tap.out" | cut -c1-200
	}
	# traced NAME: the last violation has what was traced before it, and some of it was told.
	traced() {
		if [ -z "$can_trace" ]; then
			skip "$1: with its trace" 'tracefs takes CAP_SYS_ADMIN'
			return
		fi
		is "$1: flushes or interrupts before it" True "$(value "$tmp/found" \
			'any(" tlb_flush: " in l or " ipi_" in l or ": func=" in l for l in v["told"][-1]["trace"])')"
		is "$1: and nothing after it" True \
			"$(value "$tmp/found" '"tracing_mark_write: tlbmark: stale translation seen, " in v["told"][-1]["trace"][-1]')"
		is "$1: in the order of their stamps" True "$(value "$tmp/found" \
			'(lambda t: t == sorted(t))([float(__import__("re").search(r" ([0-9.]+): ", l).group(1)) for l in v["told"][-1]["trace"]])')"
		if grep -Eq '^ +-[0-9]+ (ticks|ns)  CPU [0-9]+  .*(tlb_flush|ipi_|func=)' "$tmp/tap.out"; then
			ok "$1: told at once"
		else
			not_ok "$1: told at once" "$(cat "$tmp/tap.out")"
		fi
	}
	found 'madvise does nothing' madvise 1 madvise_dontneed
	traced 'madvise does nothing'
	found 'mprotect does nothing' mprotect 1 mprotect
	traced 'mprotect does nothing'
	found 'mprotect does nothing, untraced' mprotect 1 mprotect --no-trace
	is '... has no trace' 'False not wanted' "$(value "$tmp/found" '"trace" in v["told"][0]') $(value "$tmp/found" 'v["no_trace"]')"
	found 'madvise does nothing in a storm' madvise 1 storm
	traced 'madvise does nothing in a storm'
	if [ -n "$can_trace" ]; then
		is '... the bout was repeated for it' '2 False True' "$(value "$tmp/found" 'len(v["told"])') $(
			value "$tmp/found" '"trace" in v["told"][0]') $(
			value "$tmp/found" 'v["told"][0]["bout"] == v["told"][1]["bout"]')"
	fi
	found 'madvise does nothing, once in 1,000 times' madvise 1000 storm
	found 'mprotect does nothing, once in 50 times' mprotect 50 storm
else
	skip 'calls that lie' 'no shared library can be preloaded into this build'
fi

# --- what it leaves --------------------------------------------------------------------

# Not through a function: its shell would be what is killed.
"$tlbmark" stress --quiet --duration 60s storm munmap >"$tmp/out" 2>&1 &
pid=$!
sleep 1
while kill -0 $pid && ! pgrep -P $pid -x tlbmark-run >/dev/null; do # a busy machine begins late
	sleep 0.1
done
[ -z "$can_trace" ] || is 'while it runs: a tracefs instance of its own' there "$(instance $pid)"
kill -TERM $pid
got=0
wait $pid || got=$?
[ -z "$can_trace" ] || is 'interrupted: the instance is gone' gone "$(instance $pid)"
is 'interrupted: its status' 143 $got
is 'interrupted: the verdict so far' 1 "$(grep -c '^seed ' "$tmp/out")"
"$tlbmark" stress --quiet --duration 60s storm munmap >"$tmp/out" 2>&1 &
pid=$!
sleep 1
run=
while [ -z "$run" ] && kill -0 $pid; do # none between two bouts
	run=$(pgrep -P $pid -x tlbmark-run | head -n 1)
done
kill -KILL $pid
wait $pid 2>/dev/null || :
# What it started dies with it, at once but not before. Nobody may reap it.
state=
for _ in 1 2 3 4 5 6 7 8 9 10; do
	state=$(ps -o stat= -p "$run" || :)
	case $state in
	'' | Z*) break ;;
	esac
	sleep 0.5
done
is 'killed: the run it had started is gone' "was ${run:-none}: gone" \
	"was $run: $(case $state in '' | Z*) echo gone ;; *) echo "$state" ;; esac)"
if [ -n "$can_trace" ]; then
	exits 'killed: the next run' 0 stress --duration 1s munmap
	is '... removes its tracefs instance' gone "$(instance $pid)"
else
	skip 'a tracefs instance' 'tracefs takes CAP_SYS_ADMIN'
fi
finish
