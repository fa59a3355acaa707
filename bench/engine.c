// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The phases of one run, inside its own process: setup, warm-up, measure,
 * verify, tear down. docs/method.md tells what is timed and what is not.
 */
#include <errno.h>
#include <numa.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "deterministic.h"
#include "engine.h"
#include "interruptions.h"

enum {
	BATCH_MAX = 1024,	       /* events of a batch must fit the probe's rings */
	BATCH_CELLS = 1 << 18,	       /* operations x responders of a batch */
	BATCH_NS = 5000000,	       /* what a batch should last */
	RING_GAPS = 8192,	       /* for one responder; shared out among many */
	WARMUP_NS = 5000000,	       /* at least, */
	WARMUP_OPS = 16,	       /* and so many, unless the half of the time is gone */
	ARM_TIMEOUT_NS = 20000000,     /* some time slices; then a responder counts as not there */
	FOLD_TIMEOUT_ARMS = 5,	       /* the same between batches, so many times longer */
	OFFSETS_NS = 200000000,	       /* for all responders together */
	DROP_FROM_OPS = 16,	       /* batches of so many operations drop their first */
	SETTLE_NS = 300,	       /* after the answers: let the cache lines come to rest */
	GAP_MIN_NS = 200,	       /* no interrupt is shorter */
	DETERMINISTIC_WARMUP_OPS = 32, /* or as many as are measured, if those are fewer */
	DETERMINISTIC_ARM_NS = 1000000000, /* instructions: then something is wrong */
	BYSTANDERS_MAX = 256,
};

/* ---- batches ---- */

static uint64_t ns_to_ticks(const struct tm_engine *e, double ns)
{
	return tm_ns_to_ticks(e->context->clock, ns);
}

/* The probe's events of one CPU since the last batch, in ticks. */
static size_t take_events(struct tm_engine *e, unsigned int cpu, const struct tm_clock_pair *now)
{
	size_t n = tm_probe_drain(e->context->probe, cpu, e->events, TM_EVENTS_MAX);
	double rate = e->context->clock->hz / 1e9;

	/* A long enough stretch gives the rate that the kernel's clock has now. */
	if (now->monotonic_ns - e->pair.monotonic_ns > 1000000)
		rate = (double)(now->ticks - e->pair.ticks) /
		       (double)(now->monotonic_ns - e->pair.monotonic_ns);
	for (size_t i = 0; i < n; i++) {
		double ns = (double)(int64_t)(e->events[i].time_ns - now->monotonic_ns);

		e->tick_events[i].ticks = now->ticks + (uint64_t)(int64_t)(ns * rate);
		e->tick_events[i].kind = e->events[i].kind;
		e->tick_events[i].value = e->events[i].value;
	}
	return n;
}

/* Moves a batch's samples, gaps and events into the result, or drops them. */
static void fold_batch(struct tm_engine *e, struct tm_initiator *in, bool keep)
{
	struct tm_clock_pair now;
	size_t n;

	/*
	 * A gap is written down when it ends: nobody may be inside of one that
	 * belongs to this batch when the gaps are taken.
	 */
	if (tm_state_spins(e->cell->state))
		tm_responders_arm(&e->responders, FOLD_TIMEOUT_ARMS * e->arm_timeout_ticks);
	tm_clock_pair(&now);
	tm_fold_begin(e->fold, in->t.samples + e->dropped, in->t.count - e->dropped);
	n = take_events(e, in->t.cpu, &now);
	tm_fold_initiator(e->fold, e->tick_events, n, e->cell->args.workload->switches);
	for (unsigned int i = 0; i < e->responders.count; i++) {
		struct tm_responder *r = &e->responders.r[i];
		size_t gaps = tm_responder_drain(r, e->gaps, r->ring_mask + 1);

		if (!tm_state_spins(r->state))
			continue;
		n = take_events(e, r->cpu, &now);
		tm_fold_responder(e->fold, i, e->gaps, gaps, e->tick_events, n,
				  now.slack_ticks / 2);
		if (keep)
			tm_interruptions_add(e, i, e->gaps, gaps, e->tick_events, n,
					     now.slack_ticks / 2 + r->offset.bound_ticks);
	}
	if (keep)
		tm_fold_end(e->fold, e->r, e->delivery, e->stolen);
	e->pair = now;
}

