/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Each check looks at one thing; its limits stand where they are used. */
#include "doctor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CPU "/sys/devices/system/cpu/"
#define MM "/sys/kernel/mm/"

/* What a check looks at. */
struct patient {
	const json_t *env;
	const struct tm_doctor_facts *facts;
};

const char *tm_severity_name(enum tm_severity s)
{
	static const char *const names[] = {"ok", "note", "warning", "cannot"};

	return names[s];
}

/* The value at a path of keys, "memory.thp.enabled"; NULL: not there. */
static const json_t *at(const struct patient *p, const char *path)
{
	const json_t *value = p->env;
	char key[64];
	size_t length;

	for (; value; path += length + 1) {
		length = strcspn(path, ".");
		snprintf(key, sizeof(key), "%.*s", (int)length, path);
		value = json_object_get(value, key);
		if (!path[length])
			break;
	}
	return value;
}

/* "" where there is no such text. */
static const char *text_at(const struct patient *p, const char *path)
{
	const char *text = json_string_value(at(p, path));

	return text ? text : "";
}

/* -1 where there is no such number. */
static double number_at(const struct patient *p, const char *path)
{
	const json_t *value = at(p, path);

	return json_is_number(value) ? json_number_value(value) : -1;
}

static void __attribute__((format(printf, 3, 4)))
say(struct tm_finding *f, enum tm_severity s, const char *format, ...)
{
	va_list args;

	f->severity = s;
	va_start(args, format);
	vsnprintf(f->text, sizeof(f->text), format, args);
	va_end(args);
}

static void __attribute__((format(printf, 2, 3)))
advise(struct tm_finding *f, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(f->remedy, sizeof(f->remedy), format, args);
	va_end(args);
}

static void check_cpus(const struct patient *p, struct tm_finding *f)
{
	double usable = number_at(p, "topology.usable_cpus");

	if (usable > 1) {
		say(f, TM_SEVERITY_OK, "%.0f usable (online %s)", usable, text_at(p, "cpu.online"));
		return;
	}
	say(f, TM_SEVERITY_CANNOT,
	    "one usable CPU: no other to shoot at; floors, controls and --responders 0 still work");
	advise(f, "give the machine, the cpuset or taskset's mask (now %s) a second CPU",
	       text_at(p, "process.cpus_allowed"));
}

static void check_hypervisor(const struct patient *p, struct tm_finding *f)
{
	const char *name = text_at(p, "virtualization.hypervisor");

	if (!name[0]) {
		say(f, TM_SEVERITY_OK, "none");
		return;
	}
	say(f, TM_SEVERITY_NOTE,
	    "%s: interrupts pass through the hypervisor, and a virtual CPU may not be running when one is sent",
	    name);
	advise(f,
	       "pin each virtual CPU to one of the host's (virsh vcpupin), or measure on bare metal");
}

static void check_flush(const struct patient *p, struct tm_finding *f)
{
	const char *backend = text_at(p, "tlb.flush_backend");

	say(f, strcmp(backend, "unknown") ? TM_SEVERITY_OK : TM_SEVERITY_NOTE,
	    "remote TLBs are flushed by %s (%s)", backend, text_at(p, "tlb.decided_by"));
	if (f->severity != TM_SEVERITY_OK)
		advise(f, "none needed; comparisons with other machines need care");
}

static void check_steal(const struct patient *p, struct tm_finding *f)
{
	double now = p->facts->steal_share, boot = number_at(p, "load.steal_share");

	if (now < 0) {
		say(f, TM_SEVERITY_NOTE, "stolen time is not told");
		advise(f, "mount /proc");
		return;
	}
	/* One part in a hundred is one descheduled responder in a hundred operations. */
	say(f, now > 0.01 ? TM_SEVERITY_WARNING : TM_SEVERITY_OK,
	    "the hypervisor took %.2f%% of the CPU time while looking, %.2f%% since boot",
	    100 * now, 100 * (boot < 0 ? 0 : boot));
	if (f->severity != TM_SEVERITY_OK)
		advise(f,
		       "give the guest CPUs of its own on the host, or measure when the host is quiet");
}

