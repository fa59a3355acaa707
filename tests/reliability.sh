# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh disable=SC2086 # the words of $stress and $run are meant
# What happens when something goes wrong in the middle: processes of ours killed,
# no memory, no space on a disk, signals, a stop. Each time there is one clear
# line, what can go on does, no violation is made up, and nothing is left behind.
# TLBMARK_SEED does the moments of a run that failed again; TLBMARK_GROWTH is for how
# many seconds the last part looks whether anything grows.
. "${srcdir:-.}/tests/tap.sh"

TLBMARK_STORE=$tmp/store/records.db
TMPDIR=$tmp/temporary
export TLBMARK_STORE TMPDIR
mkdir "$TMPDIR" "$tmp/store"
seed=${TLBMARK_SEED:-$(od -An -N2 -tu2 /dev/urandom | tr -d ' ')}
echo "# seed $seed"
drawn=0
pids=

# moment FROM TO: sleeps for a time between, in ms.
moment() {
	drawn=$((drawn + 1))
	sleep "$(awk -v s=$((seed + drawn)) -v a="$1" -v b="$2" \
		'BEGIN { srand(s); rand(); print (a + rand() * (b - a)) / 1000 }')"
}

# settled NAME: no process of ours is left, nor a temporary file.
settled() {
	no_process "$1"
	is "$1: no temporary file is left" '' "$(ls "$TMPDIR")"
}

# begins COMMAND...: in the background; $pid.
begins() {
	"$@" >"$tmp/out" 2>"$tmp/err" &
	pid=$!
	pids="$pids $pid"
}

# ends NAME STATUS...: that process, with one of these.
ends() {
	ends_name=$1
	shift
	got=0
	wait "$pid" 2>/dev/null || got=$?
	case " $* " in
	*" $got "*) ok "$ends_name: status $got" ;;
	*) not_ok "$ends_name: status $*" "got: $got" "$(cat "$tmp/out" "$tmp/err")" ;;
	esac
}

# says NAME TEXT: in one line on standard error.
says() {
	if grep -q -e "$2" "$tmp/err"; then
		ok "$1: says why"
	else
		not_ok "$1: says why" "no '$2' in:" "$(cat "$tmp/err")"
	fi
}

# verdict NAME: nothing was found, and that is said on standard output; or, where each
# bout failed and only then, that nothing was checked.
verdict() {
	verdict_line='no stale translation seen'
	! grep -q '^seed .*, 0 checks$' "$tmp/out" || verdict_line='nothing was checked'
	is "$1: no violation is made up" 1 "$(grep -cx "$verdict_line" "$tmp/out")"
}

# child_of PID NAME: one of its children with that name, as soon as there is one.
child_of() {
	child=
	while [ -z "$child" ] && kill -0 "$1" 2>/dev/null; do
		child=$(pgrep -P "$1" ${2:+-x "$2"} | head -n 1)
	done
}

stress="$tlbmark stress --quiet --seed $seed"
run="$tlbmark run --quiet --no-plots"

# --- processes that are killed --------------------------------------------------------

# Of storm, whose bouts are long enough to be hit.
begins $stress --duration 5s storm
for _ in 1 2 3; do
	moment 200 500
	child_of "$pid" tlbmark-run
	kill -9 "${child:-$pid}" 2>/dev/null
done
ends 'run process killed' 3
says 'run process killed' '^tlbmark: bout [0-9]* failed: [a-z]*: the run process died of signal 9 (Killed): killed from outside$'
verdict 'run process killed'
is 'run process killed: others were made after it' 1 \
	"$(awk '$1 == "storm" && NF == 6 { print ($2 > 3 && $5 > 0) }' "$tmp/out")"

begins $run --duration 500ms --repeat 1 --responders 0 null clock
child_of "$pid" tlbmark-run
moment 10 200
kill -9 "$child"
ends 'run process of a measurement killed' 1
says 'run process of a measurement killed' '1 run failed'
is 'run process of a measurement killed: its record says why' 1 "$(sqlite3 "$TLBMARK_STORE" \
	"select count(*) from records where status = 'failed' and json like '%died of signal 9 (Killed): killed from outside%'")"

