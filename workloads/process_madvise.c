// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * process_madvise: gives a process advice about its memory, also from outside.
 *
 * Timed: one process_madvise() of one or several ranges of the mm that the
 * responders are in. With --caller self that mm is the caller's own, as for
 * madvise(). With --caller other another process calls, on the initiator's CPU:
 * the mm under which the flush is done is not the one that is flushed, so
 * nothing is flushed here and all of it is interrupts. The other one takes the
 * stamps; waking it is not timed.
 *
 * What flushes depends on --advice, and is described in the workload of that
 * name: cold in tlb_finish_mmu(), once for each range; pageout in
 * try_to_unmap_flush(); collapse in pmdp_collapse_flush(), and beside that all
 * CPUs are interrupted, also those of other processes. Pages are private
 * memory, but those of pageout belong to a file on a disk: that needs no swap.
 *
 * It does not measure finding the other process (pidfd_open()), nor the page
 * faults afterwards.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <tlbmark/workload.h>

#include "aging.h"
#include "child.h"
#include "oracle.h"
#include "pages.h"
#include "reclaimed.h"

/* Newer than some C libraries. */
#ifndef MADV_COLD
#define MADV_COLD 20
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

enum { PAGES, ADVICE, CALLER, RANGES };
enum { ADVICE_COLD, ADVICE_PAGEOUT, ADVICE_COLLAPSE };
enum { CALLER_SELF, CALLER_OTHER };
enum { RANGES_MAX = 1024, REFUSALS_MAX = 100 };

static const char *const advices[] = {"cold", "pageout", "collapse", NULL};
static const char *const callers[] = {"self", "other", NULL};

static const struct tm_param advise_params[] = {
	[PAGES] = PAGES_PARAM("1", "1,8,31..34,512"),
	[ADVICE] = PAGES_CHOICE_PARAM("advice",
				      "private pages to the inactive list, a file's pages out, or "
				      "base pages to huge ones (then --pages counts these)",
				      advices, "cold", "cold,pageout,collapse"),
	[CALLER] = {.name = "caller",
		    .unit = "",
		    .help = "the process itself, or another one (needs CAP_SYS_NICE)",
		    .kind = TM_PARAM_CHOICE,
		    .choices = callers,
		    .def = "self",
		    .plan = "self,other",
		    .reference = "self"},
	[RANGES] = {.name = "ranges",
		    .unit = "ranges",
		    .help = "in how many ranges the pages are told",
		    .kind = TM_PARAM_UINT,
		    .min = 1,
		    .max = RANGES_MAX,
		    .def = "1"},
	{.name = NULL},
};

struct slot {
	struct pages *pages;
	int pidfd, advice;
	struct iovec range[RANGES_MAX];
	size_t ranges;
	struct tm_child child; /* the other caller */
};

struct state {
	void *set; /* of pages */
	unsigned int count;
	struct slot slot[];
};

static int advice_of(const struct tm_cell_args *c)
{
	static const int advice[] = {
		[ADVICE_COLD] = MADV_COLD,
		[ADVICE_PAGEOUT] = MADV_PAGEOUT,
		[ADVICE_COLLAPSE] = MADV_COLLAPSE,
	};

	return advice[c->values[ADVICE]];
}

static enum pages_kind kind_of(const struct tm_cell_args *c)
{
	return c->values[ADVICE] == ADVICE_COLLAPSE ? PAGES_THP : PAGES_4K;
}

static enum pages_backing backing_of(const struct tm_cell_args *c)
{
	return c->values[ADVICE] == ADVICE_PAGEOUT ? PAGES_FILE : PAGES_ANON;
}

static long process_madvise_of(int pidfd, const struct iovec *range, size_t ranges, int advice)
{
	return syscall(SYS_process_madvise, pidfd, range, ranges, advice, 0);
}

static int probe(char *why, size_t why_size)
{
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	long rc = pidfd < 0 ? -1 : process_madvise_of(pidfd, NULL, 0, MADV_COLD);

	if (rc)
		snprintf(why, why_size,
			 "this kernel has no process_madvise(2) (Linux 5.10, "
			 "CONFIG_ADVISE_SYSCALLS)");
	if (pidfd >= 0)
		close(pidfd);
	return rc ? -ENOTSUP : 0;
}

