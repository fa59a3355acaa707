// SPDX-License-Identifier: GPL-3.0-or-later
#include "ksmd.h"

#include <errno.h>
#include <fcntl.h>
#include <numa.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define KSM "/sys/kernel/mm/ksm/"

enum {
	PAUSE_MS = 2,
	STUCK_MS = 60000, /* ksmd may have others' gigabytes to go over */
	ENTRIES = 512,
};

/* A page that a CPU of another node has copied has no equal there, and is never merged. */
static bool nodes_apart(void)
{
	int fd = open(KSM "merge_across_nodes", O_RDONLY | O_CLOEXEC);
	char across = '1';
	bool apart;

	if (fd < 0)
		return false;
	apart = read(fd, &across, 1) == 1 && across == '0' && numa_available() >= 0 &&
		numa_num_configured_nodes() > 1;
	close(fd);
	return apart;
}

int ksmd_check(const struct tm_cell_args *c, char *why, size_t why_size)
{
	if (access(KSM "run", W_OK))
		snprintf(why, why_size, KSM "run: %s: %s", strerror(errno),
			 errno == ENOENT ? "this kernel has no KSM" : "run as root");
	else if (access("/proc/self/pagemap", R_OK))
		snprintf(why, why_size,
			 "no /proc/self/pagemap (CONFIG_PROC_PAGE_MONITOR): cannot tell merged "
			 "pages");
	else if (nodes_apart())
		snprintf(why, why_size,
			 KSM "merge_across_nodes is 0, and there are several memory nodes: write 1 "
			     "to it");
	else if (c->initiators > 1)
		snprintf(why, why_size, "ksmd's progress can be told for one initiator only");
	else
		return 0;
	return -ENOTSUP;
}

int ksmd_knobs(struct tm_sysstate *system, size_t pages)
{
	char each[24];

	snprintf(each, sizeof(each), "%zu", pages);
	/* Refused while its advisor is on, which then chooses a number itself. */
	tm_knob(system, KSM "pages_to_scan", each);
	/* A rest: it would take responders' CPUs. */
	tm_knob(system, KSM "sleep_millisecs", "20");
	/* Since 6.7 it passes over what it could not merge a while ago. */
	if (!access(KSM "smart_scan", F_OK))
		tm_knob(system, KSM "smart_scan", "0");
	return tm_knob(system, KSM "run", "1");
}

/*
 * In /proc/self/pagemap bit 63 is set where a page is there, bit 56 where nobody
 * else maps it, and bits 0 to 54 say which it is
 * (Documentation/admin-guide/mm/pagemap.rst). Not ksm_merging_pages: that still
 * counts pages that were copied, until ksmd comes by.
 */
#define PRESENT (UINT64_C(1) << 63)
#define EXCLUSIVE (UINT64_C(1) << 56)
#define FRAME ((UINT64_C(1) << 55) - 1)

static int read_entries(int fd, uintptr_t page, uint64_t *entries, size_t n)
{
	size_t bytes = n * sizeof(*entries);

	return pread(fd, entries, bytes, (off_t)(page * sizeof(*entries))) == (ssize_t)bytes ? 0
											     : -EIO;
}

static bool is_merged(uint64_t mine, const uint64_t *theirs)
{
	if (!(mine & PRESENT))
		return false;
	if (!theirs)
		return !(mine & EXCLUSIVE);
	return (mine & FRAME) != (*theirs & FRAME) || !(mine & FRAME);
}

static int count_open(int fd, int sharer_fd, uintptr_t page, size_t count)
{
	uint64_t mine[ENTRIES], theirs[ENTRIES];
	int merged = 0;

	for (size_t n; count; page += n, count -= n) {
		n = count < ENTRIES ? count : ENTRIES;
		if (read_entries(fd, page, mine, n) ||
		    (sharer_fd >= 0 && read_entries(sharer_fd, page, theirs, n)))
			return -EIO;
		for (size_t i = 0; i < n; i++)
			merged += is_merged(mine[i], sharer_fd >= 0 ? &theirs[i] : NULL);
	}
	return merged;
}

/* How many of the pages are merged. -errno. */
static int count_merged(uintptr_t page, size_t count, pid_t sharer)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), sharer_fd = -1, merged;
	char path[40];

	if (fd < 0)
		return -errno;
	if (sharer) {
		snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)sharer);
		sharer_fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	merged = sharer && sharer_fd < 0 ? -errno : count_open(fd, sharer_fd, page, count);
	close(fd);
	if (sharer_fd >= 0)
		close(sharer_fd);
	return merged;
}

/*
 * In Linux 6.1 to 6.4 ksmd passes over what NUMA balancing has taken away until
 * somebody reads it (follow_page_pte() without FOLL_FORCE; 6.5:
 * FOLL_HONOR_NUMA_FAULT), and such a page at the root of its tree stops all.
 * It also keeps translations here that ksmd must flush.
 */
static void touch(const char *at, size_t count, size_t page_bytes)
{
	for (size_t i = 0; i < count; i++)
		(void)*(const volatile char *)(at + i * page_bytes);
}

int ksmd_wait(struct tm_thread *t, const void *at, size_t count, pid_t sharer)
{
	const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
	int merged = 0, most = 0;

	for (int waited = 0; waited < STUCK_MS; waited += PAUSE_MS) {
		merged = count_merged((uintptr_t)at / t->page_bytes, count, sharer);
		if (merged < 0)
			return tm_fail(t, merged, "reading /proc/PID/pagemap");
		if ((size_t)merged == count)
			return 0;
		/* Slow is not stuck. */
		if (merged > most) {
			most = merged;
			waited = 0;
		}
		touch(at, count, t->page_bytes);
		nanosleep(&pause, NULL);
	}
	return tm_fail(t, -ETIMEDOUT, "ksmd merged %d of %zu pages: is " KSM "run 1?", merged,
		       count);
}
