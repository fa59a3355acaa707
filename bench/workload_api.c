// SPDX-License-Identifier: GPL-3.0-or-later
/* The functions that <tlbmark/workload.h> promises to workloads. */
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine.h"
#include "trace.h"

int tm_fail(struct tm_thread *t, int error, const char *format, ...)
{
	struct tm_engine *e = t->engine;
	bool expected = false;
	size_t n;
	va_list ap;

	if (!atomic_compare_exchange_strong(&e->failed, &expected, true))
		return error;
	e->r->error = error;
	e->r->skipped = error == -ENOTSUP;
	va_start(ap, format);
	vsnprintf(e->r->why, sizeof(e->r->why), format, ap);
	va_end(ap);
	n = strlen(e->r->why);
	if (error != -ENOTSUP && error != -ECHILD)
		snprintf(e->r->why + n, sizeof(e->r->why) - n, ": %s", strerror(-error));
	return error;
}

/* What the run process was allowed before it was pinned; all, as long as nobody said. */
static struct {
	bool known;
	cpu_set_t sets[8];
} allowed;

void tm_roam_within(const void *set, size_t bytes)
{
	memset(allowed.sets, 0, sizeof(allowed.sets));
	memcpy(allowed.sets, set, bytes < sizeof(allowed.sets) ? bytes : sizeof(allowed.sets));
	allowed.known = true;
}

void tm_roam(int but)
{
	cpu_set_t sets[sizeof(allowed.sets) / sizeof(allowed.sets[0])];

	memset(sets, 0xff, sizeof(sets));
	if (allowed.known)
		memcpy(sets, allowed.sets, sizeof(sets));
	if (but >= 0)
		CPU_CLR_S((size_t)but, sizeof(sets), sets);
	sched_setaffinity(0, sizeof(sets), sets);
}

void tm_count(struct tm_thread *t, unsigned int index, uint64_t value)
{
	const struct tm_engine *e = t->engine;

	if (e->measuring && t->count > e->dropped)
		__atomic_fetch_add(&e->r->counter[index], value, __ATOMIC_RELAXED);
}

static void keep_value(struct tm_thread *t, enum tm_metric m, uint64_t ticks)
{
	struct tm_engine *e = t->engine;

	if (e->measuring && t->count > e->dropped)
		tm_hist_record(tm_result_hist(e->r, m), ticks);
}

void tm_look(struct tm_thread *t, uint64_t age_ns, bool stale)
{
	keep_value(t, stale ? TM_METRIC_STALE : TM_METRIC_GONE,
		   tm_ns_to_ticks(t->engine->context->clock, (double)age_ns));
}

void tm_life(struct tm_thread *t, uint64_t life_ticks)
{
	keep_value(t, TM_METRIC_LIFE, life_ticks);
}

/* xorshift64*: Marsaglia (2003), Vigna (2016). */
uint64_t tm_random(struct tm_thread *t)
{
	t->rng ^= t->rng >> 12;
	t->rng ^= t->rng << 25;
	t->rng ^= t->rng >> 27;
	return t->rng * 0x2545f4914f6cdd1dull;
}

void tm_publish(struct tm_thread *t, const void *start, size_t bytes, size_t stride)
{
	struct tm_responders *rs = &t->engine->responders;

	if (t->index || t->engine->cell->state != TM_STATE_TOUCH)
		return;
	for (unsigned int i = 0; i < rs->count; i++) {
		rs->r[i].touch_start = start;
		rs->r[i].touch_bytes = bytes;
		rs->r[i].touch_stride = stride ? stride : 1;
	}
}

