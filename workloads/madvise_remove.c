// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * madvise_remove: frees the pages of a shared mapping and what is behind them.
 *
 * Timed: one madvise(MADV_REMOVE). It lets go of mmap_lock and punches a hole
 * into the mapped file, as the workload punch_hole does by its descriptor:
 * vfs_fallocate() -> unmap_mapping_range() (hugetlb pages:
 * hugetlb_vmdelete_list()) -> tlb_finish_mmu() -> flush_tlb_mm_range(), by
 * range up to the ceiling (33 strides on x86), the whole TLB beyond. What it
 * takes longer than punch_hole is finding the mapping and its file.
 *
 * It does not measure the file system's own work on blocks (the pages are clean
 * and there is nothing behind them), nor filling the range again, which is done
 * outside the clock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include <tlbmark/workload.h>

#include "filled.h"
#include "oracle.h"

static int remove_probe(char *why, size_t why_size)
{
	return pages_check_advice(MADV_REMOVE, "MADV_REMOVE", why, why_size);
}

static int take_out(struct tm_thread *t, const struct pages *p)
{
	if (!madvise(p->at, p->bytes, MADV_REMOVE))
		return 0;
	if (errno == EOPNOTSUPP)
		return tm_fail(t, -ENOTSUP, "a hole cannot be punched into what is mapped here");
	return tm_fail(t, -errno, "MADV_REMOVE of %zu bytes", p->bytes);
}

static int remove_prepare(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	int rc = filled_map(t, state);

	/* A file system that cannot do it is a reason to skip. */
	return rc ? rc : take_out(t, p);
}

static int fill(struct tm_thread *t, struct pages *p)
{
	return pages_populate(t, p->at, p->bytes, p->page_bytes, false);
}

static int remove_operate(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	uint32_t base_pages = (uint32_t)(p->bytes / t->page_bytes);
	int rc;

	while (tm_more(t)) {
		rc = fill(t, p);
		/* Memory may have become fragmented since the last batch. */
		if (!rc && !t->count)
			rc = pages_must_be_huge(t, p, p->at, p->bytes);
		if (rc)
			return rc;
		pages_publish(t, p->at, p->bytes, p->page_bytes);
		tm_begin(t);
		rc = madvise(p->at, p->bytes, MADV_REMOVE);
		tm_end(t, base_pages);
		if (rc)
			return tm_fail(t, -errno, "MADV_REMOVE of %zu bytes", p->bytes);
	}
	return 0;
}

/*
 * After return everyone reads zeros, from new pages. Without the flush a
 * responder would read the old stamp from the page that was taken out.
 */
static int remove_verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct pages *p = pages_of(t, state);
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};
	int rc;

	while (oracle_next(&o, p->bytes)) {
		rc = fill(t, p);
		if (rc)
			return rc;
		oracle_write(&o, p->at);
		oracle_see(&o, p->at, ORACLE_STAMP, "before MADV_REMOVE");
		rc = take_out(t, p);
		if (rc)
			return rc;
		oracle_see(&o, p->at, ORACLE_ZERO, "after MADV_REMOVE");
	}
	return 0;
}

const struct tm_workload tm_workload_madvise_remove = {
	.name = "madvise_remove",
	.summary = "freeing shared pages and what is behind them",
	.op = "one madvise(MADV_REMOVE) of --pages pages",
	.flushes = "unmap_mapping_range",
	.gate = TM_GATE_EVERY,
	.params = filled_params,
	.probe = remove_probe,
	.probe_cell = filled_probe_cell,
	.knobs = filled_knobs,
	.setup = pages_set_new,
	.prepare = remove_prepare,
	.operate = remove_operate,
	.verify = remove_verify,
	.teardown = pages_set_free,
};
