// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * many: all CPUs shoot at each other, in one mm.
 *
 * Timed: one madvise(MADV_DONTNEED), mprotect() or munmap() of one page, on
 * every initiator at the same time, each in a mapping and page table of its
 * own. The kernel flushes in tlb_finish_mmu(), and every initiator is a
 * responder of all others. MADV_DONTNEED takes mmap_lock for reading only (or
 * a lock of the mapping alone), so what is contended there is the interrupt;
 * mprotect() and munmap() add the writers' mmap_lock, and a CPU that sleeps
 * for it is lazy and not interrupted.
 *
 * 512 pages are populated at a time, outside the clock, and used up one by
 * one. They belong to a memory file, so neither zeroing nor freeing pages
 * takes part. It does not measure whose interrupt delayed whom: with several
 * initiators no gap belongs to one operation. The figure is operations a
 * second, of all together.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include <tlbmark/workload.h>

#include "oracle.h"
#include "pages.h"

enum { CALL };
enum { CALL_DONTNEED, CALL_MPROTECT, CALL_MUNMAP };
enum { MANY_PAGES = 512 };

static const char *const calls[] = {"madvise_dontneed", "mprotect", "munmap", NULL};

static const struct tm_param many_params[] = {
	[CALL] = PAGES_CHOICE_PARAM("call", "the system call that flushes", calls,
				    "madvise_dontneed", "madvise_dontneed,mprotect,munmap"),
	{.name = NULL},
};

static int many_probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	int rc = 0;

	if (c->values[CALL] == CALL_DONTNEED)
		rc = pages_check_advice(MADV_DONTNEED, "MADV_DONTNEED", why, why_size);
	return rc ? rc : pages_check(c, PAGES_4K, PAGES_SHARED, MANY_PAGES, why, why_size);
}

static int many_prepare(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	int rc = pages_open(t, p, PAGES_4K, PAGES_SHARED, MANY_PAGES);

	if (!rc)
		rc = pages_place(t, p, PAGES_ALIGNED, 1, 0);
	if (!rc)
		rc = pages_map(t, p, p->at, p->bytes, false);
	return rc;
}

/* All pages again, once all are used up. */
static int refill(struct tm_thread *t, struct pages *p)
{
	p->spot = 0;
	if (t->cell->values[CALL] == CALL_MUNMAP)
		return pages_map(t, p, p->at, p->bytes, false);
	if (t->cell->values[CALL] == CALL_MPROTECT &&
	    mprotect(p->at, p->bytes, PROT_READ | PROT_WRITE))
		return tm_fail(t, -errno, "mprotect of %zu bytes", p->bytes);
	return pages_populate(t, p->at, p->bytes, p->page_bytes, false);
}

/*
 * The next page. In order of address, so that unmapping and protecting move
 * the border of a mapping and never make a new one.
 */
static int next_page(struct tm_thread *t, struct pages *p, char **at)
{
	int rc = p->spot == MANY_PAGES ? refill(t, p) : 0;

	*at = p->at + p->spot++ * p->page_bytes;
	return rc;
}

static inline int strike(uint64_t call, char *at, size_t bytes)
{
	if (call == CALL_DONTNEED)
		return madvise(at, bytes, MADV_DONTNEED);
	if (call == CALL_MPROTECT)
		return mprotect(at, bytes, PROT_READ);
	return munmap(at, bytes);
}

static int many_operate(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	uint64_t call = t->cell->values[CALL];
	size_t bytes = p->page_bytes;
	char *at;
	int rc;

	while (tm_more(t)) {
		rc = next_page(t, p, &at);
		if (rc)
			return rc;
		tm_publish(t, at, bytes, bytes);
		tm_begin(t);
		rc = strike(call, at, bytes);
		tm_end(t, 1);
		if (rc)
			return tm_fail(t, -errno, "%s of one page", calls[call]);
	}
	return 0;
}

/*
 * After return the page is dead, cannot be written, or shows what the file
 * holds by then: a hole that was punched when the mapping was gone, which
 * flushes nobody. Without the flush a responder would read the old stamp, or
 * its store would go through.
 */
static int many_verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct pages *p = pages_of(t, state);
	struct oracle o = {.t = t, .v = v, .stride = p->page_bytes};
	uint64_t call = t->cell->values[CALL];
	char *at;
	int rc;

	while (oracle_next(&o, p->page_bytes)) {
		rc = next_page(t, p, &at);
		if (rc)
			return rc;
		oracle_write(&o, at);
		oracle_see(&o, at, ORACLE_STAMP, "before the call");
		if (strike(call, at, p->page_bytes))
			return tm_fail(t, -errno, "%s of one page", calls[call]);
		if (call == CALL_DONTNEED) {
			rc = pages_punch(t, p, (size_t)(at - p->at), p->page_bytes);
			if (rc)
				return rc;
			oracle_see(&o, at, ORACLE_ZERO, "after madvise");
		} else if (call == CALL_MPROTECT) {
			oracle_cannot_store(&o, at, true, "after mprotect");
		} else {
			oracle_see(&o, at, ORACLE_FAULT, "after munmap");
		}
	}
	return 0;
}

const struct tm_workload tm_workload_many = {
	.name = "many",
	.summary = "all CPUs shooting at each other",
	.op = "one call that flushes one page, on every CPU at once",
	.flushes = "tlb_finish_mmu",
	.gate = TM_GATE_EVERY,
	.no_control = true,
	.all_initiate = true,
	.params = many_params,
	.probe_cell = many_probe_cell,
	.setup = pages_set_new,
	.prepare = many_prepare,
	.operate = many_operate,
	.verify = many_verify,
	.teardown = pages_set_free,
};
