/* SPDX-License-Identifier: GPL-3.0-or-later */
/* `tlbmark doctor`: measures what the environment does not tell, and prints. */
#include "doctor.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "environment.h"
#include "placement.h"
#include "responder.h"
#include "sysfile.h"

enum {
	ROUNDS = 2000,	     /* exchanges a pair: about a millisecond */
	LIMIT_NS = 50000000, /* of them, where CPUs of a guest share real ones */
	PAIRS = 128,	     /* at most, spread over the machine */
	SET_CPUS = 8192,     /* the largest NR_CPUS that x86 and arm64 can have */
	SET_BYTES = SET_CPUS / 8,
};

enum { OPT_JSON };
static const struct tm_option options[] = {
	[OPT_JSON] = {.name = "json", .help = "print JSON"},
	{.name = NULL},
};

struct answerer {
	struct tm_pingpong pingpong;
	unsigned int cpu;
	int error;
};

static int pin(unsigned int cpu)
{
	cpu_set_t *set = CPU_ALLOC(SET_CPUS);
	int rc = -ENOMEM;

	if (set) {
		CPU_ZERO_S(SET_BYTES, set);
		CPU_SET_S(cpu, SET_BYTES, set);
		rc = sched_setaffinity(0, SET_BYTES, set) ? -errno : 0;
		CPU_FREE(set);
	}
	return rc;
}

/* Answers also where it could not be pinned: the other side waits for it. */
static void *answer(void *argument)
{
	struct answerer *a = argument;

	a->error = pin(a->cpu);
	tm_offset_answer(&a->pingpong);
	return NULL;
}

static int measure_pair(unsigned int cpu, uint64_t limit_ticks, struct tm_offset *out)
{
	struct answerer *a = aligned_alloc(_Alignof(struct answerer), sizeof(*a));
	pthread_t thread;
	int rc;

	if (!a)
		return -ENOMEM;
	memset(a, 0, sizeof(*a));
	a->cpu = cpu;
	rc = -pthread_create(&thread, NULL, answer, a);
	if (!rc) {
		tm_offset_measure(&a->pingpong, ROUNDS, limit_ticks, out);
		tm_join(thread);
		rc = a->error;
	}
	free(a);
	return rc;
}

/* The first usable CPU against the others; the calling thread's mask is left as it was. */
static int measure_offsets(const struct tm_topo *t, struct tm_doctor_facts *d)
{
	unsigned int cpus = tm_topo_cpus(t), step = cpus / PAIRS + 1, i;
	uint64_t reach, farthest = 0;
	cpu_set_t *before;
	struct tm_offset o;
	int rc;

	if (cpus < 2)
		return -ENODEV;
	before = CPU_ALLOC(SET_CPUS);
	if (!before)
		return -ENOMEM;
	CPU_ZERO_S(SET_BYTES, before);
	rc = sched_getaffinity(0, SET_BYTES, before) ? -errno : pin(tm_topo_cpu(t, 0));
	for (i = 1; !rc && i < cpus; i += step) {
		rc = measure_pair(tm_topo_cpu(t, i), tm_ns_to_ticks(&d->clock, LIMIT_NS), &o);
		if (rc)
			break;
		reach = (uint64_t)llabs(o.offset_ticks) + o.bound_ticks;
		if (d->offset_pairs++ && reach <= farthest)
			continue;
		farthest = reach;
		d->worst_cpu = tm_topo_cpu(t, i);
		d->worst = o;
	}
	sched_setaffinity(0, SET_BYTES, before);
	CPU_FREE(before);
	return rc;
}

/* Ticks of all CPUs since boot and those stolen; false: not told. */
static bool read_stolen(unsigned long long *all, unsigned long long *stolen)
{
	unsigned long long tick[8];
	char line[256];
	int i;

	if (tm_sysfile_line("", "/proc/stat", line, sizeof(line)) <= 0 ||
	    sscanf(line, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &tick[0], &tick[1],
		   &tick[2], &tick[3], &tick[4], &tick[5], &tick[6], &tick[7]) != 8)
		return false;
	for (*all = 0, i = 0; i < 8; i++)
		*all += tick[i];
	*stolen = tick[7];
	return true;
}

static bool is_installed(const char *program)
{
	char path[4096], *save, *directory, name[4096];
	const char *list = getenv("PATH");

	snprintf(path, sizeof(path), "%s", list ? list : "/usr/bin:/bin");
	for (directory = strtok_r(path, ":", &save); directory;
	     directory = strtok_r(NULL, ":", &save)) {
		snprintf(name, sizeof(name), "%s/%s", directory, program);
		if (!access(name, X_OK))
			return true;
	}
	return false;
}

