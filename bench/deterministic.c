// SPDX-License-Identifier: GPL-3.0-or-later
/* State that the kernel keeps from run to run, made the same. See deterministic.h. */
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "deterministic.h"

enum {
	MAPPINGS = 512,
	GRACE_NS = 100000000, /* what was freed is free for good; idle, that is passed at once */
};

/*
 * Each CPU gathers page counts and hands them on when there are enough, which
 * is a few instructions of some operation: all begin with none gathered.
 */
void tm_deterministic_begin(void)
{
	int fd = open("/proc/sys/vm/stat_refresh", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		ssize_t n = write(fd, "1", 1);

		(void)n;
		close(fd);
	}
}

/*
 * Mappings are kept in small objects. Where a CPU is left with a few free ones,
 * here and there, each operation that needs some takes another way round (by 479 and
 * 666 instructions in a munmap of 6.1). So many are made and freed, that there
 * are whole slabs of free ones.
 */
void tm_deterministic_prepare(void)
{
	const struct timespec grace = {.tv_nsec = GRACE_NS};
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *p = mmap(NULL, 2 * MAPPINGS * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return;
	/* Neighbours that may do the same would be one mapping. */
	for (size_t i = 0; i < MAPPINGS; i++)
		mprotect(p + 2 * i * page, page, PROT_NONE);
	munmap(p, 2 * MAPPINGS * page);
	nanosleep(&grace, NULL);
}

static bool has_part(const struct tm_placement *p, unsigned int cpu)
{
	for (unsigned int i = 0; i < p->initiators; i++) {
		if (p->initiator_cpu[i] == cpu)
			return true;
	}
	for (unsigned int i = 0; i < p->responders; i++) {
		if (p->responder_cpu[i] == cpu)
			return true;
	}
	return false;
}

unsigned int tm_deterministic_bystanders(const struct tm_placement *p, unsigned int *cpus,
					 unsigned int max)
{
	cpu_set_t before, all;
	unsigned int n = 0;

	/* Asked for all CPUs, the kernel gives those that it would let us have. */
	memset(&all, 0xff, sizeof(all));
	if (sched_getaffinity(0, sizeof(before), &before) ||
	    sched_setaffinity(0, sizeof(all), &all) || sched_getaffinity(0, sizeof(all), &all))
		return 0;
	sched_setaffinity(0, sizeof(before), &before);
	for (unsigned int cpu = 0; cpu < CPU_SETSIZE && n < max; cpu++) {
		if (CPU_ISSET(cpu, &all) && !has_part(p, cpu))
			cpus[n++] = cpu;
	}
	return n;
}
