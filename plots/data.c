// SPDX-License-Identifier: GPL-3.0-or-later
/* The rows of one session, from its records. */
#define _GNU_SOURCE
#include "figure.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "results/stats.h"

static const char *const role_names[TM_PLOT_ROLES] = {"measured", "control_foreign",
						      "control_none"};
static const char *const metric_names[TM_PLOT_METRICS] = {"op",	   "delivery", "stolen", "return",
							  "stale", "gone",     "life"};

static const char *text_of(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

static json_int_t integer_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static double number_of(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

static size_t utf8_length(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

/* The byte where character n of s begins. */
static size_t utf8_offset(const char *s, size_t n)
{
	size_t i = 0;

	while (s[i] && n) {
		i++;
		while (((unsigned char)s[i] & 0xc0) == 0x80)
			i++;
		n--;
	}
	return i;
}

char *tm_plot_shorten(const char *text, size_t limit)
{
	size_t length = utf8_length(text);
	char *out;

	if (length <= limit) {
		out = strdup(text);
	} else {
		size_t head = limit / 2, tail = limit - head - 1;

		if (asprintf(&out, "%.*s…%s", (int)utf8_offset(text, head), text,
			     text + utf8_offset(text, length - tail)) < 0)
			out = NULL;
	}
	for (char *p = out; p && *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f || *p == '"')
			*p = ' ';
	return out;
}

/* Which properties differ between the rows and so belong into their labels. */
struct varying {
	bool responders, state, distance, initiators;
};

static bool is_measured(const json_t *cell)
{
	return !strcmp(text_of(cell, "role"), role_names[TM_PLOT_MEASURED]);
}

/* Has some workload rows with different numbers of responders, none included? */
static bool responders_vary(const json_t *records)
{
	const json_t *one, *other;
	size_t i, k;

	json_array_foreach(records, i, one)
	{
		const json_t *a = json_object_get(one, "cell");

		if (!is_measured(a) || integer_of(a, "repeat"))
			continue;
		json_array_foreach(records, k, other)
		{
			const json_t *b = json_object_get(other, "cell");

			if (is_measured(b) &&
			    integer_of(a, "responders") != integer_of(b, "responders") &&
			    !strcmp(text_of(a, "workload"), text_of(b, "workload")))
				return true;
		}
	}
	return false;
}

static void find_varying(const json_t *records, struct varying *v)
{
	const json_t *first = NULL, *record;
	size_t i;

	memset(v, 0, sizeof(*v));
	v->responders = responders_vary(records);
	json_array_foreach(records, i, record)
	{
		const json_t *cell = json_object_get(record, "cell");

		/* Where nobody responds there is no state to tell apart. */
		if (!is_measured(cell) || !integer_of(cell, "responders"))
			continue;
		if (!first)
			first = cell;
		v->initiators |= integer_of(cell, "initiators") != integer_of(first, "initiators");
		v->state |= strcmp(text_of(cell, "state"), text_of(first, "state")) != 0;
		v->distance |= strcmp(text_of(cell, "distance"), text_of(first, "distance")) != 0;
	}
}

static bool is_page_parameter(const json_t *cell, const char *key, const json_t *value)
{
	return json_is_number(value) &&
	       !strcmp(text_of(json_object_get(cell, "units"), key), "pages");
}

/*
 * Workload, parameters, and what varies. Choices go without their names, which
 * do not fit above a small panel. NULL when out of memory.
 */
static char *make_label(json_t *cell, const struct varying *v, bool with_pages,
			bool with_responders, bool with_from)
{
	const char *from = strstr(text_of(cell, "label"), " from CPU ");
	json_t *parameters = json_object_get(cell, "parameters"), *value;
	json_int_t responders = integer_of(cell, "responders");
	const char *key, *separator = " · ";
	size_t size;
	char *out;
	FILE *f = open_memstream(&out, &size);

	if (!f)
		return NULL;
	fputs(text_of(cell, "workload"), f);
	json_object_foreach(parameters, key, value)
	{
		if (!with_pages && is_page_parameter(cell, key, value))
			continue;
		if (json_is_string(value))
			fprintf(f, " %s", json_string_value(value));
		else
			fprintf(f, " %s=%.15g", key, json_number_value(value));
	}
	if (v->initiators) {
		fprintf(f, "%s%lld initiating", separator,
			(long long)integer_of(cell, "initiators"));
		separator = ", ";
	}
	if (v->responders && with_responders) {
		fprintf(f, "%s%lld responding", separator, (long long)responders);
		separator = ", ";
	}
	if (v->state && responders) {
		fprintf(f, "%s%s", separator, text_of(cell, "state"));
		separator = ", ";
	}
	if (v->distance && responders)
		fprintf(f, "%s%s", separator, text_of(cell, "distance"));
	if (from && with_from)
		fputs(from, f);
	return fclose(f) ? NULL : out;
}

static struct tm_plot_row *row_of(struct tm_plot_data *d, json_int_t number)
{
	struct tm_plot_row *rows;

	for (size_t i = 0; i < d->count; i++)
		if (d->rows[i].number == number)
			return &d->rows[i];
	rows = realloc(d->rows, (d->count + 1) * sizeof(*rows));
	if (!rows)
		return NULL;
	d->rows = rows;
	memset(&rows[d->count], 0, sizeof(*rows));
	rows[d->count].number = number;
	rows[d->count].runs = json_array();
	return rows[d->count].runs ? &rows[d->count++] : NULL;
}

static int describe_row(struct tm_plot_row *row, json_t *cell, const struct varying *v)
{
	json_t *value;
	const char *key;

	row->label = make_label(cell, v, true, true, true);
	row->sweep_label = make_label(cell, v, false, true, true);
	row->responder_label = make_label(cell, v, true, false, true);
	row->map_label = make_label(cell, v, true, false, false);
	row->interrupts = strcmp(text_of(cell, "gate"), "none") != 0;
	row->responders = (unsigned int)integer_of(cell, "responders");
	json_object_foreach(json_object_get(cell, "parameters"), key,
			    value) if (row->pages == 0 && is_page_parameter(cell, key, value))
		row->pages = json_number_value(value);
	return row->label && row->sweep_label && row->responder_label && row->map_label ? 0
											: -ENOMEM;
}

/* Takes h: the run's own median, then its share of all. */
static int add_metric(struct tm_plot_cell *cell, unsigned int m, struct tm_hist *h)
{
	double *grown = realloc(cell->run_s[m], (cell->run_count[m] + 1) * sizeof(*grown));
	int rc = grown ? 0 : -ENOMEM;

	if (grown) {
		cell->run_s[m] = grown;
		grown[cell->run_count[m]++] = tm_stats_quantile(h, 0.5) * cell->tick_s;
	}
	if (!rc && !cell->metric[m]) {
		cell->metric[m] = h;
		return 0;
	}
	if (!rc)
		rc = tm_hist_merge(cell->metric[m], h);
	free(h);
	return rc;
}

static int read_metric(struct tm_plot_cell *cell, unsigned int m, const json_t *metric)
{
	const char *text = text_of(metric, "histogram");
	struct tm_hist *h;
	int rc;

	if (!*text)
		return 0;
	rc = tm_hist_decode(text, &h);
	if (rc)
		return rc;
	if (!h->count) {
		free(h);
		return 0;
	}
	return add_metric(cell, m, h);
}

static int merge_run(struct tm_plot_cell *cell, const json_t *record)
{
	const json_t *metrics = json_object_get(record, "metrics");
	double hz = number_of(json_object_get(record, "clock"), "hz");
	const char *gate = text_of(json_object_get(record, "cell"), "gate");
	/* What interrupts nobody has no parts: its gaps are others'. */
	bool split =
		strcmp(gate, "none") &&
		json_is_true(json_object_get(json_object_get(record, "quality"), "split_valid"));
	int rc = 0;

	if (!(hz > 0))
		return -EINVAL;
	/* One session is one calibration, so ticks of its runs may be added up. */
	if (!cell->runs)
		cell->tick_s = 1 / hz;
	cell->split_valid = split && (!cell->runs || cell->split_valid);
	cell->runs++;
	for (unsigned int m = 0; m < TM_PLOT_METRICS && !rc; m++)
		rc = read_metric(cell, m, json_object_get(metrics, metric_names[m]));
	/* Every run has operations. */
	if (!rc && cell->run_count[TM_PLOT_OP] != cell->runs)
		rc = -EINVAL;
	return rc;
}

static int role_of(const json_t *cell)
{
	for (int r = 0; r < TM_PLOT_ROLES; r++)
		if (!strcmp(text_of(cell, "role"), role_names[r]))
			return r;
	return -EINVAL;
}

static void clear_cell(struct tm_plot_cell *cell)
{
	for (unsigned int m = 0; m < TM_PLOT_METRICS; m++) {
		free(cell->metric[m]);
		free(cell->run_s[m]);
	}
	memset(cell, 0, sizeof(*cell));
}

static void finish_cell(struct tm_plot_cell *cell)
{
	const double *op = cell->run_s[TM_PLOT_OP];

	if (!cell->runs)
		return;
	for (unsigned int m = 0; m < TM_PLOT_METRICS; m++)
		cell->p50_s[m] = tm_stats_median(cell->run_s[m], cell->run_count[m]);
	/* Which has sorted them. */
	cell->low_s = op[0];
	cell->high_s = op[cell->runs - 1];
}

/* A row with a stale translation is as one without any valid run. */
static void finish_row(struct tm_plot_data *d, struct tm_plot_row *row)
{
	for (unsigned int r = 0; r < TM_PLOT_ROLES; r++) {
		if (row->violated) {
			d->invalid += row->cell[r].runs;
			clear_cell(&row->cell[r]);
		}
		finish_cell(&row->cell[r]);
	}
	if (row->violated)
		json_array_clear(row->runs);
}

/*
 * A measured cell names its row, even where its runs do not count: controls
 * know neither its state nor its responders.
 */
static int name_row(struct tm_plot_row *row, int role, json_t *cell, const struct varying *v)
{
	if (row->label && role != TM_PLOT_MEASURED)
		return 0;
	free(row->label);
	free(row->sweep_label);
	free(row->responder_label);
	free(row->map_label);
	return describe_row(row, cell, v);
}

/* 0, or -errno; runs that count for nothing are counted instead. */
static int add_record(struct tm_plot_data *d, json_t *record, const struct varying *v)
{
	json_t *cell = json_object_get(record, "cell");
	const char *status = text_of(record, "status");
	struct tm_plot_row *row;
	int role = role_of(cell), rc;

	if (strcmp(text_of(record, "schema"), "tlbmark-record-1") || role < 0)
		return -EINVAL;
	row = row_of(d, integer_of(cell, "row"));
	rc = row ? name_row(row, role, cell, v) : -ENOMEM;
	if (rc)
		return rc;
	d->runs++;
	row->violated |= integer_of(json_object_get(record, "verify"), "violations") > 0;
	if (!strcmp(status, "skipped")) {
		d->skipped++;
		return 0;
	}
	if (strcmp(status, "ok")) {
		d->failed++;
		return 0;
	}
	if (!json_is_true(json_object_get(json_object_get(record, "quality"), "valid"))) {
		d->invalid++;
		return 0;
	}
	if (role == TM_PLOT_MEASURED && json_array_append(row->runs, record))
		return -ENOMEM;
	return merge_run(&row->cell[role], record);
}

static int by_number(const void *a, const void *b)
{
	json_int_t x = ((const struct tm_plot_row *)a)->number;
	json_int_t y = ((const struct tm_plot_row *)b)->number;

	return (x > y) - (x < y);
}

/* Adds `text` to a comma-separated list, once. */
static void list_once(char *list, size_t size, const char *text)
{
	size_t used = strlen(list), length = strlen(text);

	for (const char *p = list; *text && (p = strstr(p, text)); p += length)
		if ((p == list || p[-1] == ' ') && (!p[length] || p[length] == ','))
			return;
	if (*text)
		snprintf(list + used, size - used, "%s%s", used ? ", " : "", text);
}

/* What is the same in all rows with responders, and so in no label. */
static void describe_common(const json_t *records, const struct varying *v, char *buf, size_t size)
{
	const json_t *record, *cell = NULL;
	size_t i, n = 0;

	json_array_foreach(records, i, record)
	{
		cell = json_object_get(record, "cell");
		if (role_of(cell) == TM_PLOT_MEASURED && integer_of(cell, "responders"))
			break;
		cell = NULL;
	}
	buf[0] = '\0';
	if (!cell)
		return;
	if (!v->responders) {
		json_int_t responders = integer_of(cell, "responders");

		n += (size_t)snprintf(buf, size, " · %lld responder%s", (long long)responders,
				      responders > 1 ? "s" : "");
	}
	if (!v->state && n < size)
		n += (size_t)snprintf(buf + n, size - n, " · state %s", text_of(cell, "state"));
	if (!v->distance && n < size)
		snprintf(buf + n, size - n, " · distance %s", text_of(cell, "distance"));
}

static int write_caption(struct tm_plot_data *d, const json_t *records, const struct varying *v)
{
	const json_t *first = json_array_get(records, 0), *record;
	const json_t *environment = json_object_get(first, "environment");
	const char *model = text_of(json_object_get(environment, "cpu"), "model_name");
	const char *hypervisor =
		text_of(json_object_get(environment, "virtualization"), "hypervisor");
	const char *release = text_of(json_object_get(environment, "kernel"), "release");
	char probes[64] = "", left_out[128] = "", common[128];
	size_t i;

	json_array_foreach(records, i, record)
	{
		const char *kind = text_of(json_object_get(record, "probe"), "kind");

		list_once(probes, sizeof(probes), kind);
	}
	if (d->invalid + d->failed + d->skipped)
		snprintf(left_out, sizeof(left_out),
			 " · left out of %u runs: %u not valid, %u failed, %u skipped", d->runs,
			 d->invalid, d->failed, d->skipped);
	describe_common(records, v, common, sizeof(common));
	if (asprintf(&d->caption[0], "%s%s%s · Linux %s%s", *model ? model : "unknown processor",
		     *hypervisor ? ", virtual machine: " : "", hypervisor,
		     *release ? release : "of unknown release", common) < 0)
		d->caption[0] = NULL;
	if (asprintf(&d->caption[1], "tlbmark %s · session %.8s · %s · probe %s%s",
		     text_of(first, "suite_version"), text_of(first, "session"),
		     text_of(first, "time"), *probes ? probes : "none", left_out) < 0)
		d->caption[1] = NULL;
	d->ceiling_pages =
		(unsigned int)integer_of(json_object_get(environment, "tlb"), "ceiling_pages");
	return d->caption[0] && d->caption[1] ? 0 : -ENOMEM;
}

/* Share of the row's remote flushes that were of everything; -1: not told. */
static double full_share(const struct tm_plot_row *row)
{
	double sum = 0;
	json_t *record;
	size_t i, known = 0;

	json_array_foreach(row->runs, i, record)
	{
		const json_t *share =
			json_object_get(json_object_get(record, "derived"), "full_flush_share");

		if (!json_is_number(share))
			continue;
		sum += json_number_value(share);
		known++;
	}
	return known ? sum / (double)known : -1;
}

/*
 * Where the kernel's ceiling cannot be read, it shows: the number of pages
 * that was flushed by range, if with one more all was flushed.
 */
static void find_ceiling(struct tm_plot_data *d)
{
	for (size_t i = 0; i < d->count && !d->ceiling_pages; i++) {
		const struct tm_plot_row *a = &d->rows[i];
		double share = full_share(a);

		if (a->pages <= 0 || share < 0 || share >= 0.5)
			continue;
		for (size_t k = 0; k < d->count; k++) {
			const struct tm_plot_row *b = &d->rows[k];

			if (b->pages == a->pages + 1 && full_share(b) >= 0.5 &&
			    !strcmp(a->sweep_label, b->sweep_label)) {
				d->ceiling_seen = true;
				d->ceiling_pages = (unsigned int)a->pages;
			}
		}
	}
}

int tm_plot_data_build(const json_t *records, struct tm_plot_data *out, char *why, size_t why_size)
{
	struct varying v;
	json_t *record;
	size_t i;
	int rc;

	memset(out, 0, sizeof(*out));
	find_varying(records, &v);
	json_array_foreach(records, i, record)
	{
		rc = add_record(out, record, &v);
		if (rc) {
			snprintf(why, why_size, "record %.32s cannot be drawn: %s",
				 text_of(record, "id"),
				 rc == -ENOMEM ? "out of memory"
					       : "it is damaged or of another schema");
			return rc;
		}
	}
	if (out->count)
		qsort(out->rows, out->count, sizeof(*out->rows), by_number);
	for (i = 0; i < out->count; i++)
		finish_row(out, &out->rows[i]);
	rc = write_caption(out, records, &v);
	if (rc)
		snprintf(why, why_size, "out of memory");
	else
		find_ceiling(out);
	return rc;
}

void tm_plot_data_free(struct tm_plot_data *d)
{
	for (size_t i = 0; i < d->count; i++) {
		struct tm_plot_row *row = &d->rows[i];

		for (unsigned int r = 0; r < TM_PLOT_ROLES; r++)
			clear_cell(&row->cell[r]);
		json_decref(row->runs);
		free(row->label);
		free(row->sweep_label);
		free(row->responder_label);
		free(row->map_label);
	}
	free(d->rows);
	free(d->caption[0]);
	free(d->caption[1]);
	memset(d, 0, sizeof(*d));
}
