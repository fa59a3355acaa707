// SPDX-License-Identifier: GPL-3.0-or-later
/* The attribution of gaps and events to operations, on made-up batches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bench/fold.h"
#include "bench/interruptions.h"
#include "bench/tlb_bpf.h"

enum { OPS = 4, FIRST = 1000, STEP = 1000, LENGTH = 400 };

struct world {
	struct tm_fold *fold;
	struct tm_result *result;
	struct tm_hist *delivery[2], *stolen[2];
	struct tm_sample samples[OPS];
};

/* Operations at 1000, 2000, 3000, 4000, each 400 ticks long, all armed. */
static void make_probed(struct world *w, unsigned int responders, bool probed)
{
	w->fold = tm_fold_new(OPS, responders, probed);
	w->result = tm_result_new(2);
	assert_non_null(w->fold);
	assert_non_null(w->result);
	for (int i = 0; i < 2; i++) {
		w->delivery[i] = tm_hist_new(TM_HIST_COARSE);
		w->stolen[i] = tm_hist_new(TM_HIST_COARSE);
	}
	for (int i = 0; i < OPS; i++)
		w->samples[i] = (struct tm_sample){.begin_ticks = FIRST + (uint64_t)i * STEP,
						   .op_ticks = LENGTH};
	tm_fold_begin(w->fold, w->samples, OPS);
}

static void make(struct world *w, unsigned int responders)
{
	make_probed(w, responders, false);
}

static void end(struct world *w)
{
	tm_fold_end(w->fold, w->result, w->delivery, w->stolen);
}

static void unmake(struct world *w)
{
	for (int i = 0; i < 2; i++) {
		free(w->delivery[i]);
		free(w->stolen[i]);
	}
	tm_fold_free(w->fold);
	tm_result_free(w->result);
}

static void test_one_gap_each(void **state)
{
	const struct tm_gap gaps[] = {{1100, 1300}, {2100, 2300}, {3100, 3300}, {4100, 4300}};
	struct world w;

	(void)state;
	make(&w, 1);
	tm_fold_responder(w.fold, 0, gaps, 4, NULL, 0, 0);
	end(&w);
	assert_int_equal(w.result->ops, 4);
	assert_int_equal(w.result->ops_valid, 4);
	assert_int_equal(w.result->deliveries, 4);
	assert_int_equal(w.result->deliveries_expected, 4);
	assert_int_equal(w.result->valid_one_gap, 4);
	assert_int_equal(w.result->valid_positive, 4);
	assert_int_equal(w.result->valid_in_gap_checked, 0); /* no probe, nothing checked */
	assert_int_equal(tm_hist_quantile(tm_result_hist(w.result, TM_METRIC_DELIVERY), 0.5), 100);
	assert_int_equal(tm_hist_quantile(tm_result_hist(w.result, TM_METRIC_STOLEN), 0.5), 200);
	assert_int_equal(tm_hist_quantile(tm_result_hist(w.result, TM_METRIC_RETURN), 0.5), 100);
	assert_int_equal(tm_result_responders(w.result)[0].stolen_ticks, 800);
	unmake(&w);
}

static void test_missing_and_double(void **state)
{
	const struct tm_gap gaps[] = {{1100, 1200}, {1250, 1300}, {3100, 3300}, {4100, 4300}};
	struct world w;

	(void)state;
	make(&w, 1);
	tm_fold_responder(w.fold, 0, gaps, 4, NULL, 0, 0);
	end(&w);
	assert_int_equal(w.result->deliveries, 3); /* none in the second */
	assert_int_equal(w.result->ops_valid, 4);  /* that is no disturbance: it is the finding */
	assert_int_equal(w.result->valid_one_gap, 2);
	assert_int_equal(tm_result_responders(w.result)[0].gaps_in, 4);
	unmake(&w);
}

static void test_edges(void **state)
{
	/* At begin: not after it. Over the end: return is not positive. */
	const struct tm_gap gaps[] = {{1000, 1100}, {2300, 2500}, {3400, 3500}};
	struct world w;

	(void)state;
	make(&w, 1);
	tm_fold_responder(w.fold, 0, gaps, 3, NULL, 0, 0);
	end(&w);
	assert_int_equal(w.result->deliveries, 3);
	assert_int_equal(w.result->valid_one_gap, 3);
	assert_int_equal(w.result->valid_positive, 0);
	unmake(&w);
}

static void test_gap_from_before_disturbs(void **state)
{
	/* Between operations: harmless. From before the second into it: not. */
	const struct tm_gap gaps[] = {{1100, 1200}, {1500, 1600}, {1900, 2050},
				      {2100, 2200}, {3100, 3200}, {4100, 4200}};
	struct world w;

	(void)state;
	make(&w, 1);
	tm_fold_responder(w.fold, 0, gaps, 6, NULL, 0, 0);
	end(&w);
	assert_int_equal(w.result->ops_disturbed, 1);
	assert_int_equal(w.result->ops_valid, 3);
	assert_int_equal(w.result->valid_one_gap, 3);
	assert_int_equal(tm_result_responders(w.result)[0].gaps_out, 2);
	unmake(&w);
}

