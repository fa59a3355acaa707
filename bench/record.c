// SPDX-License-Identifier: GPL-3.0-or-later
#include "record.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "plan.h"
#include "record_internal.h"

/* Indices of tm_probe_counts.flush: enum tlb_flush_reason of the kernel. */
enum { FLUSH_REMOTE = 1 };
/* A timer tick is a gap, too: at 250 Hz, which most kernels have. */
#define TICK_NS 4e6

static const char *const gate_names[] = {
	[TM_GATE_NONE] = "none",
	[TM_GATE_EVERY] = "every",
	[TM_GATE_SOME] = "some",
};
static const char *const role_names[] = {
	[TM_ROLE_MEASURED] = "measured",
	[TM_ROLE_CONTROL_FOREIGN] = "control_foreign",
	[TM_ROLE_CONTROL_NONE] = "control_none",
};

int tm_record_new_id(char id[TM_ID_CHARS + 1])
{
	unsigned char bytes[TM_ID_CHARS / 2];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return -errno;
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(id + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

static const char *choice(const struct tm_param *p, uint64_t value)
{
	return p->choices[value];
}

static json_t *cpu_list(const unsigned int *cpu, unsigned int count)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < count; i++)
		json_array_append_new(list, json_integer(cpu[i]));
	return list;
}

static json_t *build_cell(const struct tm_record_input *in)
{
	const struct tm_cell *c = in->cell;
	const struct tm_workload *w = c->args.workload;
	const struct tm_placement *at = &c->placement;
	json_t *parameters = json_object(), *units = json_object(), *references = json_object();
	char label[256];
	char seed[24];
	json_t *cell;

	tm_label_print(&c->args, c->from_in_label ? (int)at->initiator_cpu[0] : -1, label,
		       sizeof(label));
	for (unsigned int i = 0; w->params && w->params[i].name; i++) {
		const struct tm_param *p = &w->params[i];
		uint64_t v = c->args.values[i];

		json_object_set_new(parameters, p->name,
				    p->kind == TM_PARAM_CHOICE ? text(choice(p, v)) : number(v));
		json_object_set_new(units, p->name, text(p->unit));
		if (p->reference)
			json_object_set_new(references, p->name,
					    p->kind == TM_PARAM_CHOICE
						    ? text(p->reference)
						    : number(strtoull(p->reference, NULL, 10)));
	}
	snprintf(seed, sizeof(seed), "%llu", (unsigned long long)c->args.seed);
	cell = json_pack(
		"{s:s, s:o, s:o, s:o, s:s, s:s, s:o, s:o, s:s, s:s, s:o, s:o, s:s, s:o, s:o,"
		" s:o, s:o, s:i, s:s, s:b, s:o, s:o}",
		"workload", w->name, "label", text(label), "parameters", parameters, "units", units,
		"role", role_names[in->role], "state", tm_state_name(c->state), "responders",
		number(c->args.responders), "initiators", number(c->args.initiators), "distance",
		tm_distance_name(at->distance), "order", tm_order_name(in->order), "row",
		number(c->row), "repeat", number(c->repeat), "seed", seed, "duration_ns",
		number(c->duration_ns), "ops_limit", number(c->ops), "initiator_cpus",
		cpu_list(at->initiator_cpu, at->initiators), "responder_cpus",
		cpu_list(at->responder_cpu, at->responders), "memory_node", c->args.memory_node,
		"gate", gate_names[tm_gate(&c->args)], "floor", (int)w->floor, "op", text(w->op),
		"flushes", text(w->flushes));
	if (json_object_size(references))
		json_object_set(cell, "references", references);
	json_decref(references);
	return cell;
}

static json_t *build_clock(const struct tm_record_input *in)
{
	const struct tm_clock *c = in->clock;
	const struct tm_responder_result *r = tm_result_responders(in->result);
	uint64_t bound = 0;

	for (uint32_t i = 0; i < in->result->responders; i++)
		if (r[i].bound_ticks > bound)
			bound = r[i].bound_ticks;
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "counter", TM_ARCH_COUNTER, "hz",
			 real(c->hz), "hz_error", real(c->hz_error), "pair_ns",
			 real(tm_ticks_to_ns(c, (double)c->pair_ticks)), "resolution_ns",
			 real(tm_ticks_to_ns(c, (double)c->resolution_ticks)), "offset_bound_ns",
			 real(tm_ticks_to_ns(c, (double)bound)));
}

