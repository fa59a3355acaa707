// SPDX-License-Identifier: GPL-3.0-or-later
/* Responders. See responder.h. */
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "responder.h"

enum {
	CALIBRATE_LOOPS = 4096,
	/* An interrupt takes longer than this many undisturbed loops; */
	THRESHOLD_LOOPS = 8,
	THRESHOLD_SYSCALLS = 3, /* and than so many with a system call in each. */
#ifdef __SANITIZE_THREAD__
	STACK_BYTES = 2 << 20, /* its own data of a thread comes out of this */
#else
	STACK_BYTES = 128 << 10,
#endif
};

#define ANSWER_NS 10000000000ull /* a guest's CPU may not run for long */
#define STOPPED_NS 1000000000ull /* between two looks at the clock: nobody of us ran */
#define LOOK_NS 2000000ull	 /* some of a scheduler's time slices */

int tm_pin(unsigned int cpu)
{
	size_t bytes = CPU_ALLOC_SIZE(cpu + 1);
	cpu_set_t *set = CPU_ALLOC(cpu + 1);
	int rc;

	if (!set)
		return -ENOMEM;
	CPU_ZERO_S(bytes, set);
	CPU_SET_S(cpu, bytes, set);
	rc = sched_setaffinity(0, bytes, set) ? -errno : 0;
	CPU_FREE(set);
	return rc;
}

void tm_join(pthread_t thread)
{
	while (pthread_tryjoin_np(thread, NULL) == EBUSY)
		sched_yield();
}

static long futex(_Atomic uint32_t *word, int op, uint32_t value)
{
	return syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}

static bool can_sleep(void)
{
	_Atomic uint32_t nobody = 0;

	return futex(&nobody, FUTEX_WAKE, 1) >= 0 || errno != ENOSYS;
}

static void make(struct tm_access *a)
{
	a->error = a->store ? tm_guarded_poke(a->address, a->value)
			    : tm_guarded_peek(a->address, &a->value);
}

/* Does what was asked; the caller answers. True: it was the last request. */
static bool serve(struct tm_responder *r, uint32_t request)
{
	uint32_t what = request & ((1u << TM_REQUEST_BITS) - 1);

	/* Again, and acquiring: a fence would do, but ThreadSanitizer sees none. */
	(void)atomic_load_explicit(&r->request, memory_order_acquire);
	switch (what) {
	case TM_REQUEST_ARM:
		/* Guarded: one that comes late may find the range gone. */
		if (r->state == TM_STATE_TOUCH)
			tm_guarded_touch(r->touch_start, r->touch_bytes, r->touch_stride);
		break;
	case TM_REQUEST_ACCESS:
		for (unsigned int i = 0; i < r->access_count; i++)
			make(&r->access[i]);
		break;
	case TM_REQUEST_OFFSET:
		tm_offset_answer(&r->pingpong);
		break;
	default:
		break;
	}
	return what == TM_REQUEST_QUIT;
}

static inline void answer(struct tm_responder *r, uint32_t request)
{
	atomic_store_explicit(&r->answer, request, memory_order_release);
}

static inline void note_gap(struct tm_responder *r, uint64_t start, uint64_t end)
{
	uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);

	if (head - atomic_load_explicit(&r->tail, memory_order_acquire) > r->ring_mask) {
		atomic_fetch_add_explicit(&r->dropped, 1, memory_order_relaxed);
		return;
	}
	r->ring[head & r->ring_mask] = (struct tm_gap){start, end};
	atomic_store_explicit(&r->head, head + 1, memory_order_release);
}

/* Reads the counter; a gap since the last reading is an interruption. */
static inline __attribute__((always_inline)) uint64_t look(struct tm_responder *r, uint64_t last,
							   uint64_t threshold)
{
	uint64_t now = tm_ticks();

	if (now - last > threshold)
		note_gap(r, last, now);
	return now;
}

/*
 * The measuring loop. Two copies, so that the one in user mode has no branch
 * for the other's system call.
 */
