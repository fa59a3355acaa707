// SPDX-License-Identifier: GPL-3.0-or-later
/* What bouts are drawn: the same for the same seed, of all values, and never what a workload refuses. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bench/stress.h"

enum { BOUTS = 2000 };

static int refuse_33(const struct tm_cell_args *a, char *why, size_t why_size)
{
	if (a->values[0] != 33)
		return 0;
	snprintf(why, why_size, "not 33");
	return -ENOTSUP;
}

static int refuse_all(const struct tm_cell_args *a, char *why, size_t why_size)
{
	(void)a;
	snprintf(why, why_size, "never");
	return -ENOTSUP;
}

static const char *const kinds[] = {"4k", "thp", "hugetlb", NULL};
static const struct tm_param params[] = {
	{.name = "pages",
	 .unit = "pages",
	 .kind = TM_PARAM_UINT,
	 .min = 1,
	 .max = 1 << 20,
	 .def = "1",
	 .plan = "1,33",
	 .full = "1,2,32..34,512,4096"},
	{.name = "kind", .unit = "", .kind = TM_PARAM_CHOICE, .choices = kinds, .def = "4k"},
	{.name = NULL},
};
static const struct tm_param settings[] = {
	{.name = "mode", .unit = "", .kind = TM_PARAM_CHOICE, .choices = kinds, .def = "thp"},
	{.name = NULL},
};
/* As often: all pairs of them are not seen by going round both. */
static const char *const hows[] = {"a", "b", "c", "d", "e", "f", NULL};
static const struct tm_param both[] = {
	{.name = "kind", .unit = "", .kind = TM_PARAM_CHOICE, .choices = kinds, .def = "4k"},
	{.name = "how", .unit = "", .kind = TM_PARAM_CHOICE, .choices = hows, .def = "a"},
	{.name = NULL},
};
/* The second and the third as often as each other. */
static const char *const letters[] = {"x", "y", NULL};
static const struct tm_param three[] = {
	{.name = "kind", .unit = "", .kind = TM_PARAM_CHOICE, .choices = kinds, .def = "4k"},
	{.name = "one", .unit = "", .kind = TM_PARAM_CHOICE, .choices = letters, .def = "x"},
	{.name = "other", .unit = "", .kind = TM_PARAM_CHOICE, .choices = letters, .def = "x"},
	{.name = NULL},
};
static const struct tm_workload triples = {.name = "triples", .params = three};
static const struct tm_workload pairs = {.name = "pairs", .params = both};
static const struct tm_workload setting = {.name = "setting", .params = settings};
static const struct tm_workload path = {.name = "path", .params = params, .probe_cell = refuse_33};
static const struct tm_workload any = {.name = "any", .params = params};
static const struct tm_workload never = {
	.name = "never", .params = params, .probe_cell = refuse_all};
static const struct tm_workload itself = {
	.name = "itself", .all_initiate = true, .self_checking = true};
/* As mremap: the last kind goes with the first way only. */
static const char *const three_kinds[] = {"4k", "thp", "hugetlb", NULL};
static const char *const four_kinds[] = {"4k", "4k-pmd", "thp", "hugetlb", NULL};
static const char *const five_kinds[] = {"4k", "4k-pmd", "thp", "thp-part", "hugetlb", NULL};
static const char *const ways[] = {"move", "dontunmap", "grow", NULL};
static const struct tm_param picky_params[][3] = {
	{{.name = "kind", .unit = "", .kind = TM_PARAM_CHOICE, .choices = three_kinds, .def = "4k"},
	 {.name = "how", .unit = "", .kind = TM_PARAM_CHOICE, .choices = ways, .def = "move"}},
	{{.name = "kind", .unit = "", .kind = TM_PARAM_CHOICE, .choices = four_kinds, .def = "4k"},
	 {.name = "how", .unit = "", .kind = TM_PARAM_CHOICE, .choices = ways, .def = "move"}},
	{{.name = "kind", .unit = "", .kind = TM_PARAM_CHOICE, .choices = five_kinds, .def = "4k"},
	 {.name = "how", .unit = "", .kind = TM_PARAM_CHOICE, .choices = ways, .def = "move"}},
};

