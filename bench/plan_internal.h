/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Inside the plan only: what plan.c and plan_lists.c share. */
#ifndef TLBMARK_PLAN_INTERNAL_H
#define TLBMARK_PLAN_INTERNAL_H

#include "plan.h"

/* In a list of responders: every CPU that is left. */
#define TM_EVERYBODY UINT64_MAX

/* A plan being built. */
struct tm_plan_builder {
	const struct tm_topo *topo;
	const struct tm_plan_request *q;
	struct tm_plan *out;
	char *why;
	size_t why_size;
	/* expanded lists */
	uint64_t *responders, *initiators, *states, *distances;
	size_t responder_count, initiator_count, state_count, distance_count;
	uint64_t *cpus; /* --initiator-cpu */
	size_t cpu_count;
	enum tm_order order;
	int from; /* of the rows being added; -1: chosen */
	bool from_in_label;
	/* cells of one block, before they are repeated */
	struct tm_plan_cell *block;
	size_t block_count, block_capacity;
	size_t row_capacity, skip_capacity;
};

/* The plan's own states, in the shape of a choice's names. */
extern const char *const tm_plan_states[];

/* Fills the lists from the request. 0 or -errno with one line in b->why. */
int tm_plan_expand(struct tm_plan_builder *b);

bool tm_plan_is_isolated(const struct tm_plan_builder *b, unsigned int cpu);

#endif /* TLBMARK_PLAN_INTERNAL_H */
