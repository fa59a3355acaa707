// SPDX-License-Identifier: GPL-3.0-or-later
/* Records: every figure where it belongs, and the verdict with its reasons. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/plan.h"
#include "synthetic.h"

static const json_t *at(const json_t *record, const char *path)
{
	char *copy = strdup(path), *rest = copy, *key;

	while (record && (key = strsep(&rest, ".")))
		record = json_object_get(record, key);
	free(copy);
	return record;
}

/* Of the first element of a list. */
static json_int_t integer(const json_t *record, const char *list, const char *path)
{
	const json_t *v = at(json_array_get(json_object_get(record, list), 0), path);

	return json_is_integer(v) ? json_integer_value(v) : -1;
}

static double number(const json_t *record, const char *path)
{
	return json_number_value(at(record, path));
}

static const char *string(const json_t *record, const char *path)
{
	const char *s = json_string_value(at(record, path));

	return s ? s : "(none)";
}

/* Builds the record; the reasons joined by '|', "" when it is valid. */
static void reasons_of(const struct synthetic *s, char *out, size_t size)
{
	json_t *record = synthetic_record(s), *reason;
	size_t i, n = 0;

	out[0] = '\0';
	json_array_foreach(at(record, "quality.reasons"), i, reason)
	{
		n += (size_t)snprintf(out + n, size - n, "%s%s", i ? "|" : "",
				      json_string_value(reason));
	}
	assert_int_equal(json_is_true(at(record, "quality.valid")), !out[0]);
	json_decref(record);
}

static void assert_reason(const struct synthetic *s, const char *part)
{
	char reasons[2048];

	reasons_of(s, reasons, sizeof(reasons));
	if (!part)
		assert_string_equal(reasons, "");
	else if (!strstr(reasons, part))
		fail_msg("\"%s\" is not among the reasons \"%s\"", part, reasons);
}

static void a_good_run_is_valid(void **state)
{
	(void)state;
	for (int role = TM_ROLE_MEASURED; role <= TM_ROLE_CONTROL_NONE; role++) {
		struct synthetic s = {.role = (enum tm_role)role};

		synthetic_make(&s);
		assert_reason(&s, NULL);
		synthetic_free(&s);
	}
}

static void figures_are_in_their_place(void **state)
{
	struct synthetic s = {.pages = 512, .repeat = 4, .row = 7};
	struct tm_probe_cost cost = {.with_p50_ns = 1030, .without_p50_ns = 1000};
	json_t *r;

	(void)state;
	synthetic_make(&s);
	s.input.probe_cost = &cost;
	r = synthetic_record(&s);
	assert_string_equal(string(r, "schema"), "tlbmark-record-1");
	assert_string_equal(string(r, "time"), "2025-06-15T15:13:44.123Z");
	assert_string_equal(string(r, "cell.label"), "munmap pages=512 kind=4k");
	assert_string_equal(string(r, "cell.parameters.kind"), "4k");
	assert_string_equal(string(r, "cell.seed"), "18446744073709551615");
	assert_int_equal(number(r, "cell.parameters.pages"), 512);
	assert_int_equal(number(r, "cell.row"), 7);
	assert_int_equal(number(r, "cell.repeat"), 4);
	assert_float_equal(number(r, "clock.offset_bound_ns"), 30, 1e-9);
	assert_float_equal(number(r, "clock.pair_ns"), 20, 1e-9);
	assert_int_equal(number(r, "counts.ops"), 20000);
	assert_int_equal(number(r, "metrics.op.count"), 20000);
	assert_in_range(number(r, "metrics.op.p50_ns"), 8900, 9150);
	assert_in_range(number(r, "metrics.stolen.p50_ns"), 4400, 4600);
	assert_null(at(r, "metrics.send"));
	assert_float_equal(number(r, "derived.delivered_ratio"), 1, 1e-12);
	assert_float_equal(number(r, "derived.ipis_per_op"), 1, 1e-12);
	assert_string_equal(string(r, "derived.ipis_source"), "probe");
	assert_float_equal(number(r, "derived.full_flush_share"), 1, 1e-12);
	assert_float_equal(number(r, "derived.ops_per_second"), 100000, 1e-6);
	assert_float_equal(number(r, "probe.cost.ratio"), 1.03, 1e-12);
	assert_int_equal(number(r, "probe.functions.flush_tlb_func.in"), 20000);
	assert_int_equal(json_array_size(at(r, "raw_op_ticks")), TM_RAW_SAMPLES);
	assert_int_equal(json_array_size(at(r, "responders")), 1);
	assert_true(json_is_null(at(r, "verify")));
	assert_true(json_is_null(at(r, "background")));
	assert_int_equal(number(r, "cell.references.pages"), 1);
	assert_int_equal(json_object_size(at(r, "cell.references")), 1);
	assert_int_equal(number(r, "counters.zapped"), 512 * 20000);
	assert_true(json_is_integer(at(r, "counters.skipped")));
	assert_int_equal(json_object_size(at(r, "counters")), 2);
	json_decref(r);
	synthetic_free(&s);
	/* Nothing to compare with and nothing counted: nothing said. */
	s = (struct synthetic){.workload = &synthetic_null};
	r = synthetic_good(s);
	assert_null(at(r, "cell.references"));
	assert_null(at(r, "counters"));
	json_decref(r);
}

