// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Lists as people write them, and plans: on made-up machines and with
 * workloads of the test's own (tm_workloads below stands for the registry).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "bench/plan.h"

static int refuse(char *why, size_t why_size)
{
	snprintf(why, why_size, "there is no such thing here");
	return -ENOTSUP;
}

static int refuse_large(const struct tm_cell_args *a, char *why, size_t why_size)
{
	if (a->values[0] < 100)
		return 0;
	snprintf(why, why_size, "too large");
	return -ENOMEM;
}

static const char *const kinds[] = {"small", "large", NULL};
static const struct tm_param params[] = {
	{.name = "pages",
	 .unit = "pages",
	 .kind = TM_PARAM_UINT,
	 .min = 1,
	 .max = 4096,
	 .def = "1",
	 .plan = "1,33",
	 .full = "1..64"},
	{.name = "kind",
	 .unit = "",
	 .kind = TM_PARAM_CHOICE,
	 .choices = kinds,
	 .def = "small",
	 .full = "all"},
	{.name = NULL},
};
static const struct tm_workload floor_local = {
	.name = "zero", .gate = TM_GATE_NONE, .floor = true, .no_control = true};
static const struct tm_workload floor_ipi = {
	.name = "ipi", .gate = TM_GATE_EVERY, .floor = true, .no_control = true};
static const struct tm_workload sweep = {
	.name = "sweep", .gate = TM_GATE_EVERY, .params = params, .probe_cell = refuse_large};
static const struct tm_workload everyone = {.name = "everyone", .all_initiate = true};
static const struct tm_workload impossible = {.name = "impossible", .probe = refuse};
const struct tm_workload *const tm_workloads[] = {&everyone,   &floor_ipi, &floor_local,
						  &impossible, &sweep,	   NULL};

static void expect_list(const struct tm_param *p, const char *text, const char *want)
{
	char why[256] = "", got[256] = "";
	uint64_t *values;
	size_t count;

	if (tm_list_parse(p, text, &values, &count, why, sizeof(why)))
		fail_msg("'%s': %s", text, why);
	for (size_t i = 0; i < count; i++) {
		size_t n = strlen(got);

		snprintf(got + n, sizeof(got) - n, "%s", i ? " " : "");
		n = strlen(got);
		tm_param_print(p, values[i], got + n, sizeof(got) - n);
	}
	free(values);
	assert_string_equal(got, want);
}

static void test_lists(void **state)
{
	(void)state;
	expect_list(&params[0], "7", "7");
	expect_list(&params[0], "1,8,32..34,512", "1 8 32 33 34 512");
	expect_list(&params[0], "3,1,3,2..4", "3 1 2 4");
	expect_list(&params[0], "1..64*2", "1 2 4 8 16 32 64");
	expect_list(&params[0], "1..70*4", "1 4 16 64");
	expect_list(&params[0], "10..31+10", "10 20 30");
	expect_list(&params[0], "1k,max,min", "1024 4096 1");
	expect_list(&params[0], "5..5", "5");
	expect_list(&params[0], "4094..max", "4094 4095 4096");
	expect_list(&params[1], "large,small", "large small");
	expect_list(&params[1], "all", "small large");
}

