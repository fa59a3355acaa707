// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * gup_race: page tables go while others walk them without locks.
 *
 * Threads (--walkers) never stop to pin the pages of a mapping by vmsplice(2),
 * whose get_user_pages_fast() walks the page tables with interrupts off and
 * takes no lock. Timed meanwhile: one munmap() that frees the page tables
 * too (--how munmap), or one madvise(MADV_COLLAPSE) that takes one out of use
 * (collapse). Tables may be freed only after all such walks: by RCU
 * (tlb_remove_table()), or by an interrupt that a walker takes when its walk is
 * over (tlb_remove_table_sync_one()). The flush is that of munmap and
 * madvise_collapse; what it costs more than with --walkers 0 is what walkers
 * delay it by.
 *
 * Walkers run on CPUs that are neither the initiator's nor a responder's.
 * Where there are too few they share the responders', push them aside for a
 * while, and are kept from what is measured in turn: operations count only
 * while responders are there. With walkers not every operation need interrupt
 * every responder, and controls would be interrupted for the walkers. A
 * collapse fails while one of the pages is pinned; such attempts are no
 * operations and are counted (refused).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <tlbmark/workload.h>

#include "oracle.h"
#include "pages.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum { WALKERS, HOW };
enum { HOW_MUNMAP, HOW_COLLAPSE };
enum { REFUSED };
enum {
	MOST_WALKERS = 64,
	AREA_PAGES = 512, /* what one page table maps */
	WALKED_PAGES = 16,
	REFUSALS_MAX = 100000,
	TURNS_MAX = 10000,
};

static const char *const hows[] = {"munmap", "collapse", NULL};

static const struct tm_param params[] = {
	[WALKERS] = {.name = "walkers",
		     .unit = "threads",
		     .help = "threads that pin the pages meanwhile",
		     .kind = TM_PARAM_UINT,
		     .max = MOST_WALKERS,
		     .def = "1",
		     .plan = "0,1",
		     .reference = "0"},
	[HOW] = PAGES_CHOICE_PARAM("how", "unmapping the pages, or making a huge page of them",
				   hows, "munmap", "munmap,collapse"),
	{.name = NULL},
};

static const char *const counters[] = {"refused", NULL};

/*
 * One walker. A page's first word tells which page it is and in which life of
 * the mapping; what was pinned has to be one of those, and not of a life that
 * was over when the walk began.
 */
struct walker {
	pthread_t thread;
	struct slot *slot;
	unsigned int cpu; /* where it should be */
	bool started;
	_Atomic uint64_t pinned;
	uint64_t wrong, stale, failed; /* after it has ended */
	uint64_t example;
};

struct slot {
	struct pages *pages;
	uint64_t life;	       /* of the mapping: begins with 1 */
	_Atomic uint64_t over; /* the last life that is over */
	_Atomic bool stop;
	struct walker walker[MOST_WALKERS];
};

struct state {
	void *set; /* of pages */
	unsigned int count;
	struct slot slot[];
};

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	int rc;

	if (c->values[HOW] == HOW_MUNMAP)
		return pages_check(c, PAGES_4K, PAGES_ANON, 2 * AREA_PAGES, why, why_size);
	rc = pages_check_advice(MADV_COLLAPSE, "MADV_COLLAPSE (Linux 6.1)", why, why_size);
	return rc ? rc : pages_check(c, PAGES_THP, PAGES_ANON, 2, why, why_size);
}

static int setup(struct tm_thread *t, void **out)
{
	struct state *s = calloc(1, sizeof(*s) + t->cell->initiators * sizeof(s->slot[0]));

	if (!s)
		return tm_fail(t, -ENOMEM, "no memory for %u initiators", t->cell->initiators);
	s->count = t->cell->initiators;
	*out = s;
	return pages_set_new(t, &s->set);
}

/* ---- walkers ---- */

static uint64_t stamp(uint64_t life, size_t page)
{
	return life << 16 | (page + 1);
}

static void look_at(struct walker *w, uint64_t word, size_t page, uint64_t over)
{
	atomic_fetch_add_explicit(&w->pinned, 1, memory_order_relaxed);
	if ((word & 0xffff) != page + 1)
		w->wrong++;
	else if (word >> 16 <= over)
		w->stale++;
	else
		return;
	w->example = word;
	tm_stale_seen();
}