static void check_load(const struct patient *p, struct tm_finding *f)
{
	double load = json_number_value(json_array_get(at(p, "load.average"), 0));
	double cpus = number_at(p, "topology.usable_cpus");

	/* Half a CPU in use is hardly idle; one task per two CPUs collides with responders. */
	say(f,
	    load > 0.5 * cpus && load > 0.5 ? TM_SEVERITY_WARNING
	    : load > 0.5		    ? TM_SEVERITY_NOTE
					    : TM_SEVERITY_OK,
	    "load average %.2f on %.0f usable CPU%s", load, cpus, cpus == 1 ? "" : "s");
	if (f->severity != TM_SEVERITY_OK)
		advise(f, "see who runs: ps -eo pid,pcpu,comm --sort=-pcpu | head");
}

static void check_governor(const struct patient *p, struct tm_finding *f)
{
	const json_t *governors = at(p, "cpu.frequency.scaling_governor"), *g;
	const char *other = NULL;
	size_t i;

	json_array_foreach(governors, i, g) if (strcmp(json_string_value(g), "performance")) other =
		json_string_value(g);
	if (!json_array_size(governors)) {
		say(f, TM_SEVERITY_OK, "no cpufreq here: frequency is not this kernel's to choose");
		return;
	}
	say(f, other ? TM_SEVERITY_WARNING : TM_SEVERITY_OK, "%s (driver %s)",
	    other ? other : "performance",
	    json_string_value(json_array_get(at(p, "cpu.frequency.scaling_driver"), 0)));
	if (other)
		advise(f, "echo performance | sudo tee " CPU "cpu*/cpufreq/scaling_governor");
}

static void check_turbo(const struct patient *p, struct tm_finding *f)
{
	const json_t *turbo = at(p, "cpu.frequency.turbo");
	const char *driver =
		json_string_value(json_array_get(at(p, "cpu.frequency.scaling_driver"), 0));
	bool intel = driver && !strncmp(driver, "intel_", 6);

	if (!json_is_true(turbo)) {
		say(f, TM_SEVERITY_OK, json_is_false(turbo) ? "off" : "not told");
		return;
	}
	say(f, TM_SEVERITY_NOTE, "on: frequency follows temperature and the load of other cores");
	advise(f, intel ? "echo 1 | sudo tee " CPU "intel_pstate/no_turbo"
			: "echo 0 | sudo tee " CPU "cpufreq/boost");
}

static void check_smt(const struct patient *p, struct tm_finding *f)
{
	if (number_at(p, "cpu.smt_active") != 1) {
		say(f, TM_SEVERITY_OK, "off or not there: class smt has no CPUs");
		return;
	}
	say(f, TM_SEVERITY_NOTE,
	    "on: class smt can be measured; work on a sibling slows its neighbour");
	advise(f, "to switch it off: echo off | sudo tee " CPU "smt/control");
}

static void check_tsc(const struct patient *p, struct tm_finding *f)
{
	const char *source = text_at(p, "kernel.clocksource");
	bool arm = !strcmp(text_at(p, "kernel.machine"), "aarch64");
	bool steady = arm || (json_is_true(at(p, "cpu.flags.constant_tsc")) &&
			      json_is_true(at(p, "cpu.flags.nonstop_tsc")));
	bool distrusted = !strcmp(source, "hpet") || !strcmp(source, "acpi_pm") ||
			  !strcmp(source, "refined-jiffies");

	if (steady && !distrusted) {
		say(f, TM_SEVERITY_OK, "%s; clock source %s",
		    arm ? "CNTVCT" : "TSC constant and nonstop", source);
	} else if (!steady) {
		say(f, TM_SEVERITY_WARNING,
		    "the TSC may change its rate or stop (%s%s missing); clock source %s",
		    json_is_true(at(p, "cpu.flags.constant_tsc")) ? "" : "constant_tsc ",
		    json_is_true(at(p, "cpu.flags.nonstop_tsc")) ? "" : "nonstop_tsc", source);
		advise(f,
		       "fix the frequency and boot with processor.max_cstate=1; in a guest: -cpu host,+invtsc");
	} else {
		say(f, TM_SEVERITY_WARNING,
		    "the kernel does not trust the TSC: its clock source is %s", source);
		advise(f, "see why: dmesg | grep -i tsc; if it is wrong, boot with tsc=reliable");
	}
}

