// SPDX-License-Identifier: GPL-2.0
/*
 * tlbmark_vmap: kernel addresses, mapped and unmapped. See
 * include/tlbmark/uapi_vmap.h.
 *
 * Kernel functions (mm/vmalloc.c): vmap() and vunmap(), vm_map_ram() and
 * vm_unmap_ram(), __vmalloc(), vmalloc_huge() and vfree(), vm_unmap_aliases().
 * Unmapping ends in free_vmap_area_noflush(), which starts the worker
 * drain_vmap_area_work() when too many pages wait; that and vm_unmap_aliases()
 * flush by flush_tlb_kernel_range().
 */
#include <linux/cpumask.h>
#include <linux/irq_work.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include "vmap.h"

#ifdef CONFIG_X86
#include <asm/pgtable.h>
#endif

#define TM_VMAP_READ_PAGES 512
#define TM_VMAP_TRIES 1000

/* ---- memory ---- */

static atomic64_t tm_vmap_reserved = ATOMIC64_INIT(0); /* pages, by all files */

/* What is allocated already is counted once more: that errs on the safe side. */
int tm_vmap_reserve(u64 pages)
{
	s64 reserved = atomic64_add_return((s64)pages, &tm_vmap_reserved);

	if (reserved <= si_mem_available() / 2)
		return 0;
	tm_vmap_unreserve(pages);
	return -ENOMEM;
}

void tm_vmap_unreserve(u64 pages)
{
	atomic64_sub((s64)pages, &tm_vmap_reserved);
}

int tm_vmap_need(struct tm_vmap *v, u32 pages)
{
	const gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_NOWARN | __GFP_RETRY_MAYFAIL;
	struct page **grown;
	int error = 0;

	if (pages <= v->pages)
		return 0;
	grown = kvmalloc_array(pages, sizeof(*grown), GFP_KERNEL_ACCOUNT);
	if (!grown)
		return -ENOMEM;
	if (tm_vmap_reserve(pages - v->pages)) {
		kvfree(grown);
		return -ENOMEM;
	}
	if (v->pages)
		memcpy(grown, v->page, v->pages * sizeof(*grown));
	kvfree(v->page);
	v->page = grown;
	while (!error && v->pages < pages) {
		v->page[v->pages] = alloc_page(gfp);
		if (v->page[v->pages])
			v->pages++;
		else
			error = -ENOMEM;
		cond_resched_tasks_rcu_qs();
		if (fatal_signal_pending(current))
			error = -EINTR;
	}
	tm_vmap_unreserve(pages - v->pages);
	return error;
}

bool tm_vmap_owns_pages(u32 how)
{
	return how == TM_VMAP_VMALLOC || how == TM_VMAP_HUGE;
}

int tm_vmap_check_how(u32 how, u32 pages)
{
	if (how >= TM_VMAP_HOWS || !pages || pages > TM_VMAP_PAGES_MAX)
		return -EINVAL;
	if (how == TM_VMAP_HUGE && !IS_ENABLED(CONFIG_X86))
		return -EOPNOTSUPP;
	return 0;
}

void *tm_vmap_map(const struct tm_vmap *v, u32 how, u32 pages)
{
	const gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_NOWARN | __GFP_RETRY_MAYFAIL;

	switch (how) {
	case TM_VMAP_VMAP:
		return vmap(v->page, pages, VM_MAP, PAGE_KERNEL);
	case TM_VMAP_RAM:
		return vm_map_ram(v->page, pages, NUMA_NO_NODE);
	case TM_VMAP_VMALLOC:
		return __vmalloc((unsigned long)pages << PAGE_SHIFT, gfp);
	default:
		return vmalloc_huge((unsigned long)pages << PAGE_SHIFT, gfp);
	}
}

void tm_vmap_unmap(u32 how, void *area, u32 pages)
{
	switch (how) {
	case TM_VMAP_VMAP:
		vunmap(area);
		break;
	case TM_VMAP_RAM:
		vm_unmap_ram(area, pages);
		break;
	default:
		vfree(area);
	}
}

