/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "hypervisor.h"

#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

/* Bits of the leaves named in hypervisor.h. */
enum {
	KVM_FEATURE_STEAL_TIME = 1u << 5,
	KVM_FEATURE_PV_TLB_FLUSH = 1u << 9,
	KVM_HINT_REALTIME = 1u << 0,
	HYPERV_REMOTE_FLUSH_RECOMMENDED = 1u << 2,
};

#define KVM_SIGNATURE "KVMKVMKVM"
#define HYPERV_SIGNATURE "Microsoft Hv"

bool tm_cpuid_read(struct tm_cpuid *c)
{
	memset(c, 0, sizeof(*c));
#if defined(__x86_64__)
	uint32_t eax, ebx, ecx, edx, word[3];

	__cpuid(1, eax, ebx, ecx, edx);
	if (!(ecx & 1u << 31)) /* "a hypervisor is present": else the leaf is undefined */
		return true;
	__cpuid(0x40000000, eax, word[0], word[1], word[2]);
	memcpy(c->signature, word, sizeof(word));
	if (!strcmp(c->signature, KVM_SIGNATURE)) {
		__cpuid(0x40000001, eax, ebx, ecx, edx);
		c->kvm_features = eax;
		c->kvm_hints = edx;
	} else if (!strcmp(c->signature, HYPERV_SIGNATURE)) {
		__cpuid(0x40000004, eax, ebx, ecx, edx);
		c->hyperv_hints = eax;
	}
	return true;
#else
	return false;
#endif
}

const char *tm_hypervisor_name(const char *signature)
{
	static const struct {
		const char *signature, *name;
	} known[] = {
		{KVM_SIGNATURE, "kvm"},		{HYPERV_SIGNATURE, "hyperv"},
		{"VMwareVMware", "vmware"},	{"XenVMMXenVMM", "xen"},
		{"TCGTCGTCGTCG", "qemu-tcg"},	{"bhyve bhyve ", "bhyve"},
		{"VBoxVBoxVBox", "virtualbox"}, {"ACRNACRNACRN", "acrn"},
		{"prl hyperv  ", "parallels"},	{" lrpepyh  vr", "parallels"},
	};
	size_t i;

	if (!signature || !signature[0])
		return NULL;
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(signature, known[i].signature))
			return known[i].name;
	return "unknown";
}

bool tm_has_word(const char *list, const char *word)
{
	size_t length = strlen(word);
	const char *at;

	for (at = list; at && (at = strstr(at, word)); at += length) {
		bool begins = at == list || strchr(" \t\n", at[-1]);

		if (begins && strchr(" \t\n", at[length]))
			return true;
	}
	return false;
}

const char *tm_flush_backend_name(enum tm_flush_backend b)
{
	static const char *const names[] = {
		[TM_FLUSH_UNKNOWN] = "unknown", [TM_FLUSH_NATIVE_IPI] = "native-ipi",
		[TM_FLUSH_KVM_PV] = "kvm-pv",	[TM_FLUSH_HYPERV] = "hyperv",
		[TM_FLUSH_XEN_PV] = "xen-pv",	[TM_FLUSH_PVM] = "pvm",
		[TM_FLUSH_INVLPGB] = "invlpgb", [TM_FLUSH_ARM_TLBI] = "arm64-tlbi",
	};

	return names[b];
}

/* Does the configuration have this option built in? Without a configuration: who knows, so yes. */
static bool may_have(const struct tm_flush_facts *f, const char *line)
{
	return !f->config || tm_has_word(f->config, line);
}

/* "pvm-pv: ..., N/M sites patched" in the log of a kernel that can be a PVM guest. */
static bool log_says_pvm(const char *log)
{
	const char *at = log ? strstr(log, "pvm-pv:") : NULL;
	unsigned int patched, sites;

	at = at ? strchr(at, ',') : NULL;
	return at && sscanf(at, ", %u/%u sites patched", &patched, &sites) == 2 && patched > 0;
}

