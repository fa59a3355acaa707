// SPDX-License-Identifier: GPL-2.0
/*
 * tlbmark_notifier: mmu_notifiers that count what they are told. See
 * include/tlbmark/uapi_notifier.h.
 *
 * Kernel functions: __mmu_notifier_register(), mmu_notifier_put()
 * (mm/mmu_notifier.c). A registered notifier holds its mm_struct (mmgrab), so
 * that it can be put whenever, from whichever process; it does not hold the
 * address space (mmget), which ends with its last process. Putting all and
 * then waiting takes one grace period; mmu_notifier_unregister() would take
 * one each, uninterruptibly.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "notifier.h"

/* What 6.6 renamed. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
#define TM_INVALIDATE arch_invalidate_secondary_tlbs
#else
#define TM_INVALIDATE invalidate_range
#endif

struct tm_listener {
	struct mmu_notifier notifier;
	struct tm_notifiers *owner;
	u32 index;
};

/* One open file. */
struct tm_notifiers {
	struct mutex lock; /* of requests; callbacks never take it */
	struct tm_listener *listener;
	u32 listeners;				    /* registered */
	u32 kind;				    /* of them */
	u32 delay_ns;				    /* changes only while none is */
	u32 delays_ns;				    /* of all listeners; in tm_notifier_delays_ns */
	atomic_t unfreed;			    /* put, and perhaps still called */
	struct completion freed;		    /* none is any more */
	struct tm_notifier_counts __percpu *counts; /* only ever grow */
	struct tm_notifier_counts told;		    /* of these, by earlier requests */
	u64 endless;				    /* starts whose end came after the detaching */

	spinlock_t log_lock;
	struct page *watched; /* NULL: nothing is logged */
	unsigned long address;
	u32 logged, lost;
	struct tm_notifier_event event[TM_NOTIFIER_EVENTS_MAX];

	bool remembers; /* the TLBs are in use: callbacks empty them */
	struct tm_tlb tlb[TM_NOTIFIER_TLBS];
};

static atomic_t tm_notifier_all = ATOMIC_INIT(0);
static atomic_t tm_notifier_delays_ns = ATOMIC_INIT(0);

/* ---- callbacks: in the contexts of mm, some with spin locks held ---- */

static void tm_log(struct tm_listener *l, u16 what, unsigned long start, unsigned long end)
{
	struct tm_notifiers *n = l->owner;

	if (likely(!READ_ONCE(n->watched)))
		return;
	spin_lock(&n->log_lock);
	if (n->watched && start < n->address + PAGE_SIZE && end > n->address) {
		if (n->logged < TM_NOTIFIER_EVENTS_MAX) {
			n->event[n->logged] = (struct tm_notifier_event){
				.start = start,
				.end = end,
				.notifier = l->index,
				.what = what,
				.flags = page_count(n->watched) == 1 ? TM_NOTIFIER_PAGE_FREED : 0,
			};
			/* Pairs with the load in tm_notifier_log(). */
			smp_store_release(&n->logged, n->logged + 1);
		} else {
			WRITE_ONCE(n->lost, n->lost + 1);
		}
	}
	spin_unlock(&n->log_lock);
}

static void tm_forget(struct tm_notifiers *n, enum tm_notifier_tlb tlb, unsigned long start,
		      unsigned long end)
{
	if (unlikely(READ_ONCE(n->remembers)))
		tm_tlb_drop(&n->tlb[tlb], start, end);
}

static void tm_delay(const struct tm_notifiers *n)
{
	if (n->delay_ns)
		ndelay(n->delay_ns);
}

static struct tm_listener *tm_listener_of(struct mmu_notifier *notifier)
{
	return container_of(notifier, struct tm_listener, notifier);
}

