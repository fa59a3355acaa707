// SPDX-License-Identifier: GPL-3.0-or-later
/* The table as CSV and JSON; table_text.c is the one for people. */
#include "table_text.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* One column of CSV, one member of a JSON row. */
enum field_kind { TEXT, COUNT, COUNT64, REAL, BOOLEAN, PARAMETERS, VALID, LEVEL };
static const struct field {
	const char *name;
	enum field_kind kind;
	size_t offset;
} fields[] = {
	{"row", COUNT, offsetof(struct tm_row, row)},
	{"workload", TEXT, offsetof(struct tm_row, workload)},
	{"parameters", PARAMETERS, 0},
	{"state", TEXT, offsetof(struct tm_row, state)},
	{"responders", COUNT, offsetof(struct tm_row, responders)},
	{"initiators", COUNT, offsetof(struct tm_row, initiators)},
	{"distance", TEXT, offsetof(struct tm_row, distance)},
	{"floor", BOOLEAN, offsetof(struct tm_row, floor)},
	{"runs", COUNT, offsetof(struct tm_row, repeats)},
	{"runs_valid", COUNT, offsetof(struct tm_row, repeats_valid)},
	{"operations", COUNT64, offsetof(struct tm_row, operations)},
	{"op_p50_ns", REAL, offsetof(struct tm_row, op_p50_ns)},
	{"op_p99_ns", REAL, offsetof(struct tm_row, op_p99_ns)},
	{"op_p999_ns", REAL, offsetof(struct tm_row, op_p999_ns)},
	{"control", TEXT, offsetof(struct tm_row, control)},
	{"control_p50_ns", REAL, offsetof(struct tm_row, control_p50_ns)},
	{"cost_ns", REAL, offsetof(struct tm_row, cost_ns.value)},
	{"cost_low_ns", REAL, offsetof(struct tm_row, cost_ns.low)},
	{"cost_high_ns", REAL, offsetof(struct tm_row, cost_ns.high)},
	{"cost_ratio", REAL, offsetof(struct tm_row, cost_ratio.value)},
	{"cost_ratio_low", REAL, offsetof(struct tm_row, cost_ratio.low)},
	{"cost_ratio_high", REAL, offsetof(struct tm_row, cost_ratio.high)},
	{"interval_level", LEVEL, offsetof(struct tm_row, cost_ns.level)},
	{"pairs", COUNT, offsetof(struct tm_row, cost_ns.pairs)},
	{"delivery_p50_ns", REAL, offsetof(struct tm_row, delivery_p50_ns)},
	{"stolen_p50_ns", REAL, offsetof(struct tm_row, stolen_p50_ns)},
	{"return_p50_ns", REAL, offsetof(struct tm_row, return_p50_ns)},
	{"ipis_per_op", REAL, offsetof(struct tm_row, ipis_per_op)},
	{"ipis_source", TEXT, offsetof(struct tm_row, ipis_source)},
	{"full_flush_share", REAL, offsetof(struct tm_row, full_flush_share)},
	{"times_ipi_floor", REAL, offsetof(struct tm_row, times_ipi_floor)},
	{"reference", TEXT, offsetof(struct tm_row, reference)},
	{"reference_difference_ns", REAL, offsetof(struct tm_row, reference_ns.value)},
	{"reference_difference_low_ns", REAL, offsetof(struct tm_row, reference_ns.low)},
	{"reference_difference_high_ns", REAL, offsetof(struct tm_row, reference_ns.high)},
	{"deterministic", BOOLEAN, offsetof(struct tm_row, deterministic)},
	{"op_values", REAL, offsetof(struct tm_row, op_values)},
	{"op_p50_share", REAL, offsetof(struct tm_row, op_p50_share)},
	{"valid", VALID, 0},
	{"reasons", TEXT, offsetof(struct tm_row, reasons)},
};
enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };

static json_t *text_or_null(const char *text)
{
	return text ? json_string(text) : json_null();
}

