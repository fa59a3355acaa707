// SPDX-License-Identifier: GPL-3.0-or-later
/* What a bout of a stress run is: drawn from the seed. See stress.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"
#include "random.h"
#include "stress.h"

enum {
	TRIES = 16,	   /* values drawn again that do not go together */
	USUAL_MAX = 64,	   /* a number is up to this three times in four, */
	UNUSUAL_MAX = 512, /* and else up to this: what is large takes long */
};

/* One of the values that a full plan would sweep. */
static int draw_number(const struct tm_param *p, uint64_t *random, uint64_t *out, char *why,
		       size_t why_size)
{
	const char *list = p->full ? p->full : p->plan ? p->plan : p->def;
	uint64_t most = tm_next_random(random) % 4 ? USUAL_MAX : UNUSUAL_MAX, *values;
	size_t count, fit = 0;
	int rc = tm_list_parse(p, list, &values, &count, why, why_size);

	if (rc)
		return rc;
	for (size_t i = 0; i < count; i++) {
		if (values[i] <= most)
			values[fit++] = values[i];
	}
	fit = fit ? fit : count;
	*out = fit ? values[tm_next_random(random) % fit] : 0;
	free(values);
	return 0;
}

static int draw_values(struct tm_cell_args *a, uint64_t *random, bool by_default, char *why,
		       size_t why_size)
{
	const struct tm_param *p = a->workload->params;
	int rc = 0;

	for (unsigned int i = 0; p && p[i].name && !rc; i++) {
		uint64_t *values;
		size_t count;

		if (!by_default && p[i].kind == TM_PARAM_UINT) {
			rc = draw_number(&p[i], random, &a->values[i], why, why_size);
			continue;
		}
		rc = tm_list_parse(&p[i], by_default ? p[i].def : "all", &values, &count, why,
				   why_size);
		if (rc)
			break;
		a->values[i] = values[tm_next_random(random) % count];
		free(values);
	}
	return rc;
}

static void draw_cpus(const struct tm_topo *topo, struct tm_cell *c, uint64_t *random,
		      struct tm_place_request *place)
{
	/* spin twice: it is where a missing flush shows best */
	static const enum tm_state states[] = {TM_STATE_SPIN, TM_STATE_SPIN, TM_STATE_TOUCH,
					       TM_STATE_KERNEL, TM_STATE_IDLE};
	unsigned int found = tm_topo_cpus(topo), cpus = found ? found : 1, others = cpus - 1;
	bool all = c->args.workload->all_initiate;
	uint64_t how = tm_next_random(random) % 4;

	/*
	 * Two CPUs as often as more: where a hypervisor or an emulator has fewer
	 * real ones, many wait for each other, and little is done.
	 */
	c->args.initiators = !all ? 1 : how < 2 && cpus > 2 ? 2 : cpus;
	c->args.responders = all || !others ? 0
			     : how < 2	    ? 1
			     : how == 2	    ? others
					    : 1 + (unsigned int)(tm_next_random(random) % others);
	c->state = c->args.responders ? states[tm_next_random(random) % 5] : TM_STATE_NONE;
	*place = (struct tm_place_request){
		.initiators = c->args.initiators,
		.responders = c->args.responders,
		.distance = TM_DISTANCE_ANY,
		.order = tm_next_random(random) % 2 ? TM_ORDER_SPREAD : TM_ORDER_COMPACT,
		.initiator_cpu =
			(int)tm_topo_cpu(topo, (unsigned int)(tm_next_random(random) % cpus)),
		.memory_node = -1,
	};
}

int tm_stress_draw(const struct tm_topo *topo, const struct tm_workload *w, uint64_t seed,
		   uint64_t bout, struct tm_cell *cell, char *why, size_t why_size)
{
	uint64_t random = seed ^ (bout * 0xd1342543de82ef95ull); /* one stream a bout */
	struct tm_place_request place;
	int rc = -ENOTSUP;

	memset(cell, 0, sizeof(*cell));
	cell->args.workload = w;
	cell->args.memory_node = -1;
	cell->verify = true;
	cell->verify_only = !w->self_checking;
	draw_cpus(topo, cell, &random, &place);
	for (int i = 0; rc == -ENOTSUP && i <= TRIES; i++) {
		rc = draw_values(&cell->args, &random, i == TRIES, why, why_size);
		if (!rc && w->probe_cell)
			rc = w->probe_cell(&cell->args, why, why_size);
	}
	cell->args.seed = tm_next_random(&random);
	return rc ? rc : tm_place(topo, &place, &cell->placement, why, why_size);
}
