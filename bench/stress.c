// SPDX-License-Identifier: GPL-3.0-or-later
/* The stress run: its bouts, its clock, its counts. See stress.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "background.h"
#include "cli.h"
#include "hypervisor.h"
#include "perf_hold.h"
#include "plan.h"
#include "signals.h"
#include "stress.h"
#include "stress_turns.h"
#include "sysstate.h"

enum {
	WHY = 512,
	BOUT_GRACE_MS = 120000, /* setup and a round that is slow; */
	PATIENT_TIMES = 5,	/* where it waits for the kernel so many times that */
	NOTHING = 4,		/* that it checked nothing counts as so many failures */
};
#define PATIENT_NS 600000000000ull /* shorter, and workloads that wait are left out */

struct stress {
	const struct tm_stress_options *o;
	struct tm_stress_outcome *out;
	struct tm_sysstate *state;
	struct tm_topo *topo;
	bool patient; /* there is time for what waits for the kernel, or it was asked for */
	struct tm_clock clock;
	struct tm_probe *probe;
	struct tm_result *result;
	struct tm_background *load;
	struct tm_trace *trace;	  /* NULL: none */
	bool emulated;		  /* by QEMU: nothing is fast, and what patches code is risky */
	struct tm_perf_hold hold; /* so that it is not patched, there */
	struct tm_stress_turns turns;
	uint64_t start_ns, end_ns;
	uint64_t shootdowns_before;
	struct tm_stress_cpus cpus;
	bool live;
	char why[WHY];
};

static int cannot(const struct stress *s)
{
	tm_error("stress: %s", s->why);
	return TM_EXIT_CANNOT;
}

/* Before a line of another kind. */
static void clear_line(const struct stress *s)
{
	if (s->live)
		fputs("\r\033[K", stderr);
}

/* ---- which workloads ---- */

static bool wanted(const struct tm_stress_options *o, const struct tm_workload *w)
{
	if (!o->workload_count)
		return w->verify && !w->floor;
	for (size_t i = 0; i < o->workload_count; i++) {
		if (!strcmp(o->workloads[i], w->name))
			return true;
	}
	return false;
}

static int check_names(const struct tm_stress_options *o)
{
	for (size_t i = 0; i < o->workload_count; i++) {
		const struct tm_workload *w = tm_workload_find(o->workloads[i]);

		if (!w)
			tm_error("stress: unknown workload '%s'; 'tlbmark list' shows them",
				 o->workloads[i]);
		else if (!w->verify)
			tm_error("stress: the workload '%s' has no oracle", o->workloads[i]);
		if (!w || !w->verify)
			return TM_EXIT_USAGE;
	}
	return TM_EXIT_OK;
}

static const char impatience[] =
	"waits for the kernel, up to minutes: name it, or stress for ten minutes or more";

static int choose_paths(struct stress *s)
{
	size_t n = 0;

	s->patient = s->o->workload_count || s->o->duration_ns >= PATIENT_NS;
	for (const struct tm_workload *const *w = tm_workloads; *w; w++)
		n += wanted(s->o, *w);
	s->out->paths = calloc(n + 1, sizeof(*s->out->paths));
	s->out->told = calloc(TM_STRESS_VIOLATIONS, sizeof(*s->out->told));
	if (!s->out->paths || !s->out->told || tm_stress_turns_open(&s->turns, s->out->paths, n)) {
		tm_error("out of memory");
		return TM_EXIT_CANNOT;
	}
	for (const struct tm_workload *const *w = tm_workloads; *w; w++) {
		struct tm_stress_path *p = &s->out->paths[s->out->path_count];

		if (!wanted(s->o, *w))
			continue;
		p->workload = *w;
		s->out->path_count++;
		if (tm_workload_can_run(*w, p->skip_why, sizeof(p->skip_why)))
			continue;
		if ((*w)->patient && !s->patient) {
			snprintf(p->skip_why, sizeof(p->skip_why), "it %s", impatience);
			continue;
		}
		p->impatient = (*w)->patient_cell && !s->patient;
		if (p->impatient)
			snprintf(p->unchecked, sizeof(p->unchecked), "what %s", impatience);
		tm_stress_turns_add(&s->turns, (size_t)(p - s->out->paths));
	}
	if (tm_stress_turns_left(&s->turns))
		return TM_EXIT_OK;
	snprintf(s->why, sizeof(s->why), "nothing can run here: %s",
		 s->out->path_count ? s->out->paths[0].skip_why : "no workload has an oracle");
	return cannot(s);
}

