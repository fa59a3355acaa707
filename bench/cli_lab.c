// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * `tlbmark lab`: reads the command line and hands over to the scripts of
 * kernels/lab, which are told what was asked for by LAB_NAME variables. Their
 * signals come through here, and they end when this process does.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"

#ifndef TM_PKGDATADIR
#define TM_PKGDATADIR "/usr/local/share/tlbmark"
#endif
#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0"
#endif

enum {
	OPT_KERNEL,
	OPT_CPUS,
	OPT_NODES,
	OPT_SOCKETS,
	OPT_CORES,
	OPT_THREADS,
	OPT_MEMORY,
	OPT_IOMMU,
	OPT_ISOLATED,
	OPT_APPEND,
	OPT_MODULES,
	OPT_ADD,
	OPT_DETERMINISTIC,
	OPT_BOOTS,
	OPT_TIMEOUT,
	OPT_BUILD_TREE,
	OPT_OUT,
	OPT_STORE,
	OPT_NO_DMESG_GATE,
	OPT_LOCK,
	OPT_UPDATE,
	OPTIONS,
};
static const struct tm_option options[OPTIONS + 1] = {
	[OPT_KERNEL] = {"kernel", 'k', "KERNEL",
			"6.1, 6.12, an exact version of Debian's, or a bzImage's path", NULL},
	[OPT_CPUS] = {"cpus", 'c', "N", "run: CPUs of the guest; 2 unless said", NULL},
	[OPT_NODES] = {"nodes", 0, "N", "run: memory nodes; 1 unless said", NULL},
	[OPT_SOCKETS] = {"sockets", 0, "N", "run: packages; as many as nodes unless said", NULL},
	[OPT_CORES] = {"cores", 0, "N", "run: cores of a package", NULL},
	[OPT_THREADS] = {"threads", 0, "N", "run: hardware threads of a core; 1 unless said", NULL},
	[OPT_MEMORY] = {"memory", 'm', "SIZE", "run: with M or G behind it; 1G unless said", NULL},
	[OPT_IOMMU] = {"iommu", 0, "MODE", "run: an IOMMU in this mode, and a device behind it",
		       "none strict lazy passthrough"},
	[OPT_ISOLATED] = {"isolated", 0, "LIST", "run: CPUs without tick and without other work",
			  NULL},
	[OPT_APPEND] = {"append", 0, "WORDS", "run: more for the kernel's command line", NULL},
	[OPT_MODULES] = {"modules", 0, "LIST",
			 "run: load these, parameters behind a blank; all of ours unless said",
			 "all none"},
	[OPT_ADD] = {"add", 0, "FILE", "run: put it beside the program in the guest", NULL},
	[OPT_DETERMINISTIC] = {"deterministic", 0, NULL,
			       "run: time counts instructions, the same in each boot", NULL},
	[OPT_BOOTS] = {"boots", 0, "N", "run: the same in N guests, one after the other", NULL},
	[OPT_TIMEOUT] = {"timeout", 0, "TIME", "run: of a guest, in s, m or h; 10m unless said",
			 NULL},
	[OPT_BUILD_TREE] = {"build-tree", 0, "DIR",
			    "run, modules: where the kernel was built, to build modules", NULL},
	[OPT_OUT] = {"out", 'o', "DIR", "run: keep console, kernel log and QEMU's arguments there",
		     NULL},
	[OPT_STORE] = {"store", 0, "FILE", "run: where the records are kept", NULL},
	[OPT_NO_DMESG_GATE] = {"no-dmesg-gate", 0, NULL,
			       "run: warnings of the guest's kernel are no failure", NULL},
	[OPT_LOCK] = {"lock", 0, "FILE", "the file that pins versions and checksums", NULL},
	[OPT_UPDATE] = {"update", 0, NULL, "fetch: pin what the mirror has today", NULL},
	[OPTIONS] = {.name = NULL},
};

