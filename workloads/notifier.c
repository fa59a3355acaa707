// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * notifier: an operation on memory while mmu_notifiers listen, as on an
 * address space that a device or a virtual machine shares. Needs the module
 * tlbmark_notifier.
 *
 * Timed, in user space: one munmap(), mprotect() or madvise(MADV_DONTNEED) of
 * base pages of private memory, with --count notifiers on the address space.
 * Nothing but them differs from the row with --count 0, so the table's
 * difference to that row is what they cost. Each notifier of a kind is told
 * once before the range changes and once after (range), or once (before Linux
 * 6.6 twice) at the flush (secondary); those of kind empty are registered,
 * and nobody listens.
 *
 * The flush is in tlb_finish_mmu() -> flush_tlb_mm_range(). The callbacks
 * themselves count, in a few instructions, and spin for --delay: what a driver
 * does in its own is not measured.
 *
 * Its counters are the callbacks of the timed operations. With several
 * initiators those of the other threads' preparations are among them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <tlbmark/uapi_notifier.h>
#include <tlbmark/workload.h>

#include "kmod.h"
#include "oracle.h"
#include "pages.h"

enum { OP, KIND, COUNT, PAGES, DELAY };
enum { OP_MUNMAP, OP_MPROTECT, OP_DONTNEED };
enum { START, END, SECONDARY, NON_BLOCKABLE, RANGE_PAGES, SECONDARY_PAGES, SECONDARY_FULL };

/* The gather is full at about 10,000 pages, and then flushes more than once. */
#define PAGES_MAX 8192

static const char *const ops[] = {"munmap", "mprotect", "madvise_dontneed", NULL};
static const char *const kinds[] = {"empty", "range", "secondary", "both", NULL};

static const struct tm_param params[] = {
	[OP] = PAGES_CHOICE_PARAM("op", "the operation", ops, "munmap",
				  "munmap,mprotect,madvise_dontneed"),
	[KIND] = {.name = "kind",
		  .unit = "",
		  .help = "what the notifiers implement",
		  .kind = TM_PARAM_CHOICE,
		  .choices = kinds,
		  .def = "range",
		  .plan = "empty,range,secondary",
		  .full = "empty,range,secondary,both"},
	[COUNT] = {.name = "count",
		   .unit = "notifiers",
		   .help = "notifiers (kind both: pairs of them) on the address space",
		   .kind = TM_PARAM_UINT,
		   .min = 0,
		   .max = TM_NOTIFIER_COUNT_MAX,
		   .def = "1",
		   .plan = "0,1,8",
		   .reference = "0"},
	[PAGES] = {.name = "pages",
		   .unit = "pages",
		   .help = "pages that one operation covers",
		   .kind = TM_PARAM_UINT,
		   .min = 1,
		   .max = PAGES_MAX,
		   .def = "1",
		   .full = "1,32..34,512"},
	[DELAY] = {.name = "delay",
		   .unit = "ns",
		   .help = "time that each callback takes, as a device's might",
		   .kind = TM_PARAM_UINT,
		   .min = 0,
		   .max = TM_NOTIFIER_DELAY_NS_MAX,
		   .def = "0"},
	{.name = NULL},
};

static const char *const counters[] = {
	[START] = "callbacks_start",	     [END] = "callbacks_end",
	[SECONDARY] = "callbacks_secondary", [NON_BLOCKABLE] = "callbacks_non_blockable",
	[RANGE_PAGES] = "range_pages",	     [SECONDARY_PAGES] = "secondary_pages",
	[SECONDARY_FULL] = "secondary_full", NULL,
};

struct state {
	int fd;
	void *pages; /* of all initiators */
};

static int probe(char *why, size_t why_size)
{
	return kmod_probe("notifier", why, why_size);
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	uint64_t notifiers = c->values[COUNT] * (c->values[KIND] == TM_NOTIFIER_BOTH ? 2 : 1);

	if (notifiers * c->values[DELAY] > TM_NOTIFIER_DELAY_NS_MAX) {
		snprintf(why, why_size, "the delays of all notifiers are more than %d ns",
			 TM_NOTIFIER_DELAY_NS_MAX);
		return -ENOTSUP;
	}
	return pages_check(c, PAGES_4K, PAGES_ANON, c->values[PAGES], why, why_size);
}