static void histograms_come_back(void **state)
{
	struct synthetic s = {.ops = 5000};
	const struct tm_hist *h;
	struct tm_hist *back;
	json_t *r;

	(void)state;
	synthetic_make(&s);
	r = synthetic_record(&s);
	assert_int_equal(tm_hist_decode(string(r, "metrics.op.histogram"), &back), 0);
	h = tm_result_hist(s.result, TM_METRIC_OP);
	assert_int_equal(back->count, h->count);
	for (double q = 0.01; q < 1; q += 0.01)
		assert_int_equal(tm_hist_quantile(back, q), tm_hist_quantile(h, q));
	free(back);
	json_decref(r);
	synthetic_free(&s);
}

/* Every kind of nothing is null: no NaN, no member left out. */
static void an_empty_result_is_still_a_record(void **state)
{
	struct synthetic s = {0};
	json_t *r;
	char *text;

	(void)state;
	synthetic_make(&s);
	tm_result_free(s.result);
	s.result = s.input.result = tm_result_new(0);
	s.result->error = -ENOTSUP;
	s.result->skipped = true;
	snprintf(s.result->why, sizeof(s.result->why), "no huge pages \377 here");
	r = synthetic_record(&s);
	text = json_dumps(r, 0);
	assert_non_null(text);
	assert_null(strstr(text, "nan"));
	assert_null(strstr(text, "inf"));
	assert_string_equal(string(r, "status"), "skipped");
	assert_string_equal(string(r, "why"), "no huge pages ? here");
	assert_true(json_is_null(at(r, "derived.delivered_ratio")));
	assert_true(json_is_null(at(r, "derived.ops_per_second")));
	assert_true(json_is_null(at(r, "probe.flush")));
	assert_int_equal(json_object_size(at(r, "metrics")), 0);
	assert_reason(&s, "skipped: no huge pages");
	free(text);
	json_decref(r);
	synthetic_free(&s);
}

static void the_gate(void **state)
{
	struct synthetic s = {.ops = 10000};

	(void)state;
	synthetic_make(&s);
	s.result->deliveries = 9800;
	assert_reason(&s, NULL);
	s.result->deliveries = 9799;
	assert_reason(&s, "delivered ratio 0.9799 < 0.98");
	s.result->deliveries = 4120;
	assert_reason(&s, "delivered ratio 0.4120 < 0.98");
	/* Lazy responders need not be interrupted, nor must operations that flush some time. */
	s.cell.state = TM_STATE_IDLE;
	assert_reason(&s, NULL);
	s.cell.state = TM_STATE_SPIN;
	s.result->deliveries_expected = 0;
	assert_reason(&s, "no responder to be interrupted");
	synthetic_free(&s);
}

/* Is there a warning with that in it? None at all for NULL. */
static void assert_warning(const struct synthetic *s, const char *part)
{
	json_t *r = synthetic_record(s), *warning;
	bool found = false;
	size_t i;

	json_array_foreach(at(r, "warnings"), i, warning)
	{
		found |= part && strstr(json_string_value(warning), part);
	}
	assert_int_equal(found, part != NULL);
	assert_true(part || !json_array_size(at(r, "warnings")));
	json_decref(r);
}

/* As the engine leaves it: operations overlap, so nothing is attributed. */
static void overlap(struct synthetic *s)
{
	s->cell.args.initiators = 2;
	s->result->deliveries = s->result->deliveries_expected = 0;
	s->result->split_valid = s->result->return_valid = false;
}

