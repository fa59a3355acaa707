// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * madvise_cold: makes pages in use the next to be reclaimed.
 *
 * Timed: one madvise(MADV_COLD) of pages that were just read. The kernel clears
 * the accessed bit of their entries, which stay, in
 * madvise_cold_or_pageout_pte_range(), and moves the pages to the inactive list.
 * Since an entry was young it flushes in tlb_finish_mmu() ->
 * flush_tlb_mm_range(), by range up to the ceiling (33 strides on x86), the
 * whole TLB beyond: else the next access would not be noticed. Older kernels
 * (6.1) flush a huge page once more before, in pmdp_invalidate().
 *
 * It does not measure the reclaim that may follow, nor MADV_COLD of pages that
 * nobody has touched since the last one, which flushes nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include <tlbmark/workload.h>

#include "aging.h"
#include "pages.h"

#ifndef MADV_COLD
#define MADV_COLD 20
#endif

enum { PAGES, KIND, BACKING };

static const struct tm_param cold_params[] = {
	[PAGES] = PAGES_PARAM("1", "1,8,32..34,512,4096,262144"),
	[KIND] = PAGES_CHOICE_PARAM("kind", "base pages or transparent huge pages",
				    pages_small_kinds, "4k", "4k,thp"),
	[BACKING] =
		PAGES_CHOICE_PARAM("backing", "private memory, shared memory, or a file on a disk",
				   pages_backings, "anon", "anon,shared,file"),
	{.name = NULL},
};

static int cold_probe(char *why, size_t why_size)
{
	int rc = pages_check_advice(MADV_COLD, "MADV_COLD (Linux 5.4)", why, why_size);

	return rc ? rc : aging_check(why, why_size);
}

static int cold_probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	return pages_check(c, c->values[KIND], c->values[BACKING], c->values[PAGES], why, why_size);
}

static int cold_knobs(const struct tm_cell_args *c, struct tm_sysstate *s)
{
	return pages_knobs(c, c->values[KIND], c->values[BACKING], c->values[PAGES], s);
}

static int cold_prepare(struct tm_thread *t, void *state)
{
	const uint64_t *value = t->cell->values;
	struct pages *p = pages_of(t, state);
	int rc = pages_open(t, p, value[KIND], value[BACKING], value[PAGES]);

	if (!rc)
		rc = pages_place(t, p, PAGES_ALIGNED, 1, 0);
	if (!rc)
		rc = pages_map(t, p, p->at, p->bytes, false);
	return rc ? rc : pages_must_be_huge(t, p, p->at, p->bytes);
}

/* By this CPU, whose TLB was flushed as well: every entry is young again. */
static void use(const struct pages *p)
{
	for (size_t i = 0; i < p->bytes; i += p->page_bytes)
		(void)*(volatile char *)(p->at + i);
}

static int cold_operate(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	uint32_t base_pages = (uint32_t)(p->bytes / t->page_bytes);
	int rc;

	while (tm_more(t)) {
		use(p);
		pages_publish(t, p->at, p->bytes, p->page_bytes);
		tm_begin(t);
		rc = madvise(p->at, p->bytes, MADV_COLD);
		tm_end(t, base_pages);
		if (rc)
			return tm_fail(t, -errno, "MADV_COLD of %zu bytes", p->bytes);
	}
	return 0;
}

static int make_cold(struct tm_thread *t, const struct pages *p, void *argument)
{
	(void)argument;
	if (!madvise(p->at, p->bytes, MADV_COLD))
		return 0;
	return tm_fail(t, -errno, "MADV_COLD of %zu bytes", p->bytes);
}

static int cold_verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	return aging_verify(t, pages_of(t, state), v, make_cold, NULL, "MADV_COLD");
}

const struct tm_workload tm_workload_madvise_cold = {
	.name = "madvise_cold",
	.summary = "making pages in use look unused",
	.op = "one madvise(MADV_COLD) of --pages pages that were just read",
	.flushes = "tlb_finish_mmu",
	.gate = TM_GATE_EVERY,
	.params = cold_params,
	.probe = cold_probe,
	.probe_cell = cold_probe_cell,
	.knobs = cold_knobs,
	.setup = pages_set_new,
	.prepare = cold_prepare,
	.operate = cold_operate,
	.verify = cold_verify,
	.teardown = pages_set_free,
};
