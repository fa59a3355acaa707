// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * cow: one operation is the first write to a page that is shared copy-on-write.
 *
 * Timed: one store, that is the write fault, the copy, and the flush of the
 * old translation: wp_page_copy() -> ptep_clear_flush() for pages of 4 KiB,
 * hugetlb_wp() -> huge_ptep_clear_flush() for hugetlb. A transparent huge page
 * is split first (__split_huge_pmd(), a flush of its own) and then one page of
 * it is copied.
 *
 * Who shares (--from): a living child (after_fork, thp, hugetlb), every
 * reader of the zero page (zero: nothing is copied, a page is cleared), or
 * equal pages that ksmd merged (ksm).
 *
 * Not timed: making pages shared again (fork, or waiting for ksmd), once in
 * many operations. Not measured: a write fault that finds nobody else left and
 * reuses the page; that one flushes no other CPU.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <tlbmark/workload.h>

#include "child.h"
#include "ksmd.h"
#include "pages.h"
#include "witness.h"

enum { PARAM_FROM };
enum source { AFTER_FORK, ZERO, KSM_PAGE, THP, HUGETLB };

static const char *const sources[] = {"after_fork", "zero", "ksm", "thp", "hugetlb", NULL};

static const struct tm_param params[] = {
	{.name = "from",
	 .unit = "",
	 .help = "whom the page was shared with before it is written to",
	 .kind = TM_PARAM_CHOICE,
	 .choices = sources,
	 .def = "after_fork",
	 .full = "after_fork,zero,ksm,thp,hugetlb"},
	{.name = NULL},
};

/* How each source is made; pages: how many are made shared at once. */
static const struct {
	enum pages_kind kind;
	unsigned int pages;
	bool child; /* shared with a child, else with each other */
} makes[] = {
	[AFTER_FORK] = {PAGES_4K, 512, true}, [ZERO] = {PAGES_4K, 512, false},
	[KSM_PAGE] = {PAGES_4K, 1024, false}, [THP] = {PAGES_THP, 8, true},
	[HUGETLB] = {PAGES_HUGETLB, 8, true},
};

struct slot {
	enum source source;
	struct pages *pages;
	unsigned int next, count; /* pages [next, count) are shared */
	struct tm_child child;
};

struct state {
	void *set; /* of pages */
	unsigned int count;
	struct slot slot[];
};

static enum source source_of(const struct tm_cell_args *c)
{
	return (enum source)c->values[PARAM_FROM];
}

/* Pages needed: where a child shares them, each is copied once. */
static uint64_t needed(enum source source)
{
	return makes[source].pages * (makes[source].child ? 2 : 1);
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	enum source source = source_of(c);
	int rc = source == KSM_PAGE ? ksmd_check(c, why, why_size) : 0;

	return rc ? rc
		  : pages_check(c, makes[source].kind, PAGES_ANON, needed(source), why, why_size);
}

/* For ksmd. */
static bool patient_cell(const struct tm_cell_args *c)
{
	return source_of(c) == KSM_PAGE;
}

