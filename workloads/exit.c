// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * exit: one operation is the end of a process that has its own mm.
 *
 * Timed: from the child's own stamp, just before it calls exit_group(), to
 * the parent's return from waitid(), which slept on the same CPU. That is:
 * killing the child's other threads, exit_mm() -> exit_mmap() (unmap, free the
 * pages and page tables, flush), the rest of do_exit(), the death notice, and
 * the switch to the parent. Waking the child before is not in it.
 *
 * The flush: tlb_finish_mmu() frees page tables, so every CPU that still has
 * the mm in its mask is interrupted, lazy ones too. Without threads the child
 * only ever ran on the initiator's CPU and there are none: the flush is local.
 * With --threads, they sleep on other CPUs; those that are idle by then hold
 * the mm lazily. Responders run in another mm and are not targets; where one
 * spins on a thread's CPU, the thread waits for its turn to die, and that wait
 * is in the time: combine --threads with --state idle, or with none.
 *
 * Not measured: reaping (release_task()), the page frees that other CPUs do
 * later. `pages` comes on top of what the child inherits from the run process.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tlbmark/workload.h>

#include "child.h"
#include "pages.h"
#include "witness.h"

enum { PARAM_PAGES, PARAM_KIND, PARAM_THREADS };

static const struct tm_param params[] = {
	{.name = "pages",
	 .unit = "pages",
	 .help = "pages of its own that the process has when it ends",
	 .kind = TM_PARAM_UINT,
	 .min = 1,
	 .max = UINT32_MAX,
	 .def = "512",
	 .full = "1,64,512,4096,32768"},
	PAGES_CHOICE_PARAM("kind", "what maps them", pages_small_kinds, "4k", NULL),
	{.name = "threads",
	 .unit = "threads",
	 .help = "other threads of the process, asleep on other CPUs",
	 .kind = TM_PARAM_UINT,
	 .min = 0,
	 .max = 1024,
	 .def = "0",
	 .full = "0,1"},
	{.name = NULL},
};

enum { WORDS = 8 }; /* that the child writes: value[1] .. of the shared page, and private ones */

struct slot {
	const struct pages *pages;
	struct tm_child child;
	unsigned int threads, cpu;
	int status; /* what the child exits with */
	uint64_t private[WORDS];
	uint64_t value; /* word i gets value + i from the child */
};

struct state {
	void *set; /* of pages */
	unsigned int count;
	struct slot slot[];
};

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	/* The parent's, and the child's copies of them. */
	return pages_check(c, (enum pages_kind)c->values[PARAM_KIND], PAGES_ANON,
			   2 * c->values[PARAM_PAGES], why, why_size);
}

static int setup(struct tm_thread *t, void **state)
{
	struct state *s = calloc(1, sizeof(*s) + t->cell->initiators * sizeof(s->slot[0]));

	if (!s)
		return tm_fail(t, -ENOMEM, "state");
	*state = s;
	s->count = t->cell->initiators;
	return pages_set_new(t, &s->set);
}

static int prepare(struct tm_thread *t, void *state)
{
	const uint64_t *values = t->cell->values;
	struct state *all = state;
	struct slot *s = &all->slot[t->index];
	struct pages *p = pages_of(t, all->set);
	int rc = tm_child_open(&s->child);

	if (rc)
		return tm_fail(t, rc, "a page shared with the child");
	s->pages = p;
	s->threads = (unsigned int)values[PARAM_THREADS];
	s->cpu = t->cpu;
	rc = pages_open(t, p, (enum pages_kind)values[PARAM_KIND], PAGES_ANON, values[PARAM_PAGES]);
	/* Reserved only: it is the child that maps. */
	rc = rc ? rc : pages_place(t, p, PAGES_KEEP_TABLES, 1, 0);
	if (rc)
		return rc;
	tm_child_no_preemption();
	return 0;
}

enum { REQUEST_READY = 1, REQUEST_EXIT };

