// SPDX-License-Identifier: GPL-3.0-or-later
/* What a bout of a stress run is: drawn from the seed. See stress.h. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"
#include "random.h"
#include "stress.h"

enum {
	TRIES = 54,	   /* values drawn again that do not go together, */
	SAME = 6,	   /* at first with other numbers, */
	KEPT = 30,	   /* then keeping one of the choices, and then another one */
	USUAL_MAX = 64,	   /* a number is up to this three times in four, */
	UNUSUAL_MAX = 512, /* and else up to this: what is large takes long, */
	HUGE_MAX = 4,	   /* and huge pages are: three times in four */
	EARLY = 16,	   /* so many visits are small: every path is to be seen soon */
};

/* What one visit of a workload is drawn from. */
struct draw {
	uint64_t random; /* of this visit alone */
	uint64_t seed;	 /* of all visits of this workload */
	uint64_t visit;
	uint64_t all; /* visits that see all ways */
	bool early, often;
};

/*
 * The turn's value of n, in an order that is drawn for each `all` visits; at first it
 * begins with `first`, unless that is n.
 */
static size_t in_order(const struct draw *d, uint64_t which, size_t n, size_t first, uint64_t all,
		       uint64_t turn)
{
	uint64_t random = d->seed ^ (which + 1) * 0x9fb21c651e98df25ull ^
			  (d->visit / all + 1) * 0xd1342543de82ef95ull;
	size_t *order = calloc(n, sizeof(*order)), at;

	if (!order)
		return (size_t)(turn % n);
	for (size_t i = 0; i < n; i++)
		order[i] = i;
	/* Fisher-Yates. */
	for (size_t i = n - 1; i; i--) {
		size_t j = (size_t)(tm_next_random(&random) % (i + 1)), card = order[i];

		order[i] = order[j];
		order[j] = card;
	}
	for (size_t i = 0; i < n; i++) {
		if (order[i] == first && d->visit < all) {
			order[i] = order[0];
			order[0] = first;
		}
	}
	at = order[turn % n];
	free(order);
	return at;
}

/* How many a choice has; 1 where it is none. */
static uint64_t values_of(const struct tm_param *p)
{
	uint64_t n = 0;

	while (p->kind == TM_PARAM_CHOICE && p->choices[n])
		n++;
	return n ? n : 1;
}

uint64_t tm_stress_ways(const struct tm_workload *w)
{
	uint64_t ways = 1;

	for (const struct tm_param *p = w->params; p && p->name; p++)
		ways *= values_of(p);
	return ways;
}

static size_t default_of(const struct tm_param *p)
{
	size_t i = 0;

	while (p->kind == TM_PARAM_CHOICE && p->choices[i] && strcmp(p->choices[i], p->def))
		i++;
	return i;
}

static uint64_t lcm(uint64_t a, uint64_t b)
{
	uint64_t x = a, y = b;

	while (y) {
		uint64_t rest = x % y;

		x = y;
		y = rest;
	}
	return a / x * b;
}

static bool share_a_factor(uint64_t a, uint64_t b)
{
	return lcm(a, b) != a * b;
}

/*
 * The parameters whose turns are known: how many values each has, and after how many
 * visits it is one further.
 */
struct turns {
	unsigned int count;
	uint64_t n[TM_MAX_PARAMS], round[TM_MAX_PARAMS];
	uint64_t all; /* visits until those of all begin again together */
};

/*
 * After how many visits the next parameter, of n values, has to be one further, so that
 * it goes round together with no other. UINT64_MAX: never, it is the first.
 */
static uint64_t next_round(struct turns *t, uint64_t n)
{
	uint64_t round = lcm(t->all, n);

	t->all = round;
	if (!t->count)
		return UINT64_MAX;
	for (unsigned int i = 0; i < t->count; i++) {
		if (t->round[i] != round || !share_a_factor(n, t->n[i]))
			continue;
		round *= t->n[i];
		i = UINT_MAX; /* from the first again: it may be that one's by now */
	}
	return round;
}

/*
 * The visit's value of n. Every n visits go through all of them: what is wrong with
 * one kind of page is found with the n-th visit, not when chance wants it. And
 * what is wrong with one kind, done in one way, with the visit that all pairs take:
 * where two parameters would go round together, the latter is one further each time.
 * The first visit takes all defaults: the path as it is known, and a setting as it is.
 */
