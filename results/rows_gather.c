// SPDX-License-Identifier: GPL-3.0-or-later
/* Records of one row -> the row. */
#include "rows_gather.h"
#include "stale.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const role_names[ROLES] = {"measured", "control_foreign", "control_none"};
static const char *const control_names[ROLES] = {NULL, "foreign", "none"};

char *tm_rows_copy(const char *text, int *rc)
{
	char *new = text ? strdup(text) : NULL;

	if (text && !new)
		*rc = -ENOMEM;
	return new;
}

/* A fresh histogram, NULL where the record has no such metric. 0 or -errno. */
static int decode_metric(const json_t *record, const char *metric, struct tm_hist **out)
{
	const json_t *m = json_object_get(json_object_get(record, "metrics"), metric);
	const char *encoded = string_at(m, "histogram");

	*out = NULL;
	if (!m)
		return 0;
	return encoded ? tm_hist_decode(encoded, out) : -EINVAL;
}

static double median_ns(const struct tm_gather *g, const struct tm_hist *h)
{
	return tm_stats_quantile(h, 0.5) * 1e9 / g->hz;
}

/* NaN in *ns where there is no such metric. */
static int read_median(const struct tm_gather *g, const json_t *record, const char *metric,
		       double *ns)
{
	struct tm_hist *h;
	int rc = decode_metric(record, metric, &h);

	*ns = NAN;
	if (rc || !h)
		return rc;
	*ns = median_ns(g, h);
	free(h);
	return 0;
}