/* ---- one operation ---- */

/* Unmapping, wherever that is done. */
struct tm_vmap_release {
	struct work_struct work;
	struct irq_work interrupt;
	void *area;
	u32 how, pages, cpu;
	u64 begin_ticks, end_ticks;
};

static void tm_vmap_release(struct tm_vmap_release *r)
{
	r->cpu = raw_smp_processor_id();
	r->begin_ticks = tm_ticks_begin();
	tm_vmap_unmap(r->how, r->area, r->pages);
	r->end_ticks = tm_ticks_end();
}

static void tm_vmap_release_work(struct work_struct *work)
{
	tm_vmap_release(container_of(work, struct tm_vmap_release, work));
}

static void tm_vmap_release_interrupt(struct irq_work *work)
{
	tm_vmap_release(container_of(work, struct tm_vmap_release, interrupt));
}

static void tm_vmap_nothing(struct work_struct *work)
{
}

static void tm_vmap_work_on(u32 cpu, struct tm_vmap_release *r, work_func_t function)
{
	INIT_WORK_ONSTACK(&r->work, function);
	queue_work_on(cpu, system_wq, &r->work);
	flush_work(&r->work);
	destroy_work_on_stack(&r->work);
}

static void tm_vmap_release_where(struct tm_vmap_release *r, const struct tm_vmap_run *arg)
{
	switch (arg->where) {
	case TM_VMAP_HERE:
		tm_vmap_release(r);
		break;
	case TM_VMAP_CPU:
		tm_vmap_work_on(arg->cpu, r, tm_vmap_release_work);
		break;
	default:
		r->interrupt = IRQ_WORK_INIT_HARD(tm_vmap_release_interrupt);
		irq_work_queue(&r->interrupt);
		irq_work_sync(&r->interrupt);
		/*
		 * vfree() left it to a work of that CPU, which begins before one
		 * queued now. Unless it sleeps, which it seldom has reason to, it
		 * also ends before: as a rule no area waits to be freed.
		 */
		tm_vmap_work_on(r->cpu, r, tm_vmap_nothing);
	}
}

struct tm_vmap_reading {
	const char *area;
	u32 pages;
};

static void tm_vmap_read(void *argument)
{
	const struct tm_vmap_reading *r = argument;
	u32 i;

	for (i = 0; i < r->pages; i++)
		(void)READ_ONCE(*(const u64 *)(r->area + (unsigned long)i * PAGE_SIZE));
}

/* Is the area's first page part of a huge one? */
static bool tm_vmap_is_huge(const void *area)
{
#ifdef CONFIG_X86
	unsigned int level;

	return lookup_address((unsigned long)area, &level) && level > PG_LEVEL_4K;
#else
	return false;
#endif
}

/* A part of the operation is over: counted if it is one that is wanted. */
static void tm_vmap_time(struct tm_loop *l, bool wanted, u32 cpu, u64 begin_ticks, u64 end_ticks)
{
	if (!wanted)
		return;
	if (!l->now.begin_ticks) {
		l->now.begin_ticks = begin_ticks;
		l->now.cpu = cpu;
	}
	l->now.op_ticks += end_ticks - begin_ticks;
}

/*
 * vm_unmap_aliases(), of which the flush of this area is timed. -EAGAIN where
 * somebody else has purged it before.
 */
static int tm_vmap_shootdown(struct tm_vmap *v, const void *area, u32 pages, struct tm_loop *l)
{
	struct tm_vmap_shootdown seen;

	tm_vmap_shootdown_begin(v, (unsigned long)area, (unsigned long)pages << PAGE_SHIFT);
	vm_unmap_aliases();
	seen = tm_vmap_shootdown_end(v);
	if (!seen.op_ticks)
		return -EAGAIN;
	l->now.begin_ticks = seen.begin_ticks;
	l->now.op_ticks = seen.op_ticks;
	l->now.cpu = seen.cpu;
	return 0;
}

