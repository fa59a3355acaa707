/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cgroup.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor.h"
#include "sysfile.h"

/* Version 1 writes "no limit" as the largest page-aligned number. */
#define NO_LIMIT_BYTES (1LL << 60)

/* Is `word` among the comma-separated words of `list`? */
static bool lists(const char *list, const char *word)
{
	char blanks[512];
	char *c;

	snprintf(blanks, sizeof(blanks), "%s", list);
	for (c = blanks; (c = strchr(c, ','));)
		*c = ' ';
	return tm_has_word(blanks, word);
}

/*
 * Where the hierarchy of `controller` is mounted (NULL: version 2) and, below
 * that, which directory is ours. In another cgroup namespace than the mount
 * was made in, that directory need not exist; then the mount's root is all
 * that can be seen.
 */
static bool find_hierarchy(const char *root, const char *controller, char *mount, char *path)
{
	char *text = tm_sysfile_slurp(root, "/proc/self/mounts"), *line, *save, *probe;
	char type[32], options[512], where[256], names[256], below[512];
	bool found = false;
	int id;

	for (line = text ? strtok_r(text, "\n", &save) : NULL; line && !found;
	     line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "%*s %255s %31s %511s", where, type, options) != 3)
			continue;
		found = controller ? !strcmp(type, "cgroup") && lists(options, controller)
				   : !strcmp(type, "cgroup2");
	}
	free(text);
	if (!found)
		return false;
	snprintf(mount, 256, "%s", where);

	text = tm_sysfile_slurp(root, "/proc/self/cgroup");
	found = false;
	for (line = text ? strtok_r(text, "\n", &save) : NULL; line && !found;
	     line = strtok_r(NULL, "\n", &save)) {
		names[0] = '\0';
		if (sscanf(line, "%d::%511[^\n]", &id, below) != 2 &&
		    sscanf(line, "%d:%255[^:]:%511[^\n]", &id, names, below) != 3)
			continue;
		found = controller ? lists(names, controller) : !names[0];
	}
	free(text);
	if (!found)
		return false;
	probe = tm_sysfile_slurp(root, "%s%s/cgroup.procs", mount, below);
	snprintf(path, 512, "%s", probe && strcmp(below, "/") ? below : "");
	free(probe);
	return true;
}

/* Bytes, or CPUs x 1000; -1: no limit or no such file. */
typedef long long read_limit(const char *root, const char *mount, const char *path);

static long long read_number(const char *root, const char *mount, const char *path,
			     const char *file)
{
	char name[1024], line[64];

	snprintf(name, sizeof(name), "%s%s/%s", mount, path, file);
	if (tm_sysfile_line(root, name, line, sizeof(line)) <= 0 || !strcmp(line, "max"))
		return -1;
	return strtoll(line, NULL, 10);
}

static long long memory_v1(const char *root, const char *mount, const char *path)
{
	long long bytes = read_number(root, mount, path, "memory.limit_in_bytes");

	return bytes >= NO_LIMIT_BYTES ? -1 : bytes;
}

static long long memory_v2(const char *root, const char *mount, const char *path)
{
	return read_number(root, mount, path, "memory.max");
}

static long long cpu_v1(const char *root, const char *mount, const char *path)
{
	long long quota = read_number(root, mount, path, "cpu.cfs_quota_us");
	long long period = read_number(root, mount, path, "cpu.cfs_period_us");

	return quota < 0 || period <= 0 ? -1 : quota * 1000 / period;
}

static long long cpu_v2(const char *root, const char *mount, const char *path)
{
	char name[1024], line[64];
	long long quota, period;

	snprintf(name, sizeof(name), "%s%s/cpu.max", mount, path);
	if (tm_sysfile_line(root, name, line, sizeof(line)) < 0 ||
	    sscanf(line, "%lld %lld", &quota, &period) != 2 || period <= 0)
		return -1;
	return quota * 1000 / period;
}

/* The tightest limit on the way from our directory up to the mount. */
static long long tightest(const char *root, const char *controller, read_limit *read)
{
	char mount[256], path[512], *slash;
	long long limit, least = -1;

	if (!find_hierarchy(root, controller, mount, path))
		return -1;
	for (;;) {
		limit = read(root, mount, path);
		if (limit >= 0 && (least < 0 || limit < least))
			least = limit;
		slash = strrchr(path, '/');
		if (!slash)
			return least;
		*slash = '\0';
	}
}

static long long lesser(long long a, long long b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

static json_t *cpuset(const char *root, const char *v2_file, const char *v1_file)
{
	char mount[256], path[512], name[1024];
	json_t *value = NULL;

	if (find_hierarchy(root, NULL, mount, path)) {
		snprintf(name, sizeof(name), "%s%s/%s", mount, path, v2_file);
		value = tm_sysfile_string(root, name);
	}
	if ((!value || json_is_null(value)) && find_hierarchy(root, "cpuset", mount, path)) {
		json_decref(value);
		snprintf(name, sizeof(name), "%s%s/%s", mount, path, v1_file);
		value = tm_sysfile_string(root, name);
	}
	return value ? value : json_null();
}

static json_t *own_path(const char *root)
{
	char mount[256], path[512];

	/* Where both exist, systems that still use version 1 keep their limits there. */
	if (!find_hierarchy(root, "memory", mount, path) &&
	    !find_hierarchy(root, NULL, mount, path))
		return json_null();
	return tm_json_text(path[0] ? path : "/");
}

json_t *tm_cgroup_limits(const char *root)
{
	long long memory =
		lesser(tightest(root, NULL, memory_v2), tightest(root, "memory", memory_v1));
	long long cpu = lesser(tightest(root, NULL, cpu_v2), tightest(root, "cpu", cpu_v1));

	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "path", own_path(root), "memory_limit_bytes",
			 memory < 0 ? json_null() : json_integer(memory), "cpu_limit",
			 cpu < 0 ? json_null() : json_real(cpu / 1000.0), "cpuset_cpus",
			 cpuset(root, "cpuset.cpus.effective", "cpuset.effective_cpus"),
			 "cpuset_mems",
			 cpuset(root, "cpuset.mems.effective", "cpuset.effective_mems"));
}
