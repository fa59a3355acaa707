/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "environment.h"

#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include <gnu/libc-version.h>
#include <zlib.h>

#include "cgroup.h"
#include "sysfile.h"
#include "sysstate.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0"
#endif

#define CPU "/sys/devices/system/cpu/"
#define MM "/sys/kernel/mm/"

/* Texts that several sections look into. */
struct texts {
	char *cpuinfo, *config, *log, *command_line;
	const char *config_path;
	char flags[8192]; /* of the first CPU */
};

static void set(json_t *object, const char *key, json_t *value)
{
	json_object_set_new(object, key, value);
}

static json_t *flag(bool value)
{
	return json_boolean(value);
}

/* Calls `add` for each path that matches, in order. */
static void each(const char *root, const char *pattern, json_t *object,
		 void (*add)(const char *root, const char *path, json_t *object))
{
	char full[PATH_MAX];
	glob_t found;
	size_t i;

	snprintf(full, sizeof(full), "%s%s", root, pattern);
	if (glob(full, 0, NULL, &found))
		return;
	for (i = 0; i < found.gl_pathc; i++)
		add(root, found.gl_pathv[i] + strlen(root), object);
	globfree(&found);
}

static const char *last_part(const char *path)
{
	return strrchr(path, '/') + 1;
}

/* A file's value under its folder's name. */
static void add_by_folder(const char *root, const char *path, json_t *object)
{
	char name[128];

	snprintf(name, sizeof(name), "%s", path);
	*strrchr(name, '/') = '\0';
	set(object, last_part(name), tm_sysfile_string(root, path));
}

static void read_texts(const struct tm_environment_source *s, struct texts *t)
{
	char path[PATH_MAX];

	t->cpuinfo = tm_sysfile_slurp(s->root, "/proc/cpuinfo");
	t->log = tm_sysfile_slurp(s->root, "/dev/kmsg");
	t->command_line = tm_sysfile_slurp(s->root, "/proc/cmdline");
	if (t->command_line)
		t->command_line[strcspn(t->command_line, "\n")] = '\0';
	t->config_path = "/proc/config.gz";
	t->config = tm_sysfile_slurp(s->root, "%s", t->config_path);
	if (!t->config) {
		snprintf(path, sizeof(path), "/boot/config-%s", s->release);
		t->config_path = "/boot/config";
		t->config = tm_sysfile_slurp(s->root, "%s", path);
	}
	if (t->cpuinfo && !tm_sysfile_key(t->cpuinfo, "flags", t->flags, sizeof(t->flags)))
		tm_sysfile_key(t->cpuinfo, "Features", t->flags, sizeof(t->flags));
}

static void free_texts(struct texts *t)
{
	free(t->cpuinfo);
	free(t->config);
	free(t->log);
	free(t->command_line);
}

/* What changes the cost of a flush, of an interrupt, or of a system call. */
static const char *const config_options[] = {
	"PREEMPT",
	"PREEMPT_",
	"PREEMPTION",
	"NO_HZ_",
	"HZ",
	"NUMA",
	"NUMA_BALANCING",
	"NR_CPUS",
	"DEBUG_VM",
	"DEBUG_VM_",
	"KASAN",
	"KASAN_",
	"KCSAN",
	"KMSAN",
	"KFENCE",
	"LOCKDEP",
	"PROVE_LOCKING",
	"DEBUG_LOCK_ALLOC",
	"DEBUG_PREEMPT",
	"DEBUG_PAGEALLOC",
	"DEBUG_TLBFLUSH",
	"BROADCAST_TLB_FLUSH",
	"PARAVIRT",
	"PARAVIRT_",
	"KVM_GUEST",
	"PVM_GUEST",
	"HYPERV",
	"XEN",
	"XEN_PV",
	"PAGE_TABLE_CHECK",
	"PT_RECLAIM",
	"MITIGATION_",
	"PAGE_TABLE_ISOLATION",
	"RETPOLINE",
	"TRANSPARENT_HUGEPAGE",
	"TRANSPARENT_HUGEPAGE_",
	"KSM",
	"MEMCG",
	"USERFAULTFD",
	"RCU_NOCB_CPU",
	"X86_5LEVEL",
	"ARM64_64K_PAGES",
	"ARM64_16K_PAGES",
	"ARM64_4K_PAGES",
	"ARM64_SW_TTBR0_PAN",
	"UNMAP_KERNEL_AT_EL0",
	"LTO_CLANG",
	"CFI_CLANG",
	"CFI",
	"FUNCTION_TRACER",
	"BPF_SYSCALL",
};

