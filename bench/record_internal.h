/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Between the files that build a record. Nothing else includes this. */
#ifndef TLBMARK_RECORD_INTERNAL_H
#define TLBMARK_RECORD_INTERNAL_H

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record.h"

/* The columns of the probe's counts. */
enum { OUTSIDE, INSIDE };

/* The members `probe` and `responders`. */
json_t *tm_record_probe(const struct tm_record_input *in);
json_t *tm_record_responders(const struct tm_record_input *in);

/* On isolated CPUs: do the three ways in which interruptions are counted agree? */
void tm_record_judge_interruptions(const struct tm_record_input *in, json_t *warnings);

/* JSON knows neither NaN nor infinity: null says "no such figure". */
static inline json_t *real(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

static inline json_t *number(uint64_t value)
{
	return value <= INT64_MAX ? json_integer((json_int_t)value) : json_real((double)value);
}

static inline json_t *number_if(bool known, uint64_t value)
{
	return known ? number(value) : json_null();
}

/* Messages may quote bytes of a file; a record must not be lost for them. */
static inline json_t *text(const char *s)
{
	json_t *j;
	char *copy;

	if (!s)
		s = "";
	j = json_string(s);
	if (j)
		return j;
	copy = strdup(s);
	if (!copy)
		return NULL;
	for (char *c = copy; *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	j = json_string(copy);
	free(copy);
	return j;
}

__attribute__((format(printf, 2, 3))) static inline void say(json_t *list, const char *format, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	json_array_append_new(list, text(line));
}

static inline double share(uint64_t part, uint64_t whole)
{
	return whole ? (double)part / (double)whole : NAN;
}

#endif /* TLBMARK_RECORD_INTERNAL_H */
