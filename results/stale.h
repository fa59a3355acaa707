/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How long a translation outlives its unmapping, from looks at dead ones: each
 * was still used at one age, or no longer at one (the metrics `stale` and
 * `gone`). None says when it went: that is current status data. What can be told
 * without a model is the share that is stale at an age, by the one assumption
 * that none comes back: the non-increasing curve of highest likelihood, which
 * pooling adjacent violators finds (Ayer, Brunk, Ewing, Reid, Silverman 1955).
 * Pure functions; ages are in the histograms' unit.
 */
#ifndef TLBMARK_STALE_H
#define TLBMARK_STALE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/hist.h"

/* Looks of neighbouring ages that have one share, stale / looks. */
struct tm_stale_step {
	uint64_t from, to; /* lowest and highest age of them */
	uint64_t looks, stale;
};

/*
 * The curve: *count steps by age, their shares strictly falling; free() it. Either
 * histogram may be NULL or empty; without any look there is no step and *steps
 * is NULL. 0, -EINVAL where their layouts differ, -ENOMEM.
 */
int tm_stale_curve(const struct tm_hist *stale, const struct tm_hist *gone,
		   struct tm_stale_step **steps, size_t *count);

/*
 * Between which ages the curve falls to half or below; false where the looks do
 * not reach over it. It is where the estimate lies, not how well it is known.
 */
bool tm_stale_half(const struct tm_stale_step *steps, size_t count, double *low, double *high);

/*
 * The interval of the age at which half are stale, at 95%, by the likelihood
 * ratio (Banerjee, Wellner 2001), for looks that are independent; NaN where they
 * do not reach over it. Simulated: 90 to 96% from 20 looks on. 0, -EINVAL, -ENOMEM.
 */
int tm_stale_half_interval(const struct tm_hist *stale, const struct tm_hist *gone, double *low,
			   double *high);

/* Wilson's interval of a share of n, at 95%; n > 0. */
void tm_stale_interval(uint64_t part, uint64_t n, double *low, double *high);

#endif /* TLBMARK_STALE_H */
