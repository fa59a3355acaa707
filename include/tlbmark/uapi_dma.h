/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/tlbmark-dma: mapping memory for a device and taking it away again, and
 * with QEMU's edu device (PCI 1234:11e8) transfers that really happen.
 *
 * Opening it touches no device. TM_DMA_ATTACH gives the descriptor one, once:
 * an edu device, which the module's driver is bound to from the first
 * descriptor that attaches to the last that is closed and at no other time, so
 * that in between the type of its IOMMU group can be changed; or a software
 * device of the descriptor's own, which no IOMMU stands before. A device that
 * another driver has is left alone (EBUSY).
 *
 * Every other request needs that first (ENODEV, also once the device was
 * unplugged). Threads may share a descriptor, and descriptors a device:
 * mapping runs in parallel, transfers one after the other.
 */
#ifndef TLBMARK_UAPI_DMA_H
#define TLBMARK_UAPI_DMA_H

#include <tlbmark/uapi.h>

/* What stands between the device and memory. */
enum tm_dma_domain {
	TM_DMA_NO_IOMMU,
	TM_DMA_PASSTHROUGH, /* an IOMMU that does not translate */
	TM_DMA_STRICT,	    /* an unmap invalidates the IOTLB before it returns */
	TM_DMA_LAZY,	    /* a flush queue: invalidated later, many at a time */
	TM_DMA_OTHER,	    /* a domain of another kind */
	TM_DMA_DOMAINS
};

struct tm_dma_attach {
	char device[32]; /* "0000:00:03.0", NUL-terminated; "": a software device */
	__u32 domain;	 /* out: enum tm_dma_domain */
	__u32 reserved;	 /* 0 */
};

_Static_assert(sizeof(struct tm_dma_attach) == 40, "tm_dma_attach is ABI");

enum tm_dma_how {
	TM_DMA_SINGLE,	 /* dma_map_single(), dma_unmap_single() */
	TM_DMA_PAGE,	 /* dma_map_page(), dma_unmap_page() */
	TM_DMA_SG,	 /* dma_map_sg() of `entries` buffers, dma_unmap_sg() */
	TM_DMA_COHERENT, /* dma_alloc_coherent(), dma_free_coherent() */
	TM_DMA_HOWS
};

enum tm_dma_timed { TM_DMA_TIME_BOTH, TM_DMA_TIME_MAP, TM_DMA_TIME_UNMAP, TM_DMA_TIMES };

/* As the kernel's enum dma_data_direction. */
enum tm_dma_direction {
	TM_DMA_BIDIRECTIONAL,
	TM_DMA_TO_DEVICE,
	TM_DMA_FROM_DEVICE,
	TM_DMA_DIRECTIONS
};

#define TM_DMA_BYTES_MAX (4u << 20) /* of all entries together */
#define TM_DMA_ENTRIES_MAX 512

/* ENOMEM: no memory for the buffer, or it could not be mapped. */
struct tm_dma_run {
	struct tm_kmod_run run;
	__u32 how;	 /* enum tm_dma_how */
	__u32 timed;	 /* enum tm_dma_timed */
	__u32 direction; /* enum tm_dma_direction; TM_DMA_COHERENT: 0 */
	__u32 bytes;	 /* of each entry, 1 .. TM_DMA_BYTES_MAX */
	__u32 entries;	 /* TM_DMA_SG: 1 .. TM_DMA_ENTRIES_MAX; else 1 */
	__u32 reserved;	 /* 0 */
};

_Static_assert(sizeof(struct tm_dma_run) == 40, "tm_dma_run is ABI");

/*
 * The rest takes an edu device (EOPNOTSUPP). One transfer of its takes 100 ms,
 * and a signal waits for it to end. EIO: the device does not answer, or does
 * not reach memory: QEMU's needs dma_mask=0xffffffffffff.
 */
#define TM_DMA_TRANSFER_MAX 4095u