/* Nobody's gaps and events, so that the rings do not fill. */
static void discard(struct tm_engine *e, struct tm_initiator *in)
{
	for (unsigned int i = 0; i < e->responders.count; i++)
		tm_responder_drain(&e->responders.r[i], e->gaps, RING_GAPS);
	if (!e->cell->args.workload->overlap)
		return;
	for (unsigned int i = 0; i < e->responders.count; i++)
		tm_probe_drain(e->context->probe, e->responders.r[i].cpu, e->events, TM_EVENTS_MAX);
	tm_probe_drain(e->context->probe, in->t.cpu, e->events, TM_EVENTS_MAX);
}

/* Where operations overlap their times are all there is to keep. */
static void keep_times(struct tm_engine *e, struct tm_initiator *in, bool keep)
{
	if (!in->t.index)
		discard(e, in);
	for (uint32_t i = 0; keep && i < in->t.count; i++) {
		tm_hist_record(in->op, in->t.samples[i].op_ticks);
		if (!in->t.index)
			tm_result_add_raw(e->r, in->t.samples[i].op_ticks);
	}
}

/* One batch; how many operations the next should have. */
static size_t run_batch(struct tm_engine *e, struct tm_initiator *in, size_t ops, bool keep)
{
	uint64_t start = tm_ticks(), taken, wanted = ns_to_ticks(e, BATCH_NS);
	int rc;

	/* In short batches the operations are long, and one more of them as well. */
	const uint32_t dropped = e->attribute && ops >= DROP_FROM_OPS;

	if (e->attribute)
		e->dropped = dropped;
	in->t.count = 0;
	in->t.capacity = (uint32_t)ops + dropped;
	rc = e->cell->args.workload->operate(&in->t, e->state);
	if (rc) {
		tm_fail(&in->t, rc, "%s failed", e->cell->args.workload->name);
		return 1;
	}
	if (e->attribute)
		fold_batch(e, in, keep);
	else
		keep_times(e, in, keep);
	if (keep) {
		in->ops += in->t.count - dropped;
		in->done += in->t.count;
	} else if (!in->t.index) {
		e->r->warmup_ops += in->t.count;
	}
	if (e->cell->deterministic)
		return ops;
	taken = tm_ticks() - start;
	if (taken < 2 * wanted / 3 && ops < e->batch_limit)
		return ops * 2 < e->batch_limit ? ops * 2 : e->batch_limit;
	return taken > 2 * wanted && ops > 1 ? ops / 2 : ops;
}

static size_t warm_up_by_count(struct tm_engine *e, struct tm_initiator *in)
{
	size_t ops = e->cell->ops < DETERMINISTIC_WARMUP_OPS ? (size_t)e->cell->ops
							     : DETERMINISTIC_WARMUP_OPS;

	if (!in->t.index)
		tm_deterministic_begin();
	run_batch(e, in, ops, false);
	return e->batch_limit;
}

static size_t warm_up(struct tm_engine *e, struct tm_initiator *in)
{
	const struct tm_cell *c = e->cell;
	uint64_t begin = tm_monotonic_ns(), least = c->duration_ns / 10, most = c->duration_ns / 2;
	size_t batch = 1;
	uint64_t ops = 0, spent;

	if (atomic_load(&e->failed))
		return batch;
	if (c->deterministic)
		return warm_up_by_count(e, in);
	if (least < WARMUP_NS)
		least = WARMUP_NS;
	if (most < least)
		most = least;
	do {
		batch = run_batch(e, in, batch, false);
		ops += in->t.count;
		spent = tm_monotonic_ns() - begin;
		/* A count was asked for: the warm-up is no longer than that. */
		if (!c->duration_ns && ops >= c->ops)
			break;
	} while (!atomic_load(&e->failed) && (spent < least || (ops < WARMUP_OPS && spent < most)));
	return batch;
}

