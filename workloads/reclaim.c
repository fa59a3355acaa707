// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * reclaim: a memory cgroup gives pages in use back, because it has to.
 *
 * Timed: one write to the cgroup that the process is in: a lower limit (--how
 * limit: memory.high, or memory.limit_in_bytes of version 1) or
 * memory.reclaim (reclaim), each for at least --pages pages more than there
 * may be. The kernel looks for pages on its lists as kswapd does, makes those
 * old that were used, unmaps the next time those that stayed old
 * (try_to_unmap(), which only notes that a flush is due), and flushes in
 * try_to_unmap_flush() before it frees them, once for up to 32 pages. So an
 * operation interrupts a responder as often as it needs batches. What was
 * really taken is counted (reclaimed).
 *
 * The pages are clean pages of a file (--backing file), which may be dropped
 * without writing, or private memory, for which there must be swap. The limit
 * counts pages that a CPU keeps in stock as used, and gives these up first:
 * it is set low enough for both. It does not measure reading pages back.
 * madvise_pageout does the same for pages that the process itself names.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tlbmark/workload.h>

#include "pages.h"
#include "reclaimed.h"

#define V1 "/sys/fs/cgroup/memory"

enum { PAGES, BACKING, HOW };
enum { BACKING_FILE, BACKING_ANON };
enum { HOW_LIMIT, HOW_RECLAIM };
enum { RECLAIMED };
enum {
	STOCK_PAGES = 64, /* that a CPU has taken from a cgroup's limit in advance */
	SPARE_PAGES = 64, /* mapped beyond what has to go: a batch may take more */
};

static const char *const backings[] = {"file", "anon", NULL};
static const char *const hows[] = {"limit", "reclaim", NULL};

static const struct tm_param params[] = {
	[PAGES] = {.name = "pages",
		   .unit = "pages",
		   .help = "pages that have to go at least",
		   .kind = TM_PARAM_UINT,
		   .min = 1,
		   .max = 1 << 20,
		   .def = "32",
		   .plan = "32",
		   .full = "1,32,512"},
	[BACKING] =
		PAGES_CHOICE_PARAM("backing", "a file on a disk, or private memory (needs swap)",
				   backings, "file", "file,anon"),
	[HOW] = PAGES_CHOICE_PARAM("how", "lowering the cgroup's limit, or memory.reclaim", hows,
				   "limit", "limit,reclaim"),
	{.name = NULL},
};

static const char *const counters[] = {"reclaimed", NULL};

/* The cgroup of this session, made by knobs() in the parent; "" if there is none. */
static char group[96];

struct state {
	void *set; /* of pages */
	size_t mapped_pages;
	int usage, ask; /* files of the cgroup */
	bool relative;	/* `ask` wants what is to go, not what may stay */
	const char *unlimited;
};

/* Where groups with a memory controller are made, with a slash at the end; NULL: nowhere. */
static const char *memory_groups(void)
{
	static const char *const roots[] = {"/sys/fs/cgroup/", "/sys/fs/cgroup/unified/"};
	char path[96], line[256];

	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		bool found;
		FILE *f;

		snprintf(path, sizeof(path), "%scgroup.subtree_control", roots[i]);
		f = fopen(path, "re");
		found = f && fgets(line, sizeof(line), f) && strstr(line, "memory");
		if (f)
			fclose(f);
		if (found)
			return roots[i];
	}
	return access(V1 "/memory.limit_in_bytes", F_OK) ? NULL : V1 "/";
}

static bool is_version_1(const char *groups)
{
	return !strcmp(groups, V1 "/");
}

static int probe(char *why, size_t why_size)
{
	const char *groups = memory_groups();

	if (!groups)
		snprintf(why, why_size,
			 "no memory cgroup can be made: mount cgroup2 at /sys/fs/cgroup and "
			 "echo +memory >/sys/fs/cgroup/cgroup.subtree_control");
	else if (access(groups, W_OK))
		snprintf(why, why_size, "%s: %s: run as root", groups, strerror(errno));
	else
		return 0;
	return -ENOTSUP;
}

