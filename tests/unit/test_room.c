// SPDX-License-Identifier: GPL-3.0-or-later
/* The memory guard, on made-up /proc and cgroup trees. */
#define _GNU_SOURCE
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "workloads/room.h"

static char root[64];

static void write_file(const char *path, const char *text)
{
	char full[512];
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", root, path);
	for (char *slash = strchr(full + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(full, 0700);
		*slash = '/';
	}
	f = fopen(full, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int make_root(void **state)
{
	(void)state;
	snprintf(root, sizeof(root), "/tmp/tlbmark-test-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	/* 16 GiB, of which 8 are available. */
	write_file("/proc/meminfo", "MemTotal:       16777216 kB\n"
				    "MemFree:         1048576 kB\n"
				    "MemAvailable:    8388608 kB\n");
	return 0;
}

static int remove_root(void **state)
{
	(void)state;
	return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static const uint64_t mib = 1 << 20;

static void room_of_the_machine(void **state)
{
	struct room room;

	(void)state;
	assert_int_equal(room_read(root, &room), 0);
	assert_int_equal(room.available_bytes, 8192 * mib);
	assert_int_equal(room.margin_bytes, 1024 * mib);
	assert_string_equal(room.limit, "this machine");
}

static void room_refuses_with_figures(void **state)
{
	char why[512] = "";

	(void)state;
	assert_int_equal(room_check(root, 7168 * mib, why, sizeof(why)), 0);
	assert_string_equal(why, "");
	assert_int_equal(room_check(root, 7168 * mib + 1, why, sizeof(why)), -ENOTSUP);
	assert_non_null(strstr(why, "needs 7169 MiB"));
	assert_non_null(strstr(why, "has 8192 MiB free"));
	assert_int_equal(room_check("/nowhere", 1, why, sizeof(why)), -ENOTSUP);
	assert_non_null(strstr(why, "MemAvailable"));
}

static void room_margin_has_a_limit(void **state)
{
	struct room room;

	(void)state;
	write_file("/proc/meminfo", "MemTotal: 1073741824 kB\nMemAvailable: 536870912 kB\n");
	assert_int_equal(room_read(root, &room), 0);
	assert_int_equal(room.margin_bytes, 4096 * mib);
}

static void cgroup_v1(const char *limit, const char *usage)
{
	write_file("/proc/self/cgroup", "9:cpu:/other\n4:memory:/box/job\n0::/\n");
	write_file("/proc/self/mountinfo",
		   "35 31 0:32 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
		   "36 31 0:33 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup "
		   "rw,memory\n");
	write_file("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", limit);
	write_file("/sys/fs/cgroup/memory/box/memory.usage_in_bytes", usage);
	write_file("/sys/fs/cgroup/memory/box/memory.stat",
		   "inactive_file 1\ntotal_inactive_file 104857600\n");
}

/* 1 GiB, of which 512 MiB are used, of these 100 MiB page cache; by the parent group. */
static void room_of_cgroup_v1(void **state)
{
	struct room room;

	(void)state;
	cgroup_v1("1073741824\n", "536870912\n");
	assert_int_equal(room_read(root, &room), 0);
	assert_int_equal(room.available_bytes, 612 * mib);
	assert_int_equal(room.margin_bytes, 64 * mib);
	assert_string_equal(room.limit, "/sys/fs/cgroup/memory/box");
}

static void room_of_cgroup_v1_without_limit(void **state)
{
	struct room room;

	(void)state;
	cgroup_v1("9223372036854771712\n", "536870912\n");
	assert_int_equal(room_read(root, &room), 0);
	assert_string_equal(room.limit, "this machine");
}

static void room_of_full_cgroup(void **state)
{
	char why[512];

	(void)state;
	cgroup_v1("1073741824\n", "2147483648\n");
	assert_int_equal(room_check(root, 1, why, sizeof(why)), -ENOTSUP);
	assert_non_null(strstr(why, "has 0 MiB free"));
}

/* In a container: what is mounted is a part of the hierarchy, and we are below it. */
static void room_of_cgroup_v2(void **state)
{
	struct room room;

	(void)state;
	write_file("/proc/self/cgroup", "0::/pod/box/job\n");
	write_file("/proc/self/mountinfo",
		   "30 20 0:26 /pod /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n");
	write_file("/sys/fs/cgroup/box/job/memory.max", "max\n");
	write_file("/sys/fs/cgroup/box/job/memory.current", "4096\n");
	write_file("/sys/fs/cgroup/box/memory.max", "2147483648\n");
	write_file("/sys/fs/cgroup/box/memory.current", "1073741824\n");
	assert_int_equal(room_read(root, &room), 0);
	assert_int_equal(room.available_bytes, 1024 * mib);
	assert_int_equal(room.margin_bytes, 128 * mib);
	assert_string_equal(room.limit, "/sys/fs/cgroup/box");
	/* The looser limit does not hide the tighter one, in either order. */
	write_file("/sys/fs/cgroup/box/job/memory.max", "1073741824\n");
	write_file("/sys/fs/cgroup/box/job/memory.current", "0\n");
	assert_int_equal(room_read(root, &room), 0);
	assert_string_equal(room.limit, "/sys/fs/cgroup/box");
	write_file("/sys/fs/cgroup/box/job/memory.current", "536870912\n");
	assert_int_equal(room_read(root, &room), 0);
	assert_string_equal(room.limit, "/sys/fs/cgroup/box/job");
}

#define WITH_ROOT(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_ROOT(room_of_the_machine),
		WITH_ROOT(room_refuses_with_figures),
		WITH_ROOT(room_margin_has_a_limit),
		WITH_ROOT(room_of_cgroup_v1),
		WITH_ROOT(room_of_cgroup_v1_without_limit),
		WITH_ROOT(room_of_full_cgroup),
		WITH_ROOT(room_of_cgroup_v2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
