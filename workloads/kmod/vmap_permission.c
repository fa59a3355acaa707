// SPDX-License-Identifier: GPL-2.0
/*
 * tlbmark_vmap, permissions: what a TLB still allows after set_memory_ro(), and
 * still reads after the vfree() of such memory. See include/tlbmark/uapi_vmap.h.
 *
 * No kernel exports set_memory_ro() or a way to VM_FLUSH_RESET_PERMS. But
 * bpf_prog_select_runtime() (kernel/bpf/core.c) is exported, and does both to the
 * pages in which it is told that a program lies which is not compiled: it looks at
 * bpf_func, jited, pages and the maps in aux, and at nothing else. Such a program
 * is made here, and never runs. In the direct map there is no vm_struct to flag;
 * a vfree() of the same pages through an area makes it writable again.
 *
 * A store is tried with an entry in the exception table, as
 * copy_to_kernel_nofault() does, which is not exported either. The entry of the
 * page tables says read-only by then: a store that goes through took its
 * permission from the TLB. All pages are ours from first to last, so it harms
 * nothing.
 */
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/filter.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "vmap.h"

/* Without the interpreter programs are always compiled, into memory of another kind. */
#if defined(CONFIG_X86) && defined(CONFIG_BPF) && !defined(CONFIG_BPF_JIT_ALWAYS_ON)

#define TM_PERMISSION_LOOKS 32 /* pages that a CPU tries, and the last one */

void tm_vmap_free_permission(struct tm_vmap *v)
{
	u32 i;

	for (i = 0; v->permission && i < 1u << v->permission_order; i++)
		__free_page(v->permission + i);
	v->permission = NULL;
}

/* So many pages in one piece, each by itself. */
static int tm_permission_need(struct tm_vmap *v, u32 pages)
{
	unsigned int order = get_order((unsigned long)pages << PAGE_SHIFT);

	if (v->permission && v->permission_order >= order)
		return 0;
	tm_vmap_free_permission(v);
	v->permission = alloc_pages(GFP_KERNEL_ACCOUNT | __GFP_NOWARN | __GFP_RETRY_MAYFAIL, order);
	if (!v->permission)
		return -ENOMEM;
	split_page(v->permission, order);
	v->permission_order = order;
	return 0;
}

/* What the CPUs try, and how many tries went well. */
struct tm_permission_look {
	char *at;
	u32 pages;
	bool store;
	u64 stamp;
	atomic64_t went_well;
	atomic64_t address; /* of one that did */
	atomic_t cpu;
};

/* The last word of a page: the program is at the beginning of the first. */
static u64 *tm_permission_word(char *at, u32 page)
{
	return (u64 *)(at + ((unsigned long)page + 1) * PAGE_SIZE) - 1;
}

static bool tm_permission_store(u64 *word, u64 value)
{
	pagefault_disable();
	__put_kernel_nofault(word, &value, u64, failed);
	pagefault_enable();
	return true;
failed:
	pagefault_enable();
	return false;
}

static void tm_permission_try_page(struct tm_permission_look *l, u32 page)
{
	u64 *word = tm_permission_word(l->at, page);

	if (l->store ? !tm_permission_store(word, l->stamp) : !tm_vmap_is_stale(word, l->stamp))
		return;
	atomic64_inc(&l->went_well);
	atomic64_set(&l->address, (s64)(unsigned long)word);
	atomic_set(&l->cpu, raw_smp_processor_id());
}

static void tm_permission_try(void *argument)
{
	struct tm_permission_look *l = argument;
	u32 i, step = max(1u, l->pages / TM_PERMISSION_LOOKS);

	for (i = 0; i < l->pages - 1; i += step)
		tm_permission_try_page(l, i);
	tm_permission_try_page(l, l->pages - 1);
}

