// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * thp_split: a transparent huge page becomes base pages.
 *
 * Timed: one system call that means one base page of a huge page, so that the
 * kernel maps all of them one by one instead: __split_huge_pmd() ->
 * pmdp_invalidate(), which flushes the range of the huge page, more than the
 * ceiling: the whole TLB. By madvise(MADV_DONTFORK) (--how boundary) a mapping
 * begins to end inside the huge page, and nothing else is flushed. mprotect,
 * munmap and dontneed change the base page as well, and flush it in
 * tlb_finish_mmu(); free (MADV_FREE) splits not only the mapping but the page,
 * which unmaps its parts (try_to_migrate()) and maps them again. These
 * interrupt a responder more than once an operation, and the split into
 * delivery, stolen and return does not hold for them.
 *
 * Shared pages (--backing shared) are not mapped by base pages then, but not at
 * all; pmdp_huge_clear_flush() flushes.
 *
 * It does not measure making huge pages, which is done for several at once
 * between operations, nor the splits that reclaim does by itself.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <tlbmark/workload.h>

#include "oracle.h"
#include "pages.h"
#include "updates.h"

enum { HOW, BACKING };
enum { HOW_BOUNDARY, HOW_MPROTECT, HOW_MUNMAP, HOW_DONTNEED, HOW_FREE };
enum {
	HUGE_PAGES = 8,	   /* made at once */
	COUNTED_EACH = 64, /* base pages of a huge one to each that is counted in */
	TRIES = 8,	   /* at a page that others hold, too, and after a loss; */
	LOSSES = 3,	   /* so many of them are no coincidence */
};

static const char *const hows[] = {"boundary", "mprotect", "munmap", "dontneed", "free", NULL};

static const struct tm_param params[] = {
	[HOW] = PAGES_CHOICE_PARAM("how", "what is done to one base page of the huge page", hows,
				   "boundary", "boundary,mprotect,munmap,dontneed,free"),
	[BACKING] = PAGES_CHOICE_PARAM("backing", "private memory, or shared memory",
				       pages_memory_backings, "anon", "anon,shared"),
	{.name = NULL},
};

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	if (pages_check(c, PAGES_THP, c->values[BACKING], HUGE_PAGES, why, why_size))
		return -ENOTSUP;
	if (c->values[HOW] == HOW_FREE && c->values[BACKING] != PAGES_ANON) {
		snprintf(why, why_size, "MADV_FREE is for private memory: use --backing anon");
		return -ENOTSUP;
	}
	return c->values[HOW] == HOW_FREE
		       ? pages_check_advice(MADV_FREE, "MADV_FREE (Linux 4.5)", why, why_size)
		       : pages_check_advice(MADV_DONTFORK, "MADV_DONTFORK", why, why_size);
}

static int knobs(const struct tm_cell_args *c, struct tm_sysstate *s)
{
	return pages_knobs(c, PAGES_THP, c->values[BACKING], HUGE_PAGES, s);
}

/* All whole again. */
static int fill(struct tm_thread *t, struct pages *p)
{
	int rc = pages_map(t, p, p->at, p->bytes, true);

	p->spot = 0;
	return rc ? rc : pages_must_be_huge(t, p, p->at, p->bytes);
}

static int prepare(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	int rc = pages_open(t, p, PAGES_THP, t->cell->values[BACKING], HUGE_PAGES);

	if (!rc)
		rc = pages_place(t, p, PAGES_ALIGNED, 1, 0);
	return rc ? rc : fill(t, p);
}

/* The next whole one; *rc where there is none to be had. */
static char *next_huge(struct tm_thread *t, struct pages *p, int *rc)
{
	*rc = p->spot < HUGE_PAGES ? 0 : fill(t, p);
	return p->at + p->spot++ * p->page_bytes;
}

/* The second base page is meant; what the oracle writes to is elsewhere. */
static inline int split(uint64_t how, char *huge, size_t base_bytes)
{
	char *at = huge + base_bytes;

	switch (how) {
	case HOW_MPROTECT:
		return mprotect(at, base_bytes, PROT_READ);
	case HOW_MUNMAP:
		return munmap(at, base_bytes);
	case HOW_DONTNEED:
		return madvise(at, base_bytes, MADV_DONTNEED);
	case HOW_FREE:
		return madvise(at, base_bytes, MADV_FREE);
	default:
		return madvise(at, base_bytes, MADV_DONTFORK);
	}
}

