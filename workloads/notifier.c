// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * notifier: an operation on memory while mmu_notifiers listen, as on an
 * address space that a device or a virtual machine shares. Needs the module
 * tlbmark_notifier.
 *
 * Timed, in user space: one munmap(), mprotect() or madvise(MADV_DONTNEED) of
 * base pages of private memory, with --count notifiers on the address space. Other
 * operations are there for the oracle (--op mremap, cow, punch_hole, collapse,
 * pageout), each with another path that has to tell.
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
#include <unistd.h>

#include <tlbmark/uapi_notifier.h>
#include <tlbmark/workload.h>

#include "kmod.h"
#include "notified.h"
#include "oracle.h"
#include "pages.h"

enum { OP, KIND, COUNT, PAGES, DELAY };
enum { START, END, SECONDARY, NON_BLOCKABLE, RANGE_PAGES, SECONDARY_PAGES, SECONDARY_FULL };

enum { FILLS = 4 }; /* tries to fill the TLBs */

/* The gather is full at about 10,000 pages, and then flushes more than once. */
#define PAGES_MAX 8192

static const char *const kinds[] = {"empty", "range", "secondary", "both", NULL};

static const struct tm_param params[] = {
	[OP] = PAGES_CHOICE_PARAM("op", "the operation", notified_ops, "munmap",
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
	int tlb_fd;  /* a pair more for verify(), with their TLBs; -1: not yet */
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
	return notified_check(c, (enum notified_op)c->values[OP], c->values[PAGES], why, why_size);
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
	s->tlb_fd = -1;
	s->fd = kmod_open(t, "notifier");
	if (s->fd < 0)
		return s->fd;
	if (ioctl(s->fd, TM_NOTIFIER_SET, &set))
		return tm_fail(t, -errno, "attaching %" PRIu64 " notifiers", value[COUNT]);
	return pages_set_new(t, &s->pages);
}

static enum notified_op op_of(const struct tm_thread *t)
{
	return (enum notified_op)t->cell->values[OP];
}

static int prepare(struct tm_thread *t, void *state)
{
	struct state *s = state;

	return notified_prepare(t, pages_of(t, s->pages), op_of(t), t->cell->values[PAGES]);
}

static int failed(struct tm_thread *t, const struct pages *p)
{
	return tm_fail(t, -errno, "%s of %zu bytes", notified_ops[op_of(t)], p->bytes);
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
	struct tm_notifier_counts before;
	enum notified_op op = op_of(t);
	int rc;

	while (tm_more(t)) {
		rc = notified_fill(t, p, op);
		if (!rc)
			rc = take_counts(t, s->fd, &before);
		if (rc)
			return rc;
		pages_publish(t, notified_at(p), p->bytes, t->page_bytes);
		tm_begin(t);
		rc = notified_do(p, op);
		tm_end(t, (uint32_t)(p->bytes / t->page_bytes));
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
 * before the page was free: of the range before and after, or of the flush.
 * More often than once where the kernel did something of its own to it meanwhile.
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
			 (told.start > 0) == range && (told.end > 0) == range &&
				 (told.secondary > 0) == secondary && !told.misplaced,
			 "notifier %u of kind %s was told of a page %u times before, %u after"
			 " the %s, %u times at its flush",
			 n, kinds[kind], told.start, told.end, notified_ops[op_of(t)],
			 told.secondary);
		tm_check(v, !told.late, "notifier %u was told of a page when that was free already",
			 n);
	}
}

/*
 * What one is told of a page, exactly, is known where the operation is one change of
 * it; a move is followed by an unmapping of the old place. The log holds the page,
 * which reclaim and collapse would meet.
 */
static bool is_told_once(enum notified_op op)
{
	return op != NOTIFIED_COLLAPSE && op != NOTIFIED_PAGEOUT && op != NOTIFIED_MREMAP;
}

/*
 * The TLBs are those of a pair of notifiers that is there for nothing else, so they
 * are looked at whatever --kind and --count. Once nothing is timed any more.
 */
static int open_tlbs(struct tm_thread *t, struct state *s)
{
	struct tm_notifier_set set = {.kind = TM_NOTIFIER_BOTH, .count = 1};

	if (s->tlb_fd >= 0)
		return 0;
	s->tlb_fd = kmod_open(t, "notifier");
	if (s->tlb_fd < 0)
		return s->tlb_fd;
	if (ioctl(s->tlb_fd, TM_NOTIFIER_SET, &set))
		return tm_fail(t, -errno, "attaching notifiers that keep a TLB");
	return 0;
}

/*
 * They remember the pages, as many as they can: none while the kernel changes
 * something of them by itself, and then that is tried again.
 */
static int fill_tlbs(struct tm_thread *t, int fd, const struct pages *p,
		     struct tm_notifier_fill *fill)
{
	size_t pages = p->bytes / t->page_bytes;

	for (int i = 0; i < FILLS; i++) {
		*fill = (struct tm_notifier_fill){
			.address = (uintptr_t)notified_at(p),
			.pages = (uint32_t)(pages < TM_NOTIFIER_TLB_MAX ? pages
									: TM_NOTIFIER_TLB_MAX),
		};
		if (ioctl(fd, TM_NOTIFIER_FILL, fill))
			return tm_fail(t, -errno, "filling a TLB with %u pages", fill->pages);
		if (fill->filled[0] && fill->filled[1])
			break;
	}
	return 0;
}

