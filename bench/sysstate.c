/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Kernel knobs, saved, set and undone. See sysstate.h; journal.c is the disk. */
#include "sysstate.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <tlbmark/workload.h>

#include "journal.h"

enum { BUSY_TRIES = 50, BUSY_PAUSE_NS = 10000000 };

/* A file that can be opened from a signal handler. */
struct place {
	int at; /* AT_FDCWD or the root of a detached mount */
	char name[2 * TM_JOURNAL_PATH];
};

struct knob {
	struct knob *older;
	struct place place;
	bool made_directory;
	volatile bool undone;
	off_t offset; /* of its line */
	size_t value_bytes;
	char value[TM_JOURNAL_VALUE + 1]; /* the old one, a newline behind it */
	char path[TM_JOURNAL_PATH];
};

struct tm_sysstate {
	struct tm_journal journal;
	pid_t owner;
	struct knob *volatile newest;
	char why[256];
};

static const char *root;

void tm_sysstate_set_root(const char *directory)
{
	root = directory;
}

/* No empty, "." or ".." component; not empty. */
static bool sound(const char *path)
{
	do {
		size_t n = strcspn(path, "/");

		if (!n || !strncmp(path, ".", n) || (n == 2 && !strncmp(path, "..", 2)))
			return false;
		path += n;
	} while (*path++);
	return true;
}

/* The root of a file system that nobody mounted; -errno. */
static int detached_mount(const char *type)
{
	int fs = fsopen(type, FSOPEN_CLOEXEC), fd;

	if (fs < 0)
		return -errno;
	fd = fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
	if (!fd)
		fd = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	if (fd < 0)
		fd = -errno;
	close(fs);
	return fd;
}

static int find_virtual(struct place *p, const char *path, const char *const *mounts)
{
	const char *rest = strchr(path, ':') + 1;
	int fd = -ENOENT;

	if (!sound(rest))
		return -EINVAL;
	if (!root) {
		char type[8] = "";

		memcpy(type, path, (size_t)(rest - path) - 1);
		fd = detached_mount(type);
	}
	if (fd >= 0) {
		p->at = fd;
		snprintf(p->name, sizeof(p->name), "%s", rest);
		return 0;
	}
	for (; *mounts; mounts++) {
		snprintf(p->name, sizeof(p->name), "%s%s/%s", root ? root : "", *mounts, rest);
		if (!faccessat(AT_FDCWD, p->name, F_OK, AT_EACCESS))
			return 0;
	}
	return fd;
}

static int find_place(struct place *p, const char *path)
{
	static const char *const debugfs[] = {"/sys/kernel/debug", NULL};
	static const char *const tracefs[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing",
					      NULL};

	p->at = AT_FDCWD;
	if (strlen(path) >= TM_JOURNAL_PATH)
		return -ENAMETOOLONG;
	if (!strncmp(path, "debugfs:", 8))
		return find_virtual(p, path, debugfs);
	if (!strncmp(path, "tracefs:", 8))
		return find_virtual(p, path, tracefs);
	if ((strncmp(path, "/proc/sys/", 10) && strncmp(path, "/sys/", 5)) || !sound(path + 1))
		return -EINVAL;
	snprintf(p->name, sizeof(p->name), "%s%s", root ? root : "", path);
	return 0;
}

static void leave_place(struct place *p)
{
	if (p->at >= 0)
		close(p->at);
	p->at = AT_FDCWD;
}

/* "always [madvise] never" -> "madvise"; anything else stays as it is. */
static void choose_word(char *text)
{
	char *open = strchr(text, '['), *end = open ? strchr(open, ']') : NULL;

	if (!end || strchr(end + 1, '[') || strchr(end + 1, ']') || end == open + 1 ||
	    (open > text && open[-1] != ' ') || (end[1] && end[1] != ' '))
		return;
	*end = '\0';
	memmove(text, open + 1, (size_t)(end - open));
}

