// SPDX-License-Identifier: GPL-3.0-or-later
/* From rows to figures: what is drawn, over which range. */
#define _GNU_SOURCE
#include "figure.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "results/stats.h"

enum {
	GRID_PANELS = 9, /* small multiples: three by three */
	BARS_A_PAGE = 24,
	BAR_LABEL = 60, /* characters left of a bar */
	MAPS = 6,	/* heat maps beyond these say nothing new */
	MAP_CPUS_NAMED = 16,
};

/* Ratio between an axis' ends from which it is logarithmic. */
static const double log_from = 20;

struct tm_panel *tm_figure_add_panel(struct tm_figure *f, const char *title)
{
	struct tm_panel *p = realloc(f->panels, (f->count + 1) * sizeof(*p));

	if (!p)
		return NULL;
	f->panels = p;
	p = &p[f->count];
	memset(p, 0, sizeof(*p));
	p->mark = NAN;
	p->title = strdup(title);
	if (!p->title)
		return NULL;
	f->count++;
	return p;
}

struct tm_point *tm_figure_add_point(struct tm_series *s, double a, double b, double c, double d)
{
	if (!(s->count & (s->count + 1))) { /* grows at 0, 1, 3, 7, ... */
		struct tm_point *p = realloc(s->points, 2 * (s->count + 1) * sizeof(*p));

		if (!p)
			return NULL;
		s->points = p;
	}
	s->points[s->count] = (struct tm_point){.v = {a, b, c, d}};
	return &s->points[s->count++];
}

static const struct tm_axis nothing = {.low = NAN, .high = NAN};

static void widen(struct tm_axis *a, double value)
{
	if (isnan(value))
		return;
	if (isnan(a->low) || value < a->low)
		a->low = value;
	if (isnan(a->high) || value > a->high)
		a->high = value;
}

/* Over field `first` (and those after it, `fields` in all) of every series. */
static struct tm_axis extent(const struct tm_panel *p, unsigned int first, unsigned int fields)
{
	struct tm_axis a = nothing;

	for (unsigned int s = 0; s < TM_PANEL_SERIES; s++)
		for (size_t i = 0; i < p->series[s].count; i++)
			for (unsigned int k = first; k < first + fields; k++)
				widen(&a, p->series[s].points[i].v[k]);
	return a;
}

/*
 * Room around times: logarithmic where they are far apart, from
 * zero where they are not, so that a small difference looks small.
 */
static struct tm_axis room(struct tm_axis a)
{
	if (isnan(a.low) || a.high <= 0)
		return (struct tm_axis){0, 1e-6, false, TM_UNIT_TIME};
	if (a.low > 0 && a.high / a.low > log_from)
		return (struct tm_axis){a.low / 1.3, a.high * 1.3, true, TM_UNIT_TIME};
	return (struct tm_axis){0, a.high * 1.1, false, TM_UNIT_TIME};
}

/* Percentiles on an axis of nines: x = -log10(1 - q), so 90% is 1, 99% is 2. */
static int add_ladder(struct tm_series *s, const struct tm_plot_cell *cell)
{
	const struct tm_hist *h = cell->metric[TM_PLOT_OP];
	double last;

	if (!h || !h->count)
		return 0;
	last = log10((double)h->count);
	for (double x = 0; x < last; x += 0.02)
		if (!tm_figure_add_point(
			    s, x, (double)tm_hist_quantile(h, 1 - pow(10, -x)) * cell->tick_s, NAN,
			    NAN))
			return -ENOMEM;
	return tm_figure_add_point(s, last, (double)h->max * cell->tick_s, NAN, NAN) ? 0 : -ENOMEM;
}

