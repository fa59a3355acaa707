// SPDX-License-Identifier: GPL-3.0-or-later
/* Samples, gaps and events of a batch -> result. See fold.h. */
#include <stdlib.h>
#include <string.h>

#include "fold.h"
#include "tlb_bpf.h"

/* What is known of one operation. */
enum {
	OP_DISTURBED = 1 << 0,
	OP_NOT_ONE_GAP = 1 << 1, /* some responder had none, or several */
	OP_NOT_POSITIVE = 1 << 2,
	OP_NO_HANDLER = 1 << 3, /* the probe missed a handler of some responder */
	OP_HANDLER_OUTSIDE = 1 << 4,
};

/* One (operation, responder). */
struct cell {
	uint64_t first_gap; /* 0: none */
	uint64_t stolen;
	uint64_t entry, handler; /* probe: first entry (0: none), time inside */
};

struct tm_fold {
	size_t capacity, count;
	unsigned int responders;
	bool probed; /* a delivery without a handler is none */
	const struct tm_sample *samples;
	uint8_t *flags;		/* [capacity] */
	uint64_t *last_gap_end; /* [capacity], over all responders */
	uint64_t *send;		/* [capacity], 0: none seen */
	struct cell *cells;	/* [responders][capacity] */
	struct {
		uint64_t gaps_in, gaps_out;
	} * totals; /* [responders], of the batch */
};

struct tm_fold *tm_fold_new(size_t operations, unsigned int responders, bool probed)
{
	struct tm_fold *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->capacity = operations;
	f->responders = responders;
	f->probed = probed;
	f->flags = calloc(operations, sizeof(*f->flags));
	f->last_gap_end = calloc(operations, sizeof(*f->last_gap_end));
	f->send = calloc(operations, sizeof(*f->send));
	f->cells = calloc(operations * responders + 1, sizeof(*f->cells));
	f->totals = calloc(responders + 1, sizeof(*f->totals));
	if (!f->flags || !f->last_gap_end || !f->send || !f->cells || !f->totals) {
		tm_fold_free(f);
		return NULL;
	}
	return f;
}

void tm_fold_free(struct tm_fold *f)
{
	if (!f)
		return;
	free(f->flags);
	free(f->last_gap_end);
	free(f->send);
	free(f->cells);
	free(f->totals);
	free(f);
}

void tm_fold_begin(struct tm_fold *f, const struct tm_sample *samples, size_t count)
{
	f->samples = samples;
	f->count = count;
	memset(f->flags, 0, count * sizeof(*f->flags));
	memset(f->last_gap_end, 0, count * sizeof(*f->last_gap_end));
	memset(f->send, 0, count * sizeof(*f->send));
	memset(f->totals, 0, f->responders * sizeof(*f->totals));
}

static inline uint64_t op_begin(const struct tm_fold *f, size_t op)
{
	return f->samples[op].begin_ticks;
}

static inline uint64_t op_end(const struct tm_fold *f, size_t op)
{
	return f->samples[op].begin_ticks + f->samples[op].op_ticks;
}

/* The first operation, from `op` on, that ends at or after `ticks`. */
static size_t seek(const struct tm_fold *f, size_t op, uint64_t ticks)
{
	while (op < f->count && op_end(f, op) < ticks)
		op++;
	return op;
}

static inline bool inside(const struct tm_fold *f, size_t op, uint64_t ticks)
{
	return op < f->count && ticks >= op_begin(f, op) && ticks <= op_end(f, op);
}

/* Wake-ups and context switches: what an operation that waits brings with it. */
static bool is_scheduling(const struct tm_tick_event *e)
{
	return e->value == TM_DISTURB_RESCHEDULE || e->value == TM_DISTURB_IRQ_WORK ||
	       e->value == TM_DISTURB_SWITCH;
}

void tm_fold_initiator(struct tm_fold *f, const struct tm_tick_event *events, size_t count,
		       bool switches)
{
	size_t op = 0;

	for (size_t i = 0; i < count; i++) {
		op = seek(f, op, events[i].ticks);
		if (!inside(f, op, events[i].ticks))
			continue;
		if (events[i].kind == TM_EVENT_DISTURB && !(switches && is_scheduling(&events[i])))
			f->flags[op] |= OP_DISTURBED;
		else if (events[i].kind == TM_EVENT_SEND && !f->send[op])
			f->send[op] = events[i].ticks;
	}
}