static int add_run(struct tm_gather_side *s, const struct tm_row_run *run)
{
	size_t room = s->room ? 2 * s->room : 8;
	struct tm_row_run *grown;

	if (s->count == s->room) {
		grown = realloc(s->run, room * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		s->room = room;
		s->run = grown;
	}
	s->run[s->count++] = *run;
	return 0;
}

/* Takes `more` into what is merged already; NULL is nothing. */
static int merge(struct tm_hist **into, struct tm_hist *more)
{
	int rc;

	if (!*into || !more) {
		*into = *into ? *into : more;
		return 0;
	}
	rc = tm_hist_merge(*into, more);
	free(more);
	return rc;
}

static int add_looks(struct tm_gather *g, const json_t *record)
{
	struct tm_hist *h;
	int rc = decode_metric(record, "stale", &h);

	rc = rc ? rc : merge(&g->stale, h);
	rc = rc ? rc : decode_metric(record, "gone", &h);
	return rc ? rc : merge(&g->gone, h);
}

/*
 * How many independent operations the run's are worth for its upper quantiles.
 * The samples are the first initiator's. Others wait for the same things at
 * the same time, so they add no independent ones.
 */
static int add_effective(struct tm_gather *g, const json_t *record)
{
	const json_t *list = json_object_get(record, "raw_op_ticks");
	double operations = (double)integer_at(json_object_get(record, "counts"), "ops") /
			    fmax(1, (double)g->row.initiators);
	size_t n = json_array_size(list);
	uint32_t *raw = malloc((n ? n : 1) * sizeof(*raw));
	double p99, p999;

	if (!raw)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		raw[i] = (uint32_t)json_integer_value(json_array_get(list, i));
	p99 = operations / tm_stats_clustering(raw, n, 0.99);
	p999 = operations / tm_stats_clustering(raw, n, 0.999);
	/* Not known counts for nothing. */
	g->effective_p99 += isnan(p99) ? 0 : p99;
	g->effective_p999 += isnan(p999) ? 0 : p999;
	free(raw);
	return 0;
}

/*
 * Delivery and return lie between two CPUs' counters. Where nobody was
 * interrupted, or nobody knows by whom, there is nothing to refuse.
 */
static int read_split(struct tm_gather *g, const json_t *record, struct tm_row_run *run)
{
	const json_t *quality = json_object_get(record, "quality");
	const char *gate =
		json_string_value(json_object_get(json_object_get(record, "cell"), "gate"));
	int rc;

	/* An operation that interrupts nobody has no parts: its gaps are others'. */
	run->stolen_ns = run->delivery_ns = run->return_ns = NAN;
	if (gate && !strcmp(gate, "none"))
		return 0;
	rc = read_median(g, record, "stolen", &run->stolen_ns);
	rc = rc ? rc : read_median(g, record, "delivery", &run->delivery_ns);
	rc = rc ? rc : read_median(g, record, "return", &run->return_ns);
	if (rc || json_is_true(json_object_get(quality, "return_valid")))
		return rc;
	g->row.split_refused |= isfinite(run->delivery_ns) && g->row.initiators == 1;
	run->return_ns = NAN;
	if (!json_is_true(json_object_get(quality, "split_valid")))
		run->delivery_ns = NAN;
	return 0;
}

static int add_interruptions(struct tm_gather *g, const json_t *record)
{
	struct tm_hist *gaps;
	int rc;

	if (strcmp(g->row.state, "isolated"))
		return 0;
	rc = decode_metric(record, "interruption", &gaps);
	return rc ? rc : tm_gather_interruptions(g, record, gaps);
}

static int add_measured(struct tm_gather *g, const json_t *record, struct tm_row_run *run)
{
	const json_t *derived = json_object_get(record, "derived");
	const json_t *counts = json_object_get(record, "counts");
	const json_t *probe = json_object_get(record, "probe");
	const json_t *remote = json_object_get(json_object_get(probe, "flush"), "remote_shootdown");
	double ipis = number_at(derived, "ipis_per_op");
	double full = number_at(json_object_get(probe, "full"), "in");
	double operations = (double)integer_at(counts, "ops");
	double kernel_flushes = number_at(derived, "kernel_flushes_per_op");
	int rc;

	rc = add_effective(g, record);
	rc = rc ? rc : read_split(g, record, run);
	rc = rc ? rc : add_looks(g, record);
	rc = rc ? rc : add_interruptions(g, record);
	g->row.operations += (uint64_t)integer_at(counts, "ops");
	if (isfinite(ipis)) {
		g->ipis += ipis * operations;
		g->ipi_ops += operations;
		if (!g->row.ipis_source)
			g->row.ipis_source = tm_rows_copy(string_at(derived, "ipis_source"), &rc);
	}
	if (isfinite(full)) {
		g->full += full;
		g->remote += number_at(remote, "in");
	}
	if (isfinite(kernel_flushes)) {
		g->kernel_flushes += kernel_flushes * operations;
		g->kernel_flush_ops += operations;
		g->row.kernel_flushes_per_op_predicted =
			number_at(derived, "kernel_flushes_per_op_predicted");
	}
	return rc;
}

/* Counted operations: the p50 is exact, no slot of a histogram. */
static void read_exact(struct tm_gather *g, int role, const json_t *record, struct tm_row_run *run)
{
	const json_t *exact = json_object_get(record, "deterministic");

	if (!exact)
		return;
	run->op_ns = number_at(exact, "p50_instructions") * 1e9 / g->hz;
	if (role != MEASURED)
		return;
	g->row.deterministic = true;
	g->row.op_values = fmax(g->row.op_values, number_at(exact, "values"));
	g->row.op_p50_share = fmin(g->row.op_p50_share, number_at(exact, "p50_share"));
}

static int add_valid(struct tm_gather *g, int role, const json_t *record)
{
	struct tm_row_run run = {
		.repeat = integer_at(json_object_get(record, "cell"), "repeat"),
		.delivery_ns = NAN,
		.stolen_ns = NAN,
		.return_ns = NAN,
	};
	struct tm_hist *op;
	int rc = decode_metric(record, "op", &op);

	if (rc)
		return rc;
	run.op_ns = op ? median_ns(g, op) : NAN;
	read_exact(g, role, record, &run);
	if (!isfinite(run.op_ns)) {
		free(op);
		return -EINVAL;
	}
	if (role != MEASURED) {
		free(op);
		return add_run(&g->side[role], &run);
	}
	rc = merge(&g->op, op);
	rc = rc ? rc : add_measured(g, record, &run);
	return rc ? rc : add_run(&g->side[role], &run);
}

static char *join_reasons(const json_t *record)
{
	const json_t *reasons = json_object_get(json_object_get(record, "quality"), "reasons");
	char *text = NULL;
	size_t size, i;
	json_t *reason;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	json_array_foreach(reasons, i, reason)
	{
		fprintf(f, "%s%s", i ? "; " : "", json_string_value(reason));
	}
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

int tm_gather_begin(struct tm_gather *g, const json_t *record)
{
	const json_t *cell = json_object_get(record, "cell");
	struct tm_row *r = &g->row;
	int rc = 0;

	memset(g, 0, sizeof(*g));
	g->open = true;
	g->hz = number_at(json_object_get(record, "clock"), "hz");
	r->op_values = r->op_p50_share = NAN;
	r->row = (unsigned int)integer_at(cell, "row");
	r->floor = json_is_true(json_object_get(cell, "floor"));
	r->workload = tm_rows_copy(string_at(cell, "workload"), &rc);
	r->label = tm_rows_copy(string_at(cell, "label"), &rc);
	r->parameters = json_deep_copy(json_object_get(cell, "parameters"));
	r->references = json_deep_copy(json_object_get(cell, "references"));
	if (rc || !r->parameters)
		return -ENOMEM;
	return g->hz > 0 && r->workload && r->label ? 0 : -EINVAL;
}

/* Who was interrupted is the measured runs' affair: a control's differ. */
static int describe(struct tm_row *r, const json_t *cell)
{
	int rc = 0;

	r->state = tm_rows_copy(string_at(cell, "state"), &rc);
	r->distance = tm_rows_copy(string_at(cell, "distance"), &rc);
	r->responders = (unsigned int)integer_at(cell, "responders");
	r->initiators = (unsigned int)integer_at(cell, "initiators");
	return rc;
}

int tm_gather_add(struct tm_gather *g, const json_t *record)
{
	const json_t *cell = json_object_get(record, "cell");
	const char *name = string_at(cell, "role");
	struct tm_gather_side *s;
	int role = 0, rc;

	while (role < ROLES && (!name || strcmp(name, role_names[role])))
		role++;
	if (role == ROLES)
		return -EINVAL;
	s = &g->side[role];
	if (role == MEASURED) {
		g->row.repeats++;
		rc = g->row.state ? 0 : describe(&g->row, cell);
		if (rc)
			return rc;
	}
	if (integer_at(json_object_get(record, "verify"), "violations"))
		g->violated = true;
	if (!json_is_true(json_object_get(json_object_get(record, "quality"), "valid"))) {
		s->refused++;
		if (!s->reason)
			s->reason = join_reasons(record);
		return s->reason ? 0 : -ENOMEM;
	}
	return add_valid(g, role, record);
}

/* The median over the runs of the figure at `offset`, of those that have it. */
static int median_over(const struct tm_gather_side *s, size_t offset, double *out)
{
	double *known = malloc((s->count + 1) * sizeof(*known));
	size_t n = 0;

	if (!known)
		return -ENOMEM;
	for (size_t i = 0; i < s->count; i++) {
		double value;

		memcpy(&value, (const char *)&s->run[i] + offset, sizeof(value));
		if (isfinite(value))
			known[n++] = value;
	}
	*out = tm_stats_median(known, n);
	free(known);
	return 0;
}

/* All p50 of the row that are the measured runs' own. */
static int find_medians(struct tm_row *r, const struct tm_gather_side *measured)
{
	const struct {
		size_t of;
		double *to;
	} all[] = {
		{offsetof(struct tm_row_run, op_ns), &r->op_p50_ns},
		{offsetof(struct tm_row_run, delivery_ns), &r->delivery_p50_ns},
		{offsetof(struct tm_row_run, stolen_ns), &r->stolen_p50_ns},
		{offsetof(struct tm_row_run, return_ns), &r->return_p50_ns},
	};
	int rc = 0;

	for (size_t i = 0; !rc && i < sizeof(all) / sizeof(all[0]); i++)
		rc = median_over(measured, all[i].of, all[i].to);
	return rc;
}

void tm_gather_pair(const struct tm_row_run *a, size_t a_count, const struct tm_row_run *b,
		    size_t b_count, struct tm_gather_pairs *out)
{
	double logarithm;

	out->differences = out->logarithms = 0;
	for (size_t i = 0; i < a_count && out->differences < TM_STATS_PAIRS_MAX; i++) {
		for (size_t j = 0; j < b_count; j++) {
			if (b[j].repeat != a[i].repeat)
				continue;
			out->difference[out->differences++] = a[i].op_ns - b[j].op_ns;
			logarithm = log(a[i].op_ns / b[j].op_ns);
			if (isfinite(logarithm))
				out->logarithm[out->logarithms++] = logarithm;
			break;
		}
	}
}

int tm_gather_estimate(const struct tm_row *r, double *x, unsigned int n, struct tm_estimate *out)
{
	if (!r->deterministic)
		return tm_stats_centre(x, n, TM_ROWS_LEVEL, out);
	out->value = tm_stats_median(x, n);
	out->low = x[0];
	out->high = x[n - 1];
	out->level = 1;
	out->pairs = n;
	return 0;
}

static int estimate_cost(struct tm_gather *g, struct tm_gather_pairs *pairs)
{
	struct tm_estimate *ratio = &g->row.cost_ratio;
	int rc =
		tm_gather_estimate(&g->row, pairs->difference, pairs->differences, &g->row.cost_ns);

	if (rc || !pairs->logarithms)
		return rc;
	rc = tm_gather_estimate(&g->row, pairs->logarithm, pairs->logarithms, ratio);
	ratio->value = exp(ratio->value);
	ratio->low = exp(ratio->low);
	ratio->high = exp(ratio->high);
	return rc;
}

/*
 * Foreign responders keep the CPUs as busy as the measured ones do, so they
 * are the better control; but not one that costs the interval.
 */
static int choose_control(struct tm_gather *g)
{
	const struct tm_gather_side *measured = &g->side[MEASURED];
	struct tm_gather_pairs pairs[ROLES];
	int control, rc;

	for (control = FOREIGN; control < ROLES; control++)
		tm_gather_pair(measured->run, measured->count, g->side[control].run,
			       g->side[control].count, &pairs[control]);
	control = pairs[FOREIGN].differences >= TM_STATS_PAIRS_MIN ||
				  pairs[FOREIGN].differences >= pairs[NONE].differences
			  ? FOREIGN
			  : NONE;
	if (!pairs[control].differences)
		return 0;
	g->row.control = control_names[control];
	rc = median_over(&g->side[control], offsetof(struct tm_row_run, op_ns),
			 &g->row.control_p50_ns);
	return rc ? rc : estimate_cost(g, &pairs[control]);
}

static int append_reason(char **reasons, const char *text)
{
	char *longer;

	if (asprintf(&longer, "%s%s%s", *reasons ? *reasons : "", *reasons ? "; " : "", text) < 0)
		return -ENOMEM;
	free(*reasons);
	*reasons = longer;
	return 0;
}

static int add_reason(char **reasons, const char *of, const struct tm_gather_side *s)
{
	unsigned int runs = s->refused + (unsigned int)s->count;
	char *text;
	int rc;

	if (!s->refused)
		return 0;
	if (asprintf(&text, "%s%u of %u runs not valid: %s", of, s->refused, runs, s->reason) < 0)
		return -ENOMEM;
	rc = append_reason(reasons, text);
	free(text);
	return rc;
}

/* Why runs do not count, of all roles. */
static int add_reasons(struct tm_gather *g)
{
	static const char *const of[ROLES] = {"", "control: ", "control alone: "};
	struct tm_row *r = &g->row;
	int rc = 0;

	for (int role = MEASURED; !rc && role < ROLES; role++)
		rc = add_reason(&r->reasons, of[role], &g->side[role]);
	if (!rc && !r->repeats && !r->reasons)
		r->reasons = tm_rows_copy("only controls were measured", &rc);
	if (rc || !g->violated)
		return rc;
	return append_reason(&r->reasons,
			     "a stale translation was seen, so none of this row's runs count");
}

/* As if no run had been valid. */
static void leave_all_out(struct tm_gather *g)
{
	for (int role = MEASURED; role < ROLES; role++)
		g->side[role].count = 0;
	free(g->op);
	free(g->stale);
	free(g->gone);
	g->op = g->stale = g->gone = NULL;
	g->interruptions.operations = 0;
	free(g->row.ipis_source);
	g->row.ipis_source = NULL;
	g->row.operations = 0;
	g->row.split_refused = false;
	g->effective_p99 = g->effective_p999 = g->ipi_ops = g->remote = 0;
}

static double tail_ns(const struct tm_gather *g, double effective, double q)
{
	if (!g->op || !tm_stats_quantile_known(effective, q))
		return NAN;
	return tm_stats_quantile(g->op, q) * 1e9 / g->hz;
}

/* What all looks together tell. */
static int find_stale(struct tm_gather *g)
{
	double low, high, tick_ns = 1e9 / g->hz;
	struct tm_row *r = &g->row;
	int rc = tm_stale_half_interval(g->stale, g->gone, &low, &high);

	r->looks_stale = g->stale ? g->stale->count : 0;
	r->looks = r->looks_stale + (g->gone ? g->gone->count : 0);
	r->stale_last_ns = r->looks_stale ? (double)g->stale->max * tick_ns : NAN;
	r->gone_first_ns = r->looks > r->looks_stale ? (double)g->gone->min * tick_ns : NAN;
	r->stale_half_low_ns = low * tick_ns;
	r->stale_half_high_ns = high * tick_ns;
	return rc;
}

static int finish_row(struct tm_gather *g)
{
	struct tm_gather_side *measured = &g->side[MEASURED];
	struct tm_row *r = &g->row;
	int rc = add_reasons(g);

	if (g->violated)
		leave_all_out(g);
	tm_stats_none(&r->cost_ns);
	tm_stats_none(&r->cost_ratio);
	tm_stats_none(&r->reference_ns);
	rc = rc ? rc : find_medians(r, measured);
	rc = rc ? rc : find_stale(g);
	rc = rc ? rc : tm_gather_interruptions_finish(g);
	r->op_p99_ns = tail_ns(g, g->effective_p99, 0.99);
	r->op_p999_ns = tail_ns(g, g->effective_p999, 0.999);
	r->tail_refused =
		g->op && !r->deterministic && (isnan(r->op_p99_ns) || isnan(r->op_p999_ns));
	r->ipis_per_op = g->ipi_ops > 0 ? g->ipis / g->ipi_ops : NAN;
	r->full_flush_share = g->remote > 0 ? g->full / g->remote : NAN;
	r->kernel_flushes_per_op =
		g->kernel_flush_ops > 0 ? g->kernel_flushes / g->kernel_flush_ops : NAN;
	r->times_ipi_floor = NAN;
	r->control_p50_ns = NAN;
	rc = rc ? rc : choose_control(g);
	r->repeats_valid = (unsigned int)measured->count;
	r->run = measured->run;
	measured->run = NULL;
	return rc;
}

void tm_row_free(struct tm_row *r)
{
	free(r->workload);
	free(r->label);
	json_decref(r->parameters);
	json_decref(r->references);
	free(r->reference);
	free(r->state);
	free(r->distance);
	free(r->ipis_source);
	free(r->reasons);
	free(r->run);
	if (r->interruptions)
		free(r->interruptions->causes);
	free(r->interruptions);
}

/* All but the row itself. */
static void free_gathered(struct tm_gather *g)
{
	for (int i = 0; i < ROLES; i++) {
		free(g->side[i].run);
		free(g->side[i].reason);
	}
	free(g->op);
	free(g->stale);
	free(g->gone);
	free(g->interruptions.gaps);
	json_decref(g->interruptions.causes);
	g->open = false;
}

int tm_gather_finish(struct tm_gather *g, struct tm_row *out)
{
	int rc = finish_row(g);

	*out = g->row;
	free_gathered(g);
	if (rc)
		tm_row_free(out);
	return rc;
}

void tm_gather_drop(struct tm_gather *g)
{
	free_gathered(g);
	tm_row_free(&g->row);
}