/* CAP_SYS_NICE, in effect? */
static bool may_advise_others(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	return !syscall(SYS_capget, &header, data) && data[0].effective & 1u << CAP_SYS_NICE;
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	static const char *const names[] = {"MADV_COLD (Linux 5.4)", "MADV_PAGEOUT (Linux 5.4)",
					    "MADV_COLLAPSE (Linux 6.1)"};
	uint64_t pages = c->values[PAGES];
	int rc = pages_check_advice(advice_of(c), names[c->values[ADVICE]], why, why_size);

	if (!rc && c->values[ADVICE] == ADVICE_COLD)
		rc = aging_check(why, why_size);
	if (rc)
		return rc;
	if (c->values[CALLER] == CALLER_OTHER && !may_advise_others()) {
		snprintf(why, why_size,
			 "advice to other processes needs CAP_SYS_NICE: run as root");
		return -ENOTSUP;
	}
	if (c->values[RANGES] > pages) {
		snprintf(why, why_size, "--pages %llu cannot be told in --ranges %llu",
			 (unsigned long long)pages, (unsigned long long)c->values[RANGES]);
		return -ENOTSUP;
	}
	/* Base pages and the huge ones that they become exist at the same time. */
	return pages_check(c, kind_of(c), backing_of(c),
			   c->values[ADVICE] == ADVICE_COLLAPSE ? 2 * pages : pages, why, why_size);
}

static int setup(struct tm_thread *t, void **out)
{
	unsigned int n = t->cell->initiators;
	struct state *s = calloc(1, sizeof(*s) + n * sizeof(s->slot[0]));
	int rc = 0;

	if (!s)
		return tm_fail(t, -ENOMEM, "no memory for %u initiators", n);
	for (s->count = 0; s->count < n; s->count++)
		s->slot[s->count].pidfd = -1;
	*out = s;
	/* Before there are places for pages, one of which the kernel might choose. */
	for (unsigned int i = 0; i < n && !rc && t->cell->values[CALLER] == CALLER_OTHER; i++)
		rc = tm_child_open(&s->slot[i].child);
	return rc ? tm_fail(t, rc, "a page shared with the caller") : pages_set_new(t, &s->set);
}

/* All of the pages, in as many ranges as asked for. */
static void make_ranges(struct slot *s, size_t ranges)
{
	size_t pages = s->pages->bytes / s->pages->page_bytes, done = 0;

	s->ranges = ranges;
	for (size_t i = 0; i < ranges; i++) {
		size_t end = pages * (i + 1) / ranges;

		s->range[i].iov_base = s->pages->at + done * s->pages->page_bytes;
		s->range[i].iov_len = (end - done) * s->pages->page_bytes;
		done = end;
	}
}

static int64_t result(const struct slot *s)
{
	long got = process_madvise_of(s->pidfd, s->range, s->ranges, s->advice);

	if (got < 0)
		return -errno;
	/* It stops at the first range that fails, and says how far it came. */
	return got == (long)s->pages->bytes ? 0 : -EAGAIN;
}

/* The other process: its copy of the slot says what it is asked for. */
static void child_main(struct tm_child *c, void *arg)
{
	const struct slot *s = arg;

	for (;;) {
		int rc;

		tm_child_next(c);
		c->page->value[0] = tm_ticks_begin();
		rc = (int)result(s);
		c->page->value[1] = tm_ticks_end();
		tm_child_answer(c, rc);
	}
}

/*
 * The other one is made before there are pages: it would share them, and nobody
 * is advised about pages that are mapped twice.
 */
static int start_other(struct tm_thread *t, struct slot *s)
{
	int rc = tm_child_start(&s->child, child_main, s);

	tm_child_no_preemption();
	return rc ? tm_fail(t, rc, "starting the process that gives the advice") : 0;
}

static int prepare(struct tm_thread *t, void *state)
{
	const uint64_t *value = t->cell->values;
	struct state *all = state;
	struct slot *s = &all->slot[t->index];
	struct pages *p = pages_of(t, all->set);
	int rc = pages_open(t, p, kind_of(t->cell), backing_of(t->cell), value[PAGES]);

	s->pages = p;
	s->advice = advice_of(t->cell);
	rc = rc ? rc : pages_place(t, p, PAGES_ALIGNED, 1, 0);
	if (rc)
		return rc;
	make_ranges(s, value[RANGES]);
	s->pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (s->pidfd < 0)
		return tm_fail(t, -errno, "pidfd_open of this process");
	if (value[CALLER] == CALLER_OTHER)
		rc = start_other(t, s);
	return rc ? rc : pages_map(t, p, p->at, p->bytes, false);
}

/* The advice, not timed: 0 or -errno. */
static int give(struct slot *s)
{
	return s->child.pid ? tm_child_ask(&s->child, 1) : (int)result(s);
}

/* The advice, timed and stored unless it is refused: 0 or -errno. */
static int give_timed(struct tm_thread *t, struct slot *s)
{
	uint32_t base_pages = (uint32_t)(s->pages->bytes / t->page_bytes);
	uint64_t begin_ticks, end_ticks;
	int rc;

	if (s->child.pid) {
		tm_arm(t);
		*t->in_operation = 1;
		rc = tm_child_ask(&s->child, 1);
		*t->in_operation = 0;
		begin_ticks = s->child.page->value[0];
		end_ticks = s->child.page->value[1];
	} else {
		tm_begin(t);
		rc = (int)result(s);
		end_ticks = tm_ticks_end();
		*t->in_operation = 0;
		begin_ticks = t->begin_ticks;
	}
	if (!rc)
		tm_commit(t, begin_ticks, end_ticks, base_pages);
	return rc;
}

