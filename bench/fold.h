/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * From samples, gaps and kernel events of one batch to the result: which
 * operation interrupted whom, when, and for how long. Pure: everything comes
 * in as arrays in one clock (the initiator's ticks), so it is tested on
 * made-up batches.
 *
 * An operation's window is [begin, end]. A gap belongs to it if it starts
 * inside. An operation is disturbed, whatever came out of it, if
 * - a gap that began earlier reaches in: the responder was not in its state;
 * - the probe saw another interrupt or a context switch on a CPU taking part;
 * - a gap that begins inside holds no event of the kernel at all: what took
 *   that CPU was below the kernel, a hypervisor or the firmware; or it holds
 *   another interrupt or a context switch, even after the operation's end.
 */
#ifndef TLBMARK_FOLD_H
#define TLBMARK_FOLD_H

#include <stddef.h>
#include <stdint.h>

#include "responder.h"
#include "run.h"

/* A kernel event in the initiator's ticks. */
struct tm_tick_event {
	uint64_t ticks;
	uint32_t kind, value; /* as struct tm_event */
};

struct tm_fold; /* scratch for batches of up to `operations` */

/*
 * NULL when out of memory. `responders`: those that show gaps. `probed`: the
 * events tell of every handler, so a gap without one is no delivery.
 */
struct tm_fold *tm_fold_new(size_t operations, unsigned int responders, bool probed);
void tm_fold_free(struct tm_fold *f);

/* A new batch; the samples stay the caller's until tm_fold_end(). */
void tm_fold_begin(struct tm_fold *f, const struct tm_sample *samples, size_t count);

/*
 * What the probe saw on the initiator's CPU, in time order. `switches`: the
 * operation itself schedules there, so switches and wake-ups are its own.
 */
void tm_fold_initiator(struct tm_fold *f, const struct tm_tick_event *events, size_t count,
		       bool switches);

/*
 * What responder i saw and what the probe saw on its CPU, both in time order.
 * `slack_ticks`: how far gaps and events may be apart because of the clocks'
 * bounds. Call for each responder once a batch.
 */
void tm_fold_responder(struct tm_fold *f, unsigned int i, const struct tm_gap *gaps,
		       size_t gap_count, const struct tm_tick_event *events, size_t event_count,
		       uint64_t slack_ticks);

/* Adds the batch to the result: counts, histograms, the responders' rows. */
void tm_fold_end(struct tm_fold *f, struct tm_result *r, struct tm_hist **responder_delivery,
		 struct tm_hist **responder_stolen);

#endif /* TLBMARK_FOLD_H */
