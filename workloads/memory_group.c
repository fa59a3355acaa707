// SPDX-License-Identifier: GPL-3.0-or-later
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory_group.h"

#define V1 "/sys/fs/cgroup/memory"

/* Made by memory_group_knobs() in the parent; "" if there is none. */
static char group[96];

/* Where groups with a memory controller are made, with a slash at the end; NULL: nowhere. */
static const char *memory_groups(void)
{
	static const char *const roots[] = {"/sys/fs/cgroup/", "/sys/fs/cgroup/unified/"};
	char path[96], line[256];

	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		bool found;
		FILE *f;

		snprintf(path, sizeof(path), "%scgroup.subtree_control", roots[i]);
		f = fopen(path, "re");
		found = f && fgets(line, sizeof(line), f) && strstr(line, "memory");
		if (f)
			fclose(f);
		if (found)
			return roots[i];
	}
	return access(V1 "/memory.limit_in_bytes", F_OK) ? NULL : V1 "/";
}

static bool is_version_1(const char *groups)
{
	return !strcmp(groups, V1 "/");
}

int memory_group_check(char *why, size_t why_size)
{
	const char *groups = memory_groups();

	if (!groups)
		snprintf(why, why_size,
			 "no memory cgroup can be made: mount cgroup2 at /sys/fs/cgroup and "
			 "echo +memory >/sys/fs/cgroup/cgroup.subtree_control");
	else if (access(groups, W_OK))
		snprintf(why, why_size, "%s: %s: run as root", groups, strerror(errno));
	else
		return 0;
	return -ENOTSUP;
}

int memory_group_check_how(enum memory_group_how how, char *why, size_t why_size)
{
	const char *groups = memory_groups();

	if (how != MEMORY_GROUP_RECLAIM || (groups && !is_version_1(groups)))
		return 0;
	snprintf(why, why_size,
		 "no memory.reclaim (cgroup version 2, Linux 5.19): use --how limit");
	return -ENOTSUP;
}

int memory_group_knobs(struct tm_sysstate *s)
{
	const char *groups = memory_groups();

	if (!groups || *group)
		return 0;
	snprintf(group, sizeof(group), "%stlbmark-%d", groups, (int)getpid());
	return tm_knob_group(s, group);
}

static int open_file(const char *name, int flags)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", group, name);
	return open(path, flags | O_CLOEXEC);
}

static int write_file(const char *name, const char *text)
{
	int fd = open_file(name, O_WRONLY), rc = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

void memory_group_init(struct memory_group *g)
{
	*g = (struct memory_group){.usage = -1, .ask = -1};
}

void memory_group_close(struct memory_group *g)
{
	if (g->usage >= 0)
		close(g->usage);
	if (g->ask >= 0)
		close(g->ask);
	memory_group_init(g);
}

int memory_group_enter(struct tm_thread *t, struct memory_group *g, enum memory_group_how how,
		       bool no_swap)
{
	bool old = is_version_1(memory_groups());
	const char *limit = old ? "memory.limit_in_bytes" : "memory.high", *name = "memory.reclaim";
	int rc = write_file("cgroup.procs", "0");

	if (rc)
		return tm_fail(t, rc, "entering the cgroup %s", group);
	/* Version 1 would kill whoever needs a page while the limit is low; so it waits. */
	if (old)
		write_file("memory.oom_control", "1");
	/* The group is the session's: an earlier run may have meant otherwise. */
	if (old)
		write_file("memory.swappiness", no_swap ? "0" : "60");
	else
		write_file("memory.swap.max", no_swap ? "0" : "max");
	g->unlimited = old ? "-1" : "max";
	g->usage = open_file(old ? "memory.usage_in_bytes" : "memory.current", O_RDONLY);
	if (how != MEMORY_GROUP_LIMIT)
		g->ask = open_file(name, O_WRONLY);
	g->relative = g->ask >= 0;
	if (how == MEMORY_GROUP_LIMIT || (how == MEMORY_GROUP_EITHER && !g->relative)) {
		name = limit;
		g->ask = open_file(name, O_WRONLY);
	}
	if (g->usage >= 0 && g->ask >= 0)
		return 0;
	return tm_fail(t, errno == ENOENT ? -ENOTSUP : -errno, "%s of the cgroup %s", name, group);
}

int memory_group_word(struct tm_thread *t, const struct memory_group *g, uint64_t pages,
		      char text[MEMORY_GROUP_TEXT])
{
	uint64_t bytes = (pages + MEMORY_GROUP_STOCK_PAGES) * t->page_bytes, used;
	ssize_t n;

	if (g->relative) {
		snprintf(text, MEMORY_GROUP_TEXT, "%" PRIu64, bytes);
		return 0;
	}
	n = pread(g->usage, text, MEMORY_GROUP_TEXT - 1, 0);
	if (n <= 0)
		return tm_fail(t, -EIO, "reading what the cgroup uses");
	text[n] = '\0';
	used = strtoull(text, NULL, 10);
	snprintf(text, MEMORY_GROUP_TEXT, "%" PRIu64, used > bytes ? used - bytes : 0);
	return 0;
}

/* That less could be reclaimed than was asked for, or that a signal came, is no failure. */
static bool is_shortage(int error)
{
	return error == EBUSY || error == EAGAIN || error == EINTR;
}

int memory_group_ask(const struct memory_group *g, const char *text)
{
	return pwrite(g->ask, text, strlen(text), 0) < 0 && !is_shortage(errno) ? -errno : 0;
}

int memory_group_release(struct tm_thread *t, const struct memory_group *g)
{
	if (g->relative || pwrite(g->ask, g->unlimited, strlen(g->unlimited), 0) > 0)
		return 0;
	return tm_fail(t, -errno, "lifting the cgroup's limit");
}

int memory_group_shrink(struct tm_thread *t, const struct memory_group *g, uint64_t pages)
{
	char text[MEMORY_GROUP_TEXT];
	int rc = memory_group_word(t, g, pages, text);

	if (rc)
		return rc;
	rc = memory_group_ask(g, text);
	if (rc)
		return tm_fail(t, rc, "asking the cgroup for pages");
	return memory_group_release(t, g);
}
