// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * mremap: moves a populated mapping, or cuts its end off.
 *
 * Timed: one mremap(). Moving (--how move) takes the page table entries over
 * in move_page_tables(): one by one in move_ptes(), which flushes once for
 * each page table that it empties, or, between addresses that are aligned to a
 * PMD (--kind 4k-pmd), a whole table at a time in move_normal_pmd(), and huge
 * pages in move_huge_pmd(), with a flush each; hugetlb pages (Linux 5.16) in
 * move_hugetlb_page_tables(), which flushes them all together. With --how dontunmap the old
 * mapping stays, empty. --how shrink is a munmap() of the end, flushed in
 * tlb_finish_mmu().
 *
 * It does not measure growing, nor a move that the kernel has to find room
 * for: the place is there, and it is empty.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

#include <tlbmark/workload.h>

#include "oracle.h"
#include "pages.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

enum { PAGES, KIND, HOW };
enum { KIND_4K, KIND_4K_PMD, KIND_THP, KIND_HUGETLB };
enum { HOW_MOVE, HOW_SHRINK, HOW_DONTUNMAP };
enum { OTHER_STAMPS = 1 << 20 }; /* epochs of what stays, never those of the end */

static const char *const kinds[] = {"4k", "4k-pmd", "thp", "hugetlb", NULL};
static const char *const hows[] = {"move", "shrink", "dontunmap", NULL};

static const struct tm_param mremap_params[] = {
	[PAGES] = PAGES_PARAM("1", "1,8,32..34,512,4096,262144"),
	[KIND] = PAGES_CHOICE_PARAM(
		"kind", "base pages off any PMD's begin, base pages at one, or huge pages", kinds,
		"4k", "4k,4k-pmd,thp,hugetlb"),
	[HOW] = PAGES_CHOICE_PARAM("how", "move, cut off the end, or move and leave a mapping",
				   hows, "move", "move,shrink,dontunmap"),
	{.name = NULL},
};

static enum pages_kind kind_of(const struct tm_cell_args *c)
{
	return c->values[KIND] == KIND_HUGETLB ? PAGES_HUGETLB
	       : c->values[KIND] == KIND_THP   ? PAGES_THP
					       : PAGES_4K;
}

/* What one page table maps, as far as there are pages of that size. */
static uint64_t table_pages(void)
{
	size_t huge_bytes = pages_kind_bytes(PAGES_THP);

	return huge_bytes ? huge_bytes / pages_kind_bytes(PAGES_4K) : 1;
}

/* When the end is cut off one page stays, or the pages of one table. */
static uint64_t kept(const struct tm_cell_args *c)
{
	if (c->values[HOW] != HOW_SHRINK)
		return 0;
	return c->values[KIND] == KIND_4K_PMD ? table_pages() : 1;
}

/* The same, of what was prepared: on a timed path nobody asks how large pages are. */
static inline size_t kept_bytes(const struct tm_thread *t, const struct pages *p)
{
	return p->bytes - t->cell->values[PAGES] * p->page_bytes;
}

static int mremap_probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	if (c->values[KIND] == KIND_HUGETLB && c->values[HOW] != HOW_MOVE) {
		snprintf(
			why, why_size,
			"hugetlb mappings neither grow again nor leave one behind: use --how move");
		return -ENOTSUP;
	}
	if (c->values[KIND] == KIND_4K_PMD && c->values[PAGES] < table_pages()) {
		snprintf(
			why, why_size,
			"a page table moves as a whole if all of its pages do: use --pages %" PRIu64,
			table_pages());
		return -ENOTSUP;
	}
	return pages_check(c, kind_of(c), PAGES_ANON, c->values[PAGES] + kept(c), why, why_size);
}

static int mremap_knobs(const struct tm_cell_args *c, struct tm_sysstate *s)
{
	return pages_knobs(c, kind_of(c), PAGES_ANON, c->values[PAGES] + kept(c), s);
}

static int mremap_prepare(struct tm_thread *t, void *state)
{
	const uint64_t *value = t->cell->values;
	struct pages *p = pages_of(t, state);
	int rc = pages_open(t, p, kind_of(t->cell), PAGES_ANON, value[PAGES] + kept(t->cell));

	if (!rc)
		rc = pages_place(t, p, value[KIND] == KIND_4K ? PAGES_KEEP_TABLES : PAGES_ALIGNED,
				 2, 0);
	if (!rc)
		rc = pages_map(t, p, p->at, p->bytes, false);
	if (!rc)
		rc = pages_must_be_huge(t, p, p->at, p->bytes);
	return rc;
}

/*
 * Dontunmap leaves the old place mapped, and the move back there would unmap
 * it first, inside the clock.
 */
static int make_room(struct tm_thread *t, const struct pages *p, char *to)
{
	if (t->cell->values[HOW] == HOW_DONTUNMAP && munmap(to, p->bytes))
		return tm_fail(t, -errno, "munmap of %zu bytes", p->bytes);
	return 0;
}

