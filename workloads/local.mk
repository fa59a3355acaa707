# SPDX-License-Identifier: GPL-3.0-or-later
# The catalogue: one file a line, sorted. workloads/NAME.c holds the descriptor
# tm_workload_NAME; the registry is generated from this list.
TM_WORKLOADS = \
	workloads/alias_lifetime.c \
	workloads/brk.c \
	workloads/clear_refs.c \
	workloads/clock.c \
	workloads/compact.c \
	workloads/cow.c \
	workloads/dma.c \
	workloads/dma_window.c \
	workloads/exec_args.c \
	workloads/exit.c \
	workloads/fork.c \
	workloads/gup_race.c \
	workloads/hugetlb_unshare.c \
	workloads/ipi.c \
	workloads/isolated.c \
	workloads/kernel_vmalloc.c \
	workloads/ksm.c \
	workloads/madvise_cold.c \
	workloads/madvise_collapse.c \
	workloads/madvise_dontneed.c \
	workloads/madvise_free.c \
	workloads/madvise_pageout.c \
	workloads/madvise_remove.c \
	workloads/many.c \
	workloads/membarrier.c \
	workloads/migrate.c \
	workloads/mprotect.c \
	workloads/mremap.c \
	workloads/munmap.c \
	workloads/notifier.c \
	workloads/null.c \
	workloads/numa_hint.c \
	workloads/pagemap_scan.c \
	workloads/pkey_mprotect.c \
	workloads/process_madvise.c \
	workloads/punch_hole.c \
	workloads/reclaim.c \
	workloads/reclaim_race.c \
	workloads/set_memory.c \
	workloads/shmdt.c \
	workloads/storm.c \
	workloads/thp_split.c \
	workloads/truncate.c \
	workloads/uffd_move.c \
	workloads/uffd_wp.c \
	workloads/uprobe.c \
	workloads/vm_unmap_aliases.c \
	workloads/vmap.c \
	workloads/writeback.c \
	workloads/zap_race.c

noinst_LIBRARIES += libtlbmark-workloads.a
libtlbmark_workloads_a_SOURCES = \
	$(TM_WORKLOADS) \
	workloads/aging.c \
	workloads/aging.h \
	workloads/child.c \
	workloads/child.h \
	workloads/exec_helper.h \
	workloads/filled.c \
	workloads/filled.h \
	workloads/iommu.c \
	workloads/iommu.h \
	workloads/iommu_counter.c \
	workloads/kmod.c \
	workloads/kmod.h \
	workloads/ksmd.c \
	workloads/ksmd.h \
	workloads/memory_group.c \
	workloads/memory_group.h \
	workloads/nodes.c \
	workloads/nodes.h \
	workloads/notified.c \
	workloads/notified.h \
	workloads/oracle.c \
	workloads/oracle.h \
	workloads/pages.c \
	workloads/pages.h \
	workloads/reclaimed.c \
	workloads/reclaimed.h \
	workloads/rival.c \
	workloads/rival.h \
	workloads/room.c \
	workloads/room.h \
	workloads/uffd.c \
	workloads/uffd.h \
	workloads/updates.c \
	workloads/updates.h \
	workloads/vmap_area.c \
	workloads/vmap_area.h \
	workloads/witness.c \
	workloads/witness.h \
	workloads/writes.c \
	workloads/writes.h
nodist_libtlbmark_workloads_a_SOURCES = workloads/registry.c

workloads/registry.c: $(srcdir)/workloads/local.mk
	$(AM_V_GEN)$(MKDIR_P) workloads && { \
	names=`for file in $(TM_WORKLOADS); do basename $$file .c; done` && \
	echo '/* SPDX-License-Identifier: GPL-3.0-or-later */' && \
	echo '/* Generated from workloads/local.mk. */' && \
	echo '#include <tlbmark/workload.h>' && \
	for name in $$names; do echo "extern const struct tm_workload tm_workload_$$name;"; done && \
	echo 'const struct tm_workload *const tm_workloads[] = {' && \
	for name in $$names; do echo "	&tm_workload_$$name,"; done && \
	echo '	NULL,' && echo '};'; } >$@.tmp && mv $@.tmp $@
