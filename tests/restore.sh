# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# Ten runs in a row, some of them killed at random moments with SIGKILL, leave
# the machine as it was: kernel settings, cgroups, processes, mounts, files.
. "${srcdir:-.}/tests/tap.sh"

[ "$(id -u)" -eq 0 ] || skip_all 'only root can change what has to be restored'

TLBMARK_STORE=$tmp/store/records.db
TMPDIR=$tmp/temporary
export TLBMARK_STORE TMPDIR
mkdir "$TMPDIR" "$tmp/store"

# Every setting that can be read at once; counters that move by themselves are
# no settings.
settings() {
	find /proc/sys /sys/kernel/mm -type f -readable 2>/dev/null |
		grep -v -E '/(random/(uuid|boot_id|entropy_avail)|ns_last_pid|dentry-state|inode-nr|inode-state|file-nr|aio-nr|pty/nr|nr_huge_pages_freed)$' |
		grep -v -E '/fs/(dentry|inode|file|mount|quota)|/(stat|stats|stats_.*|kdamond.*)($|/)|/ksm/(pages_(shared|sharing|unshared|volatile|scanned|skipped)|full_scans|general_profit|ksm_zero_pages|stable_node.*)$' |
		grep -v -E '/hugepages-[0-9]*kB/(free|resv|surplus|demote)|/khugepaged/(full_scans|pages_collapsed)$|/netdev_rss_key$|/nf_conntrack_count$|/sched_domain/|/kernel/perf_event_max_sample_rate$' |
		LC_ALL=C sort | while read -r file; do
			printf '%s: ' "$file"
			timeout 1 head -c 4096 "$file" 2>/dev/null | tr '\n\0' '  '
			echo
		done
}

state() {
	settings
	# Others come and go with every login.
	find /sys/fs/cgroup -type d -name '*tlbmark*' 2>/dev/null | LC_ALL=C sort
	sed 's/ - .*//' /proc/self/mountinfo | cut -d' ' -f3-5 | LC_ALL=C sort
	ls -d /run/tlbmark /dev/shm/* /dev/hugepages/* 2>/dev/null
	find "$TMPDIR" "$PWD" -maxdepth 1 -newer "$tmp/begin" -name '*tlbmark*' ! -type d 2>/dev/null
}

touch "$tmp/begin"
state >"$tmp/before"
lines=$(wc -l <"$tmp/before")
[ "$lines" -gt 100 ] || not_ok "there is something to compare ($lines lines)"
"$tlbmark" run --quiet --no-plots --duration 5s null >/dev/null 2>&1 &
sleep 0.3
case $(processes) in
*tlbmark*) ok 'a process of ours is seen' ;;
*) not_ok 'a process of ours is seen' ;;
esac
kill $!
wait $! 2>/dev/null

random() {
	od -An -N2 -tu2 /dev/urandom | tr -d ' '
}

i=0
while [ $i -lt 10 ]; do
	i=$((i + 1))
	set -- run --quiet --no-plots --quick --duration 20ms --thp always null mprotect
	[ $((i % 3)) -ne 0 ] || set -- "$@" --background cpu
	[ $((i % 4)) -ne 0 ] || set -- "$@" munmap --kind hugetlb --pages 1
	"$tlbmark" "$@" >"$tmp/out" 2>&1 &
	pid=$!
	if [ $((i % 2)) -eq 0 ]; then
		sleep "$(awk -v r="$(random)" 'BEGIN { print r / 65536 * 1.5 }')"
		kill -9 $pid 2>/dev/null
	fi
	wait $pid 2>/dev/null
done
# The next start after a kill puts back what the killed one had set.
passes 'the last run' "$tlbmark" run --quiet --no-plots --ops 5 --repeat 1 --responders 0 null
no_process 'in the end'
state >"$tmp/after"
if diff "$tmp/before" "$tmp/after" >"$tmp/diff"; then
	ok "the machine is as it was ($lines settings, cgroups, mounts, files)"
else
	not_ok 'the machine is as it was' "$(cat "$tmp/diff")"
fi
is 'stored records are whole' ok "$(sqlite3 "$TLBMARK_STORE" 'pragma integrity_check')"
finish
