// SPDX-License-Identifier: GPL-3.0-or-later
/* The share of dead translations that is stale at an age, from looks at them. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "results/stale.h"

struct fixture {
	struct tm_hist *stale, *gone;
	struct tm_stale_step *steps;
	size_t count;
};

static int begin(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	f->stale = tm_hist_new(TM_HIST_FINE);
	f->gone = tm_hist_new(TM_HIST_FINE);
	*state = f;
	return f->stale && f->gone ? 0 : -1;
}

static int end(void **state)
{
	struct fixture *f = *state;

	free(f->stale);
	free(f->gone);
	free(f->steps);
	free(f);
	return 0;
}

/* Looks at the ages 1, 2, ...: 's' stale, 'g' gone. Ages that small are exact. */
static void look(struct fixture *f, const char *looks)
{
	for (uint64_t age = 1; *looks; looks++, age++)
		tm_hist_record(*looks == 's' ? f->stale : f->gone, age);
}

static void draw(struct fixture *f)
{
	free(f->steps);
	assert_int_equal(tm_stale_curve(f->stale, f->gone, &f->steps, &f->count), 0);
}

static void expect_step(const struct tm_stale_step *s, uint64_t from, uint64_t to, uint64_t stale,
			uint64_t looks)
{
	assert_int_equal(s->from, from);
	assert_int_equal(s->to, to);
	assert_int_equal(s->stale, stale);
	assert_int_equal(s->looks, looks);
}

static void nothing_looked_at(void **state)
{
	struct fixture *f = *state;
	double low, high;

	draw(f);
	assert_null(f->steps);
	assert_int_equal(tm_stale_curve(NULL, NULL, &f->steps, &f->count), 0);
	assert_int_equal(f->count, 0);
	assert_false(tm_stale_half(f->steps, f->count, &low, &high));
}

static void what_would_rise_is_pooled(void **state)
{
	struct fixture *f = *state;
	double low, high;

	look(f, "ssgsgg");
	draw(f);
	assert_int_equal(f->count, 3);
	expect_step(&f->steps[0], 1, 2, 2, 2);
	expect_step(&f->steps[1], 3, 4, 1, 2);
	expect_step(&f->steps[2], 5, 6, 0, 2);
	assert_true(tm_stale_half(f->steps, f->count, &low, &high));
	assert_true(low == 2 && high == 3);
}

static void one_kind_of_look(void **state)
{
	struct fixture *f = *state;
	double low, high;

	look(f, "sss");
	assert_int_equal(tm_stale_curve(f->stale, NULL, &f->steps, &f->count), 0);
	assert_int_equal(f->count, 1);
	expect_step(f->steps, 1, 3, 3, 3);
	assert_false(tm_stale_half(f->steps, f->count, &low, &high));
	free(f->steps);
	assert_int_equal(tm_stale_curve(NULL, f->stale, &f->steps, &f->count), 0);
	expect_step(f->steps, 1, 3, 0, 3);
	assert_false(tm_stale_half(f->steps, f->count, &low, &high));
}

static double mean(const char *looks, size_t from, size_t to)
{
	size_t stale = 0;

	for (size_t i = from; i <= to; i++)
		stale += looks[i] == 's';
	return (double)stale / (double)(to - from + 1);
}

/* The curve's value by its other definition: the lowest of the highest means around i. */
static double by_means(const char *looks, size_t n, size_t i)
{
	double lowest = INFINITY;

	for (size_t j = 0; j <= i; j++) {
		double highest = 0;

		for (size_t k = i; k < n; k++)
			highest = fmax(highest, mean(looks, j, k));
		lowest = fmin(lowest, highest);
	}
	return lowest;
}

