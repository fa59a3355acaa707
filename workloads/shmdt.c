// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * shmdt: detaches a populated System V shared memory segment.
 *
 * Timed: one shmdt(). The kernel looks for the segment's mappings from that
 * address on and unmaps them, which flushes in tlb_finish_mmu() ->
 * flush_tlb_mm_range(): by range up to the ceiling (33 strides on x86), the
 * whole TLB beyond. Neighbours keep the page tables at the edges; the segment
 * is attached once more elsewhere, so its pages stay, too.
 *
 * It does not measure the end of a segment (the last shmdt() frees the pages),
 * nor shmat() and the page faults after it, which are outside the clock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

#include <tlbmark/workload.h>

#include "oracle.h"
#include "pages.h"

enum { PAGES, KIND };
enum { KIND_4K, KIND_HUGETLB };

static const char *const kinds[] = {"4k", "hugetlb", NULL};

static const struct tm_param shmdt_params[] = {
	[PAGES] = PAGES_PARAM("1", "1,8,32..34,512,4096,262144"),
	[KIND] = PAGES_CHOICE_PARAM("kind", "base pages or hugetlb pages", kinds, "4k",
				    "4k,hugetlb"),
	{.name = NULL},
};

struct segment {
	int id;	    /* -1: none; gone with its last attachment */
	void *kept; /* where it is attached for good; MAP_FAILED: nowhere */
};

struct state {
	void *set; /* of pages */
	unsigned int count;
	struct segment segment[];
};

static enum pages_kind kind_of(const struct tm_cell_args *c)
{
	return c->values[KIND] == KIND_HUGETLB ? PAGES_HUGETLB : PAGES_4K;
}

static int shmdt_probe(char *why, size_t why_size)
{
	/* A segment of no size is refused by a kernel that has segments. */
	if (shmget(IPC_PRIVATE, 0, 0) < 0 && errno == ENOSYS) {
		snprintf(why, why_size,
			 "this kernel has no System V shared memory (CONFIG_SYSVIPC)");
		return -ENOTSUP;
	}
	return 0;
}

static int shmdt_probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	return pages_check(c, kind_of(c), PAGES_ANON, c->values[PAGES], why, why_size);
}

static int shmdt_knobs(const struct tm_cell_args *c, struct tm_sysstate *s)
{
	return pages_knobs(c, kind_of(c), PAGES_ANON, c->values[PAGES], s);
}

static int shmdt_setup(struct tm_thread *t, void **out)
{
	unsigned int n = t->cell->initiators;
	struct state *s = calloc(1, sizeof(*s) + n * sizeof(s->segment[0]));

	if (!s)
		return tm_fail(t, -ENOMEM, "no memory for %u initiators", n);
	for (s->count = 0; s->count < n; s->count++)
		s->segment[s->count] = (struct segment){.id = -1, .kept = MAP_FAILED};
	*out = s;
	return pages_set_new(t, &s->set);
}

static struct pages *pages_here(struct tm_thread *t, void *state)
{
	return pages_of(t, ((struct state *)state)->set);
}

/*
 * Marked for removal at once: it lives as long as something has it attached,
 * and so does not outlive a run that is killed.
 */
static int make_segment(struct tm_thread *t, struct segment *s, const struct pages *p)
{
	int flags = IPC_CREAT | 0600 | (p->kind == PAGES_HUGETLB ? SHM_HUGETLB : 0), error;

	s->id = shmget(IPC_PRIVATE, p->bytes, flags);
	if (s->id < 0 && errno == EPERM)
		return tm_fail(t, -ENOTSUP,
			       "shmget of huge pages (root or vm.hugetlb_shm_group may)");
	if (s->id < 0)
		return tm_fail(t, errno == EINVAL || errno == ENOSPC ? -ENOTSUP : -errno,
			       "shmget of %zu bytes (kernel.shmmax, shmall and shmmni limit it)",
			       p->bytes);
	s->kept = shmat(s->id, NULL, 0);
	error = errno;
	shmctl(s->id, IPC_RMID, NULL);
	return s->kept == MAP_FAILED
		       ? tm_fail(t, -error, "attaching a segment of %zu bytes", p->bytes)
		       : 0;
}

static int shmdt_prepare(struct tm_thread *t, void *state)
{
	struct pages *p = pages_here(t, state);
	int rc = pages_open(t, p, kind_of(t->cell), PAGES_ANON, t->cell->values[PAGES]);

	/* First: where the kernel chooses, it might choose the place between the neighbours. */
	if (!rc)
		rc = make_segment(t, &((struct state *)state)->segment[t->index], p);
	return rc ? rc : pages_place(t, p, PAGES_KEEP_TABLES, 1, 0);
}

static int attach(struct tm_thread *t, const struct segment *s, const struct pages *p)
{
	if (shmat(s->id, p->at, 0) == MAP_FAILED)
		return tm_fail(t, -errno, "shmat of %zu bytes", p->bytes);
	return pages_populate(t, p->at, p->bytes, p->page_bytes, false);
}

static int shmdt_operate(struct tm_thread *t, void *state)
{
	const struct segment *s = &((struct state *)state)->segment[t->index];
	struct pages *p = pages_here(t, state);
	uint32_t base_pages = (uint32_t)(p->bytes / t->page_bytes);
	int rc;

	while (tm_more(t)) {
		rc = attach(t, s, p);
		if (rc)
			return rc;
		pages_publish(t, p->at, p->bytes, p->page_bytes);
		tm_begin(t);
		rc = shmdt(p->at);
		tm_end(t, base_pages);
		if (rc)
			return tm_fail(t, -errno, "shmdt of %zu bytes", p->bytes);
	}
	return 0;
}

/*
 * After return the address faults, and attached again the segment has what was
 * in it. Without the flush a responder would read the stamp where nothing is.
 */
static int shmdt_verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	const struct segment *s = &((struct state *)state)->segment[t->index];
	struct pages *p = pages_here(t, state);
	struct oracle o = {.t = t, .v = v, .stride = t->page_bytes};
	int rc;

	while (oracle_next(&o, p->bytes)) {
		rc = attach(t, s, p);
		if (rc)
			return rc;
		oracle_write(&o, p->at);
		oracle_see(&o, p->at, ORACLE_STAMP, "before shmdt");
		if (shmdt(p->at))
			return tm_fail(t, -errno, "shmdt of %zu bytes", p->bytes);
		oracle_see(&o, p->at, ORACLE_FAULT, "after shmdt");
		oracle_see(&o, s->kept, ORACLE_STAMP, "where the segment is still attached");
	}
	return 0;
}

static void shmdt_teardown(void *state)
{
	struct state *s = state;

	for (unsigned int i = 0; i < s->count; i++) {
		if (s->segment[i].kept != MAP_FAILED)
			shmdt(s->segment[i].kept);
	}
	/* What is attached beside it lies in the reserved space, and goes with that. */
	if (s->set)
		pages_set_free(s->set);
	free(s);
}

const struct tm_workload tm_workload_shmdt = {
	.name = "shmdt",
	.summary = "detaching System V shared memory",
	.op = "one shmdt() of --pages pages",
	.flushes = "tlb_finish_mmu",
	.gate = TM_GATE_EVERY,
	.params = shmdt_params,
	.probe = shmdt_probe,
	.probe_cell = shmdt_probe_cell,
	.knobs = shmdt_knobs,
	.setup = shmdt_setup,
	.prepare = shmdt_prepare,
	.operate = shmdt_operate,
	.verify = shmdt_verify,
	.teardown = shmdt_teardown,
};
