// SPDX-License-Identifier: GPL-3.0-or-later
/* The parent's side of a run: a fresh process, watched. See run.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"
#include "responder.h"
#include "run.h"

static const char *const state_names[TM_STATES] = {
	[TM_STATE_NONE] = "none",	  [TM_STATE_SPIN] = "spin", [TM_STATE_TOUCH] = "touch",
	[TM_STATE_KERNEL] = "kernel",	  [TM_STATE_IDLE] = "idle", [TM_STATE_FOREIGN] = "foreign",
	[TM_STATE_ISOLATED] = "isolated",
};

static const char *const metric_names[TM_METRICS] = {
	[TM_METRIC_OP] = "op",		 [TM_METRIC_DELIVERY] = "delivery",
	[TM_METRIC_STOLEN] = "stolen",	 [TM_METRIC_RETURN] = "return",
	[TM_METRIC_SEND] = "send",	 [TM_METRIC_ENTRY] = "entry",
	[TM_METRIC_HANDLER] = "handler", [TM_METRIC_STALE] = "stale",
	[TM_METRIC_GONE] = "gone",	 [TM_METRIC_INTERRUPTION] = "interruption",
	[TM_METRIC_LIFE] = "life",
};

const char *tm_state_name(enum tm_state s)
{
	return state_names[s];
}

int tm_state_parse(const char *name, enum tm_state *out)
{
	for (int i = 0; i < TM_STATES; i++) {
		if (!strcmp(name, state_names[i])) {
			*out = (enum tm_state)i;
			return 0;
		}
	}
	return -EINVAL;
}

bool tm_state_spins(enum tm_state s)
{
	return s != TM_STATE_NONE && s != TM_STATE_IDLE;
}

bool tm_state_is_gated(enum tm_state s)
{
	return tm_state_spins(s) && s != TM_STATE_FOREIGN;
}

const char *tm_metric_name(enum tm_metric m)
{
	return metric_names[m];
}

/* Where the parts of a result lie; the same on every call. */
static size_t lay_out(struct tm_result *r, unsigned int responders)
{
	size_t at = (sizeof(*r) + 63) & ~(size_t)63;

	for (int m = 0; m < TM_METRICS; m++) {
		r->hist_offset[m] = at;
		at += (tm_hist_bytes(TM_HIST_FINE) + 63) & ~(size_t)63;
	}
	r->responders_offset = at;
	r->responders = responders;
	return at + responders * sizeof(struct tm_responder_result);
}

void tm_result_clear(struct tm_result *r)
{
	size_t bytes = r->bytes;
	memset(r, 0, bytes);
	/* Rows are there for as many as fit; none is filled yet. */
	lay_out(r, 0);
	r->bytes = bytes;
	for (int m = 0; m < TM_METRICS; m++)
		tm_hist_init(tm_result_hist(r, m), TM_HIST_FINE);
}

struct tm_result *tm_result_new(unsigned int responders)
{
	struct tm_result layout, *r;
	size_t bytes = lay_out(&layout, responders);

	r = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (r == MAP_FAILED)
		return NULL;
	lay_out(r, responders);
	r->bytes = bytes;
	tm_result_clear(r);
	return r;
}

void tm_result_add_raw(struct tm_result *r, uint64_t op_ticks)
{
	r->raw_op_ticks[r->raw_seen++ % TM_RAW_SAMPLES] =
		op_ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)op_ticks;
}

static void reverse(uint32_t *v, size_t n)
{
	for (size_t i = 0; i < n / 2; i++) {
		uint32_t x = v[i];

		v[i] = v[n - 1 - i];
		v[n - 1 - i] = x;
	}
}

/* The oldest sample first: a rotation, by three reversals. */
void tm_result_order_raw(struct tm_result *r)
{
	size_t oldest = r->raw_seen % TM_RAW_SAMPLES;

	r->raw_count = r->raw_seen < TM_RAW_SAMPLES ? (uint32_t)r->raw_seen : TM_RAW_SAMPLES;
	if (r->raw_seen <= TM_RAW_SAMPLES)
		return;
	reverse(r->raw_op_ticks, oldest);
	reverse(r->raw_op_ticks + oldest, TM_RAW_SAMPLES - oldest);
	reverse(r->raw_op_ticks, TM_RAW_SAMPLES);
}

void tm_result_free(struct tm_result *r)
{
	if (r)
		munmap(r, r->bytes);
}

/* So that the kernel's OOM killer takes the run and not what watches it. */
static void offer_to_oom_killer(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		ssize_t n = write(fd, "1000", 4);

		(void)n; /* a preference, no more */
		close(fd);
	}
}

static void __attribute__((noreturn))
child(const struct tm_cell *cell, const struct tm_run_context *context, struct tm_result *r,
      pid_t parent)
{
	static const int defaults[] = {SIGINT,	SIGTERM, SIGHUP,    SIGQUIT, SIGUSR1, SIGUSR2,
				       SIGALRM, SIGPROF, SIGVTALRM, SIGXCPU, SIGPIPE, SIGXFSZ};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	prctl(PR_SET_NAME, "tlbmark-run");
	setpgid(0, 0);
	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
		signal(defaults[i], SIG_DFL);
	offer_to_oom_killer();
	tm_engine_run(cell, context, r);
	_exit(0);
}

/*
 * The run process must be on the initiator's CPU from its first instruction:
 * a CPU that it ever ran on stays in its mm's CPU mask, and would get IPIs.
 */
