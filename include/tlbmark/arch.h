/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Everything that depends on the processor architecture: reading the counter
 * that all CPUs of a machine share, pausing in a spin loop, and a loop of a
 * known number of instructions.
 *
 * x86-64 reads the TSC, aarch64 the virtual counter CNTVCT_EL0. A value is in
 * ticks; tm_clock_calibrate() (bench/clock.h) tells how many make a second.
 * The counter must run at a constant rate and be readable in user mode; both
 * are checked by `tlbmark doctor`, not here.
 *
 * Sources: Intel SDM vol. 2, RDTSC and RDTSCP (ordering by LFENCE);
 * Arm ARM DDI 0487, CNTVCT_EL0 and the note that reads may be speculated.
 */
#ifndef TLBMARK_ARCH_H
#define TLBMARK_ARCH_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__)

#include <cpuid.h>

#define TM_ARCH_NAME "x86_64"
#define TM_ARCH_COUNTER "TSC"

/* Does the CPU have RDTSCP, without which tm_ticks_end() ends in SIGILL? */
static inline bool tm_ticks_supported(void)
{
	unsigned int a, b, c, d;

	return __get_cpuid(0x80000001, &a, &b, &c, &d) && d & 1u << 27;
}

/* Unordered: for spin loops, where the next read follows at once. */
static inline uint64_t tm_ticks(void)
{
	uint32_t lo, hi;

	__asm__ __volatile__("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

/* Everything before has completed; nothing after has started. */
static inline uint64_t tm_ticks_begin(void)
{
	uint32_t lo, hi;

	__asm__ __volatile__("lfence\n\trdtsc\n\tlfence" : "=a"(lo), "=d"(hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
}

/* Everything before has completed (RDTSCP waits); nothing after starts. */
static inline uint64_t tm_ticks_end(void)
{
	uint32_t lo, hi;

	__asm__ __volatile__("rdtscp\n\tlfence" : "=a"(lo), "=d"(hi) : : "rcx", "memory");
	return (uint64_t)hi << 32 | lo;
}

static inline void tm_relax(void)
{
	__asm__ __volatile__("pause" ::: "memory");
}

/* Executes 2 x turns instructions, turns >= 1. */
static inline void tm_count_down(uint64_t turns)
{
	__asm__ __volatile__("1:\tdec %0\n\tjnz 1b" : "+r"(turns) : : "cc");
}

#elif defined(__aarch64__)

#define TM_ARCH_NAME "aarch64"
#define TM_ARCH_COUNTER "CNTVCT"

static inline bool tm_ticks_supported(void)
{
	return true;
}

static inline uint64_t tm_ticks(void)
{
	uint64_t v;

	__asm__ __volatile__("mrs %0, cntvct_el0" : "=r"(v));
	return v;
}

static inline uint64_t tm_ticks_begin(void)
{
	uint64_t v;

	__asm__ __volatile__("isb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(v) : : "memory");
	return v;
}

static inline uint64_t tm_ticks_end(void)
{
	return tm_ticks_begin();
}

static inline void tm_relax(void)
{
	__asm__ __volatile__("yield" ::: "memory");
}

static inline void tm_count_down(uint64_t turns)
{
	__asm__ __volatile__("1:\tsubs %0, %0, #1\n\tb.ne 1b" : "+r"(turns) : : "cc");
}

#else
#error "tlbmark knows x86-64 and aarch64; add your architecture to include/tlbmark/arch.h"
#endif

#endif /* TLBMARK_ARCH_H */