static int setup(struct tm_thread *t, void **state)
{
	const uint64_t *value = t->cell->values;
	struct tm_notifier_set set = {
		.kind = (uint32_t)value[KIND],
		.count = (uint32_t)value[COUNT],
		.delay_ns = (uint32_t)value[DELAY],
	};
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return tm_fail(t, -ENOMEM, "state");
	*state = s;
	s->fd = kmod_open(t, "notifier");
	if (s->fd < 0)
		return s->fd;
	if (ioctl(s->fd, TM_NOTIFIER_SET, &set))
		return tm_fail(t, -errno, "attaching %" PRIu64 " notifiers", value[COUNT]);
	return pages_set_new(t, &s->pages);
}

static int prepare(struct tm_thread *t, void *state)
{
	struct state *s = state;
	struct pages *p = pages_of(t, s->pages);
	bool unmap = t->cell->values[OP] == OP_MUNMAP;
	int rc = pages_open(t, p, PAGES_4K, PAGES_ANON, t->cell->values[PAGES]);

	if (!rc)
		rc = pages_place(t, p, PAGES_KEEP_TABLES, 1, 0);
	/* The others operate on a mapping that stays. */
	if (!rc && !unmap)
		rc = pages_map(t, p, p->at, p->bytes, false);
	return rc;
}

/* Mapped, writable, and every page there. */
static int fill(struct tm_thread *t, struct pages *p)
{
	uint64_t op = t->cell->values[OP];

	if (op == OP_MUNMAP)
		return pages_map(t, p, p->at, p->bytes, false);
	if (op == OP_MPROTECT && mprotect(p->at, p->bytes, PROT_READ | PROT_WRITE))
		return tm_fail(t, -errno, "mprotect of %zu bytes", p->bytes);
	/* By storing: entries that only a fault would make writable have nothing to flush. */
	for (size_t i = 0; i < p->bytes; i += p->page_bytes)
		*(volatile uint64_t *)(p->at + i) = 1;
	return 0;
}

static inline int operation(uint64_t op, const struct pages *p)
{
	if (op == OP_MUNMAP)
		return munmap(p->at, p->bytes);
	if (op == OP_MPROTECT)
		return mprotect(p->at, p->bytes, PROT_READ);
	return madvise(p->at, p->bytes, MADV_DONTNEED);
}

static int failed(struct tm_thread *t, const struct pages *p)
{
	return tm_fail(t, -errno, "%s of %zu bytes", ops[t->cell->values[OP]], p->bytes);
}

/* Callbacks since the last call. */
static int take_counts(struct tm_thread *t, int fd, struct tm_notifier_counts *c)
{
	if (!ioctl(fd, TM_NOTIFIER_COUNTS, c))
		return 0;
	return tm_fail(t, -errno, "reading the notifiers' counts");
}

static int count(struct tm_thread *t, int fd)
{
	struct tm_notifier_counts c;
	int rc = take_counts(t, fd, &c);

	if (rc)
		return rc;
	tm_count(t, START, c.start);
	tm_count(t, END, c.end);
	tm_count(t, SECONDARY, c.secondary);
	tm_count(t, NON_BLOCKABLE, c.non_blockable);
	tm_count(t, RANGE_PAGES, c.pages);
	tm_count(t, SECONDARY_PAGES, c.secondary_pages);
	tm_count(t, SECONDARY_FULL, c.secondary_full);
	return 0;
}

static int operate(struct tm_thread *t, void *state)
{
	struct state *s = state;
	struct pages *p = pages_of(t, s->pages);
	uint64_t op = t->cell->values[OP];
	struct tm_notifier_counts before;
	int rc;

	while (tm_more(t)) {
		rc = fill(t, p);
		if (!rc)
			rc = take_counts(t, s->fd, &before);
		if (rc)
			return rc;
		pages_publish(t, p->at, p->bytes, p->page_bytes);
		tm_begin(t);
		rc = operation(op, p);
		tm_end(t, (uint32_t)t->cell->values[PAGES]);
		rc = rc ? failed(t, p) : count(t, s->fd);
		if (rc)
			return rc;
	}
	return 0;
}

/* What one notifier was told of the watched page, in this order. */
struct told {
	unsigned int start, secondary, end;
	bool late;	/* the first word came when the page was free already */
	bool misplaced; /* an end without a start, a secondary not between them */
};

