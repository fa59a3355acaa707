// SPDX-License-Identifier: GPL-2.0
/*
 * tlbmark_vmap, stale aliases: areas that are unmapped and not flushed yet. See
 * include/tlbmark/uapi_vmap.h.
 *
 * A dead address is read as follows. Its page table entry is looked at first,
 * interrupts off: if there is one, somebody has mapped that address anew, which
 * only happens after the flush, and nothing is read (it might be a device's).
 * If there is none, a load that succeeds took the translation from the TLB,
 * and what it reads is our own page: of areas that own their pages a reference
 * is held, so that none is freed before vm_unmap_aliases(). No page table is
 * freed under the lookup, since that too takes a flush, and where that is an
 * interrupt this CPU answers none meanwhile. One window is left: an address
 * that was flushed before the lookup may be mapped between it and the load,
 * some nanoseconds; then a word of what is there now is read, and not ours.
 *
 * Without lookup_address(), outside x86, nothing dead is read at all.
 */
#include <linux/cpumask.h>
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "vmap.h"

#ifdef CONFIG_X86
#include <asm/pgtable.h>
#endif

#define TM_VMAP_CHUNK 64			    /* areas that one interrupt reads */
#define TM_VMAP_AREA_BYTES 256			    /* at most what is kept of an area, */
#define TM_VMAP_AREA_PAGE_BYTES 16		    /* and of a page of it: an entry, a pointer */
#define TM_WATCH_PATIENCE_NS (10ull * NSEC_PER_SEC) /* with a reader whose CPU others want */

static bool tm_vmap_is_mapped(const void *address)
{
#ifdef CONFIG_X86
	unsigned int level;
	pte_t *entry = lookup_address((unsigned long)address, &level);

	return entry && pte_present(*entry);
#else
	return false;
#endif
}

bool tm_vmap_is_stale(const void *address, u64 stamp)
{
	unsigned long flags;
	u64 value = 0;

	local_irq_save(flags);
	if (!tm_vmap_is_mapped(address) && copy_from_kernel_nofault(&value, address, sizeof(value)))
		value = 0;
	local_irq_restore(flags);
	return value == stamp;
}

/* ---- vm_unmap_aliases() ---- */

/* An area, and its first and last page: what is read is ours until they are put. */
struct tm_vmap_area {
	void *first, *last;
	struct page *first_page, *last_page;
};

struct tm_vmap_areas {
	struct tm_vmap_area *area; /* `count` of them */
	u32 count, pages;
	u64 stamp;
	bool mapped;
	u32 first, end; /* what one interrupt reads */
	atomic64_t loads;
};

static bool tm_vmap_load(const struct tm_vmap_areas *a, const void *address)
{
	return a->mapped ? READ_ONCE(*(const u64 *)address) == a->stamp
			 : tm_vmap_is_stale(address, a->stamp);
}

static void tm_vmap_load_all(void *argument)
{
	struct tm_vmap_areas *a = argument;
	u32 i, loads = 0;

	for (i = a->first; i < a->end; i++) {
		loads += tm_vmap_load(a, a->area[i].first);
		if (a->pages > 1)
			loads += tm_vmap_load(a, a->area[i].last);
	}
	atomic64_add(loads, &a->loads);
}

/* Every CPU of the mask reads all areas; adds how many loads there were that got our word. */
static int tm_vmap_load_on(struct tm_vmap_areas *a, const struct cpumask *mask, u64 *loads)
{
	atomic64_set(&a->loads, 0);
	for (a->first = 0; a->first < a->count; a->first = a->end) {
		if (fatal_signal_pending(current))
			return -EINTR;
		a->end = min(a->count, a->first + TM_VMAP_CHUNK);
		on_each_cpu_mask(mask, tm_vmap_load_all, a, true);
		cond_resched_tasks_rcu_qs();
	}
	*loads += (u64)atomic64_read(&a->loads);
	return 0;
}

