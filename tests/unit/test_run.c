// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Real runs on this machine, of workloads made for the test: what is counted,
 * what happens when one fails, hangs, dies, and that nothing is left running.
 * Needs two CPUs for the responders; with one only the rest is checked.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/responder.h"
#include "bench/run.h"

enum { OPS = 200, TIMEOUT_MS = 20000 };

const struct tm_workload *const tm_workloads[] = {NULL};

static struct tm_clock test_clock;
static struct tm_probe *probe;
static struct tm_topo *topo;

/* ---- workloads ---- */

static int count_operate(struct tm_thread *t, void *state)
{
	(void)state;
	while (tm_more(t)) {
		tm_begin(t);
		tm_end(t, 1);
	}
	return 0;
}

static const struct tm_workload counts = {.name = "counts", .operate = count_operate};

static int page_setup(struct tm_thread *t, void **state)
{
	*state = mmap(NULL, t->page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	*(uint64_t *)*state = 1;
	return *state == MAP_FAILED ? tm_fail(t, -errno, "mmap") : 0;
}

static int protect_operate(struct tm_thread *t, void *state)
{
	while (tm_more(t)) {
		mprotect(state, t->page_bytes, PROT_READ | PROT_WRITE);
		*(volatile uint64_t *)state = 1;
		tm_publish(t, state, t->page_bytes, 64);
		tm_begin(t);
		mprotect(state, t->page_bytes, PROT_READ);
		tm_end(t, 1);
	}
	return 0;
}

/* An honest oracle, beside a lie that it has to find. */
static int protect_verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	uint64_t value = 0;

	mprotect(state, t->page_bytes, PROT_READ | PROT_WRITE);
	tm_check(v, !tm_poke(t, 0, state, 7), "a writable page took no store");
	tm_check(v, !tm_peek(t, 0, state, &value) && value == 7, "read %lu, not 7", value);
	tm_check(v, !tm_self_peek(state, &value) && value == 7, "read %lu here, not 7", value);
	mprotect(state, t->page_bytes, PROT_READ);
	tm_check(v, tm_poke(t, 0, state, 8) == -EFAULT, "a store went through");
	tm_check(v, tm_self_poke(state, 8) == -EFAULT, "a store went through here");
	mprotect(state, t->page_bytes, PROT_NONE);
	tm_check(v, tm_peek(t, 0, state, &value) == -EFAULT, "a read went through");
	mprotect(state, t->page_bytes, PROT_READ);
	tm_check(v, tm_peek(t, 0, state, &value) == -EFAULT, "page %d is readable", 42);
	return 0;
}

static const struct tm_workload protects = {.name = "protects",
					    .gate = TM_GATE_EVERY,
					    .setup = page_setup,
					    .operate = protect_operate,
					    .verify = protect_verify};

/* The same, but it says that they overlap: then the gaps are nobody's. */
static const struct tm_workload overlaps = {.name = "overlaps",
					    .gate = TM_GATE_SOME,
					    .overlap = true,
					    .setup = page_setup,
					    .operate = protect_operate};

static int refuse_setup(struct tm_thread *t, void **state)
{
	(void)state;
	return tm_fail(t, -ENOTSUP, "no %s here", "unicorns");
}

static int fail_operate(struct tm_thread *t, void *state)
{
	(void)state;
	return tm_fail(t, -ENOSPC, "operation %d", 3);
}

static int die_operate(struct tm_thread *t, void *state)
{
	static volatile uintptr_t unmapped = 64; /* volatile: the compiler must not see it */

	(void)t;
	(void)state;
	*(volatile int *)unmapped = 1;
	return 0;
}

static int hang_operate(struct tm_thread *t, void *state)
{
	(void)t;
	(void)state;
	for (;;)
		pause();
	return 0;
}

/* ---- the machinery ---- */

static struct tm_cell cell_of(const struct tm_workload *w, enum tm_state state,
			      unsigned int initiators, unsigned int responders)
{
	const struct tm_place_request q = {.initiators = initiators,
					   .responders = responders,
					   .distance = TM_DISTANCE_ANY,
					   .initiator_cpu = -1,
					   .memory_node = -1};
	struct tm_cell c = {.args = {.workload = w,
				     .initiators = initiators,
				     .responders = responders,
				     .seed = 1,
				     .memory_node = -1},
			    .state = state,
			    .ops = OPS};
	char why[256] = "";

	if (tm_place(topo, &q, &c.placement, why, sizeof(why)))
		fail_msg("%s", why);
	return c;
}

