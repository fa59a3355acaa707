// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * ksm: equal pages are merged to one, and become separate again.
 *
 * Timed, with --how unmerge: one madvise(MADV_UNMERGEABLE) of --pages pages
 * that ksmd has merged. The kernel gives each its own copy, as a write would
 * (break_ksm()), and flushes each by itself: wp_page_copy() ->
 * ptep_clear_flush().
 *
 * With --how merge: from when equal pages are there until ksmd has merged
 * them, which is some of its rounds and says how long it takes, not what it
 * costs. ksmd makes each page read-only before it compares, and puts the
 * common page in its place, and flushes for both (write_protect_page(),
 * replace_page() -> ptep_clear_flush()). It does so on a CPU that the scheduler
 * gives it: a responder on that CPU is not interrupted but put aside, and so
 * not every operation interrupts every responder.
 *
 * It does not measure a write to a merged page; cow --from ksm does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <tlbmark/workload.h>

#include "child.h"
#include "ksmd.h"
#include "pages.h"
#include "witness.h"

enum { PAGES, HOW };
enum { HOW_UNMERGE, HOW_MERGE };
enum {
	AREA_PAGES = 1024, /* merged at once */
	MOST_PAGES = AREA_PAGES / 2,
	/*
	 * So each is equal to some others, and far fewer than the 256 of which the
	 * kernel makes one page: at that limit ksmd tries in vain, again and again.
	 */
	CONTENTS = 64,
	MOST_ROUNDS = 8,   /* each waits for ksmd, */
	MOST_SECONDS = 20, /* and after so many none begins */
	STORES_MS = 1000,  /* a writer beside ksmd */
};

static const char *const hows[] = {"unmerge", "merge", NULL};

static const struct tm_param params[] = {
	[PAGES] = {.name = "pages",
		   .unit = "pages",
		   .help = "pages that one operation covers",
		   .kind = TM_PARAM_UINT,
		   .min = 1,
		   .max = MOST_PAGES,
		   .def = "1",
		   .plan = "1,32",
		   .full = "1,8,32..34,512"},
	[HOW] = PAGES_CHOICE_PARAM("how", "making merged pages separate, or waiting for ksmd", hows,
				   "unmerge", "unmerge,merge"),
	{.name = NULL},
};

/* Pages of the area: whole operations; the rest of the state is in struct pages. */
static size_t area_pages(const struct tm_cell_args *c)
{
	return AREA_PAGES / c->values[PAGES] * c->values[PAGES];
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	int rc = ksmd_check(c, why, why_size);

	return rc ? rc : pages_check(c, PAGES_4K, PAGES_ANON, 2 * AREA_PAGES, why, why_size);
}

static int knobs(const struct tm_cell_args *c, struct tm_sysstate *system)
{
	(void)c;
	/* The whole area twice: equal pages are found the second time. */
	return ksmd_knobs(system, 2 * AREA_PAGES);
}

/* ---- equal pages ---- */

/* Neighbours differ, so that mixing them would show. */
static uint64_t content(size_t page)
{
	return UINT64_C(0x746c626d61726b00) + page % CONTENTS;
}

static volatile uint64_t *first_word(const struct pages *p, size_t page)
{
	return (uint64_t *)(p->at + page * p->page_bytes);
}

static volatile uint64_t *last_word(const struct pages *p, size_t page)
{
	return (uint64_t *)(p->at + (page + 1) * p->page_bytes) - 1;
}

static void fill(const struct pages *p, size_t first, size_t count)
{
	for (size_t i = first; i < first + count; i++) {
		*first_word(p, i) = content(i);
		*last_word(p, i) = content(i);
	}
}

static void sleep_ms(unsigned int ms)
{
	const struct timespec pause = {.tv_nsec = ms * 1000000L};

	nanosleep(&pause, NULL);
}

static int advise(struct tm_thread *t, const struct pages *p, int advice, const char *name)
{
	if (!madvise(p->at, p->bytes, advice))
		return 0;
	return tm_fail(t, errno == EINVAL ? -ENOTSUP : -errno, "%s of %zu bytes", name, p->bytes);
}

/* All of the area is merged; the first operation begins with its first page. */
static int merge_all(struct tm_thread *t, struct pages *p)
{
	int rc = advise(t, p, MADV_MERGEABLE, "MADV_MERGEABLE");

	p->spot = 0;
	fill(p, 0, p->bytes / p->page_bytes);
	return rc ? rc : ksmd_wait(t, p->at, p->bytes / p->page_bytes, 0);
}

