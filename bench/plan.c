// SPDX-License-Identifier: GPL-3.0-or-later
/* The plan: rows from the descriptors' sweeps, cells from rows. See plan.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan_internal.h"
#include "random.h"

enum {
	CELLS_MAX = 1 << 20,
	OTHER_FLOORS = 3, /* CPUs beside the chosen one that the IPI floor is taken from */
	RUN_OVERHEAD_NS = 60000000, /* process, responders, clocks: seen, roughly */
};

#define DETERMINISTIC_OPS 100
#define DETERMINISTIC_REPEATS 3 /* the median is of two that agree */
#define QUICK_BUDGET_NS 4000000000ull
#define DEFAULT_BUDGET_NS 45000000000ull
#define FULL_CELL_NS 500000000ull
#define CELL_MIN_NS 20000000ull
#define CELL_MAX_NS 1000000000ull

/* Room for one more element; the array may move. */
static int grow(void **array, size_t count, size_t *capacity, size_t size)
{
	size_t more = *capacity ? 2 * *capacity : 64;
	void *p;

	if (count < *capacity)
		return 0;
	if (more > CELLS_MAX)
		return -E2BIG;
	p = realloc(*array, more * size);
	if (!p)
		return -ENOMEM;
	*array = p;
	*capacity = more;
	return 0;
}

static int add_skip(struct tm_plan_builder *b, const char *label, const char *why)
{
	struct tm_plan_skip *s;
	int rc = grow((void **)&b->out->skips, b->out->skip_count, &b->skip_capacity, sizeof(*s));

	if (rc)
		return rc;
	s = &b->out->skips[b->out->skip_count++];
	snprintf(s->label, sizeof(s->label), "%s", label);
	snprintf(s->why, sizeof(s->why), "%s", why);
	return 0;
}

/* CPUs that `state` may use, other than `taken` of them. */
static unsigned int cpus_left(const struct tm_plan_builder *b, enum tm_state state,
			      unsigned int taken)
{
	unsigned int isolated = (unsigned int)b->q->isolated_count;
	unsigned int others = tm_topo_cpus(b->topo) - isolated;

	if (state == TM_STATE_ISOLATED)
		return isolated;
	return others > taken ? others - taken : 0;
}

/*
 * Places one cell and adds it to the block. A control sits where the cell it
 * is for (`twin`) does. -ERANGE: not enough CPUs.
 */
static int add_cell(struct tm_plan_builder *b, const struct tm_cell_args *args, enum tm_state state,
		    enum tm_distance distance, enum tm_role role, const struct tm_placement *twin)
{
	const struct tm_plan_request *q = b->q;
	struct tm_place_request place = {
		.initiators = args->initiators,
		.responders = args->responders,
		.distance = distance,
		.order = b->order,
		.initiator_cpu = b->from,
		.memory_node = q->memory_node,
	};
	struct tm_plan_cell *c;
	int rc;

	if (state == TM_STATE_ISOLATED && !q->isolated_count) {
		snprintf(
			b->why, b->why_size,
			"--state isolated: no CPU is isolated here; boot with nohz_full= or isolcpus=");
		return -ERANGE;
	}
	/* Isolated CPUs are for responders that ask for them, and for nobody else. */
	place.avoid = q->isolated;
	place.avoid_count = (unsigned int)q->isolated_count;
	if (state == TM_STATE_ISOLATED) {
		bool enough = q->nohz_full_count >= args->responders;

		place.only = enough ? q->nohz_full : q->isolated;
		place.only_count = (unsigned int)(enough ? q->nohz_full_count : q->isolated_count);
	}
	if (twin) {
		place.initiator_cpu = (int)twin->initiator_cpu[0];
		place.avoid = NULL;
		place.avoid_count = 0;
		place.only = twin->responder_cpu;
		place.only_count = args->responders;
		place.distance = TM_DISTANCE_ANY;
	}
	rc = grow((void **)&b->block, b->block_count, &b->block_capacity, sizeof(*b->block));
	if (rc)
		return rc;
	c = &b->block[b->block_count];
	memset(c, 0, sizeof(*c));
	c->cell.args = *args;
	c->cell.state = state;
	c->cell.row = (unsigned int)b->out->row_count;
	c->cell.duration_ns = q->duration_ns;
	c->cell.ops = q->deterministic && !q->ops ? DETERMINISTIC_OPS : q->ops;
	c->cell.deterministic = q->deterministic;
	c->role = role;
	c->cell.from_in_label = b->from_in_label;
	rc = tm_place(b->topo, &place, &c->cell.placement, b->why, b->why_size);
	if (rc)
		return rc;
	c->cell.args.memory_node = q->memory_node;
	if (args->responders > b->out->max_responders)
		b->out->max_responders = args->responders;
	b->block_count++;
	return 0;
}

