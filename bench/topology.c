/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * hwloc's tree flattened to what placement asks: for each usable CPU its core,
 * last-level cache, package, memory node and kind.
 */
#include "topology.h"

#include <errno.h>
#include <numa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hwloc/cpukinds.h>
#include <hwloc/export.h>

/* The NUMA nodes hang beside the tree; their parent is the normal object they belong to. */
static hwloc_obj_t node_parent(hwloc_obj_t node)
{
	hwloc_obj_t o = node->parent;

	while (o && !hwloc_obj_type_is_normal(o->type))
		o = o->parent;
	return o;
}

static hwloc_obj_t local_node(const struct tm_topo *t, hwloc_obj_t pu)
{
	hwloc_obj_t o, n, found;

	/* Of several nodes at one place (DRAM and HBM) the first is the default one. */
	for (o = pu; o; o = o->parent) {
		found = NULL;
		for (n = o->memory_first_child; n && !found; n = n->next_sibling)
			found = n;
		while (found && found->type != HWLOC_OBJ_NUMANODE)
			found = found->memory_first_child;
		if (found && hwloc_bitmap_isset(t->nodes, found->os_index))
			return found;
	}
	return NULL;
}

/*
 * The objects that stand for core, last-level cache and package of `pu`. A
 * machine may not tell some of them: without a core every CPU is its own,
 * without a cache every core has its own, and without a package the memory
 * node takes its place.
 */
static void find_groups(const struct tm_topo *t, hwloc_obj_t pu, hwloc_obj_t group[TM_LEVELS])
{
	hwloc_obj_t o, core = pu, cache = NULL, package = NULL, node, last;

	for (o = pu, last = pu; o; last = o, o = o->parent) {
		if (o->type == HWLOC_OBJ_CORE)
			core = o;
		else if (o->type == HWLOC_OBJ_PACKAGE)
			package = o;
		else if (hwloc_obj_type_is_dcache(o->type) && !package)
			cache = o;
	}
	if (!package) {
		node = local_node(t, pu);
		package = node ? node_parent(node) : last;
	}
	if (!cache || cache->depth > core->depth)
		cache = core;
	if (package->depth > cache->depth)
		package = cache;
	group[TM_LEVEL_CORE] = core;
	group[TM_LEVEL_CACHE] = cache;
	group[TM_LEVEL_PACKAGE] = package;
}

static int by_os(const void *a, const void *b)
{
	const struct tm_pu *x = a, *y = b;

	return x->os < y->os ? -1 : x->os > y->os;
}

/* In hwloc's order each group is a run of neighbours, so a change of object begins a new one. */
static void fill_cpus(struct tm_topo *t)
{
	hwloc_obj_t before[TM_LEVELS] = {NULL}, group[TM_LEVELS], o = NULL, node;
	bool kinds = hwloc_cpukinds_get_nr(t->hwloc, 0) > 1;
	struct tm_pu *pu;
	int level;

	while ((o = hwloc_get_next_obj_by_type(t->hwloc, HWLOC_OBJ_PU, o))) {
		if (!hwloc_bitmap_isset(t->cpuset, o->os_index))
			continue;
		pu = &t->pu[t->cpus++];
		pu->object = o;
		pu->os = o->os_index;
		pu->logical = o->logical_index;
		pu->kind = kinds ? hwloc_cpukinds_get_by_cpuset(t->hwloc, o->cpuset, 0) : -1;
		node = local_node(t, o);
		pu->node = node ? (int)node->os_index : -1;
		find_groups(t, o, group);
		for (level = 0; level < TM_LEVELS; level++) {
			t->groups[level] += group[level] != before[level];
			pu->group[level] = t->groups[level] - 1;
			before[level] = group[level];
		}
	}
	qsort(t->pu, t->cpus, sizeof(*t->pu), by_os);
}

static int index_cpus(struct tm_topo *t)
{
	int count = hwloc_bitmap_weight(t->cpuset), last = hwloc_bitmap_last(t->cpuset);
	unsigned int i;

	t->pu = calloc(count, sizeof(*t->pu));
	t->index_count = last + 1;
	t->index_of = malloc(t->index_count * sizeof(*t->index_of));
	if (!t->pu || !t->index_of)
		return -ENOMEM;
	fill_cpus(t);
	for (i = 0; i < t->index_count; i++)
		t->index_of[i] = -1;
	for (i = 0; i < t->cpus; i++)
		t->index_of[t->pu[i].os] = i;
	return 0;
}

#define NOHZ_FULL "/sys/devices/system/cpu/nohz_full"
#define ISOLATED "/sys/devices/system/cpu/isolated"