static int prepare(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	int rc = pages_open(t, p, PAGES_4K, PAGES_ANON, area_pages(t->cell));

	if (!rc)
		rc = pages_place(t, p, PAGES_KEEP_TABLES, 1, 0);
	if (!rc)
		rc = pages_map(t, p, p->at, p->bytes, false);
	/* A foreign responder is made by fork(): ksmd is to have nothing to do there. */
	if (!rc)
		rc = advise(t, p, MADV_DONTFORK, "MADV_DONTFORK");
	return rc ? rc : merge_all(t, p);
}

/* ---- the operations ---- */

static int operate_unmerge(struct tm_thread *t, struct pages *p)
{
	size_t count = t->cell->values[PAGES], bytes = count * p->page_bytes;

	while (tm_more(t)) {
		char *at = p->at + p->spot * p->page_bytes;
		int rc;

		if (at == p->at + p->bytes) {
			rc = merge_all(t, p);
			if (rc)
				return rc;
			at = p->at;
		}
		p->spot += count;
		pages_publish(t, at, bytes, p->page_bytes);
		tm_begin(t);
		rc = madvise(at, bytes, MADV_UNMERGEABLE);
		tm_end(t, (uint32_t)count);
		if (rc)
			return tm_fail(t, -errno, "MADV_UNMERGEABLE of %zu pages", count);
	}
	return 0;
}

/* The first pages of the area become separate and equal; the others stay merged. */
static int operate_merge(struct tm_thread *t, struct pages *p)
{
	size_t count = t->cell->values[PAGES];

	while (tm_more(t)) {
		int rc;

		fill(p, 0, count);
		pages_publish(t, p->at, count * p->page_bytes, p->page_bytes);
		tm_begin(t);
		rc = ksmd_wait(t, p->at, count, 0);
		tm_end(t, (uint32_t)count);
		if (rc)
			return rc;
	}
	return 0;
}

static int operate(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);

	return t->cell->values[HOW] == HOW_MERGE ? operate_merge(t, p) : operate_unmerge(t, p);
}

/* ---- the oracle ---- */

/* The page holds what was written to it, from everywhere, and its twin what it held. */
static int check_page(struct tm_thread *t, const struct pages *p, size_t page, uint64_t value,
		      const char *when, struct tm_verdict *v)
{
	int rc = witness_all_read(t, first_word(p, page), value, when, v);

	rc = rc ? rc
		: witness_all_read(t, first_word(p, page + CONTENTS), content(page),
				   "in a page equal before", v);
	return rc ? rc
		  : witness_all_read(t, last_word(p, page), content(page), "in the page's rest", v);
}

/*
 * A thread on other CPUs that never stops to read the pages that are to be merged,
 * and so has a translation again right after ksmd has made a page read-only.
 */
struct reader {
	pthread_t thread;
	const struct pages *pages;
	unsigned int not_here;
	_Atomic bool stop;
	_Atomic uint64_t passes;
	uint64_t wrong[CONTENTS]; /* the last one, exclusive-or what it should be */
};

static void *read_always(void *argument)
{
	struct reader *r = argument;

	tm_roam((int)r->not_here);
	while (!atomic_load_explicit(&r->stop, memory_order_relaxed)) {
		for (size_t i = 0; i < CONTENTS; i++) {
			uint64_t value = *first_word(r->pages, i) ^ content(i);

			if (value)
				r->wrong[i] = value;
		}
		atomic_fetch_add(&r->passes, 1);
	}
	return NULL;
}

/* It has begun anew, and gone over all, since this was called. */
static void await_passes(struct reader *r)
{
	uint64_t end = atomic_load(&r->passes) + 2;

	while (atomic_load(&r->passes) < end)
		sleep_ms(1);
}

/*
 * A child that shares the pages as they were before they were merged, and so
 * has them for itself once they are: what it then writes is seen by whoever
 * still has a translation that ksmd took away. (A page that is only freed
 * keeps its content until somebody has the luck to be given it.)
 */
static void write_to_old(struct tm_child *c, void *argument)
{
	const struct pages *p = argument;

	for (;;) {
		tm_child_next(c);
		for (size_t i = 0; i < CONTENTS; i++)
			*first_word(p, i) = ~content(i);
		tm_child_answer(c, 0);
	}
}

