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

#define TM_IPI_RUN _IOWR(TM_KMOD_MAGIC, 0x10, struct tm_ipi_run)

#endif /* TLBMARK_UAPI_IPI_H */
