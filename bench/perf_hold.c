// SPDX-License-Identifier: GPL-3.0-or-later
/* What perf switches in the kernel's code stays on. See perf_hold.h. */
#define _GNU_SOURCE
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "perf_hold.h"
#include "sysfile.h"

static int event_open(uint32_t type, uint64_t config, int pid, int cpu)
{
	/* To have it is enough; it need not count. */
	struct perf_event_attr attr = {
		.type = type, .size = sizeof(attr), .config = config, .disabled = 1};

	return (int)syscall(SYS_perf_event_open, &attr, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC);
}

/* The number of a tracepoint; 0: there is no such, or it must not be read. */
static uint64_t tracepoint(const char *name)
{
	static const char *const tracefs[] = {"tracing", "debug/tracing"};
	char *text = NULL;
	uint64_t id;

	for (size_t i = 0; i < sizeof(tracefs) / sizeof(tracefs[0]) && !text; i++)
		text = tm_sysfile_slurp("", "/sys/kernel/%s/events/%s/id", tracefs[i], name);
	id = text ? strtoull(text, NULL, 10) : 0;
	free(text);
	return id;
}

void tm_perf_hold(struct tm_perf_hold *h)
{
	uint64_t invalidations = tracepoint("intel_iommu/qi_submit");

	h->fd[0] = event_open(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_DUMMY, 0, -1);
	h->fd[1] = invalidations ? event_open(PERF_TYPE_TRACEPOINT, invalidations, -1, 0) : -1;
}

void tm_perf_let_go(struct tm_perf_hold *h)
{
	for (int i = 0; i < TM_PERF_HELD; i++) {
		if (h->fd[i] >= 0)
			close(h->fd[i]);
		h->fd[i] = -1;
	}
}
