/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Where records are kept: one SQLite file, write-ahead log, one synced
 * transaction a record. What tm_store_add() has accepted survives the death
 * of the process and of the machine; a file that is not ours, is damaged or
 * is newer than this program is never written to.
 *
 * Every function that can fail returns 0 or -errno, with one line in `why`
 * that names the file and says what to do. The errors: -ENOENT (no such
 * store, record or session), -EROFS, -EACCES, -ENOSPC, -EFBIG, -EBUSY (locked
 * by another process for longer than the busy time), -EUCLEAN (damaged, or no
 * store at all), -EPROTO (newer format), -EIO.
 *
 * A store is used by one thread at a time and not across fork(); several
 * processes may have the same file open.
 */
#ifndef TLBMARK_STORE_H
#define TLBMARK_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

struct tm_store;

enum tm_store_mode {
	TM_STORE_READ,	/* must exist; works on a read-only disk */
	TM_STORE_WRITE, /* made if missing, its directories too */
};

#define TM_STORE_FORMAT 1 /* of the tables; the records have their own "schema" */
enum {
	TM_STORE_ID = 33, /* 32 hex digits and the NUL */
	TM_STORE_BUSY_MS = 10000,
	/* A file up to this size is checked as a whole whenever it is opened. */
	TM_STORE_CHECK_BYTES = 64 << 20,
};

/*
 * The file to use: `given` (--store) if not NULL, else $TLBMARK_STORE, else
 * $XDG_DATA_HOME/tlbmark/records.db, else $HOME/.local/share/..., else
 * /var/lib/tlbmark/records.db for root. -ENOENT where there is none of these,
 * -ENAMETOOLONG.
 */
int tm_store_path(const char *given, char *path, size_t size, char *why, size_t why_size);

int tm_store_open(const char *path, enum tm_store_mode mode, struct tm_store **out, char *why,
		  size_t why_size);
void tm_store_close(struct tm_store *s); /* NULL is ignored */
/* How long a locked store is waited for; TM_STORE_BUSY_MS unless set. */
void tm_store_set_busy(struct tm_store *s, unsigned int milliseconds);

/*
 * Stores one record, durably when it returns 0. -EINVAL where it is no record
 * (an id, a session, cell.row, ... is missing), -EEXIST where its id is there
 * already.
 */
int tm_store_add(struct tm_store *s, const json_t *record, char *why, size_t why_size);

/*
 * For records that could not be stored: appends one as a JSON line, synced,
 * to $TMPDIR/tlbmark-spill-SESSION.jsonl (/tmp without $TMPDIR). The path is
 * left in path[].
 */
int tm_store_spill(const json_t *record, char *path, size_t path_size, char *why, size_t why_size);

struct tm_import {
	uint64_t added, known; /* known: their ids were there already */
	uint64_t torn;	       /* a last line without its end: a writer was killed */
};
/* Adds the records of a file of JSON lines; stops at the first bad line. */
int tm_store_import(struct tm_store *s, const char *path, struct tm_import *done, char *why,
		    size_t why_size);

/*
 * What `name` means: "last" (the session stored last), a session's or a
 * record's id, or the beginning of just one of them. -ENOENT, or -EINVAL
 * where it is ambiguous or no id. Both outputs are "" or whole ids.
 */
int tm_store_find(struct tm_store *s, const char *name, char session[TM_STORE_ID],
		  char record[TM_STORE_ID], char *why, size_t why_size);

/* One record, parsed; json_decref(). */
int tm_store_get(struct tm_store *s, const char *id, json_t **record, char *why, size_t why_size);

/*
 * The records of a session (NULL: of all), by row, role-independent, then
 * repeat; `text` is the record as stored. A non-zero return ends the walk and
 * is returned.
 */
typedef int (*tm_store_each)(void *context, const char *id, const char *text);
int tm_store_records(struct tm_store *s, const char *session, tm_store_each each, void *context,
		     char *why, size_t why_size);

struct tm_session {
	char id[TM_STORE_ID];
	char first[32], last[32];	/* RFC 3339 times of its records */
	uint64_t records, rows, failed; /* failed: status is not "ok" */
	char record[TM_STORE_ID];	/* one of its records, for its environment */
};
/* All sessions, oldest first, as an array to free(). */
int tm_store_sessions(struct tm_store *s, struct tm_session **out, size_t *count, char *why,
		      size_t why_size);

#endif /* TLBMARK_STORE_H */
