/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Responders: pinned threads (or processes, for `foreign`) that are in a known
 * state when an operation begins, and note every interruption of their loop.
 *
 * All they share with the initiator lies in one MAP_SHARED area. A responder
 * waits for requests on a cache line that only changes when there is one, so
 * that waiting costs its loop nothing; an answer is the request echoed on
 * another line, by which the initiator knows that it is running, right now.
 */
#ifndef TLBMARK_RESPONDER_H
#define TLBMARK_RESPONDER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tlbmark/workload.h>

#include "clock.h"
#include "run.h"

/* One interruption, in ticks of the responder's own counter. */
struct tm_gap {
	uint64_t start, end;
};

enum tm_request {
	TM_REQUEST_ARM = 1, /* touch what is published, then say so */
	TM_REQUEST_ACCESS,
	TM_REQUEST_OFFSET, /* answer a ping-pong */
	TM_REQUEST_QUIT,
	TM_REQUEST_BITS = 4,
};

struct tm_responder {
	/* Written by the initiator. */
	_Alignas(128) _Atomic uint32_t request; /* sequence << TM_REQUEST_BITS | what */
	unsigned int access_count;
	const char *touch_start;
	size_t touch_bytes, touch_stride;
	/* Written by the responder. */
	_Alignas(128) _Atomic uint32_t answer;
	struct tm_access access[TM_ACCESSES_MAX]; /* asked for by the initiator */
	/* The ring of gaps: head is the responder's, tail the initiator's. */
	_Alignas(128) _Atomic uint64_t head;
	_Atomic uint64_t dropped;
	_Alignas(128) _Atomic uint64_t tail;
	struct tm_pingpong pingpong;
	/* Constant while it runs. */
	_Alignas(128) struct tm_gap *ring;
	uint64_t ring_mask;
	enum tm_state state;
	void *stack;
	unsigned int cpu;
	bool takes_turns;	    /* lets the other CPUs run in every turn of its loop: no gaps */
	uint64_t minimum_gap_ticks; /* what the caller wants at least */
	uint64_t threshold_ticks;   /* what counts as an interruption; set by the responder */
	uint64_t loop_ticks;	    /* its loop, undisturbed, median */
	_Atomic int ready;	    /* 1, or -errno when it could not start */
	pid_t tid;
	/* The initiator's own. */
	pthread_t thread;
	pid_t process; /* of one in a process of its own, else 0 */
	uint32_t sequence;
	struct tm_offset offset;
};

struct tm_responders {
	struct tm_responder *r;
	unsigned int count;
	size_t bytes;	    /* of the whole shared area */
	bool caller_pinned; /* to this CPU, when they were started */
	unsigned int caller_cpu;
};

/* Exchanges for all responders together, and for one at most and at least. */
enum { TM_OFFSET_ROUNDS = 30000, TM_OFFSET_ROUNDS_MAX = 3000, TM_OFFSET_ROUNDS_MIN = 300 };

/*
 * Makes `count` responders on these CPUs in `state`, and waits until they
 * run. `ring_gaps` (a power of two) interruptions are held for each; 0: none
 * are looked for and the loops pause in every turn (deterministic, or the oracle
 * alone).
 * foreign: in a process each, instead of a thread.
 * Call on the initiator's thread, pinned. 0, or -errno with the reason in why.
 */
int tm_responders_start(struct tm_responders *rs, const struct tm_placement *p, enum tm_state state,
			bool foreign, size_t ring_gaps, uint64_t minimum_gap_ticks, char *why,
			size_t why_size);
/* Ends them and frees the area. */
void tm_responders_stop(struct tm_responders *rs);

/*
 * Measures every spinning responder's counter offset to the caller's, in about
 * limit_ticks for all of them at most.
 */
void tm_responders_offsets(struct tm_responders *rs, uint64_t limit_ticks);

/*
 * Asks all spinning responders whether they run; how many said so within
 * timeout_ticks.
 */
unsigned int tm_responders_arm(struct tm_responders *rs, uint64_t timeout_ticks);

/*
 * Guarded accesses, 1 .. TM_ACCESSES_MAX, by responders first .. first + n - 1, at once.
 * Each one's outcomes are in its own access[]. How many answered in time: n, or
 * the place of one that did not within 10 s.
 */
unsigned int tm_responders_access(struct tm_responders *rs, unsigned int first, unsigned int n,
				  const struct tm_access *accesses, unsigned int count);

/*
 * Has one of them gone for good: its process died, or its CPU was taken away
 * and it runs on another? Is the CPU of the caller offline? 0, or -ECHILD with the
 * reason in why. Some system calls for each: for those who waited in vain.
 */
int tm_responders_missing(const struct tm_responders *rs, char *why, size_t why_size);
/* Where the caller is, for that; tm_responders_start() does it. */
void tm_responders_note_caller(struct tm_responders *rs);

/*
 * Moves the gaps seen since the last call, in order, at most `capacity`, with
 * the offset applied: in the initiator's ticks. Returns how many.
 */
size_t tm_responder_drain(struct tm_responder *r, struct tm_gap *gaps, size_t capacity);

/* The guarded access on the calling thread: 0, -EFAULT (SIGSEGV) or -EIO (SIGBUS). */
int tm_guarded_peek(const void *address, uint64_t *value);
int tm_guarded_poke(void *address, uint64_t value);
/* One load every `stride` bytes. */
int tm_guarded_touch(const void *start, size_t bytes, size_t stride);
/* Installs the handlers that the guarded accesses need; whole process. */
void tm_guard_install(void);

/*
 * Waits for the end of a thread that is about to end. pthread_join() sleeps on
 * a futex and aborts where the kernel has none (CONFIG_FUTEX).
 */
void tm_join(pthread_t thread);

/* Pins the calling thread to one CPU; 0 or -errno. */
int tm_pin(unsigned int cpu);

#endif /* TLBMARK_RESPONDER_H */
