/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The machine as it is now: everything that is needed to compare a run with
 * another one a year later, as one JSON object. What could not be read is
 * null, never left out:
 *
 *   suite           version, compiler, libc
 *   kernel          release, version, machine, command line, configuration
 *                   (CRC-32 of its text, and the options that matter here),
 *                   preemption mode, clock source, ASLR, NUMA balancing, what
 *                   perf and BPF allow, lockdown, taint, the suite's modules
 *                   that are loaded and their versions
 *   cpu             identity, microcode, CPU lists, flags, SMT, core types,
 *                   governor, driver, turbo
 *   topology        hwloc's line, usable CPUs, memory nodes
 *   virtualization  hypervisor and how it names itself, DMI, container; in a
 *                   guest of `tlbmark lab` what it is: kernel package, modules,
 *                   QEMU version, deterministic or not
 *   mitigations     the kernel's own words, by vulnerability
 *   tlb             flush backend and what it was decided by, range ceiling
 *                   in pages (null without privilege)
 *   memory          sizes in KiB, huge pages, THP, KSM, swap
 *   cgroup          path and the limits that apply, see cgroup.h
 *   process         tracer, seccomp, capabilities, allowed CPUs and nodes
 *   load            load averages, share of time stolen since boot (0 .. 1)
 */
#ifndef TLBMARK_ENVIRONMENT_H
#define TLBMARK_ENVIRONMENT_H

#include <jansson.h>

#include "hypervisor.h"
#include "placement.h"

/*
 * This machine. `topo` adds the topology's summary; NULL leaves it null.
 * Takes a few milliseconds, changes nothing, needs no privilege. The caller
 * owns the object (json_decref()); NULL only when out of memory.
 */
json_t *tm_environment(const struct tm_topo *topo);

/*
 * The same from captured files: `root` stands before /proc, /sys, /dev and
 * /boot, `release` and `machine` are what uname(2) would say, `cpuid` what the
 * processor says to user mode (NULL: none, as on aarch64).
 */
struct tm_environment_source {
	const char *root; /* "" for this machine */
	const char *release, *version, *machine;
	const struct tm_cpuid *cpuid;
	const struct tm_topo *topo; /* may be NULL */
};
json_t *tm_environment_from(const struct tm_environment_source *s);

#endif /* TLBMARK_ENVIRONMENT_H */
