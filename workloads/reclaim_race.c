// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * reclaim_race: zapping a page that somebody else is just reclaiming.
 *
 * Reclaim unmaps many pages and flushes them all together, at the end
 * (TTU_BATCH_FLUSH, try_to_unmap_flush()). Who finds such a page gone from the
 * page table meanwhile has nothing left to unmap, and would not flush; the CPUs
 * could still read it when the call returns. So zap_pte_range() and its like
 * ask whether such a flush is pending and make it themselves:
 * flush_tlb_batched_pending().
 *
 * Timed: one madvise(MADV_DONTNEED) of a page, once a second thread, which
 * reclaims it and others, has taken that page. Who reclaims is --by:
 *
 * limit    a memory cgroup's limit, as kswapd would: batches of up to 32 pages,
 *          found by the kernel. They are private pages given up by MADV_FREE: clean,
 *          so that they need no swap, and oldest first. Whether one was used it sees
 *          in the page table: /proc/self/clear_refs takes that away and flushes nothing.
 * pageout  MADV_PAGEOUT of a clean file's pages. That gathers for the same mm, and
 *          who ends a gathering beside another one flushes all of the mm
 *          (mm_tlb_flush_nested() in tlb_finish_mmu()). So only if both flushes were
 *          forgotten would a translation be stale.
 *
 * Both hold mmap_lock for reading at most. The second thread's own flush interrupts
 * the responders as well, inside the operation or after it. Times when it had
 * already returned are no operation: the counter `late`.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <tlbmark/workload.h>

#include "memory_group.h"
#include "oracle.h"
#include "pages.h"
#include "rival.h"

#define CLEAR_REFS "/proc/self/clear_refs"

enum { BY };
enum { BY_PAGEOUT, BY_LIMIT };
enum {
	PAGEOUT_PAGES = 512, /* one walk of MADV_PAGEOUT, and one flush */
	LIMIT_PAGES = 256,
	ASKED_PAGES = 64,   /* of those, to be reclaimed; what is in stock is asked for, too */
	SEEN_PAGES = 64,    /* the first ones, which the oracle is about */
	TIMED_PAGE = 32,    /* by then a batch is more than a few pages */
	PAGEOUT_TRIES = 16, /* a round's, until they meet */
	LIMIT_MEETINGS = 8, /* a round's */
};

static const char *const bys[] = {"pageout", "limit", NULL};
static const struct tm_param params[] = {
	[BY] = PAGES_CHOICE_PARAM("by",
				  "what the other reclaims by: MADV_PAGEOUT, or a cgroup's limit",
				  bys, "pageout", "pageout,limit"),
	{.name = NULL},
};

enum { COUNT_LATE };
static const char *const counters[] = {"late", NULL};

struct race {
	bool by_limit;
	struct pages *pages;
	struct memory_group group;
	int clear_refs; /* -1: not open */
	struct rival rival;
};

struct state {
	void *set; /* of pages */
	struct race race;
};

static enum pages_backing backing_of(const struct tm_cell_args *c)
{
	return c->values[BY] == BY_LIMIT ? PAGES_ANON : PAGES_FILE;
}

static uint64_t mapped_pages(const struct tm_cell_args *c)
{
	return c->values[BY] == BY_LIMIT ? LIMIT_PAGES : PAGEOUT_PAGES;
}

static int check_limit(char *why, size_t why_size)
{
	if (memory_group_check(why, why_size))
		return -ENOTSUP;
	if (!access(CLEAR_REFS, W_OK))
		return pages_check_advice(MADV_FREE, "MADV_FREE (Linux 4.5)", why, why_size);
	snprintf(why, why_size, CLEAR_REFS " is missing (CONFIG_PROC_PAGE_MONITOR)");
	return -ENOTSUP;
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	int rc;

	if (c->initiators > 1) {
		snprintf(why, why_size, "its second thread is the process's: one initiator");
		return -ENOTSUP;
	}
	if (c->values[BY] == BY_LIMIT)
		rc = check_limit(why, why_size);
	else
		rc = pages_check_advice(MADV_PAGEOUT, "MADV_PAGEOUT (Linux 5.4)", why, why_size);
	return rc ? -ENOTSUP
		  : pages_check(c, PAGES_4K, backing_of(c), mapped_pages(c), why, why_size);
}

static int knobs(const struct tm_cell_args *c, struct tm_sysstate *s)
{
	return c->values[BY] == BY_LIMIT ? memory_group_knobs(s) : 0;
}

/* On the second thread. */
static int reclaim(struct tm_thread *t, void *argument)
{
	const struct race *r = argument;

	if (r->by_limit)
		return memory_group_shrink(t, &r->group, ASKED_PAGES);
	if (!madvise(r->pages->at, r->pages->bytes, MADV_PAGEOUT))
		return 0;
	return tm_fail(t, -errno, "MADV_PAGEOUT of %zu bytes", r->pages->bytes);
}

