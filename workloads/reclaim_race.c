// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * reclaim_race: zapping a page that somebody else is just reclaiming.
 *
 * Reclaim unmaps many pages and flushes them all together, at the end
 * (TTU_BATCH_FLUSH, try_to_unmap_flush()). Who finds such a page gone from the
 * page table meanwhile has nothing left to unmap, and would not flush; the CPUs
 * could still read it when the call returns. So zap_pte_range() and its like
 * ask whether such a flush is pending and make it themselves:
 * flush_tlb_batched_pending(). Here another does so, too: MADV_PAGEOUT gathers for
 * the same mm, and who ends a gathering beside another one flushes all of the mm
 * (mm_tlb_flush_nested() in tlb_finish_mmu()). Only if both were forgotten would a
 * translation be stale.
 *
 * Timed: one madvise(MADV_DONTNEED) of the first page of a file's mapping, once
 * a second thread, which reclaims all of it by MADV_PAGEOUT, has taken that
 * page. Both hold mmap_lock for reading only. That thread's own flush interrupts
 * the responders as well, inside the operation or after it. Times when it had
 * already returned are no operation: the counter `late`.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <tlbmark/arch.h>
#include <tlbmark/workload.h>

#include "oracle.h"
#include "pages.h"

enum {
	AREA_PAGES = 512, /* one walk of MADV_PAGEOUT, and one flush */
	LATE_MAX = 256,	  /* in a row: then the two never meet here */
	VERIFY_TRIES = 16,
};

enum { COUNT_LATE };
static const char *const counters[] = {"late", NULL};

struct race {
	struct pages *pages;
	pthread_t thread;
	bool started;
	unsigned int not_here; /* the initiator's CPU */
	uint32_t asked;
	_Atomic uint32_t turn, done; /* reclaim number `turn` is asked for, is over */
	_Atomic bool stop;
	_Atomic int error;
};

struct state {
	void *set; /* of pages */
	struct race race;
};

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	if (c->initiators > 1) {
		snprintf(why, why_size, "its second thread is the process's: one initiator");
		return -ENOTSUP;
	}
	if (pages_check_advice(MADV_PAGEOUT, "MADV_PAGEOUT (Linux 5.4)", why, why_size))
		return -ENOTSUP;
	return pages_check(c, PAGES_4K, PAGES_FILE, AREA_PAGES, why, why_size);
}

/* ---- the thread that reclaims ---- */

static void *reclaim(void *argument)
{
	struct race *r = argument;
	uint32_t seen = 0, turn;
	cpu_set_t others;

	memset(&others, 0xff, sizeof(others));
	CPU_CLR(r->not_here, &others);
	sched_setaffinity(0, sizeof(others), &others);
	while (!atomic_load_explicit(&r->stop, memory_order_relaxed)) {
		turn = atomic_load_explicit(&r->turn, memory_order_acquire);
		if (turn == seen) {
			sched_yield();
			continue;
		}
		seen = turn;
		if (madvise(r->pages->at, r->pages->bytes, MADV_PAGEOUT))
			atomic_store(&r->error, -errno);
		atomic_store_explicit(&r->done, turn, memory_order_release);
	}
	return NULL;
}

static bool is_over(const struct race *r)
{
	return atomic_load_explicit(&r->done, memory_order_acquire) == r->asked;
}

static int start(struct tm_thread *t, struct race *r)
{
	int rc;

	r->not_here = t->cpu;
	rc = -pthread_create(&r->thread, NULL, reclaim, r);
	if (rc)
		return tm_fail(t, rc, "starting a thread that reclaims");
	r->started = true;
	return 0;
}

static void stop(struct race *r)
{
	atomic_store(&r->stop, true);
	/* pthread_join() needs a futex, which not all kernels have. */
	while (r->started && pthread_tryjoin_np(r->thread, NULL) == EBUSY)
		sched_yield();
	r->started = false;
	atomic_store(&r->stop, false);
}

/* Still in the page cache? Reclaim unmaps a page right before it takes it out of there. */
static bool is_resident(const struct race *r)
{
	unsigned char in_memory = 0;

	return !mincore(r->pages->at, r->pages->page_bytes, &in_memory) && (in_memory & 1);
}

/* Until the first page is gone. False: the other thread was done before that was seen. */
static bool meets(struct race *r)
{
	atomic_store_explicit(&r->turn, ++r->asked, memory_order_release);
	while (is_resident(r)) {
		if (is_over(r))
			return false;
		tm_relax();
	}
	return !is_over(r);
}

static int finish(struct tm_thread *t, struct race *r)
{
	int rc;

	while (!is_over(r))
		sched_yield();
	rc = atomic_load(&r->error);
	return rc ? tm_fail(t, rc, "MADV_PAGEOUT of %zu bytes", r->pages->bytes) : 0;
}

static int fill(struct tm_thread *t, const struct race *r)
{
	return pages_populate(t, r->pages->at, r->pages->bytes, r->pages->page_bytes, false);
}

static int give_up(struct tm_thread *t)
{
	return tm_fail(t, -ENOTSUP,
		       "the page was gone and the reclaiming over %d times in a row: its file "
		       "system does not give pages up (set TMPDIR to another disk), or the two "
		       "threads never run at once here",
		       LATE_MAX);
}

