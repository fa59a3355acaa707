// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Runs in a guest, without a C library's files: what a kernel module must
 * stand.
 *
 *	fuzz FOLDER SEED LOADS KILLS IOCTLS SECONDS
 *
 * loads and unloads the modules in FOLDER so often, kills callers inside every
 * request so often, fuzzes until so many ioctls or so many seconds, unloads,
 * and looks what was left. 0 leaves a step out. A line each, and status 0 when
 * all went well.
 *
 * Fuzzing: processes of two threads that share their descriptors, timers that
 * interrupt, memory that changes under the calls, children that inherit
 * descriptors, exec, and callers killed. Process number n begins with the
 * random numbers of SEED + n, so a sequence of requests can be had again; how
 * threads interleave cannot. Status 0: every request of every device was
 * reached, and none did what it must not. What the kernel says is the
 * caller's to look at.
 */
#define _GNU_SOURCE
#include "fuzz.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <tlbmark/uapi.h>

enum {
	PROCESSES = 2, /* at a time */
	THREADS = 2,
	ITERATIONS = 2000, /* of a thread */
	PATIENCE_S = 30,   /* a process may take; when killed then, as long again */
};

enum outcome { OK, REFUSED, FAULT, UNKNOWN, INTERRUPTED, OTHER, OUTCOMES };
static const char *const outcome_names[OUTCOMES] = {"ok",     "EINVAL", "EFAULT",
						    "ENOTTY", "EINTR",	"other"};

/* All processes': in shared memory. */
struct total {
	uint64_t ioctls, violations;
	uint64_t seen[DEVICES][REQUESTS_MAX][OUTCOMES];
};
static struct total *total;

static struct arena arena;
static int descriptor[DEVICES]; /* of a process; the threads replace them */

