/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The statistics of one session. The unit is the repeat: a fresh process.
 * Operations within a run are correlated, so they give quantiles, never error
 * bars. All functions are pure and may be called by any thread.
 */
#ifndef TLBMARK_STATS_H
#define TLBMARK_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/hist.h"

/*
 * Quantile q in the histogram's unit, linear within its slot; NaN if it is
 * empty or q not in 0 .. 1. Why not the slot's upper end, as tm_hist_quantile(): a cost is
 * the difference of two medians and may be smaller than a slot. Why not
 * Harrell-Davis: with the thousands of operations of a run it differs from
 * the plain quantile by less than the slot does.
 */
double tm_stats_quantile(const struct tm_hist *h, double q);

/* The median of x[n], which gets sorted; NaN where n is 0. No NaN in x. */
double tm_stats_median(double *x, size_t n);

/*
 * By how much the correlation of successive operations (raw[n], in order)
 * widens the error of their quantile q: 1 if they are independent, the
 * autocorrelation time else; never below 1. n / that is the effective number
 * of operations. NaN, so nothing is known, where n < TM_STATS_CLUSTER_MIN, q
 * is not in 0 .. 1, or memory ran out.
 *
 * What counts for a quantile is how the exceedances of it cluster, so this is
 * the dispersion of their number over batches of sqrt(n) operations (batch
 * means of the indicator). Values that equal the quantile are beyond it, so
 * that a coarse counter's ties don't hide a cluster. Where raw[] has fewer
 * than 40 beyond q, a lower quantile, with 40, stands in.
 *
 * Clusters longer than a batch are underestimated: with 4,096 operations those
 * of more than about 64. The variance of p99 of a first-order autoregression is
 * 9.7 times that of independent values at a coefficient of 0.95, and this sees
 * 9.0; at 0.99 it is 67 times, and this sees 18.
 */
enum { TM_STATS_CLUSTER_MIN = 400 };
double tm_stats_clustering(const uint32_t *raw, size_t n, double q);

/*
 * May quantile q be told from so many effective operations? Yes, when at
 * least TM_STATS_BEYOND are expected beyond it: 10,000 for p99.9. NaN: no.
 */
enum { TM_STATS_BEYOND = 10 };
bool tm_stats_quantile_known(double effective, double q);

/* A location with its interval. */
struct tm_estimate {
	double value;	    /* NaN: none */
	double low, high;   /* NaN: no interval */
	double level;	    /* coverage that low .. high really has; 0: no interval */
	unsigned int pairs; /* values it comes from */
};

/* Fewer pairs cannot reach 95%: 2 / 2^5 > 5%. */
enum { TM_STATS_PAIRS_MIN = 6 };

/*
 * Hodges-Lehmann estimate of the pseudomedian of x[n] (the median of the mean
 * of two of them), with the interval of the exact Wilcoxon signed-rank test
 * inverted: of those with a coverage >= level (0 < level < 1) the shortest;
 * none if even the widest falls short.
 *
 * Exact for independent values that are symmetric about their centre, which is
 * then the pseudomedian and the median in one. Paired differences are that
 * wherever both sides vary alike; of a skewed variable itself the interval
 * would cover the median too rarely (tests/unit/test_stats.c shows by how
 * much). With 6 values it is their range, which covers the median of any
 * continuous distribution as often as it says, 96.9%. Ties make it wider, never
 * narrower.
 *
 * 0; -EINVAL where n is 0 or above TM_STATS_PAIRS_MAX, or a value not finite;
 * -ENOMEM. On error *out is all "none".
 */
enum { TM_STATS_PAIRS_MAX = 256 };
int tm_stats_centre(const double *x, unsigned int n, double level, struct tm_estimate *out);

/* No estimate: every field "none". */
void tm_stats_none(struct tm_estimate *e);

/* P(W <= w) of the signed-rank sum of n values under symmetry, n <= TM_STATS_PAIRS_MAX;
 * NaN when out of memory. */
double tm_stats_signed_rank(unsigned int n, unsigned int w);

#endif /* TLBMARK_STATS_H */