/* Pins a page by putting it into the pipe, and reads it from there. */
static void walk_once(struct walker *w, const int pipe_ends[2], size_t page, size_t page_bytes)
{
	/* Before the walk: what is over now, a walk may not find any more. */
	uint64_t over = atomic_load_explicit(&w->slot->over, memory_order_acquire), word;
	struct iovec piece = {.iov_base = w->slot->pages->at + page * page_bytes,
			      .iov_len = sizeof(word)};

	if (vmsplice(pipe_ends[1], &piece, 1, SPLICE_F_NONBLOCK) != sizeof(word)) {
		/* It is unmapped just now. */
		w->failed += errno != EFAULT;
		return;
	}
	if (read(pipe_ends[0], &word, sizeof(word)) == sizeof(word))
		look_at(w, word, page, over);
	else
		w->failed++;
}

static void *walk(void *argument)
{
	struct walker *w = argument;
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	cpu_set_t here;
	int pipe_ends[2];

	CPU_ZERO(&here);
	if (w->cpu < CPU_SETSIZE) {
		CPU_SET(w->cpu, &here);
		sched_setaffinity(0, sizeof(here), &here);
	}
	if (pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK)) {
		w->failed++;
		return NULL;
	}
	for (size_t i = 0; !atomic_load_explicit(&w->slot->stop, memory_order_relaxed); i++)
		walk_once(w, pipe_ends, i * (AREA_PAGES / WALKED_PAGES) % AREA_PAGES, page_bytes);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
	return NULL;
}

static bool is_taken(const struct tm_thread *t, unsigned int cpu)
{
	bool taken = cpu == t->cpu;

	for (unsigned int r = 0; r < t->cell->responders; r++)
		taken = taken || cpu == tm_responder_cpu(t, r);
	return taken;
}

/* One of its own, else a responder's, else any other than the initiator's. */
static unsigned int walker_cpu(const struct tm_thread *t, unsigned int i)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned int found = 0;

	for (unsigned int cpu = 0; cpu < cpus; cpu++) {
		if (!is_taken(t, cpu) && found++ == i)
			return cpu;
	}
	if (t->cell->responders)
		return tm_responder_cpu(t, i % t->cell->responders);
	return cpus > 1 ? (t->cpu + 1 + i % (unsigned int)(cpus - 1)) % (unsigned int)cpus : t->cpu;
}

static int start_walkers(struct tm_thread *t, struct slot *s, unsigned int count)
{
	atomic_store(&s->stop, false);
	for (unsigned int i = 0; i < count; i++) {
		struct walker *w = &s->walker[i];
		int rc;

		memset(w, 0, sizeof(*w));
		w->slot = s;
		w->cpu = walker_cpu(t, i);
		rc = -pthread_create(&w->thread, NULL, walk, w);
		if (rc)
			return tm_fail(t, rc, "starting walker %u", i);
		w->started = true;
	}
	return 0;
}

static void stop_walkers(struct slot *s)
{
	atomic_store(&s->stop, true);
	for (unsigned int i = 0; i < MOST_WALKERS; i++) {
		/* pthread_join() needs a futex, which not all kernels have. */
		while (s->walker[i].started &&
		       pthread_tryjoin_np(s->walker[i].thread, NULL) == EBUSY)
			sched_yield();
		s->walker[i].started = false;
	}
}

/* ---- the operation ---- */

static int prepare(struct tm_thread *t, void *state)
{
	bool collapse = t->cell->values[HOW] == HOW_COLLAPSE;
	struct state *all = state;
	struct slot *s = &all->slot[t->index];
	struct pages *p = pages_of(t, all->set);
	int rc = pages_open(t, p, collapse ? PAGES_THP : PAGES_4K, PAGES_ANON,
			    collapse ? 1 : AREA_PAGES);

	s->pages = p;
	/* The second spot is where a life of the mapping is made. */
	return rc ? rc : pages_place(t, p, PAGES_FREE_TABLES, 2, 0);
}

