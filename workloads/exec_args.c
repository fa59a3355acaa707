// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * exec_args: one operation is an execve() that carries argument and
 * environment strings into a new program.
 *
 * Timed: from just before execve() in the child (how = vfork, fork), or from
 * just before posix_spawn() in the parent (how = spawn: its vfork comes on
 * top), to the first instruction of the helper, which reads the counter: two
 * stamps of one CPU, as affinity is inherited. That is: copying the strings,
 * mapping the program, the end of the old mm (of a forked child; a vfork's
 * only lets go of it), the move of the stack, and the page fault of the first
 * instruction.
 *
 * The strings are written near the top of the address space before the stack's
 * place is known; with stack randomisation the pages then move:
 * setup_arg_pages() -> shift_arg_pages() (relocate_vma_down() since 6.12) ->
 * move_page_tables() and free_pgd_range(). The new mm has run nowhere else, so
 * on x86 the flush is local, unless the task migrated in between. With
 * --randomize off nothing moves: the control. What does interrupt other CPUs
 * is the end of a forked child's mm with threads (--threads): de_thread()
 * kills them, and their CPUs may still hold the old mm lazily.
 *
 * Not measured: fork and vfork themselves (but see spawn), waking the child,
 * reading the program from disk (it is in the page cache), dynamic linking.
 * The helper runs on until it has reported; probes count that as inside.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tlbmark/workload.h>

#include "child.h"
#include "exec_helper.h"
#include "pages.h"

enum { PARAM_BYTES, PARAM_STRING, PARAM_RANDOMIZE, PARAM_HOW, PARAM_THREADS, PARAM_RESIDENT };
enum { RANDOMIZE_ON, RANDOMIZE_OFF };
enum { HOW_VFORK, HOW_FORK, HOW_SPAWN };
enum {
	LEAST_LIMIT_BYTES = 128 << 10, /* ARG_MAX: what the kernel always grants */
	MOST_LIMIT_BYTES = 6 << 20,    /* three quarters of _STK_LIM (fs/exec.c) */
	MOST_STRING_BYTES = 128 << 10, /* MAX_ARG_STRLEN with pages of 4 KiB */
	SPARE_BYTES = 4096,	       /* what is on the stack besides: file name, argv[0] */
	STACK_BYTES = 64 << 10,	       /* of a vfork child */
	REPORT_BYTES = sizeof(struct tm_exec_report),
};

static const char *const on_off[] = {"on", "off", NULL};
static const char *const hows[] = {"vfork", "fork", "spawn", NULL};

static const struct tm_param params[] = {
	{.name = "bytes",
	 .unit = "bytes",
	 .help = "argument and environment strings in all, NULs included",
	 .kind = TM_PARAM_UINT,
	 .min = 0,
	 .max = MOST_LIMIT_BYTES,
	 .def = "131072",
	 .full = "0,4096,32768,131072,1048576,6000000"},
	{.name = "string",
	 .unit = "bytes",
	 .help = "length of one string, its NUL included; arguments and environment in turn",
	 .kind = TM_PARAM_UINT,
	 .min = 1,
	 .max = MOST_STRING_BYTES,
	 .def = "4096"},
	{.name = "randomize",
	 .unit = "",
	 .help = "stack randomisation; off: the strings stay where they were put",
	 .kind = TM_PARAM_CHOICE,
	 .choices = on_off,
	 .def = "on",
	 .full = "on,off"},
	{.name = "how",
	 .unit = "",
	 .help = "who calls execve: a vfork child, a forked one, posix_spawn",
	 .kind = TM_PARAM_CHOICE,
	 .choices = hows,
	 .def = "vfork"},
	{.name = "threads",
	 .unit = "threads",
	 .help = "sleeping threads, on other CPUs, that the forked child has when it execs",
	 .kind = TM_PARAM_UINT,
	 .min = 0,
	 .max = 1024,
	 .def = "0"},
	{.name = "resident",
	 .unit = "pages",
	 .help = "pages of the parent that a forked child inherits and execve gives up",
	 .kind = TM_PARAM_UINT,
	 .min = 0,
	 .max = UINT32_MAX,
	 .def = "0"},
	{.name = NULL},
};

/* What one execve() gets: argv[0] is the number of the report's descriptor. */
struct arguments {
	char **argv, **envp;
	char *text;
	size_t bytes, strings;
	uint64_t hash;
};

