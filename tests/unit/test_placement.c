/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Placement on machines from 1 to 4,096 CPUs, none of which is here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../bench/placement.h"

/* 4 CPUs: one package, one cache, 2 cores of 2 threads. */
#define SMALL "synthetic:pack:1 [numa] l3:1 core:2 pu:2"
/* 16 CPUs: 2 packages, in each 2 caches of 2 cores of 2 threads. */
#define MEDIUM "synthetic:pack:2 [numa] l3:2 core:2 pu:2"
/* 256 CPUs as a two-socket EPYC tells them. */
#define EPYC "synthetic:pack:2 [numa] l3:8 l2:8 core:1 pu:2"
/* 64 CPUs, 4 nodes in each of 2 packages, every one with its cache. */
#define SUBNUMA "synthetic:pack:2 group:4 [numa] l3:1 core:4 pu:2"
#define HUGE "synthetic:pack:8 [numa] l3:16 core:16 pu:2"

static char why[256];

static struct tm_topo *load(const char *source)
{
	struct tm_topo *t;
	int rc = tm_topo_load(source, &t, why, sizeof(why));

	if (rc)
		fail_msg("%s: %s", source ? source : "this machine", why);
	return t;
}

static struct tm_topo *load_fixture(const char *name)
{
	const char *srcdir = getenv("srcdir");
	char source[1024];

	snprintf(source, sizeof(source), "xml:%s/tests/fixtures/topology/%s.xml",
		 srcdir ? srcdir : ".", name);
	return load(source);
}

static struct tm_place_request request(unsigned int responders, enum tm_distance distance)
{
	struct tm_place_request r = {
		.initiators = 1,
		.responders = responders,
		.distance = distance,
		.initiator_cpu = -1,
		.memory_node = -1,
	};

	return r;
}

static struct tm_placement place(const struct tm_topo *t, const struct tm_place_request *r)
{
	struct tm_placement p;

	if (tm_place(t, r, &p, why, sizeof(why)))
		fail_msg("%s", why);
	return p;
}

/* What must hold for every answer. */
static void check_answer(const struct tm_topo *t, const struct tm_place_request *r,
			 const struct tm_placement *p)
{
	unsigned char seen[8192] = {0};
	unsigned int i;

	assert_int_equal(p->initiators, r->initiators);
	assert_int_equal(p->responders, r->responders);
	for (i = 0; i < p->initiators + p->responders; i++) {
		unsigned int cpu = i < p->initiators ? p->initiator_cpu[i]
						     : p->responder_cpu[i - p->initiators];

		assert_true(tm_topo_has_cpu(t, cpu));
		assert_false(seen[cpu]++);
	}
	for (i = 0; i < p->responders; i++) {
		enum tm_distance d = tm_topo_distance(t, p->initiator_cpu[0], p->responder_cpu[i]);

		assert_int_equal(p->responder_distance[i], d);
		if (r->distance != TM_DISTANCE_ANY)
			assert_int_equal(d, r->distance);
		if (p->distance != TM_DISTANCE_ANY)
			assert_int_equal(d, p->distance);
	}
	if (r->memory_node < 0)
		assert_int_equal(p->memory_node, tm_topo_node_of(t, p->initiator_cpu[0]));
}

/* Places and compares the responders with a list that a zero (no CPU 0 in it) ends. */
static void expect(const struct tm_topo *t, const struct tm_place_request *r,
		   const unsigned int *cpus)
{
	struct tm_placement p = place(t, r);
	unsigned int i;

	check_answer(t, r, &p);
	for (i = 0; i < r->responders; i++)
		assert_int_equal(p.responder_cpu[i], cpus[i]);
	tm_placement_free(&p);
}

#define EXPECT(t, r, ...) expect(t, r, (const unsigned int[]){__VA_ARGS__})

/* The request fails with `error` and a line that holds `text`; nothing is left in the answer. */
static void refuse(const struct tm_topo *t, const struct tm_place_request *r, int error,
		   const char *text)
{
	struct tm_placement p;

	assert_int_equal(tm_place(t, r, &p, why, sizeof(why)), error);
	if (!strstr(why, text) || strchr(why, '\n'))
		fail_msg("\"%s\" is not one line with \"%s\"", why, text);
	assert_null(p.initiator_cpu);
	assert_int_equal(p.responders, 0);
}

