// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * fork: one operation is a fork() of the run process, as its parent sees it.
 *
 * Timed: the call, from the parent's entry to its return. Pages that were
 * private and writable become shared and read-only, so every CPU in the
 * parent's mask has to forget them: dup_mmap() calls flush_tlb_mm(), a full
 * flush, once a fork, whatever the size.
 *
 * Not timed: making the pages writable again before (one minor fault each),
 * the child's life (it exits at once, and runs only when the parent waits for
 * it: SCHED_BATCH), its reaping. The run process also has its own mappings
 * (code, stacks, the harness's arrays) which each fork copies: `pages` comes
 * on top of a constant. The write faults after a fork are the workload `cow`.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tlbmark/workload.h>

#include "child.h"
#include "pages.h"
#include "witness.h"

enum { PARAM_PAGES, PARAM_KIND, PARAM_WRITERS };
enum { MOST_WRITERS = 64 };

static const struct tm_param params[] = {
	{.name = "pages",
	 .unit = "pages",
	 .help = "private pages that are resident and writable in the parent",
	 .kind = TM_PARAM_UINT,
	 .min = 1,
	 .max = UINT32_MAX,
	 .def = "512",
	 .full = "1,64,512,4096,32768"},
	PAGES_CHOICE_PARAM("kind", "what maps them", pages_small_kinds, "4k", NULL),
	{.name = "writers",
	 .unit = "threads",
	 .help = "threads of the parent that write to the pages all the time, on CPUs left over",
	 .kind = TM_PARAM_UINT,
	 .min = 0,
	 .max = MOST_WRITERS,
	 .def = "0"},
	{.name = NULL},
};

struct state {
	void *set;	     /* of pages: one an initiator */
	struct pages *pages; /* the first initiator's */
	unsigned int writers;
	pthread_t writer[MOST_WRITERS];
	_Atomic bool stop;
	struct tm_child child; /* of verify() */
};

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t writers = c->values[PARAM_WRITERS];

	if (writers && (long)(c->initiators + c->responders + writers) > cpus) {
		snprintf(
			why, why_size,
			"%u initiators, %u responders and %u writers want a CPU each, there are %ld: "
			"ask for fewer responders or writers",
			c->initiators, c->responders, (unsigned int)writers, cpus);
		return -ENOTSUP;
	}
	/* Writers double what they touch while a child lives. */
	return pages_check(c, (enum pages_kind)c->values[PARAM_KIND], PAGES_ANON,
			   c->values[PARAM_PAGES] * (writers ? 2 : 1), why, why_size);
}

static void touch(const struct pages *p)
{
	volatile char *at = pages_at(p, 0);

	for (size_t i = 0; i < p->bytes; i += p->page_bytes)
		at[i]++;
}

static void *write_always(void *arg)
{
	struct state *s = arg;
	volatile char *at = pages_at(s->pages, 0);

	tm_roam(-1);
	while (!atomic_load(&s->stop))
		for (size_t i = 0; i < s->pages->bytes && !atomic_load(&s->stop);
		     i += s->pages->page_bytes)
			at[i + 1]++;
	return NULL;
}

static int setup(struct tm_thread *t, void **state)
{
	struct state *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return tm_fail(t, -ENOMEM, "state");
	rc = pages_set_new(t, &s->set);
	if (rc) {
		free(s);
		return rc;
	}
	*state = s;
	return 0;
}

static int prepare(struct tm_thread *t, void *state)
{
	const uint64_t *values = t->cell->values;
	struct state *s = state;
	struct pages *p = pages_of(t, s->set);
	enum pages_kind kind = (enum pages_kind)values[PARAM_KIND];
	int rc = pages_open(t, p, kind, PAGES_ANON, values[PARAM_PAGES]);

	rc = rc ? rc : pages_place(t, p, PAGES_KEEP_TABLES, 1, 0);
	rc = rc ? rc : pages_map(t, p, pages_at(p, 0), p->bytes, false);
	if (!rc && kind == PAGES_THP)
		rc = pages_must_be_huge(t, p, pages_at(p, 0), p->bytes);
	if (rc)
		return rc;
	tm_child_no_preemption();
	if (t->index)
		return 0;
	s->pages = p;
	pages_publish(t, pages_at(p, 0), p->bytes, p->page_bytes);
	for (; s->writers < values[PARAM_WRITERS]; s->writers++) {
		rc = pthread_create(&s->writer[s->writers], NULL, write_always, s);
		if (rc)
			return tm_fail(t, -rc, "writer thread %u", s->writers);
	}
	return 0;
}

