// SPDX-License-Identifier: GPL-3.0-or-later
/* Lists of parameter values as people write them. See tm_list_parse(). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"

enum { LIST_MAX = 4096 };

struct list {
	uint64_t *values;
	size_t count;
	const struct tm_param *p;
	char *why;
	size_t why_size;
};

static int refuse(const struct list *l, int error, const char *what, const char *text)
{
	snprintf(l->why, l->why_size, "--%s: %s in '%s'", l->p->name, what, text);
	return error;
}

/* A number with k, M or G behind it; *end is where it stopped. */
static int parse_number(const struct list *l, const char *text, const char **end, uint64_t *value)
{
	unsigned int shift = 0;
	char *stop;

	if (!strncmp(text, "min", 3) || !strncmp(text, "max", 3)) {
		*value = text[1] == 'i' ? l->p->min : l->p->max;
		*end = text + 3;
		return 0;
	}
	if (*text < '0' || *text > '9')
		return refuse(l, -EINVAL, "a number is missing", text);
	errno = 0;
	*value = strtoull(text, &stop, 10);
	if (errno)
		return refuse(l, -ERANGE, "the number is too large", text);
	if (*stop == 'k' || *stop == 'K')
		shift = 10;
	else if (*stop == 'M')
		shift = 20;
	else if (*stop == 'G')
		shift = 30;
	if (shift) {
		stop++;
		if (*value > UINT64_MAX >> shift)
			return refuse(l, -ERANGE, "the number is too large", text);
		*value <<= shift;
	}
	*end = stop;
	return 0;
}

static int append(struct list *l, uint64_t value, const char *text)
{
	for (size_t i = 0; i < l->count; i++) {
		if (l->values[i] == value)
			return 0;
	}
	if (l->p->kind == TM_PARAM_UINT && (value < l->p->min || value > l->p->max)) {
		snprintf(l->why, l->why_size,
			 "--%s: %" PRIu64 " is outside of %" PRIu64 "..%" PRIu64 "%s%s", l->p->name,
			 value, l->p->min, l->p->max, l->p->unit[0] ? " " : "", l->p->unit);
		return -ERANGE;
	}
	if (l->count == LIST_MAX)
		return refuse(l, -ERANGE, "more than 4096 values", text);
	l->values[l->count++] = value;
	return 0;
}

/* What comes behind "a..": the end and perhaps a step. */
static int parse_range(struct list *l, const char *text, uint64_t first, const char *rest)
{
	uint64_t last, step = 1;
	char how = '+';
	int rc = parse_number(l, rest, &rest, &last);

	if (rc)
		return rc;
	if (*rest == '+' || *rest == '*') {
		how = *rest;
		rc = parse_number(l, rest + 1, &rest, &step);
		if (rc)
			return rc;
	}
	if (*rest)
		return refuse(l, -EINVAL, "not understood", text);
	if (last < first)
		return refuse(l, -EINVAL, "the range runs backwards", text);
	if (!step || (how == '*' && (step < 2 || !first)))
		return refuse(l, -EINVAL, "a range that would never end", text);
	for (uint64_t v = first;; v = how == '+' ? v + step : v * step) {
		rc = append(l, v, text);
		if (rc)
			return rc;
		if (how == '+' ? last - v < step : v > last / step)
			return 0;
	}
}

static int parse_uint(struct list *l, const char *text)
{
	const char *end;
	uint64_t value;
	int rc = parse_number(l, text, &end, &value);

	if (rc)
		return rc;
	if (end[0] == '.' && end[1] == '.')
		return parse_range(l, text, value, end + 2);
	if (*end)
		return refuse(l, -EINVAL, "not understood", text);
	return append(l, value, text);
}

static int parse_choice(struct list *l, const char *text)
{
	char known[160] = "";
	int rc = 0;

	for (uint64_t i = 0; l->p->choices[i]; i++) {
		size_t used = strlen(known);

		if (!strcmp(text, "all"))
			rc = append(l, i, text);
		else if (!strcmp(text, l->p->choices[i]))
			return append(l, i, text);
		snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "",
			 l->p->choices[i]);
	}
	if (!strcmp(text, "all"))
		return rc;
	snprintf(l->why, l->why_size, "--%s: '%s' is none of %s", l->p->name, text, known);
	return -EINVAL;
}

int tm_list_parse(const struct tm_param *p, const char *text, uint64_t **values, size_t *count,
		  char *why, size_t why_size)
{
	struct list l = {.p = p, .why = why, .why_size = why_size};
	char *copy = strdup(text), *rest = copy, *item;
	int rc = 0;

	l.values = malloc(LIST_MAX * sizeof(*l.values));
	if (!copy || !l.values)
		rc = -ENOMEM;
	while (!rc && (item = strsep(&rest, ","))) {
		if (!*item)
			rc = refuse(&l, -EINVAL, "an empty item", text);
		else
			rc = p->kind == TM_PARAM_UINT ? parse_uint(&l, item)
						      : parse_choice(&l, item);
	}
	free(copy);
	if (rc) {
		free(l.values);
		return rc;
	}
	*values = l.values;
	*count = l.count;
	return 0;
}

void tm_param_print(const struct tm_param *p, uint64_t value, char *out, size_t size)
{
	if (p->kind == TM_PARAM_CHOICE)
		snprintf(out, size, "%s", p->choices[value]);
	else
		snprintf(out, size, "%" PRIu64, value);
}

void tm_label_print(const struct tm_cell_args *a, int from, char *out, size_t size)
{
	const struct tm_param *p = a->workload->params;
	size_t n = (size_t)snprintf(out, size, "%s", a->workload->name);
	char value[64];

	for (int i = 0; p && p[i].name && n < size; i++) {
		tm_param_print(&p[i], a->values[i], value, sizeof(value));
		n += (size_t)snprintf(out + n, size - n, " %s=%s", p[i].name, value);
	}
	if (from >= 0 && n < size)
		snprintf(out + n, size - n, " from CPU %d", from);
}
