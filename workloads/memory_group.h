/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A memory cgroup of this session's, which the process of a run enters and out of
 * which the kernel is then asked to reclaim pages: as kswapd does, with the same
 * code, but when it is asked. Version 2 or 1.
 *
 * One for a process: what is in it is all of the process.
 */
#ifndef TLBMARK_MEMORY_GROUP_H
#define TLBMARK_MEMORY_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tlbmark/workload.h>

/*
 * Pages that a CPU has taken from a cgroup's limit in advance. They count as used, and
 * are given up first: so many more are asked for.
 */
enum { MEMORY_GROUP_STOCK_PAGES = 64 };

enum memory_group_how {
	MEMORY_GROUP_LIMIT,   /* a lower memory.high, or memory.limit_in_bytes of version 1 */
	MEMORY_GROUP_RECLAIM, /* memory.reclaim: version 2, Linux 5.19 */
	MEMORY_GROUP_EITHER,  /* memory.reclaim where there is one */
};

struct memory_group {
	int usage, ask; /* files of the cgroup; -1: not open */
	bool relative;	/* `ask` wants what is to go, not what may stay */
	const char *unlimited;
};

/* For probe() or probe_cell(): can there be one? 0, or -ENOTSUP with the reason in why. */
int memory_group_check(char *why, size_t why_size);

/* The same of one that is asked in this way. */
int memory_group_check_how(enum memory_group_how how, char *why, size_t why_size);

/* For knobs(): makes it, or finds what an earlier call in this process made. 0 or -errno. */
int memory_group_knobs(struct tm_sysstate *s);

/* Before memory_group_enter(), and after memory_group_close(): not open. */
void memory_group_init(struct memory_group *g);
void memory_group_close(struct memory_group *g);

/*
 * From here on what this process uses is the cgroup's; it leaves by ending. With
 * `no_swap` nothing is reclaimed that would have to be written to swap. 0, or what
 * tm_fail() returned: -ENOTSUP where it cannot be asked in this way.
 */
int memory_group_enter(struct tm_thread *t, struct memory_group *g, enum memory_group_how how,
		       bool no_swap);

enum { MEMORY_GROUP_TEXT = 32 };

/* The three parts of memory_group_shrink(), where only the second is to be timed. Any thread. */

/* What is to be written so that `pages` go at least. 0 or what tm_fail() returned. */
int memory_group_word(struct tm_thread *t, const struct memory_group *g, uint64_t pages,
		      char text[MEMORY_GROUP_TEXT]);
/* Writes it. 0, also where fewer pages could be had, or -errno: nothing is said. */
int memory_group_ask(const struct memory_group *g, const char *text);
/* There is no limit any more. 0 or what tm_fail() returned. */
int memory_group_release(struct tm_thread *t, const struct memory_group *g);

/* All of them: `pages` go, if they can. 0 or what tm_fail() returned. */
int memory_group_shrink(struct tm_thread *t, const struct memory_group *g, uint64_t pages);

#endif /* TLBMARK_MEMORY_GROUP_H */
