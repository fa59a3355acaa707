// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * storm: all CPUs shoot at each other in one mm, and look whether they hit.
 *
 * Every initiator owns a few slots of pages. It kills the pages of one after the
 * other, by madvise(MADV_DONTNEED), now and then by mmap(MAP_FIXED), or takes
 * the right to store away by mprotect(), and fills them again some operations
 * later. In between it reads from the slots of the others, which keeps their
 * translations in this CPU's TLB, and judges what it reads.
 *
 * Pages are stamped with the slot and an epoch. The owner publishes after each
 * operation (release) what may be seen from there on; a reader takes that first
 * (acquire), then the word, then what is published once more. A word older than
 * the epoch that was published before it was read, of another slot, or of
 * nobody, came by a translation that should be gone: the page was freed, and
 * given to another slot or to somebody else. A store that goes through while a
 * slot is published as read-only was made by one.
 *
 * Timed: the system call alone. It flushes in tlb_finish_mmu(); filling a page
 * that was read meanwhile, which is then the zero page, flushes as well
 * (wp_page_copy -> ptep_clear_flush), untimed.
 *
 * What it cannot see: a stale translation that nobody used before it was
 * evicted, or of a page that was not given to anybody since and was zeroed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <tlbmark/arch.h>
#include <tlbmark/workload.h>

#include "pages.h"

enum {
	SLOTS = 8, /* an initiator's */
	SLOT_PAGES = 64,
	REFILL_AFTER = SLOTS / 2, /* operations that a slot stays dead */
	ZEROS = 4,		  /* times it is read and struck again before it is filled */
	LOOKS = 2,		  /* a turn of the loop */
	/* One operation in so many, powers of two: */
	UNREAD = 8,   /* slots are filled without being read before */
	RARE = 256,   /* is none of madvise */
	LARGE = 256,  /* has more pages than one */
	POKE = 8,     /* looks at a read-only slot are stores, which fault */
	SLEEP = 2048, /* is followed by a nap: an idle CPU's TLB is lazy */
	SLEEP_NS = 50000,
	/* Times are cut into windows of so many ticks (some ms); one in so many is calm. */
	WINDOW_BITS = 23,
	CALM = 32,
};

/* What a reader may see. The word is epoch << 16 | pages << 4 | phase. */
enum phase {
	LIVE,	  /* this epoch's stamps */
	READONLY, /* the same, and no store goes through */
	LIFTED,	  /* the same, stores may go through by now */
	STRUCK,	  /* the same, or what comes after: the operation has begun */
	DEAD,	  /* zero, or stamps of this epoch or a later one */
};

enum how { DONTNEED, MAP_OVER, PROTECT };
static const char *const how_names[] = {"MADV_DONTNEED", "mmap(MAP_FIXED)", "mprotect(PROT_READ)"};

struct slot {
	_Alignas(64) _Atomic uint64_t published;
	_Atomic uint64_t end_ticks; /* when the last operation on it had returned */
	_Atomic uint32_t how;
	char *at;
	uint64_t id;
};

struct owner {
	_Alignas(64) struct slot slot[SLOTS];
	unsigned int next;
	uint64_t looks, pokes;
};

struct state {
	unsigned int owners;
	size_t page_bytes, bytes;
	char *area;
	_Atomic uint64_t violations;
	char first[sizeof(((struct tm_verdict *)0)->first)];
	struct owner owner[];
};

enum { COUNT_LOOKS, COUNT_STORES };
static const char *const counters[] = {"looks", "stores_tried", NULL};

static uint64_t pack(uint64_t epoch, uint64_t pages, enum phase phase)
{
	return epoch << 16 | pages << 4 | phase;
}

static uint64_t epoch_of(uint64_t word)
{
	return word >> 16;
}

static uint64_t pages_in(uint64_t word)
{
	return word >> 4 & 0xfff;
}

static enum phase phase_of(uint64_t word)
{
	return (enum phase)(word & 15);
}

/* Never zero: ids begin with 1. */
static uint64_t stamp(const struct slot *s, uint64_t epoch)
{
	return s->id << 48 | (epoch & ((UINT64_C(1) << 48) - 1));
}

static _Atomic uint64_t *word_at(const struct state *st, const struct slot *s, uint64_t page)
{
	return (_Atomic uint64_t *)(void *)(s->at + page * st->page_bytes);
}

