// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * vm_unmap_aliases: every lazily unmapped kernel address is flushed, now: the
 * call that set_memory_*() makes first, and whoever must know that nothing but
 * the direct map still leads to a page (a hypervisor's page tables, say). Needs
 * the module tlbmark_vmap.
 *
 * Timed, in the kernel: one vm_unmap_aliases() with a chosen number of pages
 * waiting, made just before in areas of the same size. It collects them
 * (__purge_vmap_area_lazy()), flushes by one flush_tlb_kernel_range() from the
 * lowest to the highest address, and frees the addresses; with none waiting it
 * flushes nobody, and is the control of the others.
 *
 * With --touch the responders' CPUs read each area while it is mapped, and
 * again just before and just after the call: how many stale aliases their TLBs
 * held. These readings are not timed; the probe counts their interrupts. One
 * that succeeds after the call fails the run.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <tlbmark/uapi_vmap.h>
#include <tlbmark/workload.h>

#include "kmod.h"
#include "vmap_area.h"

enum { WAITING, PAGES, TOUCH };

static const char *const answers[] = {"no", "yes", NULL};

static const struct tm_param params[] = {
	[WAITING] = {.name = "waiting",
		     .unit = "pages",
		     .help = "unmapped lazily before, guard pages too; in whole areas",
		     .kind = TM_PARAM_UINT,
		     .min = 0,
		     .max = TM_VMAP_LAZY_MAX,
		     .def = "1000",
		     .plan = "0,17,1000,8000",
		     .full = "0,17,34,51,1000,8000,16000"},
	[PAGES] = {.name = "pages",
		   .unit = "pages",
		   .help = "of one such area, without its guard page",
		   .kind = TM_PARAM_UINT,
		   .min = 1,
		   .max = TM_VMAP_PAGES_MAX,
		   .def = "16"},
	[TOUCH] = {.name = "touch",
		   .unit = "",
		   .help = "are the areas read on the responders' CPUs, before and after",
		   .kind = TM_PARAM_CHOICE,
		   .choices = answers,
		   .def = "no"},
	{.name = NULL},
};

enum { LOADS, STALE_BEFORE, STALE_AFTER };
static const char *const counters[] = {"loads_mapped", "loads_stale_before", "loads_stale_after",
				       NULL};

struct state {
	int *fds;
	unsigned int count;
	struct tm_vmap_aliases request;
	unsigned char mask[KMOD_MASK_BYTES];
};

static uint64_t areas_of(const struct tm_cell_args *c)
{
	return c->values[WAITING] / (c->values[PAGES] + 1);
}

static int probe(char *why, size_t why_size)
{
	return kmod_probe("vmap", why, why_size);
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	uint64_t most = vmap_area_lazy_max();

	if (c->values[WAITING] > most)
		snprintf(why, why_size,
			 "with more than %" PRIu64 " pages waiting the kernel purges them itself",
			 most);
	else if (c->values[WAITING] && !areas_of(c))
		snprintf(why, why_size, "an area and its guard page are more than what is to wait");
	else if (c->values[TOUCH] && !c->responders)
		snprintf(why, why_size, "that takes another CPU: --responders 1 or more");
	else
		return 0;
	return -ENOTSUP;
}

static enum tm_gate gate_of(const struct tm_cell_args *c)
{
	return areas_of(c) ? TM_GATE_EVERY : TM_GATE_NONE;
}

static double kernel_flushes_per_op(const struct tm_cell_args *c)
{
	return areas_of(c) ? 1 : 0;
}

static int setup(struct tm_thread *t, void **state)
{
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return tm_fail(t, -ENOMEM, "state");
	*state = s;
	s->count = t->cell->initiators;
	s->request = (struct tm_vmap_aliases){
		.how = TM_VMAP_VMAP,
		.pages = (uint32_t)t->cell->values[PAGES],
		.areas = (uint32_t)areas_of(t->cell),
	};
	if (t->cell->values[TOUCH]) {
		kmod_mask_responders(t, s->mask);
		s->request.mask = (uintptr_t)s->mask;
		s->request.mask_bytes = sizeof(s->mask);
	}
	return kmod_open_each(t, "vmap", &s->fds);
}

/* One call an operation: making the areas interrupts nobody, so all stay armed. */
static int operate(struct tm_thread *t, void *state)
{
	const struct state *s = state;
	int rc = 0;

	while (!rc && tm_more(t)) {
		struct tm_vmap_aliases request = s->request;

		rc = kmod_call(t, s->fds[t->index], TM_VMAP_ALIASES, &request.run, 1);
		if (rc || !request.mask)
			continue;
		tm_count(t, LOADS, request.loads);
		tm_count(t, STALE_BEFORE, request.stale_before);
		tm_count(t, STALE_AFTER, request.stale_after);
		if (request.stale_after)
			rc = tm_fail(t, -EUCLEAN,
				     "%llu of %llu loads still succeeded after the call",
				     request.stale_after, request.loads);
	}
	return rc;
}

static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	const struct state *s = state;

	return vmap_area_verify(t, s->fds[0], TM_VMAP_VMAP, s->request.pages, v);
}

static void teardown(void *state)
{
	struct state *s = state;

	if (!s)
		return;
	kmod_close_each(s->fds, s->count);
	free(s);
}

const struct tm_workload tm_workload_vm_unmap_aliases = {
	.name = "vm_unmap_aliases",
	.summary = "all lazily unmapped kernel addresses are flushed",
	.op = "one vm_unmap_aliases() with so many pages waiting",
	.flushes = "flush_tlb_kernel_range, from __purge_vmap_area_lazy",
	.needs = TM_NEEDS_ROOT | TM_NEEDS_KMOD,
	.gate = TM_GATE_EVERY,
	.gate_of = gate_of,
	.kernel_flushes_per_op = kernel_flushes_per_op,
	.kernel_range = true,
	.no_control = true, /* whoever runs there is interrupted */
	.params = params,
	.counters = counters,
	.probe = probe,
	.probe_cell = probe_cell,
	.setup = setup,
	.operate = operate,
	.verify = verify,
	.teardown = teardown,
};