static int operate(struct tm_thread *t, void *state)
{
	struct state *s = state;
	const struct pages *p = pages_of(t, s->set);
	pid_t pid;

	while (tm_more(t)) {
		touch(p);
		tm_begin(t);
		pid = _Fork(); /* without the C library's handlers and locks */
		if (!pid)
			_exit(0);
		tm_end(t, (uint32_t)(p->bytes / t->page_bytes));
		if (pid < 0)
			return tm_fail(t, -errno, "fork with %zu MiB resident", p->bytes >> 20);
		while (waitpid(pid, NULL, 0) < 0)
			if (errno != EINTR)
				return tm_fail(t, -errno, "waiting for the child");
	}
	return 0;
}

/* A word of the page under test for every CPU, by which it is known. */
enum { REQUEST_READ = 1, REQUEST_WRITE };

struct view {
	volatile uint64_t *word;
	unsigned int words; /* at most TM_CHILD_VALUES */
};

static void child_main(struct tm_child *c, void *arg)
{
	const struct view *v = arg;

	for (;;) {
		uint32_t request = tm_child_next(c);

		for (unsigned int i = 0; i < v->words; i++) {
			if (request == REQUEST_WRITE)
				v->word[i] = c->page->value[i];
			else
				c->page->value[i] = v->word[i];
		}
		tm_child_answer(c, 0);
	}
}

/*
 * One round on one page. Before the fork every CPU stores to its word, so
 * that its TLB holds the page writable and dirty. After the fork each stores
 * again: where the flush is missing that store takes no fault, lands in the
 * page that the child reads too, and the child reports it.
 */
static int round_trip(struct tm_thread *t, struct tm_child *c, const struct view *v, uint64_t *word,
		      struct tm_verdict *verdict)
{
	uint64_t before = tm_random(t), after = tm_random(t), foreign = tm_random(t);
	int rc = 0;

	for (unsigned int i = 0; i < v->words && !rc; i++)
		rc = witness_store(t, i, &word[i], before + i);
	rc = rc ? rc : tm_child_start(c, child_main, (void *)(uintptr_t)v);
	/* This CPU last: its fault copies the page, and that flushes what the fork may not have. */
	for (unsigned int i = v->words; i-- && !rc;)
		rc = witness_store(t, i, &word[i], after + i);
	rc = rc ? rc : tm_child_ask(c, REQUEST_READ);
	if (rc)
		return rc;
	for (unsigned int i = 0; i < v->words; i++)
		tm_check(verdict, c->page->value[i] == before + i,
			 "the child read %#llx instead of %#llx: a store made after fork, by %s %u",
			 (unsigned long long)c->page->value[i], (unsigned long long)before + i,
			 i ? "responder" : "initiator", i ? i - 1 : 0);
	for (unsigned int i = 0; i < v->words; i++)
		c->page->value[i] = foreign + i;
	rc = tm_child_ask(c, REQUEST_WRITE);
	if (rc)
		return rc;
	for (unsigned int i = 0; i < v->words && !rc; i++)
		rc = witness_reads(t, i, &word[i], after + i, "after the child wrote", verdict);
	tm_child_kill(c);
	return rc;
}

static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct state *s = state;
	struct view view = {.words = witness_count(t)};
	int rc = tm_child_open(&s->child);

	if (rc)
		return tm_fail(t, rc, "a page shared with the child");
	if (view.words > TM_CHILD_VALUES)
		view.words = TM_CHILD_VALUES;
	for (uint64_t i = 0; i < v->rounds && !rc; i++) {
		size_t page = tm_random(t) % (s->pages->bytes / t->page_bytes);
		uint64_t *word = (uint64_t *)(pages_at(s->pages, 0) + page * t->page_bytes);

		word += 8; /* writers write to a page's first bytes */
		view.word = word;
		rc = round_trip(t, &s->child, &view, word, v);
	}
	return rc ? tm_child_failed(t, &s->child, rc, "checking a fork") : 0;
}

static void teardown(void *state)
{
	struct state *s = state;

	if (!s)
		return;
	atomic_store(&s->stop, true);
	for (unsigned int i = 0; i < s->writers; i++)
		pthread_join(s->writer[i], NULL);
	tm_child_close(&s->child);
	pages_set_free(s->set);
	free(s);
}

const struct tm_workload tm_workload_fork = {
	.name = "fork",
	.summary = "fork of a process with private writable pages",
	.op = "one fork(), until the parent returns from it",
	.flushes = "dup_mmap -> flush_tlb_mm",
	.gate = TM_GATE_EVERY,
	.params = params,
	.probe_cell = probe_cell,
	.setup = setup,
	.prepare = prepare,
	.operate = operate,
	.verify = verify,
	.teardown = teardown,
};
