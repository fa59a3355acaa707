/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * For verify() of workloads that reclaim pages in use. See struct pages for
 * whose pages they are: clean ones of a file, or private ones for which there
 * is swap.
 */
#ifndef TLBMARK_RECLAIMED_H
#define TLBMARK_RECLAIMED_H

#include <tlbmark/workload.h>

#include "pages.h"

/* Reclaims pages of p; 0 or what tm_fail() returned. That some stay is no failure. */
typedef int reclaimed_how(struct tm_thread *t, const struct pages *p, void *argument);

/*
 * The responders read the pages, the pages are reclaimed, and what is there
 * gets new stamps on other pages; without the flush a responder would still
 * read the page of before. Then they are reclaimed while others write to them,
 * and no update may be missing. `name` says in violations what reclaimed.
 */
int reclaimed_verify(struct tm_thread *t, struct pages *p, struct tm_verdict *v,
		     reclaimed_how *reclaim, void *argument, const char *name);

/* Makes all pages present and, if private, dirty: what is reclaimed next. */
int reclaimed_fill(struct tm_thread *t, const struct pages *p);

/* How many of the pages are in memory; -errno. */
long reclaimed_resident(const struct pages *p);

/*
 * For prepare(): fills the pages and tries MADV_PAGEOUT, since whether reclaim really
 * takes them is found by trying. 0, or -ENOTSUP where some stay, said.
 */
int reclaimed_try_pageout(struct tm_thread *t, const struct pages *p);

/* For probe_cell(): is there swap for `bytes` of private memory? 0, or -ENOTSUP and why. */
int reclaimed_check_swap(uint64_t bytes, char *why, size_t why_size);

#endif /* TLBMARK_RECLAIMED_H */
