// SPDX-License-Identifier: GPL-3.0-or-later
/* `tlbmark stress`: options in, a stress run, a verdict. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "stress.h"

enum { WORKLOADS_MAX = 64 };
#define DURATION_NS 60000000000ull

enum option {
	OPT_DURATION,
	OPT_WORKLOADS,
	OPT_BACKGROUND,
	OPT_SEED,
	OPT_REPLAY,
	OPT_UNTIL_VIOLATION,
	OPT_NO_TRACE,
	OPT_OUT,
	OPT_JSON,
	OPT_QUIET,
};

static const struct tm_option options[] = {
	[OPT_DURATION] = {"duration", 't', "TIME", "how long (10s, 10m, 8h); 1m unless said", NULL},
	[OPT_WORKLOADS] = {"workloads", 'w', "LIST", "these alone, with commas between", NULL},
	[OPT_BACKGROUND] = {"background", 'b', "LOAD",
			    "a stress-ng profile, or its arguments in one word",
			    "cpu memory vm interrupts fork"},
	[OPT_SEED] = {"seed", 0, "N", "seed of every choice; drawn unless said", NULL},
	[OPT_REPLAY] = {"replay", 0, "FILE",
			"again what that verdict is of: its seed, time, workloads and load", NULL},
	[OPT_UNTIL_VIOLATION] = {"until-violation", 0, NULL, "end at the first stale translation",
				 NULL},
	[OPT_NO_TRACE] = {"no-trace", 0, NULL, "no trace of the kernel's around violations", NULL},
	[OPT_OUT] = {"out", 'o', "FILE", "write the verdict there, as JSON", NULL},
	[OPT_JSON] = {"json", 0, NULL, "print the verdict as JSON", NULL},
	[OPT_QUIET] = {"quiet", 0, NULL, "no live line, no notes", NULL},
	{NULL, 0, NULL, NULL, NULL},
};

struct arguments {
	struct tm_stress_options stress;
	const char *workloads[WORKLOADS_MAX];
	const char *out;
	json_t *replayed; /* owns the strings that came from it */
	bool json, seeded;
};

static int usage(const char *option, const char *value, const char *want)
{
	tm_error("stress: --%s '%s': %s", option, value, want);
	return TM_EXIT_USAGE;
}

static int add_workload(struct arguments *a, const char *name)
{
	if (a->stress.workload_count == WORKLOADS_MAX)
		return usage("workloads", name, "too many");
	a->workloads[a->stress.workload_count++] = name;
	a->stress.workloads = a->workloads;
	return 0;
}

/* Takes the list apart where it stands. */
static int add_workloads(struct arguments *a, char *list)
{
	int rc = 0;

	for (char *name; !rc && (name = strsep(&list, ","));)
		rc = *name ? add_workload(a, name) : 0;
	return rc;
}

static int replay(struct arguments *a, const char *path)
{
	json_error_t error;
	json_int_t seed, duration;
	const char *background = NULL;
	json_t *names, *name;
	size_t i;
	int rc = 0;

	a->replayed = json_load_file(path, 0, &error);
	if (!a->replayed)
		return usage("replay", path, error.text);
	if (json_unpack(a->replayed, "{s:I, s:I, s?:s, s:o}", "seed", &seed, "duration_ns",
			&duration, "background", &background, "workloads", &names))
		return usage("replay", path, "this is no verdict of 'tlbmark stress --out'");
	a->stress.seed = (uint64_t)seed;
	a->seeded = true;
	a->stress.duration_ns = (uint64_t)duration;
	a->stress.background = background;
	json_array_foreach(names, i, name)
	{
		if (!json_is_string(name))
			return usage("replay", path, "a workload in it has no name");
		rc = rc ? rc : add_workload(a, json_string_value(name));
	}
	return rc;
}