/* Not mergeable there: ksmd would merge them as well. */
static int start_child(struct tm_thread *t, struct pages *p, struct tm_child *c)
{
	static const int before[] = {MADV_UNMERGEABLE, MADV_DOFORK},
			 after[] = {MADV_DONTFORK, MADV_MERGEABLE};
	size_t bytes = CONTENTS * p->page_bytes;
	int rc = 0;

	for (size_t i = 0; i < 2 && !rc; i++)
		rc = madvise(p->at, bytes, before[i]) ? -errno : 0;
	rc = rc ? rc : tm_child_start(c, write_to_old, p);
	for (size_t i = 0; i < 2 && !rc; i++)
		rc = madvise(p->at, bytes, after[i]) ? -errno : 0;
	return rc ? tm_child_failed(t, c, rc, "forking a process that keeps the pages") : 0;
}

/* The reader stops once it has looked at what the child wrote. */
static int merge_beside_reader(struct tm_thread *t, struct pages *p, struct tm_child *child,
			       struct reader *r)
{
	int rc = -pthread_create(&r->thread, NULL, read_always, r);

	if (rc)
		return tm_fail(t, rc, "starting a thread that reads");
	rc = ksmd_wait(t, p->at, CONTENTS, child->pid);
	if (!rc) {
		rc = tm_child_ask(child, 0);
		if (rc)
			tm_child_failed(t, child, rc, "writing to the pages of before");
		else
			await_passes(r);
	}
	atomic_store(&r->stop, true);
	pthread_join(r->thread, NULL);
	return rc;
}

static int merge_watched(struct tm_thread *t, struct pages *p, struct tm_verdict *v)
{
	struct reader r = {.pages = p, .not_here = t->cpu};
	struct tm_child child = {0};
	int rc = tm_child_open(&child);

	if (rc)
		return tm_fail(t, rc, "a page shared with a child");
	rc = start_child(t, p, &child);
	rc = rc ? rc : merge_beside_reader(t, p, &child, &r);
	/* Also of a wait that failed; not where it never read. */
	for (size_t i = 0; i < CONTENTS && atomic_load(&r.passes); i++)
		tm_check(v, !r.wrong[i],
			 "one that reads always saw %#llx in a merged page, not %#llx",
			 (unsigned long long)(r.wrong[i] ^ content(i)),
			 (unsigned long long)content(i));
	for (size_t i = 0; i < CONTENTS && !rc; i++)
		rc = witness_all_read(t, first_word(p, i), content(i), "after it was merged", v);
	tm_child_close(&child);
	return rc;
}

/*
 * One CPU in turn writes to merged pages, one of each content, so that it has translations which
 * allow it, and writes back what was there: ksmd merges them again. What it
 * writes then must be a page of its own, too: through a translation that was
 * not flushed it would go to a page that nobody maps any more, or to one that
 * all share.
 */
static int check_round(struct tm_thread *t, struct pages *p, unsigned int writer,
		       struct tm_verdict *v)
{
	uint64_t value = tm_random(t);
	int rc = 0;

	for (size_t i = 0; i < CONTENTS && !rc; i++) {
		rc = witness_all_read(t, first_word(p, i), content(i), "in a merged page", v);
		rc = rc ? rc : witness_store(t, writer, first_word(p, i), value + i);
		rc = rc ? rc : check_page(t, p, i, value + i, "after the write", v);
	}
	for (size_t i = 0; i < CONTENTS && !rc; i++)
		rc = witness_store(t, writer, first_word(p, i), content(i));
	rc = rc ? rc : merge_watched(t, p, v);
	for (size_t i = 0; i < CONTENTS && !rc; i++)
		rc = witness_store(t, writer, first_word(p, i), value - i);
	for (size_t i = 0; i < CONTENTS && !rc; i++)
		rc = check_page(t, p, i, value - i, "written after it was merged", v);
	/* Apart without a write: the same content. */
	if (!rc) {
		fill(p, 0, CONTENTS);
		rc = ksmd_wait(t, p->at, CONTENTS, 0);
	}
	rc = rc ? rc : advise(t, p, MADV_UNMERGEABLE, "MADV_UNMERGEABLE");
	for (size_t i = 0; i < CONTENTS && !rc; i++)
		rc = witness_all_read(t, first_word(p, i), content(i), "after MADV_UNMERGEABLE", v);
	return rc ? rc : merge_all(t, p);
}

