/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The choice of CPUs. Rules, in this order:
 *
 *  1. The first initiator is the CPU asked for, else the lowest-numbered one
 *     that is not to be avoided and has enough responders of the class asked
 *     for (CPU 0 may be the one whose sibling is offline).
 *  2. Responders choose next, because their distance is what is measured:
 *     from `only` if given (even if those are to be avoided by all others),
 *     else from all that are not to be avoided.
 *  3. Further initiators take what is left and not to be avoided.
 *  4. On hybrid machines both keep to the first initiator's kind of core if
 *     that kind has enough of them; else kinds are mixed, as if alike.
 *
 * Sorting is all that is done for each CPU, so thousands of them cost
 * milliseconds.
 */
#include "topology.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const distance_names[TM_DISTANCES] = {"smt", "cache", "package", "remote",
							 "any"};
static const char *const order_names[] = {"compact", "spread"};

enum { MAY_INITIATE = 1, MAY_RESPOND = 2, TAKEN = 4 };

/* One CPU that may be chosen, with the keys it is sorted by. */
struct candidate {
	const struct tm_pu *pu;
	unsigned int key[4]; /* most significant first */
};

struct chooser {
	const struct tm_topo *topo;
	const struct tm_place_request *request;
	unsigned char *state;		       /* [cpus], MAY_* and TAKEN, by index */
	struct candidate *candidate;	       /* [cpus] */
	const struct tm_pu *first;	       /* initiator */
	unsigned int responders[TM_DISTANCES]; /* how many `first` could have, by class */
};

static int by_key(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	int i;

	for (i = 0; i < 4; i++)
		if (x->key[i] != y->key[i])
			return x->key[i] < y->key[i] ? -1 : 1;
	return 0;
}

static void sort(struct candidate *c, unsigned int count)
{
	qsort(c, count, sizeof(*c), by_key);
}

/* Closest first: by class, then by how deep in the tree they still are together, then in order. */
static void order_compact(const struct chooser *ch, struct candidate *c, unsigned int count)
{
	hwloc_obj_t common;
	unsigned int i;

	for (i = 0; i < count; i++) {
		common = hwloc_get_common_ancestor_obj(ch->topo->hwloc, ch->first->object,
						       c[i].pu->object);
		c[i].key[0] = tm_pu_distance(ch->first, c[i].pu);
		c[i].key[1] = UINT16_MAX - common->depth;
		c[i].key[2] = c[i].pu->logical;
		c[i].key[3] = 0;
	}
	sort(c, count);
}

/* Numbers the candidates of each group (equal key[0]) by key[1..], from 0, into key[3]. */
static void number_in_group(struct candidate *c, unsigned int count)
{
	unsigned int i, group = 0, number = 0;

	sort(c, count);
	for (i = 0; i < count; i++) {
		number = i && c[i].key[0] == group ? number + 1 : 0;
		group = c[i].key[0];
		c[i].key[3] = number;
	}
}

/*
 * Round robin over packages, in each over its caches, in each over its cores.
 * Bottom up: the n-th CPU of a core is dealt in round n among its cache's
 * cores, that sequence in turn among its package's caches, and so on. The
 * first initiator is dealt along and every level turned so that it comes
 * first: the CPU after it is as far away as there is. candidate 0 is it.
 */
static void order_spread(const struct chooser *ch, struct candidate *c, unsigned int count)
{
	const struct tm_topo *t = ch->topo;
	unsigned int i, total = hwloc_get_nbobjs_by_type(t->hwloc, HWLOC_OBJ_PU);
	int level;

#define TURNED(value, origin, count) (((value) + (count) - (origin)) % (count))
	for (i = 0; i < count; i++) {
		c[i].key[0] = c[i].pu->group[TM_LEVEL_CORE];
		c[i].key[1] = TURNED(c[i].pu->logical, ch->first->logical, total);
		c[i].key[2] = c[i].key[3] = 0;
	}
	number_in_group(c, count);
	for (level = TM_LEVEL_CORE; level < TM_LEVELS; level++) {
		for (i = 0; i < count; i++) {
			c[i].key[0] = level + 1 < TM_LEVELS ? c[i].pu->group[level + 1] : 0;
			c[i].key[1] = c[i].key[3];
			c[i].key[2] = TURNED(c[i].pu->group[level], ch->first->group[level],
					     t->groups[level]);
			c[i].key[3] = 0;
		}
		number_in_group(c, count);
	}
#undef TURNED
}

