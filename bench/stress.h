/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One `tlbmark stress`: workloads of the catalogue one after the other, with
 * parameters, CPUs and responder states drawn from a seed, each checked by its
 * own oracle, until the time is over. docs/stress.md tells how it is mixed and
 * what a violation means.
 *
 * A bout is one workload with one set of values, in a process of its own (run.h).
 * Workloads whose operations check themselves (tm_workload.self_checking) have
 * most of the time: they make the most shootdowns.
 */
#ifndef TLBMARK_STRESS_H
#define TLBMARK_STRESS_H

#include <jansson.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "placement.h"
#include "run.h"
#include "trace.h"

struct tm_stress_options {
	const char *const *workloads; /* names; NULL: all that can run and have an oracle */
	size_t workload_count;
	uint64_t duration_ns;
	uint64_t seed;
	const char *background;	     /* as for a session */
	const char *state_directory; /* of the journal; NULL: the default */
	bool until_violation;	     /* end at the first */
	bool quiet;
	bool no_trace; /* of the kernel's around a violation */
};

enum { TM_STRESS_VIOLATIONS = 64 }; /* that are told one by one */

struct tm_stress_path {
	const struct tm_workload *workload;
	uint64_t visits; /* bouts that were drawn: */
	uint64_t bouts, skipped, failed;
	uint64_t operations; /* timed ones, of a self-checking workload */
	uint64_t calls;	     /* of verify() */
	uint64_t checks, violations;
	uint64_t busy_ns;
	char skip_why[192], fail_why[256]; /* the last of each; "" if there is none */
	char unchecked[128];		   /* also where a bout checked something else */
	bool impatient;			   /* that only tells what there is no time for */
};

struct tm_stress_violation {
	uint64_t bout, at_ns;	    /* since the beginning */
	uint64_t count;		    /* in that bout */
	char label[128];	    /* the cell in words */
	char what[192];		    /* the first of them */
	char cpus[96];		    /* "CPU 0 -> 1 2 3, spin" */
	struct tm_trace_text trace; /* the kernel's, of what came before */
};

struct tm_stress_outcome {
	struct tm_stress_path *paths;
	size_t path_count;
	uint64_t bouts, checks, violations, failed;
	struct tm_stress_violation *told; /* [TM_STRESS_VIOLATIONS] */
	size_t told_count;
	uint64_t elapsed_ns;
	bool have_shootdowns;
	uint64_t shootdowns; /* the TLB line of /proc/interrupts, of the whole machine */
	int signal;	     /* it was interrupted by this one */
	char no_trace[192];  /* why the kernel traces nothing for us; "": it does */
	bool load_lost;	     /* the background load ended before the run did */
};

/*
 * Stresses. An exit status (cli.h): TM_EXIT_OK where it ran, whatever it found;
 * another after one clear line. The outcome is filled as far as it came, and
 * freed by tm_stress_free().
 */
int tm_stress_run(const struct tm_stress_options *o, struct tm_stress_outcome *out);
/* Keeps what the oracle of a bout says that it did not check. */
void tm_stress_note(struct tm_stress_path *p, const struct tm_verdict *v);
void tm_stress_free(struct tm_stress_outcome *out);

/* In how many ways a workload can be done: the product of its parameters' choices. */
uint64_t tm_stress_ways(const struct tm_workload *w);

/* What a run draws from. */
struct tm_stress_source {
	const struct tm_topo *topo;
	uint64_t seed;
	bool patient; /* values with which a workload waits for the kernel are drawn, too */
};

/*
 * The cell of this workload's visit number `visit` (0 ..): values, CPUs and states, the
 * same for the same seed, workload, number and machine. Free its placement. 0, or
 * -ENOTSUP with the reason in why; -ENOMEM.
 */
int tm_stress_draw(const struct tm_stress_source *from, const struct tm_workload *w, uint64_t visit,
		   struct tm_cell *cell, char *why, size_t why_size);

/*
 * The CPUs that may be used, which may change: hotplug, a cpuset. More than there
 * were at the beginning there never are. Nothing is told of more than 8,192.
 */
enum { TM_STRESS_CPU_SETS = 8 };
struct tm_stress_cpus {
	bool known;
	cpu_set_t asked[TM_STRESS_CPU_SETS], now[TM_STRESS_CPU_SETS];
};
void tm_stress_cpus_begin(struct tm_stress_cpus *c);
/* Since the beginning or the last call? In words in what. */
bool tm_stress_cpus_changed(struct tm_stress_cpus *c, char *what, size_t size);

/* The table and the verdict for people, and as JSON (NULL: out of memory). */
void tm_stress_print(FILE *f, const struct tm_stress_options *o,
		     const struct tm_stress_outcome *out);
json_t *tm_stress_json(const struct tm_stress_options *o, const struct tm_stress_outcome *out);

#endif /* TLBMARK_STRESS_H */
