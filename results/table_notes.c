// SPDX-License-Identifier: GPL-3.0-or-later
/* The words around the figures. */
#include "table_text.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void tm_table_paragraph(FILE *out, const char *lead, const char *text, unsigned int width)
{
	size_t indent = tm_table_screen_width(lead), used = indent;

	fputs(lead, out);
	while (*text) {
		size_t word = strcspn(text, " \n");
		char *copy = strndup(text, word);
		size_t columns_taken = copy ? tm_table_screen_width(copy) : word;

		free(copy);
		if (used > indent && used + 1 + columns_taken > width) {
			fprintf(out, "\n%*s", (int)indent, "");
			used = indent;
		}
		fprintf(out, "%s%.*s", used > indent ? " " : "", (int)word, text);
		used += columns_taken + (used > indent);
		text += word + strspn(text + word, " \n");
	}
	fputc('\n', out);
}

struct notes {
	FILE *out;
	unsigned int width;
	unsigned int said;
};

__attribute__((format(printf, 2, 3))) static void note(struct notes *n, const char *how, ...)
{
	char *text;
	va_list ap;

	va_start(ap, how);
	if (vasprintf(&text, how, ap) < 0)
		text = NULL;
	va_end(ap);
	if (!text)
		return;
	if (!n->said++)
		fputc('\n', n->out);
	tm_table_paragraph(n->out, "- ", text, n->width);
	free(text);
}

/* How the counter reads, in words; free(). NULL when out of memory. */
static char *describe_counter(const struct tm_rows *rows, bool utf8)
{
	char rate[TM_TABLE_NUMBER], pair[TM_TABLE_NUMBER], bound[TM_TABLE_NUMBER];
	const char *counter = rows->counter ? rows->counter : "counter";
	char *text;
	int n;

	if (rows->deterministic)
		n = asprintf(&text, "%s counts the instructions of all CPUs", counter);
	else
		n = asprintf(&text,
			     "%s at %s GHz, a pair of reads %s, offset between CPUs known to +-%s",
			     counter, tm_table_number(rows->hz / 1e9, rate),
			     tm_table_time(rows->clock_pair_ns, utf8, pair),
			     tm_table_time(rows->offset_bound_ns, utf8, bound));
	return n < 0 ? NULL : text;
}

void tm_table_title(FILE *out, const struct tm_rows *rows, const struct tm_table_style *style)
{
	char *counter = describe_counter(rows, style->utf8), *line;

	fprintf(out, "%sSession %.12s, %s%s\n", style->colour ? TM_BOLD : "", rows->session,
		rows->time, style->colour ? TM_PLAIN : "");
	if (asprintf(&line, "%s, Linux %s; probe: %s; background: %s; %s",
		     rows->machine ? rows->machine : "unknown processor",
		     rows->kernel ? rows->kernel : "?", rows->probe ? rows->probe : "?",
		     rows->background ? rows->background : "none",
		     counter ? counter : "counter") < 0)
		line = NULL;
	free(counter);
	if (!line)
		return;
	tm_table_paragraph(out, "", line, style->width);
	free(line);
}

/* Rows for which `is` holds, of those with figures. */
static size_t count_rows(const struct tm_rows *rows, bool (*is)(const struct tm_row *))
{
	size_t n = 0;

	for (size_t i = 0; i < rows->count; i++)
		n += rows->row[i].repeats_valid && is(&rows->row[i]);
	return n;
}

static bool lacks_tail(const struct tm_row *r)
{
	return r->tail_refused;
}

static bool lacks_split(const struct tm_row *r)
{
	return r->split_refused;
}

static bool lacks_floor(const struct tm_row *r)
{
	return !r->floor && r->responders && isnan(r->times_ipi_floor);
}

static bool lacks_interval(const struct tm_row *r)
{
	return r->cost_ns.pairs && r->cost_ns.level <= 0;
}

static bool from_control_alone(const struct tm_row *r)
{
	return r->responders && r->control && !strcmp(r->control, "none");
}

static bool without_control(const struct tm_row *r)
{
	return !r->floor && !r->control;
}