static int tm_vmap_make_areas(const struct tm_vmap *v, const struct tm_vmap_aliases *arg,
			      struct tm_vmap_areas *a)
{
	a->count = 0;
	while (a->count < arg->areas) {
		struct tm_vmap_area *area = &a->area[a->count];

		area->first = tm_vmap_map(v, arg->how, arg->pages);
		if (!area->first)
			return -ENOMEM;
		a->count++;
		area->last = area->first + (unsigned long)(arg->pages - 1) * PAGE_SIZE;
		area->first_page = vmalloc_to_page(area->first);
		area->last_page = vmalloc_to_page(area->last);
		get_page(area->first_page);
		get_page(area->last_page);
		WRITE_ONCE(*(u64 *)area->first, a->stamp);
		WRITE_ONCE(*(u64 *)area->last, a->stamp);
		cond_resched_tasks_rcu_qs();
		if (a->count < arg->areas && signal_pending(current))
			return -EINTR;
	}
	return 0;
}

static void tm_vmap_put_pages(const struct tm_vmap_areas *a)
{
	u32 i;

	for (i = 0; i < a->count; i++) {
		put_page(a->area[i].first_page);
		put_page(a->area[i].last_page);
		cond_resched_tasks_rcu_qs();
	}
}

static int tm_vmap_aliases_once(const struct tm_vmap *v, struct tm_vmap_aliases *arg,
				struct tm_vmap_areas *a, const struct cpumask *mask,
				struct tm_loop *l)
{
	int error;
	u32 i;

	vm_unmap_aliases();
	a->mapped = true;
	error = tm_vmap_make_areas(v, arg, a);
	if (!error)
		error = tm_vmap_load_on(a, mask, &arg->loads);
	for (i = 0; i < a->count; i++) {
		tm_vmap_unmap(arg->how, a->area[i].first, arg->pages);
		cond_resched_tasks_rcu_qs();
	}
	a->mapped = false;
	if (!error)
		error = tm_vmap_load_on(a, mask, &arg->stale_before);
	tm_loop_begin(l);
	vm_unmap_aliases();
	tm_loop_end(l, arg->areas * arg->pages);
	if (!error)
		error = tm_vmap_load_on(a, mask, &arg->stale_after);
	tm_vmap_put_pages(a);
	return error;
}

static int tm_vmap_check_aliases(const struct tm_vmap_aliases *arg)
{
	int error = tm_vmap_check_how(arg->how, arg->pages);

	if (error)
		return error;
	if ((u64)arg->areas * (arg->pages + 1) > TM_VMAP_LAZY_MAX || arg->loads ||
	    arg->stale_before || arg->stale_after)
		return -EINVAL;
	return arg->mask_bytes && !IS_ENABLED(CONFIG_X86) ? -EOPNOTSUPP : 0;
}

/* Pages that all areas take, and what the kernel keeps of them. */
static u64 tm_vmap_areas_cost(const struct tm_vmap_aliases *arg)
{
	u64 bytes = TM_VMAP_AREA_BYTES + (arg->pages + 1ull) * TM_VMAP_AREA_PAGE_BYTES;

	if (tm_vmap_owns_pages(arg->how))
		bytes += (u64)arg->pages * PAGE_SIZE;
	return (arg->areas * bytes) >> PAGE_SHIFT;
}

static int tm_vmap_aliases_run(struct tm_vmap *v, struct tm_vmap_aliases *arg,
			       const struct cpumask *mask, struct tm_loop *l)
{
	struct tm_vmap_areas areas = {.pages = arg->pages, .stamp = v->stamp};
	u64 reserved = tm_vmap_areas_cost(arg);
	int error = tm_vmap_reserve(reserved);

	if (error)
		return error;
	/* One more than there are: none is no reason to have no memory. */
	areas.area = kvmalloc_array(arg->areas + 1, sizeof(*areas.area), GFP_KERNEL_ACCOUNT);
	if (!areas.area)
		error = -ENOMEM;
	else if (!tm_vmap_owns_pages(arg->how))
		error = tm_vmap_need(v, arg->pages);
	while (!error && tm_loop_more(l)) {
		error = tm_vmap_aliases_once(v, arg, &areas, mask, l);
		if (!error)
			error = tm_loop_next(l);
	}
	kvfree(areas.area);
	tm_vmap_unreserve(reserved);
	return error;
}

