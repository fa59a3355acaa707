// SPDX-License-Identifier: GPL-3.0-or-later
/* The counter as a clock. See clock.h. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include <tlbmark/arch.h>

#include "clock.h"

enum { PAIRS = 1001, CALIBRATION_NS = 20000000 };

uint64_t tm_monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void tm_clock_pair(struct tm_clock_pair *p)
{
	p->slack_ticks = UINT64_MAX;
	for (int i = 0; i < 8; i++) {
		uint64_t before = tm_ticks_begin();
		uint64_t ns = tm_monotonic_ns();
		uint64_t after = tm_ticks_end();

		if (after - before < p->slack_ticks) {
			p->slack_ticks = after - before;
			p->ticks = before + (after - before) / 2;
			p->monotonic_ns = ns;
		}
	}
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

void tm_sort_u64(uint64_t *values, size_t count)
{
	qsort(values, count, sizeof(*values), compare_u64);
}

uint64_t tm_clock_step(uint64_t *differences, size_t count)
{
	tm_sort_u64(differences, count);
	return count ? differences[count / 4] : 0;
}

static void measure_pair(struct tm_clock *c)
{
	static _Thread_local uint64_t d[PAIRS];
	uint64_t last = tm_ticks();
	size_t n = 0;

	/* A coarse counter shows the same value many times in a row. */
	for (int i = 0; i < 100 * PAIRS && n < PAIRS; i++) {
		uint64_t now = tm_ticks();

		if (now != last)
			d[n++] = now - last;
		last = now;
	}
	c->resolution_ticks = tm_clock_step(d, n);
	for (int i = 0; i < PAIRS; i++) {
		uint64_t begin = tm_ticks_begin();

		d[i] = tm_ticks_end() - begin;
	}
	tm_sort_u64(d, PAIRS);
	c->pair_ticks = d[PAIRS / 2];
}

int tm_clock_calibrate(struct tm_clock *c)
{
	struct tm_clock_pair first, second;
	double ticks, ns;

	tm_clock_pair(&first);
	measure_pair(c);
	do {
		tm_clock_pair(&second);
	} while (second.monotonic_ns - first.monotonic_ns < CALIBRATION_NS);
	if (second.ticks <= first.ticks)
		return -EIO;
	ticks = (double)(second.ticks - first.ticks);
	ns = (double)(second.monotonic_ns - first.monotonic_ns);
	c->hz = ticks * 1e9 / ns;
	c->hz_error = (double)(first.slack_ticks + second.slack_ticks) / 2 / ticks;
	return 0;
}

/*
 * A spin that would never end if the other side died is the parent's to end:
 * the run process is killed as a whole.
 */
void tm_offset_measure(struct tm_pingpong *p, unsigned int rounds, struct tm_offset *out)
{
	int64_t low = INT64_MIN, high = INT64_MAX;

	for (unsigned int i = 1; i <= rounds; i++) {
		uint64_t t1 = tm_ticks_begin(), t4;

		atomic_store_explicit(&p->ping, i, memory_order_release);
		while (atomic_load_explicit(&p->pong, memory_order_acquire) != i)
			;
		t4 = tm_ticks_end();
		if ((int64_t)(p->t2 - t1) < high)
			high = (int64_t)(p->t2 - t1);
		if ((int64_t)(p->t3 - t4) > low)
			low = (int64_t)(p->t3 - t4);
	}
	out->offset_ticks = low + (high - low) / 2;
	/* A counter is a floor: each reading may be a tick less than the time. */
	out->bound_ticks = (uint64_t)((high - low + 1) / 2) + 1;
}

void tm_offset_answer(struct tm_pingpong *p, unsigned int rounds)
{
	for (unsigned int i = 1; i <= rounds; i++) {
		while (atomic_load_explicit(&p->ping, memory_order_acquire) != i)
			;
		p->t2 = tm_ticks_end();
		p->t3 = tm_ticks_begin();
		atomic_store_explicit(&p->pong, i, memory_order_release);
	}
}
