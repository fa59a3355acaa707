/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The user half of the kernel modules (workloads/kmod/): finding a device,
 * and letting it time operations in the kernel, next to the operation itself.
 *
 * A device does many operations in one call, so what system calls cost is not
 * in any of them. `batch` is how many: with 1 the responders are armed before
 * each operation, as in user space; with more they are armed before the call
 * only, which is right where few operations interrupt anybody, or where what
 * is measured is a series (a purge every so many operations).
 *
 * One descriptor may be used by several threads, unless the device's header
 * says otherwise.
 */
#ifndef TLBMARK_KMOD_H
#define TLBMARK_KMOD_H

#include <stddef.h>
#include <stdint.h>

#include <tlbmark/uapi.h>
#include <tlbmark/workload.h>

/* The parameter that every such workload has. */
#define KMOD_BATCH_PARAM(def_)                                                                     \
	{                                                                                          \
		.name = "batch", .unit = "operations",                                             \
		.help = "operations of one call into the kernel", .kind = TM_PARAM_UINT, .min = 1, \
		.max = 1u << 20, .def = (def_)                                                     \
	}

/*
 * For probe(): is /dev/tlbmark-DEVICE there and may it be used? 0, or
 * -ENOTSUP (no such module loaded, or one of another version), -EACCES, with
 * the reason and what to do in why.
 */
int kmod_probe(const char *device, char *why, size_t why_size);

/* Opens it; a descriptor to close(), or what tm_fail() returned. */
int kmod_open(struct tm_thread *t, const char *device);

/*
 * operate() of a device's workload: until the batch of samples is full,
 * calls ioctl(fd, request, run), where `run` is the first member of the
 * request's struct, whose other members are already set. A signal that
 * interrupts a call loses nothing. 0 or what tm_fail() returned.
 */
int kmod_operate(struct tm_thread *t, int fd, unsigned long request, struct tm_kmod_run *run,
		 uint32_t batch);

#endif /* TLBMARK_KMOD_H */
