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

void tm_table_title(FILE *out, const struct tm_rows *rows, const struct tm_table_style *style)
{
	char rate[TM_TABLE_NUMBER], pair[TM_TABLE_NUMBER], bound[TM_TABLE_NUMBER];
	char *line;

	fprintf(out, "%sSession %.12s, %s%s\n", style->colour ? TM_BOLD : "", rows->session,
		rows->time, style->colour ? TM_PLAIN : "");
	if (asprintf(
		    &line,
		    "%s, Linux %s; probe: %s; background: %s; %s at %s GHz, a pair of reads %s, offset"
		    " between CPUs known to +-%s",
		    rows->machine ? rows->machine : "unknown processor",
		    rows->kernel ? rows->kernel : "?", rows->probe ? rows->probe : "?",
		    rows->background ? rows->background : "none",
		    rows->counter ? rows->counter : "counter",
		    tm_table_number(rows->hz / 1e9, rate),
		    tm_table_time(rows->clock_pair_ns, style->utf8, pair),
		    tm_table_time(rows->offset_bound_ns, style->utf8, bound)) < 0)
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

void tm_table_notes(FILE *out, const struct tm_rows *rows, const struct tm_table_style *style)
{
	struct notes n = {.out = out, .width = style->width};

	note_cost(&n, rows);
	note_gaps(&n, rows);
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