static int operate(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	uint64_t how = t->cell->values[HOW];
	uint32_t base_pages = (uint32_t)(p->page_bytes / t->page_bytes);
	int rc;

	while (tm_more(t)) {
		char *huge = next_huge(t, p, &rc);

		if (rc)
			return rc;
		pages_publish(t, huge, p->page_bytes, p->page_bytes);
		tm_begin(t);
		rc = split(how, huge, t->page_bytes);
		tm_end(t, base_pages);
		if (rc)
			return tm_fail(t, -errno, "splitting a huge page by %s", hows[how]);
	}
	return 0;
}

/* ---- the oracle ---- */

/* No page of ours counts as used any more; that flushes no TLB. */
static bool forget_uses(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, "1", 1) == 1;

	if (fd >= 0)
		close(fd);
	return done;
}

/*
 * Without a split there is nothing to see. MADV_FREE leaves a huge page whole that others
 * hold for a moment (madvise_free_huge_pmd()): that is no flush that is missing.
 */
static int split_for_certain(struct tm_thread *t, const struct pages *p, char *huge)
{
	const char *field = p->backing == PAGES_ANON ? "AnonHugePages" : "ShmemPmdMapped";
	size_t whole = pages_smaps_bytes(p->at, p->bytes, field);
	uint64_t how = t->cell->values[HOW];

	for (unsigned int i = 0; i < (how == HOW_FREE ? TRIES : 1); i++) {
		if (split(how, huge, t->page_bytes))
			return tm_fail(t, -errno, "splitting a huge page by %s", hows[how]);
		if (pages_smaps_bytes(p->at, p->bytes, field) < whole)
			return 0;
		pages_let_go(i);
	}
	return tm_fail(t, -EBUSY, "%s did not split the huge page", hows[how]);
}

/* The next huge page, written to and seen by all, and split; *rc where that failed. */
static char *split_next(struct oracle *o, struct pages *p, int *rc)
{
	char *huge = next_huge(o->t, p, rc);

	if (*rc)
		return huge;
	oracle_write(o, huge);
	*(volatile uint64_t *)(huge + o->t->page_bytes) = oracle_stamp(o, 0);
	oracle_see(o, huge, ORACLE_STAMP, "before the split");
	*rc = split_for_certain(o->t, p, huge);
	return huge;
}

/*
 * Content cannot tell who still translates by the huge entry: it leads to the
 * same page. But a CPU notes a use when it looks into the page tables, and with
 * a stale entry it does not look. Several pages, so that one which was looked
 * up ahead of its use does not matter. *last: the responder that did not look up
 * any, or all did: 1. 0, or -errno.
 */
static int all_look_up(struct oracle *o, const struct pages *p, const char *huge,
		       unsigned int *last)
{
	for (*last = 0; *last < o->t->cell->responders; ++*last) {
		uint64_t value;

		if (!forget_uses())
			return tm_fail(o->t, -EIO, "clearing the references");
		for (size_t i = 0; i < o->picks; i++) {
			int rc = tm_peek(o->t, *last, huge + o->offset[i], &value);

			if (rc)
				return tm_fail(o->t, rc, "responder %u reading a split page",
					       *last);
		}
		if (!pages_smaps_bytes(p->at, p->bytes, "Referenced"))
			return 0;
	}
	return 1;
}

/*
 * Reclaim, too, may forget uses at any time, so one loss proves nothing: it is a
 * violation when it comes again and again, each time with another page, newly split,
 * which *huge is at last. 0 or what tm_fail() returned.
 */
static int check_lookups(struct oracle *o, struct pages *p, char **huge)
{
	unsigned int last = 0;
	int rc, losses;

	if (!forget_uses())
		return 0; /* CONFIG_PROC_PAGE_MONITOR */
	rc = all_look_up(o, p, *huge, &last);
	losses = !rc;
	for (int i = 1; i < TRIES && losses && losses < LOSSES; i++) {
		*huge = split_next(o, p, &rc);
		if (!rc)
			rc = all_look_up(o, p, *huge, &last);
		if (rc < 0) {
			tm_unchecked(o->v, "%d losses of uses under a split page: no more of those",
				     losses);
			return rc;
		}
		losses += !rc;
	}
	if (rc < 0 || !o->t->cell->responders)
		return rc < 0 ? rc : 0;
	tm_check(o->v, losses < LOSSES,
		 "responder %u read %zu base pages after the split and looked up none", last,
		 o->picks);
	return 0;
}