static void check_counter(const struct patient *p, struct tm_finding *f)
{
	const struct tm_clock *c = &p->facts->clock;
	double resolution_ns;

	if (p->facts->clock_error == -ENOTSUP) {
		say(f, TM_SEVERITY_CANNOT, TM_CLOCK_LACKING);
		advise(f, "a newer CPU; in a guest of QEMU: -cpu max or -cpu host");
		return;
	}
	if (p->facts->clock_error) {
		say(f, TM_SEVERITY_CANNOT, "the counter cannot be used: %s",
		    strerror(-p->facts->clock_error));
		advise(f, "allow user mode to read it (x86: prctl PR_SET_TSC, Xen: tsc_mode)");
		return;
	}
	resolution_ns = tm_ticks_to_ns(c, c->resolution_ticks);
	/* A shootdown is some microseconds; a step of 20 ns is 1% of the quickest. */
	say(f,
	    c->hz_error > 0.01	 ? TM_SEVERITY_WARNING
	    : resolution_ns > 20 ? TM_SEVERITY_NOTE
				 : TM_SEVERITY_OK,
	    "%.3f MHz, known to %.0f ppm; two reads cost %.1f ns, the step is %.1f ns", c->hz / 1e6,
	    c->hz_error * 1e6, tm_ticks_to_ns(c, c->pair_ticks), resolution_ns);
	if (c->hz_error > 0.01)
		advise(f, "a clock source finer than the kernel's tick: until then all times in "
			  "seconds are off alike");
	else if (resolution_ns > 20)
		advise(f, "none: distrust differences below some steps");
}

static void check_offset(const struct patient *p, struct tm_finding *f)
{
	const struct tm_doctor_facts *d = p->facts;
	double bound_ns;

	if (d->offset_error == -ENODEV) {
		say(f, TM_SEVERITY_NOTE, "one CPU: no offset to measure");
		advise(f, "see cpus");
		return;
	}
	if (d->clock_error) {
		say(f, TM_SEVERITY_CANNOT, "there is no counter to measure it by");
		advise(f, "see counter");
		return;
	}
	if (d->offset_error) {
		say(f, TM_SEVERITY_CANNOT, "offsets between CPUs could not be measured: %s",
		    strerror(-d->offset_error));
		advise(f, "allow two threads and pinning (ulimit -u, seccomp)");
		return;
	}
	bound_ns = tm_ticks_to_ns(&d->clock, d->worst.bound_ticks);
	/* Delivery takes about a microsecond; half of that as an error splits nothing. */
	say(f, bound_ns > 500 ? TM_SEVERITY_WARNING : TM_SEVERITY_OK,
	    "worst of %u pairs: CPU %u, %+.1f ns, known to +- %.1f ns", d->offset_pairs,
	    d->worst_cpu, tm_ticks_to_ns(&d->clock, d->worst.offset_ticks), bound_ns);
	if (bound_ns > 500)
		advise(f,
		       "measure on a quiet machine; until then delivery and return cannot be told apart");
}

static void check_isolated(const struct patient *p, struct tm_finding *f)
{
	const char *isolated = text_at(p, "cpu.isolated"), *full = text_at(p, "cpu.nohz_full");
	bool nohz = full[0] && strcmp(full, "(null)");

	if (isolated[0] || nohz) {
		say(f, TM_SEVERITY_OK, "isolated %s, nohz_full %s", isolated[0] ? isolated : "none",
		    nohz ? full : "none");
		return;
	}
	say(f, TM_SEVERITY_NOTE, "none: state isolated cannot be measured");
	advise(f, "boot with isolcpus=managed_irq,domain,N nohz_full=N rcu_nocbs=N");
}

static void check_probe(const struct patient *p, struct tm_finding *f)
{
	const struct tm_doctor_facts *d = p->facts;

	say(f,
	    d->probe == TM_PROBE_BPF	? TM_SEVERITY_OK
	    : d->probe == TM_PROBE_PERF ? TM_SEVERITY_NOTE
					: TM_SEVERITY_WARNING,
	    "%s%s%s", tm_probe_kind_name(d->probe), d->probe_why[0] ? "; " : "", d->probe_why);
	if (d->probe == TM_PROBE_BPF)
		return;
	if (strstr(d->probe_why, "built without"))
		advise(f,
		       "sudo apt-get install libbpf-dev clang bpftool, then ./configure and make");
	else if (!d->root)
		advise(f, "run as root: sudo tlbmark doctor");
	else
		advise(f,
		       "a kernel with CONFIG_BPF_SYSCALL, CONFIG_DEBUG_INFO_BTF and CONFIG_FTRACE");
}

