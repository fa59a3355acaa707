/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Results as a run would leave them, made up: the same numbers on every
 * machine. Records come from them through tm_record_build(), as real ones do.
 */
#ifndef TLBMARK_TESTS_SYNTHETIC_H
#define TLBMARK_TESTS_SYNTHETIC_H

#include "bench/record.h"

extern const struct tm_workload synthetic_munmap, synthetic_null, synthetic_membarrier;

enum { SYNTHETIC_HZ = 2000000000 }; /* a tick is half a nanosecond */

/* One run; what is 0 or NULL is filled in by synthetic_make(). */
struct synthetic {
	const struct tm_workload *workload; /* munmap */
	uint64_t pages;			    /* 1 */
	enum tm_role role;
	enum tm_state state;	 /* spin, or what the role says */
	unsigned int responders; /* 1, or 0 for the control without any */
	unsigned int row, repeat;
	const char *session; /* 32 times 'a' */
	uint64_t ops;	     /* 20,000 */
	double op_ns;	     /* 9,000; controls 1,000 */

	/* Made: change what a test is about, then synthetic_record(). */
	struct tm_cell cell;
	struct tm_result *result;
	struct tm_clock clock;
	struct tm_record_input input;
	unsigned int initiator_cpu, responder_cpu[8];
	enum tm_distance responder_distance[8];
};

void synthetic_make(struct synthetic *s);
void synthetic_free(struct synthetic *s);
/* The record; its id is made from row, role and repeat, so that it stays the same. */
json_t *synthetic_record(const struct synthetic *s);
/* All three for a run that is as good as it can be. */
json_t *synthetic_good(struct synthetic s);

/*
 * The content of tests/golden/NAME, or "" where there is none; free(). With
 * TLBMARK_REGEN=1 it is first replaced by `now`.
 */
char *synthetic_golden(const char *name, const char *now);

#endif /* TLBMARK_TESTS_SYNTHETIC_H */
