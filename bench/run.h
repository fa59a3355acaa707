/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One run: one cell of the plan, measured once, in a process of its own.
 */
#ifndef TLBMARK_RUN_H
#define TLBMARK_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <tlbmark/workload.h>

#include "clock.h"
#include "hist.h"
#include "placement.h"
#include "probe.h"

/* What the responders do when an operation begins. docs/method.md explains each. */
enum tm_state {
	TM_STATE_NONE,	   /* there are none: a control */
	TM_STATE_SPIN,	   /* user mode, reading the counter */
	TM_STATE_TOUCH,	   /* the same, after reading the mapping: their TLB holds it */
	TM_STATE_KERNEL,   /* in a loop of cheap system calls */
	TM_STATE_IDLE,	   /* blocked: lazy TLB, normally not interrupted */
	TM_STATE_FOREIGN,  /* spinning in another process: the control */
	TM_STATE_ISOLATED, /* spinning on a NOHZ_FULL or isolated CPU */
	TM_STATES
};

const char *tm_state_name(enum tm_state s);
int tm_state_parse(const char *name, enum tm_state *out); /* -EINVAL */
/* Do responders in this state show gaps that belong to our operation? */
bool tm_state_is_gated(enum tm_state s);
/* Do they run in user mode and answer the arming (all but none and idle)? */
bool tm_state_spins(enum tm_state s);

/* What a cell is in its row of the table. */
enum tm_role {
	TM_ROLE_MEASURED,
	TM_ROLE_CONTROL_FOREIGN, /* its responders spin in another process */
	TM_ROLE_CONTROL_NONE,	 /* it has none */
};

struct tm_cell {
	struct tm_cell_args args;
	enum tm_state state;
	struct tm_placement placement; /* owned by the plan */
	uint64_t duration_ns;	       /* measured time; 0: ops decides */
	uint64_t ops;		       /* measured operations; 0: duration decides */
	unsigned int row;	       /* cells of one row are one line of the table */
	unsigned int repeat;	       /* 0 .. */
	bool from_in_label;	       /* rows differ in the CPU that initiates */
	bool verify;		       /* run the oracle after measuring */
	bool verify_only;	       /* the oracle alone, again and again for duration_ns */
	bool one_round;		       /* of the oracle at a time: for a first look */
	/*
	 * The counter counts instructions and the CPUs take turns at every
	 * tm_relax(): everything is done a fixed number of times, and nobody
	 * looks for gaps. ops is the limit.
	 */
	bool deterministic;
};

/* What one responder saw. */
struct tm_responder_result {
	uint32_t cpu;
	uint32_t distance;	    /* enum tm_distance */
	uint64_t delivered;	    /* operations that interrupted it at least once */
	uint64_t gaps_in, gaps_out; /* interruptions inside and outside of operations */
	uint64_t stolen_ticks;	    /* all of them inside operations, summed */
	int64_t offset_ticks;	    /* its counter minus the initiator's */
	uint64_t bound_ticks;	    /* and how well that is known */
	uint64_t delivery_p50_ticks, stolen_p50_ticks; /* 12.5% slots */

	/* What interrupted it in the measured phase, inside and outside of operations. */
	bool have_lines, have_faults;
	int64_t line[TM_LINES];	      /* /proc/interrupts, its CPU */
	struct tm_probe_counts probe; /* of its CPU alone */
	uint64_t gaps_unexplained;    /* gaps in which the probe saw nothing of the kernel's */
	uint64_t interrupts_unseen;   /* interrupts that the probe saw and that lie in no gap */
	int64_t faults;		      /* page faults of its own thread */
};

enum tm_metric {
	TM_METRIC_OP,	    /* begin to end of the operation: every one of them */
	TM_METRIC_DELIVERY, /* begin -> first gap's start, an (operation, responder) each */
	TM_METRIC_STOLEN,   /* gaps' length inside the operation, an (operation, responder) each */
	TM_METRIC_RETURN,   /* end of the last gap -> end, an operation each */
	TM_METRIC_SEND,	    /* probe: operation's begin -> IPI sent */
	TM_METRIC_ENTRY,    /* probe: IPI sent -> handler entry */
	TM_METRIC_HANDLER,  /* probe: handler entry -> exit */
	TM_METRIC_STALE,    /* tm_look(): age of a dead translation that was still used */
	TM_METRIC_GONE,	    /* and of one that was not */
	TM_METRIC_INTERRUPTION, /* a gap's length, whenever it was, a (gap, responder) each */
	TM_METRIC_LIFE,		/* tm_life(): for how long a dead translation was used */
	TM_METRICS
};
const char *tm_metric_name(enum tm_metric m);