static void publish(struct slot *s, uint64_t word)
{
	atomic_store_explicit(&s->published, word, memory_order_release);
}

/* ---- what is seen ---- */

static void violation(struct tm_thread *t, struct state *st, const struct slot *s,
		      uint64_t published, uint64_t page, uint64_t seen, bool stored)
{
	uint64_t ticks = tm_ticks() - atomic_load(&s->end_ticks);

	if (atomic_fetch_add(&st->violations, 1))
		return;
	tm_returned(atomic_load(&s->end_ticks));
	tm_stale_seen();
	if (stored)
		snprintf(st->first, sizeof(st->first),
			 "CPU %u stored to %p, %" PRIu64 " ticks after %s of %" PRIu64
			 " pages had returned: no fault",
			 t->cpu, (void *)word_at(st, s, page), ticks,
			 how_names[atomic_load(&s->how)], pages_in(published));
	else if (!seen && phase_of(published) != DEAD && phase_of(published) != STRUCK)
		snprintf(st->first, sizeof(st->first),
			 "CPU %u read 0 at %p (page %" PRIu64 " of %" PRIu64 "), not %#" PRIx64
			 ": the page of zeros, which was taken away or copied",
			 t->cpu, (void *)word_at(st, s, page), page, pages_in(published),
			 stamp(s, epoch_of(published)));
	else
		snprintf(st->first, sizeof(st->first),
			 "CPU %u read %#" PRIx64 " at %p (page %" PRIu64 " of %" PRIu64
			 "), not %#" PRIx64 "%s, %" PRIu64 " ticks after %s had returned",
			 t->cpu, seen, (void *)word_at(st, s, page), page, pages_in(published),
			 stamp(s, epoch_of(published)),
			 phase_of(published) == DEAD ? ", later or zero" : "", ticks,
			 how_names[atomic_load(&s->how)]);
}

static bool may_be(const struct slot *s, uint64_t before, uint64_t after, uint64_t seen)
{
	if (before == after && phase_of(before) != DEAD && phase_of(before) != STRUCK)
		return seen == stamp(s, epoch_of(before));
	return !seen || (seen >= stamp(s, epoch_of(before)) && seen <= stamp(s, epoch_of(after)));
}

/* A store that must fault; to a word of this initiator's own. */
static void try_store(struct tm_thread *t, struct state *st, const struct slot *s, uint64_t page,
		      uint64_t before)
{
	const size_t words = st->page_bytes / sizeof(uint64_t) - 8;
	_Atomic uint64_t *own = word_at(st, s, page) + 8 + t->index % words;

	st->owner[t->index].pokes++;
	if (tm_self_poke((void *)own, 1) == -EFAULT)
		return;
	/* The right was given back after this was published as lifted. */
	if (atomic_load_explicit(&s->published, memory_order_acquire) == before)
		violation(t, st, s, before, page, 1, true);
}

static void look(struct tm_thread *t, struct state *st)
{
	struct owner *me = &st->owner[t->index], *other;
	uint64_t random = tm_random(t), before, after, page, pages, seen;
	const struct slot *s;

	/* The high bits: the low ones of such a generator are not as random. */
	other = &st->owner[(t->index + 1 + (random >> 48) % (st->owners - 1)) % st->owners];
	s = &other->slot[(random >> 40) % SLOTS];
	before = atomic_load_explicit(&s->published, memory_order_acquire);
	pages = pages_in(before);
	if (!pages)
		return; /* never filled yet */
	/* The ends of a range are where a flush goes wrong. */
	page = pages - 1;
	if (random >> 32 & 1)
		page = (random >> 33 & 1) ? 0 : (random >> 20) % pages;
	if (phase_of(before) == READONLY && !((random >> 36) % POKE)) {
		try_store(t, st, s, page, before);
		return;
	}
	seen = atomic_load_explicit(word_at(st, s, page), memory_order_acquire);
	after = atomic_load_explicit(&s->published, memory_order_acquire);
	me->looks++;
	if (!may_be(s, before, after, seen))
		violation(t, st, s, before, page, seen, false);
}

/* ---- what is done ---- */

