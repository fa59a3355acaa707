// SPDX-License-Identifier: GPL-3.0-or-later
/* The parts of a record that tell what the kernel did, and to whom. */
#include "record_internal.h"

/* Counts of the same thing may differ by so many, or by this share. */
enum { AGREE_COUNT = 2 };
#define AGREE_SHARE 0.01
/* Where clocks are known worse than to this, an event lies in any gap or in none. */
#define MATCH_BOUND_NS 50e3

static const char *const flush_names[TM_FLUSH_REASONS] = {
	"task_switch",	      "remote_shootdown", "local_shootdown",
	"local_mm_shootdown", "remote_send",	  "remote_wrong_cpu",
};

static json_t *in_out(const uint64_t counts[2])
{
	return json_pack("{s:o, s:o}", "in", number(counts[INSIDE]), "out",
			 number(counts[OUTSIDE]));
}

static json_t *build_ranges(const struct tm_probe_counts *p)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < TM_FLUSH_RANGES; i++)
		if (p->range[i][INSIDE] || p->range[i][OUTSIDE])
			json_array_append_new(list, json_pack("{s:o, s:o, s:o}", "pages_from",
							      number(1ull << i), "in",
							      number(p->range[i][INSIDE]), "out",
							      number(p->range[i][OUTSIDE])));
	return list;
}

/* Callbacks of function-call interrupts by name. */
static json_t *build_functions(const struct tm_probe_counts *p)
{
	json_t *functions = json_object();

	for (unsigned int i = 0; i < TM_PROBE_FUNCTIONS && p->function[i].name[0]; i++)
		json_object_set_new(functions, p->function[i].name, in_out(p->function[i].calls));
	if (p->function_other[INSIDE] || p->function_other[OUTSIDE])
		json_object_set_new(functions, "(other)", in_out(p->function_other));
	return functions;
}

/* What else interrupted: by its kind. */
static json_t *build_causes(const struct tm_probe_counts *p)
{
	json_t *causes = json_object();

	for (int c = 0; c < TM_CAUSES; c++)
		json_object_set_new(causes, tm_cause_name((enum tm_cause)c), in_out(p->cause[c]));
	return causes;
}

json_t *tm_record_probe(const struct tm_record_input *in)
{
	const struct tm_probe_counts *p = &in->result->probe;
	bool probed = in->result->probe_kind != TM_PROBE_NONE;
	json_t *flush = probed ? json_object() : json_null(), *cost = json_null();

	for (unsigned int i = 0; probed && i < TM_FLUSH_REASONS; i++)
		json_object_set_new(flush, flush_names[i], in_out(p->flush[i]));
	if (in->probe_cost)
		cost = json_pack(
			"{s:o, s:o, s:o}", "with_p50_ns", real(in->probe_cost->with_p50_ns),
			"without_p50_ns", real(in->probe_cost->without_p50_ns), "ratio",
			real(in->probe_cost->with_p50_ns / in->probe_cost->without_p50_ns));
	return json_pack("{s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "kind",
			 tm_probe_kind_name(in->result->probe_kind), "columns", (int)p->has_columns,
			 "why", text(in->probe_why), "cost", cost, "flush", flush, "ranges",
			 p->has_ranges ? build_ranges(p) : json_null(), "full",
			 p->has_ranges ? in_out(p->full) : json_null(), "sends_full",
			 p->has_ranges ? in_out(p->sends_full) : json_null(), "functions",
			 p->has_functions ? build_functions(p) : json_null(), "handlers",
			 probed ? in_out(p->handlers) : json_null(), "causes",
			 probed ? build_causes(p) : json_null(), "events_lost",
			 number(p->events_lost));
}

static json_t *build_lines(const struct tm_responder_result *r)
{
	json_t *lines = json_object();

	for (int l = 0; l < TM_LINES; l++)
		json_object_set_new(lines, tm_interrupt_line_name((enum tm_interrupt_line)l),
				    json_integer(r->line[l]));
	return lines;
}

/* Can its gaps and the probe's events be matched at all? */
static bool is_matched(const struct tm_record_input *in, const struct tm_responder_result *r)
{
	return in->result->probe.has_events &&
	       tm_ticks_to_ns(in->clock, (double)r->bound_ticks) <= MATCH_BOUND_NS;
}

/* What interrupted one responder, whenever it was, added to its member. */
static void add_interruptions(const struct tm_record_input *in, const struct tm_responder_result *r,
			      json_t *responder)
{
	const struct tm_probe_counts *all = &in->result->probe;
	bool probed = in->result->probe_kind != TM_PROBE_NONE;
	json_t *more =
		json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "gaps_unexplained",
			  number_if(is_matched(in, r), r->gaps_unexplained), "interrupts_unseen",
			  number_if(is_matched(in, r), r->interrupts_unseen), "page_faults",
			  r->have_faults ? json_integer(r->faults) : json_null(), "handlers",
			  probed ? in_out(r->probe.handlers) : json_null(), "causes",
			  probed ? build_causes(&r->probe) : json_null(), "functions",
			  all->has_functions ? build_functions(&r->probe) : json_null(),
			  "interrupts", r->have_lines ? build_lines(r) : json_null());

	json_object_update(responder, more);
	json_decref(more);
}