static void likeliest_curve(void **state)
{
	enum { LOOKS = 40, SAMPLES = 50 };
	struct fixture *f = *state;
	unsigned int seed = 7;

	for (int sample = 0; sample < SAMPLES; sample++) {
		char looks[LOOKS + 1] = "";
		size_t at = 0;

		for (int i = 0; i < LOOKS; i++)
			looks[i] = rand_r(&seed) % LOOKS >= i ? 's' : 'g';
		tm_hist_init(f->stale, TM_HIST_FINE);
		tm_hist_init(f->gone, TM_HIST_FINE);
		look(f, looks);
		draw(f);
		for (size_t i = 0; i < LOOKS; i++) {
			const struct tm_stale_step *s;

			while (f->steps[at].to < i + 1)
				at++;
			s = &f->steps[at];
			assert_true(fabs((double)s->stale / (double)s->looks -
					 by_means(looks, LOOKS, i)) < 1e-9);
		}
	}
}

static void half_is_told_with_its_error(void **state)
{
	enum { SESSIONS = 400, LOOKS = 100, AGES = 1000 };
	struct fixture *f = *state;
	unsigned int seed = 11, covered = 0;
	double low, high;

	look(f, "ssssssssssgggggggggg");
	assert_int_equal(tm_stale_half_interval(f->stale, f->gone, &low, &high), 0);
	assert_true(low == 9 && high == 12);
	assert_int_equal(tm_stale_half_interval(f->stale, NULL, &low, &high), 0);
	assert_true(isnan(low) && isnan(high));
	assert_int_equal(tm_stale_half_interval(NULL, f->gone, &low, &high), 0);
	assert_true(isnan(low) && isnan(high));
	assert_int_equal(tm_stale_half_interval(NULL, NULL, &low, &high), 0);
	assert_true(isnan(low) && isnan(high));
	/* Lives of every length up to AGES: it should hold the middle in 95%. */
	for (int session = 0; session < SESSIONS; session++) {
		tm_hist_init(f->stale, TM_HIST_FINE);
		tm_hist_init(f->gone, TM_HIST_FINE);
		for (int i = 0; i < LOOKS; i++) {
			int age = rand_r(&seed) % AGES, life = rand_r(&seed) % AGES;

			tm_hist_record(life > age ? f->stale : f->gone, (uint64_t)age);
		}
		assert_int_equal(tm_stale_half_interval(f->stale, f->gone, &low, &high), 0);
		covered += low <= AGES / 2.0 && high >= AGES / 2.0;
	}
	assert_in_range(covered, SESSIONS * 92 / 100, SESSIONS * 98 / 100);
}

static void layouts_that_differ(void **state)
{
	struct fixture *f = *state;
	struct tm_hist *coarse = tm_hist_new(TM_HIST_COARSE);
	double low, high;

	assert_non_null(coarse);
	tm_hist_record(coarse, 1);
	assert_int_equal(tm_stale_curve(coarse, f->gone, &f->steps, &f->count), -EINVAL);
	assert_int_equal(tm_stale_half_interval(coarse, f->gone, &low, &high), -EINVAL);
	free(coarse);
}

static void interval(void **state)
{
	double low, high;

	(void)state;
	tm_stale_interval(5, 10, &low, &high);
	assert_true(fabs(low - 0.2366) < 1e-4 && fabs(high - 0.7634) < 1e-4);
	tm_stale_interval(0, 10, &low, &high);
	assert_true(low == 0 && fabs(high - 0.2775) < 1e-4);
	tm_stale_interval(10, 10, &low, &high);
	assert_true(fabs(low - 0.7225) < 1e-4 && fabs(high - 1) < 1e-9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_looked_at, begin, end),
		cmocka_unit_test_setup_teardown(what_would_rise_is_pooled, begin, end),
		cmocka_unit_test_setup_teardown(one_kind_of_look, begin, end),
		cmocka_unit_test_setup_teardown(likeliest_curve, begin, end),
		cmocka_unit_test_setup_teardown(half_is_told_with_its_error, begin, end),
		cmocka_unit_test_setup_teardown(layouts_that_differ, begin, end),
		cmocka_unit_test(interval),
	};

	return cmocka_run_group_tests_name("stale", tests, NULL, NULL);
}