/* Base pages, also where the system would rather give a huge one. */
static int populate(struct tm_thread *t, struct slot *s, char *at)
{
	bool collapse = t->cell->values[HOW] == HOW_COLLAPSE;
	size_t bytes = s->pages->bytes;
	int rc;

	if (mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		 0) == MAP_FAILED)
		return tm_fail(t, -errno, "mmap of %zu bytes", bytes);
	if (collapse && madvise(at, bytes, MADV_NOHUGEPAGE))
		return tm_fail(t, -errno, "MADV_NOHUGEPAGE of %zu bytes", bytes);
	rc = pages_populate(t, at, bytes, t->page_bytes, true);
	if (!rc && collapse && madvise(at, bytes, MADV_HUGEPAGE))
		rc = tm_fail(t, -errno, "MADV_HUGEPAGE of %zu bytes", bytes);
	return rc;
}

/*
 * A new life of the mapping, made elsewhere and then moved here with its page
 * table: walkers never find a page that does not say yet which it is.
 */
static int fill(struct tm_thread *t, struct slot *s)
{
	struct pages *p = s->pages;
	char *fresh = pages_at(p, 1);
	int rc = populate(t, s, fresh);

	if (rc)
		return rc;
	s->life++;
	for (size_t i = 0; i < AREA_PAGES; i++)
		*(volatile uint64_t *)(fresh + i * t->page_bytes) = stamp(s->life, i);
	if (mremap(fresh, p->bytes, p->bytes, MREMAP_MAYMOVE | MREMAP_FIXED, p->at) == MAP_FAILED)
		return tm_fail(t, -errno, "mremap of %zu bytes", p->bytes);
	/* After a collapse the life before was still there. */
	atomic_store_explicit(&s->over, s->life - 1, memory_order_release);
	return 0;
}

static inline int take_away(uint64_t how, const struct pages *p)
{
	return how == HOW_COLLAPSE ? madvise(p->at, p->bytes, MADV_COLLAPSE)
				   : munmap(p->at, p->bytes);
}

/* A page was pinned, locked or isolated by somebody. */
static bool is_refusal(uint64_t how, int error, uint64_t refused)
{
	return how == HOW_COLLAPSE && pages_collapse_refused(error, refused);
}

static int operate_all(struct tm_thread *t, struct slot *s)
{
	uint64_t how = t->cell->values[HOW], refused = 0;

	while (tm_more(t)) {
		int rc = refused ? 0 : fill(t, s);

		if (rc)
			return rc;
		pages_publish(t, s->pages->at, s->pages->bytes, t->page_bytes);
		tm_begin(t);
		rc = take_away(how, s->pages);
		if (rc && is_refusal(how, errno, refused) && ++refused < REFUSALS_MAX) {
			*t->in_operation = 0;
			continue;
		}
		tm_end(t, AREA_PAGES);
		if (rc)
			return tm_fail(t, -errno, "%s under walkers", hows[how]);
		if (how == HOW_MUNMAP)
			atomic_store_explicit(&s->over, s->life, memory_order_release);
		tm_count(t, REFUSED, refused);
		refused = 0;
	}
	return 0;
}

static int operate(struct tm_thread *t, void *state)
{
	struct slot *s = &((struct state *)state)->slot[t->index];
	int rc = start_walkers(t, s, (unsigned int)t->cell->values[WALKERS]);

	rc = rc ? rc : operate_all(t, s);
	stop_walkers(s);
	return rc;
}

/* ---- the oracle ---- */

/* What was just freed, pages and page tables, becomes somebody else's. NULL: no memory. */
static char *take_frames(size_t bytes, size_t page_bytes)
{
	char *other = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (other == MAP_FAILED)
		return NULL;
	for (size_t i = 0; i < bytes; i += page_bytes)
		*(volatile uint64_t *)(other + i) = UINT64_MAX;
	return other;
}

/* Each responder: gone with munmap, intact with a collapse. */
static int check_gone(struct tm_thread *t, const struct slot *s, struct tm_verdict *v)
{
	uint64_t how = t->cell->values[HOW];

	for (unsigned int r = 0; r < t->cell->responders; r++) {
		uint64_t got = 0;
		int fault = tm_peek(t, r, s->pages->at, &got);

		if (fault && fault != -EFAULT)
			return tm_fail(t, fault, "responder %u reading", r);
		tm_check(v, how == HOW_MUNMAP ? fault : !fault && got == stamp(s->life, 0),
			 "responder %u read %#llx after %s", r, (unsigned long long)got, hows[how]);
	}
	return 0;
}

