// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * hugetlb_unshare: a page table that another process uses, too, is taken away.
 *
 * Two processes map the same file of hugetlb pages, all that one page table of
 * PMDs can map (1 GiB with pages of 4 KiB), and so the kernel gives the second
 * the table of the first (huge_pmd_share()). When one of them gives the
 * mapping up, the kernel takes the table as a whole out of that one's page
 * tables (huge_pmd_unshare()): no entry is cleared, no page is freed, the other
 * goes on using all of it. The flush is all that keeps the first away from the
 * pages, and it must cover what the whole table maps. Up to Linux 5.15 munmap
 * left it out (CVE-2021-4002, mended by a4a118f2eead, "hugetlbfs: flush TLBs
 * correctly after huge_pmd_unshare").
 *
 * Timed: one munmap(), flushed in __unmap_hugepage_range(), or (--how mprotect)
 * one mprotect() to read-only, flushed in hugetlb_change_protection(), or
 * (--how mremap, Linux 5.16) one mremap() to another place, flushed in
 * move_hugetlb_page_tables(). It is one flush whatever --pages is: beyond the
 * ceiling, so the whole TLB on x86. Kernels in which hugetlb gathers by itself in
 * mprotect flush twice there, because that gather ends within mprotect's. The
 * other process is a child. It made the table and sleeps; its own TLB is not
 * flushed.
 *
 * Kernels with "mm/hugetlb: fix huge_pmd_unshare() vs GUP-fast race" (6.16 and
 * stable ones) wait for page table walkers as well, by an interrupt to every
 * CPU (tlb_remove_table_sync_one()), and so whatever runs there; with "mm/hugetlb:
 * fix excessive IPI broadcasts when unsharing PMD tables using mmu_gather" only if
 * the table has one user left, which --users 1 is. That interrupt is in the
 * operation and in its controls alike, and no part of the shootdown's cost.
 *
 * It does not measure sharing the table again, with its page fault, nor giving
 * up a table that nobody shares: that is what munmap, mprotect and mremap do
 * with --kind hugetlb. Nor the ways in which the kernel stops sharing on its own,
 * as when the mapping is split (hugetlb_unshare_pmds()).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <tlbmark/workload.h>

#include "child.h"
#include "oracle.h"
#include "pages.h"

enum { PAGES, HOW, USERS };
enum { HOW_MUNMAP, HOW_MPROTECT, HOW_MREMAP };

/* The last entry of the smallest table is kept for telling whether it is shared. */
enum { PAGES_MOST = 511 };

/* Places of a mapping, in each of the two processes. */
enum { SPOTS = 2 };

static const char *const hows[] = {"munmap", "mprotect", "mremap", NULL};

static const struct tm_param params[] = {
	[PAGES] = {.name = "pages",
		   .unit = "huge pages",
		   .help = "huge pages in use, of those that the table maps",
		   .kind = TM_PARAM_UINT,
		   .min = 1,
		   .max = PAGES_MOST,
		   .def = "1",
		   .plan = "1,8",
		   .full = "1,8,32"},
	[HOW] = PAGES_CHOICE_PARAM("how", "unmap all, make all of it read-only, or move it", hows,
				   "munmap", "munmap,mprotect,mremap"),
	[USERS] = {.name = "users",
		   .unit = "mappings",
		   .help = "mappings of the other process that go on using the table",
		   .kind = TM_PARAM_UINT,
		   .min = 1,
		   .max = SPOTS,
		   .def = "2",
		   .full = "1,2"},
	{.name = NULL},
};

struct slot {
	struct pages *pages; /* bytes: what a table maps, few of them in use */
	size_t used_bytes;   /* the pages at its begin that are */
	unsigned int users;  /* mappings of the child */
	bool mapped;	     /* at pages->spot */
	struct tm_child child;
};

struct state {
	void *set; /* of pages */
	unsigned int count;
	struct slot slot[];
};

/* What one table of huge pages' entries maps. */
static size_t table_bytes(size_t page_bytes, size_t base_bytes)
{
	return page_bytes * (base_bytes / sizeof(uint64_t));
}

/* And one of which only the child knows. */
static uint64_t needed(const struct tm_cell_args *c)
{
	return c->values[PAGES] + 1;
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	int rc = pages_check(c, PAGES_HUGETLB, PAGES_SHARED, needed(c), why, why_size);
	size_t base = pages_kind_bytes(PAGES_4K), page = pages_kind_bytes(PAGES_HUGETLB);

	if (!rc && c->initiators > 1) {
		snprintf(why, why_size,
			 "one's places would be others' while they are empty: one "
			 "initiator");
		return -ENOTSUP;
	}
	/* A table of base pages maps as much as one huge page, else it is not one of PMDs. */
	if (!rc && page != table_bytes(base, base)) {
		snprintf(why, why_size,
			 "page tables of huge pages of %zu KiB are never shared: boot with "
			 "default_hugepagesz=%zuK",
			 page / 1024, table_bytes(base, base) / 1024);
		rc = -ENOTSUP;
	}
	return rc;
}

static int knobs(const struct tm_cell_args *c, struct tm_sysstate *system)
{
	return pages_knobs(c, PAGES_HUGETLB, PAGES_SHARED, needed(c), system);
}

static int setup(struct tm_thread *t, void **state)
{
	struct state *s = calloc(1, sizeof(*s) + t->cell->initiators * sizeof(s->slot[0]));

	if (!s)
		return tm_fail(t, -ENOMEM, "no memory for %u initiators", t->cell->initiators);
	*state = s;
	s->count = t->cell->initiators;
	return pages_set_new(t, &s->set);
}

static char *place(const struct slot *s)
{
	return pages_at(s->pages, s->pages->spot);
}

/* Of a mapping at `at`: the page that this process never touches. */
static char *witness(const struct slot *s, char *at)
{
	return at + s->pages->bytes - s->pages->page_bytes;
}

/* 0 or -errno. No huge pages are promised to it: there may be fewer than it has room for. */
static int map(const struct slot *s, char *at)
{
	size_t bytes = s->pages->bytes;
	char *got = mmap(at, bytes, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, s->pages->fd, 0);

	if (got == MAP_FAILED)
		return -errno;
	if (got == at)
		return 0;
	/* A kernel that does not know MAP_FIXED_NOREPLACE (before 4.17). */
	munmap(got, bytes);
	return -EEXIST;
}

enum { REQUEST_HOLD = 1, REQUEST_READ };

_Static_assert(TM_CHILD_VALUES >= 2 * ORACLE_PICKS, "offsets, and then what is read there");

/*
 * Makes the table and the pages, which stay as long as the child does. Between two
 * mappings of one process a table is shared as between those of two.
 */
static int hold(const struct slot *s)
{
	int rc = 0;

	for (unsigned int spot = 0; !rc && spot < s->users; spot++) {
		char *at = pages_at(s->pages, spot);

		rc = map(s, at);
		for (size_t i = 0; !rc && i < s->used_bytes; i += s->pages->page_bytes)
			*(volatile uint64_t *)(at + i) = 1;
		if (!rc)
			*(volatile uint64_t *)witness(s, at) = 1;
	}
	return rc;
}

static void child_main(struct tm_child *c, void *arg)
{
	const struct slot *s = arg;
	const char *at = pages_at(s->pages, 0);
	uint64_t *value = c->page->value;

	for (;;) {
		if (tm_child_next(c) == REQUEST_HOLD) {
			tm_child_answer(c, hold(s));
			continue;
		}
		for (size_t i = 0; i < ORACLE_PICKS; i++)
			value[ORACLE_PICKS + i] = *(const volatile uint64_t *)(at + value[i]);
		tm_child_answer(c, 0);
	}
}

/*
 * Untimed: mapped, and with the child's table. A page that was touched by the child
 * only is in the page tables of both then, which is what mincore(2) looks at: for
 * hugetlb pages it does not ask whether the file has one.
 */
static int share(struct tm_thread *t, struct slot *s)
{
	unsigned char present = 0;
	char *at = place(s);
	int rc = s->mapped ? 0 : map(s, at);

	if (rc)
		return tm_fail(t, rc, "mmap of %zu bytes of huge pages", s->pages->bytes);
	s->mapped = true;
	(void)*(volatile uint64_t *)at;
	if (mincore(witness(s, at), t->page_bytes, &present))
		return tm_fail(t, -errno, "mincore of a huge page");
	if (present & 1)
		return 0;
	return tm_fail(t, -ENOTSUP,
		       "this kernel does not share page tables of huge pages between processes "
		       "(CONFIG_HUGETLB_PMD_PAGE_TABLE_SHARING, before 6.12 "
		       "CONFIG_ARCH_WANT_HUGE_PMD_SHARE)");
}

static int prepare(struct tm_thread *t, void *state)
{
	struct state *all = state;
	struct slot *s = &all->slot[t->index];
	struct pages *p = pages_of(t, all->set);
	int rc = tm_child_open(&s->child);

	if (rc)
		return tm_fail(t, rc, "a page shared with the child");
	tm_child_no_preemption();
	rc = pages_open(t, p, PAGES_HUGETLB, PAGES_SHARED, needed(t->cell));
	if (rc)
		return rc;
	s->pages = p;
	s->users = (unsigned int)t->cell->values[USERS];
	s->used_bytes = t->cell->values[PAGES] * p->page_bytes;
	/* Only a mapping of all that a table maps shares it; no more huge pages for that. */
	p->bytes = table_bytes(p->page_bytes, t->page_bytes);
	rc = pages_place(t, p, PAGES_FREE_TABLES, SPOTS, 0);
	if (rc)
		return rc;
	/* First: who comes second gets the table of who has one. */
	rc = tm_child_start(&s->child, child_main, s);
	rc = rc ? rc : tm_child_ask(&s->child, REQUEST_HOLD);
	return rc ? tm_child_failed(t, &s->child, rc, "the process that has the page table")
		  : share(t, s);
}

/* The operation: 0, or not and errno. */
static inline int unshare(uint64_t how, char *from, char *to, size_t bytes)
{
	if (how == HOW_MPROTECT)
		return mprotect(from, bytes, PROT_READ);
	if (how == HOW_MREMAP)
		return mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED;
	return munmap(from, bytes);
}

/* Untimed: what is read-only has got a table of its own, or none, and cannot share. */
static int settle(struct tm_thread *t, struct slot *s)
{
	uint64_t how = t->cell->values[HOW];

	if (how == HOW_MPROTECT && munmap(place(s), s->pages->bytes))
		return tm_fail(t, -errno, "munmap of %zu bytes", s->pages->bytes);
	if (how == HOW_MREMAP)
		s->pages->spot = !s->pages->spot;
	else
		s->mapped = false;
	return 0;
}

static int operate(struct tm_thread *t, void *state)
{
	struct slot *s = &((struct state *)state)->slot[t->index];
	struct pages *p = s->pages;
	uint64_t how = t->cell->values[HOW];
	uint32_t base_pages = (uint32_t)(p->bytes / t->page_bytes);

	while (tm_more(t)) {
		int rc = share(t, s);
		char *from = place(s), *to = pages_at(p, !p->spot);

		if (rc)
			return rc;
		pages_publish(t, from, s->used_bytes, p->page_bytes);
		tm_begin(t);
		rc = unshare(how, from, to, p->bytes);
		tm_end(t, base_pages);
		if (rc)
			return tm_fail(t, -errno, "%s of %zu bytes", hows[how], p->bytes);
		rc = settle(t, s);
		if (rc)
			return rc;
	}
	/* Armed once more, responders would read what is not readable any more. */
	tm_publish(t, NULL, 0, 0);
	return 0;
}

/* The other process has all that it had. */
static int child_check(struct oracle *o, struct slot *s)
{
	uint64_t *value = s->child.page->value;
	int rc;

	for (size_t i = 0; i < ORACLE_PICKS; i++)
		value[i] = i < o->picks ? o->offset[i] : 0;
	rc = tm_child_ask(&s->child, REQUEST_READ);
	if (rc)
		return tm_child_failed(o->t, &s->child, rc, "reading in the other process");
	for (size_t i = 0; i < o->picks; i++)
		tm_check(o->v, value[ORACLE_PICKS + i] == oracle_stamp(o, i),
			 "the other process read %#llx instead of %#llx",
			 (unsigned long long)value[ORACLE_PICKS + i],
			 (unsigned long long)oracle_stamp(o, i));
	return 0;
}

/*
 * After return the address faults, or a store to it does, and the content is where
 * it should be. The pages are in use all the time: without the flush a responder
 * reads the stamp, or stores over it, where it should fault.
 */
static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct slot *s = &((struct state *)state)->slot[t->index];
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};
	uint64_t how = t->cell->values[HOW];
	int rc = 0;

	while (!rc && oracle_next(&o, s->used_bytes)) {
		char *from = place(s), *to = pages_at(s->pages, !s->pages->spot);

		rc = share(t, s);
		if (rc)
			return rc;
		oracle_write(&o, from);
		if (how == HOW_MPROTECT)
			rc = oracle_store(&o, from);
		if (rc)
			return tm_fail(t, rc, "storing before mprotect");
		oracle_see(&o, from, ORACLE_STAMP, "before the table was taken away");
		if (unshare(how, from, to, s->pages->bytes))
			return tm_fail(t, -errno, "%s of %zu bytes", hows[how], s->pages->bytes);
		if (how == HOW_MPROTECT)
			oracle_cannot_store(&o, from, true, "after mprotect");
		else
			oracle_see(&o, from, ORACLE_FAULT, "after the table was taken away");
		if (how == HOW_MREMAP)
			oracle_see(&o, to, ORACLE_STAMP, "at the new place after mremap");
		rc = child_check(&o, s);
		rc = rc ? rc : settle(t, s);
	}
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

const struct tm_workload tm_workload_hugetlb_unshare = {
	.name = "hugetlb_unshare",
	.summary = "giving up a page table shared with another process",
	.op = "one munmap(), mprotect() or mremap() of all that one table of huge pages maps",
	.flushes = "__unmap_hugepage_range; hugetlb_change_protection; move_hugetlb_page_tables",
	.gate = TM_GATE_EVERY,
	.params = params,
	.probe_cell = probe_cell,
	.knobs = knobs,
	.setup = setup,
	.prepare = prepare,
	.operate = operate,
	.verify = verify,
	.teardown = teardown,
};
