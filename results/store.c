// SPDX-License-Identifier: GPL-3.0-or-later
/* Opening, checking, making and writing the store; store_read.c reads it. */
#include "store_sql.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* "TLBM": tells our file from those of other programs that use SQLite. */
#define APPLICATION_ID 0x544c424d
#define STR(x) #x
#define XSTR(x) STR(x)

static const char create_tables[] =
	"CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);"
	"CREATE TABLE IF NOT EXISTS records ("
	" seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, session TEXT NOT NULL,"
	" row INTEGER NOT NULL, repeat INTEGER NOT NULL, time TEXT NOT NULL,"
	" workload TEXT NOT NULL, status TEXT NOT NULL, json TEXT NOT NULL);"
	"CREATE INDEX IF NOT EXISTS records_of_session ON records (session, row, repeat);"
	"PRAGMA application_id = " XSTR(APPLICATION_ID) ";";

int tm_store_say(int error, char *why, size_t why_size, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(why, why_size, format, ap);
	va_end(ap);
	return error;
}

static int say_damaged(const struct tm_store *s, const char *what, char *why, size_t why_size)
{
	return tm_store_say(
		-EUCLEAN, why, why_size,
		"%s: %s; it is left as it is: move it away or give another with --store", s->path,
		what);
}

static int say_system(const struct tm_store *s, int error, char *why, size_t why_size)
{
	switch (error) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return tm_store_say(
			-error, why, why_size,
			"%s: no space left (%s): free some, or give --store on another disk",
			s->path, strerror(error));
	case EACCES:
	case EPERM:
		return tm_store_say(-error, why, why_size,
				    "%s: not permitted (%s): give another with --store", s->path,
				    strerror(error));
	case EROFS:
		return tm_store_say(-error, why, why_size,
				    "%s: cannot be written (%s): give another with --store",
				    s->path, strerror(error));
	default:
		return tm_store_say(error ? -error : -EIO, why, why_size, "%s: %s", s->path,
				    error ? strerror(error) : sqlite3_errmsg(s->db));
	}
}

int tm_store_failed(const struct tm_store *s, int rc, char *why, size_t why_size)
{
	/* What failed in a commit SQLite does not keep; then errno still tells. */
	int error = errno, kept = sqlite3_system_errno(s->db);

	switch (rc & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return tm_store_say(
			-EBUSY, why, why_size,
			"%s: locked by another process for more than %u ms; try again when it is done",
			s->path, s->busy_ms);
	case SQLITE_FULL:
		return say_system(s, ENOSPC, why, why_size);
	case SQLITE_READONLY:
		return say_system(s, EROFS, why, why_size);
	case SQLITE_CORRUPT:
		return say_damaged(s, "the file is damaged", why, why_size);
	case SQLITE_NOTADB:
		return say_damaged(s, "this is not a store of records", why, why_size);
	case SQLITE_NOMEM:
		return say_system(s, ENOMEM, why, why_size);
	default:
		return say_system(s, kept ? kept : error, why, why_size);
	}
}

int tm_store_prepare(struct tm_store *s, const char *sql, sqlite3_stmt **out, char *why,
		     size_t why_size)
{
	int rc = sqlite3_prepare_v2(s->db, sql, -1, out, NULL);

	return rc == SQLITE_OK ? 0 : tm_store_failed(s, rc, why, why_size);
}

int tm_store_path(const char *given, char *path, size_t size, char *why, size_t why_size)
{
	const char *store = getenv("TLBMARK_STORE"), *data = getenv("XDG_DATA_HOME");
	const char *home = getenv("HOME");
	int n;

	if (given || (store && store[0]))
		n = snprintf(path, size, "%s", given ? given : store);
	else if (data && data[0] == '/')
		n = snprintf(path, size, "%s/tlbmark/records.db", data);
	else if (home && home[0] == '/')
		n = snprintf(path, size, "%s/.local/share/tlbmark/records.db", home);
	else if (geteuid() == 0)
		n = snprintf(path, size, "/var/lib/tlbmark/records.db");
	else
		return tm_store_say(-ENOENT, why, why_size,
				    "no place for the records: HOME is not set; give --store PATH");
	if (n <= 0)
		return tm_store_say(-ENOENT, why, why_size, "the store's path is empty");
	if ((size_t)n >= size)
		return tm_store_say(-ENAMETOOLONG, why, why_size, "the store's path is too long");
	return 0;
}

