// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * writeback: writes the dirty pages of a mapped file to its disk.
 *
 * Timed: one msync(MS_SYNC), fsync() or sync_file_range() (--how) of a shared
 * file mapping, all of whose pages were stored to. Before a page is written,
 * every entry that maps it is made clean and read-only, so that later stores
 * make it dirty again, and flushed for that, each page by itself:
 * folio_clear_dirty_for_io() -> page_mkclean -> ptep_clear_flush().
 *
 * msync and fsync then wait for the disk, which is most of their time;
 * sync_file_range() only starts the writing. Several pages interrupt a
 * responder several times, and then the split into delivery, stolen and return
 * does not hold. It does not measure the faults of later stores, nor what the
 * kernel writes by itself after a while.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <tlbmark/workload.h>

#include "oracle.h"
#include "pages.h"
#include "updates.h"
#include "witness.h"

enum { PAGES, HOW };
enum { HOW_MSYNC, HOW_FSYNC, HOW_START };

static const char *const hows[] = {"msync", "fsync", "sync_file_range", NULL};

static const struct tm_param params[] = {
	[PAGES] = PAGES_PARAM("1,8", "1,8,64,512"),
	[HOW] = PAGES_CHOICE_PARAM("how", "the system call that writes", hows, "msync",
				   "msync,fsync,sync_file_range"),
	{.name = NULL},
};

struct slot {
	struct pages *pages;
	int disk;   /* the same file without the page cache (O_DIRECT) */
	char *read; /* a page that was read from there */
};

struct state {
	void *set; /* of pages */
	unsigned int count;
	struct slot slot[];
};

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	return pages_check(c, PAGES_4K, PAGES_FILE, c->values[PAGES], why, why_size);
}

static int setup(struct tm_thread *t, void **out)
{
	unsigned int n = t->cell->initiators;
	struct state *s = calloc(1, sizeof(*s) + n * sizeof(s->slot[0]));

	if (!s)
		return tm_fail(t, -ENOMEM, "no memory for %u initiators", n);
	s->count = n;
	for (unsigned int i = 0; i < n; i++)
		s->slot[i].disk = -1;
	*out = s;
	return pages_set_new(t, &s->set);
}

/* The content on the disk is what the oracle asks for. */
static int open_disk(struct tm_thread *t, struct slot *s)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", s->pages->fd);
	s->disk = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (s->disk < 0)
		return tm_fail(t, -ENOTSUP,
			       "its file cannot be read past the page cache (O_DIRECT), so what "
			       "is on the disk cannot be told: set TMPDIR to another disk");
	s->read = aligned_alloc(t->page_bytes, t->page_bytes);
	return s->read ? 0 : tm_fail(t, -ENOMEM, "a page to read to");
}

/* Which call it was is decided before the clock runs. */
static inline int write_out(const struct pages *p, uint64_t how)
{
	if (how == HOW_MSYNC)
		return msync(p->at, p->bytes, MS_SYNC);
	if (how == HOW_FSYNC)
		return fsync(p->fd);
	return sync_file_range(p->fd, 0, (off_t)p->bytes, SYNC_FILE_RANGE_WRITE);
}

/* By stores, which fault where the pages were written out before. */
static void make_dirty(const struct pages *p, uint64_t value)
{
	for (size_t i = 0; i < p->bytes; i += p->page_bytes)
		*(volatile uint64_t *)(p->at + i) = value;
}

/* What sync_file_range() only began: a page that is being written would make a store wait. */
static int settle(struct tm_thread *t, const struct pages *p, uint64_t how)
{
	if (how != HOW_START || !fsync(p->fd))
		return 0;
	return tm_fail(t, -errno, "fsync of the file");
}

static int prepare(struct tm_thread *t, void *state)
{
	struct state *all = state;
	struct slot *s = &all->slot[t->index];
	struct pages *p = pages_of(t, all->set);
	int rc = pages_open(t, p, PAGES_4K, PAGES_FILE, t->cell->values[PAGES]);

	s->pages = p;
	if (!rc)
		rc = pages_place(t, p, PAGES_KEEP_TABLES, 1, 0);
	if (!rc)
		rc = pages_map(t, p, p->at, p->bytes, false);
	if (!rc)
		rc = open_disk(t, s);
	if (rc)
		return rc;
	/* Its blocks are found once and for all. */
	make_dirty(p, 1);
	return fsync(p->fd) ? tm_fail(t, -errno, "fsync of the file") : 0;
}

static int operate(struct tm_thread *t, void *state)
{
	const struct pages *p = ((struct state *)state)->slot[t->index].pages;
	uint64_t how = t->cell->values[HOW];
	uint32_t base_pages = (uint32_t)(p->bytes / t->page_bytes);
	int rc;

	while (tm_more(t)) {
		make_dirty(p, t->count);
		pages_publish(t, p->at, p->bytes, p->page_bytes);
		tm_begin(t);
		rc = write_out(p, how);
		tm_end(t, base_pages);
		if (rc)
			return tm_fail(t, -errno, "%s of %zu bytes", hows[how], p->bytes);
		rc = settle(t, p, how);
		if (rc)
			return rc;
	}
	return 0;
}