static void several_initiators(void **state)
{
	struct synthetic s = {0}, control = {.role = TM_ROLE_CONTROL_FOREIGN};
	json_t *r;

	(void)state;
	synthetic_make(&s);
	overlap(&s);
	assert_reason(&s, NULL);
	assert_warning(&s, "several initiators: interruptions are not attributed");
	/* The gaps are nobody's; what counts interrupts otherwise is, or nothing. */
	s.result->probe_kind = TM_PROBE_NONE;
	s.result->tlb_interrupts = 2 * s.result->ops;
	r = synthetic_record(&s);
	assert_string_equal(string(r, "derived.ipis_source"), "interrupts");
	assert_float_equal(number(r, "derived.ipis_per_op"), 2, 1e-12);
	json_decref(r);
	s.result->have_tlb_interrupts = false;
	r = synthetic_record(&s);
	assert_true(json_is_null(at(r, "derived.ipis_source")));
	assert_true(json_is_null(at(r, "derived.ipis_per_op")));
	assert_true(json_is_null(at(r, "derived.delivered_ratio")));
	json_decref(r);
	synthetic_free(&s);
	/* They interrupt each other beside any responders: no news from others. */
	synthetic_make(&control);
	overlap(&control);
	control.result->probe.flush[1][1] = control.result->ops;
	control.result->tlb_interrupts = control.result->ops;
	assert_reason(&control, NULL);
	synthetic_free(&control);
}

/* With long operations every gap may be a tick: the kernel's own count decides. */
static void the_kernel_bears_out_the_gaps(void **state)
{
	struct synthetic s = {.op_ns = 5e6, .ops = 1000, .responders = 2};
	struct synthetic floor = {.workload = &synthetic_membarrier, .ops = 1000};

	(void)state;
	synthetic_make(&s);
	s.result->probe.flush[1][1] = 1960;
	assert_reason(&s, NULL);
	s.result->probe.flush[1][1] = 1959;
	assert_reason(&s, "0.9795 remote flushes an operation and responder");
	s.result->probe.flush[1][1] = 0;
	assert_reason(&s, "0.0000 remote flushes");
	/* Lazy ones need not be flushed. */
	s.cell.state = TM_STATE_IDLE;
	assert_reason(&s, NULL);
	s.cell.state = TM_STATE_SPIN;
	/* perf cannot tell inside from outside, and no probe nothing. */
	s.result->probe.has_columns = 0;
	s.result->probe_kind = TM_PROBE_PERF;
	assert_reason(&s, NULL);
	assert_warning(&s, "timer ticks alone");
	s.result->probe_kind = TM_PROBE_NONE;
	assert_reason(&s, NULL);
	assert_warning(&s, " ms is so long that timer ticks alone");
	synthetic_free(&s);
	s = (struct synthetic){.op_ns = 70e3, .ops = 1000};
	synthetic_make(&s);
	s.result->probe_kind = TM_PROBE_NONE;
	s.result->probe.has_columns = 0;
	assert_warning(&s, NULL);
	synthetic_free(&s);
	/* Function-call interrupts, where the operation flushes nothing. */
	synthetic_make(&floor);
	floor.result->probe.handlers[1] = 979;
	assert_reason(&floor, "0.9790 function-call interrupts an operation and responder");
	floor.result->probe.has_events = 0; /* no tracepoint for them */
	assert_reason(&floor, NULL);
	synthetic_free(&floor);
}

static double one_in_hundred(const struct tm_cell_args *c)
{
	return c ? 0.01 : 0;
}

static double one_an_operation(const struct tm_cell_args *c)
{
	return c ? 1 : 0;
}

/* Of the same areas, in two workloads: one flush in hundreds of operations. */
static void a_purge_is_predicted(void **state)
{
	const struct tm_workload *isolated = tm_workload_find("isolated");
	const struct tm_workload *vmap = tm_workload_find("vmap");
	struct tm_cell_args beside = {.workload = isolated, .values = {2, 16}};
	struct tm_cell_args alone = {.workload = vmap, .values = {0, 16}};
	double one = isolated->kernel_flushes_per_op(&beside);

	(void)state;
	assert_string_equal(isolated->params[0].choices[2], "vmap-lazy");
	assert_true(one > 0 && one < 0.01);
	assert_true(one == vmap->kernel_flushes_per_op(&alone));
}

