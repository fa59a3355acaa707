// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * vmap: kernel addresses are mapped and unmapped, by vmap() and vunmap(),
 * vm_map_ram(), vmalloc() or with huge pages. Needs the module tlbmark_vmap.
 *
 * Lazily (the kernel's way) unmapping flushes nothing: the area waits, and a
 * worker purges all that wait by one flush, drain_vmap_area_work() ->
 * flush_tlb_kernel_range(), when they are more than fls(online CPUs) x 32 MiB.
 * That worker runs beside the operations: some of them meet it, so there are
 * two modes, and how many operations there are to a purge is told beside the
 * times. Eagerly, vm_unmap_aliases() follows each unmapping and flushes it.
 *
 * The flush goes to every CPU that is online, whoever runs there. Up to the
 * ceiling (33 pages, the guard page among them) it is by page, then of all.
 *
 * Timed, in the kernel: the parts that --timed names. `shootdown` is the flush
 * without the kernel's search for areas, which takes its time by how many there
 * are: what it takes is comparable between kernels and boots. What --touch adds, a
 * function call on the responders' CPUs, is not timed, but counted by the probe
 * as the interrupt that it is. It does not measure the system call around all
 * that, nor what using the pages costs.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <tlbmark/uapi_vmap.h>
#include <tlbmark/workload.h>

#include "kmod.h"
#include "vmap_area.h"

enum { HOW, PAGES, MODE, TIMED, TOUCH, FREE, BATCH };
enum { LAZY, EAGER };
enum { MAP, UNMAP, FLUSH, RELEASE, ALL, SHOOTDOWN };

static const char *const modes[] = {"lazy", "eager", NULL};
static const char *const parts[] = {"map", "unmap", "flush", "release", "all", "shootdown", NULL};
static const char *const answers[] = {"no", "yes", NULL};
static const char *const places[] = {"here", "cpu", "interrupt", NULL};

static const uint32_t part_masks[] = {
	[MAP] = TM_VMAP_TIME_MAP,     [UNMAP] = TM_VMAP_TIME_UNMAP,
	[FLUSH] = TM_VMAP_TIME_FLUSH, [RELEASE] = TM_VMAP_TIME_UNMAP | TM_VMAP_TIME_FLUSH,
	[ALL] = TM_VMAP_TIME_ALL,     [SHOOTDOWN] = TM_VMAP_TIME_SHOOTDOWN,
};

static const struct tm_param params[] = {
	[HOW] = {.name = "how",
		 .unit = "",
		 .help = "by which functions an area is mapped and unmapped",
		 .kind = TM_PARAM_CHOICE,
		 .choices = vmap_area_kinds,
		 .def = "vmap",
		 .full = "vmap,vm_map_ram,vmalloc"},
	[PAGES] = {.name = "pages",
		   .unit = "pages",
		   .help = "of an area, its guard page not counted",
		   .kind = TM_PARAM_UINT,
		   .min = 1,
		   .max = TM_VMAP_PAGES_MAX,
		   .def = "16",
		   .full = "1,16,32,33,512"},
	[MODE] = {.name = "mode",
		  .unit = "",
		  .help = "flushed some time later, or by vm_unmap_aliases at once",
		  .kind = TM_PARAM_CHOICE,
		  .choices = modes,
		  .def = "lazy",
		  .plan = "lazy,eager",
		  .exact = "eager"},
	[TIMED] = {.name = "timed",
		   .unit = "",
		   .help = "mapping, unmapping, vm_unmap_aliases, these two, all three, or only"
			   " the flush_tlb_kernel_range within",
		   .kind = TM_PARAM_CHOICE,
		   .choices = parts,
		   .def = "release",
		   .exact = "shootdown"},
	[TOUCH] = {.name = "touch",
		   .unit = "",
		   .help = "are the pages read on the responders' CPUs before the unmapping",
		   .kind = TM_PARAM_CHOICE,
		   .choices = answers,
		   .def = "no"},
	[FREE] = {.name = "free",
		  .unit = "",
		  .help = "unmapped by the initiator, on the first responder's CPU, or by vfree"
			  " in an interrupt, which defers it",
		  .kind = TM_PARAM_CHOICE,
		  .choices = places,
		  .def = "here"},
	[BATCH] = KMOD_BATCH_PARAM("1"),
	{.name = NULL},
};

enum { HUGE_AREAS };
static const char *const counters[] = {"huge_areas", NULL};

struct state {
	int *fds;
	unsigned int count;
	struct tm_vmap_run request;
	unsigned char mask[KMOD_MASK_BYTES];
};

static int probe(char *why, size_t why_size)
{
	return kmod_probe("vmap", why, why_size);
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	const uint64_t *v = c->values;
	const char *reason = NULL;

	if ((v[TIMED] == FLUSH || v[TIMED] == SHOOTDOWN) && v[MODE] == LAZY)
		reason = "lazily nothing is flushed that could be timed: --mode eager, or"
			 " --timed release";
	else if (v[TOUCH] && v[TIMED] == ALL)
		reason = "the reading lies in the middle of what is timed: --timed map or release";
	else if ((v[TOUCH] || v[FREE] == TM_VMAP_CPU) && !c->responders)
		reason = "that takes another CPU: --responders 1 or more";
	else if (v[FREE] == TM_VMAP_INTERRUPT && v[HOW] != TM_VMAP_VMALLOC &&
		 v[HOW] != TM_VMAP_HUGE)
		reason = "only vfree may be called in an interrupt: --how vmalloc";
	else if (v[FREE] != TM_VMAP_HERE &&
		 (v[TIMED] == ALL || (v[TIMED] == RELEASE && v[MODE] == EAGER)))
		reason =
			"what is done on two CPUs is not timed as one: --timed map, unmap or flush";
	if (reason)
		snprintf(why, why_size, "%s", reason);
	return reason ? -ENOTSUP : 0;
}

static enum tm_gate gate_of(const struct tm_cell_args *c)
{
	bool timed = part_masks[c->values[TIMED]] & (TM_VMAP_TIME_FLUSH | TM_VMAP_TIME_SHOOTDOWN);

	return c->values[MODE] == EAGER && timed ? TM_GATE_EVERY : TM_GATE_SOME;
}

static double kernel_flushes_per_op(const struct tm_cell_args *c)
{
	if (c->values[MODE] == EAGER)
		return 1;
	return 1.0 /
	       (double)vmap_area_per_purge((enum tm_vmap_how)c->values[HOW], c->values[PAGES]);
}

static int setup(struct tm_thread *t, void **state)
{
	const uint64_t *v = t->cell->values;
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return tm_fail(t, -ENOMEM, "state");
	*state = s;
	s->count = t->cell->initiators;
	s->request = (struct tm_vmap_run){
		.how = (uint32_t)v[HOW],
		.pages = (uint32_t)v[PAGES],
		.timed = part_masks[v[TIMED]],
		.flags = v[MODE] == EAGER ? TM_VMAP_EAGER : 0,
		.where = (uint32_t)v[FREE],
		.cpu = v[FREE] == TM_VMAP_CPU ? tm_responder_cpu(t, 0) : 0,
	};
	if (v[MODE] == LAZY)
		s->request.timed &= ~TM_VMAP_TIME_FLUSH;
	if (v[TOUCH]) {
		kmod_mask_responders(t, s->mask);
		s->request.mask = (uintptr_t)s->mask;
		s->request.mask_bytes = sizeof(s->mask);
	}
	return kmod_open_each(t, "vmap", &s->fds);
}

static int operate(struct tm_thread *t, void *state)
{
	const struct state *s = state;
	int rc = 0;

	while (!rc && tm_more(t)) {
		struct tm_vmap_run request = s->request;

		rc = kmod_call(t, s->fds[t->index], TM_VMAP_RUN, &request.run,
			       (uint32_t)t->cell->values[BATCH]);
		if (!rc && request.huge)
			tm_count(t, HUGE_AREAS, request.huge);
	}
	return rc;
}

static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	const struct state *s = state;

	return vmap_area_verify(t, s->fds[0], (enum tm_vmap_how)s->request.how, s->request.pages,
				v);
}

static void teardown(void *state)
{
	struct state *s = state;

	if (!s)
		return;
	kmod_close_each(s->fds, s->count);
	free(s);
}

const struct tm_workload tm_workload_vmap = {
	.name = "vmap",
	.summary = "kernel addresses mapped and unmapped, flushed at once or lazily",
	.op = "mapping, unmapping and flushing of one area, the parts that --timed names",
	.flushes = "flush_tlb_kernel_range, from __purge_vmap_area_lazy",
	.needs = TM_NEEDS_ROOT | TM_NEEDS_KMOD,
	.gate = TM_GATE_SOME,
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
