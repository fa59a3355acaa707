/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One run as one self-describing JSON object: what was asked, what was seen,
 * where, and whether it may be believed. docs/records.md explains every
 * member; results/schema/ holds the schema. Times in a record are
 * nanoseconds, histograms and raw samples are ticks (clock.hz converts).
 */
#ifndef TLBMARK_RECORD_H
#define TLBMARK_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include <jansson.h>

#include "run.h"

#define TM_RECORD_SCHEMA "tlbmark-record-1"

enum { TM_ID_CHARS = 32 }; /* of an id, in hex, without the NUL */

/* The same operation with the probe hooked in and not. */
struct tm_probe_cost {
	double with_p50_ns, without_p50_ns;
};

/* Everything is borrowed and left as it was. */
struct tm_record_input {
	const struct tm_cell *cell;
	struct tm_result *result; /* only read; not const for tm_result_hist()'s sake */
	const struct tm_clock *clock;
	const char *session; /* TM_ID_CHARS hex digits: one `tlbmark run` */
	const char *suite_version;
	struct timespec time; /* CLOCK_REALTIME at the run's start */
	enum tm_role role;
	enum tm_order order;			/* as it was asked for */
	const char *probe_why;			/* why no better probe; NULL is "" */
	const struct tm_probe_cost *probe_cost; /* NULL: not measured */
	const char *background;			/* the spec; NULL: none */
	const char *background_metrics;		/* a JSON text; NULL: none */
	json_t *environment;			/* an object; referenced, not copied */
	const char *const *warnings;		/* NULL-terminated; NULL: none */
};

/*
 * The limits of the verdict ("quality"); docs/records.md gives the reasons
 * behind each.
 */
#define TM_DELIVERED_MIN 0.98	 /* deliveries / deliveries expected */
#define TM_CONTROL_IPIS_MAX 0.01 /* in a control, an operation */
#define TM_UNARMED_MAX 0.5	 /* of all operations */
#define TM_RESOLUTION_STEPS 10	 /* steps of the counter in the op's median */
enum {
	TM_CONTROL_STRAYS = 2, /* IPIs of others that no control is refused for */
};

/*
 * A fresh record under a fresh random id, also for a run that failed or was
 * skipped. NULL when out of memory or without random numbers. json_decref().
 */
json_t *tm_record_build(const struct tm_record_input *in);

/* 128 random bits in lower-case hex, NUL-terminated. 0 or -errno. */
int tm_record_new_id(char id[TM_ID_CHARS + 1]);

#endif /* TLBMARK_RECORD_H */
