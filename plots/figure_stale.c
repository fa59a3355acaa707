// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * How long dead translations are still used: from looks at them (results/stale.h),
 * or from whole lives, of which it is simply the share that is longer.
 */
#define _GNU_SOURCE
#include "figure.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "results/stale.h"

enum { BINS = 12 }; /* of the looks, by age */

/* v: age, share in percent. */
static int add_curve(struct tm_series *s, const struct tm_stale_step *steps, size_t count,
		     double tick_s)
{
	for (size_t i = 0; i < count; i++) {
		double share = 100 * (double)steps[i].stale / (double)steps[i].looks;

		if (!tm_figure_add_point(s, (double)steps[i].from * tick_s, share, NAN, NAN) ||
		    !tm_figure_add_point(s, (double)steps[i].to * tick_s, share, NAN, NAN))
			return -ENOMEM;
	}
	return 0;
}

/* Recorded looks from `low` up to below `high`. */
static uint64_t looks(const struct tm_hist *h, double low, double high)
{
	uint64_t n = 0;

	for (uint32_t i = 0; h && i < h->slots; i++)
		if ((double)tm_hist_slot_high(h, i) >= low &&
		    (double)tm_hist_slot_high(h, i) < high)
			n += h->slot[i];
	return n;
}

/* v: middle of the bin, share in percent, and its interval. */
static int add_bins(struct tm_series *s, const struct tm_hist *stale, const struct tm_hist *gone,
		    double most, double tick_s)
{
	double width = (most + 1) / BINS;

	for (int i = 0; i < BINS; i++) {
		uint64_t part = looks(stale, i * width, (i + 1) * width);
		uint64_t n = part + looks(gone, i * width, (i + 1) * width);
		double low, high;

		if (!n)
			continue;
		tm_stale_interval(part, n, &low, &high);
		if (!tm_figure_add_point(s, (i + 0.5) * width * tick_s,
					 100 * (double)part / (double)n, 100 * low, 100 * high))
			return -ENOMEM;
	}
	return 0;
}

static void set_axes(struct tm_panel *p, double most, double tick_s)
{
	p->x = (struct tm_axis){0, 1.05 * (most + 1) * tick_s, false, TM_UNIT_TIME};
	p->y = (struct tm_axis){0, 104, false, TM_UNIT_PERCENT};
}

static int add_looks(struct tm_figure *f, const struct tm_plot_row *row)
{
	const struct tm_plot_cell *cell = &row->cell[TM_PLOT_MEASURED];
	const struct tm_hist *stale = cell->metric[TM_PLOT_STALE];
	const struct tm_hist *gone = cell->metric[TM_PLOT_GONE];
	struct tm_stale_step *steps;
	double low, high, most;
	struct tm_panel *p;
	size_t count;
	int rc = tm_stale_curve(stale, gone, &steps, &count);

	if (rc || !count)
		return rc;
	p = tm_figure_add_panel(f, row->label);
	if (!p) {
		free(steps);
		return -ENOMEM;
	}
	most = (double)steps[count - 1].to;
	rc = add_curve(&p->series[0], steps, count, cell->tick_s);
	if (!rc)
		rc = add_bins(&p->series[1], stale, gone, most, cell->tick_s);
	if (tm_stale_half(steps, count, &low, &high))
		p->mark = (low + high) / 2 * cell->tick_s;
	set_axes(p, most, cell->tick_s);
	free(steps);
	return rc;
}

static int add_lives(struct tm_figure *f, const struct tm_plot_row *row)
{
	const struct tm_plot_cell *cell = &row->cell[TM_PLOT_MEASURED];
	const struct tm_hist *h = cell->metric[TM_PLOT_LIFE];
	double percent = 100;
	struct tm_panel *p;
	uint64_t ended = 0;

	if (!h || !h->count)
		return 0;
	p = tm_figure_add_panel(f, row->label);
	if (!p || !tm_figure_add_point(&p->series[0], 0, percent, NAN, NAN))
		return -ENOMEM;
	for (uint32_t i = 0; i < h->slots; i++) {
		if (!h->slot[i])
			continue;
		if (!tm_figure_add_point(&p->series[0],
					 (double)tm_hist_slot_low(h, i) * cell->tick_s, percent,
					 NAN, NAN))
			return -ENOMEM;
		ended += h->slot[i];
		percent = 100 * (1 - (double)ended / (double)h->count);
		if (!tm_figure_add_point(&p->series[0],
					 (double)tm_hist_slot_high(h, i) * cell->tick_s, percent,
					 NAN, NAN))
			return -ENOMEM;
	}
	p->mark = (double)tm_hist_quantile(h, 0.5) * cell->tick_s;
	set_axes(p, (double)h->max, cell->tick_s);
	return 0;
}

/* Series: the curve; shares of the looks themselves. */
int tm_figure_build_stale(const struct tm_plot_data *d, struct tm_figure *f)
{
	int rc = 0;

	for (size_t i = 0; i < d->count && !rc; i++) {
		rc = add_looks(f, &d->rows[i]);
		rc = rc ? rc : add_lives(f, &d->rows[i]);
	}
	snprintf(f->left_out, sizeof(f->left_out),
		 "no valid run looked whether dead translations are still used");
	snprintf(f->note, sizeof(f->note), "dotted: half of them are");
	return rc;
}