static json_t *build_metric(const struct tm_clock *c, const struct tm_hist *h)
{
	static const struct {
		const char *name;
		double q;
	} quantiles[] = {{"p50_ns", 0.5}, {"p90_ns", 0.9}, {"p99_ns", 0.99}, {"p999_ns", 0.999}};
	char *encoded = tm_hist_encode(h);
	json_t *m;

	m = json_pack("{s:o, s:o, s:o, s:o, s:o, s:s, s:s}", "count", number(h->count), "clamped",
		      number(h->clamped), "min_ns", real(tm_ticks_to_ns(c, (double)h->min)),
		      "max_ns", real(tm_ticks_to_ns(c, (double)h->max)), "mean_ns",
		      real(tm_ticks_to_ns(c, h->sum / (double)h->count)), "unit", "ticks",
		      "histogram", encoded);
	free(encoded);
	for (size_t i = 0; m && i < sizeof(quantiles) / sizeof(quantiles[0]); i++)
		json_object_set_new(
			m, quantiles[i].name,
			real(tm_ticks_to_ns(c, (double)tm_hist_quantile(h, quantiles[i].q))));
	return m;
}

/* NULL when one could not be built: a record without its figures is no record. */
static json_t *build_metrics(const struct tm_record_input *in)
{
	json_t *metrics = json_object();

	for (int m = 0; metrics && m < TM_METRICS; m++) {
		const struct tm_hist *h = tm_result_hist(in->result, (enum tm_metric)m);

		if (!h->count)
			continue;
		if (json_object_set_new(metrics, tm_metric_name((enum tm_metric)m),
					build_metric(in->clock, h))) {
			json_decref(metrics);
			metrics = NULL;
		}
	}
	return metrics;
}

static json_t *build_raw(const struct tm_result *r)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < r->raw_count && i < TM_RAW_SAMPLES; i++)
		json_array_append_new(list, json_integer(r->raw_op_ticks[i]));
	return list;
}

static json_t *build_counts(const struct tm_record_input *in)
{
	const struct tm_result *r = in->result;

	return json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o,"
		" s:o, s:o, s:o, s:o}",
		"ops", number(r->ops), "done", number(r->ops_done), "armed", number(r->ops_armed),
		"disturbed", number(r->ops_disturbed), "valid", number(r->ops_valid), "one_gap",
		number(r->valid_one_gap), "positive", number(r->valid_positive), "in_gap_checked",
		number(r->valid_in_gap_checked), "in_gap", number(r->valid_in_gap),
		"deliveries_expected", number(r->deliveries_expected), "deliveries",
		number(r->deliveries), "gaps_dropped", number(r->gaps_dropped), "warmup_ops",
		number(r->warmup_ops), "elapsed_ns", number(r->elapsed_ns), "batch_ops",
		number(r->batch_ops), "gap_threshold_ns",
		real(tm_ticks_to_ns(in->clock, (double)r->gap_threshold_ticks)), "tlb_interrupts",
		number_if(r->have_tlb_interrupts, r->tlb_interrupts), "call_interrupts",
		number_if(r->have_call_interrupts, r->call_interrupts), "context_switches",
		number(r->context_switches), "resident_peak_kib", number(r->resident_peak_kib));
}

/* What the workload itself counted in the measured operations. */
static json_t *build_counters(const struct tm_record_input *in)
{
	const char *const *name = in->cell->args.workload->counters;
	json_t *counters = json_object();

	for (unsigned int i = 0; name[i]; i++)
		json_object_set_new(counters, name[i], number(in->result->counter[i]));
	return counters;
}

/* The exact figures of counted operations: a record of such a run holds all of them. */
static json_t *build_deterministic(const struct tm_result *r)
{
	uint64_t sorted[TM_RAW_SAMPLES], p50;
	size_t n = r->raw_count, values = 0, equal = 0;

	for (size_t i = 0; i < n; i++)
		sorted[i] = r->raw_op_ticks[i];
	tm_sort_u64(sorted, n);
	p50 = sorted[(n - 1) / 2];
	for (size_t i = 0; i < n; i++) {
		values += !i || sorted[i] != sorted[i - 1];
		equal += sorted[i] == p50;
	}
	return json_pack("{s:o, s:o, s:o}", "p50_instructions", number(p50), "values",
			 number(values), "p50_share", real(share(equal, n)));
}

