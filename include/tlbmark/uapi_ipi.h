/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/tlbmark-ipi: the floors under every shootdown. One operation makes
 * other CPUs run a function and waits until all have.
 */
#ifndef TLBMARK_UAPI_IPI_H
#define TLBMARK_UAPI_IPI_H

#include <tlbmark/uapi.h>

enum tm_ipi_how {
	TM_IPI_SINGLE, /* smp_call_function_single() on the mask's first CPU, an empty function */
	TM_IPI_MASK,   /* smp_call_function_many() on the mask */
	TM_IPI_ALL,    /* the same on all other CPUs; the mask must be empty */
	TM_IPI_FLUSH_ALL, /* on_each_cpu(__flush_tlb_all), own CPU too; empty mask; x86 (EOPNOTSUPP) */
	TM_IPI_HOWS
};

/*
 * The mask is a bitmap of CPU numbers as in sched_setaffinity(2). CPUs that
 * do not exist are EINVAL; the caller's own is left out, and so are CPUs that
 * are offline: where none remains, ENXIO.
 */
#define TM_IPI_MASK_BYTES_MAX 1024

struct tm_ipi_run {
	struct tm_kmod_run run;
	__u64 mask;	  /* pointer */
	__u32 mask_bytes; /* 0 .. TM_IPI_MASK_BYTES_MAX */
	__u32 how;	  /* enum tm_ipi_how */
};

_Static_assert(sizeof(struct tm_ipi_run) == 32, "tm_ipi_run is ABI");

/*
 * One operation, whose function counts on which CPUs it runs, and a look at the counts
 * as soon as it has returned: each CPU that had to run it must have, once, and no
 * other. Errors are as above.
 */
struct tm_ipi_check {
	__u64 mask; /* as above */
	__u32 mask_bytes;
	__u32 how;
	__u32 asked; /* in 0; out: CPUs that had to run it */
	__u32 wrong; /* in 0; out: CPUs that did otherwise */
	__u32 cpu;   /* in 0; out: one of those, */
	__u32 times; /* in 0; out: and how often it ran it */
};

_Static_assert(sizeof(struct tm_ipi_check) == 32, "tm_ipi_check is ABI");

#define TM_IPI_RUN _IOWR(TM_KMOD_MAGIC, 0x10, struct tm_ipi_run)
#define TM_IPI_CHECK _IOWR(TM_KMOD_MAGIC, 0x11, struct tm_ipi_check)

#endif /* TLBMARK_UAPI_IPI_H */
