// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * clock: one way to tell the time.
 *
 * Timed: a pair of serialised counter reads (as tm_begin() and tm_end() make
 * them), a plain counter read, or clock_gettime(CLOCK_MONOTONIC), which is the
 * vDSO's or, where that may not read the counter, a system call. No kernel
 * path flushes. It does not measure the counter's rate or its offset between
 * CPUs; the calibration does, and every record has both.
 */
#include <time.h>

#include <tlbmark/workload.h>

enum { SOURCE };
enum { SOURCE_PAIR, SOURCE_PLAIN, SOURCE_GETTIME };

static const char *const sources[] = {"pair", "plain", "gettime", NULL};

static const struct tm_param clock_params[] = {
	[SOURCE] = {.name = "source",
		    .unit = "",
		    .help = "a serialised pair of counter reads, a plain read, or clock_gettime()",
		    .kind = TM_PARAM_CHOICE,
		    .choices = sources,
		    .def = "pair",
		    .full = "pair,plain,gettime"},
	{.name = NULL},
};

static int clock_operate(struct tm_thread *t, void *state)
{
	uint64_t source = t->cell->values[SOURCE];
	struct timespec ts;

	(void)state;
	while (tm_more(t)) {
		tm_begin(t);
		if (source == SOURCE_PAIR) {
			tm_ticks_begin();
			tm_ticks_end();
		} else if (source == SOURCE_PLAIN) {
			tm_ticks();
		} else {
			clock_gettime(CLOCK_MONOTONIC, &ts);
		}
		tm_end(t, 0);
	}
	return 0;
}

const struct tm_workload tm_workload_clock = {
	.name = "clock",
	.summary = "reading the time: the resolution of every other figure",
	.op = "one reading of the clock",
	.flushes = "",
	.gate = TM_GATE_NONE,
	.floor = true,
	.no_control = true,
	.params = clock_params,
	.operate = clock_operate,
};
