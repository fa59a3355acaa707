// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * isolated: somebody else's work on a housekeeping CPU, and how often it
 * interrupts a CPU that was to be left alone.
 *
 * The responders run user code, in a process of their own, on isolated CPUs
 * (NOHZ_FULL ones before others); they make no system call and take no page
 * fault. One operation is one piece of work of the initiator's process
 * (--hammer):
 * - none: some microseconds of pauses in user mode. What is left is the kernel's own: a residual tick, say.
 * - munmap: an area of its own address space. The flush goes to the CPUs that
 *   ran in it, so to none of the isolated ones.
 * - vmap-lazy, vmap-eager: a kernel mapping made and undone, flushed by the
 *   purge of many at once, or by vm_unmap_aliases() each time. Kernel addresses
 *   are everybody's: the flush interrupts every CPU.
 * - set-memory: a page of the direct map made uncached and cached again, which
 *   is two flushes of every CPU.
 * - module-load: the module file that TLBMARK_MODULE names is loaded and
 *   unloaded: mappings, their permissions, and patched code, for which every
 *   CPU must serialise (do_sync_core).
 *
 * Timed: that work, with the wait until all CPUs have answered. What counts is
 * the responders' side, which the records tell whenever it was: the metric
 * `interruption`, the causes and functions, and /proc/interrupts. It does not
 * measure the time inside the kernel apart from what entry and exit cost, nor
 * the caches and TLBs that user code finds afterwards.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <tlbmark/uapi_vmap.h>
#include <tlbmark/workload.h>

#include "kmod.h"
#include "vmap_area.h"

enum { HAMMER, PAGES };
enum { NONE, MUNMAP, VMAP_LAZY, VMAP_EAGER, SET_MEMORY, MODULE_LOAD };
enum {
	PAUSES = 256,
	LAZY_BATCH = 16, /* few of these interrupt anybody: one system call for so many */
	MODULE_NAME = 56 /* MODULE_NAME_LEN, include/linux/moduleparam.h */
};
#define MODULE_VARIABLE "TLBMARK_MODULE"

static const char *const hammers[] = {"none",	    "munmap",	   "vmap-lazy", "vmap-eager",
				      "set-memory", "module-load", NULL};

static const struct tm_param params[] = {
	[HAMMER] = {.name = "hammer",
		    .unit = "",
		    .help = "what the initiator does beside the isolated CPUs",
		    .kind = TM_PARAM_CHOICE,
		    .choices = hammers,
		    .def = "none",
		    .plan = "none,munmap,vmap-lazy,vmap-eager,set-memory",
		    .full = "all"},
	[PAGES] = {.name = "pages",
		   .unit = "pages",
		   .help = "of an area (munmap, vmap-*, set-memory)",
		   .kind = TM_PARAM_UINT,
		   .min = 1,
		   .max = TM_VMAP_ATTRIBUTE_PAGES_MAX,
		   .def = "16"},
	{.name = NULL},
};

struct state {
	uint64_t hammer;
	size_t pages;
	int fd; /* the device or the module file; -1: none */
	char module[MODULE_NAME];
};

/* The name under which "some/where/tlbmark-ipi.ko" is loaded. */
static void name_module(const char *path, char name[MODULE_NAME])
{
	const char *base = strrchr(path, '/');
	size_t length;

	base = base ? base + 1 : path;
	length = strcspn(base, ".");
	snprintf(name, MODULE_NAME, "%.*s", (int)(length < MODULE_NAME ? length : 0), base);
	for (char *c = name; *c; c++)
		if (*c == '-')
			*c = '_';
}

static int probe_module(char *why, size_t why_size)
{
	const char *path = getenv(MODULE_VARIABLE);

	if (!path || access(path, R_OK))
		snprintf(why, why_size,
			 "no module to load: set " MODULE_VARIABLE
			 " to the .ko file of one that is "
			 "not loaded and that nothing needs");
	else if (geteuid())
		snprintf(why, why_size, "loading a module takes root");
	else
		return 0;
	return -ENOTSUP;
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	if (!c->responders) {
		snprintf(why, why_size,
			 "without a responder nobody is interrupted: --responders 1 or more");
		return -ENOTSUP;
	}
	if (c->initiators > 1) {
		snprintf(why, why_size,
			 "beside several initiators nobody looks for gaps: --initiators 1");
		return -ENOTSUP;
	}
	switch (c->values[HAMMER]) {
	case VMAP_LAZY:
	case VMAP_EAGER:
	case SET_MEMORY:
		return kmod_probe("vmap", why, why_size);
	case MODULE_LOAD:
		return probe_module(why, why_size);
	default:
		return 0;
	}
}

