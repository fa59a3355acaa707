/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How much memory may be used without pushing the machine, or our memory
 * cgroup, towards the OOM killer.
 *
 * Sources: Documentation/filesystems/proc.rst (MemAvailable),
 * Documentation/admin-guide/cgroup-v1/memory.rst, cgroup-v2.rst.
 */
#ifndef TLBMARK_ROOM_H
#define TLBMARK_ROOM_H

#include <stddef.h>
#include <stdint.h>

struct room {
	uint64_t available_bytes; /* what the tightest limit leaves */
	uint64_t
		margin_bytes; /* of it, what stays untouched: a 16th of that limit, at most 4 GiB */
	char limit[320];      /* who limits: "this machine", or the cgroup's directory */
};

/*
 * The tightest of the machine's MemAvailable and of every memory cgroup
 * (version 1 and 2) from ours up to the root. `root` is put before every path
 * read: "" for this machine, where sysinfo(2) stands in for a missing /proc.
 * Any thread. 0, or -errno when MemAvailable cannot be read; cgroups that
 * cannot be read do not limit.
 */
int room_read(const char *root, struct room *out);

/*
 * May `bytes` more be used? 0, or -ENOTSUP with one line in why: what was
 * wanted, what is there, and who limits. An unreadable MemAvailable is a no.
 */
int room_check(const char *root, uint64_t bytes, char *why, size_t why_size);

#endif /* TLBMARK_ROOM_H */
