// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include <tlbmark/arch.h>

#include "rival.h"

enum { BEHIND_NICE = 19, NAP_NS = 20000 };

/* On its own thread, which was made where the initiator is pinned. */
static void take_place(const struct rival *r)
{
	if (r->where == RIVAL_BEHIND) {
		/* Of this thread alone. So that a waking initiator need not wait for it. */
		setpriority(PRIO_PROCESS, 0, BEHIND_NICE);
		return;
	}
	tm_roam((int)r->t->cpu);
}

void rival_nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
}

static void give_way(const struct rival *r)
{
	if (r->where == RIVAL_BEHIND)
		rival_nap();
	else
		sched_yield();
}

static void *live(void *argument)
{
	struct rival *r = argument;
	uint32_t seen = 0, turn;

	take_place(r);
	while (!atomic_load_explicit(&r->stop, memory_order_relaxed)) {
		int rc;

		turn = atomic_load_explicit(&r->turn, memory_order_acquire);
		if (turn == seen) {
			give_way(r);
			continue;
		}
		seen = turn;
		rc = r->act(r->t, r->argument);
		if (rc)
			atomic_store(&r->error, rc);
		atomic_store_explicit(&r->done, turn, memory_order_release);
	}
	return NULL;
}

int rival_start(struct rival *r, struct tm_thread *t, enum rival_where where, rival_act *act,
		void *argument)
{
	int rc;

	r->t = t;
	r->where = where;
	r->act = act;
	r->argument = argument;
	r->asked = 0;
	atomic_store(&r->turn, 0);
	atomic_store(&r->done, 0);
	atomic_store(&r->stop, false);
	atomic_store(&r->error, 0);
	rc = -pthread_create(&r->thread, NULL, live, r);
	if (rc)
		return tm_fail(t, rc, "starting a second thread");
	r->started = true;
	return 0;
}

void rival_stop(struct rival *r)
{
	atomic_store(&r->stop, true);
	/* pthread_join() needs a futex, which not all kernels have. */
	while (r->started && pthread_tryjoin_np(r->thread, NULL) == EBUSY)
		give_way(r);
	r->started = false;
}

void rival_ask(struct rival *r)
{
	atomic_store_explicit(&r->turn, ++r->asked, memory_order_release);
}

bool rival_is_over(const struct rival *r)
{
	return atomic_load_explicit(&r->done, memory_order_acquire) == r->asked;
}

int rival_finish(struct rival *r)
{
	while (!rival_is_over(r))
		give_way(r);
	return atomic_load(&r->error);
}

static bool is_gone(const struct rival *r, const char *page)
{
	unsigned char in_memory = 1;

	return !mincore((char *)(uintptr_t)page, r->t->page_bytes, &in_memory) && !(in_memory & 1);
}

bool rival_meets(struct rival *r, const char *page)
{
	while (!is_gone(r, page)) {
		if (rival_is_over(r))
			return false;
		tm_relax();
	}
	return !rival_is_over(r);
}

int rival_time_zap(struct rival *r, char *page)
{
	struct tm_thread *t = r->t;
	uint64_t begin, end;
	int rc, failed;

	rival_ask(r);
	if (!rival_meets(r, page))
		return rival_finish(r);
	*t->in_operation = 1;
	begin = tm_ticks_begin();
	failed = madvise(page, t->page_bytes, MADV_DONTNEED) ? -errno : 0;
	end = tm_ticks_end();
	*t->in_operation = 0;
	tm_commit(t, begin, end, 1);
	rc = rival_finish(r);
	if (failed)
		return tm_fail(t, failed, "MADV_DONTNEED of a page");
	return rc ? rc : 1;
}

int rival_give_up(struct tm_thread *t, const char *why)
{
	return tm_fail(t, -ENOTSUP,
		       "the other thread was done before its page was seen gone %d times in a row: "
		       "%sor the two never run at once here",
		       RIVAL_LATE_MAX, why);
}
