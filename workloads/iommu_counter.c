// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Invalidations of the IOTLB as the kernel queues them (Intel VT-d,
 * qi_submit_sync() in drivers/iommu/intel/dmar.c): a counter on its tracepoint
 * on each CPU. The type of a descriptor is in the lowest bits of its first
 * word: 2 and 6 are the IOTLB's; waits are not traced.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "iommu.h"

#define FILTER "(qw0 & 2) && !(qw0 & 1)"

struct iommu_counter {
	unsigned int count;
	int fd[];
};

static bool find_tracepoint(uint64_t *id)
{
	static const char *const paths[] = {
		"/sys/kernel/tracing/events/intel_iommu/qi_submit/id",
		"/sys/kernel/debug/tracing/events/intel_iommu/qi_submit/id",
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		FILE *f = fopen(paths[i], "re");
		unsigned long long n;
		bool found = f && fscanf(f, "%llu", &n) == 1;

		if (f)
			fclose(f);
		if (found)
			*id = n;
		if (found)
			return true;
	}
	return false;
}

struct iommu_counter *iommu_counter_open(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	struct perf_event_attr attr = {.type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr)};
	struct iommu_counter *c;
	uint64_t id;

	if (cpus < 1 || !find_tracepoint(&id))
		return NULL;
	c = calloc(1, sizeof(*c) + (size_t)cpus * sizeof(c->fd[0]));
	if (!c)
		return NULL;
	attr.config = id;
	for (int cpu = 0; cpu < (int)cpus; cpu++) {
		int fd =
			(int)syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);

		if (fd < 0)
			continue; /* offline */
		c->fd[c->count++] = fd;
		if (ioctl(fd, PERF_EVENT_IOC_SET_FILTER, FILTER)) {
			iommu_counter_close(c);
			return NULL;
		}
	}
	if (!c->count) {
		free(c);
		return NULL;
	}
	return c;
}

uint64_t iommu_counter_read(const struct iommu_counter *c)
{
	uint64_t sum = 0, n;

	for (unsigned int i = 0; i < c->count; i++)
		if (read(c->fd[i], &n, sizeof(n)) == sizeof(n))
			sum += n;
	return sum;
}

void iommu_counter_close(struct iommu_counter *c)
{
	for (unsigned int i = 0; c && i < c->count; i++)
		close(c->fd[i]);
	free(c);
}