static int build_ladder(const struct tm_plot_data *d, struct tm_figure *f)
{
	for (size_t i = 0; i < d->count; i++) {
		struct tm_panel *p;
		int rc = 0;

		if (!d->rows[i].cell[TM_PLOT_MEASURED].runs)
			continue;
		p = tm_figure_add_panel(f, d->rows[i].label);
		if (!p)
			return -ENOMEM;
		for (unsigned int r = 0; r < TM_PLOT_ROLES && !rc; r++)
			rc = add_ladder(&p->series[r], &d->rows[i].cell[r]);
		if (rc)
			return rc;
		p->x = (struct tm_axis){0, fmax(2, extent(p, 0, 1).high), false, TM_UNIT_NINES};
		p->y = room(extent(p, 1, 1));
	}
	snprintf(f->left_out, sizeof(f->left_out), "no valid measured run");
	return 0;
}

/* Share of operations at or below a time, in percent: one step a slot. */
static int add_cdf(struct tm_series *s, const struct tm_plot_cell *cell)
{
	const struct tm_hist *h = cell->metric[TM_PLOT_OP];
	uint64_t below = 0;

	if (!h || !h->count)
		return 0;
	for (uint32_t i = 0; i < h->slots; i++) {
		uint64_t high = tm_hist_slot_high(h, i);

		if (!h->slot[i])
			continue;
		if (!s->count &&
		    !tm_figure_add_point(s, (double)h->min * cell->tick_s, 0, NAN, NAN))
			return -ENOMEM;
		below += h->slot[i];
		if (!tm_figure_add_point(s, (double)(high < h->max ? high : h->max) * cell->tick_s,
					 100 * (double)below / (double)h->count, NAN, NAN))
			return -ENOMEM;
	}
	return 0;
}

/* Where the bulk lies; the tail beyond is the ladder's. */
static struct tm_axis bulk(const struct tm_plot_row *row)
{
	struct tm_axis a = nothing;

	for (unsigned int r = 0; r < TM_PLOT_ROLES; r++) {
		const struct tm_plot_cell *cell = &row->cell[r];
		const struct tm_hist *h = cell->metric[TM_PLOT_OP];

		if (!h || !h->count)
			continue;
		widen(&a, (double)h->min * cell->tick_s);
		widen(&a, (double)tm_hist_quantile(h, 0.98) * cell->tick_s);
	}
	return a;
}

static int build_cdf(const struct tm_plot_data *d, struct tm_figure *f)
{
	for (size_t i = 0; i < d->count; i++) {
		const struct tm_plot_cell *cell = d->rows[i].cell;
		struct tm_panel *p;
		int rc = 0;

		if (!cell[TM_PLOT_MEASURED].runs ||
		    (!cell[TM_PLOT_FOREIGN].runs && !cell[TM_PLOT_NONE].runs))
			continue;
		p = tm_figure_add_panel(f, d->rows[i].label);
		if (!p)
			return -ENOMEM;
		for (unsigned int r = 0; r < TM_PLOT_ROLES && !rc; r++)
			rc = add_cdf(&p->series[r], &cell[r]);
		if (rc)
			return rc;
		p->x = room(bulk(&d->rows[i]));
		p->y = (struct tm_axis){0, 100, false, TM_UNIT_PERCENT};
	}
	snprintf(f->left_out, sizeof(f->left_out),
		 "no row has a valid measured run and a valid control");
	snprintf(f->note, sizeof(f->note), "without the slowest 2%%: those are in the ladder");
	return 0;
}

static const struct tm_plot_cell *control_of(const struct tm_plot_row *row)
{
	/* Foreign responders load the machine as ours do: the nearer control. */
	const struct tm_plot_cell *foreign = &row->cell[TM_PLOT_FOREIGN];

	return foreign->runs ? foreign : &row->cell[TM_PLOT_NONE];
}

static int add_p50(struct tm_series *s, double x, const struct tm_plot_cell *cell)
{
	if (!cell->runs)
		return 0;
	return tm_figure_add_point(s, x, cell->p50_s[TM_PLOT_OP], cell->low_s, cell->high_s)
		       ? 0
		       : -ENOMEM;
}

static int by_x(const void *a, const void *b)
{
	double x = ((const struct tm_point *)a)->v[0], y = ((const struct tm_point *)b)->v[0];

	return (x > y) - (x < y);
}

