// SPDX-License-Identifier: GPL-3.0-or-later
/* Records of one row -> the row. */
#include "rows_gather.h"

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

static int merge_metric(const json_t *record, const char *metric, struct tm_hist **into)
{
	const json_t *m = json_object_get(json_object_get(record, "metrics"), metric);
	const char *encoded = string_at(m, "histogram");
	struct tm_hist *h;
	int rc;

	if (!m)
		return 0;
	if (!encoded)
		return -EINVAL;
	rc = tm_hist_decode(encoded, &h);
	if (rc)
		return rc;
	if (!*into) {
		*into = h;
		return 0;
	}
	rc = tm_hist_merge(*into, h);
	free(h);
	return rc;
}

/* The run's own median, before its histogram joins the others. */
static int add_run(struct tm_gather *g, struct tm_gather_side *s, const json_t *record)
{
	struct tm_hist *op = NULL;
	struct tm_gather_run *grown;
	int rc = merge_metric(record, "op", &op);

	if (!rc && !op)
		rc = -EINVAL;
	if (rc)
		return rc;
	if (s->count == s->room) {
		s->room = s->room ? 2 * s->room : 8;
		grown = realloc(s->run, s->room * sizeof(*grown));
		if (!grown) {
			free(op);
			return -ENOMEM;
		}
		s->run = grown;
	}
	s->run[s->count++] = (struct tm_gather_run){
		.repeat = integer_at(json_object_get(record, "cell"), "repeat"),
		.p50_ns = tm_stats_quantile(op, 0.5) * 1e9 / g->hz,
	};
	if (!s->op) {
		s->op = op;
		return 0;
	}
	rc = tm_hist_merge(s->op, op);
	free(op);
	return rc;
}

/* How many independent operations the run's are worth for its upper quantiles. */
static int add_effective(struct tm_gather *g, const json_t *record)
{
	const json_t *list = json_object_get(record, "raw_op_ticks");
	double operations = (double)integer_at(json_object_get(record, "counts"), "ops");
	size_t n = json_array_size(list);
	uint32_t *raw = malloc((n ? n : 1) * sizeof(*raw));

	if (!raw)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		raw[i] = (uint32_t)json_integer_value(json_array_get(list, i));
	g->effective_p99 += operations / tm_stats_clustering(raw, n, 0.99);
	g->effective_p999 += operations / tm_stats_clustering(raw, n, 0.999);
	free(raw);
	return 0;
}

static int add_measured(struct tm_gather *g, const json_t *record)
{
	const json_t *derived = json_object_get(record, "derived");
	const json_t *counts = json_object_get(record, "counts");
	const json_t *probe = json_object_get(record, "probe");
	const json_t *remote = json_object_get(json_object_get(probe, "flush"), "remote_shootdown");
	double ipis = number_at(derived, "ipis_per_op");
	double full = number_at(json_object_get(probe, "full"), "in");
	double operations = (double)integer_at(counts, "ops");
	int rc;

	rc = add_effective(g, record);
	if (!rc)
		rc = merge_metric(record, "stolen", &g->stolen);
	if (json_is_true(json_object_get(json_object_get(record, "quality"), "split_valid"))) {
		rc = rc ? rc : merge_metric(record, "delivery", &g->delivery);
		rc = rc ? rc : merge_metric(record, "return", &g->back);
	} else if (integer_at(json_object_get(record, "cell"), "responders")) {
		g->row.split_refused = true;
	}
	g->row.operations += (uint64_t)integer_at(counts, "ops");
	g->row.repeats_valid++;
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
	return rc;
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
	r->row = (unsigned int)integer_at(cell, "row");
	r->floor = json_is_true(json_object_get(cell, "floor"));
	r->workload = tm_rows_copy(string_at(cell, "workload"), &rc);
	r->label = tm_rows_copy(string_at(cell, "label"), &rc);
	r->parameters = json_deep_copy(json_object_get(cell, "parameters"));
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
	if (!json_is_true(json_object_get(json_object_get(record, "quality"), "valid"))) {
		s->refused++;
		if (!s->reason)
			s->reason = join_reasons(record);
		return s->reason ? 0 : -ENOMEM;
	}
	rc = add_run(g, s, record);
	if (!rc && role == MEASURED)
		rc = add_measured(g, record);
	return rc;
}

static double quantile_ns(const struct tm_gather *g, const struct tm_hist *h, double q)
{
	return h ? tm_stats_quantile(h, q) * 1e9 / g->hz : NAN;
}