long tm_vmap_aliases(struct tm_vmap *v, struct tm_vmap_aliases __user *user)
{
	struct tm_vmap_aliases arg;
	cpumask_var_t mask;
	struct tm_loop loop;
	int error;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	error = tm_loop_start(&loop, &arg.run);
	if (!error)
		error = tm_vmap_check_aliases(&arg);
	if (error)
		return error;
	if (!zalloc_cpumask_var(&mask, GFP_KERNEL))
		return -ENOMEM;
	error = tm_mask_from_user(mask, arg.mask, arg.mask_bytes, TM_VMAP_MASK_BYTES_MAX);
	if (!error)
		error = tm_vmap_aliases_run(v, &arg, mask, &loop);
	free_cpumask_var(mask);
	if (put_user(arg.loads, &user->loads) || put_user(arg.stale_before, &user->stale_before) ||
	    put_user(arg.stale_after, &user->stale_after))
		error = -EFAULT;
	return tm_loop_finish(&loop, &user->run.done, error);
}

/* ---- the life of an alias ---- */

enum {
	TM_ALIAS_FREE,
	TM_ALIAS_MAPPED, /* to be read by the reader */
	TM_ALIAS_HELD,	 /* it has */
	TM_ALIAS_DEAD,	 /* unmapped: tried again and again by the reader */
	TM_ALIAS_GONE,	 /* the reader could not any more */
	TM_ALIAS_DONE,	 /* and the others were looked at once more */
};

/*
 * A watched alias. Who may write is told by the state: the reader while it is
 * MAPPED, DEAD or GONE, else the caller.
 */
struct tm_alias {
	u32 state;
	bool evicted;
	void *area;
	struct page *page; /* its first one */
	u64 stamp;
	u64 dead_ticks, gone_ticks;
	u32 dead_cpu;
} ____cacheline_aligned;

struct tm_watch {
	struct tm_vmap *v;
	struct tm_vmap_lifetime *arg;
	struct tm_loop *loop;
	struct task_struct *reader;
	struct tm_alias *alias;
	u32 aliases; /* how many there may be */
	u32 watched; /* not FREE */
	u32 started;
	struct page **page; /* of an area: an alias' own, and the descriptor's */
	u32 finished;	    /* by the reader: how many are DONE, ever */
	bool displaced;	    /* by the reader: its CPU is offline, it stopped */
	u32 collected;
	u64 next_ns;
};

/* Tries every dead alias; the oldest one that still is there. */
static u64 tm_reader_try(struct tm_watch *w)
{
	u64 oldest_ticks = U64_MAX;
	u32 i;

	for (i = 0; i < w->aliases; i++) {
		struct tm_alias *a = &w->alias[i];

		switch (smp_load_acquire(&a->state)) {
		case TM_ALIAS_MAPPED:
			(void)READ_ONCE(*(const u64 *)a->area);
			smp_store_release(&a->state, TM_ALIAS_HELD);
			break;
		case TM_ALIAS_DEAD:
			if (tm_vmap_is_stale(a->area, a->stamp)) {
				oldest_ticks = min(oldest_ticks, a->dead_ticks);
				break;
			}
			a->gone_ticks = tm_ticks_end();
			a->evicted = false;
			smp_store_release(&a->state, TM_ALIAS_GONE);
			break;
		}
	}
	return oldest_ticks;
}

/*
 * A purge takes everything that was unmapped before it: if an older alias was
 * there in a turn begun later, it was not the purge that took this one.
 */
static int tm_reader_main(void *argument)
{
	struct tm_watch *w = argument;
	u32 i;

	while (!kthread_should_stop()) {
		u64 turn_ticks = tm_ticks_begin(), oldest_ticks = tm_reader_try(w);

		/* Where the CPU goes offline, bound threads are moved, for good. */
		if (raw_smp_processor_id() != w->arg->reader) {
			WRITE_ONCE(w->displaced, true);
			break;
		}
		for (i = 0; i < w->aliases; i++) {
			struct tm_alias *a = &w->alias[i];

			if (READ_ONCE(a->state) != TM_ALIAS_GONE || a->gone_ticks >= turn_ticks)
				continue;
			a->evicted = oldest_ticks <= a->dead_ticks;
			smp_store_release(&a->state, TM_ALIAS_DONE);
			smp_store_release(&w->finished, w->finished + 1);
		}
		cond_resched_tasks_rcu_qs();
	}
	for (;;) {
		set_current_state(TASK_IDLE);
		if (kthread_should_stop())
			break;
		schedule();
	}
	__set_current_state(TASK_RUNNING);
	return 0;
}

