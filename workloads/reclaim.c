// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * reclaim: a memory cgroup gives pages in use back, because it has to.
 *
 * Timed: one write to the cgroup that the process is in: a lower limit (--how
 * limit: memory.high, or memory.limit_in_bytes of version 1) or
 * memory.reclaim (reclaim), each for at least --pages pages more than there
 * may be. The kernel looks for pages on its lists as kswapd does, makes those
 * old that were used, unmaps the next time those that stayed old
 * (try_to_unmap(), which only notes that a flush is due), and flushes in
 * try_to_unmap_flush() before it frees them, once for up to 32 pages. So an
 * operation interrupts a responder as often as it needs batches. What was
 * really taken is counted (reclaimed).
 *
 * The pages are clean pages of a file (--backing file), which may be dropped
 * without writing, or private memory, for which there must be swap. The limit
 * counts pages that a CPU keeps in stock as used, and gives these up first:
 * it is set low enough for both. It does not measure reading pages back.
 * madvise_pageout does the same for pages that the process itself names.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include <tlbmark/workload.h>

#include "memory_group.h"
#include "pages.h"
#include "reclaimed.h"

enum { PAGES, BACKING, HOW };
enum { BACKING_FILE, BACKING_ANON };
enum { HOW_LIMIT, HOW_RECLAIM };
enum { RECLAIMED };
enum {
	SPARE_PAGES = 64, /* mapped beyond what has to go: a batch may take more */
};

static const char *const backings[] = {"file", "anon", NULL};
static const char *const hows[] = {"limit", "reclaim", NULL};

static const struct tm_param params[] = {
	[PAGES] = {.name = "pages",
		   .unit = "pages",
		   .help = "pages that have to go at least",
		   .kind = TM_PARAM_UINT,
		   .min = 1,
		   .max = 1 << 20,
		   .def = "32",
		   .plan = "32",
		   .full = "1,32,512"},
	[BACKING] =
		PAGES_CHOICE_PARAM("backing", "a file on a disk, or private memory (needs swap)",
				   backings, "file", "file,anon"),
	[HOW] = PAGES_CHOICE_PARAM("how", "lowering the cgroup's limit, or memory.reclaim", hows,
				   "limit", "limit,reclaim"),
	{.name = NULL},
};

static const char *const counters[] = {"reclaimed", NULL};

struct state {
	void *set; /* of pages */
	size_t mapped_pages;
	struct memory_group group;
};

static enum pages_backing backing_of(const struct tm_cell_args *c)
{
	return c->values[BACKING] == BACKING_FILE ? PAGES_FILE : PAGES_ANON;
}

static enum memory_group_how how_of(const struct tm_cell_args *c)
{
	return c->values[HOW] == HOW_LIMIT ? MEMORY_GROUP_LIMIT : MEMORY_GROUP_RECLAIM;
}

static uint64_t mapped_pages(const struct tm_cell_args *c)
{
	return c->values[PAGES] + MEMORY_GROUP_STOCK_PAGES + SPARE_PAGES;
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	uint64_t bytes = mapped_pages(c) * pages_kind_bytes(PAGES_4K);

	if (c->initiators > 1) {
		snprintf(why, why_size, "the cgroup is the whole process's: one initiator");
		return -ENOTSUP;
	}
	if (memory_group_check_how(how_of(c), why, why_size) ||
	    (backing_of(c) == PAGES_ANON && reclaimed_check_swap(bytes, why, why_size)))
		return -ENOTSUP;
	return pages_check(c, PAGES_4K, backing_of(c), mapped_pages(c), why, why_size);
}

static int knobs(const struct tm_cell_args *c, struct tm_sysstate *s)
{
	(void)c;
	return memory_group_knobs(s);
}