static void sort_by_x(struct tm_panel *p)
{
	for (unsigned int s = 0; s < TM_PANEL_SERIES; s++)
		if (p->series[s].count)
			qsort(p->series[s].points, p->series[s].count, sizeof(struct tm_point),
			      by_x);
}

/* Is row i the first of those with the same label? */
static bool begins_group(const struct tm_plot_data *d, size_t i, bool by_pages)
{
	for (size_t k = 0; k < i; k++)
		if (by_pages ? !strcmp(d->rows[k].sweep_label, d->rows[i].sweep_label)
			     : d->rows[k].responders && !strcmp(d->rows[k].responder_label,
								d->rows[i].responder_label))
			return false;
	return true;
}

static void free_series(struct tm_series *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->points[i].text);
	free(s->points);
}

static void drop_panel(struct tm_figure *f)
{
	struct tm_panel *p = &f->panels[--f->count];

	for (unsigned int s = 0; s < TM_PANEL_SERIES; s++)
		free_series(&p->series[s]);
	free(p->title);
}

/* v: pages, p50, low, high. Series: measured, control. */
static int build_pages(const struct tm_plot_data *d, struct tm_figure *f)
{
	for (size_t i = 0; i < d->count; i++) {
		const char *label = d->rows[i].sweep_label;
		struct tm_panel *p;
		int rc = 0;

		if (!(d->rows[i].pages > 0) || !begins_group(d, i, true))
			continue;
		p = tm_figure_add_panel(f, label);
		if (!p)
			return -ENOMEM;
		for (size_t k = i; k < d->count && !rc; k++) {
			const struct tm_plot_row *row = &d->rows[k];

			if (!(row->pages > 0) || strcmp(row->sweep_label, label))
				continue;
			rc = add_p50(&p->series[0], row->pages, &row->cell[TM_PLOT_MEASURED]);
			if (!rc)
				rc = add_p50(&p->series[1], row->pages, control_of(row));
		}
		if (rc)
			return rc;
		sort_by_x(p);
		p->x = extent(p, 0, 1);
		if (p->series[0].count < 2 || p->x.low >= p->x.high) {
			drop_panel(f);
			continue;
		}
		p->y = room(extent(p, 1, 3));
		p->x.log = p->x.high / p->x.low >= 8;
		if (d->ceiling_pages >= p->x.low && d->ceiling_pages < p->x.high)
			p->mark = d->ceiling_pages + 0.5;
		if (p->x.log)
			p->x = (struct tm_axis){p->x.low / 1.3, p->x.high * 1.3, true,
						TM_UNIT_COUNT};
		else
			p->x = (struct tm_axis){p->x.low - 0.05 * (p->x.high - p->x.low),
						p->x.high + 0.05 * (p->x.high - p->x.low), false,
						TM_UNIT_COUNT};
	}
	snprintf(f->left_out, sizeof(f->left_out),
		 "no workload has valid runs with two numbers of pages");
	if (d->ceiling_pages)
		snprintf(f->note, sizeof(f->note),
			 "bars: lowest to highest repeat; dotted: above %u pages, all is flushed%s",
			 d->ceiling_pages, d->ceiling_seen ? " (seen)" : "");
	else
		snprintf(f->note, sizeof(f->note),
			 "bars: lowest to highest repeat; the range ceiling is not known");
	return 0;
}

/*
 * v: responders, p50, low, high. Series: measured, foreign. At 0, where both
 * are the same, stands the control without any, or a row that had none.
 */
static int add_responders(const struct tm_plot_data *d, const char *label, struct tm_panel *p)
{
	bool none_added = false;
	int rc = 0;

	for (size_t k = 0; k < d->count && !rc; k++) {
		const struct tm_plot_row *row = &d->rows[k];
		const struct tm_plot_cell *none =
			&row->cell[row->responders ? TM_PLOT_NONE : TM_PLOT_MEASURED];

		if (strcmp(row->responder_label, label))
			continue;
		if (row->responders)
			rc = add_p50(&p->series[0], row->responders, &row->cell[TM_PLOT_MEASURED]);
		if (row->responders && !rc)
			rc = add_p50(&p->series[1], row->responders, &row->cell[TM_PLOT_FOREIGN]);
		/* Every row of the group has measured the same thing at 0: one is enough. */
		for (unsigned int s = 0; s < 2 && !none_added && !rc; s++)
			rc = add_p50(&p->series[s], 0, none);
		none_added |= none->runs > 0;
	}
	return rc;
}

