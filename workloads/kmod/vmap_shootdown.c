// SPDX-License-Identifier: GPL-2.0
/*
 * flush_tlb_kernel_range() alone, inside of vm_unmap_aliases(): a return probe
 * (Documentation/trace/kprobes.rst) takes the time where it begins and where it
 * has returned.
 *
 * There is one probe, while any open file wants it. All of the kernel's other
 * flushes go through it too, and each then looks whether it is a watched one.
 */
#include <linux/kprobes.h>
#include <linux/rculist.h>
#include <linux/slab.h>

#include "vmap.h"

/* Elsewhere the function is inline, and probing a copy of it would see a part of the flushes. */
#if defined(CONFIG_KRETPROBES) && defined(CONFIG_X86)

/* What one open file measures; its request holds tm_vmap.lock. */
struct tm_vmap_watch {
	struct list_head link;
	struct rcu_head rcu;
	struct task_struct *task; /* the one in a request, or NULL */
	unsigned long start, end; /* what it is to flush */
	struct tm_vmap_shootdown seen;
};

static LIST_HEAD(tm_vmap_watches);	   /* read under RCU */
static DEFINE_MUTEX(tm_vmap_watches_lock); /* adding and removing */
static bool tm_vmap_hit;

/* Probes run with preemption off, which is an RCU reader. */
static nokprobe_inline struct tm_vmap_watch *tm_vmap_watch_of_current(void)
{
	struct tm_vmap_watch *w;

	list_for_each_entry_rcu(w, &tm_vmap_watches, link,
				rcu_read_lock_any_held()) if (READ_ONCE(w->task) ==
							      current) return w;
	return NULL;
}

static int tm_vmap_flush_begins(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct tm_vmap_watch *w = tm_vmap_watch_of_current();

	if (!READ_ONCE(tm_vmap_hit))
		WRITE_ONCE(tm_vmap_hit, true);
	/* 1: nor is the return looked at. */
	if (!w || w->seen.op_ticks || regs_get_kernel_argument(regs, 0) > w->start ||
	    regs_get_kernel_argument(regs, 1) < w->end)
		return 1;
	w->seen.cpu = raw_smp_processor_id();
	w->seen.begin_ticks = tm_ticks_begin();
	return 0;
}
NOKPROBE_SYMBOL(tm_vmap_flush_begins);

static int tm_vmap_flush_returned(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	u64 end_ticks = tm_ticks_end();
	struct tm_vmap_watch *w = tm_vmap_watch_of_current();

	if (w)
		w->seen.op_ticks = end_ticks - w->seen.begin_ticks;
	return 0;
}
NOKPROBE_SYMBOL(tm_vmap_flush_returned);

static struct kretprobe tm_vmap_probe;

static int tm_vmap_probe_register(void)
{
	int error;

	/* It is changed by registering: as new each time. */
	tm_vmap_probe = (struct kretprobe){
		.kp.symbol_name = "flush_tlb_kernel_range",
		.entry_handler = tm_vmap_flush_begins,
		.handler = tm_vmap_flush_returned,
	};
	WRITE_ONCE(tm_vmap_hit, false);
	error = register_kretprobe(&tm_vmap_probe);
	return !error || error == -ENOMEM ? error : -EOPNOTSUPP;
}

int tm_vmap_shootdown_need(struct tm_vmap *v)
{
	struct tm_vmap_watch *w;
	int error = 0;

	if (v->watch)
		return 0;
	w = kzalloc(sizeof(*w), GFP_KERNEL_ACCOUNT);
	if (!w)
		return -ENOMEM;
	mutex_lock(&tm_vmap_watches_lock);
	if (list_empty(&tm_vmap_watches))
		error = tm_vmap_probe_register();
	if (!error)
		list_add_rcu(&w->link, &tm_vmap_watches);
	mutex_unlock(&tm_vmap_watches_lock);
	if (error)
		kfree(w);
	else
		v->watch = w;
	return error;
}

bool tm_vmap_shootdown_works(void)
{
	return READ_ONCE(tm_vmap_hit);
}

void tm_vmap_shootdown_free(struct tm_vmap *v)
{
	if (!v->watch)
		return;
	mutex_lock(&tm_vmap_watches_lock);
	list_del_rcu(&v->watch->link);
	if (list_empty(&tm_vmap_watches))
		unregister_kretprobe(&tm_vmap_probe);
	mutex_unlock(&tm_vmap_watches_lock);
	kfree_rcu(v->watch, rcu);
	v->watch = NULL;
}

void tm_vmap_shootdown_begin(struct tm_vmap *v, unsigned long start, unsigned long bytes)
{
	v->watch->start = start;
	v->watch->end = start + bytes;
	v->watch->seen = (struct tm_vmap_shootdown){};
	WRITE_ONCE(v->watch->task, current);
}

struct tm_vmap_shootdown tm_vmap_shootdown_end(struct tm_vmap *v)
{
	WRITE_ONCE(v->watch->task, NULL);
	return v->watch->seen;
}

#else

int tm_vmap_shootdown_need(struct tm_vmap *v)
{
	return -EOPNOTSUPP;
}

bool tm_vmap_shootdown_works(void)
{
	return false;
}

void tm_vmap_shootdown_free(struct tm_vmap *v)
{
}

void tm_vmap_shootdown_begin(struct tm_vmap *v, unsigned long start, unsigned long bytes)
{
}

struct tm_vmap_shootdown tm_vmap_shootdown_end(struct tm_vmap *v)
{
	return (struct tm_vmap_shootdown){};
}

#endif /* CONFIG_KRETPROBES && CONFIG_X86 */