static int tm_start(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	struct tm_listener *l = tm_listener_of(notifier);
	struct tm_notifiers *n = l->owner;

	this_cpu_inc(n->counts->start);
	this_cpu_add(n->counts->pages, (range->end - range->start) >> PAGE_SHIFT);
	if (!mmu_notifier_range_blockable(range))
		this_cpu_inc(n->counts->non_blockable);
	tm_forget(n, TM_NOTIFIER_TLB_RANGE, range->start, range->end);
	tm_log(l, TM_NOTIFIER_START, range->start, range->end);
	tm_delay(n);
	return 0;
}

static void tm_end(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	struct tm_listener *l = tm_listener_of(notifier);

	this_cpu_inc(l->owner->counts->end);
	tm_log(l, TM_NOTIFIER_END, range->start, range->end);
	tm_delay(l->owner);
}

static void tm_invalidate(struct mmu_notifier *notifier, struct mm_struct *mm, unsigned long start,
			  unsigned long end)
{
	struct tm_listener *l = tm_listener_of(notifier);
	struct tm_notifiers *n = l->owner;

	this_cpu_inc(n->counts->secondary);
	if (end == ULONG_MAX) {
		start = 0; /* __tlb_reset_range() has made it the largest as well */
		this_cpu_inc(n->counts->secondary_full);
	} else {
		this_cpu_add(n->counts->secondary_pages, (end - start) >> PAGE_SHIFT);
	}
	tm_forget(n, TM_NOTIFIER_TLB_SECONDARY, start, end);
	tm_log(l, TM_NOTIFIER_INVALIDATE, start, end);
	tm_delay(n);
}

static void tm_release(struct mmu_notifier *notifier, struct mm_struct *mm)
{
	this_cpu_inc(tm_listener_of(notifier)->owner->counts->release);
}

/* After the grace period: no callback of this notifier runs. */
static void tm_free(struct mmu_notifier *notifier)
{
	struct tm_notifiers *n = tm_listener_of(notifier)->owner;

	if (atomic_dec_and_test(&n->unfreed))
		complete(&n->freed);
}

static const struct mmu_notifier_ops tm_ops_empty = {
	.release = tm_release,
	.free_notifier = tm_free,
};

static const struct mmu_notifier_ops tm_ops_range = {
	.release = tm_release,
	.free_notifier = tm_free,
	.invalidate_range_start = tm_start,
	.invalidate_range_end = tm_end,
};

static const struct mmu_notifier_ops tm_ops_secondary = {
	.release = tm_release,
	.free_notifier = tm_free,
	.TM_INVALIDATE = tm_invalidate,
};

/* ---- attaching and detaching, under the file's mutex or at its close ---- */

static const struct mmu_notifier_ops *tm_ops_of(u32 kind, u32 index)
{
	switch (kind) {
	case TM_NOTIFIER_EMPTY:
		return &tm_ops_empty;
	case TM_NOTIFIER_RANGE:
		return &tm_ops_range;
	case TM_NOTIFIER_SECONDARY:
		return &tm_ops_secondary;
	default:
		return index % 2 ? &tm_ops_secondary : &tm_ops_range;
	}
}

/*
 * How many ranges are being changed now, of which range notifiers were told `start` and not
 * `end` yet; and all starts so far. None was in between when they were registered. The
 * ends are counted first: a change that is over by then is in both.
 */
static u64 tm_changes(const struct tm_notifiers *n, u64 *starts)
{
	u64 ends = 0;
	int cpu;

	*starts = 0;
	for_each_possible_cpu(cpu) ends += READ_ONCE(per_cpu_ptr(n->counts, cpu)->end);
	smp_rmb();
	for_each_possible_cpu(cpu) *starts += READ_ONCE(per_cpu_ptr(n->counts, cpu)->start);
	return *starts - ends - n->endless;
}

