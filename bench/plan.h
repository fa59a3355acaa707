/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * From options to runs: which cells, with whom, how often, in which order.
 *
 * A row is one line of the table: a workload with its parameters' values and
 * responders. It is measured by several cells: the row itself, and as
 * controls the same operation beside `foreign` responders and with none; each
 * `repeat` times, every one in a process of its own. Repeats are blocks: all
 * cells of a block run, in an order drawn from the seed, before the next
 * block begins, so that a slow drift of the machine meets all of them alike.
 */
#ifndef TLBMARK_PLAN_H
#define TLBMARK_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "placement.h"
#include "run.h"

enum tm_plan_size { TM_PLAN_QUICK, TM_PLAN_DEFAULT, TM_PLAN_FULL };

/* One --NAME LIST of a workload's parameter. */
struct tm_param_text {
	const char *name, *text;
};

/* NULL and 0 mean: not said. */
struct tm_plan_request {
	const char *const *workloads; /* names; NULL: every one that can run */
	size_t workload_count;
	const struct tm_param_text *params;
	size_t param_count;
	const char *responders;		/* list of numbers, "all" */
	const char *states, *distances; /* lists of names */
	const char *order;		/* "compact" or "spread" */
	const char *initiators;		/* list of numbers, "all" */
	/*
	 * Where the first initiator sits: a list of CPUs, "all" for each in turn
	 * (a row each); NULL: one is chosen, and the default plan takes the IPI
	 * floor from a few others too.
	 */
	const char *initiator_cpus;
	int memory_node;	      /* -1: not said */
	const unsigned int *isolated; /* CPUs that are isolated or NOHZ_FULL */
	size_t isolated_count;
	const unsigned int *nohz_full; /* of these the NOHZ_FULL ones, which are taken first */
	size_t nohz_full_count;
	uint64_t duration_ns, ops;
	unsigned int repeat;
	uint64_t seed;
	enum tm_plan_size size;
	bool verify; /* run the oracle in the first repeat of every row */
	/*
	 * Counted, not timed: ops of each cell, three repeats, unless said
	 * otherwise. ops is at most TM_RAW_SAMPLES, so that a record holds
	 * every one.
	 */
	bool deterministic;
};

struct tm_plan_cell {
	struct tm_cell cell;
	enum tm_role role;
};

struct tm_plan_row {
	char label[128]; /* "munmap pages=33 kind=4k" */
	bool floor;
};

struct tm_plan_skip {
	char label[128];
	char why[192];
};

struct tm_plan {
	struct tm_plan_cell *cells; /* in the order in which they run */
	size_t cell_count;
	struct tm_plan_row *rows;
	size_t row_count;
	struct tm_plan_skip *skips; /* what was wanted and cannot run here */
	size_t skip_count;
	uint64_t seed;
	unsigned int repeat;
	uint64_t duration_ns; /* of a cell; 0 where a count was asked for */
	unsigned int max_responders;
	uint64_t estimate_ns; /* of the whole plan */
};

/*
 * Builds the plan. 0; -EINVAL for input that makes no sense and -ERANGE for
 * what this machine is too small for, with one line in why; -ENOMEM. Rows
 * that a workload itself refuses are in skips, not errors, unless they were
 * asked for by name and nothing remains. Same request and topology, same plan.
 */
int tm_plan_build(const struct tm_topo *topo, const struct tm_plan_request *request,
		  struct tm_plan *out, char *why, size_t why_size);
void tm_plan_free(struct tm_plan *p);

/* A workload by name, or NULL. */
const struct tm_workload *tm_workload_find(const char *name);

/*
 * "1,8,32..34,512": values in the order given, each once. Numbers take k, M
 * and G (powers of 1024); a..b counts by one, a..b+s by s, a..b*f multiplies.
 * "min" and "max" are the range's ends. For a choice, its names or "all".
 * 0 and *values (free() it); -EINVAL or -ERANGE with one line in why.
 */
int tm_list_parse(const struct tm_param *p, const char *text, uint64_t **values, size_t *count,
		  char *why, size_t why_size);

/* The value as it is written on the command line. */
void tm_param_print(const struct tm_param *p, uint64_t value, char *out, size_t size);

/*
 * The cell in words: "munmap pages=33 kind=4k", and " from CPU n" unless from
 * is negative. Cut off where it does not fit.
 */
void tm_label_print(const struct tm_cell_args *a, int from, char *out, size_t size);

/* needs, probe(): 0, or -errno with the reason. */
int tm_workload_can_run(const struct tm_workload *w, char *why, size_t why_size);

#endif /* TLBMARK_PLAN_H */
