// SPDX-License-Identifier: GPL-3.0-or-later
/* What notifiers are told of. See notified.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "notified.h"
#include "reclaimed.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum { REFUSALS_MAX = 100 };

const char *const notified_ops[] = {"munmap",	  "mprotect", "madvise_dontneed", "mremap", "cow",
				    "punch_hole", "collapse", "pageout",	  NULL};

static enum pages_kind kind_of(enum notified_op op)
{
	return op == NOTIFIED_COLLAPSE ? PAGES_THP : PAGES_4K;
}

static enum pages_backing backing_of(enum notified_op op)
{
	if (op == NOTIFIED_COW || op == NOTIFIED_PUNCH_HOLE)
		return PAGES_SHARED;
	return op == NOTIFIED_PAGEOUT ? PAGES_FILE : PAGES_ANON;
}

/* In pages of the kind. */
static uint64_t pages_count(enum notified_op op, uint64_t count)
{
	uint64_t each = pages_kind_bytes(kind_of(op)) / pages_kind_bytes(PAGES_4K);

	return each ? (count + each - 1) / each : count;
}

int notified_check(const struct tm_cell_args *c, enum notified_op op, uint64_t count, char *why,
		   size_t why_size)
{
	/* Copies, and small pages with the huge ones, are there at the same time. */
	uint64_t times = op == NOTIFIED_COLLAPSE || op == NOTIFIED_COW ? 2 : 1;
	int rc = 0;

	if (op == NOTIFIED_COLLAPSE)
		rc = pages_check_advice(MADV_COLLAPSE, "MADV_COLLAPSE (Linux 6.1)", why, why_size);
	if (op == NOTIFIED_PAGEOUT)
		rc = pages_check_advice(MADV_PAGEOUT, "MADV_PAGEOUT (Linux 5.4)", why, why_size);
	return rc ? rc
		  : pages_check(c, kind_of(op), backing_of(op), times * pages_count(op, count), why,
				why_size);
}

/* In place of what is there. */
static int map_private(struct tm_thread *t, struct pages *p)
{
	int flags = MAP_PRIVATE | MAP_FIXED | (p->fd < 0 ? MAP_ANONYMOUS : 0);

	if (mmap(p->at, p->bytes, PROT_READ | PROT_WRITE, flags, p->fd, 0) == MAP_FAILED)
		return tm_fail(t, -errno, "mmap of %zu bytes", p->bytes);
	return 0;
}

int notified_prepare(struct tm_thread *t, struct pages *p, enum notified_op op, uint64_t count)
{
	int rc = pages_open(t, p, kind_of(op), backing_of(op), pages_count(op, count));

	if (!rc)
		rc = pages_place(t, p, op == NOTIFIED_COLLAPSE ? PAGES_ALIGNED : PAGES_KEEP_TABLES,
				 op == NOTIFIED_MREMAP ? 2 : 1, 0);
	/* That one's mapping comes with each operation; the others operate on one that stays. */
	if (rc || op == NOTIFIED_MUNMAP)
		return rc;
	if (op == NOTIFIED_COLLAPSE)
		return map_private(t, p);
	rc = pages_map(t, p, p->at, p->bytes, false);
	if (!rc && op == NOTIFIED_COW)
		rc = map_private(t, p);
	return rc || op != NOTIFIED_PAGEOUT ? rc : reclaimed_try_pageout(t, p);
}

/*
 * By storing: entries that only a fault would make writable have nothing to
 * flush.
 */
static int store(const struct pages *p)
{
	char *at = notified_at(p);

	for (size_t i = 0; i < p->bytes; i += p->page_bytes)
		*(volatile uint64_t *)(at + i) = 1;
	return 0;
}

int notified_fill(struct tm_thread *t, struct pages *p, enum notified_op op)
{
	switch (op) {
	case NOTIFIED_MUNMAP:
		return pages_map(t, p, p->at, p->bytes, false);
	case NOTIFIED_MPROTECT:
		if (mprotect(p->at, p->bytes, PROT_READ | PROT_WRITE))
			return tm_fail(t, -errno, "mprotect of %zu bytes", p->bytes);
		return store(p);
	case NOTIFIED_COW:
		if (madvise(p->at, p->bytes, MADV_DONTNEED))
			return tm_fail(t, -errno, "MADV_DONTNEED of %zu bytes", p->bytes);
		return pages_populate(t, p->at, p->bytes, p->page_bytes, false);
	case NOTIFIED_COLLAPSE:
		return pages_fill_small(t, p, p->page_bytes);
	case NOTIFIED_PAGEOUT:
		return reclaimed_fill(t, p);
	default:
		return store(p);
	}
}

static int collapse(const struct pages *p)
{
	for (int refused = 0; madvise(p->at, p->bytes, MADV_COLLAPSE); refused++) {
		if (!pages_collapse_refused(errno, (uint64_t)refused) || refused == REFUSALS_MAX)
			return -1;
	}
	return 0;
}

static int move(struct pages *p)
{
	char *from = notified_at(p);

	p->spot = !p->spot;
	return mremap(from, p->bytes, p->bytes, MREMAP_MAYMOVE | MREMAP_FIXED, notified_at(p)) ==
			       MAP_FAILED
		       ? -1
		       : 0;
}

int notified_do(struct pages *p, enum notified_op op)
{
	switch (op) {
	case NOTIFIED_MUNMAP:
		return munmap(p->at, p->bytes);
	case NOTIFIED_MPROTECT:
		return mprotect(p->at, p->bytes, PROT_READ);
	case NOTIFIED_DONTNEED:
		return madvise(p->at, p->bytes, MADV_DONTNEED);
	case NOTIFIED_MREMAP:
		return move(p);
	case NOTIFIED_COW:
		return store(p);
	case NOTIFIED_PUNCH_HOLE:
		return fallocate(p->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				 (off_t)p->bytes);
	case NOTIFIED_COLLAPSE:
		return collapse(p);
	default:
		return madvise(p->at, p->bytes, MADV_PAGEOUT);
	}
}