static struct tm_result *run(struct tm_cell *c, unsigned int timeout_ms)
{
	const struct tm_run_context context = {.clock = &test_clock, .probe = probe};
	struct tm_result *r = tm_result_new(c->placement.responders);

	assert_non_null(r);
	assert_int_equal(tm_run(c, &context, r, timeout_ms, NULL), 0);
	/* Whatever happened, nothing of it is left. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	tm_placement_free(&c->placement);
	return r;
}

static void test_counts(void **state)
{
	struct tm_cell c = cell_of(&counts, TM_STATE_NONE, 1, 0);
	struct tm_result *r = run(&c, TIMEOUT_MS);

	(void)state;
	assert_int_equal(r->error, 0);
	assert_int_equal(r->ops, OPS);
	assert_int_equal(tm_result_hist(r, TM_METRIC_OP)->count, OPS);
	assert_int_equal(r->raw_count, OPS);
	assert_int_equal(r->deliveries_expected, 0);
	assert_true(r->warmup_ops > 0 && r->warmup_ops <= 2 * OPS);
	assert_true(r->elapsed_ns > 0);
	assert_true(r->resident_peak_kib > 0);
	tm_result_free(r);
}

static void test_duration(void **state)
{
	struct tm_cell c = cell_of(&counts, TM_STATE_NONE, 1, 0);
	struct tm_result *r;

	(void)state;
	c.ops = 0;
	c.duration_ns = 30000000;
	r = run(&c, TIMEOUT_MS);
	assert_int_equal(r->error, 0);
	assert_true(r->ops > OPS);
	/* Each batch's first one was done, and does not count. */
	assert_true(r->ops_done > r->ops && r->ops_done <= r->ops + r->ops / 16 + 1);
	assert_true(r->elapsed_ns >= c.duration_ns);
	tm_result_free(r);
}

static void test_initiators(void **state)
{
	struct tm_cell c;
	struct tm_result *r;

	(void)state;
	if (tm_topo_cpus(topo) < 2)
		return;
	c = cell_of(&counts, TM_STATE_NONE, 2, 0);
	c.ops = OPS + 1; /* does not divide */
	r = run(&c, TIMEOUT_MS);
	assert_int_equal(r->error, 0);
	assert_int_equal(r->ops, OPS + 1);
	assert_int_equal(tm_result_hist(r, TM_METRIC_OP)->count, OPS + 1);
	tm_result_free(r);
}

static void test_overlapping(void **unused)
{
	struct tm_cell c;
	struct tm_result *r;

	(void)unused;
	if (tm_topo_cpus(topo) < 2)
		return;
	c = cell_of(&overlaps, TM_STATE_SPIN, 1, 1);
	r = run(&c, TIMEOUT_MS);
	assert_int_equal(r->error, 0);
	assert_int_equal(r->ops, OPS);
	assert_int_equal(r->ops_done, OPS);
	assert_int_equal(r->ops_valid, OPS);
	assert_int_equal(tm_result_hist(r, TM_METRIC_OP)->count, OPS);
	assert_int_equal(r->deliveries_expected + r->deliveries, 0);
	assert_int_equal(tm_result_responders(r)[0].gaps_in, 0);
	tm_result_free(r);
}

static void test_responders(void **unused)
{
	static const enum tm_state states[] = {TM_STATE_SPIN, TM_STATE_TOUCH, TM_STATE_KERNEL};

	(void)unused;
	if (tm_topo_cpus(topo) < 2)
		return;
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		struct tm_cell c = cell_of(&protects, states[i], 1, 1);
		struct tm_result *r = run(&c, TIMEOUT_MS);

		assert_int_equal(r->error, 0);
		assert_int_equal(r->ops, OPS);
		assert_int_equal(r->deliveries_expected, OPS);
		/* A busy machine loses some; it can't invent any. */
		assert_true(r->deliveries > 0 && r->deliveries <= OPS);
		assert_true(r->valid_one_gap <= r->ops_valid && r->ops_valid <= r->ops_armed &&
			    r->ops_armed <= r->ops);
		assert_true(r->valid_positive <= r->valid_one_gap);
		assert_true(tm_result_responders(r)[0].delivered == r->deliveries);
		assert_true(tm_result_responders(r)[0].bound_ticks > 0);
		tm_result_free(r);
	}
}