static bool from_gaps(const struct tm_row *r)
{
	return r->ipis_source && !strcmp(r->ipis_source, "gaps");
}

static bool from_interrupts(const struct tm_row *r)
{
	return r->ipis_source && !strcmp(r->ipis_source, "interrupts");
}

static void note_instructions(struct notes *n)
{
	note(n, "instr.: instructions that the whole guest executed from the operation's beginning"
		" to its end, the responders' and those of whoever else was due included. No times:"
		" nothing here tells how long any of it takes on a machine.");
	note(n, "at p50: operations that took exactly the p50; values: how many different counts"
		" there were; each of the run where it is worst. The others met a timer tick, or"
		" memory that is freed a batch at a time.");
	note(n, "Shootdown cost: op p50 minus (ratio: divided by) that of the control, which is"
		" the same operation with responders that spin in another process; exact. [low,"
		" high]: the repeats differed by so much.");
}

static void note_cost(struct notes *n, const struct tm_rows *rows)
{
	double lowest = INFINITY, highest = 0;
	size_t costs = 0;

	for (size_t i = 0; i < rows->count; i++) {
		const struct tm_estimate *e = &rows->row[i].cost_ns;

		costs += e->pairs > 0;
		if (e->level > 0) {
			lowest = fmin(lowest, e->level);
			highest = fmax(highest, e->level);
		}
	}
	if (!costs)
		return;
	note(n, "Shootdown cost: op p50 minus (ratio: divided by) that of the control, which is"
		" the same operation with responders that spin in another process; paired by"
		" repeat, Hodges-Lehmann.");
	if (highest > 0 && highest - lowest > 5e-4)
		note(n,
		     "[low, high]: exact signed-rank interval, %.1f%% to %.1f%% by the number of"
		     " pairs.",
		     lowest * 100, highest * 100);
	else if (highest > 0)
		note(n, "[low, high]: exact signed-rank interval, %.1f%%.", highest * 100);
}

/* What is missing from which figures, and why. */
static void note_gaps(struct notes *n, const struct tm_rows *rows)
{
	const struct {
		bool (*is)(const struct tm_row *);
		const char *text;
	} lacks[] = {
		{lacks_interval,
		 "without an interval: fewer than 6 pairs of valid runs cannot reach 95%"},
		{from_control_alone,
		 "compared with no responder at all, for want of valid foreign controls"},
		{without_control, "without a control to pair with, so without a cost"},
		{lacks_tail,
		 "without p99 or p99.9: fewer than 10 independent operations beyond it"},
		{lacks_split, "without delivery and return in some runs: the offset between the"
			      " CPUs' counters is not known well enough to split them"},
		{lacks_floor, "without x IPI floor: no valid " TM_ROWS_IPI_FLOOR
			      " row with as many responders, in the same state and distance"},
		{from_gaps, "with IPIs counted by the responders' gaps, timer ticks included"},
		{from_interrupts, "with IPIs from the TLB line of /proc/interrupts, all of the"
				  " system and between operations too"},
	};

	for (size_t i = 0; i < sizeof(lacks) / sizeof(lacks[0]); i++) {
		size_t count = count_rows(rows, lacks[i].is);

		if (count)
			note(n, "%zu row%s %s.", count, count == 1 ? "" : "s", lacks[i].text);
	}
}

/* "one in 964 operations", "2 an operation". */
static const char *describe_rate(double per_op, char text[40])
{
	if (per_op > 0 && per_op < 1)
		snprintf(text, 40, "one in %.4g operations", 1 / per_op);
	else
		snprintf(text, 40, "%.4g an operation", per_op);
	return text;
}

static void note_kernel_flushes(struct notes *n, const struct tm_rows *rows)
{
	for (size_t i = 0; i < rows->count; i++) {
		const struct tm_row *r = &rows->row[i];
		double predicted = r->kernel_flushes_per_op_predicted;
		char seen[40], expected[40];

		if (!r->repeats_valid || isnan(r->kernel_flushes_per_op) || isnan(predicted))
			continue;
		note(n, "%s: flushes of kernel addresses: %s; predicted: %s.%s", r->label,
		     describe_rate(r->kernel_flushes_per_op, seen),
		     describe_rate(predicted, expected),
		     predicted > 0 && predicted < 1
			     ? " So its times have two modes, beside a flush and without;"
			       " p50 is of the second."
			     : "");
	}
}

