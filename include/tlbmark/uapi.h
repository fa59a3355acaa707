/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The sample layout, shared by user space and kernel modules.
 *
 * Fixed width, naturally aligned, no padding; the size is asserted on both
 * sides. A new layout gets a new struct, never a version field.
 */
#ifndef TLBMARK_UAPI_H
#define TLBMARK_UAPI_H

#include <linux/types.h>

/* Not every responder was known to be running when the operation began. */
#define TM_SAMPLE_UNARMED (1u << 0)

/* One timed operation. */
struct tm_sample {
	__u64 begin_ticks; /* counter of the CPU that began */
	__u64 op_ticks;	   /* end minus begin */
	__u32 cpu;	   /* CPU that began */
	__u32 pages;	   /* base pages the operation covered, 0 if that has no meaning */
	__u32 armed;	   /* responders known to be in their state at begin */
	__u32 flags;	   /* TM_SAMPLE_* */
};

_Static_assert(sizeof(struct tm_sample) == 32, "tm_sample is ABI");

#endif /* TLBMARK_UAPI_H */
