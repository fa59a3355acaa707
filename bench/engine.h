/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The run process's inside: what the phases (engine.c) and the functions that
 * workloads call (workload_api.c) share.
 */
#ifndef TLBMARK_ENGINE_H
#define TLBMARK_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "fold.h"
#include "responder.h"
#include "run.h"

enum { TM_EVENTS_MAX = 1 << 15 }; /* taken from the probe at once */

struct tm_initiator {
	struct tm_thread t;
	struct tm_engine *engine;
	pthread_t thread;
	struct tm_hist *op;		/* with several initiators: its own operations */
	uint64_t ops, done;		/* measured; and with those that are dropped */
	volatile uint32_t in_operation; /* with several: nobody reads it */
};

struct tm_engine {
	const struct tm_cell *cell;
	const struct tm_run_context *context;
	struct tm_result *r;
	void *state;
	struct tm_initiator *initiator;
	unsigned int initiators;
	struct tm_responders responders;
	struct tm_responders bystanders; /* see deterministic.h */
	bool attribute;			 /* one initiator, and gaps: they belong to operations */
	uint64_t arm_timeout_ticks, settle_ticks, settle_mask;

	/* Where the initiators wait for each other. */
	_Atomic unsigned int arrived, meetings;
	_Atomic int start; /* 0: wait; 1: all threads exist; -1: leave */
	_Atomic bool failed;
	uint64_t warm_end_ticks, end_ticks;
	size_t batch_limit;
	uint32_t dropped; /* operations at the head of the batch that do not count */
	bool measuring;	  /* after the warm-up; constant between two barriers */

	struct tm_fold *fold;
	struct tm_gap *gaps;
	struct tm_event *events;
	struct tm_tick_event *tick_events;
	struct tm_hist **delivery, **stolen; /* a responder each */
	struct tm_clock_pair pair;	     /* at the last drain */

	bool lost; /* a responder did not answer the oracle, which is closed */
};

/* Before the run process is made: where its helpers may go, a cpu_set_t of so many bytes. */
void tm_roam_within(const void *set, size_t bytes);

/*
 * Runs the cell in the calling process, which must be fresh, single-threaded
 * and pinned to the first initiator's CPU. Everything it has to say is in *r.
 */
void tm_engine_run(const struct tm_cell *cell, const struct tm_run_context *context,
		   struct tm_result *r);

/* Asks the workload's oracle, as often as the cell wants, where it has one. */
void tm_engine_verify(struct tm_engine *e);

/* Fails the run if somebody who takes part in it is gone, see tm_responders_missing(). */
bool tm_engine_lost_one(struct tm_engine *e);

#endif /* TLBMARK_ENGINE_H */
