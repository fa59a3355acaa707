// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * numa_hint: NUMA balancing takes the pages of a mapping away, to see who wants
 * them back.
 *
 * Every now and then the timer tick has one of the process's threads go through
 * its memory (task_numa_work()) and make the entries PROT_NONE, so that the
 * next access tells by a fault from which node it comes:
 * change_prot_numa() -> change_protection() -> tlb_finish_mmu(), which flushes
 * once for each mapping. By policies it is here one mapping alone, from Linux
 * 5.15 on. The initiator waits for that in user mode. Timed: the one
 * interruption of it during which its pages were taken away, from before the
 * tick to after the flush where it was its own tick, which includes the whole
 * scan; and where another thread did the scan, only the interrupt that flushed
 * it. (Since Linux 6.4 threads pass over what they never touch, so it mostly is
 * its own.) A responder that does the scan is not interrupted for it, and so
 * not every operation interrupts each responder.
 *
 * Interrupts are counted from when it begins to wait, so also those of scans
 * that did not come to its pages.
 *
 * It does not measure the hinting faults, nor moving pages to another node.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <numa.h>
#include <numaif.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <tlbmark/workload.h>

#include "nodes.h"
#include "oracle.h"
#include "pages.h"
#include "updates.h"

#define SYSCTL "/proc/sys/kernel/numa_balancing"
#define SCAN "debugfs:sched/numa_balancing/scan_"

enum { PAGES };
enum {
	LEAST_PAGES = 16,
	GAP_LOOPS = 16,	    /* an interruption takes longer than so many loops */
	TRIES = 64,	    /* of which the shortest counts */
	MOST_MS = 60000,    /* to wait for one scan */
	COUNTED_SCANS = 16, /* while others add to the pages; each waits */
	MOST_LOOKS = 16,    /* so many times at most */
	LOOK_MS = 10,	    /* so long; they come every 20 to 40 */
};

static const struct tm_param params[] = {
	[PAGES] = {.name = "pages",
		   .unit = "pages",
		   .help = "pages of the mapping that is looked at",
		   .kind = TM_PARAM_UINT,
		   .min = LEAST_PAGES,
		   .max = 8192,
		   .def = "512",
		   .plan = "512",
		   .full = "16,33,512,4096"},
	{.name = NULL},
};

static int probe(char *why, size_t why_size)
{
	if (access(SYSCTL, W_OK))
		snprintf(why, why_size, SYSCTL ": %s: %s", strerror(errno),
			 errno == ENOENT ? "this kernel has no CONFIG_NUMA_BALANCING"
					 : "run as root");
	else if (numa_available() < 0 ||
		 !nodes_several()) /* it scans in vain, or not at all (6.14) */
		snprintf(why, why_size, "there is only one memory node to be used here");
	else
		return 0;
	return -ENOTSUP;
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	return pages_check(c, PAGES_4K, PAGES_ANON, c->values[PAGES], why, why_size);
}