static int tm_vmap_once(struct tm_vmap *v, struct tm_vmap_run *arg, const struct cpumask *mask,
			struct tm_loop *l)
{
	struct tm_vmap_reading reading = {.pages = min_t(u32, arg->pages, TM_VMAP_READ_PAGES)};
	struct tm_vmap_release release = {.how = arg->how, .pages = arg->pages};
	u64 begin_ticks, end_ticks;
	u32 cpu;

	if (arg->where == TM_VMAP_CPU && !cpu_online(arg->cpu))
		return -ENXIO;
	l->now = (struct tm_sample){.pages = arg->pages};
	cpu = raw_smp_processor_id();
	begin_ticks = tm_ticks_begin();
	release.area = tm_vmap_map(v, arg->how, arg->pages);
	end_ticks = tm_ticks_end();
	if (!release.area)
		return -ENOMEM;
	tm_vmap_time(l, arg->timed & TM_VMAP_TIME_MAP, cpu, begin_ticks, end_ticks);
	if (arg->how == TM_VMAP_HUGE)
		arg->huge += tm_vmap_is_huge(release.area);
	if (mask) {
		reading.area = release.area;
		on_each_cpu_mask(mask, tm_vmap_read, &reading, true);
	}
	tm_vmap_release_where(&release, arg);
	tm_vmap_time(l, arg->timed & TM_VMAP_TIME_UNMAP, release.cpu, release.begin_ticks,
		     release.end_ticks);
	if (!(arg->flags & TM_VMAP_EAGER))
		return 0;
	if (arg->timed == TM_VMAP_TIME_SHOOTDOWN)
		return tm_vmap_shootdown(v, release.area, arg->pages, l);
	cpu = raw_smp_processor_id();
	begin_ticks = tm_ticks_begin();
	vm_unmap_aliases();
	end_ticks = tm_ticks_end();
	tm_vmap_time(l, arg->timed & TM_VMAP_TIME_FLUSH, cpu, begin_ticks, end_ticks);
	return 0;
}

/* ---- requests ---- */

static int tm_vmap_check_run(const struct tm_vmap_run *arg)
{
	int error = tm_vmap_check_how(arg->how, arg->pages);

	if (error)
		return error;
	if (!arg->timed || arg->flags & ~TM_VMAP_EAGER || arg->where >= TM_VMAP_WHERES || arg->huge)
		return -EINVAL;
	if (arg->timed & ~TM_VMAP_TIME_ALL && arg->timed != TM_VMAP_TIME_SHOOTDOWN)
		return -EINVAL;
	if (arg->timed & (TM_VMAP_TIME_FLUSH | TM_VMAP_TIME_SHOOTDOWN) &&
	    !(arg->flags & TM_VMAP_EAGER))
		return -EINVAL;
	if (arg->where != TM_VMAP_HERE && arg->timed & TM_VMAP_TIME_UNMAP &&
	    arg->timed != TM_VMAP_TIME_UNMAP)
		return -EINVAL;
	if (arg->where == TM_VMAP_INTERRUPT && !tm_vmap_owns_pages(arg->how))
		return -EINVAL;
	if (arg->where == TM_VMAP_CPU ? arg->cpu >= nr_cpu_ids : arg->cpu)
		return -EINVAL;
	return 0;
}

/* One operation, again and again until it is one whose shootdown was seen. */
static int tm_vmap_once_seen(struct tm_vmap *v, struct tm_vmap_run *arg, const struct cpumask *mask,
			     struct tm_loop *l)
{
	const u32 huge = arg->huge;
	int error, tries = 0;

	while ((error = tm_vmap_once(v, arg, mask, l)) == -EAGAIN) {
		arg->huge = huge;
		if (signal_pending(current))
			return -EINTR;
		if (++tries == TM_VMAP_TRIES)
			return tm_vmap_shootdown_works() ? -EBUSY : -EOPNOTSUPP;
		cond_resched_tasks_rcu_qs();
	}
	return error;
}

static int tm_vmap_run_all(struct tm_vmap *v, struct tm_vmap_run *arg, const struct cpumask *mask,
			   struct tm_loop *l)
{
	u32 reserved = tm_vmap_owns_pages(arg->how) ? arg->pages : 0;
	int error = 0;

