// SPDX-License-Identifier: GPL-3.0-or-later
#include "synthetic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {"4k", "thp", NULL};
static const struct tm_param munmap_params[] = {
	{.name = "pages",
	 .unit = "pages",
	 .kind = TM_PARAM_UINT,
	 .min = 1,
	 .max = 512,
	 .def = "1",
	 .reference = "1"},
	{.name = "kind", .unit = "", .kind = TM_PARAM_CHOICE, .choices = kinds, .def = "4k"},
	{.name = NULL},
};
static const char *const munmap_counters[] = {"zapped", "skipped", NULL};
const struct tm_workload synthetic_munmap = {
	.name = "munmap",
	.op = "munmap() of the range",
	.flushes = "flush_tlb_mm_range",
	.gate = TM_GATE_EVERY,
	.params = munmap_params,
	.counters = munmap_counters,
};
const struct tm_workload synthetic_null = {
	.name = "null",
	.op = "nothing",
	.flushes = "",
	.gate = TM_GATE_NONE,
	.floor = true,
};
const struct tm_workload synthetic_membarrier = {
	.name = "membarrier",
	.op = "membarrier()",
	.flushes = "",
	.gate = TM_GATE_EVERY,
	.floor = true,
};

static uint64_t ticks(double ns)
{
	return (uint64_t)(ns * SYNTHETIC_HZ / 1e9 + 0.5);
}

/* Numerical Recipes' quick generator: enough to look like a distribution. */
static double uniform(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (double)(*state >> 33) / (double)(1u << 31);
}

/* A right-skewed time about `ns`: a body of +-10% and one in 200 three times as long. */
static uint64_t draw(double ns, uint64_t *state)
{
	double t = ns * (0.9 + 0.2 * uniform(state));

	return ticks(uniform(state) < 0.005 ? 3 * t : t);
}

static void fill_times(struct synthetic *s)
{
	uint64_t state = 1 + s->row * 1000 + s->repeat * 10 + s->role;
	/* Processes differ: 1% up and down from repeat to repeat. */
	double op_ns = s->op_ns * (1 + 0.01 * ((int)(s->repeat * 3 % 7) - 3) / 3.0);
	struct tm_result *r = s->result;
	bool split = s->role == TM_ROLE_MEASURED && s->responders;

	for (uint64_t i = 0; i < s->ops; i++) {
		uint64_t op = draw(op_ns, &state);

		tm_hist_record(tm_result_hist(r, TM_METRIC_OP), op);
		tm_result_add_raw(r, op);
		if (!split)
			continue;
		tm_hist_record(tm_result_hist(r, TM_METRIC_DELIVERY), op * 3 / 10);
		tm_hist_record(tm_result_hist(r, TM_METRIC_STOLEN), op / 2);
		tm_hist_record(tm_result_hist(r, TM_METRIC_RETURN), op / 5);
	}
	tm_result_order_raw(r);
}

static void fill_counts(struct synthetic *s)
{
	struct tm_result *r = s->result;
	struct tm_responder_result *responder;
	bool hit =
		s->role == TM_ROLE_MEASURED && s->responders && s->workload->gate == TM_GATE_EVERY;
	bool flushes = hit && s->workload->flushes[0];

	r->ops = r->ops_done = r->ops_armed = r->ops_valid = s->ops;
	r->deliveries_expected = s->ops * s->responders;
	r->deliveries = hit ? r->deliveries_expected : 0;
	if (hit)
		r->valid_one_gap = r->valid_positive = s->ops;
	r->warmup_ops = 100;
	r->elapsed_ns = 200000000;
	r->batch_ops = 64;
	r->gap_threshold_ticks = ticks(250);
	r->split_valid = r->return_valid = s->responders > 0;
	r->have_tlb_interrupts = r->have_call_interrupts = true;
	r->tlb_interrupts = flushes ? s->ops : 0;
	r->call_interrupts = hit ? s->ops * s->responders : 0;
	r->resident_peak_kib = 4096;
	r->counter[0] = s->ops * s->pages;
	r->probe_kind = TM_PROBE_BPF;
	r->probe.has_columns = 1;
	r->probe.has_ranges = r->probe.has_functions = r->probe.has_events = 1;
	if (flushes) {
		r->probe.flush[1][1] = r->probe.flush[4][1] = s->ops * s->responders;
		r->probe.flush[0][0] = 12;
		r->probe.range[s->pages >= 32 ? 5 : 0][1] =
			s->pages > 33 ? 0 : s->ops * s->responders;
		r->probe.full[1] = s->pages > 33 ? s->ops * s->responders : 0;
		strcpy(r->probe.function[0].name, "flush_tlb_func");
		r->probe.function[0].calls[1] = s->ops * s->responders;
	}
	r->probe.handlers[1] = hit ? s->ops * s->responders : 0;
	responder = tm_result_responders(r);
	for (unsigned int i = 0; i < s->responders; i++) {
		responder[i].cpu = s->responder_cpu[i];
		responder[i].distance = TM_DISTANCE_CACHE;
		responder[i].delivered = hit ? s->ops : 0;
		responder[i].gaps_in = hit ? s->ops : 0;
		responder[i].gaps_out = 40;
		responder[i].offset_ticks = -14;
		responder[i].bound_ticks = 60 + i;
		responder[i].stolen_ticks = hit ? ticks(s->op_ns / 2) * s->ops : 0;
		responder[i].delivery_p50_ticks = hit ? ticks(s->op_ns * 0.3) : 0;
		responder[i].stolen_p50_ticks = hit ? ticks(s->op_ns * 0.5) : 0;
	}
}

