// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * clear_refs: makes the process forget which pages were written to, or used.
 *
 * Timed: one write() of 4 (--clear soft-dirty) or 1 (--clear referenced) to
 * /proc/self/clear_refs. The kernel walks the whole address space: --pages is
 * what this workload adds to it, and its own memory is in every figure. For 4
 * it write-protects all of it, huge pages in pmdp_invalidate() with a flush
 * each, and ends with flush_tlb_mm(): the whole TLB, whatever --pages is. For
 * 1 it flushes nothing (on x86): a CPU goes on using a page without noting it,
 * so no responder may be interrupted.
 *
 * After a 4 every CPU's next store to any page faults. So a responder that notes
 * its interruption is held up a second time, mostly after the operation but
 * sometimes inside, where it waits for mmap_lock; the split into delivery,
 * stolen and return need not hold here.
 *
 * It does not measure those faults. Shared memory is left out, because reclaim
 * forgets its bits, and hugetlb pages, because the walk does.
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
#include "writes.h"

#define CLEAR_REFS "/proc/self/clear_refs"
#define PAGEMAP "/proc/self/pagemap"

/* Documentation/admin-guide/mm/pagemap.rst */
#define SOFT_DIRTY (UINT64_C(1) << 55)

enum { PAGES, KIND, CLEAR };
enum { CLEAR_SOFT_DIRTY, CLEAR_REFERENCED };

static const char *const clears[] = {"soft-dirty", "referenced", NULL};

static const struct tm_param params[] = {
	[PAGES] = PAGES_PARAM("1,512", "1,8,512,4096,262144"),
	[KIND] = PAGES_CHOICE_PARAM("kind", "base pages or transparent huge pages",
				    pages_small_kinds, "4k", "4k,thp"),
	[CLEAR] = PAGES_CHOICE_PARAM("clear", "which bits are cleared", clears, "soft-dirty",
				     "soft-dirty,referenced"),
	{.name = NULL},
};

static enum pages_kind kind_of(const struct tm_cell_args *c)
{
	return (enum pages_kind)c->values[KIND];
}

static enum tm_gate gate_of(const struct tm_cell_args *c)
{
	return c->values[CLEAR] == CLEAR_SOFT_DIRTY ? TM_GATE_EVERY : TM_GATE_NONE;
}

/* 0, or -errno with the file's name in why. */
static int open_file(const char *path, int flags, char *why, size_t why_size)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	fd = -errno;
	snprintf(why, why_size, "%s: %s%s", path, strerror(-fd),
		 fd == -ENOENT ? " (CONFIG_PROC_FS, CONFIG_PROC_PAGE_MONITOR)" : "");
	return fd;
}

/* The bit of the page at `at`: 1, 0 or -errno. */
static int soft_dirty(int pagemap, const char *at, size_t page_bytes)
{
	uint64_t entry;
	off_t where = (off_t)((uintptr_t)at / page_bytes * sizeof(entry));

	if (pread(pagemap, &entry, sizeof(entry), where) != (ssize_t)sizeof(entry))
		return errno ? -errno : -EIO;
	return !!(entry & SOFT_DIRTY);
}

static int probe(char *why, size_t why_size)
{
	int fd = open_file(CLEAR_REFS, O_WRONLY, why, why_size);

	if (fd < 0)
		return -ENOTSUP;
	close(fd);
	fd = open_file(PAGEMAP, O_RDONLY, why, why_size);
	if (fd < 0)
		return -ENOTSUP;
	close(fd);
	return 0;
}

/* A page that was just written to has the bit, if there is one. */
static int probe_soft_dirty(char *why, size_t why_size)
{
	size_t bytes = pages_kind_bytes(PAGES_4K);
	int fd = open_file(PAGEMAP, O_RDONLY, why, why_size), dirty;
	char *page;

	if (fd < 0)
		return -ENOTSUP;
	page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED) {
		dirty = -errno;
	} else {
		*(volatile char *)page = 1;
		dirty = soft_dirty(fd, page, bytes);
		munmap(page, bytes);
	}
	close(fd);
	if (dirty == 1)
		return 0;
	if (dirty < 0)
		snprintf(why, why_size, PAGEMAP ": %s", strerror(-dirty));
	else
		snprintf(why, why_size,
			 "this kernel has no soft-dirty bits (CONFIG_MEM_SOFT_DIRTY)");
	return -ENOTSUP;
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	int rc = 0;

	if (c->values[CLEAR] == CLEAR_SOFT_DIRTY)
		rc = probe_soft_dirty(why, why_size);
	return rc ? rc : pages_check(c, kind_of(c), PAGES_ANON, c->values[PAGES], why, why_size);
}

static int knobs(const struct tm_cell_args *c, struct tm_sysstate *s)
{
	return pages_knobs(c, kind_of(c), PAGES_ANON, c->values[PAGES], s);
}

struct state {
	void *set; /* of pages */
	int clear_refs, pagemap;
};