static uint64_t now_ns(const struct stress *s)
{
	return tm_monotonic_ns() - s->start_ns;
}

/* ---- bouts ---- */

/* The kernel's trace of these CPUs, into v, and what is decisive in it to the terminal. */
static void tell_trace(struct stress *s, const struct tm_cell *c, struct tm_stress_violation *v)
{
	const struct tm_placement *p = &c->placement;
	unsigned int cpus[p->initiators + p->responders];

	memcpy(cpus, p->initiator_cpu, p->initiators * sizeof(*cpus));
	for (unsigned int i = 0; i < p->responders; i++)
		cpus[p->initiators + i] = p->responder_cpu[i];
	tm_trace_take(s->trace, cpus, p->initiators + p->responders, &v->trace);
	tm_trace_print(stderr, &v->trace);
}

static void tell(struct stress *s, const struct tm_cell *c)
{
	struct tm_stress_violation *v = &s->out->told[s->out->told_count];
	const struct tm_verdict *verdict = &s->result->verdict;
	int n;

	if (s->out->told_count == TM_STRESS_VIOLATIONS)
		return;
	s->out->told_count++;
	v->bout = s->out->bouts;
	v->at_ns = now_ns(s);
	v->count = verdict->violations;
	tm_label_print(&c->args, -1, v->label, sizeof(v->label));
	snprintf(v->what, sizeof(v->what), "%s", verdict->first);
	n = snprintf(v->cpus, sizeof(v->cpus), "CPU %u", c->placement.initiator_cpu[0]);
	for (unsigned int i = 0; i < c->placement.responders && n < (int)sizeof(v->cpus) - 24; i++)
		n += snprintf(v->cpus + n, sizeof(v->cpus) - (size_t)n, "%s%u", i ? " " : " -> ",
			      c->placement.responder_cpu[i]);
	snprintf(v->cpus + n, sizeof(v->cpus) - (size_t)n, ", %s", tm_state_name(c->state));
	clear_line(s);
	tm_error("stale translation after %.1f s, bout %" PRIu64 " of seed %" PRIu64
		 ": %s (%s): %s; %" PRIu64 " in this bout",
		 (double)v->at_ns / 1e9, v->bout, s->o->seed, v->label, v->cpus, v->what, v->count);
	tell_trace(s, c, v);
}

/* What the run process left behind. */
static void account(struct stress *s, struct tm_stress_path *p, const struct tm_cell *c,
		    uint64_t spent_ns)
{
	const struct tm_result *r = s->result;
	unsigned int *in_a_row = &s->turns.in_a_row[p - s->out->paths];

	p->bouts++;
	p->busy_ns += spent_ns;
	p->operations += r->ops;
	p->calls += r->verify_calls;
	p->checks += r->verdict.checks;
	p->violations += r->verdict.violations;
	s->out->checks += r->verdict.checks;
	s->out->violations += r->verdict.violations;
	tm_stress_note(p, &r->verdict);
	if (r->verdict.violations)
		tell(s, c);
	if (!r->error && r->verdict.checks) {
		*in_a_row = 0;
		return;
	}
	if (!r->error) {
		/* Else it would look as if it had been checked. */
		p->skipped++;
		*in_a_row += NOTHING;
		snprintf(p->skip_why, sizeof(p->skip_why), "its oracle has nothing to check here");
		return;
	}
	if (r->skipped) {
		p->skipped++;
	} else {
		p->failed++;
		s->out->failed++;
	}
	++*in_a_row;
	snprintf(r->skipped ? p->skip_why : p->fail_why,
		 r->skipped ? sizeof(p->skip_why) : sizeof(p->fail_why), "%s", r->why);
	/* The first of each path; the end tells how many there were. */
	if (r->skipped || p->failed > 1)
		return;
	clear_line(s);
	tm_error("bout %" PRIu64 " failed: %s: %s", s->out->bouts, p->workload->name, r->why);
}

