// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * pagemap_scan: asks which pages were written to, and begins anew.
 *
 * Timed: one ioctl(PAGEMAP_SCAN) with PM_SCAN_WP_MATCHING of pages that have
 * all been written to: it names them (--report written) or only begins anew
 * (--report nothing, for which the kernel has a loop of its own). Each entry is
 * write-protected, and flush_tlb_range() follows for each page table in
 * pagemap_scan_pmd_entry(), each huge page in pagemap_scan_thp_entry() and each
 * hugetlb page in pagemap_scan_hugetlb_entry(). The mapping is registered with
 * a userfaultfd that resolves write faults by itself (UFFD_FEATURE_WP_ASYNC).
 *
 * It does not measure the faults of later stores, nor scanning pages of which
 * few were written to.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <tlbmark/workload.h>

#include "pages.h"
#include "uffd.h"
#include "writes.h"

/* Newer than Debian 12's header (6.1); from include/uapi/linux/fs.h of Linux 6.12. */
#ifndef PAGEMAP_SCAN
struct page_region {
	__u64 start, end, categories;
};
struct pm_scan_arg {
	__u64 size, flags;
	__u64 start, end, walk_end;
	__u64 vec, vec_len, max_pages;
	__u64 category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
#define PAGE_IS_WRITTEN (1 << 1)
#define PM_SCAN_WP_MATCHING (1 << 0)
#define PM_SCAN_CHECK_WPASYNC (1 << 1)
#endif

#define PAGEMAP "/proc/self/pagemap"

enum { PAGES, KIND, BACKING, REPORT };
enum { REPORT_WRITTEN, REPORT_NOTHING };
enum { REGIONS = 16 }; /* one is enough where all was written to */

static const char *const reports[] = {"written", "nothing", NULL};

static const struct tm_param params[] = {
	[PAGES] = PAGES_PARAM("1", "1,8,32..34,512,4096,262144"),
	[KIND] = PAGES_CHOICE_PARAM("kind", "base pages, transparent huge pages, or hugetlb pages",
				    pages_kinds, "4k", "4k,thp,hugetlb"),
	[BACKING] = PAGES_CHOICE_PARAM("backing", "private or shared memory", pages_memory_backings,
				       "anon", "anon,shared"),
	[REPORT] = PAGES_CHOICE_PARAM("report", "name the pages, or only begin anew", reports,
				      "written", "written,nothing"),
	{.name = NULL},
};

static enum pages_kind kind_of(const struct tm_cell_args *c)
{
	return (enum pages_kind)c->values[KIND];
}

static enum pages_backing backing_of(const struct tm_cell_args *c)
{
	return (enum pages_backing)c->values[BACKING];
}

static int probe(char *why, size_t why_size)
{
	struct pm_scan_arg nothing = {.size = sizeof(nothing)};
	int rc = uffd_check(UFFD_FEATURE_WP_ASYNC, "UFFD_FEATURE_WP_ASYNC (Linux 6.7)", why,
			    why_size);
	int fd;

	if (rc)
		return rc;
	fd = open(PAGEMAP, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		snprintf(why, why_size, PAGEMAP ": %s%s", strerror(errno),
			 errno == ENOENT ? " (CONFIG_PROC_PAGE_MONITOR)" : "");
		return -ENOTSUP;
	}
	if (ioctl(fd, PAGEMAP_SCAN, &nothing)) {
		snprintf(why, why_size, "this kernel has no PAGEMAP_SCAN (Linux 6.7): %s",
			 strerror(errno));
		rc = -ENOTSUP;
	}
	close(fd);
	return rc;
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	return pages_check(c, kind_of(c), backing_of(c), c->values[PAGES], why, why_size);
}

static int knobs(const struct tm_cell_args *c, struct tm_sysstate *s)
{
	return pages_knobs(c, kind_of(c), backing_of(c), c->values[PAGES], s);
}

struct state {
	void *set; /* of struct uffd */
	int pagemap;
};

static int setup(struct tm_thread *t, void **out)
{
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return tm_fail(t, -ENOMEM, "state");
	*out = s;
	s->pagemap = open(PAGEMAP, O_RDONLY | O_CLOEXEC);
	if (s->pagemap < 0)
		return tm_fail(t, -errno, PAGEMAP);
	return uffd_set_new(t, &s->set);
}

static int prepare(struct tm_thread *t, void *state)
{
	struct uffd *u = uffd_of(t, ((struct state *)state)->set);
	struct pages *p = u->pages;
	int rc = pages_open(t, p, kind_of(t->cell), backing_of(t->cell), t->cell->values[PAGES]);

	rc = rc ? rc : pages_place(t, p, PAGES_ALIGNED, 1, 0);
	rc = rc ? rc : pages_map(t, p, p->at, p->bytes, false);
	rc = rc ? rc : pages_must_be_huge(t, p, p->at, p->bytes);
	if (rc)
		return rc;
	u->fd = uffd_open(t, UFFD_FEATURE_WP_ASYNC);
	if (u->fd < 0)
		return u->fd;
	return uffd_register(t, u, p->at, p->bytes, UFFDIO_REGISTER_MODE_WP);
}

/* The operation on all of the pages; only where the walk has ended was it whole. */
static struct pm_scan_arg scan_all(const struct tm_thread *t, const struct pages *p,
				   struct page_region *regions)
{
	struct pm_scan_arg a = {
		.size = sizeof(a),
		.flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
		.start = (uintptr_t)p->at,
		.end = (uintptr_t)p->at + p->bytes,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};

