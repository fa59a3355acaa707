/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The next number of a reproducible stream: splitmix64, Steele et al. (2014). */
#ifndef TLBMARK_RANDOM_H
#define TLBMARK_RANDOM_H

#include <stdint.h>

static inline uint64_t tm_next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

#endif /* TLBMARK_RANDOM_H */
