// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * munmap: takes a populated mapping away.
 *
 * Timed: one munmap(), or (--how map_fixed) the mmap() of untouched anonymous
 * memory over a live mapping, or (--how partial) the munmap() of the middle of
 * a mapping, which splits it in three. The kernel gathers the pages and
 * flushes in tlb_finish_mmu() -> flush_tlb_mm_range(): by range up to the
 * ceiling (33 strides on x86), the whole TLB beyond. When page tables go too
 * (--tables freed), CPUs that are lazy in this mm are interrupted as well.
 * From about 10,000 pages on, the gather is full several times, and so flushes
 * several times in one call.
 *
 * It does not measure making the mapping and its page faults, nor mapped files
 * that are dirty: those flush once a page table, before the pages' reverse
 * mapping goes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include <tlbmark/workload.h>

#include "oracle.h"
#include "pages.h"

enum { PAGES, KIND, BACKING, TABLES, HOW };
enum { TABLES_KEPT, TABLES_FREED };
enum { HOW_MUNMAP, HOW_MAP_FIXED, HOW_PARTIAL };

static const char *const tables[] = {"kept", "freed", NULL};
static const char *const hows[] = {"munmap", "map_fixed", "partial", NULL};

static const struct tm_param munmap_params[] = {
	[PAGES] = PAGES_PARAM("1,8,32..34,512", "1,8,32..34,512,4096,262144"),
	[KIND] = PAGES_CHOICE_PARAM("kind", "base pages, transparent huge pages, or hugetlb pages",
				    pages_kinds, "4k", "4k,thp,hugetlb"),
	[BACKING] =
		PAGES_CHOICE_PARAM("backing", "private memory, shared memory, or a file on a disk",
				   pages_backings, "anon", "anon,shared,file"),
	[TABLES] = PAGES_CHOICE_PARAM("tables", "are page tables at the edges kept by neighbours",
				      tables, "kept", "kept,freed"),
	[HOW] = PAGES_CHOICE_PARAM("how",
				   "unmap all, map something else over it, or unmap the middle",
				   hows, "munmap", "munmap,map_fixed,partial"),
	{.name = NULL},
};

/* A page on each side stays when the middle goes. */
static uint64_t edges(const struct tm_cell_args *c)
{
	return c->values[HOW] == HOW_PARTIAL ? 2 : 0;
}

static int munmap_probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	if (c->values[HOW] == HOW_PARTIAL && c->values[TABLES] == TABLES_FREED) {
		snprintf(why, why_size,
			 "what stays of the mapping keeps the page tables: use "
			 "--tables kept");
		return -ENOTSUP;
	}
	return pages_check(c, c->values[KIND], c->values[BACKING], c->values[PAGES] + edges(c), why,
			   why_size);
}

static int munmap_knobs(const struct tm_cell_args *c, struct tm_sysstate *s)
{
	return pages_knobs(c, c->values[KIND], c->values[BACKING], c->values[PAGES] + edges(c), s);
}

/* What is unmapped; the pages around it are there from the beginning. */
static char *target(const struct tm_thread *t, const struct pages *p, size_t *bytes)
{
	size_t edge = edges(t->cell) / 2 * p->page_bytes;

	*bytes = p->bytes - 2 * edge;
	return p->at + edge;
}

static int munmap_prepare(struct tm_thread *t, void *state)
{
	const uint64_t *value = t->cell->values;
	struct pages *p = pages_of(t, state);
	size_t bytes;
	char *at;
	int rc;

	rc = pages_open(t, p, value[KIND], value[BACKING], value[PAGES] + edges(t->cell));
	if (!rc)
		rc = pages_place(
			t, p, value[TABLES] == TABLES_KEPT ? PAGES_KEEP_TABLES : PAGES_FREE_TABLES,
			1, 0);
	if (!rc)
		rc = pages_map(t, p, p->at, p->bytes, false);
	if (!rc)
		rc = pages_must_be_huge(t, p, p->at, p->bytes);
	at = target(t, p, &bytes);
	/* Every operation begins by mapping what the one before has unmapped. */
	if (!rc && value[HOW] != HOW_MAP_FIXED && munmap(at, bytes))
		rc = tm_fail(t, -errno, "munmap of %zu bytes", bytes);
	return rc;
}

static int fill(struct tm_thread *t, struct pages *p, char *at, size_t bytes)
{
	return pages_map(t, p, at, bytes, t->cell->values[HOW] == HOW_MAP_FIXED);
}

static inline int unmap(uint64_t how, char *at, size_t bytes)
{
	if (how == HOW_MAP_FIXED)
		return mmap(at, bytes, PROT_READ | PROT_WRITE,
			    MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
	return munmap(at, bytes);
}

static int munmap_operate(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	uint64_t how = t->cell->values[HOW];
	size_t bytes;
	char *at = target(t, p, &bytes);
	uint32_t base_pages = (uint32_t)(bytes / t->page_bytes);
	int rc;

	while (tm_more(t)) {
		rc = fill(t, p, at, bytes);
		/* Memory may have become fragmented since the last batch. */
		if (!rc && !t->count)
			rc = pages_must_be_huge(t, p, at, bytes);
		if (rc)
			return rc;
		pages_publish(t, at, bytes, p->page_bytes);
		tm_begin(t);
		rc = unmap(how, at, bytes);
		tm_end(t, base_pages);
		if (rc)
			return tm_fail(t, -errno, "unmapping %zu bytes", bytes);
	}
	return 0;
}

/*
 * After return nobody may reach the old page: the address faults, or reads the
 * new mapping's zeros. Without the flush a responder would read the old stamp.
 */
static int munmap_verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct pages *p = pages_of(t, state);
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};
	uint64_t how = t->cell->values[HOW];
	size_t bytes;
	char *at = target(t, p, &bytes);
	int rc;

	while (oracle_next(&o, bytes)) {
		rc = fill(t, p, at, bytes);
		if (rc)
			return rc;
		oracle_write(&o, at);
		oracle_see(&o, at, ORACLE_STAMP, "before it was unmapped");
		if (unmap(how, at, bytes))
			return tm_fail(t, -errno, "unmapping %zu bytes", bytes);
		oracle_see(&o, at, how == HOW_MAP_FIXED ? ORACLE_ZERO : ORACLE_FAULT,
			   "after it was unmapped");
	}
	return 0;
}

const struct tm_workload tm_workload_munmap = {
	.name = "munmap",
	.summary = "unmapping populated memory",
	.op = "one munmap() (or mmap(MAP_FIXED)) of --pages pages",
	.flushes = "tlb_finish_mmu",
	.gate = TM_GATE_EVERY,
	.params = munmap_params,
	.probe_cell = munmap_probe_cell,
	.knobs = munmap_knobs,
	.setup = pages_set_new,
	.prepare = munmap_prepare,
	.operate = munmap_operate,
	.verify = munmap_verify,
	.teardown = pages_set_free,
};
