// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * madvise_collapse: turns base pages into huge pages.
 *
 * Timed: one madvise(MADV_COLLAPSE) of aligned ranges in which --present base
 * pages are populated. For each huge page the kernel takes the page table out
 * and flushes in collapse_huge_page() -> pmdp_collapse_flush(), by range over
 * 512 base pages, which is beyond the ceiling: the whole TLB. Then
 * tlb_remove_table_sync_one() interrupts every CPU, idle ones and those of
 * other processes too, against walkers without locks; so foreign and idle
 * responders are disturbed by this one, and the controls show it. Before all
 * that lru_add_drain_all() may have a worker run on other CPUs.
 *
 * Shared memory (--backing shared) is collapsed in the page cache, for whoever maps it:
 * collapse_file() unmaps the base pages, with one flush for all of them
 * (try_to_unmap_flush()), copies them, and takes the page tables away
 * (retract_page_tables() -> pmdp_collapse_flush()).
 *
 * It does not measure the flush alone: allocating, zeroing and copying a huge
 * page is part of the operation and most of its time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <time.h>

#include <tlbmark/workload.h>

#include "oracle.h"
#include "pages.h"
#include "updates.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum { PAGES, PRESENT, BACKING };
enum { UPDATE_TRIES = 4 }; /* who updates has to have a CPU just then */

static const struct tm_param collapse_params[] = {
	[PAGES] = {.name = "pages",
		   .unit = "huge pages",
		   .help = "that one operation makes",
		   .kind = TM_PARAM_UINT,
		   .min = 1,
		   .max = UINT32_MAX,
		   .def = "1",
		   .full = "1,2,8,32"},
	[PRESENT] = {.name = "present",
		     .unit = "pages",
		     .help = "base pages populated in each, at most",
		     .kind = TM_PARAM_UINT,
		     .min = 1,
		     .max = UINT32_MAX,
		     .def = "512",
		     .full = "1,512"},
	[BACKING] = PAGES_CHOICE_PARAM("backing", "private memory, or shared memory",
				       pages_memory_backings, "anon", "anon,shared"),
	{.name = NULL},
};

static int collapse_probe(char *why, size_t why_size)
{
	return pages_check_advice(MADV_COLLAPSE, "MADV_COLLAPSE (Linux 6.1)", why, why_size);
}

static int collapse_probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	/* The base pages and the huge ones exist at the same time. */
	return pages_check(c, PAGES_THP, c->values[BACKING], 2 * c->values[PAGES], why, why_size);
}

static int collapse_knobs(const struct tm_cell_args *c, struct tm_sysstate *s)
{
	return pages_knobs(c, PAGES_THP, c->values[BACKING], 2 * c->values[PAGES], s);
}

static int collapse_prepare(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	int rc = pages_open(t, p, PAGES_THP, t->cell->values[BACKING], t->cell->values[PAGES]);
	int flags = p->fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;

	if (!rc)
		rc = pages_place(t, p, PAGES_ALIGNED, 1, 0);
	if (!rc && mmap(p->at, p->bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED_NOREPLACE, p->fd,
			0) == MAP_FAILED)
		rc = tm_fail(t, -errno, "mmap of %zu bytes", p->bytes);
	return rc;
}

static size_t present_bytes(const struct tm_thread *t, const struct pages *p)
{
	size_t bytes = t->cell->values[PRESENT] * t->page_bytes;

	return bytes < p->page_bytes ? bytes : p->page_bytes;
}

static int fill(struct tm_thread *t, struct pages *p)
{
	return pages_fill_small(t, p, present_bytes(t, p));
}

enum { REFUSALS_MAX = 1000, NAP_NS = 1000000 };

/* With naps: who has the page may wait for a CPU. */
static int collapse(struct tm_thread *t, const struct pages *p)
{
	const struct timespec nap = {.tv_nsec = NAP_NS};

	for (int refused = 0; madvise(p->at, p->bytes, MADV_COLLAPSE); refused++) {
		if (!pages_collapse_refused(errno, (uint64_t)refused) || refused == REFUSALS_MAX)
			return tm_fail(t, -errno, "MADV_COLLAPSE of %zu bytes", p->bytes);
		nanosleep(&nap, NULL);
	}
	return 0;
}

