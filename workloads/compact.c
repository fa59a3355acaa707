// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * compact: the kernel moves pages in use together, so that free memory is in
 * one piece.
 *
 * Timed: one write to /proc/sys/vm/compact_memory: all memory of the machine is
 * gone through, whoever has it, from both ends of each zone. Pages found from
 * below move to holes found from above until the two meet (compact_zone() ->
 * migrate_pages()), up to 32 at a time. Each is unmapped with a migration
 * entry in its place (try_to_migrate()); since Linux 6.3 one flush follows for
 * all of them (try_to_unmap_flush() -> arch_tlbbatch_flush()), before, each is
 * flushed by itself (ptep_clear_flush()).
 *
 * So that there is something to do, --pages pages are left over, in small parts,
 * of some blocks as large as a huge page, the rest of which was given back: those
 * of the lower ones should move to the holes of the upper. Which of them do is the
 * kernel's choice, and it also moves what others have; how many of ours did is
 * told by /proc/self/pagemap and counted (moved). The time is mostly that of
 * looking through the memory, and grows with that: it says what a compaction
 * costs here, and not what moving a page does. migrate does that.
 *
 * The call waits for what each CPU still has in hand (lru_add_drain_all()), and
 * what else it moves is flushed as well: there are interrupts also where none
 * of our pages moves.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <tlbmark/workload.h>

#include "oracle.h"
#include "pages.h"
#include "updates.h"

#define COMPACT "/proc/sys/vm/compact_memory"
#define CPU_LISTS "/proc/sys/vm/percpu_pagelist_high_fraction"
#define LOCKED_TOO "/proc/sys/vm/compact_unevictable_allowed"

enum { PAGES };
enum { MOVED };
enum {
	BLOCKS_MIN = 4,
	BLOCK_MOST = 2, /* one in so many pages of a block stays */
	TRIES = 4,	/* before it is believed that nothing moves here */
	CANDIDATES = 4, /* of so many pages the oracle takes the one most likely to move */
};

static const struct tm_param params[] = {
	[PAGES] = {.name = "pages",
		   .unit = "pages",
		   .help = "pages in use in blocks that are full of holes",
		   .kind = TM_PARAM_UINT,
		   .min = BLOCKS_MIN,
		   .max = 1 << 20,
		   .def = "128",
		   .full = "32,128,512"},
	{.name = NULL},
};

static const char *const counters[] = {[MOVED] = "moved", NULL};

struct state {
	void *set; /* of pages: where the blocks are made */
	struct pages *pages;
	char *kept; /* what is left of the blocks, without gaps between */
	size_t kept_bytes, kept_pages;
	uint64_t *before, *after; /* [kept_pages], of /proc/self/pagemap */
	int pagemap, memory, ask; /* files */
};

static int probe(char *why, size_t why_size)
{
	if (access(COMPACT, W_OK))
		snprintf(why, why_size, COMPACT ": %s: %s", strerror(errno),
			 errno == ENOENT ? "this kernel has no compaction (CONFIG_COMPACTION)"
					 : "run as root");
	else if (access("/proc/self/pagemap", R_OK))
		snprintf(why, why_size,
			 "no /proc/self/pagemap (CONFIG_PROC_PAGE_MONITOR), which tells whether a "
			 "page moved");
	else
		return 0;
	return -ENOTSUP;
}

/* Of 4 KiB pages so many that none has to keep more than it may. */
static uint64_t blocks_of(const struct tm_cell_args *c)
{
	uint64_t most = pages_kind_bytes(PAGES_THP) / pages_kind_bytes(PAGES_4K) / BLOCK_MOST;
	uint64_t blocks = most ? (c->values[PAGES] + most - 1) / most : 0;

	return blocks < BLOCKS_MIN ? BLOCKS_MIN : blocks;
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	if (c->initiators > 1) {
		snprintf(why, why_size, "each compacts everybody's memory: one initiator");
		return -ENOTSUP;
	}
	if (pages_check_advice(MADV_FREE, "MADV_FREE (Linux 4.5)", why, why_size))
		return -ENOTSUP;
	/* While new ones are made the old are still there. */
	return pages_check(c, PAGES_THP, PAGES_ANON, 2 * blocks_of(c), why, why_size);
}

