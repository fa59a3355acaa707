/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The counter as a clock: its rate, its cost, and how far the counters of two
 * CPUs are apart.
 */
#ifndef TLBMARK_CLOCK_H
#define TLBMARK_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tm_clock {
	double hz;		   /* ticks a second */
	double hz_error;	   /* half-width of what hz may be off by, relative */
	uint64_t pair_ticks;	   /* median of tm_ticks_end() - tm_ticks_begin(), back to back */
	uint64_t resolution_ticks; /* its step: tm_clock_step() of two reads */
	bool instructions;	   /* a tick is one instruction of the whole machine, and 1 ns */
};

/*
 * What can be told apart, from differences between neighbouring reads, zeros
 * left out: their lower quartile. Not the smallest: a counter that moves by 26
 * (AMD family 1Ah) still never shows one value twice, so that a read between
 * two of its steps adds 1. Sorts them. 0 without any.
 */
uint64_t tm_clock_step(uint64_t *differences, size_t count);

#define TM_CLOCK_LACKING "this CPU lacks RDTSCP, by which operations are timed"

/*
 * Measures against CLOCK_MONOTONIC for about 20 ms on the calling CPU, or for
 * 50 ticks of a kernel whose clock only moves by those; hz_error tells.
 * 0; -EIO where the counter does not advance, -ENOTSUP where the CPU lacks what
 * reads it (TM_CLOCK_LACKING).
 */
int tm_clock_calibrate(struct tm_clock *c);

/*
 * The same where the counter counts executed instructions, as in QEMU with
 * -icount shift=0: it passes a nanosecond of the guest's time for each, so hz
 * is 1e9 and exact. 0, or -ENOTSUP where known loops do not take exactly as
 * many ticks as they have instructions.
 */
int tm_clock_of_instructions(struct tm_clock *c);

static inline double tm_ticks_to_ns(const struct tm_clock *c, double ticks)
{
	return ticks * 1e9 / c->hz;
}

static inline uint64_t tm_ns_to_ticks(const struct tm_clock *c, double ns)
{
	return (uint64_t)(ns * c->hz / 1e9);
}

uint64_t tm_monotonic_ns(void); /* CLOCK_MONOTONIC */

void tm_sort_u64(uint64_t *values, size_t count); /* ascending */

/*
 * Where CLOCK_MONOTONIC stood at a counter value, so that kernel timestamps
 * (bpf_ktime_get_ns) can be laid beside ours. `slack_ticks`: how long taking
 * the pair took; the true pair lies within half of it.
 */
struct tm_clock_pair {
	uint64_t ticks;
	uint64_t monotonic_ns;
	uint64_t slack_ticks;
};
/* The tightest of a few attempts; about 1 us. */
void tm_clock_pair(struct tm_clock_pair *p);

/*
 * Counter offset between two CPUs by ping-pong. With t1, t2, t3, t4 the usual
 * four stamps (1, 4 here, 2, 3 there) every exchange proves
 * t3 - t4 <= offset <= t2 - t1 (there minus here), whatever the asymmetry of the path; the
 * tightest of many exchanges bounds it.
 */
struct tm_offset {
	int64_t offset_ticks; /* there minus here: middle of the interval */
	uint64_t bound_ticks; /* half-width: the truth is within offset +- bound */
};

/* One exchange's mailbox; on a cache line of its own. */
struct tm_pingpong {
	_Alignas(128) _Atomic uint64_t ping;
	_Alignas(128) _Atomic uint64_t pong;
	uint64_t t2, t3;
};

/*
 * Runs on the measuring CPU: `rounds` exchanges (at least 1), fewer where
 * limit_ticks are over first. Where two CPUs of a guest are never on a real
 * one at the same time an exchange takes milliseconds, and the bound says so.
 * Where nobody answers the bound is a day.
 */
void tm_offset_measure(struct tm_pingpong *p, unsigned int rounds, uint64_t limit_ticks,
		       struct tm_offset *out);
/* Runs on the other CPU at the same time; ping and pong begin as 0. */
void tm_offset_answer(struct tm_pingpong *p);

#endif /* TLBMARK_CLOCK_H */
