// SPDX-License-Identifier: GPL-3.0-or-later
/* Rows against the row that has a parameter's reference value. */
#include "rows_gather.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

/* The initiator's CPU, where the label tells it. */
static const char *from_cpu(const struct tm_row *r)
{
	return strstr(r->label, " from CPU ");
}

/* Is `b` what `a` would be with the parameter `name` at its reference value? */
static bool is_reference(const struct tm_row *a, const struct tm_row *b, const char *name,
			 const json_t *value)
{
	const char *key;
	json_t *mine;

	if (strcmp(a->workload, b->workload) || !same_text(a->state, b->state) ||
	    !same_text(a->distance, b->distance) || a->responders != b->responders ||
	    a->initiators != b->initiators || !same_text(from_cpu(a), from_cpu(b)) ||
	    json_object_size(a->parameters) != json_object_size(b->parameters))
		return false;
	json_object_foreach(a->parameters, key, mine)
	{
		const json_t *wanted = strcmp(key, name) ? mine : value;

		if (!json_equal(wanted, json_object_get(b->parameters, key)))
			return false;
	}
	return true;
}

static const struct tm_row *find_reference(const struct tm_rows *rows, const struct tm_row *r,
					   const char *name, const json_t *value)
{
	if (json_equal(json_object_get(r->parameters, name), value))
		return NULL;
	for (size_t i = 0; i < rows->count; i++)
		if (rows->row[i].repeats_valid && is_reference(r, &rows->row[i], name, value))
			return &rows->row[i];
	return NULL;
}

static int compare(struct tm_row *r, const struct tm_row *reference, const char *name,
		   const json_t *value)
{
	struct tm_gather_pairs pairs;
	int n;

	tm_gather_pair(r->run, r->repeats_valid, reference->run, reference->repeats_valid, &pairs);
	if (!pairs.differences)
		return 0;
	n = json_is_string(value)
		    ? asprintf(&r->reference, "%s=%s", name, json_string_value(value))
		    : asprintf(&r->reference, "%s=%.0f", name, json_number_value(value));
	if (n < 0) {
		r->reference = NULL;
		return -ENOMEM;
	}
	return tm_gather_estimate(r, pairs.difference, pairs.differences, &r->reference_ns);
}

int tm_rows_compare(struct tm_rows *rows)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < rows->count; i++) {
		struct tm_row *r = &rows->row[i];
		const char *name;
		json_t *value;

		json_object_foreach(r->references, name, value)
		{
			const struct tm_row *reference = find_reference(rows, r, name, value);

			if (rc || r->reference || !reference)
				continue;
			rc = compare(r, reference, name, value);
		}
	}
	return rc;
}