static int take(struct arguments *a, enum option o, char *value)
{
	switch (o) {
	case OPT_DURATION:
		if (tm_parse_duration(value, &a->stress.duration_ns))
			return usage("duration", value,
				     "100us to 24h, with a unit: us, ms, s, m, h");
		return 0;
	case OPT_WORKLOADS:
		return add_workloads(a, value);
	case OPT_BACKGROUND:
		a->stress.background = value;
		return 0;
	case OPT_SEED:
		if (tm_parse_number(value, 0, INT64_MAX, &a->stress.seed))
			return usage("seed", value, "a whole number below 2^63 is wanted");
		a->seeded = true;
		return 0;
	case OPT_REPLAY:
		return replay(a, value);
	case OPT_UNTIL_VIOLATION:
		a->stress.until_violation = true;
		return 0;
	case OPT_NO_TRACE:
		a->stress.no_trace = true;
		return 0;
	case OPT_OUT:
		a->out = value;
		return 0;
	case OPT_JSON:
		a->json = true;
		return 0;
	default:
		a->stress.quiet = true;
		return 0;
	}
}

/* 0, an exit status, or -1 when help was printed. */
static int parse(struct arguments *a, int argc, char **argv)
{
	struct tm_walk w = {.command = &tm_command_stress, .argc = argc, .argv = argv};
	int option, rc = 0;

	while (!rc && (option = tm_walk_next(&w)) != TM_OPT_END) {
		if (option == TM_OPT_HELP) {
			tm_command_help(&tm_command_stress, stdout);
			return -1;
		}
		if (option == TM_OPT_BAD)
			return TM_EXIT_USAGE;
		/* The strings are argv's, which is ours to write to. */
		if (option == TM_OPT_WORD)
			rc = add_workload(a, w.value);
		else
			rc = take(a, (enum option)option, (char *)w.value);
	}
	return rc;
}

/* Before the run: hours later is late for that. The name is left alone until there is a verdict. */
static int check_out(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	char folder[PATH_MAX] = ".";
	struct stat st;

	if (!path)
		return TM_EXIT_OK;
	errno = 0;
	if (!stat(path, &st) && S_ISDIR(st.st_mode))
		errno = EISDIR;
	else if (!access(path, W_OK))
		return TM_EXIT_OK;
	if (errno == ENOENT) {
		if (slash)
			snprintf(folder, sizeof(folder), "%.*s",
				 slash == path ? 1 : (int)(slash - path), path);
		if (!access(folder, W_OK | X_OK))
			return TM_EXIT_OK;
	}
	tm_error("stress: cannot write %s: %s: give another place with --out", path,
		 strerror(errno));
	return TM_EXIT_CANNOT;
}

static int write_text(int fd, const char *text)
{
	size_t left = strlen(text);
	ssize_t n;

	for (; left; text += n, left -= (size_t)n) {
		n = write(fd, text, left);
		if (n < 0 && errno != EINTR)
			return -errno;
		n = n < 0 ? 0 : n;
	}
	return 0;
}

/* 0 or -errno; what was written of a file that was made stays there. */
static int write_to(const char *path, int flags, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0666), rc;

	if (fd < 0)
		return -errno;
	rc = write_text(fd, text);
	/* EINVAL, EROFS: a pipe or the like. */
	if (!rc && fsync(fd) && errno != EINVAL && errno != EROFS)
		rc = -errno;
	if (close(fd) && !rc)
		rc = -errno;
	return rc;
}

/* A file is there as a whole, or as it was: written beside it, then renamed. 0 or -errno. */
static int write_file(const char *path, const char *text)
{
	char beside[PATH_MAX + 32], real[PATH_MAX];
	struct stat st;
	bool there;
	int rc;

	if (realpath(path, real))
		path = real;
	there = !stat(path, &st);
	snprintf(beside, sizeof(beside), "%s.%d", path, (int)getpid());
	if (there && !S_ISREG(st.st_mode))
		return write_to(path, 0, text);
	rc = write_to(beside, O_CREAT | O_EXCL, text);
	/* A file that may be changed in a folder that may not. */
	if (there && (rc == -EACCES || rc == -EPERM))
		return write_to(path, O_TRUNC, text);
	if (!rc && rename(beside, path))
		rc = -errno;
	if (rc)
		unlink(beside);
	return rc;
}

