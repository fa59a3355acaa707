/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a workload is: the only project header that a file in workloads/
 * includes.
 *
 * A workload is one file with one const descriptor, last in the file. The
 * core knows no workload by name: command line, manual page, `tlbmark list`
 * and the default plan all come from the descriptor.
 *
 * Life of one run, always in a fresh process (so that the mm, its CPU mask
 * and its lazy-TLB history begin clean), pinned to the initiator's CPU before
 * that process exists:
 *
 *   knobs()     in the parent, before the process is made; may set the system
 *   setup()     once, on the first initiator, before the responders start
 *   prepare()   once on each initiator thread
 *   operate()   many times: warm-up first, then measured batches
 *   verify()    the oracle, after measuring, responders still there
 *   teardown()  once, also after an error
 *
 * All return 0 or a negative errno; -ENOTSUP from setup() or prepare() means
 * "cannot run here" (a skip, with the reason given by tm_fail()).
 *
 * The inner loop belongs to the workload:
 *
 *	while (tm_more(t)) {
 *		map and touch;            // untimed
 *		tm_begin(t);              // responders armed, clock read
 *		rc = munmap(...);         // timed
 *		tm_end(t, pages);         // clock read, sample stored
 *		if (rc)
 *			return tm_fail(t, -errno, "munmap of %zu bytes", size);
 *	}
 */
#ifndef TLBMARK_WORKLOAD_H
#define TLBMARK_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <tlbmark/arch.h>
#include <tlbmark/uapi.h>

enum { TM_MAX_PARAMS = 8, TM_MAX_COUNTERS = 12 };

/* What a workload needs; shown by `list`, checked before probe() is asked. */
enum tm_needs {
	TM_NEEDS_ROOT = 1u << 0,
	TM_NEEDS_THP = 1u << 1,	 /* transparent huge pages not set to never */
	TM_NEEDS_BPF = 1u << 2,	 /* bpf(2) allowed */
	TM_NEEDS_KMOD = 1u << 3, /* a tlbmark kernel module */
};

/*
 * Which interrupts one operation must cause on every responder that runs in
 * this mm; the delivered ratio of a cell is judged by it.
 */
enum tm_gate {
	TM_GATE_NONE,  /* none at all: floors, and operations that flush locally */
	TM_GATE_EVERY, /* each operation interrupts each responder at least once */
	TM_GATE_SOME,  /* only some operations do (lazy purge): counted, not gated */
};

enum tm_param_kind {
	TM_PARAM_UINT,	 /* a number between min and max */
	TM_PARAM_CHOICE, /* an index into choices[] */
};

/*
 * One parameter. The value of parameter i of a cell is cell->values[i]; give
 * the indices names with an enum at the top of the workload's file. A sweep
 * is written as on the command line: "1,32..34,512", "4k,thp".
 */
struct tm_param {
	const char *name; /* the option is --NAME */
	const char *unit; /* "pages", "bytes", ..., "" for a choice */
	const char *help; /* half a sentence, lower case */
	enum tm_param_kind kind;
	uint64_t min, max;	    /* TM_PARAM_UINT only */
	const char *const *choices; /* TM_PARAM_CHOICE only, NULL-terminated */
	const char *def;	    /* the value when nothing is said; stress takes it first */
	const char *plan;	    /* swept in the default plan; NULL: def */
	const char *full;	    /* swept with --full; NULL: plan */
	const char *exact;	    /* with --deterministic; NULL: as without */
	/*
	 * The value that the others are compared with, as text; NULL: none. The
	 * table then says by how much a row differs from the one that has it and is
	 * the same otherwise.
	 */
	const char *reference;
};

struct tm_workload;
struct tm_sysstate; /* bench/sysstate.h */
struct tm_engine;   /* bench/run.c */

/* What a workload may know of the cell it runs in. Constant once built. */
struct tm_cell_args {
	const struct tm_workload *workload;
	uint64_t values[TM_MAX_PARAMS];
	unsigned int initiators; /* threads that operate, >= 1 */
	unsigned int responders; /* 0 for the control without any */
	uint64_t seed;
	int memory_node; /* -1: not bound */
};

/*
 * One initiator thread. The fields are the core's unless said otherwise.
 */
struct tm_thread {
	const struct tm_cell_args *cell;
	unsigned int index; /* 0 .. initiators - 1 */
	unsigned int cpu;   /* where it is pinned */
	size_t page_bytes;
	void *priv;   /* the workload's own */
	uint64_t rng; /* state of tm_random() */

	struct tm_sample *samples;
	uint32_t count, capacity;
	uint64_t begin_ticks;
	uint32_t armed, arm_flags;
	volatile uint32_t *in_operation; /* the probe reads it: 1 while timed */
	struct tm_engine *engine;
};

/* True while this batch wants more operations. */
static inline bool tm_more(const struct tm_thread *t)
{
	return t->count < t->capacity;
}

/*
 * Waits until every responder of the cell says that it is in its state,
 * refreshes what `touch` responders hold, lets the acknowledgements settle.
 * Out of line and untimed; tm_begin() calls it.
 */
