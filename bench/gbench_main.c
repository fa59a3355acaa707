// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * tlbmark-gbench: the default plan as Google benchmarks, for the tools that
 * read those. A benchmark is one quantile of one cell, named
 *
 *	munmap/pages:33/kind:4k/responders:1/state:spin/p50
 *
 * Its time is that quantile of the operation, its one iteration a run of the
 * cell in a fresh process; the CPU time is this program's own and says
 * nothing. One run gives all quantiles of its cell, so repetition n of each
 * comes from the same run n, whichever of them the filter selects.
 *
 * The column "beyond" tells how many operations, correlation allowed for, lie
 * above the quantile: below TM_STATS_BEYOND it is little more than the
 * slowest one, and `tlbmark run` does not show it. Columns that are not there
 * are zero or unknown.
 */
#include "gbench.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "environment.h"
#include "plan.h"
#include "record.h"
#include "results/stats.h"
#include "sysstate.h"

enum {
	NAME = 256,
	WHY = 512,
	ATTEMPTS = 3,	      /* a disturbed machine makes single runs invalid */
	RUN_GRACE_MS = 60000, /* beyond the measured time: setup, slow operations */
};

static const struct {
	const char *name;
	double q;
} quantiles[] = {{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}};
enum { QUANTILES = sizeof(quantiles) / sizeof(*quantiles) };

/* What further columns show; members of a record's "derived" and "metrics". */
static const struct {
	const char *name, *object, *member, *of; /* object.member[.of] */
} columns[] = {
	{"ipis_per_op", "derived", "ipis_per_op", NULL},
	{"delivered_ratio", "derived", "delivered_ratio", NULL},
	{"delivery_p50_ns", "metrics", "delivery", "p50_ns"},
	{"stolen_p50_ns", "metrics", "stolen", "p50_ns"},
	{"return_p50_ns", "metrics", "return", "p50_ns"},
};
enum { COLUMNS = sizeof(columns) / sizeof(*columns) };

/* One run of a cell: what its quantiles' benchmarks report. */
struct run {
	uint64_t operations; /* 0: it failed, why says so */
	double quantile_ns[QUANTILES];
	double beyond[QUANTILES]; /* effective operations above it */
	double column[COLUMNS];	  /* 0: none */
	char why[WHY];
};

struct program;

struct cell {
	struct program *program;
	const struct tm_plan_cell *planned;
	char name[NAME];
	struct run *runs;
	size_t count;
	struct row {
		struct cell *cell;
		unsigned int quantile;
		size_t next; /* run to report */
	} rows[QUANTILES];
};

struct program {
	struct tm_topo *topo;
	struct tm_plan plan;
	struct tm_clock clock;
	struct tm_probe *probe;
	struct tm_sysstate *state;
	struct tm_result *result;
	json_t *environment;
	char session[TM_ID_CHARS + 1];
	struct cell *cells;
	size_t count, failed;
	uint64_t duration_ns;
	enum tm_plan_size size;
};

static volatile sig_atomic_t caught;
static volatile int cancel;

static void on_signal(int number)
{
	caught = number;
	cancel = 1;
}

static int complain(const char *why)
{
	fprintf(stderr, "tlbmark-gbench: %s\n", why);
	return TM_EXIT_CANNOT;
}

/* 0, or -errno with the reason in run->why: once, as it comes. */
static int measure(struct program *p, const struct tm_plan_cell *planned, struct run *run)
{
	const struct tm_cell *c = &planned->cell;
	const struct tm_workload *w = c->args.workload;
	struct tm_run_context context = {.clock = &p->clock, .probe = p->probe};
	unsigned int limit_ms = (unsigned int)(3 * c->duration_ns / 1000000) + RUN_GRACE_MS;
	int rc = w->knobs ? w->knobs(&c->args, p->state) : 0;

	if (rc) {
		snprintf(run->why, sizeof(run->why), "%s", tm_sysstate_why(p->state));
		return rc;
	}
	rc = tm_run(c, &context, p->result, limit_ms, &cancel);
	if (!rc)
		rc = p->result->error;
	if (rc)
		snprintf(run->why, sizeof(run->why), "%s",
			 cancel		   ? "interrupted"
			 : *p->result->why ? p->result->why
					   : strerror(-rc));
	return rc;
}