/* A load of an area that is mapped: so that the TLB has it. */
static void tm_permission_load(void *argument)
{
	const struct tm_permission_look *l = argument;
	u32 i, step = max(1u, l->pages / TM_PERMISSION_LOOKS);

	for (i = 0; i < l->pages - 1; i += step)
		(void)READ_ONCE(*tm_permission_word(l->at, i));
	(void)READ_ONCE(*tm_permission_word(l->at, l->pages - 1));
}

struct tm_permission {
	struct tm_vmap *v;
	struct tm_vmap_permission *arg;
	const struct cpumask *mask;
	struct bpf_prog_aux *aux;
	char *direct, *area, *alias; /* the same pages; of the alias the first one only */
};

static u64 tm_permission_look(const struct tm_permission *p, u32 what, char *at, bool store)
{
	struct tm_permission_look l = {
		.at = at,
		.pages = what == TM_VMAP_STALE_ALIAS ? 1 : p->arg->pages,
		.store = store,
		.stamp = p->v->stamp,
	};

	on_each_cpu_mask(p->mask, tm_permission_try, &l, true);
	p->arg->address[what] = (u64)atomic64_read(&l.address);
	p->arg->cpu[what] = (u32)atomic_read(&l.cpu);
	return (u64)atomic64_read(&l.went_well);
}

static void tm_permission_fill(const struct tm_permission *p, u32 what, char *at)
{
	struct tm_permission_look l = {
		.at = at,
		.pages = what == TM_VMAP_STALE_ALIAS ? 1 : p->arg->pages,
	};

	on_each_cpu_mask(p->mask, tm_permission_load, &l, true);
}

/* set_memory_ro() of all pages, there; an area's are then VM_FLUSH_RESET_PERMS. */
static int tm_permission_take(const struct tm_permission *p, char *at)
{
	int error = 0;

	bpf_prog_select_runtime((struct bpf_prog *)at, &error);
	return error;
}

static unsigned int tm_permission_run_never(const void *context, const struct bpf_insn *insn)
{
	return 0;
}

/* What bpf_prog_select_runtime() wants to see, and our words; through the direct map. */
static void tm_permission_write(const struct tm_permission *p)
{
	struct bpf_prog *program = (struct bpf_prog *)p->direct;
	u32 i;

	memset(program, 0, sizeof(*program));
	program->pages = (u16)p->arg->pages;
	program->bpf_func = tm_permission_run_never;
	program->aux = p->aux;
	for (i = 0; i < p->arg->pages; i++)
		WRITE_ONCE(*tm_permission_word(p->direct, i), p->v->stamp);
}

/*
 * The pages through an area of which vfree() puts one reference each: they stay
 * ours. And a second one, of the first page.
 */
static int tm_permission_map(struct tm_permission *p)
{
	struct page **page;
	u32 i;

	page = kvmalloc_array(p->arg->pages, sizeof(*page), GFP_KERNEL_ACCOUNT);
	if (!page)
		return -ENOMEM;
	for (i = 0; i < p->arg->pages; i++)
		page[i] = p->v->permission + i;
	p->alias = vmap(page, 1, VM_MAP, PAGE_KERNEL);
	if (p->alias)
		p->area = vmap(page, p->arg->pages, VM_MAP | VM_MAP_PUT_PAGES, PAGE_KERNEL);
	if (!p->area) {
		vunmap(p->alias);
		kvfree(page);
		return -ENOMEM;
	}
	for (i = 0; i < p->arg->pages; i++)
		get_page(page[i]);
	return 0;
}

/* Pages that cannot be written to again are nobody's any more. */
static int tm_permission_give_back(const struct tm_permission *p)
{
	u32 i;

	for (i = 0; i < p->arg->pages; i++) {
		if (tm_permission_store(tm_permission_word(p->direct, i), 0))
			continue;
		pr_err("tlbmark_vmap: %u pages cannot be made writable again and are given up\n",
		       1u << p->v->permission_order);
		p->v->permission = NULL;
		return -EIO;
	}
	return 0;
}

