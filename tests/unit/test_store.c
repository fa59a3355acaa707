// SPDX-License-Identifier: GPL-3.0-or-later
/* The store: what it has taken it keeps, what is not its own it leaves alone. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "results/store.h"
#include "synthetic.h"

static char directory[PATH_MAX];
static char why[768];
enum { PATHS = 4 };
static char paths[PATHS][PATH_MAX + 64];

/* A path in the test's own directory; valid for the next few calls. */
static const char *in_directory(const char *name)
{
	static unsigned int next;
	char *path = paths[next++ % PATHS];

	snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
	return path;
}

static int make_directory(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "%s/tlbmark-store.XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	char *command;
	int rc;

	(void)state;
	if (asprintf(&command, "rm -rf '%s'", directory) < 0)
		return -1;
	rc = system(command);
	free(command);
	return rc;
}

static struct tm_store *open_store(const char *name)
{
	struct tm_store *s = NULL;
	int rc = tm_store_open(in_directory(name), TM_STORE_WRITE, &s, why, sizeof(why));

	if (rc)
		fail_msg("%d: %s", rc, why);
	return s;
}

static json_t *make_record(const char *session, unsigned int row, unsigned int repeat)
{
	return synthetic_good(
		(struct synthetic){.session = session, .row = row, .repeat = repeat, .ops = 30});
}

static void add(struct tm_store *s, const char *session, unsigned int row, unsigned int repeat)
{
	json_t *record = make_record(session, row, repeat);
	int rc = tm_store_add(s, record, why, sizeof(why));

	json_decref(record);
	if (rc)
		fail_msg("%d: %s", rc, why);
}

#define SESSION_A "abcd0000000000000000000000000001"
#define SESSION_B "abcf0000000000000000000000000002"

static void records_come_back_whole(void **state)
{
	struct tm_store *s = open_store("deep/er/whole.db");
	json_t *in = make_record(SESSION_A, 3, 1), *out;

	(void)state;
	assert_int_equal(tm_store_add(s, in, why, sizeof(why)), 0);
	tm_store_close(s);
	assert_int_equal(tm_store_open(in_directory("deep/er/whole.db"), TM_STORE_READ, &s, why,
				       sizeof(why)),
			 0);
	assert_int_equal(tm_store_get(s, json_string_value(json_object_get(in, "id")), &out, why,
				      sizeof(why)),
			 0);
	/* Reals are written with 12 digits: texts are equal, doubles nearly. */
	char *a = json_dumps(in, JSON_SORT_KEYS | JSON_REAL_PRECISION(9));
	char *b = json_dumps(out, JSON_SORT_KEYS | JSON_REAL_PRECISION(9));
	assert_string_equal(a, b);
	free(a);
	free(b);
	json_decref(in);
	json_decref(out);
	tm_store_close(s);
}

static void the_same_record_is_taken_once(void **state)
{
	struct tm_store *s = open_store("once.db");
	json_t *record = make_record(SESSION_A, 0, 0);

	(void)state;
	assert_int_equal(tm_store_add(s, record, why, sizeof(why)), 0);
	assert_int_equal(tm_store_add(s, record, why, sizeof(why)), -EEXIST);
	json_object_del(record, "session");
	assert_int_equal(tm_store_add(s, record, why, sizeof(why)), -EINVAL);
	json_decref(record);
	tm_store_close(s);
}