/* Scans often, and of much at once; as the kernel does it, it takes minutes. */
static int knobs(const struct tm_cell_args *c, struct tm_sysstate *s)
{
	int rc = tm_knob(s, SCAN "delay_ms", "1");

	(void)c;
	rc = rc ? rc : tm_knob(s, SCAN "size_mb", "64");
	rc = rc ? rc : tm_knob(s, SCAN "period_min_ms", "20");
	rc = rc ? rc : tm_knob(s, SCAN "period_max_ms", "40");
	return rc ? rc : tm_knob(s, SYSCTL, "1");
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Page faults of this thread. */
static long faults(void)
{
	struct rusage use;

	return getrusage(RUSAGE_THREAD, &use) ? 0 : use.ru_minflt + use.ru_majflt;
}

/* Reads a page: was it taken away? It is back then. */
static bool was_taken(const char *page)
{
	long before = faults();

	(void)*(const volatile char *)page;
	return faults() > before;
}

static void touch_all(const struct pages *p)
{
	for (size_t i = 0; i < p->bytes; i += p->page_bytes)
		(void)*(volatile char *)(p->at + i);
}

/*
 * What takes longer than looking at the counter some times was an interruption. The
 * least of some tries: one that was interrupted itself would let most others pass.
 */
static uint64_t gap_ticks(void)
{
	uint64_t least = UINT64_MAX;

	for (int try = 0; try < TRIES; try++) {
		uint64_t start = tm_ticks(), last = start;

		for (int i = 0; i < GAP_LOOPS; i++)
			last = tm_ticks();
		least = last - start < least ? last - start : least;
	}
	return least + 1;
}

static int no_scan(struct tm_thread *t)
{
	return tm_fail(t, -ETIMEDOUT,
		       "NUMA balancing did not come by in %d s: is " SYSCTL
		       " 1, and may debugfs be written to?",
		       MOST_MS / 1000);
}

/*
 * Waits until the first page was taken away; when the interruption began in
 * which it was, and when it was over. -ETIMEDOUT said.
 */
static int await_scan(struct tm_thread *t, const struct pages *p, uint64_t *begin_ticks,
		      uint64_t *end_ticks)
{
	uint64_t gap = gap_ticks(), start = now_ms(), last = tm_ticks();

	for (;;) {
		uint64_t tick = tm_ticks();

		if (tick - last > gap) {
			*begin_ticks = last;
			*end_ticks = tick;
			if (was_taken(p->at))
				return 0;
			if (now_ms() - start > MOST_MS)
				return no_scan(t);
			tick = tm_ticks();
		}
		last = tick;
	}
}

/* Pages of a process with one thread are left alone while they are on its node. */
static void *do_nothing(void *unused)
{
	for (;;)
		pause();
	return unused;
}

/*
 * The balancer passes over memory whose policy does not ask for it (vma_policy_mof()).
 * This one does. 1; 0 where all memory of the process is looked at: before Linux 5.15,
 * and where nobody may set a policy; or -errno. (Linux 5.12 to 5.14 takes the flag with
 * any policy, and does nothing with it.)
 */
static int look_at(const struct tm_cell_args *c, void *at, size_t bytes)
{
	struct bitmask *nodes = numa_get_mems_allowed();
	unsigned long most = nodes->size + 1;
	int rc;

	if (c->memory_node >= 0) {
		numa_bitmask_clearall(nodes);
		numa_bitmask_setbit(nodes, (unsigned int)c->memory_node);
	}
	if (!mbind(at, bytes, MPOL_INTERLEAVE | MPOL_F_NUMA_BALANCING, nodes->maskp, most, 0))
		rc = mbind(at, bytes, MPOL_DEFAULT, NULL, 0, 0) ? -errno : 0;
	else if (!mbind(at, bytes, MPOL_BIND | MPOL_F_NUMA_BALANCING, nodes->maskp, most, 0))
		rc = 1;
	else
		rc = errno == EINVAL || errno == EPERM || errno == ENOSYS ? 0 : -errno;
	numa_bitmask_free(nodes);
	return rc;
}

/*
 * And this one of the process, and of its threads that start from here on, does not: so
 * a scan is of the mapping alone, and comes sooner (Linux has 32 times as long pass
 * until the next). With a node given the process has such a policy already.
 */
static int look_nowhere_else(struct tm_thread *t)
{
	void *page = mmap(NULL, t->page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool given = t->cell->memory_node >= 0;
	int rc;

	if (page == MAP_FAILED)
		return tm_fail(t, -errno, "mapping a page");
	rc = look_at(t->cell, page, t->page_bytes);
	munmap(page, t->page_bytes);
	if (!rc && given)
		return tm_fail(t, -ENOTSUP,
			       "memory of a given node is not looked at here (before "
			       "Linux 5.15, or mbind(2) is forbidden)");
	if (rc > 0)
		rc = !given && set_mempolicy(MPOL_LOCAL, NULL, 0) ? -errno : 0;
	return rc ? tm_fail(t, rc, "a policy for memory") : 0;
}

static int setup(struct tm_thread *t, void **state)
{
	int rc = look_nowhere_else(t);

	return rc ? rc : pages_set_new(t, state);
}

static int prepare(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	pthread_t idle; /* ends with the process */
	int rc = -pthread_create(&idle, NULL, do_nothing, NULL);

	if (rc)
		return tm_fail(t, rc, "starting a second thread");
	pthread_detach(idle);
	rc = pages_open(t, p, PAGES_4K, PAGES_ANON, t->cell->values[PAGES]);

	if (!rc)
		rc = pages_place(t, p, PAGES_KEEP_TABLES, 1, 0);
	if (!rc)
		rc = pages_map(t, p, p->at, p->bytes, false);
	if (!rc) {
		rc = look_at(t->cell, p->at, p->bytes);
		rc = rc < 0 ? tm_fail(t, rc, "mbind of %zu bytes", p->bytes) : 0;
	}
	/* What a foreign responder, made by fork(), shares is left alone too. */
	if (!rc && madvise(p->at, p->bytes, MADV_DONTFORK))
		rc = tm_fail(t, -errno, "MADV_DONTFORK of %zu bytes", p->bytes);
	return rc;
}

static int operate(struct tm_thread *t, void *state)
{
	struct pages *p = pages_of(t, state);
	uint32_t base_pages = (uint32_t)(p->bytes / t->page_bytes);

	while (tm_more(t)) {
		uint64_t begin_ticks = 0, end_ticks = 0;
		int rc;

		touch_all(p);
		pages_publish(t, p->at, p->bytes, p->page_bytes);
		tm_arm(t);
		*t->in_operation = 1;
		rc = await_scan(t, p, &begin_ticks, &end_ticks);
		*t->in_operation = 0;
		if (rc)
			return rc;
		tm_commit(t, begin_ticks, end_ticks, base_pages);
	}
	return 0;
}

/* ---- the oracle ---- */

/* To another node, as far as the kernel will; what stays is not brought back. */
static void move_away(struct tm_thread *t, const struct pages *p, size_t count)
{
	int node = nodes_next(numa_node_of_cpu((int)t->cpu)), to[UPDATES_PAGES],
	    status[UPDATES_PAGES];
	void *pages[UPDATES_PAGES];

	for (size_t i = 0; i < count; i++) {
		pages[i] = p->at + i * p->page_bytes;
		to[i] = node;
	}
	numa_move_pages(0, count, pages, to, status, MPOL_MF_MOVE);
}

/* By a thread that runs: one that sleeps does not scan. */
static void spin_ms(uint64_t ms)
{
	uint64_t start = now_ms();

	while (now_ms() - start < ms)
		;
}

/* The pages of the mapping that the oracle uses: all of them move; `looks` tell of a scan, */
struct share {
	size_t all, looks;
	char *at; /* the others are written to and read */
	size_t bytes;
};

static struct share share_out(const struct pages *p)
{
	size_t count = p->bytes / p->page_bytes;
	struct share s = {.all = count < UPDATES_PAGES ? count : UPDATES_PAGES};

	s.looks = s.all / 2 < MOST_LOOKS ? s.all / 2 : MOST_LOOKS;
	s.at = p->at + s.looks * p->page_bytes;
	s.bytes = (s.all - s.looks) * p->page_bytes;
	return s;
}

/*
 * Waits for a scan, not for ever. It is told by pages that nobody has read since they moved,
 * one after the other: where flushes are missing, this CPU would not come to know of a
 * page that it has a translation of; and where they are not, whoever uses a page has it back
 * at once.
 */
static bool await_taken(const struct pages *p, size_t looks)
{
	for (size_t i = 0; i < looks; i++) {
		spin_ms(LOOK_MS);
		if (was_taken(p->at + i * p->page_bytes))
			return true;
	}
	return false;
}

/*
 * While pages are taken away others write to them, and reading them from here
 * brings them to this node, the second time at the latest
 * (should_numa_migrate_memory()), unless they were to be on a given one. Migration does
 * not flush what was taken away: a CPU that still has its translation then writes to a
 * page that nobody has. Nor does move_pages(). If this CPU's translation is the one that
 * is left, it sees no scan; the updates still tell.
 */
static int check_updates(struct tm_thread *t, const struct pages *p, const struct share *s,
			 struct tm_verdict *v)
{
	struct updates u = {.lock = false};
	uint64_t start = now_ms();
	unsigned int scans = 0;
	int rc = 0;

	for (int i = 0; !v->violations && (!scans || i < COUNTED_SCANS); i++) {
		if (!scans && now_ms() - start > MOST_MS)
			return no_scan(t);
		rc = updates_start(t, &u, s->at, s->bytes, p->page_bytes);
		if (rc)
			break;
		move_away(t, p, s->all);
		scans += await_taken(p, s->looks);
		touch_all(p);
		updates_stop(&u);
		updates_check(&u, v);
	}
	return rc;
}

/*
 * And of those that only read: they have the translation of a page where it was moved to,
 * and must see what is written once it is taken away, and back.
 */
static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct pages *p = pages_of(t, state);
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};
	struct share s = share_out(p);
	int rc = check_updates(t, p, &s, v);

	while (!rc && oracle_next(&o, s.bytes)) {
		oracle_write(&o, s.at);
		move_away(t, p, s.all);
		oracle_see(&o, s.at, ORACLE_STAMP, "before the scan");
		if (!await_taken(p, s.looks))
			tm_unchecked(v, "no scan was seen in time");
		touch_all(p);
		oracle_renew(&o);
		oracle_write(&o, s.at);
		oracle_see(&o, s.at, ORACLE_STAMP, "written after the scan");
	}
	return rc;
}

const struct tm_workload tm_workload_numa_hint = {
	.name = "numa_hint",
	.summary = "NUMA balancing taking pages away to see who wants them",
	.op = "one scan that takes --pages pages away",
	.flushes = "change_prot_numa -> tlb_finish_mmu",
	.needs = TM_NEEDS_ROOT,
	.gate = TM_GATE_SOME,
	.switches = true, /* what the tick has it do may sleep */
	.params = params,
	.probe = probe,
	.knobs_disturb = true,
	.probe_cell = probe_cell,
	.knobs = knobs,
	.setup = setup,
	.prepare = prepare,
	.operate = operate,
	.patient = true,
	.verify = verify,
	.teardown = pages_set_free,
};