static void test_probe_disturbance(void **state)
{
	const struct tm_gap gaps[] = {{1100, 1300}, {2100, 2300}, {3100, 3300}, {4100, 4300}};
	const struct tm_tick_event here[] = {{1500, TM_EVENT_DISTURB, 0}, /* between two */
					     {2200, TM_EVENT_DISTURB, 0}};
	const struct tm_tick_event there[] = {{3400, TM_EVENT_DISTURB, 3}};
	struct world w;

	(void)state;
	make(&w, 1);
	tm_fold_initiator(w.fold, here, 2, false);
	tm_fold_responder(w.fold, 0, gaps, 4, there, 1, 0);
	end(&w);
	assert_int_equal(w.result->ops_disturbed, 2);
	assert_int_equal(w.result->valid_one_gap, 2);
	/* Disturbed operations keep their place in the op's distribution. */
	assert_int_equal(tm_result_hist(w.result, TM_METRIC_OP)->count, 4);
	assert_int_equal(tm_result_hist(w.result, TM_METRIC_STOLEN)->count, 2);
	unmake(&w);
}

/* An operation that waits is not disturbed by its own waiting, but by a timer. */
static void test_own_switches(void **state)
{
	const struct tm_tick_event here[] = {{1100, TM_EVENT_DISTURB, TM_DISTURB_SWITCH},
					     {2100, TM_EVENT_DISTURB, TM_DISTURB_RESCHEDULE},
					     {3100, TM_EVENT_DISTURB, TM_DISTURB_TIMER}};
	struct world w;

	(void)state;
	make(&w, 0);
	tm_fold_initiator(w.fold, here, 3, true);
	end(&w);
	assert_int_equal(w.result->ops_disturbed, 1);
	unmake(&w);
	make(&w, 0);
	tm_fold_initiator(w.fold, here, 3, false);
	end(&w);
	assert_int_equal(w.result->ops_disturbed, 3);
	unmake(&w);
}

static void test_handlers_inside_and_outside(void **state)
{
	const struct tm_gap gaps[] = {{1100, 1300}, {2100, 2300}, {3100, 3300}, {4100, 4300}};
	const struct tm_tick_event here[] = {{1050, TM_EVENT_SEND, 1}};
	const struct tm_tick_event there[] = {
		{1150, TM_EVENT_ENTRY, 0}, {1250, TM_EVENT_EXIT, 0}, /* inside */
		{2050, TM_EVENT_ENTRY, 0}, {2250, TM_EVENT_EXIT, 0}, /* enters too early */
		{3150, TM_EVENT_ENTRY, 0}, {3350, TM_EVENT_EXIT, 0}, /* leaves too late */
		{4150, TM_EVENT_ENTRY, 0}, /* no exit: cannot be checked */
	};
	struct world w;

	(void)state;
	make(&w, 1);
	tm_fold_initiator(w.fold, here, 1, false);
	tm_fold_responder(w.fold, 0, gaps, 4, there, 7, 0);
	end(&w);
	assert_int_equal(w.result->valid_one_gap, 4);
	assert_int_equal(w.result->valid_in_gap_checked, 3);
	assert_int_equal(w.result->valid_in_gap, 1);
	assert_int_equal(tm_hist_quantile(tm_result_hist(w.result, TM_METRIC_SEND), 0.5), 50);
	assert_int_equal(tm_hist_quantile(tm_result_hist(w.result, TM_METRIC_ENTRY), 0.5), 100);
	assert_int_equal(tm_result_hist(w.result, TM_METRIC_HANDLER)->min, 100);
	unmake(&w);

	make(&w, 1); /* a handler that ends after its operation is still its own */
	tm_fold_responder(
		w.fold, 0, (struct tm_gap[]){{1100, 1600}}, 1,
		(struct tm_tick_event[]){{1150, TM_EVENT_ENTRY, 0}, {1550, TM_EVENT_EXIT, 0}}, 2,
		0);
	end(&w);
	assert_int_equal(w.result->valid_in_gap_checked, 1);
	assert_int_equal(w.result->valid_in_gap, 1);
	assert_int_equal(tm_result_hist(w.result, TM_METRIC_HANDLER)->max, 400);
	unmake(&w);

	make(&w, 1); /* the same, with clocks that may be 60 ticks apart */
	tm_fold_responder(w.fold, 0, gaps, 4, there, 7, 60);
	end(&w);
	assert_int_equal(w.result->valid_in_gap, 3);
	unmake(&w);
}