static bool is_wanted(const char *name, size_t length)
{
	size_t i, n;

	for (i = 0; i < sizeof(config_options) / sizeof(config_options[0]); i++) {
		n = strlen(config_options[i]);
		/* One that ends with "_" stands for all that begin so. */
		if (!strncmp(name, config_options[i], n < length ? n : length) &&
		    (n == length || (n < length && config_options[i][n - 1] == '_')))
			return true;
	}
	return false;
}

static json_t *kernel_config(const struct texts *t)
{
	json_t *options;
	const char *at, *name;
	char key[128], crc[16];
	size_t length;

	if (!t->config)
		return json_null();
	options = json_object();
	for (at = t->config; at; at = strchr(at, '\n'), at = at ? at + 1 : NULL) {
		bool unset = !strncmp(at, "# CONFIG_", 9);

		if (!unset && strncmp(at, "CONFIG_", 7))
			continue;
		name = at + (unset ? 9 : 7);
		length = strcspn(name, unset ? " \n" : "=\n");
		if (length >= sizeof(key) || !is_wanted(name, length))
			continue;
		memcpy(key, name, length);
		key[length] = '\0';
		if (unset)
			set(options, key, json_string("n"));
		else if (name[length] == '=')
			set(options, key,
			    json_stringn(name + length + 1, strcspn(name + length + 1, "\n")));
	}
	length = strlen(t->config);
	snprintf(crc, sizeof(crc), "%08lx", crc32(0, (const Bytef *)t->config, length));
	return json_pack("{s:s, s:s, s:I, s:o}", "source", t->config_path, "crc32", crc, "bytes",
			 (json_int_t)length, "options", options);
}

/* A debugfs file, which the live machine lets us reach also where it is not mounted. */
static json_t *debugfs(const char *root, const char *path)
{
	char knob[128], value[64];

	if (root[0]) {
		snprintf(knob, sizeof(knob), "/sys/kernel/debug/%s", path);
		return tm_sysfile_choice(root, knob);
	}
	snprintf(knob, sizeof(knob), "debugfs:%s", path);
	if (tm_knob_read(knob, value, sizeof(value)) < 0)
		return json_null();
	tm_sysfile_chosen(value);
	return tm_json_text(value);
}

static json_t *preempt_mode(const char *root, const struct texts *t)
{
	static const char boot_line[] = "Dynamic Preempt: ";
	json_t *mode = debugfs(root, "sched/preempt");
	const char *at;

	if (!json_is_null(mode))
		return mode;
	at = t->log ? strstr(t->log, boot_line) : NULL;
	if (!at)
		return mode;
	at += strlen(boot_line);
	return json_stringn(at, strcspn(at, " \n"));
}

static json_t *kernel(const struct tm_environment_source *s, const struct texts *t)
{
	json_t *o = json_object(), *modules = json_object();

	each(s->root, "/sys/module/tlbmark_*/version", modules, add_by_folder);
	set(o, "modules", modules);
	set(o, "release", tm_json_text(s->release));
	set(o, "version", tm_json_text(s->version));
	set(o, "machine", tm_json_text(s->machine));
	set(o, "command_line", tm_json_text(t->command_line));
	set(o, "config", kernel_config(t));
	set(o, "preempt", preempt_mode(s->root, t));
	set(o, "tainted", tm_sysfile_integer(s->root, "/proc/sys/kernel/tainted"));
	set(o, "clocksource",
	    tm_sysfile_string(s->root,
			      "/sys/devices/system/clocksource/clocksource0/current_clocksource"));
	set(o, "aslr", tm_sysfile_integer(s->root, "/proc/sys/kernel/randomize_va_space"));
	set(o, "numa_balancing", tm_sysfile_integer(s->root, "/proc/sys/kernel/numa_balancing"));
	set(o, "perf_event_paranoid",
	    tm_sysfile_integer(s->root, "/proc/sys/kernel/perf_event_paranoid"));
	set(o, "unprivileged_bpf_disabled",
	    tm_sysfile_integer(s->root, "/proc/sys/kernel/unprivileged_bpf_disabled"));
	set(o, "lockdown", tm_sysfile_choice(s->root, "/sys/kernel/security/lockdown"));
	set(o, "btf", flag(tm_sysfile_exists(s->root, "/sys/kernel/btf/vmlinux")));
	return o;
}

static void add_distinct(json_t *array, json_t *value)
{
	json_t *old;
	size_t i;

	json_array_foreach(array, i, old) if (json_equal(old, value)) goto out;
	if (!json_is_null(value))
		json_array_append(array, value);
out:
	json_decref(value);
}

