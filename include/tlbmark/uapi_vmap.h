/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/tlbmark-vmap: kernel addresses, mapped and unmapped.
 *
 * vunmap() and its like clear the page tables, and leave the TLBs as they are:
 * the area waits, lazily, until so many pages wait that one flush takes all of
 * them (mm/vmalloc.c: fls(online CPUs) x 32 MiB, a worker), or until somebody
 * calls vm_unmap_aliases(). Until then other CPUs still reach the pages through
 * it: a stale alias. Areas have a guard page behind them, which counts; those
 * of vm_map_ram() have none.
 *
 * Calls on one descriptor wait for each other (EINTR where a signal comes
 * first). ENOMEM: so much memory is not to be had, or all descriptors together
 * would have more than half of what then is still available; what the kernel
 * keeps of areas counts. Pages are the caller's memory cgroup's. Everything is
 * unmapped, flushed where it matters and freed when the call returns or the
 * descriptor is closed.
 *
 * A caller that is killed still unmaps what it has mapped, which with a million
 * areas takes seconds. And it waits uninterruptibly for the thread on another
 * CPU that works for it (TM_VMAP_CPU, TM_VMAP_INTERRUPT, TM_VMAP_LIFETIME): a
 * SCHED_FIFO task which never lets go of that CPU, with
 * kernel.sched_rt_runtime_us -1, keeps it waiting.
 */
#ifndef TLBMARK_UAPI_VMAP_H
#define TLBMARK_UAPI_VMAP_H

#include <tlbmark/uapi.h>

#define TM_VMAP_PAGES_MAX (1u << 18) /* of one area */
#define TM_VMAP_LAZY_MAX (1u << 21)  /* pages that one operation may leave waiting */

/* A bitmap of CPU numbers, as in sched_setaffinity(2). */
#define TM_VMAP_MASK_BYTES_MAX 1024

enum tm_vmap_how {
	TM_VMAP_VMAP,	 /* vmap(), vunmap() */
	TM_VMAP_RAM,	 /* vm_map_ram(), vm_unmap_ram() */
	TM_VMAP_VMALLOC, /* __vmalloc(), vfree() */
	TM_VMAP_HUGE,	 /* vmalloc_huge(), vfree(); x86 (EOPNOTSUPP) */
	TM_VMAP_HOWS
};

/* Where an area is unmapped. */
enum tm_vmap_where {
	TM_VMAP_HERE,	   /* by the caller */
	TM_VMAP_CPU,	   /* by a worker on another CPU */
	TM_VMAP_INTERRUPT, /* vfree() from an interrupt on the caller's CPU, which defers it */
	TM_VMAP_WHERES
};

/* What of an operation is timed: op_ticks is the sum of these parts. */
#define TM_VMAP_TIME_MAP (1u << 0)
#define TM_VMAP_TIME_UNMAP (1u << 1)
#define TM_VMAP_TIME_FLUSH (1u << 2) /* vm_unmap_aliases(): only with TM_VMAP_EAGER */
#define TM_VMAP_TIME_ALL 7u
/*
 * Of vm_unmap_aliases() the flush_tlb_kernel_range() of the area alone, without
 * the kernel's bookkeeping of areas, and nothing else with it: only with
 * TM_VMAP_EAGER. By a return probe, whose way in and out is in the figure; all
 * such flushes of the kernel go that way until the descriptor is closed. Where
 * somebody else purged the area first, the operation is done again, 1,000 times
 * at most (EBUSY). EOPNOTSUPP: there are no return probes, they are switched
 * off (ftrace_enabled, debugfs), or not x86.
 */
#define TM_VMAP_TIME_SHOOTDOWN (1u << 3)

#define TM_VMAP_EAGER (1u << 0) /* vm_unmap_aliases() after each unmapping */

/*
 * One operation maps an area of `pages` pages, has the CPUs of the mask (without
 * those that are offline) read a word of each page, of the
 * first 512, and unmaps it. The reading lies between the parts and is timed in
 * none; other CPUs do it by function-call
 * interrupt. Where the unmapping is timed on
 * another CPU or in an interrupt, cpu, begin_ticks and op_ticks are of there;
 * nothing else can then be timed with it.
 */