/* One row: the measured cell and its controls. */
static int add_row(struct tm_plan_builder *b, const struct tm_cell_args *args, enum tm_state state,
		   enum tm_distance distance)
{
	const struct tm_workload *w = args->workload;
	size_t before = b->block_count;
	struct tm_cell_args alone = *args;
	struct tm_placement twin;
	struct tm_plan_row *row;
	char label[128];
	int rc;

	tm_label_print(args, b->from_in_label ? b->from : -1, label, sizeof(label));
	rc = w->probe_cell ? w->probe_cell(args, b->why, b->why_size) : 0;
	if (!rc && state == TM_STATE_ISOLATED && !b->q->states && !b->q->isolated_count) {
		snprintf(b->why, b->why_size,
			 "no CPU is isolated here: boot with nohz_full=, or say --state spin");
		rc = -ENOTSUP;
	}
	if (rc)
		return add_skip(b, label, b->why);
	rc = grow((void **)&b->out->rows, b->out->row_count, &b->row_capacity, sizeof(*row));
	if (rc)
		return rc;
	rc = add_cell(b, args, args->responders ? state : TM_STATE_NONE, distance, TM_ROLE_MEASURED,
		      NULL);
	if (!rc)
		twin = b->block[before].cell.placement; /* by value: the block may move */
	alone.responders = 0;
	if (!rc && args->responders && !w->no_control && state != TM_STATE_FOREIGN)
		rc = add_cell(b, args, TM_STATE_FOREIGN, distance, TM_ROLE_CONTROL_FOREIGN, &twin);
	if (!rc && args->responders && !w->no_control)
		rc = add_cell(b, &alone, TM_STATE_NONE, TM_DISTANCE_ANY, TM_ROLE_CONTROL_NONE,
			      &twin);
	if (rc) {
		while (b->block_count > before)
			tm_placement_free(&b->block[--b->block_count].cell.placement);
		return rc;
	}
	row = &b->out->rows[b->out->row_count++];
	snprintf(row->label, sizeof(row->label), "%s", label);
	row->floor = w->floor;
	return 0;
}

/* Is this count of responders in the list by its number already? */
static bool is_listed(const struct tm_plan_builder *b, uint64_t responders)
{
	for (size_t i = 0; i < b->responder_count; i++) {
		if (b->responders[i] == responders)
			return true;
	}
	return false;
}

/* All states and distances for one count of responders. */
static int add_states(struct tm_plan_builder *b, struct tm_cell_args *args, uint64_t responders)
{
	int rc = 0;

	args->responders = (unsigned int)responders;
	if (!responders)
		return add_row(b, args, TM_STATE_NONE, TM_DISTANCE_ANY);
	for (size_t s = 0; !rc && s < b->state_count; s++) {
		const char *own = b->q->states ? NULL : args->workload->state;
		enum tm_state state = TM_STATE_NONE;

		tm_state_parse(own ? own : tm_plan_states[b->states[s]], &state);
		if (state == TM_STATE_TOUCH && args->initiators > 1) {
			snprintf(
				b->why, b->why_size,
				"--state touch: what to touch is one initiator's; not with several");
			return -EINVAL;
		}
		if (responders == TM_EVERYBODY) {
			args->responders = cpus_left(b, state, args->initiators);
			if (is_listed(b, args->responders))
				continue;
		}
		for (size_t d = 0; !rc && d < b->distance_count; d++)
			rc = add_row(b, args, state, (enum tm_distance)b->distances[d]);
	}
	return rc;
}