json_t *tm_record_responders(const struct tm_record_input *in)
{
	const struct tm_responder_result *r = tm_result_responders(in->result);
	const struct tm_clock *c = in->clock;
	json_t *list = json_array(), *responder;

	for (uint32_t i = 0; i < in->result->responders; i++, r++) {
		responder = json_pack(
			"{s:i, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "cpu", (int)r->cpu,
			"distance", tm_distance_name((enum tm_distance)r->distance), "delivered",
			number(r->delivered), "gaps_in", number(r->gaps_in), "gaps_out",
			number(r->gaps_out), "stolen_ns",
			real(tm_ticks_to_ns(c, (double)r->stolen_ticks)), "offset_ns",
			real(tm_ticks_to_ns(c, (double)r->offset_ticks)), "bound_ns",
			real(tm_ticks_to_ns(c, (double)r->bound_ticks)), "delivery_p50_ns",
			real(tm_ticks_to_ns(c, (double)r->delivery_p50_ticks)), "stolen_p50_ns",
			real(tm_ticks_to_ns(c, (double)r->stolen_p50_ticks)));
		add_interruptions(in, r, responder);
		json_array_append_new(list, responder);
	}
	return list;
}

/* Interrupts of one CPU by the probe, and by /proc/interrupts, which counts NMIs too. */
static uint64_t probed_interrupts(const struct tm_probe_counts *p)
{
	uint64_t sum = p->handlers[INSIDE] + p->handlers[OUTSIDE];

	for (int c = 0; c < TM_CAUSES; c++)
		if (c != TM_CAUSE_SWITCH)
			sum += p->cause[c][INSIDE] + p->cause[c][OUTSIDE];
	return sum;
}

static uint64_t listed_interrupts(const struct tm_responder_result *r)
{
	int64_t sum = 0;

	for (int l = 0; l < TM_LINES; l++)
		if (l != TM_LINE_NMI)
			sum += r->line[l];
	return (uint64_t)sum;
}

/* The phase's two ends are not the same instant for all that count. */
static bool agree(uint64_t a, uint64_t b)
{
	uint64_t difference = a > b ? a - b : b - a;

	return difference <= AGREE_COUNT || (double)difference <= AGREE_SHARE * (double)b;
}

static void judge_responder(const struct tm_record_input *in, const struct tm_responder_result *r,
			    json_t *warnings)
{
	const struct tm_probe_counts *p = &r->probe;
	uint64_t calls = p->handlers[INSIDE] + p->handlers[OUTSIDE], all = probed_interrupts(p);
	uint64_t listed = listed_interrupts(r), listed_calls = (uint64_t)r->line[TM_LINE_CALL];
	bool events = in->result->probe.has_events;
	/* On aarch64 the probe counts callbacks, and other interrupts as devices'. */
	bool comparable = events && r->have_lines && in->result->have_call_interrupts;

	if (comparable && !agree(calls, listed_calls))
		say(warnings,
		    "CPU %u: the probe counted %llu function-call interrupts, /proc/interrupts"
		    " %llu",
		    r->cpu, (unsigned long long)calls, (unsigned long long)listed_calls);
	if (comparable && !agree(all, listed))
		say(warnings, "CPU %u: the probe counted %llu interrupts, /proc/interrupts %llu",
		    r->cpu, (unsigned long long)all, (unsigned long long)listed);
	if (events && !is_matched(in, r))
		say(warnings,
		    "CPU %u: its clock's offset is known to %.0f us only, so which interruption"
		    " had which cause is not told",
		    r->cpu, tm_ticks_to_ns(in->clock, (double)r->bound_ticks) / 1e3);
	else if (events && !in->result->probe.events_lost &&
		 !agree(all - r->interrupts_unseen, all))
		say(warnings, "CPU %u: %llu of %llu interrupts lie in no gap of the responder's",
		    r->cpu, (unsigned long long)r->interrupts_unseen, (unsigned long long)all);
	if (r->have_faults && r->faults)
		say(warnings, "CPU %u: the responder's own page faults interrupted it %lld times",
		    r->cpu, (long long)r->faults);
}

/* Isolated from the scheduler alone: then the tick goes on. */
static bool is_nohz_full(const struct tm_record_input *in, unsigned int cpu)
{
	const char *list = json_string_value(
		json_object_get(json_object_get(in->environment, "cpu"), "nohz_full"));
	char *end;

	while (list && *list >= '0' && *list <= '9') {
		unsigned long first = strtoul(list, &end, 10), last = first;

		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		if (cpu >= first && cpu <= last)
			return true;
		list = *end == ',' ? end + 1 : NULL;
	}
	return false;
}

void tm_record_judge_interruptions(const struct tm_record_input *in, json_t *warnings)
{
	const struct tm_responder_result *r = tm_result_responders(in->result);

	if (in->cell->state != TM_STATE_ISOLATED)
		return;
	for (uint32_t i = 0; i < in->result->responders; i++, r++) {
		if (!is_nohz_full(in, r->cpu))
			say(warnings,
			    "CPU %u is isolated, but not NOHZ_FULL: its timer tick goes on; boot"
			    " with nohz_full=",
			    r->cpu);
		judge_responder(in, r, warnings);
	}
}