/* What is counted between operations, too, is of those that do not count as well. */
static void a_purge_between_operations(void **state)
{
	static struct tm_workload lazy;
	struct synthetic s = {.ops = 1000};
	const double seen[] = {10.0 / 1050, 10.0 / 1000};
	json_t *r;

	(void)state;
	lazy = synthetic_munmap;
	s.workload = &lazy;
	for (int eager = 0; eager < 2; eager++) {
		lazy.kernel_flushes_per_op = eager ? one_an_operation : one_in_hundred;
		synthetic_make(&s);
		s.result->ops_done = 1050;
		strcpy(s.result->probe.function[1].name, "do_kernel_range_flush");
		s.result->probe.function[1].calls[1] = eager ? 10 : 4;
		s.result->probe.function[1].calls[0] = 6;
		r = synthetic_record(&s);
		assert_float_equal(number(r, "derived.kernel_flushes_per_op"), seen[eager], 1e-12);
		json_decref(r);
		synthetic_free(&s);
	}
}

/* With several, no gap would be told, which is not the same as none. */
static void isolated_takes_one_initiator(void **state)
{
	const struct tm_workload *isolated = tm_workload_find("isolated");
	struct tm_cell_args args = {.workload = isolated, .initiators = 1, .responders = 1};
	char why[128];

	(void)state;
	assert_int_equal(isolated->probe_cell(&args, why, sizeof(why)), 0);
	args.initiators = 2;
	assert_int_equal(isolated->probe_cell(&args, why, sizeof(why)), -ENOTSUP);
	assert_non_null(strstr(why, "--initiators 1"));
}

static void is_nohz_full(const struct synthetic *s, const char *cpus)
{
	json_object_set_new(json_object_get(s->input.environment, "cpu"), "nohz_full",
			    json_string(cpus));
}

/* Gaps, probe and /proc/interrupts of an isolated CPU, and a warning where two differ. */
static void three_counts_of_interruptions(void **state)
{
	struct synthetic s = {.state = TM_STATE_ISOLATED, .ops = 1000};
	struct tm_responder_result *r;
	json_t *record, *vague;

	(void)state;
	synthetic_make(&s);
	r = tm_result_responders(s.result);
	assert_warning(&s, "CPU 1 is isolated, but not NOHZ_FULL");
	is_nohz_full(&s, "(null)");
	assert_warning(&s, "CPU 1 is isolated, but not NOHZ_FULL");
	is_nohz_full(&s, "5,0-1,7");
	assert_warning(&s, NULL);
	r->have_lines = r->have_faults = true;
	r->line[TM_LINE_CALL] = r->probe.handlers[1] = 1000;
	r->line[TM_LINE_TIMER] = 9;
	r->line[TM_LINE_NMI] = 50; /* no probe sees those */
	r->probe.cause[TM_CAUSE_TIMER][0] = 4;
	r->probe.cause[TM_CAUSE_TIMER][1] = 5;
	r->probe.cause[TM_CAUSE_SWITCH][1] = 500; /* no interrupt */
	strcpy(r->probe.function[0].name, "do_kernel_range_flush");
	r->probe.function[0].calls[1] = 1000;
	assert_warning(&s, NULL);
	record = synthetic_record(&s);
	r->line[TM_LINE_CALL] = 1011;
	assert_warning(&s, "CPU 1: the probe counted 1000 function-call interrupts,"
			   " /proc/interrupts 1011");
	r->line[TM_LINE_CALL] = 1000;
	r->line[TM_LINE_TIMER] = 40;
	assert_warning(&s, "CPU 1: the probe counted 1009 interrupts, /proc/interrupts 1040");
	r->line[TM_LINE_TIMER] = 9;
	r->interrupts_unseen = 10;
	assert_warning(&s, NULL);
	r->interrupts_unseen = 11;
	assert_warning(&s, "11 of 1009 interrupts lie in no gap");
	r->bound_ticks = (uint64_t)(60e3 * SYNTHETIC_HZ / 1e9);
	assert_warning(&s, "CPU 1: its clock's offset is known to 60 us only, so which");
	vague = synthetic_record(&s);
	assert_true(json_is_null(json_object_get(
		json_array_get(json_object_get(vague, "responders"), 0), "gaps_unexplained")));
	json_decref(vague);
	r->bound_ticks = 60;
	r->interrupts_unseen = 0;
	r->line[TM_LINE_CALL] = 0; /* where they are not told apart */
	s.result->have_call_interrupts = false;
	assert_warning(&s, NULL);
	s.result->have_call_interrupts = true;
	r->line[TM_LINE_CALL] = 1000;
	r->faults = 1;
	assert_warning(&s, "page faults interrupted it 1 times");
	s.cell.state = TM_STATE_SPIN;
	assert_warning(&s, NULL);
	assert_int_equal(integer(record, "responders", "functions.do_kernel_range_flush.in"), 1000);
	assert_int_equal(integer(record, "responders", "causes.timer.out"), 4);
	assert_int_equal(integer(record, "responders", "interrupts.nmi"), 50);
	assert_int_equal(integer(record, "responders", "handlers.in"), 1000);
	json_decref(record);
	synthetic_free(&s);
}

