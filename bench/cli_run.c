// SPDX-License-Identifier: GPL-3.0-or-later
/* `tlbmark run`: options in, a session, a table, plots. */
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "background.h"
#include "cli.h"
#include "plots/plot.h"
#include "results/rows.h"
#include "results/stats.h"
#include "results/store.h"
#include "results/table.h"
#include "session.h"

enum { PARAMS_MAX = 32, WORKLOADS_MAX = 64 };

enum option {
	OPT_RESPONDERS,
	OPT_STATE,
	OPT_DISTANCE,
	OPT_ORDER,
	OPT_INITIATORS,
	OPT_INITIATOR_CPU,
	OPT_MEMORY_NODE,
	OPT_DURATION,
	OPT_OPS,
	OPT_REPEAT,
	OPT_SEED,
	OPT_BACKGROUND,
	OPT_THP,
	OPT_CEILING,
	OPT_PROBE,
	OPT_DETERMINISTIC,
	OPT_QUICK,
	OPT_FULL,
	OPT_DRY_RUN,
	OPT_NO_VERIFY,
	OPT_STORE,
	OPT_OUT,
	OPT_NO_PLOTS,
	OPT_JSON,
	OPT_CSV,
	OPT_QUIET,
	OPT_ALLOW_TRACED,
};

static const struct tm_option options[] = {
	[OPT_RESPONDERS] = {"responders", 'r', "LIST", "how many CPUs respond: numbers, all", NULL},
	[OPT_STATE] = {"state", 's', "LIST", "what the responders do when an operation begins",
		       "spin touch kernel idle foreign isolated"},
	[OPT_DISTANCE] = {"distance", 'd', "LIST", "how far responders are from the initiator",
			  "smt cache package remote any"},
	[OPT_ORDER] = {"order", 0, "ORDER", "closest responders first, or spread over the machine",
		       "compact spread"},
	[OPT_INITIATORS] = {"initiators", 'i', "LIST", "how many threads operate: numbers, all",
			    NULL},
	[OPT_INITIATOR_CPU] = {"initiator-cpu", 0, "LIST",
			       "where the first initiator is pinned: CPUs, all", NULL},
	[OPT_MEMORY_NODE] = {"memory-node", 0, "NODE", "bind the memory to this NUMA node", NULL},
	[OPT_DURATION] = {"duration", 't', "TIME", "measured time of each run (200ms, 2s, 1m)",
			  NULL},
	[OPT_OPS] = {"ops", 'n', "N", "measured operations of each run", NULL},
	[OPT_REPEAT] = {"repeat", 0, "N", "how often each cell is run, each in a fresh process",
			NULL},
	[OPT_SEED] = {"seed", 0, "N", "seed of the order and of every random choice", NULL},
	[OPT_BACKGROUND] = {"background", 'b', "LOAD",
			    "a stress-ng profile, or its arguments in one word",
			    "cpu memory vm interrupts fork"},
	[OPT_THP] = {"thp", 0, "MODE", "transparent huge pages while it runs",
		     "always madvise never"},
	[OPT_CEILING] = {"ceiling", 0, "N", "tlb_single_page_flush_ceiling while it runs", NULL},
	[OPT_PROBE] = {"probe", 0, "KIND", "what watches the kernel", "auto bpf perf none"},
	[OPT_DETERMINISTIC] = {"deterministic", 0, NULL,
			       "count instructions, in a guest whose counter does", NULL},
	[OPT_QUICK] = {"quick", 'q', NULL, "two repeats in a few seconds, no intervals", NULL},
	[OPT_FULL] = {"full", 0, NULL, "every variant, longer, ten repeats", NULL},
	[OPT_DRY_RUN] = {"dry-run", 0, NULL, "print the plan and end", NULL},
	[OPT_NO_VERIFY] = {"no-verify", 0, NULL, "leave the stale-translation check out", NULL},
	[OPT_STORE] = {"store", 0, "FILE", "where the records are kept", NULL},
	[OPT_OUT] = {"out", 'o', "DIR", "where the plots are drawn", NULL},
	[OPT_NO_PLOTS] = {"no-plots", 0, NULL, "draw no plots", NULL},
	[OPT_JSON] = {"json", 0, NULL, "print the table as JSON", NULL},
	[OPT_CSV] = {"csv", 0, NULL, "print the table as CSV", NULL},
	[OPT_QUIET] = {"quiet", 0, NULL, "no progress, no notes", NULL},
	[OPT_ALLOW_TRACED] = {"allow-traced", 0, NULL, "run although a debugger traces", NULL},
	{NULL, 0, NULL, NULL, NULL},
};

