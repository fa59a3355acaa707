/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The log-linear histogram: recording, merging, quantiles.
 *
 * With half = 2^(sub_bits - 1), bucket 0 holds the values below 2 * half one
 * by one; bucket k > 0 holds half * 2^k .. 2 * half * 2^k - 1 in `half` slots
 * of width 2^k. Slot number = k * half + (value >> k), which for k = 0 is the
 * value itself: the same formula everywhere, and HdrHistogram's own order.
 */
#include "hist.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HIGHEST ((UINT64_C(1) << TM_HIST_VALUE_BITS) - 1)

static uint32_t slots_for(unsigned int sub_bits)
{
	return (uint32_t)(TM_HIST_VALUE_BITS - sub_bits + 2) << (sub_bits - 1);
}

static uint32_t slot_of(const struct tm_hist *h, uint64_t value)
{
	unsigned int top, bucket;

	if (value > HIGHEST)
		value = HIGHEST;
	/* The lowest bits are all bucket 0: setting one spares a branch on 0. */
	top = 63 - (unsigned int)__builtin_clzll(value | UINT64_C(1) << (h->sub_bits - 1));
	bucket = top - (h->sub_bits - 1);
	return (bucket << (h->sub_bits - 1)) + (uint32_t)(value >> bucket);
}

size_t tm_hist_bytes(unsigned int sub_bits)
{
	return sizeof(struct tm_hist) + slots_for(sub_bits) * sizeof(uint64_t);
}

void tm_hist_init(struct tm_hist *h, unsigned int sub_bits)
{
	memset(h, 0, tm_hist_bytes(sub_bits));
	h->sub_bits = sub_bits;
	h->slots = slots_for(sub_bits);
	h->min = UINT64_MAX;
}

struct tm_hist *tm_hist_new(unsigned int sub_bits)
{
	struct tm_hist *h = malloc(tm_hist_bytes(sub_bits));

	if (h)
		tm_hist_init(h, sub_bits);
	return h;
}

void tm_hist_record_n(struct tm_hist *h, uint64_t value, uint64_t n)
{
	if (!n)
		return;
	h->slot[slot_of(h, value)] += n;
	h->count += n;
	if (value > HIGHEST)
		h->clamped += n;
	if (value < h->min)
		h->min = value;
	if (value > h->max)
		h->max = value;
	h->sum += (double)value * (double)n;
}

int tm_hist_merge(struct tm_hist *into, const struct tm_hist *from)
{
	if (into->sub_bits != from->sub_bits)
		return -EINVAL;
	for (uint32_t i = 0; i < from->slots; i++)
		into->slot[i] += from->slot[i];
	into->count += from->count;
	into->clamped += from->clamped;
	if (from->min < into->min)
		into->min = from->min;
	if (from->max > into->max)
		into->max = from->max;
	into->sum += from->sum;
	return 0;
}

uint64_t tm_hist_quantile(const struct tm_hist *h, double q)
{
	double exact = q * (double)h->count;
	uint64_t rank, seen = 0;

	if (!h->count)
		return 0;
	if (!(q > 0))
		return h->min;
	/* 0.07 * 100 is a little more than 7 in binary: do not round that up to 8. */
	exact = ceil(exact - exact * 2 * DBL_EPSILON);
	if (exact <= 1)
		return h->min;
	if (q >= 1 || exact >= (double)h->count)
		return h->max;
	rank = (uint64_t)exact;
	for (uint32_t i = 0; i < h->slots; i++) {
		seen += h->slot[i];
		if (seen >= rank) {
			uint64_t high = tm_hist_slot_high(h, i);

			return high < h->max ? high : h->max;
		}
	}
	return h->max;
}

uint64_t tm_hist_count_above(const struct tm_hist *h, uint64_t value)
{
	uint64_t n = 0;

	for (uint32_t i = slot_of(h, value) + 1; i < h->slots; i++)
		n += h->slot[i];
	return n;
}

uint64_t tm_hist_slot_low(const struct tm_hist *h, uint32_t i)
{
	uint32_t bucket = i >> (h->sub_bits - 1);

	if (bucket < 2)
		return i;
	bucket--;
	return (uint64_t)(i - (bucket << (h->sub_bits - 1))) << bucket;
}

uint64_t tm_hist_slot_high(const struct tm_hist *h, uint32_t i)
{
	uint32_t bucket = i >> (h->sub_bits - 1);

	return tm_hist_slot_low(h, i) + (bucket < 2 ? 0 : (UINT64_C(1) << (bucket - 1)) - 1);
}
