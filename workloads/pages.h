/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Mappings to operate on: of a given kind and backing, at a place where the
 * page tables live or die as asked, populated, and never at the price of an
 * OOM kill.
 *
 * One initiator owns one struct pages; nothing here is shared between threads
 * but the set that holds them. Sizes are in bytes, counts in pages of the kind
 * unless called base pages.
 *
 * Sources: mmap(2), madvise(2), memfd_create(2), Documentation/admin-guide/mm
 * (transhuge.rst, hugetlbpage.rst), mm/memory.c free_pgd_range().
 */
#ifndef TLBMARK_PAGES_H
#define TLBMARK_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tlbmark/workload.h>

enum pages_kind { PAGES_4K, PAGES_THP, PAGES_HUGETLB };
enum pages_backing {
	PAGES_ANON,   /* private and anonymous: zeroed pages at every mapping */
	PAGES_SHARED, /* a memfd, MAP_SHARED: its pages outlive the mapping */
	PAGES_FILE,   /* an unlinked file on a disk's file system, MAP_SHARED, clean pages */
};

/* Choices of a workload's --kind and --backing; the index is the enum's value. */
extern const char *const pages_kinds[];		  /* 4k thp hugetlb */
extern const char *const pages_small_kinds[];	  /* 4k thp */
extern const char *const pages_backings[];	  /* anon shared file */
extern const char *const pages_memory_backings[]; /* anon shared */

/* --pages: a sample counts base pages in 32 bits, which bounds it. */
#define PAGES_PARAM(plan_, full_)                                                                  \
	{                                                                                          \
		.name = "pages", .unit = "pages",                                                  \
		.help = "pages of the kind that one operation covers", .kind = TM_PARAM_UINT,      \
		.min = 1, .max = UINT32_MAX, .def = "1", .plan = (plan_), .full = (full_)          \
	}

#define PAGES_CHOICE_PARAM(name_, help_, choices_, def_, full_)                                    \
	{                                                                                          \
		.name = (name_), .unit = "", .help = (help_), .kind = TM_PARAM_CHOICE,             \
		.choices = (choices_), .def = (def_), .full = (full_)                              \
	}

enum pages_place {
	/*
	 * Neighbours touch the range on both sides, so the page tables at its
	 * edges stay. (Tables wholly inside the range go anyway.)
	 */
	PAGES_KEEP_TABLES,
	/* Nothing else lives below the same page tables: unmapping frees them all. */
	PAGES_FREE_TABLES,
	/* Neighbours touch it, and it begins where a PMD entry does. */
	PAGES_ALIGNED,
};

struct pages {
	enum pages_kind kind;
	enum pages_backing backing;
	size_t page_bytes; /* one page of the kind */
	size_t bytes;	   /* all of them */
	int fd;		   /* -1: anonymous */
	bool thp_disabled; /* for this process, so that 4k stays 4k */
	char *reserved;	   /* address space that is ours; NULL before pages_place() */
	size_t reserved_bytes;
	char *at;	   /* the first spot */
	size_t pitch;	   /* from one spot to the next */
	unsigned int spot; /* the caller's own: where it is now */
};

/* What the workloads keep as their state: a struct pages an initiator. */
struct pages_set {
	unsigned int count;
	struct pages pages[];
};

/* Bytes of one page of the kind; 0 where this machine has none. */
size_t pages_kind_bytes(enum pages_kind kind);

/*
 * May a cell with `count` such pages an initiator run here? For probe_cell():
 * 0, or -ENOTSUP with the reason in why. Huge pages that pages_knobs() could
 * still get count as there.
 */
int pages_check(const struct tm_cell_args *cell, enum pages_kind kind, enum pages_backing backing,
		uint64_t count, char *why, size_t why_size);

/*
 * Does madvise(2) know `advice`? 0, or -ENOTSUP with the reason in why, which
 * calls it `name` ("MADV_PAGEOUT (Linux 5.4)"). Asks about nothing's pages.
 */
int pages_check_advice(int advice, const char *name, char *why, size_t why_size);

/* For probe_cell(): can a file on a disk be had out of which pages can be taken? The same. */
int pages_check_holes(char *why, size_t why_size);