static enum pages_backing backing_of(const struct tm_cell_args *c)
{
	return c->values[BACKING] == BACKING_FILE ? PAGES_FILE : PAGES_ANON;
}

static uint64_t mapped_pages(const struct tm_cell_args *c)
{
	return c->values[PAGES] + STOCK_PAGES + SPARE_PAGES;
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	uint64_t bytes = mapped_pages(c) * pages_kind_bytes(PAGES_4K);
	const char *groups = memory_groups();

	if (c->initiators > 1)
		snprintf(why, why_size, "the cgroup is the whole process's: one initiator");
	else if (c->values[HOW] == HOW_RECLAIM && (!groups || is_version_1(groups)))
		snprintf(why, why_size,
			 "no memory.reclaim (cgroup version 2, Linux 5.19): use "
			 "--how limit");
	else if (backing_of(c) == PAGES_ANON && reclaimed_check_swap(bytes, why, why_size))
		return -ENOTSUP;
	else
		return pages_check(c, PAGES_4K, backing_of(c), mapped_pages(c), why, why_size);
	return -ENOTSUP;
}

static int knobs(const struct tm_cell_args *c, struct tm_sysstate *s)
{
	const char *groups = memory_groups();

	(void)c;
	if (!groups || *group)
		return 0;
	snprintf(group, sizeof(group), "%stlbmark-%d", groups, (int)getpid());
	return tm_knob_group(s, group);
}

static int open_file(const char *name, int flags)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", group, name);
	return open(path, flags | O_CLOEXEC);
}