static int setup(struct tm_thread *t, void **out)
{
	struct state *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return tm_fail(t, -ENOMEM, "no memory for the state");
	memory_group_init(&s->group);
	*out = s;
	rc = pages_set_new(t, &s->set);
	/* Where pages of a file are meant, none of what else the process has. */
	return rc ? rc
		  : memory_group_enter(t, &s->group, how_of(t->cell),
				       backing_of(t->cell) == PAGES_FILE);
}

static int reclaim(struct tm_thread *t, const struct pages *p, void *argument)
{
	const struct state *s = argument;

	(void)p;
	return memory_group_shrink(t, &s->group, t->cell->values[PAGES]);
}

static int count_gone(struct tm_thread *t, const struct state *s, const struct pages *p,
		      uint64_t *gone)
{
	long left = reclaimed_resident(p);

	if (left < 0)
		return tm_fail(t, (int)left, "mincore of %zu bytes", p->bytes);
	*gone = s->mapped_pages - (uint64_t)left;
	return 0;
}

static int prepare(struct tm_thread *t, void *state)
{
	struct state *s = state;
	struct pages *p = pages_of(t, s->set);
	uint64_t gone = 0;
	int rc;

	s->mapped_pages = mapped_pages(t->cell);
	rc = pages_open(t, p, PAGES_4K, backing_of(t->cell), s->mapped_pages);
	rc = rc ? rc : pages_place(t, p, PAGES_ALIGNED, 1, 0);
	rc = rc ? rc : pages_map(t, p, p->at, p->bytes, false);
	/* Whether it takes these pages is found by trying. */
	rc = rc ? rc : reclaim(t, p, s);
	rc = rc ? rc : count_gone(t, s, p, &gone);
	if (!rc && gone < t->cell->values[PAGES])
		rc = tm_fail(t, -ENOTSUP,
			     "the cgroup gave up %" PRIu64 " of %" PRIu64
			     " pages: its file system does not give them up (set TMPDIR to "
			     "another disk), swap is full, or others of this process went first",
			     gone, t->cell->values[PAGES]);
	return rc;
}

static int operate(struct tm_thread *t, void *state)
{
	struct state *s = state;
	struct pages *p = pages_of(t, s->set);
	uint64_t gone = 0;
	char text[MEMORY_GROUP_TEXT];

	while (tm_more(t)) {
		int rc = reclaimed_fill(t, p), failed;

		rc = rc ? rc : memory_group_word(t, &s->group, t->cell->values[PAGES], text);
		if (rc)
			return rc;
		pages_publish(t, p->at, p->bytes, p->page_bytes);
		tm_begin(t);
		failed = memory_group_ask(&s->group, text);
		tm_end(t, (uint32_t)t->cell->values[PAGES]);
		if (failed)
			return tm_fail(t, failed, "asking the cgroup for pages");
		rc = memory_group_release(t, &s->group);
		rc = rc ? rc : count_gone(t, s, p, &gone);
		if (rc)
			return rc;
		tm_count(t, RECLAIMED, gone);
	}
	return 0;
}

static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct state *s = state;

	return reclaimed_verify(t, pages_of(t, s->set), v, reclaim, s, "reclaim");
}

static void teardown(void *state)
{
	struct state *s = state;

	memory_group_close(&s->group);
	if (s->set)
		pages_set_free(s->set);
	free(s);
}

const struct tm_workload tm_workload_reclaim = {
	.name = "reclaim",
	.summary = "a memory cgroup giving back pages in use",
	.op = "one lowering of its limit, or memory.reclaim, by --pages pages",
	.flushes = "try_to_unmap_flush",
	.needs = TM_NEEDS_ROOT,
	.gate = TM_GATE_EVERY,
	.switches = true, /* reclaim waits for others, and yields */
	.patient = true,  /* sixteen times, and 100 ms each, where too little can go */
	.params = params,
	.counters = counters,
	.probe = memory_group_check,
	.probe_cell = probe_cell,
	.knobs = knobs,
	.setup = setup,
	.prepare = prepare,
	.operate = operate,
	.verify = verify,
	.teardown = teardown,
};