static void names_are_found(void **state)
{
	struct tm_store *s = open_store("names.db");
	char session[TM_STORE_ID], record[TM_STORE_ID];

	(void)state;
	assert_int_equal(tm_store_find(s, "last", session, record, why, sizeof(why)), -ENOENT);
	add(s, SESSION_B, 0, 0);
	add(s, SESSION_A, 5, 0);
	assert_int_equal(tm_store_find(s, "last", session, record, why, sizeof(why)), 0);
	assert_string_equal(session, SESSION_A);
	assert_string_equal(record, "");
	/* Records' ids begin as their sessions' here: 8 digits, then row and role. */
	assert_int_equal(tm_store_find(s, "abcd00000000000000", session, record, why, sizeof(why)),
			 0);
	assert_string_equal(session, SESSION_A);
	assert_int_equal(tm_store_find(s, "ABCD000000000005", session, record, why, sizeof(why)),
			 0);
	assert_string_equal(session, "");
	assert_string_equal(record, "abcd0000000000050000000000000000");
	assert_int_equal(tm_store_find(s, SESSION_B, session, record, why, sizeof(why)), 0);
	assert_string_equal(session, SESSION_B);
	assert_int_equal(tm_store_find(s, "abc", session, record, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "more than one"));
	assert_int_equal(tm_store_find(s, "ffff", session, record, why, sizeof(why)), -ENOENT);
	assert_non_null(strstr(why, "ffff"));
	assert_int_equal(tm_store_find(s, "", session, record, why, sizeof(why)), -EINVAL);
	assert_int_equal(tm_store_find(s, "a' OR 1", session, record, why, sizeof(why)), -EINVAL);
	tm_store_close(s);
}

struct seen {
	unsigned int count;
	char ids[8][TM_STORE_ID];
};

static int see(void *context, const char *id, const char *text)
{
	struct seen *seen = context;

	(void)text;
	snprintf(seen->ids[seen->count++], TM_STORE_ID, "%s", id);
	return seen->count == 8 ? -E2BIG : 0;
}

static void sessions_and_their_records(void **state)
{
	struct tm_store *s = open_store("sessions.db");
	struct tm_session *list;
	struct seen seen = {0};
	size_t count;

	(void)state;
	add(s, SESSION_A, 1, 1);
	add(s, SESSION_B, 0, 0);
	add(s, SESSION_A, 1, 0);
	add(s, SESSION_A, 0, 1);
	assert_int_equal(tm_store_sessions(s, &list, &count, why, sizeof(why)), 0);
	assert_int_equal(count, 2);
	assert_string_equal(list[0].id, SESSION_A);
	assert_int_equal(list[0].records, 3);
	assert_int_equal(list[0].rows, 2);
	assert_int_equal(list[0].failed, 0);
	assert_string_equal(list[0].first, "2025-06-15T15:06:41.123Z");
	assert_string_equal(list[0].last, "2025-06-15T15:07:41.123Z");
	free(list);
	assert_int_equal(tm_store_records(s, SESSION_A, see, &seen, why, sizeof(why)), 0);
	assert_int_equal(seen.count, 3);
	assert_string_equal(seen.ids[0], "abcd0000000000000000000000000001");
	assert_string_equal(seen.ids[1], "abcd0000000000010000000000000000");
	assert_string_equal(seen.ids[2], "abcd0000000000010000000000000001");
	seen.count = 4;
	assert_int_equal(tm_store_records(s, NULL, see, &seen, why, sizeof(why)), -E2BIG);
	tm_store_close(s);
}

static void write_file(const char *path, const void *bytes, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	close(fd);
}

static size_t read_file(const char *path, char *bytes, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t n;

	assert_true(fd >= 0);
	n = read(fd, bytes, size);
	close(fd);
	return (size_t)n;
}

/* Both modes refuse it, name it, say what to do, and leave every byte. */
static void assert_left_alone(const char *path, int error)
{
	static char before[1 << 20], after[1 << 20];
	size_t n = read_file(path, before, sizeof(before));
	struct tm_store *s;

	for (int mode = TM_STORE_READ; mode <= TM_STORE_WRITE; mode++) {
		assert_int_equal(
			tm_store_open(path, (enum tm_store_mode)mode, &s, why, sizeof(why)), error);
		assert_non_null(strstr(why, path));
		assert_non_null(strstr(why, "--store"));
		assert_null(strchr(why, '\n'));
	}
	assert_int_equal(read_file(path, after, sizeof(after)), n);
	assert_memory_equal(before, after, n);
}