static void test_bad_lists(void **state)
{
	static const struct {
		const char *text;
		int error;
		const char *says;
	} bad[] = {
		{"", -EINVAL, "empty"},
		{"1,", -EINVAL, "empty"},
		{"34..32", -EINVAL, "backwards"},
		{"0", -ERANGE, "1..4096"},
		{"4097", -ERANGE, "1..4096"},
		{"1..", -EINVAL, "missing"},
		{"..4", -EINVAL, "missing"},
		{"-1", -EINVAL, "missing"},
		{"1x", -EINVAL, "not understood"},
		{"1..4*1", -EINVAL, "never end"},
		{"1..4+0", -EINVAL, "never end"},
		{"99999999999999999999", -ERANGE, "too large"},
		{"99999999999G", -ERANGE, "large"},
		{"1..2..3", -EINVAL, "not understood"},
		{"0x10", -EINVAL, "not understood"},
		{"1 ", -EINVAL, "not understood"},
	};
	const struct tm_param wide = {
		.name = "wide", .unit = "", .kind = TM_PARAM_UINT, .min = 0, .max = UINT64_MAX};
	uint64_t *values;
	size_t count;
	char why[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int rc = tm_list_parse(&params[0], bad[i].text, &values, &count, why, sizeof(why));

		if (rc != bad[i].error || !strstr(why, bad[i].says) || !strstr(why, "--pages"))
			fail_msg("'%s': %d, %s", bad[i].text, rc, why);
	}
	assert_int_equal(tm_list_parse(&params[1], "huge", &values, &count, why, sizeof(why)),
			 -EINVAL);
	assert_non_null(strstr(why, "small, large"));
	/* The end of the range of the type itself: no wrapping, no endless loop. */
	assert_int_equal(tm_list_parse(&wide, "18446744073709551610..max", &values, &count, why,
				       sizeof(why)),
			 0);
	assert_int_equal(count, 6);
	free(values);
	assert_int_equal(tm_list_parse(&wide, "1..max*16", &values, &count, why, sizeof(why)), 0);
	assert_int_equal(count, 16);
	free(values);
	assert_int_equal(tm_list_parse(&wide, "1..max", &values, &count, why, sizeof(why)),
			 -ERANGE);
}

static struct tm_topo *machine(const char *source)
{
	char why[256] = "";
	struct tm_topo *t;

	if (tm_topo_load(source, &t, why, sizeof(why)))
		fail_msg("%s: %s", source, why);
	return t;
}

static const struct tm_plan_request basic = {
	.memory_node = -1, .seed = 1, .size = TM_PLAN_DEFAULT, .verify = true};

static void test_rows_and_controls(void **state)
{
	struct tm_topo *t = machine("synthetic:pack:1 core:2 pu:1");
	unsigned int roles[3] = {0}, floors = 0;
	struct tm_plan p;
	char why[256];

	(void)state;
	assert_int_equal(tm_plan_build(t, &basic, &p, why, sizeof(why)), 0);
	/* ipi from both CPUs, zero; everyone; sweep with 1 and with 33 pages. "1,all"
	 * is one value here. */
	assert_int_equal(p.row_count, 6);
	assert_string_equal(p.rows[0].label, "ipi");
	assert_string_equal(p.rows[1].label, "ipi from CPU 1");
	assert_string_equal(p.rows[4].label, "sweep pages=1 kind=small");
	assert_string_equal(p.rows[5].label, "sweep pages=33 kind=small");
	for (size_t i = 0; i < p.row_count; i++)
		floors += p.rows[i].floor;
	assert_int_equal(floors, 3);
	assert_int_equal(p.skip_count, 1);
	assert_string_equal(p.skips[0].why, "there is no such thing here");
	assert_int_equal(p.cell_count, 6 * (6 + 2 * 2));
	for (size_t i = 0; i < p.cell_count; i++) {
		const struct tm_plan_cell *c = &p.cells[i];

		roles[c->role]++;
		if (c->role == TM_ROLE_CONTROL_NONE)
			assert_int_equal(c->cell.placement.responders, 0);
		if (c->role == TM_ROLE_CONTROL_FOREIGN)
			assert_int_equal(c->cell.state, TM_STATE_FOREIGN);
		if (c->cell.args.workload == &everyone)
			assert_int_equal(c->cell.placement.initiators, 2);
		if (c->cell.verify)
			assert_int_equal(c->cell.repeat, 0);
	}
	assert_int_equal(roles[TM_ROLE_CONTROL_NONE], 12);
	assert_int_equal(roles[TM_ROLE_CONTROL_FOREIGN], 12);
	assert_true(p.estimate_ns <= 60000000000ull);
	tm_plan_free(&p);
	tm_topo_free(t);
}