static int refuse_together(const struct tm_cell_args *a, char *why, size_t why_size)
{
	const char *kind = a->workload->params[0].choices[a->values[0]];

	if (strcmp(kind, "hugetlb") || !a->values[1])
		return 0;
	snprintf(why, why_size, "hugetlb is only moved");
	return -ENOTSUP;
}

const struct tm_workload *const tm_workloads[] = {&path, NULL};

static struct tm_topo *machine(void)
{
	struct tm_topo *t = NULL;
	char why[256];

	assert_int_equal(tm_topo_load("synthetic:pack:2 core:2 pu:2", &t, why, sizeof(why)), 0);
	return t;
}

static int draw(const struct tm_topo *t, const struct tm_workload *w, uint64_t seed, uint64_t visit,
		struct tm_cell *c, char why[256])
{
	const struct tm_stress_source from = {.topo = t, .seed = seed, .patient = true};

	return tm_stress_draw(&from, w, visit, c, why, 256);
}

static void draws_all_and_the_same(void **state)
{
	struct tm_topo *t = machine();
	unsigned int pages[8192] = {0}, kind[3] = {0}, states[TM_STATES] = {0}, from[8] = {0};
	unsigned int responders[8] = {0}, differ = 0;
	char why[256];

	(void)state;
	for (uint64_t visit = 0; visit < BOUTS; visit++) {
		struct tm_cell c, again, other;

		assert_int_equal(draw(t, &path, 7, visit, &c, why), 0);
		assert_int_equal(draw(t, &path, 7, visit, &again, why), 0);
		assert_int_equal(draw(t, &path, 8, visit, &other, why), 0);
		assert_memory_equal(&c.args, &again.args, sizeof(c.args));
		assert_int_equal(c.state, again.state);
		assert_int_equal(c.placement.initiator_cpu[0], again.placement.initiator_cpu[0]);
		differ += c.args.seed != other.args.seed;
		assert_true(c.verify && c.verify_only);
		assert_int_equal(c.args.initiators, 1);
		assert_in_range(c.args.responders, 1, 7);
		assert_true(c.args.values[0] <= 512);
		pages[c.args.values[0]]++;
		kind[c.args.values[1]]++;
		states[c.state]++;
		from[c.placement.initiator_cpu[0]]++;
		responders[c.args.responders]++;
		tm_placement_free(&c.placement);
		tm_placement_free(&again.placement);
		tm_placement_free(&other.placement);
	}
	assert_int_equal(differ, BOUTS);
	assert_int_equal(pages[33], 0);
	assert_true(pages[1] && pages[2] && pages[32] && pages[34] && pages[512]);
	/* Large ones seldom. */
	assert_true(pages[512] * 10 < BOUTS);
	for (int i = 0; i < 3; i++)
		assert_in_range(kind[i], BOUTS / 4, BOUTS / 2);
	for (int i = 0; i < 8; i++)
		assert_in_range(from[i], BOUTS / 16, BOUTS / 4);
	assert_in_range(responders[1], BOUTS / 2, 2 * BOUTS / 3);
	assert_in_range(responders[7], BOUTS / 5, BOUTS / 3);
	assert_true(states[TM_STATE_SPIN] > states[TM_STATE_IDLE] && states[TM_STATE_IDLE] &&
		    states[TM_STATE_TOUCH] && states[TM_STATE_KERNEL]);
	assert_int_equal(states[TM_STATE_FOREIGN] + states[TM_STATE_NONE], 0);
	tm_topo_free(t);
}

static void two_or_all_cpus_initiate(void **state)
{
	struct tm_topo *t = machine();
	unsigned int initiators[9] = {0};
	char why[256];

	(void)state;
	for (uint64_t visit = 0; visit < BOUTS; visit++) {
		struct tm_cell c;

		assert_int_equal(draw(t, &itself, 7, visit, &c, why), 0);
		assert_int_equal(c.args.responders, 0);
		assert_int_equal(c.state, TM_STATE_NONE);
		assert_false(c.verify_only);
		initiators[c.args.initiators]++;
		tm_placement_free(&c.placement);
	}
	assert_int_equal(initiators[2] + initiators[8], BOUTS);
	assert_in_range(initiators[2], 2 * BOUTS / 5, 3 * BOUTS / 5);
	tm_topo_free(t);
}

