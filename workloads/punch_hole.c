// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * punch_hole: takes the pages out of a file that is mapped.
 *
 * Timed: one fallocate(FALLOC_FL_PUNCH_HOLE). The file system unmaps the range
 * wherever it is mapped, in unmap_mapping_range() (hugetlb pages in
 * hugetlb_vmdelete_list()), and each mapping is flushed in tlb_finish_mmu() ->
 * flush_tlb_mm_range(): by range up to the ceiling (33 strides on x86), the
 * whole TLB beyond. Then the pages are taken out of the page cache and freed;
 * one that was mapped again meanwhile is unmapped once more.
 *
 * It does not measure the file system's own work on blocks: the pages are clean
 * and there is nothing behind them, so a file on a disk is a hole already. Nor
 * does it measure filling the range again, outside the clock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include <tlbmark/workload.h>

#include "filled.h"
#include "oracle.h"

static int punch_prepare(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	int rc = filled_map(t, state);

	/* A file system that cannot do it is a reason to skip. */
	return rc ? rc : pages_punch(t, p, 0, p->bytes);
}

static int fill(struct tm_thread *t, struct pages *p)
{
	return pages_populate(t, p->at, p->bytes, p->page_bytes, false);
}

static int punch_operate(struct tm_thread *t, void *state)
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
		rc = fallocate(p->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			       (off_t)p->bytes);
		tm_end(t, base_pages);
		if (rc)
			return tm_fail(t, -errno, "punching a hole of %zu bytes", p->bytes);
	}
	return 0;
}

/*
 * After return everyone reads zeros, from new pages. Without the flush a
 * responder would read the old stamp from the page that was taken out.
 */
static int punch_verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct pages *p = pages_of(t, state);
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};
	int rc;

	while (oracle_next(&o, p->bytes)) {
		rc = fill(t, p);
		if (rc)
			return rc;
		oracle_write(&o, p->at);
		oracle_see(&o, p->at, ORACLE_STAMP, "before the hole was punched");
		rc = pages_punch(t, p, 0, p->bytes);
		if (rc)
			return rc;
		oracle_see(&o, p->at, ORACLE_ZERO, "after the hole was punched");
	}
	return 0;
}

const struct tm_workload tm_workload_punch_hole = {
	.name = "punch_hole",
	.summary = "punching a hole into a mapped file",
	.op = "one fallocate(FALLOC_FL_PUNCH_HOLE) of --pages pages",
	.flushes = "unmap_mapping_range",
	.gate = TM_GATE_EVERY,
	.params = filled_params,
	.probe_cell = filled_probe_cell,
	.knobs = filled_knobs,
	.setup = pages_set_new,
	.prepare = punch_prepare,
	.operate = punch_operate,
	.verify = punch_verify,
	.teardown = pages_set_free,
};