void tm_arm(struct tm_thread *t)
{
	struct tm_engine *e = t->engine;
	uint64_t start, wait;

	t->armed = 0;
	t->arm_flags = 0;
	if (e->initiators > 1)
		return;
	/*
	 * A batch's first operation finds the caches as the folding left them
	 * and is dropped: the probe counts it as outside.
	 */
	t->in_operation = t->count < e->dropped ? &e->initiator[0].in_operation
						: tm_probe_in_operation(e->context->probe);
	/* Its line is in a responder's cache: take it back before the clock runs. */
	*t->in_operation = 0;
	if (tm_state_spins(e->cell->state) && e->responders.count) {
		t->armed = tm_responders_arm(&e->responders, e->arm_timeout_ticks);
		if (t->armed < e->responders.count) {
			t->arm_flags = TM_SAMPLE_UNARMED;
			tm_engine_lost_one(e);
		}
	}
	if (e->cell->deterministic) {
		if (t->arm_flags)
			tm_fail(t, -ETIMEDOUT, "%u of %u responders do not run",
				e->responders.count - t->armed, e->responders.count);
		return;
	}
	/* The random part keeps operations from locking step with the loop. */
	wait = e->settle_ticks + (tm_random(t) & e->settle_mask);
	start = tm_ticks();
	while (tm_ticks() - start < wait)
		;
}

/*
 * A responder that does not answer has seen nothing: from then on the oracle
 * is void, whatever it makes of -ETIMEDOUT, and the run has failed.
 */
static int access_some(struct tm_thread *t, unsigned int first, unsigned int n,
		       const struct tm_access *accesses, unsigned int count)
{
	struct tm_engine *e = t->engine;
	unsigned int done =
		e->lost ? 0 : tm_responders_access(&e->responders, first, n, accesses, count);

	if (done == n)
		return 0;
	for (unsigned int i = done; i < n; i++) {
		for (unsigned int j = 0; j < count; j++)
			e->responders.r[first + i].access[j].error = -ETIMEDOUT;
	}
	/* Each time: an oracle may have put back a verdict of before. */
	e->r->verdict.closed = true;
	if (!e->lost) {
		e->lost = true;
		if (!tm_engine_lost_one(e))
			tm_fail(t, -ETIMEDOUT, "responder %u did not answer the oracle",
				first + done);
	}
	return -ETIMEDOUT;
}

int tm_access_all(struct tm_thread *t, const struct tm_access *accesses, unsigned int count)
{
	return access_some(t, 0, t->engine->responders.count, accesses, count);
}

const struct tm_access *tm_accessed(struct tm_thread *t, unsigned int responder)
{
	return t->engine->responders.r[responder].access;
}

int tm_peek(struct tm_thread *t, unsigned int responder, const void *address, uint64_t *value)
{
	const struct tm_access a = {.address = (void *)(uintptr_t)address};

	access_some(t, responder, 1, &a, 1);
	*value = tm_accessed(t, responder)->value;
	return tm_accessed(t, responder)->error;
}

int tm_poke(struct tm_thread *t, unsigned int responder, void *address, uint64_t value)
{
	const struct tm_access a = {.address = address, .store = true, .value = value};

	access_some(t, responder, 1, &a, 1);
	return tm_accessed(t, responder)->error;
}

bool tm_lost_one(struct tm_thread *t)
{
	return tm_engine_lost_one(t->engine);
}

unsigned int tm_responder_cpu(const struct tm_thread *t, unsigned int responder)
{
	return t->engine->cell->placement.responder_cpu[responder];
}

int tm_self_peek(const void *address, uint64_t *value)
{
	return tm_guarded_peek(address, value);
}

int tm_self_poke(void *address, uint64_t value)
{
	return tm_guarded_poke(address, value);
}

void tm_returned(uint64_t ticks)
{
	tm_trace_returned(ticks);
}

void tm_stale_seen(void)
{
	tm_trace_stop();
}

void tm_check(struct tm_verdict *v, bool ok, const char *format, ...)
{
	va_list ap;

	if (v->closed)
		return;
	v->checks++;
	if (ok || v->violations++)
		return;
	tm_trace_stop();
	va_start(ap, format);
	vsnprintf(v->first, sizeof(v->first), format, ap);
	va_end(ap);
}

void tm_unchecked(struct tm_verdict *v, const char *format, ...)
{
	va_list ap;

	if (v->closed)
		return;
	va_start(ap, format);
	vsnprintf(v->unchecked, sizeof(v->unchecked), format, ap);
	va_end(ap);
}
