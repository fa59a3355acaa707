// SPDX-License-Identifier: GPL-2.0
/*
 * tlbmark_vmap, the direct map: set_memory_uc(), _wc() and _wb()
 * (arch/x86/mm/pat/set_memory.c). Each goes to change_page_attr_set_clr(),
 * which calls vm_unmap_aliases() and then, in cpa_flush(), flushes the pages on
 * every CPU, and the caches; write combining does all of it twice.
 */
#include "vmap.h"

#ifdef CONFIG_X86
#include <linux/set_memory.h>

void tm_vmap_free_block(struct tm_vmap *v)
{
	if (v->block)
		__free_pages(v->block, v->order);
	v->block = NULL;
}

static int tm_vmap_set(unsigned long address, u32 attribute, u32 pages)
{
	return attribute == TM_VMAP_UC ? set_memory_uc(address, (int)pages)
				       : set_memory_wc(address, (int)pages);
}

/* Back again. Pages that cannot be got back are nobody's any more. */
static int tm_vmap_reset(struct tm_vmap *v, u32 pages)
{
	int error = set_memory_wb((unsigned long)page_address(v->block), (int)pages);

	if (!error)
		return 0;
	pr_err("tlbmark_vmap: %u pages cannot be made write back again and are given up: %d\n",
	       pages, error);
	v->block = NULL;
	return error;
}

/*
 * A block of so many pages at least. Both ways once, untimed: the first change
 * splits the direct map's huge page.
 */
static int tm_vmap_need_block(struct tm_vmap *v, u32 pages)
{
	unsigned int order = get_order((unsigned long)pages << PAGE_SHIFT);
	int error;

	if (v->block && v->order >= order)
		return 0;
	tm_vmap_free_block(v);
	v->block = alloc_pages(GFP_KERNEL_ACCOUNT | __GFP_NOWARN | __GFP_RETRY_MAYFAIL, order);
	if (!v->block)
		return -ENOMEM;
	v->order = order;
	error = tm_vmap_set((unsigned long)page_address(v->block), TM_VMAP_UC, 1u << order);
	return tm_vmap_reset(v, 1u << order) ?: error;
}

static int tm_vmap_attribute_once(struct tm_vmap *v, const struct tm_vmap_attribute_run *arg,
				  struct tm_loop *l)
{
	unsigned long address = (unsigned long)page_address(v->block);
	int set_error, reset_error;

	tm_loop_begin(l);
	set_error = tm_vmap_set(address, arg->attribute, arg->pages);
	if (!(arg->timed & TM_VMAP_TIME_RESET))
		tm_loop_end(l, arg->pages);
	else if (!(arg->timed & TM_VMAP_TIME_SET))
		tm_loop_begin(l);
	reset_error = tm_vmap_reset(v, arg->pages);
	if (arg->timed & TM_VMAP_TIME_RESET)
		tm_loop_end(l, arg->pages);
	return set_error ?: reset_error;
}

long tm_vmap_attribute(struct tm_vmap *v, struct tm_vmap_attribute_run __user *user)
{
	struct tm_vmap_attribute_run arg;
	struct tm_loop loop;
	int error;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	error = tm_loop_start(&loop, &arg.run);
	if (error)
		return error;
	if (arg.attribute >= TM_VMAP_ATTRIBUTES || !arg.pages ||
	    arg.pages > TM_VMAP_ATTRIBUTE_PAGES_MAX || !arg.timed ||
	    arg.timed & ~(TM_VMAP_TIME_SET | TM_VMAP_TIME_RESET) || arg.reserved)
		return -EINVAL;
	error = tm_vmap_need_block(v, arg.pages);
	while (!error && tm_loop_more(&loop)) {
		error = tm_vmap_attribute_once(v, &arg, &loop);
		if (!error)
			error = tm_loop_next(&loop);
	}
	return tm_loop_finish(&loop, &user->run.done, error);
}

#else

void tm_vmap_free_block(struct tm_vmap *v)
{
}

long tm_vmap_attribute(struct tm_vmap *v, struct tm_vmap_attribute_run __user *user)
{
	return -EOPNOTSUPP;
}

#endif