static void add_policy(const char *root, const char *path, json_t *cpufreq)
{
	static const char *const files[] = {"scaling_governor", "scaling_driver",
					    "energy_performance_preference", "cpuinfo_max_freq"};
	char name[PATH_MAX];
	size_t i;

	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		if (!json_object_get(cpufreq, files[i]))
			set(cpufreq, files[i], json_array());
		snprintf(name, sizeof(name), "%s/%s", path, files[i]);
		add_distinct(json_object_get(cpufreq, files[i]), tm_sysfile_string(root, name));
	}
}

static json_t *turbo(const char *root)
{
	json_t *no = tm_sysfile_integer(root, CPU "intel_pstate/no_turbo"), *boost;

	if (!json_is_null(no)) {
		boost = flag(!json_integer_value(no));
		json_decref(no);
		return boost;
	}
	boost = tm_sysfile_integer(root, CPU "cpufreq/boost");
	if (json_is_null(boost))
		return boost;
	no = flag(json_integer_value(boost));
	json_decref(boost);
	return no;
}

static json_t *frequency(const char *root)
{
	json_t *o = json_object();

	each(root, CPU "cpufreq/policy*", o, add_policy);
	set(o, "turbo", turbo(root));
	return o;
}

static json_t *cpu(const struct tm_environment_source *s, const struct texts *t)
{
	static const char *const keys[][2] = {
		{"vendor", "vendor_id"},
		{"model_name", "model name"},
		{"family", "cpu family"},
		{"model", "model"},
		{"stepping", "stepping"},
		{"microcode", "microcode"},
		{"bugs", "bugs"},
		{"tlb_size", "TLB size"},
		{"implementer", "CPU implementer"},
		{"variant", "CPU variant"},
		{"part", "CPU part"},
		{"revision", "CPU revision"},
	};
	static const char *const lists[] = {"possible", "present",  "online",
					    "offline",	"isolated", "nohz_full"};
	static const char *const flags[] = {
		"hypervisor", "constant_tsc", "nonstop_tsc", "pti", "pcid",    "invpcid",
		"invlpgb",    "la57",	      "lam",	     "pku", "monitor",
	};
	json_t *o = json_object(), *kinds = json_object(), *has = json_object();
	char path[128];
	size_t i;

	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		set(o, keys[i][0], tm_json_key_text(t->cpuinfo, keys[i][1]));
	for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		snprintf(path, sizeof(path), CPU "%s", lists[i]);
		set(o, lists[i], tm_sysfile_string(s->root, path));
	}
	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		set(has, flags[i], flag(tm_has_word(t->flags, flags[i])));
	set(o, "flags", has);
	set(o, "smt", tm_sysfile_string(s->root, CPU "smt/control"));
	set(o, "smt_active", tm_sysfile_integer(s->root, CPU "smt/active"));
	set(o, "idle_driver", tm_sysfile_string(s->root, CPU "cpuidle/current_driver"));
	set(o, "frequency", frequency(s->root));
	/* Core types by their performance counters: cpu_core, armv8_cortex_a53. */
	each(s->root, "/sys/devices/cpu_*/cpus", kinds, add_by_folder);
	each(s->root, "/sys/devices/armv8_*/cpus", kinds, add_by_folder);
	set(o, "kinds", kinds);
	return o;
}

static void add_node(const char *root, const char *path, json_t *nodes)
{
	char name[PATH_MAX], *meminfo;
	const char *at;
	long long kib = -1;

	meminfo = tm_sysfile_slurp(root, "%s/meminfo", path);
	at = meminfo ? strstr(meminfo, "MemTotal:") : NULL;
	if (at)
		sscanf(at, "MemTotal: %lld", &kib);
	free(meminfo);
	snprintf(name, sizeof(name), "%s/cpulist", path);
	set(nodes, last_part(path) + strlen("node"),
	    json_pack("{s:o, s:o}", "cpus", tm_sysfile_string(root, name), "memory_kib",
		      kib < 0 ? json_null() : json_integer(kib)));
}

static json_t *topology(const struct tm_environment_source *s)
{
	char *summary = s->topo ? tm_topo_summary(s->topo) : NULL;
	json_t *o = json_object(), *nodes = json_object();

	each(s->root, "/sys/devices/system/node/node[0-9]*", nodes, add_node);
	set(o, "summary", tm_json_text(summary));
	set(o, "usable_cpus", s->topo ? json_integer(tm_topo_cpus(s->topo)) : json_null());
	set(o, "nodes", nodes);
	free(summary);
	return o;
}

