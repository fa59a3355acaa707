// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * migrate: moves the pages of a mapping in use to another memory node.
 *
 * Timed: one move_pages(2), mbind(2) with MPOL_MF_MOVE, or migrate_pages(2),
 * to and fro between two nodes. The kernel unmaps each page with a migration
 * entry in its place (try_to_migrate()), flushes, copies, and maps the copy.
 * Since Linux 6.3 it only notes for each page that a flush is due and flushes
 * once for up to 512 of them (try_to_unmap_flush() -> arch_tlbbatch_flush());
 * before, and for a huge page, each is flushed by itself (ptep_clear_flush(),
 * huge_ptep_clear_flush()).
 *
 * All three calls begin with lru_cache_disable(), which waits for every CPU
 * (synchronize_rcu_expedited(), by interrupts of its own), so a responder is
 * interrupted more often than it is flushed and the split into delivery,
 * stolen and return does not hold here. Controls are interrupted as well; what
 * tells them apart is the kernel's count of flushes. Only the probe bpf has that of
 * the operations alone: with another the delivered ratio is met by those interrupts
 * already, and a valid run need not have flushed.
 *
 * migrate_pages() takes everything along that the process alone has on that
 * node: stacks, heap. So that is taken to the other node before, where it stays but for
 * what is allocated later; between two operations the mapping comes back alone, by
 * move_pages(), and timed is the way there.
 *
 * It does not measure the faults of whoever finds a migration entry, nor what
 * NUMA balancing or compaction do, which choose the pages themselves.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/capability.h>
#include <numa.h>
#include <numaif.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <tlbmark/workload.h>

#include "nodes.h"
#include "oracle.h"
#include "pages.h"
#include "updates.h"
#include "witness.h"

enum { PAGES, KIND, HOW };
enum { AGAIN = 8 }; /* times that pages taken away or held meanwhile are migrated again */
enum { HOW_MOVE_PAGES, HOW_MBIND, HOW_MIGRATE_PAGES };
static const char *const hows[] = {"move_pages", "mbind", "migrate_pages", NULL};

static const struct tm_param params[] = {
	[PAGES] = PAGES_PARAM("1", "1,8,32..34,512,4096"),
	[KIND] = PAGES_CHOICE_PARAM("kind", "base pages, transparent huge pages, or hugetlb pages",
				    pages_kinds, "4k", "4k,thp,hugetlb"),
	[HOW] = PAGES_CHOICE_PARAM("how", "the system call that migrates", hows, "move_pages",
				   "move_pages,mbind,migrate_pages"),
	{.name = NULL},
};

struct slot {
	struct pages *pages;
	size_t count;	/* pages of the kind */
	void **address; /* [count], as move_pages() takes them */
	int *node[2];	/* [count], the same node in all */
	int *status;	/* [count] */
	struct bitmask *mask[2];
	unsigned int on; /* of the two nodes, the one that the pages are on */
};

struct state {
	void *set; /* of pages */
	unsigned int count;
	struct slot slot[];
};

static int probe(char *why, size_t why_size)
{
	if (numa_available() < 0)
		snprintf(why, why_size, "this kernel has no memory nodes (CONFIG_NUMA)");
	else if (syscall(SYS_move_pages, 0, 0, NULL, NULL, NULL, 0))
		snprintf(why, why_size, "this kernel has no move_pages(2) (CONFIG_MIGRATION): %s",
			 strerror(errno));
	else if (!nodes_several())
		snprintf(why, why_size, "there is only one memory node to be used here");
	else
		return 0;
	return -ENOTSUP;
}

/* Of the pool each node needs them all; it is shared out among the nodes. */
static uint64_t needed(const struct tm_cell_args *c)
{
	return c->values[PAGES] * (c->values[KIND] == PAGES_HUGETLB ? 2 : 1);
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	if (c->values[HOW] == HOW_MIGRATE_PAGES && c->initiators > 1) {
		snprintf(why, why_size,
			 "migrate_pages moves the whole process: one initiator at a time");
		return -ENOTSUP;
	}
	return pages_check(c, (enum pages_kind)c->values[KIND], PAGES_ANON, needed(c), why,
			   why_size);
}

static int knobs(const struct tm_cell_args *c, struct tm_sysstate *s)
{
	return pages_knobs(c, (enum pages_kind)c->values[KIND], PAGES_ANON, needed(c), s);
}

static int setup(struct tm_thread *t, void **out)
{
	unsigned int n = t->cell->initiators;
	struct state *s = calloc(1, sizeof(*s) + n * sizeof(s->slot[0]));

	if (!s)
		return tm_fail(t, -ENOMEM, "no memory for %u initiators", n);
	s->count = n;
	*out = s;
	return pages_set_new(t, &s->set);
}

