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

/* What access i was on responder r, or here, where it has not been made yet. */
static struct tm_access outcome(const struct oracle *o, unsigned int r,
				const struct tm_access *wanted, size_t i)
{
	struct tm_access a = wanted[i];

	if (r < o->t->cell->responders)
		return tm_accessed(o->t, r)[i];
	a.error = a.store ? tm_self_poke(a.address, a.value) : tm_self_peek(a.address, &a.value);
	return a;
}

/* Where it must: beyond a file's end and with userfaultfd by SIGBUS, else by SIGSEGV. */
static bool faulted(const struct tm_access *a)
{
	return a->error == -EFAULT || a->error == -EIO;
}

/*
 * SIGBUS where a page should be is of a pool without huge pages, of a disk or memory
 * that fails: a translation, old or new, cannot make it.
 */
static void see_one(struct oracle *o, unsigned int r, const struct tm_access *a, size_t i,
		    enum oracle_see see, const char *when)
{
	uint64_t wanted = see == ORACLE_STAMP ? oracle_stamp(o, i) : 0;
	size_t page = o->offset[i] / o->stride;
	uint64_t ticks = tm_ticks() - o->since_ticks;
	char name[NAME];

	if (see == ORACLE_FAULT ? faulted(a) : !a->error && a->value == wanted) {
		tm_checked(o->v, 1);
		return;
	}
	who(o, r, name, sizeof(name));
	if (see != ORACLE_FAULT && a->error == -EIO) {
		tm_unchecked(o->v, "page %zu %s, for %s could not have it (SIGBUS)", page, when,
			     name);
		return;
	}
	if (see == ORACLE_FAULT)
		tm_check(o->v, false,
			 "%s read %#" PRIx64 " at %p (page %zu) %s (%" PRIu64 " ticks): no fault",
			 name, a->value, a->address, page, when, ticks);
	else if (a->error)
		tm_check(o->v, false, "%s could not read %p (page %zu) %s (%" PRIu64 " ticks)",
			 name, a->address, page, when, ticks);
	else
		tm_check(o->v, false,
			 "%s read %#" PRIx64 " at %p (page %zu) %s (%" PRIu64
			 " ticks), not %#" PRIx64,
			 name, a->value, a->address, page, when, ticks, wanted);
}

/*
 * This CPU last: its fault could put a new page where the stale one is sought.
 * The last page first: an emulator with protection keys drops a CPU's whole TLB
 * when a signal is delivered, so behind a fault nothing is stale any more; and
 * of a range, what is forgotten is the end.
 */
static void look(struct oracle *o, struct tm_access *wanted, char *base, bool store)
{
	o->since_ticks = tm_ticks();
	tm_returned(o->since_ticks);
	for (size_t i = 0; i < o->picks; i++)
		wanted[i] = (struct tm_access){.address = base + o->offset[o->picks - 1 - i],
					       .store = store,
					       .value = store ? UINT64_MAX : 0};
	/* One that did not answer fails the run (workload.h). */
	(void)tm_access_all(o->t, wanted, (unsigned int)o->picks);
}

void oracle_see(struct oracle *o, const char *base, enum oracle_see see, const char *when)
{
	struct tm_access wanted[ORACLE_PICKS];

	look(o, wanted, (char *)(uintptr_t)base, false);
	for (unsigned int r = 0; r <= o->t->cell->responders; r++) {
		for (size_t i = 0; i < o->picks; i++) {
			const struct tm_access a = outcome(o, r, wanted, i);

			see_one(o, r, &a, o->picks - 1 - i, see, when);
		}
	}
}

void oracle_cannot_store(struct oracle *o, char *base, bool readable, const char *when)
{
	struct tm_access wanted[ORACLE_PICKS];
	char name[NAME];

	look(o, wanted, base, true);
	for (unsigned int r = 0; r <= o->t->cell->responders; r++) {
		for (size_t i = 0; i < o->picks; i++) {
			const struct tm_access a = outcome(o, r, wanted, i);

			tm_check(o->v, faulted(&a),
				 "%s stored to %p (page %zu) %s (%" PRIu64 " ticks)",
				 who(o, r, name, sizeof(name)), a.address,
				 o->offset[o->picks - 1 - i] / o->stride, when,
				 tm_ticks() - o->since_ticks);
		}
	}
	if (readable)
		oracle_see(o, base, ORACLE_STAMP, when);
}

int oracle_store(const struct oracle *o, char *base)
{
	struct tm_access wanted[ORACLE_PICKS];
	int rc;

	for (size_t i = 0; i < o->picks; i++)
		wanted[i] = (struct tm_access){
			.address = base + o->offset[i], .store = true, .value = oracle_stamp(o, i)};
	rc = tm_access_all(o->t, wanted, (unsigned int)o->picks);
	for (unsigned int r = 0; !rc && r < o->t->cell->responders; r++) {
		for (size_t i = 0; !rc && i < o->picks; i++)
			rc = tm_accessed(o->t, r)[i].error;
	}
	return rc;
}