/*
 * What a CPU keeps for itself of the pages that are given back is no hole for
 * the kernel, and on a large machine that is all of them: as little as can be.
 * And what is locked stays where it is, see prepare().
 */
static int knobs(const struct tm_cell_args *c, struct tm_sysstate *system)
{
	(void)c;
	if (!access(CPU_LISTS, W_OK))
		tm_knob(system, CPU_LISTS, "1000000");
	return tm_knob(system, LOCKED_TOO, "0");
}

static int setup(struct tm_thread *t, void **out)
{
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return tm_fail(t, -ENOMEM, "no memory for the state");
	*out = s;
	s->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	s->memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	s->ask = open(COMPACT, O_WRONLY | O_CLOEXEC);
	if (s->pagemap < 0 || s->memory < 0 || s->ask < 0)
		return tm_fail(t, -errno, "opening " COMPACT ", pagemap and mem of /proc/self");
	return pages_set_new(t, &s->set);
}

/* ---- blocks full of holes ---- */

static int failed(struct tm_thread *t, const char *what)
{
	return tm_fail(t, -errno, "%s of a block", what);
}

/*
 * A huge page is one block; MADV_FREE of one of its parts makes base pages of it
 * (of a part that goes, since the kernel may drop it). What stays moves, in
 * address space alone, to where that of all blocks is side by side.
 */