struct slot {
	struct arguments a;
	struct tm_child child;	       /* of how = fork */
	struct tm_exec_report *report; /* the memfd, mapped */
	int report_fd;
	char name[16]; /* argv[0] */
	char *stack;   /* of a vfork child */
	unsigned int threads, cpu;
	int helper_fd;
	/* Written by a vfork child, which shares our memory. */
	volatile uint64_t begin_ticks;
	volatile int exec_error;
};

struct state {
	int helper_fd;
	void *resident; /* set of pages */
	unsigned int count;
	struct slot slot[];
};

/* ---- the helper program ---- */

/* Where it lies: beside the running program's tree, installed or not. */
static int find_helper(char *path, size_t size, char *why, size_t why_size)
{
	static const char *const places[] = {
		"../libexec/tlbmark/tlbmark-exec-helper",
		"tlbmark-exec-helper",
		"workloads/tlbmark-exec-helper",
	};
	const char *named = getenv("TLBMARK_EXEC_HELPER");
	char directory[PATH_MAX];
	ssize_t n;

	if (named) {
		if ((size_t)snprintf(path, size, "%s", named) < size && !access(path, X_OK))
			return 0;
		snprintf(why, why_size, "TLBMARK_EXEC_HELPER names %s: %s", named, strerror(errno));
		return -ENOENT;
	}
	n = readlink("/proc/self/exe", directory, sizeof(directory) - 1);
	if (n < 0) {
		snprintf(why, why_size,
			 "/proc/self/exe: %s: mount /proc (CONFIG_PROC_FS), or name the helper in "
			 "TLBMARK_EXEC_HELPER",
			 strerror(errno));
		return -ENOENT;
	}
	directory[n] = '\0';
	*strrchr(directory, '/') = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if ((size_t)snprintf(path, size, "%s/%s", directory, places[i]) < size &&
		    !access(path, X_OK))
			return 0;
	snprintf(why, why_size,
		 "no tlbmark-exec-helper in or beside %.100s: build or install it, "
		 "or name it in TLBMARK_EXEC_HELPER",
		 directory);
	return -ENOENT;
}

static int probe(char *why, size_t why_size)
{
	char path[PATH_MAX];

	return find_helper(path, sizeof(path), why, why_size);
}

/* ---- limits ---- */

/* What the kernel counts against its limit for these strings. */
static uint64_t counted_bytes(uint64_t bytes, uint64_t string_bytes)
{
	return bytes + ((bytes + string_bytes - 1) / string_bytes + 1) * sizeof(char *) +
	       SPARE_BYTES;
}

/* The most that this process may ask for, as the kernel computes it. */
static uint64_t limit_bytes(void)
{
	struct rlimit stack;
	uint64_t limit = MOST_LIMIT_BYTES;

	if (!getrlimit(RLIMIT_STACK, &stack) && stack.rlim_max / 4 < limit)
		limit = stack.rlim_max / 4;
	return limit < LEAST_LIMIT_BYTES ? LEAST_LIMIT_BYTES : limit;
}

static bool randomisation_is_off(void)
{
	FILE *f = fopen("/proc/sys/kernel/randomize_va_space", "re");
	int c = f ? fgetc(f) : '2';

	if (f)
		fclose(f);
	return c == '0';
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	const uint64_t *values = c->values;
	uint64_t counted = counted_bytes(values[PARAM_BYTES], values[PARAM_STRING]);

	if (counted > limit_bytes()) {
		snprintf(why, why_size,
			 "%llu bytes with their pointers are over the limit of %llu "
			 "(a quarter of the hard stack limit, 6 MiB at most): ask for fewer bytes, "
			 "longer strings, or raise ulimit -Hs",
			 (unsigned long long)counted, (unsigned long long)limit_bytes());
		return -ENOTSUP;
	}
	if (values[PARAM_RANDOMIZE] == RANDOMIZE_ON && randomisation_is_off()) {
		snprintf(why, why_size,
			 "kernel.randomize_va_space is 0: nothing to randomise; set it to 2");
		return -ENOTSUP;
	}
	if (values[PARAM_HOW] != HOW_FORK && (values[PARAM_THREADS] || values[PARAM_RESIDENT])) {
		snprintf(why, why_size, "threads and resident pages need --how fork");
		return -ENOTSUP;
	}
	return pages_check(c, PAGES_4K, PAGES_ANON, values[PARAM_RESIDENT], why, why_size);
}

/* ---- arguments ---- */

