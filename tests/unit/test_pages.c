// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The helpers of the workloads on mappings: places, mappings, and the oracle on
 * a machine that forgets to flush.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fnmatch.h>
#include <linux/magic.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cmocka.h>

#include "workloads/oracle.h"
#include "workloads/pages.h"

/* ---- a core of our own ---- */

static char failure[512];
static int failures;
static int knobs_set;

int tm_fail(struct tm_thread *t, int error, const char *format, ...)
{
	va_list ap;

	(void)t;
	va_start(ap, format);
	vsnprintf(failure, sizeof(failure), format, ap);
	va_end(ap);
	failures++;
	return error;
}

int tm_knob(struct tm_sysstate *s, const char *path, const char *value)
{
	(void)s;
	(void)path;
	(void)value;
	knobs_set++;
	return 0;
}

int tm_knob_rely(struct tm_sysstate *s, const char *path)
{
	(void)s;
	(void)path;
	return 0;
}

static size_t published_bytes;

void tm_publish(struct tm_thread *t, const void *start, size_t bytes, size_t stride)
{
	(void)t;
	(void)start;
	(void)stride;
	published_bytes = bytes;
}

uint64_t tm_random(struct tm_thread *t)
{
	t->rng = t->rng * 6364136223846793005u + 1442695040888963407u;
	return t->rng >> 33;
}

void tm_returned(uint64_t ticks)
{
	(void)ticks;
}

void tm_stale_seen(void)
{
}

void tm_check(struct tm_verdict *v, bool ok, const char *format, ...)
{
	va_list ap;

	v->checks++;
	if (ok || v->violations++)
		return;
	va_start(ap, format);
	vsnprintf(v->first, sizeof(v->first), format, ap);
	va_end(ap);
}

void tm_unchecked(struct tm_verdict *v, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(v->unchecked, sizeof(v->unchecked), format, ap);
	va_end(ap);
}

/* Memory as responders see it: "dead" faults, of "bus" there is none to be had, a stale one sees what it saw before. */
static bool dead, bus, readonly;
static unsigned int stale_responder = UINT32_MAX;

static int look(const void *address, uint64_t *value)
{
	if (dead || bus)
		return bus ? -EIO : -EFAULT;
	*value = *(const volatile uint64_t *)address;
	return 0;
}

static int put(void *address, uint64_t value)
{
	if (dead || bus || readonly)
		return bus ? -EIO : -EFAULT;
	*(volatile uint64_t *)address = value;
	return 0;
}

unsigned int tm_responder_cpu(const struct tm_thread *t, unsigned int responder)
{
	(void)t;
	return 10 + responder;
}

static struct tm_access accessed[2][TM_ACCESSES_MAX];

int tm_access_all(struct tm_thread *t, const struct tm_access *accesses, unsigned int count)
{
	assert_in_range(count, 1, TM_ACCESSES_MAX);
	assert_in_range(t->cell->responders, 1, 2);
	for (unsigned int r = 0; r < t->cell->responders; r++) {
		memcpy(accessed[r], accesses, count * sizeof(*accesses));
		for (unsigned int i = 0; i < count; i++) {
			struct tm_access *a = &accessed[r][i];

			if (r != stale_responder)
				a->error = a->store ? put(a->address, a->value)
						    : look(a->address, &a->value);
			else if (!a->store)
				a->value = 4711;
		}
	}
	return 0;
}

const struct tm_access *tm_accessed(struct tm_thread *t, unsigned int responder)
{
	assert_true(responder < t->cell->responders);
	return accessed[responder];
}

int tm_self_peek(const void *address, uint64_t *value)
{
	return look(address, value);
}

int tm_self_poke(void *address, uint64_t value)
{
	return put(address, value);
}

static struct tm_cell_args cell = {.initiators = 1, .responders = 2};

static struct tm_thread thread(void)
{
	failures = 0;
	return (struct tm_thread){
		.cell = &cell, .page_bytes = (size_t)sysconf(_SC_PAGESIZE), .rng = 1};
}

