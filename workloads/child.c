// SPDX-License-Identifier: GPL-3.0-or-later
/* Children of workloads. See child.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "child.h"

enum { STACK_BYTES = 16384 };

/* Sleeps while *word is `seen`, at most 50 ms: who waits must also look whether the other lives. */
static void sleep_while(_Atomic uint32_t *word, uint32_t seen)
{
	const struct timespec limit = {.tv_nsec = 50 * 1000 * 1000};

	syscall(SYS_futex, word, FUTEX_WAIT, seen, &limit, NULL, 0);
}

static void wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

int tm_child_open(struct tm_child *c)
{
	*c = (struct tm_child){0};
	c->page = mmap(NULL, sizeof(*c->page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (c->page == MAP_FAILED) {
		c->page = NULL;
		return -errno;
	}
	return 0;
}

void tm_child_close(struct tm_child *c)
{
	tm_child_kill(c);
	if (c->page)
		munmap(c->page, sizeof(*c->page));
	c->page = NULL;
}

int tm_child_start(struct tm_child *c, void (*body)(struct tm_child *, void *), void *arg)
{
	pid_t parent = getpid(), pid;

	memset(c->page, 0, sizeof(*c->page));
	pid = _Fork(); /* no atfork handlers: the child calls the kernel and nothing else */
	if (pid < 0)
		return -errno;
	if (pid) {
		c->pid = pid;
		return 0;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
	body(c, arg);
	_exit(0);
}

void tm_child_post(struct tm_child *c, uint32_t request)
{
	c->page->request = request;
	atomic_fetch_add(&c->page->asked, 1);
	wake(&c->page->asked);
}

int tm_child_ask(struct tm_child *c, uint32_t request)
{
	uint32_t answered;

	tm_child_post(c, request);
	for (;;) {
		siginfo_t info = {0};

		answered = atomic_load(&c->page->answered);
		if (answered == atomic_load(&c->page->asked))
			return c->page->error;
		sleep_while(&c->page->answered, answered);
		if (answered == atomic_load(&c->page->answered) &&
		    !waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOWAIT | WNOHANG) && info.si_pid)
			return -ECHILD;
	}
}

int tm_child_failed(struct tm_thread *t, struct tm_child *c, int error, const char *what)
{
	int status;

	if (error != -ECHILD || c->pid <= 0)
		return tm_fail(t, error, "%s", what);
	status = tm_child_reap(c);
	if (status > 0 && WIFSIGNALED(status))
		return tm_fail(t, error, "%s: the child died of signal %d (%s)", what,
			       WTERMSIG(status), strsignal(WTERMSIG(status)));
	return tm_fail(t, error, "%s: the child ended with wait status %#x", what, status);
}

uint32_t tm_child_next(struct tm_child *c)
{
	uint32_t asked;

	while ((asked = atomic_load(&c->page->asked)) == atomic_load(&c->page->answered))
		sleep_while(&c->page->asked, asked);
	return c->page->request;
}

void tm_child_answer(struct tm_child *c, int error)
{
	c->page->error = error;
	atomic_store(&c->page->answered, atomic_load(&c->page->asked));
	wake(&c->page->answered);
}

int tm_child_await(struct tm_child *c)
{
	siginfo_t info;

	while (waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOWAIT))
		if (errno != EINTR)
			return -errno;
	return 0;
}

int tm_child_reap(struct tm_child *c)
{
	pid_t pid = c->pid;
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	c->pid = 0;
	return status;
}

void tm_child_kill(struct tm_child *c)
{
	if (c->pid > 0) {
		kill(c->pid, SIGKILL);
		tm_child_reap(c);
	}
}

/* What a thread of the child is told; on the child's own stack. */
struct sleeper {
	struct tm_child *child;
	unsigned int index, cpu;
	const volatile char *touch;
};

/* The index-th allowed CPU that is not `cpu`, counted round and round. */
static void pin_elsewhere(unsigned int index, unsigned int cpu)
{
	cpu_set_t allowed;
	unsigned int others;

	tm_roam(-1);
	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return;
	if (cpu < CPU_SETSIZE)
		CPU_CLR(cpu, &allowed);
	others = (unsigned int)CPU_COUNT(&allowed);
	if (!others) {
		CPU_SET(cpu, &allowed);
		others = 1;
	}
	index %= others;
	for (unsigned int i = 0; i < CPU_SETSIZE; i++) {
		if (CPU_ISSET(i, &allowed) && !index--) {
			CPU_ZERO(&allowed);
			CPU_SET(i, &allowed);
			sched_setaffinity(0, sizeof(allowed), &allowed);
			return;
		}
	}
}

static int sleeper_main(void *arg)
{
	struct sleeper *s = arg;
	struct tm_child_page *page = s->child->page;
	static _Atomic uint32_t never;

	pin_elsewhere(s->index, s->cpu);
	(void)*s->touch;
	atomic_fetch_add(&page->threads_ready, 1);
	wake(&page->threads_ready);
	while (!atomic_load(&never))
		syscall(SYS_futex, &never, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
	return 0;
}

int tm_child_threads(struct tm_child *c, unsigned int count, unsigned int cpu, const void *touch)
{
	const int flags =
		CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
	uint32_t ready;

	for (unsigned int i = 0; i < count; i++) {
		struct sleeper s = {.child = c, .index = i, .cpu = cpu, .touch = touch};
		char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

		/* pthread_create() takes locks that another thread may have held at the fork. */
		if (stack == MAP_FAILED || clone(sleeper_main, stack + STACK_BYTES, flags, &s) < 0)
			return -errno;
		while ((ready = atomic_load(&c->page->threads_ready)) <= i)
			sleep_while(&c->page->threads_ready, ready);
	}
	return 0;
}

void tm_child_no_preemption(void)
{
	const struct sched_param p = {0};

	sched_setscheduler(0, SCHED_BATCH, &p);
}
