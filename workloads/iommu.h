/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What stands between a device and memory, for the workloads of DMA: which
 * device, in which mode its IOMMU is, and what that IOMMU does meanwhile.
 */
#ifndef TLBMARK_IOMMU_H
#define TLBMARK_IOMMU_H

#include <stddef.h>
#include <stdint.h>

#include <tlbmark/uapi_dma.h>
#include <tlbmark/workload.h>

/* The device of a run; `name` is what TM_DMA_ATTACH takes. */
struct iommu_device {
	char name[32];	 /* "": the software device */
	char type[96];	 /* the file with its IOMMU group's type; "": no IOMMU */
	char holder[64]; /* the driver that has it, "" for none but ours */
};

/* The parameter --mode: as it is, or the type that its group is given. */
enum iommu_mode { IOMMU_CURRENT, IOMMU_STRICT, IOMMU_LAZY, IOMMU_PASSTHROUGH };
extern const char *const iommu_modes[]; /* NULL-terminated */

/* The first edu device of this machine, else the software device. */
void iommu_find(struct iommu_device *d);

/* For probe_cell(): 0, or -ENOTSUP with the reason that the mode cannot be had. */
int iommu_probe(const struct iommu_device *d, enum iommu_mode mode, char *why, size_t why_size);

/* For knobs(). Nobody may have the device then. */
int iommu_knob(const struct iommu_device *d, enum iommu_mode mode, struct tm_sysstate *s);

/*
 * Attaches a descriptor of /dev/tlbmark-dma; *domain is what the kernel says
 * that it got. 0, or what tm_fail() returned: also where that is not the mode.
 */
int iommu_attach(struct tm_thread *t, int fd, const struct iommu_device *d, enum iommu_mode mode,
		 enum tm_dma_domain *domain);

/*
 * Counts invalidations of IOTLBs, of the whole machine, from now on: the
 * tracepoint intel_iommu:qi_submit. NULL where that is not to be had.
 */
struct iommu_counter;
struct iommu_counter *iommu_counter_open(void);
uint64_t iommu_counter_read(const struct iommu_counter *c);
void iommu_counter_close(struct iommu_counter *c); /* NULL is ignored */

/*
 * Interrupts by which the machine's IOMMUs have reported faults, since boot.
 * Several faults may share one. -ENOENT where /proc/interrupts has no such line.
 */
int iommu_faults(uint64_t *count);

#endif /* TLBMARK_IOMMU_H */
