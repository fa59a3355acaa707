/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The oracle of what makes pages look unused, by clearing their accessed bits,
 * and leaves them mapped: madvise_cold, and process_madvise with that advice.
 *
 * A processor sets the bit when it fills its TLB, and not again as long as it has
 * the entry. So after the operation a responder's read must make the page look
 * used again; without the flush it goes through the old entry, and the kernel
 * takes a page that is in use for one that is not. That is told by "Referenced"
 * in /proc/self/smaps.
 *
 * What it cannot see: a stale entry that was evicted in between; huge pages of which
 * reclaim made small ones, which is said. Reclaim, too,
 * may clear the bits at any time, so one loss proves nothing: it is a violation
 * when the same round, done again, loses three times out of eight.
 */
#ifndef TLBMARK_AGING_H
#define TLBMARK_AGING_H

#include <tlbmark/workload.h>

#include "pages.h"

/* Does this kernel tell it? 0, or -ENOTSUP with the reason in why. */
int aging_check(char *why, size_t why_size);

/* Makes all of the pages look unused; 0 or what tm_fail() returned. */
typedef int aging_how(struct tm_thread *t, const struct pages *p, void *argument);

/*
 * A verify() of pages that are mapped and populated from p->at on; `name` says
 * in violations what was done. Content is checked as well: no page gets lost,
 * and no update while others write to them.
 */
int aging_verify(struct tm_thread *t, const struct pages *p, struct tm_verdict *v, aging_how *age,
		 void *argument, const char *name);

#endif /* TLBMARK_AGING_H */
