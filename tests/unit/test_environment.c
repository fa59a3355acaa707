/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The environment of machines that are not here, from captured and made-up files. */
#include "tree.h"

#include <zlib.h>

#include "../../bench/cgroup.h"
#include "../../bench/sysfile.h"

/* The value at `path` is what this JSON text says. */
static void expect(const json_t *e, const char *path, const char *text)
{
	json_t *wanted = json_loads(text, JSON_DECODE_ANY, NULL);
	char *is = json_dumps(at(e, path), JSON_ENCODE_ANY | JSON_COMPACT);

	assert_non_null(wanted);
	if (!json_equal(at(e, path), wanted))
		fail_msg("%s is %s, not %s", path, is, text);
	free(is);
	json_decref(wanted);
}

static void test_kvm(void **state)
{
	static const struct tm_cpuid cpuid = {.signature = "KVMKVMKVM", .kvm_features = 0x01007efb};
	json_t *e;

	(void)state;
	unpack("kvm-amd");
	e = environment("6.18.0", "x86_64", &cpuid);
	expect(e, "kernel/release", "\"6.18.0\"");
	expect(e, "kernel/command_line", "\"console=ttyS0 quiet mitigations=auto,no_guest_host\"");
	expect(e, "kernel/preempt", "\"none\"");
	expect(e, "kernel/clocksource", "\"tsc\"");
	expect(e, "kernel/aslr", "2");
	expect(e, "kernel/config/source", "\"/proc/config.gz\"");
	expect(e, "kernel/config/options/PREEMPT_DYNAMIC", "\"y\"");
	expect(e, "kernel/config/options/NO_HZ_FULL", "\"n\"");
	expect(e, "kernel/config/options/HZ", "\"250\"");
	expect(e, "cpu/model_name", "\"AMD EPYC\"");
	expect(e, "cpu/family", "\"26\"");
	expect(e, "cpu/model", "\"2\"");
	expect(e, "cpu/microcode", "\"0x1000065\"");
	expect(e, "cpu/online", "\"0-1\"");
	expect(e, "cpu/nohz_full", "null");
	expect(e, "cpu/flags/pcid", "true");
	expect(e, "cpu/flags/pti", "false");
	expect(e, "cpu/frequency", "{\"turbo\": null}");
	expect(e, "topology/summary", "null");
	expect(e, "topology/nodes/0/cpus", "\"0-1\"");
	expect(e, "virtualization/hypervisor", "\"kvm\"");
	expect(e, "virtualization/container", "null");
	expect(e, "mitigations/meltdown", "\"Not affected\"");
	expect(e, "tlb/flush_backend", "\"kvm-pv\"");
	expect(e, "tlb/decided_by", "\"kernel log: KVM setup pv remote TLB flush\"");
	expect(e, "tlb/ceiling_pages", "null");
	expect(e, "memory/thp/enabled", "\"madvise\"");
	expect(e, "memory/thp/sizes/2048kB", "\"inherit\"");
	expect(e, "memory/hugepages/2048kB/free_hugepages", "4");
	expect(e, "memory/swap_total_kib", "0");
	expect(e, "process/tracer_pid", "0");
	expect(e, "process/seccomp", "0");
	expect(e, "load/average", "[0.27, 0.41, 0.20]");
	assert_true(json_real_value(at(e, "load/steal_share")) > 5e-5);
	assert_true(json_real_value(at(e, "load/steal_share")) < 6e-5);
	/* cgroup v1: the parent's limits are the tighter ones. */
	expect(e, "cgroup/path", "\"/batch/job7\"");
	expect(e, "cgroup/memory_limit_bytes", "1073741824");
	expect(e, "cgroup/cpu_limit", "1.5");
	expect(e, "cgroup/cpuset_cpus", "\"0-1\"");
	json_decref(e);
}

static void test_arm64(void **state)
{
	json_t *e;

	(void)state;
	unpack("arm64-hybrid");
	e = environment("6.6.0", "aarch64", NULL);
	expect(e, "cpu/implementer", "\"0x41\"");
	expect(e, "cpu/part", "\"0xd05\"");
	expect(e, "cpu/vendor", "null");
	expect(e, "cpu/kinds", "{\"armv8_cortex_a55\": \"0-3\", \"armv8_cortex_a76\": \"4-5\"}");
	expect(e, "cpu/frequency/scaling_governor", "[\"schedutil\"]");
	expect(e, "tlb/flush_backend", "\"arm64-tlbi\"");
	expect(e, "virtualization/hypervisor", "null");
	expect(e, "virtualization/device_tree_model", "\"Example Board v1\"");
	expect(e, "kernel/config", "null");
	expect(e, "memory/total_kib", "null");
	json_decref(e);
}

