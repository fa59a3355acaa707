/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A second thread of the process, which takes pages away as the initiator does:
 * for workloads about two who meet. It acts each time that it is asked to; the
 * initiator waits until a page is gone and zaps that page while the other one still
 * owes its flush.
 *
 * Where: on any CPU but the initiator's, and then they meet if that window is longer
 * than it takes to see. Or on the initiator's own, behind it: it acts only while the
 * initiator naps, and stands still, in the middle of what it does, when that one wakes.
 * So a short window stays open as long as is needed.
 *
 * One rival belongs to one initiator thread, which makes all calls.
 */
#ifndef TLBMARK_RIVAL_H
#define TLBMARK_RIVAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <tlbmark/workload.h>

/* Once; on the rival's thread. 0 or what tm_fail() returned. */
typedef int rival_act(struct tm_thread *t, void *argument);

enum rival_where { RIVAL_ELSEWHERE, RIVAL_BEHIND };

struct rival {
	struct tm_thread *t;
	rival_act *act;
	void *argument;
	enum rival_where where;
	pthread_t thread;
	bool started;
	uint32_t asked;
	_Atomic uint32_t turn, done; /* act number `turn` is asked for, is over */
	_Atomic bool stop;
	_Atomic int error;
};

/* *r begins zeroed. 0 or what tm_fail() returned. */
int rival_start(struct rival *r, struct tm_thread *t, enum rival_where where, rival_act *act,
		void *argument);
/* Waits for what it is doing; may be called again, and for one that never started. */
void rival_stop(struct rival *r);

/* Lets it act; rival_finish() has to follow before the next time. */
void rival_ask(struct rival *r);
bool rival_is_over(const struct rival *r);
/* Waits until it has. 0 or what tm_fail() returned. */
int rival_finish(struct rival *r);

/* For RIVAL_BEHIND: lets it go on for a moment. */
void rival_nap(void);

/*
 * For RIVAL_ELSEWHERE, asked before: until the page is gone. Of private memory that is
 * from the page table; of a file from the page cache, which it leaves right after that.
 * False: the other one was done before that was seen.
 */
bool rival_meets(struct rival *r, const char *page);

/*
 * An operation, for RIVAL_ELSEWHERE: asks, meets, times one MADV_DONTNEED of the page,
 * and finishes. Behind tm_arm(). 1, or 0 where it came too late and there is no sample,
 * or what tm_fail() returned.
 */
int rival_time_zap(struct rival *r, char *page);

/* In a row: then the two never meet here. rival_give_up() says so and returns -ENOTSUP. */
enum { RIVAL_LATE_MAX = 256 };
int rival_give_up(struct tm_thread *t, const char *why);

#endif /* TLBMARK_RIVAL_H */
