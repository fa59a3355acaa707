// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "pages.h"
#include "room.h"

/* Newer than some C libraries. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

#define THP "/sys/kernel/mm/transparent_hugepage/"

/* More entries than the second-level TLB of any CPU so far has (3,072). */
enum {
	TLB_ENTRIES = 4096,
	DISK_SPARE_BYTES = 1 << 20, /* file systems need some for themselves */
};

const char *const pages_kinds[] = {"4k", "thp", "hugetlb", NULL};
const char *const pages_small_kinds[] = {"4k", "thp", NULL};
const char *const pages_backings[] = {"anon", "shared", "file", NULL};
const char *const pages_memory_backings[] = {"anon", "shared", NULL};

static size_t round_up(size_t n, size_t unit)
{
	return (n + unit - 1) / unit * unit;
}

/* One short line of a file; false where it cannot be read. */
static bool read_line(const char *path, char *line, size_t size)
{
	FILE *f = fopen(path, "re");
	bool ok;

	if (!f)
		return false;
	ok = fgets(line, (int)size, f) != NULL;
	fclose(f);
	return ok;
}

static uint64_t read_number(const char *path)
{
	char line[64];

	return read_line(path, line, sizeof(line)) ? strtoull(line, NULL, 10) : 0;
}

size_t pages_kind_bytes(enum pages_kind kind)
{
	char line[256];
	size_t bytes = 0;
	FILE *f;

	if (kind == PAGES_4K)
		return (size_t)sysconf(_SC_PAGESIZE);
	if (kind == PAGES_THP)
		return read_number(THP "hpage_pmd_size");
	f = fopen("/proc/meminfo", "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Hugepagesize: %zu kB", &bytes) == 1)
			break;
	}
	fclose(f);
	return bytes * 1024;
}

/* ---- huge pages of the pool ---- */

static void pool_path(char *path, size_t size, const char *name)
{
	snprintf(path, size, "/sys/kernel/mm/hugepages/hugepages-%zukB/%s",
		 pages_kind_bytes(PAGES_HUGETLB) / 1024, name);
}

static uint64_t pool_number(const char *name)
{
	char path[128];

	pool_path(path, sizeof(path), name);
	return read_number(path);
}

/* How many the pool lacks of `count`; those that are promised are not free. */
static uint64_t pool_shortage(uint64_t count)
{
	uint64_t have = pool_number("free_hugepages"), promised = pool_number("resv_hugepages");

	have -= promised < have ? promised : have;
	return have < count ? count - have : 0;
}

/* ---- files on a disk ---- */

static const char no_disk[] =
	"no directory on a disk to make a file in: set TMPDIR to one that is not tmpfs";

/*
 * $TLBMARK_DEVICES names block devices, with colons between them, whose content
 * is nobody's: the first that nobody else has stands in for a file. -ENOENT.
 */
static int open_device(void)
{
	const char *list = getenv("TLBMARK_DEVICES");
	char path[128];

	while (list && *list) {
		size_t length = strcspn(list, ":");
		struct stat st;
		int fd = -1;

		snprintf(path, sizeof(path), "%.*s", (int)length, list);
		if (length < sizeof(path) && !stat(path, &st) && S_ISBLK(st.st_mode))
			fd = open(path, O_RDWR | O_EXCL | O_CLOEXEC);
		if (fd >= 0)
			return fd;
		list += length + (list[length] == ':');
	}
	return -ENOENT;
}

