/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * For workloads whose pages ksmd is to merge (Documentation/admin-guide/mm/ksm.rst).
 * One initiator only: ksmd goes over everybody's pages in turn.
 */
#ifndef TLBMARK_KSMD_H
#define TLBMARK_KSMD_H

#include <stddef.h>

#include <tlbmark/workload.h>

/* 0, or -ENOTSUP and in `why` what keeps ksmd from merging pages of this cell. */
int ksmd_check(const struct tm_cell_args *c, char *why, size_t why_size);

/*
 * For knobs(): has ksmd run, go over `pages` pages, of all that are mergeable, and
 * then rest for 20 ms.
 */
int ksmd_knobs(struct tm_sysstate *system, size_t pages);

/*
 * Waits until ksmd has merged each of the `count` pages from `at` on, which are
 * there, MADV_MERGEABLE, and equal to others. Reads them each 2 ms; nobody may
 * write to them meanwhile. 0, or as tm_fail(): -ETIMEDOUT after a minute
 * without progress.
 *
 * With `apart` 0 a page counts as merged when others map it, too. Where another
 * process shares the pages anyway, `apart` is how many pages behind each its
 * equal lies, and they count when both are the same page; that takes
 * CAP_SYS_ADMIN, without which all seem merged.
 */
int ksmd_wait(struct tm_thread *t, const void *at, size_t count, size_t apart);

#endif