#define BIT(option) (1u << (option))
#define FETCHING (BIT(OPT_KERNEL) | BIT(OPT_LOCK))
/* Each is a script in kernels/lab, and takes some of the options. */
static const struct verb {
	const char *name;
	unsigned int takes;
} verbs[] = {
	{"fetch", FETCHING | BIT(OPT_UPDATE)},	     {"list", BIT(OPT_LOCK)},
	{"modules", FETCHING | BIT(OPT_BUILD_TREE)}, {"clean", 0},
	{"run", BIT(OPTIONS) - 1 - BIT(OPT_UPDATE)},
};

struct lab {
	const struct verb *verb;
	const char *values[OPTIONS];
	char *added; /* --add, a line each */
	char **command;
	int command_count;
};

/* ---- the command line ---- */

static int refuse(int option, const char *value, const char *want)
{
	tm_error("lab: --%s '%s': %s", options[option].name, value, want);
	return TM_EXIT_USAGE;
}

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	}
	return NULL;
}

/* --add may come several times. The scripts take a file a line. */
static int add_file(struct lab *l, const char *file)
{
	char *all;

	if (strchr(file, '\n') || access(file, R_OK))
		return refuse(OPT_ADD, file, "no file that can be read");
	if (asprintf(&all, "%s%s%s", l->added ? l->added : "", l->added ? "\n" : "", file) < 0) {
		tm_error("lab: out of memory");
		return TM_EXIT_CANNOT;
	}
	free(l->added);
	l->added = all;
	l->values[OPT_ADD] = all;
	return TM_EXIT_OK;
}

static int take_word(struct lab *l, struct tm_walk *w)
{
	if (!l->verb) {
		l->verb = find_verb(w->value);
		if (l->verb)
			return TM_EXIT_OK;
		tm_error("lab: unknown command '%s'; fetch, list, modules, clean and run are known",
			 w->value);
		return TM_EXIT_USAGE;
	}
	if (!w->only_words || strcmp(l->verb->name, "run")) {
		tm_error("lab %s: what is '%s'? The guest's command stands behind --",
			 l->verb->name, w->value);
		return TM_EXIT_USAGE;
	}
	/* The rest is for the guest, as it is. */
	l->command = &w->argv[w->next - 1];
	l->command_count = w->argc - w->next + 1;
	w->next = w->argc;
	return TM_EXIT_OK;
}

/* An exit status; -1 where help was asked for and given. */
static int parse(int argc, char **argv, struct lab *l)
{
	struct tm_walk w = {.command = &tm_command_lab, .argc = argc, .argv = argv};
	int option, status = TM_EXIT_OK;

	while (!status && (option = tm_walk_next(&w)) != TM_OPT_END) {
		if (option == TM_OPT_HELP) {
			tm_command_help(&tm_command_lab, stdout);
			return -1;
		}
		if (option == TM_OPT_BAD)
			return TM_EXIT_USAGE;
		if (option == TM_OPT_WORD)
			status = take_word(l, &w);
		else if (option == OPT_ADD)
			status = add_file(l, w.value);
		else
			l->values[option] = options[option].argument ? w.value : "1";
	}
	if (status)
		return status;
	if (!l->verb) {
		tm_error(
			"lab: fetch, list, modules, clean or run? 'tlbmark lab --help' tells more");
		return TM_EXIT_USAGE;
	}
	for (int i = 0; i < OPTIONS; i++) {
		if (l->values[i] && !(l->verb->takes & BIT(i))) {
			tm_error("lab %s: takes no --%s", l->verb->name, options[i].name);
			return TM_EXIT_USAGE;
		}
	}
	return TM_EXIT_OK;
}

/* ---- numbers ---- */

static const struct number {
	int option;
	unsigned long least, most, unless_said; /* 0: follows from the others */
	const char *units;			/* one letter each, "" for none */
	unsigned long factors[3];
	const char *want;
} numbers[] = {
	{OPT_CPUS, 1, 255, 0, "", {1}, "1 to 255 CPUs"},
	{OPT_NODES, 1, 64, 1, "", {1}, "1 to 64 memory nodes"},
	{OPT_SOCKETS, 1, 255, 0, "", {1}, "1 to 255 packages"},
	{OPT_CORES, 1, 255, 0, "", {1}, "1 to 255 cores"},
	{OPT_THREADS, 1, 8, 1, "", {1}, "1 to 8 hardware threads"},
	{OPT_MEMORY, 64, 1 << 20, 1024, "MG", {1, 1024}, "64M to 1024G"},
	{OPT_BOOTS, 1, 10000, 1, "", {1}, "1 to 10000 guests"},
	{OPT_TIMEOUT, 1, 604800, 600, "smh", {1, 60, 3600}, "1s to 168h"},
};

