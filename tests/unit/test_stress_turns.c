// SPDX-License-Identifier: GPL-3.0-or-later
/* Whose turn it is in a stress run: everybody's at first, then the storm's, never what was given up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bench/stress_turns.h"

enum { PATHS = 46, SELF = PATHS - 1 };
#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)

static const struct tm_workload plain = {.name = "plain"};
static const struct tm_workload itself = {.name = "itself", .self_checking = true};
const struct tm_workload *const tm_workloads[] = {&plain, NULL};

/* A run in which each turn takes what it is to be measured and `extra_ns`. */
struct run {
	struct tm_stress_path paths[PATHS];
	struct tm_stress_turns turns;
	uint64_t now_ns, extra_ns, had_ns[PATHS];
	bool broken[PATHS];
};

static void begin(struct run *r, uint64_t extra_ns)
{
	uint64_t random = 7;

	memset(r, 0, sizeof(*r));
	r->extra_ns = extra_ns;
	for (size_t i = 0; i < PATHS; i++)
		r->paths[i].workload = i == SELF ? &itself : &plain;
	assert_int_equal(tm_stress_turns_open(&r->turns, r->paths, PATHS), 0);
	assert_false(tm_stress_turns_left(&r->turns));
	for (size_t i = 0; i < PATHS; i++)
		tm_stress_turns_add(&r->turns, i);
	tm_stress_turns_shuffle(&r->turns, &random);
	assert_true(tm_stress_turns_left(&r->turns));
}

static void turn(struct run *r)
{
	size_t path = tm_stress_turns_next(&r->turns, r->now_ns);
	uint64_t spent_ns =
		tm_stress_turns_length(&r->turns, r->paths[path].workload) + r->extra_ns;

	r->paths[path].visits++;
	r->now_ns += spent_ns;
	r->had_ns[path] += spent_ns;
	if (r->broken[path]) {
		snprintf(r->paths[path].fail_why, sizeof(r->paths[path].fail_why), "broken");
		r->turns.in_a_row[path]++;
	}
	tm_stress_turns_done(&r->turns, path, spent_ns);
}

static size_t had_a_turn(const struct run *r)
{
	size_t n = 0;

	for (size_t i = 0; i < PATHS; i++)
		n += r->paths[i].visits > 0;
	return n;
}

/* However long a turn takes, the opening ends after each had one, and not long after 15 s. */
static void everybody_has_a_turn_first(void **state)
{
	static const uint64_t extra_ms[] = {0, 10, 100, 1000, 10000};

	(void)state;
	for (size_t i = 0; i < sizeof(extra_ms) / sizeof(extra_ms[0]); i++) {
		struct run r;

		begin(&r, extra_ms[i] * MS);
		while (tm_stress_turns_opening(&r.turns)) {
			assert_true(r.now_ns < 16 * SECOND || had_a_turn(&r) < PATHS ||
				    r.now_ns < 50 * (extra_ms[i] + 100) * MS);
			turn(&r);
		}
		assert_int_equal(had_a_turn(&r), PATHS);
		tm_stress_turns_free(&r.turns);
	}
}

/* How many in 1,000 of what comes after the opening are the storm's; one in sixteen of it are. */
static uint64_t storms_share(bool even)
{
	struct run r;
	uint64_t opening_ns, self_ns;

	begin(&r, 20 * MS);
	r.turns.even = even;
	/* Its last turn is the first of what comes after. */
	do {
		opening_ns = r.now_ns;
		self_ns = r.had_ns[SELF];
		turn(&r);
	} while (tm_stress_turns_opening(&r.turns));
	assert_true(self_ns * 8 < opening_ns && self_ns * 32 > opening_ns);
	while (r.now_ns < opening_ns + 1000 * SECOND)
		turn(&r);
	tm_stress_turns_free(&r.turns);
	return (r.had_ns[SELF] - self_ns) * 1000 / (r.now_ns - opening_ns);
}

/* 31 in 32, or half of it. */
static void the_storm_has_its_share(void **state)
{
	(void)state;
	assert_in_range(storms_share(false), 960, 975);
	assert_in_range(storms_share(true), 495, 505);
}

/* What fails is left out after eight times in a row, with its reason; what is left goes on. */
static void what_fails_is_given_up(void **state)
{
	struct run r;

	(void)state;
	begin(&r, 20 * MS);
	r.broken[3] = r.broken[SELF] = true;
	for (size_t n = 0; n < 20 * PATHS; n++)
		turn(&r);
	assert_int_equal(r.paths[3].visits, 8);
	assert_int_equal(r.paths[SELF].visits, 8);
	assert_string_equal(r.paths[3].skip_why, "broken");
	assert_string_equal(r.paths[0].skip_why, "");
	assert_true(r.paths[0].visits > 9);
	tm_stress_turns_free(&r.turns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everybody_has_a_turn_first),
		cmocka_unit_test(the_storm_has_its_share),
		cmocka_unit_test(what_fails_is_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
