// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * null: nothing at all.
 *
 * Timed: the distance between tm_begin()'s and tm_end()'s reading of the
 * counter, which every other workload's figures contain. No kernel path
 * flushes. It does not measure what arming the responders costs: that is
 * outside of every workload's clock.
 */
#include <tlbmark/workload.h>

static int null_operate(struct tm_thread *t, void *state)
{
	(void)state;
	while (tm_more(t)) {
		tm_begin(t);
		tm_end(t, 0);
	}
	return 0;
}

const struct tm_workload tm_workload_null = {
	.name = "null",
	.summary = "an empty operation: what timing itself costs",
	.op = "nothing",
	.flushes = "",
	.gate = TM_GATE_NONE,
	.floor = true,
	.no_control = true,
	.operate = null_operate,
};