/* All combinations of initiators, responders, states and distances. */
static int add_placed(struct tm_plan_builder *b, struct tm_cell_args *args)
{
	const struct tm_workload *w = args->workload;
	int rc = 0;

	for (size_t n = 0; !rc && n < b->initiator_count; n++) {
		args->initiators = (unsigned int)b->initiators[n];
		if (w->all_initiate && !b->q->initiators) {
			args->initiators = cpus_left(b, TM_STATE_SPIN, 0);
			rc = add_states(b, args, 0);
			continue;
		}
		if (w->floor && w->gate == TM_GATE_NONE) {
			rc = add_states(b, args, 0);
			continue;
		}
		for (size_t r = 0; !rc && r < b->responder_count; r++)
			rc = add_states(b, args, b->responders[r]);
	}
	return rc;
}

/*
 * The IPI floor from other CPUs than the chosen one, everybody responding: so
 * that the default plan tells how the way between two CPUs matters.
 */
static int add_other_floors(struct tm_plan_builder *b, struct tm_cell_args *args)
{
	unsigned int chosen = b->block[b->block_count - 1].cell.placement.initiator_cpu[0];
	uint64_t responders = b->responders[b->responder_count - 1];
	unsigned int others = 0;
	int rc = 0;

	if (responders == TM_EVERYBODY)
		responders = cpus_left(b, TM_STATE_SPIN, 1);
	b->from_in_label = true;
	for (unsigned int i = 0; !rc && i < tm_topo_cpus(b->topo); i++) {
		unsigned int cpu = tm_topo_cpu(b->topo, i);

		if (cpu == chosen || tm_plan_is_isolated(b, cpu) || others == OTHER_FLOORS)
			continue;
		others++;
		b->from = (int)cpu;
		args->initiators = 1;
		rc = add_states(b, args, responders);
	}
	b->from = -1;
	b->from_in_label = false;
	return rc;
}

/* From every CPU that was asked for. */
static int add_rows(struct tm_plan_builder *b, struct tm_cell_args *args)
{
	const struct tm_workload *w = args->workload;
	int rc = 0;

	for (size_t i = 0; !rc && i < b->cpu_count; i++) {
		b->from = (int)b->cpus[i];
		b->from_in_label = b->cpu_count > 1;
		rc = add_placed(b, args);
	}
	if (b->cpu_count)
		return rc;
	b->from = -1;
	rc = add_placed(b, args);
	if (!rc && w->floor && w->gate == TM_GATE_EVERY && b->q->size == TM_PLAN_DEFAULT &&
	    !b->q->workload_count && !b->q->initiators && b->block_count && b->responder_count)
		rc = add_other_floors(b, args);
	return rc;
}

/* What the user, the plan's size or the descriptor says for parameter p. */
static const char *sweep_of(const struct tm_plan_builder *b, const struct tm_param *p)
{
	/* Said twice: the last word counts, as for every other option. */
	for (size_t i = b->q->param_count; i > 0; i--) {
		if (!strcmp(b->q->params[i - 1].name, p->name))
			return b->q->params[i - 1].text;
	}
	if (b->q->deterministic && p->exact)
		return p->exact;
	if (b->q->size == TM_PLAN_FULL && (p->full || p->plan))
		return p->full ? p->full : p->plan;
	return b->q->size == TM_PLAN_DEFAULT && p->plan ? p->plan : p->def;
}

/* The product of all parameters' sweeps, the last varying fastest. */
static int add_sweep(struct tm_plan_builder *b, struct tm_cell_args *args, unsigned int index)
{
	const struct tm_param *p = args->workload->params ? &args->workload->params[index] : NULL;
	uint64_t *values = NULL;
	size_t count = 0;
	int rc;

	if (!p || !p->name)
		return add_rows(b, args);
	rc = tm_list_parse(p, sweep_of(b, p), &values, &count, b->why, b->why_size);
	if (rc && rc != -ENOMEM) {
		size_t n = strlen(b->why);

		snprintf(b->why + n, b->why_size - n, " (%s)", args->workload->name);
	}
	for (size_t i = 0; !rc && i < count; i++) {
		args->values[index] = values[i];
		rc = add_sweep(b, args, index + 1);
	}
	free(values);
	return rc;
}