/* Until a walker is at it, if one comes. */
static void wait_for_walk(const struct walker *w)
{
	uint64_t before = w->pinned;

	for (int i = 0; i < TURNS_MAX && w->pinned == before; i++)
		sched_yield();
}

static int check_once(struct tm_thread *t, struct slot *s, struct tm_verdict *v)
{
	size_t taken_bytes = 2 * AREA_PAGES * t->page_bytes;
	uint64_t how = t->cell->values[HOW];
	int rc = fill(t, s), refused = 0;
	char *taken;

	/* Each responder's TLB has the page that goes. */
	for (unsigned int r = 0; r < t->cell->responders && !rc; r++) {
		uint64_t before = 0;

		rc = tm_peek(t, r, s->pages->at, &before);
		if (rc)
			return tm_fail(t, rc, "responder %u reading", r);
	}
	wait_for_walk(&s->walker[0]);
	while (!rc && take_away(how, s->pages)) {
		if (!is_refusal(how, errno, refused) || ++refused == REFUSALS_MAX)
			rc = tm_fail(t, -errno, "%s under walkers", hows[how]);
	}
	if (rc)
		return rc;
	if (how == HOW_MUNMAP)
		atomic_store_explicit(&s->over, s->life, memory_order_release);
	taken = take_frames(taken_bytes, t->page_bytes);
	if (!taken)
		return tm_fail(t, -ENOMEM, "taking the freed frames");
	rc = check_gone(t, s, v);
	/* Only now: this flushes as well. */
	munmap(taken, taken_bytes);
	return rc;
}

/* A check for each page that was pinned. */
static int check_walker(struct tm_thread *t, const struct walker *w, struct tm_verdict *v)
{
	for (uint64_t i = 0; i < w->pinned; i++)
		tm_check(v, i >= w->wrong + w->stale,
			 "a pinned page held %#llx: %llu of %llu were other pages, %llu were of a "
			 "mapping that was gone before",
			 (unsigned long long)w->example, (unsigned long long)w->wrong,
			 (unsigned long long)w->pinned, (unsigned long long)w->stale);
	return w->failed ? tm_fail(t, -EIO, "a walker could not pin pages %llu times",
				   (unsigned long long)w->failed)
			 : 0;
}

/*
 * The mapping goes and comes while walkers pin its pages. What they pinned says
 * itself which page it is and of which life; a walk through a page table that
 * was freed under it would find anything.
 */
static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct slot *s = &((struct state *)state)->slot[t->index];
	unsigned int walkers =
		t->cell->values[WALKERS] ? (unsigned int)t->cell->values[WALKERS] : 1;
	struct oracle pace = {.t = t, .v = v, .stride = t->page_bytes};
	int rc = start_walkers(t, s, walkers);

	while (!rc && oracle_next(&pace, s->pages->bytes))
		rc = check_once(t, s, v);
	stop_walkers(s);
	for (unsigned int i = 0; i < walkers && !rc; i++)
		rc = check_walker(t, &s->walker[i], v);
	return rc;
}

static void teardown(void *state)
{
	struct state *all = state;

	if (all->set)
		pages_set_free(all->set);
	free(all);
}

static enum tm_gate gate_of(const struct tm_cell_args *c)
{
	return c->values[WALKERS] ? TM_GATE_SOME : TM_GATE_EVERY;
}

const struct tm_workload tm_workload_gup_race = {
	.name = "gup_race",
	.summary = "page tables freed while others walk them without locks",
	.op = "one munmap() or MADV_COLLAPSE of 512 pages, their page table too",
	.flushes = "tlb_finish_mmu, pmdp_collapse_flush, tlb_remove_table_sync_one",
	.gate = TM_GATE_SOME,
	.gate_of = gate_of,
	.no_control = true,
	.switches = true, /* a collapse waits in lru_add_drain_all() */
	.params = params,
	.counters = counters,
	.probe_cell = probe_cell,
	.setup = setup,
	.prepare = prepare,
	.operate = operate,
	.verify = verify,
	.teardown = teardown,
};