static pid_t fork_on(unsigned int cpu, const struct tm_cell *cell,
		     const struct tm_run_context *context, struct tm_result *r)
{
	unsigned int cpus = 1024;
	cpu_set_t *saved;
	size_t bytes;
	pid_t parent = getpid(), pid;
	int rc;

	for (;; cpus *= 2) {
		bytes = CPU_ALLOC_SIZE(cpus);
		saved = CPU_ALLOC(cpus);
		if (!saved)
			return -ENOMEM;
		if (!sched_getaffinity(0, bytes, saved))
			break;
		CPU_FREE(saved);
		if (errno != EINVAL)
			return -errno;
	}
	tm_roam_within(saved, bytes);
	rc = tm_pin(cpu);
	pid = rc ? rc : fork();
	if (!pid)
		child(cell, context, r, parent);
	if (pid < 0 && !rc)
		pid = -errno;
	sched_setaffinity(0, bytes, saved);
	CPU_FREE(saved);
	return pid;
}

/*
 * Sleeps until the process ended, `wait_ms` are over or a signal came. Nothing
 * wakes in between: this CPU may be one that is measured.
 */
static void sleep_until_news(int fd, uint64_t wait_ms, const sigset_t *signals)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	const uint64_t most_ms = fd < 0 ? 50 : 1000 * 86400; /* no pidfd: look again */
	struct timespec ts;

	if (wait_ms > most_ms)
		wait_ms = most_ms;
	ts = (struct timespec){.tv_sec = (time_t)(wait_ms / 1000),
			       .tv_nsec = (long)(wait_ms % 1000) * 1000000};
	ppoll(&p, fd >= 0, &ts, signals);
}

/* Dead, but not reaped yet? */
static bool has_ended(pid_t pid)
{
	siginfo_t info = {.si_pid = 0};

	return !waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) && info.si_pid == pid;
}

/* Waits for the end, the time limit or the user. 0, -ETIMEDOUT or -EINTR. */
static int wait_for(pid_t pid, unsigned int timeout_ms, volatile const int *cancel, int *status)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0), rc = 0;
	uint64_t end_ms = tm_monotonic_ns() / 1000000 + timeout_ms, now_ms;
	sigset_t all, before;

	/* A signal between the look at *cancel and the sleep must not be lost. */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	while (!has_ended(pid)) {
		now_ms = tm_monotonic_ns() / 1000000;
		if (cancel && *cancel)
			rc = -EINTR;
		else if (now_ms >= end_ms)
			rc = -ETIMEDOUT;
		if (rc)
			break;
		sleep_until_news(fd, end_ms - now_ms, &before);
	}
	/*
	 * The run, and children of it that outlived it (it may have died
	 * half-way): before it is reaped, while the number is still ours.
	 */
	kill(pid, SIGKILL);
	kill(-pid, SIGKILL);
	waitpid(pid, status, 0);
	if (fd >= 0)
		close(fd);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return rc;
}

#define UNKNOWN UINT64_MAX

/* Processes that the kernel killed for want of memory since it was booted, anywhere. */
static uint64_t oom_kills(void)
{
	FILE *f = fopen("/proc/vmstat", "re");
	uint64_t count = UNKNOWN;
	char line[128];

	while (f && count == UNKNOWN && fgets(line, sizeof(line), f))
		sscanf(line, "oom_kill %" SCNu64, &count);
	if (f)
		fclose(f);
	return count;
}

static const char *why_killed(uint64_t oom_kills_before)
{
	uint64_t now = oom_kills();

	if (now == UNKNOWN || oom_kills_before == UNKNOWN)
		return ": out of memory, or killed from outside";
	return now > oom_kills_before ? ": out of memory" : ": killed from outside";
}

static void explain_death(struct tm_result *r, int status, uint64_t oom_kills_before)
{
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return;
	r->error = -EIO;
	r->skipped = false;
	if (WIFSIGNALED(status))
		snprintf(r->why, sizeof(r->why), "the run process died of signal %d (%s)%s",
			 WTERMSIG(status), strsignal(WTERMSIG(status)),
			 WTERMSIG(status) == SIGKILL ? why_killed(oom_kills_before)
			 : WTERMSIG(status) == SIGBUS
				 ? ": no block for a page of a file, or no huge page"
				 : "");
	else
		snprintf(r->why, sizeof(r->why), "the run process ended with status %d",
			 WEXITSTATUS(status));
}

int tm_run(const struct tm_cell *cell, const struct tm_run_context *context, struct tm_result *r,
	   unsigned int timeout_ms, volatile const int *cancel)
{
	/* Counted, the same must be done each time, and no guest's memory is short. */
	uint64_t oom_kills_before = cell->deterministic ? UNKNOWN : oom_kills();
	int status = 0, rc;
	pid_t pid;

	tm_result_clear(r);
	pid = fork_on(cell->placement.initiator_cpu[0], cell, context, r);
	if (pid < 0) {
		r->error = pid;
		snprintf(r->why, sizeof(r->why), "cannot start a process on CPU %u: %s%s",
			 cell->placement.initiator_cpu[0], strerror(-pid),
			 pid == -EINVAL ? ": it is offline, or not allowed any more" : "");
		return 0;
	}
	rc = wait_for(pid, timeout_ms, cancel, &status);
	if (rc == -EINTR)
		return rc;
	if (rc) {
		r->error = rc;
		snprintf(r->why, sizeof(r->why), "not done after %u s: stopped", timeout_ms / 1000);
		return 0;
	}
	explain_death(r, status, oom_kills_before);
	return 0;
}
