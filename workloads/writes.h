/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The oracle of workloads that tell which pages were stored to: by taking the
 * permission to store away, so that the next store faults and is noted.
 *
 * A round lets every CPU store to the picked pages, so that its TLB holds
 * entries by which it may store again without asking. Then the record is
 * cleared, one CPU each, in turn, stores to some of the pages, and the record
 * must name these; others are said. A flush that is missing shows as a store that
 * nobody noted.
 */
#ifndef TLBMARK_WRITES_H
#define TLBMARK_WRITES_H

#include <stdbool.h>
#include <stddef.h>

#include <tlbmark/workload.h>

#include "oracle.h"

struct writes {
	char *base;
	size_t bytes;
	size_t stride;	/* what the record can tell apart */
	bool only;	/* is a page that nobody stored to not named, as a rule? Else it is said */
	const char *by; /* what cleared the record, for the violation */
	/* All pages may be stored to, and have been. 0 or what tm_fail() returned. */
	int (*restore)(struct tm_thread *t, void *context);
	/* From here on, nothing was stored. 0 or what tm_fail() returned. */
	int (*clear)(struct tm_thread *t, void *context);
	/* Does the record name the `stride` bytes at `at`? 1, 0, or what tm_fail() returned. */
	int (*named)(struct tm_thread *t, void *context, char *at);
	void *context;
};

/* Every CPU of the cell stores the stamps. 0 or -errno. */
int writes_by_all(const struct oracle *o, char *base);

/* The whole check, for verify(). */
int writes_check(struct tm_thread *t, struct tm_verdict *v, const struct writes *w);

#endif /* TLBMARK_WRITES_H */