static void what_is_not_a_store_is_left_alone(void **state)
{
	static const char text[] = "workload,op_p50_ns\nmunmap,9000\n";
	const char *path = in_directory("text.db");
	struct tm_store *s;
	sqlite3 *db;

	(void)state;
	write_file(path, text, sizeof(text));
	assert_left_alone(path, -EUCLEAN);
	write_file(path, "x", 1);
	assert_left_alone(path, -EUCLEAN);

	path = in_directory("other.db");
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "CREATE TABLE bookmarks (url)", NULL, NULL, NULL), 0);
	sqlite3_close(db);
	assert_left_alone(path, -EUCLEAN);

	assert_int_equal(tm_store_open(directory, TM_STORE_WRITE, &s, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "not a regular file"));
}

static void a_damaged_store_is_left_alone(void **state)
{
	static char bytes[1 << 20], last_page[4096];
	const char *path = in_directory("damaged.db");
	struct tm_store *s = open_store("damaged.db");
	size_t n;

	(void)state;
	for (unsigned int i = 0; i < 20; i++)
		add(s, SESSION_A, i, 0);
	tm_store_close(s);
	n = read_file(path, bytes, sizeof(bytes));
	assert_in_range(n, 20000, sizeof(bytes) - 1);
	/* In the last record alone: nothing notices that opens the file and looks no further. */
	memcpy(last_page, bytes + n - 4096, 4096);
	memset(bytes + n - 4096, 0x5a, 4096);
	write_file(path, bytes, n);
	assert_left_alone(path, -EUCLEAN);
	memcpy(bytes + n - 4096, last_page, 4096);
	/* Past the first page, so that the header is still right. */
	memset(bytes + 4096, 0x5a, n - 8192);
	write_file(path, bytes, n);
	assert_left_alone(path, -EUCLEAN);
	for (size_t cut = 700; cut > 7; cut /= 3) {
		write_file(path, bytes, cut);
		assert_left_alone(path, -EUCLEAN);
	}
}

static void a_newer_store_is_left_alone(void **state)
{
	const char *path = in_directory("newer.db");
	sqlite3 *db;

	(void)state;
	tm_store_close(open_store("newer.db"));
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "UPDATE meta SET value = 99; PRAGMA journal_mode=DELETE",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(db);
	assert_left_alone(path, -EPROTO);
	assert_non_null(strstr(why, "format 99"));
}