/* Repeats are blocks; each holds every cell once, in an order of its own. */
static void test_blocks(void **state)
{
	struct tm_topo *t = machine("synthetic:pack:1 core:4 pu:1");
	struct tm_plan_request q = basic;
	struct tm_plan p, again, other;
	bool same = true, shuffled = false;
	size_t block;
	char why[256];

	(void)state;
	assert_int_equal(tm_plan_build(t, &q, &p, why, sizeof(why)), 0);
	assert_int_equal(tm_plan_build(t, &q, &again, why, sizeof(why)), 0);
	q.seed = 2;
	assert_int_equal(tm_plan_build(t, &q, &other, why, sizeof(why)), 0);
	block = p.cell_count / p.repeat;
	for (size_t i = 0; i < p.cell_count; i++) {
		assert_int_equal(p.cells[i].cell.repeat, i / block);
		assert_int_equal(p.cells[i].cell.row, again.cells[i].cell.row);
		assert_int_equal(p.cells[i].role, again.cells[i].role);
		assert_true(p.cells[i].cell.args.seed == again.cells[i].cell.args.seed);
		same &= p.cells[i].cell.row == other.cells[i].cell.row;
		shuffled |= p.cells[i].cell.row != p.cells[i % block].cell.row;
	}
	assert_false(same);
	assert_true(shuffled);
	for (unsigned int k = 0; k < p.repeat; k++) {
		size_t sum = 0, first = 0;

		for (size_t i = 0; i < block; i++) {
			sum += p.cells[k * block + i].cell.row * 3 + p.cells[k * block + i].role;
			first += p.cells[i].cell.row * 3 + p.cells[i].role;
		}
		assert_int_equal(sum, first);
	}
	tm_plan_free(&p);
	tm_plan_free(&again);
	tm_plan_free(&other);
	tm_topo_free(t);
}

static void expect_error(const struct tm_topo *t, const struct tm_plan_request *q, int error,
			 const char *says)
{
	struct tm_plan p;
	char why[256] = "";
	int rc = tm_plan_build(t, q, &p, why, sizeof(why));

	if (rc != error || !strstr(why, says) || strchr(why, '\n'))
		fail_msg("%d, not %d with '%s': %s", rc, error, says, why);
}

static void test_refusals(void **state)
{
	static const char *const unknown[] = {"mumap"}, *const never[] = {"impossible"},
				 *const good[] = {"sweep"};
	static const struct tm_param_text no_such[] = {{"colour", "red"}},
					  backwards[] = {{"pages", "9..1"}},
					  large[] = {{"pages", "200"}};
	struct tm_topo *t = machine("synthetic:pack:1 core:4 pu:1");
	struct tm_plan_request q = basic;

	(void)state;
	q.workload_count = 1;
	q.workloads = unknown;
	expect_error(t, &q, -EINVAL, "unknown workload 'mumap'");
	q.workloads = never;
	expect_error(t, &q, -ENOTSUP, "there is no such thing here");
	q.workloads = good;
	q.param_count = 1;
	q.params = no_such;
	expect_error(t, &q, -EINVAL, "--colour");
	q.params = backwards;
	expect_error(t, &q, -EINVAL, "backwards");
	q.params = large;
	expect_error(t, &q, -ENOTSUP, "too large");
	q.param_count = 0;
	q.responders = "4";
	expect_error(t, &q, -ERANGE, "4 CPUs");
	q.responders = "1";
	q.initiators = "0";
	expect_error(t, &q, -ERANGE, "--initiators");
	q.initiators = "4";
	expect_error(t, &q, -ERANGE, "CPUs");
	q.initiators = NULL;
	q.states = "asleep";
	expect_error(t, &q, -EINVAL, "asleep");
	q.states = "isolated";
	expect_error(t, &q, -ERANGE, "no CPU is isolated");
	q.states = NULL;
	q.distances = "remote";
	expect_error(t, &q, -ERANGE, "remote");
	q.distances = NULL;
	q.order = "random";
	expect_error(t, &q, -EINVAL, "--order");
	tm_topo_free(t);
}

