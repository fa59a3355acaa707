/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Everything that interrupted the responders in the measured phase, inside and
 * outside of operations, from three sides: their own gaps, the probe's counts
 * by cause, and their CPUs' columns of /proc/interrupts. The rows of the
 * result hold all three, so that a reader can see whether they agree.
 *
 * Called on the first initiator's thread. One after the other:
 * the probe's start, tm_interruptions_begin(), tm_interruptions_forget(), the
 * batches, tm_interruptions_end().
 */
#ifndef TLBMARK_INTERRUPTIONS_H
#define TLBMARK_INTERRUPTIONS_H

#include "engine.h"

/* What the kernel had counted before the phase. */
void tm_interruptions_begin(struct tm_engine *e);

/* Drops the gaps that lie before the phase. */
void tm_interruptions_forget(struct tm_engine *e);

/*
 * One batch of responder i: its gaps and the probe's events on its CPU, both
 * in time order in one clock; slack_ticks: how far the two may be apart.
 */
void tm_interruptions_add(struct tm_engine *e, unsigned int i, const struct tm_gap *gaps,
			  size_t gap_count, const struct tm_tick_event *events, size_t event_count,
			  uint64_t slack_ticks);

/*
 * Adds to row->gaps_unexplained the gaps without an event, and to
 * row->interrupts_unseen the interrupts that lie in no gap. Pure.
 */
void tm_interruptions_match(struct tm_responder_result *row, const struct tm_gap *gaps,
			    size_t gap_count, const struct tm_tick_event *events,
			    size_t event_count, uint64_t slack_ticks);

/* What the kernel counted since; stops the probe. 0 or the probe's -errno. */
int tm_interruptions_end(struct tm_engine *e);

#endif /* TLBMARK_INTERRUPTIONS_H */