static int parse_number(const struct number *n, const char *text, unsigned long *value)
{
	size_t digits = strspn(text, "0123456789");
	const char *unit = text[digits] ? strchr(n->units, text[digits]) : n->units;

	if (!digits || digits > 9 || !unit || (text[digits] && text[digits + 1]))
		return refuse(n->option, text, n->want);
	*value = strtoul(text, NULL, 10) * n->factors[unit - n->units];
	if (*value < n->least || *value > n->most)
		return refuse(n->option, text, n->want);
	return TM_EXIT_OK;
}

/* Those that follow from others, and whether they agree. */
static int complete(unsigned long value[OPTIONS])
{
	unsigned long *cpus = &value[OPT_CPUS], *cores = &value[OPT_CORES];
	unsigned long *sockets = &value[OPT_SOCKETS], threads = value[OPT_THREADS];
	unsigned long nodes = value[OPT_NODES], said = *cpus;

	if (!*sockets)
		*sockets = *cpus && *cores ? *cpus / (*cores * threads) : nodes;
	if (!*cpus)
		*cpus = *sockets * threads * (*cores ? *cores : 1);
	if (!*cores && *cpus == 1 && !said)
		*cpus = 2;
	if (!*cores)
		*cores = *cpus / (*sockets * threads);
	if (*sockets * *cores * threads != *cpus) {
		tm_error("lab run: %lu CPUs are not %lu sockets of %lu cores of %lu threads", *cpus,
			 *sockets, *cores, threads);
		return TM_EXIT_USAGE;
	}
	if (*sockets % nodes || value[OPT_MEMORY] % nodes) {
		tm_error("lab run: %lu sockets and %lu MiB of memory do not divide by %lu nodes",
			 *sockets, value[OPT_MEMORY], nodes);
		return TM_EXIT_USAGE;
	}
	return TM_EXIT_OK;
}

/* ---- what the scripts are told ---- */

static void tell(const char *name, const char *value)
{
	char variable[64] = "LAB_";
	size_t n = strlen(variable);

	for (; *name && n < sizeof(variable) - 1; name++)
		variable[n++] = *name == '-' ? '_' : (char)toupper((unsigned char)*name);
	variable[n] = '\0';
	if (value)
		setenv(variable, value, 1);
	else
		unsetenv(variable);
}

/* The first of the folders that has the file; NULL where none has. */
static const char *holder(const char *const *folders, const char *file)
{
	char *path;
	bool there;

	for (; *folders; folders++) {
		if (asprintf(&path, "%s/%s", *folders, file) < 0)
			return NULL;
		there = !access(path, R_OK);
		free(path);
		if (there)
			return *folders;
	}
	return NULL;
}

/* Where the file is; empty where it is not. */
static void tell_path(const char *name, const char *const *folders, const char *file)
{
	const char *folder = holder(folders, file);
	char *path;

	if (!folder || asprintf(&path, "%s/%s", folder, file) < 0) {
		tell(name, "");
		return;
	}
	tell(name, path);
	free(path);
}

/*
 * The program, what of it goes along, and the modules' source: where this
 * program was built, or where it is installed. The scripts' folder; NULL after
 * a line that says what is missing.
 */