enum { TM_RAW_SAMPLES = 4096 };

/* A run that is limited by a count alone ends after this time, with what it has. */
#define TM_RUN_LIMIT_NS (55 * 60 * 1000000000ull)

/*
 * Plain data in shared memory: the run process fills it, its parent reads it
 * after that process ended.
 */
struct tm_result {
	int error;    /* 0, or -errno: the run failed */
	bool skipped; /* error is a "cannot here", why says so */
	char why[256];

	uint64_t ops;	    /* measured operations */
	uint64_t ops_done;  /* in the measured phase, batches' dropped first ones too */
	uint64_t ops_armed; /* all responders known to be in their state at begin */
	uint64_t
		ops_disturbed; /* armed, but the probe saw another interrupt or a context switch on a CPU that takes part */
	uint64_t ops_valid; /* armed, not disturbed */
	uint64_t
		valid_one_gap; /* valid, each responder exactly one gap, begun inside the operation */
	uint64_t valid_positive; /* of these: delivery, stolen and return all positive */
	uint64_t
		valid_in_gap_checked; /* of valid_one_gap: the probe has entry and exit of each responder */
	uint64_t valid_in_gap;			  /* and they lie inside its gap */
	uint64_t deliveries_expected, deliveries; /* operations x responders */
	uint64_t gaps_dropped;			  /* rings that were full */
	uint64_t warmup_ops;
	uint64_t elapsed_ns; /* wall time of the measured phase */
	uint64_t batch_ops;  /* operations in a batch, at the end */
	uint64_t gap_threshold_ticks;
	bool split_valid;  /* the offset bounds are below the median delivery */
	bool return_valid; /* and below the median return */

	uint64_t tlb_interrupts, call_interrupts; /* /proc/interrupts, across the phase */
	bool have_tlb_interrupts, have_call_interrupts;
	uint64_t context_switches; /* of the run process, involuntary */
	uint64_t resident_peak_kib;
	uint64_t counter[TM_MAX_COUNTERS]; /* the workload's own; atomic while it runs */
	struct tm_probe_counts probe;
	enum tm_probe_kind probe_kind;
	struct tm_verdict verdict;
	bool verified;
	uint64_t verify_calls;

	/* the last TM_RAW_SAMPLES operations, in order (of the first initiator) */
	uint32_t raw_count;
	uint32_t raw_op_ticks[TM_RAW_SAMPLES];
	uint64_t raw_seen; /* until tm_result_order_raw(): a ring, and how many went in */

	/* TM_METRICS fine histograms follow, then the responders. */
	size_t hist_offset[TM_METRICS];
	size_t responders_offset;
	uint32_t responders; /* rows that the run filled */
	size_t bytes;
};

static inline struct tm_hist *tm_result_hist(struct tm_result *r, enum tm_metric m)
{
	return (struct tm_hist *)((char *)r + r->hist_offset[m]);
}

static inline struct tm_responder_result *tm_result_responders(struct tm_result *r)
{
	return (struct tm_responder_result *)((char *)r + r->responders_offset);
}

/* Shared memory for one run of up to `responders`; NULL when out of memory. */
struct tm_result *tm_result_new(unsigned int responders);
/* One operation's time into the ring of raw samples; then, once, into order. */
void tm_result_add_raw(struct tm_result *r, uint64_t op_ticks);
void tm_result_order_raw(struct tm_result *r);
/* Empty again, as new; tm_run() does it first. */
void tm_result_clear(struct tm_result *r);
void tm_result_free(struct tm_result *r);

struct tm_run_context {
	const struct tm_clock *clock;
	struct tm_probe *probe; /* never NULL */
};

/*
 * Measures `cell` in a fresh process and waits for it, at most `timeout_ms`
 * (then the process is killed and r->error is -ETIMEDOUT). `cancel`: polled;
 * once true the process is killed and -EINTR returned. 0 means: *r is filled,
 * look at r->error there. The caller's affinity is left as it was.
 */
int tm_run(const struct tm_cell *cell, const struct tm_run_context *context, struct tm_result *r,
	   unsigned int timeout_ms, volatile const int *cancel);

#endif /* TLBMARK_RUN_H */
