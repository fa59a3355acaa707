/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What stands between stored records and gnuplot: the rows of one session
 * (plots/data.c), and the figures made of them (plots/figure.c). A figure is
 * plain numbers with ranges already chosen, so everything that could be wrong
 * about a plot can be tested without drawing it.
 *
 * All times are seconds, all text is UTF-8 without control characters.
 */
#ifndef TLBMARK_FIGURE_H
#define TLBMARK_FIGURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "bench/hist.h"

/* The cells of one row of the table, by what stood on the other CPUs. */
enum tm_plot_role {
	TM_PLOT_MEASURED,
	TM_PLOT_FOREIGN, /* responders in another process */
	TM_PLOT_NONE,	 /* no responder */
	TM_PLOT_ROLES
};

enum tm_plot_metric {
	TM_PLOT_OP,
	TM_PLOT_DELIVERY,
	TM_PLOT_STOLEN,
	TM_PLOT_RETURN,
	TM_PLOT_STALE, /* looks at dead translations: the ages at which one was still used, */
	TM_PLOT_GONE,  /* and at which not */
	TM_PLOT_LIFE,  /* for how long one was used */
	TM_PLOT_METRICS
};

/* Every valid run (repeat) of one cell, merged. */
struct tm_plot_cell {
	unsigned int runs;			 /* 0: not measured, or nothing valid */
	double tick_s;				 /* seconds a tick */
	struct tm_hist *metric[TM_PLOT_METRICS]; /* ticks; NULL where there is none */
	double *run_s[TM_PLOT_METRICS];		 /* the runs' own medians */
	unsigned int run_count[TM_PLOT_METRICS];
	/*
	 * Median of the runs' own medians, as in the table (merged, a fast run
	 * would weigh more), and of op the lowest and highest of them, which
	 * hold the true one with a probability of 1 - 2^(1 - runs).
	 */
	double p50_s[TM_PLOT_METRICS], low_s, high_s;
	bool split_valid; /* in every run merged */
};

struct tm_plot_row {
	json_int_t number;     /* cell.row */
	char *label;	       /* workload and parameters, state and responders where they vary */
	char *sweep_label;     /* the same without the parameter counted in pages */
	char *responder_label; /* the same as label without the responders */
	char *map_label;       /* and without the initiator's CPU either */
	bool interrupts;       /* the operation means to interrupt its responders */
	double pages;	       /* value of that parameter; 0: there is none */
	unsigned int responders;
	struct tm_plot_cell cell[TM_PLOT_ROLES];
	json_t *runs;  /* array: the valid measured records */
	bool violated; /* the oracle saw a stale translation: none of its runs counts */
};

struct tm_plot_data {
	struct tm_plot_row *rows; /* in plan order */
	size_t count;
	unsigned int runs;		       /* all of the session */
	unsigned int invalid, failed, skipped; /* of these, left out */
	unsigned int ceiling_pages;	       /* of the range flush; 0: unknown */
	bool ceiling_seen;		       /* told by the flushes, not by the kernel */
	char *caption[2]; /* machine and kernel; versions, session, probe, left out */
};

/*
 * Builds the rows of `records` (an array of tlbmark-record-1 objects, any
 * order). 0, -EINVAL for a record that is none, -ENOMEM; one line in why.
 * tm_plot_data_free() also after an error.
 */
int tm_plot_data_build(const json_t *records, struct tm_plot_data *out, char *why, size_t why_size);
void tm_plot_data_free(struct tm_plot_data *d);

/* One drawn item: up to four numbers, NAN for none; and a text, or NULL. */
struct tm_point {
	double v[4];
	char *text;
};

struct tm_series {
	struct tm_point *points;
	size_t count;
};

enum tm_unit {
	TM_UNIT_NONE, /* places, named by points or not at all */
	TM_UNIT_TIME, /* seconds */
	TM_UNIT_COUNT,
	TM_UNIT_PERCENT,
	TM_UNIT_NINES, /* percentiles: -log10(1 - q) */
};

struct tm_axis {
	double low, high; /* low < high */
	bool log;
	enum tm_unit unit;
};

enum { TM_PANEL_SERIES = 4 };

/* One set of axes. What v[] means is said where each figure is built. */
struct tm_panel {
	char *title;
	struct tm_axis x, y, z; /* z: of the heat map's colours, else unset */
	double mark;		/* a vertical line at this x, NAN for none */
	struct tm_series series[TM_PANEL_SERIES];
};

struct tm_figure {
	struct tm_panel *panels;
	size_t count; /* 0: nothing to draw, left_out says why */
	char left_out[160];
	char note[160]; /* for the caption, "" for none */
};

/* One kind of plot; the name is that of its script and of its files. */
struct tm_figure_kind {
	const char *name;  /* "ladder" */
	const char *title; /* in words */
	size_t per_page;   /* panels in one picture at most */
	int (*build)(const struct tm_plot_data *d, struct tm_figure *f); /* 0 or -ENOMEM */
};

/* NULL name ends the list. */
extern const struct tm_figure_kind tm_figure_kinds[];

void tm_figure_free(struct tm_figure *f);

/* For those who build one. NULL when out of memory; what is returned is the figure's. */
struct tm_panel *tm_figure_add_panel(struct tm_figure *f, const char *title);
struct tm_point *tm_figure_add_point(struct tm_series *s, double a, double b, double c, double d);
int tm_figure_build_stale(const struct tm_plot_data *d, struct tm_figure *f);

/*
 * The labels of an axis in gnuplot's notation ("1 µs" 1e-06, "2 µs" 2e-06),
 * "" for TM_UNIT_NONE. free(); NULL when out of memory.
 */
char *tm_axis_tics(const struct tm_axis *a);

/* "1.23 µs", three significant digits, ns to s. */
void tm_plot_format_time(double seconds, char *buf, size_t size);

/*
 * A copy of `text` of at most `limit` characters (not bytes), shortened in
 * the middle with an ellipsis; control characters and double quotes become
 * spaces. NULL when out of memory.
 */
char *tm_plot_shorten(const char *text, size_t limit);

#endif /* TLBMARK_FIGURE_H */
