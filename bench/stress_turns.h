/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Whose turn it is in a stress run, for how long, and what is given up.
 *
 * Self-checking workloads have most of the time, or half of it; the others, the deck,
 * share the rest by their ways and by how long they take. While the opening lasts it is
 * the other way round. One thread's.
 */
#ifndef TLBMARK_STRESS_TURNS_H
#define TLBMARK_STRESS_TURNS_H

#include "stress.h"

struct tm_stress_turns {
	struct tm_stress_path *paths; /* [path_count], the outcome's */
	size_t path_count;
	size_t *deck; /* paths that are not self-checking, in the order of their first bouts */
	size_t deck_count, self_next, self_count;
	uint64_t *had_ns;	/* of each path: its time */
	unsigned int *in_a_row; /* failures, of each path, which the caller counts */
	uint64_t count;		/* of turns so far */
	uint64_t self_ns, deck_ns;
	bool opened; /* the opening is over */
	bool even;   /* the caller's wish: then half of the time for the deck */
};

/* For up to path_count paths, none of them has turns. 0 or -ENOMEM; freed in either case. */
int tm_stress_turns_open(struct tm_stress_turns *t, struct tm_stress_path *paths,
			 size_t path_count);
void tm_stress_turns_free(struct tm_stress_turns *t);

/* This path is to have turns. */
void tm_stress_turns_add(struct tm_stress_turns *t, size_t path);

/* The order of the first turns; moves *random on. */
void tm_stress_turns_shuffle(struct tm_stress_turns *t, uint64_t *random);

/* Has any path turns still? Else none must be asked for. */
bool tm_stress_turns_left(const struct tm_stress_turns *t);

/* The next path; now_ns is since the beginning. */
size_t tm_stress_turns_next(struct tm_stress_turns *t, uint64_t now_ns);

/* Is it the opening still? No turn is one of it where all workloads check themselves. */
bool tm_stress_turns_opening(const struct tm_stress_turns *t);

/* How long a bout of the workload is to be measured, in ns. */
uint64_t tm_stress_turns_length(const struct tm_stress_turns *t, const struct tm_workload *w);

/* The path's turn took so long. What failed too often in a row has none any more. */
void tm_stress_turns_done(struct tm_stress_turns *t, size_t path, uint64_t spent_ns);

#endif /* TLBMARK_STRESS_TURNS_H */