/* ", the last 11.9 ms after the unmap; half are stale until 9.9 ms": what there is of it. */
static void note_stale(struct notes *n, const struct tm_rows *rows, bool utf8)
{
	for (size_t i = 0; i < rows->count; i++) {
		const struct tm_row *r = &rows->row[i];
		char last[64] = "", first[64] = "", half[96] = "", a[TM_TABLE_NUMBER],
		     b[TM_TABLE_NUMBER];

		if (!r->looks)
			continue;
		if (isfinite(r->stale_last_ns))
			snprintf(last, sizeof(last), ", the last %s after it was taken away",
				 tm_table_time(r->stale_last_ns, utf8, a));
		if (isfinite(r->gone_first_ns))
			snprintf(first, sizeof(first), "; the first that was gone, %s after",
				 tm_table_time(r->gone_first_ns, utf8, a));
		if (isfinite(r->stale_half_low_ns))
			snprintf(half, sizeof(half),
				 "; half are stale until between %s and %s (95%%)",
				 tm_table_time(r->stale_half_low_ns, utf8, a),
				 tm_table_time(r->stale_half_high_ns, utf8, b));
		note(n, "%s: %llu of %llu looks found the translation still used%s%s%s.", r->label,
		     (unsigned long long)r->looks_stale, (unsigned long long)r->looks, last, first,
		     half);
	}
}

/* Not in the columns: what counts here is the responders' side, whenever it was. */
static void note_interruptions(struct notes *n, const struct tm_rows *rows, bool utf8)
{
	char per_op[TM_TABLE_NUMBER], p50[TM_TABLE_NUMBER], p99[TM_TABLE_NUMBER],
		max[TM_TABLE_NUMBER], without[96];

	for (size_t i = 0; i < rows->count; i++) {
		const struct tm_row *r = &rows->row[i];
		const struct tm_row_interruptions *s = r->interruptions;

		if (!s)
			continue;
		without[0] = '\0';
		if (s->unexplained > 0)
			snprintf(without, sizeof(without),
				 "; of these, %.0f that this kernel did not cause", s->unexplained);
		note(n,
		     "%s: interrupts an operation and isolated CPU: %s (%s). User code saw %llu"
		     " interruptions: p50 %s, p99 %s, longest %s%s.",
		     r->label, tm_table_number(s->per_op, per_op),
		     s->causes[0] ? s->causes : "none", (unsigned long long)s->gaps,
		     tm_table_time(s->p50_ns, utf8, p50), tm_table_time(s->p99_ns, utf8, p99),
		     tm_table_time(s->max_ns, utf8, max), without);
	}
}

void tm_table_notes(FILE *out, const struct tm_rows *rows, const struct tm_table_style *style)
{
	struct notes n = {.out = out, .width = style->width};

	if (rows->deterministic)
		note_instructions(&n);
	else
		note_cost(&n, rows);
	note_gaps(&n, rows);
	note_kernel_flushes(&n, rows);
	note_stale(&n, rows, style->utf8);
	note_interruptions(&n, rows, style->utf8);
	if (rows->probe_why && rows->probe_why[0])
		note(&n, "Probe %s, because: %s.", rows->probe ? rows->probe : "?",
		     rows->probe_why);
	for (size_t i = 0; i < rows->count; i++)
		if (rows->row[i].reasons)
			note(&n, "%s%s (row %u): %s.",
			     rows->row[i].repeats_valid ? "" : "NOT VALID: ", rows->row[i].label,
			     rows->row[i].row, rows->row[i].reasons);
	for (size_t i = 0; i < rows->warning_count; i++)
		note(&n, "Warning: %s.", rows->warnings[i]);
}