static int make_parents(const struct tm_store *s, char *why, size_t why_size)
{
	char directory[PATH_MAX];

	if (snprintf(directory, sizeof(directory), "%s", s->path) >= (int)sizeof(directory))
		return say_system(s, ENAMETOOLONG, why, why_size);
	for (char *slash = strchr(directory + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(directory, 0755) && errno != EEXIST) {
			int error = errno;

			return tm_store_say(
				-error, why, why_size,
				"%s: cannot make the directory %s (%s): give --store PATH", s->path,
				directory, strerror(error));
		}
		*slash = '/';
	}
	return 0;
}

static int read_number(struct tm_store *s, const char *sql, int64_t *value, char *why,
		       size_t why_size)
{
	sqlite3_stmt *q;
	int rc = tm_store_prepare(s, sql, &q, why, why_size);

	if (rc)
		return rc;
	rc = sqlite3_step(q);
	*value = rc == SQLITE_ROW ? sqlite3_column_int64(q, 0) : -1;
	sqlite3_finalize(q);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : tm_store_failed(s, rc, why, why_size);
}

static int execute(struct tm_store *s, const char *sql, char *why, size_t why_size)
{
	int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : tm_store_failed(s, rc, why, why_size);
}

static const char count_objects[] = "SELECT count(*) FROM sqlite_master";

