// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "room.h"

enum { MIB = 1 << 20 };

static const uint64_t margin_most_bytes = UINT64_C(4) << 30;

static FILE *open_below(const char *root, const char *directory, const char *name)
{
	char full[PATH_MAX];

	if ((size_t)snprintf(full, sizeof(full), "%s%s/%s", root, directory, name) >= sizeof(full))
		return NULL;
	return fopen(full, "re");
}

/* The number after `key` at the start of a line; false where there is none. */
static bool read_keyed(const char *root, const char *directory, const char *name, const char *key,
		       uint64_t *out)
{
	FILE *f = open_below(root, directory, name);
	size_t length = strlen(key);
	char line[256];
	bool found = false;

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		found = !strncmp(line, key, length) && sscanf(line + length, "%" SCNu64, out) == 1;
	fclose(f);
	return found;
}

static void tighten(struct room *room, uint64_t available_bytes, uint64_t limit_bytes,
		    const char *limit)
{
	uint64_t margin_bytes = limit_bytes / 16;

	if (margin_bytes > margin_most_bytes)
		margin_bytes = margin_most_bytes;
	/* What counts is what remains after the margin. */
	if (room->limit[0] && (int64_t)(available_bytes - margin_bytes) >=
				      (int64_t)(room->available_bytes - room->margin_bytes))
		return;
	room->available_bytes = available_bytes;
	room->margin_bytes = margin_bytes;
	snprintf(room->limit, sizeof(room->limit), "%.300s", limit);
}

/*
 * One level of a memory cgroup. Page cache that is inactive counts as free:
 * the kernel drops it before it kills anyone.
 */
static void tighten_by_cgroup(struct room *room, const char *root, const char *directory, bool v2)
{
	const char *names[2][3] = {
		{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "},
		{"memory.max", "memory.current", "inactive_file "},
	};
	uint64_t limit_bytes, used_bytes, cache_bytes = 0;

	/* "max" is no number; version 1's largest one limits nobody. */
	if (!read_keyed(root, directory, names[v2][0], "", &limit_bytes))
		return;
	if (!read_keyed(root, directory, names[v2][1], "", &used_bytes))
		return;
	read_keyed(root, directory, "memory.stat", names[v2][2], &cache_bytes);
	used_bytes -= cache_bytes < used_bytes ? cache_bytes : used_bytes;
	tighten(room, used_bytes < limit_bytes ? limit_bytes - used_bytes : 0, limit_bytes,
		directory);
}

static bool has_word(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (; list; list = strchr(list, ',')) {
		list += *list == ',';
		if (!strncmp(list, word, length) && (!list[length] || list[length] == ','))
			return true;
	}
	return false;
}

/* Our path in the hierarchy: version 2's line has no controllers. */
static bool own_cgroup(const char *root, bool v2, char *path, size_t size)
{
	FILE *f = open_below(root, "/proc/self", "cgroup");
	char line[PATH_MAX + 128];
	bool found = false;

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		char *controllers = strchr(line, ':'), *name;

		line[strcspn(line, "\n")] = '\0';
		if (!controllers || !(name = strchr(controllers + 1, ':')))
			continue;
		controllers++;
		*name++ = '\0';
		if (v2 ? *controllers : !has_word(controllers, "memory"))
			continue;
		found = (size_t)snprintf(path, size, "%s", name) < size;
	}
	fclose(f);
	return found;
}

/*
 * One line of mountinfo: is it the memory hierarchy of that version? Its root
 * within the hierarchy and its mount point are returned in place.
 */
static bool cgroup_mount(char *line, bool v2, char **mount_root, char **mount_point)
{
	char *tail = strstr(line, " - "), *rest = line, *word = NULL, *type, *options;

	if (!tail)
		return false;
	*tail = '\0';
	for (int field = 0; field < 5; field++) {
		word = strsep(&rest, " ");
		if (!word)
			return false;
		if (field == 3)
			*mount_root = word;
	}
	*mount_point = word;
	tail += 3;
	tail[strcspn(tail, "\n")] = '\0';
	type = strsep(&tail, " ");
	strsep(&tail, " ");
	options = strsep(&tail, " ");
	if (v2)
		return !strcmp(type, "cgroup2");
	return !strcmp(type, "cgroup") && options && has_word(options, "memory");
}

/* Every level from our group up to the mount's root; the root itself has no limit files. */
static void tighten_by_hierarchy(struct room *room, const char *root, bool v2)
{
	FILE *f = open_below(root, "/proc/self", "mountinfo");
	char own[PATH_MAX], directory[PATH_MAX], line[PATH_MAX];
	char *mount_root, *mount_point;

	if (!f)
		return;
	if (!own_cgroup(root, v2, own, sizeof(own)))
		goto out;
	while (fgets(line, sizeof(line), f)) {
		const char *below = own;
		size_t length;

		if (!cgroup_mount(line, v2, &mount_root, &mount_point))
			continue;
		length = strcmp(mount_root, "/") ? strlen(mount_root) : 0;
		if (!strncmp(own, mount_root, length))
			below += length;
		length = strlen(mount_point);
		if ((size_t)snprintf(directory, sizeof(directory), "%s%s", mount_point,
				     strcmp(below, "/") ? below : "") >= sizeof(directory))
			break;
		for (;;) {
			char *slash;

			tighten_by_cgroup(room, root, directory, v2);
			slash = strrchr(directory, '/');
			if (!slash || (size_t)(slash - directory) < length)
				break;
			*slash = '\0';
		}
		break;
	}
out:
	fclose(f);
}

static int read_machine(const char *root, uint64_t *available_bytes, uint64_t *total_bytes)
{
	struct sysinfo s;

	if (read_keyed(root, "/proc", "meminfo", "MemAvailable:", available_bytes) &&
	    read_keyed(root, "/proc", "meminfo", "MemTotal:", total_bytes)) {
		*available_bytes *= 1024;
		*total_bytes *= 1024;
		return 0;
	}
	/* A kernel without /proc: what is free, without the page cache, so less. */
	if (*root || sysinfo(&s))
		return -ENOENT;
	*available_bytes = (uint64_t)s.freeram * s.mem_unit;
	*total_bytes = (uint64_t)s.totalram * s.mem_unit;
	return 0;
}

int room_read(const char *root, struct room *out)
{
	uint64_t available_bytes, total_bytes;
	int rc = read_machine(root, &available_bytes, &total_bytes);

	memset(out, 0, sizeof(*out));
	if (rc)
		return rc;
	tighten(out, available_bytes, total_bytes, "this machine");
	tighten_by_hierarchy(out, root, false);
	tighten_by_hierarchy(out, root, true);
	return 0;
}

int room_check(const char *root, uint64_t bytes, char *why, size_t why_size)
{
	struct room room;

	if (room_read(root, &room)) {
		snprintf(why, why_size,
			 "%s/proc/meminfo tells no MemAvailable, so nothing guards against OOM",
			 root);
		return -ENOTSUP;
	}
	if (room.available_bytes > room.margin_bytes &&
	    bytes <= room.available_bytes - room.margin_bytes)
		return 0;
	snprintf(why, why_size,
		 "needs %" PRIu64 " MiB; %s has %" PRIu64 " MiB free, of which %" PRIu64
		 " are kept against OOM: ask for fewer pages",
		 (bytes + MIB - 1) / MIB, room.limit, room.available_bytes / MIB,
		 room.margin_bytes / MIB);
	return -ENOTSUP;
}