/* Sends bytes to the device and fetches them again: two transfers. */
struct tm_dma_move {
	__u64 seed;	   /* of the bytes */
	__u32 bytes;	   /* 1 .. TM_DMA_TRANSFER_MAX */
	__u32 wrong_bytes; /* in 0; out: how many came back as others */
};

_Static_assert(sizeof(struct tm_dma_move) == 16, "tm_dma_move is ABI");

enum tm_dma_outcome {
	TM_DMA_EARLY,	/* it ended before the unmap had: tells nothing */
	TM_DMA_LANDED,	/* ended after the unmap, and wrote */
	TM_DMA_BLOCKED, /* ended after the unmap, and wrote nothing */
	TM_DMA_ASTRAY,	/* wrote where the address had led before it was mapped: never right */
	TM_DMA_OUTCOMES
};

#define TM_DMA_LEAD_MAX_NS 90000000u
#define TM_DMA_OTHERS_MAX 4096

/*
 * Unmaps a buffer that the device is about to write to. The device wrote to it
 * before, so the IOTLB may hold the translation. Two transfers. The buffer
 * stays the module's until the device has ended, whatever became of it.
 * EOPNOTSUPP also where the device gets bounce buffers instead.
 */
struct tm_dma_window {
	__u32 bytes;   /* 1 .. TM_DMA_TRANSFER_MAX */
	__u32 lead_ns; /* unmapped so long before the device writes, about */
	__u32 others;  /* then so many others are mapped and unmapped, up to TM_DMA_OTHERS_MAX */
	__u32 outcome; /* in 0; out: enum tm_dma_outcome */
	__u64 age_least_ns;	/* in 0; out: the write came so long after the unmap at least, */
	__u64 age_most_ns;	/* in 0; out: and at most; both 0 if early */
	__u64 others_ns;	/* in 0; out: the others were done so long after the unmap */
	struct tm_sample unmap; /* in 0; out: the unmap; armed and flags are 0 */
};

_Static_assert(sizeof(struct tm_dma_window) == 72, "tm_dma_window is ABI");

#define TM_DMA_REUSE_MAPS_MAX 4096

/*
 * Unmaps a buffer that the device is about to write to, and maps another one, again
 * and again, until that is given the address: from then on the write belongs there, in
 * every mode. In lazy mode the address comes back once the flush queue was flushed,
 * which the mappings that were given others fill. Both buffers stay the module's.
 * EOPNOTSUPP as above. LANDED: in the other one; BLOCKED: nowhere; ASTRAY: in the
 * first, or already when it was warmed; EARLY: the device ended before the address was
 * given again.
 */
struct tm_dma_reuse {
	__u32 bytes;	 /* 1 .. TM_DMA_TRANSFER_MAX */
	__u32 lead_ns;	 /* unmapped so long before the device writes, about */
	__u32 maps_most; /* 1 .. TM_DMA_REUSE_MAPS_MAX: then EARLY */
	__u32 outcome;	 /* in 0; out: enum tm_dma_outcome */
	__u32 maps;	 /* in 0; out: mapped so often */
	__u32 reserved;	 /* 0 */
};

_Static_assert(sizeof(struct tm_dma_reuse) == 24, "tm_dma_reuse is ABI");

#define TM_DMA_ATTACH _IOWR(TM_KMOD_MAGIC, 0x40, struct tm_dma_attach)
#define TM_DMA_RUN _IOWR(TM_KMOD_MAGIC, 0x41, struct tm_dma_run)
#define TM_DMA_MOVE _IOWR(TM_KMOD_MAGIC, 0x42, struct tm_dma_move)
#define TM_DMA_WINDOW _IOWR(TM_KMOD_MAGIC, 0x43, struct tm_dma_window)
#define TM_DMA_REUSE _IOWR(TM_KMOD_MAGIC, 0x44, struct tm_dma_reuse)

#endif /* TLBMARK_UAPI_DMA_H */