static ssize_t place_read(const struct place *p, char *buf, size_t size)
{
	int fd = openat(p->at, p->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t n = 0;
	ssize_t got = 1;

	if (fd < 0)
		return -errno;
	while (got && n < size) {
		got = read(fd, buf + n, size - n);
		if (got < 0 && errno != EINTR) {
			got = -errno;
			close(fd);
			return got;
		}
		n += got > 0 ? (size_t)got : 0;
	}
	close(fd);
	if (n == size)
		return -E2BIG;
	if (n && buf[n - 1] == '\n')
		n--;
	buf[n] = '\0';
	choose_word(buf);
	return (ssize_t)strlen(buf);
}

/* Async-signal-safe. One write(): these files take a value in one piece. */
static int place_write(const struct place *p, const char *text, size_t n)
{
	int fd = openat(p->at, p->name, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOCTTY);
	ssize_t put;

	if (fd < 0)
		return -errno;
	do
		put = write(fd, text, n);
	while (put < 0 && errno == EINTR);
	put = put < 0 ? -errno : (size_t)put < n ? -EIO : 0;
	close(fd);
	return (int)put;
}

int tm_knob_read(const char *path, char *buf, size_t size)
{
	struct place p;
	int rc = find_place(&p, path);

	if (rc)
		return rc;
	rc = (int)place_read(&p, buf, size);
	leave_place(&p);
	return rc;
}

int tm_knob_open(const char *path, int flags)
{
	struct place p;
	int rc = find_place(&p, path), fd;

	if (rc)
		return rc;
	fd = openat(p.at, p.name, flags | O_CLOEXEC);
	rc = fd < 0 ? -errno : fd;
	leave_place(&p);
	return rc;
}

/* Processes that were in it, or had it open, may be dying just now. */
static int remove_directory(const struct place *p)
{
	const struct timespec pause = {.tv_nsec = BUSY_PAUSE_NS};

	for (int i = 0; unlinkat(p->at, p->name, AT_REMOVEDIR); i++) {
		if (errno != EBUSY || i == BUSY_TRIES)
			return -errno;
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* Async-signal-safe. What is not there any more needs no undoing. */
static int undo(struct knob *k)
{
	int rc;

	if (k->made_directory)
		rc = remove_directory(&k->place);
	else
		rc = place_write(&k->place, k->value, k->value_bytes);
	if (rc == -ENOENT)
		rc = 0;
	k->undone = !rc;
	return rc;
}

static int knob_new(struct knob **out, const char *path)
{
	struct knob *k = calloc(1, sizeof(*k));
	int rc;

	if (!k)
		return -ENOMEM;
	rc = find_place(&k->place, path);
	if (rc) {
		free(k);
		return rc;
	}
	strcpy(k->path, path);
	*out = k;
	return 0;
}

static void knob_free(struct knob *k)
{
	leave_place(&k->place);
	free(k);
}

/* The old value as it is written back. */
static void end_value(struct knob *k)
{
	k->value_bytes = strlen(k->value);
	k->value[k->value_bytes++] = '\n';
}

/* What recovery found, and what set() looks for. */
struct search {
	const char *path; /* NULL: any */
	pid_t holder;	  /* a living process that holds `path` */
	unsigned int undone, failed, damaged;
	int error; /* of the first that failed */
	char first[TM_JOURNAL_PATH];
};

/* 0, -errno, or 1 for a line that we never wrote. */
static int undo_line(const struct tm_journal_line *line)
{
	struct knob *k;
	int rc;

	if (strlen(line->value) >= TM_JOURNAL_VALUE)
		return 1;
	rc = knob_new(&k, line->path);
	if (rc)
		return rc == -EINVAL ? 1 : rc;
	k->made_directory = line->made_directory;
	strcpy(k->value, line->value);
	end_value(k);
	rc = undo(k);
	knob_free(k);
	return rc;
}

static int visit(struct tm_journal *j, struct tm_journal_file *file, void *argument)
{
	struct search *s = argument;
	unsigned int failed = 0;

	for (struct tm_journal_line *line = file->newest; line; line = line->older) {
		int rc;

		if (file->stale)
			break;
		if (file->alive) {
			if (s->path && !strcmp(line->path, s->path))
				s->holder = file->pid;
			continue;
		}
		rc = undo_line(line);
		if (!rc) {
			s->undone++;
			tm_journal_undone(file->fd, line->offset);
			continue;
		}
		if (rc > 0) {
			s->damaged++;
			continue;
		}
		if (!s->failed++) {
			s->error = rc;
			snprintf(s->first, sizeof(s->first), "%s", line->path);
		}
		failed++;
	}
	if (file->alive)
		return 0;
	s->damaged += file->damaged + file->torn;
	if (!failed)
		unlinkat(j->directory_fd, file->name, 0);
	return 0;
}

int tm_sysstate_open(const char *directory, struct tm_sysstate **out, unsigned int *recovered,
		     char *why, size_t why_size)
{
	struct tm_sysstate *s = calloc(1, sizeof(*s));
	struct search found = {0};
	int rc;

	*out = NULL;
	if (why_size)
		why[0] = '\0';
	if (recovered)
		*recovered = 0;
	if (!s)
		return tm_journal_fail(why, why_size, -ENOMEM, "journal");
	s->owner = getpid();
	rc = tm_journal_init(&s->journal, directory, why, why_size);
	if (!rc)
		rc = tm_journal_lock(&s->journal, false, why, why_size);
	if (!rc) {
		rc = tm_journal_scan(&s->journal, visit, &found);
		if (rc)
			tm_journal_fail(why, why_size, rc, "cannot read the journals in %s",
					s->journal.directory);
		tm_journal_unlock(&s->journal);
	} else if (rc == -ENOENT) {
		rc = 0; /* no directory, nothing left behind */
		if (why_size)
			why[0] = '\0';
	}
	if (rc) {
		free(s);
		return rc;
	}
	if (found.failed)
		tm_journal_fail(why, why_size, found.error,
				"%u knobs that a dead process left could not be undone; first %s",
				found.failed, found.first);
	else if (found.damaged)
		snprintf(why, why_size,
			 "%u journal lines in %s were damaged or incomplete; the others are undone",
			 found.damaged, s->journal.directory);
	if (recovered)
		*recovered = found.undone;
	*out = s;
	return 0;
}

static struct knob *find_knob(const struct tm_sysstate *s, const char *path)
{
	for (struct knob *k = s->newest; k; k = k->older)
		if (!k->undone && !strcmp(k->path, path))
			return k;
	return NULL;
}

/* Saves what is there now, or makes sure that nothing is. */
static int save(struct knob *k, char *why, size_t why_size)
{
	ssize_t n;

	if (k->made_directory)
		return faccessat(k->place.at, k->place.name, F_OK, AT_SYMLINK_NOFOLLOW)
			       ? 0
			       : tm_journal_fail(why, why_size, -EEXIST, "directory %s", k->path);
	n = place_read(&k->place, k->value, TM_JOURNAL_VALUE);
	if (n < 0)
		return tm_journal_fail(why, why_size, (int)n,
				       "cannot read %s, so it is not set either", k->path);
	if (faccessat(k->place.at, k->place.name, W_OK, AT_EACCESS))
		return tm_journal_fail(why, why_size, -errno, "cannot write to %s%s", k->path,
				       geteuid() ? " (it takes root)" : "");
	return 0;
}

static int held(const char *path, pid_t holder, char *why, size_t why_size)
{
	return tm_journal_fail(why, why_size, -EBUSY, "%s is set by process %d; wait for it", path,
			       (int)holder);
}

/* With the journal locked: line first, then the deed. */
static int apply(struct tm_sysstate *s, struct knob *k, const char *text, size_t n, char *why,
		 size_t why_size)
{
	struct search search = {.path = k->path};
	int rc = tm_journal_scan(&s->journal, visit, &search);

	if (rc)
		return tm_journal_fail(why, why_size, rc, "cannot read the journals in %s",
				       s->journal.directory);
	if (search.holder)
		return held(k->path, search.holder, why, why_size);
	rc = save(k, why, why_size);
	if (rc)
		return rc;
	rc = tm_journal_append(&s->journal, k->made_directory, k->path, k->value, &k->offset, why,
			       why_size);
	if (rc)
		return rc;
	end_value(k);
	if (k->made_directory)
		rc = mkdirat(k->place.at, k->place.name, 0755) ? -errno : 0;
	else
		rc = place_write(&k->place, text, n);
	if (!rc)
		return 0;
	if (k->made_directory)
		tm_journal_fail(why, why_size, rc, "cannot make %s", k->path);
	else
		tm_journal_fail(why, why_size, rc, "cannot set %s to %.*s", k->path, (int)n - 1,
				text);
	/* A value may be taken in part (nr_hugepages): put the old one back. */
	if (!k->made_directory)
		place_write(&k->place, k->value, k->value_bytes);
	tm_journal_drop(&s->journal, k->offset);
	return rc;
}

static void forget_undone(struct tm_sysstate *s)
{
	while (s->newest && s->newest->undone) {
		struct knob *k = s->newest;

		s->newest = k->older;
		knob_free(k);
	}
}

/* A knob that is not ours yet; signals are blocked, see tm_sysstate_restore(). */
static int add(struct tm_sysstate *s, const char *path, bool make_directory, const char *text,
	       size_t n, char *why, size_t why_size)
{
	struct knob *k;
	int rc = knob_new(&k, path);

	if (rc == -EINVAL)
		return tm_journal_fail(
			why, why_size, rc,
			"%s is not below /proc/sys, /sys, debugfs: or tracefs:", path);
	if (rc)
		return tm_journal_fail(why, why_size, rc, "cannot reach %s%s", path,
				       geteuid() ? " (it takes root)" : "");
	k->made_directory = make_directory;
	rc = tm_journal_lock(&s->journal, true, why, why_size);
	if (!rc) {
		rc = apply(s, k, text, n, why, why_size);
		tm_journal_unlock(&s->journal);
	}
	if (rc) {
		knob_free(k);
		return rc;
	}
	k->older = s->newest;
	s->newest = k;
	return 0;
}

static int change(struct tm_sysstate *s, const char *path, bool make_directory, const char *value,
		  char *why, size_t why_size)
{
	char text[TM_JOURNAL_VALUE + 1];
	sigset_t all, before;
	struct knob *k;
	int n = snprintf(text, sizeof(text), "%s\n", value), rc;

	if (n < 0 || (size_t)n >= sizeof(text))
		return tm_journal_fail(why, why_size, -E2BIG, "value for %s", path);
	if (getpid() != s->owner)
		return tm_journal_fail(why, why_size, -EPERM,
				       "%s: only the process that opened the journal sets knobs",
				       path);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	forget_undone(s);
	k = find_knob(s, path);
	if (!k) {
		rc = add(s, path, make_directory, text, (size_t)n, why, why_size);
	} else {
		rc = make_directory ? -EEXIST : place_write(&k->place, text, (size_t)n);
		if (rc)
			tm_journal_fail(why, why_size, rc, "cannot set %s to %s", path, value);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

int tm_sysstate_set(struct tm_sysstate *s, const char *path, const char *value, char *why,
		    size_t why_size)
{
	return change(s, path, false, value, why, why_size);
}

int tm_sysstate_mkdir(struct tm_sysstate *s, const char *path, char *why, size_t why_size)
{
	return change(s, path, true, "", why, why_size);
}

int tm_knob(struct tm_sysstate *s, const char *path, const char *value)
{
	return tm_sysstate_set(s, path, value, s->why, sizeof(s->why));
}

int tm_knob_group(struct tm_sysstate *s, const char *path)
{
	return tm_sysstate_mkdir(s, path, s->why, sizeof(s->why));
}

int tm_knob_rely(struct tm_sysstate *s, const char *path)
{
	struct search search = {.path = path};
	int rc;

	if (getpid() != s->owner || find_knob(s, path))
		return 0;
	rc = tm_journal_lock(&s->journal, false, s->why, sizeof(s->why));
	if (rc == -ENOENT)
		return 0;
	if (!rc) {
		rc = tm_journal_scan(&s->journal, visit, &search);
		tm_journal_unlock(&s->journal);
	}
	return search.holder ? held(path, search.holder, s->why, sizeof(s->why)) : rc;
}

const char *tm_sysstate_why(const struct tm_sysstate *s)
{
	return s->why;
}

/* Newest first, as far as `last`, which stays. How many are not undone. */
static int undo_to(struct tm_sysstate *s, const struct knob *last)
{
	int failed = 0;

	for (struct knob *k = s->newest; k != last; k = k->older) {
		if (k->undone)
			continue;
		if (undo(k))
			failed++;
		else
			tm_journal_undone(s->journal.fd, k->offset);
	}
	return failed;
}

int tm_sysstate_restore(struct tm_sysstate *s)
{
	int saved_errno = errno, failed;

	/* A child's handler, or its exit, must not undo what the parent still uses. */
	if (getpid() != s->owner)
		return 0;
	failed = undo_to(s, NULL);
	if (!failed)
		tm_journal_remove(&s->journal);
	errno = saved_errno;
	return failed;
}

const void *tm_sysstate_mark(const struct tm_sysstate *s)
{
	return s->newest;
}

int tm_sysstate_restore_to(struct tm_sysstate *s, const void *mark)
{
	sigset_t all, before;
	int failed;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	failed = undo_to(s, mark);
	/* So that the next mark is none of these, which do not live as long. */
	forget_undone(s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return failed;
}

void tm_sysstate_close(struct tm_sysstate *s)
{
	if (!s)
		return;
	tm_sysstate_restore(s);
	while (s->newest) {
		struct knob *k = s->newest;

		s->newest = k->older;
		knob_free(k);
	}
	if (s->journal.fd >= 0)
		close(s->journal.fd);
	if (s->journal.directory_fd >= 0)
		close(s->journal.directory_fd);
	free(s);
}
