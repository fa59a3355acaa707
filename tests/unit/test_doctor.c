/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the doctor says of machines that are not here. */
#include "tree.h"

#include "../../bench/doctor.h"

static struct tm_finding finding[TM_DOCTOR_MAX];
static size_t findings;

static const struct tm_finding *find(const char *name)
{
	size_t i;

	for (i = 0; i < findings; i++)
		if (!strcmp(finding[i].name, name))
			return &finding[i];
	fail_msg("no check %s", name);
	return NULL;
}

static void judged(const char *name, enum tm_severity severity, const char *text,
		   const char *remedy)
{
	const struct tm_finding *f = find(name);

	if (f->severity != severity || !strstr(f->text, text) || !strstr(f->remedy, remedy))
		fail_msg("%s: %s \"%s\" -> \"%s\"", name, tm_severity_name(f->severity), f->text,
			 f->remedy);
}

static struct tm_doctor_facts healthy(void)
{
	struct tm_doctor_facts d = {
		.root = true,
		.clock = {.hz = 1e9, .hz_error = 1e-6, .pair_ticks = 20, .resolution_ticks = 1},
		.offset_pairs = 1,
		.worst_cpu = 1,
		.worst = {.offset_ticks = -10, .bound_ticks = 40},
		.probe = TM_PROBE_BPF,
		.have_stress_ng = true,
		.have_gnuplot = true,
	};

	return d;
}

/* Whatever is not well has a remedy, and what is well has none. */
static void check_remedies(void)
{
	size_t i;

	assert_true(findings > 20);
	for (i = 0; i < findings; i++) {
		if (!finding[i].text[0] ||
		    !finding[i].remedy[0] != (finding[i].severity == TM_SEVERITY_OK))
			fail_msg("%s: \"%s\" -> \"%s\"", finding[i].name, finding[i].text,
				 finding[i].remedy);
	}
}

static void test_doctor_machines(void **state)
{
	static const struct tm_cpuid hyperv = {.signature = "Microsoft Hv", .hyperv_hints = 4};
	static const struct tm_cpuid none;
	struct tm_doctor_facts d = healthy();
	json_t *e;

	(void)state;
	unpack("hyperv");
	e = environment("6.1.0", "x86_64", &hyperv);
	json_object_set_new((json_t *)at(e, "topology"), "usable_cpus", json_integer(6));
	d.steal_share = 0.03;
	findings = tm_doctor_judge(e, &d, finding);
	check_remedies();
	judged("cpus", TM_SEVERITY_OK, "6 usable", "");
	judged("hypervisor", TM_SEVERITY_NOTE, "hyperv", "vcpupin");
	judged("flush", TM_SEVERITY_OK, "hyperv", "");
	judged("steal", TM_SEVERITY_WARNING, "3.00% of the CPU time while looking, 2.00% since",
	       "");
	judged("load", TM_SEVERITY_WARNING, "7.50 on 6", "ps ");
	judged("smt", TM_SEVERITY_NOTE, "on", "smt/control");
	judged("isolated", TM_SEVERITY_OK, "isolated 6-7, nohz_full 6-7", "");
	judged("thp", TM_SEVERITY_NOTE, "never", "transparent_hugepage/enabled");
	judged("swap", TM_SEVERITY_WARNING, "488 of 977 MiB", "swapoff");
	judged("background", TM_SEVERITY_WARNING, "NUMA balancing and KSM",
	       "numa_balancing=0; echo 0");
	judged("cgroup", TM_SEVERITY_WARNING, "2.50 CPUs", "cpu.max");
	judged("ptrace", TM_SEVERITY_WARNING, "process 77", "strace");
	json_decref(e);

	unpack("x86-hybrid");
	e = environment("6.1.0-debug", "x86_64", &none);
	findings = tm_doctor_judge(e, &d, finding);
	check_remedies();
	judged("hypervisor", TM_SEVERITY_OK, "none", "");
	judged("governor", TM_SEVERITY_WARNING, "powersave", "echo performance");
	judged("turbo", TM_SEVERITY_NOTE, "on", "intel_pstate/no_turbo");
	judged("tsc", TM_SEVERITY_WARNING, "nonstop_tsc", "max_cstate");
	judged("isolated", TM_SEVERITY_NOTE, "none", "isolcpus=");
	judged("kernel", TM_SEVERITY_WARNING, "KASAN:", "");
	judged("swap", TM_SEVERITY_NOTE, "none", "zram");
	json_decref(e);

	unpack("arm64-hybrid");
	e = environment("6.6.0", "aarch64", NULL);
	findings = tm_doctor_judge(e, &d, finding);
	check_remedies();
	judged("tsc", TM_SEVERITY_OK, "CNTVCT", "");
	judged("flush", TM_SEVERITY_OK, "arm64-tlbi", "");
	judged("governor", TM_SEVERITY_WARNING, "schedutil (driver cpufreq-dt)", "");
	judged("kernel", TM_SEVERITY_NOTE, "cannot be read", "modprobe configs");
	json_decref(e);
}

