// SPDX-License-Identifier: GPL-3.0-or-later
/* What the workloads on the device tlbmark-vmap share. See vmap_area.h. */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kmod.h"
#include "vmap_area.h"

enum {
	/* mm/vmalloc.c: vm_map_ram() takes so many pages at most from blocks of so many. */
	RAM_PAGES_MAX = 64, /* VMAP_MAX_ALLOC */
	BLOCK_PAGES = 1024, /* VMAP_BBMAP_BITS */
	HUGE_BYTES = 2 << 20,
};

const char *const vmap_area_kinds[] = {"vmap", "vm_map_ram", "vmalloc", "vmalloc_huge", NULL};

static uint64_t page_bytes(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t vmap_area_lazy_max(void)
{
	uint64_t cpus = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN), bits = 0;

	for (; cpus; cpus /= 2)
		bits++;
	return bits * (UINT64_C(32) << 20) / page_bytes();
}

uint64_t vmap_area_per_purge(enum tm_vmap_how how, uint64_t pages)
{
	uint64_t huge_pages = HUGE_BYTES / page_bytes(), slot = 1;

	if (how == TM_VMAP_RAM && pages <= RAM_PAGES_MAX) {
		/* Whole blocks wait, when all that was in them is unmapped. */
		while (slot < pages)
			slot *= 2;
		return (vmap_area_lazy_max() / BLOCK_PAGES + 1) * (BLOCK_PAGES / slot);
	}
	if (how == TM_VMAP_HUGE && pages >= huge_pages)
		pages = (pages + huge_pages - 1) / huge_pages * huge_pages;
	/* The guard page waits as well. */
	return vmap_area_lazy_max() / (pages + (how != TM_VMAP_RAM)) + 1;
}

int vmap_area_verify(struct tm_thread *t, int fd, enum tm_vmap_how how, uint32_t pages,
		     struct tm_verdict *v)
{
	const uint64_t loads = (t->cell->responders + UINT64_C(1)) * (pages > 1 ? 2 : 1);
	unsigned char mask[KMOD_MASK_BYTES];
	uint64_t stale;
	int rc;

	kmod_mask_responders(t, mask);
	kmod_mask_add(mask, t->cpu);
	for (uint64_t round = 0; round < v->rounds; round++) {
		struct tm_vmap_aliases request = {
			.run = {.operations = 1},
			.mask = (uintptr_t)mask,
			.mask_bytes = sizeof(mask),
			.how = how,
			.pages = pages,
			.areas = 1,
		};

		rc = ioctl(fd, TM_VMAP_ALIASES, &request);
		/* Not x86: then nothing is checked, and nothing said to be right. */
		if (rc && errno == EOPNOTSUPP)
			return 0;
		if (rc)
			return tm_fail(t, -errno, "reading an alias on every CPU");
		/* The module leaves out who is offline. */
		if (request.loads < loads && !request.stale_after && tm_lost_one(t))
			return -ECHILD;
		stale = request.stale_after;
		tm_check(v, request.loads == loads,
			 "only %llu of %" PRIu64 " loads from a mapped area were right",
			 request.loads, loads);
		for (uint64_t i = 0; i < loads; i++)
			tm_check(v, i >= stale,
				 "%" PRIu64 " of %" PRIu64
				 " loads from an area succeeded after it was unmapped and purged",
				 stale, loads);
	}
	return 0;
}