	if (t->cell->values[REPORT] == REPORT_WRITTEN) {
		a.vec = (uintptr_t)regions;
		a.vec_len = REGIONS;
	}
	return a;
}

/* After a scan: did it go to the end, and name all? */
static int must_be_whole(struct tm_thread *t, const struct pm_scan_arg *a,
			 const struct page_region *regions, int count)
{
	uint64_t named = 0;

	if (count < 0)
		return tm_fail(t, -errno, "PAGEMAP_SCAN of %llu bytes",
			       (unsigned long long)(a->end - a->start));
	for (int i = 0; i < count; i++)
		named += regions[i].end - regions[i].start;
	if (a->walk_end != a->end || (a->vec && named != a->end - a->start))
		return tm_fail(t, -EIO, "PAGEMAP_SCAN named %llu of %llu bytes, all written to",
			       (unsigned long long)named, (unsigned long long)(a->end - a->start));
	return 0;
}

static int operate(struct tm_thread *t, void *state)
{
	struct state *s = state;
	struct uffd *u = uffd_of(t, s->set);
	struct pages *p = u->pages;
	uint32_t base_pages = (uint32_t)(p->bytes / t->page_bytes);

	while (tm_more(t)) {
		struct page_region regions[REGIONS] = {{0}};
		struct pm_scan_arg a = scan_all(t, p, regions);
		int rc = uffd_make_writable(t, u), count;

		/* Memory may have become fragmented since the last batch. */
		if (!rc && !t->count)
			rc = pages_must_be_huge(t, p, p->at, p->bytes);
		if (rc)
			return rc;
		pages_publish(t, p->at, p->bytes, p->page_bytes);
		tm_begin(t);
		count = ioctl(s->pagemap, PAGEMAP_SCAN, &a);
		tm_end(t, base_pages);
		rc = must_be_whole(t, &a, regions, count);
		if (rc)
			return rc;
	}
	return 0;
}

/* ---- the oracle ---- */

struct check {
	struct uffd *u;
	int pagemap;
	size_t stride;
};

static int restore(struct tm_thread *t, void *context)
{
	const struct check *c = context;
	struct pages *p = c->u->pages;
	int rc = 0;

	/* The fault of a store has split the huge page. */
	if (p->kind == PAGES_THP) {
		rc = pages_map(t, p, p->at, p->bytes, true);
		rc = rc ? rc : uffd_register(t, c->u, p->at, p->bytes, UFFDIO_REGISTER_MODE_WP);
	}
	return rc ? rc : uffd_make_writable(t, c->u);
}

static int begin_anew(struct tm_thread *t, void *context)
{
	const struct check *c = context;
	struct page_region regions[REGIONS] = {{0}};
	struct pm_scan_arg a = scan_all(t, c->u->pages, regions);
	int count = ioctl(c->pagemap, PAGEMAP_SCAN, &a);

	return must_be_whole(t, &a, regions, count);
}

/* The next scan, of these pages alone. */
static int named(struct tm_thread *t, void *context, char *at)
{
	const struct check *c = context;
	struct page_region region;
	struct pm_scan_arg a = {
		.size = sizeof(a),
		.flags = PM_SCAN_CHECK_WPASYNC,
		.start = (uintptr_t)at,
		.end = (uintptr_t)at + c->stride,
		.vec = (uintptr_t)&region,
		.vec_len = 1,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	int count = ioctl(c->pagemap, PAGEMAP_SCAN, &a);

	return count < 0 ? tm_fail(t, -errno, "PAGEMAP_SCAN of %zu bytes", c->stride) : count > 0;
}

/*
 * Every store after the scan is named by the next one. Without the flush a
 * responder would store by the permission that its TLB remembers, and the page
 * would count as not written to.
 */
static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct state *s = state;
	struct uffd *u = uffd_of(t, s->set);
	struct pages *p = u->pages;
	struct check c = {
		.u = u,
		.pagemap = s->pagemap,
		.stride = p->kind == PAGES_HUGETLB ? p->page_bytes : t->page_bytes,
	};
	struct writes w = {
		.base = p->at,
		.bytes = p->bytes,
		.stride = c.stride,
		/* A huge page of a file is unmapped by a store, and then all of it counts. */
		.only = p->kind != PAGES_THP || p->backing == PAGES_ANON,
		.by = "PAGEMAP_SCAN",
		.restore = restore,
		.clear = begin_anew,
		.named = named,
		.context = &c,
	};

	return writes_check(t, v, &w);
}

static void teardown(void *state)
{
	struct state *s = state;

	if (!s)
		return;
	uffd_set_free(s->set);
	if (s->pagemap >= 0)
		close(s->pagemap);
	free(s);
}

const struct tm_workload tm_workload_pagemap_scan = {
	.name = "pagemap_scan",
	.summary = "asking which pages were written to, and beginning anew",
	.op = "one PAGEMAP_SCAN of --pages pages that were written to",
	.flushes = "pagemap_scan_pmd_entry",
	.gate = TM_GATE_EVERY,
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
