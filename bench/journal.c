/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The journal's directory, files and lines. See journal.h. */
#include "journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	LINE_MAX_BYTES = 4 * (TM_JOURNAL_PATH + TM_JOURNAL_VALUE) + 16,
	FILE_MAX_BYTES = 1 << 20, /* hundreds of knobs; more is not a journal of ours */
	LOCK_TRIES = 500,	  /* of 10 ms: setting a knob takes less */
	BOOT_ID = 40,
};

int tm_journal_fail(char *why, size_t why_size, int error, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(why, why_size, format, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < why_size)
		snprintf(why + n, why_size - (size_t)n, ": %s", strerror(-error));
	return error;
}

static ssize_t read_all(int fd, char *buf, size_t size)
{
	size_t n = 0;

	while (n < size) {
		ssize_t got = pread(fd, buf + n, size - n, (off_t)n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			break;
		n += (size_t)got;
	}
	return (ssize_t)n;
}

static ssize_t read_small(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read_all(fd, buf, size - 1);
	close(fd);
	if (n >= 0)
		buf[n] = '\0';
	return n;
}

static void boot_id(char id[BOOT_ID])
{
	if (read_small("/proc/sys/kernel/random/boot_id", id, BOOT_ID) <= 0)
		strcpy(id, "unknown");
	id[strcspn(id, "\n")] = '\0';
}

/* 0, or -errno; -ESRCH too for one that is dead but not yet waited for. */
static int start_time(pid_t pid, unsigned long long *ticks)
{
	char path[32], stat[1024], *after, state;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	n = read_small(path, stat, sizeof(stat));
	if (n < 0)
		return (int)n;
	/* The name may hold anything, ')' too: the last one ends it. */
	after = strrchr(stat, ')');
	if (!after || sscanf(after + 1,
			     " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s"
			     " %*s %*s %*s %llu",
			     &state, ticks) != 2)
		return -EIO;
	return state == 'Z' || state == 'X' ? -ESRCH : 0;
}

static bool owner_alive(pid_t pid, unsigned long long started)
{
	unsigned long long ticks;
	int rc = start_time(pid, &ticks);

	if (!rc)
		return ticks == started;
	/* Where /proc does not tell (hidepid), a process of that number counts. */
	return rc != -ENOENT && rc != -ESRCH && (kill(pid, 0) == 0 || errno == EPERM);
}

int tm_journal_init(struct tm_journal *j, const char *directory, char *why, size_t why_size)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	unsigned long long ticks;
	int n, rc;

	*j = (struct tm_journal){.directory_fd = -1, .fd = -1};
	if (directory)
		n = snprintf(j->directory, sizeof(j->directory), "%s", directory);
	else if (geteuid() == 0)
		n = snprintf(j->directory, sizeof(j->directory), "/run/tlbmark");
	else if (runtime && runtime[0] == '/')
		n = snprintf(j->directory, sizeof(j->directory), "%s/tlbmark", runtime);
	else
		n = snprintf(j->directory, sizeof(j->directory), "/tmp/tlbmark-%u",
			     (unsigned int)geteuid());
	if (n < 0 || (size_t)n >= sizeof(j->directory))
		return tm_journal_fail(why, why_size, -ENAMETOOLONG, "journal directory");
	rc = start_time(getpid(), &ticks);
	if (rc)
		return tm_journal_fail(why, why_size, rc,
				       "cannot read /proc/%d/stat; is /proc mounted?",
				       (int)getpid());
	snprintf(j->name, sizeof(j->name), "%d.%llu", (int)getpid(), ticks);
	return 0;
}

static int lock_directory(int fd)
{
	const struct timespec pause = {.tv_nsec = 10000000};

	for (unsigned int i = 0; i < LOCK_TRIES; i++) {
		if (!flock(fd, LOCK_EX | LOCK_NB))
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		nanosleep(&pause, NULL);
	}
	return -EBUSY;
}

static int check_directory(const struct tm_journal *j, const struct stat *st, char *why,
			   size_t why_size)
{
	if (st->st_uid != geteuid())
		return tm_journal_fail(
			why, why_size, -EPERM,
			"journal directory %s belongs to user %u, not to us; remove it",
			j->directory, (unsigned int)st->st_uid);
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return tm_journal_fail(why, why_size, -EPERM,
				       "journal directory %s may be written to by others; "
				       "chmod 700 it",
				       j->directory);
	return 0;
}