/*
 * For knobs(): asks for the huge pages that are missing, or for huge pages in
 * shared memory. What is refused here, pages_open() finds missing and says so.
 * Returns 0.
 */
int pages_knobs(const struct tm_cell_args *cell, enum pages_kind kind, enum pages_backing backing,
		uint64_t count, struct tm_sysstate *s);

/* For setup() and teardown(): an empty set, and the end of all in it. */
int pages_set_new(struct tm_thread *t, void **state);
void pages_set_free(void *state);

static inline struct pages *pages_of(struct tm_thread *t, void *state)
{
	return &((struct pages_set *)state)->pages[t->index];
}

/*
 * For prepare(): checks again what pages_check() did, opens the backing. 0 or
 * what tm_fail() returned.
 */
int pages_open(struct tm_thread *t, struct pages *p, enum pages_kind kind,
	       enum pages_backing backing, uint64_t count);

/*
 * Reserves address space for `spots` places of p->bytes + extra_bytes each
 * and leaves them empty, with neighbours as `place` asks. 0 or -errno said.
 */
int pages_place(struct tm_thread *t, struct pages *p, enum pages_place place, unsigned int spots,
		size_t extra_bytes);

static inline char *pages_at(const struct pages *p, unsigned int spot)
{
	return p->at + spot * p->pitch;
}

/*
 * Maps `bytes` of the backing, readable and writable, to `at` (inside a spot;
 * the backing's offset is the distance to that spot's begin) and populates
 * them. `over`: in place of what is there, else it must be empty. Anonymous
 * pages are populated by writing, others by reading, so that they are clean.
 */
int pages_map(struct tm_thread *t, struct pages *p, char *at, size_t bytes, bool over);

/* Are [at, at + bytes) mapped by huge pages, all of them, where the pages are to be transparent huge ones? */
bool pages_are_huge(const struct pages *p, const char *at, size_t bytes);
/* The same: 0 or -ENOTSUP said. */
int pages_must_be_huge(struct tm_thread *t, const struct pages *p, const char *at, size_t bytes);

/*
 * What keeps a page where it is, a batch of another CPU or somebody's look at it, is soon
 * over: waits for 1 ms, and twice as long each time `again`, from 0 to 9.
 */
void pages_let_go(unsigned int again);

/*
 * Did MADV_COLLAPSE refuse with this errno since somebody had a page in his hands, so that
 * it is to be tried again? Locked, isolated, or just being migrated, for which it says
 * EINVAL (SCAN_PTE_NON_PRESENT in madvise_collapse_errno(), mm/khugepaged.c); so that it
 * says, too, of what stays as it is: after a hundred times it is believed. `refused`: the
 * times before.
 */
bool pages_collapse_refused(int error, uint64_t refused);

/*
 * What /proc/self/smaps says under `field` ("Referenced") of the mappings that
 * [at, at + bytes) meets, in bytes; 0 where there is no such file.
 */
size_t pages_smaps_bytes(const char *at, size_t bytes, const char *field);

/*
 * tm_publish() of the range's first pages, as many as a TLB may hold: reading
 * more would take the responders long and push out what they read before.
 */
void pages_publish(struct tm_thread *t, const char *at, size_t bytes, size_t page_bytes);

/* Populates a range that is mapped; `write` for private writable pages. */
int pages_populate(struct tm_thread *t, char *at, size_t bytes, size_t page_bytes, bool write);

/*
 * Makes base pages of huge ones that are mapped, private or shared memory: of each
 * the first `bytes` are populated anew, the rest is not, and it may be huge again. 0
 * or -errno said.
 */
int pages_fill_small(struct tm_thread *t, const struct pages *p, size_t bytes);

/* Forgets the backing's content, so that it reads as zeros: for the oracle. */
int pages_punch(struct tm_thread *t, const struct pages *p, size_t offset, size_t bytes);

/* Gives everything back; p may be zeroed, or half made. */
void pages_close(struct pages *p);

/*
 * A new unlinked file on a file system that is not memory itself ($TMPDIR,
 * /var/tmp, /tmp, the working directory), or where there is none a block device
 * of $TLBMARK_DEVICES. A descriptor, or -ENOTSUP said.
 */
int pages_temporary_file(struct tm_thread *t);

#endif /* TLBMARK_PAGES_H */
