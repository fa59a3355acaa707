// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>

#include "witness.h"
#include "writes.h"

static volatile uint64_t *word_at(const struct oracle *o, char *base, size_t i)
{
	return (volatile uint64_t *)(base + o->offset[i]);
}

int writes_by_all(const struct oracle *o, char *base)
{
	oracle_write(o, base);
	return oracle_store(o, base);
}

/* Who stores to pick i: over the rounds everybody to each. */
static unsigned int writer_of(const struct oracle *o, size_t i)
{
	uint64_t witnesses = UINT64_C(1) + o->t->cell->responders;

	return (unsigned int)((i + o->rounds) % witnesses);
}

/* One page may be picked twice. */
static bool chosen(const struct oracle *o, uint64_t picks, size_t i)
{
	for (size_t k = 0; k < o->picks; k++) {
		if ((picks >> k & 1) && o->offset[k] == o->offset[i])
			return true;
	}
	return false;
}

static int store_to(const struct oracle *o, const struct writes *w, uint64_t picks)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < o->picks; i++) {
		if (picks >> i & 1)
			rc = witness_store(o->t, writer_of(o, i), word_at(o, w->base, i),
					   oracle_stamp(o, i));
	}
	return rc;
}

static int look_at(const struct oracle *o, const struct writes *w, uint64_t picks)
{
	for (size_t i = 0; i < o->picks; i++) {
		size_t page = o->offset[i] / o->stride;
		unsigned int writer = writer_of(o, i);
		int named = w->named(o->t, w->context, w->base + o->offset[i]);
		int rc = named < 0 ? named : 0;

		if (rc)
			return rc;
		if (picks >> i & 1) {
			tm_check(o->v, named, "%s %u stored to page %zu after %s: not noted",
				 writer ? "responder" : "initiator", writer ? writer - 1 : 0, page,
				 w->by);
			rc = witness_all_read(o->t, word_at(o, w->base, i), oracle_stamp(o, i),
					      "after the store was noted", o->v);
		} else if (w->only && !chosen(o, picks, i)) {
			/* The kernel may, for reasons of its own: that is no flush that is missing. */
			if (named)
				tm_unchecked(o->v, "page %zu, noted after %s without a store", page,
					     w->by);
			else
				tm_checked(o->v, 1);
		}
		if (rc)
			return tm_fail(o->t, rc, "reading what was stored");
	}
	return 0;
}

int writes_check(struct tm_thread *t, struct tm_verdict *v, const struct writes *w)
{
	struct oracle o = {.t = t, .v = v, .stride = w->stride};

	while (oracle_next(&o, w->bytes)) {
		/* Some, and one for certain. */
		uint64_t picks = tm_random(t) | UINT64_C(1) << o.rounds % o.picks;
		int rc = w->restore(t, w->context);

		if (rc)
			return rc;
		rc = writes_by_all(&o, w->base);
		if (rc)
			return tm_fail(t, rc, "storing before %s", w->by);
		rc = w->clear(t, w->context);
		if (rc)
			return rc;
		oracle_renew(&o);
		rc = store_to(&o, w, picks);
		if (rc)
			return tm_fail(t, rc, "storing after %s", w->by);
		rc = look_at(&o, w, picks);
		if (rc)
			return rc;
	}
	return 0;
}
