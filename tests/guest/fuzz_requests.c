// SPDX-License-Identifier: GPL-3.0-or-later
/* The requests, and how their structs are made: right, nearly right, and wild. */
#define _GNU_SOURCE
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <tlbmark/uapi_dma.h>
#include <tlbmark/uapi_ipi.h>
#include <tlbmark/uapi_notifier.h>
#include <tlbmark/uapi_vmap.h>

#define FIELD(type_, member_, kind_, low_, high_)                                                  \
	{                                                                                          \
		.kind = (kind_), .offset = offsetof(struct type_, member_),                        \
		.bytes = sizeof(((struct type_ *)0)->member_), .low = (low_), .high = (high_)      \
	}
#define ZERO(type_, member_) FIELD(type_, member_, FIELD_ZERO, 0, 0)
#define CHOICE(type_, member_, count_) FIELD(type_, member_, FIELD_NUMBER, 0, (count_)-1)
#define NUMBER(type_, member_, low_, high_) FIELD(type_, member_, FIELD_NUMBER, low_, high_)
#define RUN(type_)                                                                                 \
	FIELD(type_, run.samples, FIELD_POINTER, 0, 0),                                            \
		FIELD(type_, run.operations, FIELD_OPERATIONS, 1, TM_KMOD_OPERATIONS_MAX),         \
		ZERO(type_, run.done)
#define MASK(type_)                                                                                \
	FIELD(type_, mask, FIELD_MASK, 0, 0), NUMBER(type_, mask_bytes, 0, TM_IPI_MASK_BYTES_MAX)
#define REQUEST(how_, number_, type_, timed_, ...)                                                 \
	{                                                                                          \
		.name = #number_, .number = (number_), .bytes = sizeof(struct type_),              \
		.how = REQUEST_##how_, .timed = (timed_), .field = {                               \
			__VA_ARGS__                                                                \
		}                                                                                  \
	}
#define INFO REQUEST(QUICK, TM_KMOD_INFO, tm_kmod_info, false, {.kind = FIELD_OUT})