static const char *find_parts(void)
{
	static char program[PATH_MAX - 32], here[PATH_MAX - 32], installed[PATH_MAX],
		shared[PATH_MAX];
	const char *const programs[] = {here, installed, NULL};
	const char *scripts = getenv("TLBMARK_LAB"), *source, *init;
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);

	if (n < 0) {
		tm_error("lab: no /proc/self/exe: is /proc mounted?");
		return NULL;
	}
	memcpy(here, program, (size_t)n);
	*strrchr(here, '/') = '\0';
	snprintf(shared, sizeof(shared), "%s/../src/tlbmark-" PACKAGE_VERSION, here);
	snprintf(installed, sizeof(installed), "%s/../libexec/tlbmark", here);
	tell("tlbmark", program);
	tell_path("helper", programs, "tlbmark-exec-helper");
	tell_path("init", programs, "tlbmark-lab-init");
	init = holder(programs, "tlbmark-lab-init");
	source = init == here ? TM_SOURCE_DIR : shared;
	tell("source", holder((const char *const[]){source, NULL}, "workloads/kmod/Makefile"));
	if (!scripts)
		scripts = init == here ? TM_SOURCE_DIR "/kernels/lab" : TM_PKGDATADIR "/lab";
	if (!init)
		tm_error("lab: no tlbmark-lab-init in or beside %s: build or install it", here);
	else if (!holder((const char *const[]){scripts, NULL}, "run"))
		tm_error("lab: no scripts in %s: install them, or set TLBMARK_LAB to their folder",
			 scripts);
	else
		return scripts;
	return NULL;
}

static int tell_all(const struct lab *l)
{
	unsigned long value[OPTIONS] = {0};
	struct winsize size;
	char text[24];
	int status = TM_EXIT_OK;

	for (int i = 0; i < OPTIONS; i++)
		tell(options[i].name, l->values[i]);
	for (size_t i = 0; !status && i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		value[numbers[i].option] = numbers[i].unless_said;
		if (l->values[numbers[i].option])
			status = parse_number(&numbers[i], l->values[numbers[i].option],
					      &value[numbers[i].option]);
	}
	if (!status)
		status = complete(value);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		snprintf(text, sizeof(text), "%lu", value[numbers[i].option]);
		tell(options[numbers[i].option].name, text);
	}
	tell("version", PACKAGE_VERSION);
	snprintf(text, sizeof(text), "%u",
		 ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) ? 0 : (unsigned int)size.ws_col);
	tell("columns", text);
	return status;
}

static int check_choices(const struct lab *l)
{
	const char *mode = l->values[OPT_IOMMU], *isolated = l->values[OPT_ISOLATED];
	const char *append = l->values[OPT_APPEND];

	if (mode && (!*mode || strchr(mode, ' ') || !strstr(options[OPT_IOMMU].choices, mode)))
		return refuse(OPT_IOMMU, mode, "none, strict, lazy or passthrough");
	if (isolated && (!*isolated || strspn(isolated, "0123456789,-") < strlen(isolated)))
		return refuse(OPT_ISOLATED, isolated, "a list of CPUs such as 1,3-5");
	if (append && strchr(append, '\n'))
		return refuse(OPT_APPEND, append, "one line");
	if (l->values[OPT_UPDATE] && l->values[OPT_KERNEL] && strchr(l->values[OPT_KERNEL], '/'))
		return refuse(OPT_KERNEL, l->values[OPT_KERNEL], "nothing to fetch");
	return TM_EXIT_OK;
}

/* ---- the scripts ---- */

