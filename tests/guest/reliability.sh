# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh disable=SC2016
# CPUs that are taken away and given back, and memory that runs out, while a
# guest is stressed and measured: nothing hangs, no violation is made up, each
# is told in one line, and the guest's kernel complains of nothing but the lack
# of memory. A processor is never taken away from the machine the tests run on.
. "${srcdir:-.}/tests/guest/guest.sh"
busybox=$(command -v busybox) || skip_all 'no busybox: install busybox-static'
need_guests 6.12

# guest NAME STATUS OPTION... -- SCRIPT: SCRIPT is the guest's, of busybox's shell.
# Its output in $tmp/out, its errors in $tmp/err.
guest() {
	name=$1
	want=$2
	got=0
	shift 2
	while [ "$1" != -- ]; do
		set -- "$@" "$1"
		shift
	done
	shift
	{
		echo 'b=./busybox; cpus=/sys/devices/system/cpu'
		echo "$1"
	} >"$tmp/script"
	shift
	# shellcheck disable=SC2154 # set in tap.sh
	"$tlbmark" lab run --kernel 6.12 --timeout 3m --add "$busybox" --add "$tmp/script" \
		"$@" -- ./busybox sh ./script >"$tmp/out" 2>"$tmp/err" || got=$?
	if [ "$got" -eq "$want" ]; then
		ok "$name: status $want"
	else
		not_ok "$name: status $want" "got: $got" "$(tail -n 40 "$tmp/out" "$tmp/err")"
	fi
}

# says NAME TEXT FILE
says() {
	if grep -q -e "$2" "$tmp/$3"; then
		ok "$1"
	else
		not_ok "$1" "no '$2' in:" "$(tail -n 40 "$tmp/$3")"
	fi
}

# --- CPUs that come and go ------------------------------------------------------------

# Each as soon as the one before it was told, however long a bout is.
guest 'stress, CPUs going and coming' 0 --cpus 4 -- '
	told() {
		n=0
		until $b grep -q "$1" told || [ $n -eq 200 ]; do
			$b usleep 50000
			n=$((n + 1))
		done
	}
	(
		for cpu in 2 3 0; do
			$b usleep 500000
			[ -e $cpus/cpu$cpu/online ] || continue
			echo 0 >$cpus/cpu$cpu/online
			told "CPU $cpu was taken away"
			echo 1 >$cpus/cpu$cpu/online
			told "back is CPU $cpu"
		done
	) &
	./tlbmark stress --quiet --seed 3 --duration 10s storm munmap mprotect 2>told
	status=$?
	$b cat told >&2
	$b cat $cpus/online
	# A bout whose CPU goes cannot be finished; the others are.
	[ $status -eq 0 ] || [ $status -eq 3 ]'
says 'stress: no violation is made up' '^no stale translation seen' out
says 'stress: says that a CPU went' 'after .* s: CPU 2 was taken away (offline, or not allowed any more); 3 may be used' err
says 'stress: and that it is back' 'after .* s: back is CPU 2; 4 may be used' err
is 'stress: ends when it should' 1 \
	"$(sed -n 's/^seed 3, \([0-9]*\)\..* s, .*/\1/p' "$tmp/out" | awk '{ print ($1 < 20) }')"
is 'stress: where bouts failed, for that alone' '' "$(grep '^failed: ' "$tmp/out" |
	grep -v 'CPU [0-9]* was taken away\|on CPU [0-9]*\( (offline\|: Invalid argument\)')"

guest 'stress, all CPUs but one going' 3 --cpus 2 -- '
	(
		$b usleep 1500000
		echo 0 >$cpus/cpu1/online
	) &
	./tlbmark stress --quiet --seed 3 --duration 60s storm munmap'
says 'stress: ends' 'stress: ended: a translation can only be stale on another CPU' err
says 'stress: with what it had seen until then' '^no stale translation seen' out

# --- the same to a measurement -----------------------------------------------------------

# As soon as a run has two responders, threads or processes: some have none.
guest 'run, the responder'\''s CPU going' 1 --cpus 3 -- '
	(
		seen=0
		while [ $seen -lt 3 ]; do
			$b usleep 50000
			seen=0
			for run in $($b pidof tlbmark-run); do
				for thread in /proc/$run/task/[0-9]*; do
					seen=$((seen + 1))
				done
			done
		done
		$b usleep 500000
		echo 0 >$cpus/cpu2/online
	) &
	./tlbmark run --quiet --no-plots --initiator-cpu 0 --responders 2 --repeat 1 --probe none \
		--duration 3s --no-verify munmap --pages 1'
says 'run: says that runs failed' 'run[s]* failed; the table' err
is 'run: a record says why' 1 "$(sqlite3 "$TLBMARK_STORE" "select count(*) > 0 from records where
	json like '%CPU 2 was taken away from responder 1%'")"
is 'run: and those that came later' 1 "$(sqlite3 "$TLBMARK_STORE" "select count(*) > 0 from records where
	json like '%responder 1 cannot run on CPU 2 (offline%'")"
is 'run: records are whole' 0 "$(sqlite3 "$TLBMARK_STORE" \
	'select count(*) from records where not json_valid(json)')"

# --- memory that runs out -------------------------------------------------------------------

# The whole guest's: a process takes what is left, which is killed after the run, and
# before the parent. What it has is its own: a file in memory would stay, and then
# nothing but the parent would be left to kill. No modules: swap on a RAM disk would take more.
guest 'out of memory' 3 --cpus 2 --memory 256M --modules none --no-dmesg-gate --out "$tmp/kept" -- '
	echo -500 >/proc/self/oom_score_adj
	(
		for i in 1 2 3 4 5 6; do
			$b usleep 700000
			$b sh -c "echo 0 >/proc/self/oom_score_adj; exec $b tail /dev/zero"
		done
	) &
	./tlbmark stress --quiet --seed 3 --duration 8s storm munmap mprotect'
says 'out of memory: says so' 'the run process died of signal 9 (Killed): out of memory' err
says 'out of memory: no violation is made up' '^no stale translation seen' out
is 'out of memory: the kernel complains of nothing else' '' \
	"$(grep -E 'BUG: |WARNING: |Oops|blocked for more' "$tmp/kept/dmesg")"

# --- the parent killed ------------------------------------------------------------------------

# In the middle of whatever the modules, cgroups and swap are used for; the lab
# unloads the modules then, and says when it cannot.
guest 'the parent killed' 0 --cpus 2 -- '
	for seconds in 2 4; do
		./tlbmark stress --quiet --seed $seconds --duration 60s vmap reclaim notifier munmap &
		$b sleep $seconds
		$b kill -9 $!
		$b sleep 1
		$b pidof tlbmark tlbmark-run && echo "left: a process"
	done
	./tlbmark stress --quiet --seed 3 --duration 1s munmap || exit
	$b find /sys/fs/cgroup -type d -name "tlbmark*" | $b sed "s/^/left: /"
	[ ! -e /run/tlbmark ] || echo "left: a journal"'
is 'the parent killed: nothing is left' '' "$(grep '^left' "$tmp/out")"
finish
