// SPDX-License-Identifier: GPL-3.0-or-later
/* The counter as a clock: facts that hold on any machine. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include <tlbmark/arch.h>

#include "bench/clock.h"

static void test_calibration(void **state)
{
	const struct timespec wait = {.tv_nsec = 20000000};
	struct tm_clock_pair a, b;
	struct tm_clock c;
	double ns, said;

	(void)state;
	assert_int_equal(tm_clock_calibrate(&c), 0);
	assert_true(c.hz > 1e6 && c.hz < 1e11);
	assert_true(c.hz_error < 0.01);
	assert_true(c.resolution_ticks > 0);
	tm_clock_pair(&a);
	nanosleep(&wait, NULL);
	tm_clock_pair(&b);
	ns = (double)(b.monotonic_ns - a.monotonic_ns);
	said = tm_ticks_to_ns(&c, (double)(b.ticks - a.ticks));
	assert_true(ns > 19e6);
	assert_true(said / ns > 0.99 && said / ns < 1.01);
	assert_true(tm_ns_to_ticks(&c, tm_ticks_to_ns(&c, 1e6)) >= 999999 &&
		    tm_ns_to_ticks(&c, tm_ticks_to_ns(&c, 1e6)) <= 1000001);
}

static void test_step(void **state)
{
	uint64_t d[1000];

	(void)state;
	/* A counter that moves by 26, read quickly, now and then between two steps. */
	for (int i = 0; i < 1000; i++)
		d[i] = i % 10 == 5 ? 1 : i % 3 ? 26 : 52;
	assert_int_equal(tm_clock_step(d, 1000), 26);
	assert_int_equal(tm_clock_step(d, 0), 0);
	for (int i = 0; i < 1000; i++)
		d[i] = 1;
	assert_int_equal(tm_clock_step(d, 1000), 1);
}

/* Only an emulator that is told to counts instructions; where it does, they are exact. */
static void test_instructions(void **state)
{
	struct tm_clock c = {0};
	uint64_t ticks[2];
	int rc = tm_clock_of_instructions(&c);

	(void)state;
	assert_int_equal(c.instructions, !rc);
	if (rc) {
		assert_int_equal(rc, -ENOTSUP);
		return;
	}
	for (int i = 0; i < 2; i++) {
		uint64_t begin = tm_ticks();

		tm_count_down(1000 + 500 * (uint64_t)i);
		ticks[i] = tm_ticks() - begin;
	}
	assert_int_equal(ticks[1] - ticks[0], 1000);
	assert_true(c.hz > 999999999 && c.hz < 1000000001);
}

static void test_order(void **state)
{
	uint64_t last = 0;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		uint64_t begin = tm_ticks_begin(), end = tm_ticks_end();

		assert_true(end >= begin);
		assert_true(begin >= last);
		last = end;
	}
}

enum { ROUNDS = 200 };

static void *answer(void *p)
{
	tm_offset_answer(p);
	return NULL;
}

/* Both clocks are this machine's, so zero has to be in the proven interval. */
static void test_offset(void **state)
{
	static struct tm_pingpong p;
	struct tm_offset o;
	pthread_t t;

	(void)state;
	assert_int_equal(pthread_create(&t, NULL, answer, &p), 0);
	tm_offset_measure(&p, ROUNDS, UINT64_MAX, &o);
	pthread_join(t, NULL);
	assert_true(o.bound_ticks > 0);
	assert_true(o.offset_ticks - (int64_t)o.bound_ticks <= 0);
	assert_true(o.offset_ticks + (int64_t)o.bound_ticks >= 0);
}

/*
 * The other side is never in time: one exchange must do, and both sides end.
 * Its bound is what that exchange took, so far worse than that of many.
 */
static void test_offset_in_no_time(void **state)
{
	static struct tm_pingpong p;
	struct tm_offset o;
	pthread_t t;

	(void)state;
	assert_int_equal(pthread_create(&t, NULL, answer, &p), 0);
	tm_offset_measure(&p, ROUNDS, 0, &o);
	pthread_join(t, NULL);
	assert_int_equal(p.pong, 1);
	assert_true(o.bound_ticks > 0);
	assert_true(o.offset_ticks - (int64_t)o.bound_ticks <= 0);
	assert_true(o.offset_ticks + (int64_t)o.bound_ticks >= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calibration),  cmocka_unit_test(test_step),
		cmocka_unit_test(test_instructions), cmocka_unit_test(test_order),
		cmocka_unit_test(test_offset),	     cmocka_unit_test(test_offset_in_no_time),
	};

	return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