/* Isolated CPUs are nobody's but those responders' that ask for them. */
static void test_isolated(void **state)
{
	static const unsigned int isolated[] = {2, 3};
	static const char *const good[] = {"sweep"}, *const all[] = {"everyone"};
	struct tm_topo *t = machine("synthetic:pack:1 core:8 pu:1");
	struct tm_plan_request q = basic;
	struct tm_plan p;
	char why[256];

	(void)state;
	q.isolated = isolated;
	q.isolated_count = 2;
	/* The default, "1,all": 1 and 5 of the 6 that are left. */
	q.workloads = good;
	q.workload_count = 1;
	q.size = TM_PLAN_QUICK;
	assert_int_equal(tm_plan_build(t, &q, &p, why, sizeof(why)), 0);
	assert_int_equal(p.max_responders, 5);
	for (size_t i = 0; i < p.cell_count; i++) {
		const struct tm_placement *place = &p.cells[i].cell.placement;

		for (unsigned int k = 0; k < place->responders; k++)
			assert_true(place->responder_cpu[k] != 2 && place->responder_cpu[k] != 3);
	}
	tm_plan_free(&p);
	q.workloads = all;
	assert_int_equal(tm_plan_build(t, &q, &p, why, sizeof(why)), 0);
	for (size_t i = 0; i < p.cell_count; i++) {
		if (p.cells[i].cell.args.workload == &everyone)
			assert_int_equal(p.cells[i].cell.placement.initiators, 6);
	}
	tm_plan_free(&p);
	/* Asked for: both, and the control sits on the same two. */
	q.workloads = good;
	q.states = "isolated";
	q.responders = "all";
	assert_int_equal(tm_plan_build(t, &q, &p, why, sizeof(why)), 0);
	for (size_t i = 0; i < p.cell_count; i++) {
		const struct tm_placement *place = &p.cells[i].cell.placement;

		if (p.cells[i].cell.args.workload != &sweep || !place->responders)
			continue;
		assert_int_equal(place->responders, 2);
		assert_int_equal(place->responder_cpu[0] + place->responder_cpu[1], 5);
	}
	tm_plan_free(&p);
	tm_topo_free(t);
}

/* A control differs from its cell in the responders' state alone. */
static void test_controls_sit_alike(void **state)
{
	static const char *const good[] = {"sweep"};
	struct tm_topo *t = machine("synthetic:pack:2 l3:2 core:4 pu:2");
	struct tm_plan_request q = basic;
	struct tm_plan p;
	unsigned int compared = 0;
	char why[256];

	(void)state;
	q.workloads = good;
	q.workload_count = 1;
	q.responders = "3";
	q.distances = "package,remote";
	q.order = "spread";
	assert_int_equal(tm_plan_build(t, &q, &p, why, sizeof(why)), 0);
	for (size_t i = 0; i < p.cell_count; i++) {
		for (size_t k = 0; k < p.cell_count; k++) {
			const struct tm_plan_cell *a = &p.cells[i], *b = &p.cells[k];
			const struct tm_placement *x = &a->cell.placement, *y = &b->cell.placement;

			if (a->cell.row != b->cell.row || a->role != TM_ROLE_MEASURED)
				continue;
			assert_int_equal(x->initiator_cpu[0], y->initiator_cpu[0]);
			if (b->role != TM_ROLE_CONTROL_FOREIGN)
				continue;
			assert_int_equal(x->responders, y->responders);
			for (unsigned int r = 0; r < x->responders; r++) {
				bool found = false;

				for (unsigned int s = 0; s < y->responders; s++)
					found |= x->responder_cpu[r] == y->responder_cpu[s];
				assert_true(found);
				compared++;
			}
		}
	}
	assert_true(compared > 0);
	tm_plan_free(&p);
	tm_topo_free(t);
}

