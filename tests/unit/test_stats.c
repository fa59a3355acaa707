// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Statistics against published and enumerated values, and the coverage of the
 * intervals by simulation with a fixed seed.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "results/stats.h"

static uint64_t seed;

/* splitmix64 (public domain, Sebastiano Vigna): 0 < u < 1. */
static double uniform(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return ((double)((z ^ z >> 31) >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(void)
{
	return sqrt(-2 * log(uniform())) * cos(2 * M_PI * uniform());
}

static double student_t3(void)
{
	double a = normal(), b = normal(), c = normal();

	return normal() / sqrt((a * a + b * b + c * c) / 3);
}

static double lognormal(void)
{
	return exp(normal());
}

static double lognormal_difference(void)
{
	return lognormal() - lognormal();
}

/* As a coarse counter gives it: most differences have their like. */
static double quantised(void)
{
	return rint(normal() * 2) / 2;
}

/* Every subset of the ranks, counted one by one. */
static double enumerated(unsigned int n, unsigned int w)
{
	unsigned int at_most = 0;

	for (unsigned int subset = 0; subset < 1u << n; subset++) {
		unsigned int sum = 0;

		for (unsigned int rank = 1; rank <= n; rank++)
			sum += subset >> (rank - 1) & 1 ? rank : 0;
		at_most += sum <= w;
	}
	return (double)at_most / (double)(1u << n);
}

static void the_signed_rank_distribution(void **state)
{
	(void)state;
	for (unsigned int n = 1; n <= 10; n++)
		for (unsigned int w = 0; w <= n * (n + 1) / 2; w++)
			assert_float_equal(tm_stats_signed_rank(n, w), enumerated(n, w), 1e-12);
	/* The printed tables: n = 20, 52 is the lower 2.5% point, P = 0.0242. */
	assert_float_equal(tm_stats_signed_rank(20, 52), 0.0242, 5e-5);
	assert_float_equal(tm_stats_signed_rank(256, 256 * 257 / 4), 0.5, 1e-3);
}

/* Hollander and Wolfe, Nonparametric Statistical Methods, the depression scale example. */
static void a_published_example(void **state)
{
	const double d[] = {0.952, -0.147, 1.022, 0.430, 0.620, 0.590, 0.490, -0.080, 0.010};
	struct tm_estimate e;

	(void)state;
	assert_int_equal(tm_stats_centre(d, 9, 0.95, &e), 0);
	assert_float_equal(e.value, 0.46, 1e-9);
	assert_float_equal(e.low, 0.01, 1e-9);
	assert_float_equal(e.high, 0.786, 1e-9);
	assert_float_equal(e.level, 0.9609375, 1e-12);
	assert_int_equal(e.pairs, 9);
	/* 12 values, by enumeration. */
	double z[] = {3.1, -0.4, 2.2, 5.0, 1.7, 0.9, 2.8, 4.1, -1.3, 2.0, 0.3, 3.6};
	assert_int_equal(tm_stats_centre(z, 12, 0.95, &e), 0);
	assert_float_equal(e.value, 2.0, 1e-9);
	assert_float_equal(e.low, 0.75, 1e-9);
	assert_float_equal(e.high, 3.35, 1e-9);
	assert_float_equal(e.level, 0.95751953125, 1e-9);
	/* Order does not matter, and a shift shifts. */
	for (unsigned int i = 0; i < 6; i++) {
		double other = z[11 - i];

		z[11 - i] = z[i] + 100;
		z[i] = other + 100;
	}
	assert_int_equal(tm_stats_centre(z, 12, 0.95, &e), 0);
	assert_float_equal(e.value, 102.0, 1e-9);
	assert_float_equal(e.low, 100.75, 1e-9);
	assert_float_equal(e.high, 103.35, 1e-9);
}

static void few_values(void **state)
{
	const double x[] = {5, 1, 3, 2, 9, 4};
	struct tm_estimate e;

	(void)state;
	assert_int_equal(tm_stats_centre(x, 6, 0.95, &e), 0);
	assert_float_equal(e.low, 1, 0);
	assert_float_equal(e.high, 9, 0);
	assert_float_equal(e.level, 0.96875, 1e-12);
	/* Five cannot: said, not answered. */
	assert_int_equal(tm_stats_centre(x, TM_STATS_PAIRS_MIN - 1, 0.95, &e), 0);
	assert_float_equal(e.value, 3.5, 1e-12);
	assert_true(isnan(e.low) && isnan(e.high));
	assert_float_equal(e.level, 0, 0);
	assert_int_equal(tm_stats_centre(x, 1, 0.95, &e), 0);
	assert_float_equal(e.value, 5, 0);
	assert_int_equal(tm_stats_centre(x, 6, 0.99, &e), 0);
	assert_float_equal(e.level, 0, 0);
	assert_int_equal(tm_stats_centre(x, 0, 0.95, &e), -EINVAL);
	assert_true(isnan(e.value));
	const double bad[] = {1, NAN, 3};
	assert_int_equal(tm_stats_centre(bad, 3, 0.95, &e), -EINVAL);
	assert_true(isnan(e.value));
}

static void ties_do_no_harm(void **state)
{
	const double same[] = {2, 2, 2, 2, 2, 2, 2};
	struct tm_estimate e;

	(void)state;
	assert_int_equal(tm_stats_centre(same, 7, 0.95, &e), 0);
	assert_float_equal(e.value, 2, 0);
	assert_float_equal(e.low, 2, 0);
	assert_float_equal(e.high, 2, 0);
}

/* How often the interval of n draws holds `centre`; *level: what it says of itself. */
static double coverage(double (*draw)(void), double centre, unsigned int n, double *level)
{
	enum { TRIALS = 20000 };
	unsigned int covered = 0;
	struct tm_estimate e = {0};
	double x[32];

	for (unsigned int i = 0; i < TRIALS; i++) {
		for (unsigned int k = 0; k < n; k++)
			x[k] = draw();
		assert_int_equal(tm_stats_centre(x, n, 0.95, &e), 0);
		covered += e.low <= centre && centre <= e.high;
	}
	*level = e.level;
	return (double)covered / TRIALS;
}

static void intervals_cover_as_they_say(void **state)
{
	static double (*const draws[])(void) = {normal, student_t3, lognormal_difference};
	static const unsigned int sizes[] = {6, 9, 12};
	double level, seen;

	(void)state;
	for (unsigned int i = 0; i < 3; i++)
		for (unsigned int k = 0; k < 3; k++) {
			seed = 100 * i + k;
			seen = coverage(draws[i], 0, sizes[k], &level);
			/* Four standard errors of 20,000 trials. */
			assert_float_equal(seen, level, 4 * sqrt(level * (1 - level) / 20000));
			assert_in_range(level * 10000, 9500, 9700);
		}
	for (unsigned int k = 0; k < 3; k++) {
		seed = 300 + k;
		seen = coverage(quantised, 0, sizes[k], &level);
		assert_true(seen >= level - 4 * sqrt(level * (1 - level) / 20000));
	}
	/* The range of six holds the median of any continuous variable, a skewed one's too. */
	seed = 3;
	seen = coverage(lognormal, 1, 6, &level);
	assert_float_equal(seen, 0.96875, 4 * sqrt(level * (1 - level) / 20000));
	/* What symmetry is for: the median of a skewed variable is missed too often. */
	seed = 4;
	seen = coverage(lognormal, 1, 24, &level);
	assert_true(seen < 0.9);
}

static void quantiles_within_a_slot(void **state)
{
	struct tm_hist *a = tm_hist_new(TM_HIST_FINE), *b = tm_hist_new(TM_HIST_FINE);
	struct tm_hist *small = tm_hist_new(TM_HIST_FINE);
	double q, shift;

	(void)state;
	assert_true(isnan(tm_stats_quantile(a, 0.5)));
	for (unsigned int i = 1; i <= 100; i++)
		tm_hist_record(small, i);
	assert_float_equal(tm_stats_quantile(small, 0.5), 50.5, 1e-6);
	assert_float_equal(tm_stats_quantile(small, 0.99), 99.5, 1e-6);
	assert_float_equal(tm_stats_quantile(small, 0), 1, 1e-6);
	assert_float_equal(tm_stats_quantile(small, 1), 100, 1e-6);
	assert_true(isnan(tm_stats_quantile(small, -0.01)) &&
		    isnan(tm_stats_quantile(small, 1.01)) && isnan(tm_stats_quantile(small, NAN)));
	/* A shift of 0.1% is far below the slots' 0.78%, and still seen. */
	for (unsigned int i = 0; i < 100000; i++) {
		tm_hist_record(a, 1000000 + 10 * i);
		tm_hist_record(b, 1001500 + 10 * i);
	}
	for (q = 0.05; q < 0.96; q += 0.05) {
		assert_float_equal(tm_stats_quantile(a, q), 1e6 + 1e6 * q, 200);
		shift = tm_stats_quantile(b, q) - tm_stats_quantile(a, q);
		assert_float_equal(shift, 1500, 150);
	}
	free(a);
	free(b);
	free(small);
}

static void tails_need_operations(void **state)
{
	(void)state;
	assert_true(tm_stats_quantile_known(10000, 0.999));
	assert_false(tm_stats_quantile_known(9999, 0.999));
	assert_true(tm_stats_quantile_known(1000, 0.99));
	assert_false(tm_stats_quantile_known(999, 0.99));
	assert_true(tm_stats_quantile_known(20, 0.5));
	assert_false(tm_stats_quantile_known(NAN, 0.5));
}

static void medians(void **state)
{
	double odd[] = {3, 1, 2}, even[] = {4, 1, 3, 2};

	(void)state;
	assert_float_equal(tm_stats_median(odd, 3), 2, 0);
	assert_float_equal(tm_stats_median(even, 4), 2.5, 0);
	assert_float_equal(tm_stats_median(even, 1), 1, 0);
	assert_true(isnan(tm_stats_median(NULL, 0)));
}

static void clustering_of_what_is_beyond(void **state)
{
	enum { N = 4096 };
	static uint32_t independent[N], runs[N], bursts[N];

	(void)state;
	seed = 5;
	for (unsigned int i = 0; i < N; i++) {
		independent[i] = (uint32_t)(uniform() * 1e6);
		runs[i] = i % 10 ? runs[i - 1] : (uint32_t)(uniform() * 1e6);
		bursts[i] = (uint32_t)(uniform() * 1e6);
	}
	/* 1% slow operations, but twenty at a time. */
	for (unsigned int i = 0; i < N / 2000; i++)
		for (unsigned int k = 0; k < 20; k++)
			bursts[1000 + 2000 * i + k] = 5000000;
	assert_in_range(tm_stats_clustering(independent, N, 0.5) * 10, 10, 15);
	assert_in_range(tm_stats_clustering(independent, N, 0.99) * 10, 10, 15);
	assert_in_range(tm_stats_clustering(runs, N, 0.5) * 10, 60, 140);
	assert_in_range(tm_stats_clustering(bursts, N, 0.5) * 10, 10, 15);
	assert_in_range(tm_stats_clustering(bursts, N, 0.99) * 10, 80, 300);
	/* p99.9 has four beyond it in the ring: the 40 slowest stand in. */
	assert_float_equal(tm_stats_clustering(bursts, N, 0.999),
			   tm_stats_clustering(bursts, N, 1 - 40.0 / N), 1e-9);
	/* Too few to tell, or no quantile: not known, which is not "independent". */
	assert_true(isnan(tm_stats_clustering(runs, TM_STATS_CLUSTER_MIN - 1, 0.5)));
	assert_true(isnan(tm_stats_clustering(runs, 0, 0.5)));
	assert_false(isnan(tm_stats_clustering(runs, TM_STATS_CLUSTER_MIN, 0.5)));
	assert_true(isnan(tm_stats_clustering(runs, N, -0.1)));
	assert_true(isnan(tm_stats_clustering(runs, N, 1.1)));
	assert_true(isnan(tm_stats_clustering(runs, N, NAN)));
	assert_true(tm_stats_clustering(runs, N, 0) >= 1 && tm_stats_clustering(runs, N, 1) >= 1);
	memset(runs, 0, sizeof(runs));
	assert_float_equal(tm_stats_clustering(runs, N, 0.5), 1, 0);
}

/* `bursts` times 20 slow operations of exactly the same length. */
static double clustering_of_bursts(unsigned int bursts)
{
	enum { N = 4096 };
	static uint32_t raw[N];

	seed = 5;
	for (unsigned int i = 0; i < N; i++)
		raw[i] = (uint32_t)(uniform() * 1e6);
	for (unsigned int i = 0; i < bursts; i++)
		for (unsigned int k = 0; k < 20; k++)
			raw[500 + 1000 * i + k] = 5000000;
	return tm_stats_clustering(raw, N, 0.999);
}

/* More of the largest value than are asked for must not leave nothing beyond. */
static void clustering_of_ties(void **state)
{
	enum { N = 4096 };
	static uint32_t raw[N];
	double sum = 0;

	(void)state;
	assert_float_equal(clustering_of_bursts(2), 15, 1);
	assert_float_equal(clustering_of_bursts(3), 16.3, 1);
	assert_float_equal(clustering_of_bursts(4), 17, 1);
	/* Exactly as many as are asked for, and all others alike. */
	for (unsigned int i = 0; i < N; i++)
		raw[i] = 3 + (i / 20 == 50 || i / 20 == 150);
	assert_float_equal(tm_stats_clustering(raw, N, 0.999), 15, 2);
	/* A counter of 24 MHz: operations of 12 or 13 steps, three times 40 of 20. */
	seed = 9;
	for (unsigned int i = 0; i < N; i++)
		raw[i] = 12 + (uniform() < 0.3);
	for (unsigned int i = 0; i < 3; i++)
		for (unsigned int k = 0; k < 40; k++)
			raw[500 + 1000 * i + k] = 20;
	assert_float_equal(tm_stats_clustering(raw, N, 0.99), 31.5, 1);
	assert_float_equal(tm_stats_clustering(raw, N, 0.999), 31.5, 1);
	/* Independent data stay independent, ties or not. */
	for (unsigned int trial = 0; trial < 100; trial++) {
		seed = 1000 + trial;
		for (unsigned int i = 0; i < N; i++)
			raw[i] = trial & 1 ? (uint32_t)(uniform() * 100)
					   : (uint32_t)(uniform() * 1e6);
		sum += tm_stats_clustering(raw, N, 0.99);
	}
	assert_float_equal(sum / 100, 1.07, 0.04);
}

/* The figures that stats.h gives for what it cannot see. */
static void long_clusters_are_underestimated(void **state)
{
	static const struct {
		double coefficient, seen;
	} cases[] = {{0.95, 9}, {0.99, 18}};
	enum { N = 4096, TRIALS = 100 };
	static uint32_t raw[N];

	(void)state;
	for (unsigned int c = 0; c < 2; c++) {
		double a = cases[c].coefficient, sum = 0;

		seed = 77;
		for (unsigned int trial = 0; trial < TRIALS; trial++) {
			double x = normal();

			for (unsigned int i = 0; i < N; i++) {
				x = a * x + sqrt(1 - a * a) * normal();
				raw[i] = (uint32_t)(1e6 + x * 1e4);
			}
			sum += tm_stats_clustering(raw, N, 0.99);
		}
		assert_float_equal(sum / TRIALS, cases[c].seen, 0.15 * cases[c].seen);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_signed_rank_distribution),
		cmocka_unit_test(a_published_example),
		cmocka_unit_test(few_values),
		cmocka_unit_test(ties_do_no_harm),
		cmocka_unit_test(intervals_cover_as_they_say),
		cmocka_unit_test(quantiles_within_a_slot),
		cmocka_unit_test(tails_need_operations),
		cmocka_unit_test(medians),
		cmocka_unit_test(clustering_of_what_is_beyond),
		cmocka_unit_test(clustering_of_ties),
		cmocka_unit_test(long_clusters_are_underestimated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
