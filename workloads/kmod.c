// SPDX-License-Identifier: GPL-3.0-or-later
/* The user half of the kernel modules. See kmod.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kmod.h"

static int refuse(char *why, size_t why_size, int error, const char *format, const char *device)
{
	snprintf(why, why_size, format, device);
	return error;
}

/* A descriptor, or -errno with the reason. */
static int open_device(const char *device, char *why, size_t why_size)
{
	struct tm_kmod_info info;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/tlbmark-%s", device);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || errno == ENXIO || errno == ENODEV))
		return refuse(why, why_size, -ENOTSUP,
			      "the kernel module tlbmark_%s is not loaded; 'make modules', then "
			      "insmod it, or use 'tlbmark lab run'",
			      device);
	if (fd < 0 && errno == EOPNOTSUPP)
		return refuse(why, why_size, -ENOTSUP,
			      "/dev/tlbmark-%s cannot be opened: this CPU has no RDTSCP, by which "
			      "the module times",
			      device);
	if (fd < 0)
		return refuse(why, why_size, -errno == -EPERM ? -EACCES : -errno,
			      "/dev/tlbmark-%s cannot be opened; it takes root", device);
	if (ioctl(fd, TM_KMOD_INFO, &info) || info.abi != TM_KMOD_ABI) {
		close(fd);
		return refuse(
			why, why_size, -ENOTSUP,
			"the module tlbmark_%s that is loaded is another version's; build and "
			"load this one's",
			device);
	}
	return fd;
}

int kmod_probe(const char *device, char *why, size_t why_size)
{
	int fd = open_device(device, why, why_size);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

int kmod_open(struct tm_thread *t, const char *device)
{
	char why[192];
	int fd = open_device(device, why, sizeof(why));

	return fd < 0 ? tm_fail(t, fd, "%s", why) : fd;
}

/* The module stores times; who was in place when the call began is known here. */
static void keep(struct tm_thread *t, uint32_t done)
{
	for (uint32_t i = 0; i < done; i++) {
		struct tm_sample *s = &t->samples[t->count + i];

		s->armed = t->armed;
		s->flags = t->arm_flags;
	}
	t->count += done;
}

int kmod_open_each(struct tm_thread *t, const char *device, int **fds)
{
	unsigned int count = t->cell->initiators;

	*fds = malloc(count * sizeof(**fds));
	if (!*fds)
		return tm_fail(t, -ENOMEM, "descriptors");
	for (unsigned int i = 0; i < count; i++)
		(*fds)[i] = -1;
	for (unsigned int i = 0; i < count; i++) {
		(*fds)[i] = kmod_open(t, device);
		if ((*fds)[i] < 0)
			return (*fds)[i];
	}
	return 0;
}

void kmod_close_each(int *fds, unsigned int count)
{
	for (unsigned int i = 0; fds && i < count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(fds);
}

void kmod_mask_add(unsigned char mask[KMOD_MASK_BYTES], unsigned int cpu)
{
	if (cpu / 8 < KMOD_MASK_BYTES)
		mask[cpu / 8] |= (unsigned char)(1u << cpu % 8);
}

void kmod_mask_responders(const struct tm_thread *t, unsigned char mask[KMOD_MASK_BYTES])
{
	memset(mask, 0, KMOD_MASK_BYTES);
	for (unsigned int i = 0; i < t->cell->responders; i++)
		kmod_mask_add(mask, tm_responder_cpu(t, i));
}

int kmod_call(struct tm_thread *t, int fd, unsigned long request, struct tm_kmod_run *run,
	      uint32_t batch)
{
	uint32_t room = t->capacity - t->count;
	int rc;

	/* The first of a batch of samples may not count; the probe is told so for a whole call. */
	if (!t->count)
		batch = 1;
	run->samples = (uintptr_t)&t->samples[t->count];
	run->operations = room < batch ? room : batch;
	run->done = 0;
	tm_arm(t);
	*t->in_operation = 1;
	rc = ioctl(fd, request, run);
	*t->in_operation = 0;
	if (rc && errno != EINTR)
		return tm_fail(t, -errno, "operation %" PRIu32 " of a call", run->done);
	keep(t, run->done);
	return 0;
}

int kmod_operate(struct tm_thread *t, int fd, unsigned long request, struct tm_kmod_run *run,
		 uint32_t batch)
{
	int rc = 0;

	while (!rc && tm_more(t))
		rc = kmod_call(t, fd, request, run, batch);
	return rc;
}
