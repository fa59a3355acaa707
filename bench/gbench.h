/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A C interface to Google Benchmark 1.7 or later, which has none: benchmarks
 * are registered with a function and a pointer for it, reporters are tables
 * of functions, and no C++ exception leaves bench/gbench.cc.
 *
 * What to know of that library:
 *  - manual time is divided by the number of its threads, so benchmarks are
 *    registered with one; a program keeps its own threads and says how many
 *    in the name or an argument;
 *  - all repetitions of a benchmark must have done as many iterations, or the
 *    library aborts;
 *  - its aggregates ("mean", "median", "stddev", "cv") are over repetitions,
 *    never over operations: a quantile of the operations is a row of its own;
 *  - a benchmark that skips itself with an error leaves the exit status 0;
 *    count them in a reporter;
 *  - Debian's library calls itself a debug build, which says nothing of ours.
 *
 * Everything is called from one thread. Strings are copied.
 */
#ifndef TLBMARK_GBENCH_H
#define TLBMARK_GBENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tm_gb_benchmark; /* registered; the library owns it */
struct tm_gb_state;	/* one call of a benchmark's function; gone when that returns */

typedef void (*tm_gb_function)(struct tm_gb_state *s, void *context);

/*
 * Takes the library's own options out of argv; argv[0] is kept. Its --help ends the process
 * after help() printed ours (NULL: the library's), and so does a bad value.
 * 0, or -ENOMEM.
 */
int tm_gb_begin(int *argc, char **argv, void (*help)(void));
/* After it and our own options: prints what is left and returns true if anything is. */
bool tm_gb_unknown_options(int argc, char **argv);

/* One line of the report's context, "name: value". 0 or -ENOMEM. */
int tm_gb_context(const char *name, const char *value);

/*
 * Registers a benchmark whose time is what it says itself, shown in ns. The
 * name must be unique. `context` must live until tm_gb_end(). NULL when out
 * of memory.
 */
struct tm_gb_benchmark *tm_gb_register(const char *name, tm_gb_function function, void *context);

/* Adds arguments, "/name:value" each, behind the name. 0 or -ENOMEM. */
int tm_gb_arguments(struct tm_gb_benchmark *b, const char *const *names, const int64_t *values,
		    size_t count);

/* In a benchmark's function: argument i, below their number. */
int64_t tm_gb_argument(const struct tm_gb_state *s, size_t i);

/*
 * The loop: true while this call wants another iteration. When true, do it
 * and report its time; when false, return.
 */
bool tm_gb_more(struct tm_gb_state *s);
/* Seconds that the iteration just done took. */
void tm_gb_time(struct tm_gb_state *s, double seconds);

/* A further column. 0 or -ENOMEM. */
int tm_gb_counter(struct tm_gb_state *s, const char *name, double value);
/* Gives up: no time is reported but `why`. Inside the loop, once; it ends then. */
void tm_gb_skip(struct tm_gb_state *s, const char *why);

/* One line of the report. Valid during the call only. */
struct tm_gb_line {
	const char *name;      /* with arguments and aggregate */
	const char *aggregate; /* "mean", ...; "" for a repetition */
	const char *error;     /* why it was skipped; NULL: it was not */
	int64_t iterations, repetition;
	double real_ns; /* an operation; meaningless after an error */
};

/* A reporter. Any function may be NULL. */
struct tm_gb_reporter {
	void *context;
	bool (*begin)(void *context); /* false: run nothing */
	void (*line)(void *context, const struct tm_gb_line *line);
	void (*end)(void *context);
};

/*
 * Runs what --benchmark_filter selects, or lists it with
 * --benchmark_list_tests. Reports to the usual display, to --benchmark_out,
 * and to `also` (NULL: nobody else). *matched becomes the number of
 * benchmarks selected. 0, -ENOMEM, or -EIO for what the library threw.
 */
int tm_gb_run(const struct tm_gb_reporter *also, size_t *matched);
/* Forgets all benchmarks. */
void tm_gb_end(void);

#ifdef __cplusplus
}
#endif

#endif /* TLBMARK_GBENCH_H */