/* ---- mappings ---- */

/* Emulators of user mode accept advice that they do not take. */
static bool is_linux(void)
{
	if (madvise(NULL, 0, 9999) && errno == EINVAL)
		return true;
	print_message("not on this emulated kernel\n");
	return false;
}

static size_t status_kib(const char *key)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	size_t kib = 0, length = strlen(key);

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, key, length))
			sscanf(line + length, ": %zu kB", &kib);
	}
	fclose(f);
	return kib;
}

static bool mapped(const void *page)
{
	unsigned char in_memory;
	uintptr_t mask = ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);

	return !mincore((void *)((uintptr_t)page & mask), 1, &in_memory);
}

static void open_4k(struct tm_thread *t, struct pages *p, enum pages_backing backing,
		    uint64_t count, enum pages_place place, unsigned int spots)
{
	*p = (struct pages){.fd = -1};
	assert_int_equal(pages_open(t, p, PAGES_4K, backing, count), 0);
	assert_int_equal(pages_place(t, p, place, spots, 0), 0);
}

static void places_have_the_neighbours_asked_for(void **state)
{
	struct tm_thread t = thread();
	size_t page = t.page_bytes, table = page * (page / 8);
	struct pages p;

	(void)state;
	open_4k(&t, &p, PAGES_ANON, 3, PAGES_KEEP_TABLES, 2);
	for (unsigned int i = 0; i < 2; i++) {
		char *at = pages_at(&p, i);

		assert_int_equal((uintptr_t)at % table, page);
		assert_true(mapped(at - 1));
		for (size_t n = 0; n < 3; n++)
			assert_false(mapped(at + n * page));
		assert_true(mapped(at + 3 * page));
	}
	pages_close(&p);

	open_4k(&t, &p, PAGES_ANON, 3, PAGES_ALIGNED, 1);
	assert_int_equal((uintptr_t)p.at % table, 0);
	assert_true(mapped(p.at - 1));
	assert_false(mapped(p.at));
	assert_true(mapped(p.at + 3 * page));
	pages_close(&p);

	open_4k(&t, &p, PAGES_ANON, page / 8 + 1, PAGES_FREE_TABLES, 1);
	assert_int_equal((uintptr_t)p.at % table, 0);
	assert_true(mapped(p.at - 1));
	assert_false(mapped(p.at));
	assert_false(mapped(p.at + 2 * table - 1));
	assert_true(mapped(p.at + 2 * table));
	pages_close(&p);
	assert_int_equal(failures, 0);
}

/* Page tables that an unmapping leaves, in KiB, beside those of before the mapping. */
static size_t tables_left(enum pages_place place)
{
	struct tm_thread t = thread();
	size_t before, after;
	struct pages p;

	open_4k(&t, &p, PAGES_ANON, 2, place, 1);
	before = status_kib("VmPTE");
	assert_int_equal(pages_map(&t, &p, p.at, p.bytes, false), 0);
	assert_true(status_kib("VmPTE") > before);
	assert_int_equal(munmap(p.at, p.bytes), 0);
	after = status_kib("VmPTE");
	pages_close(&p);
	return after - before;
}

static void places_keep_or_free_tables(void **state)
{
	(void)state;
	if (!is_linux())
		return;
	assert_int_equal(tables_left(PAGES_FREE_TABLES), 0);
	assert_true(tables_left(PAGES_KEEP_TABLES) > 0);
}

static size_t resident_pages(const struct pages *p)
{
	unsigned char in_memory[64] = {0};
	size_t n = 0;

	assert_int_equal(mincore(p->at, p->bytes, in_memory), 0);
	for (size_t i = 0; i < p->bytes / p->page_bytes; i++)
		n += in_memory[i] & 1;
	return n;
}