static int add_workload(struct tm_plan_builder *b, const struct tm_workload *w)
{
	struct tm_cell_args args = {.workload = w, .memory_node = b->q->memory_node};
	char why[192];

	if (tm_workload_can_run(w, why, sizeof(why)))
		return add_skip(b, w->name, why);
	return add_sweep(b, &args, 0);
}

static bool wanted(const struct tm_plan_request *q, const struct tm_workload *w)
{
	if (w->floor || !q->workload_count)
		return true;
	for (size_t i = 0; i < q->workload_count; i++) {
		if (!strcmp(q->workloads[i], w->name))
			return true;
	}
	return false;
}

static int add_workloads(struct tm_plan_builder *b, bool floors)
{
	int rc = 0;

	for (const struct tm_workload *const *w = tm_workloads; !rc && *w; w++) {
		if ((*w)->floor == floors && wanted(b->q, *w))
			rc = add_workload(b, *w);
	}
	return rc;
}

/* Every name must be a workload, every parameter that of one of them. */
static int check_names(const struct tm_plan_builder *b)
{
	const struct tm_plan_request *q = b->q;

	for (size_t i = 0; i < q->workload_count; i++) {
		if (!tm_workload_find(q->workloads[i])) {
			snprintf(b->why, b->why_size,
				 "unknown workload '%s'; 'tlbmark list' shows them",
				 q->workloads[i]);
			return -EINVAL;
		}
	}
	for (size_t i = 0; i < q->param_count; i++) {
		bool found = false;

		for (const struct tm_workload *const *w = tm_workloads; *w && !found; w++) {
			const struct tm_param *p = wanted(q, *w) ? (*w)->params : NULL;

			for (; p && p->name && !found; p++)
				found = !strcmp(p->name, q->params[i].name);
		}
		if (!found) {
			snprintf(b->why, b->why_size,
				 "--%s is no parameter of the workloads chosen; 'tlbmark list' "
				 "shows whose it is",
				 q->params[i].name);
			return -EINVAL;
		}
	}
	return 0;
}

/* Fisher-Yates on one repeat's cells. */
static void shuffle(struct tm_plan_cell *cells, size_t count, uint64_t *random)
{
	for (size_t i = count; i > 1; i--) {
		size_t j = (size_t)(tm_next_random(random) % i);
		struct tm_plan_cell c = cells[i - 1];

		cells[i - 1] = cells[j];
		cells[j] = c;
	}
}

static uint64_t choose_duration(const struct tm_plan_builder *b, unsigned int repeat)
{
	uint64_t runs = (uint64_t)b->block_count * repeat, each;
	uint64_t budget = b->q->size == TM_PLAN_QUICK ? QUICK_BUDGET_NS : DEFAULT_BUDGET_NS;

	if (b->q->duration_ns || b->q->ops || b->q->deterministic)
		return b->q->duration_ns;
	if (b->q->size == TM_PLAN_FULL)
		return FULL_CELL_NS;
	each = budget / runs;
	each = each > RUN_OVERHEAD_NS + CELL_MIN_NS ? each - RUN_OVERHEAD_NS : CELL_MIN_NS;
	return each > CELL_MAX_NS ? CELL_MAX_NS : each;
}

