/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/tlbmark-notifier: mmu_notifiers on an address space, as drivers of
 * devices that share it register them, and what they were told.
 *
 * Notifiers belong to the open file. They stay with the address space in
 * which TM_NOTIFIER_SET was called, whoever holds the file then, until the
 * next TM_NOTIFIER_SET or the file's last close; when that address space ends
 * first (exit, exec), the kernel tells them so (`release`) and calls them no
 * more. EINTR: a signal came while waiting for locks, and none is attached.
 */
#ifndef TLBMARK_UAPI_NOTIFIER_H
#define TLBMARK_UAPI_NOTIFIER_H

#include <tlbmark/uapi.h>

enum tm_notifier_kind {
	TM_NOTIFIER_EMPTY,     /* release() only: registered, but nobody listens */
	TM_NOTIFIER_RANGE,     /* invalidate_range_start() and invalidate_range_end() */
	TM_NOTIFIER_SECONDARY, /* arch_invalidate_secondary_tlbs(); before 6.6 invalidate_range() */
	TM_NOTIFIER_BOTH,      /* one notifier of each: from 6.6 on one must not have both */
	TM_NOTIFIER_KINDS
};

#define TM_NOTIFIER_COUNT_MAX 64 /* of one file; BOTH: pairs */
#define TM_NOTIFIER_ALL_MAX 1024 /* notifiers of all files; more is ENOSPC */

/*
 * The delays of a file's notifiers taken together (BOTH: of twice as many),
 * and those of all files' (more is ENOSPC). Reclaim tells secondary ones once
 * for each page, 512 times under one spin lock: nominally 5 s, and a soft
 * lockup is 20 s.
 */
#define TM_NOTIFIER_DELAY_NS_MAX 1000000
#define TM_NOTIFIER_DELAY_NS_ALL_MAX 10000000

/* Detaches all that this file has, then attaches `count` to the caller's address space. */
struct tm_notifier_set {
	__u32 kind;	/* enum tm_notifier_kind */
	__u32 count;	/* 0 .. TM_NOTIFIER_COUNT_MAX */
	__u32 delay_ns; /* each start, end and secondary callback spins so long; see above */
	__u32 reserved; /* 0 */
};

_Static_assert(sizeof(struct tm_notifier_set) == 16, "tm_notifier_set is ABI");

/* Callbacks of all this file's notifiers since its last TM_NOTIFIER_COUNTS. */
struct tm_notifier_counts {
	__u64 start, end, secondary;
	__u64 release;	       /* the address space ended with the notifier attached */
	__u64 non_blockable;   /* of start: it must not sleep */
	__u64 pages;	       /* that start was told */
	__u64 secondary_pages; /* that secondary was told, */
	__u64 secondary_full;  /* but for those that were told "all of it" */
};

_Static_assert(sizeof(struct tm_notifier_counts) == 64, "tm_notifier_counts is ABI");

/*
 * Watches the page at this address of the caller, from now on: what the file's
 * notifiers are told of it is logged, and whether the page was freed by then.
 * For that the page is held until the next TM_NOTIFIER_WATCH or the close; as
 * long it can neither be migrated nor compacted, which also blocks CMA and
 * taking that memory offline: watch briefly. 0: watches nothing. Empties the log. EFAULT: no page can be had there; EINVAL:
 * not where a page begins.
 */
struct tm_notifier_watch {
	__u64 address;
};

_Static_assert(sizeof(struct tm_notifier_watch) == 8, "tm_notifier_watch is ABI");

enum tm_notifier_what { TM_NOTIFIER_START, TM_NOTIFIER_END, TM_NOTIFIER_INVALIDATE };

/* Nobody but the log holds the page any more. (Unset proves nothing: others may.) */
#define TM_NOTIFIER_PAGE_FREED (1u << 0)

struct tm_notifier_event {
	__u64 start, end; /* bytes; of "all of it" 0 and the largest */
	__u32 notifier;	  /* 0 .. , as attached */
	__u16 what;	  /* enum tm_notifier_what */
	__u16 flags;	  /* TM_NOTIFIER_PAGE_* */
};

_Static_assert(sizeof(struct tm_notifier_event) == 24, "tm_notifier_event is ABI");

#define TM_NOTIFIER_EVENTS_MAX 256

/* The log so far, in order; it stays. */
struct tm_notifier_log {
	__u64 events;	/* pointer to struct tm_notifier_event[capacity] */
	__u32 capacity; /* 0 .. TM_NOTIFIER_EVENTS_MAX */
	__u32 count;	/* in: 0; out: how many were stored */
	__u32 lost;	/* in: 0; out: how many more there were */
	__u32 reserved; /* 0 */
};

_Static_assert(sizeof(struct tm_notifier_log) == 24, "tm_notifier_log is ABI");

/*
 * TLBs in software, as devices have that share an address space: one that range
 * notifiers keep, which forgets at `start` and remembers nothing before `end`, and
 * one that secondary ones keep, which forgets at the flush. They hold addresses,
 * and what these meant, but no page.
 *
 * TM_NOTIFIER_FILL empties both and then looks the caller's pages up: those that
 * are there, for each TLB that has a notifier. ENXIO: the file has no notifiers on
 * the caller's address space. EINVAL: not where a page begins. EINTR, ENOMEM.
 */
#define TM_NOTIFIER_TLB_MAX 256

enum tm_notifier_tlb { TM_NOTIFIER_TLB_RANGE, TM_NOTIFIER_TLB_SECONDARY, TM_NOTIFIER_TLBS };

struct tm_notifier_fill {
	__u64 address;
	__u32 pages;			/* 1 .. TM_NOTIFIER_TLB_MAX */
	__u32 filled[TM_NOTIFIER_TLBS]; /* in 0; out: translations it took */
	__u32 reserved;			/* 0 */
};

_Static_assert(sizeof(struct tm_notifier_fill) == 24, "tm_notifier_fill is ABI");

/*
 * What one of them still holds, compared with the page tables, while nobody can change the
 * mapping: a translation is stale if its page is no longer there, or if it allows
 * writing and they don't. Must be 0 once the call that changed them has
 * returned. ENXIO and EINTR as above. EBUSY: for seconds what differed was never seen
 * without a range being changed, by reclaim or migration, so it can't be told.
 */
struct tm_notifier_stale {
	__u32 tlb;	   /* enum tm_notifier_tlb */
	__u32 held;	   /* in 0; out: translations in it */
	__u32 stale;	   /* in 0; out: of these */
	__u32 permissions; /* in 0; out: stale ones of which only the permission is */
	__u64 address;	   /* in 0; out: of a stale one, or 0 */
};

_Static_assert(sizeof(struct tm_notifier_stale) == 24, "tm_notifier_stale is ABI");

#define TM_NOTIFIER_SET _IOW(TM_KMOD_MAGIC, 0x30, struct tm_notifier_set)
#define TM_NOTIFIER_COUNTS _IOR(TM_KMOD_MAGIC, 0x31, struct tm_notifier_counts)
#define TM_NOTIFIER_WATCH _IOW(TM_KMOD_MAGIC, 0x32, struct tm_notifier_watch)
#define TM_NOTIFIER_LOG _IOWR(TM_KMOD_MAGIC, 0x33, struct tm_notifier_log)
#define TM_NOTIFIER_FILL _IOWR(TM_KMOD_MAGIC, 0x34, struct tm_notifier_fill)
#define TM_NOTIFIER_STALE _IOWR(TM_KMOD_MAGIC, 0x35, struct tm_notifier_stale)

#endif /* TLBMARK_UAPI_NOTIFIER_H */
