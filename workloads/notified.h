/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The operations of the workload notifier: what each works on, how that is made
 * ready, and the one call that is timed. One initiator owns a struct pages.
 */
#ifndef TLBMARK_NOTIFIED_H
#define TLBMARK_NOTIFIED_H

#include <tlbmark/workload.h>

#include "pages.h"

enum notified_op {
	NOTIFIED_MUNMAP,
	NOTIFIED_MPROTECT,   /* to PROT_READ */
	NOTIFIED_DONTNEED,   /* of anonymous memory */
	NOTIFIED_MREMAP,     /* a move */
	NOTIFIED_COW,	     /* stores to private pages of a file that is memory */
	NOTIFIED_PUNCH_HOLE, /* into such a file, mapped shared */
	NOTIFIED_COLLAPSE,   /* MADV_COLLAPSE, in whole huge pages */
	NOTIFIED_PAGEOUT,    /* MADV_PAGEOUT of a disk's file, clean */
};
extern const char *const notified_ops[];

/* For probe_cell(): 0, or -ENOTSUP with the reason in why. */
int notified_check(const struct tm_cell_args *c, enum notified_op op, uint64_t count, char *why,
		   size_t why_size);

/* For prepare(): `count` base pages, at least. 0 or what tm_fail() returned. */
int notified_prepare(struct tm_thread *t, struct pages *p, enum notified_op op, uint64_t count);

/* Untimed: every page is there, and writable where it is to be. 0 or -errno said. */
int notified_fill(struct tm_thread *t, struct pages *p, enum notified_op op);

/* Where they are, until the operation. */
static inline char *notified_at(const struct pages *p)
{
	return pages_at(p, p->spot);
}

/* The operation: 0, or -1 with errno. After a move notified_at() is the new place. */
int notified_do(struct pages *p, enum notified_op op);

#endif /* TLBMARK_NOTIFIED_H */