struct derived {
	double delivered_ratio, ipis_per_op, full_flush_share, ops_per_second;
	double tlb_interrupts_per_op;
	const char *ipis_source; /* NULL: nothing counted any */
	uint64_t ipis;
};

static uint64_t gaps_inside(struct tm_result *r)
{
	const struct tm_responder_result *responder = tm_result_responders(r);
	uint64_t sum = 0;

	for (uint32_t i = 0; i < r->responders; i++)
		sum += responder[i].gaps_in;
	return sum;
}

static bool flushes_user_memory(const struct tm_cell_args *c)
{
	return tm_gate(c) == TM_GATE_EVERY && !c->workload->kernel_range && c->workload->flushes &&
	       c->workload->flushes[0];
}

/*
 * The probe counts flushes of user memory by their reason, and those are what
 * a shootdown is. Floors and kernel-range flushes have none: there every
 * function-call interrupt inside the operation counts.
 */
static uint64_t probed_ipis(const struct tm_record_input *in)
{
	const struct tm_probe_counts *p = &in->result->probe;
	uint64_t flushes = p->flush[FLUSH_REMOTE][INSIDE];

	if (flushes_user_memory(&in->cell->args) && (flushes || in->role != TM_ROLE_MEASURED))
		return flushes;
	return p->handlers[INSIDE];
}

/*
 * As far as /proc/interrupts tells: what flushes no user memory is not in its
 * TLB line, but in the one of all function calls, where others' are too.
 */
static uint64_t interrupts(const struct tm_record_input *in)
{
	bool calls = in->role == TM_ROLE_MEASURED && tm_gate(&in->cell->args) == TM_GATE_EVERY &&
		     !flushes_user_memory(&in->cell->args);

	return calls ? in->result->call_interrupts : in->result->tlb_interrupts;
}

/* What was counted over the whole phase is of all operations that were done in it. */
static uint64_t operations(const struct tm_result *r, bool whole_phase)
{
	return whole_phase ? r->ops_done : r->ops;
}

static void derive(const struct tm_record_input *in, struct derived *d)
{
	struct tm_result *r = in->result;
	const struct tm_probe_counts *p = &r->probe;
	bool control = in->role != TM_ROLE_MEASURED;
	/* Several initiators' operations overlap: gaps belong to none of them. */
	bool gaps = r->deliveries_expected && tm_state_spins(in->cell->state);
	bool whole_phase = false;

	d->delivered_ratio = share(r->deliveries, r->deliveries_expected);
	d->full_flush_share =
		p->has_ranges ? share(p->full[INSIDE], p->flush[FLUSH_REMOTE][INSIDE]) : NAN;
	d->ops_per_second = share(r->ops, r->elapsed_ns) * 1e9;
	d->tlb_interrupts_per_op =
		r->have_tlb_interrupts ? share(r->tlb_interrupts, operations(r, true)) : NAN;

	/* A control's gaps are timer ticks, so there the kernel's own line is better. */
	/* perf counts the whole phase, so the untimed part too: only where nothing else tells. */
	if (r->probe_kind != TM_PROBE_NONE && (p->has_columns || !gaps || control)) {
		d->ipis_source = "probe";
		d->ipis = probed_ipis(in);
		whole_phase = !p->has_columns;
	} else if (gaps && !(control && r->have_tlb_interrupts)) {
		d->ipis_source = "gaps";
		d->ipis = gaps_inside(r);
	} else if (r->have_tlb_interrupts && r->have_call_interrupts) {
		d->ipis_source = "interrupts";
		d->ipis = interrupts(in);
		whole_phase = true;
	} else {
		d->ipis_source = NULL;
		d->ipis = 0;
	}
	d->ipis_per_op = d->ipis_source ? share(d->ipis, operations(r, whole_phase)) : NAN;
}