static void defaults(struct synthetic *s)
{
	static const enum tm_state states[] = {
		[TM_ROLE_MEASURED] = TM_STATE_SPIN,
		[TM_ROLE_CONTROL_FOREIGN] = TM_STATE_FOREIGN,
		[TM_ROLE_CONTROL_NONE] = TM_STATE_NONE,
	};

	if (!s->workload)
		s->workload = &synthetic_munmap;
	if (!s->pages)
		s->pages = 1;
	if (!s->state)
		s->state = states[s->role];
	if (!s->responders && s->state != TM_STATE_NONE && s->workload != &synthetic_null)
		s->responders = 1;
	if (!s->session)
		s->session = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	if (!s->ops)
		s->ops = 20000;
	if (s->op_ns == 0)
		s->op_ns = s->role == TM_ROLE_MEASURED ? 9000 : 1000;
}

void synthetic_make(struct synthetic *s)
{
	defaults(s);
	s->result = tm_result_new(s->responders);
	if (!s->result)
		abort();
	s->result->responders = s->responders;
	s->clock = (struct tm_clock){
		.hz = SYNTHETIC_HZ, .hz_error = 1e-6, .pair_ticks = 40, .resolution_ticks = 2};
	for (unsigned int i = 0; i < s->responders; i++) {
		s->responder_cpu[i] = i + 1;
		s->responder_distance[i] = TM_DISTANCE_CACHE;
	}
	s->cell = (struct tm_cell){
		.args = {.workload = s->workload,
			 .values = {s->pages, 0},
			 .initiators = 1,
			 .responders = s->responders,
			 .seed = 18446744073709551615ull,
			 .memory_node = -1},
		.state = s->state,
		.placement = {.initiators = 1,
			      .responders = s->responders,
			      .initiator_cpu = &s->initiator_cpu,
			      .responder_cpu = s->responder_cpu,
			      .responder_distance = s->responder_distance,
			      .distance = s->responders ? TM_DISTANCE_CACHE : TM_DISTANCE_ANY,
			      .memory_node = -1},
		.duration_ns = 200000000,
		.row = s->row,
		.repeat = s->repeat,
	};
	s->input = (struct tm_record_input){
		.cell = &s->cell,
		.result = s->result,
		.clock = &s->clock,
		.session = s->session,
		.suite_version = "0.1.0",
		.time = {.tv_sec = 1750000000 + s->row * 60 + s->repeat, .tv_nsec = 123456789},
		.role = s->role,
		.order = TM_ORDER_COMPACT,
		.environment = json_pack("{s:{s:s}, s:{s:s, s:n}}", "kernel", "release", "6.12.1",
					 "cpu", "model_name", "Synthetic 9000", "microcode"),
	};
	fill_times(s);
	fill_counts(s);
}

void synthetic_free(struct synthetic *s)
{
	json_decref(s->input.environment);
	tm_result_free(s->result);
}

json_t *synthetic_record(const struct synthetic *s)
{
	json_t *record = tm_record_build(&s->input);
	char id[TM_ID_CHARS + 1];

	snprintf(id, sizeof(id), "%.8s%08x%08x%08x", s->session, s->row, s->role, s->repeat);
	if (!record || json_object_set_new(record, "id", json_string(id)))
		abort();
	return record;
}

json_t *synthetic_good(struct synthetic s)
{
	json_t *record;

	synthetic_make(&s);
	record = synthetic_record(&s);
	synthetic_free(&s);
	return record;
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (!f || fputs(text, f) == EOF || fclose(f))
		abort();
}

char *synthetic_golden(const char *name, const char *now)
{
	const char *srcdir = getenv("srcdir");
	char path[4096], *text = calloc(1, 1 << 20);
	FILE *f;

	snprintf(path, sizeof(path), "%s/tests/golden/%s", srcdir ? srcdir : ".", name);
	if (getenv("TLBMARK_REGEN"))
		write_file(path, now);
	f = fopen(path, "r");
	if (text && f)
		text[fread(text, 1, (1 << 20) - 1, f)] = '\0';
	if (f)
		fclose(f);
	return text;
}