/* Gaps of one responder: each op's first, their sum, and those that reach in. */
static void fold_gaps(struct tm_fold *f, unsigned int i, const struct tm_gap *gaps, size_t count)
{
	struct cell *cells = f->cells + i * f->capacity;
	size_t op = 0;

	for (size_t g = 0; g < count; g++) {
		struct cell *c;

		op = seek(f, op, gaps[g].start);
		if (!inside(f, op, gaps[g].start)) {
			f->totals[i].gaps_out++;
			for (size_t o = op; o < f->count && op_begin(f, o) < gaps[g].end; o++)
				f->flags[o] |= OP_DISTURBED;
			continue;
		}
		f->totals[i].gaps_in++;
		c = &cells[op];
		if (c->first_gap)
			f->flags[op] |= OP_NOT_ONE_GAP;
		else
			c->first_gap = gaps[g].start;
		c->stolen += gaps[g].end - gaps[g].start;
		if (gaps[g].end > f->last_gap_end[op])
			f->last_gap_end[op] = gaps[g].end;
	}
}

static bool outside_gap(const struct cell *c, uint64_t at, uint64_t slack)
{
	return c->first_gap && (at + slack < c->first_gap || at > c->first_gap + c->stolen + slack);
}

/*
 * Handlers and disturbances on one responder's CPU. With one gap in the
 * operation, every handler that ran in it must lie inside that gap.
 */
static void fold_events(struct tm_fold *f, unsigned int i, const struct tm_tick_event *events,
			size_t count, uint64_t slack)
{
	struct cell *cells = f->cells + i * f->capacity, *open = NULL;
	size_t op = 0;

	for (size_t e = 0; e < count; e++) {
		uint64_t at = events[e].ticks;
		bool in;

		op = seek(f, op, at);
		in = inside(f, op, at);
		if (events[e].kind == TM_EVENT_DISTURB) {
			if (in)
				f->flags[op] |= OP_DISTURBED;
		} else if (events[e].kind == TM_EVENT_ENTRY) {
			open = in ? &cells[op] : NULL;
			if (!open)
				continue;
			if (!open->entry)
				open->entry = at;
			open->handler -= at;
			if (outside_gap(open, at, slack))
				f->flags[op] |= OP_HANDLER_OUTSIDE;
		} else if (events[e].kind == TM_EVENT_EXIT && open) {
			/* It may well end after the operation that caused it. */
			open->handler += at;
			if (outside_gap(open, at, slack))
				f->flags[open - cells] |= OP_HANDLER_OUTSIDE;
			open = NULL;
		}
	}
}

/*
 * What is in the gaps that begin inside operations: nothing of the kernel's,
 * or something of its that is no handler, even if after the operation's end.
 */
static void fold_contents(struct tm_fold *f, const struct tm_gap *gaps, size_t gap_count,
			  const struct tm_tick_event *events, size_t event_count, uint64_t slack)
{
	size_t op = 0, e = 0;

	for (size_t g = 0; g < gap_count; g++) {
		bool disturbed = true;

		op = seek(f, op, gaps[g].start);
		if (!inside(f, op, gaps[g].start))
			continue;
		while (e < event_count && events[e].ticks + slack < gaps[g].start)
			e++;
		for (size_t k = e; k < event_count && events[k].ticks <= gaps[g].end + slack; k++) {
			disturbed = events[k].kind == TM_EVENT_DISTURB;
			if (disturbed)
				break;
		}
		if (disturbed)
			f->flags[op] |= OP_DISTURBED;
	}
}

void tm_fold_responder(struct tm_fold *f, unsigned int i, const struct tm_gap *gaps,
		       size_t gap_count, const struct tm_tick_event *events, size_t event_count,
		       uint64_t slack_ticks)
{
	struct cell *cells = f->cells + i * f->capacity;

	memset(cells, 0, f->count * sizeof(*cells));
	fold_gaps(f, i, gaps, gap_count);
	fold_events(f, i, events, event_count, slack_ticks);
	if (f->probed)
		fold_contents(f, gaps, gap_count, events, event_count, slack_ticks);
	for (size_t op = 0; op < f->count; op++) {
		const struct cell *c = &cells[op];

		if (!c->first_gap)
			f->flags[op] |= OP_NOT_ONE_GAP;
		else if (c->first_gap <= op_begin(f, op) || !c->stolen)
			f->flags[op] |= OP_NOT_POSITIVE;
		/* An entry whose exit fell outside leaves a "negative" time. */
		if (!c->entry || (int64_t)c->handler <= 0)
			f->flags[op] |= OP_NO_HANDLER;
	}
}