/*
 * A thread that writes all the time to one page of each content: another word, and again
 * what makes it equal to others. ksmd merges each that it finds equal; a store that
 * comes through a translation which was not made read-only before ksmd compared
 * is lost when the common page takes its place. Of a single page that would be one
 * attempt a round of ksmd, of which few succeed: it has to look at an equal page twice.
 */
struct writer {
	pthread_t thread;
	const struct pages *pages;
	unsigned int not_here;
	_Atomic bool stop;
	uint64_t stores, lost;
	uint64_t page, seen, stored; /* of one that was lost */
};

static void *write_always(void *argument)
{
	struct writer *w = argument;
	uint64_t stored[CONTENTS];

	tm_roam((int)w->not_here);
	for (size_t i = 0; i < CONTENTS; i++)
		stored[i] = content(i);
	while (!atomic_load_explicit(&w->stop, memory_order_relaxed)) {
		for (size_t i = 0; i < CONTENTS; i++) {
			volatile uint64_t *word = first_word(w->pages, i);
			uint64_t seen = *word;

			if (seen != stored[i]) {
				w->lost++;
				w->page = i;
				w->seen = seen;
				w->stored = stored[i];
			}
			*word = stored[i] = ~stored[i];
		}
		w->stores += CONTENTS;
	}
	fill(w->pages, 0, CONTENTS);
	return NULL;
}

static int check_stores(struct tm_thread *t, struct pages *p, struct tm_verdict *v)
{
	struct writer w = {.pages = p, .not_here = t->cpu};
	int rc = -pthread_create(&w.thread, NULL, write_always, &w);

	if (rc)
		return tm_fail(t, rc, "starting a thread that writes");
	for (int waited = 0; waited < STORES_MS; waited += 10)
		sleep_ms(10);
	atomic_store(&w.stop, true);
	pthread_join(w.thread, NULL);
	tm_check(
		v, !w.lost,
		"%llu of %llu stores lost while ksmd worked: page %llu held %#llx after storing %#llx",
		(unsigned long long)w.lost, (unsigned long long)w.stores,
		(unsigned long long)w.page, (unsigned long long)w.seen,
		(unsigned long long)w.stored);
	for (size_t i = 0; i < CONTENTS && !rc; i++)
		rc = witness_all_read(t, first_word(p, i), content(i), "beside the stores", v);
	return rc ? rc : ksmd_wait(t, p->at, CONTENTS, 0);
}

static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct pages *p = pages_of(t, state);
	uint64_t rounds = v->rounds < MOST_ROUNDS ? v->rounds : MOST_ROUNDS;
	uint64_t first = tm_random(t) >> 32; /* of the writers: a slow machine has but one round */
	struct timespec now;
	time_t end;
	int rc;

	clock_gettime(CLOCK_MONOTONIC, &now);
	end = now.tv_sec + MOST_SECONDS;
	rc = merge_all(t, p);
	rc = rc ? rc : check_stores(t, p, v);
	for (uint64_t i = 0; i < rounds && !rc && (!i || now.tv_sec < end); i++) {
		rc = check_round(t, p, (unsigned int)((first + i) % witness_count(t)), v);
		clock_gettime(CLOCK_MONOTONIC, &now);
	}
	return rc ? tm_fail(t, rc, "checking merged pages") : 0;
}

static enum tm_gate gate_of(const struct tm_cell_args *c)
{
	return c->values[HOW] == HOW_MERGE ? TM_GATE_SOME : TM_GATE_EVERY;
}

const struct tm_workload tm_workload_ksm = {
	.name = "ksm",
	.summary = "merging equal pages, and making them separate",
	.op = "one madvise(MADV_UNMERGEABLE) of --pages merged pages, or merging them",
	.flushes = "wp_page_copy, write_protect_page, replace_page -> ptep_clear_flush",
	.gate = TM_GATE_EVERY,
	.gate_of = gate_of,
	.switches = true, /* it sleeps until ksmd has merged */
	.params = params,
	.probe_cell = probe_cell,
	.knobs = knobs,
	.setup = pages_set_new,
	.prepare = prepare,
	.operate = operate,
	.patient = true,
	.verify = verify,
	.teardown = pages_set_free,
};
