/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What has to be the same in the kernel before instructions are counted. */
#ifndef TLBMARK_DETERMINISTIC_H
#define TLBMARK_DETERMINISTIC_H

/*
 * Two parts, both in the process of the run. Where one is not allowed or fails,
 * operations differ by a few instructions.
 *
 * The first before it has any thread and while no responder spins: one that
 * does would execute its loop all the time that this sleeps. The second once,
 * right before the warm-up.
 */
void tm_deterministic_prepare(void);
void tm_deterministic_begin(void);

#endif /* TLBMARK_DETERMINISTIC_H */