static json_t *real_or_null(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

static json_t *field_value(const struct tm_row *r, const struct field *f)
{
	const void *at = (const char *)r + f->offset;
	double real;

	switch (f->kind) {
	case TEXT:
		return text_or_null(*(char *const *)at);
	case COUNT:
		return json_integer(*(const unsigned int *)at);
	case COUNT64:
		return json_integer((json_int_t) * (const uint64_t *)at);
	case REAL:
		real = *(const double *)at;
		/* Counted: every digit of it. */
		if (r->deterministic && real == rint(real))
			return json_integer((json_int_t)real);
		return real_or_null(real);
	case LEVEL:
		real = *(const double *)at;
		return real > 0 ? json_real(real) : json_null();
	case BOOLEAN:
		return json_boolean(*(const bool *)at);
	case PARAMETERS:
		return json_incref(r->parameters);
	case VALID:
		return json_boolean(r->repeats && r->repeats_valid == r->repeats);
	}
	return NULL;
}

static int print_json(FILE *out, const struct tm_rows *rows)
{
	json_t *list = json_array(), *warnings = json_array(), *all;
	int rc;

	for (size_t i = 0; i < rows->count; i++) {
		json_t *row = json_object();

		for (int f = 0; f < FIELDS; f++)
			if (json_object_set_new(row, fields[f].name,
						field_value(&rows->row[i], &fields[f]))) {
				json_decref(row);
				row = NULL;
				break;
			}
		if (json_array_append_new(list, row)) {
			json_decref(list);
			list = NULL;
			break;
		}
	}
	for (size_t i = 0; i < rows->warning_count; i++)
		json_array_append_new(warnings, json_string(rows->warnings[i]));
	all = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "schema",
			"tlbmark-table-1", "session", rows->session, "time", rows->time, "machine",
			text_or_null(rows->machine), "kernel", text_or_null(rows->kernel), "probe",
			text_or_null(rows->probe), "background", text_or_null(rows->background),
			"rows", list, "warnings", warnings);
	if (!all)
		return -ENOMEM;
	rc = json_dumpf(all, out, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
	json_decref(all);
	return rc || fputc('\n', out) == EOF ? -EIO : 0;
}

/* RFC 4180: quoted where a comma, a quote or a line's end is inside. */
static void put_quoted(FILE *out, const char *text)
{
	if (!strpbrk(text, ",\"\r\n")) {
		fputs(text, out);
		return;
	}
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"')
			fputc('"', out);
		fputc(*text, out);
	}
	fputc('"', out);
}

/* What follows the workload's name in the label. */
static const char *parameters_text(const struct tm_row *r)
{
	const char *rest = r->label + strlen(r->workload);

	return *rest == ' ' ? rest + 1 : rest;
}

static int put_field(FILE *out, const struct tm_row *r, const struct field *f)
{
	json_t *value;

	if (f->kind == PARAMETERS) {
		put_quoted(out, parameters_text(r));
		return 0;
	}
	value = field_value(r, f);
	if (!value)
		return -ENOMEM;
	if (json_is_string(value))
		put_quoted(out, json_string_value(value));
	else if (json_is_real(value))
		fprintf(out, "%.6g", json_real_value(value));
	else if (json_is_integer(value))
		fprintf(out, "%lld", (long long)json_integer_value(value));
	else if (json_is_boolean(value))
		fputs(json_is_true(value) ? "true" : "false", out);
	json_decref(value);
	return 0;
}

static int print_csv(FILE *out, const struct tm_rows *rows)
{
	int rc = 0;

	for (int f = 0; f < FIELDS; f++)
		fprintf(out, "%s%s", f ? "," : "", fields[f].name);
	fputs("\r\n", out);
	for (size_t i = 0; !rc && i < rows->count; i++) {
		for (int f = 0; !rc && f < FIELDS; f++) {
			if (f)
				fputc(',', out);
			rc = put_field(out, &rows->row[i], &fields[f]);
		}
		fputs("\r\n", out);
	}
	return rc;
}

static bool says_utf8(void)
{
	static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = getenv(names[i]);

		if (value && value[0])
			return strcasestr(value, "UTF-8") || strcasestr(value, "utf8");
	}
	return false;
}

void tm_table_style_of(FILE *out, struct tm_table_style *style)
{
	const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");
	struct winsize size;

	*style = (struct tm_table_style){.width = TM_TABLE_WIDTH};
	if (!isatty(fileno(out)))
		return;
	if (!ioctl(fileno(out), TIOCGWINSZ, &size) && size.ws_col)
		style->width = size.ws_col;
	style->colour = (!no_colour || !no_colour[0]) && terminal && strcmp(terminal, "dumb");
	style->utf8 = says_utf8();
}

int tm_table_print(FILE *out, const struct tm_rows *rows, enum tm_table_format format,
		   const struct tm_table_style *style)
{
	static const struct tm_table_style plain = {.width = TM_TABLE_WIDTH};
	int rc;

	if (format == TM_TABLE_JSON)
		rc = print_json(out, rows);
	else if (format == TM_TABLE_CSV)
		rc = print_csv(out, rows);
	else
		rc = tm_table_text(out, rows, style ? style : &plain);
	if (!rc && (fflush(out) || ferror(out)))
		rc = -EIO;
	return rc;
}