/* From the mapping to the freeing, with a look after each step that flushes. */
static int tm_permission_steps(struct tm_permission *p)
{
	struct tm_vmap_permission *arg = p->arg;
	int error;

	arg->before[TM_VMAP_STALE_DIRECT] =
		tm_permission_look(p, TM_VMAP_STALE_DIRECT, p->direct, true);
	tm_permission_fill(p, TM_VMAP_STALE_ALIAS, p->alias);
	vunmap(p->alias);
	arg->before[TM_VMAP_STALE_ALIAS] =
		tm_permission_look(p, TM_VMAP_STALE_ALIAS, p->alias, false);
	error = tm_permission_take(p, p->direct);
	if (!error) {
		arg->after[TM_VMAP_STALE_DIRECT] =
			tm_permission_look(p, TM_VMAP_STALE_DIRECT, p->direct, true);
		arg->after[TM_VMAP_STALE_ALIAS] =
			tm_permission_look(p, TM_VMAP_STALE_ALIAS, p->alias, false);
		arg->before[TM_VMAP_STALE_AREA] =
			tm_permission_look(p, TM_VMAP_STALE_AREA, p->area, true);
	}
	/* Whatever went wrong: without it vfree() would leave the direct map as it is. */
	error = tm_permission_take(p, p->area) ?: error;
	if (!error)
		arg->after[TM_VMAP_STALE_AREA] =
			tm_permission_look(p, TM_VMAP_STALE_AREA, p->area, true);
	tm_permission_fill(p, TM_VMAP_STALE_FREED, p->area);
	vfree(p->area);
	if (!error)
		arg->after[TM_VMAP_STALE_FREED] =
			tm_permission_look(p, TM_VMAP_STALE_FREED, p->area, false);
	return tm_permission_give_back(p) ?: error;
}

static int tm_permission_all(struct tm_vmap *v, struct tm_vmap_permission *arg,
			     const struct cpumask *mask)
{
	struct tm_permission p = {.v = v, .arg = arg, .mask = mask};
	int error = tm_permission_need(v, arg->pages);

	if (error)
		return error;
	p.direct = page_address(v->permission);
	p.aux = kzalloc(sizeof(*p.aux), GFP_KERNEL_ACCOUNT);
	if (!p.aux)
		return -ENOMEM;
	mutex_init(&p.aux->used_maps_mutex);
	tm_permission_write(&p);
	/* A purge of others' areas would flush more than what is looked at. */
	vm_unmap_aliases();
	error = tm_permission_map(&p);
	if (!error) {
		/* The same CPUs are to try it before and after. */
		cpus_read_lock();
		error = tm_permission_steps(&p);
		cpus_read_unlock();
	}
	kfree(p.aux);
	return error;
}

long tm_vmap_permission(struct tm_vmap *v, struct tm_vmap_permission __user *user)
{
	struct tm_vmap_permission arg;
	cpumask_var_t mask;
	int error;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (!arg.pages || arg.pages > TM_VMAP_ATTRIBUTE_PAGES_MAX ||
	    memchr_inv(arg.before, 0, sizeof(arg) - offsetof(struct tm_vmap_permission, before)))
		return -EINVAL;
	if (!zalloc_cpumask_var(&mask, GFP_KERNEL))
		return -ENOMEM;
	error = tm_mask_from_user(mask, arg.mask, arg.mask_bytes, TM_VMAP_MASK_BYTES_MAX);
	if (!error)
		error = tm_permission_all(v, &arg, mask);
	free_cpumask_var(mask);
	if (!error && copy_to_user(user, &arg, sizeof(arg)))
		error = -EFAULT;
	return error;
}

#else

void tm_vmap_free_permission(struct tm_vmap *v)
{
}

long tm_vmap_permission(struct tm_vmap *v, struct tm_vmap_permission __user *user)
{
	return -EOPNOTSUPP;
}

#endif