static pid_t start(char *const *argv, const sigset_t *mask)
{
	pid_t parent = getpid(), pid = fork();

	if (pid)
		return pid;
	/* A script takes what it started with it. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(TM_EXIT_CANNOT);
	sigprocmask(SIG_SETMASK, mask, NULL);
	execv("/bin/sh", argv);
	_exit(TM_EXIT_CANNOT);
}

/* Until it has ended; what would end us goes to it first. */
static int wait_for(pid_t pid, const sigset_t *signals)
{
	int signal, status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (!sigwait(signals, &signal) && signal != SIGCHLD)
			kill(pid, signal);
	}
	return WIFSIGNALED(status) ? TM_EXIT_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

/* sh SCRIPT ARGUMENT...: its exit status. */
static int script(const char *folder, const char *name, char *const *arguments, int count)
{
	char path[PATH_MAX + 16], **argv = calloc((size_t)count + 3, sizeof(*argv));
	sigset_t signals, before;
	int status = TM_EXIT_CANNOT;
	pid_t pid;

	if (!argv) {
		tm_error("lab: out of memory");
		return status;
	}
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	argv[0] = (char[]){"sh"};
	argv[1] = path;
	for (int i = 0; i < count; i++)
		argv[2 + i] = arguments[i];
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	fflush(stdout);
	sigprocmask(SIG_BLOCK, &signals, &before);
	pid = start(argv, &before);
	if (pid < 0)
		tm_error("lab: cannot start a process: %s", strerror(errno));
	else
		status = wait_for(pid, &signals);
	sigprocmask(SIG_SETMASK, &before, NULL);
	free(argv);
	return status;
}

/* The guest's `run` draws no plots there, and is deterministic where the guest is. */
static int run_guest(const struct lab *l, const char *folder)
{
	static char run[] = "run", no_plots[] = "--no-plots", deterministic[] = "--deterministic";
	char **command = calloc((size_t)l->command_count + 3, sizeof(*command));
	int count = 0, status;

	if (!command) {
		tm_error("lab: out of memory");
		return TM_EXIT_CANNOT;
	}
	command[count++] = l->command_count ? l->command[0] : run;
	if (!strcmp(command[0], "run")) {
		command[count++] = no_plots;
		if (l->values[OPT_DETERMINISTIC])
			command[count++] = deterministic;
	}
	for (int i = 1; i < l->command_count; i++)
		command[count++] = l->command[i];
	status = script(folder, "run", command, count);
	free(command);
	return status;
}

/* Without --kernel, fetch and modules are about every one that the suite is tested on. */
static int for_kernels(const struct lab *l, const char *folder)
{
	static const char *const tested[] = {"6.1", "6.12"};
	int status = TM_EXIT_OK;

	if (l->values[OPT_KERNEL] || l->values[OPT_BUILD_TREE])
		return script(folder, l->verb->name, NULL, 0);
	for (size_t i = 0; !status && i < sizeof(tested) / sizeof(tested[0]); i++) {
		tell("kernel", tested[i]);
		status = script(folder, l->verb->name, NULL, 0);
	}
	return status;
}

static int lab(struct lab *l)
{
	const char *folder;
	int status = check_choices(l);

	if (!status)
		status = tell_all(l);
	if (status)
		return status;
	folder = find_parts();
	if (!folder)
		return TM_EXIT_CANNOT;
	if (!strcmp(l->verb->name, "list") || !strcmp(l->verb->name, "clean"))
		return script(folder, l->verb->name, NULL, 0);
	if (strcmp(l->verb->name, "run"))
		return for_kernels(l, folder);
	if (!l->values[OPT_KERNEL])
		tell("kernel", "6.12");
	return run_guest(l, folder);
}

static int cmd_lab(int argc, char **argv)
{
	struct lab l = {.verb = NULL};
	int status = parse(argc, argv, &l);

	if (!status)
		status = lab(&l);
	free(l.added);
	return status < 0 ? TM_EXIT_OK : status;
}

const struct tm_command tm_command_lab = {
	.name = "lab",
	.synopsis = "fetch|list|modules|clean|run [OPTION...] [-- COMMAND...]",
	.summary = "boot Debian's kernels in QEMU and measure in there",
	.description =
		"run boots a guest with the kernel asked for, has it run `tlbmark COMMAND...` with the\n"
		"suite's kernel modules loaded, stores its records here, and ends with the command's\n"
		"status. A COMMAND with a slash in it is a program brought along with --add. Needs no\n"
		"root, no installed kernel and no KVM; x86-64 only.\n"
		"\n"
		"fetch downloads and unpacks kernels; run does so by itself. Versions and checksums\n"
		"are pinned in a lock file, which is in the cache unless --lock or TLBMARK_LAB_LOCK\n"
		"names another. list shows what there is, modules builds the modules and prints where\n"
		"they are, clean empties the cache: $TLBMARK_LAB_CACHE, else\n"
		"$XDG_CACHE_HOME/tlbmark/lab, else ~/.cache/tlbmark/lab.\n"
		"\n"
		"A guest that hangs, panics, or whose kernel complains (BUG, WARNING, lockdep) is a\n"
		"failure, whatever the command said: status 1, with the end of its console.\n"
		"\n"
		"QEMU emulates the processor: counts and correctness hold there, times only with\n"
		"--deterministic, where they are instructions.",
	.options = options,
	.main = cmd_lab,
};