# Children that a workload makes: in its time, and where it is about to exit.
for workload in cow exec_args exit fork; do
	begins $stress --duration 1s $workload
	for _ in 1 2 3 4 5 6 7 8; do
		child_of "$pid" tlbmark-run
		run_process=$child
		moment 0 60
		pkill -9 -P "$run_process" 2>/dev/null
	done
	ends "a child of $workload killed" 0 3
	verdict "a child of $workload killed"
	[ "$got" -eq 0 ] || says "a child of $workload killed" 'died of signal 9\|was killed while it exited'
done
lie=$top_builddir/tests/lie.so
if [ -e "$lie" ] && ! nm -D "$tlbmark" 2>/dev/null | grep -q '__asan_init\|__tsan_init'; then
	begins env LD_PRELOAD="$lie" LIE=kill $stress --duration 1s exit
	ends 'children killed before they exit' 3
	says 'children killed before they exit' 'the child was killed while it exited'
	verdict 'children killed before they exit'
else
	skip 'children killed before they exit' 'no shared library can be preloaded into this build'
fi

# A responder of the control is a process of its own.
begins $run --duration 1s --repeat 1 --no-verify munmap --pages 1
responder=
while [ -z "$responder" ] && kill -0 "$pid" 2>/dev/null; do
	child_of "$pid" tlbmark-run
	responder=$(pgrep -P "${child:-0}" | head -n 1)
done
kill -9 "$responder"
ends 'foreign responder killed' 1
is 'foreign responder killed: its record says so' 1 "$(sqlite3 "$TLBMARK_STORE" \
	"select count(*) from records where json like '%the process of responder 0 died of signal 9 (Killed)%'")"

if command -v stress-ng >/dev/null; then
	for victim in tlbmark-load stress-ng; do
		begins $stress --duration 2s --background cpu munmap
		child_of "$pid" tlbmark-load
		load=$child
		child_of "$load" ''
		moment 300 600
		[ $victim = tlbmark-load ] || load=$child
		kill -9 "$load"
		ends "$victim killed" 3
		says "$victim killed" 'the background load ended (it failed, or was killed): going on without it'
		verdict "$victim killed"
		settled "$victim killed"
	done
	load='--background cpu'
else
	skip 'background load killed' 'no stress-ng here'
	load=
fi

# --- the parent killed ------------------------------------------------------------------

thp=/sys/kernel/mm/transparent_hugepage/enabled
before=$(cat $thp 2>/dev/null)
never=
[ "$(id -u)" -ne 0 ] || [ -z "$before" ] || never='--thp never'
for command in "$stress --duration 20s $load" "$run --duration 5s $never null munmap" \
	"$stress --duration 20s reclaim ksm munmap"; do
	begins $command
	moment 500 1500
	kill -9 "$pid"
	wait "$pid" 2>/dev/null
	settled "parent killed: ${command#"$tlbmark "}"
done
begins $stress --duration 100ms --workloads munmap
ends 'the next start' 0
is 'the next start: settings are as they were' "$before" "$(cat $thp 2>/dev/null)"
is 'the next start: no group of ours is left' '' "$(for number in $pids; do
	find /sys/fs/cgroup -type d -name "tlbmark*$number*" 2>/dev/null
done)"

# --- signals --------------------------------------------------------------------------------

