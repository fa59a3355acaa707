// SPDX-License-Identifier: GPL-3.0-or-later
/* The end of a stress run, in words and as JSON. See stress.h. */
#include <inttypes.h>

#include "stress.h"
#include "sysfile.h"

static double seconds(uint64_t ns)
{
	return (double)ns / 1e9;
}

static double per_second(const struct tm_stress_outcome *out)
{
	return out->elapsed_ns ? (double)out->shootdowns / seconds(out->elapsed_ns) : 0;
}

static void print_paths(FILE *f, const struct tm_stress_outcome *out)
{
	fprintf(f, "%-18s %7s %8s %12s %12s %11s\n", "path", "bouts", "time s", "operations",
		"checks", "violations");
	for (size_t i = 0; i < out->path_count; i++) {
		const struct tm_stress_path *p = &out->paths[i];

		if (!p->bouts)
			continue;
		fprintf(f, "%-18s %7" PRIu64 " %8.1f %12" PRIu64 " %12" PRIu64 " %11" PRIu64 "\n",
			p->workload->name, p->bouts, seconds(p->busy_ns),
			p->operations ? p->operations : p->calls, p->checks, p->violations);
	}
}

void tm_stress_note(struct tm_stress_path *p, const struct tm_verdict *v)
{
	if (!v->unchecked[0])
		return;
	snprintf(p->unchecked, sizeof(p->unchecked), "%s", v->unchecked);
	p->impatient = false;
}

static void print_rest(FILE *f, const struct tm_stress_outcome *out)
{
	for (size_t i = 0; i < out->path_count; i++) {
		const struct tm_stress_path *p = &out->paths[i];

		if (!p->checks && p->skip_why[0])
			fprintf(f, "left out: %s: %s\n", p->workload->name,
				p->unchecked[0] && !p->impatient ? p->unchecked : p->skip_why);
		if (p->checks && p->unchecked[0])
			fprintf(f, "not checked: %s: %s\n", p->workload->name, p->unchecked);
		if (p->failed)
			fprintf(f, "failed: %s, %" PRIu64 " of %" PRIu64 " bouts: %s\n",
				p->workload->name, p->failed, p->bouts, p->fail_why);
	}
}

/* Workloads that had no turn: nothing is known of them. */
static void print_missed(FILE *f, const struct tm_stress_options *o,
			 const struct tm_stress_outcome *out)
{
	const char *before = "not reached in this time: ";

	/* Stopped early, by what was seen or by somebody: there was no time to reach them. */
	if (out->elapsed_ns < o->duration_ns)
		return;
	for (size_t i = 0; i < out->path_count; i++) {
		const struct tm_stress_path *p = &out->paths[i];

		if (p->bouts || p->skip_why[0])
			continue;
		fprintf(f, "%s%s", before, p->workload->name);
		before = ", ";
	}
	if (before[0] == ',')
		fputc('\n', f);
}

void tm_stress_print(FILE *f, const struct tm_stress_options *o,
		     const struct tm_stress_outcome *out)
{
	print_paths(f, out);
	fputc('\n', f);
	print_rest(f, out);
	print_missed(f, o, out);
	if (out->no_trace[0] && !o->no_trace)
		fprintf(f, "no trace: %s\n", out->no_trace);
	fprintf(f, "seed %" PRIu64 ", %.1f s", o->seed, seconds(out->elapsed_ns));
	if (out->have_shootdowns)
		fprintf(f, ", %" PRIu64 " shootdowns (%.0f a second)", out->shootdowns,
			per_second(out));
	fprintf(f, ", %" PRIu64 " checks\n", out->checks);
	if (out->violations)
		fprintf(f, "%" PRIu64 " stale translations seen, the first after %.1f s in %s\n",
			out->violations, seconds(out->told[0].at_ns), out->told[0].label);
	else
		fputs(out->checks ? "no stale translation seen\n" : "nothing was checked\n", f);
}

static json_t *paths_json(const struct tm_stress_outcome *out)
{
	json_t *all = json_array();

	for (size_t i = 0; i < out->path_count; i++) {
		const struct tm_stress_path *p = &out->paths[i];

		json_array_append_new(
			all,
			json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:s}",
				  "workload", p->workload->name, "bouts", (json_int_t)p->bouts,
				  "skipped", (json_int_t)p->skipped, "failed",
				  (json_int_t)p->failed, "operations", (json_int_t)p->operations,
				  "calls", (json_int_t)p->calls, "checks", (json_int_t)p->checks,
				  "violations", (json_int_t)p->violations, "busy_ns",
				  (json_int_t)p->busy_ns, "skip_why", p->skip_why, "fail_why",
				  p->fail_why, "unchecked", p->unchecked));
	}
	return all;
}

/* NULL: there is none. Names of tasks are anybody's bytes. */
static json_t *trace_json(const struct tm_trace_text *t)
{
	json_t *lines = t->count ? json_array() : NULL;

	for (size_t i = 0; i < t->count; i++)
		json_array_append_new(lines, tm_json_text(t->line[i]));
	return lines;
}

static json_t *violations_json(const struct tm_stress_outcome *out)
{
	json_t *all = json_array();

	for (size_t i = 0; i < out->told_count; i++) {
		const struct tm_stress_violation *v = &out->told[i];

		json_array_append_new(all, json_pack("{s:I, s:I, s:I, s:s, s:s, s:s, s:s*, s:o*}",
						     "bout", (json_int_t)v->bout, "at_ns",
						     (json_int_t)v->at_ns, "count",
						     (json_int_t)v->count, "cell", v->label, "cpus",
						     v->cpus, "what", v->what, "trace_clock",
						     v->trace.count ? v->trace.clock : NULL,
						     "trace", trace_json(&v->trace)));
	}
	return all;
}

json_t *tm_stress_json(const struct tm_stress_options *o, const struct tm_stress_outcome *out)
{
	json_t *names = json_array();

	for (size_t i = 0; i < o->workload_count; i++)
		json_array_append_new(names, json_string(o->workloads[i]));
	return json_pack(
		"{s:s, s:s, s:I, s:I, s:I, s:s*, s:b, s:o, s:I, s:I, s:I, s:o?, s:s*, s:o, s:o}",
		"schema", "tlbmark-stress-1", "suite_version", PACKAGE_VERSION, "seed",
		(json_int_t)o->seed, "duration_ns", (json_int_t)o->duration_ns, "elapsed_ns",
		(json_int_t)out->elapsed_ns, "background", o->background, "background_lost",
		out->load_lost, "workloads", names, "bouts", (json_int_t)out->bouts, "checks",
		(json_int_t)out->checks, "violations", (json_int_t)out->violations, "shootdowns",
		out->have_shootdowns ? json_integer((json_int_t)out->shootdowns) : NULL, "no_trace",
		out->no_trace[0] ? out->no_trace : NULL, "paths", paths_json(out), "told",
		violations_json(out));
}