/* The operation: 0 or -errno. Afterwards p->spot is where the mapping is. */
static inline int remap(const struct tm_thread *t, struct pages *p, char *from, char *to)
{
	uint64_t how = t->cell->values[HOW];
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
	char *got;

	if (how == HOW_SHRINK)
		got = mremap(from, p->bytes, kept_bytes(t, p), 0);
	else
		got = mremap(from, p->bytes, p->bytes,
			     how == HOW_MOVE ? flags : flags | MREMAP_DONTUNMAP, to);
	return got == MAP_FAILED ? -errno : 0;
}

/* Where it is, where it goes, and what of it the operation covers. */
struct move {
	char *from, *to;
	size_t covered_bytes;
};

static struct move next_move(const struct tm_thread *t, struct pages *p)
{
	struct move m = {
		.from = pages_at(p, p->spot),
		.to = pages_at(p, !p->spot),
		.covered_bytes = p->bytes - kept_bytes(t, p),
	};

	if (t->cell->values[HOW] == HOW_SHRINK)
		m.to = m.from;
	else
		p->spot = !p->spot;
	return m;
}

/* Only what was cut off has to be made again: what moves goes to and fro. */
static int regrow(struct tm_thread *t, struct pages *p)
{
	if (t->cell->values[HOW] != HOW_SHRINK)
		return 0;
	if (mremap(p->at, kept_bytes(t, p), p->bytes, 0) == MAP_FAILED)
		return tm_fail(t, -errno, "growing to %zu bytes", p->bytes);
	return pages_populate(t, p->at, p->bytes, p->page_bytes, true);
}

static int mremap_operate(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	int rc;

	while (tm_more(t)) {
		struct move m = next_move(t, p);

		rc = make_room(t, p, m.to);
		if (rc)
			return rc;
		pages_publish(t, m.from, p->bytes, p->page_bytes);
		tm_begin(t);
		rc = remap(t, p, m.from, m.to);
		tm_end(t, (uint32_t)(m.covered_bytes / t->page_bytes));
		if (rc)
			return tm_fail(t, rc, "mremap of %zu bytes", p->bytes);
		rc = regrow(t, p);
		if (rc)
			return rc;
	}
	return 0;
}

/*
 * After return the old place is dead (or reads as zeros, with dontunmap), and
 * the new one has the content. Without the flush a responder would still read
 * the stamp at the old place.
 */
static int check_remap(struct tm_thread *t, struct pages *p, struct oracle *o)
{
	uint64_t how = t->cell->values[HOW];
	struct move m = next_move(t, p);
	char *old = m.from + kept_bytes(t, p);
	int rc = make_room(t, p, m.to);

	if (rc)
		return rc;
	oracle_write(o, old);
	oracle_see(o, old, ORACLE_STAMP, "before mremap");
	rc = remap(t, p, m.from, m.to);
	if (rc)
		return tm_fail(t, rc, "mremap of %zu bytes", p->bytes);
	oracle_see(o, old, how == HOW_DONTUNMAP ? ORACLE_ZERO : ORACLE_FAULT,
		   "at the old place after mremap");
	if (how != HOW_SHRINK)
		oracle_see(o, m.to, ORACLE_STAMP, "at the new place after mremap");
	return 0;
}

/*
 * What stays when the end is cut off moves like any other mapping, and back again. Not
 * in the same call: it would begin with the flush of the end.
 */
static int check_rest(struct tm_thread *t, struct pages *p, struct oracle *o)
{
	char *from = pages_at(p, 0), *to = pages_at(p, 1);
	size_t stays = kept_bytes(t, p);
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED;

	oracle_write(o, from);
	oracle_see(o, from, ORACLE_STAMP, "before what stays is moved");
	if (mremap(from, stays, stays, flags, to) == MAP_FAILED)
		return tm_fail(t, -errno, "mremap of %zu bytes", stays);
	oracle_see(o, from, ORACLE_FAULT, "at the old place of what stayed");
	oracle_see(o, to, ORACLE_STAMP, "at the new place of what stayed");
	if (mremap(to, stays, stays, flags, from) == MAP_FAILED)
		return tm_fail(t, -errno, "mremap of %zu bytes back", stays);
	oracle_see(o, to, ORACLE_FAULT, "where what stayed had been for a moment");
	return 0;
}

static int mremap_verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct pages *p = pages_of(t, state);
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes}, rest = o;
	size_t stays = kept_bytes(t, p);
	int rc = 0;

	rest.epoch = OTHER_STAMPS;
	while (!rc && oracle_next(&o, p->bytes - stays)) {
		rc = check_remap(t, p, &o);
		if (!rc && stays && oracle_next(&rest, stays))
			rc = check_rest(t, p, &rest);
		rc = rc ? rc : regrow(t, p);
	}
	return rc;
}

const struct tm_workload tm_workload_mremap = {
	.name = "mremap",
	.summary = "moving or shrinking a mapping",
	.op = "one mremap() of --pages pages",
	.flushes = "move_page_tables",
	.gate = TM_GATE_EVERY,
	.params = mremap_params,
	.probe_cell = mremap_probe_cell,
	.knobs = mremap_knobs,
	.setup = pages_set_new,
	.prepare = mremap_prepare,
	.operate = mremap_operate,
	.verify = mremap_verify,
	.teardown = pages_set_free,
};
