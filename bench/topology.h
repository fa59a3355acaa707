/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The inside of struct tm_topo, for placement.c and topology.c only; all
 * others use placement.h.
 */
#ifndef TLBMARK_TOPOLOGY_H
#define TLBMARK_TOPOLOGY_H

#include <hwloc.h>

#include "placement.h"

/* The groups a CPU belongs to, closest first; each lies wholly inside the next. */
enum tm_level { TM_LEVEL_CORE, TM_LEVEL_CACHE, TM_LEVEL_PACKAGE, TM_LEVELS };

/* One usable CPU. */
struct tm_pu {
	hwloc_obj_t object;
	unsigned int os;	       /* the kernel's number */
	unsigned int logical;	       /* hwloc's number: neighbours are close together */
	unsigned int group[TM_LEVELS]; /* 0 .. groups[level] - 1, in logical order */
	int node;		       /* the kernel's number of its memory node, -1: unknown */
	int kind;		       /* hwloc's kind of core, -1: unknown or all alike */
};

struct tm_topo {
	hwloc_topology_t hwloc;
	unsigned int cpus;
	struct tm_pu *pu; /* [cpus], ascending by os */
	unsigned int groups[TM_LEVELS];
	hwloc_bitmap_t cpuset; /* of pu[] */
	hwloc_bitmap_t nodes;  /* memory nodes that may be used */
	int *index_of;	       /* [index_count], by os; -1: not usable */
	unsigned int index_count;
};

/* Index into pu[], or -1. */
static inline int tm_topo_index(const struct tm_topo *t, unsigned int cpu)
{
	return cpu < t->index_count ? t->index_of[cpu] : -1;
}

static inline enum tm_distance tm_pu_distance(const struct tm_pu *a, const struct tm_pu *b)
{
	if (a->group[TM_LEVEL_CORE] == b->group[TM_LEVEL_CORE])
		return TM_DISTANCE_SMT;
	if (a->group[TM_LEVEL_CACHE] == b->group[TM_LEVEL_CACHE])
		return TM_DISTANCE_CACHE;
	if (a->group[TM_LEVEL_PACKAGE] == b->group[TM_LEVEL_PACKAGE])
		return TM_DISTANCE_PACKAGE;
	return TM_DISTANCE_REMOTE;
}

#endif /* TLBMARK_TOPOLOGY_H */