static enum tm_flush_backend flush_backend(const struct tm_environment_source *s,
					   const struct texts *t, char *how, size_t how_size)
{
	char xen[32], possible[256];
	struct tm_flush_facts f = {
		.machine = s->machine,
		.cpuid = s->cpuid,
		.cpu_flags = t->flags,
		.kernel_log = t->log,
		.command_line = t->command_line,
		.config = t->config,
	};

	if (tm_sysfile_line(s->root, "/sys/hypervisor/type", xen, sizeof(xen)) > 0 &&
	    !strcmp(xen, "xen") &&
	    tm_sysfile_line(s->root, "/sys/hypervisor/guest_type", xen, sizeof(xen)) > 0)
		f.xen_guest_type = xen;
	if (tm_sysfile_line(s->root, CPU "possible", possible, sizeof(possible)) > 0)
		f.possible_cpus = tm_sysfile_count(possible);
	return tm_flush_backend(&f, how, how_size);
}

static json_t *tlb(const struct tm_environment_source *s, const struct texts *t)
{
	json_t *ceiling = debugfs(s->root, "x86/tlb_single_page_flush_ceiling");
	json_t *pages = json_null();
	char how[192];
	enum tm_flush_backend b = flush_backend(s, t, how, sizeof(how));

	if (json_is_string(ceiling))
		pages = json_integer(atoll(json_string_value(ceiling)));
	json_decref(ceiling);
	return json_pack("{s:s, s:s, s:o}", "flush_backend", tm_flush_backend_name(b), "decided_by",
			 how, "ceiling_pages", pages);
}

static json_t *container(const char *root)
{
	char kind[64];

	if (tm_sysfile_line(root, "/run/systemd/container", kind, sizeof(kind)) > 0)
		return tm_json_text(kind);
	if (tm_sysfile_exists(root, "/.dockerenv"))
		return json_string("docker");
	if (tm_sysfile_exists(root, "/run/.containerenv"))
		return json_string("podman");
	return json_null();
}

static json_t *virtualization(const struct tm_environment_source *s, const struct texts *t)
{
	const char *signature = s->cpuid ? s->cpuid->signature : "";
	const char *name = tm_hypervisor_name(signature);
	json_t *o = json_object();
	char xen[32];

	if (!name && tm_sysfile_line(s->root, "/sys/hypervisor/type", xen, sizeof(xen)) > 0)
		name = xen;
	else if (!name && tm_has_word(t->flags, "hypervisor"))
		name = "unknown";
	set(o, "hypervisor", tm_json_text(name));
	set(o, "cpuid_signature", tm_json_text(signature[0] ? signature : NULL));
	set(o, "kvm_features", s->cpuid ? json_integer(s->cpuid->kvm_features) : json_null());
	set(o, "dmi_vendor", tm_sysfile_string(s->root, "/sys/class/dmi/id/sys_vendor"));
	set(o, "dmi_product", tm_sysfile_string(s->root, "/sys/class/dmi/id/product_name"));
	set(o, "device_tree_model",
	    tm_sysfile_string(s->root, "/sys/firmware/devicetree/base/model"));
	set(o, "container", container(s->root));
	set(o, "lab", tm_json_items(t->command_line, "tlbmark.lab="));
	return o;
}

static void add_file(const char *root, const char *path, json_t *object)
{
	set(object, last_part(path), tm_sysfile_string(root, path));
}

static void add_hugepages(const char *root, const char *path, json_t *sizes)
{
	static const char *const files[] = {"nr_hugepages", "free_hugepages",
					    "nr_overcommit_hugepages"};
	json_t *o = json_object();
	char name[PATH_MAX];
	size_t i;

	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(name, sizeof(name), "%s/%s", path, files[i]);
		set(o, files[i], tm_sysfile_integer(root, name));
	}
	set(sizes, last_part(path) + strlen("hugepages-"), o);
}

/* Sizes of transparent huge pages other than the large one (Linux 6.8 on). */
static void add_thp_size(const char *root, const char *path, json_t *sizes)
{
	char name[PATH_MAX];

	snprintf(name, sizeof(name), "%s/enabled", path);
	set(sizes, last_part(path) + strlen("hugepages-"), tm_sysfile_choice(root, name));
}