static uint64_t draw_pages(struct tm_thread *t)
{
	static const uint8_t large[] = {2, 7, 32, 33, 34, SLOT_PAGES};
	uint64_t random = tm_random(t) >> 20;

	return random % LARGE ? 1 : large[random / LARGE % sizeof(large)];
}

/* What is dead is dead for its owner, too; from then on the page of zeros is mapped there. */
static void read_dead(struct tm_thread *t, struct state *st, struct slot *s, uint64_t published)
{
	for (uint64_t i = 0; i < pages_in(published); i++) {
		uint64_t seen = atomic_load_explicit(word_at(st, s, i), memory_order_relaxed);

		st->owner[t->index].looks++;
		if (seen)
			violation(t, st, s, published, i, seen, false);
	}
}

/* Pages that were read before they are written to are copied on write, which flushes. */
static void fill(struct tm_thread *t, struct state *st, struct slot *s, bool read)
{
	uint64_t published = atomic_load_explicit(&s->published, memory_order_relaxed);
	uint64_t epoch = epoch_of(published), pages = pages_in(published);

	if (phase_of(published) != DEAD)
		return;
	if (read)
		read_dead(t, st, s, published);
	for (uint64_t i = 0; i < pages; i++)
		atomic_store_explicit(word_at(st, s, i), stamp(s, epoch), memory_order_relaxed);
	publish(s, pack(epoch, pages, LIVE));
}