static int setup(struct tm_thread *t, void **out)
{
	struct state *s = calloc(1, sizeof(*s));
	char why[128];

	if (!s)
		return tm_fail(t, -ENOMEM, "state");
	*out = s;
	s->pagemap = -1;
	s->clear_refs = open_file(CLEAR_REFS, O_WRONLY, why, sizeof(why));
	if (s->clear_refs >= 0)
		s->pagemap = open_file(PAGEMAP, O_RDONLY, why, sizeof(why));
	if (s->pagemap < 0)
		return tm_fail(t, -ENOTSUP, "%s", why);
	return pages_set_new(t, &s->set);
}

static int prepare(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, ((struct state *)state)->set);
	int rc = pages_open(t, p, kind_of(t->cell), PAGES_ANON, t->cell->values[PAGES]);

	rc = rc ? rc : pages_place(t, p, PAGES_ALIGNED, 1, 0);
	rc = rc ? rc : pages_map(t, p, p->at, p->bytes, false);
	return rc ? rc : pages_must_be_huge(t, p, p->at, p->bytes);
}

/* Entries that are dirty and allow stores again, one by one. */
static void write_all(const struct pages *p)
{
	for (size_t i = 0; i < p->bytes; i += p->page_bytes)
		*(volatile uint64_t *)(p->at + i) = 1;
}

/* What is written to the file. */
static const char *code(const struct tm_cell_args *c)
{
	return c->values[CLEAR] == CLEAR_SOFT_DIRTY ? "4" : "1";
}

static int operate(struct tm_thread *t, void *state)
{
	struct state *s = state;
	struct pages *p = pages_of(t, s->set);
	uint32_t base_pages = (uint32_t)(p->bytes / t->page_bytes);
	const char *what = code(t->cell);

	while (tm_more(t)) {
		ssize_t n;

		write_all(p);
		pages_publish(t, p->at, p->bytes, p->page_bytes);
		tm_begin(t);
		n = write(s->clear_refs, what, 1);
		tm_end(t, base_pages);
		if (n != 1)
			return tm_fail(t, n < 0 ? -errno : -EIO, "writing %s to " CLEAR_REFS, what);
	}
	return 0;
}

/* ---- the oracle ---- */

struct check {
	const struct pages *p;
	const struct state *s;
};

static int restore(struct tm_thread *t, void *context)
{
	const struct check *c = context;

	(void)t;
	write_all(c->p);
	return 0;
}

static int clear(struct tm_thread *t, void *context)
{
	const struct check *c = context;
	const char *what = code(t->cell);
	ssize_t n = write(c->s->clear_refs, what, 1);

	return n == 1 ? 0 : tm_fail(t, n < 0 ? -errno : -EIO, "writing %s to " CLEAR_REFS, what);
}

static int named(struct tm_thread *t, void *context, char *at)
{
	const struct check *c = context;
	int rc = soft_dirty(c->s->pagemap, at, t->page_bytes);

	return rc < 0 ? tm_fail(t, rc, "reading " PAGEMAP) : rc;
}

/* Nothing is promised of these bits: the content stays, and can be changed. */
static int check_content(struct tm_thread *t, struct check *c, struct tm_verdict *v)
{
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};

	while (oracle_next(&o, c->p->bytes)) {
		int rc = writes_by_all(&o, c->p->at);

		rc = rc ? rc : clear(t, c);
		if (rc)
			return tm_fail(t, rc, "storing before the references are cleared");
		oracle_see(&o, c->p->at, ORACLE_STAMP, "after the references were cleared");
		oracle_renew(&o);
		rc = writes_by_all(&o, c->p->at);
		if (rc)
			return tm_fail(t, rc, "storing after the references were cleared");
		oracle_see(&o, c->p->at, ORACLE_STAMP, "stored after the references were cleared");
	}
	return 0;
}

/*
 * Every store after the clear is seen in the pagemap. Without the flush a
 * responder would store by the permission that its TLB remembers, and the page
 * would stay clean.
 */
static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct state *s = state;
	struct pages *p = pages_of(t, s->set);
	struct check c = {.p = p, .s = s};
	struct writes w = {
		.base = p->at,
		.bytes = p->bytes,
		.stride = p->page_bytes, /* a huge page has one bit */
		.only = true,
		.by = "clear_refs",
		.restore = restore,
		.clear = clear,
		.named = named,
		.context = &c,
	};

	if (t->cell->values[CLEAR] == CLEAR_REFERENCED)
		return check_content(t, &c, v);
	return writes_check(t, v, &w);
}

static void teardown(void *state)
{
	struct state *s = state;

	if (!s)
		return;
	if (s->set)
		pages_set_free(s->set);
	if (s->pagemap >= 0)
		close(s->pagemap);
	if (s->clear_refs >= 0)
		close(s->clear_refs);
	free(s);
}

const struct tm_workload tm_workload_clear_refs = {
	.name = "clear_refs",
	.summary = "clearing soft-dirty or referenced bits",
	.op = "one write to /proc/self/clear_refs, with --pages pages written to",
	.flushes = "flush_tlb_mm",
	.gate = TM_GATE_EVERY,
	.gate_of = gate_of,
	.params = params,
	.probe = probe,
	.probe_cell = probe_cell,
	.knobs = knobs,
	.setup = setup,
	.prepare = prepare,
	.operate = operate,
	.verify = verify,
	.teardown = teardown,
};
