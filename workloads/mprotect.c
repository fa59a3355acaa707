// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * mprotect: takes a permission away from populated pages.
 *
 * Timed: one mprotect(). The kernel changes the entries in
 * change_protection() and flushes in tlb_finish_mmu() -> flush_tlb_mm_range():
 * by range up to the ceiling (33 strides on x86), the whole TLB beyond. With
 * --kind thp-part the range ends in the middle of a huge page, which the
 * kernel splits first, with a flush of its own in pmdp_invalidate(); hugetlb
 * pages are flushed in hugetlb_change_protection().
 *
 * It does not measure giving the permission back (some kernels flush there
 * too), nor a protection key (pkey_mprotect without a change of permission).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include <tlbmark/workload.h>

#include "oracle.h"
#include "pages.h"

enum { PAGES, KIND, BACKING, CHANGE };
enum { KIND_4K, KIND_THP, KIND_HUGETLB, KIND_THP_PART };
enum { CHANGE_READ, CHANGE_NONE, CHANGE_EXEC };

static const char *const kinds[] = {"4k", "thp", "hugetlb", "thp-part", NULL};
static const char *const changes[] = {"rw-r", "r-none", "rw-rx", NULL};

static const struct tm_param mprotect_params[] = {
	[PAGES] = PAGES_PARAM("1", "1,8,32..34,512,4096,262144"),
	[KIND] = PAGES_CHOICE_PARAM(
		"kind", "base pages, huge pages, or huge pages without the last one's half", kinds,
		"4k", "4k,thp,hugetlb,thp-part"),
	[BACKING] = PAGES_CHOICE_PARAM("backing", "private or shared memory", pages_memory_backings,
				       "anon", "anon,shared"),
	[CHANGE] = PAGES_CHOICE_PARAM("change", "the permissions before and after", changes, "rw-r",
				      "rw-r,r-none,rw-rx"),
	{.name = NULL},
};

static enum pages_kind kind_of(const struct tm_cell_args *c)
{
	return c->values[KIND] == KIND_THP_PART ? PAGES_THP : (enum pages_kind)c->values[KIND];
}

static int mprotect_probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	return pages_check(c, kind_of(c), c->values[BACKING], c->values[PAGES], why, why_size);
}

static int mprotect_knobs(const struct tm_cell_args *c, struct tm_sysstate *s)
{
	return pages_knobs(c, kind_of(c), c->values[BACKING], c->values[PAGES], s);
}

static int mprotect_prepare(struct tm_thread *t, void *state)
{
	const uint64_t *value = t->cell->values;
	struct pages *p = pages_of(t, state);
	int rc = pages_open(t, p, kind_of(t->cell), value[BACKING], value[PAGES]);

	if (!rc)
		rc = pages_place(t, p, PAGES_ALIGNED, 1, 0);
	if (!rc)
		rc = pages_map(t, p, p->at, p->bytes, false);
	if (!rc)
		rc = pages_must_be_huge(t, p, p->at, p->bytes);
	return rc;
}

/* What one operation changes. */
static size_t changed_bytes(const struct tm_thread *t, const struct pages *p)
{
	return p->bytes - (t->cell->values[KIND] == KIND_THP_PART ? p->page_bytes / 2 : 0);
}

static int set(struct tm_thread *t, char *at, size_t bytes, int protection)
{
	if (!mprotect(at, bytes, protection))
		return 0;
	return tm_fail(t, -errno, "mprotect of %zu bytes", bytes);
}

/*
 * All permissions back, and entries that really have them: without the store
 * an entry may stay read-only until a fault, and the next change would find
 * nothing to flush.
 */
static int restore(struct tm_thread *t, struct pages *p)
{
	int rc = set(t, p->at, p->bytes, PROT_READ | PROT_WRITE);

	/*
	 * What was split becomes huge again only as new pages, mapped anew:
	 * before Linux 6.14 MADV_DONTNEED leaves the split one's page table.
	 */
	if (!rc && t->cell->values[KIND] == KIND_THP_PART)
		rc = pages_map(t, p, p->at, p->bytes, true);
	for (size_t i = 0; !rc && i < p->bytes; i += p->page_bytes)
		*(volatile uint64_t *)(p->at + i) = 1;
	return rc;
}

/* All of the mapping, so that a huge page is still whole when its part is changed. */
static int before(struct tm_thread *t, struct pages *p)
{
	return t->cell->values[CHANGE] == CHANGE_NONE ? set(t, p->at, p->bytes, PROT_READ) : 0;
}

static int protection_after(const struct tm_thread *t)
{
	static const int protection[] = {
		[CHANGE_READ] = PROT_READ,
		[CHANGE_NONE] = PROT_NONE,
		[CHANGE_EXEC] = PROT_READ | PROT_EXEC,
	};

	return protection[t->cell->values[CHANGE]];
}

static int mprotect_operate(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	size_t bytes = changed_bytes(t, p);
	uint32_t base_pages = (uint32_t)(bytes / t->page_bytes);
	int protection = protection_after(t), rc;

	while (tm_more(t)) {
		rc = restore(t, p);
		/* Memory may have become fragmented since the last batch. */
		if (!rc && !t->count)
			rc = pages_must_be_huge(t, p, p->at, p->bytes);
		if (!rc)
			rc = before(t, p);
		if (rc)
			return rc;
		pages_publish(t, p->at, bytes, p->page_bytes);
		tm_begin(t);
		rc = mprotect(p->at, bytes, protection);
		tm_end(t, base_pages);
		if (rc)
			return tm_fail(t, -errno, "mprotect of %zu bytes", bytes);
	}
	/* Armed once more, responders would read what is not readable any more. */
	tm_publish(t, NULL, 0, 0);
	return 0;
}

/*
 * After return a store faults (and a load too, after r-none), while what was
 * there can be read unchanged. Without the flush a responder's store or load
 * would go through by the permission that its TLB remembers.
 */
static int mprotect_verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct pages *p = pages_of(t, state);
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};
	size_t bytes = changed_bytes(t, p);
	bool none = t->cell->values[CHANGE] == CHANGE_NONE;
	int rc;

	while (oracle_next(&o, bytes)) {
		rc = restore(t, p);
		if (rc)
			return rc;
		oracle_write(&o, p->at);
		rc = oracle_store(&o, p->at);
		if (rc)
			return tm_fail(t, rc, "storing before mprotect");
		rc = before(t, p);
		if (rc)
			return rc;
		oracle_see(&o, p->at, ORACLE_STAMP, "before mprotect");
		rc = set(t, p->at, bytes, protection_after(t));
		if (rc)
			return rc;
		if (none)
			oracle_see(&o, p->at, ORACLE_FAULT, "after mprotect");
		oracle_cannot_store(&o, p->at, !none, "after mprotect");
	}
	return 0;
}

const struct tm_workload tm_workload_mprotect = {
	.name = "mprotect",
	.summary = "taking a permission away",
	.op = "one mprotect() of --pages pages",
	.flushes = "tlb_finish_mmu",
	.gate = TM_GATE_EVERY,
	.params = mprotect_params,
	.probe_cell = mprotect_probe_cell,
	.knobs = mprotect_knobs,
	.setup = pages_set_new,
	.prepare = mprotect_prepare,
	.operate = mprotect_operate,
	.verify = mprotect_verify,
	.teardown = pages_set_free,
};