/* Which call it was is decided before the clock runs. */
static inline long migrate(const struct slot *s, uint64_t how)
{
	unsigned int to = !s->on;

	if (how == HOW_MOVE_PAGES)
		return move_pages(0, s->count, s->address, s->node[to], s->status, MPOL_MF_MOVE);
	if (how == HOW_MBIND)
		return mbind(s->pages->at, s->pages->bytes, MPOL_BIND, s->mask[to]->maskp,
			     s->mask[to]->size + 1, MPOL_MF_MOVE | MPOL_MF_STRICT);
	return numa_migrate_pages(0, s->mask[s->on], s->mask[to]);
}

/* How many pages are not on the node, and how many of them nowhere: *one is such a page's status. */
static int ask(struct tm_thread *t, const struct slot *s, int node, size_t *stayed, size_t *absent,
	       int *one)
{
	/* Without nodes it only asks. */
	if (move_pages(0, s->count, s->address, NULL, s->status, 0))
		return tm_fail(t, -errno, "asking where the pages are");
	*stayed = *absent = 0;
	for (size_t i = 0; i < s->count; i++) {
		if (s->status[i] == node)
			continue;
		*one = s->status[i];
		*absent += s->status[i] == -ENOENT;
		++*stayed;
	}
	return 0;
}

/* mbind() says EIO where the others say how many: some pages are where they were. */
static bool went(long left)
{
	return left >= 0 || errno == EIO;
}

/*
 * After a migration: each page must be on the other node. One that the kernel took away
 * meanwhile, to swap it out or to move it for reasons of its own, is fetched again; one
 * that it could not move was held by somebody for a moment; and all are migrated once more.
 */
static int arrive(struct tm_thread *t, struct slot *s, uint64_t how, long left)
{
	int to = s->node[!s->on][0], one = to, rc;
	size_t stayed = 0, absent = 0;

	for (unsigned int again = 0; went(left); again++) {
		rc = ask(t, s, to, &stayed, &absent, &one);
		if (rc)
			return rc;
		if (!stayed) {
			s->on = !s->on;
			return 0;
		}
		if (again == AGAIN)
			return tm_fail(t, -EBUSY,
				       "%s left %zu of %zu pages behind (%d, not node %d)",
				       hows[how], stayed, s->count, one, to);
		if (absent < stayed)
			pages_let_go(again);
		for (size_t i = 0; i < s->count; i++)
			(void)*(volatile char *)s->address[i];
		left = migrate(s, how);
	}
	return tm_fail(t, -errno, "%s to node %d", hows[how], to);
}

/* Where everything else of the process goes along, the mapping comes back alone. */
static int return_alone(struct tm_thread *t, struct slot *s)
{
	if (t->cell->values[HOW] != HOW_MIGRATE_PAGES)
		return 0;
	return arrive(t, s, HOW_MOVE_PAGES, migrate(s, HOW_MOVE_PAGES));
}

static int make_lists(struct tm_thread *t, struct slot *s)
{
	int node[2];

	s->count = s->pages->bytes / s->pages->page_bytes;
	node[0] = t->cell->memory_node;
	if (node[0] < 0)
		node[0] = numa_node_of_cpu((int)t->cpu);
	node[1] = nodes_next(node[0]);
	if (node[0] < 0 || node[1] < 0)
		return tm_fail(t, -ENOTSUP, "no second memory node beside node %d", node[0]);
	s->address = calloc(s->count, sizeof(*s->address));
	s->status = calloc(s->count, sizeof(*s->status));
	for (int k = 0; k < 2; k++) {
		s->node[k] = calloc(s->count, sizeof(*s->node[k]));
		s->mask[k] = numa_allocate_nodemask();
	}
	if (!s->address || !s->status || !s->node[0] || !s->node[1] || !s->mask[0] || !s->mask[1])
		return tm_fail(t, -ENOMEM, "no memory for a list of %zu pages", s->count);
	for (size_t i = 0; i < s->count; i++) {
		s->address[i] = s->pages->at + i * s->pages->page_bytes;
		s->node[0][i] = node[0];
		s->node[1][i] = node[1];
	}
	for (int k = 0; k < 2; k++)
		numa_bitmask_setbit(s->mask[k], (unsigned int)node[k]);
	return 0;
}

/*
 * With CAP_SYS_NICE migrate_pages() moves what is shared with other processes
 * as well, and shoots down there. Only this thread gives it up.
 */
static int keep_to_own_pages(struct tm_thread *t)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data))
		return tm_fail(t, -errno, "asking for the capabilities");
	data[0].effective &= ~(1u << CAP_SYS_NICE);
	if (syscall(SYS_capset, &header, data))
		return tm_fail(t, -errno, "giving up CAP_SYS_NICE");
	return 0;
}

/* All that is the process's own goes to the second node, and stays there. */
static int take_along(struct tm_thread *t, struct slot *s)
{
	int rc = keep_to_own_pages(t);

	if (!rc && migrate(s, HOW_MIGRATE_PAGES) < 0)
		rc = tm_fail(t, -errno, "migrate_pages of the process");
	return rc;
}