/* Measured batches until the time is over or the count is reached. */
static void measure(struct tm_engine *e, struct tm_initiator *in, size_t batch)
{
	const struct tm_cell *c = e->cell;
	uint64_t quota = UINT64_MAX;

	if (c->ops)
		quota = c->ops / e->initiators + (in->t.index < c->ops % e->initiators);
	while (in->ops < quota && !atomic_load(&e->failed)) {
		if (in->ops && tm_ticks() >= e->end_ticks)
			break;
		if (batch > quota - in->ops)
			batch = (size_t)(quota - in->ops);
		batch = run_batch(e, in, batch, true);
	}
	if (!in->t.index)
		e->r->batch_ops = batch;
}

static uint64_t involuntary_switches(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return (uint64_t)ru.ru_nivcsw;
}

struct before {
	uint64_t tlb, call, switches, start_ns;
};

static void begin_phase(struct tm_engine *e, struct before *b)
{
	const struct tm_placement *p = &e->cell->placement;
	unsigned int cpus[p->initiators + p->responders];
	int rc;

	memcpy(cpus, p->initiator_cpu, p->initiators * sizeof(*cpus));
	memcpy(cpus + p->initiators, p->responder_cpu, p->responders * sizeof(*cpus));
	/* Before the counters are read: it may interrupt those CPUs itself. */
	rc = tm_probe_start(e->context->probe, cpus, p->initiators + p->responders);
	if (rc)
		tm_fail(&e->initiator[0].t, rc, "the probe does not start");
	e->r->have_tlb_interrupts = !tm_interrupts_read("TLB", &b->tlb);
	e->r->have_call_interrupts = !tm_interrupts_read("CAL", &b->call);
	tm_interruptions_begin(e);
	tm_interruptions_forget(e);
	if (e->initiators > 1)
		*tm_probe_in_operation(e->context->probe) = 1;
	tm_clock_pair(&e->pair);
	b->switches = involuntary_switches();
	b->start_ns = tm_monotonic_ns();
	e->end_ticks =
		tm_ticks() + ns_to_ticks(e, (double)(e->cell->duration_ns ? e->cell->duration_ns
									  : TM_RUN_LIMIT_NS));
}

static void end_phase(struct tm_engine *e, const struct before *b)
{
	struct tm_result *r = e->r;
	uint64_t after;
	int rc;

	r->elapsed_ns = tm_monotonic_ns() - b->start_ns;
	r->context_switches = involuntary_switches() - b->switches;
	*tm_probe_in_operation(e->context->probe) = 0;
	rc = tm_interruptions_end(e);
	if (rc)
		tm_fail(&e->initiator[0].t, rc, "the probe's counts cannot be read");
	/* Where a CPU was taken away everybody answers, only from another one. */
	if (!e->cell->args.workload->self_checking)
		tm_engine_lost_one(e);
	r->probe_kind = tm_probe_kind(e->context->probe);
	if (r->have_tlb_interrupts && !tm_interrupts_read("TLB", &after))
		r->tlb_interrupts = after - b->tlb;
	if (r->have_call_interrupts && !tm_interrupts_read("CAL", &after))
		r->call_interrupts = after - b->call;
}

/*
 * Waits for all initiators. Awake: a CPU that slept would be lazy, and no
 * responder of those who start before it or go on after it.
 */
static void meet(struct tm_engine *e)
{
	unsigned int round = atomic_load(&e->meetings);

	if (atomic_fetch_add(&e->arrived, 1) + 1 == e->initiators) {
		atomic_store(&e->arrived, 0);
		atomic_store(&e->meetings, round + 1);
	}
	while (atomic_load(&e->meetings) == round)
		sched_yield();
}