/* And have forgotten them: a check for each translation that they held. */
static int check_tlbs(struct tm_thread *t, int fd, const struct tm_notifier_fill *fill,
		      struct tm_verdict *v)
{
	static const char *const names[] = {"range", "secondary"};

	for (uint32_t tlb = 0; tlb < TM_NOTIFIER_TLBS; tlb++) {
		struct tm_notifier_stale stale = {.tlb = tlb};

		if (!fill->filled[tlb]) {
			tm_unchecked(v,
				     "the TLB of the %s notifiers took none of %u pages, %d times",
				     names[tlb], fill->pages, FILLS);
			continue;
		}
		if (ioctl(fd, TM_NOTIFIER_STALE, &stale))
			return tm_fail(t, -errno, "looking at a TLB of %s notifiers", names[tlb]);
		for (uint32_t i = 0; i < fill->filled[tlb]; i++)
			tm_check(
				v, i >= stale.stale,
				"after %s the TLB of the %s notifiers still held %u of %u pages, %u"
				" of them only to write to, one at %#llx",
				notified_ops[op_of(t)], names[tlb], stale.stale, fill->filled[tlb],
				stale.permissions, stale.address);
	}
	return 0;
}

/* The responders' TLBs have the pages, and what these hold. */
static void see_before(struct oracle *o, char *at)
{
	enum notified_op op = op_of(o->t);

	if (op == NOTIFIED_PAGEOUT) /* which storing would make it write back */
		return;
	if (op == NOTIFIED_COW) {
		oracle_see(o, at, ORACLE_ZERO, "before it was copied");
		return;
	}
	oracle_write(o, at);
	oracle_see(o, at, ORACLE_STAMP, "before the operation");
}

static void see_after(struct oracle *o, char *at)
{
	switch (op_of(o->t)) {
	case NOTIFIED_MUNMAP:
		oracle_see(o, at, ORACLE_FAULT, "after it was unmapped");
		break;
	case NOTIFIED_MPROTECT:
		oracle_cannot_store(o, at, true, "after mprotect");
		break;
	case NOTIFIED_MREMAP:
		oracle_see(o, at, ORACLE_FAULT, "at the old place after mremap");
		break;
	case NOTIFIED_DONTNEED:
		oracle_see(o, at, ORACLE_ZERO, "after MADV_DONTNEED");
		break;
	case NOTIFIED_PUNCH_HOLE:
		oracle_see(o, at, ORACLE_ZERO, "after the hole was punched");
		break;
	case NOTIFIED_PAGEOUT:
		break;
	default:
		oracle_renew(o);
		oracle_write(o, at);
		oracle_see(o, at, ORACLE_STAMP, "after it was written to elsewhere");
	}
}

/* From here on what the notifiers are told of that page is logged; NULL: no more. */
static int watch(struct tm_thread *t, int fd, const char *page)
{
	struct tm_notifier_watch watch = {.address = (uintptr_t)page};

	if (ioctl(fd, TM_NOTIFIER_WATCH, &watch))
		return tm_fail(t, -errno, "watching a page");
	return 0;
}

static int check_log(struct tm_thread *t, int fd, struct tm_verdict *v)
{
	struct tm_notifier_event event[TM_NOTIFIER_EVENTS_MAX];
	struct tm_notifier_log log = {
		.events = (uintptr_t)event,
		.capacity = TM_NOTIFIER_EVENTS_MAX,
	};

	if (ioctl(fd, TM_NOTIFIER_LOG, &log))
		return tm_fail(t, -errno, "reading what the notifiers were told");
	if (log.lost)
		return tm_fail(t, -ENOBUFS, "%u callbacks did not fit the log", log.lost);
	check_told(t, event, log.count, v);
	return watch(t, fd, NULL);
}

/* One round: the operation, with a look at the notifiers' TLBs and at what they were told. */
static int operate_checked(struct tm_thread *t, const struct state *s, struct pages *p,
			   const char *page, struct tm_verdict *v)
{
	bool told = is_told_once(op_of(t));
	struct tm_notifier_fill fill;
	int rc = fill_tlbs(t, s->tlb_fd, p, &fill);

	if (!rc && told) {
		rc = watch(t, s->fd, page);
		/* Again present, if NUMA balancing took it away: else nobody need be told. */
		(void)*(const volatile char *)page;
	}
	if (!rc && notified_do(p, op_of(t)))
		rc = failed(t, p);
	if (!rc)
		rc = check_tlbs(t, s->tlb_fd, &fill, v);
	return rc || !told ? rc : check_log(t, s->fd, v);
}

/*
 * Three oracles: nobody reaches the pages by an old translation, the TLBs that the
 * notifiers keep hold nothing that is no longer so, and they were told in time of one
 * of the pages, another one each round.
 */
static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct state *s = state;
	struct pages *p = pages_of(t, s->pages);
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};
	int rc = open_tlbs(t, s);

	while (!rc && oracle_next(&o, p->bytes)) {
		char *at = notified_at(p);

		rc = notified_fill(t, p, op_of(t));
		if (rc)
			break;
		see_before(&o, at);
		rc = operate_checked(t, s, p, at + o.offset[o.rounds % o.picks], v);
		if (!rc)
			see_after(&o, at);
	}
	return rc;
}

static void teardown(void *state)
{
	struct state *s = state;

	if (s->tlb_fd >= 0)
		close(s->tlb_fd);
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
