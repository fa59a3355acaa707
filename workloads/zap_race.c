// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * zap_race: zapping a page that another thread is just zapping.
 *
 * MADV_DONTNEED takes pages out of page table after page table and flushes when
 * it has them all (a gathering: tlb_gather_mmu() to tlb_finish_mmu()), with
 * mmap_lock held for reading only. Who zaps one of these pages meanwhile finds
 * nothing to take and has nothing of its own to flush; but CPUs could still read
 * the page when that call returns. So tlb_finish_mmu() asks whether another
 * gathering of the same mm is under way (mm_tlb_flush_nested()), and flushes all of
 * the mm then.
 *
 * Timed: one madvise(MADV_DONTNEED) of a page of private memory, which a second
 * thread has just taken with that page and BESIDE_PAGES behind it. The page is the
 * last of its page table, so that its lock is free again at once. That thread's own
 * flush interrupts the responders as well, inside the operation or after it. Times
 * when it had already returned are no operation: the counter `late`.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <tlbmark/workload.h>

#include "oracle.h"
#include "pages.h"
#include "rival.h"

enum {
	TABLE_PAGES = 512,   /* of a page table, on all processors with pages of 4 KiB */
	BESIDE_PAGES = 1024, /* in other tables, whose zapping takes a while */
	AREA_PAGES = TABLE_PAGES + BESIDE_PAGES,
	VERIFY_TRIES = 16, /* a round; the two meet in the right moment by chance */
};

enum { COUNT_LATE };
static const char *const counters[] = {"late", NULL};

struct state {
	void *set; /* of pages */
	struct rival rival;
	char *page;   /* what both take */
	size_t bytes; /* what the other takes, from there on */
};

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	if (c->initiators > 1) {
		snprintf(why, why_size, "its second thread is the process's: one initiator");
		return -ENOTSUP;
	}
	if (pages_check_advice(MADV_DONTNEED, "MADV_DONTNEED", why, why_size))
		return -ENOTSUP;
	return pages_check(c, PAGES_4K, PAGES_ANON, AREA_PAGES, why, why_size);
}

static int zap_all(struct tm_thread *t, void *argument)
{
	const struct state *s = argument;

	if (!madvise(s->page, s->bytes, MADV_DONTNEED))
		return 0;
	return tm_fail(t, -errno, "MADV_DONTNEED of %zu bytes", s->bytes);
}

static int fill(struct tm_thread *t, const struct state *s)
{
	return pages_populate(t, s->page, s->bytes, t->page_bytes, true);
}

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
	int rc = pages_open(t, p, PAGES_4K, PAGES_ANON, AREA_PAGES);

	rc = rc ? rc : pages_place(t, p, PAGES_ALIGNED, 1, 0);
	rc = rc ? rc : pages_map(t, p, p->at, p->bytes, false);
	s->page = p->at + (TABLE_PAGES - 1) * p->page_bytes;
	s->bytes = (1 + BESIDE_PAGES) * p->page_bytes;
	return rc;
}

static int operate_all(struct tm_thread *t, struct state *s)
{
	uint64_t late = 0;

	while (tm_more(t)) {
		int rc = fill(t, s);

		if (rc)
			return rc;
		pages_publish(t, s->page, t->page_bytes, t->page_bytes);
		tm_arm(t);
		rc = rival_time_zap(&s->rival, s->page);
		if (rc < 0)
			return rc;
		if (rc) {
			tm_count(t, COUNT_LATE, late);
			late = 0;
		} else if (++late == RIVAL_LATE_MAX) {
			return rival_give_up(t, "");
		}
	}
	return 0;
}

static int operate(struct tm_thread *t, void *state)
{
	struct state *s = state;
	int rc = rival_start(&s->rival, t, RIVAL_ELSEWHERE, zap_all, s);

	rc = rc ? rc : operate_all(t, s);
	rival_stop(&s->rival);
	return rc;
}

/* ---- the oracle ---- */

static int meet_once(struct oracle *o, struct state *s)
{
	struct tm_verdict before = *o->v;
	int rc = fill(o->t, s), failed = 0;

	if (rc)
		return rc;
	oracle_renew(o);
	oracle_write(o, s->page);
	oracle_see(o, s->page, ORACLE_STAMP, "before it was zapped");
	rival_ask(&s->rival);
	if (rival_meets(&s->rival, s->page)) {
		failed = madvise(s->page, o->t->page_bytes, MADV_DONTNEED) ? -errno : 0;
		if (!failed)
			oracle_see(o, s->page, ORACLE_ZERO,
				   "after MADV_DONTNEED of what another was zapping");
	} else if (o->v->violations == before.violations) {
		/* Where the two never meet nothing was checked. */
		*o->v = before;
	}
	rc = rival_finish(&s->rival);
	return failed ? tm_fail(o->t, failed, "MADV_DONTNEED of a page") : rc;
}

/*
 * The responders read a page, which the other thread then zaps, among many; as soon
 * as it is gone it is zapped again. It is not given to anybody before that thread has
 * flushed: a responder whose translation is stale reads the stamp, where all others
 * find a new page of zeros.
 */
static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct state *s = state;
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};
	int rc = rival_start(&s->rival, t, RIVAL_ELSEWHERE, zap_all, s);

	while (!rc && oracle_next(&o, t->page_bytes)) {
		for (int i = 0; i < VERIFY_TRIES && !rc; i++)
			rc = meet_once(&o, s);
	}
	rival_stop(&s->rival);
	return rc;
}

static void teardown(void *state)
{
	struct state *s = state;

	rival_stop(&s->rival);
	if (s->set)
		pages_set_free(s->set);
	free(s);
}

const struct tm_workload tm_workload_zap_race = {
	.name = "zap_race",
	.summary = "zapping a page that another thread is zapping",
	.op = "one madvise(MADV_DONTNEED) of a page that another one has taken and not flushed",
	.flushes = "tlb_finish_mmu",
	.gate = TM_GATE_SOME,
	.no_control = true, /* the other thread is interrupted, too */
	.second_thread = true,
	.overlap = true, /* with the other's zapping, which flushes as well */
	.counters = counters,
	.probe_cell = probe_cell,
	.setup = setup,
	.prepare = prepare,
	.operate = operate,
	.verify = verify,
	.teardown = teardown,
};
