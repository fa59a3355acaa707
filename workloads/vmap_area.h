/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the workloads on the device tlbmark-vmap share: kinds of areas, when the
 * kernel purges lazily unmapped ones, and the oracle.
 */
#ifndef TLBMARK_VMAP_AREA_H
#define TLBMARK_VMAP_AREA_H

#include <stdint.h>

#include <tlbmark/uapi_vmap.h>
#include <tlbmark/workload.h>

/* By enum tm_vmap_how. */
extern const char *const vmap_area_kinds[];

/*
 * As many pages may wait, unmapped and not flushed, on the CPUs that are online
 * now (lazy_max_pages() in mm/vmalloc.c): with one more all are purged.
 */
uint64_t vmap_area_lazy_max(void);

/* So many areas unmapped one after the other, lazily, make one purge. */
uint64_t vmap_area_per_purge(enum tm_vmap_how how, uint64_t pages);

/*
 * verify(): v->rounds times an area of this kind is read by every CPU of the
 * cell, unmapped and purged by vm_unmap_aliases(), and then no CPU may read it
 * any more. 0 or what tm_fail() returned.
 */
int vmap_area_verify(struct tm_thread *t, int fd, enum tm_vmap_how how, uint32_t pages,
		     struct tm_verdict *v);

#endif /* TLBMARK_VMAP_AREA_H */