void tm_arm(struct tm_thread *t);

static inline void tm_begin(struct tm_thread *t)
{
	tm_arm(t);
	*t->in_operation = 1;
	t->begin_ticks = tm_ticks_begin();
}

/* For operations whose stamps are taken elsewhere (exec): after tm_arm(). */
static inline void tm_commit(struct tm_thread *t, uint64_t begin_ticks, uint64_t end_ticks,
			     uint32_t pages)
{
	struct tm_sample *s = &t->samples[t->count++];

	s->begin_ticks = begin_ticks;
	s->op_ticks = end_ticks - begin_ticks;
	s->cpu = t->cpu;
	s->pages = pages;
	s->armed = t->armed;
	s->flags = t->arm_flags;
}

static inline void tm_end(struct tm_thread *t, uint32_t pages)
{
	uint64_t end = tm_ticks_end();

	*t->in_operation = 0;
	tm_commit(t, t->begin_ticks, end, pages);
}

/*
 * Says why something failed or cannot run, in one line, and returns `error`
 * (a negative errno), so that a workload can `return tm_fail(...)`. The
 * errno's own text is appended. The first call wins. Any thread.
 */
int tm_fail(struct tm_thread *t, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Adds to the workload's counter `index` what the operation that tm_end() or
 * tm_commit() stored last did. Kept if that operation is: not of the warm-up.
 * Any initiator.
 */
void tm_count(struct tm_thread *t, unsigned int index, uint64_t value);

/*
 * One look at a translation that was taken away age_ns before: is it stale, that
 * is, still used? Becomes the metrics `stale` and `gone`, and with many looks
 * of several ages the share that is stale at time t. Kept as for tm_count().
 * First initiator only.
 */
void tm_look(struct tm_thread *t, uint64_t age_ns, bool stale);

/*
 * For how long such a translation was used, where that is seen from the one end
 * to the other. Becomes the metric `life`. Kept as for tm_count(). First initiator
 * only.
 */
void tm_life(struct tm_thread *t, uint64_t life_ticks);

/* Reproducible numbers, from the cell's seed; one stream a thread. */
uint64_t tm_random(struct tm_thread *t);

/*
 * The range that responders in state `touch` read before each operation, at
 * tm_arm(): one load every `stride` bytes. {NULL, 0, 0}: nothing. It must
 * stay readable until the next call or the operation itself. First initiator
 * only.
 */
void tm_publish(struct tm_thread *t, const void *start, size_t bytes, size_t stride);

/*
 * The oracle's tools, for verify() only. The responder (0 .. responders - 1)
 * makes accesses of 8 bytes in user mode and answers; begun after the
 * caller's earlier stores and system calls (release / acquire), so a
 * translation that was flushed before must not be used. In between it spins
 * and keeps its TLB.
 *
 * 0, or -EFAULT where the access raised SIGSEGV, -EIO where SIGBUS. tm_self_*: the
 * same on the calling CPU.
 */
struct tm_access {
	void *address;
	bool store;
	uint64_t value; /* to be stored, or what was read */
	int error;	/* 0, -EFAULT or -EIO, or -ETIMEDOUT for it; set by the responder */
};

enum { TM_ACCESSES_MAX = 8 };

/*
 * All responders at once make these accesses, 1 .. TM_ACCESSES_MAX, each of them all
 * and in this order: so they look soon after the operation, however many they
 * are. 0, or -ETIMEDOUT where one did not answer. tm_accessed(): what came of
 * them on that responder, an array as long, until its next access.
 */
int tm_access_all(struct tm_thread *t, const struct tm_access *accesses, unsigned int count);
const struct tm_access *tm_accessed(struct tm_thread *t, unsigned int responder);

/* One responder, one access. */
int tm_peek(struct tm_thread *t, unsigned int responder, const void *address, uint64_t *value);
int tm_poke(struct tm_thread *t, unsigned int responder, void *address, uint64_t value);
int tm_self_peek(const void *address, uint64_t *value);
int tm_self_poke(void *address, uint64_t value);

/*
 * The calling thread, or child, may run on every CPU that the program was started
 * with (taskset, a cpuset) but `but`, -1: on all; where there is no other it stays
 * where it is. For helpers, which begin on their initiator's CPU.
 */
void tm_roam(int but);

/* Was a CPU taken away from this thread or from a responder? Then the run has failed (-ECHILD), which is said. */
bool tm_lost_one(struct tm_thread *t);

/* The CPU on which responder 0 .. cell->responders - 1 is pinned. From setup() on. */
unsigned int tm_responder_cpu(const struct tm_thread *t, unsigned int responder);

/*
 * Outcome of verify(). `rounds` is how often the caller wants the operation
 * checked, and verify() may be called any number of times; it adds to `checks` through tm_check() and tm_checked() only.
 */
struct tm_verdict {
	uint64_t rounds;
	uint64_t checks;
	uint64_t violations;
	char first[192];     /* the first violation in words; "" if there is none */
	char unchecked[128]; /* what could not be looked at, and why; "": all was */
	bool closed;	     /* a responder did not answer: from then on nothing counts */
};

/* Counts one check; if `ok` is false a violation, described by the format. */
void tm_check(struct tm_verdict *v, bool ok, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Says that something was not checked, and why, where that is no failure. Of
 * several the last is kept.
 */
void tm_unchecked(struct tm_verdict *v, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * For the kernel's trace around a violation: the operation that is checked next had
 * returned at this tick. Any thread; a store.
 */
void tm_returned(uint64_t ticks);

/*
 * For oracles that tell of a violation later than they see it: what the kernel
 * traced is kept from this moment. Any thread; costs nothing where nothing is traced.
 */
void tm_stale_seen(void);

/* Counts so many checks that found nothing wrong. */
static inline void tm_checked(struct tm_verdict *v, uint64_t checks)
{
	if (!v->closed)
		v->checks += checks;
}

/*
 * Sets one kernel knob for the run, journaled and undone by the core: `path`
 * below /proc/sys or /sys, `value` as it would be echoed. For knobs() only.
 * 0 or -errno.
 */
int tm_knob(struct tm_sysstate *s, const char *path, const char *value);

/*
 * For a knob that stands as the workload needs it, and is not set therefore: 0, or
 * -EBUSY where it stands so only because of another run, which will put it back.
 */
int tm_knob_rely(struct tm_sysstate *s, const char *path);

/* The same as tm_knob() for a directory below /sys/fs/cgroup: made here, removed by the core. */
int tm_knob_group(struct tm_sysstate *s, const char *path);

struct tm_workload {
	const char *name;    /* a stored key: never renamed */
	const char *summary; /* one line */
	const char *op;	     /* what ONE operation is */
	const char *flushes; /* the kernel function that flushes, "" for none */
	uint32_t needs;	     /* TM_NEEDS_* */
	enum tm_gate gate;
	/* Where it depends on the parameters; NULL: gate. Ask tm_gate(). */
	enum tm_gate (*gate_of)(const struct tm_cell_args *);
	/*
	 * For workloads that flush kernel addresses: how many such flushes the
	 * kernel's source predicts for an operation, which is told beside what was
	 * seen. NULL: nothing is predicted.
	 */
	double (*kernel_flushes_per_op)(const struct tm_cell_args *);
	bool kernel_range; /* it flushes kernel addresses, which tlb:tlb_flush does not tell */
	bool floor;	   /* a baseline: always planned, printed first */
	bool no_control;   /* responders change nothing or are initiators */
	bool all_initiate; /* every CPU is an initiator unless --initiators */
	/*
	 * The operation itself makes the scheduler run on the initiator's CPU
	 * (it waits for a child, say): context switches and wake-ups there are
	 * part of it and do not make it disturbed.
	 */
	bool switches;
	/*
	 * Operations overlap, or are told of when others have begun: what interrupts
	 * the responders belongs to none of them.
	 */
	bool overlap;
	/*
	 * A second thread of its own has to run at the same time: a stress run lets the
	 * responders sleep at first, so that few CPUs are enough.
	 */
	bool second_thread;
	/*
	 * Responders run in another process, whatever their state: it is what
	 * happens to others that counts, and a foreign control would be the same.
	 */
	bool foreign;
	/*
	 * operate() checks what it does, and verify() tells what was found. Stress
	 * runs measure it instead of calling verify() again and again.
	 */
	bool self_checking;
	/* verify() waits for the kernel, up to minutes: short stress runs leave it out. */
	bool patient;
	/* As patient, where only some values make it wait. NULL: none does. */
	bool (*patient_cell)(const struct tm_cell_args *);
	/* Its knobs would change what others measure: put back right after each run. */
	bool knobs_disturb;
	const char *state;	       /* of the responders where --state says none; NULL: spin */
	const struct tm_param *params; /* ends with a NULL name; may be NULL */
	/* Names of what it counts itself, at most TM_MAX_COUNTERS, NULL-terminated; may be NULL.
	 * Stored keys. tm_count() adds to them. */
	const char *const *counters;

	/* Can it run here at all? 0, or -errno with the reason in why. May be NULL. */
	int (*probe)(char *why, size_t why_size);
	/* As probe(), for the parameter values of one cell. May be NULL. */
	int (*probe_cell)(const struct tm_cell_args *, char *why, size_t why_size);
	int (*knobs)(const struct tm_cell_args *, struct tm_sysstate *);
	int (*setup)(struct tm_thread *, void **state);
	int (*prepare)(struct tm_thread *, void *state);
	int (*operate)(struct tm_thread *, void *state);
	int (*verify)(struct tm_thread *, void *state, struct tm_verdict *);
	void (*teardown)(void *state);
};

/* What this cell's operations must cause. */
static inline enum tm_gate tm_gate(const struct tm_cell_args *c)
{
	return c->workload->gate_of ? c->workload->gate_of(c) : c->workload->gate;
}

/* Generated from workloads/local.mk; NULL-terminated, in the order of the list. */
extern const struct tm_workload *const tm_workloads[];

#endif /* TLBMARK_WORKLOAD_H */