static void tm_detach(struct tm_notifiers *n)
{
	u64 starts;
	u32 i;

	if (n->listeners) {
		reinit_completion(&n->freed);
		atomic_set(&n->unfreed, n->listeners);
		for (i = 0; i < n->listeners; i++)
			mmu_notifier_put(&n->listener[i].notifier);
		wait_for_completion(&n->freed);
		atomic_sub(n->listeners, &tm_notifier_all);
		n->listeners = 0;
		/* What was being changed meanwhile ends without us. */
		n->endless += tm_changes(n, &starts);
	}
	atomic_sub(n->delays_ns, &tm_notifier_delays_ns);
	n->delays_ns = 0;
	kvfree(n->listener);
	n->listener = NULL;
	n->remembers = false;
	tm_tlb_empty(&n->tlb[TM_NOTIFIER_TLB_RANGE]);
	tm_tlb_empty(&n->tlb[TM_NOTIFIER_TLB_SECONDARY]);
}

/* 0; -EINTR, -ENOMEM, -ENOSPC: then some may be attached. */
static int tm_attach(struct tm_notifiers *n, u32 kind, u32 count)
{
	struct mm_struct *mm = current->mm;
	int error = 0;

	n->kind = kind;
	n->delays_ns = count * n->delay_ns;
	if (atomic_add_return(n->delays_ns, &tm_notifier_delays_ns) > TM_NOTIFIER_DELAY_NS_ALL_MAX)
		return -ENOSPC;
	n->listener = kvcalloc(count, sizeof(*n->listener), GFP_KERNEL_ACCOUNT);
	if (!n->listener)
		return -ENOMEM;
	if (mmap_write_lock_killable(mm))
		return -EINTR;
	while (!error && n->listeners < count) {
		struct tm_listener *l = &n->listener[n->listeners];

		l->owner = n;
		l->index = n->listeners;
		l->notifier.ops = tm_ops_of(kind, l->index);
		error = -ENOSPC;
		if (atomic_add_unless(&tm_notifier_all, 1, TM_NOTIFIER_ALL_MAX)) {
			/* Every lock of every mapping: gives up when a signal comes. */
			error = __mmu_notifier_register(&l->notifier, mm);
			if (error)
				atomic_dec(&tm_notifier_all);
			else
				n->listeners++;
		}
		cond_resched();
	}
	mmap_write_unlock(mm);
	return error;
}

static long tm_notifier_set(struct tm_notifiers *n, const struct tm_notifier_set __user *user)
{
	struct tm_notifier_set arg;
	u32 listeners;
	int error = 0;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (arg.kind >= TM_NOTIFIER_KINDS || arg.count > TM_NOTIFIER_COUNT_MAX || arg.reserved)
		return -EINVAL;
	listeners = arg.kind == TM_NOTIFIER_BOTH ? 2 * arg.count : arg.count;
	if ((u64)max(listeners, 1u) * arg.delay_ns > TM_NOTIFIER_DELAY_NS_MAX)
		return -EINVAL;
	if (mutex_lock_interruptible(&n->lock))
		return -EINTR;
	tm_detach(n);
	n->delay_ns = arg.delay_ns;
	if (listeners)
		error = tm_attach(n, arg.kind, listeners);
	if (error)
		tm_detach(n);
	mutex_unlock(&n->lock);
	return error;
}

/* ---- what they were told ---- */

static long tm_notifier_counts(struct tm_notifiers *n, struct tm_notifier_counts __user *user)
{
	enum { FIELDS = sizeof(struct tm_notifier_counts) / sizeof(u64) };
	u64 sum[FIELDS] = {0}, news[FIELDS];
	u64 *told = (u64 *)&n->told;
	int cpu, i;
	long error = 0;

	if (mutex_lock_interruptible(&n->lock))
		return -EINTR;
	for_each_possible_cpu(cpu)
	{
		const u64 *of_cpu = (const u64 *)per_cpu_ptr(n->counts, cpu);

		for (i = 0; i < FIELDS; i++)
			sum[i] += READ_ONCE(of_cpu[i]);
	}
	for (i = 0; i < FIELDS; i++)
		news[i] = sum[i] - told[i];
	if (copy_to_user(user, news, sizeof(news)))
		error = -EFAULT;
	else
		memcpy(told, sum, sizeof(sum));
	mutex_unlock(&n->lock);
	return error;
}