static void controls_must_be_quiet(void **state)
{
	struct synthetic s = {.role = TM_ROLE_CONTROL_FOREIGN, .ops = 10000};
	json_t *r;

	(void)state;
	synthetic_make(&s);
	s.result->probe.flush[1][1] = 100;
	assert_reason(&s, NULL);
	s.result->probe.flush[1][1] = 101;
	assert_reason(&s, "0.010 IPIs an operation in a control (> 0.01)");
	/* Outside of the operations it is noise of others: said, not refused. */
	s.result->probe.flush[1][1] = 0;
	s.result->tlb_interrupts = 700;
	assert_reason(&s, NULL);
	r = synthetic_record(&s);
	assert_int_equal(json_array_size(at(r, "warnings")), 1);
	json_decref(r);
	/* Nobody can tell inside from outside without a probe. */
	s.result->probe_kind = TM_PROBE_NONE;
	assert_reason(&s, "0.070 IPIs an operation in a control");
	/* Two strays in a short run are no rate. */
	s.result->ops = s.result->ops_done = 100;
	s.result->ops_armed = s.result->ops_valid = 100;
	s.result->tlb_interrupts = 2;
	assert_reason(&s, NULL);
	s.result->tlb_interrupts = 3;
	assert_reason(&s, "IPIs an operation in a control");
	synthetic_free(&s);
}

static void unarmed_or_none(void **state)
{
	struct synthetic s = {.ops = 100};

	(void)state;
	synthetic_make(&s);
	/* Other interrupts are everybody's: the operation's time stays. */
	s.result->ops_valid = 0;
	s.result->ops_disturbed = 100;
	assert_reason(&s, NULL);
	s.result->ops_armed = 50;
	assert_reason(&s, NULL);
	s.result->ops_armed = 49;
	assert_reason(&s, "51% of the operations began while a responder was not running");
	s.result->ops = 0;
	assert_reason(&s, "no operation was measured");
	synthetic_free(&s);
}

static void failures_and_stale_translations(void **state)
{
	struct synthetic s = {0};

	(void)state;
	synthetic_make(&s);
	s.result->error = -ETIMEDOUT;
	assert_reason(&s, "failed: ");
	s.result->error = 0;
	s.result->verified = true;
	s.result->verdict = (struct tm_verdict){.rounds = 10, .checks = 20};
	assert_reason(&s, NULL);
	s.result->verdict.violations = 1;
	strcpy(s.result->verdict.first, "page 3 was still readable");
	assert_reason(&s, "1 of 20 checks violated: page 3 was still readable");
	synthetic_free(&s);
}

static void a_coarse_counter(void **state)
{
	struct synthetic s = {.op_ns = 300}, floor = {.workload = &synthetic_null, .op_ns = 30};

	(void)state;
	synthetic_make(&s);
	assert_reason(&s, NULL);
	s.clock.resolution_ticks = 80;
	assert_reason(&s, "under 10 steps of the counter (40 ns each)");
	synthetic_free(&s);
	/* A floor may be as short as it likes. */
	synthetic_make(&floor);
	floor.clock.resolution_ticks = 80;
	assert_reason(&floor, NULL);
	synthetic_free(&floor);
}