	if (arg->timed == TM_VMAP_TIME_SHOOTDOWN)
		error = tm_vmap_shootdown_need(v);
	if (!error)
		error = reserved ? tm_vmap_reserve(reserved) : tm_vmap_need(v, arg->pages);
	if (error)
		return error;
	while (!error && tm_loop_more(l)) {
		error = tm_vmap_once_seen(v, arg, mask, l);
		/* The worker that purges is on this CPU: it is not to wait for our tick. */
		if (!(arg->flags & TM_VMAP_EAGER))
			yield();
		if (!error)
			error = tm_loop_next(l);
	}
	tm_vmap_unreserve(reserved);
	return error;
}

static long tm_vmap_run(struct tm_vmap *v, struct tm_vmap_run __user *user)
{
	struct tm_vmap_run arg;
	cpumask_var_t mask;
	struct tm_loop loop;
	int error;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	error = tm_loop_start(&loop, &arg.run);
	if (!error)
		error = tm_vmap_check_run(&arg);
	if (error)
		return error;
	if (!zalloc_cpumask_var(&mask, GFP_KERNEL))
		return -ENOMEM;
	error = tm_mask_from_user(mask, arg.mask, arg.mask_bytes, TM_VMAP_MASK_BYTES_MAX);
	if (!error)
		error = tm_vmap_run_all(v, &arg, cpumask_empty(mask) ? NULL : mask, &loop);
	free_cpumask_var(mask);
	if (put_user(arg.huge, &user->huge))
		error = -EFAULT;
	return tm_loop_finish(&loop, &user->run.done, error);
}

static long tm_vmap_ioctl(struct file *file, unsigned int request, unsigned long argument)
{
	struct tm_vmap *v = file->private_data;
	void __user *user = (void __user *)argument;
	long error;

	if (request == TM_KMOD_INFO)
		return tm_device_info(user);
	if (mutex_lock_interruptible(&v->lock))
		return -EINTR;
	switch (request) {
	case TM_VMAP_RUN:
		error = tm_vmap_run(v, user);
		break;
	case TM_VMAP_ALIASES:
		error = tm_vmap_aliases(v, user);
		break;
	case TM_VMAP_LIFETIME:
		error = tm_vmap_lifetime(v, user);
		break;
	case TM_VMAP_ATTRIBUTE:
		error = tm_vmap_attribute(v, user);
		break;
	case TM_VMAP_PERMISSION:
		error = tm_vmap_permission(v, user);
		break;
	default:
		error = -ENOTTY;
	}
	mutex_unlock(&v->lock);
	return error;
}

static int tm_vmap_open(struct inode *inode, struct file *file)
{
	int error = tm_device_open(inode, file);
	struct tm_vmap *v;

	if (error)
		return error;
	v = kzalloc(sizeof(*v), GFP_KERNEL_ACCOUNT);
	if (!v)
		return -ENOMEM;
	mutex_init(&v->lock);
	v->stamp = (u64)get_random_u32() << 32 | 1;
	file->private_data = v;
	return 0;
}

static int tm_vmap_release_file(struct inode *inode, struct file *file)
{
	struct tm_vmap *v = file->private_data;

	tm_vmap_unreserve(v->pages);
	while (v->pages) {
		__free_page(v->page[--v->pages]);
		cond_resched();
	}
	kvfree(v->page);
	tm_vmap_free_block(v);
	tm_vmap_free_permission(v);
	tm_vmap_shootdown_free(v);
	kfree(v);
	return 0;
}

static const struct file_operations tm_vmap_fops = {
	.owner = THIS_MODULE,
	.open = tm_vmap_open,
	.release = tm_vmap_release_file,
	.unlocked_ioctl = tm_vmap_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice tm_vmap_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "tlbmark-vmap",
	.mode = 0600,
	.fops = &tm_vmap_fops,
};
module_misc_device(tm_vmap_device);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("tlbmark: kernel addresses mapped and unmapped");
MODULE_VERSION(TM_VERSION);