/* Every three visits have all three kinds, and huge pages are few. */
static void kinds_take_turns(void **state)
{
	struct tm_topo *t = machine();
	unsigned int orders[27] = {0}, different = 0, huge = 0, many = 0;
	char why[256];

	(void)state;
	for (uint64_t turn = 0; turn < BOUTS / 3; turn++) {
		unsigned int seen = 0, order = 0;

		for (uint64_t visit = 3 * turn; visit < 3 * turn + 3; visit++) {
			struct tm_cell c;

			assert_int_equal(draw(t, &any, 7, visit, &c, why), 0);
			seen |= 1u << c.args.values[1];
			order = 3 * order + (unsigned int)c.args.values[1];
			assert_true(!c.args.values[1] || c.args.values[0] <= 64);
			huge += c.args.values[1] != 0;
			many += c.args.values[1] != 0 && c.args.values[0] > 4;
			tm_placement_free(&c.placement);
		}
		assert_int_equal(seen, 7);
		orders[order]++;
	}
	assert_true(many && many * 5 < huge);
	for (int i = 0; i < 27; i++)
		different += orders[i] > 0;
	assert_int_equal(different, 6);
	tm_topo_free(t);
}

/* And every eighteen all pairs of three kinds and six ways. */
static void pairs_take_turns(void **state)
{
	struct tm_topo *t = machine();
	char why[256];

	(void)state;
	assert_int_equal(tm_stress_ways(&pairs), 18);
	assert_int_equal(tm_stress_ways(&any), 3);
	assert_int_equal(tm_stress_ways(&itself), 1);
	for (uint64_t turn = 0; turn < BOUTS / 18; turn++) {
		unsigned int seen = 0;

		for (uint64_t visit = 18 * turn; visit < 18 * turn + 18; visit++) {
			struct tm_cell c;

			assert_int_equal(draw(t, &pairs, 7, visit, &c, why), 0);
			seen |= 1u << (6 * c.args.values[0] + c.args.values[1]);
			tm_placement_free(&c.placement);
		}
		assert_int_equal(seen, (1u << 18) - 1);
	}
	tm_topo_free(t);
}

/* Of three parameters all that there is, in as many visits. */
static void triples_take_turns(void **state)
{
	struct tm_topo *t = machine();
	char why[256];

	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++) {
		unsigned int seen = 0;

		for (uint64_t visit = 0; visit < 12; visit++) {
			struct tm_cell c;

			assert_int_equal(draw(t, &triples, seed, visit, &c, why), 0);
			seen |= 1u
				<< (4 * c.args.values[0] + 2 * c.args.values[1] + c.args.values[2]);
			tm_placement_free(&c.placement);
		}
		assert_int_equal(seen, (1u << 12) - 1);
	}
	tm_topo_free(t);
}

/* In the first two rounds of an order of all pairs of n kinds and three ways there are all kinds. */
static void all_kinds_in_two_rounds(const struct tm_topo *t, const struct tm_workload *w,
				    unsigned int n, uint64_t seed)
{
	char why[256];

	for (uint64_t begin = 0; begin < UINT64_C(10) * 3 * n; begin += UINT64_C(3) * n) {
		unsigned int seen = 0;

		for (uint64_t visit = begin; visit < begin + UINT64_C(2) * n; visit++) {
			struct tm_cell c;

			assert_int_equal(draw(t, w, seed, visit, &c, why), 0);
			seen |= 1u << c.args.values[0];
			tm_placement_free(&c.placement);
		}
		assert_int_equal(seen, (1u << n) - 1);
	}
}

/* What goes with few others is not passed over. */
static void refused_ones_take_turns(void **state)
{
	struct tm_topo *t = machine();

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		const struct tm_workload picky = {
			.name = "picky", .params = picky_params[i], .probe_cell = refuse_together};

		for (uint64_t seed = 0; seed < 50; seed++)
			all_kinds_in_two_rounds(t, &picky, 3 + i, seed);
	}
	tm_topo_free(t);
}