/* Is the run to be believed? As every record is judged; fills its columns. */
static int judge(struct program *p, const struct tm_plan_cell *planned, struct run *run)
{
	struct tm_record_input in = {
		.cell = &planned->cell,
		.result = p->result,
		.clock = &p->clock,
		.session = p->session,
		.suite_version = PACKAGE_VERSION,
		.role = planned->role,
		.environment = p->environment,
	};
	json_t *record, *quality, *reason;

	clock_gettime(CLOCK_REALTIME, &in.time);
	record = tm_record_build(&in);
	if (!record) {
		snprintf(run->why, sizeof(run->why), "out of memory");
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < COLUMNS; i++) {
		json_t *value = json_object_get(json_object_get(record, columns[i].object),
						columns[i].member);

		if (columns[i].of)
			value = json_object_get(value, columns[i].of);
		run->column[i] = json_number_value(value);
	}
	quality = json_object_get(record, "quality");
	if (json_is_true(json_object_get(quality, "valid"))) {
		json_decref(record);
		return 0;
	}
	reason = json_array_get(json_object_get(quality, "reasons"), 0);
	snprintf(run->why, sizeof(run->why), "not valid: %s",
		 reason ? json_string_value(reason) : "no reason given");
	json_decref(record);
	return -EAGAIN;
}

/* The cell's next run, measured; NULL when out of memory. */
static struct run *add_run(struct cell *cell)
{
	struct program *p = cell->program;
	const struct tm_hist *h = tm_result_hist(p->result, TM_METRIC_OP);
	struct run *run = realloc(cell->runs, (cell->count + 1) * sizeof(*run));
	int rc = -EAGAIN;

	if (!run)
		return NULL;
	cell->runs = run;
	run = &run[cell->count++];
	memset(run, 0, sizeof(*run));
	for (unsigned int i = 0; rc == -EAGAIN && i < ATTEMPTS && !cancel; i++) {
		rc = measure(p, cell->planned, run);
		if (!rc)
			rc = judge(p, cell->planned, run);
	}
	if (cancel)
		snprintf(run->why, sizeof(run->why), "interrupted");
	if (rc || cancel)
		return run;
	run->operations = h->count;
	for (unsigned int i = 0; i < QUANTILES; i++) {
		double q = quantiles[i].q, clustering;

		run->quantile_ns[i] = tm_ticks_to_ns(&p->clock, tm_stats_quantile(h, q));
		/* Too few samples to tell how they cluster: none is known to be beyond. */
		clustering = tm_stats_clustering(p->result->raw_op_ticks, p->result->raw_count, q);
		run->beyond[i] = isnan(clustering) ? 0 : (double)h->count * (1 - q) / clustering;
	}
	return run;
}

/* A benchmark's function; an iteration is a run. */
static void report_row(struct tm_gb_state *s, void *context)
{
	struct row *row = context;
	struct cell *cell = row->cell;
	const struct run *run = NULL;

	while (tm_gb_more(s)) {
		run = row->next < cell->count ? &cell->runs[row->next] : add_run(cell);
		row->next++;
		if (run && run->operations)
			tm_gb_time(s, run->quantile_ns[row->quantile] / 1e9);
		else
			tm_gb_skip(s, run ? run->why : "out of memory");
	}
	if (!run || !run->operations)
		return;
	tm_gb_counter(s, "operations", (double)run->operations);
	tm_gb_counter(s, "beyond", run->beyond[row->quantile]);
	/* All zeros have no coefficient of variation, and the library's NaN is no JSON. */
	for (unsigned int i = 0; i < COLUMNS; i++)
		if (run->column[i] > 0)
			tm_gb_counter(s, columns[i].name, run->column[i]);
}

static void name_cell(const struct tm_plan_cell *planned, char *out, size_t size)
{
	const struct tm_cell_args *a = &planned->cell.args;
	const struct tm_param *param = a->workload->params;
	char value[64];
	size_t n = (size_t)snprintf(out, size, "%s", a->workload->name);

	for (unsigned int i = 0; param && param[i].name && n < size; i++) {
		tm_param_print(&param[i], a->values[i], value, sizeof(value));
		n += (size_t)snprintf(out + n, size - n, "/%s:%s", param[i].name, value);
	}
	if (a->initiators > 1 && n < size)
		n += (size_t)snprintf(out + n, size - n, "/initiators:%u", a->initiators);
	if (n < size)
		snprintf(out + n, size - n, "/responders:%u/state:%s", a->responders,
			 tm_state_name(planned->cell.state));
}

/* Rows may share a control; a name is registered once. */
static bool is_registered(const struct program *p, const char *name)
{
	for (size_t i = 0; i < p->count; i++)
		if (!strcmp(p->cells[i].name, name))
			return true;
	return false;
}