struct arguments {
	struct tm_session_options session;
	struct tm_param_text params[PARAMS_MAX];
	const char *workloads[WORKLOADS_MAX];
	const char *out;
	bool json, csv, no_plots, quick, full, seeded;
};

static int usage(const char *option, const char *value, const char *want)
{
	tm_error("run: --%s '%s': %s", option, value, want);
	return TM_EXIT_USAGE;
}

static int together(const char *one, const char *other)
{
	tm_error("run: --%s and --%s do not go together", one, other);
	return TM_EXIT_USAGE;
}

static int number_option(struct arguments *a, enum option o, const char *name, const char *value)
{
	struct tm_plan_request *q = &a->session.plan;
	uint64_t n, least = o == OPT_OPS || o == OPT_REPEAT,
		    most = o == OPT_SEED     ? UINT64_MAX
			   : o == OPT_OPS    ? 1000000000000ull
			   : o == OPT_REPEAT ? TM_STATS_PAIRS_MAX
					     : 65535;

	if (tm_parse_number(value, least, most, &n)) {
		tm_error("run: --%s '%s': a whole number from %" PRIu64 " to %" PRIu64 " is wanted",
			 name, value, least, most);
		return TM_EXIT_USAGE;
	}
	if (o == OPT_MEMORY_NODE)
		q->memory_node = (int)n;
	else if (o == OPT_OPS)
		q->ops = n;
	else if (o == OPT_REPEAT)
		q->repeat = (unsigned int)n;
	else
		q->seed = n;
	a->seeded |= o == OPT_SEED;
	return 0;
}

static int text_option(struct arguments *a, enum option o, const char *value)
{
	struct tm_plan_request *q = &a->session.plan;
	uint64_t n;

	switch (o) {
	case OPT_RESPONDERS:
		q->responders = value;
		return 0;
	case OPT_STATE:
		q->states = value;
		return 0;
	case OPT_DISTANCE:
		q->distances = value;
		return 0;
	case OPT_ORDER:
		q->order = value;
		return 0;
	case OPT_INITIATORS:
		q->initiators = value;
		return 0;
	case OPT_INITIATOR_CPU:
		q->initiator_cpus = value;
		return 0;
	case OPT_BACKGROUND:
		a->session.background = value;
		return 0;
	case OPT_STORE:
		a->session.store = value;
		return 0;
	case OPT_OUT:
		a->out = value;
		return 0;
	case OPT_DURATION:
		if (tm_parse_duration(value, &q->duration_ns))
			return usage("duration", value,
				     "100us to 24h, with a unit: us, ms, s, m, h");
		return 0;
	case OPT_THP:
		if (strcmp(value, "always") && strcmp(value, "madvise") && strcmp(value, "never"))
			return usage("thp", value, "none of always, madvise, never");
		a->session.thp = value;
		return 0;
	case OPT_CEILING:
		if (tm_parse_number(value, 0, INT64_MAX, &n))
			return usage("ceiling", value, "a number of pages is wanted");
		a->session.ceiling = value;
		return 0;
	case OPT_PROBE:
		if (tm_probe_kind_parse(strcmp(value, "none") ? value : "gaps", &a->session.probe))
			return usage("probe", value, "none of auto, bpf, perf, none");
		return 0;
	default:
		return number_option(a, o, options[o].name, value);
	}
}