int tm_journal_lock(struct tm_journal *j, bool make, char *why, size_t why_size)
{
	struct stat st;
	int rc;

	if (j->directory_fd >= 0) {
		rc = lock_directory(j->directory_fd);
		return rc ? tm_journal_fail(why, why_size, rc, "lock of %s", j->directory) : 0;
	}
	for (;;) {
		if (make && mkdir(j->directory, 0700) && errno != EEXIST)
			return tm_journal_fail(why, why_size, -errno,
					       "cannot make the journal directory %s, so nothing "
					       "is set",
					       j->directory);
		j->directory_fd =
			open(j->directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (j->directory_fd < 0 && errno == ENOENT && make)
			continue; /* another process removed it just now */
		if (j->directory_fd < 0)
			return tm_journal_fail(why, why_size, -errno,
					       "cannot open the journal directory %s",
					       j->directory);
		rc = lock_directory(j->directory_fd);
		if (rc)
			tm_journal_fail(why, why_size, rc, "lock of %s", j->directory);
		else if (fstat(j->directory_fd, &st))
			rc = tm_journal_fail(why, why_size, -errno, "%s", j->directory);
		else
			rc = check_directory(j, &st, why, why_size);
		if (!rc && st.st_nlink > 0)
			return 0;
		close(j->directory_fd);
		j->directory_fd = -1;
		if (rc || !make)
			return rc ? rc : -ENOENT;
	}
}

static void close_directory(struct tm_journal *j)
{
	int fd = j->directory_fd;

	/* Fails, as it should, while others have a journal there. */
	rmdir(j->directory);
	j->directory_fd = -1;
	if (fd >= 0)
		close(fd); /* ends the lock as well */
}

void tm_journal_unlock(struct tm_journal *j)
{
	if (j->fd < 0)
		close_directory(j);
	else
		flock(j->directory_fd, LOCK_UN);
}

static size_t escape(char *to, const char *from)
{
	size_t n = 0;

	for (; *from; from++) {
		unsigned char c = (unsigned char)*from;

		if (c <= ' ' || c == '\\' || c == 0x7f)
			n += (size_t)sprintf(to + n, "\\%03o", c);
		else
			to[n++] = (char)c;
	}
	to[n] = '\0';
	return n;
}

static bool unescape(char *text)
{
	char *to = text;

	while (*text) {
		if (*text != '\\') {
			*to++ = *text++;
			continue;
		}
		if (text[1] < '0' || text[1] > '1' || text[2] < '0' || text[2] > '7' ||
		    text[3] < '0' || text[3] > '7')
			return false;
		*to++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0'));
		text += 4;
	}
	*to = '\0';
	return true;
}

static int write_at(int fd, const char *p, size_t n, off_t at)
{
	while (n) {
		ssize_t put = pwrite(fd, p, n, at);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		p += put;
		at += put;
		n -= (size_t)put;
	}
	return 0;
}

static int create_file(struct tm_journal *j)
{
	char id[BOOT_ID], head[96];
	int rc, n;

	boot_id(id);
	n = snprintf(head, sizeof(head), "tlbmark-journal 1 %s\n", id);
	j->fd = openat(j->directory_fd, j->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		       0600);
	if (j->fd < 0)
		return errno == EEXIST ? -EBUSY : -errno;
	j->first = j->size = n;
	rc = write_at(j->fd, head, (size_t)n, 0);
	if (!rc && fsync(j->directory_fd))
		rc = -errno;
	return rc;
}

int tm_journal_append(struct tm_journal *j, bool made_directory, const char *path,
		      const char *value, off_t *offset, char *why, size_t why_size)
{
	char *line = malloc(LINE_MAX_BYTES);
	size_t n;
	int rc = -ENOMEM;

	if (!line)
		goto out;
	n = (size_t)sprintf(line, "+ %s ", made_directory ? "dir" : "knob");
	n += escape(line + n, path);
	line[n++] = ' ';
	n += escape(line + n, value);
	line[n++] = '\n';
	rc = j->fd < 0 ? create_file(j) : 0;
	*offset = j->size;
	if (!rc)
		rc = write_at(j->fd, line, n, j->size);
	if (!rc && fsync(j->fd))
		rc = -errno;
	if (!rc)
		j->size += (off_t)n;
	else if (j->fd >= 0)
		tm_journal_drop(j, *offset);
out:
	free(line);
	return rc ? tm_journal_fail(why, why_size, rc,
				    "cannot write the journal %s/%s, so %s is left alone",
				    j->directory, j->name, path)
		  : 0;
}

void tm_journal_drop(struct tm_journal *j, off_t offset)
{
	if (offset <= j->first) {
		unlinkat(j->directory_fd, j->name, 0);
		close(j->fd);
		j->fd = -1;
		return;
	}
	if (!ftruncate(j->fd, offset))
		j->size = offset;
}

void tm_journal_undone(int fd, off_t offset)
{
	/* Only spares the next start from undoing it again, which would do no harm. */
	if (pwrite(fd, "-", 1, offset) < 0)
		return;
}

void tm_journal_remove(struct tm_journal *j)
{
	int fd = j->fd;

	if (fd < 0)
		return;
	/* A handler may come in between: what it finds open it does again, to the end. */
	unlinkat(j->directory_fd, j->name, 0);
	rmdir(j->directory);
	j->fd = -1;
	close(fd);
	close_directory(j);
}

/* "+ knob PATH VALUE" into a line; NULL where it is damaged. `text` is changed. */
static struct tm_journal_line *parse_line(char *text)
{
	bool made_directory = !strncmp(text + 1, " dir ", 5);
	struct tm_journal_line *line;
	char *path, *value;
	size_t n;

	if (!made_directory && strncmp(text + 1, " knob ", 6))
		return NULL;
	path = text + (made_directory ? 6 : 7);
	value = strchr(path, ' ');
	if (!value || value == path || strchr(value + 1, ' '))
		return NULL;
	*value++ = '\0';
	if (!unescape(path) || !unescape(value))
		return NULL;
	n = strlen(path);
	line = malloc(sizeof(*line) + n + strlen(value) + 2);
	if (!line)
		return NULL;
	line->made_directory = made_directory;
	line->value = line->path + n + 1;
	memcpy(line->path, path, n + 1);
	strcpy(line->value, value);
	return line;
}

static void parse_lines(struct tm_journal_file *file, char *text, off_t offset)
{
	char *end;

	for (; *text; offset += end + 1 - text, text = end + 1) {
		struct tm_journal_line *line;

		end = strchr(text, '\n');
		if (!end) {
			file->torn = true;
			return;
		}
		*end = '\0';
		if (text[0] == '-')
			continue;
		line = text[0] == '+' ? parse_line(text) : NULL;
		if (!line) {
			file->damaged++;
			continue;
		}
		line->offset = offset;
		line->older = file->newest;
		file->newest = line;
	}
}

static int load_file(struct tm_journal *j, struct tm_journal_file *file)
{
	char id[BOOT_ID], here[BOOT_ID];
	struct stat st;
	char *text = NULL, *end;
	ssize_t n;
	int rc = 0;

	file->fd =
		openat(j->directory_fd, file->name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (file->fd < 0)
		return -errno;
	if (fstat(file->fd, &st))
		rc = -errno;
	else if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_size > FILE_MAX_BYTES)
		rc = -EPERM;
	else if (!(text = malloc((size_t)st.st_size + 1)))
		rc = -ENOMEM;
	if (rc || !text)
		goto out;
	n = read_all(file->fd, text, (size_t)st.st_size);
	if (n < 0) {
		rc = (int)n;
		goto out;
	}
	/* A hole that a crash left reads as zeros: it damages its line only. */
	for (ssize_t i = 0; i < n; i++)
		if (!text[i])
			text[i] = '?';
	text[n] = '\0';
	end = strchr(text, '\n');
	if (!end) {
		file->torn = true;
		goto out;
	}
	*end = '\0';
	boot_id(here);
	if (sscanf(text, "tlbmark-journal 1 %39s", id) == 1) {
		file->stale = strcmp(id, here) != 0;
		if (file->stale)
			file->alive = false;
	} else {
		file->damaged++;
	}
	parse_lines(file, end + 1, end + 1 - text);
out:
	free(text);
	return rc;
}

int tm_journal_scan(struct tm_journal *j, tm_journal_visit *visit, void *argument)
{
	/* Another open file description: readdir's position is its own. */
	int fd = openat(j->directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	int rc = 0;

	if (!dir) {
		rc = -errno;
		if (fd >= 0)
			close(fd);
		return rc;
	}
	while (!rc && (entry = readdir(dir))) {
		struct tm_journal_file file = {.fd = -1};
		unsigned long long started;
		int pid, end = 0;

		if (sscanf(entry->d_name, "%d.%llu%n", &pid, &started, &end) != 2 ||
		    entry->d_name[end] || pid <= 0 || end >= TM_JOURNAL_NAME ||
		    (j->fd >= 0 && !strcmp(entry->d_name, j->name)))
			continue;
		strcpy(file.name, entry->d_name);
		file.pid = pid;
		file.alive = owner_alive(pid, started);
		rc = load_file(j, &file);
		/* Its owner restored it and left meanwhile. */
		if (rc == -ENOENT)
			rc = 0;
		else if (!rc)
			rc = visit(j, &file, argument);
		while (file.newest) {
			struct tm_journal_line *line = file.newest;

			file.newest = line->older;
			free(line);
		}
		if (file.fd >= 0)
			close(file.fd);
	}
	closedir(dir);
	return rc;
}