static void test_one_cpu(void **state)
{
	struct tm_topo *t = load("synthetic:pu:1");
	struct tm_place_request r = request(0, TM_DISTANCE_ANY);
	struct tm_placement p = place(t, &r);

	(void)state;
	check_answer(t, &r, &p);
	assert_int_equal(p.initiator_cpu[0], 0);
	assert_int_equal(p.distance, TM_DISTANCE_ANY);
	tm_placement_free(&p);
	r.responders = 1;
	refuse(t, &r, -ERANGE, "one usable CPU");
	tm_topo_free(t);
}

static void test_classes(void **state)
{
	struct tm_topo *t = load(MEDIUM);

	(void)state;
	assert_int_equal(tm_topo_cpus(t), 16);
	assert_int_equal(tm_topo_nodes(t), 2);
	assert_int_equal(tm_topo_distance(t, 0, 1), TM_DISTANCE_SMT);
	assert_int_equal(tm_topo_distance(t, 0, 3), TM_DISTANCE_CACHE);
	assert_int_equal(tm_topo_distance(t, 0, 4), TM_DISTANCE_PACKAGE);
	assert_int_equal(tm_topo_distance(t, 15, 7), TM_DISTANCE_REMOTE);
	assert_int_equal(tm_topo_distance(t, 7, 15), TM_DISTANCE_REMOTE);
	assert_int_equal(tm_topo_node_of(t, 7), 0);
	assert_int_equal(tm_topo_node_of(t, 8), 1);
	assert_int_equal(tm_topo_node_of(t, 16), -1);
	assert_false(tm_topo_has_cpu(t, 16));
	tm_topo_free(t);

	/* Private caches only: nothing is shared but the package. */
	t = load("synthetic:pack:1 l2:4 core:1 pu:1");
	assert_int_equal(tm_topo_distance(t, 0, 1), TM_DISTANCE_PACKAGE);
	tm_topo_free(t);
	/* No cache told at all. */
	t = load("synthetic:pack:2 core:4 pu:1");
	assert_int_equal(tm_topo_distance(t, 0, 3), TM_DISTANCE_PACKAGE);
	assert_int_equal(tm_topo_distance(t, 0, 4), TM_DISTANCE_REMOTE);
	tm_topo_free(t);
	/* No package told: the node takes its place. */
	t = load("synthetic:group:2 [numa] l3:2 core:2 pu:1");
	assert_int_equal(tm_topo_distance(t, 0, 1), TM_DISTANCE_CACHE);
	assert_int_equal(tm_topo_distance(t, 0, 2), TM_DISTANCE_PACKAGE);
	assert_int_equal(tm_topo_distance(t, 0, 4), TM_DISTANCE_REMOTE);
	tm_topo_free(t);
	/* A node inside the cache does not break it. */
	t = load("synthetic:l3:2 group:2 [numa] core:2 pu:1");
	assert_int_equal(tm_topo_distance(t, 0, 2), TM_DISTANCE_CACHE);
	assert_int_equal(tm_topo_distance(t, 0, 4), TM_DISTANCE_REMOTE);
	refuse(t,
	       &(struct tm_place_request){.initiators = 1,
					  .responders = 1,
					  .initiator_cpu = -1,
					  .distance = TM_DISTANCE_PACKAGE,
					  .memory_node = -1},
	       -ERANGE, "CPU 0 sees 0 smt, 3 cache, 0 package, 4 remote");
	tm_topo_free(t);
	/* A cache that packages share is not what makes them near. */
	t = load("synthetic:l4:1 pack:2 l3:1 core:2 pu:1");
	assert_int_equal(tm_topo_distance(t, 0, 1), TM_DISTANCE_CACHE);
	assert_int_equal(tm_topo_distance(t, 0, 2), TM_DISTANCE_REMOTE);
	tm_topo_free(t);
	/* Nodes inside a package stay in the package. */
	t = load(SUBNUMA);
	assert_int_equal(tm_topo_distance(t, 0, 8), TM_DISTANCE_PACKAGE);
	assert_int_equal(tm_topo_node_of(t, 8), 1);
	tm_topo_free(t);
}