static void check_privilege(const struct patient *p, struct tm_finding *f)
{
	double paranoid = number_at(p, "kernel.perf_event_paranoid");
	double bpf = number_at(p, "kernel.unprivileged_bpf_disabled");

	if (p->facts->root) {
		say(f, TM_SEVERITY_OK,
		    "root: perf_event_paranoid %.0f and unprivileged_bpf_disabled %.0f do not matter",
		    paranoid, bpf);
		return;
	}
	say(f, TM_SEVERITY_NOTE,
	    "not root: knobs stay as they are, workloads that need root are skipped (perf_event_paranoid %.0f, unprivileged_bpf_disabled %.0f)",
	    paranoid, bpf);
	advise(f,
	       "sudo tlbmark run; for perf events alone: sudo sysctl kernel.perf_event_paranoid=-1");
}

static void check_thp(const struct patient *p, struct tm_finding *f)
{
	const char *enabled = text_at(p, "memory.thp.enabled");

	if (!strcmp(enabled, "madvise") || !strcmp(enabled, "always")) {
		say(f, TM_SEVERITY_OK, "%s (defrag %s)", enabled, text_at(p, "memory.thp.defrag"));
		return;
	}
	say(f, TM_SEVERITY_NOTE, "%s: workloads with transparent huge pages are skipped",
	    enabled[0] ? enabled : "not built in");
	advise(f, enabled[0] ? "echo madvise | sudo tee " MM "transparent_hugepage/enabled"
			     : "a kernel with CONFIG_TRANSPARENT_HUGEPAGE");
}

static void check_hugepages(const struct patient *p, struct tm_finding *f)
{
	json_t *sizes = (json_t *)at(p, "memory.hugepages"), *size;
	double free_pages = number_at(p, "memory.hugepages.2048kB.free_hugepages");
	const char *name, *first = NULL;

	json_object_foreach(sizes, name, size) if (!first || atoi(name) < atoi(first)) first = name;
	if (free_pages > 0) {
		say(f, TM_SEVERITY_OK, "%.0f free of 2048 kB", free_pages);
	} else if (first) {
		say(f, TM_SEVERITY_NOTE,
		    "no free 2048 kB pages: hugetlb variants need some reserved");
		advise(f, "echo 64 | sudo tee " MM "hugepages/hugepages-2048kB/nr_hugepages");
	} else {
		say(f, TM_SEVERITY_NOTE, "not built in: hugetlb variants are skipped");
		advise(f, "a kernel with CONFIG_HUGETLBFS");
	}
}

static void check_swap(const struct patient *p, struct tm_finding *f)
{
	double total = number_at(p, "memory.swap_total_kib");
	double used = total - number_at(p, "memory.swap_free_kib");

	if (total <= 0) {
		say(f, TM_SEVERITY_NOTE, "none: anonymous memory cannot be paged out");
		advise(f,
		       "sudo modprobe zram && sudo zramctl -f -s 1G (then mkswap and swapon the device it prints)");
	} else if (used > total / 10) {
		say(f, TM_SEVERITY_WARNING,
		    "%.0f of %.0f MiB in use: reclaim may run while measuring", used / 1024,
		    total / 1024);
		advise(f, "free some memory, then: sudo swapoff -a && sudo swapon -a");
	} else {
		say(f, TM_SEVERITY_OK, "%.0f MiB, %.0f used", total / 1024, used / 1024);
	}
}

static void check_background_flushes(const struct patient *p, struct tm_finding *f)
{
	bool balancing = number_at(p, "kernel.numa_balancing") > 0;
	bool ksm = number_at(p, "memory.ksm_run") == 1;

	if (!balancing && !ksm) {
		say(f, TM_SEVERITY_OK, "NUMA balancing and KSM are off");
		return;
	}
	say(f, TM_SEVERITY_WARNING, "%s%s%s on: the kernel unmaps pages, and flushes, by itself",
	    balancing ? "NUMA balancing" : "", balancing && ksm ? " and " : "", ksm ? "KSM" : "");
	advise(f, "%s%s%s", balancing ? "sudo sysctl kernel.numa_balancing=0" : "",
	       balancing && ksm ? "; " : "", ksm ? "echo 0 | sudo tee " MM "ksm/run" : "");
}

