// SPDX-License-Identifier: GPL-2.0
/*
 * tlbmark_ipi: interrupting other CPUs and waiting for them, without any
 * flush or with one of the whole TLB. See include/tlbmark/uapi_ipi.h.
 *
 * Kernel functions: smp_call_function_single(), smp_call_function_many(),
 * on_each_cpu() (kernel/smp.c), __flush_tlb_all() (arch/x86/mm/tlb.c).
 */
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
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

/* Which of the mask's CPUs run it, now that preemption is off; the caller's own never. */
static void tm_ipi_targets(u32 how, const struct cpumask *mask, struct cpumask *targets)
{
	int first;

	cpumask_and(targets, how == TM_IPI_SINGLE || how == TM_IPI_MASK ? mask : cpu_online_mask,
		    cpu_online_mask);
	if (how != TM_IPI_FLUSH_ALL)
		cpumask_clear_cpu(smp_processor_id(), targets);
	first = cpumask_first(targets);
	if (how == TM_IPI_SINGLE && first < nr_cpu_ids) {
		cpumask_clear(targets);
		cpumask_set_cpu(first, targets);
	}
}

/*
 * How often the function ran in the check of that number, of which there is one at a
 * time. A call that comes after its check has ended, which is what the check is for,
 * counts into memory that is still there, and not for the next check.
 */
static DEFINE_PER_CPU(u32, tm_ipi_times);
static unsigned long tm_ipi_check_number;
static DEFINE_MUTEX(tm_ipi_checking);

static void tm_ipi_count(void *number)
{
	if (READ_ONCE(tm_ipi_check_number) == (unsigned long)number)
		this_cpu_inc(tm_ipi_times);
}

static void tm_ipi_count_flush(void *number)
{
#ifdef CONFIG_X86
	__flush_tlb_all();
#endif
	tm_ipi_count(number);
}

static void *tm_ipi_next_check(void)
{
	int cpu;

	WRITE_ONCE(tm_ipi_check_number, tm_ipi_check_number + 1);
	for_each_possible_cpu(cpu) WRITE_ONCE(per_cpu(tm_ipi_times, cpu), 0);
	return (void *)tm_ipi_check_number;
}

static int tm_ipi_check_once(struct tm_ipi_check *arg, const struct cpumask *mask,
			     struct cpumask *targets)
{
	void *number = tm_ipi_next_check();
	int cpu, error = 0;

	get_cpu();
	tm_ipi_targets(arg->how, mask, targets);
	arg->asked = cpumask_weight(targets);
	if (arg->how == TM_IPI_FLUSH_ALL)
		on_each_cpu(tm_ipi_count_flush, number, 1);
	else if (!arg->asked)
		error = -ENXIO;
	else if (arg->how == TM_IPI_SINGLE)
		error = smp_call_function_single(cpumask_first(targets), tm_ipi_count, number, 1);
	else
		smp_call_function_many(arg->how == TM_IPI_ALL ? cpu_online_mask : mask,
				       tm_ipi_count, number, true);
	for_each_possible_cpu(cpu)
	{
		u32 ran = READ_ONCE(per_cpu(tm_ipi_times, cpu));

		if (ran == cpumask_test_cpu(cpu, targets))
			continue;
		arg->wrong++;
		arg->cpu = cpu;
		arg->times = ran;
	}
	put_cpu();
	return error;
}

static int tm_ipi_check_alone(struct tm_ipi_check *arg, const struct cpumask *mask,
			      struct cpumask *targets)
{
	int error;

	if (mutex_lock_interruptible(&tm_ipi_checking))
		return -EINTR;
	/* Without preemption none goes offline, but one could come online meanwhile. */
	cpus_read_lock();
	error = tm_ipi_check_once(arg, mask, targets);
	cpus_read_unlock();
	mutex_unlock(&tm_ipi_checking);
	return error;
}

static long tm_ipi_check(struct tm_ipi_check __user *user)
{
	cpumask_var_t mask, targets;
	struct tm_ipi_check arg;
	int error = 0;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (arg.how >= TM_IPI_HOWS || arg.asked || arg.wrong || arg.cpu || arg.times)
		return -EINVAL;
	if (arg.how == TM_IPI_FLUSH_ALL && !IS_ENABLED(CONFIG_X86))
		return -EOPNOTSUPP;
	if (!zalloc_cpumask_var(&mask, GFP_KERNEL))
		return -ENOMEM;
	if (!zalloc_cpumask_var(&targets, GFP_KERNEL)) {
		free_cpumask_var(mask);
		return -ENOMEM;
	}
	if (arg.how == TM_IPI_SINGLE || arg.how == TM_IPI_MASK)
		error = tm_mask_from_user(mask, arg.mask, arg.mask_bytes, TM_IPI_MASK_BYTES_MAX);
	else if (arg.mask || arg.mask_bytes)
		error = -EINVAL;
	if (!error)
		error = tm_ipi_check_alone(&arg, mask, targets);
	free_cpumask_var(targets);
	free_cpumask_var(mask);
	if (!error && copy_to_user(user, &arg, sizeof(arg)))
		error = -EFAULT;
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
	case TM_IPI_CHECK:
		return tm_ipi_check((void __user *)arg);
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
