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
 * For setup(): a descriptor for each initiator, (*fds)[t->index]: where calls
 * on one wait for each other. 0, or what tm_fail() returned; kmod_close_each()
 * in either case. fds may be NULL there.
 */
int kmod_open_each(struct tm_thread *t, const char *device, int **fds);
void kmod_close_each(int *fds, unsigned int count);

/* A bitmap of CPUs as devices take it. */
enum { KMOD_MASK_BYTES = 1024 };

void kmod_mask_add(unsigned char mask[KMOD_MASK_BYTES], unsigned int cpu);
/* Sets the responders' CPUs in `mask`, which is cleared first. From setup() on. */
void kmod_mask_responders(const struct tm_thread *t, unsigned char mask[KMOD_MASK_BYTES]);

/*
 * One call: ioctl(fd, request, run), where `run` is the first member of the
 * request's struct, whose other members are already set, for the samples that
 * the batch still wants, `batch` at most. A signal that interrupts it loses
 * nothing. 0 or what tm_fail() returned.
 */
int kmod_call(struct tm_thread *t, int fd, unsigned long request, struct tm_kmod_run *run,
	      uint32_t batch);

/* operate() of a device's workload: such calls until the batch of samples is full. */
int kmod_operate(struct tm_thread *t, int fd, unsigned long request, struct tm_kmod_run *run,
		 uint32_t batch);

#endif /* TLBMARK_KMOD_H */