/* A new file that has no name any more, or a device; -ENOENT. */
static int open_temporary(void)
{
	const char *const directories[] = {getenv("TMPDIR"), "/var/tmp", "/tmp", "."};

	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
		struct statfs fs;
		int fd;

		if (!directories[i] || statfs(directories[i], &fs) || fs.f_type == TMPFS_MAGIC ||
		    fs.f_type == RAMFS_MAGIC)
			continue;
		fd = open(directories[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (fd < 0) {
			char full[4096];

			if ((size_t)snprintf(full, sizeof(full), "%s/tlbmark-XXXXXX",
					     directories[i]) >= sizeof(full))
				continue;
			fd = mkostemp(full, O_CLOEXEC);
			if (fd >= 0)
				unlink(full);
		}
		if (fd >= 0)
			return fd;
	}
	return open_device();
}

/* A device has the size that it has, see make_long(). */
static int check_disk(uint64_t bytes, char *why, size_t why_size)
{
	int fd = open_temporary(), rc = 0;
	struct statfs fs;
	struct stat st;

	if (fd < 0) {
		snprintf(why, why_size, "%s", no_disk);
		return -ENOTSUP;
	}
	/* Stores to a page that gets no block end in SIGBUS. */
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && !fstatfs(fd, &fs) &&
	    (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize < bytes + DISK_SPARE_BYTES) {
		snprintf(why, why_size,
			 "a file of %" PRIu64 " KiB does not fit on the disk, which has %" PRIu64
			 " KiB left: free some, or set TMPDIR to another",
			 bytes >> 10, (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize >> 10);
		rc = -ENOTSUP;
	}
	close(fd);
	return rc;
}

int pages_check_holes(char *why, size_t why_size)
{
	int fd = open_temporary();
	struct stat st;
	bool device;

	if (fd < 0)
		return 0; /* pages_check() says so */
	device = !fstat(fd, &st) && S_ISBLK(st.st_mode);
	close(fd);
	if (!device)
		return 0;
	snprintf(why, why_size,
		 "a device stands in for the file, and no page can be taken out of one");
	return -ENOTSUP;
}

/* ---- may it run? ---- */

/* Huge pages in shared memory, when asked for by madvise(). */
static bool shmem_thp_allowed(void)
{
	char line[128];

	return read_line(THP "shmem_enabled", line, sizeof(line)) && !strstr(line, "[never]") &&
	       !strstr(line, "[deny]");
}

static bool thp_allowed(void)
{
	char line[128];

	return read_line(THP "enabled", line, sizeof(line)) && !strstr(line, "[never]");
}

static bool memory_files(void)
{
	int fd = memfd_create("tlbmark", MFD_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0 || errno != ENOSYS;
}

static int check_kind(enum pages_kind kind, enum pages_backing backing, char *why, size_t why_size)
{
	const char *reason = NULL;

	if (kind != PAGES_4K && backing == PAGES_FILE)
		reason = "files of a disk are not mapped by huge pages that can be asked for: "
			 "use --backing shared";
	else if (kind == PAGES_THP && !pages_kind_bytes(kind))
		reason = "this kernel has no transparent huge pages";
	else if (kind == PAGES_THP && backing == PAGES_ANON && !thp_allowed())
		reason = "transparent huge pages are set to never: "
			 "echo madvise >" THP "enabled";
	else if (kind == PAGES_HUGETLB && !pages_kind_bytes(kind))
		reason = "this kernel has no hugetlb pages";
	else if (backing == PAGES_SHARED && !memory_files())
		reason = "this kernel has no memfd_create(2) (CONFIG_MEMFD_CREATE)";
	if (!reason)
		return 0;
	snprintf(why, why_size, "%s", reason);
	return -ENOTSUP;
}

static int check_room(const struct tm_cell_args *cell, enum pages_kind kind, uint64_t count,
		      char *why, size_t why_size)
{
	uint64_t all = count * cell->initiators, bytes;

	/* Pages that the pool has already cost nothing more. */
	if (kind == PAGES_HUGETLB)
		all = pool_shortage(all);
	bytes = all * pages_kind_bytes(kind);
	/* Page tables, page structures of a huge page that is split. */
	return room_check("", bytes + bytes / 256, why, why_size);
}

int pages_check_advice(int advice, const char *name, char *why, size_t why_size)
{
	if (!madvise(NULL, 0, advice))
		return 0;
	snprintf(why, why_size, "this kernel has no %s",
		 errno == ENOSYS ? "madvise(2) (CONFIG_ADVISE_SYSCALLS)" : name);
	return -ENOTSUP;
}

int pages_check(const struct tm_cell_args *cell, enum pages_kind kind, enum pages_backing backing,
		uint64_t count, char *why, size_t why_size)
{
	int rc = check_kind(kind, backing, why, why_size);

	if (rc)
		return rc;
	if (count > UINT32_MAX / (pages_kind_bytes(kind) / pages_kind_bytes(PAGES_4K))) {
		snprintf(why, why_size,
			 "%" PRIu64 " pages of this kind are more than can be counted", count);
		return -ENOTSUP;
	}
	if (backing == PAGES_FILE)
		rc = check_disk(count * cell->initiators * pages_kind_bytes(kind), why, why_size);
	return rc ? rc : check_room(cell, kind, count, why, why_size);
}

int pages_knobs(const struct tm_cell_args *cell, enum pages_kind kind, enum pages_backing backing,
		uint64_t count, struct tm_sysstate *s)
{
	char path[128], value[32], why[512];
	uint64_t shortage;
	int rc = 0;

	/* Nothing may be taken for a cell that will be refused. */
	if (pages_check(cell, kind, backing, count, why, sizeof(why)))
		return 0;
	if (kind == PAGES_THP && backing == PAGES_SHARED) {
		if (shmem_thp_allowed())
			return tm_knob_rely(s, THP "shmem_enabled");
		rc = tm_knob(s, THP "shmem_enabled", "advise");
	}
	if (kind != PAGES_HUGETLB)
		return rc == -EBUSY ? rc : 0;
	shortage = pool_shortage(count * cell->initiators);
	pool_path(path, sizeof(path), "nr_hugepages");
	if (!shortage)
		return tm_knob_rely(s, path);
	snprintf(value, sizeof(value), "%" PRIu64, read_number(path) + shortage);
	/* Where it may not be set pages_open() says what is missing. */
	return tm_knob(s, path, value) == -EBUSY ? -EBUSY : 0;
}

/* ---- one set of pages ---- */

int pages_set_new(struct tm_thread *t, void **state)
{
	struct pages_set *set =
		calloc(1, sizeof(*set) + t->cell->initiators * sizeof(set->pages[0]));

	if (!set)
		return tm_fail(t, -ENOMEM, "no memory for %u initiators", t->cell->initiators);
	set->count = t->cell->initiators;
	for (unsigned int i = 0; i < set->count; i++)
		set->pages[i].fd = -1;
	*state = set;
	return 0;
}

void pages_set_free(void *state)
{
	struct pages_set *set = state;

	for (unsigned int i = 0; i < set->count; i++)
		pages_close(&set->pages[i]);
	free(set);
}

/* A device has the size that it has. */
static int make_long(struct tm_thread *t, int fd, size_t bytes)
{
	struct stat st;
	off_t have;

	if (!fstat(fd, &st) && S_ISBLK(st.st_mode)) {
		have = lseek(fd, 0, SEEK_END);
		if (have >= (off_t)bytes)
			return 0;
		return tm_fail(t, -ENOTSUP,
			       "a device of $TLBMARK_DEVICES has %zu bytes, and %zu are needed",
			       (size_t)have, bytes);
	}
	if (ftruncate(fd, (off_t)bytes))
		return tm_fail(t, -errno, "a file of %zu bytes", bytes);
	return 0;
}

int pages_temporary_file(struct tm_thread *t)
{
	int fd = open_temporary();

	return fd >= 0 ? fd : tm_fail(t, -ENOTSUP, "%s", no_disk);
}

static unsigned int log2_of(size_t n)
{
	return (unsigned int)__builtin_ctzll(n);
}

static int open_backing(struct tm_thread *t, struct pages *p)
{
	unsigned int flags = MFD_CLOEXEC;

	if (p->backing == PAGES_ANON)
		return 0;
	if (p->kind == PAGES_HUGETLB)
		flags |= MFD_HUGETLB | log2_of(p->page_bytes) << MAP_HUGE_SHIFT;
	if (p->backing == PAGES_FILE)
		p->fd = pages_temporary_file(t);
	else
		p->fd = memfd_create("tlbmark", flags);
	if (p->fd < 0)
		return tm_fail(t, p->backing == PAGES_FILE ? p->fd : -errno,
			       "memfd_create of shared memory");
	return 0;
}

int pages_open(struct tm_thread *t, struct pages *p, enum pages_kind kind,
	       enum pages_backing backing, uint64_t count)
{
	char why[512];
	int rc = pages_check(t->cell, kind, backing, count, why, sizeof(why));
	uint64_t shortage = 0;

	if (rc)
		return tm_fail(t, rc, "%s", why);
	if (kind == PAGES_HUGETLB)
		shortage = pool_shortage(count);
	if (shortage)
		return tm_fail(t, -ENOTSUP,
			       "%" PRIu64
			       " huge pages of %zu KiB are missing: as root they are asked "
			       "for, else raise /proc/sys/vm/nr_hugepages by so many",
			       shortage, pages_kind_bytes(kind) / 1024);
	if (kind == PAGES_THP && backing == PAGES_SHARED && !shmem_thp_allowed())
		return tm_fail(t, -ENOTSUP,
			       "shared memory gets no huge pages: as root that is set, else "
			       "echo advise >" THP "shmem_enabled");
	p->kind = kind;
	p->backing = backing;
	p->page_bytes = pages_kind_bytes(kind);
	p->bytes = count * p->page_bytes;
	p->thp_disabled = kind == PAGES_4K;
	if (p->thp_disabled)
		prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	return open_backing(t, p);
}

int pages_place(struct tm_thread *t, struct pages *p, enum pages_place place, unsigned int spots,
		size_t extra_bytes)
{
	/* What one page table of the lowest level in use maps. */
	size_t table = p->page_bytes * (t->page_bytes / sizeof(uint64_t));
	size_t bytes = p->bytes + extra_bytes, hole = bytes, lead = 0;

	if (place == PAGES_KEEP_TABLES && p->kind == PAGES_4K)
		lead = p->page_bytes;
	if (place == PAGES_FREE_TABLES)
		hole = round_up(bytes, table);
	p->pitch = round_up(lead + hole, table) + table;
	p->reserved_bytes = t->page_bytes + table + spots * p->pitch;
	p->reserved = mmap(NULL, p->reserved_bytes, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p->reserved == MAP_FAILED) {
		p->reserved = NULL;
		return tm_fail(t, -errno, "address space of %zu bytes", p->reserved_bytes);
	}
	p->at = (char *)round_up((uintptr_t)p->reserved + t->page_bytes, table) + lead;
	for (unsigned int i = 0; i < spots; i++) {
		if (munmap(pages_at(p, i), hole))
			return tm_fail(t, -errno, "a hole of %zu bytes", hole);
	}
	/* The whole file at once: growing it would be part of the operation. */
	return p->fd < 0 ? 0 : make_long(t, p->fd, bytes);
}

void pages_publish(struct tm_thread *t, const char *at, size_t bytes, size_t page_bytes)
{
	size_t most = TLB_ENTRIES * page_bytes;

	tm_publish(t, at, bytes < most ? bytes : most, page_bytes);
}

int pages_populate(struct tm_thread *t, char *at, size_t bytes, size_t page_bytes, bool write)
{
	if (!madvise(at, bytes, write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ))
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return tm_fail(t, -errno, "populating %zu bytes", bytes);
	/* Linux before 5.14, or without CONFIG_ADVISE_SYSCALLS. */
	for (size_t i = 0; i < bytes; i += page_bytes) {
		if (write)
			*(volatile char *)(at + i) = 0;
		else
			(void)*(volatile char *)(at + i);
	}
	return 0;
}

int pages_map(struct tm_thread *t, struct pages *p, char *at, size_t bytes, bool over)
{
	int flags = over ? MAP_FIXED : MAP_FIXED_NOREPLACE;
	bool anonymous = p->fd < 0;
	off_t offset = anonymous ? 0 : (at - p->at) % (off_t)p->pitch;
	char *got;

	flags |= anonymous ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	if (p->kind == PAGES_HUGETLB)
		flags |= MAP_HUGETLB | (int)(log2_of(p->page_bytes) << MAP_HUGE_SHIFT);
	got = mmap(at, bytes, PROT_READ | PROT_WRITE, flags, p->fd, offset);
	if (got == MAP_FAILED)
		return tm_fail(t, -errno, "mmap of %zu bytes", bytes);
	if (got != at) {
		/* A kernel that does not know MAP_FIXED_NOREPLACE (before 4.17). */
		munmap(got, bytes);
		return tm_fail(t, -EEXIST, "mmap of %zu bytes", bytes);
	}
	if (p->kind == PAGES_THP && madvise(at, bytes, MADV_HUGEPAGE))
		return tm_fail(t, -errno, "MADV_HUGEPAGE of %zu bytes", bytes);
	return pages_populate(t, at, bytes, p->page_bytes, anonymous);
}

size_t pages_smaps_bytes(const char *at, size_t bytes, const char *field)
{
	uintptr_t first = (uintptr_t)at, low, high, start = 0, end = 0;
	FILE *f = fopen("/proc/self/smaps", "re");
	size_t sum = 0, length = strlen(field), kib;
	char line[512];

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &low, &high) == 2) {
			start = low;
			end = high;
			continue;
		}
		if (start >= first + bytes || end <= first)
			continue;
		if (!strncmp(line, field, length) && sscanf(line + length, ": %zu kB", &kib) == 1)
			sum += kib * 1024;
	}
	fclose(f);
	return sum;
}

