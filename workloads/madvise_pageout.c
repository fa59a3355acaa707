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

#include <tlbmark/workload.h>

#include "pages.h"
#include "reclaimed.h"

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

static int pageout_probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	uint64_t bytes = c->values[PAGES] * c->initiators * pages_kind_bytes(PAGES_4K);

	if (backing_of(c) == PAGES_ANON && reclaimed_check_swap(bytes, why, why_size))
		return -ENOTSUP;
	return pages_check(c, PAGES_4K, backing_of(c), c->values[PAGES], why, why_size);
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
		rc = reclaimed_try_pageout(t, p);
	return rc;
}

static int pageout_operate(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	uint32_t base_pages = (uint32_t)(p->bytes / t->page_bytes);
	int rc;

	while (tm_more(t)) {
		rc = reclaimed_fill(t, p);
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

static int reclaim(struct tm_thread *t, const struct pages *p, void *argument)
{
	(void)argument;
	if (!madvise(p->at, p->bytes, MADV_PAGEOUT))
		return 0;
	return tm_fail(t, -errno, "MADV_PAGEOUT of %zu bytes", p->bytes);
}

static int pageout_verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	return reclaimed_verify(t, pages_of(t, state), v, reclaim, NULL, "MADV_PAGEOUT");
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
