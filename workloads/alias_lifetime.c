// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * alias_lifetime: how long a kernel address that vunmap() has unmapped stays
 * reachable from another CPU. Needs the module tlbmark_vmap.
 *
 * The initiator maps and unmaps, lazily, again and again. Now and then a thread
 * on the first responder's CPU reads through an area while it is mapped, so
 * that its TLB holds the translation; vunmap() clears the page tables but
 * flushes nothing, and that thread tries until it can read no more. The time
 * of an operation is that of one such alias, from vunmap()'s return to the
 * first load that fails: by the purge (drain_vmap_area_work() ->
 * flush_tlb_kernel_range()) or, counted as `evicted`, because other
 * translations displaced it.
 *
 * Aliases are watched at any distance from the next purge, at random, so the
 * distribution is what a stale alias of an arbitrary vunmap() would meet: a call
 * begins just after a purge and watches from a random one of the next PERIODS
 * predicted periods on. Where purges come later than predicted the last part of a
 * period is watched less often, by about one in PERIODS. Each call watches on
 * until all of its aliases have ended, and none is passed over. It
 * says nothing of a CPU that never held the translation, which cannot reach it
 * at all, nor of speculation. Every load goes through a TLB entry that was
 * there before; the pages are freed only after everything was flushed.
 *
 * Operations overlap, so gaps belong to none of them. The counters are of whole
 * calls; each operation has its share of its call's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include <tlbmark/uapi_vmap.h>
#include <tlbmark/workload.h>

#include "kmod.h"
#include "vmap_area.h"

enum { PAGES, EVERY, INTERVAL, BATCH };
enum {
	/* As many as the module can watch at a time: then it need not leave any out,
	 * which would be one that comes while old ones live, so the sample too old. */
	BATCH_MAX = TM_VMAP_WATCHED_MAX,
	PERIODS = 4,
};

static const struct tm_param params[] = {
	[PAGES] = {.name = "pages",
		   .unit = "pages",
		   .help = "of an area, its guard page not counted",
		   .kind = TM_PARAM_UINT,
		   .min = 1,
		   .max = TM_VMAP_PAGES_MAX,
		   .def = "16"},
	[EVERY] = {.name = "every",
		   .unit = "unmaps",
		   .help = "one in so many is watched",
		   .kind = TM_PARAM_UINT,
		   .min = 1,
		   .max = 1u << 20,
		   .def = "16"},
	[INTERVAL] = {.name = "interval",
		      .unit = "ns",
		      .help = "from one vunmap to the next at least",
		      .kind = TM_PARAM_UINT,
		      .min = 0,
		      .max = TM_VMAP_INTERVAL_NS_MAX,
		      .def = "0"},
	[BATCH] = {.name = "batch",
		   .unit = "aliases",
		   .help = "watched in one call into the kernel",
		   .kind = TM_PARAM_UINT,
		   .min = 1,
		   .max = BATCH_MAX,
		   .def = "64"},
	{.name = NULL},
};

enum { UNMAPS, EVICTED };
static const char *const counters[] = {"unmaps", "evicted", NULL};

/*
 * A call takes a period of the purge at least, however few it watches: what it
 * measured is kept here, and handed out as operations are asked for.
 */
struct measured {
	uint32_t count, next;
	uint64_t unmaps, evicted;
	struct tm_sample samples[BATCH_MAX];
};

struct state {
	int *fds;
	struct measured *measured; /* of an initiator each */
	unsigned int count;
	uint32_t before_max; /* unmappings before the first that is watched, at most */
	struct tm_vmap_lifetime request;
};

static int probe(char *why, size_t why_size)
{
	return kmod_probe("vmap", why, why_size);
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	if (c->responders)
		return 0;
	snprintf(why, why_size, "the aliases are read on another CPU: --responders 1 or more");
	return -ENOTSUP;
}

static int setup(struct tm_thread *t, void **state)
{
	const uint64_t *v = t->cell->values;
	const uint64_t before = PERIODS * vmap_area_per_purge(TM_VMAP_VMAP, v[PAGES]) - 1;
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return tm_fail(t, -ENOMEM, "state");
	*state = s;
	s->count = t->cell->initiators;
	s->before_max = before < TM_VMAP_LAZY_MAX ? (uint32_t)before : TM_VMAP_LAZY_MAX;
	s->request = (struct tm_vmap_lifetime){
		.reader = tm_responder_cpu(t, 0),
		.pages = (uint32_t)v[PAGES],
		.every = (uint32_t)v[EVERY],
		.interval_ns = (uint32_t)v[INTERVAL],
	};
	s->measured = calloc(s->count, sizeof(*s->measured));
	if (!s->measured)
		return tm_fail(t, -ENOMEM, "samples");
	return kmod_open_each(t, "vmap", &s->fds);
}

static int measure(struct tm_thread *t, const struct state *s, struct measured *m)
{
	struct tm_vmap_lifetime request = s->request;
	int rc;

	request.run.samples = (uintptr_t)m->samples;
	request.run.operations = (uint32_t)t->cell->values[BATCH];
	request.before = (uint32_t)(tm_random(t) % (s->before_max + 1));
	tm_arm(t);
	*t->in_operation = 1;
	rc = ioctl(s->fds[t->index], TM_VMAP_LIFETIME, &request);
	*t->in_operation = 0;
	if (rc && errno != EINTR)
		return tm_fail(t, -errno, "watching aliases");
	m->count = request.run.done;
	m->next = 0;
	m->unmaps = request.unmaps;
	m->evicted = request.evicted;
	return 0;
}

/* What is left of the call's counts, shared out among the operations that are left. */
static void count_share(struct tm_thread *t, unsigned int index, uint64_t *left,
			uint32_t operations)
{
	uint64_t share = *left / operations;

	tm_count(t, index, share);
	*left -= share;
}

static int operate(struct tm_thread *t, void *state)
{
	const struct state *s = state;
	struct measured *m = &s->measured[t->index];
	int rc = 0;

	while (!rc && tm_more(t)) {
		const struct tm_sample *sample = &m->samples[m->next];

		if (m->next == m->count) {
			rc = measure(t, s, m);
			continue;
		}
		tm_commit(t, sample->begin_ticks, sample->begin_ticks + sample->op_ticks,
			  sample->pages);
		if (!t->index)
			tm_life(t, sample->op_ticks);
		count_share(t, UNMAPS, &m->unmaps, m->count - m->next);
		count_share(t, EVICTED, &m->evicted, m->count - m->next);
		m->next++;
	}
	return rc;
}

static void teardown(void *state)
{
	struct state *s = state;

	if (!s)
		return;
	kmod_close_each(s->fds, s->count);
	free(s->measured);
	free(s);
}

const struct tm_workload tm_workload_alias_lifetime = {
	.name = "alias_lifetime",
	.summary = "how long a lazily unmapped kernel address stays reachable from another CPU",
	.op = "the life of one stale alias, from vunmap() to the first load that fails",
	.flushes = "flush_tlb_kernel_range, from __purge_vmap_area_lazy",
	.needs = TM_NEEDS_ROOT | TM_NEEDS_KMOD,
	.gate = TM_GATE_SOME,
	.kernel_range = true,
	.overlap = true,
	.no_control = true, /* whoever runs there is interrupted */
	.params = params,
	.counters = counters,
	.probe = probe,
	.probe_cell = probe_cell,
	.setup = setup,
	.operate = operate,
	.teardown = teardown,
};
