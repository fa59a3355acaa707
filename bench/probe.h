/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the kernel itself says about shootdowns, from the best source that
 * this machine and this user allow: BPF programs on raw tracepoints, else
 * perf_event tracepoints, else nothing (the responders' gaps still tell).
 *
 * One probe is opened in the parent, before any run; its memory is shared, so
 * a forked run process can use it. tm_probe_start() and tm_probe_stop()
 * enclose one measured phase. Times are CLOCK_MONOTONIC nanoseconds.
 */
#ifndef TLBMARK_PROBE_H
#define TLBMARK_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tm_probe_kind { TM_PROBE_NONE, TM_PROBE_PERF, TM_PROBE_BPF, TM_PROBE_AUTO };

enum { TM_FLUSH_REASONS = 6, TM_FLUSH_RANGES = 16, TM_PROBE_FUNCTIONS = 16 };

/* What takes a CPU away from user code besides function-call interrupts. */
enum tm_cause {
	TM_CAUSE_TIMER,
	TM_CAUSE_DEVICE,
	TM_CAUSE_RESCHEDULE,
	TM_CAUSE_SWITCH, /* a context switch: no interrupt by itself */
	TM_CAUSE_IRQ_WORK,
	TM_CAUSE_OTHER, /* of the interrupt controller: errors, thermal, thresholds, platform */
	TM_CAUSES
};
const char *tm_cause_name(enum tm_cause c); /* "timer", "device", ... */

/*
 * Counts of one phase, in two columns: [0] outside, [1] inside the timed
 * operation (the initiator's in_operation word at that moment).
 */
struct tm_probe_counts {
	/* by enum tlb_flush_reason (include/linux/mm_types.h): 0 task switch,
	 * 1 remote shootdown, 2 local, 3 local mm, 4 remote send, 5 wrong CPU */
	uint64_t flush[TM_FLUSH_REASONS][2];
	/* remote flushes (reason 1) by range: [i]: pages in 2^i .. 2^(i+1) - 1;
	 * the last slot also holds all larger ones */
	uint64_t range[TM_FLUSH_RANGES][2];
	uint64_t full[2];	/* remote flushes of the whole TLB (pages == -1) */
	uint64_t sends_full[2]; /* the same at the sender (reason 4) */
	/*
	 * Callbacks of function-call interrupts, most frequent first. One
	 * interrupt may run several, or none: then it counts as "(none told)".
	 */
	struct {
		char name[48]; /* "" ends the list */
		uint64_t calls[2];
	} function[TM_PROBE_FUNCTIONS];
	uint64_t function_other[2]; /* callbacks beyond the table */
	uint64_t handlers[2];	    /* function-call interrupts: handler entries seen */
	uint64_t cause[TM_CAUSES][2];
	uint64_t events_lost; /* dropped because a ring was full or a program could not run */
	uint32_t has_ranges, has_functions, has_events; /* 0 where this kind or kernel lacks them */
	uint32_t has_columns; /* 0 where this kind cannot read in_operation (perf): all is in [1] */
};

enum tm_event_kind {
	TM_EVENT_SEND,	  /* the initiator is about to send (tlb_flush, remote send) */
	TM_EVENT_ENTRY,	  /* the handler begins on this CPU */
	TM_EVENT_EXIT,	  /* the handler ends on this CPU */
	TM_EVENT_DISTURB, /* another interrupt or a context switch began here */
};

struct tm_event {
	uint64_t time_ns; /* CLOCK_MONOTONIC */
	uint32_t kind;	  /* enum tm_event_kind */
	uint32_t value;	  /* SEND: pages, UINT32_MAX full; DISTURB: enum tm_cause */
};

struct tm_probe;

/*
 * Opens and attaches `wanted`, or with TM_PROBE_AUTO the best that works. 0
 * and *out (tm_probe_close() ends it), with in `why` the reasons for every
 * better kind that was refused ("" if none); -errno, with the reason, when
 * `wanted` was explicit and is not to be had. Takes no root to fall back.
 */
int tm_probe_open(enum tm_probe_kind wanted, struct tm_probe **out, char *why, size_t why_size);
void tm_probe_close(struct tm_probe *p);
enum tm_probe_kind tm_probe_kind(const struct tm_probe *p);
/* Does it tell of every handler, with its time? */
bool tm_probe_has_events(const struct tm_probe *p);
const char *tm_probe_kind_name(enum tm_probe_kind k); /* "bpf", "perf", "gaps", "auto" */
int tm_probe_kind_parse(const char *name, enum tm_probe_kind *out);

/* The word that the initiator sets to 1 while it times; never NULL, shared memory. */
volatile uint32_t *tm_probe_in_operation(struct tm_probe *p);

/*
 * Begins a phase: clears counts and rings, sets the in_operation word to 0;
 * counts and records on these CPUs only, whoever causes it. Callable in the
 * run process (a child of the opener), which then also drains and stops. One
 * phase at a time. 0 or -errno (-ERANGE: no such CPU).
 */
int tm_probe_start(struct tm_probe *p, const unsigned int *cpus, unsigned int count);
/*
 * The events of one CPU since the last drain, in time order, at most
 * `capacity`; returns how many. The rest stays. Call between batches. Two
 * threads may drain two CPUs.
 */
size_t tm_probe_drain(struct tm_probe *p, unsigned int cpu, struct tm_event *events,
		      size_t capacity);
/* Ends the phase; what was not drained is gone, but counted. 0 or -errno. */
int tm_probe_stop(struct tm_probe *p, struct tm_probe_counts *out);
/*
 * The same, and in of_cpu[i] the counts of cpus[i] alone, without the fields
 * events_lost and has_*. CPUs that took no part have none.
 */
int tm_probe_stop_cpus(struct tm_probe *p, struct tm_probe_counts *out, const unsigned int *cpus,
		       unsigned int count, struct tm_probe_counts *of_cpu);

/*
 * Hooks the programs in or out (for measuring the probe's own cost), in the
 * opener, between phases. Both may be called twice. attach: 0 or -errno.
 */
int tm_probe_attach(struct tm_probe *p);
void tm_probe_detach(struct tm_probe *p);

/* What one CPU's column of /proc/interrupts says, in groups of lines. */
enum tm_interrupt_line {
	TM_LINE_CALL, /* CAL, on aarch64 an IPI: function-call interrupts, on x86 TLB's too */
	TM_LINE_TIMER,
	TM_LINE_DEVICE, /* the numbered ones */
	TM_LINE_RESCHEDULE,
	TM_LINE_IRQ_WORK,
	TM_LINE_NMI,
	TM_LINE_OTHER,
	TM_LINES
};
const char *tm_interrupt_line_name(enum tm_interrupt_line l);

/*
 * Adds the columns of these CPUs to lines[i], or takes them away where `sign`
 * is -1: before and after give the difference. 0 or -errno (-ENOENT: a CPU has
 * no column, it is offline).
 */
int tm_interrupts_of(const unsigned int *cpus, unsigned int count, int sign,
		     int64_t (*lines)[TM_LINES]);

/* This system's count of the given /proc/interrupts line ("TLB", "CAL", "LOC"),
 * summed over CPUs; -ENOENT where there is no such line (aarch64). */
int tm_interrupts_read(const char *line, uint64_t *sum);

#endif /* TLBMARK_PROBE_H */
