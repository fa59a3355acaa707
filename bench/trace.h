/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The kernel's own trace of what came before a stale translation.
 *
 * An instance of tracefs that is ours alone (instances/tlbmark-PID), with small
 * rings that overwrite what is old: flushes, the interrupts that ask for them,
 * their handlers, context switches, and the rarer events that name what took
 * pages away. Whoever sees a stale translation stops it at once, so that it
 * holds what was before. Journaled, and removed with everything else that a run
 * changes (sysstate.h).
 *
 * Flushes and interrupts are what a shootdown consists of, and tracing them has
 * a price: they are the costly events, which each bout has or has not.
 */
#ifndef TLBMARK_TRACE_H
#define TLBMARK_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "sysstate.h"

struct tm_trace;

enum {
	TM_TRACE_LINES = 200,	/* that are kept of one violation */
	TM_TRACE_DECISIVE = 12, /* and told at once */
};

/* What was traced: lines as tracefs has them, the oldest first. */
struct tm_trace_text {
	char **line; /* owned; NULL: nothing was */
	size_t count;
	char clock[16]; /* "x86-tsc": stamps are our ticks; "mono": seconds */
};

/*
 * Makes the instance, of the calling process, which must be the one that forks
 * the runs: they stop it through files opened here. Close it before s is
 * restored: a directory of which a file is open is not removed. 0, or -errno
 * with the reason in why.
 */
int tm_trace_open(struct tm_sysstate *s, struct tm_trace **out, char *why, size_t why_size);
void tm_trace_close(struct tm_trace *t); /* NULL is ignored */

/*
 * Before a bout, `what` in words: traces again if the last one stopped it, with the
 * costly events or without them. NULL is ignored.
 */
void tm_trace_begin(struct tm_trace *t, const char *what, bool costly);

/*
 * When the operation that is checked next had returned, as a tick: so that it
 * has its place in the trace. Nothing but a store.
 */
void tm_trace_returned(uint64_t ticks);

/*
 * A stale translation was seen: no event more is traced. Two writes, once in a
 * process; nothing where no bout is traced. Any thread, and signal handlers.
 */
void tm_trace_stop(void);

/*
 * After a bout that saw one: the last lines of these CPUs, and of the bout's own
 * tasks, since it began. An empty text where there are none, or no t.
 */
void tm_trace_take(const struct tm_trace *t, const unsigned int *cpus, size_t cpu_count,
		   struct tm_trace_text *out);
void tm_trace_text_free(struct tm_trace_text *text);

/* The decisive ones for people, with their distance from the last. */
void tm_trace_print(FILE *f, const struct tm_trace_text *text);

/* ---- for the above and its tests ---- */

#define TM_TRACE_TASK "tlbmark-run"
#define TM_TRACE_BEGINS "tlbmark: begins: "
#define TM_TRACE_SEEN "tlbmark: stale translation seen"
#define TM_TRACE_AFTER " ticks after the operation had returned"

/* One line taken apart; what points into it is not terminated by a NUL. */
struct tm_trace_line {
	const char *task; /* "comm-pid" */
	int task_bytes;
	unsigned int cpu;
	uint64_t stamp; /* ticks, or */
	bool is_time;	/* nanoseconds */
	const char *event;
};

/* 0, or -EINVAL: no event (a comment, events lost). */
int tm_trace_parse(const char *text, struct tm_trace_line *out);

/* From a trace as tracefs prints it, all of which is read; clock stays as it is. 0 or -ENOMEM. */
int tm_trace_choose(FILE *in, const unsigned int *cpus, size_t cpu_count,
		    struct tm_trace_text *out);

/* Indices of the decisive lines, in order, at most `most`; how many. */
size_t tm_trace_decisive(const struct tm_trace_text *text, size_t most, size_t *index);

#endif /* TLBMARK_TRACE_H */
