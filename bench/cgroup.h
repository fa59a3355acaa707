/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The cgroup this process is in and the limits that it and its ancestors set. */
#ifndef TLBMARK_CGROUP_H
#define TLBMARK_CGROUP_H

#include <jansson.h>

/*
 * {"path", "memory_limit_bytes", "cpu_limit", "cpuset_cpus", "cpuset_mems"};
 * cpu_limit in CPUs. Version 1 and 2, also mixed. null: no limit, or not
 * readable. `root`: as in sysfile.h. A new reference.
 */
json_t *tm_cgroup_limits(const char *root);

#endif /* TLBMARK_CGROUP_H */