static size_t huge_bytes(const char *at, size_t bytes)
{
	return pages_smaps_bytes(at, bytes, "AnonHugePages") +
	       pages_smaps_bytes(at, bytes, "ShmemPmdMapped");
}

bool pages_are_huge(const struct pages *p, const char *at, size_t bytes)
{
	return p->kind != PAGES_THP || huge_bytes(at, bytes) >= bytes;
}

int pages_must_be_huge(struct tm_thread *t, const struct pages *p, const char *at, size_t bytes)
{
	if (pages_are_huge(p, at, bytes))
		return 0;
	return tm_fail(t, -ENOTSUP,
		       "%zu of %zu KiB got huge pages: memory is too fragmented "
		       "(echo 1 >/proc/sys/vm/compact_memory)",
		       huge_bytes(at, bytes) / 1024, bytes / 1024);
}

void pages_let_go(unsigned int again)
{
	struct timespec moment = {.tv_nsec = 1000000l << again};

	nanosleep(&moment, NULL);
}

enum { INVALID_MAX = 100 };

bool pages_collapse_refused(int error, uint64_t refused)
{
	return error == EAGAIN || error == EBUSY || (error == EINVAL && refused < INVALID_MAX);
}

static int advise(struct tm_thread *t, const struct pages *p, int advice, const char *name)
{
	if (!madvise(p->at, p->bytes, advice))
		return 0;
	return tm_fail(t, -errno, "%s of %zu bytes", name, p->bytes);
}