/* Everything as often as it was asked for, and nobody looks for gaps. */
static void test_deterministic(void **unused)
{
	static const enum tm_state states[] = {TM_STATE_NONE, TM_STATE_SPIN, TM_STATE_TOUCH,
					       TM_STATE_KERNEL, TM_STATE_FOREIGN};

	(void)unused;
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		bool any = states[i] != TM_STATE_NONE;
		struct tm_cell c;
		struct tm_result *r;

		if (any && tm_topo_cpus(topo) < 2)
			return;
		c = cell_of(&protects, states[i], 1, any);
		c.deterministic = true;
		c.verify = any && states[i] != TM_STATE_FOREIGN;
		r = run(&c, TIMEOUT_MS);
		assert_int_equal(r->error, 0);
		assert_int_equal(r->ops, OPS);
		assert_int_equal(r->raw_count, OPS);
		assert_int_equal(r->warmup_ops, 32);
		assert_int_equal(r->deliveries_expected, 0);
		assert_int_equal(r->verified, c.verify);
		assert_int_equal(r->verdict.violations, c.verify ? 1 : 0); /* the lie */
		assert_int_equal(tm_result_hist(r, TM_METRIC_STOLEN)->count, 0);
		tm_result_free(r);
	}
}

/* Neither a sleeping responder nor one in another process gets any. */
static void test_controls(void **unused)
{
	struct tm_cell c;
	struct tm_result *r;

	(void)unused;
	if (tm_topo_cpus(topo) < 2)
		return;
	c = cell_of(&protects, TM_STATE_IDLE, 1, 1);
	r = run(&c, TIMEOUT_MS);
	assert_int_equal(r->error, 0);
	assert_int_equal(r->ops, OPS);
	assert_int_equal(r->deliveries, 0);
	tm_result_free(r);
	c = cell_of(&protects, TM_STATE_FOREIGN, 1, 1);
	r = run(&c, TIMEOUT_MS);
	assert_int_equal(r->error, 0);
	assert_true(r->deliveries < OPS / 2); /* other interrupts may hit an operation */
	tm_result_free(r);
}

static void test_verify(void **unused)
{
	static const enum tm_state states[] = {TM_STATE_SPIN, TM_STATE_IDLE, TM_STATE_KERNEL};

	(void)unused;
	for (size_t i = 0; tm_topo_cpus(topo) > 1 && i < sizeof(states) / sizeof(states[0]); i++) {
		struct tm_cell c = cell_of(&protects, states[i], 1, 1);
		struct tm_result *r;

		c.verify = true;
		r = run(&c, TIMEOUT_MS);
		assert_int_equal(r->error, 0);
		assert_true(r->verified);
		assert_int_equal(r->verdict.checks, 7);
		/* The last check asks for what is not so: exactly one is found. */
		assert_int_equal(r->verdict.violations, 1);
		assert_string_equal(r->verdict.first, "page 42 is readable");
		tm_result_free(r);
	}
}

static int roam_operate(struct tm_thread *t, void *state)
{
	cpu_set_t now;

	tm_roam(-1);
	if (sched_getaffinity(0, sizeof(now), &now))
		return tm_fail(t, -errno, "sched_getaffinity");
	if (CPU_COUNT(&now) != 1 || !CPU_ISSET(t->cpu, &now))
		return tm_fail(t, -EXDEV, "%d CPUs", CPU_COUNT(&now));
	tm_roam((int)t->cpu);
	if (sched_getaffinity(0, sizeof(now), &now) || CPU_COUNT(&now) != 1)
		return tm_fail(t, -EXDEV, "%d CPUs but its own", CPU_COUNT(&now));
	return count_operate(t, state);
}