static int tm_watch_breath(const struct tm_watch *w)
{
	cond_resched_tasks_rcu_qs();
	if (READ_ONCE(w->displaced))
		return -ENXIO;
	return signal_pending(current) ? -EINTR : 0;
}

/* A lazy unmapping that nobody watches, then the pause. */
static int tm_watch_fill(struct tm_watch *w)
{
	void *area = vmap(w->v->page, w->arg->pages, VM_MAP, PAGE_KERNEL);

	if (!area)
		return -ENOMEM;
	vunmap(area);
	w->arg->unmaps++;
	return tm_watch_breath(w);
}

static int tm_watch_pause(struct tm_watch *w)
{
	u64 now_ns = ktime_get_ns();
	ktime_t pause;

	if (!w->arg->interval_ns)
		return 0;
	w->next_ns = max(w->next_ns + w->arg->interval_ns, now_ns);
	if (w->next_ns > now_ns + 50000) {
		pause = ns_to_ktime(w->next_ns - now_ns);
		set_current_state(TASK_INTERRUPTIBLE);
		schedule_hrtimeout(&pause, HRTIMER_MODE_REL);
		return signal_pending(current) ? -EINTR : 0;
	}
	while (ktime_get_ns() < w->next_ns)
		cpu_relax();
	return 0;
}

/* Waits until the reader has read the alias. */
static int tm_watch_await(const struct tm_watch *w, const struct tm_alias *a)
{
	u64 end_ns = ktime_get_ns() + TM_WATCH_PATIENCE_NS;
	int error = 0;

	while (!error && smp_load_acquire(&a->state) != TM_ALIAS_HELD) {
		cpu_relax();
		error = tm_watch_breath(w);
		if (!error && ktime_get_ns() > end_ns)
			error = -ETIMEDOUT;
	}
	return error;
}

/* One lazy unmapping that is watched. */
static int tm_watch_one(struct tm_watch *w, struct tm_alias *a)
{
	void *area;
	int error;

	w->page[0] = a->page;
	area = vmap(w->page, w->arg->pages, VM_MAP, PAGE_KERNEL);
	if (!area)
		return -ENOMEM;
	a->area = area;
	a->stamp += 2; /* never that of another one, nor v->stamp, which comes before all */
	WRITE_ONCE(*(u64 *)area, a->stamp);
	smp_store_release(&a->state, TM_ALIAS_MAPPED);
	error = tm_watch_await(w, a);
	if (error)
		return error;
	vunmap(area);
	a->dead_cpu = raw_smp_processor_id();
	a->dead_ticks = tm_ticks_end();
	smp_store_release(&a->state, TM_ALIAS_DEAD);
	w->arg->unmaps++;
	w->watched++;
	w->started++;
	return tm_watch_breath(w);
}

/* What has ended since goes out. */
static int tm_watch_collect(struct tm_watch *w)
{
	u32 i, finished = smp_load_acquire(&w->finished);
	int error = 0;

	for (i = 0; !error && w->collected != finished && i < w->aliases; i++) {
		struct tm_alias *a = &w->alias[i];

		if (smp_load_acquire(&a->state) != TM_ALIAS_DONE)
			continue;
		w->loop->now = (struct tm_sample){
			.begin_ticks = a->dead_ticks,
			.op_ticks =
				a->gone_ticks > a->dead_ticks ? a->gone_ticks - a->dead_ticks : 0,
			.cpu = a->dead_cpu,
			.pages = w->arg->pages,
		};
		w->arg->evicted += a->evicted;
		WRITE_ONCE(a->state, TM_ALIAS_FREE);
		w->watched--;
		w->collected++;
		error = tm_loop_next(w->loop);
	}
	return error;
}

static struct tm_alias *tm_watch_free_one(struct tm_watch *w)
{
	u32 i;

	for (i = 0; i < w->aliases && w->watched < w->aliases; i++)
		if (READ_ONCE(w->alias[i].state) == TM_ALIAS_FREE)
			return &w->alias[i];
	return NULL;
}

