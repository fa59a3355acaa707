// SPDX-License-Identifier: GPL-3.0-or-later
#include "store_sql.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void copy_text(char *to, size_t size, sqlite3_stmt *q, int column)
{
	const char *text = (const char *)sqlite3_column_text(q, column);

	snprintf(to, size, "%s", text ? text : "");
}

static int find_last(struct tm_store *s, char session[TM_STORE_ID], char *why, size_t why_size)
{
	sqlite3_stmt *q;
	int rc = tm_store_prepare(s, "SELECT session FROM records ORDER BY seq DESC LIMIT 1", &q,
				  why, why_size);

	if (rc)
		return rc;
	rc = sqlite3_step(q);
	if (rc == SQLITE_ROW)
		copy_text(session, TM_STORE_ID, q, 0);
	sqlite3_finalize(q);
	if (rc == SQLITE_DONE)
		return tm_store_say(-ENOENT, why, why_size,
				    "%s: no record in it yet: `tlbmark run` makes some", s->path);
	return rc == SQLITE_ROW ? 0 : tm_store_failed(s, rc, why, why_size);
}

static bool is_id(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n < TM_STORE_ID && strspn(name, "0123456789abcdefABCDEF") == n;
}

int tm_store_find(struct tm_store *s, const char *name, char session[TM_STORE_ID],
		  char record[TM_STORE_ID], char *why, size_t why_size)
{
	/* Ids are hex, so a prefix's end is itself followed by anything above 'f'. */
	static const char sql[] =
		"SELECT DISTINCT session, '' FROM records"
		" WHERE session >= lower(?1) AND session < lower(?1) || 'g' UNION ALL "
		"SELECT '', id FROM records WHERE id >= lower(?1) AND id < lower(?1) || 'g' LIMIT 2";
	sqlite3_stmt *q;
	int rc, found = 0;

	session[0] = record[0] = '\0';
	if (!strcmp(name, "last"))
		return find_last(s, session, why, why_size);
	if (!is_id(name))
		return tm_store_say(
			-EINVAL, why, why_size,
			"\"%s\" is not the beginning of an id; `tlbmark show --list` lists them",
			name);
	rc = tm_store_prepare(s, sql, &q, why, why_size);
	if (rc)
		return rc;
	sqlite3_bind_text(q, 1, name, -1, SQLITE_STATIC);
	while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
		copy_text(session, TM_STORE_ID, q, 0);
		copy_text(record, TM_STORE_ID, q, 1);
		found++;
	}
	sqlite3_finalize(q);
	if (rc != SQLITE_DONE)
		return tm_store_failed(s, rc, why, why_size);
	if (!found)
		return tm_store_say(
			-ENOENT, why, why_size,
			"no record or session \"%s\" in %s; `tlbmark show --list` lists them", name,
			s->path);
	if (found > 1)
		return tm_store_say(-EINVAL, why, why_size,
				    "\"%s\" begins more than one id in %s; give more of it", name,
				    s->path);
	return 0;
}

int tm_store_get(struct tm_store *s, const char *id, json_t **record, char *why, size_t why_size)
{
	sqlite3_stmt *q;
	json_error_t error;
	int rc = tm_store_prepare(s, "SELECT json FROM records WHERE id = ?1", &q, why, why_size);

	if (rc)
		return rc;
	sqlite3_bind_text(q, 1, id, -1, SQLITE_STATIC);
	rc = sqlite3_step(q);
	if (rc == SQLITE_ROW) {
		*record = json_loads((const char *)sqlite3_column_text(q, 0), 0, &error);
		rc = *record ? 0
			     : tm_store_say(-EUCLEAN, why, why_size, "%s: record %s: %s", s->path,
					    id, error.text);
	} else if (rc == SQLITE_DONE) {
		rc = tm_store_say(-ENOENT, why, why_size, "no record %s in %s", id, s->path);
	} else {
		rc = tm_store_failed(s, rc, why, why_size);
	}
	sqlite3_finalize(q);
	return rc;
}

int tm_store_records(struct tm_store *s, const char *session, tm_store_each each, void *context,
		     char *why, size_t why_size)
{
	static const char of_one[] = "SELECT id, json FROM records WHERE session = ?1"
				     " ORDER BY row, repeat, seq";
	static const char of_all[] = "SELECT id, json FROM records ORDER BY seq";
	sqlite3_stmt *q;
	int rc = tm_store_prepare(s, session ? of_one : of_all, &q, why, why_size);

	if (rc)
		return rc;
	if (session)
		sqlite3_bind_text(q, 1, session, -1, SQLITE_STATIC);
	while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
		int stop = each(context, (const char *)sqlite3_column_text(q, 0),
				(const char *)sqlite3_column_text(q, 1));

		if (stop) {
			sqlite3_finalize(q);
			return stop;
		}
	}
	sqlite3_finalize(q);
	return rc == SQLITE_DONE ? 0 : tm_store_failed(s, rc, why, why_size);
}

int tm_store_sessions(struct tm_store *s, struct tm_session **out, size_t *count, char *why,
		      size_t why_size)
{
	static const char sql[] =
		"SELECT session, min(time), max(time), count(*), count(DISTINCT row),"
		" sum(status <> 'ok'), min(id) FROM records GROUP BY session ORDER BY min(seq)";
	struct tm_session *list = NULL, *grown;
	size_t n = 0, room = 0;
	sqlite3_stmt *q;
	int rc = tm_store_prepare(s, sql, &q, why, why_size);

	if (rc)
		return rc;
	while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
		if (n == room) {
			room = room ? 2 * room : 16;
			grown = realloc(list, room * sizeof(*list));
			if (!grown) {
				rc = SQLITE_NOMEM;
				break;
			}
			list = grown;
		}
		copy_text(list[n].id, sizeof(list[n].id), q, 0);
		copy_text(list[n].first, sizeof(list[n].first), q, 1);
		copy_text(list[n].last, sizeof(list[n].last), q, 2);
		list[n].records = (uint64_t)sqlite3_column_int64(q, 3);
		list[n].rows = (uint64_t)sqlite3_column_int64(q, 4);
		list[n].failed = (uint64_t)sqlite3_column_int64(q, 5);
		copy_text(list[n].record, sizeof(list[n].record), q, 6);
		n++;
	}
	sqlite3_finalize(q);
	if (rc != SQLITE_DONE) {
		free(list);
		return tm_store_failed(s, rc, why, why_size);
	}
	*out = list;
	*count = n;
	return 0;
}
