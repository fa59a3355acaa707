// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "oracle.h"
#include "reclaimed.h"
#include "updates.h"

int reclaimed_check_swap(uint64_t bytes, char *why, size_t why_size)
{
	FILE *f = fopen("/proc/meminfo", "re");
	unsigned long kib = 0;
	char line[128];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "SwapFree: %lu kB", &kib) == 1)
			break;
	}
	if (f)
		fclose(f);
	if (kib >= bytes / 1024)
		return 0;
	snprintf(why, why_size,
		 "private memory is only reclaimed to swap, and there is "
		 "not enough of it: swapon some, or use --backing file");
	return -ENOTSUP;
}

int reclaimed_fill(struct tm_thread *t, const struct pages *p)
{
	return pages_populate(t, p->at, p->bytes, p->page_bytes, p->backing == PAGES_ANON);
}

long reclaimed_resident(const struct pages *p)
{
	unsigned char in_memory[512];
	size_t chunk_bytes = sizeof(in_memory) * p->page_bytes;
	long count = 0;

	for (size_t done = 0; done < p->bytes; done += chunk_bytes) {
		size_t bytes = p->bytes - done < chunk_bytes ? p->bytes - done : chunk_bytes;

		if (mincore(p->at + done, bytes, in_memory))
			return -errno;
		for (size_t i = 0; i < bytes / p->page_bytes; i++)
			count += in_memory[i] & 1;
	}
	return count;
}

int reclaimed_try_pageout(struct tm_thread *t, const struct pages *p)
{
	int rc = reclaimed_fill(t, p);
	long left;

	if (rc)
		return rc;
	if (madvise(p->at, p->bytes, MADV_PAGEOUT))
		return tm_fail(t, -errno, "MADV_PAGEOUT of %zu bytes", p->bytes);
	left = reclaimed_resident(p);
	if (left < 0)
		return tm_fail(t, (int)left, "mincore of %zu bytes", p->bytes);
	if (left)
		return tm_fail(t, -ENOTSUP,
			       "reclaim left %ld of %zu pages in memory: its file system or "
			       "memory cgroup does not give them up (set TMPDIR to another disk)",
			       left, p->bytes / p->page_bytes);
	return 0;
}

/* The file's new content, not through the mapping. */
static int rewrite(struct tm_thread *t, const struct oracle *o, const struct pages *p)
{
	for (size_t i = 0; i < o->picks; i++) {
		uint64_t stamp = oracle_stamp(o, i);

		if (pwrite(p->fd, &stamp, sizeof(stamp), (off_t)o->offset[i]) !=
		    (ssize_t)sizeof(stamp))
			return tm_fail(t, errno ? -errno : -EIO, "writing to the file");
	}
	/* Dirty pages are not reclaimed in the next round. */
	return fdatasync(p->fd) ? tm_fail(t, -errno, "syncing the file") : 0;
}

/*
 * As many frames as may just have been freed, and what a CPU keeps at hand: or
 * the new pages would be the very same.
 */
static void *hold_frames(struct tm_thread *t, const struct pages *p, size_t *bytes)
{
	void *held;

	*bytes = p->bytes + 512 * t->page_bytes;
	held = mmap(NULL, *bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	return held == MAP_FAILED ? NULL : held;
}

/* New stamps, on new pages: private memory from swap, a file not through the mapping. */
static int change(struct tm_thread *t, struct oracle *o, struct pages *p, struct tm_verdict *v)
{
	if (p->backing != PAGES_ANON) {
		oracle_renew(o);
		return rewrite(t, o, p);
	}
	for (size_t i = 0; i < o->picks; i++)
		tm_check(v, *(volatile uint64_t *)(p->at + o->offset[i]) == oracle_stamp(o, i),
			 "page %zu came back from swap changed", o->offset[i] / o->stride);
	oracle_renew(o);
	oracle_write(o, p->at);
	return 0;
}

static int check_stamps(struct oracle *o, struct pages *p, reclaimed_how *reclaim, void *argument,
			const char *name)
{
	struct tm_thread *t = o->t;
	size_t held_bytes;
	char when[64];
	void *held;
	int rc = reclaimed_fill(t, p);

	if (!rc && p->backing == PAGES_ANON)
		oracle_write(o, p->at);
	else if (!rc)
		rc = rewrite(t, o, p);
	if (rc)
		return rc;
	snprintf(when, sizeof(when), "before %s", name);
	oracle_see(o, p->at, ORACLE_STAMP, when);
	rc = reclaim(t, p, argument);
	if (rc)
		return rc;
	held = hold_frames(t, p, &held_bytes);
	if (!held)
		return tm_fail(t, -ENOMEM, "holding the freed frames");
	rc = change(t, o, p, o->v);
	snprintf(when, sizeof(when), "after %s", name);
	if (!rc)
		oracle_see(o, p->at, ORACLE_STAMP, when);
	/* Only now: this flushes as well. */
	munmap(held, held_bytes);
	return rc;
}

/* Pages of a file stay while they are dirty; they are written out, so that some go. */
static int check_updates(struct tm_thread *t, struct pages *p, struct tm_verdict *v,
			 reclaimed_how *reclaim, void *argument)
{
	struct updates u = {0};
	int rc = updates_start(t, &u, p->at, p->bytes, p->page_bytes);

	if (rc)
		return rc;
	for (uint64_t i = 0; i < v->rounds && !rc; i++) {
		if (p->backing != PAGES_ANON)
			sync_file_range(p->fd, 0, (off_t)p->bytes,
					SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
		rc = reclaim(t, p, argument);
	}
	updates_stop(&u);
	if (!rc)
		updates_check(&u, v);
	return rc;
}

int reclaimed_verify(struct tm_thread *t, struct pages *p, struct tm_verdict *v,
		     reclaimed_how *reclaim, void *argument, const char *name)
{
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};
	int rc = 0;

	while (!rc && oracle_next(&o, p->bytes))
		rc = check_stamps(&o, p, reclaim, argument, name);
	return rc ? rc : check_updates(t, p, v, reclaim, argument);
}
