/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TLBMARK_SHOW_RECORD_H
#define TLBMARK_SHOW_RECORD_H

#include <stdbool.h>
#include <stdio.h>

#include <jansson.h>

#include "table.h"

/*
 * One record as a page: verdict, quantiles, counts, probe, responders, and of
 * the machine what matters most, or with `full` all that was recorded. 0, or
 * -errno with one line in why: -EUCLEAN where a histogram is damaged, -ENOMEM.
 */
int tm_show_record(FILE *out, const json_t *record, bool full, const struct tm_table_style *style,
		   char *why, size_t why_size);

#endif /* TLBMARK_SHOW_RECORD_H */
