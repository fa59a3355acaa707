/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Inside the table only: the parts of its text. */
#ifndef TLBMARK_TABLE_TEXT_H
#define TLBMARK_TABLE_TEXT_H

#include "table.h"

#define TM_BOLD "\033[1m"
#define TM_RED "\033[31m"
#define TM_PLAIN "\033[0m"

/* All of it: 0 or -ENOMEM. */
int tm_table_text(FILE *out, const struct tm_rows *rows, const struct tm_table_style *style);

/* What the session is, above the figures. */
void tm_table_title(FILE *out, const struct tm_rows *rows, const struct tm_table_style *style);
/* The rows that are compared with another, a line each; nothing where none is. 0 or -ENOMEM. */
int tm_table_references(FILE *out, const struct tm_rows *rows, const struct tm_table_style *style);
/* "+123 ns [110, 140]", all in one unit; a fresh string, NULL when out of memory. */
char *tm_table_difference(const struct tm_estimate *e, bool exact, bool utf8);
/* What the figures mean, which do not count and what is missing, below them. */
void tm_table_notes(FILE *out, const struct tm_rows *rows, const struct tm_table_style *style);

/*
 * Row i's label of rows[n]. `brief`: without the parameters that are the same
 * in all rows of its workload. A fresh string, NULL when out of memory.
 */
char *tm_table_label(const struct tm_row *rows, size_t n, size_t i, bool brief);
/* Which parameters the brief labels leave out, a line a workload. */
void tm_table_constants(FILE *out, const struct tm_row *rows, size_t n, unsigned int width);

/* Columns on the screen that a text takes. */
size_t tm_table_screen_width(const char *text);

#endif /* TLBMARK_TABLE_TEXT_H */