static void maps_and_populates(void **state)
{
	struct tm_thread t = thread();
	struct pages p;

	(void)state;
	if (!is_linux())
		return;
	for (int b = PAGES_ANON; b <= PAGES_FILE; b++) {
		open_4k(&t, &p, (enum pages_backing)b, 5, PAGES_ALIGNED, 2);
		assert_int_equal(pages_map(&t, &p, p.at, p.bytes, false), 0);
		assert_int_equal(resident_pages(&p), 5);
		/* A live mapping is only replaced on demand. */
		assert_int_equal(pages_map(&t, &p, p.at, p.bytes, false), -EEXIST);
		assert_int_equal(failures, 1);
		failures = 0;
		*(uint64_t *)(p.at + p.page_bytes) = 7;
		assert_int_equal(pages_map(&t, &p, p.at, p.bytes, true), 0);
		assert_int_equal(*(uint64_t *)(p.at + p.page_bytes), b == PAGES_ANON ? 0 : 7);
		/* A part keeps its place in the backing, at every spot. */
		assert_int_equal(
			pages_map(&t, &p, pages_at(&p, 1) + p.page_bytes, p.page_bytes, false), 0);
		assert_int_equal(*(uint64_t *)(pages_at(&p, 1) + p.page_bytes),
				 b == PAGES_ANON ? 0 : 7);
		if (b != PAGES_ANON) {
			assert_int_equal(pages_punch(&t, &p, p.page_bytes, p.page_bytes), 0);
			assert_int_equal(*(uint64_t *)(p.at + p.page_bytes), 0);
		}
		pages_close(&p);
		assert_int_equal(failures, 0);
	}
}

static void small_pages_are_not_huge(void **state)
{
	struct tm_thread t = thread();
	struct pages p;

	(void)state;
	open_4k(&t, &p, PAGES_ANON, 1, PAGES_ALIGNED, 1);
	assert_int_equal(pages_map(&t, &p, p.at, p.bytes, false), 0);
	p.kind = PAGES_THP;
	assert_int_equal(pages_must_be_huge(&t, &p, p.at, p.bytes), -ENOTSUP);
	assert_int_equal(strncmp(failure, "0 of 4 KiB", 10), 0);
	pages_close(&p);
}

static void publishes_what_a_tlb_holds(void **state)
{
	struct tm_thread t = thread();
	size_t page = t.page_bytes;

	(void)state;
	pages_publish(&t, NULL, 33 * page, page);
	assert_int_equal(published_bytes, 33 * page);
	pages_publish(&t, NULL, 1000000 * page, page);
	assert_in_range(published_bytes, 3072 * page, 8192 * page);
}

static void temporary_file_is_on_a_disk(void **state)
{
	struct tm_thread t = thread();
	struct statfs fs;
	struct stat st;
	int fd;

	(void)state;
	/* Asked for memory, where there is such a place: not taken. */
	setenv("TMPDIR", "/dev/shm", 1);
	fd = pages_temporary_file(&t);
	unsetenv("TMPDIR");
	assert_true(fd >= 0);
	assert_int_equal(fstatfs(fd, &fs), 0);
	assert_int_not_equal(fs.f_type, TMPFS_MAGIC);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	close(fd);
}

static void refuses_what_cannot_be(void **state)
{
	struct tm_thread t = thread();
	struct pages p = {.fd = -1};
	char why[512];

	(void)state;
	assert_int_equal(pages_check(&cell, PAGES_4K, PAGES_ANON, 1, why, sizeof(why)), 0);
	assert_int_equal(pages_check(&cell, PAGES_4K, PAGES_ANON, UINT32_MAX, why, sizeof(why)),
			 -ENOTSUP);
	assert_non_null(strstr(why, "kept against OOM"));
	assert_int_equal(pages_check(&cell, PAGES_HUGETLB, PAGES_FILE, 1, why, sizeof(why)),
			 -ENOTSUP);
	assert_non_null(strstr(why, "--backing shared"));
	assert_int_equal(pages_open(&t, &p, PAGES_4K, PAGES_ANON, UINT32_MAX), -ENOTSUP);
	assert_int_equal(failures, 1);
	pages_close(&p);
	/* Nothing is taken from the system for what would be refused. */
	knobs_set = 0;
	assert_int_equal(pages_knobs(&cell, PAGES_HUGETLB, PAGES_ANON, UINT32_MAX / 512, NULL), 0);
	assert_int_equal(knobs_set, 0);
}