static void a_locked_store_is_waited_for(void **state)
{
	struct tm_store *s = open_store("locked.db");
	json_t *record = make_record(SESSION_A, 0, 0);
	sqlite3 *db;

	(void)state;
	assert_int_equal(sqlite3_open(in_directory("locked.db"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	tm_store_set_busy(s, 30);
	assert_int_equal(tm_store_add(s, record, why, sizeof(why)), -EBUSY);
	assert_non_null(strstr(why, "locked"));
	assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(tm_store_add(s, record, why, sizeof(why)), 0);
	json_decref(record);
	tm_store_close(s);
}

/* In a child, as the limit holds for the whole process: its exit status. */
static int add_without_space(const char *path)
{
	struct rlimit limit = {.rlim_cur = 64 << 10, .rlim_max = 64 << 10};
	struct tm_store *s;
	int added = 0, rc;

	signal(SIGXFSZ, SIG_IGN);
	if (tm_store_open(path, TM_STORE_WRITE, &s, why, sizeof(why)) ||
	    setrlimit(RLIMIT_FSIZE, &limit))
		return 100;
	do {
		json_t *record = make_record(SESSION_A, (unsigned int)added, 0);

		rc = tm_store_add(s, record, why, sizeof(why));
		json_decref(record);
		added += !rc;
	} while (!rc && added < 90);
	tm_store_close(s);
	return rc == -EFBIG && strstr(why, "no space left") ? added : 101;
}

static void a_full_disk_loses_nothing(void **state)
{
	const char *path = in_directory("full.db");
	struct tm_session *list;
	struct tm_store *s;
	size_t count;
	int status;
	pid_t child;

	(void)state;
	tm_store_close(open_store("full.db"));
	child = fork();
	if (!child)
		_exit(add_without_space(path));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_in_range(WEXITSTATUS(status), 1, 89);
	s = open_store("full.db");
	assert_int_equal(tm_store_sessions(s, &list, &count, why, sizeof(why)), 0);
	assert_int_equal(list[0].records, WEXITSTATUS(status));
	free(list);
	tm_store_close(s);
}

/* As a user without privilege: 0 where it is refused as it should be. */
static int write_where_forbidden(const char *path)
{
	struct tm_store *s;

	if (geteuid() == 0 && setuid(65534))
		return 1;
	if (tm_store_open(path, TM_STORE_WRITE, &s, why, sizeof(why)) != -EROFS)
		return 2;
	if (!strstr(why, path) || !strstr(why, "cannot be written"))
		return 3;
	if (tm_store_open(path, TM_STORE_READ, &s, why, sizeof(why)))
		return 4;
	tm_store_close(s);
	return 0;
}

/* A store that may not be written, in a directory of that mode. */
static void assert_readable_only(const char *folder, mode_t mode)
{
	char path[PATH_MAX + 128];
	struct tm_store *s;
	int status;
	pid_t child;

	snprintf(path, sizeof(path), "%s/%s/records.db", directory, folder);
	assert_int_equal(tm_store_open(path, TM_STORE_WRITE, &s, why, sizeof(why)), 0);
	add(s, SESSION_A, 0, 0);
	tm_store_close(s);
	assert_int_equal(chmod(path, 0444), 0);
	assert_int_equal(chmod(in_directory(folder), mode), 0);
	assert_int_equal(chmod(directory, 0755), 0);
	child = fork();
	if (!child)
		_exit(write_where_forbidden(path));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(chmod(in_directory(folder), 0755), 0);
	assert_int_equal(status, 0);
}

static void a_read_only_store_can_be_read(void **state)
{
	(void)state;
	assert_readable_only("read-only", 0555);
	assert_readable_only("writable", 0777);
}

/* Adds records for ever, a byte down the pipe for every one that was taken. */
static void write_until_killed(const char *path, unsigned int round, int acknowledge)
{
	struct tm_store *s;

	if (tm_store_open(path, TM_STORE_WRITE, &s, why, sizeof(why)))
		_exit(1);
	for (unsigned int i = 0;; i++) {
		json_t *record = make_record(SESSION_A, round, i);

		if (tm_store_add(s, record, why, sizeof(why)) || write(acknowledge, "", 1) != 1)
			_exit(1);
		json_decref(record);
	}
}

static int64_t ask(const char *path, const char *sql, const char *expected)
{
	sqlite3_stmt *q;
	int64_t value = -1;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &q, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(q), SQLITE_ROW);
	if (expected)
		assert_string_equal((const char *)sqlite3_column_text(q, 0), expected);
	else
		value = sqlite3_column_int64(q, 0);
	sqlite3_finalize(q);
	sqlite3_close(db);
	return value;
}

static void killed_at_any_moment(void **state)
{
	const char *path = in_directory("killed.db");
	uint64_t acknowledged = 0, seed = 7;
	char bytes[512];
	ssize_t n;

	(void)state;
	for (unsigned int round = 0; round < 30; round++) {
		struct timespec nap = {0};
		int pipes[2], status;
		pid_t child;

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		nap.tv_nsec = (long)(seed >> 40) % 25000000;
		assert_int_equal(pipe(pipes), 0);
		child = fork();
		if (!child) {
			close(pipes[0]);
			write_until_killed(path, round, pipes[1]);
		}
		close(pipes[1]);
		/* Opening takes its time: some rounds begin with the first record. */
		if (round % 2) {
			assert_int_equal(read(pipes[0], bytes, 1), 1);
			acknowledged++;
		}
		nanosleep(&nap, NULL);
		kill(child, SIGKILL);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		while ((n = read(pipes[0], bytes, sizeof(bytes))) > 0)
			acknowledged += (uint64_t)n;
		close(pipes[0]);
	}
	tm_store_close(open_store("killed.db"));
	ask(path, "PRAGMA integrity_check", "ok");
	assert_true(acknowledged > 0);
	/* A record may be durable before its writer could say so. */
	assert_in_range(ask(path, "SELECT count(*) FROM records", NULL), acknowledged,
			acknowledged + 30);
}

enum { WRITERS = 6, EACH = 3 };

/* In a child: waits for the others, then makes or opens the store. Its exit status. */
static int join_in(const char *path, unsigned int writer, int start)
{
	struct tm_store *s = NULL;
	char none;
	int rc = read(start, &none, 1) ? -EIO : 0;

	if (!rc)
		rc = tm_store_open(path, TM_STORE_WRITE, &s, why, sizeof(why));
	for (unsigned int k = 0; !rc && k < EACH; k++) {
		json_t *record = make_record(SESSION_A, writer, k);

		rc = tm_store_add(s, record, why, sizeof(why));
		json_decref(record);
	}
	if (rc)
		fprintf(stderr, "# %s\n", why);
	tm_store_close(s);
	return rc != 0;
}

/* The first run of several at once: all of them make the store. */
static void made_by_several_at_once(void **state)
{
	(void)state;
	for (unsigned int round = 0; round < 12; round++) {
		pid_t child[WRITERS];
		int start[2], status;
		char path[PATH_MAX + 64];

		snprintf(path, sizeof(path), "%s/several%u.db", directory, round);
		assert_int_equal(pipe(start), 0);
		for (unsigned int i = 0; i < WRITERS; i++) {
			child[i] = fork();
			if (child[i])
				continue;
			close(start[1]);
			_exit(join_in(path, i, start[0]));
		}
		close(start[1]);
		close(start[0]);
		for (unsigned int i = 0; i < WRITERS; i++) {
			assert_int_equal(waitpid(child[i], &status, 0), child[i]);
			assert_int_equal(status, 0);
		}
		assert_int_equal(ask(path, "SELECT count(*) FROM records", NULL), WRITERS * EACH);
		assert_int_equal(ask(path, "SELECT count(*) FROM meta", NULL), 1);
	}
}

static void spilled_records_come_back(void **state)
{
	struct tm_store *s = open_store("spill.db");
	struct tm_import done;
	char path[PATH_MAX];
	FILE *f;

	(void)state;
	assert_int_equal(setenv("TMPDIR", directory, 1), 0);
	for (unsigned int i = 0; i < 3; i++) {
		json_t *record = make_record(SESSION_A, 0, i);

		assert_int_equal(tm_store_spill(record, path, sizeof(path), why, sizeof(why)), 0);
		json_decref(record);
	}
	assert_non_null(strstr(path, "/tlbmark-spill-" SESSION_A ".jsonl"));
	add(s, SESSION_A, 0, 1);
	f = fopen(path, "a");
	assert_non_null(f);
	fputs("{\"schema\":\"tlbmark-rec", f);
	fclose(f);
	assert_int_equal(tm_store_import(s, path, &done, why, sizeof(why)), 0);
	assert_int_equal(done.added, 2);
	assert_int_equal(done.known, 1);
	assert_int_equal(done.torn, 1);
	assert_int_equal(tm_store_import(s, path, &done, why, sizeof(why)), 0);
	assert_int_equal(done.added, 0);
	assert_int_equal(done.known, 3);

	write_file(in_directory("bad.jsonl"), "{}\n", 3);
	assert_int_equal(tm_store_import(s, in_directory("bad.jsonl"), &done, why, sizeof(why)),
			 -EINVAL);
	assert_non_null(strstr(why, "line 1"));
	assert_int_equal(tm_store_import(s, in_directory("no.jsonl"), &done, why, sizeof(why)),
			 -ENOENT);
	tm_store_close(s);
}

/* A link that another user left in /tmp must not be followed. */
static void a_spill_follows_no_link(void **state)
{
	json_t *record = make_record(SESSION_B, 0, 0);
	char path[PATH_MAX];

	(void)state;
	assert_int_equal(setenv("TMPDIR", directory, 1), 0);
	assert_int_equal(
		symlink(in_directory("victim"), in_directory("tlbmark-spill-" SESSION_B ".jsonl")),
		0);
	assert_int_equal(tm_store_spill(record, path, sizeof(path), why, sizeof(why)), -ELOOP);
	assert_int_equal(access(in_directory("victim"), F_OK), -1);
	json_decref(record);
}

static void where_the_store_is(void **state)
{
	char path[128];

	(void)state;
	setenv("HOME", "/home/someone", 1);
	unsetenv("XDG_DATA_HOME");
	unsetenv("TLBMARK_STORE");
	assert_int_equal(tm_store_path(NULL, path, sizeof(path), why, sizeof(why)), 0);
	assert_string_equal(path, "/home/someone/.local/share/tlbmark/records.db");
	setenv("XDG_DATA_HOME", "/data", 1);
	assert_int_equal(tm_store_path(NULL, path, sizeof(path), why, sizeof(why)), 0);
	assert_string_equal(path, "/data/tlbmark/records.db");
	setenv("TLBMARK_STORE", "here.db", 1);
	assert_int_equal(tm_store_path(NULL, path, sizeof(path), why, sizeof(why)), 0);
	assert_string_equal(path, "here.db");
	assert_int_equal(tm_store_path("given.db", path, sizeof(path), why, sizeof(why)), 0);
	assert_string_equal(path, "given.db");
	assert_int_equal(tm_store_path("given.db", path, 5, why, sizeof(why)), -ENAMETOOLONG);
	assert_int_equal(tm_store_path("", path, sizeof(path), why, sizeof(why)), -ENOENT);
	unsetenv("TLBMARK_STORE");
	unsetenv("XDG_DATA_HOME");
	unsetenv("HOME");
	if (geteuid() == 0) {
		assert_int_equal(tm_store_path(NULL, path, sizeof(path), why, sizeof(why)), 0);
		assert_string_equal(path, "/var/lib/tlbmark/records.db");
	} else {
		assert_int_equal(tm_store_path(NULL, path, sizeof(path), why, sizeof(why)),
				 -ENOENT);
		assert_non_null(strstr(why, "HOME"));
	}
}

static void no_store_there(void **state)
{
	struct tm_store *s;

	(void)state;
	assert_int_equal(
		tm_store_open(in_directory("none.db"), TM_STORE_READ, &s, why, sizeof(why)),
		-ENOENT);
	assert_non_null(strstr(why, "tlbmark run"));
	assert_int_equal(access(in_directory("none.db"), F_OK), -1);
	write_file(in_directory("file"), "x", 1);
	assert_int_equal(
		tm_store_open(in_directory("file/a.db"), TM_STORE_WRITE, &s, why, sizeof(why)),
		-ENOTDIR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_come_back_whole),
		cmocka_unit_test(the_same_record_is_taken_once),
		cmocka_unit_test(names_are_found),
		cmocka_unit_test(sessions_and_their_records),
		cmocka_unit_test(what_is_not_a_store_is_left_alone),
		cmocka_unit_test(a_damaged_store_is_left_alone),
		cmocka_unit_test(a_newer_store_is_left_alone),
		cmocka_unit_test(a_locked_store_is_waited_for),
		cmocka_unit_test(a_full_disk_loses_nothing),
		cmocka_unit_test(a_read_only_store_can_be_read),
		cmocka_unit_test(killed_at_any_moment),
		cmocka_unit_test(made_by_several_at_once),
		cmocka_unit_test(spilled_records_come_back),
		cmocka_unit_test(a_spill_follows_no_link),
		cmocka_unit_test(where_the_store_is),
		cmocka_unit_test(no_store_there),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
