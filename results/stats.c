// SPDX-License-Identifier: GPL-3.0-or-later
#include "stats.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A quantile's rank is a whole number for sane q; rounding must not add one. */
#define RANK_SLACK 1e-9

enum { CLUSTER_BEYOND = 40 }; /* exceedances that a dispersion is told from, at least */

static bool is_share(double q)
{
	return q >= 0 && q <= 1;
}

double tm_stats_quantile(const struct tm_hist *h, double q)
{
	double rank = q * (double)h->count, below = 0;

	if (!h->count || !is_share(q))
		return NAN;
	for (uint32_t i = 0; i < h->slots; i++) {
		double in = (double)h->slot[i], low, high;

		if (in == 0 || below + in < rank - RANK_SLACK) {
			below += in;
			continue;
		}
		/* The slot's values are whole ticks, spread evenly as far as we know. */
		low = fmax((double)tm_hist_slot_low(h, i), (double)h->min) - 0.5;
		high = fmin((double)tm_hist_slot_high(h, i), (double)h->max) + 0.5;
		if (high < low)
			return (double)h->max;
		return fmin(fmax(low + (high - low) * (rank - below) / in, (double)h->min),
			    (double)h->max);
	}
	return (double)h->max;
}

static int compare_ticks(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/*
 * The smallest of the n * (1 - q) largest of raw[], of 40 at least. Values
 * that equal it count as beyond: a coarse counter has many of them, and where
 * the largest are all the same there is nothing above.
 */
static int find_limit(const uint32_t *raw, size_t n, double q, uint32_t *limit)
{
	size_t beyond = (size_t)((double)n * (1 - q));
	uint32_t *sorted = malloc(n * sizeof(*sorted));

	if (!sorted)
		return -ENOMEM;
	if (beyond < CLUSTER_BEYOND)
		beyond = CLUSTER_BEYOND;
	memcpy(sorted, raw, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), compare_ticks);
	*limit = sorted[n - beyond];
	free(sorted);
	return 0;
}

static size_t count_beyond(const uint32_t *raw, size_t n, uint32_t limit)
{
	size_t beyond = 0;

	for (size_t i = 0; i < n; i++)
		beyond += raw[i] >= limit;
	return beyond;
}

double tm_stats_clustering(const uint32_t *raw, size_t n, double q)
{
	size_t batch = (size_t)sqrt((double)n), batches;
	double mean, share, sum = 0;
	uint32_t limit;

	if (n < TM_STATS_CLUSTER_MIN || !is_share(q) || find_limit(raw, n, q, &limit))
		return NAN;
	batches = n / batch;
	mean = (double)count_beyond(raw, batches * batch, limit) / (double)batches;
	share = mean / (double)batch;
	/* All the same, or all of those beyond behind the last batch: no clusters. */
	if (share <= 0 || share >= 1)
		return 1;
	for (size_t b = 0; b < batches; b++) {
		double off = (double)count_beyond(raw + b * batch, batch, limit) - mean;

		sum += off * off;
	}
	/* Independent operations: a binomial number of exceedances a batch. */
	return fmax(1, sum / (double)(batches - 1) / (mean * (1 - share)));
}

static int compare_reals(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double tm_stats_median(double *x, size_t n)
{
	if (!n)
		return NAN;
	qsort(x, n, sizeof(*x), compare_reals);
	return (x[(n - 1) / 2] + x[n / 2]) / 2;
}

bool tm_stats_quantile_known(double effective, double q)
{
	return effective * (1 - q) >= TM_STATS_BEYOND - RANK_SLACK;
}

void tm_stats_none(struct tm_estimate *e)
{
	*e = (struct tm_estimate){.value = NAN, .low = NAN, .high = NAN};
}

/*
 * Each rank is in the sum or not, a coin each: chance[w] after all of them is
 * P(W = w). A fresh array of n(n+1)/2 + 1.
 */
static double *signed_rank_chances(unsigned int n)
{
	size_t top = (size_t)n * (n + 1) / 2;
	double *chance = calloc(top + 1, sizeof(*chance));

	if (!chance)
		return NULL;
	chance[0] = 1;
	for (size_t rank = 1, reached = 0; rank <= n; rank++) {
		reached += rank;
		for (size_t w = reached + 1; w-- > 0;)
			chance[w] = (chance[w] + (w >= rank ? chance[w - rank] : 0)) / 2;
	}
	return chance;
}

double tm_stats_signed_rank(unsigned int n, unsigned int w)
{
	double *chance = signed_rank_chances(n), sum = 0;

	if (!chance)
		return NAN;
	for (size_t i = 0; i <= w && i <= (size_t)n * (n + 1) / 2; i++)
		sum += chance[i];
	free(chance);
	return fmin(sum, 1);
}

/* The means of all pairs, each value with itself included, sorted. */
static double *walsh_averages(const double *x, unsigned int n, size_t count)
{
	double *walsh = malloc(count * sizeof(*walsh));
	size_t at = 0;

	if (!walsh)
		return NULL;
	for (unsigned int i = 0; i < n; i++)
		for (unsigned int j = i; j < n; j++)
			walsh[at++] = (x[i] + x[j]) / 2;
	qsort(walsh, count, sizeof(*walsh), compare_reals);
	return walsh;
}

int tm_stats_centre(const double *x, unsigned int n, double level, struct tm_estimate *out)
{
	size_t count = (size_t)n * (n + 1) / 2, cut = 0;
	double *walsh, *chance, tail = 0;

	tm_stats_none(out);
	if (!n || n > TM_STATS_PAIRS_MAX)
		return -EINVAL;
	for (unsigned int i = 0; i < n; i++)
		if (!isfinite(x[i]))
			return -EINVAL;
	walsh = walsh_averages(x, n, count);
	chance = signed_rank_chances(n);
	if (!walsh || !chance) {
		free(walsh);
		free(chance);
		return -ENOMEM;
	}
	out->pairs = n;
	out->value = (walsh[(count - 1) / 2] + walsh[count / 2]) / 2;

	/* walsh[cut] .. walsh[count - 1 - cut] misses with chance 2 P(W <= cut). */
	while (2 * (tail + chance[cut]) <= 1 - level)
		tail += chance[cut++];
	if (cut) {
		out->low = walsh[cut - 1];
		out->high = walsh[count - cut];
		out->level = 1 - 2 * tail;
	}
	free(walsh);
	free(chance);
	return 0;
}
