// SPDX-License-Identifier: GPL-3.0-or-later
/* A session: everything between the options and the stored records. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "background.h"
#include "cli.h"
#include "environment.h"
#include "progress.h"
#include "results/store.h"
#include "session.h"
#include "signals.h"
#include "sysstate.h"

enum {
	WHY = 512,
	COST_PAIRS = 3, /* runs with and without the probe */
	COST_CELL_NS = 60000000,
	COST_OPS_MIN = 100,   /* in each of them */
	RUN_GRACE_MS = 60000, /* beyond the measured time: setup, slow operations, oracle */
};
#define PROBE_COST_MAX 1.05 /* then the run says so */
#define HZ_ERROR_MAX 0.01   /* and then as well */

struct session {
	struct tm_session_options *o;
	struct tm_session_outcome *out;
	struct tm_sysstate *state;
	struct tm_topo *topo;
	struct tm_plan plan;
	struct tm_clock clock;
	struct tm_probe *probe;
	struct tm_probe_cost cost;
	bool have_cost;
	struct tm_store *store;
	struct tm_result *result;
	json_t *environment;
	unsigned int *isolated, *nohz_full;
	char probe_why[WHY], why[WHY];
	const char *warnings[4]; /* NULL-terminated; the first `warned` are of every run */
	size_t warned;
	char cost_warning[128], rate_warning[160];
};

static int cannot(struct session *s)
{
	tm_error("%s", s->why);
	return TM_EXIT_CANNOT;
}

/* The tracer's pid, 0 if there is none. */
static long tracer(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[128];
	long pid = 0;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "TracerPid: %ld", &pid) == 1)
			break;
	}
	if (f)
		fclose(f);
	return pid;
}

static int make_plan(struct session *s)
{
	struct tm_plan_request *q = &s->o->plan;
	int rc;

	if (tm_topo_load(NULL, &s->topo, s->why, sizeof(s->why)))
		return cannot(s);
	q->isolated_count = tm_topo_isolated(s->topo, &s->isolated);
	q->isolated = s->isolated;
	q->nohz_full_count = tm_topo_nohz_full(s->topo, &s->nohz_full);
	q->nohz_full = s->nohz_full;
	if (tm_topo_cpus(s->topo) < 2 && !q->responders && !q->initiators) {
		tm_error("only one CPU may be used here and a shootdown needs two: allow more "
			 "(taskset, cpuset), or measure the controls alone with --responders 0");
		return TM_EXIT_CANNOT;
	}
	rc = tm_plan_build(s->topo, q, &s->plan, s->why, sizeof(s->why));
	if (rc) {
		tm_error("%s", s->why);
		return rc == -EINVAL || rc == -ERANGE ? TM_EXIT_USAGE : TM_EXIT_CANNOT;
	}
	s->out->planned = s->plan.cell_count;
	return TM_EXIT_OK;
}

static void print_plan(const struct session *s)
{
	printf("%zu rows, %zu runs (%u repeats), ", s->plan.row_count, s->plan.cell_count,
	       s->plan.repeat);
	if (s->o->plan.ops)
		printf("%" PRIu64 " operations%s", s->o->plan.ops,
		       s->plan.duration_ns ? " or " : " each, ");
	if (s->plan.duration_ns)
		printf("%.0f ms each, ", (double)s->plan.duration_ns / 1e6);
	printf("at least %.0f s in all, seed %" PRIu64 "\n", (double)s->plan.estimate_ns / 1e9,
	       s->plan.seed);
	for (size_t i = 0; i < s->plan.cell_count; i++) {
		const struct tm_cell *c = &s->plan.cells[i].cell;

		printf("%4zu  repeat %u  %-48s  %s, CPU %u -> %u responder%s", i, c->repeat,
		       s->plan.rows[c->row].label, tm_state_name(c->state),
		       c->placement.initiator_cpu[0], c->placement.responders,
		       c->placement.responders == 1 ? "" : "s");
		for (unsigned int k = 0; k < c->placement.responders && k < 8; k++)
			printf("%s%u", k ? "," : " on ", c->placement.responder_cpu[k]);
		if (c->placement.initiators > 1)
			printf(", %u initiators", c->placement.initiators);
		puts(c->verify ? ", verified" : "");
	}
	for (size_t i = 0; i < s->plan.skip_count; i++)
		printf("left out: %s: %s\n", s->plan.skips[i].label, s->plan.skips[i].why);
}

static int open_store(struct session *s)
{
	char *path = s->out->store_path;

	if (tm_store_path(s->o->store, path, sizeof(s->out->store_path), s->why, sizeof(s->why)) ||
	    tm_store_open(path, TM_STORE_WRITE, &s->store, s->why, sizeof(s->why)))
		return cannot(s);
	if (tm_record_new_id(s->out->id)) {
		tm_error("no random numbers for a session's id");
		return TM_EXIT_CANNOT;
	}
	return TM_EXIT_OK;
}