static void test_hyperv(void **state)
{
	static const struct tm_cpuid cpuid = {.signature = "Microsoft Hv", .hyperv_hints = 0x4};
	json_t *e;

	(void)state;
	unpack("hyperv");
	e = environment("6.1.0", "x86_64", &cpuid);
	expect(e, "virtualization/hypervisor", "\"hyperv\"");
	expect(e, "virtualization/dmi_product", "\"Virtual Machine\"");
	expect(e, "virtualization/container", "\"lxc\"");
	expect(e, "tlb/flush_backend", "\"hyperv\"");
	expect(e, "cpu/isolated", "\"6-7\"");
	expect(e, "memory/thp/enabled", "\"never\"");
	expect(e, "process/tracer_pid", "77");
	/* cgroup v2: no limit of its own, those above it hold. */
	expect(e, "cgroup/path", "\"/tenant/session\"");
	expect(e, "cgroup/memory_limit_bytes", "8589934592");
	expect(e, "cgroup/cpu_limit", "2.5");
	expect(e, "cgroup/cpuset_cpus", "\"0-5\"");
	json_decref(e);

	/* In a namespace of its own the directory cannot be seen: the mount's root is ours. */
	write_file("/proc/self/cgroup", "0::/../elsewhere\n");
	write_file("/sys/fs/cgroup/memory.max", "4096\n");
	e = tm_cgroup_limits(root);
	expect(e, "path", "\"/\"");
	expect(e, "memory_limit_bytes", "4096");
	json_decref(e);
}

static void test_hybrid(void **state)
{
	static const struct tm_cpuid none;
	json_t *e;

	(void)state;
	unpack("x86-hybrid");
	e = environment("6.1.0-debug", "x86_64", &none);
	expect(e, "kernel/config/source", "\"/boot/config\"");
	expect(e, "kernel/config/options",
	       "{\"HZ\": \"1000\", \"PREEMPT_DYNAMIC\": \"y\", \"KASAN\": \"y\", \"DEBUG_VM\": \"n\", \"NUMA\": \"y\"}");
	expect(e, "kernel/preempt", "\"voluntary\"");
	expect(e, "tlb/ceiling_pages", "33");
	expect(e, "tlb/flush_backend", "\"native-ipi\"");
	expect(e, "cpu/offline", "\"12-15\"");
	expect(e, "cpu/kinds", "{\"cpu_core\": \"0-11\", \"cpu_atom\": \"16-19\"}");
	expect(e, "cpu/frequency/turbo", "true");
	expect(e, "cpu/frequency/scaling_governor", "[\"performance\", \"powersave\"]");
	expect(e, "cpu/frequency/scaling_driver", "[\"intel_pstate\"]");
	expect(e, "cpu/flags/pti", "true");
	expect(e, "cpu/smt", "\"on\"");
	expect(e, "topology/nodes/1", "{\"cpus\": \"\", \"memory_kib\": 4000000}");
	expect(e, "virtualization/hypervisor", "null");
	expect(e, "virtualization/cpuid_signature", "null");
	json_decref(e);
}

/* Nothing at all can be read: every member is there all the same. */
static void test_empty(void **state)
{
	json_t *e;

	(void)state;
	make_root();
	e = environment("1.0", "x86_64", NULL);
	assert_int_equal(json_object_size(e), 11);
	expect(e, "kernel/command_line", "null");
	expect(e, "kernel/config", "null");
	expect(e, "cpu/vendor", "null");
	expect(e, "topology/nodes", "{}");
	expect(e, "mitigations", "{}");
	expect(e, "memory/total_kib", "null");
	expect(e, "cgroup",
	       "{\"path\": null, \"memory_limit_bytes\": null, \"cpu_limit\": null, "
	       "\"cpuset_cpus\": null, \"cpuset_mems\": null}");
	expect(e, "load", "{\"average\": null, \"steal_share\": null}");
	json_decref(e);
}

