/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A child process of a workload (fork, cow, exit, exec_args): started, asked
 * to do things one at a time, and gone when its parent goes, even by SIGKILL.
 *
 * The child is made from a process with several threads: between its start
 * and its end it may only make system calls and touch memory that it owns.
 * All of this belongs to one thread; only tm_child_next() and
 * tm_child_answer() and tm_child_threads() are called in the child.
 */
#ifndef TLBMARK_CHILD_H
#define TLBMARK_CHILD_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include <tlbmark/workload.h>

enum { TM_CHILD_VALUES = 16 };

/* What both processes see: one page, MAP_SHARED. */
struct tm_child_page {
	_Atomic uint32_t asked, answered; /* futex words: the sequence of requests */
	uint32_t request;		  /* what was asked for, the caller's own numbering */
	int32_t error;			  /* 0 or the -errno of what the child did */
	uint64_t value[TM_CHILD_VALUES];  /* arguments and results */
	_Atomic uint32_t threads_ready;
};

struct tm_child {
	pid_t pid; /* 0: none */
	struct tm_child_page *page;
};

/* Makes the shared page, once before the first start. 0 or -errno. */
int tm_child_open(struct tm_child *c);
/* Kills and reaps a child that is left, frees the page. */
void tm_child_close(struct tm_child *c);

/*
 * Forks; the child runs body(c, arg) and then exits with status 0. Signal
 * handlers for faults are back at their default there. 0 or -errno.
 */
int tm_child_start(struct tm_child *c, void (*body)(struct tm_child *, void *), void *arg);

/*
 * Asks for `request` and waits until it is done: what the child put in
 * page->error, or -ECHILD when it died.
 */
int tm_child_ask(struct tm_child *c, uint32_t request);
/*
 * Fails the run: what could not be done, and what the child died of if that is
 * why (-ECHILD). Returns error.
 */
int tm_child_failed(struct tm_thread *t, struct tm_child *c, int error, const char *what);
/* Asks without waiting. */
void tm_child_post(struct tm_child *c, uint32_t request);

/* In the child: sleeps until asked, returns the request. */
uint32_t tm_child_next(struct tm_child *c);
/* In the child: says that it is done. */
void tm_child_answer(struct tm_child *c, int error);

/* Sleeps until the child is dead, does not reap it. 0 or -errno. */
int tm_child_await(struct tm_child *c);
/* Waits for its end and reaps: its status as waitpid() gives it, or -errno. */
int tm_child_reap(struct tm_child *c);
/* Kills and reaps; nothing if there is none. */
void tm_child_kill(struct tm_child *c);

/*
 * In the child: makes `count` threads, each pinned to another allowed CPU
 * than `cpu` (in turn; to `cpu` itself where there is no other), which read
 * *touch and then sleep until the process ends. Returns when all sleep or are
 * about to. 0 or -errno.
 */
int tm_child_threads(struct tm_child *c, unsigned int count, unsigned int cpu, const void *touch);

/*
 * From now on a process that this thread makes or wakes on its own CPU waits
 * until this thread gives the CPU up, instead of preempting it half-way
 * through what is timed (SCHED_BATCH; inherited by children).
 */
void tm_child_no_preemption(void);

#endif /* TLBMARK_CHILD_H */