static json_t *memory(const char *root)
{
	static const char *const keys[][2] = {
		{"total_kib", "MemTotal"},	     {"free_kib", "MemFree"},
		{"available_kib", "MemAvailable"},   {"swap_total_kib", "SwapTotal"},
		{"swap_free_kib", "SwapFree"},	     {"hugetlb_kib", "Hugetlb"},
		{"vmalloc_used_kib", "VmallocUsed"},
	};
	char *meminfo = tm_sysfile_slurp(root, "/proc/meminfo");
	json_t *o = json_object(), *pages = json_object(), *thp = json_object(),
	       *sizes = json_object();
	size_t i;

	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		set(o, keys[i][0], tm_json_key_number(meminfo, keys[i][1]));
	free(meminfo);
	each(root, MM "hugepages/hugepages-*", pages, add_hugepages);
	set(o, "hugepages", pages);
	set(thp, "enabled", tm_sysfile_choice(root, MM "transparent_hugepage/enabled"));
	set(thp, "defrag", tm_sysfile_choice(root, MM "transparent_hugepage/defrag"));
	set(thp, "shmem_enabled", tm_sysfile_choice(root, MM "transparent_hugepage/shmem_enabled"));
	each(root, MM "transparent_hugepage/hugepages-*", sizes, add_thp_size);
	set(thp, "sizes", sizes);
	set(o, "thp", thp);
	set(o, "ksm_run", tm_sysfile_integer(root, MM "ksm/run"));
	set(o, "swappiness", tm_sysfile_integer(root, "/proc/sys/vm/swappiness"));
	set(o, "overcommit", tm_sysfile_integer(root, "/proc/sys/vm/overcommit_memory"));
	return o;
}

static json_t *process(const char *root)
{
	char *status = tm_sysfile_slurp(root, "/proc/self/status");
	json_t *o = json_object();

	set(o, "tracer_pid", tm_json_key_number(status, "TracerPid"));
	set(o, "seccomp", tm_json_key_number(status, "Seccomp"));
	set(o, "capabilities", tm_json_key_text(status, "CapEff"));
	set(o, "cpus_allowed", tm_json_key_text(status, "Cpus_allowed_list"));
	set(o, "mems_allowed", tm_json_key_text(status, "Mems_allowed_list"));
	free(status);
	return o;
}

/* Load averages, and which share of the time since boot the hypervisor took away. */
static json_t *load(const char *root)
{
	unsigned long long tick[8] = {0}, all = 0;
	double average[3];
	json_t *o = json_object();
	char line[256];
	int i;

	if (tm_sysfile_line(root, "/proc/loadavg", line, sizeof(line)) > 0 &&
	    sscanf(line, "%lf %lf %lf", &average[0], &average[1], &average[2]) == 3)
		set(o, "average", json_pack("[f,f,f]", average[0], average[1], average[2]));
	else
		set(o, "average", json_null());
	if (tm_sysfile_line(root, "/proc/stat", line, sizeof(line)) > 0 &&
	    sscanf(line, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &tick[0], &tick[1],
		   &tick[2], &tick[3], &tick[4], &tick[5], &tick[6], &tick[7]) == 8)
		for (i = 0; i < 8; i++)
			all += tick[i];
	set(o, "steal_share", all ? json_real((double)tick[7] / all) : json_null());
	return o;
}

static json_t *suite(void)
{
	return json_pack("{s:s, s:s, s:s}", "version", PACKAGE_VERSION, "compiler", __VERSION__,
			 "libc", gnu_get_libc_version());
}

json_t *tm_environment_from(const struct tm_environment_source *s)
{
	json_t *o = json_object(), *mitigations = json_object();
	struct texts t = {0};

	read_texts(s, &t);
	each(s->root, CPU "vulnerabilities/*", mitigations, add_file);
	set(o, "suite", suite());
	set(o, "kernel", kernel(s, &t));
	set(o, "cpu", cpu(s, &t));
	set(o, "topology", topology(s));
	set(o, "virtualization", virtualization(s, &t));
	set(o, "mitigations", mitigations);
	set(o, "tlb", tlb(s, &t));
	set(o, "memory", memory(s->root));
	set(o, "cgroup", tm_cgroup_limits(s->root));
	set(o, "process", process(s->root));
	set(o, "load", load(s->root));
	free_texts(&t);
	return o;
}

json_t *tm_environment(const struct tm_topo *topo)
{
	struct tm_environment_source s = {.root = "", .topo = topo};
	struct tm_cpuid cpuid;
	struct utsname u;

	uname(&u);
	s.release = u.release;
	s.version = u.version;
	s.machine = u.machine;
	s.cpuid = tm_cpuid_read(&cpuid) ? &cpuid : NULL;
	return tm_environment_from(&s);
}