static void test_compressed_config(void **state)
{
	static const char first[] = "CONFIG_HZ=250\n", other[] = "CONFIG_HZ=300\n";
	char path[PATH_MAX], crc[16], longer[200000];
	json_t *e, *f;
	gzFile z;

	(void)state;
	make_root();
	fclose(create("/proc/config.gz"));
	snprintf(path, sizeof(path), "%s/proc/config.gz", root);
	/* Well packed: much longer than eight times its compressed size. */
	memset(longer, '#', sizeof(longer));
	memcpy(longer + sizeof(longer) - sizeof(first), "\nCONFIG_HZ=250", sizeof(first));
	z = gzopen(path, "w");
	assert_int_equal(gzwrite(z, longer, sizeof(longer) - 1), sizeof(longer) - 1);
	gzclose(z);
	e = environment("1.0", "x86_64", NULL);
	expect(e, "kernel/config/options/HZ", "\"250\"");
	snprintf(crc, sizeof(crc), "%08lx", crc32(0, (const Bytef *)longer, sizeof(longer) - 1));
	assert_string_equal(json_string_value(at(e, "kernel/config/crc32")), crc);
	assert_int_equal(json_integer_value(at(e, "kernel/config/bytes")), sizeof(longer) - 1);

	write_file("/proc/config.gz", other);
	f = environment("1.0", "x86_64", NULL);
	assert_false(json_equal(at(e, "kernel/config/crc32"), at(f, "kernel/config/crc32")));
	json_decref(f);
	json_decref(e);

	/* Cut short, it is not believed. */
	write_file("/proc/config.gz", "\x1f\x8b\x08");
	e = environment("1.0", "x86_64", NULL);
	expect(e, "kernel/config", "null");
	json_decref(e);
}

struct backend_case {
	struct tm_flush_facts facts;
	enum tm_flush_backend backend;
	const char *how; /* part of it */
};

static void test_backends(void **state)
{
	static const struct tm_cpuid none, kvm = {.signature = "KVMKVMKVM", .kvm_features = 0x220};
	static const struct tm_cpuid no_steal = {.signature = "KVMKVMKVM", .kvm_features = 0x200};
	static const struct tm_cpuid no_flush = {.signature = "KVMKVMKVM", .kvm_features = 0x20};
	static const struct tm_cpuid realtime = {
		.signature = "KVMKVMKVM", .kvm_features = 0x220, .kvm_hints = 1};
	static const struct tm_cpuid hyperv = {.signature = "Microsoft Hv", .hyperv_hints = 4};
	static const struct tm_cpuid hyperv_no = {.signature = "Microsoft Hv", .hyperv_hints = 2};
	static const struct tm_cpuid vmware = {.signature = "VMwareVMware"};
	static const char guest[] = "CONFIG_HZ=250\nCONFIG_KVM_GUEST=y\n";
#define X86 .machine = "x86_64", .possible_cpus = 8
	const struct backend_case cases[] = {
		{{X86, .cpuid = &none}, TM_FLUSH_NATIVE_IPI, "no hypervisor"},
		{{X86, .cpuid = &kvm, .config = guest}, TM_FLUSH_KVM_PV, "bits 5 and 9"},
		{{X86, .cpuid = &kvm}, TM_FLUSH_KVM_PV, "bits 5 and 9"},
		{{X86, .cpuid = &kvm, .config = "CONFIG_KVM_GUEST_NOT=y\n"},
		 TM_FLUSH_NATIVE_IPI,
		 "CONFIG_KVM_GUEST"},
		{{X86, .cpuid = &kvm, .cpu_flags = "fpu monitor tsc"},
		 TM_FLUSH_NATIVE_IPI,
		 "MWAIT"},
		{{X86, .cpuid = &kvm, .command_line = "quiet nopv"}, TM_FLUSH_NATIVE_IPI, "nopv"},
		{{X86, .cpuid = &kvm, .command_line = "nopvspin"}, TM_FLUSH_KVM_PV, "bits"},
		{{.machine = "x86_64", .possible_cpus = 1, .cpuid = &kvm},
		 TM_FLUSH_NATIVE_IPI,
		 "one CPU"},
		{{X86, .cpuid = &no_steal}, TM_FLUSH_NATIVE_IPI, "bit 5"},
		{{X86, .cpuid = &no_flush}, TM_FLUSH_NATIVE_IPI, "bit 9"},
		{{X86, .cpuid = &realtime}, TM_FLUSH_NATIVE_IPI, "EDX bit 0"},
		{{X86, .cpuid = &no_flush, .kernel_log = "x;KVM setup pv remote TLB flush\n"},
		 TM_FLUSH_KVM_PV,
		 "kernel log"},
		{{X86, .cpuid = &hyperv}, TM_FLUSH_HYPERV, "0x40000004"},
		{{X86, .cpuid = &hyperv, .config = "CONFIG_HYPERV=m\n"},
		 TM_FLUSH_HYPERV,
		 "0x40000004"},
		{{X86, .cpuid = &hyperv, .config = guest},
		 TM_FLUSH_NATIVE_IPI,
		 "no flush of its own"},
		{{X86, .cpuid = &hyperv_no}, TM_FLUSH_NATIVE_IPI, "bit 2 is clear"},
		{{X86, .cpuid = &vmware}, TM_FLUSH_NATIVE_IPI, "no flush of its own"},
		{{X86, .cpuid = &none, .xen_guest_type = "PV"}, TM_FLUSH_XEN_PV, "guest_type"},
		{{X86, .cpuid = &none, .xen_guest_type = "PVH"}, TM_FLUSH_NATIVE_IPI, ""},
		{{X86, .cpuid = &none, .cpu_flags = "fpu invlpgb"}, TM_FLUSH_INVLPGB, "invlpgb"},
		{{X86, .cpuid = &none, .cpu_flags = "invlpgb", .config = guest},
		 TM_FLUSH_NATIVE_IPI,
		 ""},
		{{X86, .cpuid = &kvm, .kernel_log = "pvm-pv: not detected, 0/49 sites patched"},
		 TM_FLUSH_KVM_PV,
		 ""},
		{{X86, .cpuid = &kvm, .kernel_log = "pvm-pv: detected, 49/49 sites patched"},
		 TM_FLUSH_PVM,
		 "pvm"},
		{{.machine = "aarch64"}, TM_FLUSH_ARM_TLBI, "TLBI"},
		{{.machine = "riscv64"}, TM_FLUSH_UNKNOWN, "unknown"},
	};
	char how[192];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum tm_flush_backend b = tm_flush_backend(&cases[i].facts, how, sizeof(how));

		if (b != cases[i].backend || !strstr(how, cases[i].how))
			fail_msg("case %zu: %s (%s)", i, tm_flush_backend_name(b), how);
	}
}