/* Every initiator's life; the first one's is the run's. */
static void *initiator_main(void *argument)
{
	struct tm_initiator *in = argument;
	struct tm_engine *e = in->engine;
	const struct tm_workload *w = e->cell->args.workload;
	struct before before = {0};
	size_t batch;
	int start, rc = in->t.index ? tm_pin(in->t.cpu) : 0;

	/* Nobody touches the workload's state before all threads exist. */
	while (!(start = atomic_load(&e->start)))
		sched_yield();
	if (start < 0)
		return NULL;

	if (rc)
		tm_fail(&in->t, rc, "initiator %u cannot run on CPU %u", in->t.index, in->t.cpu);
	if (!rc && w->prepare) {
		rc = w->prepare(&in->t, e->state);
		if (rc)
			tm_fail(&in->t, rc, "%s cannot prepare", w->name);
	}
	meet(e);
	if (e->cell->verify_only)
		return NULL;
	batch = warm_up(e, in);
	meet(e);
	if (!in->t.index) {
		e->measuring = true;
		begin_phase(e, &before);
	}
	meet(e);
	measure(e, in, batch);
	meet(e);
	if (!in->t.index) {
		end_phase(e, &before);
		e->measuring = false;
	}
	return NULL;
}

/* ---- setting up and taking down ---- */

static int make_initiators(struct tm_engine *e)
{
	const struct tm_cell *c = e->cell;

	e->initiators = c->placement.initiators;
	e->initiator = calloc(e->initiators, sizeof(*e->initiator));
	if (!e->initiator)
		return -ENOMEM;
	for (unsigned int i = 0; i < e->initiators; i++) {
		struct tm_initiator *in = &e->initiator[i];

		in->engine = e;
		in->t.engine = e;
		in->t.cell = &c->args;
		in->t.index = i;
		in->t.cpu = c->placement.initiator_cpu[i];
		in->t.page_bytes = (size_t)sysconf(_SC_PAGESIZE);
		in->t.rng = (c->args.seed ^ (0x9e3779b97f4a7c15ull * (i + 1))) | 1;
		in->t.samples = calloc(e->batch_limit + 1, sizeof(struct tm_sample));
		in->op = tm_hist_new(TM_HIST_FINE);
		/*
		 * The probe reads one word. Several initiators would pull its
		 * cache line to and fro inside the timed operation, so then
		 * the whole phase counts as inside.
		 */
		in->t.in_operation = e->initiators == 1 ? tm_probe_in_operation(e->context->probe)
							: &in->in_operation;
		if (!in->t.samples || !in->op)
			return -ENOMEM;
		memset(in->t.samples, 0, (e->batch_limit + 1) * sizeof(struct tm_sample));
	}
	return 0;
}

static size_t ring_gaps(unsigned int responders)
{
	size_t gaps = RING_GAPS;

	while (gaps > 1024 && gaps * responders > 64 * RING_GAPS)
		gaps /= 2;
	return gaps;
}

static int make_scratch(struct tm_engine *e)
{
	unsigned int n = e->responders.count;

	/* Responders that sleep show no gaps: nothing to attribute. */
	e->fold =
		tm_fold_new(e->batch_limit, e->attribute && tm_state_spins(e->cell->state) ? n : 0,
			    tm_probe_has_events(e->context->probe));
	e->gaps = calloc(RING_GAPS, sizeof(*e->gaps));
	e->events = calloc(TM_EVENTS_MAX, sizeof(*e->events));
	e->tick_events = calloc(TM_EVENTS_MAX, sizeof(*e->tick_events));
	e->delivery = calloc(n + 1, sizeof(struct tm_hist *));
	e->stolen = calloc(n + 1, sizeof(struct tm_hist *));
	if (!e->fold || !e->gaps || !e->events || !e->tick_events || !e->delivery || !e->stolen)
		return -ENOMEM;
	for (unsigned int i = 0; i < n; i++) {
		e->delivery[i] = tm_hist_new(TM_HIST_COARSE);
		e->stolen[i] = tm_hist_new(TM_HIST_COARSE);
		if (!e->delivery[i] || !e->stolen[i])
			return -ENOMEM;
	}
	return 0;
}