struct tm_vmap_run {
	struct tm_kmod_run run;
	__u64 mask;	  /* pointer; 0 without mask_bytes */
	__u32 mask_bytes; /* 0 .. TM_VMAP_MASK_BYTES_MAX */
	__u32 how;	  /* enum tm_vmap_how */
	__u32 pages;	  /* 1 .. TM_VMAP_PAGES_MAX */
	__u32 timed;	  /* TM_VMAP_TIME_*, one at least */
	__u32 flags;	  /* TM_VMAP_EAGER */
	__u32 where;	  /* enum tm_vmap_where; INTERRUPT: VMALLOC and HUGE only */
	__u32 cpu;	  /* TM_VMAP_CPU: an online one (ENXIO); else 0 */
	__u32 huge;	  /* out: areas that had a huge page */
};

_Static_assert(sizeof(struct tm_vmap_run) == 56, "tm_vmap_run is ABI");

/*
 * One operation is vm_unmap_aliases(), after it was called once (untimed, so
 * that nobody else's areas wait) and `areas` areas were made and unmapped. The
 * CPUs of the mask read the first and the last page of each area while it is
 * mapped; again, with loads that may fault, just before the timed call, and
 * just after. Nothing that was held before is refreshed by that: once the page
 * tables are clear a load can succeed by the TLB alone. The pages read are kept
 * until after the call, so what succeeds reads what was written. An area whose
 * address somebody else has mapped anew counts as gone; it is not read, unless
 * that happened in the few nanoseconds between looking and loading. The reading
 * is for x86 (elsewhere EOPNOTSUPP with mask_bytes).
 *
 * The three counts are of loads, a page and CPU each, over all operations.
 * stale_after must be 0. stale_before tells what the TLBs still held, a lower
 * bound of what they might have been holding: entries also fall out.
 */
struct tm_vmap_aliases {
	struct tm_kmod_run run;
	__u64 mask; /* as above */
	__u32 mask_bytes;
	__u32 how;	    /* enum tm_vmap_how */
	__u32 pages;	    /* of one area */
	__u32 areas;	    /* 0 ..; areas x (pages + 1) at most TM_VMAP_LAZY_MAX */
	__u64 loads;	    /* out: of mapped areas */
	__u64 stale_before; /* out: of unmapped ones, before the call */
	__u64 stale_after;  /* out: and after it */
};

_Static_assert(sizeof(struct tm_vmap_aliases) == 64, "tm_vmap_aliases is ABI");

/*
 * One operation is the life of one stale alias: from vunmap()'s return to the
 * moment at which a thread on the CPU `reader`, which read through it while it
 * was mapped, finds that it cannot any more. That thread tries all of the
 * watched ones in turn, so a time is up to one turn too long. A load that
 * succeeds does so by a TLB entry which was loaded before, for the page tables
 * are clear; what is measured is therefore how long that TLB kept it: until
 * the purge, or until other entries displaced it (`evicted`, told by an older
 * alias that was still reachable afterwards).
 *
 * Meanwhile the caller goes on with vmap() and vunmap() of `pages` pages, one
 * in `interval_ns` (0: without a pause), and every `every`th is watched, if
 * fewer than TM_VMAP_WATCHED_MAX are. The first one is the `before`th: with a
 * random number below the period of the purge, the watched aliases lie
 * anywhere in it. Samples come in the order in which the aliases ended.
 * ENXIO: that CPU is offline or went offline, or is the caller's own; ETIMEDOUT:
 * the thread did not run there. x86 (EOPNOTSUPP).
 */
#define TM_VMAP_WATCHED_MAX 256
#define TM_VMAP_INTERVAL_NS_MAX 1000000000u

struct tm_vmap_lifetime {
	struct tm_kmod_run run;
	__u32 reader;
	__u32 pages;	   /* 1 .. TM_VMAP_PAGES_MAX */
	__u32 every;	   /* 1 .. */
	__u32 before;	   /* 0 .. TM_VMAP_LAZY_MAX */
	__u32 interval_ns; /* 0 .. TM_VMAP_INTERVAL_NS_MAX */
	__u32 reserved;	   /* 0 */
	__u64 unmaps;	   /* out: all vunmap() calls */
	__u64 evicted;	   /* out: of the samples */
	__u64 missed;	   /* out: not watched, since too many were */
};