static void listen(struct told *told, const struct tm_notifier_event *e, bool ranges)
{
	bool first = !told->start && !told->secondary;

	if (e->what == TM_NOTIFIER_START) {
		told->start++;
	} else if (e->what == TM_NOTIFIER_END) {
		told->misplaced |= told->end >= told->start;
		told->end++;
	} else {
		told->misplaced |= ranges && told->start == told->end;
		told->secondary++;
	}
	if (first && e->flags & TM_NOTIFIER_PAGE_FREED)
		told->late = true;
}

/*
 * Of the watched page each notifier that listens was told as its kind says,
 * before the page was free: of the range once before and once after, of the
 * flush at least once.
 */
static void check_told(const struct tm_thread *t, const struct tm_notifier_event *event,
		       uint32_t events, struct tm_verdict *v)
{
	uint64_t kind = t->cell->values[KIND], notifiers = t->cell->values[COUNT];

	notifiers *= kind == TM_NOTIFIER_BOTH ? 2 : 1;
	for (uint32_t n = 0; n < notifiers; n++) {
		bool range = kind == TM_NOTIFIER_RANGE || (kind == TM_NOTIFIER_BOTH && n % 2 == 0);
		bool secondary =
			kind == TM_NOTIFIER_SECONDARY || (kind == TM_NOTIFIER_BOTH && n % 2);
		struct told told = {0};

		for (uint32_t i = 0; i < events; i++) {
			if (event[i].notifier == n)
				listen(&told, &event[i], range);
		}
		tm_check(v,
			 told.start == range && told.end == range &&
				 (told.secondary > 0) == secondary && !told.misplaced,
			 "notifier %u of kind %s was told of a page %u times before, %u after"
			 " the %s, %u times at its flush",
			 n, kinds[kind], told.start, told.end, ops[t->cell->values[OP]],
			 told.secondary);
		tm_check(v, !told.late, "notifier %u was told of a page when that was free already",
			 n);
	}
}

static void see(struct oracle *o, struct pages *p)
{
	switch (o->t->cell->values[OP]) {
	case OP_MUNMAP:
		oracle_see(o, p->at, ORACLE_FAULT, "after it was unmapped");
		break;
	case OP_MPROTECT:
		oracle_cannot_store(o, p->at, true, "after mprotect");
		break;
	default:
		oracle_see(o, p->at, ORACLE_ZERO, "after MADV_DONTNEED");
	}
}

/*
 * Two oracles: nobody reaches the pages by an old translation, and the
 * notifiers were told in time of one of them, another one each round.
 */
static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct state *s = state;
	struct pages *p = pages_of(t, s->pages);
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};
	struct tm_notifier_event event[TM_NOTIFIER_EVENTS_MAX];
	struct tm_notifier_watch none = {0};

	while (oracle_next(&o, p->bytes)) {
		struct tm_notifier_log log = {
			.events = (uintptr_t)event,
			.capacity = TM_NOTIFIER_EVENTS_MAX,
		};
		struct tm_notifier_watch watch;
		int rc = fill(t, p);

		if (rc)
			return rc;
		oracle_write(&o, p->at);
		oracle_see(&o, p->at, ORACLE_STAMP, "before the operation");
		watch.address = (uintptr_t)(p->at + o.offset[o.rounds % o.picks]);
		if (ioctl(s->fd, TM_NOTIFIER_WATCH, &watch))
			return tm_fail(t, -errno, "watching a page");
		if (operation(t->cell->values[OP], p))
			return failed(t, p);
		if (ioctl(s->fd, TM_NOTIFIER_LOG, &log) || ioctl(s->fd, TM_NOTIFIER_WATCH, &none))
			return tm_fail(t, -errno, "reading what the notifiers were told");
		tm_check(v, !log.lost, "%u callbacks did not fit the log", log.lost);
		check_told(t, event, log.count, v);
		see(&o, p);
	}
	return 0;
}

static void teardown(void *state)
{
	struct state *s = state;

	if (s->fd >= 0)
		close(s->fd);
	if (s->pages)
		pages_set_free(s->pages);
	free(s);
}

const struct tm_workload tm_workload_notifier = {
	.name = "notifier",
	.summary = "unmapping while mmu_notifiers listen",
	.op = "one munmap(), mprotect() or madvise() with --count notifiers",
	.flushes = "tlb_finish_mmu",
	.needs = TM_NEEDS_ROOT | TM_NEEDS_KMOD,
	.gate = TM_GATE_EVERY,
	.params = params,
	.counters = counters,
	.probe = probe,
	.probe_cell = probe_cell,
	.setup = setup,
	.prepare = prepare,
	.operate = operate,
	.verify = verify,
	.teardown = teardown,
};
