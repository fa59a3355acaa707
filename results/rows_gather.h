/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Inside rows only: one row while its records come in. */
#ifndef TLBMARK_ROWS_GATHER_H
#define TLBMARK_ROWS_GATHER_H

#include <math.h>

#include "rows.h"

/* What a run is in its row. */
enum tm_rows_role { MEASURED, FOREIGN, NONE, ROLES };

struct tm_gather_side {
	struct tm_row_run *run;
	size_t count, room;
	unsigned int refused; /* runs that do not count */
	char *reason;	      /* the first one's */
};

/* Of a row on isolated CPUs: sums over responders and runs. */
struct tm_gather_interruptions {
	struct tm_hist *gaps;
	json_t *causes;	   /* name -> how many; NULL: none yet */
	double operations; /* times responders */
	double interrupts, unexplained;
};

/* One row while its records come in. */
struct tm_gather {
	struct tm_row row;
	struct tm_gather_side side[ROLES];
	struct tm_hist *op;	      /* all valid measured runs, ticks; NULL: none yet */
	struct tm_hist *stale, *gone; /* the same of their looks */
	struct tm_gather_interruptions interruptions;
	double hz;
	double effective_p99, effective_p999; /* operations, summed over runs */
	double ipis, ipi_ops, full, remote;
	double kernel_flushes, kernel_flush_ops;
	bool open;     /* a row has begun */
	bool violated; /* the oracle saw a stale translation */
};

/* Runs of the same repeat lay close in time: they are the pairs. */
struct tm_gather_pairs {
	double difference[TM_STATS_PAIRS_MAX], logarithm[TM_STATS_PAIRS_MAX]; /* of op p50 */
	unsigned int differences, logarithms; /* no logarithm where one side is 0 */
};
void tm_gather_pair(const struct tm_row_run *a, size_t a_count, const struct tm_row_run *b,
		    size_t b_count, struct tm_gather_pairs *out);

/*
 * The estimate of x[n], which may get sorted; n > 0. What was counted has no
 * error: the median and, at level 1, all that was seen. 0 or as tm_stats_centre().
 */
int tm_gather_estimate(const struct tm_row *r, double *x, unsigned int n, struct tm_estimate *out);

/* Begins with the row's first record; on error tm_gather_drop() is still due. */
int tm_gather_begin(struct tm_gather *g, const json_t *record);
int tm_gather_add(struct tm_gather *g, const json_t *record);
/* Leaves the row in *out, then its caller's; on error nothing. Ends *g in any case. */
int tm_gather_finish(struct tm_gather *g, struct tm_row *out);
void tm_gather_drop(struct tm_gather *g);
void tm_row_free(struct tm_row *r);

/*
 * Adds a valid record of state `isolated`; `gaps`: its metric `interruption`,
 * decoded, NULL where there is none, which this frees. Then, once, into the
 * row. 0 or -errno.
 */
int tm_gather_interruptions(struct tm_gather *g, const json_t *record, struct tm_hist *gaps);
int tm_gather_interruptions_finish(struct tm_gather *g);

/* Fills in `reference` of all rows, which are all there. 0 or -ENOMEM. */
int tm_rows_compare(struct tm_rows *rows);

/* A copy, or NULL where there is nothing to copy; *rc tells when memory ran out. */
char *tm_rows_copy(const char *text, int *rc);

static inline const char *string_at(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static inline double number_at(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return json_is_number(v) ? json_number_value(v) : NAN;
}

static inline json_int_t integer_at(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

#endif /* TLBMARK_ROWS_GATHER_H */