/* The base page that was meant, seen from everywhere. */
static void check_meant(const struct oracle *o, char *huge, uint64_t how)
{
	bool anon = o->t->cell->values[BACKING] == PAGES_ANON;
	struct oracle meant = *o;

	meant.picks = 1;
	meant.offset[0] = o->t->page_bytes;
	if (how == HOW_MPROTECT)
		oracle_cannot_store(&meant, huge, true, "after the split and mprotect()");
	else if (how == HOW_MUNMAP)
		oracle_see(&meant, huge, ORACLE_FAULT, "after the split and munmap()");
	else if (how == HOW_DONTNEED)
		oracle_see(&meant, huge, anon ? ORACLE_ZERO : ORACLE_STAMP,
			   "after the split and MADV_DONTNEED");
	else if (how == HOW_BOUNDARY)
		oracle_see(&meant, huge, ORACLE_STAMP, "after the split");
}

/*
 * Shared pages are not mapped at all after the split: who takes them away from
 * the file has nothing to flush, and relies on the split for having done it.
 */
static int check_punched(struct oracle *o, const struct pages *p, char *huge)
{
	int rc = pages_punch(o->t, p, (size_t)(huge - p->at), p->page_bytes);

	if (!rc)
		oracle_see(o, huge, ORACLE_ZERO, "after the split and a hole in its place");
	return rc;
}

static int check_updates(struct tm_thread *t, struct pages *p, struct tm_verdict *v)
{
	uint64_t how = t->cell->values[HOW];
	struct updates u = {0};
	int rc = fill(t, p);

	if (!rc)
		rc = updates_start(t, &u, p->at, p->bytes, COUNTED_EACH * t->page_bytes);
	if (rc)
		return rc;
	for (unsigned int i = 0; i < HUGE_PAGES && !rc; i++) {
		if (split(how, p->at + i * p->page_bytes, t->page_bytes))
			rc = tm_fail(t, -errno, "splitting a huge page by %s", hows[how]);
	}
	p->spot = HUGE_PAGES;
	updates_stop(&u);
	if (!rc)
		updates_check(&u, v);
	return rc;
}

/* What all CPUs see of it, once it is split. */
static int check_split(struct oracle *o, struct pages *p, char *huge)
{
	uint64_t how = o->t->cell->values[HOW];
	int rc = 0;

	if (how == HOW_BOUNDARY && p->backing == PAGES_SHARED)
		return check_punched(o, p, huge);
	if (how == HOW_BOUNDARY)
		rc = check_lookups(o, p, &huge);
	if (rc)
		return rc;
	oracle_see(o, huge, ORACLE_STAMP, "after the split");
	check_meant(o, huge, how);
	return 0;
}

/*
 * All CPUs read pages of a huge page, which is split; all must find the same
 * content, the base page that was meant as it should be, and what others add
 * to words of the pages meanwhile must not be lost.
 */
static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct pages *p = pages_of(t, state);
	struct oracle o = {.t = t, .v = v, .stride = 2 * t->page_bytes};
	int rc;

	while (oracle_next(&o, p->page_bytes)) {
		char *huge = split_next(&o, p, &rc);

		rc = rc ? rc : check_split(&o, p, huge);
		if (!rc && o.rounds % HUGE_PAGES == 0)
			rc = check_updates(t, p, v);
		if (rc)
			return rc;
	}
	return 0;
}

const struct tm_workload tm_workload_thp_split = {
	.name = "thp_split",
	.summary = "splitting a transparent huge page",
	.op = "one call that means one base page of a huge page",
	.flushes = "__split_huge_pmd -> pmdp_invalidate",
	.needs = TM_NEEDS_THP,
	.gate = TM_GATE_EVERY,
	.params = params,
	.probe_cell = probe_cell,
	.knobs = knobs,
	.setup = pages_set_new,
	.prepare = prepare,
	.operate = operate,
	.verify = verify,
	.teardown = pages_set_free,
};