static int hollow(struct tm_thread *t, char *block, size_t bytes, char *to, size_t stay)
{
	/* Of those that hold zeros the split would make the one page of zeros (Linux 6.12). */
	for (size_t i = 0; i < stay; i += t->page_bytes)
		*(volatile uint64_t *)(block + i) = UINT64_MAX;
	if (madvise(block + bytes - t->page_bytes, t->page_bytes, MADV_FREE))
		return failed(t, "MADV_FREE");
	if (mremap(block, stay, stay, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED)
		return failed(t, "mremap");
	if (madvise(block + stay, bytes - stay, MADV_DONTNEED))
		return failed(t, "MADV_DONTNEED");
	return 0;
}

static int fill(struct tm_thread *t, struct state *s)
{
	struct pages *p = s->pages;
	size_t blocks = p->bytes / p->page_bytes, done = 0;
	int rc = pages_map(t, p, p->at, p->bytes, true);

	for (size_t i = 0; i < blocks && !rc; i++) {
		size_t stay = s->kept_pages / blocks + (i < s->kept_pages % blocks);

		rc = hollow(t, p->at + i * p->page_bytes, p->page_bytes,
			    s->kept + done * t->page_bytes, stay * t->page_bytes);
		done += stay;
	}
	/* Nor are they to become huge pages again. */
	if (!rc && madvise(s->kept, s->kept_bytes, MADV_NOHUGEPAGE))
		rc = failed(t, "MADV_NOHUGEPAGE");
	return rc;
}

/* ---- who moved ---- */

/* Documentation/admin-guide/mm/pagemap.rst */
#define PRESENT (UINT64_C(1) << 63)
#define FRAME ((UINT64_C(1) << 55) - 1)

static int read_frames(struct tm_thread *t, const struct state *s, uint64_t *entries)
{
	size_t bytes = s->kept_pages * sizeof(*entries);
	off_t at = (off_t)((uintptr_t)s->kept / t->page_bytes * sizeof(*entries));

	if (pread(s->pagemap, entries, bytes, at) == (ssize_t)bytes)
		return 0;
	return tm_fail(t, -EIO, "reading /proc/self/pagemap");
}

static bool has_moved(const struct state *s, size_t page)
{
	uint64_t before = s->before[page], after = s->after[page];

	return before & after & PRESENT && (before ^ after) & FRAME;
}

static size_t count_moved(const struct state *s)
{
	size_t moved = 0;

	for (size_t i = 0; i < s->kept_pages; i++)
		moved += has_moved(s, i);
	return moved;
}

static int compact(struct tm_thread *t, const struct state *s)
{
	if (pwrite(s->ask, "1", 1, 0) == 1)
		return 0;
	return tm_fail(t, -errno, "writing to " COMPACT);
}

/* The first compaction has others' pages to move, and takes the longest. */
static int try_it(struct tm_thread *t, struct state *s)
{
	size_t moved = 0;

	for (int i = 0; i < TRIES && !moved; i++) {
		int rc = fill(t, s);

		rc = rc ? rc : read_frames(t, s, s->before);
		rc = rc ? rc : compact(t, s);
		rc = rc ? rc : read_frames(t, s, s->after);
		if (rc)
			return rc;
		moved = count_moved(s);
	}
	if (moved)
		return 0;
	return tm_fail(t, -ENOTSUP,
		       "compaction moved none of %zu pages, %d times: more --pages may help",
		       s->kept_pages, TRIES);
}

static int prepare(struct tm_thread *t, void *state)
{
	struct state *s = state;
	struct pages *p = pages_of(t, s->set);
	int rc = pages_open(t, p, PAGES_THP, PAGES_ANON, blocks_of(t->cell));

	if (rc)
		return rc;
	/*
	 * All that the process has until here, stacks and what its threads tell each
	 * other by, is not to move: without the flush they would wait for ever.
	 */
	if (mlockall(MCL_CURRENT | MCL_ONFAULT))
		return tm_fail(t, -errno, "locking what is not to move");
	s->pages = p;
	s->kept_pages = t->cell->values[PAGES];
	s->kept_bytes = s->kept_pages * t->page_bytes;
	s->before = calloc(s->kept_pages, sizeof(*s->before));
	s->after = calloc(s->kept_pages, sizeof(*s->after));
	if (!s->before || !s->after)
		return tm_fail(t, -ENOMEM, "no memory for a list of %zu pages", s->kept_pages);
	rc = pages_place(t, p, PAGES_ALIGNED, 1, s->kept_bytes);
	s->kept = p->at + p->bytes;
	rc = rc ? rc : pages_map(t, p, p->at, p->bytes, false);
	rc = rc ? rc : pages_must_be_huge(t, p, p->at, p->bytes);
	return rc ? rc : try_it(t, s);
}

static int operate(struct tm_thread *t, void *state)
{
	struct state *s = state;

	while (tm_more(t)) {
		int rc = fill(t, s);

		rc = rc ? rc : read_frames(t, s, s->before);
		if (rc)
			return rc;
		pages_publish(t, s->kept, s->kept_bytes, t->page_bytes);
		tm_begin(t);
		rc = compact(t, s);
		tm_end(t, (uint32_t)s->kept_pages);
		rc = rc ? rc : read_frames(t, s, s->after);
		if (rc)
			return rc;
		tm_count(t, MOVED, count_moved(s));
	}
	return 0;
}

/* ---- the oracle ---- */

/* What lies lowest moves first, and what lies highest not at all. */
static void pick_low(struct oracle *o, const struct state *s)
{
	for (size_t i = 0; i < o->picks; i++) {
		size_t low = tm_random(o->t) % s->kept_pages;

		for (int k = 1; k < CANDIDATES; k++) {
			size_t other = tm_random(o->t) % s->kept_pages;

			if ((s->before[other] & FRAME) < (s->before[low] & FRAME))
				low = other;
		}
		o->offset[i] = low * o->stride;
	}
}

/* Those that did not move prove nothing. */
static void keep_moved(struct oracle *o, const struct state *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < o->picks; i++) {
		if (has_moved(s, o->offset[i] / o->stride))
			o->offset[kept++] = o->offset[i];
	}
	o->picks = kept;
}