static int write_verdict(const char *path, const json_t *verdict)
{
	char *text = json_dumps(verdict, JSON_INDENT(2));
	int rc = text ? write_file(path, text) : -ENOMEM;

	free(text);
	if (!rc)
		return TM_EXIT_OK;
	tm_error("cannot write %s: %s; the verdict is on standard output alone", path,
		 strerror(-rc));
	return TM_EXIT_CANNOT;
}

/* The verdict, where it was asked for. An exit status. */
static int report(const struct arguments *a, const struct tm_stress_outcome *out)
{
	json_t *verdict = a->json || a->out ? tm_stress_json(&a->stress, out) : NULL;
	int status = TM_EXIT_OK;

	if ((a->json || a->out) && !verdict) {
		tm_error("out of memory for the verdict");
		status = TM_EXIT_CANNOT;
	}
	if (verdict && a->out && write_verdict(a->out, verdict))
		status = TM_EXIT_CANNOT;
	if (verdict && a->json) {
		json_dumpf(verdict, stdout, JSON_INDENT(2));
		putchar('\n');
	} else if (!a->json) {
		tm_stress_print(stdout, &a->stress, out);
	}
	json_decref(verdict);
	return status;
}

/* `status` is how the run ended, and was told if it is not 0. */
static int judge(const struct tm_stress_outcome *out, int status)
{
	if (out->signal)
		tm_error("interrupted by signal %d after %.1f s", out->signal,
			 (double)out->elapsed_ns / 1e9);
	if (out->violations) {
		tm_error("this kernel or machine misses a flush");
		return TM_EXIT_FAILED;
	}
	if (!out->checks && !status) {
		tm_error(
			"nothing was checked: no workload could run, or had its turn; it says above why");
		return TM_EXIT_CANNOT;
	}
	if (out->failed)
		tm_error("%" PRIu64 " bout%s failed, so not everything was checked", out->failed,
			 out->failed == 1 ? "" : "s");
	if (out->load_lost)
		tm_error("the background load ended early, so not everything was checked under it");
	return out->failed || out->load_lost ? TM_EXIT_CANNOT : TM_EXIT_OK;
}

static int cmd_stress(int argc, char **argv)
{
	struct arguments a = {.stress = {.duration_ns = DURATION_NS}};
	struct tm_stress_outcome out = {0};
	int status, rc = parse(&a, argc, argv);

	if (!a.seeded && getrandom(&a.stress.seed, 6, 0) != 6)
		a.stress.seed = (uint64_t)getpid();
	if (rc) {
		json_decref(a.replayed);
		return rc < 0 ? TM_EXIT_OK : rc;
	}
	status = check_out(a.out);
	if (!status)
		status = tm_stress_run(&a.stress, &out);
	if (out.bouts) {
		rc = report(&a, &out);
		status = status ? status : rc;
		rc = judge(&out, status);
		/* What was found counts, however it ended. */
		status = rc == TM_EXIT_FAILED || !status ? rc : status;
	}
	tm_stress_free(&out);
	json_decref(a.replayed);
	return status;
}

const struct tm_command tm_command_stress = {
	.name = "stress",
	.synopsis = "[OPTION...] [WORKLOAD...]",
	.summary = "look for a flush that is missing",
	.description =
		"Runs all workloads that have an oracle, one after the other and each on all or some\n"
		"CPUs, with sizes, page kinds, responder states and timings drawn from the seed, and\n"
		"checks every operation: once it has returned, no CPU may use the old translation.\n"
		"In between, most of the time (half of it where the processor is emulated), all CPUs\n"
		"shoot at each other and check what they hit.\n"
		"\n"
		"Each stale translation is told at once: the path, the address, what was seen and\n"
		"what should have been, the CPUs, how long after the operation, and what the kernel\n"
		"traced before it, where it can (as root, with tracefs). The end is a\n"
		"table of operations and checks by path.\n"
		"\n"
		"Exit status: 0 none was seen; 1 one was; 2 bad input; 3 something could not be\n"
		"checked here; 128 + N ended by signal N.",
	.options = options,
	.main = cmd_stress,
};