/*
 * Takes `wanted` CPUs for which `may` is set and whose class is `distance`.
 * Returns how many there were to choose from; fewer than wanted: none taken.
 */
static unsigned int choose(struct chooser *ch, unsigned char may, enum tm_distance distance,
			   unsigned int wanted, unsigned int *out)
{
	const struct tm_topo *t = ch->topo;
	bool spread = ch->request->order == TM_ORDER_SPREAD;
	unsigned int i, count, alike, skip = spread ? 1 : 0;
	struct candidate *c = ch->candidate;

	c[0].pu = ch->first;
	for (i = 0, count = skip, alike = 0; i < t->cpus; i++) {
		if (!(ch->state[i] & may) || ch->state[i] & TAKEN)
			continue;
		if (distance != TM_DISTANCE_ANY && tm_pu_distance(ch->first, &t->pu[i]) != distance)
			continue;
		alike += t->pu[i].kind == ch->first->kind;
		c[count++].pu = &t->pu[i];
	}
	if (count - skip < wanted)
		return count - skip;
	if (alike >= wanted && alike < count - skip) {
		for (i = skip, count = skip; count - skip < alike; i++)
			if (c[i].pu->kind == ch->first->kind)
				c[count++].pu = c[i].pu;
	}
	if (spread)
		order_spread(ch, c, count);
	else
		order_compact(ch, c, count);
	for (i = 0; i < wanted; i++) {
		out[i] = c[i + skip].pu->os;
		ch->state[tm_topo_index(t, out[i])] |= TAKEN;
	}
	return count - skip;
}

/* Marks who may do what. Numbers that are not usable CPUs mean nothing here. */
static void mark(struct chooser *ch)
{
	const struct tm_place_request *r = ch->request;
	unsigned int i;
	int at;

	memset(ch->state, r->only ? MAY_INITIATE : MAY_INITIATE | MAY_RESPOND, ch->topo->cpus);
	for (i = 0; i < r->avoid_count; i++) {
		at = tm_topo_index(ch->topo, r->avoid[i]);
		if (at >= 0)
			ch->state[at] = 0;
	}
	for (i = 0; r->only && i < r->only_count; i++) {
		at = tm_topo_index(ch->topo, r->only[i]);
		if (at >= 0)
			ch->state[at] |= MAY_RESPOND;
	}
}

/* How many responders of each class each CPU could have, from the size of its groups. */
struct census {
	unsigned int *members[TM_LEVELS]; /* of each group: CPUs that may respond */
	unsigned int all;
};

static int take_census(const struct chooser *ch, struct census *census)
{
	const struct tm_topo *t = ch->topo;
	unsigned int i;
	int level;

	memset(census, 0, sizeof(*census));
	for (level = 0; level < TM_LEVELS; level++) {
		census->members[level] = calloc(t->groups[level], sizeof(unsigned int));
		if (!census->members[level])
			return -ENOMEM;
	}
	for (i = 0; i < t->cpus; i++) {
		if (!(ch->state[i] & MAY_RESPOND))
			continue;
		census->all++;
		for (level = 0; level < TM_LEVELS; level++)
			census->members[level][t->pu[i].group[level]]++;
	}
	return 0;
}

static void free_census(struct census *census)
{
	int level;

	for (level = 0; level < TM_LEVELS; level++)
		free(census->members[level]);
}

static void responders_of(const struct chooser *ch, const struct census *census, unsigned int index,
			  unsigned int count[TM_DISTANCES])
{
	const struct tm_pu *pu = &ch->topo->pu[index];
	unsigned int self = !!(ch->state[index] & MAY_RESPOND);
	unsigned int core = census->members[TM_LEVEL_CORE][pu->group[TM_LEVEL_CORE]];
	unsigned int cache = census->members[TM_LEVEL_CACHE][pu->group[TM_LEVEL_CACHE]];
	unsigned int package = census->members[TM_LEVEL_PACKAGE][pu->group[TM_LEVEL_PACKAGE]];

	count[TM_DISTANCE_SMT] = core - self;
	count[TM_DISTANCE_CACHE] = cache - core;
	count[TM_DISTANCE_PACKAGE] = package - cache;
	count[TM_DISTANCE_REMOTE] = census->all - package;
	count[TM_DISTANCE_ANY] = census->all - self;
}