/* Whatever the seed: def, then the others, and later any. */
static void the_machine_as_it_is_first(void **state)
{
	struct tm_topo *t = machine();
	unsigned int second[3] = {0}, fourth[3] = {0};
	char why[256];

	(void)state;
	for (uint64_t seed = 0; seed < 60; seed++) {
		unsigned int seen = 0;

		for (uint64_t visit = 0; visit < 4; visit++) {
			struct tm_cell c;

			assert_int_equal(draw(t, &setting, seed, visit, &c, why), 0);
			assert_true(visit || c.args.values[0] == 1);
			if (visit < 3)
				seen |= 1u << c.args.values[0];
			second[c.args.values[0]] += visit == 1;
			fourth[c.args.values[0]] += visit == 3;
			tm_placement_free(&c.placement);
		}
		assert_int_equal(seen, 7);
	}
	assert_true(second[0] && second[2]);
	assert_true(fourth[0] && fourth[1] && fourth[2]);
	tm_topo_free(t);
}

/* Another workload's visits are others, though the seed is one. */
static void workloads_differ(void **state)
{
	struct tm_topo *t = machine();
	unsigned int differ = 0;
	char why[256];

	(void)state;
	for (uint64_t visit = 0; visit < 16; visit++) {
		struct tm_cell c, other;

		assert_int_equal(draw(t, &any, 7, visit, &c, why), 0);
		assert_int_equal(draw(t, &path, 7, visit, &other, why), 0);
		differ += c.args.seed != other.args.seed;
		/* The first ones are small. */
		assert_true(c.args.responders == 1 || c.state == TM_STATE_IDLE);
		assert_true(c.args.values[0] <= 64);
		assert_true(visit || c.state == TM_STATE_SPIN);
		assert_true(visit > 4 || (visit == 4) == (c.state == TM_STATE_IDLE));
		tm_placement_free(&c.placement);
		tm_placement_free(&other.placement);
	}
	assert_int_equal(differ, 16);
	tm_topo_free(t);
}

/* Where the workload needs a CPU more they leave it one, at first. */
static void responders_sleep_first(void **state)
{
	const struct tm_workload two = {.name = "two", .second_thread = true};
	struct tm_topo *t = machine();
	unsigned int states[TM_STATES] = {0};
	char why[256];

	(void)state;
	for (uint64_t visit = 0; visit < 5; visit++) {
		struct tm_cell c;

		assert_int_equal(draw(t, &two, 7, visit, &c, why), 0);
		assert_true(visit || c.state == TM_STATE_IDLE);
		states[c.state]++;
		tm_placement_free(&c.placement);
	}
	assert_true(states[TM_STATE_SPIN] == 2 && states[TM_STATE_IDLE] == 1);
	tm_topo_free(t);
}

static void says_what_is_never_drawn(void **state)
{
	struct tm_topo *t = machine();
	struct tm_cell c;
	char why[256] = "";

	(void)state;
	assert_int_equal(draw(t, &never, 7, 1, &c, why), -ENOTSUP);
	assert_string_equal(why, "never");
	tm_placement_free(&c.placement);
	tm_topo_free(t);
}

static bool is_hugetlb(const struct tm_cell_args *a)
{
	return a->values[1] == 2;
}

static void what_waits_is_drawn_by_the_patient(void **state)
{
	const struct tm_workload waits = {
		.name = "waits", .params = params, .patient_cell = is_hugetlb};
	struct tm_topo *t = machine();
	unsigned int kind[2][3] = {{0}};
	char why[256];

	(void)state;
	for (uint64_t visit = 0; visit < 2 * 30; visit++) {
		const struct tm_stress_source from = {.topo = t, .seed = 7, .patient = visit % 2};
		struct tm_cell c;

		assert_int_equal(tm_stress_draw(&from, &waits, visit / 2, &c, why, sizeof(why)), 0);
		kind[visit % 2][c.args.values[1]]++;
		tm_placement_free(&c.placement);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(kind[1][i], 10);
	assert_int_equal(kind[0][2], 0);
	assert_true(kind[0][0] >= 10 && kind[0][1] >= 10);
	tm_topo_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(draws_all_and_the_same),
		cmocka_unit_test(two_or_all_cpus_initiate),
		cmocka_unit_test(kinds_take_turns),
		cmocka_unit_test(pairs_take_turns),
		cmocka_unit_test(triples_take_turns),
		cmocka_unit_test(refused_ones_take_turns),
		cmocka_unit_test(the_machine_as_it_is_first),
		cmocka_unit_test(workloads_differ),
		cmocka_unit_test(responders_sleep_first),
		cmocka_unit_test(says_what_is_never_drawn),
		cmocka_unit_test(what_waits_is_drawn_by_the_patient),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
