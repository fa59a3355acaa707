/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Inside the store only: what its files share. */
#ifndef TLBMARK_STORE_SQL_H
#define TLBMARK_STORE_SQL_H

#include <sqlite3.h>

#include "store.h"

struct tm_store {
	sqlite3 *db;
	sqlite3_stmt *insert; /* prepared by the first tm_store_add() */
	unsigned int busy_ms;
	char path[];
};

/* Says in `why` what SQLite's `rc` means for the user; the -errno for it. */
int tm_store_failed(const struct tm_store *s, int rc, char *why, size_t why_size);

/* 0 or -errno, as above. */
int tm_store_prepare(struct tm_store *s, const char *sql, sqlite3_stmt **out, char *why,
		     size_t why_size);

/* Formats `why`, returns `error`. */
int tm_store_say(int error, char *why, size_t why_size, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* The record as one line of JSON; free(). NULL when out of memory. */
char *tm_store_line(const json_t *record);

#endif /* TLBMARK_STORE_SQL_H */
