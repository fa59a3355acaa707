/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Keeps what perf switches in the kernel's code switched on, so that bouts which
 * open events of their own make the kernel patch nothing: `perf_sched_events`, in
 * __schedule(), for the first event of a task (perf_event_alloc() in
 * kernel/events/core.c), and the tracepoint that dma counts with, for its first
 * event (perf_trace_event_reg() in kernel/trace/trace_event_perf.c).
 *
 * For an emulator of several CPUs: QEMU's threads now and then run what was there for
 * a moment while code was patched, and the kernel dies of it.
 */
#ifndef TLBMARK_PERF_HOLD_H
#define TLBMARK_PERF_HOLD_H

enum { TM_PERF_HELD = 2 };

struct tm_perf_hold {
	int fd[TM_PERF_HELD]; /* -1: it cannot be held, or is not there */
};

/* Of the calling thread; forked children keep what it holds. Cannot fail: what is not held is not. */
void tm_perf_hold(struct tm_perf_hold *h);
void tm_perf_let_go(struct tm_perf_hold *h);

#endif /* TLBMARK_PERF_HOLD_H */