/* The caller's reference of `page` becomes the log's. */
static void tm_watch(struct tm_notifiers *n, unsigned long address, struct page *page)
{
	struct page *old;

	spin_lock(&n->log_lock);
	old = n->watched;
	WRITE_ONCE(n->watched, page);
	n->address = address;
	n->logged = 0;
	n->lost = 0;
	spin_unlock(&n->log_lock);
	if (old)
		put_page(old);
}

static long tm_notifier_watch(struct tm_notifiers *n, const struct tm_notifier_watch __user *user)
{
	struct tm_notifier_watch arg;
	struct page *page = NULL;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (arg.address & ~PAGE_MASK)
		return -EINVAL;
	if (arg.address && get_user_pages_fast(arg.address, 1, 0, &page) != 1)
		return fatal_signal_pending(current) ? -EINTR : -EFAULT;
	if (mutex_lock_interruptible(&n->lock)) {
		if (page)
			put_page(page);
		return -EINTR;
	}
	tm_watch(n, arg.address, page);
	mutex_unlock(&n->lock);
	return 0;
}

static long tm_notifier_log(struct tm_notifiers *n, struct tm_notifier_log __user *user)
{
	struct tm_notifier_log arg;
	u32 logged;
	long error = 0;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (arg.capacity > TM_NOTIFIER_EVENTS_MAX || arg.count || arg.lost || arg.reserved)
		return -EINVAL;
	if (mutex_lock_interruptible(&n->lock))
		return -EINTR;
	/* What is below `logged` stays as it is until the next watch, which the mutex keeps out. */
	logged = smp_load_acquire(&n->logged);
	arg.count = min(logged, arg.capacity);
	arg.lost = READ_ONCE(n->lost) + logged - arg.count;
	if (copy_to_user(u64_to_user_ptr(arg.events), n->event, arg.count * sizeof(n->event[0])))
		error = -EFAULT;
	mutex_unlock(&n->lock);
	if (!error && copy_to_user(user, &arg, sizeof(arg)))
		error = -EFAULT;
	return error;
}

/* ---- their TLBs ---- */

static bool tm_keeps(const struct tm_notifiers *n, u32 tlb)
{
	return n->kind == TM_NOTIFIER_BOTH ||
	       n->kind ==
		       (tlb == TM_NOTIFIER_TLB_RANGE ? TM_NOTIFIER_RANGE : TM_NOTIFIER_SECONDARY);
}

static bool tm_is_of_caller(const struct tm_notifiers *n)
{
	return n->listeners && n->listener[0].notifier.mm == current->mm;
}

static bool tm_is_changing(const void *argument, u64 *starts)
{
	return tm_changes(argument, starts);
}

static long tm_notifier_fill(struct tm_notifiers *n, struct tm_notifier_fill __user *user)
{
	struct tm_notifier_fill arg;
	long error = 0;
	u32 tlb;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (arg.address & ~PAGE_MASK || !arg.pages || arg.pages > TM_NOTIFIER_TLB_MAX ||
	    arg.filled[0] || arg.filled[1] || arg.reserved)
		return -EINVAL;
	if (mutex_lock_interruptible(&n->lock))
		return -EINTR;
	if (!tm_is_of_caller(n))
		error = -ENXIO;
	if (!error && !n->remembers) {
		WRITE_ONCE(n->remembers, true);
		/* Callbacks that did not see it have returned when this has. */
		mmu_notifier_synchronize();
	}
	for (tlb = 0; !error && tlb < TM_NOTIFIER_TLBS; tlb++) {
		tm_tlb_empty(&n->tlb[tlb]);
		if (tm_keeps(n, tlb))
			arg.filled[tlb] = tm_tlb_fill(
				&n->tlb[tlb], arg.address, arg.pages,
				tlb == TM_NOTIFIER_TLB_RANGE ? tm_is_changing : NULL, n);
	}
	mutex_unlock(&n->lock);
	if (!error && copy_to_user(user, &arg, sizeof(arg)))
		error = -EFAULT;
	return error;
}

