// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Numbers on axes. gnuplot's own choice is not used: it labels a logarithmic
 * axis of less than a decade not at all, and knows no microseconds.
 */
#define _GNU_SOURCE
#include "figure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { TICS = 6 }; /* about as many labels as fit beside a small panel */

static const char *const time_units[] = {"ns", "µs", "ms", "s"};

void tm_plot_format_time(double seconds, char *buf, size_t size)
{
	double value = seconds * 1e9;
	unsigned int u = 0;

	/* 999.5 would be printed as 1000: the next unit has three digits for it. */
	while (value >= 999.5 && u < 3) {
		value /= 1000;
		u++;
	}
	snprintf(buf, size, "%.*f %s",
		 value < 9.995	 ? 2
		 : value < 99.95 ? 1
				 : 0,
		 value, time_units[u]);
}

static void format_tic(double value, enum tm_unit unit, char *buf, size_t size)
{
	unsigned int u = 0;

	if (unit == TM_UNIT_TIME && value > 0) {
		/* 1e-6 * 1e9 may be a hair below 1000. */
		for (value *= 1e9; value >= 999.999 && u < 3; u++)
			value /= 1000;
		snprintf(buf, size, "%.3g %s", value, time_units[u]);
	} else {
		snprintf(buf, size, "%.6g", value);
	}
}

static void add_tic(FILE *f, double value, enum tm_unit unit)
{
	char text[32];

	format_tic(value, unit, text, sizeof(text));
	fprintf(f, "%s\"%s\" %.9g", ftell(f) ? ", " : "", text, value);
}

/* Steps of 1, 2 or 5 times a power of ten. */
static void linear_tics(FILE *f, const struct tm_axis *a)
{
	double rough = (a->high - a->low) / TICS, step = pow(10, floor(log10(rough)));

	if (rough / step > 5)
		step *= 10;
	else if (rough / step > 2)
		step *= 5;
	else if (rough / step > 1)
		step *= 2;
	if (a->unit == TM_UNIT_COUNT && step < 1)
		step = 1;
	for (double k = ceil(a->low / step); k * step <= a->high; k++)
		add_tic(f, k ? k * step : 0, a->unit); /* not -0 */
}

/* Powers of two or of ten, thinned; 1, 2, 5 where there are few decades. */
static void log_tics(FILE *f, const struct tm_axis *a)
{
	double base = a->unit == TM_UNIT_COUNT ? 2 : 10;
	double first = ceil(log(a->low) / log(base) - 1e-9);
	double last = floor(log(a->high) / log(base) + 1e-9);
	double every = ceil((last - first + 1) / TICS);

	if (base == 10 && last - first < 3) {
		for (double e = first - 1; e <= last; e++)
			for (unsigned int m = 1; m <= 5; m += m == 1 ? 1 : 3)
				if (m * pow(10, e) >= a->low && m * pow(10, e) <= a->high)
					add_tic(f, m * pow(10, e), a->unit);
		return;
	}
	for (double e = ceil(first / every) * every; e <= last; e += every)
		add_tic(f, pow(base, e), a->unit);
}

static void nines_tics(FILE *f, const struct tm_axis *a)
{
	static const struct {
		double x;
		const char *text;
	} names[] = {{0, "0"},	   {0.30103, "50"}, {1, "90"},	    {2, "99"},	    {3, "99.9"},
		     {4, "99.99"}, {5, "99.999"},   {6, "99.9999"}, {7, "99.99999"}};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (names[i].x <= a->high)
			fprintf(f, "%s\"%s\" %g", i ? ", " : "", names[i].text, names[i].x);
}

char *tm_axis_tics(const struct tm_axis *a)
{
	size_t size;
	char *out = NULL;
	FILE *f = open_memstream(&out, &size);

	if (!f)
		return NULL;
	if (a->unit == TM_UNIT_NINES)
		nines_tics(f, a);
	else if (a->unit != TM_UNIT_NONE && a->log)
		log_tics(f, a);
	else if (a->unit != TM_UNIT_NONE && a->high > a->low)
		linear_tics(f, a);
	if (fclose(f)) {
		free(out);
		out = NULL;
	}
	return out;
}