static void count_split(const struct tm_fold *f, size_t op, struct tm_result *r)
{
	uint8_t flags = f->flags[op];

	if (flags & OP_NOT_ONE_GAP)
		return;
	r->valid_one_gap++;
	if (!(flags & OP_NOT_POSITIVE) && f->last_gap_end[op] < op_end(f, op))
		r->valid_positive++;
	if (flags & OP_NO_HANDLER)
		return;
	r->valid_in_gap_checked++;
	r->valid_in_gap += !(flags & OP_HANDLER_OUTSIDE);
}

/* Where the kernel tells, a gap without a handler delivers nothing. */
static bool is_delivered(const struct tm_fold *f, const struct cell *c)
{
	return c->first_gap && (c->entry || !f->probed);
}

/* A valid operation's parts, into the histograms. */
static void record_split(const struct tm_fold *f, size_t op, struct tm_result *r,
			 struct tm_hist **delivery, struct tm_hist **stolen)
{
	uint64_t begin = op_begin(f, op);
	bool any = false;

	for (unsigned int i = 0; i < f->responders; i++) {
		const struct cell *c = &f->cells[i * f->capacity + op];

		if (!is_delivered(f, c))
			continue;
		any = true;
		tm_hist_record(tm_result_hist(r, TM_METRIC_DELIVERY), c->first_gap - begin);
		tm_hist_record(tm_result_hist(r, TM_METRIC_STOLEN), c->stolen);
		tm_hist_record(delivery[i], c->first_gap - begin);
		tm_hist_record(stolen[i], c->stolen);
		if (!c->entry || (int64_t)c->handler <= 0)
			continue;
		tm_hist_record(tm_result_hist(r, TM_METRIC_HANDLER), c->handler);
		if (f->send[op] && c->entry > f->send[op])
			tm_hist_record(tm_result_hist(r, TM_METRIC_ENTRY), c->entry - f->send[op]);
	}
	/* A return before the last gap's end is no time at all: counted by
	 * valid_positive, recorded as the 0 that it is in this metric. */
	if (any)
		tm_hist_record(tm_result_hist(r, TM_METRIC_RETURN),
			       op_end(f, op) > f->last_gap_end[op]
				       ? op_end(f, op) - f->last_gap_end[op]
				       : 0);
	if (f->send[op])
		tm_hist_record(tm_result_hist(r, TM_METRIC_SEND), f->send[op] - begin);
}

static void count_delivered(const struct tm_fold *f, size_t op, struct tm_result *r)
{
	struct tm_responder_result *rows = tm_result_responders(r);

	r->deliveries_expected += f->responders;
	for (unsigned int i = 0; i < f->responders; i++) {
		const struct cell *c = &f->cells[i * f->capacity + op];

		if (!is_delivered(f, c))
			continue;
		r->deliveries++;
		rows[i].delivered++;
		rows[i].stolen_ticks += c->stolen;
	}
}

void tm_fold_end(struct tm_fold *f, struct tm_result *r, struct tm_hist **responder_delivery,
		 struct tm_hist **responder_stolen)
{
	struct tm_responder_result *rows = tm_result_responders(r);

	for (unsigned int i = 0; i < f->responders; i++) {
		rows[i].gaps_in += f->totals[i].gaps_in;
		rows[i].gaps_out += f->totals[i].gaps_out;
	}
	for (size_t op = 0; op < f->count; op++) {
		const struct tm_sample *s = &f->samples[op];

		r->ops++;
		tm_hist_record(tm_result_hist(r, TM_METRIC_OP), s->op_ticks);
		tm_result_add_raw(r, s->op_ticks);
		/* The denominator of the delivered ratio is every operation:
		 * a responder that was not there is what the gate is for. */
		count_delivered(f, op, r);
		if (s->flags & TM_SAMPLE_UNARMED)
			continue;
		r->ops_armed++;
		if (f->flags[op] & OP_DISTURBED) {
			r->ops_disturbed++;
			continue;
		}
		r->ops_valid++;
		if (!f->responders)
			continue;
		count_split(f, op, r);
		record_split(f, op, r, responder_delivery, responder_stolen);
	}
}