static inline __attribute__((always_inline)) void loop(struct tm_responder *r, bool in_kernel)
{
	uint64_t threshold = r->threshold_ticks, last = tm_ticks();
	uint32_t seen = 0;

	for (;;) {
		uint32_t request;

		last = look(r, last, threshold);
		if (in_kernel)
			syscall(SYS_getppid);
		request = atomic_load_explicit(&r->request, memory_order_relaxed);
		if (request != seen) {
			bool quit;

			/*
			 * The request may have come in an interruption that
			 * began after the last look: that one counts too.
			 */
			look(r, last, threshold);
			quit = serve(r, request);
			seen = request;
			/* From the answer on, no interruption may be missed. */
			last = tm_ticks();
			answer(r, request);
			if (quit)
				return;
		}
	}
}

/*
 * The CPUs of the emulator take turns, and the turn ends at a pause: so the
 * initiator, which pauses while it waits for us, gets the next one at once and
 * always at the same place of this loop.
 */
static void loop_taking_turns(struct tm_responder *r)
{
	uint32_t request, seen = 0;
	bool quit;

	do {
		while ((request = atomic_load_explicit(&r->request, memory_order_relaxed)) ==
		       seen) {
			if (r->state == TM_STATE_KERNEL)
				syscall(SYS_getppid);
			tm_relax();
		}
		quit = serve(r, request);
		seen = request;
		answer(r, request);
	} while (!quit);
}

static void loop_idle(struct tm_responder *r)
{
	uint32_t seen = 0;

	for (;;) {
		uint32_t request = atomic_load_explicit(&r->request, memory_order_relaxed);

		if (request == seen) {
			futex(&r->request, FUTEX_WAIT, seen);
			continue;
		}
		bool quit = serve(r, request);

		seen = request;
		answer(r, request);
		if (quit)
			return;
	}
}

/* How long the loop takes undisturbed decides what an interruption is. */
static int calibrate(struct tm_responder *r)
{
	uint64_t *d = malloc(CALIBRATE_LOOPS * sizeof(*d)), last;

	if (!d)
		return -ENOMEM;
	last = tm_ticks();
	for (int i = 0; i < CALIBRATE_LOOPS; i++) {
		uint64_t now = tm_ticks();

		d[i] = now - last;
		last = now;
		if (r->state == TM_STATE_KERNEL)
			syscall(SYS_getppid);
		(void)atomic_load_explicit(&r->request, memory_order_relaxed);
	}
	tm_sort_u64(d, CALIBRATE_LOOPS);
	r->loop_ticks = d[CALIBRATE_LOOPS / 2];
	free(d);
	r->threshold_ticks = r->loop_ticks *
			     (r->state == TM_STATE_KERNEL ? THRESHOLD_SYSCALLS : THRESHOLD_LOOPS);
	if (r->threshold_ticks < r->minimum_gap_ticks)
		r->threshold_ticks = r->minimum_gap_ticks;
	return 0;
}

static void *responder_main(void *argument)
{
	struct tm_responder *r = argument;
	int rc = tm_pin(r->cpu);

	r->tid = (pid_t)syscall(SYS_gettid);
	if (!rc && !r->takes_turns)
		rc = calibrate(r);
	atomic_store_explicit(&r->ready, rc ? rc : 1, memory_order_release);
	if (rc)
		return NULL;
	if (r->state == TM_STATE_IDLE)
		loop_idle(r);
	else if (r->takes_turns)
		loop_taking_turns(r);
	else if (r->state == TM_STATE_KERNEL)
		loop(r, true);
	else
		loop(r, false);
	return NULL;
}

/*
 * A foreign responder is the same loop in another process: its mm is not the
 * initiator's, so no operation of ours should reach it.
 */
static int start_foreign(struct tm_responder *r)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		return -errno;
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		/* Shared memory is not mapped by fork: no page fault in the loop. */
		if (!r->takes_turns)
			memset(r->ring, 0, (r->ring_mask + 1) * sizeof(*r->ring));
		responder_main(r);
		_exit(0);
	}
	r->process = pid;
	return 0;
}

static int start_thread(struct tm_responder *r)
{
	pthread_attr_t attr;
	int rc;

	pthread_attr_init(&attr);
	/*
	 * On shared memory: after a fork a private stack would be copied on
	 * its next write, and that fault would look like an interruption.
	 */
	pthread_attr_setstack(&attr, r->stack, STACK_BYTES);
	rc = pthread_create(&r->thread, &attr, responder_main, r);
	pthread_attr_destroy(&attr);
	return -rc;
}

