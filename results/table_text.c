// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The table on a terminal: one line a row where that fits, else the row's
 * label on a line of its own and its figures below, on as many as it takes.
 */
#include "table_text.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum cell_kind { LABEL, WHO, TIME, COST, RATIO, NUMBER, COUNT, PERCENT, VALID };
/* In which tables: of times, of counted instructions, or both. */
enum cell_when { TIMED = 1, COUNTED = 2, ALWAYS = TIMED | COUNTED };

struct column {
	const char *head, *below; /* below: of a time its quantile, the unit follows */
	enum cell_kind kind;
	size_t offset;
	bool floors; /* also in the table of floors */
	enum cell_when when;
};

#define AT(field) offsetof(struct tm_row, field)
static const struct column columns[] = {
	{"workload", "", LABEL, 0, true, ALWAYS},
	{"responders", "", WHO, 0, true, ALWAYS},
	{"op", "p50 ", TIME, AT(op_p50_ns), true, ALWAYS},
	{"op", "p99 ", TIME, AT(op_p99_ns), true, TIMED},
	{"op", "p99.9 ", TIME, AT(op_p999_ns), true, TIMED},
	{"at", "p50 %", PERCENT, AT(op_p50_share), true, COUNTED},
	{"op", "values", COUNT, AT(op_values), true, COUNTED},
	{"control", "p50 ", TIME, AT(control_p50_ns), false, ALWAYS},
	{"shootdown cost", "p50 ", COST, AT(cost_ns), false, ALWAYS},
	{"shootdown cost", "ratio", RATIO, AT(cost_ratio), false, ALWAYS},
	{"delivery", "p50 ", TIME, AT(delivery_p50_ns), false, TIMED},
	{"stolen", "p50 ", TIME, AT(stolen_p50_ns), false, TIMED},
	{"return", "p50 ", TIME, AT(return_p50_ns), false, TIMED},
	{"IPIs", "an op", NUMBER, AT(ipis_per_op), true, ALWAYS},
	{"full", "%", PERCENT, AT(full_flush_share), false, ALWAYS},
	{"x IPI", "floor", NUMBER, AT(times_ipi_floor), false, ALWAYS},
	{"runs", "valid", VALID, 0, true, ALWAYS},
};
enum { COLUMNS = sizeof(columns) / sizeof(columns[0]), HEADS = 2 };

/* Cells as text: two lines of heads, then the rows. */
struct grid {
	size_t columns, rows; /* rows: heads included */
	size_t gap;	      /* between columns */
	bool brief;	      /* labels without what all rows share */
	bool counted;	      /* in instructions */
	const struct column *column[COLUMNS];
	size_t width[COLUMNS];
	char *cell[]; /* [rows][columns] */
};

struct unit {
	const char *name, *name_utf8;
	double ns;
};
static const struct unit units[] = {
	{"ns", "ns", 1}, {"us", "\302\265s", 1e3}, {"ms", "ms", 1e6}, {"s", "s", 1e9}};
/* Counted, so written out; the guest's clock passes a nanosecond for each. */
static const struct unit instructions = {"instr.", "instr.", 1};

static const struct unit *unit_for(double ns)
{
	size_t i = 0;

	while (i + 1 < sizeof(units) / sizeof(units[0]) && fabs(ns) >= units[i + 1].ns)
		i++;
	return &units[i];
}

char *tm_table_number(double value, char buf[TM_TABLE_NUMBER])
{
	double rounded;
	int decimals;

	if (!isfinite(value)) {
		strcpy(buf, "-");
		return buf;
	}
	/* Rounded first: 9.996 is 10.0, not 10.00. */
	snprintf(buf, TM_TABLE_NUMBER, "%.2e", value);
	rounded = fabs(strtod(buf, NULL));
	decimals = rounded >= 100 ? 0 : rounded >= 10 ? 1 : rounded >= 1 ? 2 : 3;
	if (rounded >= 0.1)
		snprintf(buf, TM_TABLE_NUMBER, "%.*f", decimals, value);
	else
		snprintf(buf, TM_TABLE_NUMBER, "%.3g", value);
	return buf;
}