/* What the source predicts (mm/vmalloc.c, arch/x86/mm/pat/set_memory.c). */
static double kernel_flushes_per_op(const struct tm_cell_args *c)
{
	switch (c->values[HAMMER]) {
	case VMAP_LAZY:
		return 1.0 / (double)vmap_area_per_purge(TM_VMAP_VMAP, c->values[PAGES]);
	case VMAP_EAGER:
		return 1;
	case SET_MEMORY:
		return 2;
	default:
		return 0;
	}
}

static int setup(struct tm_thread *t, void **state)
{
	struct state *s = calloc(1, sizeof(*s));
	const char *path = getenv(MODULE_VARIABLE);

	if (!s)
		return tm_fail(t, -ENOMEM, "state");
	if (!path)
		path = "";
	*state = s;
	s->hammer = t->cell->values[HAMMER];
	s->pages = t->cell->values[PAGES];
	s->fd = -1;
	if (s->hammer == MODULE_LOAD) {
		name_module(path, s->module);
		s->fd = open(path, O_RDONLY | O_CLOEXEC);
		if (s->fd < 0)
			return tm_fail(t, -errno, "%s", path);
	} else if (s->hammer != NONE && s->hammer != MUNMAP) {
		s->fd = kmod_open(t, "vmap");
		if (s->fd < 0)
			return s->fd;
	}
	return 0;
}

/* Without the kernel, and about as long as other hammers take. */
static int do_nothing(struct tm_thread *t)
{
	while (tm_more(t)) {
		tm_begin(t);
		for (int i = 0; i < PAUSES; i++)
			tm_relax();
		tm_end(t, 0);
	}
	return 0;
}

static int do_munmap(struct tm_thread *t, const struct state *s)
{
	size_t bytes = s->pages * t->page_bytes;

	while (tm_more(t)) {
		char *area = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				  -1, 0);
		int rc;

		if (area == MAP_FAILED)
			return tm_fail(t, -errno, "mmap of %zu bytes", bytes);
		for (size_t i = 0; i < bytes; i += t->page_bytes)
			((volatile char *)area)[i] = 1;
		tm_begin(t);
		rc = munmap(area, bytes);
		tm_end(t, (uint32_t)s->pages);
		if (rc)
			return tm_fail(t, -errno, "munmap of %zu bytes", bytes);
	}
	return 0;
}

static int do_vmap(struct tm_thread *t, const struct state *s)
{
	const bool eager = s->hammer == VMAP_EAGER;
	struct tm_vmap_run request = {
		.how = TM_VMAP_VMAP,
		.pages = (uint32_t)s->pages,
		.timed = TM_VMAP_TIME_MAP | TM_VMAP_TIME_UNMAP | (eager ? TM_VMAP_TIME_FLUSH : 0),
		.flags = eager ? TM_VMAP_EAGER : 0,
		.where = TM_VMAP_HERE,
	};

	return kmod_operate(t, s->fd, TM_VMAP_RUN, &request.run, eager ? 1 : LAZY_BATCH);
}

static int do_set_memory(struct tm_thread *t, const struct state *s)
{
	struct tm_vmap_attribute_run request = {
		.attribute = TM_VMAP_UC,
		.pages = (uint32_t)s->pages,
		.timed = TM_VMAP_TIME_SET | TM_VMAP_TIME_RESET,
	};

	return kmod_operate(t, s->fd, TM_VMAP_ATTRIBUTE, &request.run, 1);
}

static int do_module(struct tm_thread *t, const struct state *s)
{
	while (tm_more(t)) {
		long rc;

		tm_begin(t);
		rc = syscall(SYS_finit_module, s->fd, "", 0);
		if (rc)
			return tm_fail(t, -errno, "loading the module %s", s->module);
		rc = syscall(SYS_delete_module, s->module, O_NONBLOCK);
		tm_end(t, 0);
		if (rc)
			return tm_fail(t, -errno, "unloading the module %s", s->module);
	}
	return 0;
}

static int operate(struct tm_thread *t, void *state)
{
	const struct state *s = state;

	switch (s->hammer) {
	case MUNMAP:
		return do_munmap(t, s);
	case VMAP_LAZY:
	case VMAP_EAGER:
		return do_vmap(t, s);
	case SET_MEMORY:
		return do_set_memory(t, s);
	case MODULE_LOAD:
		return do_module(t, s);
	default:
		return do_nothing(t);
	}
}

static void teardown(void *state)
{
	struct state *s = state;

	if (s->fd >= 0)
		close(s->fd);
	free(s);
}

const struct tm_workload tm_workload_isolated = {
	.name = "isolated",
	.summary = "how others' work interrupts user code on an isolated CPU",
	.op = "one piece of the work that --hammer names, in another process",
	.flushes = "",
	.gate = TM_GATE_SOME,
	.no_control = true, /* its responders are foreign; --hammer none is the control */
	.kernel_flushes_per_op = kernel_flushes_per_op,
	.foreign = true,
	.state = "isolated",
	.params = params,
	.probe_cell = probe_cell,
	.setup = setup,
	.operate = operate,
	.teardown = teardown,
};