/* Not by any CPU's translation: the kernel looks the pages up. */
static int rewrite(struct tm_thread *t, const struct oracle *o, const struct state *s)
{
	for (size_t i = 0; i < o->picks; i++) {
		uint64_t stamp = oracle_stamp(o, i);
		off_t at = (off_t)(uintptr_t)(s->kept + o->offset[i]);

		if (pwrite(s->memory, &stamp, sizeof(stamp), at) != (ssize_t)sizeof(stamp))
			return tm_fail(t, errno ? -errno : -EIO, "writing to /proc/self/mem");
	}
	return 0;
}

/* All CPUs have the pages in their TLBs; that they can be read is no check yet. */
static void see_before(struct oracle *o, const struct state *s)
{
	struct tm_verdict *v = o->v, before = {0};

	oracle_write(o, s->kept);
	o->v = &before;
	oracle_see(o, s->kept, ORACLE_STAMP, "before the compaction");
	o->v = v;
	if (before.violations)
		tm_check(v, false, "%s", before.first);
}

static int see_after(struct oracle *o, const struct state *s)
{
	int rc;

	keep_moved(o, s);
	if (!o->picks)
		return 0;
	oracle_renew(o);
	rc = rewrite(o->t, o, s);
	if (!rc)
		oracle_see(o, s->kept, ORACLE_STAMP, "after the compaction");
	return rc;
}

static int check_round(struct oracle *o, struct state *s, struct updates *u)
{
	struct tm_thread *t = o->t;
	size_t every = 1 + (s->kept_pages - 1) / UPDATES_PAGES;
	int rc = fill(t, s);

	rc = rc ? rc : read_frames(t, s, s->before);
	if (rc)
		return rc;
	pick_low(o, s);
	see_before(o, s);
	rc = updates_start(t, u, s->kept, s->kept_bytes, every * t->page_bytes);
	if (rc)
		return rc;
	rc = compact(t, s);
	rc = rc ? rc : read_frames(t, s, s->after);
	rc = rc ? rc : see_after(o, s);
	/* Only now: a thread that ends may flush. */
	updates_stop(u);
	for (size_t i = 0; i < s->kept_pages && !rc; i += every) {
		if (has_moved(s, i))
			updates_check_page(u, i / every, o->v);
	}
	return rc;
}

/*
 * All CPUs read some pages and a thread on the others never stops to write to
 * many, and then memory is compacted. Pages that moved get new content, which a
 * CPU that still reads their old place does not see; and no update of a page
 * that moved may have gone there. Pages that did not move are not counted.
 */
static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct state *s = state;
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};
	int rc = 0;

	while (!rc && oracle_next(&o, s->kept_bytes)) {
		struct updates u = {.lock = true};

		rc = check_round(&o, s, &u);
	}
	return rc;
}

static void teardown(void *state)
{
	struct state *s = state;

	if (s->pagemap >= 0)
		close(s->pagemap);
	if (s->memory >= 0)
		close(s->memory);
	if (s->ask >= 0)
		close(s->ask);
	if (s->set)
		pages_set_free(s->set);
	free(s->before);
	free(s->after);
	free(s);
}

const struct tm_workload tm_workload_compact = {
	.name = "compact",
	.summary = "compaction of memory that is full of holes",
	.op = "one compaction of all memory, in which up to --pages pages in use move",
	.flushes = "try_to_unmap_flush",
	.needs = TM_NEEDS_ROOT | TM_NEEDS_THP,
	.gate = TM_GATE_SOME,
	.no_control = true, /* what others have moves as well, and interrupts them */
	.knobs_disturb = true,
	.switches = true, /* it waits for other CPUs to put their pages on the lists */
	.params = params,
	.counters = counters,
	.probe = probe,
	.probe_cell = probe_cell,
	.knobs = knobs,
	.setup = setup,
	.prepare = prepare,
	.operate = operate,
	.verify = verify,
	.teardown = teardown,
};
