/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * For workloads whose pages ksmd is to merge (Documentation/admin-guide/mm/ksm.rst).
 * One initiator only: ksmd goes over everybody's pages in turn.
 */
#ifndef TLBMARK_KSMD_H
#define TLBMARK_KSMD_H

#include <stddef.h>
#include <sys/types.h>

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
 * A page counts as merged when others map it, too; where a process `sharer`, not
 * 0, does that anyway, when it has another page there. That takes CAP_SYS_ADMIN;
 * without it all seem merged then. (The flag KSM of /proc/kpageflags would not
 * tell: Linux 6.12 sets it for every anonymous page.)
 */
int ksmd_wait(struct tm_thread *t, const void *at, size_t count, pid_t sharer);

#endif
