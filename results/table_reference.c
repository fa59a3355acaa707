// SPDX-License-Identifier: GPL-3.0-or-later
/* Below the table: by how much rows differ from their reference. */
#include "table_text.h"

#include <errno.h>
#include <stdlib.h>

static const char heading[] =
	"Difference to the reference: op p50 minus that of the row which is the same but for the"
	" value named; paired by repeat, Hodges-Lehmann, [low, high] as for the cost.";

static int put_row(FILE *out, const struct tm_rows *rows, size_t i, const char *label, size_t width,
		   bool utf8)
{
	const struct tm_row *r = &rows->row[i];
	char *difference = tm_table_difference(&r->reference_ns, r->deterministic, utf8);

	if (!difference)
		return -ENOMEM;
	fprintf(out, "  %s%*s  vs %s: %s\n", label, (int)(width - tm_table_screen_width(label)), "",
		r->reference, difference);
	free(difference);
	return 0;
}

int tm_table_references(FILE *out, const struct tm_rows *rows, const struct tm_table_style *style)
{
	char **label = calloc(rows->count, sizeof(*label));
	size_t width = 0;
	int rc = label ? 0 : -ENOMEM;

	for (size_t i = 0; !rc && i < rows->count; i++) {
		if (!rows->row[i].reference)
			continue;
		label[i] = tm_table_label(rows->row, rows->count, i, true);
		rc = label[i] ? 0 : -ENOMEM;
		if (!rc && tm_table_screen_width(label[i]) > width)
			width = tm_table_screen_width(label[i]);
	}
	if (!rc && width) {
		fputc('\n', out);
		tm_table_paragraph(out, "", heading, style->width);
	}
	for (size_t i = 0; !rc && width && i < rows->count; i++)
		if (label[i])
			rc = put_row(out, rows, i, label[i], width, style->utf8);
	for (size_t i = 0; label && i < rows->count; i++)
		free(label[i]);
	free(label);
	return rc;
}
