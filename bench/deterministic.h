/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What has to be the same in the kernel before instructions are counted. */
#ifndef TLBMARK_DETERMINISTIC_H
#define TLBMARK_DETERMINISTIC_H

#include "placement.h"

/*
 * The first two in the process of the run. Where one is not allowed or fails,
 * operations differ by a few instructions.
 *
 * The first before it has any thread and while no responder spins: one that
 * does would execute its loop all the time that this sleeps. The second once,
 * right before the warm-up.
 */
void tm_deterministic_prepare(void);
void tm_deterministic_begin(void);

/*
 * The CPUs that are online and have no part in the run, at most `max`; how many
 * there are. A flush of kernel addresses interrupts them as well, and what an
 * idle CPU then does before it halts again depends on what is due there: so
 * they are to spin, as responders do.
 */
unsigned int tm_deterministic_bystanders(const struct tm_placement *p, unsigned int *cpus,
					 unsigned int max);

#endif /* TLBMARK_DETERMINISTIC_H */