static uint64_t length_of(const struct stress *s, const struct tm_workload *w)
{
	uint64_t left = s->end_ns > now_ns(s) ? s->end_ns - now_ns(s) : 1;
	uint64_t wanted_ns = tm_stress_turns_length(&s->turns, w);

	return wanted_ns < left ? wanted_ns : left;
}

/*
 * Are flushes and interrupts traced in this bout? Where shootdowns come as fast as
 * they can that would cost a tenth of them: not for long, unless a flush is
 * missing and the speed is none of anybody's concern any more. In an emulator it
 * is none at all, and each time that events are switched the kernel patches its code,
 * of which QEMU's threads now and then run what was there for a moment (int3).
 */
static bool is_traced(const struct stress *s, const struct tm_workload *w)
{
	return !w->self_checking || s->emulated || tm_stress_turns_opening(&s->turns) ||
	       s->out->violations;
}

static int run_cell(struct stress *s, struct tm_stress_path *p, const struct tm_cell *c,
		    bool traced)
{
	const struct tm_run_context context = {.clock = &s->clock, .probe = s->probe};
	const struct tm_workload *w = c->args.workload;
	bool waits = w->patient || (w->patient_cell && w->patient_cell(&c->args));
	uint64_t begin = now_ns(s);
	int rc;

	tm_trace_begin(s->trace, w->name, traced);
	rc = tm_run(c, &context, s->result, waits ? PATIENT_TIMES * BOUT_GRACE_MS : BOUT_GRACE_MS,
		    &tm_cancel);
	if (!rc)
		account(s, p, c, now_ns(s) - begin);
	return rc;
}

/* One bout. 0, or -EINTR. */
static int bout(struct stress *s, struct tm_stress_path *p)
{
	const struct tm_workload *w = p->workload;
	uint64_t begin = now_ns(s);
	char why[sizeof(p->skip_why)] = ""; /* also of values that were drawn again */
	const void *mark = tm_sysstate_mark(s->state);
	const struct tm_stress_source from = {
		.topo = s->topo, .seed = s->o->seed, .patient = s->patient};
	struct tm_cell cell;
	int rc;

	s->out->bouts++;
	rc = tm_stress_draw(&from, w, p->visits++, &cell, why, sizeof(why));
	if (!rc && w->knobs && w->knobs(&cell.args, s->state)) {
		snprintf(why, sizeof(why), "%s", tm_sysstate_why(s->state));
		rc = -ENOTSUP;
	}
	if (rc) {
		snprintf(p->skip_why, sizeof(p->skip_why), "%s", why);
		p->skipped++;
		s->turns.in_a_row[p - s->out->paths]++;
	} else {
		bool traced = is_traced(s, w);

		cell.duration_ns = length_of(s, w);
		cell.one_round = tm_stress_turns_opening(&s->turns);
		rc = run_cell(s, p, &cell, traced);
		/* The same once more, for the trace. */
		if (!rc && s->trace && !traced && is_traced(s, w))
			rc = run_cell(s, p, &cell, true);
	}
	if (w->knobs_disturb)
		tm_sysstate_restore_to(s->state, mark);
	tm_placement_free(&cell.placement);
	tm_stress_turns_done(&s->turns, (size_t)(p - s->out->paths), now_ns(s) - begin);
	return rc == -EINTR ? rc : 0;
}

/* ---- what goes on around ---- */

