// SPDX-License-Identifier: GPL-3.0-or-later
/* Whose turn it is in a stress run. See stress_turns.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"
#include "stress_turns.h"

enum {
	SHARES = 32,		/* of the time: of them have self-checking workloads */
	SELF_SHARE = 31,	/* so many, */
	EVEN_SELF_SHARE = 16,	/* or so many where the rate is nobody's concern, */
	OPENING_SELF_SHARE = 2, /* and so many while the opening lasts: so long, */
	OPENING_VISITS = 10,	/* or so many bouts of each workload on the average */
	FAILURES_MAX = 8,	/* in a row: then a workload is given up; */
	WAYS_MOST = 8,		/* with more ways a workload's visits are no more, */
	WAYS_LEAST = 5,		/* and of two the second one is not to be the last of all */
};
/*
 * At first everything is looked at, as often as there is time: who tries a patch
 * wants to know soon, and each visit of a workload draws but one kind of page.
 */
#define OPENING_NS 15000000000ull /* or until each has been looked at once */
#define OPENING_BOUT_NS 1000000ull
#define OPENING_SELF_BOUT_NS 100000000ull
#define BOUT_NS 300000000ull
#define SELF_BOUT_NS 1000000000ull

int tm_stress_turns_open(struct tm_stress_turns *t, struct tm_stress_path *paths, size_t path_count)
{
	*t = (struct tm_stress_turns){
		.paths = paths,
		.path_count = path_count,
		.deck = calloc(path_count + 1, sizeof(*t->deck)),
		.had_ns = calloc(path_count + 1, sizeof(*t->had_ns)),
		.in_a_row = calloc(path_count + 1, sizeof(*t->in_a_row)),
	};
	if (!t->deck || !t->had_ns || !t->in_a_row)
		return -ENOMEM;
	for (size_t i = 0; i < path_count; i++)
		t->in_a_row[i] = FAILURES_MAX;
	return 0;
}

void tm_stress_turns_free(struct tm_stress_turns *t)
{
	free(t->deck);
	free(t->had_ns);
	free(t->in_a_row);
	memset(t, 0, sizeof(*t));
}

void tm_stress_turns_add(struct tm_stress_turns *t, size_t path)
{
	t->in_a_row[path] = 0;
	if (t->paths[path].workload->self_checking)
		t->self_count++;
	else
		t->deck[t->deck_count++] = path;
}

/* Fisher-Yates. */
void tm_stress_turns_shuffle(struct tm_stress_turns *t, uint64_t *random)
{
	for (size_t i = t->deck_count; i > 1; i--) {
		size_t j = (size_t)(tm_next_random(random) % i), card = t->deck[i - 1];

		t->deck[i - 1] = t->deck[j];
		t->deck[j] = card;
	}
}

bool tm_stress_turns_left(const struct tm_stress_turns *t)
{
	return t->deck_count + t->self_count;
}

bool tm_stress_turns_opening(const struct tm_stress_turns *t)
{
	return !t->opened;
}

static size_t next_self(struct tm_stress_turns *t)
{
	for (;;) {
		size_t i = t->self_next++ % t->path_count;

		/* Not by skip_why: a single bout may have been skipped, too. */
		if (t->paths[i].workload->self_checking && t->in_a_row[i] < FAILURES_MAX)
			return i;
	}
}

/*
 * What is missing in one of a workload's ways is seen after as many visits, at most, as
 * it has ways. That they all wait for it as shortly as can be, on the average, takes visits in
 * proportion to the ways, over the square root of a visit's time: so this is to be
 * the same for all.
 */
static double share_had(const struct tm_stress_turns *t, size_t path)
{
	const struct tm_stress_path *p = &t->paths[path];
	uint64_t ways = tm_stress_ways(p->workload);

	ways = ways < WAYS_MOST ? ways : WAYS_MOST;
	ways = ways > 1 && ways < WAYS_LEAST ? WAYS_LEAST : ways;
	return (double)p->visits * (double)t->had_ns[path] / (double)(ways * ways);
}

static size_t next_checked(const struct tm_stress_turns *t)
{
	size_t least = 0;

	for (size_t i = 1; i < t->deck_count; i++) {
		if (share_had(t, t->deck[i]) < share_had(t, t->deck[least]))
			least = i;
	}
	return t->deck[least];
}

/* However slow the machine is, each has had a turn: who had none comes next. */
static bool opening_is_over(const struct tm_stress_turns *t, uint64_t now_ns)
{
	if (!t->deck_count)
		return true;
	if (!t->paths[next_checked(t)].visits)
		return false;
	return now_ns > OPENING_NS || t->count >= OPENING_VISITS * t->deck_count;
}

size_t tm_stress_turns_next(struct tm_stress_turns *t, uint64_t now_ns)
{
	uint64_t share;

	if (!t->opened && opening_is_over(t, now_ns)) {
		/* What the opening took is none of the mixture. */
		t->deck_ns = t->self_ns = 0;
		t->opened = true;
	}
	t->count++;
	share = !t->opened ? OPENING_SELF_SHARE : t->even ? EVEN_SELF_SHARE : SELF_SHARE;
	if (!t->deck_count ||
	    (t->self_count && t->self_ns * (SHARES - share) <= t->deck_ns * share))
		return next_self(t);
	return next_checked(t);
}

uint64_t tm_stress_turns_length(const struct tm_stress_turns *t, const struct tm_workload *w)
{
	if (w->self_checking)
		return tm_stress_turns_opening(t) ? OPENING_SELF_BOUT_NS : SELF_BOUT_NS;
	return t->opened ? BOUT_NS : OPENING_BOUT_NS;
}

/* What never works here is not tried for ever. */
static void give_up(struct tm_stress_turns *t, size_t path)
{
	struct tm_stress_path *p = &t->paths[path];

	if (!p->skip_why[0])
		snprintf(p->skip_why, sizeof(p->skip_why), "%.180s", p->fail_why);
	if (p->workload->self_checking) {
		t->self_count--;
		return;
	}
	for (size_t i = 0; i < t->deck_count; i++) {
		if (t->deck[i] != path)
			continue;
		memmove(&t->deck[i], &t->deck[i + 1], (t->deck_count - i - 1) * sizeof(*t->deck));
		t->deck_count--;
		return;
	}
}

void tm_stress_turns_done(struct tm_stress_turns *t, size_t path, uint64_t spent_ns)
{
	uint64_t least = t->opened ? BOUT_NS : OPENING_BOUT_NS;

	/* One that fails at once is a turn, too: or it would be next again, and given up in a moment. */
	if (t->in_a_row[path] && spent_ns < least)
		spent_ns = least;
	*(t->paths[path].workload->self_checking ? &t->self_ns : &t->deck_ns) += spent_ns;
	t->had_ns[path] += spent_ns;
	if (t->in_a_row[path] >= FAILURES_MAX)
		give_up(t, path);
}
