// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>

#include "aging.h"
#include "oracle.h"
#include "updates.h"
#include "witness.h"

enum {
	/* After a loss it is tried so often in all; so many losses are no coincidence. */
	TRIES = 8,
	LOSSES = 3,
	UNTOLD_MOST = 64, /* rounds in which the kernel had some of the pages in its hands */
};
#define UNTOLD INT64_MIN

int aging_check(char *why, size_t why_size)
{
	static char here[1];

	/*
	 * This page is mapped and was just used: 0 is the answer of a kernel that
	 * cannot tell. Written to, since the page of zeros counts for nobody.
	 */
	*(volatile char *)here = 1;
	if (pages_smaps_bytes(here, 1, "Referenced"))
		return 0;
	snprintf(why, why_size,
		 "no accessed bits in /proc/self/smaps (CONFIG_PROC_PAGE_MONITOR), which show "
		 "whether a flush was missing");
	return -ENOTSUP;
}

/* How many of the pages look used. */
static int64_t used(const struct pages *p)
{
	return (int64_t)(pages_smaps_bytes(p->at, p->bytes, "Referenced") / p->page_bytes);
}

/*
 * Every picked page is read by one responder, in turn, or by this CPU where there
 * is none. A fault is left to be found by those who check the content.
 */
static int read_picked(const struct oracle *o, const struct pages *p, unsigned int turn)
{
	unsigned int n = o->t->cell->responders;
	int rc = 0;

	for (size_t i = 0; i < o->picks && !rc; i++) {
		const char *at = p->at + o->offset[i];
		uint64_t value;

		rc = n ? tm_peek(o->t, (turn + (unsigned int)i) % n, at, &value)
		       : tm_self_peek(at, &value);
		if (rc == -EFAULT || rc == -EIO)
			rc = 0;
	}
	return rc;
}

static size_t distinct(const struct oracle *o)
{
	size_t count = 0;

	for (size_t i = 0; i < o->picks; i++) {
		size_t k = 0;

		while (o->offset[k] != o->offset[i])
			k++;
		count += k == i;
	}
	return count;
}

/*
 * Everyone reads, the pages are made old, some are read again: by how many
 * fewer pages than that look used. UNTOLD where some did not get old at all,
 * because the kernel had them in its hands, or made others of them; else -errno.
 */
static int64_t lost(struct oracle *o, const struct pages *p, aging_how *age, void *argument,
		    const char *name)
{
	int64_t expected = (int64_t)distinct(o), found;
	char when[64];
	int rc;

	snprintf(when, sizeof(when), "before %s", name);
	oracle_see(o, p->at, ORACLE_STAMP, when);
	rc = age(o->t, p, argument);
	if (rc)
		return rc;
	if (used(p))
		return UNTOLD;
	rc = read_picked(o, p, (unsigned int)o->rounds);
	if (rc)
		return rc;
	found = used(p);
	/* Reclaim makes base pages of huge ones, of which those that were read are but some bytes. */
	if (found < expected && !pages_are_huge(p, p->at, p->bytes)) {
		tm_unchecked(o->v, "uses after %s: huge pages became small ones", name);
		return UNTOLD;
	}
	return found < expected ? expected - found : 0;
}

/* What is there, and what one CPU stores, in turn, is what all see. */
static int check_content(struct oracle *o, const struct pages *p, const char *name)
{
	unsigned int writer = (unsigned int)(o->rounds % witness_count(o->t));
	volatile uint64_t *word = (volatile uint64_t *)(p->at + o->offset[o->rounds % o->picks]);
	uint64_t value = tm_random(o->t);
	char when[64];
	int rc;

	snprintf(when, sizeof(when), "after %s", name);
	oracle_see(o, p->at, ORACLE_STAMP, when);
	rc = witness_store(o->t, writer, word, value);
	return rc ? rc : witness_all_read(o->t, word, value, when, o->v);
}

/*
 * One round: 1 where pages that were read do not look used, time and again, and
 * 0 where they do; else as lost().
 */
static int64_t is_lost(struct oracle *o, const struct pages *p, aging_how *age, void *argument,
		       const char *name)
{
	int64_t missing = lost(o, p, age, argument, name);
	int losses = missing > 0;

	if (missing < 0)
		return missing;
	for (int i = 1; i < TRIES && losses && losses < LOSSES; i++) {
		missing = lost(o, p, age, argument, name);
		if (missing < 0 && missing != UNTOLD)
			return missing;
		losses += missing > 0;
	}
	return losses == LOSSES;
}

/* While others write: an entry that is cleared and set again may swallow none of it. */
static int check_updates(struct tm_thread *t, const struct pages *p, struct tm_verdict *v,
			 aging_how *age, void *argument)
{
	struct updates u = {0};
	int rc = updates_start(t, &u, p->at, p->bytes, p->page_bytes);

	if (rc)
		return rc;
	for (uint64_t i = 0; i < v->rounds && !rc; i++)
		rc = age(t, p, argument);
	updates_stop(&u);
	if (!rc)
		updates_check(&u, v);
	return rc;
}

/* One round; *told counts those in which accessed bits could be looked at. */
static int check_round(struct oracle *o, const struct pages *p, aging_how *age, void *argument,
		       const char *name, uint64_t *told)
{
	int64_t missing;

	oracle_write(o, p->at);
	missing = is_lost(o, p, age, argument, name);
	if (missing < 0 && missing != UNTOLD)
		return tm_fail(o->t, (int)missing, "looking at accessed bits after %s", name);
	if (missing != UNTOLD) {
		++*told;
		tm_check(o->v, !missing,
			 "a page that was read after %s does not look used: it was read "
			 "through an old entry",
			 name);
	}
	return check_content(o, p, name);
}

int aging_verify(struct tm_thread *t, const struct pages *p, struct tm_verdict *v, aging_how *age,
		 void *argument, const char *name)
{
	struct oracle o = {.t = t, .v = v, .stride = p->page_bytes};
	uint64_t told = 0;
	int rc = 0;

	while (!rc && oracle_next(&o, p->bytes))
		rc = check_round(&o, p, age, argument, name, &told);
	/* A round or two that told nothing is what reclaim beside it makes. */
	for (int i = 0; i < UNTOLD_MOST && !rc && !told && pages_are_huge(p, p->at, p->bytes);
	     i++) {
		oracle_renew(&o);
		rc = check_round(&o, p, age, argument, name, &told);
	}
	if (!rc && !told && pages_are_huge(p, p->at, p->bytes))
		rc = tm_fail(t, -EBUSY, "%s left some pages as used, each time", name);
	rc = rc ? rc : check_updates(t, p, v, age, argument);
	return rc ? tm_fail(t, rc, "checking %s", name) : 0;
}