/* ---- the operation ---- */

static int setup(struct tm_thread *t, void **out)
{
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return tm_fail(t, -ENOMEM, "no memory for the state");
	*out = s;
	return pages_set_new(t, &s->set);
}

static int prepare(struct tm_thread *t, void *state)
{
	struct state *s = state;
	struct pages *p = pages_of(t, s->set);
	int rc = pages_open(t, p, PAGES_4K, PAGES_FILE, AREA_PAGES);

	s->race.pages = p;
	rc = rc ? rc : pages_place(t, p, PAGES_ALIGNED, 1, 0);
	return rc ? rc : pages_map(t, p, p->at, p->bytes, false);
}

static int operate_all(struct tm_thread *t, struct race *r)
{
	struct pages *p = r->pages;
	uint64_t late = 0;

	while (tm_more(t)) {
		int rc = fill(t, r), failed;
		uint64_t begin, end;

		if (rc)
			return rc;
		pages_publish(t, p->at, p->page_bytes, p->page_bytes);
		tm_arm(t);
		if (!meets(r)) {
			rc = finish(t, r);
			if (rc || ++late == LATE_MAX)
				return rc ? rc : give_up(t);
			continue;
		}
		*t->in_operation = 1;
		begin = tm_ticks_begin();
		failed = madvise(p->at, p->page_bytes, MADV_DONTNEED);
		end = tm_ticks_end();
		*t->in_operation = 0;
		tm_commit(t, begin, end, 1);
		if (failed)
			return tm_fail(t, -errno, "MADV_DONTNEED of a page");
		rc = finish(t, r);
		if (rc)
			return rc;
		tm_count(t, COUNT_LATE, late);
		late = 0;
	}
	return 0;
}

static int operate(struct tm_thread *t, void *state)
{
	struct race *r = &((struct state *)state)->race;
	int rc = start(t, r);

	rc = rc ? rc : operate_all(t, r);
	stop(r);
	return rc;
}

/* ---- the oracle ---- */

/* The file's new content, not through the mapping; and clean, or it would not be reclaimed. */
static int rewrite(struct tm_thread *t, const struct oracle *o, const struct pages *p)
{
	uint64_t stamp = oracle_stamp(o, 0);

	if (pwrite(p->fd, &stamp, sizeof(stamp), 0) == (ssize_t)sizeof(stamp))
		return 0;
	return tm_fail(t, errno ? -errno : -EIO, "writing to the file");
}

/* One meeting: 1 if there was one, 0 if it was late; -errno. */
static int meet_once(struct oracle *o, struct race *r)
{
	struct pages *p = r->pages;
	struct tm_verdict before;
	bool met = false;
	int rc;

	oracle_renew(o);
	rc = rewrite(o->t, o, p);
	if (!rc && fdatasync(p->fd))
		rc = tm_fail(o->t, -errno, "syncing the file");
	rc = rc ? rc : fill(o->t, r);
	if (rc)
		return rc;
	/* Where the two never meet nothing was checked. */
	before = *o->v;
	oracle_see(o, p->at, ORACLE_STAMP, "before it was reclaimed");
	if (!meets(r)) {
		if (o->v->violations == before.violations)
			*o->v = before;
	} else {
		if (madvise(p->at, p->page_bytes, MADV_DONTNEED))
			rc = tm_fail(o->t, -errno, "MADV_DONTNEED of a page");
		oracle_renew(o);
		rc = rc ? rc : rewrite(o->t, o, p);
		/* It is in the page cache again, and another page; who faults finds that. */
		if (!rc)
			oracle_see(o, p->at, ORACLE_STAMP,
				   "after MADV_DONTNEED of what was being reclaimed");
		met = true;
	}
	return finish(o->t, r) ? -EIO : rc ? rc : met;
}

/*
 * The responders read a page, which the other thread then reclaims; as soon as it
 * is gone, it is zapped, and the file gets new content. A responder that still reads
 * the old has a translation that was to be flushed by whoever came first.
 */
static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct race *r = &((struct state *)state)->race;
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};
	int rc = start(t, r);

	while (rc >= 0 && oracle_next(&o, t->page_bytes)) {
		rc = 0;
		for (int i = 0; i < VERIFY_TRIES && !rc; i++)
			rc = meet_once(&o, r);
	}
	stop(r);
	return rc < 0 ? rc : 0;
}

static void teardown(void *state)
{
	struct state *s = state;

	stop(&s->race);
	if (s->set)
		pages_set_free(s->set);
	free(s);
}

const struct tm_workload tm_workload_reclaim_race = {
	.name = "reclaim_race",
	.summary = "zapping a page that another thread is reclaiming",
	.op = "one madvise(MADV_DONTNEED) of a page whose flush is pending",
	.flushes = "flush_tlb_batched_pending, tlb_finish_mmu",
	.gate = TM_GATE_SOME,
	.no_control = true, /* the other thread is interrupted, too */
	.overlap = true,    /* with the reclaiming, which flushes as well */
	.counters = counters,
	.probe_cell = probe_cell,
	.setup = setup,
	.prepare = prepare,
	.operate = operate,
	.verify = verify,
	.teardown = teardown,
};