static int tm_watch_all(struct tm_watch *w)
{
	struct tm_alias *a;
	int error = 0;
	u32 i;

	for (i = 0; !error && i < w->arg->before; i++)
		error = tm_watch_fill(w);
	w->next_ns = ktime_get_ns();
	for (i = 0; !error && tm_loop_more(w->loop); i++) {
		bool wanted = w->started < w->loop->operations && i % w->arg->every == 0;

		a = wanted ? tm_watch_free_one(w) : NULL;
		w->arg->missed += wanted && !a;
		error = a ? tm_watch_one(w, a) : tm_watch_fill(w);
		if (!error)
			error = tm_watch_pause(w);
		if (!error)
			error = tm_watch_collect(w);
	}
	return error;
}

static int tm_watch_start(struct tm_watch *w)
{
	const gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_NOWARN | __GFP_RETRY_MAYFAIL;
	struct task_struct *reader;
	u32 i;

	w->aliases = min_t(u32, w->loop->operations, TM_VMAP_WATCHED_MAX);
	w->alias = kvcalloc(w->aliases, sizeof(*w->alias), GFP_KERNEL_ACCOUNT);
	w->page = kvmalloc_array(w->arg->pages, sizeof(*w->page), GFP_KERNEL_ACCOUNT);
	if (!w->alias || !w->page)
		return -ENOMEM;
	memcpy(w->page, w->v->page, w->arg->pages * sizeof(*w->page));
	for (i = 0; i < w->aliases; i++) {
		w->alias[i].page = alloc_page(gfp);
		if (!w->alias[i].page)
			return -ENOMEM;
		/* Apart for as often as one of them can be watched anew. */
		w->alias[i].stamp = w->v->stamp + (u64)i * 2 * TM_KMOD_OPERATIONS_MAX;
	}
	reader = kthread_create(tm_reader_main, w, "tlbmark/%u", w->arg->reader);
	if (IS_ERR(reader))
		return PTR_ERR(reader);
	w->reader = reader;
	kthread_bind(reader, w->arg->reader);
	/* The responder that may spin there is to leave it the CPU. */
	set_user_nice(reader, MIN_NICE);
	wake_up_process(reader);
	return 0;
}

static void tm_watch_end(struct tm_watch *w)
{
	u32 i;

	if (w->reader)
		kthread_stop(w->reader);
	for (i = 0; w->alias && i < w->aliases; i++)
		if (w->alias[i].state == TM_ALIAS_MAPPED || w->alias[i].state == TM_ALIAS_HELD)
			vunmap(w->alias[i].area);
	vm_unmap_aliases();
	for (i = 0; w->alias && i < w->aliases; i++)
		if (w->alias[i].page)
			__free_page(w->alias[i].page);
	kvfree(w->alias);
	kvfree(w->page);
}

static int tm_vmap_check_lifetime(const struct tm_vmap_lifetime *arg)
{
	if (!arg->pages || arg->pages > TM_VMAP_PAGES_MAX || !arg->every ||
	    arg->before > TM_VMAP_LAZY_MAX || arg->interval_ns > TM_VMAP_INTERVAL_NS_MAX ||
	    arg->reserved || arg->unmaps || arg->evicted || arg->missed ||
	    arg->reader >= nr_cpu_ids || !cpu_possible(arg->reader))
		return -EINVAL;
	if (!cpu_online(arg->reader) || arg->reader == raw_smp_processor_id())
		return -ENXIO;
	return 0;
}

long tm_vmap_lifetime(struct tm_vmap *v, struct tm_vmap_lifetime __user *user)
{
	struct tm_vmap_lifetime arg;
	struct tm_loop loop;
	struct tm_watch w = {.v = v, .arg = &arg, .loop = &loop};
	int error;

	if (!IS_ENABLED(CONFIG_X86))
		return -EOPNOTSUPP;
	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	error = tm_loop_start(&loop, &arg.run);
	if (!error)
		error = tm_vmap_check_lifetime(&arg);
	if (!error)
		error = tm_vmap_need(v, arg.pages);
	if (error)
		return error;
	error = tm_watch_start(&w);
	if (!error)
		error = tm_watch_all(&w);
	tm_watch_end(&w);
	if (put_user(arg.unmaps, &user->unmaps) || put_user(arg.evicted, &user->evicted) ||
	    put_user(arg.missed, &user->missed))
		error = -EFAULT;
	return tm_loop_finish(&loop, &user->run.done, error);
}