static int register_cell(struct program *p, const struct tm_plan_cell *planned)
{
	struct cell *cell = &p->cells[p->count];
	char name[NAME + 8];

	cell->program = p;
	cell->planned = planned;
	name_cell(planned, cell->name, sizeof(cell->name));
	if (is_registered(p, cell->name))
		return 0;
	for (unsigned int i = 0; i < QUANTILES; i++) {
		cell->rows[i] = (struct row){.cell = cell, .quantile = i};
		snprintf(name, sizeof(name), "%s/%s", cell->name, quantiles[i].name);
		if (!tm_gb_register(name, report_row, &cell->rows[i]))
			return -ENOMEM;
	}
	p->count++;
	return 0;
}

/* In the plan's order of rows, the measured cell before its controls. */
static int register_cells(struct program *p)
{
	int rc = 0;

	/* Rows hold pointers into it: it does not grow. */
	p->cells = calloc(p->plan.cell_count, sizeof(*p->cells));
	if (!p->cells)
		return complain("out of memory");
	for (unsigned int row = 0; row < p->plan.row_count; row++)
		for (int role = TM_ROLE_MEASURED; role <= TM_ROLE_CONTROL_NONE; role++)
			for (size_t i = 0; i < p->plan.cell_count && !rc; i++) {
				const struct tm_plan_cell *c = &p->plan.cells[i];

				if (c->cell.row == row && (int)c->role == role && !c->cell.repeat)
					rc = register_cell(p, c);
			}
	return rc ? complain("out of memory") : TM_EXIT_OK;
}

static int make_plan(struct program *p)
{
	struct tm_plan_request request = {
		.memory_node = -1,
		.duration_ns = p->duration_ns,
		.size = p->size,
		.seed = 1, /* places and order are fixed, so that names mean the same */
	};
	unsigned int *isolated = NULL;
	char why[WHY];
	int rc = tm_topo_load(NULL, &p->topo, why, sizeof(why));

	if (!rc) {
		request.isolated_count = tm_topo_isolated(p->topo, &isolated);
		request.isolated = isolated;
		rc = tm_plan_build(p->topo, &request, &p->plan, why, sizeof(why));
	}
	free(isolated);
	if (rc)
		return complain(why);
	for (size_t i = 0; i < p->plan.skip_count; i++)
		fprintf(stderr, "tlbmark-gbench: left out: %s: %s\n", p->plan.skips[i].label,
			p->plan.skips[i].why);
	return register_cells(p);
}

static int add_context(struct program *p)
{
	static const char *const members[][3] = {
		{"kernel", "kernel", "release"},
		{"processor", "cpu", "model_name"},
		{"hypervisor", "virtualization", "hypervisor"},
		{"flush_backend", "tlb", "flush_backend"},
	};
	int rc = tm_gb_context("tlbmark_version", PACKAGE_VERSION);

	if (!rc)
		rc = tm_gb_context("probe", tm_probe_kind_name(tm_probe_kind(p->probe)));
	for (size_t i = 0; !rc && i < sizeof(members) / sizeof(*members); i++) {
		json_t *value = json_object_get(json_object_get(p->environment, members[i][1]),
						members[i][2]);

		if (json_is_string(value))
			rc = tm_gb_context(members[i][0], json_string_value(value));
	}
	return rc ? complain("out of memory") : TM_EXIT_OK;
}

static int open_all(struct program *p)
{
	unsigned int recovered;
	char why[WHY] = "";
	int status = make_plan(p);

	if (status)
		return status;
	if (tm_sysstate_open(NULL, &p->state, &recovered, why, sizeof(why)))
		return complain(why);
	if (!tm_ticks_supported())
		return complain(TM_CLOCK_LACKING);
	if (tm_clock_calibrate(&p->clock))
		return complain("the " TM_ARCH_COUNTER
				" does not advance: nothing can be timed here");
	if (tm_probe_open(TM_PROBE_AUTO, &p->probe, why, sizeof(why)))
		return complain(why);
	if (tm_probe_attach(p->probe))
		return complain("the probe cannot be attached");
	p->environment = tm_environment(p->topo);
	p->result = tm_result_new(p->plan.max_responders);
	if (!p->environment || !p->result || tm_record_new_id(p->session))
		return complain("out of memory");
	return add_context(p);
}

static void close_all(struct program *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->cells[i].runs);
	free(p->cells);
	json_decref(p->environment);
	tm_result_free(p->result);
	tm_probe_close(p->probe);
	tm_plan_free(&p->plan);
	tm_topo_free(p->topo);
	tm_sysstate_close(p->state);
}

