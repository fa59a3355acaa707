/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The records of one session as rows: each a line of the table, made of the
 * measured runs of that row and its controls.
 *
 * Only runs whose record says "valid" count, and none of a row in which the
 * oracle saw a stale translation: a kernel that forgets a flush is not made
 * right by the repeats that were not checked. What is not known is NaN (a
 * figure), NULL (a text) or "none" (an estimate), never zero; counts are 0.
 *
 * A p50 is the median over the valid runs of each run's own: merged, a fast
 * run would weigh more than a slow one, having more operations.
 */
#ifndef TLBMARK_ROWS_H
#define TLBMARK_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "stats.h"
#include "store.h"

/* The floor that a shootdown is compared with: a bare IPI from user space. */
#define TM_ROWS_IPI_FLOOR "membarrier"
#define TM_ROWS_LEVEL 0.95 /* of the intervals, at least */

/* The medians of one valid run; NaN: has none. */
struct tm_row_run {
	json_int_t repeat;
	double op_ns, delivery_ns, stolen_ns, return_ns;
};

/* What the responders of a row in state `isolated` saw, inside and outside of operations. */
struct tm_row_interruptions {
	double per_op;	    /* interrupts an operation and CPU, by the probe; NaN: not told */
	char *causes;	    /* by how many each, most frequent first: "timer 12, ..." */
	uint64_t gaps;	    /* in their loops: what user code sees */
	double unexplained; /* of these without a cause in this kernel; NaN: not told */
	double p50_ns, p99_ns, max_ns; /* lengths of the gaps; p99 NaN where there are too few */
};

struct tm_row {
	unsigned int row;	/* its number in the plan */
	char *workload, *label; /* label: with the parameters */
	json_t *parameters;	/* object: numbers and choices' names */
	json_t *references;	/* of these the values that others are compared with; NULL: none */
	char *state, *distance;
	unsigned int responders, initiators;
	bool floor; /* a baseline */

	unsigned int repeats, repeats_valid; /* measured runs, in all and those that count */
	struct tm_row_run *run;		     /* [repeats_valid]; NULL: none */
	uint64_t operations;		     /* of them */
	double op_p50_ns;
	double op_p99_ns, op_p999_ns; /* of their operations merged */
	const char *control; /* "foreign" or "none": which one is used; NULL: none to pair with */
	double control_p50_ns;
	struct tm_estimate cost_ns;    /* of the shootdown: op p50 minus control p50, paired */
	struct tm_estimate cost_ratio; /* the same, divided; may have fewer pairs: a p50 of 0 */
	double delivery_p50_ns, stolen_p50_ns, return_p50_ns;
	double ipis_per_op;
	char *ipis_source;	 /* "probe", "gaps" or "interrupts" */
	double full_flush_share; /* of the remote flushes inside operations; 0 .. 1 */
	/* Of workloads that flush kernel addresses, and what their source predicts; else NaN. */
	double kernel_flushes_per_op, kernel_flushes_per_op_predicted;
	struct tm_row_interruptions *interruptions; /* NULL: of no isolated CPU */
	/* Of workloads that look whether a dead translation is still used: how often they
	 * did and how often it was, the oldest that was, the youngest that was not, and between
	 * which ages half of them go (tm_stale_half_interval()). NaN where no look tells. */
	uint64_t looks, looks_stale;
	double stale_last_ns, gone_first_ns, stale_half_low_ns, stale_half_high_ns;
	/* Times the op p50 of the IPI floor beside as many responders and initiators in the same
	 * state and distance: Hodges-Lehmann, paired by repeat. */
	double times_ipi_floor;
	/* "count=0": the value in which the row that this one is compared with differs, and it
	 * only; NULL: there is no such row. */
	char *reference;
	struct tm_estimate reference_ns; /* op p50 minus that row's, paired by repeat */

	char *reasons; /* why runs do not count, in words; NULL: all do */
	/*
	 * Instructions were counted, one a ns: every op_ns, control and cost is
	 * exact, and the "interval" of a cost is the range over the pairs.
	 * op_values: how many different counts the operations of a run took;
	 * op_p50_share: of them, those that took exactly the run's p50. Those of
	 * the worst run; NaN where nothing was counted.
	 */
	bool deterministic;
	double op_values, op_p50_share;
	bool tail_refused; /* p99 or p99.9 is NaN: too few effective operations */
	/* In one run or more delivery and return are left out, although there were interruptions:
	 * the offset between the counters is not known well enough. */
	bool split_refused;
};

struct tm_rows {
	struct tm_row *row; /* floors first, then by number */
	size_t count, floors;
	char session[TM_STORE_ID];
	char time[32];		/* of the earliest record */
	char *machine, *kernel; /* NULL: not told */
	char *probe, *probe_why;
	char *background;			   /* NULL: none */
	char *counter;				   /* "TSC" */
	double hz, clock_pair_ns, offset_bound_ns; /* the largest bound of all runs */
	bool deterministic;			   /* all that has figures was counted */
	char **warnings;			   /* each once */
	size_t warning_count;
};

/*
 * Reads a session (a whole id). tm_rows_free() ends it. 0; -ENOENT where it
 * has no records; -ENOMEM; -EUCLEAN for a damaged record; what the store says.
 */
int tm_rows_load(struct tm_store *store, const char *session, struct tm_rows **out, char *why,
		 size_t why_size);

/* The same from records in memory (a JSON array, any order): no store needed. */
int tm_rows_build(const json_t *records, struct tm_rows **out, char *why, size_t why_size);

void tm_rows_free(struct tm_rows *rows); /* NULL is ignored */

#endif /* TLBMARK_ROWS_H */