/* The conditions of pv_tlb_flush_supported(), as far as user mode can see them. */
static bool kvm_flushes(const struct tm_flush_facts *f, const struct tm_cpuid *c, char *how,
			size_t how_size)
{
	const char *no = NULL;

	if (!(c->kvm_features & KVM_FEATURE_PV_TLB_FLUSH))
		no = "cpuid 0x40000001 EAX bit 9 (PV TLB flush) is clear";
	else if (!(c->kvm_features & KVM_FEATURE_STEAL_TIME))
		no = "cpuid 0x40000001 EAX bit 5 (steal time) is clear";
	else if (c->kvm_hints & KVM_HINT_REALTIME)
		no = "cpuid 0x40000001 EDX bit 0 (dedicated CPUs) is set";
	else if (f->possible_cpus == 1)
		no = "only one CPU is possible";
	else if (tm_has_word(f->cpu_flags, "monitor"))
		no = "the guest may use MWAIT";
	else if (!may_have(f, "CONFIG_KVM_GUEST=y"))
		no = "the kernel is built without CONFIG_KVM_GUEST";
	snprintf(how, how_size, "KVM guest: %s",
		 no ? no : "cpuid 0x40000001 EAX bits 5 and 9 set, EDX bit 0 clear");
	return !no;
}

static enum tm_flush_backend decide(enum tm_flush_backend b, char *how, size_t how_size,
				    const char *reason)
{
	snprintf(how, how_size, "%s", reason);
	return b;
}

enum tm_flush_backend tm_flush_backend(const struct tm_flush_facts *f, char *how, size_t how_size)
{
	static const struct tm_cpuid none;
	const struct tm_cpuid *cpuid = f->cpuid ? f->cpuid : &none;
	const char *signature = cpuid->signature;

	if (f->machine && !strcmp(f->machine, "aarch64"))
		return decide(TM_FLUSH_ARM_TLBI, how, how_size, "the architecture broadcasts TLBI");
	if (!f->machine || strcmp(f->machine, "x86_64"))
		return decide(TM_FLUSH_UNKNOWN, how, how_size, "unknown architecture");
	if (log_says_pvm(f->kernel_log))
		return decide(TM_FLUSH_PVM, how, how_size, "kernel log: pvm-pv sites patched");
	if (f->xen_guest_type && !strcmp(f->xen_guest_type, "PV"))
		return decide(TM_FLUSH_XEN_PV, how, how_size, "/sys/hypervisor/guest_type is PV");
	if (tm_has_word(f->cpu_flags, "invlpgb") && may_have(f, "CONFIG_BROADCAST_TLB_FLUSH=y") &&
	    !tm_has_word(f->command_line, "noinvlpgb"))
		return decide(TM_FLUSH_INVLPGB, how, how_size,
			      "cpuinfo flag invlpgb; IPIs until a process has a global ASID");
	if (tm_has_word(f->command_line, "nopv"))
		return decide(TM_FLUSH_NATIVE_IPI, how, how_size,
			      "nopv on the kernel command line");
	if (f->kernel_log && strstr(f->kernel_log, "KVM setup pv remote TLB flush"))
		return decide(TM_FLUSH_KVM_PV, how, how_size,
			      "kernel log: KVM setup pv remote TLB flush");
	if (f->kernel_log && strstr(f->kernel_log, "Using hypercall for remote TLB flush"))
		return decide(TM_FLUSH_HYPERV, how, how_size,
			      "kernel log: Using hypercall for remote TLB flush");
	if (!strcmp(signature, KVM_SIGNATURE))
		return kvm_flushes(f, cpuid, how, how_size) ? TM_FLUSH_KVM_PV : TM_FLUSH_NATIVE_IPI;
	if (!strcmp(signature, HYPERV_SIGNATURE) &&
	    (may_have(f, "CONFIG_HYPERV=y") || may_have(f, "CONFIG_HYPERV=m"))) {
		if (cpuid->hyperv_hints & HYPERV_REMOTE_FLUSH_RECOMMENDED)
			return decide(
				TM_FLUSH_HYPERV, how, how_size,
				"cpuid 0x40000004 EAX bit 2 (remote flush by hypercall) is set");
		return decide(TM_FLUSH_NATIVE_IPI, how, how_size,
			      "Hyper-V guest: cpuid 0x40000004 EAX bit 2 is clear");
	}
	if (signature[0])
		return decide(TM_FLUSH_NATIVE_IPI, how, how_size,
			      "this hypervisor has no flush of its own for Linux guests");
	return decide(TM_FLUSH_NATIVE_IPI, how, how_size,
		      tm_has_word(f->cpu_flags, "hypervisor")
			      ? "a hypervisor that does not name itself to user mode"
			      : "no hypervisor, no invlpgb");
}