CLEANFILES += workloads/registry.c

# Its first instruction is what exec_args times up to, so no C library, no
# dynamic linker, and nothing that a sanitizer would add.
pkglibexec_PROGRAMS += tlbmark-exec-helper
tlbmark_exec_helper_SOURCES = workloads/exec_helper.c workloads/exec_helper.h
tlbmark_exec_helper_CFLAGS = $(TM_CFLAGS) -ffreestanding -fno-pie -fno-stack-protector
tlbmark_exec_helper_LDFLAGS = -static -nostdlib -no-pie
tlbmark_exec_helper_LDADD =

# The kernel modules: `make modules`, and `make modules_install`, for the
# running kernel or for the one whose build folder is KDIR. Built in a copy, so
# that the source may be read-only and serve several kernels.
TM_KMOD = \
	workloads/kmod/Kbuild \
	workloads/kmod/Makefile \
	workloads/kmod/device.h \
	workloads/kmod/dma.c \
	workloads/kmod/dma.h \
	workloads/kmod/dma_edu.c \
	workloads/kmod/ipi.c \
	workloads/kmod/notifier.c \
	workloads/kmod/notifier.h \
	workloads/kmod/notifier_tlb.c \
	workloads/kmod/vmap.c \
	workloads/kmod/vmap.h \
	workloads/kmod/vmap_alias.c \
	workloads/kmod/vmap_attribute.c \
	workloads/kmod/vmap_permission.c \
	workloads/kmod/vmap_shootdown.c
TM_KMOD_UAPI = \
	include/tlbmark/uapi.h \
	include/tlbmark/uapi_dma.h \
	include/tlbmark/uapi_ipi.h \
	include/tlbmark/uapi_notifier.h \
	include/tlbmark/uapi_vmap.h

.PHONY: modules modules_install
modules modules_install:
	$(AM_V_at)$(MKDIR_P) modules/workloads/kmod modules/include/tlbmark
	$(AM_V_at)for file in $(TM_KMOD) $(TM_KMOD_UAPI); do \
		cmp -s $(srcdir)/$$file modules/$$file || cp $(srcdir)/$$file modules/$$file || exit 1; \
	done
	+$(MAKE) -C modules/workloads/kmod TM_VERSION=$(PACKAGE_VERSION) $@
clean-local:
	rm -rf modules

# Where DKMS looks for them when the prefix is /usr: dkms add tlbmark/VERSION
kmodsrcdir = $(prefix)/src/tlbmark-$(PACKAGE_VERSION)
kmodcodedir = $(kmodsrcdir)/workloads/kmod
kmoduapidir = $(kmodsrcdir)/include/tlbmark
nodist_kmodsrc_DATA = workloads/dkms.conf
dist_kmodcode_DATA = $(TM_KMOD)
dist_kmoduapi_DATA = $(TM_KMOD_UAPI)

workloads/dkms.conf: $(srcdir)/workloads/kmod/dkms.conf.in $(srcdir)/workloads/kmod/Kbuild
	$(AM_V_GEN)$(MKDIR_P) workloads && { \
	sed 's/%VERSION%/$(PACKAGE_VERSION)/' $(srcdir)/workloads/kmod/dkms.conf.in && \
	sed -n 's/^obj-m [+:]*= *\(tlbmark_[a-z]*\)\.o$$/\1/p' $(srcdir)/workloads/kmod/Kbuild | \
	awk '{ i = NR - 1; \
		printf "BUILT_MODULE_NAME[%d]=\"%s\"\n", i, $$1; \
		printf "BUILT_MODULE_LOCATION[%d]=\"workloads/kmod\"\n", i; \
		printf "DEST_MODULE_LOCATION[%d]=\"/updates/dkms\"\n", i }'; } >$@.tmp && mv $@.tmp $@
EXTRA_DIST += workloads/kmod/dkms.conf.in
CLEANFILES += workloads/dkms.conf
