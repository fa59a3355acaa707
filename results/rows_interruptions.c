// SPDX-License-Identifier: GPL-3.0-or-later
/* What interrupted a row's isolated CPUs, summed over its runs. */
#include "rows_gather.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { NAMED = 6 }; /* causes that are told by name */

/* Both columns of {"NAME": {"in": 1, "out": 2}}, added to name -> number. */
static int add_counts(json_t *sums, const json_t *counts, const char *leave_out)
{
	const char *name;
	json_t *count;

	json_object_foreach((json_t *)counts, name, count)
	{
		json_int_t n = integer_at(count, "in") + integer_at(count, "out");

		if (!n || !strcmp(name, leave_out))
			continue;
		if (json_object_set_new(sums, name, json_integer(integer_at(sums, name) + n)))
			return -ENOMEM;
	}
	return 0;
}

static int add_responder(struct tm_gather_interruptions *g, const json_t *responder)
{
	const json_t *handlers = json_object_get(responder, "handlers");
	const json_t *functions = json_object_get(responder, "functions");
	const json_t *causes = json_object_get(responder, "causes"), *cause;
	const char *name;
	json_t *calls;
	int rc;

	g->unexplained += number_at(responder, "gaps_unexplained");
	/* A context switch comes with an interrupt, and is none. */
	rc = add_counts(g->causes, causes, "context_switch");
	json_object_foreach((json_t *)causes, name, cause)
	{
		if (strcmp(name, "context_switch"))
			g->interrupts += number_at(cause, "in") + number_at(cause, "out");
	}
	g->interrupts += number_at(handlers, "in") + number_at(handlers, "out");
	if (rc || json_is_object(functions))
		return rc ? rc : add_counts(g->causes, functions, "");
	calls = json_pack("{s:O?}", "function calls", handlers);
	rc = calls ? add_counts(g->causes, calls, "") : -ENOMEM;
	json_decref(calls);
	return rc;
}

int tm_gather_interruptions(struct tm_gather *g, const json_t *record, struct tm_hist *gaps)
{
	struct tm_gather_interruptions *to = &g->interruptions;
	const json_t *counts = json_object_get(record, "counts");
	/* The interrupts are the whole phase's; earlier records lack its operations. */
	double operations = number_at(counts, json_object_get(counts, "done") ? "done" : "ops");
	json_t *responder;
	size_t i;
	int rc = 0;

	if (gaps && to->gaps) {
		rc = tm_hist_merge(to->gaps, gaps);
		free(gaps);
	} else if (gaps) {
		to->gaps = gaps;
	}
	if (!to->causes)
		to->causes = json_object();
	if (!to->causes)
		rc = -ENOMEM;
	json_array_foreach(json_object_get(record, "responders"), i, responder)
	{
		rc = rc ? rc : add_responder(to, responder);
		to->operations += operations;
	}
	return rc;
}

struct cause {
	const char *name;
	json_int_t count;
};

static int by_count(const void *a, const void *b)
{
	const struct cause *x = a, *y = b;

	return x->count == y->count ? strcmp(x->name, y->name) : x->count > y->count ? -1 : 1;
}

/* "do_kernel_range_flush 1000, timer 12, 3 others 4"; "" for none; NULL: out of memory. */
static char *list_causes(const json_t *causes)
{
	size_t n = json_object_size(causes), size, i = 0;
	struct cause *all = calloc(n + 1, sizeof(*all));
	json_int_t others = 0;
	const char *name;
	char *text = NULL;
	json_t *count;
	FILE *f = all ? open_memstream(&text, &size) : NULL;

	json_object_foreach((json_t *)causes, name, count)
	{
		if (f)
			all[i++] = (struct cause){name, json_integer_value(count)};
	}
	if (f) {
		qsort(all, n, sizeof(*all), by_count);
		for (i = 0; i < n; i++) {
			if (i < NAMED)
				fprintf(f, "%s%s %lld", i ? ", " : "", all[i].name,
					(long long)all[i].count);
			else
				others += all[i].count;
		}
		if (others)
			fprintf(f, ", %zu others %lld", n - NAMED, (long long)others);
		if (fclose(f)) {
			free(text);
			text = NULL;
		}
	}
	free(all);
	return text;
}

int tm_gather_interruptions_finish(struct tm_gather *g)
{
	const struct tm_gather_interruptions *from = &g->interruptions;
	struct tm_row_interruptions *to;

	if (!from->operations)
		return 0;
	to = g->row.interruptions = calloc(1, sizeof(*to));
	if (!to)
		return -ENOMEM;
	to->per_op = from->interrupts / from->operations;
	to->gaps = from->gaps ? from->gaps->count : 0;
	to->unexplained = from->unexplained;
	to->p50_ns = from->gaps ? tm_stats_quantile(from->gaps, 0.5) * 1e9 / g->hz : NAN;
	to->p99_ns = to->gaps && tm_stats_quantile_known((double)to->gaps, 0.99)
			     ? tm_stats_quantile(from->gaps, 0.99) * 1e9 / g->hz
			     : NAN;
	to->max_ns = from->gaps ? (double)from->gaps->max * 1e9 / g->hz : NAN;
	to->causes = list_causes(from->causes);
	return to->causes ? 0 : -ENOMEM;
}