static int build_responders(const struct tm_plot_data *d, struct tm_figure *f)
{
	for (size_t i = 0; i < d->count; i++) {
		struct tm_panel *p;
		int rc;

		if (!d->rows[i].responders || !begins_group(d, i, false))
			continue;
		p = tm_figure_add_panel(f, d->rows[i].responder_label);
		rc = p ? add_responders(d, d->rows[i].responder_label, p) : -ENOMEM;
		if (rc)
			return rc;
		sort_by_x(p);
		p->x = extent(p, 0, 1);
		if (p->series[0].count < 2 || p->x.low >= p->x.high) {
			drop_panel(f);
			continue;
		}
		p->y = room(extent(p, 1, 3));
		p->x = (struct tm_axis){-0.05 * p->x.high, 1.05 * p->x.high, false, TM_UNIT_COUNT};
	}
	snprintf(f->left_out, sizeof(f->left_out),
		 "no workload has valid runs with two numbers of responders, 0 included");
	snprintf(f->note, sizeof(f->note), "bars: lowest to highest repeat");
	return 0;
}

static const enum tm_plot_metric parts[] = {TM_PLOT_DELIVERY, TM_PLOT_STOLEN, TM_PLOT_RETURN};

/* Sum of the parts' medians; NAN where the row was not split. */
static double split_total(const struct tm_plot_row *row)
{
	const struct tm_plot_cell *cell = &row->cell[TM_PLOT_MEASURED];
	double sum = 0;

	if (!cell->runs || !cell->split_valid)
		return NAN;
	for (unsigned int k = 0; k < 3; k++)
		sum += cell->p50_s[parts[k]];
	return sum > 0 ? sum : NAN;
}

/* v: begin, end, row from the top; series 3: op, end of all, row. */
static int add_bar(struct tm_panel *p, const struct tm_plot_row *row, double scale)
{
	const struct tm_plot_cell *cell = &row->cell[TM_PLOT_MEASURED];
	double y = (double)p->series[0].count + 1, begin = 0;
	double op = cell->p50_s[TM_PLOT_OP];
	struct tm_point *point;
	char time[32];

	for (unsigned int k = 0; k < 3; k++) {
		double end = begin + cell->p50_s[parts[k]] * scale;

		point = tm_figure_add_point(&p->series[k], begin, end, y, NAN);
		if (!point)
			return -ENOMEM;
		begin = end;
		if (!k)
			point->text = tm_plot_shorten(row->label, BAR_LABEL);
	}
	tm_plot_format_time(op, time, sizeof(time));
	point = tm_figure_add_point(&p->series[3], op * scale, fmax(op * scale, begin), y, NAN);
	if (!point)
		return -ENOMEM;
	point->text = strdup(time);
	return point->text && p->series[0].points[p->series[0].count - 1].text ? 0 : -ENOMEM;
}

static int build_split(const struct tm_plot_data *d, struct tm_figure *f)
{
	struct tm_axis totals = nothing;
	struct tm_panel *p = NULL;
	bool share;

	for (size_t i = 0; i < d->count; i++)
		widen(&totals, split_total(&d->rows[i]));
	share = totals.high / totals.low > log_from;
	for (size_t i = 0; i < d->count; i++) {
		double total = split_total(&d->rows[i]);
		int rc;

		if (isnan(total))
			continue;
		if (!p || p->series[0].count == BARS_A_PAGE) {
			p = tm_figure_add_panel(f, "");
			if (!p)
				return -ENOMEM;
		}
		rc = add_bar(p, &d->rows[i], share ? 100 / total : 1);
		if (rc)
			return rc;
	}
	for (size_t i = 0; i < f->count; i++) {
		p = &f->panels[i];
		p->x = (struct tm_axis){0, 1.15 * extent(p, 0, 2).high, false,
					share ? TM_UNIT_PERCENT : TM_UNIT_TIME};
		/* Few bars must not become fat ones. */
		p->y = (struct tm_axis){0.4, fmax(8, (double)p->series[0].count) + 0.6, false,
					TM_UNIT_NONE};
	}
	snprintf(f->left_out, sizeof(f->left_out),
		 "no valid row was split into delivery, stolen and return");
	snprintf(f->note, sizeof(f->note), "medians, which need not add up to that of the whole%s",
		 share ? "; rows too far apart for one scale: shares" : "");
	return 0;
}

