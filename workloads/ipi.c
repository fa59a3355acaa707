// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * ipi: other CPUs are made to run a function, and waited for: what a shootdown
 * costs before it flushes anything. Needs the module tlbmark_ipi.
 *
 * Timed, in the kernel: one smp_call_function_single() or _many(), or
 * on_each_cpu(__flush_tlb_all), which adds the flush of every CPU's whole TLB,
 * the initiator's too.
 *
 * It does not measure the system call around it, and unlike membarrier(2)
 * neither a check of who runs in which mm.
 *
 * The oracle: when a call has returned each CPU that it was for has run the
 * function once, and no other CPU has. Every shootdown rests on that.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <tlbmark/uapi_ipi.h>
#include <tlbmark/workload.h>

#include "kmod.h"

enum { HOW, BATCH };

static const char *const hows[] = {"single", "mask", "all", "flush-all", NULL};

static const struct tm_param params[] = {
	[HOW] = {.name = "how",
		 .unit = "",
		 .help = "one responder, the responders by mask, all CPUs, or all with a flush",
		 .kind = TM_PARAM_CHOICE,
		 .choices = hows,
		 .def = "mask",
		 .plan = "mask,flush-all",
		 .full = "single,mask,all,flush-all"},
	[BATCH] = KMOD_BATCH_PARAM("1"),
	{.name = NULL},
};

struct state {
	int fd;
	struct tm_ipi_run request;
	cpu_set_t *mask;
};

static int probe(char *why, size_t why_size)
{
	return kmod_probe("ipi", why, why_size);
}

static int probe_cell(const struct tm_cell_args *c, char *why, size_t why_size)
{
	const char *reason = NULL;

	if (c->values[HOW] == TM_IPI_SINGLE && c->responders > 1)
		reason = "one call interrupts one CPU: --responders 1";
	else if (c->values[HOW] != TM_IPI_FLUSH_ALL && !c->responders)
		reason = "without responders there is nobody to interrupt";
	if (reason)
		snprintf(why, why_size, "%s", reason);
	return reason ? -ENOTSUP : 0;
}

static int setup(struct tm_thread *t, void **state)
{
	struct state *s = calloc(1, sizeof(*s));
	uint64_t how = t->cell->values[HOW];

	if (!s)
		return tm_fail(t, -ENOMEM, "state");
	*state = s;
	s->fd = kmod_open(t, "ipi");
	if (s->fd < 0)
		return s->fd;
	s->request.how = (uint32_t)how;
	if (how != TM_IPI_SINGLE && how != TM_IPI_MASK)
		return 0;
	s->mask = CPU_ALLOC(TM_IPI_MASK_BYTES_MAX * 8);
	if (!s->mask)
		return tm_fail(t, -ENOMEM, "a mask of CPUs");
	CPU_ZERO_S(TM_IPI_MASK_BYTES_MAX, s->mask);
	for (unsigned int i = 0; i < t->cell->responders; i++)
		CPU_SET_S(tm_responder_cpu(t, i), TM_IPI_MASK_BYTES_MAX, s->mask);
	s->request.mask = (uintptr_t)s->mask;
	s->request.mask_bytes = (uint32_t)CPU_ALLOC_SIZE(sysconf(_SC_NPROCESSORS_CONF));
	return 0;
}

static int operate(struct tm_thread *t, void *state)
{
	const struct state *s = state;
	struct tm_ipi_run request = s->request;

	return kmod_operate(t, s->fd, TM_IPI_RUN, &request.run, (uint32_t)t->cell->values[BATCH]);
}

static int verify(struct tm_thread *t, void *state, struct tm_verdict *v)
{
	const struct state *s = state;

	for (uint64_t round = 0; round < v->rounds; round++) {
		struct tm_ipi_check check = {
			.mask = s->request.mask,
			.mask_bytes = s->request.mask_bytes,
			.how = s->request.how,
		};

		if (ioctl(s->fd, TM_IPI_CHECK, &check))
			return tm_fail(t, -errno, "a call of a function that counts");
		for (uint32_t i = 0; i < check.asked || i < check.wrong; i++)
			tm_check(
				v, i >= check.wrong,
				"%u CPUs ran a function otherwise than asked for when the call of %u"
				" had returned: CPU %u ran it %u times",
				check.wrong, check.asked, check.cpu, check.times);
	}
	return 0;
}

static void teardown(void *state)
{
	struct state *s = state;

	if (!s)
		return;
	if (s->fd >= 0)
		close(s->fd);
	if (s->mask)
		CPU_FREE(s->mask);
	free(s);
}

const struct tm_workload tm_workload_ipi = {
	.name = "ipi",
	.summary = "the floor in the kernel: other CPUs run an empty function",
	.op = "one call of a function on other CPUs, waited for",
	.flushes = "smp_call_function_many",
	.needs = TM_NEEDS_ROOT | TM_NEEDS_KMOD,
	.gate = TM_GATE_EVERY,
	.kernel_range = true,
	.no_control = true, /* whoever runs there is interrupted */
	.params = params,
	.probe = probe,
	.probe_cell = probe_cell,
	.setup = setup,
	.operate = operate,
	.verify = verify,
	.teardown = teardown,
};