/*
 * Flushes of kernel addresses inside the operations; where `anywhere`, also
 * between them: that is when lazily unmapped ones are purged. A flush is a call
 * on every CPU, counted on those that take part but the one that sends it.
 */
static double kernel_flushes_per_op(const struct tm_record_input *in, bool anywhere)
{
	static const char *const flushes[] = {"do_kernel_range_flush", "do_flush_tlb_all",
					      "__cpa_flush_tlb", "__cpa_flush_all"};
	const struct tm_probe_counts *p = &in->result->probe;
	unsigned int cpus = in->cell->args.initiators + in->cell->args.responders;
	uint64_t calls = 0, ops = operations(in->result, anywhere || !p->has_columns);

	for (size_t f = 0; f < sizeof(flushes) / sizeof(flushes[0]); f++)
		for (unsigned int i = 0; i < TM_PROBE_FUNCTIONS && p->function[i].name[0]; i++)
			if (!strcmp(p->function[i].name, flushes[f]))
				calls += p->function[i].calls[INSIDE] +
					 (anywhere ? p->function[i].calls[OUTSIDE] : 0);
	return p->has_functions && cpus > 1 ? share(calls, ops * (cpus - 1)) : NAN;
}

static void add_kernel_flushes(const struct tm_record_input *in, json_t *derived)
{
	const struct tm_workload *w = in->cell->args.workload;
	double predicted;

	if (!w->kernel_flushes_per_op)
		return;
	predicted = w->kernel_flushes_per_op(&in->cell->args);
	json_object_set_new(derived, "kernel_flushes_per_op",
			    real(kernel_flushes_per_op(in, predicted < 1)));
	json_object_set_new(derived, "kernel_flushes_per_op_predicted", real(predicted));
}

static json_t *build_derived(const struct tm_record_input *in, const struct derived *d)
{
	json_t *derived = json_pack(
		"{s:o, s:o, s:s?, s:o, s:o, s:o}", "delivered_ratio", real(d->delivered_ratio),
		"ipis_per_op", real(d->ipis_per_op), "ipis_source", d->ipis_source,
		"full_flush_share", real(d->full_flush_share), "ops_per_second",
		real(d->ops_per_second), "tlb_interrupts_per_op", real(d->tlb_interrupts_per_op));

	add_kernel_flushes(in, derived);
	return derived;
}

/*
 * How this machine flushes another CPU's TLB, where that is without an
 * interrupt that a responder could see; else NULL.
 */
static const char *silent_backend(const struct tm_record_input *in)
{
	static const char *const silent[] = {"hyperv", "xen-pv", "pvm", "invlpgb", "arm64-tlbi"};
	const char *b = json_string_value(
		json_object_get(json_object_get(in->environment, "tlb"), "flush_backend"));

	for (size_t i = 0; b && i < sizeof(silent) / sizeof(silent[0]); i++) {
		if (!strcmp(b, silent[i]))
			return silent[i];
	}
	return NULL;
}

/*
 * A gap may be a timer tick, and in a long operation there is one anyway: what
 * the kernel counted must bear the gaps out. Only where it can tell inside an
 * operation from outside.
 */
static void judge_shootdowns(const struct tm_record_input *in, json_t *reasons, json_t *warnings)
{
	struct tm_result *r = in->result;
	const struct tm_probe_counts *p = &r->probe;
	bool flushes = flushes_user_memory(&in->cell->args);
	uint64_t seen = flushes ? p->flush[FLUSH_REMOTE][INSIDE] : p->handlers[INSIDE];
	double ratio = share(seen, r->deliveries_expected);
	double p50_ns = tm_ticks_to_ns(
		in->clock, (double)tm_hist_quantile(tm_result_hist(r, TM_METRIC_OP), 0.5));

	if (r->probe_kind != TM_PROBE_NONE && p->has_columns && (flushes || p->has_events)) {
		if (ratio < TM_DELIVERED_MIN)
			say(reasons,
			    "%.4f %s an operation and responder inside the operations, by the"
			    " kernel's own count, < %.2f: other interrupts passed for shootdowns",
			    ratio, flushes ? "remote flushes" : "function-call interrupts",
			    TM_DELIVERED_MIN);
	} else if (p50_ns > TICK_NS * (1 - TM_DELIVERED_MIN)) {
		say(warnings,
		    "op p50 of %.3g ms is so long that timer ticks alone, one in about 4 ms,"
		    " pass for deliveries: only the probe bpf could tell them apart",
		    p50_ns / 1e6);
	}
}