# SIGINT is ignored in what a shell puts in the background.
for signal in INT:130 TERM:143 HUP:129 USR1:138; do
	number=${signal#*:}
	signal=${signal%:*}
	begins env --default-signal=INT $stress --duration 20s storm munmap
	child_of "$pid" tlbmark-run # no bout before it, and no verdict
	moment 100 600
	kill "-$signal" "$pid"
	kill "-$signal" "$pid" 2>/dev/null
	ends "SIG$signal twice" "$number"
	says "SIG$signal twice" "interrupted by signal $((number - 128)) after"
	verdict "SIG$signal twice"
done
begins nohup $stress --duration 1500ms storm munmap
moment 300 600
kill -HUP "$pid"
ends 'SIGHUP that is ignored from the beginning' 0

begins $stress --duration 2s storm
moment 200 400
child_of "$pid" tlbmark-run
sleep 0.1
kill -USR1 "$child"
ends 'signal to the run process' 3
says 'signal to the run process' 'the run process died of signal 10'

# All of it stopped for a second, at any place of an oracle.
begins $stress --duration 3s storm munmap mprotect
for _ in 1 2; do
	moment 200 500
	child_of "$pid" tlbmark-run
	kill -STOP "$pid" "$child" 2>/dev/null
	sleep 1
	kill -CONT "$child" "$pid" 2>/dev/null
done
ends 'stopped for a second, twice' 0
verdict 'stopped for a second, twice'

# --- memory -----------------------------------------------------------------------------------

# memory_group BYTES: $group, a memory cgroup that may have so many, without swap.
memory_group() {
	group=
	while read -r _ parent kind options _; do
		case $kind,$options, in
		cgroup,*,memory,* | cgroup2,*) ;;
		*) continue ;;
		esac
		made=$parent/tlbmark-test-$$
		[ "$kind" = cgroup ] || grep -qw memory "$parent/cgroup.subtree_control" || continue
		mkdir "$made" 2>/dev/null || continue
		if echo "$1" >"$made/memory.max" || echo "$1" >"$made/memory.limit_in_bytes"; then
			echo 0 >"$made/memory.swap.max" || echo 0 >"$made/memory.swappiness"
			group=$made
			return
		fi 2>/dev/null
		rmdir "$made"
	done </proc/self/mounts
}

# A command that begins with these is one of that group; the number is its oom_score_adj.
# shellcheck disable=SC2016 # for the shell that becomes the command
enter='echo $$ >"$1/cgroup.procs" && echo "$2" >/proc/self/oom_score_adj && shift 2 && exec "$@"'

memory_group $((48 << 20))
if [ -n "$group" ]; then
	begins sh -c "$enter" sh "$group" 0 $stress --duration 3500ms storm munmap mprotect
	# Takes what the run has not; larger than the parent, so sooner to be killed, but
	# not larger than all of the group, which is what the run's score begins with.
	# Memory of a process goes with it; a file's would stay, and the parent be next.
	for _ in 1 2 3; do
		moment 400 700
		(sh -c "$enter" sh "$group" 0 sh -c 'head -c 100000000 /dev/zero | tail -c 100000000') >/dev/null 2>&1
	done
	ends 'out of memory' 3
	says 'out of memory' '^tlbmark: bout [0-9]* failed: [a-z]*: the run process died of signal 9 (Killed): out of memory$'
	verdict 'out of memory'

	# Reclaim all the time: files of which the group cannot keep a third.
	head -c 150000000 /dev/zero >"$tmp/large"
	begins sh -c "$enter" sh "$group" 0 $stress --duration 3s
	while kill -0 "$pid" 2>/dev/null; do
		(sh -c "$enter" sh "$group" 500 cat "$tmp/large") >/dev/null 2>&1
	done
	ends 'memory pressure' 0 3
	verdict 'memory pressure'
	[ "$got" -eq 0 ] || says 'memory pressure' 'died of signal 9 (Killed): out of memory'
	rmdir "$group"
	rm -f "$tmp/large"
else
	skip 'out of memory, memory pressure' 'no memory cgroup can be made here'
fi

# --- disks ------------------------------------------------------------------------------------

begins $stress --duration 100ms --out "$tmp/nowhere/verdict" munmap
ends 'a verdict that cannot be written' 3
says 'a verdict that cannot be written' 'stress: cannot write .*: No such file or directory: give another place with --out'
is 'a verdict that cannot be written: said before the run' '' "$(cat "$tmp/out")"
if [ -e /dev/full ]; then
	got=0
	$stress --duration 100ms munmap >/dev/full 2>"$tmp/err" || got=$?
	is 'standard output full' 3 $got
	says 'standard output full' 'the output could not be written as a whole'
	begins $stress --duration 100ms --out /dev/full munmap
	ends '--out full' 3
	says '--out full' 'cannot write /dev/full: No space left on device; the verdict is on standard output'
	verdict '--out full'