/*
 * Finds the first initiator: `first` and `responders`. Where none has enough
 * responders it is the one with the most, for the error to speak of.
 */
static int choose_first(struct chooser *ch, char *why, size_t why_size)
{
	const struct tm_place_request *r = ch->request;
	const struct tm_topo *t = ch->topo;
	unsigned int i, count[TM_DISTANCES];
	struct census census;
	char list[96];
	int at, rc;

	rc = take_census(ch, &census);
	if (rc) {
		snprintf(why, why_size, "out of memory");
		goto out;
	}
	if (r->initiator_cpu >= 0) {
		at = tm_topo_index(t, r->initiator_cpu);
		if (at < 0) {
			hwloc_bitmap_list_snprintf(list, sizeof(list), t->cpuset);
			snprintf(why, why_size,
				 "CPU %d cannot be the initiator: usable CPUs are %s",
				 r->initiator_cpu, list);
			rc = -EINVAL;
			goto out;
		}
		ch->first = &t->pu[at];
		responders_of(ch, &census, at, ch->responders);
		goto out;
	}
	for (i = 0; i < t->cpus; i++) {
		if (!(ch->state[i] & MAY_INITIATE))
			continue;
		responders_of(ch, &census, i, count);
		if (ch->first && count[r->distance] <= ch->responders[r->distance])
			continue;
		ch->first = &t->pu[i];
		memcpy(ch->responders, count, sizeof(count));
		if (count[r->distance] >= r->responders)
			break;
	}
	if (!ch->first) {
		snprintf(
			why, why_size,
			"no CPU is left for the initiator: all %u usable ones are to be avoided (isolated?); name one with --initiator-cpu",
			t->cpus);
		rc = -ERANGE;
	}
out:
	free_census(&census);
	return rc;
}

static int too_few(const struct chooser *ch, char *why, size_t why_size)
{
	const struct tm_place_request *r = ch->request;
	const unsigned int *n = ch->responders;
	char ask[64] = "use a machine or cpuset with more CPUs";

	if (n[r->distance])
		snprintf(ask, sizeof(ask), "ask for at most %u", n[r->distance]);
	else if (n[TM_DISTANCE_ANY])
		snprintf(ask, sizeof(ask), "ask for --distance any and at most %u",
			 n[TM_DISTANCE_ANY]);
	snprintf(
		why, why_size,
		"%u responders of class %s wanted, %u there: CPU %u sees %u smt, %u cache, %u package, %u remote%s: %s",
		r->responders, tm_distance_name(r->distance), n[r->distance], ch->first->os,
		n[TM_DISTANCE_SMT], n[TM_DISTANCE_CACHE], n[TM_DISTANCE_PACKAGE],
		n[TM_DISTANCE_REMOTE], r->only ? " among the CPUs named for responders" : "", ask);
	return -ERANGE;
}

static int choose_node(const struct chooser *ch, int *node, char *why, size_t why_size)
{
	const struct tm_topo *t = ch->topo;
	char list[96];

	*node = ch->request->memory_node;
	if (*node < 0) {
		*node = ch->first->node;
		return 0;
	}
	if (hwloc_bitmap_isset(t->nodes, *node))
		return 0;
	hwloc_bitmap_list_snprintf(list, sizeof(list), t->nodes);
	snprintf(why, why_size, "memory node %d cannot be used: %s%s", *node,
		 list[0] ? "usable nodes are " : "this machine has no NUMA nodes", list);
	return -EINVAL;
}