/* Adds one of the kernel's CPU lists ("1,4-7") to `set`. */
static void add_list(hwloc_bitmap_t set, const char *path)
{
	FILE *f = fopen(path, "re");
	hwloc_bitmap_t one = hwloc_bitmap_alloc();
	char text[4096];

	if (f && one && fgets(text, sizeof(text), f) && text[0] >= '0' && text[0] <= '9') {
		/* hwloc leaves out a number before anything but a comma or the end */
		text[strcspn(text, "\n")] = '\0';
		if (!hwloc_bitmap_list_sscanf(one, text))
			hwloc_bitmap_or(set, set, one);
	}
	hwloc_bitmap_free(one);
	if (f)
		fclose(f);
}

/*
 * isolcpus= takes CPUs out of the affinity that every process starts with: who
 * asks for state `isolated` would have to ask taskset, too. Where the cpuset
 * has none of them, the mask stays as it is.
 */
static void admit_isolated(const struct tm_topo *t, hwloc_bitmap_t mask)
{
	hwloc_bitmap_t more = hwloc_bitmap_dup(mask);

	if (more) {
		add_list(more, ISOLATED);
		if (!hwloc_bitmap_isequal(more, mask) &&
		    !hwloc_set_cpubind(t->hwloc, more, HWLOC_CPUBIND_THREAD))
			hwloc_get_cpubind(t->hwloc, mask, HWLOC_CPUBIND_THREAD);
	}
	hwloc_bitmap_free(more);
}

/*
 * What the kernel lets this thread use. The affinity mask is the authority: it
 * has the cpuset cgroup (v1 and v2), taskset and offlined CPUs in it already,
 * also where the cgroup file system cannot be seen. The same holds for memory.
 */
static int restrict_to_allowed(struct tm_topo *t)
{
	hwloc_bitmap_t mask = hwloc_bitmap_alloc();
	struct bitmask *mems;
	unsigned int i;
	int rc = 0;

	if (!mask)
		return -ENOMEM;
	if (hwloc_get_cpubind(t->hwloc, mask, HWLOC_CPUBIND_THREAD))
		rc = errno ? -errno : -EIO;
	else
		admit_isolated(t, mask);
	if (!rc)
		hwloc_bitmap_and(t->cpuset, t->cpuset, mask);
	hwloc_bitmap_free(mask);
	if (rc)
		return rc;

	if (numa_available() < 0) {
		hwloc_bitmap_zero(t->nodes);
		return 0;
	}
	mems = numa_get_mems_allowed();
	if (!mems)
		return -ENOMEM;
	for (i = 0; i < mems->size; i++)
		if (!numa_bitmask_isbitset(mems, i))
			hwloc_bitmap_clr(t->nodes, i);
	if (hwloc_bitmap_last(t->nodes) >= (int)mems->size)
		hwloc_bitmap_clr_range(t->nodes, mems->size, -1);
	numa_bitmask_free(mems);
	return 0;
}

/* A topology of this machine, or of what `source` names; 0 or -1 with errno. */
static int discover(struct tm_topo *t, const char *source, unsigned long flags)
{
	int rc = hwloc_topology_init(&t->hwloc);

	if (rc) {
		t->hwloc = NULL;
		errno = ENOMEM;
		return rc;
	}
	errno = 0;
	if (source && !strncmp(source, "synthetic:", 10))
		rc = hwloc_topology_set_synthetic(t->hwloc, source + 10);
	else if (source && !strncmp(source, "xml:", 4))
		rc = hwloc_topology_set_xml(t->hwloc, source + 4);
	else if (source)
		rc = -1;
	if (!rc)
		rc = hwloc_topology_set_flags(t->hwloc, flags);
	return rc ? rc : hwloc_topology_load(t->hwloc);
}

static int load(struct tm_topo *t, const char *source, char *why, size_t why_size)
{
	/* Discovery by binding to each CPU in turn would disturb isolated ones. */
	int rc = discover(t, source, source ? 0 : HWLOC_TOPOLOGY_FLAG_DONT_CHANGE_BINDING);

	/* Without /sys there is no other way to find more than the CPUs' number. */
	if (!rc && !source && !hwloc_get_nbobjs_by_type(t->hwloc, HWLOC_OBJ_CORE)) {
		hwloc_topology_destroy(t->hwloc);
		rc = discover(t, source, 0);
	}
	if (rc && source) {
		rc = errno == ENOENT || errno == EACCES || errno == ENOMEM ? -errno : -EINVAL;
		snprintf(
			why, why_size,
			"cannot load topology \"%s\": give synthetic:DESCRIPTION or xml:PATH as hwloc reads them",
			source);
		return rc;
	}
	if (rc) {
		rc = errno ? -errno : -EIO;
		snprintf(why, why_size,
			 "hwloc cannot read this machine's topology: %s (is /sys mounted?)",
			 strerror(-rc));
		return rc;
	}
	if (!source && !hwloc_topology_is_thissystem(t->hwloc)) {
		snprintf(
			why, why_size,
			"hwloc was told of another machine: unset HWLOC_XMLFILE, HWLOC_SYNTHETIC and HWLOC_FSROOT");
		return -EINVAL;
	}
	return 0;
}

