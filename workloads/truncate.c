// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * truncate: cuts a file off below pages that are mapped.
 *
 * Timed: one ftruncate() to nothing. The file system unmaps what lies past the
 * new end wherever it is mapped, in unmap_mapping_range() (hugetlb pages in
 * hugetlb_vmdelete_list()), and each mapping is flushed in tlb_finish_mmu() ->
 * flush_tlb_mm_range(): by range up to the ceiling (33 strides on x86), the
 * whole TLB beyond. Then the pages are taken out of the page cache and freed.
 * The mappings stay; touching them is an error (SIGBUS) from then on.
 *
 * On a disk's file system the change of size is a transaction of its journal,
 * which is part of the operation and may be most of its time. It does not
 * measure freeing blocks (the pages are clean and there is nothing behind
 * them), nor making the file long again and filling it, outside the clock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include <tlbmark/workload.h>

#include "filled.h"
#include "oracle.h"

static int resize(struct tm_thread *t, const struct pages *p, size_t bytes)
{
	if (!ftruncate(p->fd, (off_t)bytes))
		return 0;
	if (errno == EINVAL)
		return tm_fail(t, -ENOTSUP, "a device stands in for the file, and has one length");
	return tm_fail(t, -errno, "ftruncate to %zu bytes", bytes);
}

static int truncate_prepare(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	int rc = filled_map(t, state);

	return rc ? rc : resize(t, p, 0);
}

static int fill(struct tm_thread *t, struct pages *p)
{
	int rc = resize(t, p, p->bytes);

	return rc ? rc : pages_populate(t, p->at, p->bytes, p->page_bytes, false);
}

static int truncate_operate(struct tm_thread *t, void *state)
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
		rc = ftruncate(p->fd, 0);
		tm_end(t, base_pages);
		if (rc)
			return tm_fail(t, -errno, "ftruncate of %zu bytes", p->bytes);
	}
	/* Armed once more, responders would read past the file's end. */
	tm_publish(t, NULL, 0, 0);
	return 0;
}

/*
 * After return a read faults, and when the file is long again it finds zeros.
 * Without the flush a responder would read the old stamp. Nobody stores: that
 * would hit a page which may be somebody else's by then.
 */
static int truncate_verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct pages *p = pages_of(t, state);
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};
	int rc;

	while (oracle_next(&o, p->bytes)) {
		rc = fill(t, p);
		if (rc)
			return rc;
		oracle_write(&o, p->at);
		oracle_see(&o, p->at, ORACLE_STAMP, "before the file was cut off");
		rc = resize(t, p, 0);
		if (rc)
			return rc;
		oracle_see(&o, p->at, ORACLE_FAULT, "past the file's end");
		rc = resize(t, p, p->bytes);
		if (rc)
			return rc;
		oracle_see(&o, p->at, ORACLE_ZERO, "after the file was cut off and grew");
	}
	return 0;
}

const struct tm_workload tm_workload_truncate = {
	.name = "truncate",
	.summary = "cutting off a mapped file",
	.op = "one ftruncate() that takes --pages mapped pages from a file",
	.flushes = "unmap_mapping_range",
	.gate = TM_GATE_EVERY,
	.params = filled_params,
	.probe_cell = filled_probe_cell,
	.knobs = filled_knobs,
	.setup = pages_set_new,
	.prepare = truncate_prepare,
	.operate = truncate_operate,
	.verify = truncate_verify,
	.teardown = pages_set_free,
};