static void arguments_free(struct arguments *a)
{
	free(a->argv);
	free(a->envp);
	free(a->text);
	*a = (struct arguments){0};
}

/* `bytes` in strings of `string_bytes`, the last one shorter, of random content. */
static int arguments_make(struct tm_thread *t, struct slot *s, size_t bytes, size_t string_bytes)
{
	struct arguments *a = &s->a;
	size_t count = (bytes + string_bytes - 1) / string_bytes, argc = 1, envc = 0;
	uint64_t strings, word = 0;

	arguments_free(a);
	a->bytes = bytes;
	a->text = malloc(bytes + 1);
	a->argv = calloc(count / 2 + 3, sizeof(*a->argv));
	a->envp = calloc(count / 2 + 2, sizeof(*a->envp));
	if (!a->text || !a->argv || !a->envp)
		return tm_fail(t, -ENOMEM, "%zu bytes of arguments", bytes);
	for (size_t i = 0; i < bytes; i++) {
		if (i % sizeof(word) == 0)
			word = tm_random(t);
		a->text[i] = (char)(word & 0xff ? word & 0xff : 1);
		word >>= 8;
	}
	a->argv[0] = s->name;
	for (size_t i = 0; i < count; i++) {
		char *string = a->text + i * string_bytes;
		size_t length = i + 1 < count ? string_bytes : bytes - i * string_bytes;

		string[length - 1] = '\0';
		if (i % 2)
			a->envp[envc++] = string;
		else
			a->argv[argc++] = string;
	}
	a->hash = tm_exec_hash(argc, a->argv, a->envp, &strings);
	a->strings = strings;
	return 0;
}

/* ---- one execve ---- */

static void exec_helper(struct slot *s)
{
	s->begin_ticks = tm_ticks_begin();
	syscall(SYS_execveat, s->helper_fd, "", s->a.argv, s->a.envp, AT_EMPTY_PATH);
	s->exec_error = errno;
}

static int vfork_main(void *arg)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	exec_helper(arg);
	return 127;
}

enum { REQUEST_READY = 1, REQUEST_EXEC };

static void fork_main(struct tm_child *c, void *arg)
{
	struct slot *s = arg;

	tm_child_next(c);
	tm_child_answer(c, tm_child_threads(c, s->threads, s->cpu, c->page));
	tm_child_next(c);
	c->page->value[0] = tm_ticks_begin();
	syscall(SYS_execveat, s->helper_fd, "", s->a.argv, s->a.envp, AT_EMPTY_PATH);
	c->page->error = errno;
	_exit(127);
}

/* Each starts the helper and returns its pid when it is at least on its way; -errno. */
static pid_t launch_vfork(struct tm_thread *t, struct slot *s)
{
	pid_t pid;

	tm_arm(t);
	*t->in_operation = 1;
	pid = clone(vfork_main, s->stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | SIGCHLD, s);
	return pid < 0 ? -errno : pid;
}

static pid_t launch_fork(struct tm_thread *t, struct slot *s)
{
	pid_t pid;
	int rc = tm_child_start(&s->child, fork_main, s);

	rc = rc ? rc : tm_child_ask(&s->child, REQUEST_READY);
	if (rc)
		return rc;
	tm_arm(t);
	*t->in_operation = 1;
	tm_child_post(&s->child, REQUEST_EXEC);
	rc = tm_child_await(&s->child);
	s->begin_ticks = s->child.page->value[0];
	s->exec_error = s->child.page->error;
	pid = s->child.pid;
	s->child.pid = 0; /* reaped by the caller, like the others */
	return rc ? rc : pid;
}

/* glibc's has no way to set the death signal; the helper lives for microseconds. */
static pid_t launch_spawn(struct tm_thread *t, struct slot *s)
{
	char path[32];
	pid_t pid;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", s->helper_fd);
	tm_begin(t);
	s->begin_ticks = t->begin_ticks;
	s->exec_error = posix_spawn(&pid, path, NULL, NULL, s->a.argv, s->a.envp);
	return s->exec_error ? -s->exec_error : pid;
}