static int wait_ready(struct tm_responder *r)
{
	int ready;

	while (!(ready = atomic_load_explicit(&r->ready, memory_order_acquire))) {
		siginfo_t info = {.si_pid = 0};

		if (r->process &&
		    !waitid(P_PID, (id_t)r->process, &info, WEXITED | WNOHANG | WNOWAIT) &&
		    info.si_pid) {
			/* It may have said why it cannot run between the two looks. */
			ready = atomic_load_explicit(&r->ready, memory_order_acquire);
			return ready < 0 ? ready : -ESRCH;
		}
		tm_relax();
		sched_yield();
	}
	return ready < 0 ? ready : 0;
}

static int map_area(struct tm_responders *rs, unsigned int count, size_t ring_gaps)
{
	size_t ring_bytes = ring_gaps * sizeof(struct tm_gap);
	size_t heads = ((size_t)count * sizeof(struct tm_responder) + STACK_BYTES - 1) /
		       STACK_BYTES * STACK_BYTES;
	size_t stacks = (size_t)count * STACK_BYTES;
	char *area;

	rs->bytes = heads + stacks + (size_t)count * ring_bytes;
	area = mmap(NULL, rs->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		return -errno;
	rs->r = (struct tm_responder *)area;
	for (unsigned int i = 0; i < count; i++) {
		rs->r[i].stack = area + heads + (size_t)i * STACK_BYTES;
		rs->r[i].ring = (struct tm_gap *)(area + heads + stacks + (size_t)i * ring_bytes);
		rs->r[i].ring_mask = ring_gaps - 1;
		/* No page fault while the loop measures itself. */
		memset(rs->r[i].ring, 0, ring_bytes);
	}
	return 0;
}

int tm_responders_start(struct tm_responders *rs, const struct tm_placement *p, enum tm_state state,
			bool foreign, size_t ring_gaps, uint64_t minimum_gap_ticks, char *why,
			size_t why_size)
{
	bool any = state != TM_STATE_NONE && p->responders, takes_turns = !ring_gaps;
	int rc;

	memset(rs, 0, sizeof(*rs));
	/* Counted, a mapping less in the mm would show: the control without responders has it too. */
	tm_responders_note_caller(rs);
	if (!any && !takes_turns)
		return 0;
	if (state == TM_STATE_IDLE && !can_sleep()) {
		snprintf(why, why_size,
			 "state idle sleeps on a futex, and this kernel has none (CONFIG_FUTEX)");
		return -ENOTSUP;
	}
	rc = map_area(rs, any ? p->responders : 1, ring_gaps);
	if (rc) {
		snprintf(why, why_size, "no memory for %u responders", p->responders);
		return rc;
	}
	for (unsigned int i = 0; any && i < p->responders; i++) {
		struct tm_responder *r = &rs->r[i];

		r->state = state;
		r->cpu = p->responder_cpu[i];
		r->minimum_gap_ticks = minimum_gap_ticks;
		r->takes_turns = takes_turns;
		rc = foreign ? start_foreign(r) : start_thread(r);
		if (rc) {
			snprintf(why, why_size, "cannot start responder %u of %u", i + 1,
				 p->responders);
			return rc;
		}
		rs->count++;
		rc = wait_ready(r);
		if (rc == -ESRCH && tm_responders_missing(rs, why, why_size))
			return rc;
		if (rc) {
			snprintf(why, why_size,
				 "responder %u cannot run on CPU %u (offline, or not allowed?): %s",
				 i, r->cpu, strerror(-rc));
			return rc;
		}
	}
	return 0;
}

static void post(struct tm_responder *r, enum tm_request what)
{
	r->sequence++;
	atomic_store_explicit(&r->request, r->sequence << TM_REQUEST_BITS | what,
			      memory_order_release);
	if (r->state == TM_STATE_IDLE)
		futex(&r->request, FUTEX_WAKE, 1);
}

static bool answered(const struct tm_responder *r)
{
	return atomic_load_explicit(&r->answer, memory_order_acquire) ==
	       atomic_load_explicit(&r->request, memory_order_relaxed);
}

unsigned int tm_responders_arm(struct tm_responders *rs, uint64_t timeout_ticks)
{
	uint64_t start = tm_ticks();
	unsigned int armed = 0;

	for (unsigned int i = 0; i < rs->count; i++)
		post(&rs->r[i], TM_REQUEST_ARM);
	for (unsigned int i = 0; i < rs->count; i++) {
		while (!answered(&rs->r[i]) && tm_ticks() - start < timeout_ticks)
			tm_relax();
		armed += answered(&rs->r[i]);
	}
	return armed;
}

static bool answers_in_time(const struct tm_responders *rs, const struct tm_responder *r,
			    uint64_t *end_ns)
{
	uint64_t last_ns = tm_monotonic_ns(), look_ns = last_ns + LOOK_NS, now_ns;
	char why[128];

	for (; !answered(r); last_ns = now_ns) {
		now_ns = tm_monotonic_ns();
		/* Stopped, as the responder was: it had no chance either. */
		if (now_ns - last_ns > STOPPED_NS)
			*end_ns += now_ns - last_ns;
		if (now_ns > *end_ns)
			return false;
		if (now_ns > look_ns && tm_responders_missing(rs, why, sizeof(why)))
			return false;
		if (now_ns > look_ns)
			look_ns = now_ns + LOOK_NS;
		tm_relax();
	}
	return true;
}

unsigned int tm_responders_access(struct tm_responders *rs, unsigned int first, unsigned int n,
				  const struct tm_access *accesses, unsigned int count)
{
	uint64_t end_ns;

	for (unsigned int i = 0; i < n; i++) {
		struct tm_responder *r = &rs->r[first + i];

		memcpy(r->access, accesses, count * sizeof(*accesses));
		r->access_count = count;
		post(r, TM_REQUEST_ACCESS);
	}
	end_ns = tm_monotonic_ns() + ANSWER_NS;
	for (unsigned int i = 0; i < n; i++) {
		if (!answers_in_time(rs, &rs->r[first + i], &end_ns))
			return i;
	}
	return n;
}

void tm_responders_offsets(struct tm_responders *rs, uint64_t limit_ticks)
{
	unsigned int share = rs->count ? rs->count : 1, rounds = TM_OFFSET_ROUNDS / share;

	if (rounds > TM_OFFSET_ROUNDS_MAX)
		rounds = TM_OFFSET_ROUNDS_MAX;
	if (rounds < TM_OFFSET_ROUNDS_MIN)
		rounds = TM_OFFSET_ROUNDS_MIN;
	for (unsigned int i = 0; i < rs->count; i++) {
		struct tm_responder *r = &rs->r[i];
		uint64_t end_ns = tm_monotonic_ns() + ANSWER_NS;
		int64_t offset, bound;

		if (!tm_state_spins(r->state))
			continue;
		atomic_store(&r->pingpong.ping, 0);
		atomic_store(&r->pingpong.pong, 0);
		post(r, TM_REQUEST_OFFSET);
		tm_offset_measure(&r->pingpong, rounds, limit_ticks / share, &r->offset);
		/* Who waits for it next finds out why. */
		if (!answers_in_time(rs, r, &end_ns))
			return;
		/*
		 * Where zero is inside the proven interval it is also the most
		 * likely value (the kernel synchronises counters or does not
		 * use them): the interval then is kept about zero.
		 */
		offset = r->offset.offset_ticks;
		bound = (int64_t)r->offset.bound_ticks;
		if (offset - bound <= 0 && offset + bound >= 0) {
			r->offset.bound_ticks = (uint64_t)(bound + (offset < 0 ? -offset : offset));
			r->offset.offset_ticks = 0;
		}
	}
}

size_t tm_responder_drain(struct tm_responder *r, struct tm_gap *gaps, size_t capacity)
{
	uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	size_t n = 0;

	while (tail != head && n < capacity) {
		const struct tm_gap *g = &r->ring[tail++ & r->ring_mask];

		gaps[n].start = g->start - (uint64_t)r->offset.offset_ticks;
		gaps[n++].end = g->end - (uint64_t)r->offset.offset_ticks;
	}
	atomic_store_explicit(&r->tail, tail, memory_order_release);
	return n;
}

void tm_responders_stop(struct tm_responders *rs)
{
	for (unsigned int i = 0; i < rs->count; i++) {
		struct tm_responder *r = &rs->r[i];

		if (atomic_load(&r->ready) > 0)
			post(r, TM_REQUEST_QUIT);
		if (r->process > 0)
			waitpid(r->process, NULL, 0);
		else if (!r->process)
			tm_join(r->thread);
	}
	if (rs->r)
		munmap(rs->r, rs->bytes);
	memset(rs, 0, sizeof(*rs));
}
