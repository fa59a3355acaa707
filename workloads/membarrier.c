// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * membarrier: MEMBARRIER_CMD_PRIVATE_EXPEDITED, a memory barrier on every CPU
 * that runs a thread of this process.
 *
 * Timed: the system call. The kernel sends a function-call interrupt (ipi_mb)
 * to each of those CPUs and waits: a bare IPI round trip that user space can
 * ask for, and so the floor that a shootdown is compared with. Nothing is
 * flushed. It does not measure a shootdown's own interrupt: that one may skip
 * lazy CPUs by another rule, and goes through the paravirtual flush where a
 * hypervisor offers one, which membarrier never does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <tlbmark/workload.h>

static long membarrier(int command)
{
	return syscall(SYS_membarrier, command, 0, 0);
}

static int membarrier_probe(char *why, size_t why_size)
{
	long commands = membarrier(MEMBARRIER_CMD_QUERY);

	if (commands >= 0 && commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED)
		return 0;
	snprintf(why, why_size,
		 "this kernel has no MEMBARRIER_CMD_PRIVATE_EXPEDITED (Linux 4.14, "
		 "CONFIG_MEMBARRIER)");
	return -ENOTSUP;
}

static int membarrier_setup(struct tm_thread *t, void **state)
{
	(void)state;
	if (!membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED))
		return 0;
	return tm_fail(t, errno == EINVAL || errno == ENOSYS ? -ENOTSUP : -errno,
		       "registering for MEMBARRIER_CMD_PRIVATE_EXPEDITED");
}

static int membarrier_operate(struct tm_thread *t, void *state)
{
	(void)state;
	while (tm_more(t)) {
		long rc;

		tm_begin(t);
		rc = membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
		tm_end(t, 0);
		if (rc)
			return tm_fail(t, -errno, "membarrier");
	}
	return 0;
}

const struct tm_workload tm_workload_membarrier = {
	.name = "membarrier",
	.summary = "a bare interrupt round trip: the floor of every shootdown",
	.op = "one membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)",
	.flushes = "",
	.gate = TM_GATE_EVERY,
	.floor = true,
	.probe = membarrier_probe,
	.setup = membarrier_setup,
	.operate = membarrier_operate,
};