static void test_compact(void **state)
{
	struct tm_topo *t = load(MEDIUM);
	struct tm_place_request r = request(15, TM_DISTANCE_ANY);

	(void)state;
	EXPECT(t, &r, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	r.initiator_cpu = 13;
	r.responders = 8;
	EXPECT(t, &r, 12, 14, 15, 8, 9, 10, 11, 0);
	r = request(4, TM_DISTANCE_PACKAGE);
	EXPECT(t, &r, 4, 5, 6, 7);
	r = request(2, TM_DISTANCE_REMOTE);
	EXPECT(t, &r, 8, 9);
	tm_topo_free(t);

	/* Of equal class the CPUs of the initiator's own group come first. */
	t = load("synthetic:pack:1 group:2 l3:2 core:2 pu:1");
	r = request(2, TM_DISTANCE_PACKAGE);
	r.initiator_cpu = 6;
	EXPECT(t, &r, 4, 5);
	tm_topo_free(t);
}

static void test_spread(void **state)
{
	struct tm_topo *t = load(MEDIUM);
	struct tm_place_request r = request(15, TM_DISTANCE_ANY);

	(void)state;
	r.order = TM_ORDER_SPREAD;
	/* Packages in turn, in each the caches, in each the cores; siblings last. */
	EXPECT(t, &r, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15);
	r.initiator_cpu = 13;
	r.responders = 5;
	EXPECT(t, &r, 0, 8, 4, 14, 2);
	r = request(4, TM_DISTANCE_REMOTE);
	r.order = TM_ORDER_SPREAD;
	EXPECT(t, &r, 8, 12, 10, 14);
	r = request(3, TM_DISTANCE_CACHE);
	r.order = TM_ORDER_SPREAD;
	r.responders = 2;
	EXPECT(t, &r, 2, 3);
	tm_topo_free(t);
}

/* Every class, order, initiator and number of responders on machines of every shape. */
static void test_properties(void **state)
{
	static const char *const sources[] = {
		"synthetic:pu:2",
		SMALL,
		MEDIUM,
		SUBNUMA,
		"synthetic:pack:3 l3:2 core:3 pu:1",
		"synthetic:pack:2 [numa] l2:3 core:2 pu:4",
	};
	struct tm_place_request r;
	struct tm_placement p, again;
	unsigned int i, cpu, there, placed = 0;
	int d, o, rc;

	(void)state;
	for (i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
		struct tm_topo *t = load(sources[i]);
		unsigned int cpus = tm_topo_cpus(t);

		for (d = 0; d < TM_DISTANCES; d++) {
			for (cpu = 0; cpu < cpus; cpu += 1 + cpus / 7) {
				for (there = 0, o = 0; o < (int)cpus; o++)
					there += (unsigned int)o != cpu &&
						 (d == TM_DISTANCE_ANY ||
						  (int)tm_topo_distance(t, cpu, o) == d);
				for (o = 0; o < 2; o++) {
					r = request(there, d);
					r.order = o;
					r.initiator_cpu = cpu;
					p = place(t, &r);
					again = place(t, &r);
					check_answer(t, &r, &p);
					assert_int_equal(p.initiator_cpu[0], cpu);
					assert_memory_equal(p.responder_cpu, again.responder_cpu,
							    there * sizeof(unsigned int));
					tm_placement_free(&p);
					tm_placement_free(&again);
					placed++;
					r.responders++;
					rc = tm_place(t, &r, &p, why, sizeof(why));
					assert_int_equal(rc, -ERANGE);
				}
			}
		}
		tm_topo_free(t);
	}
	assert_true(placed > 100);
}

static void test_initiators(void **state)
{
	struct tm_topo *t = load(MEDIUM);
	struct tm_place_request r = request(1, TM_DISTANCE_SMT);
	struct tm_placement p;

	(void)state;
	/* Responders choose before further initiators: only CPU 1 is a sibling. */
	r.initiators = 3;
	p = place(t, &r);
	check_answer(t, &r, &p);
	assert_int_equal(p.responder_cpu[0], 1);
	assert_int_equal(p.initiator_cpu[1], 2);
	assert_int_equal(p.initiator_cpu[2], 3);
	tm_placement_free(&p);

	r = request(0, TM_DISTANCE_ANY);
	r.initiators = 16;
	p = place(t, &r);
	check_answer(t, &r, &p);
	tm_placement_free(&p);
	r.order = TM_ORDER_SPREAD;
	p = place(t, &r);
	check_answer(t, &r, &p);
	assert_int_equal(p.initiator_cpu[1], 8);
	tm_placement_free(&p);

	r.responders = 1;
	refuse(t, &r, -ERANGE, "16 initiators wanted, 15 CPUs left beside 1 responder");
	r.initiators = 17;
	refuse(t, &r, -ERANGE, "at most 16");
	r.initiators = 0;
	refuse(t, &r, -EINVAL, "0 initiators");
	tm_topo_free(t);
}

static void test_avoid_and_only(void **state)
{
	static const unsigned int isolated[] = {0, 2, 3, 400};
	struct tm_topo *t = load(MEDIUM);
	struct tm_place_request r = request(3, TM_DISTANCE_ANY);
	struct tm_placement p;
	unsigned int all[16], i;

	(void)state;
	r.avoid = isolated;
	r.avoid_count = 4;
	p = place(t, &r);
	check_answer(t, &r, &p);
	assert_int_equal(p.initiator_cpu[0], 1);
	assert_int_equal(p.responder_cpu[0], 4);
	tm_placement_free(&p);

	/* `only` opens to responders what others avoid. */
	r.only = isolated;
	r.only_count = 4;
	p = place(t, &r);
	check_answer(t, &r, &p);
	assert_int_equal(p.initiator_cpu[0], 1);
	assert_int_equal(p.responder_cpu[0], 0);
	assert_int_equal(p.responder_cpu[2], 3);
	tm_placement_free(&p);
	r.initiators = 2;
	p = place(t, &r);
	assert_int_equal(p.initiator_cpu[1], 4);
	tm_placement_free(&p);
	r.responders = 4;
	refuse(t, &r, -ERANGE, "among the CPUs named");
	r.only_count = 0;
	r.responders = 1;
	refuse(t, &r, -ERANGE, "1 responders of class any wanted, 0 there");

	for (i = 0; i < 16; i++)
		all[i] = i;
	/* Named for responders, a CPU may still initiate. */
	r = request(15, TM_DISTANCE_ANY);
	r.only = all;
	r.only_count = 16;
	p = place(t, &r);
	check_answer(t, &r, &p);
	tm_placement_free(&p);
	r = request(1, TM_DISTANCE_ANY);
	r.avoid = all;
	r.avoid_count = 16;
	refuse(t, &r, -ERANGE, "no CPU is left for the initiator");
	tm_topo_free(t);
}

static void test_errors(void **state)
{
	struct tm_topo *t = load(MEDIUM);
	struct tm_place_request r = request(3, TM_DISTANCE_CACHE);

	(void)state;
	refuse(t, &r, -ERANGE,
	       "3 responders of class cache wanted, 2 there: CPU 0 sees 1 smt, 2 cache, 4 package, 8 remote: ask for at most 2");
	r.responders = 16;
	refuse(t, &r, -ERANGE, "ask for at most 15");
	r = request(1, TM_DISTANCE_ANY);
	r.initiator_cpu = 99;
	refuse(t, &r, -EINVAL, "usable CPUs are 0-15");
	r = request(1, TM_DISTANCE_ANY);
	r.memory_node = 2;
	refuse(t, &r, -EINVAL, "memory node 2 cannot be used: usable nodes are 0-1");
	tm_topo_free(t);

	t = load("synthetic:pack:1 l3:1 core:4 pu:1");
	r = request(1, TM_DISTANCE_REMOTE);
	refuse(t, &r, -ERANGE, "ask for --distance any and at most 3");
	tm_topo_free(t);

	assert_int_equal(tm_topo_load("xml:/nonexistent", &t, why, sizeof(why)), -ENOENT);
	assert_null(t);
	assert_true(tm_topo_load("synthetic:core:", &t, why, sizeof(why)) < 0);
	assert_true(tm_topo_load("somewhere", &t, why, sizeof(why)) == -EINVAL);
	assert_non_null(strstr(why, "somewhere"));
	tm_topo_free(NULL);
}

static void test_memory_node(void **state)
{
	struct tm_topo *t = load(SUBNUMA);
	struct tm_place_request r = request(1, TM_DISTANCE_ANY);
	struct tm_placement p;

	(void)state;
	assert_int_equal(tm_topo_nodes(t), 8);
	r.initiator_cpu = 20;
	p = place(t, &r);
	assert_int_equal(p.memory_node, 2);
	tm_placement_free(&p);
	r.memory_node = 7;
	p = place(t, &r);
	assert_int_equal(p.memory_node, 7);
	tm_placement_free(&p);
	tm_topo_free(t);
}

static void test_offline(void **state)
{
	struct tm_topo *t = load_fixture("offline");
	struct tm_place_request r = request(1, TM_DISTANCE_SMT);
	struct tm_placement p;

	(void)state;
	assert_int_equal(tm_topo_cpus(t), 26);
	assert_false(tm_topo_has_cpu(t, 1));
	assert_false(tm_topo_has_cpu(t, 28));
	assert_int_equal(tm_topo_cpu(t, 1), 2);
	/* CPUs 0 and 2 have lost their siblings: CPU 4 is the first that has one. */
	p = place(t, &r);
	check_answer(t, &r, &p);
	assert_int_equal(p.initiator_cpu[0], 4);
	assert_int_equal(p.responder_cpu[0], 5);
	tm_placement_free(&p);
	r.initiator_cpu = 0;
	refuse(t, &r, -ERANGE, "CPU 0 sees 0 smt, 5 cache, 8 package, 12 remote");
	r.initiator_cpu = 28;
	refuse(t, &r, -EINVAL, "usable CPUs are 0,2,4-27");
	r = request(25, TM_DISTANCE_ANY);
	r.order = TM_ORDER_SPREAD;
	p = place(t, &r);
	check_answer(t, &r, &p);
	tm_placement_free(&p);
	tm_topo_free(t);
}

static void test_hybrid(void **state)
{
	struct tm_topo *t = load_fixture("hybrid");
	struct tm_place_request r = request(7, TM_DISTANCE_ANY);

	(void)state;
	assert_int_equal(tm_topo_cpus(t), 16);
	/* The initiator's kind suffices, whichever it is. */
	EXPECT(t, &r, 1, 2, 3, 4, 5, 6, 7);
	r.order = TM_ORDER_SPREAD;
	EXPECT(t, &r, 2, 4, 6, 1, 3, 5, 7);
	r.initiator_cpu = 8;
	r.responders = 2;
	EXPECT(t, &r, 10, 12);
	r.order = TM_ORDER_COMPACT;
	EXPECT(t, &r, 10, 12);
	/* It does not: kinds are as if alike. */
	r.responders = 8;
	EXPECT(t, &r, 0, 1, 2, 3, 4, 5, 6, 7);
	r = request(7, TM_DISTANCE_CACHE);
	EXPECT(t, &r, 2, 3, 4, 5, 6, 7, 8);
	tm_topo_free(t);
}

static void test_cpuset(void **state)
{
	struct tm_topo *t = load_fixture("cpuset");
	struct tm_place_request r = request(6, TM_DISTANCE_ANY);

	(void)state;
	assert_int_equal(tm_topo_cpus(t), 7);
	assert_int_equal(tm_topo_nodes(t), 1);
	assert_false(tm_topo_has_cpu(t, 3));
	/* No sibling is left to CPU 2. */
	EXPECT(t, &r, 4, 5, 6, 7, 8, 9);
	r.memory_node = 1;
	refuse(t, &r, -EINVAL, "usable nodes are 0");
	r = request(1, TM_DISTANCE_ANY);
	r.initiator_cpu = 8;
	EXPECT(t, &r, 9);
	tm_topo_free(t);
}

static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/* The least CPU time of a few placements of all CPUs of a machine. */
static double placing_seconds(const struct tm_topo *t)
{
	struct tm_place_request r = request(tm_topo_cpus(t) - 1, TM_DISTANCE_ANY);
	double begin, seconds, least = 1e9;
	struct tm_placement p;
	int i;

	r.order = TM_ORDER_SPREAD;
	for (i = 0; i < 5; i++) {
		begin = cpu_seconds();
		p = place(t, &r);
		seconds = cpu_seconds() - begin;
		least = seconds < least ? seconds : least;
		check_answer(t, &r, &p);
		tm_placement_free(&p);
	}
	return least;
}

static void test_huge(void **state)
{
	struct tm_topo *t = load(HUGE), *eighth = load("synthetic:pack:8 [numa] l3:4 core:8 pu:2");
	struct tm_place_request r = request(1024, TM_DISTANCE_ANY);
	struct tm_placement p;
	double begin, seconds;

	(void)state;
	assert_int_equal(tm_topo_cpus(t), 4096);
	begin = cpu_seconds();
	p = place(t, &r);
	seconds = cpu_seconds() - begin;
	check_answer(t, &r, &p);
	tm_placement_free(&p);
	print_message("# 1,024 responders on 4,096 CPUs: %.2f ms\n", 1e3 * seconds);
	assert_true(seconds < 0.5);
	/* 8 times the CPUs: 10 times the work when sorting, 64 times when quadratic. */
	assert_true(placing_seconds(t) < 30 * placing_seconds(eighth));

	r = request(0, TM_DISTANCE_ANY);
	r.initiators = 4096;
	p = place(t, &r);
	check_answer(t, &r, &p);
	tm_placement_free(&p);
	tm_topo_free(eighth);
	tm_topo_free(t);
}

static void test_epyc(void **state)
{
	struct tm_topo *t = load(EPYC);
	struct tm_place_request r = request(14, TM_DISTANCE_CACHE);
	struct tm_placement p;
	unsigned int i, in[16] = {0};

	(void)state;
	p = place(t, &r);
	check_answer(t, &r, &p);
	tm_placement_free(&p);
	/* One CPU in each of the 16 caches before any has two. */
	r = request(15, TM_DISTANCE_ANY);
	r.order = TM_ORDER_SPREAD;
	p = place(t, &r);
	check_answer(t, &r, &p);
	for (i = 0; i < 15; i++)
		assert_int_equal(in[p.responder_cpu[i] / 16]++, 0);
	assert_int_equal(p.distance, TM_DISTANCE_ANY);
	tm_placement_free(&p);
	tm_topo_free(t);
}

/* The live machine: the affinity mask is the limit. */
static void test_live(void **state)
{
	cpu_set_t before, one;
	struct tm_topo *t;
	char *text;
	int last;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	t = load(NULL);
	assert_int_equal(tm_topo_cpus(t), CPU_COUNT(&before));
	last = (int)tm_topo_cpu(t, tm_topo_cpus(t) - 1);
	text = tm_topo_summary(t);
	assert_non_null(strstr(text, "PU:"));
	free(text);
	text = tm_topo_xml(t);
	assert_non_null(strstr(text, "<topology"));
	free(text);
	tm_topo_free(t);

	CPU_ZERO(&one);
	CPU_SET(last, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	t = load(NULL);
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
	assert_int_equal(tm_topo_cpus(t), 1);
	assert_int_equal(tm_topo_cpu(t, 0), last);
	tm_topo_free(t);

	setenv("HWLOC_SYNTHETIC", "pu:4", 1);
	assert_int_equal(tm_topo_load(NULL, &t, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "unset HWLOC_XMLFILE"));
	unsetenv("HWLOC_SYNTHETIC");
}

static void test_names(void **state)
{
	enum tm_distance d;
	enum tm_order o;
	int i;

	(void)state;
	for (i = 0; i < TM_DISTANCES; i++) {
		assert_int_equal(tm_distance_parse(tm_distance_name(i), &d), 0);
		assert_int_equal(d, i);
	}
	assert_string_equal(tm_distance_name(TM_DISTANCE_REMOTE), "remote");
	assert_int_equal(tm_distance_parse("near", &d), -EINVAL);
	for (i = 0; i < 2; i++) {
		assert_int_equal(tm_order_parse(tm_order_name(i), &o), 0);
		assert_int_equal(o, i);
	}
	assert_int_equal(tm_order_parse("", &o), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_cpu),	       cmocka_unit_test(test_classes),
		cmocka_unit_test(test_compact),	       cmocka_unit_test(test_spread),
		cmocka_unit_test(test_properties),     cmocka_unit_test(test_initiators),
		cmocka_unit_test(test_avoid_and_only), cmocka_unit_test(test_errors),
		cmocka_unit_test(test_memory_node),    cmocka_unit_test(test_offline),
		cmocka_unit_test(test_hybrid),	       cmocka_unit_test(test_cpuset),
		cmocka_unit_test(test_epyc),	       cmocka_unit_test(test_huge),
		cmocka_unit_test(test_live),	       cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