static size_t in_turn(const struct draw *d, const struct tm_param *p, uint64_t which, size_t n,
		      struct turns *t)
{
	uint64_t round;

	if (n <= 1)
		return 0;
	round = next_round(t, n);
	t->n[t->count] = n;
	t->round[t->count++] = round;
	return in_order(d, which, n, default_of(p), d->all, d->visit + d->visit / round);
}

static bool has_huge_pages(const struct tm_cell_args *a)
{
	const struct tm_param *p = a->workload->params;

	for (unsigned int i = 0; p && p[i].name; i++) {
		const char *name = p[i].kind == TM_PARAM_CHOICE ? p[i].choices[a->values[i]] : "";

		/* "thp-part", too; and what makes huge pages counts them. */
		if (!strncmp(name, "thp", 3) || !strcmp(name, "hugetlb") ||
		    !strcmp(name, "collapse"))
			return true;
	}
	return false;
}

/* One of the values that a full plan would sweep. */
static int draw_number(const struct tm_param *p, struct draw *d, bool huge, uint64_t *out,
		       char *why, size_t why_size)
{
	const char *list = p->full ? p->full : p->plan ? p->plan : p->def;
	uint64_t most = d->often ? USUAL_MAX : UNUSUAL_MAX, *values;
	size_t count, fit = 0;
	int rc = tm_list_parse(p, list, &values, &count, why, why_size);

	if (rc)
		return rc;
	if ((huge && !strcmp(p->unit, "pages")) || !strcmp(p->unit, "huge pages"))
		most = d->often ? HUGE_MAX : USUAL_MAX;
	for (size_t i = 0; i < count; i++) {
		if (values[i] <= most)
			values[fit++] = values[i];
	}
	fit = fit ? fit : count;
	*out = fit ? values[tm_next_random(&d->random) % fit] : 0;
	free(values);
	return 0;
}

/*
 * Where a try keeps but one of the choices, of those in turn: which. One further with
 * each round of the first: a value has its turn once a round, always at the same visit
 * of it, and is to be the one that is kept at some of them.
 */
static uint64_t kept_choice(const struct tm_param *p, const struct draw *d, int try)
{
	uint64_t choices = 0, round = 0;

	for (; p && p->name; p++) {
		if (p->kind == TM_PARAM_CHOICE && !choices++)
			round = values_of(p);
	}
	return choices ? (d->visit / round + (try >= KEPT)) % choices : 0;
}

/*
 * The choices by turns, unless those do not go together with any number: then one of
 * them by its turn, for it is not to be missed, and the others drawn. And the
 * numbers, which follow them: where small ones are refused, larger ones.
 */
static int draw_values(struct tm_cell_args *a, struct draw *d, int try, char *why, size_t why_size)
{
	const struct tm_param *p = a->workload->params;
	uint64_t choice = 0, kept = kept_choice(p, d, try);
	struct turns turns = {.all = 1};
	bool by_default = try == TRIES;
	int rc = 0;

	for (unsigned int i = 0; p && p[i].name && !rc; i++) {
		uint64_t *values;
		size_t count, at;

		if (!by_default && p[i].kind == TM_PARAM_UINT)
			continue;
		rc = tm_list_parse(&p[i], by_default ? p[i].def : "all", &values, &count, why,
				   why_size);
		if (rc)
			break;
		at = in_turn(d, &p[i], i, count, &turns);
		if (try >= SAME && choice++ != kept)
			at = (size_t)(tm_next_random(&d->random) % count);
		a->values[i] = values[at];
		free(values);
	}
	d->often = try % SAME ? false : d->early || tm_next_random(&d->random) % 4;
	for (unsigned int i = 0; !by_default && p && p[i].name && !rc; i++) {
		if (p[i].kind == TM_PARAM_UINT)
			rc = draw_number(&p[i], d, has_huge_pages(a), &a->values[i], why, why_size);
	}
	return rc;
}

enum { STATES = 5 };

/*
 * Spin first, and twice: it is where a missing flush shows best. What sleeps comes last
 * of the first five, since a window that is short is over when it is awake; or first,
 * where the workload needs its CPU.
 */
