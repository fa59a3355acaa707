/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The C interface to Google Benchmark, from C. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../../bench/gbench.h"

enum { LINES = 16 };

/* What a reporter heard. */
struct heard {
	size_t lines, begun, ended;
	bool refuse;
	struct {
		char name[96], aggregate[16], error[32];
		int64_t iterations, repetition;
		double real_ns;
	} line[LINES];
};

static bool hear_begin(void *context)
{
	struct heard *h = context;

	h->begun++;
	return !h->refuse;
}

static void hear_line(void *context, const struct tm_gb_line *line)
{
	struct heard *h = context;

	assert_true(h->lines < LINES);
	snprintf(h->line[h->lines].name, sizeof(h->line[0].name), "%s", line->name);
	snprintf(h->line[h->lines].aggregate, sizeof(h->line[0].aggregate), "%s", line->aggregate);
	snprintf(h->line[h->lines].error, sizeof(h->line[0].error), "%s",
		 line->error ? line->error : "");
	h->line[h->lines].iterations = line->iterations;
	h->line[h->lines].repetition = line->repetition;
	h->line[h->lines].real_ns = line->real_ns;
	h->lines++;
}

static void hear_end(void *context)
{
	((struct heard *)context)->ended++;
}

static void run(struct heard *h, size_t expected)
{
	const struct tm_gb_reporter reporter = {h, hear_begin, hear_line, hear_end};
	size_t matched = 77;

	assert_int_equal(tm_gb_run(&reporter, &matched), 0);
	assert_int_equal(matched, expected);
}

static void set_options(const char *filter, const char *repetitions)
{
	static char program[] = "test"; /* the library keeps it */
	char time[] = "--benchmark_min_time=0", a[64], b[64];
	char *argv[] = {program, time, a, b, NULL};
	int argc = 4;

	snprintf(a, sizeof(a), "--benchmark_filter=%s", filter);
	snprintf(b, sizeof(b), "--benchmark_repetitions=%s", repetitions);
	assert_int_equal(tm_gb_begin(&argc, argv, NULL), 0);
	assert_int_equal(argc, 1);
}

static int forget(void **state)
{
	(void)state;
	tm_gb_end();
	return 0;
}

/* Each call takes a microsecond more than the one before. */
static void count_up(struct tm_gb_state *s, void *context)
{
	unsigned int *calls = context;

	++*calls;
	while (tm_gb_more(s))
		tm_gb_time(s, *calls * 1e-6);
	assert_int_equal(tm_gb_counter(s, "calls", *calls), 0);
}

static void test_time_is_ours(void **state)
{
	struct heard h = {0};
	unsigned int calls = 0;

	(void)state;
	set_options(".", "3");
	assert_non_null(tm_gb_register("counted", count_up, &calls));
	run(&h, 1);
	assert_int_equal(calls, 3);
	assert_int_equal(h.begun, 1);
	assert_int_equal(h.ended, 1);
	assert_int_equal(h.lines, 7); /* and mean, median, stddev, cv */
	for (int i = 0; i < 3; i++) {
		assert_string_equal(h.line[i].name, "counted/manual_time");
		assert_string_equal(h.line[i].aggregate, "");
		assert_int_equal(h.line[i].iterations, 1);
		assert_int_equal(h.line[i].repetition, i);
		assert_true(fabs(h.line[i].real_ns - 1000 * (i + 1)) < 1);
	}
	assert_string_equal(h.line[4].aggregate, "median");
	assert_true(fabs(h.line[4].real_ns - 2000) < 1);
}

static void give_up(struct tm_gb_state *s, void *context)
{
	unsigned int *calls = context;

	while (tm_gb_more(s)) {
		++*calls;
		tm_gb_skip(s, "cannot here");
	}
}

static void test_skip(void **state)
{
	struct heard h = {0};
	unsigned int calls = 0, fine = 0;

	(void)state;
	set_options(".", "1");
	assert_non_null(tm_gb_register("skipped", give_up, &calls));
	assert_non_null(tm_gb_register("counted", count_up, &fine));
	run(&h, 2);
	assert_int_equal(calls, 1);
	assert_int_equal(h.lines, 2);
	assert_string_equal(h.line[0].error, "cannot here");
	assert_string_equal(h.line[1].error, "");
}

static void add_arguments(struct tm_gb_state *s, void *context)
{
	int64_t *sum = context;

	*sum += tm_gb_argument(s, 0) + tm_gb_argument(s, 1);
	while (tm_gb_more(s))
		tm_gb_time(s, 1e-9);
}

static void test_arguments(void **state)
{
	static const char *const names[] = {"responders", "pages"};
	static const int64_t values[] = {3, 512};
	struct tm_gb_benchmark *b;
	struct heard h = {0};
	int64_t sum = 0;

	(void)state;
	set_options(".", "1");
	b = tm_gb_register("with", add_arguments, &sum);
	assert_non_null(b);
	assert_int_equal(tm_gb_arguments(b, names, values, 2), 0);
	run(&h, 1);
	assert_int_equal(sum, 515);
	assert_string_equal(h.line[0].name, "with/responders:3/pages:512/manual_time");
}

static void test_filter(void **state)
{
	struct heard h = {0};
	unsigned int one = 0, other = 0;

	(void)state;
	set_options("^b", "1");
	assert_non_null(tm_gb_register("a", count_up, &one));
	assert_non_null(tm_gb_register("b", count_up, &other));
	run(&h, 1);
	assert_int_equal(one, 0);
	assert_int_equal(other, 1);
}

static void test_reporter_refuses(void **state)
{
	struct heard h = {.refuse = true};
	unsigned int calls = 0;

	(void)state;
	set_options(".", "1");
	assert_non_null(tm_gb_register("counted", count_up, &calls));
	run(&h, 1);
	assert_int_equal(calls, 0);
	assert_int_equal(h.lines, 0);
}

static void test_no_reporter(void **state)
{
	static const struct tm_gb_reporter deaf = {0};
	unsigned int calls = 0;
	size_t matched;

	(void)state;
	set_options(".", "1");
	assert_int_equal(tm_gb_context("suite", "test"), 0);
	assert_non_null(tm_gb_register("counted", count_up, &calls));
	assert_int_equal(tm_gb_run(NULL, &matched), 0);
	assert_int_equal(tm_gb_run(&deaf, &matched), 0);
	assert_int_equal(calls, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_time_is_ours, forget),
		cmocka_unit_test_teardown(test_skip, forget),
		cmocka_unit_test_teardown(test_arguments, forget),
		cmocka_unit_test_teardown(test_filter, forget),
		cmocka_unit_test_teardown(test_reporter_refuses, forget),
		cmocka_unit_test_teardown(test_no_reporter, forget),
	};

	return cmocka_run_group_tests_name("gbench", tests, NULL, NULL);
}