/* ---- the oracle ---- */

static uint64_t words[64];

static struct oracle begin_oracle(struct tm_thread *t, struct tm_verdict *v, uint64_t rounds)
{
	memset(words, 0, sizeof(words));
	memset(v, 0, sizeof(*v));
	v->rounds = rounds;
	dead = bus = readonly = false;
	stale_responder = UINT32_MAX;
	return (struct oracle){.t = t, .v = v, .stride = sizeof(uint64_t)};
}

static void oracle_picks_both_ends(void **state)
{
	struct tm_thread t = thread();
	struct tm_verdict v;
	struct oracle o = begin_oracle(&t, &v, 100);
	unsigned int rounds = 0;

	(void)state;
	while (oracle_next(&o, sizeof(words))) {
		rounds++;
		assert_int_equal(o.picks, ORACLE_PICKS);
		assert_int_equal(o.offset[0], 0);
		assert_int_equal(o.offset[ORACLE_PICKS - 1], sizeof(words) - sizeof(words[0]));
		for (size_t i = 0; i < o.picks; i++) {
			assert_true(o.offset[i] < sizeof(words));
			assert_int_equal(o.offset[i] % sizeof(words[0]), 0);
		}
	}
	assert_int_equal(rounds, 100);
	o = begin_oracle(&t, &v, 1);
	assert_true(oracle_next(&o, 2 * sizeof(words[0])));
	assert_int_equal(o.picks, 2);
	assert_int_equal(o.offset[1], sizeof(words[0]));
}

static void oracle_knows_when_it_is_enough(void **state)
{
	struct tm_thread t = thread();
	struct tm_verdict v;
	struct oracle o = begin_oracle(&t, &v, 100);
	unsigned int rounds = 0;

	(void)state;
	while (oracle_next(&o, ORACLE_MOST_BYTES / 4))
		rounds++;
	assert_int_equal(rounds, 4);
	o = begin_oracle(&t, &v, 100);
	for (rounds = 0; oracle_next(&o, 10 * ORACLE_MOST_BYTES); rounds++)
		;
	assert_int_equal(rounds, 2);
}

static void oracle_is_content(void **state)
{
	struct tm_thread t = thread();
	struct tm_verdict v;
	struct oracle o = begin_oracle(&t, &v, 2);
	uint64_t first;

	(void)state;
	assert_true(oracle_next(&o, sizeof(words)));
	oracle_write(&o, (char *)words);
	first = words[0];
	assert_int_not_equal(first, 0);
	oracle_see(&o, (char *)words, ORACLE_STAMP, "now");
	readonly = true;
	oracle_cannot_store(&o, (char *)words, true, "now");
	dead = true;
	oracle_see(&o, (char *)words, ORACLE_FAULT, "now");
	dead = false;
	memset(words, 0, sizeof(words));
	oracle_see(&o, (char *)words, ORACLE_ZERO, "now");
	/* Two responders and the initiator, each of the picks. */
	assert_int_equal(v.checks, 5 * 3 * ORACLE_PICKS);
	assert_int_equal(v.violations, 0);
	assert_true(oracle_next(&o, sizeof(words)));
	oracle_write(&o, (char *)words);
	assert_int_not_equal(words[0], first);
}

/* What is expected, asked of one responder that kept its translation. */
static void finds_stale(enum oracle_see see, const char *pattern)
{
	struct tm_thread t = thread();
	struct tm_verdict v;
	struct oracle o = begin_oracle(&t, &v, 1);

	assert_true(oracle_next(&o, sizeof(words)));
	if (see == ORACLE_STAMP)
		oracle_write(&o, (char *)words);
	dead = see == ORACLE_FAULT;
	stale_responder = 1;
	oracle_see(&o, (char *)words, see, "after it");
	assert_int_equal(v.checks, 3 * ORACLE_PICKS);
	assert_int_equal(v.violations, ORACLE_PICKS);
	assert_int_equal(fnmatch(pattern, v.first, 0), 0);
}

