/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The journal on disk behind sysstate.c: one file a process in a directory of
 * the user's own, named PID.STARTTIME (starttime in ticks since boot, field 22
 * of /proc/PID/stat), so that its owner is known from the moment it exists.
 *
 *	tlbmark-journal 1 BOOT_ID
 *	+ knob /sys/kernel/mm/transparent_hugepage/enabled madvise
 *	- dir /sys/fs/cgroup/tlbmark
 *
 * '+' stands to be undone, '-' is
 * undone. Blanks, backslashes and control characters are written \ooo. A line
 * is synced before its knob is set, so a line without its newline is of a
 * knob that never was.
 *
 * The directory is made with the first file and removed with the last.
 *
 * Processes exclude each other by flock() on the directory while they change
 * or read it; no lock is held in between. Not for several threads at a time.
 */
#ifndef TLBMARK_JOURNAL_H
#define TLBMARK_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { TM_JOURNAL_PATH = 512, TM_JOURNAL_VALUE = 4096, TM_JOURNAL_NAME = 48 };

struct tm_journal {
	char directory[TM_JOURNAL_PATH];
	char name[TM_JOURNAL_NAME]; /* of our file */
	int directory_fd, fd;	    /* -1: not open */
	off_t first, size;	    /* where the lines begin and end */
};

/* One line of a file that is read. */
struct tm_journal_line {
	struct tm_journal_line *older;
	off_t offset;
	bool made_directory; /* else a knob */
	char *value;
	char path[];
};

/* A file of the directory. */
struct tm_journal_file {
	char name[TM_JOURNAL_NAME];
	pid_t pid;
	bool alive;	      /* its owner */
	bool stale;	      /* of an earlier boot: its knobs are gone */
	unsigned int damaged; /* lines that could not be read */
	bool torn;	      /* the last line is incomplete */
	int fd;
	struct tm_journal_line *newest; /* those that stand to be undone */
};

/* 0, or -errno (directory too long, no /proc). NULL: the default directory. */
int tm_journal_init(struct tm_journal *j, const char *directory, char *why, size_t why_size);

/*
 * Opens the directory (`make`: makes it if it is missing, else -ENOENT) and
 * locks it; refuses one that others may write to. Unlock ends the lock, and
 * closes the directory, and
 * removes an empty one, unless our file is in it.
 */
int tm_journal_lock(struct tm_journal *j, bool make, char *why, size_t why_size);
void tm_journal_unlock(struct tm_journal *j);

/*
 * Writes and syncs a line, the file too if it is the first. *offset tells
 * undone() and drop() which. On an error (a full disk) nothing stays. Locked.
 */
int tm_journal_append(struct tm_journal *j, bool made_directory, const char *path,
		      const char *value, off_t *offset, char *why, size_t why_size);
/* Takes back the last line, and the file with the first. */
void tm_journal_drop(struct tm_journal *j, off_t offset);

/* Async-signal-safe both. */
void tm_journal_undone(int fd, off_t offset);
void tm_journal_remove(struct tm_journal *j);

/*
 * Calls `visit` for each file of the directory but our own. It ends with the
 * first non-zero result, and returns it. A visitor may unlink the file. Locked.
 */
typedef int tm_journal_visit(struct tm_journal *j, struct tm_journal_file *file, void *argument);
int tm_journal_scan(struct tm_journal *j, tm_journal_visit *visit, void *argument);

/* One line into why, with the errno's own text; returns error. */
int tm_journal_fail(char *why, size_t why_size, int error, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#endif /* TLBMARK_JOURNAL_H */