static int write_file(const char *name, const char *text)
{
	int fd = open_file(name, O_WRONLY), rc = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

/* From here on what this process uses is the cgroup's; it leaves by ending. */
static int enter(struct tm_thread *t, struct state *s)
{
	bool old = is_version_1(memory_groups()), now = t->cell->values[HOW] == HOW_RECLAIM;
	const char *ask = old ? "memory.limit_in_bytes" : now ? "memory.reclaim" : "memory.high";
	bool file = backing_of(t->cell) == PAGES_FILE;
	int rc = write_file("cgroup.procs", "0");

	if (rc)
		return tm_fail(t, rc, "entering the cgroup %s", group);
	/* Version 1 would kill whoever needs a page while the limit is low; so it waits. */
	if (old)
		write_file("memory.oom_control", "1");
	/* Pages of a file are meant then, and none of what else the process has. */
	if (old)
		write_file("memory.swappiness", file ? "0" : "60");
	else
		write_file("memory.swap.max", file ? "0" : "max");
	s->relative = now;
	s->unlimited = old ? "-1" : "max";
	s->usage = open_file(old ? "memory.usage_in_bytes" : "memory.current", O_RDONLY);
	s->ask = open_file(ask, O_WRONLY);
	if (s->usage >= 0 && s->ask >= 0)
		return 0;
	return tm_fail(t, errno == ENOENT ? -ENOTSUP : -errno, "%s of the cgroup %s", ask, group);
}

static int setup(struct tm_thread *t, void **out)
{
	struct state *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return tm_fail(t, -ENOMEM, "no memory for the state");
	s->usage = s->ask = -1;
	*out = s;
	rc = pages_set_new(t, &s->set);
	return rc ? rc : enter(t, s);
}

/* What is written to make so many pages go, in the cgroup's words. */
static int ask_for(struct tm_thread *t, const struct state *s, char *text, size_t size)
{
	uint64_t bytes = (t->cell->values[PAGES] + STOCK_PAGES) * t->page_bytes, used;
	ssize_t n;

	if (s->relative) {
		snprintf(text, size, "%" PRIu64, bytes);
		return 0;
	}
	n = pread(s->usage, text, size - 1, 0);
	if (n <= 0)
		return tm_fail(t, -EIO, "reading what the cgroup uses");
	text[n] = '\0';
	used = strtoull(text, NULL, 10);
	snprintf(text, size, "%" PRIu64, used > bytes ? used - bytes : 0);
	return 0;
}

/* No limit any more; memory.reclaim sets none. */
static int release(struct tm_thread *t, const struct state *s)
{
	if (s->relative || pwrite(s->ask, s->unlimited, strlen(s->unlimited), 0) > 0)
		return 0;
	return tm_fail(t, -errno, "lifting the cgroup's limit");
}

/* That less could be reclaimed than was asked for, or that a signal came, is no failure. */
static bool is_shortage(int error)
{
	return error == EBUSY || error == EAGAIN || error == EINTR;
}

static int reclaim(struct tm_thread *t, const struct pages *p, void *argument)
{
	const struct state *s = argument;
	char text[32];
	int rc = ask_for(t, s, text, sizeof(text));

	(void)p;
	if (rc)
		return rc;
	if (pwrite(s->ask, text, strlen(text), 0) < 0 && !is_shortage(errno))
		return tm_fail(t, -errno, "asking the cgroup for pages");
	return release(t, s);
}

static int count_gone(struct tm_thread *t, const struct state *s, const struct pages *p,
		      uint64_t *gone)
{
	long left = reclaimed_resident(p);

	if (left < 0)
		return tm_fail(t, (int)left, "mincore of %zu bytes", p->bytes);
	*gone = s->mapped_pages - (uint64_t)left;
	return 0;
}

static int prepare(struct tm_thread *t, void *state)
{
	struct state *s = state;
	struct pages *p = pages_of(t, s->set);
	uint64_t gone = 0;
	int rc;

	s->mapped_pages = mapped_pages(t->cell);
	rc = pages_open(t, p, PAGES_4K, backing_of(t->cell), s->mapped_pages);
	rc = rc ? rc : pages_place(t, p, PAGES_ALIGNED, 1, 0);
	rc = rc ? rc : pages_map(t, p, p->at, p->bytes, false);
	/* Whether it takes these pages is found by trying. */
	rc = rc ? rc : reclaim(t, p, s);
	rc = rc ? rc : count_gone(t, s, p, &gone);
	if (!rc && gone < t->cell->values[PAGES])
		rc = tm_fail(t, -ENOTSUP,
			     "the cgroup gave up %" PRIu64 " of %" PRIu64
			     " pages: its file system does not give them up (set TMPDIR to "
			     "another disk), swap is full, or others of this process went first",
			     gone, t->cell->values[PAGES]);
	return rc;
}

static int operate(struct tm_thread *t, void *state)
{
	struct state *s = state;
	struct pages *p = pages_of(t, s->set);
	uint64_t gone = 0;
	char text[32];

	while (tm_more(t)) {
		int rc = reclaimed_fill(t, p);
		ssize_t n;

		rc = rc ? rc : ask_for(t, s, text, sizeof(text));
		if (rc)
			return rc;
		pages_publish(t, p->at, p->bytes, p->page_bytes);
		tm_begin(t);
		n = pwrite(s->ask, text, strlen(text), 0);
		tm_end(t, (uint32_t)t->cell->values[PAGES]);
		if (n < 0 && !is_shortage(errno))
			return tm_fail(t, -errno, "asking the cgroup for pages");
		rc = release(t, s);
		rc = rc ? rc : count_gone(t, s, p, &gone);
		if (rc)
			return rc;
		tm_count(t, RECLAIMED, gone);
	}
	return 0;
}

static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct state *s = state;

	return reclaimed_verify(t, pages_of(t, s->set), v, reclaim, s, "reclaim");
}

static void teardown(void *state)
{
	struct state *s = state;

	if (s->usage >= 0)
		close(s->usage);
	if (s->ask >= 0)
		close(s->ask);
	if (s->set)
		pages_set_free(s->set);
	free(s);
}

const struct tm_workload tm_workload_reclaim = {
	.name = "reclaim",
	.summary = "a memory cgroup giving back pages in use",
	.op = "one lowering of its limit, or memory.reclaim, by --pages pages",
	.flushes = "try_to_unmap_flush",
	.needs = TM_NEEDS_ROOT,
	.gate = TM_GATE_EVERY,
	.switches = true, /* reclaim waits for others, and yields */
	.patient = true,  /* sixteen times, and 100 ms each, where too little can go */
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
