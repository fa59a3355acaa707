// SPDX-License-Identifier: GPL-3.0-or-later
#include "show_record.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "stats.h"

struct page {
	FILE *out;
	const struct tm_table_style *style;
	bool full; /* also what is null, and long texts whole */
};

enum { NAME_WIDTH = 28 };

static const json_t *part(const json_t *record, const char *key)
{
	return json_object_get(record, key);
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "-";
}

static void heading(const struct page *p, const char *title)
{
	fprintf(p->out, "\n%s%s%s\n", p->style->colour ? "\033[1m" : "", title,
		p->style->colour ? "\033[0m" : "");
}

static void put_number(const struct page *p, const char *name, double value)
{
	char buf[TM_TABLE_NUMBER];
	size_t n = strlen(name);

	if (n > 3 && !strcmp(name + n - 3, "_ns"))
		fputs(tm_table_time(value, p->style->utf8, buf), p->out);
	else
		fputs(tm_table_number(value, buf), p->out);
}

/* A scalar; `name` decides the unit. */
static void put_value(const struct page *p, const char *name, const json_t *v)
{
	size_t n = strlen(name);

	if (json_is_string(v))
		fputs(json_string_value(v), p->out);
	else if (json_is_boolean(v))
		fputs(json_is_true(v) ? "yes" : "no", p->out);
	else if (json_is_integer(v) && !(n > 3 && !strcmp(name + n - 3, "_ns")))
		fprintf(p->out, "%lld", (long long)json_integer_value(v));
	else
		put_number(p, name, json_is_number(v) ? json_number_value(v) : NAN);
}

static bool is_flat(const json_t *array)
{
	json_t *v;
	size_t i;

	json_array_foreach(array, i, v)
	{
		if (json_is_array(v) || json_is_object(v))
			return false;
	}
	return true;
}

static bool is_empty(const json_t *v)
{
	return json_is_string(v) && !json_string_length(v);
}

/* Every member on a line of its own, named by its path. */
static void put_tree(const struct page *p, const char *path, const json_t *v)
{
	const char *name = strrchr(path, '.');
	const char *key;
	char deeper[512];
	json_t *member;
	size_t i;

	if (json_is_object(v)) {
		json_object_foreach((json_t *)v, key, member)
		{
			snprintf(deeper, sizeof(deeper), "%s%s%s", path, path[0] ? "." : "", key);
			put_tree(p, deeper, member);
		}
	} else if (json_is_array(v) && !is_flat(v)) {
		json_array_foreach(v, i, member)
		{
			snprintf(deeper, sizeof(deeper), "%s[%zu]", path, i);
			put_tree(p, deeper, member);
		}
	} else if (p->full || !(json_is_null(v) || is_empty(v))) {
		name = name ? name + 1 : path;
		fprintf(p->out, "  %-*s  ", NAME_WIDTH, path);
		if (json_is_array(v)) {
			json_array_foreach(v, i, member)
			{
				fputs(i ? " " : "", p->out);
				put_value(p, name, member);
			}
		} else {
			put_value(p, name, v);
		}
		fputc('\n', p->out);
	}
}

static void put_section(const struct page *p, const char *title, const json_t *v)
{
	if (json_is_null(v) || (json_is_array(v) && !json_array_size(v)))
		return;
	heading(p, title);
	put_tree(p, "", v);
}

/* Effective operations behind quantile q of a metric. */
static double effective(const json_t *record, const char *metric, double count, double q)
{
	const json_t *list = part(record, "raw_op_ticks");
	size_t n = strcmp(metric, "op") ? 0 : json_array_size(list);
	uint32_t *raw = n ? malloc(n * sizeof(*raw)) : NULL;

	if (!raw)
		return count;
	for (size_t i = 0; i < n; i++)
		raw[i] = (uint32_t)json_integer_value(json_array_get(list, i));
	count /= tm_stats_clustering(raw, n, q);
	free(raw);
	return count;
}

static int put_metric(const struct page *p, const json_t *record, const char *name,
		      const json_t *metric)
{
	static const double quantiles[] = {0.5, 0.9, 0.99, 0.999};
	double hz = json_number_value(json_object_get(part(record, "clock"), "hz"));
	const char *encoded = json_string_value(json_object_get(metric, "histogram"));
	char buf[TM_TABLE_NUMBER];
	struct tm_hist *h;
	int rc = encoded ? tm_hist_decode(encoded, &h) : -EINVAL;

	if (rc)
		return rc;
	fprintf(p->out, "  %-10s %10llu", name, (unsigned long long)h->count);
	fprintf(p->out, " %10s", tm_table_time((double)h->min * 1e9 / hz, p->style->utf8, buf));
	for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
		double q = quantiles[i], ns = tm_stats_quantile(h, q) * 1e9 / hz;

		if (!tm_stats_quantile_known(effective(record, name, (double)h->count, q), q))
			ns = NAN;
		fprintf(p->out, " %10s", tm_table_time(ns, p->style->utf8, buf));
	}
	fprintf(p->out, " %10s\n", tm_table_time((double)h->max * 1e9 / hz, p->style->utf8, buf));
	free(h);
	return 0;
}