const struct device fuzz_device[DEVICES] = {
	{"ipi",
	 0,
	 {INFO,
	  REQUEST(SLOW, TM_IPI_RUN, tm_ipi_run, true, RUN(tm_ipi_run), MASK(tm_ipi_run),
		  CHOICE(tm_ipi_run, how, TM_IPI_HOWS)),
	  REQUEST(SLOW, TM_IPI_CHECK, tm_ipi_check, false, MASK(tm_ipi_check),
		  CHOICE(tm_ipi_check, how, TM_IPI_HOWS), ZERO(tm_ipi_check, asked),
		  ZERO(tm_ipi_check, wrong), ZERO(tm_ipi_check, cpu), ZERO(tm_ipi_check, times))}},
	{"notifier",
	 0,
	 {INFO,
	  REQUEST(SLOW, TM_NOTIFIER_SET, tm_notifier_set, false,
		  CHOICE(tm_notifier_set, kind, TM_NOTIFIER_KINDS),
		  NUMBER(tm_notifier_set, count, 0, TM_NOTIFIER_COUNT_MAX),
		  NUMBER(tm_notifier_set, delay_ns, 0, TM_NOTIFIER_DELAY_NS_MAX),
		  ZERO(tm_notifier_set, reserved)),
	  REQUEST(QUICK, TM_NOTIFIER_COUNTS, tm_notifier_counts, false, {.kind = FIELD_OUT}),
	  REQUEST(QUICK, TM_NOTIFIER_WATCH, tm_notifier_watch, false,
		  FIELD(tm_notifier_watch, address, FIELD_PAGE, 0, 0)),
	  REQUEST(QUICK, TM_NOTIFIER_LOG, tm_notifier_log, false,
		  FIELD(tm_notifier_log, events, FIELD_POINTER, 0, 0),
		  NUMBER(tm_notifier_log, capacity, 0, TM_NOTIFIER_EVENTS_MAX),
		  ZERO(tm_notifier_log, count), ZERO(tm_notifier_log, lost),
		  ZERO(tm_notifier_log, reserved)),
	  REQUEST(QUICK, TM_NOTIFIER_FILL, tm_notifier_fill, false,
		  FIELD(tm_notifier_fill, address, FIELD_PAGE, 0, 0),
		  NUMBER(tm_notifier_fill, pages, 1, TM_NOTIFIER_TLB_MAX),
		  ZERO(tm_notifier_fill, filled), ZERO(tm_notifier_fill, reserved)),
	  REQUEST(QUICK, TM_NOTIFIER_STALE, tm_notifier_stale, false,
		  CHOICE(tm_notifier_stale, tlb, TM_NOTIFIER_TLBS), ZERO(tm_notifier_stale, held),
		  ZERO(tm_notifier_stale, stale), ZERO(tm_notifier_stale, permissions),
		  ZERO(tm_notifier_stale, address))}},
	{"vmap",
	 0,
	 {INFO,
	  REQUEST(SLOW, TM_VMAP_RUN, tm_vmap_run, true, RUN(tm_vmap_run), MASK(tm_vmap_run),
		  CHOICE(tm_vmap_run, how, TM_VMAP_HOWS),
		  NUMBER(tm_vmap_run, pages, 1, TM_VMAP_PAGES_MAX),
		  NUMBER(tm_vmap_run, timed, 1, TM_VMAP_TIME_SHOOTDOWN),
		  NUMBER(tm_vmap_run, flags, 0, 1), CHOICE(tm_vmap_run, where, TM_VMAP_WHERES),
		  NUMBER(tm_vmap_run, cpu, 0, 3), ZERO(tm_vmap_run, huge)),
	  REQUEST(SLOW, TM_VMAP_ALIASES, tm_vmap_aliases, true, RUN(tm_vmap_aliases),
		  MASK(tm_vmap_aliases), CHOICE(tm_vmap_aliases, how, TM_VMAP_HOWS),
		  NUMBER(tm_vmap_aliases, pages, 1, TM_VMAP_PAGES_MAX),
		  NUMBER(tm_vmap_aliases, areas, 0, TM_VMAP_LAZY_MAX / 2),
		  ZERO(tm_vmap_aliases, loads), ZERO(tm_vmap_aliases, stale_before),
		  ZERO(tm_vmap_aliases, stale_after)),
	  REQUEST(RARE, TM_VMAP_LIFETIME, tm_vmap_lifetime, true, RUN(tm_vmap_lifetime),
		  NUMBER(tm_vmap_lifetime, reader, 0, 3),
		  NUMBER(tm_vmap_lifetime, pages, 1, TM_VMAP_PAGES_MAX),
		  NUMBER(tm_vmap_lifetime, every, 1, UINT32_MAX),
		  NUMBER(tm_vmap_lifetime, before, 0, TM_VMAP_LAZY_MAX),
		  NUMBER(tm_vmap_lifetime, interval_ns, 0, TM_VMAP_INTERVAL_NS_MAX),
		  ZERO(tm_vmap_lifetime, reserved), ZERO(tm_vmap_lifetime, unmaps),
		  ZERO(tm_vmap_lifetime, evicted), ZERO(tm_vmap_lifetime, missed)),
	  REQUEST(SLOW, TM_VMAP_ATTRIBUTE, tm_vmap_attribute_run, true, RUN(tm_vmap_attribute_run),
		  CHOICE(tm_vmap_attribute_run, attribute, TM_VMAP_ATTRIBUTES),
		  NUMBER(tm_vmap_attribute_run, pages, 1, TM_VMAP_ATTRIBUTE_PAGES_MAX),
		  NUMBER(tm_vmap_attribute_run, timed, 1, 3),
		  ZERO(tm_vmap_attribute_run, reserved)),
	  REQUEST(SLOW, TM_VMAP_PERMISSION, tm_vmap_permission, false, MASK(tm_vmap_permission),
		  NUMBER(tm_vmap_permission, pages, 1, TM_VMAP_ATTRIBUTE_PAGES_MAX),
		  ZERO(tm_vmap_permission, before), ZERO(tm_vmap_permission, after),
		  ZERO(tm_vmap_permission, address), ZERO(tm_vmap_permission, cpu))}},
	{"dma",
	 TM_DMA_ATTACH,
	 {INFO,
	  REQUEST(QUICK, TM_DMA_ATTACH, tm_dma_attach, false,
		  FIELD(tm_dma_attach, device, FIELD_TEXT, 0, 0), ZERO(tm_dma_attach, domain),
		  ZERO(tm_dma_attach, reserved)),
	  REQUEST(SLOW, TM_DMA_RUN, tm_dma_run, true, RUN(tm_dma_run),
		  CHOICE(tm_dma_run, how, TM_DMA_HOWS), CHOICE(tm_dma_run, timed, TM_DMA_TIMES),
		  CHOICE(tm_dma_run, direction, TM_DMA_DIRECTIONS),
		  NUMBER(tm_dma_run, bytes, 1, TM_DMA_BYTES_MAX),
		  NUMBER(tm_dma_run, entries, 1, TM_DMA_ENTRIES_MAX), ZERO(tm_dma_run, reserved)),
	  REQUEST(RARE, TM_DMA_MOVE, tm_dma_move, false, NUMBER(tm_dma_move, seed, 0, UINT64_MAX),
		  NUMBER(tm_dma_move, bytes, 1, TM_DMA_TRANSFER_MAX),
		  ZERO(tm_dma_move, wrong_bytes)),
	  REQUEST(RARE, TM_DMA_WINDOW, tm_dma_window, false,
		  NUMBER(tm_dma_window, bytes, 1, TM_DMA_TRANSFER_MAX),
		  NUMBER(tm_dma_window, lead_ns, 0, TM_DMA_LEAD_MAX_NS),
		  NUMBER(tm_dma_window, others, 0, TM_DMA_OTHERS_MAX), ZERO(tm_dma_window, outcome),
		  ZERO(tm_dma_window, age_least_ns), ZERO(tm_dma_window, age_most_ns),
		  ZERO(tm_dma_window, others_ns)),
	  REQUEST(RARE, TM_DMA_REUSE, tm_dma_reuse, false,
		  NUMBER(tm_dma_reuse, bytes, 1, TM_DMA_TRANSFER_MAX),
		  NUMBER(tm_dma_reuse, lead_ns, 0, TM_DMA_LEAD_MAX_NS),
		  NUMBER(tm_dma_reuse, maps_most, 1, TM_DMA_REUSE_MAPS_MAX),
		  ZERO(tm_dma_reuse, outcome), ZERO(tm_dma_reuse, maps),
		  ZERO(tm_dma_reuse, reserved))}},
};

