// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * set_memory: pages of the direct map are made uncached or write combining, and
 * write back again, as graphics drivers do. Needs the module tlbmark_vmap.
 *
 * Timed, in the kernel: set_memory_uc() or set_memory_wc(), set_memory_wb(), or
 * both. Each calls vm_unmap_aliases(), and then cpa_flush(), which flushes the
 * pages on every CPU that is online (the whole TLB beyond 33 pages) and then
 * their cache lines; set_memory_wc() does that twice. Nothing waits lazily when
 * an operation begins, unless others leave something.
 *
 * It does not measure the split of the direct map's huge page: that happens
 * once, before, and stays when the run is over.
 */
#include <errno.h>
#include <stdlib.h>

#include <tlbmark/uapi_vmap.h>
#include <tlbmark/workload.h>

#include "kmod.h"

enum { TO, PAGES, TIMED, BATCH };
enum { SET, RESET, BOTH };

static const char *const attributes[] = {"uc", "wc", NULL};
static const char *const parts[] = {"set", "reset", "both", NULL};

static const uint32_t part_masks[] = {
	[SET] = TM_VMAP_TIME_SET,
	[RESET] = TM_VMAP_TIME_RESET,
	[BOTH] = TM_VMAP_TIME_SET | TM_VMAP_TIME_RESET,
};

static const struct tm_param params[] = {
	[TO] = {.name = "to",
		.unit = "",
		.help = "uncached or write combining",
		.kind = TM_PARAM_CHOICE,
		.choices = attributes,
		.def = "uc",
		.full = "uc,wc"},
	[PAGES] = {.name = "pages",
		   .unit = "pages",
		   .help = "of the direct map, in one piece",
		   .kind = TM_PARAM_UINT,
		   .min = 1,
		   .max = TM_VMAP_ATTRIBUTE_PAGES_MAX,
		   .def = "1",
		   .full = "1,33,34"},
	[TIMED] = {.name = "timed",
		   .unit = "",
		   .help = "the way there, the way back, or both",
		   .kind = TM_PARAM_CHOICE,
		   .choices = parts,
		   .def = "both"},
	[BATCH] = KMOD_BATCH_PARAM("1"),
	{.name = NULL},
};

struct state {
	int *fds;
	unsigned int count;
};

static int probe(char *why, size_t why_size)
{
	return kmod_probe("vmap", why, why_size);
}

/* The way back flushes once, whichever part is timed. */
static double kernel_flushes_per_op(const struct tm_cell_args *c)
{
	return c->values[TO] == TM_VMAP_WC ? 3 : 2;
}

static int setup(struct tm_thread *t, void **state)
{
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return tm_fail(t, -ENOMEM, "state");
	*state = s;
	s->count = t->cell->initiators;
	return kmod_open_each(t, "vmap", &s->fds);
}

static int operate(struct tm_thread *t, void *state)
{
	const struct state *s = state;
	const uint64_t *v = t->cell->values;
	struct tm_vmap_attribute_run request = {
		.attribute = (uint32_t)v[TO],
		.pages = (uint32_t)v[PAGES],
		.timed = part_masks[v[TIMED]],
	};

	return kmod_operate(t, s->fds[t->index], TM_VMAP_ATTRIBUTE, &request.run,
			    (uint32_t)v[BATCH]);
}

static void teardown(void *state)
{
	struct state *s = state;

	if (!s)
		return;
	kmod_close_each(s->fds, s->count);
	free(s);
}

const struct tm_workload tm_workload_set_memory = {
	.name = "set_memory",
	.summary = "pages of the direct map are made uncached, and cached again",
	.op = "set_memory_uc() or _wc(), set_memory_wb(), or both, on so many pages",
	.flushes = "cpa_flush",
	.needs = TM_NEEDS_ROOT | TM_NEEDS_KMOD,
	.gate = TM_GATE_EVERY,
	.kernel_flushes_per_op = kernel_flushes_per_op,
	.kernel_range = true,
	.no_control = true, /* whoever runs there is interrupted */
	.params = params,
	.probe = probe,
	.setup = setup,
	.operate = operate,
	.teardown = teardown,
};