/* The block, `repeat` times, each in an order of its own. */
static int repeat_block(struct tm_plan_builder *b)
{
	static const unsigned int repeats[] = {
		[TM_PLAN_QUICK] = 2, [TM_PLAN_DEFAULT] = 6, [TM_PLAN_FULL] = 10};
	struct tm_plan *out = b->out;
	uint64_t random = b->q->seed;

	out->seed = b->q->seed;
	out->repeat = b->q->repeat	    ? b->q->repeat
		      : b->q->deterministic ? DETERMINISTIC_REPEATS
					    : repeats[b->q->size];
	if (out->repeat > CELLS_MAX / b->block_count) {
		snprintf(b->why, b->why_size, "more than %d runs", CELLS_MAX);
		return -ERANGE;
	}
	out->duration_ns = choose_duration(b, out->repeat);
	out->cells = calloc(b->block_count * out->repeat, sizeof(*out->cells));
	if (!out->cells)
		return -ENOMEM;
	for (unsigned int k = 0; k < out->repeat; k++) {
		struct tm_plan_cell *c = &out->cells[out->cell_count];

		memcpy(c, b->block, b->block_count * sizeof(*c));
		for (size_t i = 0; i < b->block_count; i++) {
			c[i].cell.duration_ns = out->duration_ns;
			c[i].cell.repeat = k;
			c[i].cell.verify = b->q->verify && !k && c[i].role == TM_ROLE_MEASURED &&
					   c[i].cell.state != TM_STATE_FOREIGN;
			c[i].cell.args.seed = tm_next_random(&random);
		}
		shuffle(c, b->block_count, &random);
		out->cell_count += b->block_count;
	}
	out->estimate_ns = out->cell_count * (out->duration_ns + RUN_OVERHEAD_NS);
	return 0;
}

static bool asked_for_more_than_floors(const struct tm_plan_request *q)
{
	for (size_t i = 0; i < q->workload_count; i++) {
		if (!tm_workload_find(q->workloads[i])->floor)
			return true;
	}
	return !q->workload_count;
}

static bool has_row(const struct tm_plan *p)
{
	for (size_t i = 0; i < p->row_count; i++) {
		if (!p->rows[i].floor)
			return true;
	}
	return false;
}

/* Why there is no row: the first thing left out, a floor only for want of others. */
static void explain_empty(struct tm_plan_builder *b)
{
	const struct tm_plan_skip *s = b->out->skips, *end = s + b->out->skip_count;
	const struct tm_workload *w = NULL;

	while (s < end && (w = tm_workload_find(s->label)) && w->floor)
		s++;
	if (s == end)
		s = b->out->skips;
	snprintf(b->why, b->why_size, "%s cannot run here: %s", s ? s->label : "nothing of this",
		 s ? s->why : "no row is left");
}

static int build(struct tm_plan_builder *b)
{
	int rc = check_names(b);

	if (!rc)
		rc = tm_plan_expand(b);
	if (!rc)
		rc = add_workloads(b, true);
	if (!rc)
		rc = add_workloads(b, false);
	if (rc)
		return rc;
	/* Floors alone are no answer to a question about something else. */
	if (!b->block_count || (asked_for_more_than_floors(b->q) && !has_row(b->out))) {
		explain_empty(b);
		return -ENOTSUP;
	}
	return repeat_block(b);
}

int tm_plan_build(const struct tm_topo *topo, const struct tm_plan_request *request,
		  struct tm_plan *out, char *why, size_t why_size)
{
	struct tm_plan_builder b = {
		.topo = topo, .q = request, .out = out, .why = why, .why_size = why_size};
	int rc;

	memset(out, 0, sizeof(*out));
	snprintf(why, why_size, "out of memory");
	rc = build(&b);
	free(b.responders);
	free(b.initiators);
	free(b.states);
	free(b.distances);
	free(b.cpus);
	/* Repeats share the block's placements: they are freed with repeat 0. */
	if (!out->cells) {
		for (size_t i = 0; i < b.block_count; i++)
			tm_placement_free(&b.block[i].cell.placement);
	}
	free(b.block);
	if (rc)
		tm_plan_free(out);
	return rc;
}

void tm_plan_free(struct tm_plan *p)
{
	for (size_t i = 0; p->cells && i < p->cell_count; i++) {
		if (!p->cells[i].cell.repeat)
			tm_placement_free(&p->cells[i].cell.placement);
	}
	free(p->cells);
	free(p->rows);
	free(p->skips);
	memset(p, 0, sizeof(*p));
}