/* What is drawn from here on knows of CPUs that are gone, or back. An exit status. */
static int look_at_cpus(struct stress *s)
{
	struct tm_topo *topo;
	char what[320];

	if (!tm_stress_cpus_changed(&s->cpus, what, sizeof(what)))
		return TM_EXIT_OK;
	if (tm_topo_load(NULL, &topo, s->why, sizeof(s->why)))
		return cannot(s);
	tm_topo_free(s->topo);
	s->topo = topo;
	clear_line(s);
	tm_error("after %.1f s: %s; %u may be used", (double)now_ns(s) / 1e9, what,
		 tm_topo_cpus(topo));
	if (tm_topo_cpus(topo) > 1)
		return TM_EXIT_OK;
	tm_error("stress: ended: a translation can only be stale on another CPU");
	return TM_EXIT_CANNOT;
}

static void look_at_load(struct stress *s)
{
	if (!s->load || s->out->load_lost || !tm_background_ended(s->load))
		return;
	s->out->load_lost = true;
	clear_line(s);
	tm_error("after %.1f s: the background load ended (it failed, or was killed): going on "
		 "without it",
		 (double)now_ns(s) / 1e9);
}

/* ---- the line on a terminal ---- */

/* What a CPU had counted goes with it when it goes offline. */
static uint64_t shootdowns(const struct stress *s)
{
	uint64_t now;

	return s->out->have_shootdowns && !tm_interrupts_read("TLB", &now) &&
			       now > s->shootdowns_before
		       ? now - s->shootdowns_before
		       : 0;
}

static void show(const struct stress *s, const struct tm_workload *w)
{
	uint64_t spent = now_ns(s) + 1, left = s->end_ns > spent ? s->end_ns - spent : 0;
	struct winsize size;
	char line[256];
	int width, most = 80;

	if (!s->live)
		return;
	if (!ioctl(STDERR_FILENO, TIOCGWINSZ, &size) && size.ws_col >= 40)
		most = size.ws_col;
	width = snprintf(line, sizeof(line),
			 "%" PRIu64 ":%02" PRIu64 " left  %.0f shootdowns/s  %" PRIu64
			 " checks  %" PRIu64 " violations  %s",
			 left / 60000000000u, left / 1000000000u % 60,
			 (double)shootdowns(s) / ((double)spent / 1e9), s->out->checks,
			 s->out->violations, w->name);
	fprintf(stderr, "\r\033[K%.*s", width < most ? width : most - 1, line);
	fflush(stderr);
}

/* ---- all of it ---- */

static int open_all(struct stress *s)
{
	unsigned int recovered = 0, n;

	tm_stress_cpus_begin(&s->cpus);
	if (tm_topo_load(NULL, &s->topo, s->why, sizeof(s->why)))
		return cannot(s);
	n = tm_topo_cpus(s->topo);
	if (n < 2) {
		tm_error("stress: only one CPU may be used here, and a translation can only be "
			 "stale on another: allow more (taskset, cpuset)");
		return TM_EXIT_CANNOT;
	}
	if (tm_sysstate_open(s->o->state_directory, &s->state, &recovered, s->why, sizeof(s->why)))
		return cannot(s);
	/* A damaged journal, or a setting that could not be put back even now. */
	if (s->why[0])
		tm_error("note: %s", s->why);
	if (recovered && !s->o->quiet)
		tm_error("note: restored %u setting%s that an earlier, killed run had left",
			 recovered, recovered == 1 ? "" : "s");
	if (tm_clock_calibrate(&s->clock)) {
		snprintf(s->why, sizeof(s->why), "the " TM_ARCH_COUNTER " cannot be used here");
		return cannot(s);
	}
	if (tm_probe_open(TM_PROBE_NONE, &s->probe, s->why, sizeof(s->why)))
		return cannot(s);
	s->result = tm_result_new(n);
	if (!s->result) {
		tm_error("out of memory");
		return TM_EXIT_CANNOT;
	}
	return TM_EXIT_OK;
}

