// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * madvise_free: lets the kernel drop pages later, unless they are written
 * before that.
 *
 * Timed: one madvise(MADV_FREE) of pages that were just written. The kernel
 * clears the accessed and dirty bits of their entries, which stay, and flushes
 * in tlb_finish_mmu() -> flush_tlb_mm_range(), so that a later store must set
 * the dirty bit again and is noticed. Huge pages are flushed once more before,
 * in pmdp_invalidate().
 *
 * It does not measure the reclaim that may follow, nor MADV_FREE of clean
 * pages, which flushes nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include <tlbmark/workload.h>

#include "oracle.h"
#include "pages.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

enum { PAGES, KIND };

static const struct tm_param free_params[] = {
	[PAGES] = PAGES_PARAM("1", "1,8,32..34,512,4096,262144"),
	[KIND] = PAGES_CHOICE_PARAM("kind", "base pages or transparent huge pages",
				    pages_small_kinds, "4k", "4k,thp"),
	{.name = NULL},
};

static int free_probe(char *why, size_t why_size)
{
	return pages_check_advice(MADV_FREE, "MADV_FREE (Linux 4.5)", why, why_size);
}

static int free_probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	return pages_check(c, c->values[KIND], PAGES_ANON, c->values[PAGES], why, why_size);
}

static int free_prepare(struct tm_thread *t, void *state)
{
	const uint64_t *value = t->cell->values;
	struct pages *p = pages_of(t, state);
	int rc = pages_open(t, p, value[KIND], PAGES_ANON, value[PAGES]);

	if (!rc)
		rc = pages_place(t, p, PAGES_ALIGNED, 1, 0);
	if (!rc)
		rc = pages_map(t, p, p->at, p->bytes, false);
	if (!rc)
		rc = pages_must_be_huge(t, p, p->at, p->bytes);
	return rc;
}

/* A store makes the entry dirty; it faults where the page was reclaimed. */
static void write_all(const struct pages *p)
{
	for (size_t i = 0; i < p->bytes; i += p->page_bytes)
		*(volatile uint64_t *)(p->at + i) = 1;
}

static int free_operate(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	uint32_t base_pages = (uint32_t)(p->bytes / t->page_bytes);
	int rc;

	while (tm_more(t)) {
		write_all(p);
		pages_publish(t, p->at, p->bytes, p->page_bytes);
		tm_begin(t);
		rc = madvise(p->at, p->bytes, MADV_FREE);
		tm_end(t, base_pages);
		if (rc)
			return tm_fail(t, -errno, "MADV_FREE of %zu bytes", p->bytes);
	}
	return 0;
}

/* Each responder, in turn, stores to the pages that are its share. */
static int store_from_responders(struct oracle *o, char *base)
{
	unsigned int n = o->t->cell->responders;

	for (size_t i = 0; i < o->picks; i++) {
		char *at = base + o->offset[i];
		uint64_t value = ~oracle_stamp(o, i);
		int rc = n ? tm_poke(o->t, (unsigned int)(i % n), at, value)
			   : tm_self_poke(at, value);

		if (rc)
			return rc;
	}
	return 0;
}

/*
 * A store after return is never lost. The responders hold the entries as
 * writable and dirty, store after MADV_FREE, and then the pages are reclaimed.
 * Without the flush the store would go through the old entry, the page table
 * would not get its dirty bit, and the page would be dropped with the store:
 * zero is read instead.
 */
static int free_verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct pages *p = pages_of(t, state);
	struct oracle o = {.t = t, .v = v, .stride = p->page_bytes};
	int rc;

	while (oracle_next(&o, p->bytes)) {
		write_all(p);
		/* Dirty in the responders' TLBs, not only here. */
		rc = store_from_responders(&o, p->at);
		if (rc)
			return tm_fail(t, rc, "storing before MADV_FREE");
		if (madvise(p->at, p->bytes, MADV_FREE))
			return tm_fail(t, -errno, "MADV_FREE of %zu bytes", p->bytes);
		rc = store_from_responders(&o, p->at);
		if (rc)
			return tm_fail(t, rc, "storing after MADV_FREE");
		if (madvise(p->at, p->bytes, MADV_PAGEOUT) && errno != EINVAL)
			return tm_fail(t, -errno, "MADV_PAGEOUT of %zu bytes", p->bytes);
		for (size_t i = 0; i < o.picks; i++) {
			uint64_t got = *(volatile uint64_t *)(p->at + o.offset[i]);

			tm_check(v, got == ~oracle_stamp(&o, i),
				 "page %zu: what was stored after MADV_FREE is lost",
				 o.offset[i] / o.stride);
		}
	}
	return 0;
}

const struct tm_workload tm_workload_madvise_free = {
	.name = "madvise_free",
	.summary = "marking written pages as free to be dropped",
	.op = "one madvise(MADV_FREE) of --pages dirty pages",
	.flushes = "tlb_finish_mmu",
	.gate = TM_GATE_EVERY,
	.params = free_params,
	.probe = free_probe,
	.probe_cell = free_probe_cell,
	.setup = pages_set_new,
	.prepare = free_prepare,
	.operate = free_operate,
	.verify = free_verify,
	.teardown = pages_set_free,
};
