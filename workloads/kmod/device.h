/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What every module's device has in common: who may open it, the loop around
 * timed operations, and the counter. include/tlbmark/uapi.h tells callers what
 * they may rely on.
 *
 * A request validates everything it copied in, before anything happens, and
 * leaves nothing behind: what an operation makes it takes away before the next
 * one begins, so a caller that dies in between owns nothing. Nothing is shared
 * between two callers unless the module says so.
 *
 *	struct tm_loop loop;
 *
 *	error = tm_loop_start(&loop, &arg.run);
 *	while (!error && tm_loop_more(&loop)) {
 *		prepare;			// untimed
 *		tm_loop_begin(&loop);
 *		operation;
 *		tm_loop_end(&loop, pages);
 *		undo;				// untimed
 *		error = tm_loop_next(&loop);	// the sample goes out; signals
 *	}
 *	return tm_loop_finish(&loop, &user->run.done, error);
 */
#ifndef TLBMARK_KMOD_DEVICE_H
#define TLBMARK_KMOD_DEVICE_H

#include <linux/capability.h>
#include <linux/cpumask.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/smp.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include <tlbmark/uapi.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "tlbmark's modules need Linux 6.1 or newer"
#endif

#ifndef TM_VERSION
#error "build through the Makefile in this folder, which passes TM_VERSION"
#endif

/* As user space stamps its own operations (include/tlbmark/arch.h), and comparable with that. */
#if defined(CONFIG_X86_64)

static inline u64 tm_ticks_begin(void)
{
	u32 lo, hi;

	asm volatile("lfence\n\trdtsc\n\tlfence" : "=a"(lo), "=d"(hi) : : "memory");
	return (u64)hi << 32 | lo;
}

static inline u64 tm_ticks_end(void)
{
	u32 lo, hi;

	asm volatile("rdtscp\n\tlfence" : "=a"(lo), "=d"(hi) : : "rcx", "memory");
	return (u64)hi << 32 | lo;
}

#elif defined(CONFIG_ARM64)

static inline u64 tm_ticks_begin(void)
{
	u64 v;

	asm volatile("isb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(v) : : "memory");
	return v;
}

#define tm_ticks_end tm_ticks_begin

#else
#error "tlbmark knows x86-64 and arm64"
#endif

struct tm_loop {
	struct tm_sample __user *samples; /* NULL: not wanted */
	u32 operations, done;
	struct tm_sample now;
};

static inline int tm_loop_start(struct tm_loop *l, const struct tm_kmod_run *run)
{
	*l = (struct tm_loop){
		.samples = u64_to_user_ptr(run->samples),
		.operations = run->operations,
	};
	if (!run->operations || run->operations > TM_KMOD_OPERATIONS_MAX || run->done)
		return -EINVAL;
	return 0;
}

static inline bool tm_loop_more(const struct tm_loop *l)
{
	return l->done < l->operations;
}

static inline void tm_loop_begin(struct tm_loop *l)
{
	l->now.cpu = raw_smp_processor_id();
	l->now.begin_ticks = tm_ticks_begin();
}

static inline void tm_loop_end(struct tm_loop *l, u32 pages)
{
	l->now.op_ticks = tm_ticks_end() - l->now.begin_ticks;
	l->now.pages = pages;
}

/* Between two operations, with nothing held. 0, -EFAULT or -EINTR. */
static inline int tm_loop_next(struct tm_loop *l)
{
	if (l->samples && copy_to_user(&l->samples[l->done], &l->now, sizeof(l->now)))
		return -EFAULT;
	l->done++;
	/* A call may last long, and who waits for RCU tasks (BPF, ftrace) waits for it. */
	cond_resched_tasks_rcu_qs();
	return tm_loop_more(l) && signal_pending(current) ? -EINTR : 0;
}

static inline long tm_loop_finish(const struct tm_loop *l, u32 __user *done, int error)
{
	if (put_user(l->done, done))
		return -EFAULT;
	return error;
}

/*
 * The caller's bitmap of CPUs, without those that are offline; empty where
 * there are no bytes. 0, -EINVAL (too long, or a CPU that does not exist) or
 * -EFAULT.
 */
static inline int tm_mask_from_user(struct cpumask *mask, u64 bitmap, u32 bytes, u32 bytes_max)
{
	const u8 __user *user = u64_to_user_ptr(bitmap);
	u32 i;

	cpumask_clear(mask);
	if (bytes > bytes_max || (!bytes && bitmap))
		return -EINVAL;
	for (i = 0; i < bytes; i++) {
		u8 byte;
		int bit;

		if (get_user(byte, &user[i]))
			return -EFAULT;
		for (bit = 0; bit < 8; bit++) {
			u32 cpu = i * 8 + bit;

			if (!(byte >> bit & 1))
				continue;
			if (cpu >= nr_cpu_ids || !cpu_possible(cpu))
				return -EINVAL;
			cpumask_set_cpu(cpu, mask);
		}
	}
	cpumask_and(mask, mask, cpu_online_mask);
	return 0;
}

static inline int tm_device_open(struct inode *inode, struct file *file)
{
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
#ifdef CONFIG_X86_64
	if (!boot_cpu_has(X86_FEATURE_RDTSCP)) /* which tm_ticks_end() is made of */
		return -EOPNOTSUPP;
#endif
	return nonseekable_open(inode, file);
}

static inline long tm_device_info(struct tm_kmod_info __user *user)
{
	struct tm_kmod_info info = {
		.abi = TM_KMOD_ABI,
		.page_bytes = PAGE_SIZE,
		.version = TM_VERSION,
	};

	return copy_to_user(user, &info, sizeof(info)) ? -EFAULT : 0;
}

#endif /* TLBMARK_KMOD_DEVICE_H */