static void flag_option(struct arguments *a, enum option o)
{
	struct tm_session_options *s = &a->session;

	switch (o) {
	case OPT_DETERMINISTIC:
		s->plan.deterministic = true;
		break;
	case OPT_QUICK:
		s->plan.size = TM_PLAN_QUICK;
		a->quick = true;
		break;
	case OPT_FULL:
		s->plan.size = TM_PLAN_FULL;
		a->full = true;
		break;
	case OPT_DRY_RUN:
		s->dry_run = true;
		break;
	case OPT_NO_VERIFY:
		s->plan.verify = false;
		break;
	case OPT_NO_PLOTS:
		a->no_plots = true;
		break;
	case OPT_JSON:
		a->json = true;
		break;
	case OPT_CSV:
		a->csv = true;
		break;
	case OPT_QUIET:
		s->quiet = true;
		break;
	default:
		s->allow_traced = true;
	}
}

/* Options that contradict each other. */
static int check_together(const struct arguments *a)
{
	const struct tm_plan_request *q = &a->session.plan;

	if (a->json && a->csv)
		return together("json", "csv");
	if (a->quick && a->full)
		return together("quick", "full");
	if (a->session.dry_run && (a->json || a->csv))
		return together("dry-run", a->json ? "json" : "csv");
	if (!q->deterministic)
		return 0;
	if (q->duration_ns)
		return together("deterministic", "duration");
	if (a->session.background)
		return together("deterministic", "background");
	if (q->ops > TM_RAW_SAMPLES) {
		tm_error("run: --ops %" PRIu64 ": with --deterministic at most %d, as many as a "
			 "record holds one by one",
			 q->ops, TM_RAW_SAMPLES);
		return TM_EXIT_USAGE;
	}
	return 0;
}

/* 0, an exit status, or -1 when help was printed. */
static int parse(struct arguments *a, int argc, char **argv)
{
	struct tm_walk w = {.command = &tm_command_run, .argc = argc, .argv = argv};
	struct tm_plan_request *q = &a->session.plan;
	int option, rc = 0;

	q->params = a->params;
	while (!rc && (option = tm_walk_next(&w)) != TM_OPT_END) {
		if (option == TM_OPT_HELP) {
			tm_command_help(&tm_command_run, stdout);
			return -1;
		}
		if (option == TM_OPT_BAD)
			return TM_EXIT_USAGE;
		if (option == TM_OPT_WORD && q->workload_count < WORKLOADS_MAX)
			a->workloads[q->workload_count++] = w.value;
		else if (option == TM_OPT_PARAM && q->param_count < PARAMS_MAX)
			a->params[q->param_count++] = (struct tm_param_text){w.name, w.value};
		else if (option < 0)
			return usage(option == TM_OPT_WORD ? "" : w.name, w.value, "too many");
		else if (options[option].argument)
			rc = text_option(a, (enum option)option, w.value);
		else
			flag_option(a, (enum option)option);
	}
	if (q->workload_count)
		q->workloads = a->workloads;
	return rc ? rc : check_together(a);
}

/* ---- results ---- */

/* Where text about the results goes: not into a program's input. */
static FILE *beside(const struct arguments *a)
{
	return a->json || a->csv ? stderr : stdout;
}

static int print_rows(const struct arguments *a, const struct tm_rows *rows)
{
	enum tm_table_format format = a->json  ? TM_TABLE_JSON
				      : a->csv ? TM_TABLE_CSV
					       : TM_TABLE_TEXT;
	struct tm_table_style style;

	tm_table_style_of(stdout, &style);
	return tm_table_print(stdout, rows, format, &style);
}

static void draw(const struct arguments *a, struct tm_store *store,
		 const struct tm_session_outcome *done)
{
	const struct tm_plot_options how = {.formats = "svg,png"};
	char out[4200], why[512] = "";
	unsigned int drawn = 0;

	if (a->no_plots)
		return;
	if (tm_plot_directory(a->out, done->store_path, done->id, out, sizeof(out)))
		tm_error("no plots: the name of their folder is too long");
	else if (tm_plot_session(store, done->id, out, &how, &drawn, why, sizeof(why)))
		tm_error("no plots: %s", why);
	else if (!a->session.quiet)
		fprintf(beside(a), "plots:   %u files in %s\n", drawn, out);
}