static int bind_memory(const struct tm_cell *c)
{
	struct bitmask *nodes;

	if (c->args.memory_node < 0 || numa_available() < 0 || numa_max_node() < 1)
		return 0;
	nodes = numa_allocate_nodemask();
	if (!nodes)
		return -ENOMEM;
	numa_bitmask_setbit(nodes, (unsigned int)c->args.memory_node);
	numa_set_membind(nodes);
	numa_free_nodemask(nodes);
	return 0;
}

static bool is_foreign(const struct tm_cell *c)
{
	return c->state == TM_STATE_FOREIGN || c->args.workload->foreign;
}

/* Else nobody looks for gaps, and a bout of the oracle alone begins sooner. */
static bool is_timed(const struct tm_cell *c)
{
	return !c->deterministic && !c->verify_only;
}

static int start_responders(struct tm_engine *e)
{
	const struct tm_cell *c = e->cell;
	unsigned int n = c->placement.responders;

	return tm_responders_start(&e->responders, &c->placement, c->state, is_foreign(c),
				   is_timed(c) ? ring_gaps(n ? n : 1) : 0,
				   ns_to_ticks(e, GAP_MIN_NS), e->r->why, sizeof(e->r->why));
}

static int start_bystanders(struct tm_engine *e)
{
	const struct tm_cell *c = e->cell;
	unsigned int cpus[BYSTANDERS_MAX];
	const struct tm_placement rest = {
		.responders = tm_deterministic_bystanders(&c->placement, cpus, BYSTANDERS_MAX),
		.responder_cpu = cpus,
	};

	if (!rest.responders)
		return 0;
	return tm_responders_start(&e->bystanders, &rest, TM_STATE_SPIN, false, 0, 0, e->r->why,
				   sizeof(e->r->why));
}

/* Everything before the first operation. */
static int set_up(struct tm_engine *e)
{
	const struct tm_cell *c = e->cell;
	struct tm_thread *first;
	int rc = bind_memory(c);

	if (rc)
		return rc;
	if (c->deterministic)
		tm_deterministic_prepare();
	tm_guard_install();
	e->attribute = c->placement.initiators == 1 && is_timed(c) && !c->args.workload->overlap;
	e->batch_limit = c->verify_only ? 1 : BATCH_CELLS / (c->placement.responders + 1);
	if (e->batch_limit > BATCH_MAX)
		e->batch_limit = BATCH_MAX;
	e->arm_timeout_ticks =
		ns_to_ticks(e, c->deterministic ? DETERMINISTIC_ARM_NS : ARM_TIMEOUT_NS);
	e->settle_ticks = ns_to_ticks(e, SETTLE_NS);
	for (e->settle_mask = 1; e->settle_mask < e->settle_ticks; e->settle_mask *= 2)
		;
	e->settle_mask--;
	rc = make_initiators(e);
	if (rc)
		return rc;
	first = &e->initiator[0].t;
	/*
	 * Foreign responders are forks: before the workload has anything that
	 * they would share. Threads come after, so that setup() may fork.
	 */
	if (is_foreign(c) && (rc = start_responders(e)))
		return rc;
	if (c->args.workload->setup && (rc = c->args.workload->setup(first, &e->state)))
		return tm_fail(first, rc, "%s cannot be set up", c->args.workload->name);
	if (!is_foreign(c) && (rc = start_responders(e)))
		return rc;
	if (c->deterministic && c->args.workload->kernel_range && (rc = start_bystanders(e)))
		return rc;
	rc = make_scratch(e);
	if (!rc && is_timed(c))
		tm_responders_offsets(&e->responders, ns_to_ticks(e, OFFSETS_NS));
	return rc;
}