static int prepare(struct tm_thread *t, void *state)
{
	struct state *all = state;
	struct slot *s = &all->slot[t->index];
	struct pages *p = pages_of(t, all->set);
	int rc = pages_open(t, p, (enum pages_kind)t->cell->values[KIND], PAGES_ANON,
			    t->cell->values[PAGES]);

	s->pages = p;
	rc = rc ? rc : pages_place(t, p, PAGES_ALIGNED, 1, 0);
	rc = rc ? rc : pages_map(t, p, p->at, p->bytes, false);
	rc = rc ? rc : pages_must_be_huge(t, p, p->at, p->bytes);
	rc = rc ? rc : make_lists(t, s);
	if (!rc && t->cell->values[HOW] == HOW_MIGRATE_PAGES)
		rc = take_along(t, s);
	/* Wherever the first touch put them: now to the first node. */
	s->on = 1;
	return rc ? rc : arrive(t, s, HOW_MOVE_PAGES, migrate(s, HOW_MOVE_PAGES));
}

static int operate(struct tm_thread *t, void *state)
{
	struct slot *s = &((struct state *)state)->slot[t->index];
	struct pages *p = s->pages;
	uint32_t base_pages = (uint32_t)(p->bytes / t->page_bytes);
	uint64_t how = t->cell->values[HOW];
	int rc = 0;

	while (!rc && tm_more(t)) {
		long left;

		pages_publish(t, p->at, p->bytes, p->page_bytes);
		tm_begin(t);
		left = migrate(s, how);
		tm_end(t, base_pages);
		rc = arrive(t, s, how, left);
		rc = rc ? rc : return_alone(t, s);
	}
	return rc;
}

/* ---- the oracle ---- */

/*
 * Migrates v->rounds times while the pages are written to: an update through a
 * translation that should be gone would go to the old page and be lost.
 */
static int check_updates(struct tm_thread *t, struct slot *s, struct tm_verdict *v)
{
	struct updates u = {0};
	uint64_t how = t->cell->values[HOW];
	int rc = updates_start(t, &u, s->pages->at, s->pages->bytes, s->pages->page_bytes);

	if (rc)
		return rc;
	for (uint64_t i = 0; i < v->rounds && !rc; i++) {
		rc = arrive(t, s, how, migrate(s, how));
		rc = rc ? rc : return_alone(t, s);
	}
	updates_stop(&u);
	if (!rc)
		updates_check(&u, v);
	return rc;
}

/*
 * Every CPU reads the pages, which then move; every CPU must find the same
 * content at their new place, and a store of one, in turn, must be seen by all.
 * One whose translation was not flushed would store to the old page.
 */
static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	struct slot *s = &((struct state *)state)->slot[t->index];
	struct pages *p = s->pages;
	struct oracle o = {.t = t, .v = v, .stride = p->page_bytes};
	uint64_t how = t->cell->values[HOW];
	int rc = 0;

	while (!rc && oracle_next(&o, p->bytes)) {
		unsigned int writer = (unsigned int)(o.rounds % witness_count(t));
		volatile uint64_t *word =
			(volatile uint64_t *)(p->at + o.offset[o.rounds % o.picks]);
		uint64_t value = tm_random(t);

		oracle_write(&o, p->at);
		oracle_see(&o, p->at, ORACLE_STAMP, "before the migration");
		rc = arrive(t, s, how, migrate(s, how));
		if (rc)
			break;
		oracle_see(&o, p->at, ORACLE_STAMP, "after the migration");
		rc = witness_store(t, writer, word, value);
		rc = rc ? rc : witness_all_read(t, word, value, "stored after the migration", v);
		rc = rc ? rc : return_alone(t, s);
	}
	rc = rc ? rc : pages_must_be_huge(t, p, p->at, p->bytes);
	rc = rc ? rc : check_updates(t, s, v);
	return rc ? tm_fail(t, rc, "checking a migration") : 0;
}

static void teardown(void *state)
{
	struct state *all = state;

	for (unsigned int i = 0; i < all->count; i++) {
		struct slot *s = &all->slot[i];

		free(s->address);
		free(s->status);
		for (int k = 0; k < 2; k++) {
			free(s->node[k]);
			if (s->mask[k])
				numa_free_nodemask(s->mask[k]);
		}
	}
	if (all->set)
		pages_set_free(all->set);
	free(all);
}

const struct tm_workload tm_workload_migrate = {
	.name = "migrate",
	.summary = "moving pages in use to another memory node",
	.op = "one migration of --pages pages in use to the other of two nodes",
	.flushes = "try_to_unmap_flush",
	.gate = TM_GATE_EVERY,
	.switches = true, /* lru_cache_disable() waits for every CPU */
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