static int put_metrics(const struct page *p, const json_t *record)
{
	const char *name;
	json_t *metric;
	int rc = 0;

	if (!json_object_size(part(record, "metrics")))
		return 0;
	heading(p, "Times");
	fprintf(p->out, "  %-10s %10s %10s %10s %10s %10s %10s %10s\n", "", "count", "min", "p50",
		"p90", "p99", "p99.9", "max");
	json_object_foreach((json_t *)part(record, "metrics"), name, metric)
	{
		rc = put_metric(p, record, name, metric);
		if (rc)
			return rc;
	}
	return 0;
}

static void put_verdict(const struct page *p, const json_t *record)
{
	const json_t *quality = part(record, "quality");
	bool valid = json_is_true(json_object_get(quality, "valid"));
	const json_t *warnings = part(record, "warnings");
	json_t *line;
	size_t i;

	fprintf(p->out, "%s%s%s\n", p->style->colour && !valid ? "\033[31m" : "",
		valid ? "valid" : "NOT VALID", p->style->colour && !valid ? "\033[0m" : "");
	json_array_foreach(json_object_get(quality, "reasons"), i, line)
	{
		tm_table_paragraph(p->out, "- ", json_string_value(line), p->style->width);
	}
	json_array_foreach(warnings, i, line)
	{
		tm_table_paragraph(p->out, "- warning: ", json_string_value(line), p->style->width);
	}
}

/* What decides most whether two records may be compared. */
static void put_machine(const struct page *p, const json_t *environment)
{
	static const char *const wanted[][2] = {
		{"cpu", "model_name"},
		{"cpu", "microcode"},
		{"cpu", "online"},
		{"cpu", "isolated"},
		{"topology", "summary"},
		{"virtualization", "hypervisor"},
		{"virtualization", "dmi_product"},
		{"kernel", "release"},
		{"kernel", "version"},
		{"kernel", "command_line"},
		{"kernel", "preempt"},
		{"kernel", "clocksource"},
		{"tlb", "flush_backend"},
		{"tlb", "ceiling_pages"},
		{"memory", "total_kib"},
		{"cpu", "frequency"},
	};
	char path[64];

	heading(p, "Machine (--full shows all of it)");
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		const json_t *v =
			json_object_get(json_object_get(environment, wanted[i][0]), wanted[i][1]);

		snprintf(path, sizeof(path), "%s.%s", wanted[i][0], wanted[i][1]);
		if (v)
			put_tree(p, path, v);
	}
}

int tm_show_record(FILE *out, const json_t *record, bool full, const struct tm_table_style *style,
		   char *why, size_t why_size)
{
	struct page p = {.out = out, .style = style, .full = full};
	const json_t *cell = part(record, "cell");
	int rc;

	fprintf(out, "%s%s%s: %s, row %lld, repeat %lld\n", style->colour ? "\033[1m" : "",
		text(cell, "label"), style->colour ? "\033[0m" : "", text(cell, "role"),
		(long long)json_integer_value(json_object_get(cell, "row")),
		(long long)json_integer_value(json_object_get(cell, "repeat")));
	fprintf(out, "record %s of session %s, %s, tlbmark %s\n", text(record, "id"),
		text(record, "session"), text(record, "time"), text(record, "suite_version"));
	put_verdict(&p, record);
	rc = put_metrics(&p, record);
	if (rc) {
		snprintf(why, why_size, "record %s: a histogram is damaged", text(record, "id"));
		return rc == -ENOMEM ? rc : -EUCLEAN;
	}
	put_section(&p, "Derived", part(record, "derived"));
	put_section(&p, "Counts", part(record, "counts"));
	if (part(record, "counters"))
		put_section(&p, "Counters", part(record, "counters"));
	put_section(&p, "Responders", part(record, "responders"));
	put_section(&p, "Probe", part(record, "probe"));
	put_section(&p, "Verified", part(record, "verify"));
	put_section(&p, "Background", part(record, "background"));
	put_section(&p, "Clock", part(record, "clock"));
	put_section(&p, "Cell", cell);
	if (full)
		put_section(&p, "Machine", part(record, "environment"));
	else
		put_machine(&p, part(record, "environment"));
	return 0;
}
