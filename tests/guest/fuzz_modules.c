// SPDX-License-Identifier: GPL-3.0-or-later
/* Modules loaded and unloaded, their callers killed, and what that leaves. */
#define _GNU_SOURCE
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <tlbmark/uapi.h>

enum {
	NAME = 64,
	KILL_AFTER_NS = 8000000, /* at most, after the caller began */
	DIE_IN_MS = 30000,
	LEFT_KIB = 4096, /* so much memory may be elsewhere afterwards: caches, slabs */
	OPENS = 2000,	 /* of a device: 4 KiB lost at each are 8 MiB */
};

static int failed(const char *what, const char *name)
{
	printf("# %s %s: %s\n", what, name, strerror(errno));
	return 1;
}

static int load(const char *folder, const char *name)
{
	char path[512];
	int fd, rc;

	snprintf(path, sizeof(path), "%s/%s.ko", folder, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return failed("opening", path);
	rc = (int)syscall(SYS_finit_module, fd, "", 0);
	close(fd);
	return rc && errno != EEXIST ? failed("loading", name) : 0;
}

static int unload(const char *folder, const char *name)
{
	(void)folder;
	return syscall(SYS_delete_module, name, O_NONBLOCK) && errno != ENOENT
		       ? failed("unloading", name)
		       : 0;
}

/* Calls `what` for each of our modules in the folder; the number of them or -1. */
static int each_module(const char *folder, int (*what)(const char *, const char *))
{
	DIR *d = opendir(folder);
	struct dirent *entry;
	int count = 0;

	if (!d) {
		failed("reading", folder);
		return -1;
	}
	while (count >= 0 && (entry = readdir(d))) {
		char name[NAME], *end;

		snprintf(name, sizeof(name), "%.*s", NAME - 1, entry->d_name);
		end = strstr(name, ".ko");
		if (strncmp(name, "tlbmark_", 8) || !end || end[3])
			continue;
		*end = '\0';
		count = what(folder, name) ? -1 : count + 1;
	}
	closedir(d);
	return count;
}

/* Its device is there as soon as it is loaded. */
static int load_and_open(const char *folder, const char *name)
{
	char path[128];
	int fd;

	if (unload(folder, name) || load(folder, name))
		return 1;
	snprintf(path, sizeof(path), "/dev/tlbmark-%s", name + strlen("tlbmark_"));
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return failed("opening", path);
	close(fd);
	return 0;
}

int modules_load(const char *folder, uint64_t rounds)
{
	int count = 0;

	for (uint64_t i = 0; i < rounds; i++) {
		count = each_module(folder, load_and_open);
		if (count != DEVICES) {
			printf("# %d modules in %s, of %d that the fuzzer knows\n", count, folder,
			       DEVICES);
			return 1;
		}
	}
	printf("loaded: %d modules %" PRIu64 " times\n", count, rounds);
	return 0;
}

int modules_unload(const char *folder)
{
	int count = each_module(folder, unload);

	if (count < 0)
		return 1;
	printf("unloaded: %d modules\n", count);
	/* As they were found. */
	return each_module(folder, load) < 0;
}

/* So often that what one leaves adds up to more than memory_compare() lets pass. */
int modules_open(void)
{
	for (int d = 0; d < DEVICES; d++) {
		for (int i = 0; i < OPENS; i++) {
			int fd = fuzz_open(&fuzz_device[d], false);

			if (fd < 0) {
				errno = -fd;
				return failed("opening", fuzz_device[d].name);
			}
			close(fd);
		}
	}
	printf("opened: %d devices %d times\n", DEVICES, OPENS);
	return 0;
}

/* ---- callers that are killed ---- */

/* For ever; `began` is set when the first call is about to be made. */
static void call_for_ever(const struct device *d, const struct request *r, uint64_t seed,
			  volatile int *began)
{
	uint64_t random = (seed + 1) * 0x9e3779b97f4a7c15ull | 1;
	const uint32_t operations = 1u << 20;
	struct arena arena;
	char bytes[STRUCT_MAX];
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = fuzz_open(d, true);
	if (fd < 0 || arena_make(&arena))
		_exit(1);
	for (;;) {
		fuzz_fill(r, &arena, FUZZ_VALID, &random, bytes);
		if (r->timed) {
			memset(bytes + offsetof(struct tm_kmod_run, samples), 0, sizeof(uint64_t));
			memcpy(bytes + offsetof(struct tm_kmod_run, operations), &operations,
			       sizeof(operations));
		}
		*began = 1;
		ioctl(fd, r->number, bytes);
	}
}

static void wait_ns(long ns)
{
	struct timespec t = {0, ns};

	nanosleep(&t, NULL);
}

static int kill_one(const struct device *d, const struct request *r, uint64_t seed,
		    volatile int *began)
{
	uint64_t random = seed * 2 + 1;
	pid_t child;
	int status, ms = 0;

	*began = 0;
	fflush(stdout);
	child = fork();
	if (!child)
		call_for_ever(d, r, seed, began);
	while (!*began && !waitpid(child, &status, WNOHANG))
		wait_ns(100000);
	wait_ns((long)fuzz_below(&random, KILL_AFTER_NS));
	kill(child, SIGKILL);
	while (waitpid(child, &status, WNOHANG) == 0 && ms++ < DIE_IN_MS)
		wait_ns(1000000);
	if (ms >= DIE_IN_MS || !*began) {
		printf("# %s: the caller %s\n", r->name,
		       *began ? "does not die" : "could not open the device");
		return 1;
	}
	return 0;
}

int modules_kill(uint64_t rounds, uint64_t seed)
{
	volatile int *began = mmap(NULL, sizeof(*began), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned int requests = 0, killed = 0;

	if (began == MAP_FAILED)
		return failed("mapping", "memory");
	for (int d = 0; d < DEVICES; d++) {
		for (int i = 0; i < REQUESTS_MAX && fuzz_device[d].request[i].name; i++) {
			requests++;
			for (uint64_t n = 0; n < rounds; n++) {
				if (kill_one(&fuzz_device[d], &fuzz_device[d].request[i],
					     seed + killed, began))
					return 1;
				killed++;
			}
		}
	}
	printf("killed: %u callers in %u requests\n", killed, requests);
	return 0;
}

/* ---- what is left ---- */

/* The sum of what follows `name` at the beginning of a line, in kiB or pages; -1: nowhere. */
static long sum_of(const char *path, const char *name)
{
	FILE *f = fopen(path, "re");
	char line[512];
	long sum = -1;

	while (f && fgets(line, sizeof(line), f)) {
		const char *at = line + strspn(line, " ");

		if (!strncmp(at, name, strlen(name)))
			sum = (sum < 0 ? 0 : sum) + atol(at + strlen(name));
	}
	if (f)
		fclose(f);
	return sum;
}

int memory_read(struct memory *m)
{
	FILE *f = fopen("/proc/sys/vm/drop_caches", "we");

	if (f) {
		fputs("3", f);
		fclose(f);
	}
	/* What is freed by RCU and by workers. */
	sleep(1);
	/* Free pages that wait on the CPUs' own lists are free. */
	m->free_kib = sum_of("/proc/meminfo", "MemFree:") +
		      sum_of("/proc/zoneinfo", "count:") * (sysconf(_SC_PAGESIZE) / 1024);
	m->vmalloc_kib = sum_of("/proc/meminfo", "VmallocUsed:");
	m->percpu_kib = sum_of("/proc/meminfo", "Percpu:");
	return m->free_kib < 0;
}

/* Areas that our modules made: their functions are named tm_... */
static int areas_left(void)
{
	FILE *f = fopen("/proc/vmallocinfo", "re");
	char line[512];
	int areas = 0;

	while (f && fgets(line, sizeof(line), f)) {
		if (strstr(line, " tm_")) {
			printf("# left: %s", line);
			areas++;
		}
	}
	if (f)
		fclose(f);
	return areas;
}

int memory_compare(const struct memory *before)
{
	struct memory now;
	long gone;
	int areas = areas_left();

	memory_read(&now);
	gone = before->free_kib - now.free_kib;
	printf("left: %d areas; KiB gone: %ld of memory, %ld of vmalloc, %ld per CPU\n", areas,
	       gone, now.vmalloc_kib - before->vmalloc_kib, now.percpu_kib - before->percpu_kib);
	return areas || gone > LEFT_KIB || now.vmalloc_kib - before->vmalloc_kib > LEFT_KIB / 2 ||
	       now.percpu_kib - before->percpu_kib > LEFT_KIB / 8;
}

/* Documentation/admin-guide/tainted-kernels.rst: bad page, died, warned, lockup. */
int kernel_complaints(void)
{
	static const unsigned long bad = 1ul << 5 | 1ul << 7 | 1ul << 9 | 1ul << 14;
	FILE *f = fopen("/proc/sys/kernel/tainted", "re");
	unsigned long tainted = bad;

	if (f && fscanf(f, "%lu", &tainted) != 1)
		tainted = bad;
	if (f)
		fclose(f);
	printf("complaints: %s (tainted %lu)\n", tainted & bad ? "some" : "none", tainted);
	return tainted & bad ? 1 : 0;
}