/* Knobs of the whole session: set now, restored at the end. */
static int set_knobs(struct session *s)
{
	static const char thp[] = "/sys/kernel/mm/transparent_hugepage/enabled";
	static const char ceiling[] = "debugfs:x86/tlb_single_page_flush_ceiling";

	if (s->o->thp && tm_sysstate_set(s->state, thp, s->o->thp, s->why, sizeof(s->why)))
		return cannot(s);
	if (s->o->ceiling &&
	    tm_sysstate_set(s->state, ceiling, s->o->ceiling, s->why, sizeof(s->why)))
		return cannot(s);
	/* The kernel would fold its statistics in the middle of a run, at a moment of its own. */
	if (s->o->plan.deterministic && tm_sysstate_set(s->state, "/proc/sys/vm/stat_interval",
							"86400", s->why, sizeof(s->why)))
		return cannot(s);
	return TM_EXIT_OK;
}

static int open_clock(struct session *s)
{
	if (!tm_ticks_supported()) {
		tm_error(TM_CLOCK_LACKING "; in a guest of QEMU: -cpu max or -cpu host");
		return TM_EXIT_CANNOT;
	}
	if (s->o->plan.deterministic && tm_clock_of_instructions(&s->clock)) {
		tm_error(
			"the " TM_ARCH_COUNTER " does not count instructions here, so nothing is "
			"deterministic: run it in a guest of 'tlbmark lab run --deterministic', or "
			"in QEMU with -accel tcg,thread=single -icount shift=0,sleep=off");
		return TM_EXIT_CANNOT;
	}
	if (!s->o->plan.deterministic && tm_clock_calibrate(&s->clock)) {
		tm_error("the " TM_ARCH_COUNTER " does not advance: nothing can be timed here");
		return TM_EXIT_CANNOT;
	}
	if (s->clock.hz_error > HZ_ERROR_MAX) {
		snprintf(s->rate_warning, sizeof(s->rate_warning),
			 "the kernel's clock is so coarse that the " TM_ARCH_COUNTER
			 "'s rate is known "
			 "to %.0f%% only: all times are off alike",
			 100 * s->clock.hz_error);
		s->warnings[s->warned++] = s->rate_warning;
	}
	return TM_EXIT_OK;
}

/*
 * Opens the probe and tries it: one that was found by itself and does not
 * start (no /sys, say) gives way to the gaps alone.
 */
static int open_probe(struct session *s)
{
	unsigned int n = tm_topo_cpus(s->topo), cpus[n];
	struct tm_probe_counts counts;
	char why[WHY];
	int rc;

	if (tm_probe_open(s->o->probe, &s->probe, s->probe_why, sizeof(s->probe_why))) {
		tm_error("%s", s->probe_why);
		return TM_EXIT_CANNOT;
	}
	for (unsigned int i = 0; i < n; i++)
		cpus[i] = tm_topo_cpu(s->topo, i);
	rc = tm_probe_attach(s->probe);
	if (!rc)
		rc = tm_probe_start(s->probe, cpus, n);
	if (!rc)
		rc = tm_probe_stop(s->probe, &counts);
	if (!rc)
		return TM_EXIT_OK;
	snprintf(why, sizeof(why), "the %s probe does not start: %s",
		 tm_probe_kind_name(tm_probe_kind(s->probe)), strerror(-rc));
	if (s->o->probe != TM_PROBE_AUTO) {
		tm_error("%s", why);
		return TM_EXIT_CANNOT;
	}
	tm_probe_close(s->probe);
	s->probe = NULL;
	rc = tm_probe_open(TM_PROBE_NONE, &s->probe, s->probe_why, sizeof(s->probe_why));
	snprintf(s->probe_why, sizeof(s->probe_why), "%s", why);
	return rc ? TM_EXIT_CANNOT : TM_EXIT_OK;
}

static int open_all(struct session *s)
{
	unsigned int recovered = 0;
	int status = TM_EXIT_OK;

	if (s->o->background) {
		int rc = tm_background_check(s->o->background, s->why, sizeof(s->why));

		if (rc)
			tm_error("%s", s->why);
		if (rc)
			return rc == -EINVAL ? TM_EXIT_USAGE : TM_EXIT_CANNOT;
	}
	if (tm_sysstate_open(s->o->state_directory, &s->state, &recovered, s->why, sizeof(s->why)))
		return cannot(s);
	/* A damaged journal, or a setting that could not be put back even now. */
	if (s->why[0])
		tm_error("note: %s", s->why);
	if (recovered && !s->o->quiet)
		tm_error("note: restored %u setting%s that an earlier, killed run had left",
			 recovered, recovered == 1 ? "" : "s");
	status = open_store(s);
	if (!status)
		status = open_clock(s);
	if (!status)
		status = set_knobs(s);
	if (!status)
		status = open_probe(s);
	if (status)
		return status;
	s->environment = tm_environment(s->topo);
	s->result = tm_result_new(s->plan.max_responders);
	if (!s->environment || !s->result) {
		tm_error("out of memory");
		return TM_EXIT_CANNOT;
	}
	return TM_EXIT_OK;
}

