// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Every kind of probe, on shootdowns made here. What this user or this kernel
 * does not allow is said, and not claimed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/probe_internal.h"

enum {
	OPS = 2000,
	BATCH = 100,
	ATTEMPTS = 5,
	NOBODY = 65534,
	EVENTS = 32768,
	OPEN_NS = 5000000000
};

static unsigned int cpus[CPU_SETSIZE], cpu_count;

static void pin(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
}

/* Before everyone else on its CPU, where that is allowed: the machine may be busy. */
static void go_first(bool first)
{
	const struct sched_param priority = {.sched_priority = first};

	sched_setscheduler(0, first ? SCHED_FIFO : SCHED_OTHER, &priority);
}

static struct {
	_Alignas(128) _Atomic uint64_t asked;
	_Alignas(128) _Atomic uint64_t answered;
	_Atomic bool stop;
} responder;

static void *respond(void *unused)
{
	pin(cpus[1]);
	go_first(true);
	while (!responder.stop)
		responder.answered = responder.asked;
	return unused;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* What one run of shootdowns showed. */
struct seen {
	struct tm_probe_counts counts, others; /* `others`: a second probe's */
	uint64_t events[4];		       /* by kind */
	uint64_t outside;		       /* operations without entry and exit in their time */
	uint64_t unordered;		       /* events older than the one before */
	uint64_t tlb_line;		       /* what the TLB line grew by */
	int error;
};

struct shots {
	struct tm_probe *probe, *second; /* second: counts the same, may be NULL */
	size_t pages;
	bool inside; /* with in_operation set */
	bool drain;
	unsigned int rounds; /* of OPS; 0 is 1 */
};

static void drain(const struct shots *s, const uint64_t begin[BATCH], const uint64_t end[BATCH],
		  struct seen *seen)
{
	static struct tm_event events[EVENTS];

	for (unsigned int c = 0; c < 2; c++) {
		size_t n = tm_probe_drain(s->probe, cpus[c], events, EVENTS), at = 0;

		for (size_t i = 0; i < n; i++) {
			seen->events[events[i].kind]++;
			seen->unordered += i && events[i].time_ns < events[i - 1].time_ns;
		}
		for (unsigned int op = 0; c == 1 && op < BATCH; op++) {
			unsigned int inside = 0;

			while (at < n && events[at].time_ns < begin[op])
				at++;
			for (; at < n && events[at].time_ns <= end[op]; at++)
				inside |= 1u << events[at].kind;
			seen->outside += (inside & (1u << TM_EVENT_ENTRY)) == 0 ||
					 !(inside & (1u << TM_EVENT_EXIT));
		}
	}
	if (s->second)
		for (unsigned int c = 0; c < 2; c++)
			tm_probe_drain(s->second, cpus[c], events, EVENTS);
}

/* Takes a page's right to write away OPS times, while the other CPU runs in this mm. */
static void shoot(const struct shots *s, struct seen *seen)
{
	volatile uint32_t *word = tm_probe_in_operation(s->probe);
	size_t bytes = s->pages * (size_t)sysconf(_SC_PAGESIZE);
	char *m = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t begin[BATCH], end[BATCH];

	assert_ptr_not_equal(m, MAP_FAILED);
	for (unsigned int i = 0; i < OPS * (s->rounds ? s->rounds : 1); i++) {
		mprotect(m, bytes, PROT_READ | PROT_WRITE);
		memset(m, 1, bytes);
		responder.asked++;
		while (responder.answered != responder.asked)
			;
		*word = s->inside;
		begin[i % BATCH] = now_ns();
		mprotect(m, bytes, PROT_READ);
		end[i % BATCH] = now_ns();
		*word = 0;
		if (s->drain && i % BATCH == BATCH - 1)
			drain(s, begin, end, seen);
	}
	munmap(m, bytes);
}

/* One phase on all CPUs that we may use. */
static void measure(const struct shots *s, struct seen *seen)
{
	uint64_t before = 0, after = 0;
	pthread_t thread;

	memset(seen, 0, sizeof(*seen));
	responder.stop = false;
	responder.asked = 1;
	responder.answered = 0;
	pin(cpus[0]);
	assert_int_equal(pthread_create(&thread, NULL, respond, NULL), 0);
	while (responder.answered != 1)
		sched_yield();
	go_first(true);
	tm_interrupts_read("TLB", &before);
	seen->error = tm_probe_start(s->probe, cpus, cpu_count);
	if (s->second && !seen->error)
		seen->error = tm_probe_start(s->second, cpus, cpu_count);
	if (!seen->error)
		shoot(s, seen);
	if (s->second && !seen->error)
		seen->error = tm_probe_stop(s->second, &seen->others);
	if (!seen->error)
		seen->error = tm_probe_stop(s->probe, &seen->counts);
	tm_interrupts_read("TLB", &after);
	seen->tlb_line = after - before;
	responder.stop = true;
	pthread_join(thread, NULL);
	go_first(false);
}

static uint64_t both(const uint64_t n[2])
{
	return n[0] + n[1];
}

static bool about(uint64_t n, uint64_t expected, double tolerance)
{
	double difference = (double)n - (double)expected;

	return difference <= tolerance * (double)expected &&
	       -difference <= tolerance * (double)expected;
}

static uint64_t calls_of(const struct tm_probe_counts *c, const char *name)
{
	for (unsigned int i = 0; i < TM_PROBE_FUNCTIONS && c->function[i].name[0]; i++)
		if (!strcmp(c->function[i].name, name))
			return both(c->function[i].calls);
	return 0;
}

/* A kind that this machine or user does not allow: NULL, and it is said. */
static struct tm_probe *open_kind(enum tm_probe_kind kind)
{
	struct tm_probe *p = NULL;
	char why[1000];
	int error = tm_probe_open(kind, &p, why, sizeof(why));

	if (!error) {
		assert_int_equal(tm_probe_kind(p), kind);
		assert_string_equal(why, "");
		return p;
	}
	/* anything but these is a fault of ours */
	assert_true(error == -EPERM || error == -EACCES || error == -ENOENT || error == -ENOSYS ||
		    error == -ENOTSUP);
	assert_non_null(strstr(why, tm_probe_kind_name(kind)));
	print_message("not checked, since there is no such probe here: %s\n", why);
	return NULL;
}

static bool two_cpus(void)
{
	if (cpu_count < 2)
		print_message("not checked: a shootdown needs two CPUs\n");
	return cpu_count >= 2;
}

/*
 * The machine is shared: another load can take the responder off its CPU. A
 * fault of the probe does not go away by itself.
 */
#define EVENTUALLY(shots, seen, condition)                                                         \
	do {                                                                                       \
		for (int attempt_ = 0; attempt_ < ATTEMPTS; attempt_++) {                          \
			measure(&(shots), &(seen));                                                \
			assert_int_equal((seen).error, 0);                                         \
			if (condition)                                                             \
				break;                                                             \
		}                                                                                  \
		if (!(condition))                                                                  \
			print_counts(&(seen));                                                     \
		assert_true(condition);                                                            \
	} while (0)

static void print_counts(const struct seen *s)
{
	const struct tm_probe_counts *c = &s->counts;

	for (unsigned int i = 0; i < TM_FLUSH_REASONS; i++)
		print_message("reason %u: %lu %lu (%lu)\n", i, c->flush[i][0], c->flush[i][1],
			      both(s->others.flush[i]));
	for (unsigned int i = 0; i < TM_PROBE_FUNCTIONS && c->function[i].name[0]; i++)
		print_message("%s: %lu %lu\n", c->function[i].name, c->function[i].calls[0],
			      c->function[i].calls[1]);
	print_message("handlers %lu %lu (%lu), lost %lu, TLB line %lu\n", c->handlers[0],
		      c->handlers[1], both(s->others.handlers), c->events_lost, s->tlb_line);
	print_message("events %lu %lu %lu %lu, operations without %lu, unordered %lu\n",
		      s->events[0], s->events[1], s->events[2], s->events[3], s->outside,
		      s->unordered);
}

static bool counts_agree(const struct seen *s)
{
	const struct tm_probe_counts *c = &s->counts;
	uint64_t remote = both(c->flush[TM_REASON_REMOTE]);

	return about(c->flush[TM_REASON_SEND][1], OPS, 0.01) &&
	       about(c->flush[TM_REASON_REMOTE][1], c->flush[TM_REASON_SEND][1], 0.01) &&
	       about(c->range[0][1], OPS, 0.01) && c->full[1] < OPS / 100 &&
	       about(remote, s->tlb_line, 0.01);
}

static bool events_agree(const struct seen *s)
{
	const struct tm_probe_counts *c = &s->counts;

	return s->outside <= OPS / 50 && !s->unordered && !c->events_lost &&
	       about(s->events[TM_EVENT_ENTRY], both(c->handlers), 0.01) &&
	       about(s->events[TM_EVENT_EXIT], s->events[TM_EVENT_ENTRY], 0.01) &&
	       about(s->events[TM_EVENT_SEND], both(c->flush[TM_REASON_SEND]), 0.01);
}

static void check_bpf(struct tm_probe *p)
{
	struct shots s = {.probe = p, .pages = 1, .inside = true, .drain = true};
	static struct seen seen;

	EVENTUALLY(s, seen, counts_agree(&seen) && events_agree(&seen));
	assert_int_equal(seen.counts.has_ranges, 1);
	assert_int_equal(seen.counts.has_events, 1);
	assert_int_equal(seen.counts.has_columns, 1);
	if (!seen.counts.has_functions)
		print_message("not checked: this kernel does not tell the callbacks\n");
	else if (!calls_of(&seen.counts, "(hidden)"))
		assert_true(calls_of(&seen.counts, "flush_tlb_func") >= OPS * 99 / 100);
}

static void test_bpf_counts(void **state)
{
	struct tm_probe *p;

	(void)state;
	if (!two_cpus() || !(p = open_kind(TM_PROBE_BPF)))
		return;
	check_bpf(p);
	tm_probe_close(p);
}

static void test_bpf_before_csd(void **state)
{
	struct tm_probe *p;

	(void)state;
	tm_probe_bpf_without_csd = true;
	p = two_cpus() ? open_kind(TM_PROBE_BPF) : NULL;
	if (p)
		check_bpf(p);
	tm_probe_close(p);
	tm_probe_bpf_without_csd = false;
}

static void test_bpf_columns(void **state)
{
	struct shots s = {.pages = 8, .inside = false};
	static struct seen seen;

	(void)state;
	if (!two_cpus() || !(s.probe = open_kind(TM_PROBE_BPF)))
		return;
	EVENTUALLY(s, seen, seen.counts.range[3][0] >= OPS * 99 / 100);
	assert_int_equal(both((uint64_t[]){seen.counts.flush[TM_REASON_SEND][1],
					   seen.counts.flush[TM_REASON_REMOTE][1]}),
			 0);
	assert_int_equal(seen.counts.handlers[1], 0);
	s.inside = true;
	EVENTUALLY(s, seen, seen.counts.range[3][1] >= OPS * 99 / 100);
	tm_probe_close(s.probe);
}

/* More pages than any ceiling in use: both sides say that it was a full flush. */
static void test_bpf_full(void **state)
{
	struct shots s = {.pages = 256, .inside = true};
	static struct seen seen;

	(void)state;
	if (!two_cpus() || !(s.probe = open_kind(TM_PROBE_BPF)))
		return;
	EVENTUALLY(s, seen,
		   about(seen.counts.full[1], OPS, 0.01) &&
			   about(seen.counts.sends_full[1], OPS, 0.01));
	tm_probe_close(s.probe);
}

/* Nobody drains: the rings fill, what is dropped is counted, the counts stay exact. */
static void test_bpf_lost(void **state)
{
	struct shots s = {.pages = 1, .inside = true, .rounds = 5};
	static struct tm_event events[EVENTS];
	static struct seen seen;
	size_t kept;

	(void)state;
	if (!two_cpus() || !(s.probe = open_kind(TM_PROBE_BPF)))
		return;
	EVENTUALLY(s, seen, about(seen.counts.handlers[1], 5 * OPS, 0.01));
	kept = tm_probe_drain(s.probe, cpus[1], events, EVENTS);
	assert_int_equal(tm_probe_drain(s.probe, cpus[1], events, EVENTS), 0);
	assert_in_range(kept, 1, 2 * seen.counts.handlers[1] - 1);
	assert_true(seen.counts.events_lost >= 2 * seen.counts.handlers[1] - kept);
	tm_probe_close(s.probe);
}

static void test_bpf_detached(void **state)
{
	struct shots s = {.pages = 1, .inside = true};
	static struct seen seen;

	(void)state;
	if (!two_cpus() || !(s.probe = open_kind(TM_PROBE_BPF)))
		return;
	tm_probe_detach(s.probe);
	tm_probe_detach(s.probe);
	measure(&s, &seen);
	assert_int_equal(seen.error, 0);
	assert_int_equal(both(seen.counts.flush[TM_REASON_SEND]), 0);
	assert_int_equal(tm_probe_attach(s.probe), 0);
	assert_int_equal(tm_probe_attach(s.probe), 0);
	EVENTUALLY(s, seen, about(seen.counts.flush[TM_REASON_SEND][1], OPS, 0.01));
	tm_probe_close(s.probe);
}

/* Opened here, used in a forked process: as every run does. Twice, as two runs. */
static void check_forked(enum tm_probe_kind kind)
{
	struct shots s = {.pages = 1, .inside = true, .drain = true};
	struct seen *seen;
	bool agree = false;

	if (!two_cpus() || !(s.probe = open_kind(kind)))
		return;
	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(seen, MAP_FAILED);
	for (int i = 0; i < ATTEMPTS && (i < 2 || !agree); i++) {
		pid_t child = fork();
		int status = 0;

		assert_true(child >= 0);
		if (!child) {
			measure(&s, seen);
			_exit(0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
		assert_int_equal(seen->error, 0);
		agree = events_agree(seen) && about(seen->counts.range[0][1], OPS, 0.01);
		if (kind == TM_PROBE_PERF)
			agree = events_agree(seen) && seen->counts.range[0][1] >= OPS * 99 / 100;
	}
	if (!agree)
		print_counts(seen);
	assert_true(agree);
	munmap(seen, sizeof(*seen));
	tm_probe_close(s.probe);
}

static void test_bpf_forked(void **state)
{
	(void)state;
	check_forked(TM_PROBE_BPF);
}

static void test_perf_forked(void **state)
{
	(void)state;
	check_forked(TM_PROBE_PERF);
}

static bool kinds_agree(const struct seen *s)
{
	const struct tm_probe_counts *b = &s->counts, *p = &s->others;

	for (unsigned int i = 0; i < TM_FLUSH_REASONS; i++)
		if (both(b->flush[i]) >= OPS && !about(both(p->flush[i]), both(b->flush[i]), 0.005))
			return false;
	if (p->has_functions &&
	    !about(calls_of(p, "flush_tlb_func"), calls_of(b, "flush_tlb_func"), 0.005))
		return false;
	return !p->events_lost && about(both(p->range[3]), both(b->range[3]), 0.005) &&
	       about(both(p->handlers), both(b->handlers), 0.05) && /* perf itself sends some */
	       both(b->flush[TM_REASON_SEND]) >= OPS * 99 / 100;
}

/* Both at once, on the same shootdowns. */
static void test_perf_counts_as_bpf(void **state)
{
	struct shots s = {.pages = 8, .inside = true, .drain = true};
	static struct seen seen;

	(void)state;
	if (!two_cpus() || !(s.probe = open_kind(TM_PROBE_BPF)))
		return;
	s.second = open_kind(TM_PROBE_PERF);
	if (s.second) {
		EVENTUALLY(s, seen, kinds_agree(&seen));
		assert_int_equal(seen.others.has_columns, 0);
		assert_int_equal(seen.others.flush[TM_REASON_SEND][0], 0);
		/* undrained, its rings overflow, and it says so */
		s.drain = false;
		s.rounds = 5;
		EVENTUALLY(s, seen, about(seen.counts.flush[TM_REASON_SEND][1], 5 * OPS, 0.01));
		assert_true(both(seen.others.flush[TM_REASON_SEND]) < 5 * OPS);
		assert_true(both(seen.others.flush[TM_REASON_SEND]) + seen.others.events_lost >=
			    both(seen.counts.flush[TM_REASON_SEND]));
	}
	tm_probe_close(s.second);
	tm_probe_close(s.probe);
}

static void test_none(void **state)
{
	struct tm_probe_counts c, zero = {0};
	struct tm_probe *p = open_kind(TM_PROBE_NONE);
	struct tm_event e;

	(void)state;
	assert_non_null(p);
	*tm_probe_in_operation(p) = 1;
	assert_int_equal(tm_probe_attach(p), 0);
	assert_int_equal(tm_probe_start(p, cpus, cpu_count), 0);
	assert_int_equal(*tm_probe_in_operation(p), 0);
	assert_int_equal(tm_probe_drain(p, cpus[0], &e, 1), 0);
	memset(&c, 0xff, sizeof(c));
	assert_int_equal(tm_probe_stop(p, &c), 0);
	assert_memory_equal(&c, &zero, sizeof(c));
	tm_probe_detach(p);
	tm_probe_close(p);
	tm_probe_close(NULL);
}

static void test_bad_cpu(void **state)
{
	static const enum tm_probe_kind kinds[] = {TM_PROBE_BPF, TM_PROBE_PERF};
	const unsigned int bad[] = {cpus[0], 1u << 20};

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		struct tm_probe *p = open_kind(kinds[i]);
		struct tm_event e;

		if (!p)
			continue;
		assert_int_equal(tm_probe_start(p, bad, 2), -ERANGE);
		assert_int_equal(tm_probe_drain(p, bad[1], &e, 1), 0);
		assert_int_equal(tm_probe_start(p, cpus, 1), 0);
		tm_probe_close(p);
	}
}

/* Bits of what went wrong, as a process's exit status. */
static int try_unprivileged(char *why, size_t why_size)
{
	struct tm_probe_counts c;
	struct tm_probe *p = NULL;
	int wrong = 0;

	if (!geteuid() && (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY)))
		return 1;
	if (tm_probe_open(TM_PROBE_AUTO, &p, why, why_size))
		return 2;
	wrong |= tm_probe_kind(p) == TM_PROBE_BPF ? 4 : 0;
	wrong |= strncmp(why, "bpf: ", 5) || strchr(why, '\n') ? 8 : 0;
	wrong |= tm_probe_kind(p) == TM_PROBE_NONE && !strstr(why, "; perf: ") ? 16 : 0;
	wrong |= tm_probe_start(p, cpus, cpu_count) || tm_probe_stop(p, &c) ? 32 : 0;
	tm_probe_close(p);
	wrong |= tm_probe_open(TM_PROBE_BPF, &p, why + strlen(why) + 1,
			       why_size - strlen(why) - 1) >= 0
			 ? 64
			 : 0;
	return wrong;
}

static void test_unprivileged(void **state)
{
	char *why = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0;
	pid_t child;

	(void)state;
	assert_ptr_not_equal(why, MAP_FAILED);
	child = fork();
	assert_true(child >= 0);
	if (!child)
		_exit(try_unprivileged(why, 4096));
	assert_int_equal(waitpid(child, &status, 0), child);
	print_message("without privilege: %s\n", why);
	assert_int_equal(status, 0);
	munmap(why, 4096);
}

/* Below 200 ms on a machine at peace; the limit leaves room for an emulated or a busy one. */
static void test_opening_is_fast(void **state)
{
	uint64_t best = UINT64_MAX;

	(void)state;
	for (int i = 0; i < 3; i++) {
		uint64_t begin = now_ns(), took;
		struct tm_probe *p = open_kind(TM_PROBE_BPF);

		took = now_ns() - begin;
		if (!p)
			return;
		best = took < best ? took : best;
		tm_probe_close(p);
	}
	print_message("open and attach: %.1f ms\n", (double)best / 1e6);
	assert_true(best < OPEN_NS);
}

static int find_cpus(void **state)
{
	cpu_set_t set;

	(void)state;
	if (sched_getaffinity(0, sizeof(set), &set))
		return -1;
	for (unsigned int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set))
			cpus[cpu_count++] = cpu;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_bad_cpu),
		cmocka_unit_test(test_unprivileged),
		cmocka_unit_test(test_opening_is_fast),
		cmocka_unit_test(test_bpf_counts),
		cmocka_unit_test(test_bpf_before_csd),
		cmocka_unit_test(test_bpf_columns),
		cmocka_unit_test(test_bpf_full),
		cmocka_unit_test(test_bpf_lost),
		cmocka_unit_test(test_bpf_detached),
		cmocka_unit_test(test_bpf_forked),
		cmocka_unit_test(test_perf_forked),
		cmocka_unit_test(test_perf_counts_as_bpf),
	};

	return cmocka_run_group_tests_name("probe", tests, find_cpus, NULL);
}