/* Helpers stay on the CPUs that the program may use. */
static void test_roam(void **unused)
{
	const struct tm_workload roams = {.name = "roams", .operate = roam_operate};
	struct tm_cell c = cell_of(&roams, TM_STATE_NONE, 1, 0);
	cpu_set_t before, one;
	struct tm_result *r;

	(void)unused;
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	CPU_ZERO(&one);
	CPU_SET(c.placement.initiator_cpu[0], &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	r = run(&c, TIMEOUT_MS);
	sched_setaffinity(0, sizeof(before), &before);
	assert_string_equal(r->why, "");
	assert_int_equal(r->error, 0);
	tm_result_free(r);
}

static void test_failures(void **unused)
{
	const struct tm_workload refuses = {
		.name = "refuses", .setup = refuse_setup, .operate = count_operate};
	const struct tm_workload fails = {.name = "fails", .operate = fail_operate};
	const struct tm_workload dies = {.name = "dies", .operate = die_operate};
	const struct tm_workload hangs = {.name = "hangs", .operate = hang_operate};
	struct tm_cell c = cell_of(&refuses, TM_STATE_NONE, 1, 0);
	struct tm_result *r = run(&c, TIMEOUT_MS);

	(void)unused;
	assert_int_equal(r->error, -ENOTSUP);
	assert_true(r->skipped);
	assert_string_equal(r->why, "no unicorns here");
	tm_result_free(r);

	c = cell_of(&fails, TM_STATE_NONE, 1, 0);
	r = run(&c, TIMEOUT_MS);
	assert_int_equal(r->error, -ENOSPC);
	assert_false(r->skipped);
	assert_non_null(strstr(r->why, "operation 3: No space left"));
	tm_result_free(r);

	c = cell_of(&dies, TM_STATE_NONE, 1, 0);
	r = run(&c, TIMEOUT_MS);
	assert_int_equal(r->error, -EIO);
	assert_non_null(strstr(r->why, "signal 11"));
	tm_result_free(r);

	c = cell_of(&hangs, tm_topo_cpus(topo) > 1 ? TM_STATE_FOREIGN : TM_STATE_NONE, 1,
		    tm_topo_cpus(topo) > 1);
	r = run(&c, 500);
	assert_int_equal(r->error, -ETIMEDOUT);
	assert_non_null(strstr(r->why, "stopped"));
	tm_result_free(r);
}

static void test_cancel(void **unused)
{
	const struct tm_workload hangs = {.name = "hangs", .operate = hang_operate};
	const struct tm_run_context context = {.clock = &test_clock, .probe = probe};
	struct tm_cell c = cell_of(&hangs, TM_STATE_NONE, 1, 0);
	struct tm_result *r = tm_result_new(0);
	const int cancel = 1;

	(void)unused;
	assert_int_equal(tm_run(&c, &context, r, TIMEOUT_MS, &cancel), -EINTR);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	tm_placement_free(&c.placement);
	tm_result_free(r);
}

static void test_guard(void **unused)
{
	uint64_t word = 5, value = 0;

	(void)unused;
	tm_guard_install();
	assert_int_equal(tm_guarded_peek(&word, &value), 0);
	assert_int_equal(value, 5);
	assert_int_equal(tm_guarded_poke(&word, 6), 0);
	assert_int_equal(word, 6);
	for (int i = 0; i < 1000; i++) { /* again and again: the handler must not stay blocked */
		assert_int_equal(tm_guarded_peek((void *)8, &value), -EFAULT);
		assert_int_equal(tm_guarded_poke((void *)8, 1), -EFAULT);
		assert_int_equal(tm_guarded_touch((void *)8, 8, 1), -EFAULT);
	}
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
}

/* Behind the end of a file: no translation makes that. */
static void test_guard_bus(void **unused)
{
	int fd = memfd_create("tlbmark-empty", 0);
	char *nowhere = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	uint64_t value = 0;

	(void)unused;
	assert_true(nowhere != MAP_FAILED);
	tm_guard_install();
	assert_int_equal(tm_guarded_peek(nowhere, &value), -EIO);
	assert_int_equal(tm_guarded_peek((void *)8, &value), -EFAULT);
	assert_int_equal(tm_guarded_poke(nowhere, 1), -EIO);
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
	munmap(nowhere, 4096);
	close(fd);
}

/* Where a responder did not answer, what the oracle makes of that is nobody's. */
static void test_closed(void **unused)
{
	struct tm_verdict v = {0};

	(void)unused;
	tm_check(&v, true, "right");
	tm_check(&v, false, "wrong %d", 1);
	tm_checked(&v, 2);
	v.closed = true;
	tm_check(&v, false, "wrong %d", 2);
	tm_checked(&v, 2);
	assert_int_equal(v.checks, 4);
	assert_int_equal(v.violations, 1);
	assert_string_equal(v.first, "wrong 1");
}

static int open_all(void **unused)
{
	char why[256];

	(void)unused;
	return tm_clock_calibrate(&test_clock) || tm_topo_load(NULL, &topo, why, sizeof(why)) ||
	       tm_probe_open(TM_PROBE_NONE, &probe, why, sizeof(why));
}

static int close_all(void **unused)
{
	(void)unused;
	tm_probe_close(probe);
	tm_topo_free(topo);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guard),	      cmocka_unit_test(test_guard_bus),
		cmocka_unit_test(test_closed),	      cmocka_unit_test(test_counts),
		cmocka_unit_test(test_duration),      cmocka_unit_test(test_initiators),
		cmocka_unit_test(test_overlapping),   cmocka_unit_test(test_responders),
		cmocka_unit_test(test_controls),      cmocka_unit_test(test_verify),
		cmocka_unit_test(test_failures),      cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_deterministic), cmocka_unit_test(test_roam),
	};

	return cmocka_run_group_tests_name("run", tests, open_all, close_all);
}
