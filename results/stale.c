// SPDX-License-Identifier: GPL-3.0-or-later
#include "stale.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

static uint64_t slot_of(const struct tm_hist *h, uint32_t i)
{
	return h ? h->slot[i] : 0;
}

/* Is the share of a below that of b, or the same? */
static bool rises(const struct tm_stale_step *a, const struct tm_stale_step *b)
{
	return (double)a->stale * (double)b->looks <= (double)b->stale * (double)a->looks;
}

/* Appends a step, and pools it with those before as long as the curve would not fall. */
static size_t pool(struct tm_stale_step *steps, size_t n, struct tm_stale_step next)
{
	while (n && rises(&steps[n - 1], &next)) {
		n--;
		next.from = steps[n].from;
		next.looks += steps[n].looks;
		next.stale += steps[n].stale;
	}
	steps[n] = next;
	return n + 1;
}

/* What was looked at, by age and not pooled: as tm_stale_curve(). */
static int gather(const struct tm_hist *stale, const struct tm_hist *gone,
		  struct tm_stale_step **steps, size_t *count)
{
	const struct tm_hist *any = stale ? stale : gone;

	*steps = NULL;
	*count = 0;
	if (stale && gone && stale->sub_bits != gone->sub_bits)
		return -EINVAL;
	if (!any || !((stale ? stale->count : 0) + (gone ? gone->count : 0)))
		return 0;
	*steps = calloc(any->slots, sizeof(**steps));
	if (!*steps)
		return -ENOMEM;
	for (uint32_t i = 0; i < any->slots; i++) {
		struct tm_stale_step next = {
			.from = tm_hist_slot_low(any, i),
			.to = tm_hist_slot_high(any, i),
			.looks = slot_of(stale, i) + slot_of(gone, i),
			.stale = slot_of(stale, i),
		};

		if (next.looks)
			(*steps)[(*count)++] = next;
	}
	return 0;
}

int tm_stale_curve(const struct tm_hist *stale, const struct tm_hist *gone,
		   struct tm_stale_step **steps, size_t *count)
{
	size_t looks, n = 0;
	int rc = gather(stale, gone, steps, &looks);

	for (size_t i = 0; i < looks; i++)
		n = pool(*steps, n, (*steps)[i]);
	*count = n;
	return rc;
}

bool tm_stale_half(const struct tm_stale_step *steps, size_t count, double *low, double *high)
{
	size_t i = 0;

	while (i < count && 2 * steps[i].stale > steps[i].looks)
		i++;
	if (!i || i == count)
		return false;
	*low = (double)steps[i - 1].to;
	*high = (double)steps[i].from;
	return true;
}

static double share_of(const struct tm_stale_step *s)
{
	return (double)s->stale / (double)s->looks;
}

/* Logarithm of how likely its looks are with that share. */
static double likelihood(const struct tm_stale_step *s, double share)
{
	uint64_t gone = s->looks - s->stale;

	return (s->stale ? (double)s->stale * log(share) : 0) +
	       (gone ? (double)gone * log(1 - share) : 0);
}

/*
 * at[i]: the likelihood of the first i looks where no share is below half.
 * The likeliest curve of all is left in `curve`; its number of steps.
 */
static size_t not_below_half(const struct tm_stale_step *looks, size_t count,
			     struct tm_stale_step *curve, double *at)
{
	size_t n = 0;

	at[0] = 0;
	for (size_t i = 0; i < count; i++) {
		n = pool(curve, n, looks[i]);
		at[i + 1] = 0;
		for (size_t k = 0; k < n; k++)
			at[i + 1] += likelihood(&curve[k], fmax(share_of(&curve[k]), 0.5));
	}
	return n;
}

/*
 * Which ages can be those of half? Those at which forcing the curve to be half
 * there costs little likelihood: not below half before, not above it after. The
 * latter is the former read backwards, with stale and gone exchanged.
 */
static void find_half(const struct tm_stale_step *looks, size_t count, struct tm_stale_step *mirror,
		      struct tm_stale_step *curve, double *before, double *after, double *low,
		      double *high)
{
	/* 95% of twice the ratio's logarithm, in the limit (Banerjee, Wellner 2001). */
	static const double most = 2.26916;
	double likeliest = 0;
	size_t first = count + 1, last = 0, n;

	for (size_t i = 0; i < count; i++) {
		mirror[i] = looks[count - 1 - i];
		mirror[i].stale = mirror[i].looks - mirror[i].stale;
	}
	not_below_half(mirror, count, curve, after);
	n = not_below_half(looks, count, curve, before);
	for (size_t k = 0; k < n; k++)
		likeliest += likelihood(&curve[k], share_of(&curve[k]));
	for (size_t i = 0; i <= count; i++) {
		if (2 * (likeliest - before[i] - after[count - i]) > most)
			continue;
		first = i < first ? i : first;
		last = i;
	}
	if (!first || last == count)
		return;
	*low = (double)looks[first - 1].to;
	*high = (double)looks[last].from;
}

int tm_stale_half_interval(const struct tm_hist *stale, const struct tm_hist *gone, double *low,
			   double *high)
{
	struct tm_stale_step *looks, *scratch;
	double *likelihoods;
	size_t n;
	int rc = gather(stale, gone, &looks, &n);

	*low = *high = NAN;
	if (!n) {
		free(looks);
		return rc;
	}
	scratch = calloc(2 * n, sizeof(*scratch));
	likelihoods = calloc(2 * (n + 1), sizeof(*likelihoods));
	if (scratch && likelihoods)
		find_half(looks, n, scratch, scratch + n, likelihoods, likelihoods + n + 1, low,
			  high);
	else
		rc = -ENOMEM;
	free(likelihoods);
	free(scratch);
	free(looks);
	return rc;
}

void tm_stale_interval(uint64_t part, uint64_t n, double *low, double *high)
{
	static const double z = 1.959964; /* 97.5% of the normal distribution */
	double p = (double)part / (double)n, k = z * z / (double)n;
	double middle = (p + k / 2) / (1 + k);
	double half = sqrt(k * (p * (1 - p) + k / 4)) / (1 + k);

	*low = fmax(0, middle - half);
	*high = fmin(1, middle + half);
}