/* ---- memory ---- */

static char *map(size_t bytes, int protection)
{
	char *at = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

int arena_make(struct arena *a)
{
	a->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	a->written = map(ARENA_BYTES + a->page_bytes, PROT_READ | PROT_WRITE);
	a->mask = map(a->page_bytes, PROT_READ | PROT_WRITE);
	a->fixed = map(a->page_bytes, PROT_READ);
	a->none = map(a->page_bytes, PROT_NONE);
	if (!a->written || !a->mask || !a->fixed || !a->none)
		return -ENOMEM;
	/* CPUs 0 and 1, whichever of them the caller is on. */
	a->mask[0] = 3;
	return munmap(a->written + ARENA_BYTES, a->page_bytes) ? -errno : 0;
}

uint64_t fuzz_pointer(const struct arena *a, uint64_t *random)
{
	const uint64_t choice[] = {
		0,
		1,
		(uintptr_t)a->written,
		(uintptr_t)a->written + fuzz_below(random, 64),
		(uintptr_t)a->written + ARENA_BYTES - fuzz_below(random, 128),
		(uintptr_t)a->written + ARENA_BYTES,
		(uintptr_t)a->fixed,
		(uintptr_t)a->none,
		(uintptr_t)a->none - 8,
		0x00007fffffffe000,
		0x00007ffffffff000 - 8,
		0x0000800000000000,
		0x8000000000000000,
		0xffff800000000000,
		0xffff888000000000 + (fuzz_random(random) & 0x3fffffff),
		0xffffffff81000000,
		0xffffffffff600000,
		UINT64_MAX - 4095,
		UINT64_MAX,
		fuzz_random(random),
	};

	return choice[fuzz_below(random, sizeof(choice) / sizeof(choice[0]))];
}

/* ---- values ---- */

static uint64_t largest(const struct field *f)
{
	return f->bytes >= 8 ? UINT64_MAX : (1ull << (8 * f->bytes)) - 1;
}

/* In range, small numbers most often: a large one may cost as much as many calls. */
static uint64_t number(const struct field *f, uint64_t *random)
{
	uint64_t span = f->high - f->low, small = f->kind == FIELD_OPERATIONS ? 16 : 40;

	if (fuzz_below(random, 4) == 0)
		return f->low;
	return f->low + fuzz_below(random, (span < small ? span : small) + 1);
}

static uint64_t boundary(const struct field *f, uint64_t *random)
{
	const uint64_t choice[] = {
		0,
		1,
		f->low - 1,
		f->low,
		f->high,
		f->high + 1,
		f->high - 1,
		largest(f),
		largest(f) >> 1,
		(largest(f) >> 1) + 1,
		largest(f) - 7,
		fuzz_random(random),
		1ull << fuzz_below(random, 64),
		f->low + fuzz_below(random, f->high - f->low + 1),
	};

	return choice[fuzz_below(random, sizeof(choice) / sizeof(choice[0]))];
}

static uint64_t right(const struct field *f, const struct arena *a, uint64_t *random)
{
	switch (f->kind) {
	case FIELD_NUMBER:
	case FIELD_OPERATIONS:
		return number(f, random);
	case FIELD_POINTER:
	case FIELD_PAGE:
		return fuzz_below(random, 3) ? (uintptr_t)a->written : 0;
	case FIELD_MASK:
		return fuzz_below(random, 3) ? (uintptr_t)a->mask : 0;
	default:
		return 0;
	}
}

static uint64_t wrong(const struct field *f, const struct arena *a, uint64_t *random)
{
	switch (f->kind) {
	case FIELD_POINTER:
	case FIELD_PAGE:
	case FIELD_MASK:
		return fuzz_pointer(a, random);
	default:
		return boundary(f, random);
	}
}

/* Little-endian, as x86-64 and arm64 are. */
static void put(char *bytes, const struct field *f, uint64_t value)
{
	memcpy(bytes + f->offset, &value, f->bytes < 8 ? f->bytes : 8);
}

static void put_text(char *bytes, const struct field *f, uint64_t *random)
{
	static const char *const texts[] = {"", "0000:00:03.0", "0000:00:00.0", "software",
					    "%s%n/.."};
	const char *text = texts[fuzz_below(random, sizeof(texts) / sizeof(texts[0]))];

	/* One in four has no end. */
	if (!fuzz_below(random, 4))
		memset(bytes + f->offset, 'x', f->bytes);
	else
		memcpy(bytes + f->offset, text, strlen(text) + 1);
}

void fuzz_fill(const struct request *r, const struct arena *a, enum fuzz_mode mode,
	       uint64_t *random, void *out)
{
	char *bytes = out;
	size_t fields = 0, bad;

	memset(bytes, 0, STRUCT_MAX);
	while (fields < FIELDS_MAX && r->field[fields].bytes)
		fields++;
	bad = fuzz_below(random, fields ? fields : 1);
	for (size_t i = 0; i < fields; i++) {
		const struct field *f = &r->field[i];
		bool broken = mode == FUZZ_WILD || (mode == FUZZ_ONE && i == bad);

		if (f->kind == FIELD_TEXT && broken)
			put_text(bytes, f, random);
		else if (f->kind != FIELD_TEXT)
			put(bytes, f, broken ? wrong(f, a, random) : right(f, a, random));
	}
	/* Padding, and what this table does not know of. */
	if (mode == FUZZ_WILD && !fuzz_below(random, 4))
		bytes[fuzz_below(random, r->bytes)] = (char)fuzz_random(random);
}

static bool can_break(const struct field *f)
{
	return (f->kind == FIELD_ZERO && f->bytes) ||
	       ((f->kind == FIELD_NUMBER || f->kind == FIELD_OPERATIONS) &&
		(f->low || f->high < largest(f)));
}

const struct field *fuzz_break(const struct request *r, uint64_t *random, void *bytes)
{
	size_t first = fuzz_below(random, FIELDS_MAX);
	const struct field *f = NULL;
	uint64_t value;

	for (size_t i = 0; i < FIELDS_MAX && !(f && can_break(f)); i++)
		f = &r->field[(first + i) % FIELDS_MAX];
	if (!f || !can_break(f))
		return NULL;
	do
		value = boundary(f, random) & largest(f);
	while (f->kind == FIELD_ZERO ? !value : value >= f->low && value <= f->high);
	put(bytes, f, value);
	return f;
}

int fuzz_open(const struct device *d, bool ready)
{
	char path[64], zeros[STRUCT_MAX] = {0};
	int fd;

	snprintf(path, sizeof(path), "/dev/tlbmark-%s", d->name);
	fd = open(path, O_RDWR);
	if (fd < 0)
		return -errno;
	/* May fail where a signal comes: then the other requests say so. */
	if (ready && d->first)
		ioctl(fd, d->first, zeros);
	return fd;
}