static void add(uint64_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static void ignore(int signal)
{
	(void)signal;
}

static void violation(const struct request *r, const char *what, long got)
{
	add(&total->violations);
	printf("# %s: %s (%ld)\n", r->name, what, got);
	fflush(stdout);
}

static enum outcome outcome_of(int rc, int error)
{
	if (rc >= 0)
		return OK;
	switch (error) {
	case EINVAL:
		return REFUSED;
	case EFAULT:
		return FAULT;
	case ENOTTY:
		return UNKNOWN;
	case EINTR:
		return INTERRUPTED;
	default:
		return OTHER;
	}
}

static void check(const struct request *r, int rc, int error, const char *before, const char *after)
{
	struct tm_kmod_run was, is;

	/* The kernel's own numbers must not come out. */
	if (rc < 0 && error >= 512)
		violation(r, "an errno that is not for user space", error);
	if (rc > 0)
		violation(r, "returned neither 0 nor an error", rc);
	if (!r->timed)
		return;
	memcpy(&was, before, sizeof(was));
	memcpy(&is, after, sizeof(is));
	if (!rc && is.done != was.operations)
		violation(r, "success, but not all operations done", is.done);
	if (is.done != was.done && is.done > was.operations)
		violation(r, "more done than asked for", is.done);
}

/* What is asked of a slow request, but for one time in forty: nothing that is done. */
static const struct field *make(const struct request *r, uint64_t *random, char *bytes)
{
	static const enum fuzz_mode modes[] = {
		FUZZ_VALID, FUZZ_VALID, FUZZ_ONE, FUZZ_ONE, FUZZ_ONE, FUZZ_ONE, FUZZ_WILD,
	};
	const struct field *broken = NULL;

	if (r->how != REQUEST_QUICK && fuzz_below(random, 40)) {
		fuzz_fill(r, &arena, FUZZ_VALID, random, bytes);
		broken = fuzz_break(r, random, bytes);
	}
	if (!broken)
		fuzz_fill(r, &arena, modes[fuzz_below(random, sizeof(modes) / sizeof(modes[0]))],
			  random, bytes);
	return broken;
}

/* A request that this device knows, in memory that is all there. */
static void ask(int device, int index, uint64_t *random)
{
	const struct request *r = &fuzz_device[device].request[index];
	char before[STRUCT_MAX], after[STRUCT_MAX];
	const struct field *broken = make(r, random, before);
	int rc, error;

	memcpy(after, before, sizeof(after));
	rc = ioctl(descriptor[device], r->number, after);
	error = errno;
	/* Another thread may just have closed it. */
	if (rc < 0 && error == EBADF)
		return;
	add(&total->ioctls);
	add(&total->seen[device][index][outcome_of(rc, error)]);
	if (broken && !rc)
		violation(r, "done, although the field at this offset is out of its range",
			  (long)broken->offset);
	check(r, rc, error, before, after);
}

/* A known request at a bad address, or at one where the struct is only half there. */
static void ask_badly(int device, int index, uint64_t *random)
{
	const struct request *r = &fuzz_device[device].request[index];
	uint64_t at = fuzz_pointer(&arena, random);
	int rc = ioctl(descriptor[device], r->number, at);

	add(&total->ioctls);
	if (rc < 0)
		add(&total->seen[device][index][outcome_of(rc, errno)]);
}

/* Any number, any size, any direction. */
static void ask_nonsense(int device, uint64_t *random)
{
	char bytes[1 << 14] = {0};
	uint64_t number = fuzz_random(random);

	if (fuzz_below(random, 2))
		number = _IOC(fuzz_below(random, 4), TM_KMOD_MAGIC, fuzz_below(random, 128),
			      fuzz_below(random, sizeof(bytes)));
	ioctl(descriptor[device], number,
	      fuzz_below(random, 2) ? (uintptr_t)bytes : fuzz_pointer(&arena, random));
	add(&total->ioctls);
}

static void ask_any(uint64_t *random)
{
	int device = (int)fuzz_below(random, DEVICES), index, count = 0;
	uint64_t dice = fuzz_below(random, 32);

	while (count < REQUESTS_MAX && fuzz_device[device].request[count].name)
		count++;
	index = (int)fuzz_below(random, (uint64_t)count);
	if (dice == 0)
		ask_nonsense(device, random);
	else if (dice < 3)
		ask_badly(device, index, random);
	else
		ask(device, index, random);
}

static void reopen(int device, bool ready)
{
	int fd = fuzz_open(&fuzz_device[device], ready);

	if (fd < 0)
		return;
	dup2(fd, descriptor[device]);
	close(fd);
}

/* Signals for this thread alone, every 1 to 10 ms: so long a call may last. */
static void start_timer(uint64_t *random)
{
	struct timespec t = {0, 1000000 + (long)fuzz_below(random, 9000000)};
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
	struct itimerspec every = {t, t};
	timer_t timer;

	event._sigev_un._tid = gettid();
	if (!timer_create(CLOCK_MONOTONIC, &event, &timer))
		timer_settime(timer, 0, &every, NULL);
}

/* It has the descriptors, but not the memory, of the one that asked. */
static void inherit(uint64_t *random)
{
	pid_t child = fork();

	if (!child) {
		/* Timers are not inherited: without one a call may last for ever. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		start_timer(random);
		for (int i = 0; i < 8; i++)
			ask_any(random);
		if (fuzz_below(random, 2))
			execl("/proc/self/exe", "fuzz", (char *)NULL);
		_exit(0);
	}
	if (child > 0)
		waitpid(child, NULL, 0);
}

/* What changes under the other thread's feet. */
static void disturb(uint64_t *random)
{
	switch (fuzz_below(random, 8)) {
	case 0:
		inherit(random);
		break;
	case 1:
	case 2:
		reopen((int)fuzz_below(random, DEVICES), fuzz_below(random, 2));
		break;
	case 3:
		mprotect(arena.written, ARENA_BYTES, PROT_READ);
		sched_yield();
		mprotect(arena.written, ARENA_BYTES, PROT_READ | PROT_WRITE);
		break;
	case 4:
		mmap(arena.written, ARENA_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	default:
		madvise(arena.written, ARENA_BYTES, MADV_DONTNEED);
	}
}

static void *thread_main(void *argument)
{
	uint64_t random = *(uint64_t *)argument;

	start_timer(&random);
	for (int i = 0; i < ITERATIONS; i++) {
		if (!fuzz_below(&random, 250))
			disturb(&random);
		ask_any(&random);
	}
	return NULL;
}

static void process_main(uint64_t seed)
{
	struct sigaction act = {.sa_handler = ignore};
	uint64_t random[THREADS];
	pthread_t thread[THREADS];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigaction(SIGALRM, &act, NULL);
	if (arena_make(&arena))
		_exit(1);
	for (int i = 0; i < DEVICES; i++)
		descriptor[i] = fuzz_open(&fuzz_device[i], seed % 2);
	for (int i = 0; i < THREADS; i++) {
		random[i] = (seed + 1) * 0x9e3779b97f4a7c15ull + (uint64_t)i * 2 + 1;
		if (pthread_create(&thread[i], NULL, thread_main, &random[i]))
			_exit(1);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	_exit(0);
}

/* ---- the parent ---- */

struct process {
	pid_t pid; /* 0: none */
	time_t kill_at, lost_at;
};

static time_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static void start(struct process *p, uint64_t seed)
{
	uint64_t random = seed * 2 + 1;

	fflush(stdout);
	p->pid = fork();
	if (!p->pid)
		process_main(seed);
	/* One in four is killed in its first two seconds. */
	p->kill_at = now() + (fuzz_below(&random, 4) ? PATIENCE_S : (time_t)fuzz_below(&random, 2));
	p->lost_at = p->kill_at + PATIENCE_S;
}

/* False where a process cannot be killed. */
static bool look_after(struct process *p)
{
	int status;

	if (waitpid(p->pid, &status, WNOHANG) == p->pid) {
		if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL) {
			printf("# a process died of signal %d\n", WTERMSIG(status));
			add(&total->violations);
		}
		p->pid = 0;
	} else if (now() >= p->lost_at) {
		printf("# process %d does not die\n", (int)p->pid);
		return false;
	} else if (now() >= p->kill_at) {
		kill(p->pid, SIGKILL);
	}
	return true;
}

/* Prints what each request answered; false where one never succeeded. */
static bool report(void)
{
	bool reached = true;

	for (int d = 0; d < DEVICES; d++) {
		for (int i = 0; i < REQUESTS_MAX && fuzz_device[d].request[i].name; i++) {
			const struct request *r = &fuzz_device[d].request[i];

			printf("# %-9s %-19s", fuzz_device[d].name, r->name);
			for (int o = 0; o < OUTCOMES; o++)
				printf(" %s %" PRIu64, outcome_names[o], total->seen[d][i][o]);
			putchar('\n');
			if (!total->seen[d][i][OK] && r->how != REQUEST_RARE) {
				printf("# %s never succeeded\n", r->name);
				reached = false;
			}
		}
	}
	return reached;
}

static int fuzz(uint64_t seed, uint64_t ioctls, time_t seconds)
{
	struct process process[PROCESSES] = {0};
	struct timespec pause = {0, 20000000};
	time_t end = now() + seconds;
	uint64_t started = 0;
	unsigned int running;
	bool reached;

	printf("# seed %" PRIu64 "\n", seed);
	do {
		running = 0;
		for (int i = 0; i < PROCESSES; i++) {
			struct process *p = &process[i];

			if (p->pid && !look_after(p))
				return 1;
			if (!p->pid && total->ioctls < ioctls && now() < end)
				start(p, seed + started++);
			if (p->pid && now() >= end)
				kill(p->pid, SIGKILL);
			running += p->pid != 0;
		}
		nanosleep(&pause, NULL);
	} while (running);
	reached = report();
	printf("fuzzed: %" PRIu64 " ioctls by %" PRIu64 " processes, %" PRIu64 " violations\n",
	       total->ioctls, started, total->violations);
	return !reached || total->violations;
}

int main(int argc, char **argv)
{
	struct memory before;
	uint64_t n[5];
	int bad;

	/* What a child that inherited descriptors becomes. */
	if (argc == 1)
		return 0;
	if (argc != 7) {
		fprintf(stderr, "usage: fuzz FOLDER SEED LOADS KILLS IOCTLS SECONDS\n");
		return 2;
	}
	for (int i = 0; i < 5; i++)
		n[i] = strtoull(argv[i + 2], NULL, 0);
	total = mmap(NULL, sizeof(*total), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (total == MAP_FAILED)
		return 1;
	/* Grandchildren that inherited descriptors: a module is idle when they have ended. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	bad = modules_load(argv[1], n[1] ? n[1] : 1) || memory_read(&before);
	if (!bad)
		bad = modules_open();
	if (!bad && n[2])
		bad = modules_kill(n[2], n[0]);
	if (!bad && n[3])
		bad = fuzz(n[0], n[3], (time_t)n[4]);
	while (waitpid(-1, NULL, 0) > 0)
		;
	bad |= memory_compare(&before);
	bad |= modules_unload(argv[1]);
	bad |= kernel_complaints();
	return bad;
}
