/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Background load by stress-ng, in a tree of its own:
 *
 *	caller - supervisor (session, subreaper) - stress-ng (group) - workers
 *
 * The supervisor sleeps in poll() until it is told to stop, or its parent has
 * died (a pidfd tells, however that happened), then kills what is left. Some
 * workers' children (fork's) leave the group and the session: as a subreaper
 * it inherits every orphan, so none is out of its reach. Should it be killed
 * itself, stress-ng's parent-death signal ends the workers.
 *
 * The CPUs are set before the exec, so that everything inherits them, and
 * stress-ng's --taskset is not needed.
 */
#include "background.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "supervisor.h"

enum {
	START_MS = 10000, /* until the workers run */
	REMOVE_MS = 1000,
	LOOK_MS = 10,
};

/* "%" stands for the number of CPUs: one worker on each. */
static const char *const cpu_arguments[] = {"--cpu", "%", "--cpu-method", "matrixprod", NULL};
static const char *const memory_arguments[] = {"--stream", "%", NULL};
static const char *const vm_arguments[] = {"--vm",	  "%",	      "--vm-bytes", "64m",
					   "--vm-method", "zero-one", NULL};
static const char *const interrupts_arguments[] = {"--timer", "%", "--timer-freq", "20000", NULL};
static const char *const fork_arguments[] = {"--fork", "%", NULL};

const struct tm_background_profile tm_background_profiles[] = {
	/* One method only: the default changes its mix with the time. */
	{"cpu", "user-mode arithmetic: takes CPU time and nothing else", cpu_arguments},
	/* Mapped once, then read and written as fast as it goes. */
	{"memory", "memory bandwidth, no page tables: slows the page walks", memory_arguments},
	/* Maps, fills and unmaps 64 MiB again and again, in an mm of its own. */
	{"vm", "page faults and unmapping in other processes: page allocator, page tables",
	 vm_arguments},
	/* A POSIX timer at 20 kHz: an interrupt and a signal each. */
	{"interrupts", "local timer interrupts: handlers in front of the shootdown's",
	 interrupts_arguments},
	/* fork() and _exit(): new mms, write-protecting and flushing of old ones. */
	{"fork", "processes made and ended: mm switches, scheduler, flushes", fork_arguments},
	{NULL, NULL, NULL},
};

struct tm_background {
	pid_t supervisor, load;
	int control; /* its end says stop */
	int report;  /* the supervisor's: pid of stress-ng; end of file: it ended */
	int yaml_fd;
	char directory[128];
};