/* Without gaps: all that the kernel counted in the phase, against all that were due. */
static void judge_interrupts(const struct tm_record_input *in, json_t *reasons)
{
	const struct tm_result *r = in->result;
	double ratio = share(interrupts(in), r->ops * in->cell->args.responders);

	if (!r->have_tlb_interrupts || !r->have_call_interrupts)
		say(reasons, "/proc/interrupts does not tell how many flushes there were");
	else if (!(ratio >= TM_DELIVERED_MIN))
		say(reasons,
		    "%.4f interrupts an operation and responder in /proc/interrupts, < %.2f:"
		    " responders were descheduled or lazy",
		    ratio, TM_DELIVERED_MIN);
}

static void judge_delivery(const struct tm_record_input *in, const struct derived *d,
			   json_t *reasons, json_t *warnings)
{
	const char *silent = silent_backend(in);

	if (in->role != TM_ROLE_MEASURED || tm_gate(&in->cell->args) != TM_GATE_EVERY ||
	    !tm_state_is_gated(in->cell->state))
		return;
	if (in->cell->deterministic) {
		judge_interrupts(in, reasons);
	} else if (in->cell->args.initiators > 1) {
		say(warnings, "several initiators: interruptions are not attributed to operations");
	} else if (!in->result->deliveries_expected) {
		say(reasons, "there was no responder to be interrupted");
	} else if (silent) {
		say(warnings,
		    "this machine flushes by %s, without an interrupt that a responder"
		    " could see: only the operation's time tells",
		    silent);
	} else if (d->delivered_ratio < TM_DELIVERED_MIN) {
		say(reasons, "delivered ratio %.4f < %.2f: responders were descheduled or lazy",
		    d->delivered_ratio, TM_DELIVERED_MIN);
	} else {
		judge_shootdowns(in, reasons, warnings);
	}
}

/*
 * TLB interrupts are counted over the whole system and the whole phase: where
 * the probe says that none fell into the operations, they are only a warning.
 * Several initiators interrupt each other, in a control as well.
 */
static void judge_control(const struct tm_record_input *in, const struct derived *d,
			  json_t *reasons, json_t *warnings)
{
	const struct tm_result *r = in->result;

	if (in->role == TM_ROLE_MEASURED || !d->ipis_source || !r->ops ||
	    in->cell->args.initiators > 1)
		return;
	if (strcmp(d->ipis_source, "gaps") && d->ipis > TM_CONTROL_STRAYS &&
	    d->ipis_per_op > TM_CONTROL_IPIS_MAX)
		say(reasons, "%.3f IPIs an operation in a control (> %.2f): others shoot down here",
		    d->ipis_per_op, TM_CONTROL_IPIS_MAX);
	else if (r->have_tlb_interrupts && r->tlb_interrupts > TM_CONTROL_STRAYS &&
		 d->tlb_interrupts_per_op > TM_CONTROL_IPIS_MAX)
		say(warnings,
		    "TLB interrupts between the operations of a control: other processes, or"
		    " its preparation");
}

static void judge_operations(const struct tm_record_input *in, json_t *reasons)
{
	struct tm_result *r = in->result;
	const struct tm_hist *op = tm_result_hist(r, TM_METRIC_OP);
	uint64_t steps = in->clock->resolution_ticks * TM_RESOLUTION_STEPS;

	if (!r->ops) {
		say(reasons, "no operation was measured");
		return;
	}
	/*
	 * Not a reason: other interrupts. They are in the distribution of the
	 * operation, as they are in its control's, and out of the split.
	 */
	if (share(r->ops - r->ops_armed, r->ops) > TM_UNARMED_MAX)
		say(reasons,
		    "%.0f%% of the operations began while a responder was not running"
		    " (> %.0f%%)",
		    100 * share(r->ops - r->ops_armed, r->ops), 100 * TM_UNARMED_MAX);
	if (!in->cell->args.workload->floor && op->count && tm_hist_quantile(op, 0.5) < steps)
		say(reasons, "op p50 of %.3g ns is under %d steps of the counter (%.3g ns each)",
		    tm_ticks_to_ns(in->clock, (double)tm_hist_quantile(op, 0.5)),
		    TM_RESOLUTION_STEPS,
		    tm_ticks_to_ns(in->clock, (double)in->clock->resolution_ticks));
}

