// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * madvise_pageout: reclaims the pages of a mapping at once.
 *
 * Timed: one madvise(MADV_PAGEOUT). The kernel isolates the pages, unmaps them
 * (try_to_unmap(), which only notes that a flush is due), and flushes in
 * try_to_unmap_flush() before it frees them, once for each batch (31 pages in
 * Linux 6.18, all in older kernels); that is what reclaim does under memory
 * pressure. Entries that were accessed are made old before, and flushed for
 * that by tlb_finish_mmu() at the end of the call. So one page interrupts a
 * responder twice, and the split into delivery, stolen and return does not
 * hold here.
 *
 * The pages are clean pages of a file (--backing file), which reclaim may drop
 * without writing, or private memory, for which there must be swap. It does
 * not measure reading them back, nor finding pages to reclaim as kswapd does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include <tlbmark/workload.h>

#include "oracle.h"
#include "pages.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

enum { PAGES, BACKING };
enum { BACKING_FILE, BACKING_ANON };

static const char *const backings[] = {"file", "anon", NULL};

static const struct tm_param pageout_params[] = {
	[PAGES] = PAGES_PARAM("1", "1,8,31..34,512,4096"),
	[BACKING] =
		PAGES_CHOICE_PARAM("backing", "a file on a disk, or private memory (needs swap)",
				   backings, "file", "file,anon"),
	{.name = NULL},
};

static enum pages_backing backing_of(const struct tm_cell_args *c)
{
	return c->values[BACKING] == BACKING_FILE ? PAGES_FILE : PAGES_ANON;
}

static int pageout_probe(char *why, size_t why_size)
{
	return pages_check_advice(MADV_PAGEOUT, "MADV_PAGEOUT (Linux 5.4)", why, why_size);
}

static uint64_t swap_free_kib(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	unsigned long kib = 0;
	char line[128];

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "SwapFree: %lu kB", &kib) == 1)
			break;
	}
	fclose(f);
	return kib;
}

static int pageout_probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	uint64_t kib = c->values[PAGES] * c->initiators * (pages_kind_bytes(PAGES_4K) / 1024);

	if (backing_of(c) == PAGES_ANON && swap_free_kib() < kib) {
		snprintf(why, why_size,
			 "private memory is only reclaimed to swap, and there is "
			 "not enough of it: swapon some, or use --backing file");
		return -ENOTSUP;
	}
	return pages_check(c, PAGES_4K, backing_of(c), c->values[PAGES], why, why_size);
}

static int fill(struct tm_thread *t, struct pages *p)
{
	return pages_populate(t, p->at, p->bytes, p->page_bytes, p->backing == PAGES_ANON);
}

/* How many of the pages are still in memory; -errno. */
static long resident(const struct pages *p)
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

/* Whether reclaim really takes these pages is found by trying. */
static int try_once(struct tm_thread *t, struct pages *p)
{
	int rc = fill(t, p);
	long left;

	if (rc)
		return rc;
	if (madvise(p->at, p->bytes, MADV_PAGEOUT))
		return tm_fail(t, -errno, "MADV_PAGEOUT of %zu bytes", p->bytes);
	left = resident(p);
	if (left < 0)
		return tm_fail(t, (int)left, "mincore of %zu bytes", p->bytes);
	if (left)
		return tm_fail(t, -ENOTSUP,
			       "reclaim left %ld of %zu pages in memory: its file system or "
			       "memory cgroup does not give them up (set TMPDIR to another disk)",
			       left, p->bytes / p->page_bytes);
	return 0;
}

static int pageout_prepare(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	int rc = pages_open(t, p, PAGES_4K, backing_of(t->cell), t->cell->values[PAGES]);

	if (!rc)
		rc = pages_place(t, p, PAGES_ALIGNED, 1, 0);
	if (!rc)
		rc = pages_map(t, p, p->at, p->bytes, false);
	if (!rc)
		rc = try_once(t, p);
	return rc;
}

static int pageout_operate(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	uint32_t base_pages = (uint32_t)(p->bytes / t->page_bytes);
	int rc;

	while (tm_more(t)) {
		rc = fill(t, p);
		if (rc)
			return rc;
		pages_publish(t, p->at, p->bytes, p->page_bytes);
		tm_begin(t);
		rc = madvise(p->at, p->bytes, MADV_PAGEOUT);
		tm_end(t, base_pages);
		if (rc)
			return tm_fail(t, -errno, "MADV_PAGEOUT of %zu bytes", p->bytes);
	}
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

/* As many frames as may just have been freed, and what a CPU keeps at hand. */
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

/*
 * The responders read the pages, the pages are reclaimed, and what is there
 * gets new stamps on other pages; the freed frames are held meanwhile, or the
 * new pages would be the very same. Without the flush a responder would still
 * read the page of before, with its old stamp.
 */
static int pageout_verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct pages *p = pages_of(t, state);
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};
	bool anonymous = p->backing == PAGES_ANON;
	size_t held_bytes;
	void *held;
	int rc;

	while (oracle_next(&o, p->bytes)) {
		rc = fill(t, p);
		if (!rc && anonymous)
			oracle_write(&o, p->at);
		else if (!rc)
			rc = rewrite(t, &o, p);
		if (rc)
			return rc;
		oracle_see(&o, p->at, ORACLE_STAMP, "before MADV_PAGEOUT");
		if (madvise(p->at, p->bytes, MADV_PAGEOUT))
			return tm_fail(t, -errno, "MADV_PAGEOUT of %zu bytes", p->bytes);
		held = hold_frames(t, p, &held_bytes);
		if (!held)
			return tm_fail(t, -ENOMEM, "holding the freed frames");
		rc = change(t, &o, p, v);
		if (!rc)
			oracle_see(&o, p->at, ORACLE_STAMP, "after MADV_PAGEOUT");
		/* Only now: this flushes as well. */
		munmap(held, held_bytes);
		if (rc)
			return rc;
	}
	return 0;
}

const struct tm_workload tm_workload_madvise_pageout = {
	.name = "madvise_pageout",
	.summary = "reclaiming pages, as memory pressure does",
	.op = "one madvise(MADV_PAGEOUT) of --pages pages in use",
	.flushes = "try_to_unmap_flush",
	.gate = TM_GATE_EVERY,
	.params = pageout_params,
	.probe = pageout_probe,
	.probe_cell = pageout_probe_cell,
	.setup = pages_set_new,
	.prepare = pageout_prepare,
	.operate = pageout_operate,
	.verify = pageout_verify,
	.teardown = pages_set_free,
};