static int child_maps(const struct pages *p)
{
	volatile char *at = mmap(pages_at(p, 0), p->bytes, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	if (at == MAP_FAILED)
		return -errno;
	if (p->kind == PAGES_THP)
		madvise(pages_at(p, 0), p->bytes, MADV_HUGEPAGE);
	for (size_t i = 0; i < p->bytes; i += p->page_bytes)
		at[i] = 1;
	return 0;
}

static void child_main(struct tm_child *c, void *arg)
{
	struct slot *s = arg;
	int rc;

	tm_child_next(c);
	rc = child_maps(s->pages);
	tm_child_answer(c,
			rc ? rc : tm_child_threads(c, s->threads, s->cpu, pages_at(s->pages, 0)));
	tm_child_next(c);
	for (unsigned int i = 0; i < WORDS; i++)
		s->private[i] = c->page->value[1 + i] = s->value + i;
	c->page->value[0] = tm_ticks_begin();
	syscall(SYS_exit_group, s->status);
}

/* What a child that computes with the wrong memory dies of. */
static bool is_own_fault(int signal_number)
{
	return signal_number == SIGSEGV || signal_number == SIGILL || signal_number == SIGTRAP ||
	       signal_number == SIGFPE;
}

/* One life and death; *status as waitpid() gives it. */
static int live(struct tm_thread *t, struct slot *s, uint64_t *begin_ticks, uint64_t *end_ticks,
		int *status)
{
	int rc = tm_child_start(&s->child, child_main, s);
	char what[64];

	rc = rc ? rc : tm_child_ask(&s->child, REQUEST_READY);
	if (rc) {
		snprintf(what, sizeof(what), "a child with %zu MiB and %u threads",
			 s->pages->bytes >> 20, s->threads);
		return tm_child_failed(t, &s->child, rc, what);
	}
	tm_arm(t);
	*t->in_operation = 1;
	tm_child_post(&s->child, REQUEST_EXIT);
	rc = tm_child_await(&s->child);
	*end_ticks = tm_ticks_end();
	*t->in_operation = 0;
	*begin_ticks = s->child.page->value[0];
	if (rc)
		return tm_fail(t, rc, "waiting for the child's death");
	*status = tm_child_reap(&s->child);
	if (*status < 0)
		return tm_fail(t, *status, "waiting for the child's status");
	/* By somebody else, or for want of memory: it tells nothing of a translation. */
	if (WIFSIGNALED(*status) && !is_own_fault(WTERMSIG(*status)))
		return tm_fail(t, -ECHILD, "the child was killed while it exited, by signal %d",
			       WTERMSIG(*status));
	return 0;
}

static int operate(struct tm_thread *t, void *state)
{
	struct slot *s = &((struct state *)state)->slot[t->index];
	uint32_t base_pages = (uint32_t)(s->pages->bytes / t->page_bytes);

	while (tm_more(t)) {
		uint64_t begin_ticks = 0, end_ticks = 0;
		int status = 0, rc = live(t, s, &begin_ticks, &end_ticks, &status);

		if (rc)
			return rc;
		if (status)
			return tm_fail(t, -EIO, "the child ended with wait status %#x", status);
		tm_commit(t, begin_ticks, end_ticks, base_pages);
	}
	return 0;
}

/*
 * What a process leaves behind: its exit status, its last stores to shared
 * memory, and nothing else: the parent's private page, which it had a copy of
 * and wrote to, is as it was, seen from every CPU. Pages given back while some
 * CPU still translates to them would be written to by their next owner; that
 * is looked for here only in the parent's own pages.
 */
static int check_life(struct tm_thread *t, struct slot *s, struct tm_verdict *v)
{
	uint64_t begin_ticks, end_ticks, before = tm_random(t);
	int status = 0, rc;

	s->value = tm_random(t);
	s->status = (int)(tm_random(t) & 0xff);
	for (unsigned int i = 0; i < WORDS; i++)
		s->private[i] = before + i;
	rc = live(t, s, &begin_ticks, &end_ticks, &status);
	if (rc)
		return rc;
	tm_check(v, WIFEXITED(status) && WEXITSTATUS(status) == s->status,
		 "the child exited with %d, its wait status is %#x", s->status, status);
	for (unsigned int i = 0; i < WORDS && !rc; i++) {
		rc = witness_all_read(t, &s->child.page->value[1 + i], s->value + i,
				      "of what the child stored last", v);
		rc = rc ? rc
			: witness_all_read(t, &s->private[i], before + i,
					   "of what the child had a copy of", v);
	}
	return rc ? tm_fail(t, rc, "reading after the child's exit") : 0;
}

static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct slot *s = &((struct state *)state)->slot[t->index];
	int rc = 0;

	for (uint64_t i = 0; i < v->rounds && !rc; i++)
		rc = check_life(t, s, v);
	s->status = 0;
	return rc;
}

static void teardown(void *state)
{
	struct state *s = state;

	if (!s)
		return;
	for (unsigned int i = 0; i < s->count; i++)
		tm_child_close(&s->slot[i].child);
	if (s->set)
		pages_set_free(s->set);
	free(s);
}

const struct tm_workload tm_workload_exit = {
	.name = "exit",
	.summary = "end of a process: its whole address space goes",
	.op = "one exit_group(), until the parent has the death notice",
	.flushes = "exit_mmap -> tlb_finish_mmu",
	.gate = TM_GATE_SOME, /* lazy CPUs of the dying mm only, never the responders' own */
	.no_control = true,
	.switches = true, /* from the child to the parent */
	.params = params,
	.probe_cell = probe_cell,
	.setup = setup,
	.prepare = prepare,
	.operate = operate,
	.verify = verify,
	.teardown = teardown,
};