/* ---- the oracle ---- */

/* One word of the file as it is on the disk. */
static int on_disk(struct tm_thread *t, const struct slot *s, size_t offset, uint64_t *value)
{
	size_t within = offset % t->page_bytes;
	ssize_t n = pread(s->disk, s->read, t->page_bytes, (off_t)(offset - within));

	if (n != (ssize_t)t->page_bytes)
		return tm_fail(t, n < 0 ? -errno : -EIO, "reading the file from its disk");
	*value = *(uint64_t *)(s->read + within);
	return 0;
}

static int finish_writing(struct tm_thread *t, const struct pages *p)
{
	uint64_t how = t->cell->values[HOW];

	if (write_out(p, how))
		return tm_fail(t, -errno, "%s of %zu bytes", hows[how], p->bytes);
	return settle(t, p, how);
}

/*
 * Each CPU in turn stores, through the translation it has, and the pages are
 * written out. Where the entry was made clean without a flush, the next store
 * finds the old one, dirty and writable: the page stays clean, nothing is
 * written, and the disk keeps the old word.
 */
static int check_store(struct oracle *o, const struct slot *s, unsigned int writer)
{
	const struct pages *p = s->pages;
	uint64_t got = 0;
	int rc = 0;

	oracle_renew(o);
	for (size_t i = 0; i < o->picks && !rc; i++)
		rc = witness_store(o->t, writer, (volatile uint64_t *)(p->at + o->offset[i]),
				   oracle_stamp(o, i));
	rc = rc ? rc : finish_writing(o->t, p);
	for (size_t i = 0; i < o->picks && !rc; i++) {
		rc = on_disk(o->t, s, o->offset[i], &got);
		if (!rc)
			tm_check(o->v, got == oracle_stamp(o, i),
				 "page %zu was written out with %#llx, not with what CPU %u "
				 "stored before",
				 o->offset[i] / o->stride, (unsigned long long)got,
				 writer ? tm_responder_cpu(o->t, writer - 1) : o->t->cpu);
	}
	return rc;
}

/* The same with stores all the time: what was stored in the end is on the disk. */
static int check_updates(struct tm_thread *t, const struct slot *s, struct tm_verdict *v)
{
	const struct pages *p = s->pages;
	struct updates u = {0};
	uint64_t got = 0;
	int rc = updates_start(t, &u, p->at, p->bytes, p->page_bytes);

	if (rc)
		return rc;
	for (uint64_t i = 0; i < v->rounds && !rc; i++)
		rc = finish_writing(t, p);
	updates_stop(&u);
	rc = rc ? rc : finish_writing(t, p);
	for (size_t i = 0; i < u.bytes && !rc; i += u.stride) {
		rc = on_disk(t, s, i + UPDATES_OFFSET, &got);
		if (!rc)
			tm_check(v, got == u.passes,
				 "the disk has %llu of %llu updates of page %zu",
				 (unsigned long long)got, (unsigned long long)u.passes,
				 i / u.stride);
	}
	return rc;
}

static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	const struct slot *s = &((struct state *)state)->slot[t->index];
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};
	int rc = 0;

	while (!rc && oracle_next(&o, s->pages->bytes)) {
		unsigned int writer = (unsigned int)(o.rounds % witness_count(t));

		/* Twice: the first leaves a translation that was written through. */
		rc = check_store(&o, s, writer);
		rc = rc ? rc : check_store(&o, s, writer);
		if (!rc)
			oracle_see(&o, s->pages->at, ORACLE_STAMP, "after it was written out");
	}
	rc = rc ? rc : check_updates(t, s, v);
	return rc ? tm_fail(t, rc, "checking what was written out") : 0;
}

static void teardown(void *state)
{
	struct state *all = state;

	for (unsigned int i = 0; i < all->count; i++) {
		if (all->slot[i].disk >= 0)
			close(all->slot[i].disk);
		free(all->slot[i].read);
	}
	if (all->set)
		pages_set_free(all->set);
	free(all);
}

const struct tm_workload tm_workload_writeback = {
	.name = "writeback",
	.summary = "writing the dirty pages of a mapped file",
	.op = "one msync(), fsync() or sync_file_range() of --pages dirty pages",
	.flushes = "page_mkclean -> ptep_clear_flush",
	.gate = TM_GATE_EVERY,
	.switches = true, /* it waits for the disk */
	.params = params,
	.probe_cell = probe_cell,
	.setup = setup,
	.prepare = prepare,
	.operate = operate,
	.verify = verify,
	.teardown = teardown,
};