/* Runs of the same repeat lay close in time: they are the pairs. */
static int estimate_cost(struct tm_gather *g, const struct tm_gather_side *control)
{
	const struct tm_gather_side *measured = &g->side[MEASURED];
	double difference[TM_STATS_PAIRS_MAX], logarithm[TM_STATS_PAIRS_MAX];
	struct tm_estimate *ratio = &g->row.cost_ratio;
	unsigned int pairs = 0;
	int rc;

	for (size_t i = 0; i < measured->count && pairs < TM_STATS_PAIRS_MAX; i++) {
		for (size_t j = 0; j < control->count; j++) {
			if (control->run[j].repeat != measured->run[i].repeat)
				continue;
			difference[pairs] = measured->run[i].p50_ns - control->run[j].p50_ns;
			logarithm[pairs] = log(measured->run[i].p50_ns / control->run[j].p50_ns);
			pairs++;
			break;
		}
	}
	if (!pairs)
		return 0;
	rc = tm_stats_centre(difference, pairs, TM_ROWS_LEVEL, &g->row.cost_ns);
	if (rc)
		return rc;
	rc = tm_stats_centre(logarithm, pairs, TM_ROWS_LEVEL, ratio);
	ratio->value = exp(ratio->value);
	ratio->low = exp(ratio->low);
	ratio->high = exp(ratio->high);
	return rc;
}

static int add_reason(char **reasons, const char *of, const struct tm_gather_side *s)
{
	unsigned int runs = s->refused + (unsigned int)s->count;
	char *longer;

	if (!s->refused)
		return 0;
	if (asprintf(&longer, "%s%s%s%u of %u runs not valid: %s", *reasons ? *reasons : "",
		     *reasons ? "; " : "", of, s->refused, runs, s->reason) < 0)
		return -ENOMEM;
	free(*reasons);
	*reasons = longer;
	return 0;
}

static int finish_row(struct tm_gather *g)
{
	const struct tm_gather_side *measured = &g->side[MEASURED];
	struct tm_row *r = &g->row;
	int control, rc;

	tm_stats_none(&r->cost_ns);
	tm_stats_none(&r->cost_ratio);
	r->op_p50_ns = quantile_ns(g, measured->op, 0.5);
	r->op_p99_ns = r->op_p999_ns = NAN;
	if (tm_stats_quantile_known(g->effective_p99, 0.99))
		r->op_p99_ns = quantile_ns(g, measured->op, 0.99);
	if (tm_stats_quantile_known(g->effective_p999, 0.999))
		r->op_p999_ns = quantile_ns(g, measured->op, 0.999);
	r->tail_refused = measured->op && (isnan(r->op_p99_ns) || isnan(r->op_p999_ns));
	r->delivery_p50_ns = quantile_ns(g, g->delivery, 0.5);
	r->stolen_p50_ns = quantile_ns(g, g->stolen, 0.5);
	r->return_p50_ns = quantile_ns(g, g->back, 0.5);
	r->ipis_per_op = g->ipi_ops > 0 ? g->ipis / g->ipi_ops : NAN;
	r->full_flush_share = g->remote > 0 ? g->full / g->remote : NAN;
	r->times_ipi_floor = NAN;
	r->control_p50_ns = NAN;

	rc = add_reason(&r->reasons, "", measured);
	for (control = FOREIGN; !rc && control < ROLES; control++)
		rc = add_reason(&r->reasons, control == FOREIGN ? "control: " : "control alone: ",
				&g->side[control]);
	if (!rc && !r->repeats) {
		r->reasons =
			r->reasons ? r->reasons : tm_rows_copy("only controls were measured", &rc);
		return rc;
	}
	control = g->side[FOREIGN].count ? FOREIGN : NONE;
	if (rc || !g->side[control].count)
		return rc;
	r->control = control_names[control];
	r->control_p50_ns = quantile_ns(g, g->side[control].op, 0.5);
	return estimate_cost(g, &g->side[control]);
}

void tm_row_free(struct tm_row *r)
{
	free(r->workload);
	free(r->label);
	json_decref(r->parameters);
	free(r->state);
	free(r->distance);
	free(r->ipis_source);
	free(r->reasons);
}

/* All but the row itself. */
static void free_gathered(struct tm_gather *g)
{
	for (int i = 0; i < ROLES; i++) {
		free(g->side[i].op);
		free(g->side[i].run);
		free(g->side[i].reason);
	}
	free(g->delivery);
	free(g->stolen);
	free(g->back);
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
