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
 * distribution is what a stale alias of an arbitrary vunmap() would meet. It
 * says nothing of a CPU that never held the translation, which cannot reach it
 * at all, nor of speculation. Every load goes through a TLB entry that was
 * there before; the pages are freed only after everything was flushed.
 *
 * The counters are of whole calls: of the first one's operations some may have
 * fallen into the warm-up, and of the last one's some are not asked for.
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
enum { BATCH_MAX = 4096 };

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

enum { UNMAPS, EVICTED, MISSED };
static const char *const counters[] = {"unmaps", "evicted", "not_watched", NULL};

/*
 * A call takes a period of the purge at least, however few it watches: what it
 * measured is kept here, and handed out as operations are asked for.
 */
struct measured {
	uint32_t count, next;
	uint64_t longest_ticks;
	struct tm_sample samples[BATCH_MAX];
};

struct state {
	int *fds;
	struct measured *measured; /* of an initiator each */
	unsigned int count;
	uint32_t period; /* unmappings a purge */
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
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return tm_fail(t, -ENOMEM, "state");
	*state = s;
	s->count = t->cell->initiators;
	s->period = (uint32_t)vmap_area_per_purge(TM_VMAP_VMAP, v[PAGES]);
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
	request.before = (uint32_t)(tm_random(t) % s->period);
	tm_arm(t);
	*t->in_operation = 1;
	rc = ioctl(s->fds[t->index], TM_VMAP_LIFETIME, &request);
	*t->in_operation = 0;
	if (rc && errno != EINTR)
		return tm_fail(t, -errno, "watching aliases");
	m->count = request.run.done;
	m->next = 0;
	m->longest_ticks = 0;
	for (uint32_t i = 0; i < m->count; i++)
		if (m->samples[i].op_ticks > m->longest_ticks)
			m->longest_ticks = m->samples[i].op_ticks;
	tm_count(t, UNMAPS, request.unmaps);
	tm_count(t, EVICTED, request.evicted);
	tm_count(t, MISSED, request.missed);
	return 0;
}

/* Was it stale at an age drawn at random? For the curve of those that are at time t. */
static void look(struct tm_thread *t, const struct measured *m, uint64_t lifetime_ticks)
{
	uint64_t age_ticks = tm_random(t) % (m->longest_ticks + 1);

	if (!t->index)
		tm_look_ticks(t, age_ticks, lifetime_ticks > age_ticks);
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
		look(t, m, sample->op_ticks);
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
	.no_control = true, /* whoever runs there is interrupted */
	.params = params,
	.counters = counters,
	.probe = probe,
	.probe_cell = probe_cell,
	.setup = setup,
	.operate = operate,
	.teardown = teardown,
};