static void oracle_finds_stale_translations(void **state)
{
	struct tm_thread t = thread();
	struct tm_verdict v;
	struct oracle o;

	(void)state;
	finds_stale(
		ORACLE_FAULT,
		"responder 1, CPU 11, read 0x1267 at 0x* (page 63) after it (*[0-9] ticks): no fault");
	finds_stale(
		ORACLE_ZERO,
		"responder 1, CPU 11, read 0x1267 at 0x* (page 63) after it (*[0-9] ticks), not 0");
	finds_stale(
		ORACLE_STAMP,
		"responder 1, CPU 11, read 0x1267 at 0x* (page 63) after it (*[0-9] ticks), not 0x10000000040");
	o = begin_oracle(&t, &v, 1);
	assert_true(oracle_next(&o, sizeof(words)));
	readonly = true;
	stale_responder = 0;
	oracle_cannot_store(&o, (char *)words, false, "after it");
	assert_int_equal(v.violations, ORACLE_PICKS);
	assert_int_equal(
		fnmatch("responder 0, CPU 10, stored to 0x* (page 63) after it (*[0-9] ticks)",
			v.first, 0),
		0);
}

static void oracle_finds_its_own_faults(void **state)
{
	struct tm_thread t = thread();
	struct tm_verdict v;
	struct oracle o = begin_oracle(&t, &v, 1);

	(void)state;
	assert_true(oracle_next(&o, sizeof(words)));
	oracle_write(&o, (char *)words);
	dead = true;
	oracle_see(&o, (char *)words, ORACLE_STAMP, "after it");
	assert_int_equal(v.violations, 3 * ORACLE_PICKS);
	assert_int_equal(fnmatch("responder 0, CPU 10, could not read 0x* (page 63) after it "
				 "(*[0-9] ticks)",
				 v.first, 0),
			 0);
}

/* A pool without huge pages, a bad disk: no flush is missing, and what was meant to be gone is. */
static void oracle_tells_sigbus_apart(void **state)
{
	struct tm_thread t = thread();
	struct tm_verdict v;
	struct oracle o = begin_oracle(&t, &v, 1);

	(void)state;
	assert_true(oracle_next(&o, sizeof(words)));
	oracle_write(&o, (char *)words);
	bus = true;
	oracle_see(&o, (char *)words, ORACLE_STAMP, "after it");
	assert_int_equal(v.checks, 0);
	assert_int_equal(
		fnmatch("page * after it, for * could not have it (SIGBUS)", v.unchecked, 0), 0);
	oracle_see(&o, (char *)words, ORACLE_FAULT, "after it");
	oracle_cannot_store(&o, (char *)words, false, "after it");
	bus = false;
	assert_int_equal(v.checks, 2 * 3 * ORACLE_PICKS);
	assert_int_equal(v.violations, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places_have_the_neighbours_asked_for),
		cmocka_unit_test(places_keep_or_free_tables),
		cmocka_unit_test(maps_and_populates),
		cmocka_unit_test(small_pages_are_not_huge),
		cmocka_unit_test(publishes_what_a_tlb_holds),
		cmocka_unit_test(temporary_file_is_on_a_disk),
		cmocka_unit_test(refuses_what_cannot_be),
		cmocka_unit_test(oracle_picks_both_ends),
		cmocka_unit_test(oracle_knows_when_it_is_enough),
		cmocka_unit_test(oracle_is_content),
		cmocka_unit_test(oracle_finds_stale_translations),
		cmocka_unit_test(oracle_finds_its_own_faults),
		cmocka_unit_test(oracle_tells_sigbus_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