static int fill(struct chooser *ch, struct tm_placement *out, char *why, size_t why_size)
{
	const struct tm_place_request *r = ch->request;
	unsigned int i, left;
	int rc;

	rc = choose_first(ch, why, why_size);
	if (rc)
		return rc;
	rc = choose_node(ch, &out->memory_node, why, why_size);
	if (rc)
		return rc;
	out->initiator_cpu[0] = ch->first->os;
	ch->state[ch->first - ch->topo->pu] |= TAKEN;
	if (ch->responders[r->distance] < r->responders)
		return too_few(ch, why, why_size);
	choose(ch, MAY_RESPOND, r->distance, r->responders, out->responder_cpu);
	left = choose(ch, MAY_INITIATE, TM_DISTANCE_ANY, r->initiators - 1, out->initiator_cpu + 1);
	if (left < r->initiators - 1) {
		snprintf(
			why, why_size,
			"%u initiators wanted, %u CPUs left beside %u responders: ask for at most %u initiators or fewer responders",
			r->initiators, left + 1, r->responders, left + 1);
		return -ERANGE;
	}
	out->distance = r->responders ? TM_DISTANCES : TM_DISTANCE_ANY;
	for (i = 0; i < r->responders; i++) {
		out->responder_distance[i] =
			tm_topo_distance(ch->topo, out->initiator_cpu[0], out->responder_cpu[i]);
		if (out->distance == TM_DISTANCES)
			out->distance = out->responder_distance[i];
		else if (out->distance != out->responder_distance[i])
			out->distance = TM_DISTANCE_ANY;
	}
	return 0;
}

static int check_request(const struct tm_topo *t, const struct tm_place_request *r, char *why,
			 size_t why_size)
{
	if (r->initiators && r->initiators <= t->cpus && r->responders < t->cpus)
		return 0;
	if (!r->initiators)
		snprintf(why, why_size, "0 initiators wanted: at least one must operate");
	else if (r->initiators > t->cpus)
		snprintf(why, why_size, "%u initiators wanted, %u usable CPUs: ask for at most %u",
			 r->initiators, t->cpus, t->cpus);
	else if (t->cpus == 1)
		snprintf(
			why, why_size,
			"%u responders wanted, but there is one usable CPU, the initiator's: ask for --responders 0",
			r->responders);
	else
		snprintf(
			why, why_size,
			"%u responders wanted, %u usable CPUs of which one initiates: ask for at most %u",
			r->responders, t->cpus, t->cpus - 1);
	return r->initiators ? -ERANGE : -EINVAL;
}

int tm_place(const struct tm_topo *t, const struct tm_place_request *r, struct tm_placement *out,
	     char *why, size_t why_size)
{
	struct chooser ch = {.topo = t, .request = r};
	int rc;

	memset(out, 0, sizeof(*out));
	if (why_size)
		why[0] = '\0';
	rc = check_request(t, r, why, why_size);
	if (rc)
		return rc;
	ch.state = malloc(t->cpus);
	ch.candidate = calloc(t->cpus, sizeof(*ch.candidate));
	out->initiators = r->initiators;
	out->responders = r->responders;
	out->initiator_cpu = calloc(r->initiators, sizeof(*out->initiator_cpu));
	out->responder_cpu = calloc(r->responders + 1, sizeof(*out->responder_cpu));
	out->responder_distance = calloc(r->responders + 1, sizeof(*out->responder_distance));
	if (!ch.state || !ch.candidate || !out->initiator_cpu || !out->responder_cpu ||
	    !out->responder_distance) {
		snprintf(why, why_size, "out of memory");
		rc = -ENOMEM;
	} else {
		mark(&ch);
		rc = fill(&ch, out, why, why_size);
	}
	free(ch.candidate);
	free(ch.state);
	if (rc)
		tm_placement_free(out);
	return rc;
}

void tm_placement_free(struct tm_placement *p)
{
	free(p->initiator_cpu);
	free(p->responder_cpu);
	free(p->responder_distance);
	memset(p, 0, sizeof(*p));
}

const char *tm_distance_name(enum tm_distance d)
{
	return (unsigned int)d < TM_DISTANCES ? distance_names[d] : "unknown";
}

int tm_distance_parse(const char *name, enum tm_distance *out)
{
	int i;

	for (i = 0; i < TM_DISTANCES; i++) {
		if (!strcmp(name, distance_names[i])) {
			*out = i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *tm_order_name(enum tm_order o)
{
	return o == TM_ORDER_SPREAD ? order_names[TM_ORDER_SPREAD] : order_names[TM_ORDER_COMPACT];
}

int tm_order_parse(const char *name, enum tm_order *out)
{
	int i;

	for (i = TM_ORDER_COMPACT; i <= TM_ORDER_SPREAD; i++) {
		if (!strcmp(name, order_names[i])) {
			*out = i;
			return 0;
		}
	}
	return -EINVAL;
}
