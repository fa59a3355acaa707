/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The sample layout, and what all kernel modules' devices have in common:
 * shared by user space and modules. Each device's own requests are in
 * uapi_NAME.h.
 *
 * Fixed width, naturally aligned, no padding; the size is asserted on both
 * sides. A new layout gets a new struct, never a version field.
 */
#ifndef TLBMARK_UAPI_H
#define TLBMARK_UAPI_H

#include <linux/ioctl.h>
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

/*
 * The devices are /dev/tlbmark-NAME, one a module tlbmark_NAME. Opening one
 * takes CAP_SYS_ADMIN (EPERM without), and on x86 a processor that has RDTSCP
 * (EOPNOTSUPP).
 *
 * A request that times operations begins with struct tm_kmod_run. It does
 * `operations` of them, one after the other, in the caller's context: an
 * interrupting signal ends it early with EINTR. However it ends, `done` says
 * how many are complete, and samples[0 .. done - 1] hold their times (cpu,
 * pages, begin_ticks and op_ticks; armed and flags are 0). EINVAL: a field is
 * out of its range or one that must be 0 is not; EFAULT: a pointer is bad;
 * ENOTTY: no such request.
 */
#define TM_KMOD_ABI 1
#define TM_KMOD_MAGIC 0xB7
#define TM_KMOD_OPERATIONS_MAX (1u << 24)

struct tm_kmod_run {
	__u64 samples;	  /* pointer to struct tm_sample[operations]; 0: not wanted */
	__u32 operations; /* 1 .. TM_KMOD_OPERATIONS_MAX */
	__u32 done;	  /* out */
};

_Static_assert(sizeof(struct tm_kmod_run) == 16, "tm_kmod_run is ABI");

/* Every device answers this one. */
struct tm_kmod_info {
	__u32 abi;	  /* TM_KMOD_ABI of the module */
	__u32 page_bytes; /* PAGE_SIZE */
	char version[24]; /* of the suite that the module was built from */
};

_Static_assert(sizeof(struct tm_kmod_info) == 32, "tm_kmod_info is ABI");

#define TM_KMOD_INFO _IOR(TM_KMOD_MAGIC, 0, struct tm_kmod_info)

#endif /* TLBMARK_UAPI_H */