static int zap(struct tm_thread *t, char *at, size_t bytes)
{
	if (!madvise(at, bytes, MADV_DONTNEED))
		return 0;
	return tm_fail(t, -errno, "MADV_DONTNEED of %zu bytes", bytes);
}

/* All there; and, for a limit, all new, so that they are reclaimed in their order. */
static int fill(struct tm_thread *t, const struct race *r)
{
	const struct pages *p = r->pages;
	int rc = r->by_limit ? zap(t, p->at, p->bytes) : 0;

	return rc ? rc : pages_populate(t, p->at, p->bytes, p->page_bytes, r->by_limit);
}

/* May go without being written anywhere. This flushes. */
static int give_up(struct tm_thread *t, const struct race *r)
{
	const struct pages *p = r->pages;

	if (!r->by_limit || !madvise(p->at, p->bytes, MADV_FREE))
		return 0;
	return tm_fail(t, -errno, "MADV_FREE of %zu bytes", p->bytes);
}

/* As if nobody had read them lately, or reclaim would take them last. This does not flush. */
static int age(struct tm_thread *t, const struct race *r)
{
	if (!r->by_limit || write(r->clear_refs, "2", 1) == 1) /* private memory */
		return 0;
	return tm_fail(t, -errno, "writing to " CLEAR_REFS);
}

/* ---- the operation ---- */

static int setup(struct tm_thread *t, void **out)
{
	struct state *s = calloc(1, sizeof(*s));
	struct race *r;
	int rc;

	if (!s)
		return tm_fail(t, -ENOMEM, "no memory for the state");
	r = &s->race;
	memory_group_init(&r->group);
	r->clear_refs = -1;
	r->by_limit = t->cell->values[BY] == BY_LIMIT;
	*out = s;
	rc = pages_set_new(t, &s->set);
	if (rc || !r->by_limit)
		return rc;
	r->clear_refs = open(CLEAR_REFS, O_WRONLY | O_CLOEXEC);
	if (r->clear_refs < 0)
		return tm_fail(t, -errno, "opening " CLEAR_REFS);
	return memory_group_enter(t, &r->group, MEMORY_GROUP_EITHER, true);
}

static int prepare(struct tm_thread *t, void *state)
{
	struct state *s = state;
	struct pages *p = pages_of(t, s->set);
	int rc = pages_open(t, p, PAGES_4K, backing_of(t->cell), mapped_pages(t->cell));

	s->race.pages = p;
	rc = rc ? rc : pages_place(t, p, PAGES_ALIGNED, 1, 0);
	return rc ? rc : pages_map(t, p, p->at, p->bytes, false);
}

static int operate_all(struct tm_thread *t, struct race *r)
{
	char *page = r->pages->at + (r->by_limit ? TIMED_PAGE * t->page_bytes : 0);
	uint64_t late = 0;

	while (tm_more(t)) {
		int rc = fill(t, r);

		rc = rc ? rc : give_up(t, r);
		if (rc)
			return rc;
		pages_publish(t, page, t->page_bytes, t->page_bytes);
		tm_arm(t);
		rc = age(t, r);
		rc = rc ? rc : rival_time_zap(&r->rival, page);
		if (rc < 0)
			return rc;
		if (rc) {
			tm_count(t, COUNT_LATE, late);
			late = 0;
		} else if (++late == RIVAL_LATE_MAX) {
			return rival_give_up(t, r->by_limit ? ""
							    : "its file system does not give pages "
							      "up (set TMPDIR to another disk), ");
		}
	}
	return 0;
}

