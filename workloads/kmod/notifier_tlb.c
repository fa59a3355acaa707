// SPDX-License-Identifier: GPL-2.0
/*
 * tlbmark_notifier, a secondary TLB in software: addresses and the pages they
 * meant, filled on request, emptied by callbacks alone. See
 * include/tlbmark/uapi_notifier.h.
 *
 * A device's walk of the page tables is over before the invalidation is; so
 * walking and remembering are one step here, under the lock that callbacks take
 * to forget. Who clears an entry of the page tables does that before he calls: a
 * walk that still saw it is remembered by then, and one that comes later sees
 * nothing.
 *
 * The walk is that of get_user_pages_fast_only(), which takes no lock. It may fail
 * for a moment where a CPU sets a bit of the entry, so it is asked a few times.
 */
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "notifier.h"

#define TM_TLB_ASKED 16
#define TM_TLB_PATIENCE (5 * HZ) /* with a change that others make */

void tm_tlb_init(struct tm_tlb *tlb)
{
	spin_lock_init(&tlb->lock);
}

void tm_tlb_drop(struct tm_tlb *tlb, unsigned long start, unsigned long end)
{
	u32 i = 0;

	spin_lock(&tlb->lock);
	while (i < tlb->count) {
		const struct tm_translation *t = &tlb->translation[i];

		if (t->address < end && start < t->address + PAGE_SIZE)
			tlb->translation[i] = tlb->translation[--tlb->count];
		else
			i++;
	}
	spin_unlock(&tlb->lock);
}

void tm_tlb_empty(struct tm_tlb *tlb)
{
	spin_lock(&tlb->lock);
	tlb->count = 0;
	spin_unlock(&tlb->lock);
}

/* The page, with a reference, or NULL. */
static struct page *tm_tlb_page(unsigned long address, unsigned int flags)
{
	struct page *page;
	int i;

	for (i = 0; i < TM_TLB_ASKED; i++) {
		if (get_user_pages_fast_only(address, 1, flags, &page) == 1)
			return page;
	}
	return NULL;
}

/* What the page tables say now. The page's reference goes to the caller; NULL: nothing. */
static struct page *tm_tlb_walk(unsigned long address, struct tm_translation *t)
{
	struct page *page = tm_tlb_page(address, FOLL_WRITE);

	*t = (struct tm_translation){.address = address, .writable = page != NULL};
	if (!page)
		page = tm_tlb_page(address, 0);
	if (page)
		t->pfn = page_to_pfn(page);
	return page;
}

u32 tm_tlb_fill(struct tm_tlb *tlb, unsigned long address, u32 pages,
		tm_tlb_is_changing *is_changing, const void *argument)
{
	u32 i, filled = 0;
	u64 starts;

	for (i = 0; i < pages; i++) {
		struct page *page = NULL;

		spin_lock(&tlb->lock);
		if (!is_changing || !is_changing(argument, &starts))
			page = tm_tlb_walk(address + i * PAGE_SIZE, &tlb->translation[tlb->count]);
		if (page) {
			tlb->count++;
			filled++;
		}
		spin_unlock(&tlb->lock);
		/* The last one, perhaps: then it is freed here, and not under the lock. */
		if (page)
			put_page(page);
		cond_resched();
	}
	return filled;
}

/* Does it allow what the page tables do not, or lead elsewhere? */
static bool tm_tlb_differs(const struct tm_translation *held, bool *only_permission)
{
	struct tm_translation now;
	struct page *page = tm_tlb_walk(held->address, &now);

	if (page)
		put_page(page);
	*only_permission = page && now.pfn == held->pfn;
	return !*only_permission || (held->writable && !now.writable);
}

/*
 * Of these the ones that differ and were not dropped since; only those are left in
 * held[]. Nobody fills meanwhile.
 */
static u32 tm_tlb_compare(struct tm_tlb *tlb, struct tm_translation *held, u32 count,
			  struct tm_notifier_stale *out)
{
	u32 i, j, stale = 0;
	bool only_permission;

	out->permissions = 0;
	for (i = 0; i < count; i++) {
		bool still = false, differs = tm_tlb_differs(&held[i], &only_permission);

		spin_lock(&tlb->lock);
		for (j = 0; j < tlb->count && !still; j++)
			still = tlb->translation[j].address == held[i].address;
		spin_unlock(&tlb->lock);
		if (!differs || !still)
			continue;
		out->permissions += only_permission;
		out->address = held[i].address;
		held[stale++] = held[i];
	}
	return stale;
}

/*
 * Looks again at what differs, until it does not or is stale: 0, with as many in *stale.
 *
 * The mapping's lock keeps its own changes out, but not those by way of the page, for
 * reclaim, migration or KSM. Most of them flush before they let go of the page
 * tables' lock, whose holders can't be preempted: a grace period later they have. Before
 * 6.6 some have secondary notifiers told at the `end` only, before which they may
 * sleep. Where range notifiers listen, only a look counts during which no range was
 * being changed.
 */
static int tm_tlb_settle(struct tm_tlb *tlb, struct tm_translation *held, u32 *stale,
			 struct tm_notifier_stale *out, tm_tlb_is_changing *is_changing,
			 const void *argument)
{
	unsigned long end = jiffies + TM_TLB_PATIENCE;
	u64 before, after;
	bool changing;

	while (*stale) {
		synchronize_rcu();
		changing = is_changing(argument, &before);
		*stale = tm_tlb_compare(tlb, held, *stale, out);
		/* The page tables were read before. */
		smp_rmb();
		if (!changing && !is_changing(argument, &after) && after == before)
			return 0;
		if (fatal_signal_pending(current))
			return -EINTR;
		if (*stale && time_after(jiffies, end))
			return -EBUSY;
		if (*stale)
			schedule_timeout_killable(1);
	}
	return 0;
}

int tm_tlb_look(struct tm_tlb *tlb, struct tm_notifier_stale *out, tm_tlb_is_changing *is_changing,
		const void *argument)
{
	struct tm_translation *held;
	u32 count, stale;
	int error;

	held = kvmalloc_array(TM_NOTIFIER_TLB_MAX, sizeof(*held), GFP_KERNEL_ACCOUNT);
	if (!held)
		return -ENOMEM;
	if (mmap_write_lock_killable(current->mm)) {
		kvfree(held);
		return -EINTR;
	}
	spin_lock(&tlb->lock);
	count = tlb->count;
	memcpy(held, tlb->translation, count * sizeof(*held));
	spin_unlock(&tlb->lock);
	out->held = count;
	stale = tm_tlb_compare(tlb, held, count, out);
	error = tm_tlb_settle(tlb, held, &stale, out, is_changing, argument);
	mmap_write_unlock(current->mm);
	out->stale = stale;
	if (!stale)
		out->address = 0;
	kvfree(held);
	return error;
}
