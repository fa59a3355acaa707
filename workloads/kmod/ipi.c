// SPDX-License-Identifier: GPL-2.0
/*
 * tlbmark_ipi: interrupting other CPUs and waiting for them, without any
 * flush or with one of the whole TLB. See include/tlbmark/uapi_ipi.h.
 *
 * Kernel functions: smp_call_function_single(), smp_call_function_many(),
 * on_each_cpu() (kernel/smp.c), __flush_tlb_all() (arch/x86/mm/tlb.c).
 */
#include <linux/cpumask.h>
#include <linux/slab.h>

#include <tlbmark/uapi_ipi.h>

#include "device.h"

#ifdef CONFIG_X86
#include <asm/tlbflush.h>
#endif

static void tm_ipi_nothing(void *unused)
{
}

#ifdef CONFIG_X86
static void tm_ipi_flush_all(void *unused)
{
	__flush_tlb_all();
}

static void tm_ipi_flush_everywhere(void)
{
	on_each_cpu(tm_ipi_flush_all, NULL, 1);
}
#else
static void tm_ipi_flush_everywhere(void)
{
}
#endif

/*
 * One operation, timed. Without preemption, so that the CPU left out stays the
 * caller's own; no CPU goes offline meanwhile.
 */
static int tm_ipi_once(struct tm_loop *l, u32 how, const struct cpumask *mask)
{
	int error = 0, self = get_cpu(), target;

	if (how == TM_IPI_ALL)
		mask = cpu_online_mask;
	/* The mask's CPUs may have gone offline since it was read. */
	target = cpumask_first_and(mask, cpu_online_mask);
	if (target == self)
		target = cpumask_next_and(self, mask, cpu_online_mask);
	if (how == TM_IPI_FLUSH_ALL) {
		tm_loop_begin(l);
		tm_ipi_flush_everywhere();
		tm_loop_end(l, 0);
	} else if (target >= nr_cpu_ids) {
		error = -ENXIO;
	} else if (how == TM_IPI_SINGLE) {
		tm_loop_begin(l);
		error = smp_call_function_single(target, tm_ipi_nothing, NULL, 1);
		tm_loop_end(l, 0);
	} else {
		tm_loop_begin(l);
		smp_call_function_many(mask, tm_ipi_nothing, NULL, true);
		tm_loop_end(l, 0);
	}
	put_cpu();
	return error;
}

static long tm_ipi_run(struct tm_ipi_run __user *user)
{
	struct tm_ipi_run arg;
	cpumask_var_t mask;
	struct tm_loop loop;
	int error;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	error = tm_loop_start(&loop, &arg.run);
	if (error)
		return error;
	if (arg.how >= TM_IPI_HOWS)
		return -EINVAL;
	if (arg.how == TM_IPI_FLUSH_ALL && !IS_ENABLED(CONFIG_X86))
		return -EOPNOTSUPP;
	if (!zalloc_cpumask_var(&mask, GFP_KERNEL))
		return -ENOMEM;
	if (arg.how == TM_IPI_SINGLE || arg.how == TM_IPI_MASK)
		error = tm_mask_from_user(mask, arg.mask, arg.mask_bytes, TM_IPI_MASK_BYTES_MAX);
	else if (arg.mask || arg.mask_bytes)
		error = -EINVAL;
	while (!error && tm_loop_more(&loop)) {
		error = tm_ipi_once(&loop, arg.how, mask);
		if (!error)
			error = tm_loop_next(&loop);
	}
	free_cpumask_var(mask);
	return tm_loop_finish(&loop, &user->run.done, error);
}

static long tm_ipi_ioctl(struct file *file, unsigned int request, unsigned long arg)
{
	switch (request) {
	case TM_KMOD_INFO:
		return tm_device_info((void __user *)arg);
	case TM_IPI_RUN:
		return tm_ipi_run((void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations tm_ipi_fops = {
	.owner = THIS_MODULE,
	.open = tm_device_open,
	.unlocked_ioctl = tm_ipi_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice tm_ipi_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "tlbmark-ipi",
	.mode = 0600,
	.fops = &tm_ipi_fops,
};
module_misc_device(tm_ipi_device);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("tlbmark: floors of interrupting other CPUs");
MODULE_VERSION(TM_VERSION);