static int collapse_operate(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	uint32_t base_pages = (uint32_t)(p->bytes / t->page_bytes);
	int rc, refused = 0;

	while (tm_more(t)) {
		rc = fill(t, p);
		if (rc)
			return rc;
		/* Of the first huge page: what is not present, reading would make so. */
		pages_publish(t, p->at, present_bytes(t, p), t->page_bytes);
		tm_begin(t);
		rc = madvise(p->at, p->bytes, MADV_COLLAPSE);
		if (rc && pages_collapse_refused(errno, (uint64_t)refused) &&
		    ++refused < REFUSALS_MAX) {
			/* Nothing was collapsed: no operation. */
			*t->in_operation = 0;
			continue;
		}
		tm_end(t, base_pages);
		if (rc)
			return tm_fail(t, -errno, "MADV_COLLAPSE of %zu bytes", p->bytes);
	}
	return 0;
}

/* Shared memory is mapped again, by the huge page, when it is next used. */
static int check_huge(struct tm_thread *t, struct pages *p)
{
	for (size_t i = 0; i < p->bytes; i += p->page_bytes)
		(void)*(volatile char *)(p->at + i);
	return pages_must_be_huge(t, p, p->at, p->bytes);
}

/*
 * While the pages are copied another thread adds to words in them, of which none may be
 * lost. All are present, whatever --present is: so copying takes its time.
 */
static int check_updates(struct tm_thread *t, struct pages *p, struct tm_verdict *v)
{
	struct updates u = {0};
	int rc = pages_fill_small(t, p, p->page_bytes);

	rc = rc ? rc : updates_start(t, &u, p->at, p->page_bytes, t->page_bytes);
	if (rc)
		return rc;
	rc = collapse(t, p);
	updates_stop(&u);
	if (!rc)
		updates_check(&u, v);
	return rc;
}

/*
 * The content has moved, intact, and nobody uses the old pages any more: words
 * written after return are what everyone reads. Without the flush a responder
 * would read the old stamp from the base page.
 */
static int collapse_verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct pages *p = pages_of(t, state);
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};
	int rc = 0;

	/* Before the first: the responders' translations must be of base pages. */
	while (oracle_next(&o, present_bytes(t, p))) {
		rc = fill(t, p);
		if (rc)
			return rc;
		oracle_write(&o, p->at);
		oracle_see(&o, p->at, ORACLE_STAMP, "before MADV_COLLAPSE");
		rc = collapse(t, p);
		if (rc)
			return rc;
		/* Copied? Asked here alone, so that the responders' TLBs stay as they were. */
		for (size_t i = 0; i < o.picks; i++)
			tm_check(v,
				 *(volatile uint64_t *)(p->at + o.offset[i]) == oracle_stamp(&o, i),
				 "page %zu lost its content", o.offset[i] / o.stride);
		rc = check_huge(t, p);
		if (rc)
			return rc;
		oracle_renew(&o);
		oracle_write(&o, p->at);
		oracle_see(&o, p->at, ORACLE_STAMP, "after MADV_COLLAPSE");
	}
	for (int i = 0; i < UPDATE_TRIES && !rc; i++)
		rc = check_updates(t, p, v);
	return rc;
}

const struct tm_workload tm_workload_madvise_collapse = {
	.name = "madvise_collapse",
	.summary = "making huge pages of base pages",
	.op = "one madvise(MADV_COLLAPSE) to --pages huge pages",
	.flushes = "pmdp_collapse_flush",
	.needs = TM_NEEDS_THP,
	.gate = TM_GATE_EVERY,
	.switches = true, /* lru_add_drain_all() waits */
	.params = collapse_params,
	.probe = collapse_probe,
	.probe_cell = collapse_probe_cell,
	.knobs = collapse_knobs,
	.setup = pages_set_new,
	.prepare = collapse_prepare,
	.operate = collapse_operate,
	.verify = collapse_verify,
	.teardown = pages_set_free,
};