static void test_items(void **state)
{
	static const struct {
		const char *list, *wanted;
	} cases[] = {
		{NULL, "null"},
		{"quiet xtlbmark.lab=a:1", "null"},
		{"tlbmark.lab=", "{}"},
		{"quiet tlbmark.lab=kernel:6.12.3-1~deb12u1,odd,x: b:2\n",
		 "{\"kernel\": \"6.12.3-1~deb12u1\", \"x\": \"\"}"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *items = tm_json_items(cases[i].list, "tlbmark.lab=");
		char *text = json_dumps(items, JSON_ENCODE_ANY | JSON_SORT_KEYS);

		assert_string_equal(text, cases[i].wanted);
		free(text);
		json_decref(items);
	}
}

static void test_text_helpers(void **state)
{
	char buf[32];

	(void)state;
	assert_int_equal(tm_sysfile_count("0-3,8\n"), 5);
	assert_int_equal(tm_sysfile_count(""), 0);
	assert_int_equal(tm_sysfile_count("7"), 1);
	assert_true(tm_has_word("a pti b", "pti"));
	assert_true(tm_has_word("apti pti", "pti"));
	assert_false(tm_has_word("ptix apti", "pti"));
	assert_false(tm_has_word(NULL, "pti"));
	strcpy(buf, "a [b c] d");
	tm_sysfile_chosen(buf);
	assert_string_equal(buf, "b c");
	assert_true(tm_sysfile_key("model name : x\nmodel\t: 3 \n", "model", buf, sizeof(buf)));
	assert_string_equal(buf, "3");
	assert_false(tm_sysfile_key("xmodel: 3", "model", buf, sizeof(buf)));
	make_root();
	write_file("/bad", "caf\xe9\n");
	json_t *j = tm_sysfile_string(root, "/bad");
	assert_string_equal(json_string_value(j), "caf?");
	json_decref(j);
}

/* This machine: what cannot be otherwise. */
static void test_live(void **state)
{
	struct tm_topo *topo;
	char why[256];
	json_t *e;

	(void)state;
	assert_int_equal(tm_topo_load(NULL, &topo, why, sizeof(why)), 0);
	e = tm_environment(topo);
	assert_int_equal(json_integer_value(at(e, "topology/usable_cpus")), tm_topo_cpus(topo));
	assert_true(json_is_string(at(e, "kernel/release")));
	assert_true(json_integer_value(at(e, "memory/total_kib")) > 0);
	assert_string_not_equal(json_string_value(at(e, "tlb/flush_backend")), "unknown");
	json_decref(e);
	tm_topo_free(topo);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_kvm, teardown),
		cmocka_unit_test_teardown(test_arm64, teardown),
		cmocka_unit_test_teardown(test_hyperv, teardown),
		cmocka_unit_test_teardown(test_hybrid, teardown),
		cmocka_unit_test_teardown(test_empty, teardown),
		cmocka_unit_test_teardown(test_compressed_config, teardown),
		cmocka_unit_test(test_backends),
		cmocka_unit_test(test_items),
		cmocka_unit_test_teardown(test_text_helpers, teardown),
		cmocka_unit_test(test_live),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
