/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The rows of a session for people (text), spreadsheets (CSV, RFC 4180) and
 * programs (JSON). CSV and JSON have the same names, with the unit last; what
 * is not known is an empty field, null, and "-" in the text.
 */
#ifndef TLBMARK_TABLE_H
#define TLBMARK_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "rows.h"

enum tm_table_format { TM_TABLE_TEXT, TM_TABLE_CSV, TM_TABLE_JSON };

enum { TM_TABLE_WIDTH = 160, TM_TABLE_WIDTH_MIN = 60 };

/* How text may look. */
struct tm_table_style {
	unsigned int width; /* columns; lines are folded to fit, 0: TM_TABLE_WIDTH */
	bool colour;
	bool utf8;
};

/*
 * What fits `out`: a terminal's width, colour only on a terminal and without
 * NO_COLOR, UTF-8 where the locale's variables say so.
 */
void tm_table_style_of(FILE *out, struct tm_table_style *style);

/*
 * Prints the whole table. 0, -ENOMEM, or -EIO where `out` takes no more; the
 * style is for text only and may be NULL for plain ASCII.
 */
int tm_table_print(FILE *out, const struct tm_rows *rows, enum tm_table_format format,
		   const struct tm_table_style *style);

/*
 * Three significant digits, "-" for NaN: 0.0123, 1.23, 12.3, 123, 12345.
 * Returns buf.
 */
enum { TM_TABLE_NUMBER = 32 };
char *tm_table_number(double value, char buf[TM_TABLE_NUMBER]);
/* The same with the unit that fits: "12.3 us". */
char *tm_table_time(double ns, bool utf8, char buf[TM_TABLE_NUMBER]);

/* A paragraph folded to `width`, its first line after `lead`, the others below. */
void tm_table_paragraph(FILE *out, const char *lead, const char *text, unsigned int width);

#endif /* TLBMARK_TABLE_H */
