/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who sits where: hwloc's topology in, CPU numbers out. Nothing here pins a
 * thread or reads the machine, except tm_topo_load() of the live one.
 */
#ifndef TLBMARK_PLACEMENT_H
#define TLBMARK_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>

/* Closest first. A CPU's class is the closest thing it shares with the initiator. */
enum tm_distance {
	TM_DISTANCE_SMT,     /* another hardware thread of the same core */
	TM_DISTANCE_CACHE,   /* same last-level cache, other core */
	TM_DISTANCE_PACKAGE, /* same package, no common last-level cache */
	TM_DISTANCE_REMOTE,  /* another package (or node, where packages are not told) */
	TM_DISTANCE_ANY,     /* in a request: no restriction; in an answer: several classes */
	TM_DISTANCES
};

enum tm_order {
	TM_ORDER_COMPACT, /* closest CPUs first */
	TM_ORDER_SPREAD,  /* round robin over packages, then caches, then cores */
};

struct tm_topo; /* opaque, immutable, may be read by any thread */

/*
 * source NULL: this machine, restricted to what the process may use (its
 * affinity mask, to which this adds the isolated CPUs for the
 * calling thread, and its cpuset cgroup). "synthetic:..." an hwloc synthetic
 * description; "xml:PATH" an hwloc XML file. 0, or -errno with the reason in
 * why. *out is freed with tm_topo_free(); NULL is ignored there.
 */
int tm_topo_load(const char *source, struct tm_topo **out, char *why, size_t why_size);
void tm_topo_free(struct tm_topo *t);

unsigned int tm_topo_cpus(const struct tm_topo *t); /* usable CPUs */
/* OS number of usable CPU i (0 .. tm_topo_cpus() - 1), ascending. */
unsigned int tm_topo_cpu(const struct tm_topo *t, unsigned int i);
bool tm_topo_has_cpu(const struct tm_topo *t, unsigned int cpu);
/* Class of `other` seen from `cpu`, both OS numbers and usable, different. */
enum tm_distance tm_topo_distance(const struct tm_topo *t, unsigned int cpu, unsigned int other);
unsigned int tm_topo_nodes(const struct tm_topo *t);
int tm_topo_node_of(const struct tm_topo *t, unsigned int cpu); /* -1: unknown */
/* hwloc's one-line summary and the whole topology as XML; free(), or NULL. */
char *tm_topo_summary(const struct tm_topo *t);
char *tm_topo_xml(const struct tm_topo *t);

/*
 * Those usable CPUs that the kernel keeps work away from (isolcpus=,
 * nohz_full=), ascending, as an array to free(); returns how many. Reads the
 * running machine.
 */
unsigned int tm_topo_isolated(const struct tm_topo *t, unsigned int **cpus);
/* The same, of them those whose timer tick stops (nohz_full=). */
unsigned int tm_topo_nohz_full(const struct tm_topo *t, unsigned int **cpus);

struct tm_place_request {
	unsigned int initiators;   /* >= 1 */
	unsigned int responders;   /* 0 .. */
	enum tm_distance distance; /* of every responder from the first initiator */
	enum tm_order order;
	int initiator_cpu; /* OS number, or -1: chosen (housekeeping, not isolated, not CPU 0's choice alone) */
	const unsigned int *avoid; /* CPUs not to use (isolated ones, say) */
	unsigned int avoid_count;
	const unsigned int *only; /* responders come from these alone, if not NULL */
	unsigned int only_count;
	int memory_node; /* -1: the initiator's own */
};

struct tm_placement {
	unsigned int initiators, responders;
	unsigned int *initiator_cpu;	      /* [initiators] */
	unsigned int *responder_cpu;	      /* [responders] */
	enum tm_distance *responder_distance; /* [responders], from initiator 0 */
	enum tm_distance distance;	      /* the one class of all, or TM_DISTANCE_ANY */
	int memory_node;		      /* -1: machine without NUMA */
};

/*
 * Fills *out (tm_placement_free() ends it). All CPUs in it are distinct. Same
 * request, same answer. -ERANGE with one line in why when there are not
 * enough CPUs of that class: how many there are and what to ask for instead.
 */
int tm_place(const struct tm_topo *t, const struct tm_place_request *r, struct tm_placement *out,
	     char *why, size_t why_size);
void tm_placement_free(struct tm_placement *p);

const char *tm_distance_name(enum tm_distance d); /* "smt", "cache", "package", "remote", "any" */
int tm_distance_parse(const char *name, enum tm_distance *out); /* -EINVAL */
const char *tm_order_name(enum tm_order o);
int tm_order_parse(const char *name, enum tm_order *out);

#endif /* TLBMARK_PLACEMENT_H */