static void test_doctor_facts(void **state)
{
	static const struct tm_cpuid kvm = {.signature = "KVMKVMKVM", .kvm_features = 0x220};
	struct tm_doctor_facts d = healthy();
	json_t *e;

	(void)state;
	unpack("kvm-amd");
	e = environment("6.18.0", "x86_64", &kvm);
	json_object_set_new((json_t *)at(e, "topology"), "usable_cpus", json_integer(2));
	findings = tm_doctor_judge(e, &d, finding);
	check_remedies();
	judged("load", TM_SEVERITY_OK, "0.27", "");
	judged("tsc", TM_SEVERITY_OK, "clock source tsc", "");
	judged("counter", TM_SEVERITY_OK, "1000.000 MHz, known to 1 ppm; two reads cost 20.0 ns",
	       "");
	judged("offset", TM_SEVERITY_OK, "CPU 1, -10.0 ns, known to +- 40.0 ns", "");
	judged("probe", TM_SEVERITY_OK, "bpf", "");
	judged("hugepages", TM_SEVERITY_OK, "4 free", "");
	judged("governor", TM_SEVERITY_OK, "no cpufreq", "");
	judged("kernel", TM_SEVERITY_OK, "no debugging", "");

	d.root = false;
	d.probe = TM_PROBE_NONE;
	snprintf(d.probe_why, sizeof(d.probe_why), "bpf: not permitted");
	d.worst.bound_ticks = 600;
	d.clock.resolution_ticks = 40;
	d.have_stress_ng = d.have_gnuplot = false;
	d.steal_share = -1;
	json_object_set_new((json_t *)at(e, "topology"), "usable_cpus", json_integer(1));
	json_object_set_new((json_t *)at(e, "kernel"), "clocksource", json_string("hpet"));
	findings = tm_doctor_judge(e, &d, finding);
	check_remedies();
	judged("cpus", TM_SEVERITY_CANNOT, "one usable CPU", "0-1");
	judged("tsc", TM_SEVERITY_WARNING, "hpet", "dmesg");
	judged("counter", TM_SEVERITY_NOTE, "the step is 40.0 ns", "");
	judged("offset", TM_SEVERITY_WARNING, "600.0 ns", "quiet");
	judged("probe", TM_SEVERITY_WARNING, "gaps; bpf: not permitted", "sudo");
	judged("privilege", TM_SEVERITY_NOTE, "not root", "perf_event_paranoid=-1");
	judged("steal", TM_SEVERITY_NOTE, "not told", "");
	judged("stress-ng", TM_SEVERITY_CANNOT, "no --background", "apt-get install stress-ng");
	judged("gnuplot", TM_SEVERITY_CANNOT, "no plots", "apt-get install gnuplot");

	d.offset_error = -ENODEV;
	d.clock_error = -EIO;
	findings = tm_doctor_judge(e, &d, finding);
	check_remedies();
	judged("counter", TM_SEVERITY_CANNOT, "Input/output error", "");
	judged("offset", TM_SEVERITY_NOTE, "one CPU", "");

	d.offset_error = 0;
	d.clock_error = -ENOTSUP;
	findings = tm_doctor_judge(e, &d, finding);
	check_remedies();
	judged("counter", TM_SEVERITY_CANNOT, "lacks RDTSCP", "-cpu max");
	judged("offset", TM_SEVERITY_CANNOT, "no counter", "see counter");
	json_decref(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_doctor_machines, teardown),
		cmocka_unit_test_teardown(test_doctor_facts, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