/* Is the clocks' uncertainty below what it separates here? */
static bool is_resolved(struct tm_result *r, enum tm_metric m)
{
	uint64_t median = tm_hist_quantile(tm_result_hist(r, m), 0.5);

	for (uint32_t i = 0; i < r->responders; i++) {
		if (tm_result_responders(r)[i].bound_ticks >= median)
			return false;
	}
	return true;
}

static void summarise(struct tm_engine *e)
{
	struct tm_responder_result *rows = tm_result_responders(e->r);

	tm_result_order_raw(e->r);
	e->r->responders = e->responders.count;
	for (unsigned int i = 0; i < e->responders.count; i++) {
		const struct tm_responder *r = &e->responders.r[i];

		rows[i].cpu = r->cpu;
		rows[i].distance = e->cell->placement.responder_distance[i];
		rows[i].offset_ticks = r->offset.offset_ticks;
		rows[i].bound_ticks = r->offset.bound_ticks;
		if (e->delivery) {
			rows[i].delivery_p50_ticks = tm_hist_quantile(e->delivery[i], 0.5);
			rows[i].stolen_p50_ticks = tm_hist_quantile(e->stolen[i], 0.5);
		}
		if (e->attribute) /* else there is nothing that they could be missed in */
			e->r->gaps_dropped += r->dropped;
		if (r->threshold_ticks > e->r->gap_threshold_ticks)
			e->r->gap_threshold_ticks = r->threshold_ticks;
	}
	for (unsigned int i = 0; i < e->initiators; i++)
		e->r->ops_done += e->initiator[i].done;
	for (unsigned int i = 0; !e->attribute && i < e->initiators; i++) {
		e->r->ops += e->initiator[i].ops;
		tm_hist_merge(tm_result_hist(e->r, TM_METRIC_OP), e->initiator[i].op);
	}
	if (!e->attribute)
		e->r->ops_valid = e->r->ops_armed = e->r->ops;
	if (!e->attribute || !tm_state_is_gated(e->cell->state) || !e->r->ops_valid)
		return;
	e->r->split_valid = is_resolved(e->r, TM_METRIC_DELIVERY);
	e->r->return_valid = is_resolved(e->r, TM_METRIC_RETURN);
}

static void read_resident_peak(struct tm_result *r)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[128];
	unsigned long kib;

	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "VmHWM: %lu kB", &kib) == 1)
			r->resident_peak_kib = kib;
	}
	fclose(f);
}

static int run_phases(struct tm_engine *e)
{
	unsigned int started = 1;
	int rc = 0;

	for (; started < e->initiators; started++) {
		rc = -pthread_create(&e->initiator[started].thread, NULL, initiator_main,
				     &e->initiator[started]);
		if (rc)
			break;
	}
	atomic_store(&e->start, rc ? -1 : 1);
	if (!rc)
		initiator_main(&e->initiator[0]);
	while (--started)
		tm_join(e->initiator[started].thread);
	return rc;
}

void tm_engine_run(const struct tm_cell *cell, const struct tm_run_context *context,
		   struct tm_result *r)
{
	struct tm_engine e = {.cell = cell, .context = context, .r = r};
	int rc = set_up(&e);

	if (!rc)
		rc = run_phases(&e);
	if (rc) {
		/* Nobody can be asked to stop in an orderly way: this process is the run's own. */
		if (!r->error) {
			r->error = rc;
			r->skipped = rc == -ENOTSUP;
		}
		if (!r->why[0])
			snprintf(r->why, sizeof(r->why), "cannot run here: %s", strerror(-rc));
	} else {
		summarise(&e);
		tm_engine_verify(&e);
	}
	/* Before the teardown, which may sleep: counted, a responder that spins is slow. */
	if (!rc && !e.lost) {
		tm_responders_stop(&e.bystanders);
		tm_responders_stop(&e.responders);
	}
	if (cell->args.workload->teardown && e.state)
		cell->args.workload->teardown(e.state);
	read_resident_peak(r);
}