/* The table, the plots and where everything is. An exit status. */
static int report(const struct arguments *a, const struct tm_session_outcome *done)
{
	struct tm_store *store = NULL;
	struct tm_rows *rows = NULL;
	char why[512] = "";
	int status = TM_EXIT_OK;

	if (tm_store_open(done->store_path, TM_STORE_READ, &store, why, sizeof(why)) ||
	    tm_rows_load(store, done->id, &rows, why, sizeof(why)) || print_rows(a, rows)) {
		tm_error("no table: %s", why[0] ? why : "the output cannot be written");
		status = TM_EXIT_CANNOT;
	}
	tm_rows_free(rows);
	if (!status && !a->session.quiet)
		fprintf(beside(a), "\nrecords: %zu in %s, session %.12s\n", done->runs,
			done->store_path, done->id);
	if (!status)
		draw(a, store, done);
	tm_store_close(store);
	return status;
}

/* What went wrong in runs that were made; the exit status that says so. */
static int judge(const struct tm_session_outcome *done)
{
	if (done->signal)
		tm_error("interrupted by signal %d after %zu of %zu runs; those are stored",
			 done->signal, done->runs, done->planned);
	if (done->spilled)
		tm_error("%zu record%s could not be stored and %s in %s; 'tlbmark show --import' "
			 "takes them in",
			 done->spilled, done->spilled == 1 ? "" : "s",
			 done->spilled == 1 ? "is" : "are", done->spill_path);
	if (done->violations)
		tm_error("%zu stale translation%s seen: this kernel or machine misses a flush; "
			 "'tlbmark show last' tells where",
			 done->violations, done->violations == 1 ? "" : "s");
	if (done->failed)
		tm_error("%zu run%s failed; the table's notes say why", done->failed,
			 done->failed == 1 ? "" : "s");
	return done->violations || done->failed ? TM_EXIT_FAILED : TM_EXIT_OK;
}

/* What is chosen afresh each time otherwise; the probe changes the path that is counted. */
static void be_deterministic(struct arguments *a)
{
	if (!a->seeded)
		a->session.plan.seed = 1;
	if (a->session.probe == TM_PROBE_AUTO)
		a->session.probe = TM_PROBE_NONE;
	/*
	 * A large block, or a thread's heap, would be a mapping of its own, which
	 * the runs inherit, now and then; and more of them are longer to search.
	 */
	mallopt(M_MMAP_MAX, 0);
	mallopt(M_ARENA_MAX, 1);
}

static int cmd_run(int argc, char **argv)
{
	static struct tm_session_outcome done; /* paths: too large for the stack */
	struct arguments a = {
		.session = {.plan = {.memory_node = -1, .verify = true, .size = TM_PLAN_DEFAULT},
			    .probe = TM_PROBE_AUTO},
	};
	int status, rc;

	if (getrandom(&a.session.plan.seed, 6, 0) != 6)
		a.session.plan.seed = (uint64_t)getpid();
	rc = parse(&a, argc, argv);
	if (rc)
		return rc < 0 ? TM_EXIT_OK : rc;
	if (a.session.plan.deterministic)
		be_deterministic(&a);
	status = tm_session_run(&a.session, &done);
	if (done.runs > done.spilled) {
		rc = report(&a, &done);
		status = status ? status : rc;
	}
	rc = judge(&done);
	return status ? status : rc;
}

const struct tm_command tm_command_run = {
	.name = "run",
	.synopsis = "[OPTION...] [WORKLOAD...]",
	.summary = "measure shootdowns and print what they cost",
	.description =
		"Runs workloads of the catalogue, without names a default plan that takes at most a\n"
		"minute, and prints one line a cell: the operation's latency, what it is without a\n"
		"shootdown, and the difference, with who paid it. Every run is stored as a record.\n"
		"\n"
		"Each line is measured against two controls: the same operation beside responders of\n"
		"another process, and with no responder. The order is drawn from the seed; every run\n"
		"is a process of its own. Lists are written 1,8,32..34,512; a..b*2 doubles.\n"
		"\n"
		"Exit status: 0 measured; 1 a run failed or a stale translation was seen; 2 bad\n"
		"input; 3 this machine, user or disk does not allow it; 128 + N ended by signal N.",
	.options = options,
	.workload_options = true,
	.main = cmd_run,
};
