/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * For verify() of workloads that move, split or drop pages in use: a thread on
 * other CPUs never stops adding 1 to a word of each page. An update through a
 * translation that should be gone goes to a page that nobody reads any more,
 * and is missing in the end.
 *
 * All of it belongs to one initiator, but for the thread itself.
 */
#ifndef TLBMARK_UPDATES_H
#define TLBMARK_UPDATES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tlbmark/workload.h>

enum {
	UPDATES_PAGES = 512, /* as many are counted at most; a batch of the kernel's */
	UPDATES_OFFSET = 64, /* where in a page: beside the oracle's stamp */
};

struct updates {
	pthread_t thread;
	char *at;
	size_t bytes, stride;
	unsigned int not_here;
	bool lock;   /* the thread's own stack is not to be moved */
	void *stack; /* then */
	_Atomic bool stop;
	_Atomic uint64_t passes;
};

/*
 * Sets the words of the pages of [at, at + bytes), one each `stride`, to 0 and
 * starts to count; returns once each was counted to 1 at least. u->lock is the
 * caller's, the rest is set here. 0 or what tm_fail() returned.
 */
int updates_start(struct tm_thread *t, struct updates *u, char *at, size_t bytes, size_t stride);

/* Stops counting: after it each word must hold u->passes. */
void updates_stop(struct updates *u);

/* A check, read here, of one of the pages. After updates_stop(). */
void updates_check_page(const struct updates *u, size_t page, struct tm_verdict *v);

/* Of each of them. */
void updates_check(const struct updates *u, struct tm_verdict *v);

#endif /* TLBMARK_UPDATES_H */