/* Two first runs may do this at once: what is there is looked at under the lock. */
static int create(struct tm_store *s, char *why, size_t why_size)
{
	int64_t objects;
	int rc;

	/* Where the file system has no shared memory the journal stays a file: as safe. */
	rc = execute(s, "PRAGMA journal_mode = WAL", why, why_size);
	if (!rc)
		rc = execute(s, "BEGIN IMMEDIATE", why, why_size);
	if (rc)
		return rc;
	rc = read_number(s, count_objects, &objects, why, why_size);
	if (!rc && !objects) {
		rc = execute(s, create_tables, why, why_size);
		if (!rc)
			rc = execute(
				s,
				"INSERT INTO meta VALUES ('format', '" XSTR(TM_STORE_FORMAT) "')",
				why, why_size);
	}
	if (!rc)
		rc = execute(s, "COMMIT", why, why_size);
	if (rc)
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

/* Ours, of a format that this program knows, and whole. */
static int check(struct tm_store *s, char *why, size_t why_size)
{
	int64_t application, format;
	sqlite3_stmt *q;
	struct stat st;
	bool whole;
	int rc;

	rc = read_number(s, "PRAGMA application_id", &application, why, why_size);
	if (rc)
		return rc;
	if (application != APPLICATION_ID)
		return say_damaged(s, "an SQLite file, but not a store of records", why, why_size);
	rc = read_number(s, "SELECT value FROM meta WHERE key = 'format'", &format, why, why_size);
	if (rc)
		return rc;
	if (format > TM_STORE_FORMAT)
		return tm_store_say(
			-EPROTO, why, why_size,
			"%s: written by a newer tlbmark (format %lld, this one knows %d): use that one, "
			"or give another store with --store",
			s->path, (long long)format, TM_STORE_FORMAT);
	if (format < 1)
		return say_damaged(s, "its format is not told", why, why_size);
	if (stat(s->path, &st) || st.st_size > TM_STORE_CHECK_BYTES)
		return 0;
	rc = tm_store_prepare(s, "PRAGMA quick_check(1)", &q, why, why_size);
	if (rc)
		return rc;
	rc = sqlite3_step(q);
	whole = rc == SQLITE_ROW && !strcmp((const char *)sqlite3_column_text(q, 0), "ok");
	sqlite3_finalize(q);
	if (rc != SQLITE_ROW)
		return tm_store_failed(s, rc, why, why_size);
	return whole ? 0 : say_damaged(s, "the file is damaged", why, why_size);
}

/*
 * SQLite takes what is shorter than a page for an empty database and would
 * write over it.
 */
static int check_header(const struct tm_store *s, char *why, size_t why_size)
{
	static const char magic[16] = "SQLite format 3";
	char head[512];
	int fd = open(s->path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? 0 : say_system(s, errno, why, why_size);
	n = read(fd, head, sizeof(head));
	close(fd);
	if (n == 0)
		return 0;
	if (n < 0)
		return say_system(s, EIO, why, why_size);
	if (memcmp(head, magic, (size_t)n < sizeof(magic) ? (size_t)n : sizeof(magic)) != 0)
		return say_damaged(s, "this is not a store of records", why, why_size);
	return n == sizeof(head) ? 0 : say_damaged(s, "the file is cut off", why, why_size);
}

/*
 * How SQLite locks. A kernel without file locks (CONFIG_FILE_LOCKING) is a
 * guest made for one run; there it does without instead of waiting for ever.
 */
static const char *locking(void)
{
	return flock(-1, LOCK_SH) && errno == ENOSYS ? "unix-none" : NULL;
}

static int connect(struct tm_store *s, const char *name, int flags, char *why, size_t why_size)
{
	const char *vfs = locking();
	int rc;

	errno = 0;
	rc = sqlite3_open_v2(name, &s->db, flags | SQLITE_OPEN_NOMUTEX, vfs);

	if (rc != SQLITE_OK)
		return tm_store_failed(s, rc, why, why_size);
	tm_store_set_busy(s, TM_STORE_BUSY_MS);
	return 0;
}

static int open_writable(struct tm_store *s, char *why, size_t why_size)
{
	int64_t objects;
	int rc;

	rc = make_parents(s, why, why_size);
	if (!rc)
		rc = connect(s, s->path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, why, why_size);
	if (rc)
		return rc;
	/* SQLite quietly falls back to reading; better said now than after a run. */
	if (sqlite3_db_readonly(s->db, "main"))
		return say_system(s, EROFS, why, why_size);
	rc = execute(s, "PRAGMA synchronous = FULL", why, why_size);
	if (!rc)
		rc = read_number(s, count_objects, &objects, why, why_size);
	if (!rc && !objects)
		rc = create(s, why, why_size);
	return rc;
}

/* The path as SQLite's URI wants it; sqlite3_free(). NULL when out of memory. */
static char *immutable_uri(const char *path)
{
	sqlite3_str *uri = sqlite3_str_new(NULL);

	sqlite3_str_appendall(uri, "file:");
	for (const char *c = path; *c; c++)
		sqlite3_str_appendf(uri, strchr("%?#", *c) ? "%%%02X" : "%c", *c);
	sqlite3_str_appendall(uri, "?immutable=1");
	return sqlite3_str_finish(uri);
}

static bool has_log(const char *path)
{
	char log[PATH_MAX];
	struct stat st;

	snprintf(log, sizeof(log), "%s-wal", path);
	return !stat(log, &st) && st.st_size > 0;
}

/*
 * Reading a write-ahead log needs a shared-memory file beside it. On a
 * read-only disk there is none, and without a log none is needed: nobody can
 * write.
 */
static int open_readable(struct tm_store *s, char *why, size_t why_size)
{
	int64_t objects;
	int rc, error;
	char *uri;

	rc = connect(s, s->path, SQLITE_OPEN_READONLY, why, why_size);
	if (!rc)
		rc = read_number(s, count_objects, &objects, why, why_size);
	error = sqlite3_errcode(s->db) & 0xff;
	if (!rc || (error != SQLITE_CANTOPEN && error != SQLITE_READONLY))
		return rc;
	if (has_log(s->path))
		return tm_store_say(
			-EROFS, why, why_size,
			"%s: its last records are in %s-wal, which cannot be merged on a read-only disk: "
			"copy both to another place and give that with --store",
			s->path, s->path);
	uri = immutable_uri(s->path);
	if (!uri)
		return say_system(s, ENOMEM, why, why_size);
	sqlite3_close(s->db);
	s->db = NULL;
	rc = connect(s, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, why, why_size);
	sqlite3_free(uri);
	return rc;
}

static int open_checked(struct tm_store *s, enum tm_store_mode mode, char *why, size_t why_size)
{
	int rc = check_header(s, why, why_size);

	if (!rc)
		rc = mode == TM_STORE_WRITE ? open_writable(s, why, why_size)
					    : open_readable(s, why, why_size);
	return rc ? rc : check(s, why, why_size);
}

/*
 * SQLite's own waiting gives up at once where two processes could block each
 * other, as when both turn on the log of a new store: then one begins again.
 */
static bool may_try_again(const struct timespec *since, unsigned int milliseconds)
{
	const struct timespec nap = {.tv_nsec = 5000000};
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if ((now.tv_sec - since->tv_sec) * 1000 + (now.tv_nsec - since->tv_nsec) / 1000000 >=
	    milliseconds)
		return false;
	nanosleep(&nap, NULL);
	return true;
}

int tm_store_open(const char *path, enum tm_store_mode mode, struct tm_store **out, char *why,
		  size_t why_size)
{
	struct tm_store *s = calloc(1, sizeof(*s) + strlen(path) + 1);
	struct timespec since;
	struct stat st;
	int rc;

	if (!s)
		return tm_store_say(-ENOMEM, why, why_size, "%s: out of memory", path);
	memcpy(s->path, path, strlen(path) + 1);
	clock_gettime(CLOCK_MONOTONIC, &since);
	if (!stat(path, &st) && !S_ISREG(st.st_mode)) {
		rc = tm_store_say(-EINVAL, why, why_size,
				  "%s: not a regular file; give another store with --store", path);
	} else if (mode == TM_STORE_READ && stat(path, &st)) {
		rc = tm_store_say(-errno, why, why_size,
				  "%s: no store there (%s): `tlbmark run` makes one", path,
				  strerror(errno));
	} else {
		while ((rc = open_checked(s, mode, why, why_size)) == -EBUSY &&
		       may_try_again(&since, TM_STORE_BUSY_MS)) {
			sqlite3_close(s->db);
			s->db = NULL;
		}
	}
	if (rc) {
		tm_store_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

void tm_store_close(struct tm_store *s)
{
	if (!s)
		return;
	sqlite3_finalize(s->insert);
	sqlite3_close(s->db);
	free(s);
}

void tm_store_set_busy(struct tm_store *s, unsigned int milliseconds)
{
	s->busy_ms = milliseconds;
	sqlite3_busy_timeout(s->db, (int)milliseconds);
}

char *tm_store_line(const json_t *record)
{
	return json_dumps(record, JSON_COMPACT | JSON_REAL_PRECISION(12));
}

static int bind_record(struct tm_store *s, const json_t *record, const char *line)
{
	const char *id, *session, *when, *workload, *status;
	json_int_t row, repeat;
	int rc = 0;

	if (json_unpack((json_t *)record, "{s:s, s:s, s:s, s:s, s:{s:s, s:I, s:I}}", "id", &id,
			"session", &session, "time", &when, "status", &status, "cell", "workload",
			&workload, "row", &row, "repeat", &repeat) ||
	    strlen(id) != TM_STORE_ID - 1 || strlen(session) != TM_STORE_ID - 1)
		return -EINVAL;
	rc |= sqlite3_bind_text(s->insert, 1, id, -1, SQLITE_STATIC);
	rc |= sqlite3_bind_text(s->insert, 2, session, -1, SQLITE_STATIC);
	rc |= sqlite3_bind_int64(s->insert, 3, row);
	rc |= sqlite3_bind_int64(s->insert, 4, repeat);
	rc |= sqlite3_bind_text(s->insert, 5, when, -1, SQLITE_STATIC);
	rc |= sqlite3_bind_text(s->insert, 6, workload, -1, SQLITE_STATIC);
	rc |= sqlite3_bind_text(s->insert, 7, status, -1, SQLITE_STATIC);
	rc |= sqlite3_bind_text(s->insert, 8, line, -1, SQLITE_STATIC);
	return rc ? -ENOMEM : 0;
}

int tm_store_add(struct tm_store *s, const json_t *record, char *why, size_t why_size)
{
	static const char sql[] =
		"INSERT INTO records (id, session, row, repeat, time, workload, status, json)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
	struct timespec since;
	char *line;
	int rc = 0;

	if (!s->insert)
		rc = tm_store_prepare(s, sql, &s->insert, why, why_size);
	if (rc)
		return rc;
	line = tm_store_line(record);
	rc = line ? bind_record(s, record, line) : -ENOMEM;
	if (rc) {
		tm_store_say(rc, why, why_size, "%s: not stored: %s", s->path,
			     rc == -EINVAL ? "this is not a record" : strerror(-rc));
		goto out;
	}
	clock_gettime(CLOCK_MONOTONIC, &since);
	errno = 0;
	while (((rc = sqlite3_step(s->insert)) & 0xff) == SQLITE_BUSY &&
	       may_try_again(&since, s->busy_ms))
		sqlite3_reset(s->insert);
	if (rc == SQLITE_DONE)
		rc = 0;
	else if ((rc & 0xff) == SQLITE_CONSTRAINT)
		rc = tm_store_say(-EEXIST, why, why_size, "%s: this record is stored already",
				  s->path);
	else
		rc = tm_store_failed(s, rc, why, why_size);
out:
	sqlite3_reset(s->insert);
	sqlite3_clear_bindings(s->insert);
	free(line);
	return rc;
}