static void check_debug(const struct patient *p, struct tm_finding *f)
{
	static const char *const options[] = {"KASAN",	       "KCSAN",		  "KMSAN",
					      "PROVE_LOCKING", "DEBUG_VM",	  "DEBUG_PAGEALLOC",
					      "DEBUG_PREEMPT", "PAGE_TABLE_CHECK"};
	const json_t *config = at(p, "kernel.config.options");
	char found[160] = "";
	const char *value;
	size_t i;

	for (i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		value = json_string_value(json_object_get(config, options[i]));
		if (value && !strcmp(value, "y"))
			snprintf(found + strlen(found), sizeof(found) - strlen(found), " %s",
				 options[i]);
	}
	if (found[0]) {
		say(f, TM_SEVERITY_WARNING, "built with%s: costs are not those of a release kernel",
		    found);
		advise(f, "boot a kernel without these options");
	} else if (!config) {
		say(f, TM_SEVERITY_NOTE,
		    "its configuration cannot be read, so no comparison by it");
		advise(f, "sudo modprobe configs, or install /boot/config-$(uname -r)");
	} else {
		say(f, TM_SEVERITY_OK, "no debugging options that slow flushes");
	}
}

static void check_cgroup(const struct patient *p, struct tm_finding *f)
{
	double cpus = number_at(p, "cgroup.cpu_limit");
	double bytes = number_at(p, "cgroup.memory_limit_bytes");

	if (cpus < 0) {
		say(f, TM_SEVERITY_OK, "no CPU limit; memory limit %s",
		    bytes < 0 ? "none" : "set, and kept to");
		return;
	}
	say(f, TM_SEVERITY_WARNING,
	    "limited to %.2f CPUs: spinning responders will be throttled in the middle of a measurement",
	    cpus);
	advise(f, "start outside group %s, or lift its cpu.max (version 1: cpu.cfs_quota_us)",
	       text_at(p, "cgroup.path"));
}

static void check_ptrace(const struct patient *p, struct tm_finding *f)
{
	double tracer = number_at(p, "process.tracer_pid");

	if (tracer <= 0) {
		say(f, TM_SEVERITY_OK, "not traced");
		return;
	}
	say(f, TM_SEVERITY_WARNING, "process %.0f traces this one: each system call stops twice",
	    tracer);
	advise(f, "run without strace, ltrace or gdb");
}

static void tool(struct tm_finding *f, bool there, const char *name, const char *without)
{
	say(f, there ? TM_SEVERITY_OK : TM_SEVERITY_CANNOT, "%s", there ? "installed" : without);
	if (!there)
		advise(f, "sudo apt-get install %s", name);
}

static void check_stress_ng(const struct patient *p, struct tm_finding *f)
{
	tool(f, p->facts->have_stress_ng, "stress-ng", "not installed: no --background");
}

static void check_gnuplot(const struct patient *p, struct tm_finding *f)
{
	tool(f, p->facts->have_gnuplot, "gnuplot-nox", "not installed: no plots");
}

static const struct {
	const char *name;
	void (*check)(const struct patient *p, struct tm_finding *f);
} checks[] = {
	{"cpus", check_cpus},	    {"hypervisor", check_hypervisor},
	{"flush", check_flush},	    {"steal", check_steal},
	{"load", check_load},	    {"governor", check_governor},
	{"turbo", check_turbo},	    {"smt", check_smt},
	{"tsc", check_tsc},	    {"counter", check_counter},
	{"offset", check_offset},   {"isolated", check_isolated},
	{"probe", check_probe},	    {"privilege", check_privilege},
	{"thp", check_thp},	    {"hugepages", check_hugepages},
	{"swap", check_swap},	    {"background", check_background_flushes},
	{"kernel", check_debug},    {"cgroup", check_cgroup},
	{"ptrace", check_ptrace},   {"stress-ng", check_stress_ng},
	{"gnuplot", check_gnuplot},
};

_Static_assert(sizeof(checks) / sizeof(checks[0]) <= TM_DOCTOR_MAX, "out[] holds all findings");

size_t tm_doctor_judge(const json_t *environment, const struct tm_doctor_facts *facts,
		       struct tm_finding out[TM_DOCTOR_MAX])
{
	struct patient p = {.env = environment, .facts = facts};
	size_t i, count = sizeof(checks) / sizeof(checks[0]);

	memset(out, 0, count * sizeof(*out));
	for (i = 0; i < count; i++) {
		out[i].name = checks[i].name;
		checks[i].check(&p, &out[i]);
	}
	return count;
}
