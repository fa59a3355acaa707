// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * uffd_move: moves pages to another address through userfaultfd.
 *
 * Timed: one ioctl(UFFDIO_MOVE), to and fro between two mappings of private
 * memory; both stay, one is always empty. The kernel takes each entry away in
 * move_pages_pte() -> ptep_clear_flush() and puts the page's new one in place:
 * a flush for each page, where mremap() has one for a page table. Linux 6.18
 * flushes once for the neighbouring pages of a page table. A huge page is moved
 * whole by move_pages_huge_pmd() -> pmdp_huge_clear_flush().
 *
 * A move that the kernel breaks off half-way (EAGAIN) goes on inside the clock;
 * the counter `broken_off` tells how often. It does not measure the fault that
 * such a move usually answers, nor pages that are in swap.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include <tlbmark/workload.h>

#include "oracle.h"
#include "pages.h"
#include "uffd.h"

enum { PAGES, KIND };
enum { BROKEN_OFF };

static const char *const counters[] = {[BROKEN_OFF] = "broken_off", NULL};

static const struct tm_param params[] = {
	[PAGES] = PAGES_PARAM("1", "1,8,32..34,512,4096"),
	[KIND] = PAGES_CHOICE_PARAM("kind", "base pages or transparent huge pages",
				    pages_small_kinds, "4k", "4k,thp"),
	{.name = NULL},
};

static enum pages_kind kind_of(const struct tm_cell_args *c)
{
	return (enum pages_kind)c->values[KIND];
}

static int probe(char *why, size_t why_size)
{
	return uffd_check(UFFD_FEATURE_MOVE | UFFD_FEATURE_SIGBUS, "UFFDIO_MOVE (Linux 6.8)", why,
			  why_size);
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	return pages_check(c, kind_of(c), PAGES_ANON, c->values[PAGES], why, why_size);
}

static int knobs(const struct tm_cell_args *c, struct tm_sysstate *s)
{
	return pages_knobs(c, kind_of(c), PAGES_ANON, c->values[PAGES], s);
}

/* The place that the pages go to first: mapped as theirs is, and empty. */
static int map_empty(struct tm_thread *t, const struct pages *p, char *at)
{
	char *got = mmap(at, p->bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (got == MAP_FAILED)
		return tm_fail(t, -errno, "mmap of %zu bytes", p->bytes);
	if (p->kind == PAGES_THP && madvise(at, p->bytes, MADV_HUGEPAGE))
		return tm_fail(t, -errno, "MADV_HUGEPAGE of %zu bytes", p->bytes);
	return 0;
}

static int prepare(struct tm_thread *t, void *state)
{
	struct uffd *u = uffd_of(t, state);
	struct pages *p = u->pages;
	int rc = pages_open(t, p, kind_of(t->cell), PAGES_ANON, t->cell->values[PAGES]);

	rc = rc ? rc : pages_place(t, p, PAGES_ALIGNED, 2, 0);
	rc = rc ? rc : pages_map(t, p, pages_at(p, 0), p->bytes, false);
	rc = rc ? rc : pages_must_be_huge(t, p, pages_at(p, 0), p->bytes);
	rc = rc ? rc : map_empty(t, p, pages_at(p, 1));
	if (rc)
		return rc;
	/* An access to what is not there becomes SIGBUS, as the oracle wants it. */
	u->fd = uffd_open(t, UFFD_FEATURE_MOVE | UFFD_FEATURE_SIGBUS);
	if (u->fd < 0)
		return u->fd;
	for (unsigned int spot = 0; !rc && spot < 2; spot++)
		rc = uffd_register(t, u, pages_at(p, spot), p->bytes, UFFDIO_REGISTER_MODE_MISSING);
	return rc;
}

/* The operation: how often it was broken off, or -errno. */
static inline int move(int fd, const char *from, const char *to, size_t bytes)
{
	int broken_off = 0;

	for (;;) {
		struct uffdio_move m = {.dst = (uintptr_t)to, .src = (uintptr_t)from, .len = bytes};

		if (!ioctl(fd, UFFDIO_MOVE, &m))
			return broken_off;
		if (errno != EAGAIN)
			return -errno;
		broken_off++;
		if (m.move > 0) {
			from += m.move;
			to += m.move;
			bytes -= (size_t)m.move;
		}
	}
}

static int operate(struct tm_thread *t, void *state)
{
	struct uffd *u = uffd_of(t, state);
	struct pages *p = u->pages;
	uint32_t base_pages = (uint32_t)(p->bytes / t->page_bytes);

	while (tm_more(t)) {
		const char *from = pages_at(p, p->spot), *to = pages_at(p, !p->spot);
		int broken_off;

		pages_publish(t, from, p->bytes, p->page_bytes);
		tm_begin(t);
		broken_off = move(u->fd, from, to, p->bytes);
		tm_end(t, base_pages);
		if (broken_off < 0)
			return tm_fail(t, broken_off, "UFFDIO_MOVE of %zu bytes", p->bytes);
		tm_count(t, BROKEN_OFF, (uint64_t)broken_off);
		p->spot = !p->spot;
	}
	/* Armed once more, responders would read what is not there any more. */
	tm_publish(t, NULL, 0, 0);
	return 0;
}

/*
 * After return nothing is there at the old address, neither to be read nor to
 * be stored to, and the content is whole at the new one. Without the flush a
 * responder would still read the moved page by its old address, or change it.
 */
static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct uffd *u = uffd_of(t, state);
	struct pages *p = u->pages;
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};

	while (oracle_next(&o, p->bytes)) {
		char *from = pages_at(p, p->spot), *to = pages_at(p, !p->spot);
		int rc;

		oracle_write(&o, from);
		oracle_see(&o, from, ORACLE_STAMP, "before UFFDIO_MOVE");
		rc = move(u->fd, from, to, p->bytes);
		if (rc < 0)
			return tm_fail(t, rc, "UFFDIO_MOVE of %zu bytes", p->bytes);
		p->spot = !p->spot;
		oracle_see(&o, from, ORACLE_FAULT, "at the old place after UFFDIO_MOVE");
		oracle_cannot_store(&o, from, false, "at the old place after UFFDIO_MOVE");
		oracle_see(&o, to, ORACLE_STAMP, "at the new place after UFFDIO_MOVE");
	}
	return pages_must_be_huge(t, p, pages_at(p, p->spot), p->bytes);
}

const struct tm_workload tm_workload_uffd_move = {
	.name = "uffd_move",
	.summary = "moving pages through userfaultfd",
	.op = "one UFFDIO_MOVE of --pages pages",
	.flushes = "ptep_clear_flush; pmdp_huge_clear_flush",
	.gate = TM_GATE_EVERY,
	.params = params,
	.counters = counters,
	.probe = probe,
	.probe_cell = probe_cell,
	.knobs = knobs,
	.setup = uffd_set_new,
	.prepare = prepare,
	.operate = operate,
	.verify = verify,
	.teardown = uffd_set_free,
};
