// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * brk: gives memory at the end of the heap back.
 *
 * Timed: one brk() that lowers the break by --pages populated pages. The
 * kernel unmaps them as munmap() does and flushes in tlb_finish_mmu() ->
 * flush_tlb_mm_range(): by range up to the ceiling (33 strides on x86), the
 * whole TLB beyond. The heap below stays, and with it the page table at the
 * lower edge; tables above that one go with the pages (from 512 pages on, or
 * where the range happens to cross their border), and then CPUs that are lazy
 * in this mm are interrupted as well.
 *
 * The C library's malloc() lives on the same heap. Nothing is allocated between
 * the break's way up and down, and it is looked at before it is lowered, so
 * what goes is never malloc's. It does not measure raising the break, nor the
 * page faults.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>

#include <tlbmark/workload.h>

#include "oracle.h"
#include "pages.h"

enum { PAGES };

static const struct tm_param brk_params[] = {
	[PAGES] = PAGES_PARAM("1", "1,8,32..34,512,4096,262144"),
	{.name = NULL},
};

static int brk_probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	if (c->initiators > 1) {
		snprintf(why, why_size, "a process has one break: one initiator at a time");
		return -ENOTSUP;
	}
	return pages_check(c, PAGES_4K, PAGES_ANON, c->values[PAGES], why, why_size);
}

/* No place: that is where the break is. */
static int brk_prepare(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	int rc = pages_open(t, p, PAGES_4K, PAGES_ANON, t->cell->values[PAGES]);

	if (rc)
		return rc;
	/* Whatever malloc() left: from here on the break is at a page's begin. */
	if (brk((char *)(((uintptr_t)sbrk(0) + p->page_bytes - 1) & ~(p->page_bytes - 1))))
		return tm_fail(t, -errno, "raising the break to the end of its page");
	return 0;
}

/* Raises the break by the pages and populates them; p->at is where they begin. */
static int raise_break(struct tm_thread *t, struct pages *p)
{
	p->at = sbrk(0);
	if ((uintptr_t)p->at & (p->page_bytes - 1))
		return tm_fail(t, -EBUSY, "somebody moved the break to %p, inside a page",
			       (void *)p->at);
	if (brk(p->at + p->bytes))
		return tm_fail(t, -ENOTSUP,
			       "no room for %zu more bytes of heap (ulimit -d, or a mapping "
			       "above it)",
			       p->bytes);
	return pages_populate(t, p->at, p->bytes, p->page_bytes, true);
}

/* Still ours? Else lowering it would take what is somebody else's. */
static int check_break(struct tm_thread *t, const struct pages *p)
{
	if (sbrk(0) == p->at + p->bytes)
		return 0;
	return tm_fail(t, -EBUSY, "somebody moved the break from %p to %p",
		       (void *)(p->at + p->bytes), sbrk(0));
}

static int brk_operate(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	uint32_t base_pages = (uint32_t)(p->bytes / t->page_bytes);
	int rc;

	while (tm_more(t)) {
		rc = raise_break(t, p);
		if (rc)
			return rc;
		pages_publish(t, p->at, p->bytes, p->page_bytes);
		rc = check_break(t, p);
		if (rc)
			return rc;
		tm_begin(t);
		rc = brk(p->at);
		tm_end(t, base_pages);
		if (rc)
			return tm_fail(t, -errno, "lowering the break by %zu bytes", p->bytes);
	}
	/* What malloc() may put there next is not for responders to read. */
	tm_publish(t, NULL, 0, 0);
	return 0;
}

/*
 * After return the address faults. Without the flush a responder would read
 * the old stamp from a page that was given back.
 */
static int brk_verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct pages *p = pages_of(t, state);
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};
	int rc;

	while (oracle_next(&o, p->bytes)) {
		rc = raise_break(t, p);
		if (rc)
			return rc;
		oracle_write(&o, p->at);
		oracle_see(&o, p->at, ORACLE_STAMP, "before the break was lowered");
		rc = check_break(t, p);
		if (rc)
			return rc;
		if (brk(p->at))
			return tm_fail(t, -errno, "lowering the break by %zu bytes", p->bytes);
		oracle_see(&o, p->at, ORACLE_FAULT, "after the break was lowered");
	}
	return 0;
}

const struct tm_workload tm_workload_brk = {
	.name = "brk",
	.summary = "shrinking the heap",
	.op = "one brk() that gives --pages pages back",
	.flushes = "tlb_finish_mmu",
	.gate = TM_GATE_EVERY,
	.params = brk_params,
	.probe_cell = brk_probe_cell,
	.setup = pages_set_new,
	.prepare = brk_prepare,
	.operate = brk_operate,
	.verify = brk_verify,
	.teardown = pages_set_free,
};
