// SPDX-License-Identifier: GPL-3.0-or-later
/* Labels that fit: what all rows of a workload share is said once, below. */
#include "table_text.h"

#include <stdlib.h>
#include <string.h>

static bool is_constant(const struct tm_row *rows, size_t n, const char *workload, const char *name)
{
	const json_t *first = NULL, *value;

	for (size_t i = 0; i < n; i++) {
		if (strcmp(rows[i].workload, workload))
			continue;
		value = json_object_get(rows[i].parameters, name);
		if (first && !json_equal(first, value))
			return false;
		first = value;
	}
	return true;
}

static void put_parameter(FILE *f, const char *name, const json_t *value)
{
	if (json_is_string(value))
		fprintf(f, " %s=%s", name, json_string_value(value));
	else
		fprintf(f, " %s=%.0f", name, json_number_value(value));
}

/* The row's parameters, those that are constant or those that are not. */
static unsigned int put_parameters(FILE *f, const struct tm_row *rows, size_t n, size_t i,
				   bool constant)
{
	unsigned int count = 0;
	const char *name;
	json_t *value;

	json_object_foreach(rows[i].parameters, name, value)
	{
		if (is_constant(rows, n, rows[i].workload, name) != constant)
			continue;
		put_parameter(f, name, value);
		count++;
	}
	return count;
}

char *tm_table_label(const struct tm_row *rows, size_t n, size_t i, bool brief)
{
	const char *from;
	char *text = NULL;
	size_t size;
	FILE *f;

	if (!brief)
		return strdup(rows[i].label);
	f = open_memstream(&text, &size);
	if (!f)
		return NULL;
	fputs(rows[i].workload, f);
	put_parameters(f, rows, n, i, false);
	from = strstr(rows[i].label, " from CPU ");
	if (from)
		fputs(from, f);
	if (!fclose(f))
		return text;
	free(text);
	return NULL;
}

void tm_table_constants(FILE *out, const struct tm_row *rows, size_t n, unsigned int width)
{
	for (size_t i = 0; i < n; i++) {
		char *text = NULL, *lead;
		unsigned int count;
		size_t before, size;
		FILE *f;

		for (before = 0; strcmp(rows[before].workload, rows[i].workload); before++)
			;
		f = before == i ? open_memstream(&text, &size) : NULL;
		if (!f)
			continue;
		count = put_parameters(f, rows, n, i, true);
		if (!fclose(f) && count && asprintf(&lead, "  all %s: ", rows[i].workload) >= 0) {
			tm_table_paragraph(out, lead, text, width);
			free(lead);
		}
		free(text);
	}
}