static void where_ipis_are_counted(void **state)
{
	struct synthetic s = {.ops = 1000},
			 floor = {.workload = &synthetic_membarrier, .ops = 1000};
	json_t *r;

	(void)state;
	synthetic_make(&s);
	s.result->probe_kind = TM_PROBE_NONE;
	tm_result_responders(s.result)[0].gaps_in = 1500;
	r = synthetic_record(&s);
	assert_string_equal(string(r, "derived.ipis_source"), "gaps");
	assert_float_equal(number(r, "derived.ipis_per_op"), 1.5, 1e-12);
	json_decref(r);
	s.cell.state = TM_STATE_IDLE;
	s.result->tlb_interrupts = 250;
	r = synthetic_record(&s);
	assert_string_equal(string(r, "derived.ipis_source"), "interrupts");
	assert_float_equal(number(r, "derived.ipis_per_op"), 0.25, 1e-12);
	json_decref(r);
	s.result->have_tlb_interrupts = false;
	r = synthetic_record(&s);
	assert_true(json_is_null(at(r, "derived.ipis_source")));
	assert_true(json_is_null(at(r, "derived.ipis_per_op")));
	json_decref(r);
	synthetic_free(&s);

	/* No flush of user memory: the handlers count. */
	synthetic_make(&floor);
	floor.result->probe.handlers[1] = 1003;
	r = synthetic_record(&floor);
	assert_float_equal(number(r, "derived.ipis_per_op"), 1.003, 1e-12);
	json_decref(r);
	/* Of the whole phase: by what was done in it, also where it was not measured. */
	floor.result->ops_done = 1060;
	floor.result->tlb_interrupts = 106;
	floor.result->probe.handlers[1] = 1060;
	floor.result->probe.has_columns = 0;
	floor.cell.state = TM_STATE_IDLE;
	r = synthetic_record(&floor);
	assert_float_equal(number(r, "derived.ipis_per_op"), 1, 1e-12);
	assert_float_equal(number(r, "derived.tlb_interrupts_per_op"), 0.1, 1e-12);
	json_decref(r);
	synthetic_free(&floor);
}

static void ids_are_random(void **state)
{
	char a[TM_ID_CHARS + 1], b[TM_ID_CHARS + 1];

	(void)state;
	assert_int_equal(tm_record_new_id(a), 0);
	assert_int_equal(tm_record_new_id(b), 0);
	assert_int_equal(strspn(a, "0123456789abcdef"), TM_ID_CHARS);
	assert_string_not_equal(a, b);
}

/* The whole record, but for what depends on zlib's version and the processor. */
static void golden_record(void **state)
{
	struct synthetic s = {.pages = 33, .row = 2, .repeat = 1, .ops = 40};
	json_t *r, *metric;
	const char *name;
	char *now, *golden;

	(void)state;
	synthetic_make(&s);
	s.result->verified = true;
	s.result->verdict = (struct tm_verdict){.rounds = 10, .checks = 20};
	s.input.background = "cpu";
	s.input.background_metrics = "{\"stressor\": \"cpu\", \"bogo_ops\": 12}";
	r = synthetic_record(&s);
	json_object_foreach((json_t *)at(r, "metrics"), name, metric)
	{
		json_object_set_new(metric, "histogram", json_string("HISTFAAA"));
	}
	assert_string_equal(string(r, "clock.counter"), TM_ARCH_COUNTER);
	json_object_set_new((json_t *)at(r, "clock"), "counter", json_string("TSC"));
	now = json_dumps(r, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
	golden = synthetic_golden("record.json", now);
	assert_string_equal(now, golden);
	free(golden);
	free(now);
	json_decref(r);
	synthetic_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_run_is_valid),
		cmocka_unit_test(figures_are_in_their_place),
		cmocka_unit_test(histograms_come_back),
		cmocka_unit_test(an_empty_result_is_still_a_record),
		cmocka_unit_test(the_gate),
		cmocka_unit_test(several_initiators),
		cmocka_unit_test(the_kernel_bears_out_the_gaps),
		cmocka_unit_test(a_purge_is_predicted),
		cmocka_unit_test(a_purge_between_operations),
		cmocka_unit_test(isolated_takes_one_initiator),
		cmocka_unit_test(three_counts_of_interruptions),
		cmocka_unit_test(controls_must_be_quiet),
		cmocka_unit_test(unarmed_or_none),
		cmocka_unit_test(failures_and_stale_translations),
		cmocka_unit_test(a_coarse_counter),
		cmocka_unit_test(where_ipis_are_counted),
		cmocka_unit_test(ids_are_random),
		cmocka_unit_test(golden_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
