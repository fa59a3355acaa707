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
 *
 * The oracle: a page that is cached otherwise than the TLB says cannot be told
 * from one that is not. So verify() takes the right to write away, by
 * set_memory_ro(), which goes the same way through cpa_flush(); each CPU's
 * store must fail from then on. What was unmapped lazily before must be purged
 * by it, and the vfree() of such memory must purge at once.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/ioctl.h>

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

/* One violation for each page of each CPU on which it still went well. */
static void check(struct tm_verdict *v, const struct tm_vmap_permission *p, enum tm_vmap_stale what,
		  uint64_t looks)
{
	static const char *const whats[] = {
		[TM_VMAP_STALE_DIRECT] = "stores to the direct map went through after"
					 " set_memory_ro()",
		[TM_VMAP_STALE_ALIAS] = "loads from an unmapped area succeeded after"
					" set_memory_ro() of its page",
		[TM_VMAP_STALE_AREA] = "stores to a vmap area went through after set_memory_ro()",
		[TM_VMAP_STALE_FREED] = "loads from a read-only area succeeded after its vfree()",
	};
	uint64_t stale = p->after[what];

	for (uint64_t i = 0; i < looks; i++)
		tm_check(v, i >= stale,
			 "%" PRIu64 " of %" PRIu64 " %s, one of them on CPU %u at %#llx", stale,
			 looks, whats[what], p->cpu[what], p->address[what]);
}

static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	const struct state *s = state;
	unsigned char mask[KMOD_MASK_BYTES];

	kmod_mask_responders(t, mask);
	kmod_mask_add(mask, t->cpu);
	for (uint64_t round = 0; round < v->rounds; round++) {
		struct tm_vmap_permission request = {
			.mask = (uintptr_t)mask,
			.mask_bytes = sizeof(mask),
			.pages = (uint32_t)t->cell->values[PAGES],
		};
		const uint64_t cpus = t->cell->responders + UINT64_C(1);
		uint64_t looks;
		int rc = ioctl(s->fds[0], TM_VMAP_PERMISSION, &request);

		/* Then nothing is checked, and nothing said to be right. */
		if (rc && errno == EOPNOTSUPP) {
			tm_unchecked(v, "set_memory_ro() is only reached on x86, in kernels with "
					"an interpreter of BPF (no CONFIG_BPF_JIT_ALWAYS_ON)");
			return 0;
		}
		if (rc)
			return tm_fail(t, -errno, "taking the right to write from %u pages",
				       request.pages);
		looks = request.before[TM_VMAP_STALE_DIRECT];
		/* The module leaves out who is offline. */
		if (looks < cpus)
			return tm_fail(t, -ENXIO, "%" PRIu64 " stores by %" PRIu64 " CPUs", looks,
				       cpus);
		tm_check(v, looks == request.before[TM_VMAP_STALE_AREA],
			 "%" PRIu64 " stores to the direct map and %llu to an area, of %" PRIu64
			 " CPUs, went through before set_memory_ro()",
			 looks, request.before[TM_VMAP_STALE_AREA], cpus);
		check(v, &request, TM_VMAP_STALE_DIRECT, looks);
		check(v, &request, TM_VMAP_STALE_ALIAS, cpus);
		check(v, &request, TM_VMAP_STALE_AREA, looks);
		check(v, &request, TM_VMAP_STALE_FREED, looks);
	}
	return 0;
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
	.verify = verify,
	.teardown = teardown,
};