/* Number of settings that could not be put back. */
static int close_all(struct session *s)
{
	int stuck = s->state ? tm_sysstate_restore(s->state) : 0;

	if (stuck)
		tm_error("%d setting%s could not be put back; the next run tries again", stuck,
			 stuck == 1 ? "" : "s");
	tm_result_free(s->result);
	json_decref(s->environment);
	tm_probe_close(s->probe);
	tm_store_close(s->store);
	tm_plan_free(&s->plan);
	tm_topo_free(s->topo);
	free(s->isolated);
	free(s->nohz_full);
	tm_sysstate_close(s->state);
	return stuck;
}

static unsigned int timeout_ms(const struct tm_cell *c)
{
	uint64_t measured_ns = c->duration_ns ? 3 * c->duration_ns : TM_RUN_LIMIT_NS;

	return (unsigned int)(measured_ns / 1000000) + RUN_GRACE_MS;
}

static int run_cell(struct session *s, const struct tm_cell *c)
{
	struct tm_run_context context = {.clock = &s->clock, .probe = s->probe};

	return tm_run(c, &context, s->result, timeout_ms(c), &tm_cancel);
}

/*
 * What the probe itself costs: the first gated cell of the plan, with the
 * programs hooked in and not, in turns. These runs are no records.
 */
static void measure_probe_cost(struct session *s)
{
	const struct tm_plan_cell *chosen = NULL;
	double p50[2][COST_PAIRS], best[2];
	struct tm_cell c;

	for (size_t i = 0; i < s->plan.cell_count && !chosen; i++) {
		const struct tm_plan_cell *p = &s->plan.cells[i];

		if (p->role == TM_ROLE_MEASURED && p->cell.placement.responders &&
		    tm_state_is_gated(p->cell.state) && !s->plan.rows[p->cell.row].floor &&
		    tm_gate(&p->cell.args) == TM_GATE_EVERY)
			chosen = p;
	}
	/* Counted: a second session without it tells, to the instruction. */
	if (!chosen || chosen->cell.deterministic || tm_probe_kind(s->probe) == TM_PROBE_NONE)
		return;
	c = chosen->cell;
	c.duration_ns = COST_CELL_NS;
	c.ops = 0;
	c.verify = false;
	for (int k = 0; k < 2 * COST_PAIRS; k++) {
		int with = (k + 1) / 2 % 2; /* without, with, with, without, ... */

		if (with ? tm_probe_attach(s->probe) : (tm_probe_detach(s->probe), 0))
			goto out;
		/* Operations too long for this tell nothing of the probe either. */
		if (run_cell(s, &c) || s->result->error || s->result->ops < COST_OPS_MIN)
			goto out;
		p50[with][k / 2] = tm_ticks_to_ns(
			&s->clock,
			(double)tm_hist_quantile(tm_result_hist(s->result, TM_METRIC_OP), 0.5));
	}
	for (int w = 0; w < 2; w++) /* the median of three */
		best[w] = fmax(fmin(p50[w][0], p50[w][1]),
			       fmin(fmax(p50[w][0], p50[w][1]), p50[w][2]));
	s->cost.without_p50_ns = best[0];
	s->cost.with_p50_ns = best[1];
	s->have_cost = true;
	if (best[1] > PROBE_COST_MAX * best[0]) {
		snprintf(s->cost_warning, sizeof(s->cost_warning),
			 "the probe makes the operation %.1f%% slower (p50); --probe none measures "
			 "without",
			 100 * (best[1] / best[0] - 1));
		s->warnings[s->warned++] = s->cost_warning;
		if (!s->o->quiet)
			tm_error("note: %s", s->cost_warning);
	}
out:
	if (tm_probe_attach(s->probe))
		tm_error("note: the probe could not be attached again");
}

/* Stores, or spills: a record is never thrown away. 0, or -errno. */
static int keep(struct session *s, json_t *record)
{
	int rc = s->out->spilled ? -EIO : tm_store_add(s->store, record, s->why, sizeof(s->why));

	if (!rc)
		return 0;
	if (!s->out->spilled)
		tm_error("%s; this and later records go to a file of JSON lines", s->why);
	rc = tm_store_spill(record, s->out->spill_path, sizeof(s->out->spill_path), s->why,
			    sizeof(s->why));
	if (rc) {
		tm_error("%s; stopping, so that nothing more is lost", s->why);
		json_dumpf(record, stdout, JSON_COMPACT);
		putchar('\n');
		return rc;
	}
	s->out->spilled++;
	return 0;
}