static bool is_transient(const struct tm_thread *t, int error, int refused)
{
	return t->cell->values[ADVICE] == ADVICE_COLLAPSE &&
	       pages_collapse_refused(-error, (uint64_t)refused);
}

/* Pages that the advice can do something to. */
static int fill(struct tm_thread *t, struct pages *p)
{
	switch (t->cell->values[ADVICE]) {
	case ADVICE_COLLAPSE:
		return pages_fill_small(t, p, p->page_bytes);
	case ADVICE_PAGEOUT:
		return reclaimed_fill(t, p);
	default:
		for (size_t i = 0; i < p->bytes; i += p->page_bytes)
			(void)*(volatile char *)(p->at + i);
		return 0;
	}
}

static int operate(struct tm_thread *t, void *state)
{
	struct slot *s = &((struct state *)state)->slot[t->index];
	struct pages *p = s->pages;
	int rc = 0, refused = 0;

	while (tm_more(t)) {
		rc = fill(t, p);
		if (rc)
			return rc;
		pages_publish(t, p->at, p->bytes, t->page_bytes);
		rc = give_timed(t, s);
		if (rc && is_transient(t, rc, refused) && ++refused < REFUSALS_MAX)
			continue;
		if (rc)
			return tm_fail(t, rc, "advice %s of %zu bytes",
				       advices[t->cell->values[ADVICE]], p->bytes);
	}
	return 0;
}

/* ---- the oracle ---- */

static int give_or_fail(struct tm_thread *t, const struct pages *p, void *argument)
{
	struct slot *s = argument;
	int rc = give(s);

	for (int refused = 0; is_transient(t, rc, refused) && refused < REFUSALS_MAX; refused++)
		rc = give(s);
	return rc ? tm_fail(t, rc, "advice %s of %zu bytes", advices[t->cell->values[ADVICE]],
			    p->bytes)
		  : 0;
}

/* Copied? Asked by this CPU alone; then new stamps, on the huge pages. */
static int see_collapsed(struct tm_thread *t, struct oracle *o, struct pages *p)
{
	int rc = pages_must_be_huge(t, p, p->at, p->bytes);

	for (size_t i = 0; i < o->picks && !rc; i++)
		tm_check(o->v, *(volatile uint64_t *)(p->at + o->offset[i]) == oracle_stamp(o, i),
			 "page %zu lost its content", o->offset[i] / o->stride);
	oracle_renew(o);
	oracle_write(o, p->at);
	oracle_see(o, p->at, ORACLE_STAMP, "after advice collapse");
	return rc;
}

/* Those of collapse are copied, and nobody uses the old ones any more. */
static int verify_collapse(struct tm_thread *t, struct slot *s, struct tm_verdict *v)
{
	struct pages *p = s->pages;
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};
	int rc = 0;

	while (!rc && oracle_next(&o, p->bytes)) {
		rc = fill(t, p);
		if (rc)
			break;
		oracle_write(&o, p->at);
		oracle_see(&o, p->at, ORACLE_STAMP, "before advice collapse");
		rc = give_or_fail(t, p, s);
		rc = rc ? rc : see_collapsed(t, &o, p);
	}
	return rc;
}

/*
 * As in the workloads of the three advices: what was read through an old entry
 * looks used no more (cold), or has the old stamp, since the page is another one.
 */
static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct slot *s = &((struct state *)state)->slot[t->index];

	switch (t->cell->values[ADVICE]) {
	case ADVICE_COLD:
		return aging_verify(t, s->pages, v, give_or_fail, s, "advice cold");
	case ADVICE_PAGEOUT:
		return reclaimed_verify(t, s->pages, v, give_or_fail, s, "advice pageout");
	default:
		return verify_collapse(t, s, v);
	}
}

static void teardown(void *state)
{
	struct state *s = state;

	for (unsigned int i = 0; i < s->count; i++) {
		tm_child_close(&s->slot[i].child);
		if (s->slot[i].pidfd >= 0)
			close(s->slot[i].pidfd);
	}
	if (s->set)
		pages_set_free(s->set);
	free(s);
}

const struct tm_workload tm_workload_process_madvise = {
	.name = "process_madvise",
	.summary = "advice about memory, also from another process",
	.op = "one process_madvise() about --pages pages in --ranges ranges",
	.flushes = "tlb_finish_mmu",
	.gate = TM_GATE_EVERY,
	.switches = true, /* to the other caller and back; collapse waits */
	.params = advise_params,
	.probe = probe,
	.probe_cell = probe_cell,
	.setup = setup,
	.prepare = prepare,
	.operate = operate,
	.verify = verify,
	.teardown = teardown,
};