_Static_assert(sizeof(struct tm_vmap_lifetime) == 64, "tm_vmap_lifetime is ABI");

/*
 * One operation makes `pages` pages of the direct map uncached or write
 * combining, and write back again. x86 (EOPNOTSUPP). They are allocated once a
 * descriptor, in one piece: set_memory_*() splits the huge page of the direct
 * map that they are in, for good.
 */
#define TM_VMAP_ATTRIBUTE_PAGES_MAX 1024

enum tm_vmap_attribute { TM_VMAP_UC, TM_VMAP_WC, TM_VMAP_ATTRIBUTES };

#define TM_VMAP_TIME_SET (1u << 0)
#define TM_VMAP_TIME_RESET (1u << 1) /* set_memory_wb() */

struct tm_vmap_attribute_run {
	struct tm_kmod_run run;
	__u32 attribute; /* enum tm_vmap_attribute */
	__u32 pages;	 /* 1 .. TM_VMAP_ATTRIBUTE_PAGES_MAX */
	__u32 timed;	 /* TM_VMAP_TIME_SET, _RESET, or both */
	__u32 reserved;	 /* 0 */
};

_Static_assert(sizeof(struct tm_vmap_attribute_run) == 32, "tm_vmap_attribute_run is ABI");

/*
 * What TLBs still allow after set_memory_ro(), which is set_memory_uc() and its
 * like by another bit, and one that shows. The descriptor's own pages, in one piece in
 * the direct map and also in an area, are written to by each CPU of the mask (of up to
 * 32 pages or so, the first and the last among them), and become read-only: in the
 * direct map first, where the flush is by page up to the ceiling, then in the area,
 * where it is of everything. Before that an area of the first page was read and
 * vunmap()ed, which set_memory_*() has to purge. Then vfree() of the area, which has to
 * purge it at once (VM_FLUSH_RESET_PERMS).
 *
 * Counted, for each enum tm_vmap_stale, is on how many pages of how many CPUs it went
 * well before, and after. Before: of DIRECT and AREA all; of ALIAS what TLBs still
 * had, and of FREED nothing is told. After: 0. `address` and `cpu` are of one that went
 * well after, 0 and anything without.
 *
 * x86, and a kernel that can interpret BPF (CONFIG_BPF_JIT_ALWAYS_ON is not set), by way
 * of which it is done: elsewhere EOPNOTSUPP. It splits the huge page of the direct
 * map that the pages are in, for good.
 */
enum tm_vmap_stale {
	TM_VMAP_STALE_DIRECT, /* stores to the direct map after set_memory_ro() of it */
	TM_VMAP_STALE_ALIAS,  /* loads from an area that was unmapped before that */
	TM_VMAP_STALE_AREA,   /* stores to an area after set_memory_ro() of it */
	TM_VMAP_STALE_FREED,  /* loads from that area after it was freed */
	TM_VMAP_STALES
};

struct tm_vmap_permission {
	__u64 mask; /* as above */
	__u32 mask_bytes;
	__u32 pages;		       /* 1 .. TM_VMAP_ATTRIBUTE_PAGES_MAX */
	__u64 before[TM_VMAP_STALES];  /* in 0; out */
	__u64 after[TM_VMAP_STALES];   /* in 0; out */
	__u64 address[TM_VMAP_STALES]; /* in 0; out */
	__u32 cpu[TM_VMAP_STALES];     /* in 0; out */
};

_Static_assert(sizeof(struct tm_vmap_permission) == 128, "tm_vmap_permission is ABI");

#define TM_VMAP_RUN _IOWR(TM_KMOD_MAGIC, 0x20, struct tm_vmap_run)
#define TM_VMAP_ALIASES _IOWR(TM_KMOD_MAGIC, 0x21, struct tm_vmap_aliases)
#define TM_VMAP_LIFETIME _IOWR(TM_KMOD_MAGIC, 0x22, struct tm_vmap_lifetime)
#define TM_VMAP_ATTRIBUTE _IOWR(TM_KMOD_MAGIC, 0x23, struct tm_vmap_attribute_run)
#define TM_VMAP_PERMISSION _IOWR(TM_KMOD_MAGIC, 0x24, struct tm_vmap_permission)

#endif /* TLBMARK_UAPI_VMAP_H */