int tm_topo_load(const char *source, struct tm_topo **out, char *why, size_t why_size)
{
	struct tm_topo *t = calloc(1, sizeof(*t));
	int rc;

	*out = NULL;
	if (why_size)
		why[0] = '\0';
	if (!t) {
		snprintf(why, why_size, "out of memory");
		return -ENOMEM;
	}
	rc = load(t, source, why, why_size);
	if (rc)
		goto fail;
	t->cpuset = hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(t->hwloc));
	t->nodes = hwloc_bitmap_dup(hwloc_topology_get_allowed_nodeset(t->hwloc));
	rc = t->cpuset && t->nodes ? 0 : -ENOMEM;
	if (!rc)
		hwloc_bitmap_and(t->cpuset, t->cpuset,
				 hwloc_topology_get_topology_cpuset(t->hwloc));
	if (!rc && !source)
		rc = restrict_to_allowed(t);
	if (rc) {
		snprintf(why, why_size, "cannot read which CPUs may be used: %s", strerror(-rc));
		goto fail;
	}
	if (hwloc_bitmap_iszero(t->cpuset)) {
		rc = -ENODEV;
		snprintf(
			why, why_size,
			"no CPU may be used: the cpuset or affinity mask names none that is online");
		goto fail;
	}
	rc = index_cpus(t);
	if (rc) {
		snprintf(why, why_size, "out of memory");
		goto fail;
	}
	*out = t;
	return 0;
fail:
	tm_topo_free(t);
	return rc;
}

void tm_topo_free(struct tm_topo *t)
{
	if (!t)
		return;
	free(t->index_of);
	free(t->pu);
	hwloc_bitmap_free(t->nodes);
	hwloc_bitmap_free(t->cpuset);
	if (t->hwloc)
		hwloc_topology_destroy(t->hwloc);
	free(t);
}

unsigned int tm_topo_cpus(const struct tm_topo *t)
{
	return t->cpus;
}

unsigned int tm_topo_cpu(const struct tm_topo *t, unsigned int i)
{
	return t->pu[i].os;
}

bool tm_topo_has_cpu(const struct tm_topo *t, unsigned int cpu)
{
	return tm_topo_index(t, cpu) >= 0;
}

enum tm_distance tm_topo_distance(const struct tm_topo *t, unsigned int cpu, unsigned int other)
{
	return tm_pu_distance(&t->pu[tm_topo_index(t, cpu)], &t->pu[tm_topo_index(t, other)]);
}

/* The usable CPUs of these lists; `other` may be NULL. */
static unsigned int listed(const struct tm_topo *t, const char *path, const char *other,
			   unsigned int **cpus)
{
	hwloc_bitmap_t set = hwloc_bitmap_alloc();
	unsigned int n = 0;

	*cpus = calloc(t->cpus, sizeof(**cpus));
	if (set && *cpus) {
		add_list(set, path);
		if (other)
			add_list(set, other);
		for (unsigned int i = 0; i < t->cpus; i++) {
			if (hwloc_bitmap_isset(set, t->pu[i].os))
				(*cpus)[n++] = t->pu[i].os;
		}
	}
	hwloc_bitmap_free(set);
	return n;
}

unsigned int tm_topo_isolated(const struct tm_topo *t, unsigned int **cpus)
{
	return listed(t, NOHZ_FULL, ISOLATED, cpus);
}

unsigned int tm_topo_nohz_full(const struct tm_topo *t, unsigned int **cpus)
{
	return listed(t, NOHZ_FULL, NULL, cpus);
}

unsigned int tm_topo_nodes(const struct tm_topo *t)
{
	return hwloc_bitmap_weight(t->nodes);
}

int tm_topo_node_of(const struct tm_topo *t, unsigned int cpu)
{
	int i = tm_topo_index(t, cpu);

	return i < 0 ? -1 : t->pu[i].node;
}

char *tm_topo_summary(const struct tm_topo *t)
{
	char text[1024];

	/* hwloc has a line only for trees that are alike in every branch. */
	if (hwloc_topology_export_synthetic(t->hwloc, text, sizeof(text),
					    HWLOC_TOPOLOGY_EXPORT_SYNTHETIC_FLAG_NO_ATTRS) < 0)
		snprintf(text, sizeof(text),
			 "Package:%u LastLevelCache:%u Core:%u PU:%u NUMANode:%u (not symmetric)",
			 t->groups[TM_LEVEL_PACKAGE], t->groups[TM_LEVEL_CACHE],
			 t->groups[TM_LEVEL_CORE], t->cpus, tm_topo_nodes(t));
	return strdup(text);
}

char *tm_topo_xml(const struct tm_topo *t)
{
	char *buffer, *copy;
	int length;

	if (hwloc_topology_export_xmlbuffer(t->hwloc, &buffer, &length, 0))
		return NULL;
	copy = strdup(buffer);
	hwloc_free_xmlbuffer(t->hwloc, buffer);
	return copy;
}