/* One operation, without storing a sample. 0: the helper has run and reported. */
static int launch(struct tm_thread *t, struct slot *s)
{
	static pid_t (*const launchers[])(struct tm_thread *, struct slot *) = {
		[HOW_VFORK] = launch_vfork,
		[HOW_FORK] = launch_fork,
		[HOW_SPAWN] = launch_spawn,
	};
	pid_t pid, reaped = 0;
	int status = 0;

	memset(s->report, 0, sizeof(*s->report));
	s->exec_error = 0;
	pid = launchers[t->cell->values[PARAM_HOW]](t, s);
	if (pid > 0)
		while ((reaped = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
			;
	*t->in_operation = 0;
	if (reaped < 0)
		return tm_fail(t, -errno, "waiting for the helper");
	if (s->exec_error == E2BIG)
		return tm_fail(t, -E2BIG,
			       "execve with %zu bytes in %zu strings: over this kernel's limit",
			       s->a.bytes, s->a.strings);
	if (pid < 0 || s->exec_error)
		return tm_child_failed(t, &s->child, pid < 0 ? pid : -s->exec_error,
				       "executing the helper");
	if (WIFSIGNALED(status))
		return tm_fail(t, -ECHILD, "the helper died of signal %d (%s)", WTERMSIG(status),
			       strsignal(WTERMSIG(status)));
	if (status)
		return tm_fail(t, -EIO, "the helper ended with wait status %#x", status);
	return 0;
}

static bool intact(const struct slot *s)
{
	return s->report->hash == s->a.hash && s->report->strings == s->a.strings;
}

/* ---- the workload ---- */

static int setup(struct tm_thread *t, void **state)
{
	uint64_t counted;
	struct rlimit stack;
	char path[PATH_MAX], why[256];
	struct state *s;
	int rc;

	s = calloc(1, sizeof(*s) + t->cell->initiators * sizeof(s->slot[0]));
	if (!s)
		return tm_fail(t, -ENOMEM, "state");
	*state = s;
	s->count = t->cell->initiators;
	for (unsigned int i = 0; i < s->count; i++)
		s->slot[i].report_fd = -1;
	s->helper_fd = -1;
	rc = pages_set_new(t, &s->resident);
	if (rc)
		return rc;
	rc = find_helper(path, sizeof(path), why, sizeof(why));
	if (rc)
		return tm_fail(t, rc, "%s", why);
	s->helper_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (s->helper_fd < 0)
		return tm_fail(t, -errno, "opening %s", path);
	/* For this process and its children: it was made for this run alone. */
	counted = MOST_LIMIT_BYTES + SPARE_BYTES;
	if (getrlimit(RLIMIT_STACK, &stack))
		return tm_fail(t, -errno, "reading the stack limit");
	if (stack.rlim_cur < 4 * counted) {
		stack.rlim_cur = stack.rlim_max < 4 * counted ? stack.rlim_max : 4 * counted;
		if (setrlimit(RLIMIT_STACK, &stack))
			return tm_fail(t, -errno, "raising the stack limit");
	}
	return 0;
}

static int set_randomisation(struct tm_thread *t, bool on)
{
	int now = personality(0xffffffff);

	if (now >= 0 && personality(on ? (unsigned long)now & ~(unsigned long)ADDR_NO_RANDOMIZE
				       : (unsigned long)now | ADDR_NO_RANDOMIZE) >= 0)
		return 0;
	tm_fail(t, -errno, "personality(ADDR_NO_RANDOMIZE) is not allowed here");
	return -ENOTSUP;
}

static void *map(int flags, int fd, size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);

	return at == MAP_FAILED ? NULL : at;
}

static int prepare(struct tm_thread *t, void *state)
{
	const uint64_t *values = t->cell->values;
	struct state *all = state;
	struct slot *s = &all->slot[t->index];
	struct pages *p = pages_of(t, all->resident);
	int rc;

	s->helper_fd = all->helper_fd;
	s->threads = (unsigned int)values[PARAM_THREADS];
	s->cpu = t->cpu;
	s->report_fd = memfd_create("tlbmark-exec-report", 0);
	if (s->report_fd < 0 || ftruncate(s->report_fd, REPORT_BYTES))
		return tm_fail(t, -errno, "memfd_create");
	snprintf(s->name, sizeof(s->name), "%d", s->report_fd);
	s->report = map(MAP_SHARED, s->report_fd, REPORT_BYTES);
	s->stack = map(MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, STACK_BYTES);
	if (!s->report || !s->stack)
		return tm_fail(t, -errno, "mapping the report and a stack");
	rc = tm_child_open(&s->child);
	if (rc)
		return tm_fail(t, rc, "a page shared with the child");
	if (values[PARAM_RESIDENT]) {
		rc = pages_open(t, p, PAGES_4K, PAGES_ANON, values[PARAM_RESIDENT]);
		rc = rc ? rc : pages_place(t, p, PAGES_KEEP_TABLES, 1, 0);
		rc = rc ? rc : pages_map(t, p, pages_at(p, 0), p->bytes, false);
		if (rc)
			return rc;
	}
	rc = set_randomisation(t, values[PARAM_RANDOMIZE] == RANDOMIZE_ON);
	if (rc)
		return rc;
	tm_child_no_preemption();
	return arguments_make(t, s, values[PARAM_BYTES], values[PARAM_STRING]);
}

static int operate(struct tm_thread *t, void *state)
{
	struct slot *s = &((struct state *)state)->slot[t->index];
	uint32_t pages = (uint32_t)((s->a.bytes + t->page_bytes - 1) / t->page_bytes);

	while (tm_more(t)) {
		int rc = launch(t, s);

		if (rc)
			return rc;
		if (!intact(s))
			return tm_fail(t, -EBADMSG,
				       "%zu bytes in %zu strings did not arrive intact", s->a.bytes,
				       s->a.strings);
		tm_commit(t, s->begin_ticks, s->report->stamp_ticks, pages);
	}
	return 0;
}

/*
 * Random sizes, string lengths and contents, small ones more often, and the
 * limit itself once in 16 times, on the average. A page that is moved while a translation to
 * its old place lives on would be written or read in the wrong place: the
 * helper, which hashes what it finds through the new one, tells. With
 * --randomize off the stack must not move at all; that, too, fails the run.
 */
static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct slot *s = &((struct state *)state)->slot[t->index];
	uint64_t stack = 0;

	for (uint64_t i = 0; i < v->rounds; i++) {
		size_t string_bytes = 1 + tm_random(t) % (1u << (5 + tm_random(t) % 13));
		uint64_t most = limit_bytes() - SPARE_BYTES - 2 * sizeof(char *), bytes = most;
		int rc;

		if (tm_random(t) % 16)
			bytes = tm_random(t) % (UINT64_C(1) << tm_random(t) % 23);
		/* A pointer for each string counts too. */
		most = most / (string_bytes + sizeof(char *)) * string_bytes;
		rc = arguments_make(t, s, bytes < most ? bytes : most, string_bytes);
		rc = rc ? rc : launch(t, s);
		if (rc)
			return rc;
		tm_check(v, intact(s), "%zu bytes in %zu strings of %zu did not arrive intact",
			 s->a.bytes, s->a.strings, string_bytes);
		/* These two tell of clocks and of settings, not of translations. */
		if (s->report->stamp_ticks <= s->begin_ticks)
			return tm_fail(t, -ETIME,
				       "the helper's first instruction came before execve");
		if (t->cell->values[PARAM_RANDOMIZE] == RANDOMIZE_ON)
			continue;
		/* Same strings, same place: repeat them. */
		stack = s->report->stack;
		rc = launch(t, s);
		if (rc)
			return rc;
		if (s->report->stack != stack)
			return tm_fail(t, -EBADMSG,
				       "without randomisation the stack moved from %#llx to %#llx",
				       (unsigned long long)stack,
				       (unsigned long long)s->report->stack);
	}
	return 0;
}

static void teardown(void *state)
{
	struct state *all = state;

	if (!all)
		return;
	for (unsigned int i = 0; i < all->count; i++) {
		struct slot *s = &all->slot[i];

		tm_child_close(&s->child);
		arguments_free(&s->a);
		if (s->report)
			munmap(s->report, REPORT_BYTES);
		if (s->stack)
			munmap(s->stack, STACK_BYTES);
		if (s->report_fd >= 0)
			close(s->report_fd);
	}
	if (all->resident)
		pages_set_free(all->resident);
	if (all->helper_fd >= 0)
		close(all->helper_fd);
	free(all);
}

const struct tm_workload tm_workload_exec_args = {
	.name = "exec_args",
	.summary = "execve with long arguments: the stack that is moved when it is done",
	.op = "one execve(), until the new program's first instruction",
	.flushes = "shift_arg_pages / relocate_vma_down -> flush_tlb_mm_range, locally",
	.gate = TM_GATE_NONE,
	.no_control = true,
	.switches = true, /* the vfork's parent is woken inside */
	.params = params,
	.probe = probe,
	.probe_cell = probe_cell,
	.setup = setup,
	.prepare = prepare,
	.operate = operate,
	.verify = verify,
	.teardown = teardown,
};