static int record_run(struct session *s, const struct tm_plan_cell *p, const struct timespec *when,
		      const char *metrics)
{
	struct tm_record_input in = {
		.cell = &p->cell,
		.result = s->result,
		.clock = &s->clock,
		.session = s->out->id,
		.suite_version = PACKAGE_VERSION,
		.time = *when,
		.role = p->role,
		.probe_why = s->probe_why,
		.probe_cost = s->have_cost ? &s->cost : NULL,
		.background = s->o->background,
		.background_metrics = metrics,
		.environment = s->environment,
		.warnings = s->warnings,
	};
	json_t *record;
	int rc;

	tm_order_parse(s->o->plan.order ? s->o->plan.order : "compact", &in.order);
	record = tm_record_build(&in);
	if (!record) {
		tm_error("out of memory for a record");
		return -ENOMEM;
	}
	rc = keep(s, record);
	json_decref(record);
	s->out->runs++;
	s->out->skipped += s->result->error && s->result->skipped;
	s->out->failed += s->result->error && !s->result->skipped;
	s->out->violations += s->result->verdict.violations;
	return rc;
}

/* The workload's own knobs; most stay until the session ends. */
static bool prepare_machine(struct session *s, const struct tm_plan_cell *p)
{
	const struct tm_workload *w = p->cell.args.workload;
	int rc = w->knobs ? w->knobs(&p->cell.args, s->state) : 0;

	if (!rc)
		return true;
	tm_result_clear(s->result);
	s->result->error = rc;
	s->result->skipped = true;
	snprintf(s->result->why, sizeof(s->result->why), "%s", tm_sysstate_why(s->state));
	return false;
}

/*
 * One run beside its background load, which begins and ends with it: so its
 * metrics belong to this record, and it does not disturb the storing.
 */
static int run_loaded(struct session *s, const struct tm_cell *c, char **metrics)
{
	unsigned int n = tm_topo_cpus(s->topo), cpus[n];
	struct tm_background *load = NULL;
	int rc;

	if (!s->o->background)
		return run_cell(s, c);
	for (unsigned int i = 0; i < n; i++)
		cpus[i] = tm_topo_cpu(s->topo, i);
	rc = tm_background_start(s->o->background, cpus, n, &load, s->why, sizeof(s->why));
	if (rc) {
		tm_error("%s", s->why);
		return rc;
	}
	rc = run_cell(s, c);
	s->warnings[s->warned] = tm_background_stop(load, metrics) == -ECANCELED
					 ? "the background load ended before the run did"
					 : NULL;
	return rc;
}

static int run_plan(struct session *s)
{
	struct tm_progress progress;
	int rc = 0;

	tm_progress_begin(&progress, s->plan.cell_count, s->o->quiet);
	for (size_t i = 0; !rc && !tm_cancel && i < s->plan.cell_count; i++) {
		const struct tm_plan_cell *p = &s->plan.cells[i];
		const void *mark = tm_sysstate_mark(s->state);
		struct timespec when;
		char *metrics = NULL;

		tm_progress_step(&progress, s->plan.rows[p->cell.row].label);
		clock_gettime(CLOCK_REALTIME, &when);
		if (prepare_machine(s, p))
			rc = run_loaded(s, &p->cell, &metrics);
		if (!rc)
			rc = record_run(s, p, &when, metrics);
		if (p->cell.args.workload->knobs_disturb)
			tm_sysstate_restore_to(s->state, mark);
		free(metrics);
	}
	tm_progress_end(&progress);
	s->out->signal = tm_caught;
	if (tm_cancel)
		return TM_EXIT_SIGNAL + tm_caught;
	return rc || s->out->spilled ? TM_EXIT_CANNOT : TM_EXIT_OK;
}

int tm_session_run(struct tm_session_options *o, struct tm_session_outcome *out)
{
	struct session s = {.o = o, .out = out};
	long pid = tracer();
	int status;

	memset(out, 0, sizeof(*out));
	if (pid && !o->allow_traced) {
		tm_error("process %ld traces this one, so every system call would be the tracer's; "
			 "detach it, or give --allow-traced",
			 pid);
		return TM_EXIT_CANNOT;
	}
	tm_signals_catch();
	status = make_plan(&s);
	if (!status && o->dry_run) {
		print_plan(&s);
	} else if (!status) {
		status = open_all(&s);
		if (!status) {
			measure_probe_cost(&s);
			status = run_plan(&s);
		}
	}
	if (close_all(&s) && !status)
		status = TM_EXIT_CANNOT;
	/* What comes now, printing and drawing, may be interrupted as usual. */
	tm_signals_release();
	return status;
}
