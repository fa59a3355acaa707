/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The stale-translation oracle that the workloads on mappings share.
 *
 * A round stamps a few pages with words that were never used before, lets
 * every responder read them (so its TLB holds the translation), operates, and
 * then looks again from every responder and from here. A flush that is missing
 * shows as a responder that still reads the old stamp where it should fault,
 * read zero or read another word, or as a store that goes through, because the
 * processor took the translation from its TLB and never asked the page tables.
 *
 * What it cannot see: a stale entry that was evicted in between (the responder
 * spins, so few are), and one whose page was freed and zeroed for somebody
 * else before the responder looked, where zero is what is expected.
 */
#ifndef TLBMARK_ORACLE_H
#define TLBMARK_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <tlbmark/workload.h>

enum { ORACLE_PICKS = TM_ACCESSES_MAX };

/*
 * A call of verify() goes through at most this much memory and begins no round
 * after this time, but makes two rounds at least: large mappings take seconds
 * each, and so do responders on a guest's CPUs that are rarely on a real one.
 * v->checks tells.
 */
#define ORACLE_MOST_BYTES (UINT64_C(2) << 30)
#define ORACLE_MOST_SECONDS 5

enum oracle_see {
	ORACLE_STAMP, /* the stamps of now */
	ORACLE_ZERO,  /* zeros */
	ORACLE_FAULT, /* SIGSEGV or SIGBUS */
};

struct oracle {
	struct tm_thread *t;
	struct tm_verdict *v;
	uint64_t rounds; /* begun so far */
	time_t end;	 /* no round begins after it; CLOCK_MONOTONIC */
	uint64_t epoch;	 /* of the stamps; begins with 1, so a stamp is never zero */
	size_t stride;	 /* between two pages that may be picked */
	size_t picks;
	size_t offset[ORACLE_PICKS]; /* of the picked pages, in bytes */
	uint64_t since_ticks;	     /* when the looking began: the operation had returned */
};

/*
 * Begins the next of v->rounds rounds: picks pages of [0, bytes), the first
 * and the last among them, others at random. False after the last round, or
 * when it is enough (above).
 * *o begins as {.t = t, .v = v, .stride = ...}.
 */
bool oracle_next(struct oracle *o, size_t bytes);

/* From here on the stamps are others, never used before. */
static inline void oracle_renew(struct oracle *o)
{
	o->epoch++;
}

/* The word that picked page i should hold now. */
uint64_t oracle_stamp(const struct oracle *o, size_t i);

/* Writes the stamps from here; the pages must be writable. */
void oracle_write(const struct oracle *o, char *base);

/* The responders, each of them all; so their TLBs hold writable translations. 0 or -errno. */
int oracle_store(const struct oracle *o, char *base);

/*
 * Every responder and then this CPU reads the picked pages below `base`: one
 * check each. `when` says in the violation what had happened.
 */
void oracle_see(struct oracle *o, const char *base, enum oracle_see see, const char *when);

/*
 * Every responder and this CPU stores to the picked pages: each must fault,
 * and the words must be what they were where `readable`.
 */
void oracle_cannot_store(struct oracle *o, char *base, bool readable, const char *when);

#endif /* TLBMARK_ORACLE_H */