static enum tm_state draw_state(const struct tm_workload *w, const struct draw *d)
{
	static const enum tm_state states[STATES] = {TM_STATE_SPIN, TM_STATE_SPIN, TM_STATE_TOUCH,
						     TM_STATE_KERNEL, TM_STATE_IDLE};
	enum { IDLE = STATES - 1, WHICH = TM_MAX_PARAMS };

	if (w->second_thread)
		return states[in_order(d, WHICH, STATES, IDLE, STATES, d->visit)];
	if (d->visit < IDLE)
		return states[in_order(d, WHICH, IDLE, 0, IDLE, d->visit)];
	if (d->visit == IDLE)
		return TM_STATE_IDLE;
	return states[in_order(d, WHICH, STATES, 0, STATES, d->visit)];
}

static void draw_cpus(const struct tm_topo *topo, struct tm_cell *c, struct draw *d,
		      struct tm_place_request *place)
{
	unsigned int found = tm_topo_cpus(topo), cpus = found ? found : 1, others = cpus - 1;
	bool all = c->args.workload->all_initiate;
	enum tm_state state = draw_state(c->args.workload, d);
	uint64_t how = tm_next_random(&d->random) % 4;

	/*
	 * Two CPUs as often as more, and at first more only if they sleep: where a
	 * hypervisor or an emulator has fewer real ones, many wait for each other,
	 * and little is done.
	 */
	if (d->early && (all || state != TM_STATE_IDLE))
		how = 0;
	c->args.initiators = !all ? 1 : how < 2 && cpus > 2 ? 2 : cpus;
	c->args.responders = all || !others ? 0
			     : how < 2	    ? 1
			     : how == 2	    ? others
					: 1 + (unsigned int)(tm_next_random(&d->random) % others);
	c->state = c->args.responders ? state : TM_STATE_NONE;
	*place = (struct tm_place_request){
		.initiators = c->args.initiators,
		.responders = c->args.responders,
		.distance = TM_DISTANCE_ANY,
		.order = tm_next_random(&d->random) % 2 ? TM_ORDER_SPREAD : TM_ORDER_COMPACT,
		.initiator_cpu =
			(int)tm_topo_cpu(topo, (unsigned int)(tm_next_random(&d->random) % cpus)),
		.memory_node = -1,
	};
}

/* FNV-1a: another stream for each workload. */
static uint64_t hash(const char *name)
{
	uint64_t h = 0xcbf29ce484222325ull;

	while (*name)
		h = (h ^ (unsigned char)*name++) * 0x100000001b3ull;
	return h;
}

static int probe_cell(const struct tm_stress_source *from, const struct tm_cell_args *a, char *why,
		      size_t why_size)
{
	const struct tm_workload *w = a->workload;

	if (!from->patient && w->patient_cell && w->patient_cell(a)) {
		snprintf(why, why_size, "it waits for the kernel");
		return -ENOTSUP;
	}
	return w->probe_cell ? w->probe_cell(a, why, why_size) : 0;
}

int tm_stress_draw(const struct tm_stress_source *from, const struct tm_workload *w, uint64_t visit,
		   struct tm_cell *cell, char *why, size_t why_size)
{
	struct draw d = {.seed = from->seed ^ hash(w->name),
			 .visit = visit,
			 .all = tm_stress_ways(w),
			 .early = visit < EARLY};
	struct tm_place_request place;
	int rc = -ENOTSUP;

	d.random = d.seed ^ (visit + 1) * 0xd1342543de82ef95ull;
	memset(cell, 0, sizeof(*cell));
	cell->args.workload = w;
	cell->args.memory_node = -1;
	cell->verify = true;
	cell->verify_only = !w->self_checking;
	draw_cpus(from->topo, cell, &d, &place);
	for (int i = 0; rc == -ENOTSUP && i <= TRIES; i++) {
		rc = draw_values(&cell->args, &d, i, why, why_size);
		rc = rc ? rc : probe_cell(from, &cell->args, why, why_size);
	}
	cell->args.seed = tm_next_random(&d.random);
	return rc ? rc : tm_place(from->topo, &place, &cell->placement, why, why_size);
}
