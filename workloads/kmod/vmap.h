/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of tlbmark_vmap share: vmap.c is the device, and maps and
 * unmaps areas; vmap_alias.c looks after areas that are unmapped and not yet
 * flushed; vmap_attribute.c is about the direct map; vmap_permission.c about who
 * may write; vmap_shootdown.c times the flush alone.
 */
#ifndef TLBMARK_KMOD_VMAP_H
#define TLBMARK_KMOD_VMAP_H

#include <linux/mutex.h>

#include <tlbmark/uapi_vmap.h>

#include "device.h"

struct tm_vmap_watch; /* vmap_shootdown.c */

/* One open file. A request holds the lock. */
struct tm_vmap {
	struct mutex lock;
	u64 stamp;	    /* what a page holds that some CPU is to read */
	struct page **page; /* what vmap() and vm_map_ram() map: `pages` of them */
	u32 pages;
	struct page *block; /* what set_memory_*() changes: `order`, or NULL */
	unsigned int order;
	struct page *permission; /* what set_memory_ro() changes: 1 << permission_order, or NULL */
	unsigned int permission_order;
	struct tm_vmap_watch *watch; /* of flush_tlb_kernel_range(), or NULL */
};

/* Sets aside so many pages, which then may be allocated. 0 or -ENOMEM. */
int tm_vmap_reserve(u64 pages);
void tm_vmap_unreserve(u64 pages);
/* Are an area's pages its own, and freed with it? */
bool tm_vmap_owns_pages(u32 how);
/* From here on v->page has so many pages at least. 0 or -ENOMEM. */
int tm_vmap_need(struct tm_vmap *v, u32 pages);
/* NULL when out of memory. VMAP and RAM: tm_vmap_need() came before. */
void *tm_vmap_map(const struct tm_vmap *v, u32 how, u32 pages);
void tm_vmap_unmap(u32 how, void *area, u32 pages);
/* Can the areas of this kind be had here? 0, -EINVAL or -EOPNOTSUPP. */
int tm_vmap_check_how(u32 how, u32 pages);

long tm_vmap_aliases(struct tm_vmap *v, struct tm_vmap_aliases __user *user);
long tm_vmap_lifetime(struct tm_vmap *v, struct tm_vmap_lifetime __user *user);
long tm_vmap_attribute(struct tm_vmap *v, struct tm_vmap_attribute_run __user *user);
long tm_vmap_permission(struct tm_vmap *v, struct tm_vmap_permission __user *user);
void tm_vmap_free_block(struct tm_vmap *v);
void tm_vmap_free_permission(struct tm_vmap *v);

/* Can this CPU still read our word at an address that is no longer mapped? x86. */
bool tm_vmap_is_stale(const void *address, u64 stamp);

/*
 * The first flush_tlb_kernel_range() by the caller, between begin() and end(),
 * of all of these addresses; op_ticks is 0 where there was none. Before the
 * first begin() need() makes it possible: 0, -ENOMEM, or -EOPNOTSUPP where that
 * function cannot be probed. A probe may be switched off all the same: works()
 * tells whether it has ever seen a flush, anyone's.
 */
struct tm_vmap_shootdown {
	u64 begin_ticks, op_ticks;
	u32 cpu;
};

int tm_vmap_shootdown_need(struct tm_vmap *v);
bool tm_vmap_shootdown_works(void);
void tm_vmap_shootdown_begin(struct tm_vmap *v, unsigned long start, unsigned long bytes);
struct tm_vmap_shootdown tm_vmap_shootdown_end(struct tm_vmap *v);
void tm_vmap_shootdown_free(struct tm_vmap *v);

#endif /* TLBMARK_KMOD_VMAP_H */