static void look(const struct tm_topo *t, struct tm_doctor_facts *d)
{
	unsigned long long all[2], stolen[2];
	bool told = read_stolen(&all[0], &stolen[0]);
	struct tm_probe *probe;

	d->root = geteuid() == 0;
	d->clock_error = tm_clock_calibrate(&d->clock);
	if (!d->clock_error)
		d->offset_error = measure_offsets(t, d);
	d->probe = TM_PROBE_NONE;
	if (!tm_probe_open(TM_PROBE_AUTO, &probe, d->probe_why, sizeof(d->probe_why))) {
		d->probe = tm_probe_kind(probe);
		tm_probe_close(probe);
	}
	d->have_stress_ng = is_installed("stress-ng");
	d->have_gnuplot = is_installed("gnuplot");
	/* The kernel counts in ticks of some milliseconds: a tenth of a second is the least to tell a share. */
	usleep(100000);
	d->steal_share = -1;
	if (told && read_stolen(&all[1], &stolen[1]) && all[1] > all[0])
		d->steal_share = (double)(stolen[1] - stolen[0]) / (double)(all[1] - all[0]);
}

static void print_text(const json_t *environment, const struct tm_finding *f, size_t count)
{
	static const char *const colours[] = {"\033[32m", "\033[36m", "\033[33m", "\033[31m"};
	bool colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
	const char *model, *release;
	size_t i;

	if (json_unpack((json_t *)environment, "{s:{s:s}}", "kernel", "release", &release))
		release = "unknown";
	if (json_unpack((json_t *)environment, "{s:{s:s}}", "cpu", "model_name", &model) &&
	    json_unpack((json_t *)environment, "{s:{s:s}}", "kernel", "machine", &model))
		model = "unknown processor";
	printf("%s, Linux %s\n\n", model, release);
	for (i = 0; i < count; i++) {
		printf("%s%-8s%s %-11s %s\n", colour ? colours[f[i].severity] : "",
		       tm_severity_name(f[i].severity), colour ? "\033[0m" : "", f[i].name,
		       f[i].text);
		if (f[i].remedy[0])
			printf("%-20s -> %s\n", "", f[i].remedy);
	}
}

static int print_json(json_t *environment, const struct tm_finding *f, size_t count)
{
	json_t *findings = json_array(), *all;
	int rc;
	size_t i;

	for (i = 0; i < count; i++)
		json_array_append_new(findings,
				      json_pack("{s:s, s:s, s:o, s:o}", "check", f[i].name,
						"severity", tm_severity_name(f[i].severity), "text",
						tm_json_text(f[i].text), "remedy",
						tm_json_text(f[i].remedy)));
	all = json_pack("{s:o, s:O}", "findings", findings, "environment", environment);
	rc = all ? json_dumpf(all, stdout, JSON_INDENT(2)) : -1;
	putchar('\n');
	json_decref(all);
	return rc;
}

static int examine(bool json)
{
	struct tm_finding finding[TM_DOCTOR_MAX];
	struct tm_doctor_facts facts = {0};
	struct tm_topo *topo;
	json_t *environment;
	char why[256];
	size_t count;
	int rc;

	rc = tm_topo_load(NULL, &topo, why, sizeof(why));
	if (rc) {
		tm_error("%s", why);
		return TM_EXIT_CANNOT;
	}
	environment = tm_environment(topo);
	look(topo, &facts);
	count = tm_doctor_judge(environment, &facts, finding);
	if (json)
		rc = print_json(environment, finding, count);
	else
		print_text(environment, finding, count);
	json_decref(environment);
	tm_topo_free(topo);
	if (rc || fflush(stdout)) {
		tm_error("cannot write the findings: %s", strerror(errno));
		return TM_EXIT_CANNOT;
	}
	return TM_EXIT_OK;
}

static int cmd_doctor(int argc, char **argv)
{
	struct tm_walk w = {.command = &tm_command_doctor, .argc = argc, .argv = argv};
	bool json = false;
	int option;

	while ((option = tm_walk_next(&w)) != TM_OPT_END) {
		if (option == OPT_JSON) {
			json = true;
		} else if (option == TM_OPT_HELP) {
			tm_command_help(&tm_command_doctor, stdout);
			return TM_EXIT_OK;
		} else {
			if (option == TM_OPT_WORD)
				tm_error(
					"doctor: takes no '%s'; 'tlbmark doctor --help' tells what it takes",
					w.value);
			return TM_EXIT_USAGE;
		}
	}
	return examine(json);
}

const struct tm_command tm_command_doctor = {
	.name = "doctor",
	.synopsis = "",
	.summary = "tell what this machine can measure and what will disturb it",
	.description =
		"Looks at the machine without changing it and prints one line for each thing that\n"
		"decides how far results can be trusted: ok, note (good to know), warning (figures\n"
		"will suffer) or cannot (something cannot be measured), and below it what to do.\n"
		"\n"
		"Takes less than a second on most machines. The status is 0 whenever it could look,\n"
		"whatever it found. With --json the whole environment, as records hold it, is printed\n"
		"beside the findings.",
	.options = options,
	.main = cmd_doctor,
};