static int knobs(const struct tm_cell_args *c, struct tm_sysstate *system)
{
	enum source source = source_of(c);

	if (source == KSM_PAGE)
		return ksmd_knobs(system, 4 * makes[source].pages);
	return pages_knobs(c, makes[source].kind, PAGES_ANON, needed(source), system);
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

static char *page_at(const struct slot *s, unsigned int page)
{
	return pages_at(s->pages, 0) + page * s->pages->page_bytes;
}

/* What the first and the last word of a page hold before it is written to. */
static uint64_t content(const struct slot *s, unsigned int page)
{
	switch (s->source) {
	case ZERO:
		return 0;
	case KSM_PAGE:
		return UINT64_C(0x746c626d61726b21); /* the same in all */
	default:
		return UINT64_C(0x9e3779b97f4a7c15) * (page + 1);
	}
}

static volatile uint64_t *first_word(const struct slot *s, unsigned int page)
{
	return (uint64_t *)page_at(s, page);
}

static volatile uint64_t *last_word(const struct slot *s, unsigned int page)
{
	return (uint64_t *)(page_at(s, page) + s->pages->page_bytes) - 1;
}

enum { REQUEST_READ = 1, REQUEST_WRITE };

/* The sharer: holds all pages, reads and writes its own copies when asked. */
static void child_main(struct tm_child *c, void *arg)
{
	const struct slot *s = arg;

	for (;;) {
		uint32_t request = tm_child_next(c);
		volatile uint64_t *word = first_word(s, (unsigned int)c->page->value[0]);

		if (request == REQUEST_WRITE)
			*word = c->page->value[1];
		c->page->value[1] = *word;
		tm_child_answer(c, 0);
	}
}

/* Untimed: ksmd takes two or three of its rounds. */
static int wait_for_ksmd(struct tm_thread *t, const struct slot *s)
{
	if (madvise(page_at(s, 0), s->pages->bytes, MADV_MERGEABLE))
		return tm_fail(t, -ENOTSUP, "madvise(MADV_MERGEABLE): %s", strerror(errno));
	return ksmd_wait(t, page_at(s, 0), s->count, 0);
}

/* Makes all pages shared again, with known content. */
static int share(struct tm_thread *t, struct slot *s)
{
	char *start = page_at(s, 0);
	int rc = 0;

	tm_child_kill(&s->child);
	/* A huge page that was split stays split. */
	if (s->source == THP)
		rc = pages_map(t, (struct pages *)(uintptr_t)s->pages, start, s->pages->bytes,
			       true);
	if (!rc && s->source == THP)
		rc = pages_must_be_huge(t, s->pages, start, s->pages->bytes);
	if (!rc && s->source == ZERO && madvise(start, s->pages->bytes, MADV_DONTNEED))
		rc = tm_fail(t, -errno, "madvise(MADV_DONTNEED)");
	if (rc)
		return rc;
	for (unsigned int i = 0; i < s->count; i++) {
		if (s->source == ZERO) {
			(void)*first_word(s, i); /* maps the zero page */
		} else {
			*first_word(s, i) = content(s, i);
			*last_word(s, i) = content(s, i);
		}
	}
	s->next = 0;
	if (s->source == KSM_PAGE)
		return wait_for_ksmd(t, s);
	if (!makes[s->source].child)
		return 0;
	rc = tm_child_start(&s->child, child_main, s);
	/* Its beginning belongs before the clock: once it answered, it sleeps. */
	rc = rc ? rc : tm_child_ask(&s->child, REQUEST_READ);
	return rc ? tm_child_failed(t, &s->child, rc, "forking the process that shares the pages")
		  : 0;
}

static int prepare(struct tm_thread *t, void *state)
{
	struct state *all = state;
	struct slot *s = &all->slot[t->index];
	struct pages *p = pages_of(t, all->set);
	int rc;

	s->source = source_of(t->cell);
	s->pages = p;
	s->count = s->next = makes[s->source].pages;
	rc = tm_child_open(&s->child);
	if (rc)
		return tm_fail(t, rc, "a page shared with the child");
	tm_child_no_preemption();
	rc = pages_open(t, p, makes[s->source].kind, PAGES_ANON, needed(s->source));
	/* There is room for the copies too; mapped are these. */
	p->bytes = s->count * p->page_bytes;
	rc = rc ? rc : pages_place(t, p, PAGES_KEEP_TABLES, 1, 0);
	return rc ? rc : pages_map(t, p, pages_at(p, 0), p->bytes, false);
}

static int operate(struct tm_thread *t, void *state)
{
	struct slot *s = &((struct state *)state)->slot[t->index];
	uint32_t base_pages = (uint32_t)(s->pages->page_bytes / t->page_bytes);

	while (tm_more(t)) {
		volatile uint64_t *word;
		int rc = s->next < s->count ? 0 : share(t, s);

		if (rc)
			return rc;
		word = first_word(s, s->next++);
		if (!t->index)
			tm_publish(t, (const void *)(uintptr_t)word, t->page_bytes, t->page_bytes);
		tm_begin(t);
		*word = t->count;
		tm_end(t, base_pages);
	}
	return 0;
}

static int sharer_check(struct tm_thread *t, struct slot *s, unsigned int page,
			struct tm_verdict *v)
{
	uint64_t expected = content(s, page), mine = *first_word(s, page), value;
	int rc;

	if (!makes[s->source].child) {
		if (page + 1 == s->count)
			return 0; /* the last one's twins are all written */
		value = *first_word(s, page + 1);
		tm_check(v, value == expected, "the page's twin became %#llx",
			 (unsigned long long)value);
		return 0;
	}
	s->child.page->value[0] = page;
	rc = tm_child_ask(&s->child, REQUEST_READ);
	if (rc)
		return rc;
	value = s->child.page->value[1];
	tm_check(v, value == expected, "the child read %#llx instead of %#llx",
		 (unsigned long long)value, (unsigned long long)expected);
	s->child.page->value[1] = ~mine;
	rc = tm_child_ask(&s->child, REQUEST_WRITE);
	return rc ? rc : witness_all_read(t, first_word(s, page), mine, "after the child wrote", v);
}

/*
 * Every CPU reads the page, so that its TLB maps the shared frame; one, in
 * turn, writes. A CPU whose old translation was not flushed goes on reading
 * the shared frame, and so the old content instead of the new.
 */
static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct slot *s = &((struct state *)state)->slot[t->index];
	int rc = 0;

	for (uint64_t round = 0; round < v->rounds && !rc; round++) {
		unsigned int writer = (unsigned int)(round % witness_count(t)), page;
		uint64_t value = tm_random(t);
		volatile uint64_t *word;

		rc = s->next < s->count ? 0 : share(t, s);
		if (rc)
			return rc;
		page = s->next++;
		word = first_word(s, page);
		rc = witness_all_read(t, word, content(s, page), "before the write", v);
		rc = rc ? rc : witness_store(t, writer, word, value);
		rc = rc ? rc : witness_all_read(t, word, value, "after the write", v);
		rc = rc ? rc
			: witness_all_read(t, last_word(s, page), content(s, page),
					   "in the copied rest", v);
		rc = rc ? rc : sharer_check(t, s, page, v);
	}
	return rc ? tm_child_failed(t, &s->child, rc, "checking a copy on write") : 0;
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

const struct tm_workload tm_workload_cow = {
	.name = "cow",
	.summary = "first write to a page shared copy-on-write",
	.op = "one store, until it is done",
	.flushes = "wp_page_copy -> ptep_clear_flush; hugetlb_wp -> huge_ptep_clear_flush",
	.gate = TM_GATE_EVERY,
	.params = params,
	.patient_cell = patient_cell,
	.probe_cell = probe_cell,
	.knobs = knobs,
	.setup = setup,
	.prepare = prepare,
	.operate = operate,
	.verify = verify,
	.teardown = teardown,
};