char *tm_table_time(double ns, bool utf8, char buf[TM_TABLE_NUMBER])
{
	const struct unit *u = unit_for(ns);

	if (!isfinite(ns))
		return tm_table_number(ns, buf);
	tm_table_number(ns / u->ns, buf);
	strcat(buf, " ");
	return strcat(buf, utf8 ? u->name_utf8 : u->name);
}

/* Every digit of a count; the median of two that differ may have a half. */
static char *count_text(double value, char buf[TM_TABLE_NUMBER])
{
	if (!isfinite(value))
		return tm_table_number(value, buf);
	snprintf(buf, TM_TABLE_NUMBER, "%.*f", value != rint(value), value);
	return buf;
}

static char *unit_text(double ns, const struct unit *u, char buf[TM_TABLE_NUMBER])
{
	return u == &instructions ? count_text(ns, buf) : tm_table_number(ns / u->ns, buf);
}

/* Columns on the screen, not bytes: continuation bytes take none. */
size_t tm_table_screen_width(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

/* A fresh string; NULL when out of memory. */
__attribute__((format(printf, 1, 2))) static char *format(const char *how, ...)
{
	char *text;
	va_list ap;
	int n;

	va_start(ap, how);
	n = vasprintf(&text, how, ap);
	va_end(ap);
	return n < 0 ? NULL : text;
}

static double real_at(const struct tm_row *r, const struct column *c)
{
	const void *at = (const char *)r + c->offset;

	return *(const double *)at;
}

static int compare_reals(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* One unit a column, for its median: few digits for most of it. */
static const struct unit *column_unit(const struct tm_row *row, size_t n, const struct column *c)
{
	double *known = malloc((n + 1) * sizeof(*known));
	const struct unit *u = &units[1];
	size_t count = 0;

	for (size_t i = 0; known && i < n; i++)
		if (isfinite(real_at(&row[i], c)))
			known[count++] = fabs(real_at(&row[i], c));
	if (count) {
		qsort(known, count, sizeof(*known), compare_reals);
		u = unit_for(known[(count - 1) / 2]);
	}
	free(known);
	return u;
}

/* Has it an interval to be shown? Not where all pairs of what was counted agreed. */
static bool has_interval(const struct tm_estimate *e, bool exact)
{
	return e->level > 0 && !(exact && e->low >= e->high);
}

static char *estimate_cell(const struct tm_estimate *e, const struct unit *u, bool exact)
{
	char value[TM_TABLE_NUMBER], low[TM_TABLE_NUMBER], high[TM_TABLE_NUMBER];

	unit_text(e->value, u, value);
	if (!has_interval(e, exact))
		return strdup(value);
	return format("%s [%s, %s]", value, unit_text(e->low, u, low), unit_text(e->high, u, high));
}

char *tm_table_difference(const struct tm_estimate *e, bool exact, bool utf8)
{
	const struct unit *u = exact ? &instructions : unit_for(e->value);
	char value[TM_TABLE_NUMBER], low[TM_TABLE_NUMBER], high[TM_TABLE_NUMBER];
	const char *sign = e->value > 0 ? "+" : "", *unit = utf8 ? u->name_utf8 : u->name;

	unit_text(e->value, u, value);
	if (!has_interval(e, exact))
		return format("%s%s %s", sign, value, unit);
	return format("%s%s %s [%s, %s]", sign, value, unit, unit_text(e->low, u, low),
		      unit_text(e->high, u, high));
}

static char *who_cell(const struct tm_row *r)
{
	const char *state = r->state && strcmp(r->state, "spin") ? r->state : NULL;
	char *text, *more;

	if (!r->responders)
		text = format("none");
	else
		text = format("%u %s%s%s", r->responders, r->distance ? r->distance : "?",
			      state ? " " : "", state ? state : "");
	if (!text || r->initiators <= 1)
		return text;
	more = format("%s, %u initiate", text, r->initiators);
	free(text);
	return more;
}

/* Of any kind but the label, which depends on the other rows. */
static char *make_cell(const struct tm_row *r, const struct column *c, const struct unit *u)
{
	const void *at = (const char *)r + c->offset;
	char number[TM_TABLE_NUMBER];

	switch (c->kind) {
	case LABEL:
		break;
	case WHO:
		return who_cell(r);
	case TIME:
		return strdup(unit_text(*(const double *)at, u, number));
	case COST:
		return estimate_cell(at, u, r->deterministic);
	case RATIO:
		return estimate_cell(at, &units[0], r->deterministic);
	case COUNT:
		return strdup(count_text(*(const double *)at, number));
	case NUMBER:
		return strdup(tm_table_number(*(const double *)at, number));
	case PERCENT:
		return strdup(tm_table_number(*(const double *)at * 100, number));
	case VALID:
		return format("%u/%u%s", r->repeats_valid, r->repeats,
			      r->repeats_valid ? "" : " no");
	}
	return NULL;
}

static void grid_free(struct grid *g)
{
	for (size_t i = 0; g && i < g->rows * g->columns; i++)
		free(g->cell[i]);
	free(g);
}

/* One column: its two heads, its cells, its width. 0 or -ENOMEM. */
static int fill_column(struct grid *g, size_t at, const struct tm_row *row, bool utf8)
{
	size_t n = g->rows - HEADS;
	const struct column *c = g->column[at];
	bool timed = c->kind == TIME || c->kind == COST;
	const struct unit *u = !timed	    ? &units[0]
			       : g->counted ? &instructions
					    : column_unit(row, n, c);
	const char *unit = !timed ? "" : utf8 ? u->name_utf8 : u->name;

	g->cell[at] = strdup(c->head);
	g->cell[g->columns + at] = format("%s%s", c->below, unit);
	for (size_t i = 0; i < n; i++)
		g->cell[(i + HEADS) * g->columns + at] =
			c->kind == LABEL ? tm_table_label(row, n, i, g->brief)
					 : make_cell(&row[i], c, u);
	for (size_t i = 0; i < g->rows; i++) {
		const char *text = g->cell[i * g->columns + at];

		if (!text)
			return -ENOMEM;
		if (tm_table_screen_width(text) > g->width[at])
			g->width[at] = tm_table_screen_width(text);
	}
	return 0;
}

static bool is_left(const struct column *c)
{
	return c->kind == LABEL || c->kind == WHO;
}

static void put_cell(FILE *out, const struct grid *g, size_t row, size_t column, bool last)
{
	const char *text = g->cell[row * g->columns + column];
	int pad = (int)(g->width[column] - tm_table_screen_width(text));

	if (is_left(g->column[column]))
		fprintf(out, "%s%*s", text, last ? 0 : pad, "");
	else
		fprintf(out, "%*s%s", pad, "", text);
}

/* Columns first .. *end - 1 fit one line that is indented by `indent`. */
static size_t fitting(const struct grid *g, size_t first, size_t indent, size_t width)
{
	size_t end = first, used = indent;

	while (end < g->columns && (end == first || used + g->gap + g->width[end] <= width)) {
		used += (end > first ? g->gap : 0) + g->width[end];
		end++;
	}
	return end;
}

static bool is_folded(const struct grid *g, const struct tm_table_style *style)
{
	return fitting(g, 0, 0, style->width) < g->columns;
}

static struct grid *grid_make(const struct tm_rows *rows, bool floors, bool brief,
			      const struct tm_table_style *style)
{
	const struct tm_row *row = rows->row + (floors ? 0 : rows->floors);
	size_t n = floors ? rows->floors : rows->count - rows->floors;
	enum cell_when when = rows->deterministic ? COUNTED : TIMED;
	struct grid *g = calloc(1, sizeof(*g) + (n + HEADS) * COLUMNS * sizeof(g->cell[0]));

	if (!g)
		return NULL;
	for (size_t i = 0; i < COLUMNS; i++)
		if ((columns[i].floors || !floors) && columns[i].when & when)
			g->column[g->columns++] = &columns[i];
	g->rows = n + HEADS;
	g->brief = brief;
	g->counted = rows->deterministic;
	for (size_t i = 0; i < g->columns; i++)
		if (fill_column(g, i, row, style->utf8)) {
			grid_free(g);
			return NULL;
		}
	/* Rather close columns than folded lines. */
	for (g->gap = 2; g->gap > 1 && is_folded(g, style); g->gap--)
		;
	return g;
}

static void put_row(FILE *out, const struct grid *g, size_t row, const struct tm_table_style *style,
		    const char *colour)
{
	bool folded = is_folded(g, style);
	size_t first = 0, end;

	while (first < g->columns) {
		end = folded && !first ? 1 : fitting(g, first, first ? 2 : 0, style->width);
		fprintf(out, "%s%s", style->colour ? colour : "", first ? "  " : "");
		for (size_t i = first; i < end; i++) {
			fprintf(out, "%*s", i > first ? (int)g->gap : 0, "");
			put_cell(out, g, row, i, i + 1 == end);
		}
		fprintf(out, "%s\n", style->colour && colour[0] ? TM_PLAIN : "");
		first = end;
	}
}

/* Both heads of a group of folded columns belong together: line by line of each. */
static void put_heads(FILE *out, const struct grid *g, const struct tm_table_style *style)
{
	bool folded = is_folded(g, style);
	size_t first = 0, end;

	while (first < g->columns) {
		end = folded && !first ? 1 : fitting(g, first, first ? 2 : 0, style->width);
		for (size_t head = 0; head < HEADS; head++) {
			if (folded && !first && head)
				continue;
			fprintf(out, "%s%s", style->colour ? TM_BOLD : "", first ? "  " : "");
			for (size_t i = first; i < end; i++) {
				fprintf(out, "%*s", i > first ? (int)g->gap : 0, "");
				put_cell(out, g, head, i, i + 1 == end);
			}
			fprintf(out, "%s\n", style->colour ? TM_PLAIN : "");
		}
		first = end;
	}
}

/* Whole labels if they fit, else brief ones, else the rows are folded. */
static int put_grid(FILE *out, const struct tm_rows *rows, bool floors,
		    const struct tm_table_style *style)
{
	const struct tm_row *row = rows->row + (floors ? 0 : rows->floors);
	size_t n = floors ? rows->floors : rows->count - rows->floors;
	struct grid *g = NULL;

	for (int attempt = 0; attempt < 3; attempt++) {
		grid_free(g);
		g = grid_make(rows, floors, attempt == 1, style);
		if (!g)
			return -ENOMEM;
		if (!is_folded(g, style))
			break;
		g->gap = 2;
	}
	put_heads(out, g, style);
	for (size_t i = 0; i < n; i++)
		put_row(out, g, i + HEADS, style, row[i].repeats_valid ? "" : TM_RED);
	if (g->brief)
		tm_table_constants(out, row, n, style->width);
	grid_free(g);
	return 0;
}

int tm_table_text(FILE *out, const struct tm_rows *rows, const struct tm_table_style *style)
{
	struct tm_table_style fitted = *style;
	int rc = 0;

	if (!fitted.width)
		fitted.width = TM_TABLE_WIDTH;
	if (fitted.width < TM_TABLE_WIDTH_MIN)
		fitted.width = TM_TABLE_WIDTH_MIN;
	tm_table_title(out, rows, &fitted);
	if (rows->floors) {
		fputs("\nFloors\n", out);
		rc = put_grid(out, rows, true, &fitted);
	}
	if (!rc && rows->count > rows->floors) {
		fputc('\n', out);
		rc = put_grid(out, rows, false, &fitted);
	}
	if (!rc)
		rc = tm_table_references(out, rows, &fitted);
	if (!rc)
		tm_table_notes(out, rows, &fitted);
	return rc;
}