static int start_load(struct stress *s)
{
	unsigned int n = tm_topo_cpus(s->topo), cpus[n];
	int rc;

	if (!s->o->background)
		return TM_EXIT_OK;
	for (unsigned int i = 0; i < n; i++)
		cpus[i] = tm_topo_cpu(s->topo, i);
	rc = tm_background_start(s->o->background, cpus, n, &s->load, s->why, sizeof(s->why));
	if (rc)
		cannot(s);
	return !rc ? TM_EXIT_OK : rc == -EINVAL ? TM_EXIT_USAGE : TM_EXIT_CANNOT;
}

/* After the load, whose processes would hold its files. Without one goes on as well. */
static void start_trace(struct stress *s)
{
	struct tm_cpuid cpuid;
	const char *below;

	if (s->o->no_trace)
		snprintf(s->out->no_trace, sizeof(s->out->no_trace), "not wanted");
	else
		tm_trace_open(s->state, &s->trace, s->out->no_trace, sizeof(s->out->no_trace));
	below = tm_cpuid_read(&cpuid) ? tm_hypervisor_name(cpuid.signature) : NULL;
	s->emulated = below && !strcmp(below, "qemu-tcg");
	if (s->emulated)
		tm_perf_hold(&s->hold);
}

static int go_on(struct stress *s)
{
	uint64_t random = s->o->seed;
	int rc = 0, status = TM_EXIT_OK;

	s->start_ns = tm_monotonic_ns();
	s->end_ns = s->o->duration_ns;
	s->live = !s->o->quiet && isatty(STDERR_FILENO);
	s->out->have_shootdowns = !tm_interrupts_read("TLB", &s->shootdowns_before);
	tm_stress_turns_shuffle(&s->turns, &random);
	s->turns.even = s->emulated; /* where no rate of shootdowns is to be held */
	while (!rc && !tm_cancel && !(status = look_at_cpus(s)) && now_ns(s) < s->end_ns &&
	       tm_stress_turns_left(&s->turns) && !(s->o->until_violation && s->out->violations)) {
		size_t path = tm_stress_turns_next(&s->turns, now_ns(s));

		show(s, s->out->paths[path].workload);
		rc = bout(s, &s->out->paths[path]);
		look_at_load(s);
	}
	clear_line(s);
	s->out->elapsed_ns = now_ns(s);
	s->out->shootdowns = shootdowns(s);
	s->out->signal = tm_caught;
	return tm_cancel ? TM_EXIT_SIGNAL + tm_caught : status;
}

int tm_stress_run(const struct tm_stress_options *o, struct tm_stress_outcome *out)
{
	struct stress s = {.o = o, .out = out, .hold = {{-1, -1}}};
	int status, stuck;

	memset(out, 0, sizeof(*out));
	tm_signals_catch();
	status = check_names(o);
	if (!status)
		status = open_all(&s);
	if (!status)
		status = choose_paths(&s);
	if (!status)
		status = start_load(&s);
	if (!status)
		start_trace(&s);
	if (!status)
		status = go_on(&s);
	tm_perf_let_go(&s.hold);
	tm_trace_close(s.trace);
	if (s.load)
		tm_background_stop(s.load, NULL);
	stuck = s.state ? tm_sysstate_restore(s.state) : 0;
	if (stuck)
		tm_error("%d setting%s could not be put back; the next run tries again", stuck,
			 stuck == 1 ? "" : "s");
	tm_result_free(s.result);
	tm_probe_close(s.probe);
	tm_topo_free(s.topo);
	tm_sysstate_close(s.state);
	tm_stress_turns_free(&s.turns);
	tm_signals_release();
	return stuck && !status ? TM_EXIT_CANNOT : status;
}

void tm_stress_free(struct tm_stress_outcome *out)
{
	for (size_t i = 0; i < out->told_count; i++)
		tm_trace_text_free(&out->told[i].trace);
	free(out->paths);
	free(out->told);
	memset(out, 0, sizeof(*out));
}