static int fail(char *why, size_t why_size, int error, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static int fail(char *why, size_t why_size, int error, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(why, why_size, format, ap);
	va_end(ap);
	return error;
}

static int find_program(char *out, size_t size, char *why, size_t why_size)
{
	const char *path = getenv("PATH");

	for (; path && *path; path += strcspn(path, ":"), path += *path == ':') {
		int n = (int)strcspn(path, ":");
		struct stat st;

		if (!n)
			continue;
		n = snprintf(out, size, "%.*s/stress-ng", n, path);
		if (n > 0 && (size_t)n < size && !access(out, X_OK) && !stat(out, &st) &&
		    S_ISREG(st.st_mode))
			return 0;
	}
	return fail(why, why_size, -ENOENT,
		    "background load needs stress-ng, which is not in PATH: "
		    "apt-get install stress-ng");
}

static int add(struct tm_load_command *c, char *argument)
{
	/* Room for our own five and the end. */
	if (c->argc + 6 > TM_LOAD_ARGUMENTS)
		return -E2BIG;
	c->argv[c->argc++] = argument;
	return 0;
}

/* Splits as a shell does blanks, quotes and backslashes; nothing is expanded. */
static int split(struct tm_load_command *c, const char *spec)
{
	char *to = c->text;

	while (*spec) {
		char quote = 0;
		int rc;

		if (isspace((unsigned char)*spec)) {
			spec++;
			continue;
		}
		rc = add(c, to);
		if (rc)
			return rc;
		for (; *spec && (quote || !isspace((unsigned char)*spec)); spec++) {
			if (*spec == quote) {
				quote = 0;
			} else if (!quote && (*spec == '"' || *spec == '\'')) {
				quote = *spec;
			} else {
				if (*spec == '\\' && quote != '\'' && spec[1])
					spec++;
				*to++ = *spec;
			}
		}
		if (quote)
			return -EINVAL;
		*to++ = '\0';
	}
	return 0;
}

static int add_profile(struct tm_load_command *c, const struct tm_background_profile *p,
		       unsigned int cpus)
{
	int rc = 0;

	sprintf(c->text, "%u", cpus);
	for (unsigned int i = 0; !rc && p->arguments[i]; i++)
		rc = add(c, strcmp(p->arguments[i], "%") ? (char *)(uintptr_t)p->arguments[i]
							 : c->text);
	return rc;
}

static int command_init(struct tm_load_command *c, const char *spec, unsigned int cpus, char *why,
			size_t why_size)
{
	const struct tm_background_profile *p = tm_background_profiles;
	int rc;

	memset(c, 0, sizeof(*c));
	c->yaml_fd = c->log_fd = -1;
	c->text = malloc(2 * strlen(spec) + 16);
	if (!c->text)
		return fail(why, why_size, -ENOMEM, "background load: out of memory");
	c->argv[c->argc++] = c->program;
	while (p->name && strcmp(p->name, spec))
		p++;
	if (p->name)
		rc = add_profile(c, p, cpus);
	else if (!strncmp(spec, "--", 2))
		rc = split(c, spec);
	else
		return fail(
			why, why_size, -EINVAL,
			"unknown background load \"%.60s\": cpu, memory, vm, interrupts, fork, or "
			"stress-ng's own arguments beginning with --",
			spec);
	if (rc)
		return fail(why, why_size, rc, "background load \"%.60s\": %s", spec,
			    rc == -E2BIG ? "too many arguments" : "a quote is not closed");
	return find_program(c->program, sizeof(c->program), why, why_size);
}

static void command_end(struct tm_load_command *c)
{
	free(c->text);
	if (c->yaml_fd >= 0)
		close(c->yaml_fd);
	if (c->log_fd >= 0)
		close(c->log_fd);
}

/* The first line that says what is wrong, without stress-ng's prefix. */
static void last_words(int log_fd, char *text, size_t size)
{
	char log[4096], *line, *save = NULL;
	ssize_t n = pread(log_fd, log, sizeof(log) - 1, 0);

	log[n > 0 ? n : 0] = '\0';
	snprintf(text, size, "it said nothing");
	for (line = strtok_r(log, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *end = strchr(line, ']');

		if (strstr(line, " info: ") || strstr(line, " metrc: ") || strstr(line, "Try '"))
			continue;
		if (!strncmp(line, "stress-ng: ", 11))
			line += 11;
		if (end && end[1] == ' ')
			line = end + 2;
		snprintf(text, size, "%.200s", line);
		return;
	}
}

int tm_background_check(const char *spec, char *why, size_t why_size)
{
	char dry[] = "--dry-run", words[256];
	struct tm_load_command c;
	int rc = command_init(&c, spec, 1, why, why_size), status = 0;
	pid_t child;

	/* Only stress-ng knows its options; it starts no worker. */
	if (!rc) {
		c.argv[c.argc] = dry;
		c.log_fd = memfd_create("stress-ng log", MFD_CLOEXEC);
		child = c.log_fd < 0 ? -1 : fork();
		if (child < 0) {
			rc = fail(why, why_size, -errno, "background load: %s", strerror(errno));
		} else if (!child) {
			tm_load_execute(&c);
		} else {
			while (waitpid(child, &status, 0) < 0 && errno == EINTR)
				;
			if (status) {
				last_words(c.log_fd, words, sizeof(words));
				rc = fail(why, why_size, -EINVAL,
					  "stress-ng does not take \"%.60s\": %s", spec, words);
			}
		}
	}
	command_end(&c);
	return rc;
}

static int bind_cpus(const unsigned int *cpus, unsigned int count)
{
	unsigned int highest = 0;
	cpu_set_t *set;
	size_t bytes;
	int rc;

	for (unsigned int i = 0; i < count; i++)
		if (cpus[i] > highest)
			highest = cpus[i];
	set = CPU_ALLOC(highest + 1);
	if (!set)
		return -ENOMEM;
	bytes = CPU_ALLOC_SIZE(highest + 1);
	CPU_ZERO_S(bytes, set);
	for (unsigned int i = 0; i < count; i++)
		CPU_SET_S(cpus[i], bytes, set);
	rc = sched_setaffinity(0, bytes, set) ? -errno : 0;
	CPU_FREE(set);
	return rc;
}

/* stress-ng runs: as many workers as a moment ago, all past their set-up. */
struct look {
	pid_t load;
	unsigned int workers, unready, running;
};

static void look_at(const struct tm_process *p, void *argument)
{
	struct look *l = argument;

	if (p->group != l->load || p->pid == l->load)
		return;
	if (p->state == 'R' || p->ticks)
		l->running++;
	if (p->parent != l->load)
		return;
	l->workers++;
	/* A worker takes its stressor's name when it begins. */
	if (strncmp(p->name, "stress-ng-", 10))
		l->unready++;
}

static int wait_until_running(struct tm_background *b)
{
	struct pollfd ended = {.fd = b->report, .events = POLLIN};
	unsigned int before = 0;

	for (unsigned int ms = 0; ms < START_MS; ms += LOOK_MS) {
		struct look now = {.load = b->load};

		if (poll(&ended, 1, LOOK_MS) > 0)
			return -ECANCELED;
		tm_each_process(look_at, &now);
		if (now.running && now.workers && !now.unready && now.workers == before)
			return 0;
		before = now.workers;
	}
	return -ETIMEDOUT;
}

static int make_directory(char *directory, size_t size)
{
	const char *const parents[] = {getenv("TMPDIR"), "/tmp", "/dev/shm"};

	for (unsigned int i = 0; i < 3; i++) {
		int n = parents[i] ? snprintf(directory, size, "%s/tlbmark-load-XXXXXX", parents[i])
				   : -1;

		if (n > 0 && (size_t)n < size && mkdtemp(directory))
			return 0;
	}
	return -errno;
}

static int spawn(struct tm_background *b, struct tm_load_command *c, const unsigned int *cpus,
		 unsigned int count)
{
	int control[2] = {-1, -1}, report[2] = {-1, -1}, parent_fd, rc = 0, cpu_error = 0;
	pid_t parent = getpid();

	parent_fd = (int)syscall(SYS_pidfd_open, parent, 0);
	if (pipe2(control, O_CLOEXEC) || pipe2(report, O_CLOEXEC))
		rc = -errno;
	if (!rc) {
		b->supervisor = fork();
		if (!b->supervisor) {
			close(control[1]);
			close(report[0]);
			/* The CPUs first: what is asked for is what everything gets. */
			cpu_error = bind_cpus(cpus, count);
			if (!cpu_error)
				tm_load_supervise(c, parent, parent_fd, control[0], report[1]);
			if (write(report[1], &cpu_error, sizeof(cpu_error)) < 0)
				_exit(2);
			_exit(1);
		}
		if (b->supervisor < 0)
			rc = -errno;
	}
	b->control = control[1];
	b->report = report[0];
	if (parent_fd >= 0)
		close(parent_fd);
	if (control[0] >= 0)
		close(control[0]);
	if (report[1] >= 0)
		close(report[1]);
	if (rc)
		return rc;
	if (read(b->report, &b->load, sizeof(b->load)) != sizeof(b->load))
		return -ECHILD;
	return b->load < 0 ? (int)b->load : 0;
}

/* Has the supervisor end it all, and waits for that. */
static void finish(struct tm_background *b)
{
	if (b->control >= 0)
		close(b->control);
	if (b->supervisor > 0) {
		/* Others may have the pipe open too: its end alone would not do. */
		kill(b->supervisor, SIGTERM);
		while (waitpid(b->supervisor, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (b->report >= 0)
		close(b->report);
	/* Where the supervisor did not: killed, its workers may write a moment longer. */
	for (unsigned int ms = 0; ms < REMOVE_MS && !access(b->directory, F_OK); ms += LOOK_MS) {
		tm_load_remove(b->directory);
		poll(NULL, 0, LOOK_MS);
	}
}

int tm_background_start(const char *spec, const unsigned int *cpus, unsigned int count,
			struct tm_background **out, char *why, size_t why_size)
{
	static char metrics[] = "--metrics", yaml[] = "--yaml", temporary[] = "--temp-path";
	struct tm_background *b = calloc(1, sizeof(*b));
	char words[256];
	struct tm_load_command c;
	int rc;

	*out = NULL;
	if (!b || !count) {
		free(b);
		return fail(why, why_size, count ? -ENOMEM : -EINVAL,
			    "background load \"%.60s\": %s", spec,
			    count ? "out of memory" : "no CPU left for it");
	}
	b->control = b->report = -1;
	rc = command_init(&c, spec, count, why, why_size);
	if (rc)
		goto out;
	c.yaml_fd = memfd_create("stress-ng metrics", MFD_CLOEXEC);
	c.log_fd = memfd_create("stress-ng log", MFD_CLOEXEC);
	rc = c.yaml_fd < 0 || c.log_fd < 0 ? -errno
					   : make_directory(c.directory, sizeof(c.directory));
	if (rc) {
		fail(why, why_size, rc, "background load: no place for temporary files: %s",
		     strerror(-rc));
		goto out;
	}
	snprintf(c.yaml, sizeof(c.yaml), "/proc/self/fd/%d", c.yaml_fd);
	memcpy(b->directory, c.directory, sizeof(b->directory));
	c.argv[c.argc++] = metrics;
	c.argv[c.argc++] = yaml;
	c.argv[c.argc++] = c.yaml;
	c.argv[c.argc++] = temporary;
	c.argv[c.argc++] = c.directory;
	rc = spawn(b, &c, cpus, count);
	if (!rc)
		rc = wait_until_running(b);
	if (rc) {
		finish(b);
		last_words(c.log_fd, words, sizeof(words));
		if (rc == -ECANCELED)
			fail(why, why_size, rc = -EINVAL,
			     "stress-ng ended at once with \"%.60s\": %s", spec, words);
		else
			fail(why, why_size, rc, "background load \"%.60s\" does not run: %s", spec,
			     strerror(-rc));
	}
out:
	if (!rc) {
		b->yaml_fd = c.yaml_fd;
		c.yaml_fd = -1;
		*out = b;
	} else {
		free(b);
	}
	command_end(&c);
	return rc;
}

/* One "key: value" of a stressor, under our own name where it is of interest. */
static void add_figure(json_t *stressor, const char *line)
{
	static const struct {
		const char *theirs, *ours;
	} names[] = {
		{"bogo-ops", "bogo_ops"},
		{"bogo-ops-per-second-real-time", "bogo_ops_per_second"},
		{"wall-clock-time", "wall_seconds"},
		{"user-time", "user_seconds"},
		{"system-time", "system_seconds"},
	};
	char key[64];
	double value;

	if (sscanf(line, " %63[^:]: %lf", key, &value) != 2)
		return;
	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(key, names[i].theirs))
			json_object_set_new(stressor, names[i].ours,
					    i ? json_real(value) : json_integer((json_int_t)value));
}

/* stress-ng's YAML is flat and regular: "    - stressor: NAME", then its figures. */
static char *read_metrics(int fd)
{
	FILE *f = fdopen(dup(fd), "r");
	json_t *all = json_array(), *stressor = NULL;
	char line[512], name[128], *text = NULL;

	if (f)
		rewind(f);
	while (f && all && fgets(line, sizeof(line), f)) {
		if (sscanf(line, " - stressor: %127[^\n]", name) == 1) {
			stressor = json_pack("{s:s}", "stressor", name);
			json_array_append_new(all, stressor);
		} else if (line[strspn(line, " \n")] == '\0') {
			stressor = NULL;
		} else if (stressor) {
			add_figure(stressor, line);
		}
	}
	if (f)
		fclose(f);
	if (json_array_size(all))
		text = json_dumps(all, JSON_COMPACT);
	json_decref(all);
	return text;
}

bool tm_background_ended(const struct tm_background *b)
{
	struct pollfd ended = {.fd = b->report, .events = POLLIN};

	return poll(&ended, 1, 0) > 0;
}

int tm_background_stop(struct tm_background *b, char **metrics)
{
	int rc;

	if (metrics)
		*metrics = NULL;
	if (!b)
		return 0;
	rc = tm_background_ended(b) ? -ECANCELED : 0;
	finish(b);
	if (metrics)
		*metrics = read_metrics(b->yaml_fd);
	close(b->yaml_fd);
	free(b);
	return rc;
}
