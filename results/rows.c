// SPDX-License-Identifier: GPL-3.0-or-later
/* Records of a session -> its rows. */
#include "rows_gather.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All of it while a session comes in. */
struct load {
	struct tm_rows *rows;
	size_t room;
	struct tm_gather now;
	char *why;
	size_t why_size;
};

static int say(struct load *l, int error, const char *record, const char *what)
{
	snprintf(l->why, l->why_size, "record %s: %s", record ? record : "without id", what);
	return error;
}

static int close_row(struct load *l)
{
	struct tm_rows *rows = l->rows;
	struct tm_row *grown;
	int rc;

	if (!l->now.open)
		return 0;
	if (rows->count == l->room) {
		grown = realloc(rows->row, (l->room ? 2 * l->room : 16) * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		l->room = l->room ? 2 * l->room : 16;
		rows->row = grown;
	}
	rc = tm_gather_finish(&l->now, &rows->row[rows->count]);
	rows->count += !rc;
	return rc;
}

static int add_warnings(struct tm_rows *rows, const json_t *record)
{
	json_t *warning;
	size_t i, known;
	char **grown;
	int rc = 0;

	json_array_foreach(json_object_get(record, "warnings"), i, warning)
	{
		const char *text = json_string_value(warning);

		for (known = 0; known < rows->warning_count; known++)
			if (!text || !strcmp(rows->warnings[known], text))
				break;
		if (known < rows->warning_count || !text)
			continue;
		grown = realloc(rows->warnings, (known + 1) * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		rows->warnings = grown;
		grown[known] = tm_rows_copy(text, &rc);
		if (rc)
			return rc;
		rows->warning_count++;
	}
	return 0;
}

/* What holds for the whole session, from its first record. */
static int describe_session(struct tm_rows *rows, const json_t *record)
{
	const json_t *environment = json_object_get(record, "environment");
	const json_t *probe = json_object_get(record, "probe");
	const json_t *clock = json_object_get(record, "clock");
	int rc = 0;

	snprintf(rows->session, sizeof(rows->session), "%s", string_at(record, "session"));
	rows->machine =
		tm_rows_copy(string_at(json_object_get(environment, "cpu"), "model_name"), &rc);
	rows->kernel =
		tm_rows_copy(string_at(json_object_get(environment, "kernel"), "release"), &rc);
	rows->probe = tm_rows_copy(string_at(probe, "kind"), &rc);
	rows->probe_why = tm_rows_copy(string_at(probe, "why"), &rc);
	rows->background =
		tm_rows_copy(string_at(json_object_get(record, "background"), "spec"), &rc);
	rows->counter = tm_rows_copy(string_at(clock, "counter"), &rc);
	rows->hz = number_at(clock, "hz");
	rows->clock_pair_ns = number_at(clock, "pair_ns");
	return rc;
}

/* The records of one row come one after another. */
static int add_record(struct load *l, const json_t *record)
{
	const json_t *cell = json_object_get(record, "cell");
	const char *id = string_at(record, "id");
	struct tm_rows *rows = l->rows;
	int rc = 0;

	if (!json_is_integer(json_object_get(cell, "row")) || !string_at(record, "session") ||
	    !string_at(record, "time"))
		return say(l, -EUCLEAN, id, "not a whole record");
	if (!rows->session[0])
		rc = describe_session(rows, record);
	if (!rows->time[0] || strcmp(string_at(record, "time"), rows->time) < 0)
		snprintf(rows->time, sizeof(rows->time), "%s", string_at(record, "time"));
	if (!rc && (!l->now.open || l->now.row.row != integer_at(cell, "row"))) {
		rc = close_row(l);
		if (!rc)
			rc = tm_gather_begin(&l->now, record);
	}
	if (!rc)
		rc = tm_gather_add(&l->now, record);
	if (!rc)
		rc = add_warnings(rows, record);
	rows->offset_bound_ns =
		fmax(rows->offset_bound_ns,
		     number_at(json_object_get(record, "clock"), "offset_bound_ns"));
	if (rc == -ENOMEM)
		return say(l, rc, id, "out of memory");
	return rc ? say(l, -EUCLEAN, id, "damaged: a figure or a histogram is missing") : 0;
}

static int compare_rows(const void *a, const void *b)
{
	const struct tm_row *x = a, *y = b;

	if (x->floor != y->floor)
		return x->floor ? -1 : 1;
	return (x->row > y->row) - (x->row < y->row);
}

/* Only with the same company: an IPI to a far CPU is another floor. */
static bool same_company(const struct tm_row *a, const struct tm_row *b)
{
	return a->state && b->state && !strcmp(a->state, b->state) && a->distance && b->distance &&
	       !strcmp(a->distance, b->distance) && a->responders == b->responders &&
	       a->initiators == b->initiators;
}

/* By repeat where both have it: what slowed down one slowed down the other. */
static int compare_with(struct tm_row *r, const struct tm_row *floor)
{
	struct tm_gather_pairs pairs;
	struct tm_estimate ratio;
	int rc;

	tm_gather_pair(r->run, r->repeats_valid, floor->run, floor->repeats_valid, &pairs);
	if (!pairs.logarithms) {
		double x = r->op_p50_ns / floor->op_p50_ns;

		r->times_ipi_floor = isfinite(x) ? x : NAN;
		return 0;
	}
	rc = tm_stats_centre(pairs.logarithm, pairs.logarithms, TM_ROWS_LEVEL, &ratio);
	r->times_ipi_floor = exp(ratio.value);
	return rc;
}

static int compare_with_floor(struct tm_rows *rows)
{
	int rc = 0;

	for (size_t i = rows->floors; !rc && i < rows->count; i++) {
		for (size_t j = 0; j < rows->floors; j++) {
			const struct tm_row *f = &rows->row[j];

			if (strcmp(f->workload, TM_ROWS_IPI_FLOOR) ||
			    !same_company(&rows->row[i], f))
				continue;
			rc = compare_with(&rows->row[i], f);
			break;
		}
	}
	return rc;
}

static bool is_deterministic(const struct tm_rows *rows)
{
	size_t counted = 0, measured = 0;

	for (size_t i = 0; i < rows->count; i++) {
		counted += rows->row[i].deterministic;
		measured += rows->row[i].repeats_valid > 0 || rows->row[i].deterministic;
	}
	return counted && counted == measured;
}

static int finish(struct load *l, int rc, struct tm_rows **out)
{
	struct tm_rows *rows = l->rows;

	/* What an earlier error was is said already. */
	if (!rc) {
		rc = close_row(l);
		if (!rc && !rows->count)
			rc = say(l, -ENOENT, "of this session", "there is none");
		else if (rc)
			rc = say(l, rc, "of this session", "its last row: out of memory");
	}
	if (!rc) {
		qsort(rows->row, rows->count, sizeof(*rows->row), compare_rows);
		rows->deterministic = is_deterministic(rows);
		while (rows->floors < rows->count && rows->row[rows->floors].floor)
			rows->floors++;
		if (compare_with_floor(rows) || tm_rows_compare(rows))
			rc = say(l, -ENOMEM, "of this session", "out of memory");
	}
	if (rc) {
		if (l->now.open)
			tm_gather_drop(&l->now);
		tm_rows_free(rows);
		return rc;
	}
	*out = rows;
	return 0;
}

static int each_record(void *context, const char *id, const char *text)
{
	struct load *l = context;
	json_t *record = json_loads(text, 0, NULL);
	int rc = record ? add_record(l, record) : say(l, -EUCLEAN, id, "not JSON");

	json_decref(record);
	return rc;
}

int tm_rows_load(struct tm_store *store, const char *session, struct tm_rows **out, char *why,
		 size_t why_size)
{
	struct load l = {.rows = calloc(1, sizeof(*l.rows)), .why = why, .why_size = why_size};

	if (!l.rows)
		return say(&l, -ENOMEM, "of this session", "out of memory");
	return finish(&l, tm_store_records(store, session, each_record, &l, why, why_size), out);
}

static int compare_records(const void *a, const void *b)
{
	const json_t *x = json_object_get(*(json_t *const *)a, "cell");
	const json_t *y = json_object_get(*(json_t *const *)b, "cell");
	json_int_t row = integer_at(x, "row") - integer_at(y, "row");
	json_int_t repeat = integer_at(x, "repeat") - integer_at(y, "repeat");

	return row ? (row > 0) - (row < 0) : (repeat > 0) - (repeat < 0);
}

int tm_rows_build(const json_t *records, struct tm_rows **out, char *why, size_t why_size)
{
	struct load l = {.rows = calloc(1, sizeof(*l.rows)), .why = why, .why_size = why_size};
	size_t n = json_array_size(records);
	const json_t **sorted = calloc(n + 1, sizeof(json_t *));
	int rc = 0;

	if (!l.rows || !sorted) {
		free(l.rows);
		free(sorted);
		return say(&l, -ENOMEM, "of this session", "out of memory");
	}
	for (size_t i = 0; i < n; i++)
		sorted[i] = json_array_get(records, i);
	qsort(sorted, n, sizeof(*sorted), compare_records);
	for (size_t i = 0; !rc && i < n; i++)
		rc = add_record(&l, sorted[i]);
	free(sorted);
	return finish(&l, rc, out);
}

void tm_rows_free(struct tm_rows *rows)
{
	if (!rows)
		return;
	for (size_t i = 0; i < rows->count; i++)
		tm_row_free(&rows->row[i]);
	for (size_t i = 0; i < rows->warning_count; i++)
		free(rows->warnings[i]);
	free(rows->row);
	free(rows->warnings);
	free(rows->machine);
	free(rows->kernel);
	free(rows->probe);
	free(rows->probe_why);
	free(rows->background);
	free(rows->counter);
	free(rows);
}