/* Base pages only, also where the system would rather give huge ones. */
int pages_fill_small(struct tm_thread *t, const struct pages *p, size_t bytes)
{
	int rc = p->fd < 0 ? advise(t, p, MADV_DONTNEED, "MADV_DONTNEED")
			   : pages_punch(t, p, 0, p->bytes);

	if (!rc)
		rc = advise(t, p, MADV_NOHUGEPAGE, "MADV_NOHUGEPAGE");
	for (size_t i = 0; !rc && i < p->bytes; i += p->page_bytes)
		rc = pages_populate(t, p->at + i, bytes, t->page_bytes, true);
	/* MADV_COLLAPSE respects the refusal. */
	return rc ? rc : advise(t, p, MADV_HUGEPAGE, "MADV_HUGEPAGE");
}

int pages_punch(struct tm_thread *t, const struct pages *p, size_t offset, size_t bytes)
{
	if (!fallocate(p->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		       (off_t)bytes))
		return 0;
	return tm_fail(t, errno == EOPNOTSUPP ? -ENOTSUP : -errno,
		       "punching a hole into the file behind the mapping");
}

void pages_close(struct pages *p)
{
	if (p->reserved)
		munmap(p->reserved, p->reserved_bytes);
	if (p->fd >= 0)
		close(p->fd);
	if (p->thp_disabled)
		prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
	memset(p, 0, sizeof(*p));
	p->fd = -1;
}