/* A gap in which the kernel did nothing was taken by something below it. */
static void test_unexplained_gaps(void **state)
{
	const struct tm_gap gaps[] = {
		{1100, 1300}, {2050, 2080}, {2100, 2300}, {3100, 3300}, {4100, 4300}};
	const struct tm_tick_event there[] = {
		{1150, TM_EVENT_ENTRY, 0}, {1250, TM_EVENT_EXIT, 0},
		{2150, TM_EVENT_ENTRY, 0}, {2250, TM_EVENT_EXIT, 0}, /* the second gap's */
		{3310, TM_EVENT_ENTRY, 0}, {3320, TM_EVENT_EXIT, 0}, /* just behind the gap */
		{4150, TM_EVENT_ENTRY, 0}, {4250, TM_EVENT_EXIT, 0},
	};
	struct world w;

	(void)state;
	make_probed(&w, 1, true);
	tm_fold_responder(w.fold, 0, gaps, 5, there, 8, 0);
	end(&w);
	assert_int_equal(w.result->ops_disturbed, 2);
	assert_int_equal(w.result->valid_one_gap, 2);
	assert_int_equal(w.result->deliveries, 4);
	unmake(&w);

	make_probed(&w, 1, true); /* the third is explained where the clocks may be 10 apart */
	tm_fold_responder(w.fold, 0, gaps, 5, there, 8, 10);
	end(&w);
	assert_int_equal(w.result->ops_disturbed, 1);
	unmake(&w);

	make(&w, 1); /* without a probe nobody is asked */
	tm_fold_responder(w.fold, 0, gaps, 5, NULL, 0, 0);
	end(&w);
	assert_int_equal(w.result->ops_disturbed, 0);
	unmake(&w);
}

/* A timer's gap is a gap, but it delivers no shootdown. */
static void test_timer_is_no_delivery(void **state)
{
	const struct tm_gap gaps[] = {{1100, 1300}, {2100, 2300}};
	const struct tm_tick_event there[] = {{1150, TM_EVENT_ENTRY, 0},
					      {1250, TM_EVENT_EXIT, 0},
					      {2150, TM_EVENT_DISTURB, TM_DISTURB_TIMER}};
	struct world w;

	(void)state;
	make_probed(&w, 1, true);
	tm_fold_responder(w.fold, 0, gaps, 2, there, 3, 0);
	end(&w);
	assert_int_equal(w.result->deliveries, 1);
	assert_int_equal(w.result->ops_disturbed, 1);
	unmake(&w);
	make_probed(&w, 1, true); /* begun inside, explained only after the end */
	tm_fold_responder(w.fold, 0, (struct tm_gap[]){{1350, 1600}}, 1,
			  (struct tm_tick_event[]){{1500, TM_EVENT_DISTURB, TM_DISTURB_SWITCH}}, 1,
			  0);
	end(&w);
	assert_int_equal(w.result->ops_disturbed, 1);
	assert_int_equal(w.result->deliveries, 0);
	assert_int_equal(tm_result_hist(w.result, TM_METRIC_STOLEN)->count, 0);
	unmake(&w);
	make(&w, 1); /* only the probe can tell them apart */
	tm_fold_responder(w.fold, 0, gaps, 2, NULL, 0, 0);
	end(&w);
	assert_int_equal(w.result->deliveries, 2);
	unmake(&w);
}

static void test_two_responders(void **state)
{
	const struct tm_gap a[] = {{1100, 1200}, {2100, 2200}, {3100, 3200}, {4100, 4200}};
	const struct tm_gap b[] = {{1150, 1350}, {3150, 3250}, {4150, 4350}};
	struct world w;

	(void)state;
	make(&w, 2);
	tm_fold_responder(w.fold, 0, a, 4, NULL, 0, 0);
	tm_fold_responder(w.fold, 1, b, 3, NULL, 0, 0);
	end(&w);
	assert_int_equal(w.result->deliveries_expected, 8);
	assert_int_equal(w.result->deliveries, 7);
	assert_int_equal(w.result->valid_one_gap, 3); /* all responders, or not at all */
	/* Return counts from the last gap's end: 50, 200 (only a), 150, 50. */
	assert_int_equal(tm_result_hist(w.result, TM_METRIC_RETURN)->min, 50);
	assert_int_equal(tm_result_hist(w.result, TM_METRIC_RETURN)->max, 200);
	assert_int_equal(tm_result_hist(w.result, TM_METRIC_STOLEN)->count, 7);
	unmake(&w);
}