static json_t *build_quality(const struct tm_record_input *in, const struct derived *d,
			     json_t *warnings)
{
	const struct tm_result *r = in->result;
	json_t *reasons = json_array();
	bool valid;

	if (r->skipped) {
		say(reasons, "skipped: %s", r->why);
	} else if (r->error) {
		say(reasons, "failed: %s", r->why[0] ? r->why : strerror(-r->error));
	} else {
		judge_operations(in, reasons);
		judge_delivery(in, d, reasons, warnings);
		judge_control(in, d, reasons, warnings);
		tm_record_judge_interruptions(in, warnings);
	}
	/* Also one that was seen before the oracle itself failed. */
	if (r->verdict.violations)
		say(reasons, "%llu of %llu checks violated: %s",
		    (unsigned long long)r->verdict.violations,
		    (unsigned long long)r->verdict.checks, r->verdict.first);
	valid = !json_array_size(reasons);
	if (r->gaps_dropped)
		say(warnings, "%llu interruptions were not held: the responders' rings were full",
		    (unsigned long long)r->gaps_dropped);
	if (r->verdict.unchecked[0])
		say(warnings, "not checked: %s", r->verdict.unchecked);
	return json_pack("{s:b, s:o, s:b, s:b}", "valid", (int)valid, "reasons", reasons,
			 "split_valid", (int)r->split_valid, "return_valid", (int)r->return_valid);
}

static json_t *build_verify(const struct tm_result *r)
{
	if (!r->verified && !r->verdict.violations)
		return json_null();
	return json_pack("{s:o, s:o, s:o, s:o}", "rounds", number(r->verdict.rounds), "checks",
			 number(r->verdict.checks), "violations", number(r->verdict.violations),
			 "first", text(r->verdict.first));
}

static json_t *build_background(const struct tm_record_input *in)
{
	json_t *metrics = NULL;

	if (!in->background)
		return json_null();
	if (in->background_metrics)
		metrics = json_loads(in->background_metrics, JSON_DECODE_ANY, NULL);
	return json_pack("{s:o, s:o}", "spec", text(in->background), "metrics",
			 metrics ? metrics : json_null());
}

json_t *tm_record_build(const struct tm_record_input *in)
{
	const struct tm_result *r = in->result;
	const char *status = r->skipped ? "skipped" : r->error ? "failed" : "ok";
	json_t *warnings = json_array(), *quality;
	char id[TM_ID_CHARS + 1], when[64];
	struct derived d;
	struct tm tm;
	json_t *record;

	if (tm_record_new_id(id) || !gmtime_r(&in->time.tv_sec, &tm)) {
		json_decref(warnings);
		return NULL;
	}
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(when + strlen(when), sizeof(when) - strlen(when), ".%03uZ",
		 (unsigned int)(in->time.tv_nsec / 1000000 % 1000));
	for (unsigned int i = 0; in->warnings && in->warnings[i]; i++)
		json_array_append_new(warnings, text(in->warnings[i]));
	derive(in, &d);
	quality = build_quality(in, &d, warnings);
	record = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o,"
		" s:o, s:o, s:O, s:o}",
		"schema", TM_RECORD_SCHEMA, "id", id, "session", in->session, "suite_version",
		in->suite_version, "time", when, "cell", build_cell(in), "status", status, "why",
		text(r->why), "clock", build_clock(in), "metrics", build_metrics(in),
		"raw_op_ticks", build_raw(r), "counts", build_counts(in), "derived",
		build_derived(in, &d), "quality", quality, "probe", tm_record_probe(in),
		"responders", tm_record_responders(in), "verify", build_verify(r), "background",
		build_background(in), "environment", in->environment, "warnings", warnings);
	if (in->cell->args.workload->counters)
		json_object_set_new(record, "counters", build_counters(in));
	if (in->cell->deterministic && r->ops)
		json_object_set_new(record, "deterministic", build_deterministic(r));
	return record;
}
