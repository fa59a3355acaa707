/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Below us: which hypervisor, and by which means this kernel flushes the TLB
 * of another CPU.
 *
 * Sources: KVM, Documentation/virt/kvm/x86/cpuid.rst; Hyper-V, TLFS chapter 2;
 * Linux arch/x86/kernel/kvm.c (pv_tlb_flush_supported), arch/x86/hyperv/mmu.c,
 * arch/x86/xen/mmu_pv.c, arch/x86/mm/tlb.c; arch/arm64/include/asm/tlbflush.h.
 */
#ifndef TLBMARK_HYPERVISOR_H
#define TLBMARK_HYPERVISOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What CPUID tells user mode about the hypervisor; all zero without one. */
struct tm_cpuid {
	char signature[13];    /* leaf 0x40000000: "KVMKVMKVM", "Microsoft Hv", ... */
	uint32_t kvm_features; /* leaf 0x40000001 EAX, where the signature is KVM's */
	uint32_t kvm_hints;    /* the same, EDX */
	uint32_t hyperv_hints; /* leaf 0x40000004 EAX, where it is Hyper-V's */
};

/* Zeroes `c` and returns false where the architecture has no CPUID. */
bool tm_cpuid_read(struct tm_cpuid *c);

/* Short name for a signature ("kvm", "hyperv", "vmware", "xen", ...); NULL: none. */
const char *tm_hypervisor_name(const char *signature);

enum tm_flush_backend {
	TM_FLUSH_UNKNOWN,
	TM_FLUSH_NATIVE_IPI, /* an interrupt to every CPU in the mask */
	TM_FLUSH_KVM_PV,     /* the same, but a preempted vCPU is only marked */
	TM_FLUSH_HYPERV,     /* hypercall */
	TM_FLUSH_XEN_PV,     /* hypercall */
	TM_FLUSH_PVM,	     /* hypercall, software-switched guest */
	TM_FLUSH_INVLPGB,    /* AMD broadcast, where the mm has a global ASID; else IPI */
	TM_FLUSH_ARM_TLBI,   /* arm64: broadcast in hardware */
};
const char *tm_flush_backend_name(enum tm_flush_backend b);

/* What the decision is made from. Strings may be NULL: not known. */
struct tm_flush_facts {
	const char *machine;	      /* uname's */
	const struct tm_cpuid *cpuid; /* may be NULL */
	const char *cpu_flags;	      /* the "flags" line of /proc/cpuinfo */
	const char *kernel_log;
	const char *command_line;
	const char *config;	    /* the kernel's configuration as text */
	const char *xen_guest_type; /* /sys/hypervisor/guest_type where type is xen */
	unsigned int possible_cpus;
};

/* `how`: one line, what it was decided by. */
enum tm_flush_backend tm_flush_backend(const struct tm_flush_facts *f, char *how, size_t how_size);

/* Is `word` one of the blank-separated words of `list` (NULL: none)? */
bool tm_has_word(const char *list, const char *word);

#endif /* TLBMARK_HYPERVISOR_H */
