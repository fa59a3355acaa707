// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * madvise_dontneed: empties a mapping that stays.
 *
 * Timed: one madvise(MADV_DONTNEED). The kernel zaps the entries of the range
 * and flushes in tlb_finish_mmu() -> flush_tlb_mm_range(): by range up to the
 * ceiling (33 strides on x86), the whole TLB beyond. The mapping is not
 * touched, so this is the shortest way from user space to a shootdown. Page
 * tables stay, but since Linux 6.14 (CONFIG_PT_RECLAIM) those that base pages
 * filled wholly (--pages 512 and more) are freed, and lazy CPUs interrupted too.
 *
 * It does not measure filling the range again: that is done outside the clock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include <tlbmark/workload.h>

#include "oracle.h"
#include "pages.h"

enum { PAGES, KIND, BACKING };

static const struct tm_param dontneed_params[] = {
	[PAGES] = PAGES_PARAM("1", "1,8,32..34,512,4096,262144"),
	[KIND] = PAGES_CHOICE_PARAM("kind", "base pages, transparent huge pages, or hugetlb pages",
				    pages_kinds, "4k", "4k,thp,hugetlb"),
	[BACKING] =
		PAGES_CHOICE_PARAM("backing", "private memory, shared memory, or a file on a disk",
				   pages_backings, "anon", "anon,shared,file"),
	{.name = NULL},
};

static int dontneed_probe(char *why, size_t why_size)
{
	return pages_check_advice(MADV_DONTNEED, "MADV_DONTNEED", why, why_size);
}

static int dontneed_probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	return pages_check(c, c->values[KIND], c->values[BACKING], c->values[PAGES], why, why_size);
}

static int dontneed_knobs(const struct tm_cell_args *c, struct tm_sysstate *s)
{
	return pages_knobs(c, c->values[KIND], c->values[BACKING], c->values[PAGES], s);
}

static int dontneed_prepare(struct tm_thread *t, void *state)
{
	const uint64_t *value = t->cell->values;
	struct pages *p = pages_of(t, state);
	int rc = pages_open(t, p, value[KIND], value[BACKING], value[PAGES]);

	if (!rc)
		rc = pages_place(t, p, PAGES_ALIGNED, 1, 0);
	if (!rc)
		rc = pages_map(t, p, p->at, p->bytes, false);
	if (!rc)
		rc = pages_must_be_huge(t, p, p->at, p->bytes);
	return rc;
}

static int fill(struct tm_thread *t, struct pages *p)
{
	return pages_populate(t, p->at, p->bytes, p->page_bytes, p->backing == PAGES_ANON);
}

static int dontneed_operate(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	uint32_t base_pages = (uint32_t)(p->bytes / t->page_bytes);
	int rc;

	while (tm_more(t)) {
		rc = fill(t, p);
		/* Memory may have become fragmented since the last batch. */
		if (!rc && !t->count)
			rc = pages_must_be_huge(t, p, p->at, p->bytes);
		if (rc)
			return rc;
		pages_publish(t, p->at, p->bytes, p->page_bytes);
		tm_begin(t);
		rc = madvise(p->at, p->bytes, MADV_DONTNEED);
		tm_end(t, base_pages);
		if (rc)
			return tm_fail(t, -errno, "MADV_DONTNEED of %zu bytes", p->bytes);
	}
	return 0;
}

/*
 * After return everyone reads zeros. Private pages are gone with their stamps.
 * Pages of a file are not: a hole is punched where they were, which flushes
 * nobody, because by then no mapping is known to hold them. Without the flush
 * a responder would read the old stamp from the page that was dropped.
 */
static int dontneed_verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct pages *p = pages_of(t, state);
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};
	int rc;

	while (oracle_next(&o, p->bytes)) {
		rc = fill(t, p);
		if (rc)
			return rc;
		oracle_write(&o, p->at);
		oracle_see(&o, p->at, ORACLE_STAMP, "before MADV_DONTNEED");
		if (madvise(p->at, p->bytes, MADV_DONTNEED))
			return tm_fail(t, -errno, "MADV_DONTNEED of %zu bytes", p->bytes);
		if (p->backing != PAGES_ANON) {
			rc = pages_punch(t, p, 0, p->bytes);
			if (rc)
				return rc;
		}
		oracle_see(&o, p->at, ORACLE_ZERO, "after MADV_DONTNEED");
	}
	return 0;
}

const struct tm_workload tm_workload_madvise_dontneed = {
	.name = "madvise_dontneed",
	.summary = "dropping the pages of a mapping that stays",
	.op = "one madvise(MADV_DONTNEED) of --pages pages",
	.flushes = "tlb_finish_mmu",
	.gate = TM_GATE_EVERY,
	.params = dontneed_params,
	.probe = dontneed_probe,
	.probe_cell = dontneed_probe_cell,
	.knobs = dontneed_knobs,
	.setup = pages_set_new,
	.prepare = dontneed_prepare,
	.operate = dontneed_operate,
	.verify = dontneed_verify,
	.teardown = pages_set_free,
};