static int operate(struct tm_thread *t, void *state)
{
	struct race *r = &((struct state *)state)->race;
	int rc = rival_start(&r->rival, t, RIVAL_ELSEWHERE, reclaim, r);

	rc = rc ? rc : operate_all(t, r);
	rival_stop(&r->rival);
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

/*
 * Of a file: the page is in the page cache again, and another page; who faults finds that.
 * 1 if they met, 0 if it was late; -errno.
 */
static int meet_by_pageout(struct oracle *o, struct race *r)
{
	struct pages *p = r->pages;
	struct tm_verdict before;
	bool met = false;
	int rc, after;

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
	rival_ask(&r->rival);
	if (rival_meets(&r->rival, p->at)) {
		rc = zap(o->t, p->at, p->page_bytes);
		oracle_renew(o);
		rc = rc ? rc : rewrite(o->t, o, p);
		if (!rc)
			oracle_see(o, p->at, ORACLE_STAMP,
				   "after MADV_DONTNEED of what was being reclaimed");
		met = true;
	} else if (o->v->violations == before.violations) {
		*o->v = before;
	}
	after = rival_finish(&r->rival);
	return rc ? rc : after ? after : met;
}

/* One round of it. */
static int meet_once(struct oracle *o, struct race *r)
{
	int rc = 0;

	for (int i = 0; i < PAGEOUT_TRIES && !rc; i++)
		rc = meet_by_pageout(o, r);
	return rc < 0 ? rc : 0;
}

/* The next picks: as many as one access takes, all in a row. */
static void pick_from(struct oracle *o, size_t first)
{
	o->picks = ORACLE_PICKS;
	for (size_t i = 0; i < o->picks; i++)
		o->offset[i] = (first + i) * o->stride;
}

/* So that the responders' TLBs hold the pages from there on. What is read may be anything. */
static void read_from(struct oracle *o, char *base, size_t first)
{
	struct tm_access wanted[ORACLE_PICKS];

	for (; first < SEEN_PAGES; first += ORACLE_PICKS) {
		pick_from(o, first);
		for (size_t i = 0; i < o->picks; i++)
			wanted[i] = (struct tm_access){.address = base + o->offset[i]};
		/* One that did not answer fails the run (workload.h). */
		(void)tm_access_all(o->t, wanted, (unsigned int)o->picks);
	}
}

/* The last page that is gone, of those from `from` on; `from` - 1: none is. */
static size_t last_gone(const struct race *r, size_t from)
{
	unsigned char in_memory[SEEN_PAGES];
	size_t end = SEEN_PAGES;

	if (mincore(r->pages->at, SEEN_PAGES * r->pages->page_bytes, in_memory))
		return from - 1;
	while (end > from && in_memory[end - 1] & 1)
		end--;
	return end - 1;
}

/*
 * The responders read what is left, and the other one goes on for a moment. When this
 * thread wakes, that one stands somewhere in its reclaiming: the page that it unmapped last
 * is zapped and looked at, whose flush is due. Each of its flushes drops all that the
 * responders hold, so they read again each time.
 */
static int chase(struct oracle *o, struct race *r)
{
	char *at = r->pages->at;
	size_t from = 1; /* page 0 is mostly a batch of its own, and over at once */
	int rc = 0;

	while (!rc && !rival_is_over(&r->rival) && from < SEEN_PAGES) {
		size_t last;

		read_from(o, at, from);
		rc = age(o->t, r);
		if (rc)
			return rc;
		do {
			rival_nap();
			last = last_gone(r, from);
		} while (last < from && !rival_is_over(&r->rival));
		if (last < from)
			continue;
		from = last + 1;
		o->picks = 1;
		o->offset[0] = last * o->stride;
		rc = zap(o->t, at + o->offset[0], o->t->page_bytes);
		if (!rc)
			oracle_see(o, at, ORACLE_ZERO,
				   "after MADV_DONTNEED of what was being reclaimed");
	}
	return rc;
}

/*
 * Of private memory: who faults finds zeros. The page that was there is freed by
 * the reclaim, and that only when it has flushed.
 */
static int meet_by_limit(struct oracle *o, struct race *r)
{
	char *at = r->pages->at;
	int rc = fill(o->t, r), after;

	if (rc)
		return rc;
	oracle_renew(o);
	for (size_t first = 0; first < SEEN_PAGES; first += ORACLE_PICKS) {
		pick_from(o, first);
		oracle_write(o, at);
	}
	rc = give_up(o->t, r);
	if (rc)
		return rc;
	rival_ask(&r->rival);
	rc = chase(o, r);
	after = rival_finish(&r->rival);
	return rc ? rc : after;
}

/*
 * The responders read a page, which the other thread then reclaims; as soon as it
 * is gone, it is zapped, and there is something else. A responder that still reads
 * the old has a translation that was to be flushed by whoever came first.
 */
static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct race *r = &((struct state *)state)->race;
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};
	int rc =
		rival_start(&r->rival, t, r->by_limit ? RIVAL_BEHIND : RIVAL_ELSEWHERE, reclaim, r);

	while (!rc && oracle_next(&o, t->page_bytes)) {
		if (!r->by_limit)
			rc = meet_once(&o, r);
		for (int i = 0; i < LIMIT_MEETINGS && r->by_limit && !rc; i++)
			rc = meet_by_limit(&o, r);
	}
	rival_stop(&r->rival);
	return rc;
}

static void teardown(void *state)
{
	struct state *s = state;

	rival_stop(&s->race.rival);
	memory_group_close(&s->race.group);
	if (s->race.clear_refs >= 0)
		close(s->race.clear_refs);
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
	.params = params,
	.counters = counters,
	.probe_cell = probe_cell,
	.knobs = knobs,
	.setup = setup,
	.prepare = prepare,
	.operate = operate,
	.verify = verify,
	.teardown = teardown,
};