static void print_help(void)
{
	puts("tlbmark-gbench: TLB shootdowns as Google benchmarks, a row for each quantile\n"
	     "\n"
	     "  [--tlbmark_plan=quick|default|full]   which parameter values; default unless said\n"
	     "  [--benchmark_min_time=SECONDS]        measured time of a run, 0.001 to 3600\n"
	     "\n"
	     "and the other options of Google Benchmark:\n"
	     "\n"
	     "  [--benchmark_list_tests]\n"
	     "  [--benchmark_filter=REGEX]\n"
	     "  [--benchmark_repetitions=N]           each a run in a fresh process\n"
	     "  [--benchmark_enable_random_interleaving]\n"
	     "  [--benchmark_format=console|json|csv]\n"
	     "  [--benchmark_out=FILE]\n"
	     "  [--benchmark_out_format=json|console|csv]\n"
	     "  [--benchmark_counters_tabular]\n"
	     "\n"
	     "Status: 0, 1 where a row has an error (among them: a run that is not valid),\n"
	     "2 for bad input, 3 where this machine does not allow it.");
}

/* "0.5" or "0.5s", as newer libraries have it. 0 or -EINVAL. */
static int parse_seconds(const char *text, uint64_t *ns)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || (*end && strcmp(end, "s")) || !(seconds >= 0.001 && seconds <= 3600))
		return -EINVAL;
	*ns = (uint64_t)(seconds * 1e9);
	return 0;
}

/*
 * Takes our own options out of argv, and the library's about time: it would
 * repeat a run until the quantiles add up to it. 0 or -EINVAL after one line.
 */
static int parse(struct program *p, int *argc, char **argv)
{
	static const char plan[] = "--tlbmark_plan=", time[] = "--benchmark_min_time=",
			  warm[] = "--benchmark_min_warmup_time=";
	static const char *const sizes[] = {"quick", "default", "full"};
	int kept = 1;

	p->size = TM_PLAN_DEFAULT;
	for (int i = 1; i < *argc; i++) {
		const char *value = strchr(argv[i], '=');
		bool known = true;

		if (!strncmp(argv[i], plan, strlen(plan))) {
			unsigned int k = 0;

			while (k < 3 && strcmp(value + 1, sizes[k]))
				k++;
			known = k < 3;
			p->size = (enum tm_plan_size)k;
		} else if (!strncmp(argv[i], time, strlen(time))) {
			known = !parse_seconds(value + 1, &p->duration_ns);
		} else if (!strncmp(argv[i], warm, strlen(warm))) {
			known = false; /* every run warms up by itself */
		} else {
			argv[kept++] = argv[i];
		}
		if (!known) {
			fprintf(stderr, "tlbmark-gbench: %s: not to be had, see --help\n", argv[i]);
			return -EINVAL;
		}
	}
	*argc = kept;
	argv[kept] = NULL;
	return 0;
}

static void count_errors(void *context, const struct tm_gb_line *line)
{
	struct program *p = context;

	p->failed += line->error != NULL;
}

static int run_all(struct program *p)
{
	struct tm_gb_reporter reporter = {.context = p, .line = count_errors};
	size_t matched = 0;
	int rc = tm_gb_run(&reporter, &matched);

	if (caught)
		return TM_EXIT_SIGNAL + caught;
	if (rc)
		return complain(strerror(-rc));
	if (!matched) /* the library has said so */
		return TM_EXIT_USAGE;
	if (p->failed)
		fprintf(stderr, "tlbmark-gbench: %zu row%s without a result\n", p->failed,
			p->failed == 1 ? "" : "s");
	return p->failed ? TM_EXIT_FAILED : TM_EXIT_OK;
}

int main(int argc, char **argv)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	static char once[] = "--benchmark_min_time=0";
	struct program p = {0};
	struct sigaction action = {.sa_handler = on_signal};
	char **arguments = calloc((size_t)argc + 2, sizeof(*arguments));
	int status = TM_EXIT_CANNOT;

	if (!arguments)
		return complain("out of memory");
	memcpy(arguments, argv, (size_t)argc * sizeof(*argv));
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		sigaction(signals[i], &action, NULL);
	if (parse(&p, &argc, arguments)) {
		status = TM_EXIT_USAGE;
		goto out;
	}
	arguments[argc++] = once;
	if (tm_gb_begin(&argc, arguments, print_help))
		complain("out of memory");
	else if (tm_gb_unknown_options(argc, arguments))
		status = TM_EXIT_USAGE;
	else
		status = open_all(&p);
	if (!status)
		status = run_all(&p);
	tm_gb_end();
out:
	close_all(&p);
	free(arguments);
	return status;
}
