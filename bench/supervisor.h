/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The process between us and a background load: ends it when we end. Private to background.c. */
#ifndef TLBMARK_SUPERVISOR_H
#define TLBMARK_SUPERVISOR_H

#include <stdbool.h>
#include <sys/types.h>

enum { TM_LOAD_ARGUMENTS = 128 };

/* How to run it; the strings are in `text`. */
struct tm_load_command {
	char *argv[TM_LOAD_ARGUMENTS];
	unsigned int argc;
	char *text;
	char program[512];
	char directory[128]; /* for stress-ng's temporary files */
	char yaml[32];
	int yaml_fd, log_fd;
};

/* A line of /proc/PID/stat. */
struct tm_process {
	pid_t pid, parent, group;
	char state;
	char name[32];
	unsigned long long ticks; /* of CPU time */
};

/* Calls visit for every process there is. */
void tm_each_process(void (*visit)(const struct tm_process *, void *), void *argument);

/* In a forked child: becomes the program, its output in log_fd; exit status 127 where it cannot. */
void tm_load_execute(const struct tm_load_command *c) __attribute__((noreturn));

/*
 * In a forked child: its whole life. Runs the command until `control` ends,
 * SIGTERM comes or the parent is dead (parent_fd: its pidfd, or -1); then kills
 * what descends from the command, whatever session it went to, and removes the
 * directory. Writes the command's pid to `report`, which ends when all is gone.
 */
void tm_load_supervise(const struct tm_load_command *c, pid_t parent, int parent_fd, int control,
		       int report) __attribute__((noreturn));

/* Removes a directory with what is in it. */
void tm_load_remove(const char *directory);

#endif /* TLBMARK_SUPERVISOR_H */
