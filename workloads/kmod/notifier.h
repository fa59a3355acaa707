/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of tlbmark_notifier share: notifier.c is the device, and the
 * notifiers; notifier_tlb.c the TLBs in software that they keep free of what is
 * no longer so.
 */
#ifndef TLBMARK_KMOD_NOTIFIER_H
#define TLBMARK_KMOD_NOTIFIER_H

#include <linux/mm_types.h>
#include <linux/spinlock.h>

#include <tlbmark/uapi_notifier.h>

#include "device.h"

/* A translation, without a hold on its page. */
struct tm_translation {
	unsigned long address, pfn;
	bool writable;
};

/*
 * One of a file's two. The lock is taken inside of the page tables' own, by
 * callbacks, and no other inside of it.
 */
struct tm_tlb {
	spinlock_t lock;
	u32 count;
	struct tm_translation translation[TM_NOTIFIER_TLB_MAX];
};

void tm_tlb_init(struct tm_tlb *tlb);
/* Forgets what a callback was told, or all. */
void tm_tlb_drop(struct tm_tlb *tlb, unsigned long start, unsigned long end);
void tm_tlb_empty(struct tm_tlb *tlb);

/*
 * Is a range being changed of which range notifiers were told before? And how many
 * were begun to be changed so far. Never and none without such notifiers.
 */
typedef bool tm_tlb_is_changing(const void *argument, u64 *starts);

/*
 * Looks up so many of the caller's pages, and remembers those that are there, as
 * one whose page tables a device shares. Returns how many. is_changing may be NULL.
 */
u32 tm_tlb_fill(struct tm_tlb *tlb, unsigned long address, u32 pages,
		tm_tlb_is_changing *is_changing, const void *argument);

/*
 * Compares what it holds with the caller's page tables, and counts into *out:
 * 0, -EINTR, -ENOMEM or -EBUSY.
 */
int tm_tlb_look(struct tm_tlb *tlb, struct tm_notifier_stale *out, tm_tlb_is_changing *is_changing,
		const void *argument);

#endif /* TLBMARK_KMOD_NOTIFIER_H */