static void test_several_initiators(void **state)
{
	static const char *const good[] = {"sweep"};
	static const struct tm_param_text twice[] = {{"pages", "1"}, {"pages", "7"}};
	struct tm_topo *t = machine("synthetic:pack:1 core:4 pu:1");
	struct tm_plan_request q = basic;
	struct tm_plan p;
	char why[256];

	(void)state;
	q.workloads = good;
	q.workload_count = 1;
	q.params = twice;
	q.param_count = 2;
	q.initiators = "all"; /* leaves no responder, which was not asked for either */
	assert_int_equal(tm_plan_build(t, &q, &p, why, sizeof(why)), 0);
	assert_string_equal(p.rows[p.row_count - 1].label, "sweep pages=7 kind=small");
	tm_plan_free(&p);
	q.initiators = "2";
	q.responders = "all";
	assert_int_equal(tm_plan_build(t, &q, &p, why, sizeof(why)), 0);
	assert_int_equal(p.max_responders, 2);
	tm_plan_free(&p);
	q.states = "touch";
	expect_error(t, &q, -EINVAL, "touch");
	tm_topo_free(t);
}

/* From every CPU: a row each, which says so. */
static void test_initiator_cpus(void **state)
{
	static const char *const good[] = {"sweep"};
	struct tm_topo *t = machine("synthetic:pack:1 core:4 pu:1");
	struct tm_plan_request q = basic;
	unsigned int seen = 0;
	struct tm_plan p;
	char why[256];

	(void)state;
	q.workloads = good;
	q.workload_count = 1;
	q.responders = "all";
	q.initiator_cpus = "all";
	q.size = TM_PLAN_QUICK;
	assert_int_equal(tm_plan_build(t, &q, &p, why, sizeof(why)), 0);
	for (size_t i = 0; i < p.cell_count; i++) {
		const struct tm_cell *c = &p.cells[i].cell;
		char from[32];

		snprintf(from, sizeof(from), " from CPU %u", c->placement.initiator_cpu[0]);
		assert_non_null(strstr(p.rows[c->row].label, from));
		assert_true(c->from_in_label);
		seen |= 1u << c->placement.initiator_cpu[0];
	}
	assert_int_equal(seen, 15);
	tm_plan_free(&p);
	q.initiator_cpus = "2";
	assert_int_equal(tm_plan_build(t, &q, &p, why, sizeof(why)), 0);
	for (size_t i = 0; i < p.cell_count; i++) {
		assert_int_equal(p.cells[i].cell.placement.initiator_cpu[0], 2);
		assert_false(p.cells[i].cell.from_in_label);
	}
	tm_plan_free(&p);
	q.initiator_cpus = "4";
	expect_error(t, &q, -ERANGE, "--initiator-cpu");
	tm_topo_free(t);
}

static void test_many_responders(void **state)
{
	static const char *const good[] = {"sweep"};
	struct tm_topo *t = machine("synthetic:pack:8 l3:8 core:8 pu:4");
	struct tm_plan_request q = basic;
	struct tm_plan p;
	clock_t start = clock();
	char why[256];

	(void)state;
	q.workloads = good;
	q.workload_count = 1;
	q.responders = "1024";
	q.order = "spread";
	assert_int_equal(tm_plan_build(t, &q, &p, why, sizeof(why)), 0);
	assert_int_equal(p.max_responders, 1024);
	assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 1.0);
	tm_plan_free(&p);
	tm_topo_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_bad_lists),
		cmocka_unit_test(test_rows_and_controls),
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_isolated),
		cmocka_unit_test(test_controls_sit_alike),
		cmocka_unit_test(test_several_initiators),
		cmocka_unit_test(test_initiator_cpus),
		cmocka_unit_test(test_many_responders),
	};

	return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
