/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What has to be the same in the kernel before instructions are counted. */
#ifndef TLBMARK_DETERMINISTIC_H
#define TLBMARK_DETERMINISTIC_H

/*
 * In the process of the run, before it has any thread and while no responder
 * spins: one that does would execute its loop all the time that this sleeps.
 * Where it is not allowed or fails, operations differ by a few instructions.
 */
void tm_deterministic_prepare(void);

#endif /* TLBMARK_DETERMINISTIC_H */