static void test_unarmed(void **state)
{
	const struct tm_gap gaps[] = {{1100, 1300}, {2100, 2300}, {3100, 3300}, {4100, 4300}};
	struct world w;

	(void)state;
	make(&w, 1);
	w.samples[1].flags = TM_SAMPLE_UNARMED;
	tm_fold_responder(w.fold, 0, gaps, 4, NULL, 0, 0);
	end(&w);
	assert_int_equal(w.result->ops, 4);
	assert_int_equal(w.result->ops_armed, 3);
	assert_int_equal(w.result->valid_one_gap, 3);
	assert_int_equal(w.result->deliveries_expected, 4);
	unmake(&w);
}

static void test_batches_add_up(void **state)
{
	const struct tm_gap gaps[] = {{1100, 1300}, {2100, 2300}, {3100, 3300}, {4100, 4300}};
	struct world w;

	(void)state;
	make(&w, 1);
	tm_fold_responder(w.fold, 0, gaps, 4, NULL, 0, 0);
	end(&w);
	tm_fold_begin(w.fold, w.samples, 2); /* a shorter one, with nothing left over */
	tm_fold_responder(w.fold, 0, gaps, 1, NULL, 0, 0);
	end(&w);
	assert_int_equal(w.result->ops, 6);
	assert_int_equal(w.result->deliveries, 5);
	tm_result_order_raw(w.result);
	assert_int_equal(w.result->raw_count, 6);
	unmake(&w);
}

/* The last ones are kept, oldest first, however many there were. */
static void test_raw_samples(void **state)
{
	static const uint32_t counts[] = {0,
					  1,
					  TM_RAW_SAMPLES - 1,
					  TM_RAW_SAMPLES,
					  TM_RAW_SAMPLES + 1,
					  5000,
					  3 * TM_RAW_SAMPLES};
	struct tm_result *r = tm_result_new(0);

	(void)state;
	for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
		uint32_t n = counts[c];
		uint32_t kept = n < TM_RAW_SAMPLES ? n : TM_RAW_SAMPLES;

		tm_result_clear(r);
		for (uint32_t i = 0; i < n; i++)
			tm_result_add_raw(r, i);
		tm_result_order_raw(r);
		assert_int_equal(r->raw_count, kept);
		for (uint32_t i = 0; i < kept; i++)
			assert_int_equal(r->raw_op_ticks[i], n - kept + i);
	}
	tm_result_clear(r);
	tm_result_add_raw(r, UINT64_MAX);
	assert_int_equal(r->raw_op_ticks[0], UINT32_MAX);
	tm_result_free(r);
}

/* Whatever the operations: which gaps have a cause, and which interrupts were seen. */
static void test_causes_of_gaps(void **state)
{
	const struct tm_gap gaps[] = {{1000, 1100}, {1120, 1200}, {2000, 2100}, {3000, 3100}};
	const struct tm_tick_event events[] = {
		{500, TM_EVENT_DISTURB, TM_CAUSE_TIMER}, /* in none */
		{1010, TM_EVENT_ENTRY, 0},
		{1090, TM_EVENT_EXIT, 0},
		{1125, TM_EVENT_DISTURB, TM_CAUSE_DEVICE}, /* the second gap's, near the first */
		{2500, TM_EVENT_DISTURB, TM_CAUSE_SWITCH}, /* no interrupt */
		{3105, TM_EVENT_ENTRY, 0},		   /* just behind the fourth */
		{4000, TM_EVENT_ENTRY, 0},		   /* in none */
	};
	struct tm_responder_result exact = {0}, vague = {0}, bare = {0};

	(void)state;
	tm_interruptions_match(&exact, gaps, 4, events, 7, 0);
	assert_int_equal(exact.gaps_unexplained, 2);
	assert_int_equal(exact.interrupts_unseen, 3);
	tm_interruptions_match(&vague, gaps, 4, events, 7, 50);
	assert_int_equal(vague.gaps_unexplained, 1);
	assert_int_equal(vague.interrupts_unseen, 2);
	tm_interruptions_match(&bare, gaps, 0, events, 7, 0);
	tm_interruptions_match(&bare, gaps, 4, NULL, 0, 0);
	assert_int_equal(bare.gaps_unexplained, 4);
	assert_int_equal(bare.interrupts_unseen, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_gap_each),
		cmocka_unit_test(test_missing_and_double),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_gap_from_before_disturbs),
		cmocka_unit_test(test_probe_disturbance),
		cmocka_unit_test(test_own_switches),
		cmocka_unit_test(test_handlers_inside_and_outside),
		cmocka_unit_test(test_unexplained_gaps),
		cmocka_unit_test(test_timer_is_no_delivery),
		cmocka_unit_test(test_two_responders),
		cmocka_unit_test(test_unarmed),
		cmocka_unit_test(test_batches_add_up),
		cmocka_unit_test(test_causes_of_gaps),
		cmocka_unit_test(test_raw_samples),
	};

	return cmocka_run_group_tests_name("fold", tests, NULL, NULL);
}