static long tm_notifier_stale(struct tm_notifiers *n, struct tm_notifier_stale __user *user)
{
	struct tm_notifier_stale arg;
	long error;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (arg.tlb >= TM_NOTIFIER_TLBS || arg.held || arg.stale || arg.permissions || arg.address)
		return -EINVAL;
	if (mutex_lock_interruptible(&n->lock))
		return -EINTR;
	error = tm_is_of_caller(n) ? tm_tlb_look(&n->tlb[arg.tlb], &arg, tm_is_changing, n)
				   : -ENXIO;
	mutex_unlock(&n->lock);
	if (!error && copy_to_user(user, &arg, sizeof(arg)))
		error = -EFAULT;
	return error;
}

/* ---- the device ---- */

static int tm_notifier_open(struct inode *inode, struct file *file)
{
	struct tm_notifiers *n;
	int error = tm_device_open(inode, file);

	if (error)
		return error;
	n = kvzalloc(sizeof(*n), GFP_KERNEL_ACCOUNT);
	if (!n)
		return -ENOMEM;
	n->counts = alloc_percpu_gfp(struct tm_notifier_counts, GFP_KERNEL_ACCOUNT);
	if (!n->counts) {
		kvfree(n);
		return -ENOMEM;
	}
	mutex_init(&n->lock);
	init_completion(&n->freed);
	spin_lock_init(&n->log_lock);
	tm_tlb_init(&n->tlb[TM_NOTIFIER_TLB_RANGE]);
	tm_tlb_init(&n->tlb[TM_NOTIFIER_TLB_SECONDARY]);
	file->private_data = n;
	return 0;
}

static int tm_notifier_close(struct inode *inode, struct file *file)
{
	struct tm_notifiers *n = file->private_data;

	tm_detach(n);
	tm_watch(n, 0, NULL);
	free_percpu(n->counts);
	kvfree(n);
	return 0;
}

static long tm_notifier_ioctl(struct file *file, unsigned int request, unsigned long arg)
{
	struct tm_notifiers *n = file->private_data;
	void __user *user = (void __user *)arg;

	switch (request) {
	case TM_KMOD_INFO:
		return tm_device_info(user);
	case TM_NOTIFIER_SET:
		return tm_notifier_set(n, user);
	case TM_NOTIFIER_COUNTS:
		return tm_notifier_counts(n, user);
	case TM_NOTIFIER_WATCH:
		return tm_notifier_watch(n, user);
	case TM_NOTIFIER_LOG:
		return tm_notifier_log(n, user);
	case TM_NOTIFIER_FILL:
		return tm_notifier_fill(n, user);
	case TM_NOTIFIER_STALE:
		return tm_notifier_stale(n, user);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations tm_notifier_fops = {
	.owner = THIS_MODULE,
	.open = tm_notifier_open,
	.release = tm_notifier_close,
	.unlocked_ioctl = tm_notifier_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice tm_notifier_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "tlbmark-notifier",
	.mode = 0600,
	.fops = &tm_notifier_fops,
};

static int __init tm_notifier_init(void)
{
	return misc_register(&tm_notifier_device);
}

static void __exit tm_notifier_exit(void)
{
	misc_deregister(&tm_notifier_device);
	/* Every tm_free() was begun, but the last may not have returned. */
	mmu_notifier_synchronize();
}

module_init(tm_notifier_init);
module_exit(tm_notifier_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("tlbmark: mmu_notifiers that count");
MODULE_VERSION(TM_VERSION);