fi
if [ "$(id -u)" -eq 0 ] && unshare -m true 2>/dev/null; then
	# The verdict of before stays whole, and nothing of a part of one.
	cat >"$tmp/on-disk" <<'EOF'
mkdir -p "$1/full" && mount -t tmpfs -o size=64k tmpfs "$1/full" || exit 99
echo '{"an": "older one"}' >"$1/full/verdict"
head -c 1000000 /dev/zero >"$1/full/rest" 2>/dev/null
TMPDIR=$1/full "$2" stress --quiet --duration 2s --out "$1/full/verdict"
status=$?
cat "$1/full/verdict" >"$1/kept"
ls "$1/full" >"$1/files"
exit $status
EOF
	begins unshare -m sh "$tmp/on-disk" "$tmp" "$tlbmark"
	ends 'full disk' 3
	says 'full disk' 'cannot write .*verdict: No space left on device; the verdict is on standard output'
	verdict 'full disk'
	is 'full disk: the verdict of before is whole' '{"an": "older one"}' "$(cat "$tmp/kept")"
	is 'full disk: nothing else is there' 'rest verdict' "$(xargs <"$tmp/files")"

	# A file on a full disk takes stores and has no place for them.
	cat >"$tmp/on-disk" <<'EOF'
truncate -s 16M "$1/image" && mkfs.ext4 -q -F "$1/image" && mkdir "$1/disk" &&
	mount -o loop "$1/image" "$1/disk" || exit 99
head -c 100000000 /dev/zero >"$1/disk/rest"
TMPDIR=$1/disk exec "$2" stress --quiet --duration 2s munmap writeback
EOF
	begins unshare -m sh "$tmp/on-disk" "$tmp" "$tlbmark"
	got=0
	wait "$pid" || got=$?
	if [ "$got" -eq 99 ]; then
		skip 'full disk of TMPDIR' 'no ext4 can be made and mounted here'
	else
		is 'full disk of TMPDIR: the rest is checked' "0 1" \
			"$got $(grep -c '^no stale translation seen' "$tmp/out")"
		is 'full disk of TMPDIR: says what is left out' 1 \
			"$(grep -c '^left out: writeback: a file of .* does not fit on the disk' "$tmp/out")"
	fi
else
	skip 'full disk' 'needs root, and mounts of its own'
fi

# --- nothing grows --------------------------------------------------------------------------------

# parent_has: pages resident, mappings, files open, children; the most of some looks.
parent_has() {
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		set -- /proc/"$pid"/fd/*
		echo "$(awk '{ print $2 }' "/proc/$pid/statm") $(wc -l <"/proc/$pid/maps") $# $(
			pgrep -c -P "$pid"
		)"
		sleep 0.1
	done | awk '{ for (i = 1; i <= NF; i++) if ($i > most[i]) most[i] = $i }
		END { print most[1], most[2], most[3], most[4] }'
}

length=${TLBMARK_GROWTH:-12}
begins $stress --duration "${length}s"
sleep 4
first=$(parent_has)
sleep $((length - 7))
last=$(parent_has)
ends 'a longer run' 0
echo "# parent: pages, mappings, files, children: $first, then $last"
set -- $first $last
is 'a longer run: files open, children' "$3 1" "$7 $8"
if [ "$5" -le $(($1 + 64)) ] && [ "$6" -le $(($2 + 4)) ]; then
	ok 'a longer run: no more memory'
else
	not_ok 'a longer run: no more memory' "$1 pages and $2 mappings became $5 and $6"
fi
settled 'in the end'
set -- "$TLBMARK_STORE"
is 'records are whole' 'ok|0' "$(sqlite3 "$1" \
	"select (select * from pragma_integrity_check), count(*) from records where not json_valid(json)")"
finish
