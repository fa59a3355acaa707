// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <inttypes.h>

#include <tlbmark/arch.h>

#include "oracle.h"

enum { NAME = 48 };

bool oracle_next(struct oracle *o, size_t bytes)
{
	size_t pages = bytes / o->stride;
	struct timespec now;

	if (o->rounds == o->v->rounds)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!o->rounds)
		o->end = now.tv_sec + ORACLE_MOST_SECONDS;
	if (o->rounds >= 2 && (now.tv_sec > o->end || o->rounds * bytes >= ORACLE_MOST_BYTES))
		return false;
	o->rounds++;
	oracle_renew(o);
	o->picks = pages < ORACLE_PICKS ? pages : ORACLE_PICKS;
	for (size_t i = 0; i < o->picks; i++) {
		size_t page = i;

		if (i == o->picks - 1)
			page = pages - 1;
		else if (i && pages > ORACLE_PICKS)
			page = 1 + tm_random(o->t) % (pages - 2);
		o->offset[i] = page * o->stride;
	}
	return true;
}

/* By place and not by pick: a page that is picked twice has one stamp. */
uint64_t oracle_stamp(const struct oracle *o, size_t i)
{
	return o->epoch << 40 | (o->offset[i] / o->stride + 1);
}

void oracle_write(const struct oracle *o, char *base)
{
	for (size_t i = 0; i < o->picks; i++)
		*(volatile uint64_t *)(base + o->offset[i]) = oracle_stamp(o, i);
}

static const char *who(const struct oracle *o, unsigned int r, char *name, size_t size)
{
	if (r == o->t->cell->responders)
		snprintf(name, size, "the initiator, CPU %u,", o->t->cpu);
	else
		snprintf(name, size, "responder %u, CPU %u,", r, tm_responder_cpu(o->t, r));
	return name;
}

static int peek(const struct oracle *o, unsigned int r, const char *at, uint64_t *value)
{
	*value = 0;
	if (r == o->t->cell->responders)
		return tm_self_peek(at, value);
	return tm_peek(o->t, r, at, value);
}

static int poke(const struct oracle *o, unsigned int r, char *at, uint64_t value)
{
	if (r == o->t->cell->responders)
		return tm_self_poke(at, value);
	return tm_poke(o->t, r, at, value);
}

static void see_one(struct oracle *o, unsigned int r, const char *base, size_t i,
		    enum oracle_see see, const char *when)
{
	uint64_t got, wanted = see == ORACLE_STAMP ? oracle_stamp(o, i) : 0;
	size_t page = o->offset[i] / o->stride;
	int rc = peek(o, r, base + o->offset[i], &got);
	uint64_t ticks = tm_ticks() - o->since_ticks;
	char name[NAME];

	if (see == ORACLE_FAULT ? rc == -EFAULT : !rc && got == wanted) {
		tm_checked(o->v, 1);
		return;
	}
	who(o, r, name, sizeof(name));
	if (see == ORACLE_FAULT)
		tm_check(o->v, false,
			 "%s read %#" PRIx64 " at %p (page %zu) %s (%" PRIu64 " ticks): no fault",
			 name, got, (const void *)(base + o->offset[i]), page, when, ticks);
	else if (rc)
		tm_check(o->v, false, "%s could not read %p (page %zu) %s (%" PRIu64 " ticks)",
			 name, (const void *)(base + o->offset[i]), page, when, ticks);
	else
		tm_check(o->v, false,
			 "%s read %#" PRIx64 " at %p (page %zu) %s (%" PRIu64
			 " ticks), not %#" PRIx64,
			 name, got, (const void *)(base + o->offset[i]), page, when, ticks, wanted);
}

void oracle_see(struct oracle *o, const char *base, enum oracle_see see, const char *when)
{
	o->since_ticks = tm_ticks();
	/*
	 * This CPU last: its fault could put a new page where the stale one is sought.
	 * The last page first: an emulator with protection keys drops a CPU's whole TLB
	 * when a signal is delivered, so behind a fault nothing is stale any more; and
	 * of a range, what is forgotten is the end.
	 */
	for (unsigned int r = 0; r <= o->t->cell->responders; r++) {
		for (size_t i = o->picks; i--;)
			see_one(o, r, base, i, see, when);
	}
}

void oracle_cannot_store(struct oracle *o, char *base, bool readable, const char *when)
{
	char name[NAME];

	o->since_ticks = tm_ticks();
	for (unsigned int r = 0; r <= o->t->cell->responders; r++) {
		for (size_t i = o->picks; i--;) {
			int rc = poke(o, r, base + o->offset[i], UINT64_MAX);

			tm_check(o->v, rc == -EFAULT,
				 "%s stored to %p (page %zu) %s (%" PRIu64 " ticks)",
				 who(o, r, name, sizeof(name)), (void *)(base + o->offset[i]),
				 o->offset[i] / o->stride, when, tm_ticks() - o->since_ticks);
		}
	}
	if (readable)
		oracle_see(o, base, ORACLE_STAMP, when);
}