/* Distinct CPU numbers, ascending. */
struct cpu_list {
	unsigned int *cpu;
	size_t count;
};

static int list_cpu(struct cpu_list *l, unsigned int cpu)
{
	unsigned int *grown;
	size_t at = 0;

	while (at < l->count && l->cpu[at] < cpu)
		at++;
	if (at < l->count && l->cpu[at] == cpu)
		return 0;
	grown = realloc(l->cpu, (l->count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	l->cpu = grown;
	memmove(&grown[at + 1], &grown[at], (l->count - at) * sizeof(*grown));
	grown[at] = cpu;
	l->count++;
	return 0;
}

static double index_of(const struct cpu_list *l, double cpu)
{
	size_t i = 0;

	while (i < l->count && l->cpu[i] != (unsigned int)cpu)
		i++;
	return (double)i;
}

/* Median delivery by pair, averaged over repeats. v: responder, initiator, seconds, repeats. */
static int collect_pairs(const struct tm_plot_row *row, struct tm_series *s)
{
	json_t *run, *responder;
	size_t i, k, n;

	json_array_foreach(row->runs, i, run)
	{
		json_t *cell = json_object_get(run, "cell");
		json_t *cpus = json_object_get(cell, "initiator_cpus");
		double from = json_number_value(json_array_get(cpus, 0));

		json_array_foreach(json_object_get(run, "responders"), k, responder)
		{
			double to = json_number_value(json_object_get(responder, "cpu"));
			double ns =
				json_number_value(json_object_get(responder, "delivery_p50_ns"));
			struct tm_point *p;

			if (!(ns > 0))
				continue;
			for (n = 0; n < s->count; n++)
				if (s->points[n].v[0] == to && s->points[n].v[1] == from)
					break;
			p = n < s->count ? &s->points[n] : tm_figure_add_point(s, to, from, 0, 0);
			if (!p)
				return -ENOMEM;
			p->v[3]++;
			p->v[2] += (ns / 1e9 - p->v[2]) / p->v[3];
		}
	}
	return 0;
}

/* Names along one axis, thinned so that they can be read. v: index. */
static int name_cpus(struct tm_series *s, const struct cpu_list *l)
{
	size_t step = (l->count + MAP_CPUS_NAMED - 1) / MAP_CPUS_NAMED;

	for (size_t i = 0; i < l->count; i += step) {
		struct tm_point *p = tm_figure_add_point(s, (double)i, NAN, NAN, NAN);

		if (!p || asprintf(&p->text, "%u", l->cpu[i]) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* CPU numbers become places on the axes; a small map shows the whole square. */
static int place_pairs(struct tm_panel *p)
{
	struct cpu_list across = {0}, up = {0};
	struct tm_series *s = &p->series[0];
	int rc = 0;

	for (size_t i = 0; i < s->count && !rc; i++) {
		rc = list_cpu(&across, (unsigned int)s->points[i].v[0]);
		if (!rc)
			rc = list_cpu(&up, (unsigned int)s->points[i].v[1]);
	}
	if (across.count <= MAP_CPUS_NAMED && up.count <= MAP_CPUS_NAMED) {
		for (size_t i = 0; i < s->count && !rc; i++) {
			rc = list_cpu(&across, (unsigned int)s->points[i].v[1]);
			if (!rc)
				rc = list_cpu(&up, (unsigned int)s->points[i].v[0]);
		}
	}
	for (size_t i = 0; i < s->count && !rc; i++) {
		struct tm_point *point = &s->points[i];
		char time[32];

		point->v[0] = index_of(&across, point->v[0]);
		point->v[1] = index_of(&up, point->v[1]);
		tm_plot_format_time(point->v[2], time, sizeof(time));
		if (across.count <= 4) {
			point->text = strdup(time);
			rc = point->text ? 0 : -ENOMEM;
		}
	}
	if (!rc)
		rc = name_cpus(&p->series[1], &across);
	if (!rc)
		rc = name_cpus(&p->series[2], &up);
	p->x = (struct tm_axis){-0.5, (double)across.count - 0.5, false, TM_UNIT_NONE};
	p->y = (struct tm_axis){-0.5, (double)up.count - 0.5, false, TM_UNIT_NONE};
	free(across.cpu);
	free(up.cpu);
	return rc;
}

/* Most pairs first; a stable order, so that equals stay in plan order. */
static void sort_by_pairs(struct tm_figure *f)
{
	for (size_t i = 1; i < f->count; i++)
		for (size_t k = i;
		     k && f->panels[k].series[0].count > f->panels[k - 1].series[0].count; k--) {
			struct tm_panel p = f->panels[k];

			f->panels[k] = f->panels[k - 1];
			f->panels[k - 1] = p;
		}
}

static int build_heatmap(const struct tm_plot_data *d, struct tm_figure *f)
{
	size_t found;

	for (size_t i = 0; i < d->count; i++) {
		struct tm_panel *p = NULL;

		if (!d->rows[i].interrupts)
			continue;
		/* Rows from several CPUs are one map. */
		for (size_t k = 0; k < f->count && !p; k++) {
			if (!strcmp(f->panels[k].title, d->rows[i].map_label))
				p = &f->panels[k];
		}
		if (!p)
			p = tm_figure_add_panel(f, d->rows[i].map_label);
		if (!p || collect_pairs(&d->rows[i], &p->series[0]))
			return -ENOMEM;
		if (!p->series[0].count)
			drop_panel(f);
	}
	found = f->count;
	sort_by_pairs(f);
	while (f->count > MAPS)
		drop_panel(f);
	for (size_t i = 0; i < f->count; i++) {
		struct tm_panel *p = &f->panels[i];

		p->z = room(extent(p, 2, 1));
		if (!p->z.log && extent(p, 2, 1).low < extent(p, 2, 1).high)
			p->z.low = extent(p, 2, 1).low;
		if (place_pairs(p))
			return -ENOMEM;
	}
	snprintf(f->left_out, sizeof(f->left_out), "no valid run has deliveries by responder");
	if (found > f->count)
		snprintf(f->note, sizeof(f->note),
			 "known to 12%%; %zu of %zu rows: those with most pairs of CPUs", f->count,
			 found);
	else
		snprintf(f->note, sizeof(f->note),
			 "known to 12%%: the slots of the per-CPU histograms");
	return 0;
}

void tm_figure_free(struct tm_figure *f)
{
	while (f->count)
		drop_panel(f);
	free(f->panels);
	memset(f, 0, sizeof(*f));
}

const struct tm_figure_kind tm_figure_kinds[] = {
	{"ladder", "Duration of one operation, by percentile", GRID_PANELS, build_ladder},
	{"cdf", "Duration of one operation, with and without responders", GRID_PANELS, build_cdf},
	{"pages", "Median duration of one operation against pages", GRID_PANELS, build_pages},
	{"responders", "Median duration of one operation against responders", GRID_PANELS,
	 build_responders},
	{"split", "Where the time of one shootdown goes", 1, build_split},
	{"heatmap", "Median delivery time from CPU to CPU", MAPS, build_heatmap},
	{"stale", "Translations still used after they were taken away", GRID_PANELS,
	 tm_figure_build_stale},
	{NULL, NULL, 0, NULL},
};
