// SPDX-License-Identifier: GPL-3.0-or-later
/* The counter as a clock. See clock.h. */
#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include <tlbmark/arch.h>

#include "clock.h"

enum {
	PAIRS = 1001,
	CALIBRATION_NS = 20000000,
	COARSE_NS = 100000, /* a clock with larger steps is the kernel's tick */
	COARSE_STEPS = 50,
};

static const uint64_t PING_END = UINT64_MAX;
enum {
	PATIENCE = 10,	   /* times the limit: then nobody is there who answers */
	LOOK_SPINS = 4096, /* between looks at the clock while the answer is awaited */
};
#define PATIENCE_TICKS (1ull << 32) /* a second or two besides */
#define UNKNOWN_TICKS (1ull << 48)  /* a day: more than whatever it is compared with */

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

/* The next time that the kernel's clock has another value; how far it moved. */
static uint64_t pair_at_step(struct tm_clock_pair *p)
{
	uint64_t before = tm_monotonic_ns(), ns = before;

	while (ns == before)
		ns = tm_monotonic_ns();
	tm_clock_pair(p);
	return ns - before;
}

static void pair_after(const struct tm_clock_pair *first, uint64_t ns, struct tm_clock_pair *p)
{
	do {
		pair_at_step(p);
	} while (p->monotonic_ns - first->monotonic_ns < ns);
}

static double rate(const struct tm_clock_pair *from, const struct tm_clock_pair *to)
{
	return (double)(to->ticks - from->ticks) * 1e9 /
	       (double)(to->monotonic_ns - from->monotonic_ns);
}

/*
 * Where the kernel has no better clock its time moves by a tick (4 ms, say):
 * from step to step then, over more of them. Each may be late by one, and a
 * guest may have lost some: then its two halves differ.
 */
int tm_clock_calibrate(struct tm_clock *c)
{
	struct tm_clock_pair first, middle, second;
	uint64_t step_ns = UINT64_MAX, wanted_ns = CALIBRATION_NS;
	double ticks, ns;

	if (!tm_ticks_supported())
		return -ENOTSUP;
	/* The smallest: in one of them we may have been off the CPU. */
	for (int i = 0; i < 3; i++) {
		uint64_t step = pair_at_step(&first);

		step_ns = step < step_ns ? step : step_ns;
	}
	if (step_ns > COARSE_NS)
		wanted_ns = COARSE_STEPS * step_ns;
	measure_pair(c);
	pair_after(&first, wanted_ns / 2, &middle);
	pair_after(&first, wanted_ns, &second);
	if (second.ticks <= first.ticks)
		return -EIO;
	ticks = (double)(second.ticks - first.ticks);
	ns = (double)(second.monotonic_ns - first.monotonic_ns);
	c->hz = rate(&first, &second);
	c->hz_error = (double)(first.slack_ticks + second.slack_ticks) / 2 / ticks;
	if (step_ns > COARSE_NS)
		c->hz_error += (double)step_ns / ns +
			       fabs(rate(&first, &middle) - rate(&middle, &second)) / c->hz;
	return 0;
}

/* What a loop of 2 x turns instructions takes, beside its reads of the counter. */
static uint64_t loop_ticks(uint64_t turns)
{
	uint64_t begin = tm_ticks();

	tm_count_down(turns);
	return tm_ticks() - begin;
}

/* Eight differences in a row, all exact: the reads' own cost is in both. */
static bool loops_are_exact(void)
{
	for (uint64_t turns = 100; turns <= 12800; turns *= 2) {
		uint64_t one = loop_ticks(turns);

		if (loop_ticks(2 * turns) - one != 2 * turns)
			return false;
	}
	return true;
}

int tm_clock_of_instructions(struct tm_clock *c)
{
	bool exact = false;

	/* A timer tick may fall into a loop, not into each of so many. */
	for (int i = 0; i < 8 && !exact; i++)
		exact = loops_are_exact();
	if (!exact)
		return -ENOTSUP;
	measure_pair(c);
	c->hz = 1e9;
	c->hz_error = 0;
	c->instructions = true;
	return 0;
}

/* The other side may have died: the spin ends some time after the limit. */
void tm_offset_measure(struct tm_pingpong *p, unsigned int rounds, uint64_t limit_ticks,
		       struct tm_offset *out)
{
	uint64_t start = tm_ticks(), t1, t4 = start;
	int64_t low = INT64_MIN, high = INT64_MAX;

	for (unsigned int i = 1; i <= rounds && t4 - start <= limit_ticks; i++) {
		t1 = tm_ticks_begin();

		atomic_store_explicit(&p->ping, i, memory_order_release);
		for (unsigned int k = 1; atomic_load_explicit(&p->pong, memory_order_acquire) != i;
		     k++) {
			if (!(k % LOOK_SPINS) &&
			    tm_ticks() - start > PATIENCE * limit_ticks + PATIENCE_TICKS)
				goto out;
		}
		t4 = tm_ticks_end();
		if ((int64_t)(p->t2 - t1) < high)
			high = (int64_t)(p->t2 - t1);
		if ((int64_t)(p->t3 - t4) > low)
			low = (int64_t)(p->t3 - t4);
	}
out:
	atomic_store_explicit(&p->ping, PING_END, memory_order_release);
	if (low == INT64_MIN) {
		*out = (struct tm_offset){.bound_ticks = UNKNOWN_TICKS};
		return;
	}
	out->offset_ticks = low + (high - low) / 2;
	/* A counter is a floor: each reading may be a tick less than the time. */
	out->bound_ticks = (uint64_t)((high - low + 1) / 2) + 1;
}

void tm_offset_answer(struct tm_pingpong *p)
{
	uint64_t seen = 0, ping;

	for (;;) {
		while ((ping = atomic_load_explicit(&p->ping, memory_order_acquire)) == seen)
			;
		if (ping == PING_END)
			return;
		p->t2 = tm_ticks_end();
		p->t3 = tm_ticks_begin();
		atomic_store_explicit(&p->pong, ping, memory_order_release);
		seen = ping;
	}
}