static int strike(struct tm_thread *t, enum how how, struct slot *s, size_t bytes)
{
	int rc;

	tm_begin(t);
	if (how == DONTNEED)
		rc = madvise(s->at, bytes, MADV_DONTNEED);
	else if (how == MAP_OVER)
		rc = mmap(s->at, bytes, PROT_READ | PROT_WRITE,
			  MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
	else
		rc = mprotect(s->at, bytes, PROT_READ);
	tm_end(t, (uint32_t)(bytes / t->page_bytes));
	if (rc)
		return tm_fail(t, -errno, "%s of %zu bytes", how_names[how], bytes);
	atomic_store_explicit(&s->end_ticks, tm_ticks(), memory_order_relaxed);
	atomic_store_explicit(&s->how, how, memory_order_relaxed);
	return 0;
}

/*
 * Takes the page of zeros away, from whoever has looked at it: one that still
 * has it will not see what is filled in next.
 */
static int strike_zeros(struct tm_thread *t, struct state *st, struct slot *s)
{
	uint64_t published = atomic_load_explicit(&s->published, memory_order_relaxed);
	int rc = 0;

	for (int i = 0; i < ZEROS && !rc && phase_of(published) == DEAD && tm_more(t); i++) {
		read_dead(t, st, s, published);
		rc = strike(t, DONTNEED, s, pages_in(published) * st->page_bytes);
	}
	return rc;
}

static int operate_on(struct tm_thread *t, struct state *st, struct slot *s)
{
	uint64_t published = atomic_load_explicit(&s->published, memory_order_relaxed);
	uint64_t epoch = epoch_of(published), pages = pages_in(published), next;
	uint64_t random = tm_random(t) >> 24;
	enum how how = random % RARE ? DONTNEED : random / RARE % 2 ? MAP_OVER : PROTECT;
	int rc;

	if (phase_of(published) == READONLY) {
		/* Before the right is given back: from here on a store is none of ours. */
		publish(s, pack(epoch, pages, LIFTED));
		if (mprotect(s->at, SLOT_PAGES * st->page_bytes, PROT_READ | PROT_WRITE))
			return tm_fail(t, -errno, "giving the right to store back");
		how = DONTNEED;
	}
	publish(s, pack(epoch, pages, STRUCK));
	rc = strike(t, how, s, pages * st->page_bytes);
	if (rc)
		return rc;
	if (how == PROTECT) {
		publish(s, pack(epoch, pages, READONLY));
		return 0;
	}
	/*
	 * All pages of the next epoch that are not among those of this one are
	 * dead already, or never were.
	 */
	next = draw_pages(t);
	publish(s, pack(epoch + 1, next, DEAD));
	return 0;
}

/*
 * Whose turn it is to strike; everybody's but in a calm. Where several CPUs flush
 * one mm at once, each that is interrupted finds newer flushes behind the one it was
 * called for, and drops its whole TLB (flush_tlb_func()), and with it what a
 * missing flush has left. So now and then, at the same time everywhere, one strikes
 * and all others look.
 */
static bool strikes(const struct tm_thread *t, const struct state *st, bool *calm)
{
	uint64_t window = tm_ticks() >> WINDOW_BITS;

	*calm = !(window % CALM);
	return !*calm || window / CALM % st->owners == t->index;
}

static int turn(struct tm_thread *t, struct state *st, struct owner *me)
{
	struct slot *again = &me->slot[(me->next + REFILL_AFTER) % SLOTS];
	bool calm;
	int rc;

	if (!strikes(t, st, &calm))
		return 0;
	rc = operate_on(t, st, &me->slot[me->next]);
	if (!rc && !calm)
		rc = strike_zeros(t, st, again);
	fill(t, st, again, !calm && (tm_random(t) >> 34) % UNREAD);
	me->next = (me->next + 1) % SLOTS;
	return rc;
}

static int operate(struct tm_thread *t, void *state)
{
	const struct timespec nap = {.tv_nsec = SLEEP_NS};
	struct state *st = state;
	struct owner *me = &st->owner[t->index];
	uint64_t looks = me->looks, pokes = me->pokes;
	int rc = 0;

	while (!rc && tm_more(t)) {
		rc = turn(t, st, me);
		for (int i = 0; i < LOOKS && st->owners > 1; i++)
			look(t, st);
		if (!((tm_random(t) >> 30) % SLEEP))
			nanosleep(&nap, NULL);
	}
	tm_count(t, COUNT_LOOKS, me->looks - looks);
	tm_count(t, COUNT_STORES, me->pokes - pokes);
	return rc;
}

/* ---- setting up ---- */

static int probe(char *why, size_t why_size)
{
	return pages_check_advice(MADV_DONTNEED, "MADV_DONTNEED", why, why_size);
}

static int setup(struct tm_thread *t, void **state)
{
	unsigned int owners = t->cell->initiators;
	size_t slot_bytes = SLOT_PAGES * t->page_bytes;
	struct state *st =
		aligned_alloc(64, (sizeof(*st) + owners * sizeof(st->owner[0]) + 63) / 64 * 64);

	if (!st)
		return tm_fail(t, -ENOMEM, "state");
	memset(st, 0, sizeof(*st) + owners * sizeof(st->owner[0]));
	*state = st;
	st->owners = owners;
	st->page_bytes = t->page_bytes;
	st->bytes = owners * SLOTS * slot_bytes;
	st->area = mmap(NULL, st->bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (st->area == MAP_FAILED) {
		st->area = NULL;
		return tm_fail(t, -errno, "%zu bytes", st->bytes);
	}
	/* A huge page would be split by each operation; EINVAL: there are none. */
	(void)madvise(st->area, st->bytes, MADV_NOHUGEPAGE);
	for (unsigned int i = 0; i < owners * SLOTS; i++) {
		struct slot *s = &st->owner[i / SLOTS].slot[i % SLOTS];

		s->id = i % 0xfffe + 1;
		s->at = st->area + i * slot_bytes;
		publish(s, pack(1, 1, DEAD));
		fill(t, st, s, false);
	}
	return 0;
}

static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	const struct state *st = state;
	uint64_t violations = atomic_load(&st->violations), looks = 0;

	(void)t;
	for (unsigned int i = 0; i < st->owners; i++)
		looks += st->owner[i].looks + st->owner[i].pokes;
	tm_checked(v, looks - violations);
	for (uint64_t i = 0; i < violations; i++)
		tm_check(v, false, "%s", st->first);
	return 0;
}

static void teardown(void *state)
{
	struct state *st = state;

	if (st && st->area)
		munmap(st->area, st->bytes);
	free(st);
}

const struct tm_workload tm_workload_storm = {
	.name = "storm",
	.summary = "all CPUs shooting at each other, and looking for stale translations",
	.op = "one madvise(MADV_DONTNEED), mmap(MAP_FIXED) or mprotect() of a few pages, on every CPU",
	.flushes = "tlb_finish_mmu",
	.gate = TM_GATE_EVERY,
	.no_control = true,
	.all_initiate = true,
	.self_checking = true,
	.counters = counters,
	.probe = probe,
	.setup = setup,
	.operate = operate,
	.verify = verify,
	.teardown = teardown,
};
