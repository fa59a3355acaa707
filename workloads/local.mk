# SPDX-License-Identifier: GPL-3.0-or-later
# The catalogue: one file a line, sorted. workloads/NAME.c holds the descriptor
# tm_workload_NAME; the registry is generated from this list.
TM_WORKLOADS = \
	workloads/clock.c \
	workloads/cow.c \
	workloads/exec_args.c \
	workloads/exit.c \
	workloads/fork.c \
	workloads/kernel_vmalloc.c \
	workloads/madvise_collapse.c \
	workloads/madvise_dontneed.c \
	workloads/madvise_free.c \
	workloads/madvise_pageout.c \
	workloads/many.c \
	workloads/membarrier.c \
	workloads/mprotect.c \
	workloads/mremap.c \
	workloads/munmap.c \
	workloads/null.c

noinst_LIBRARIES += libtlbmark-workloads.a
libtlbmark_workloads_a_SOURCES = \
	workloads/child.c \
	workloads/child.h \
	workloads/exec_helper.h \
	workloads/oracle.c \
	workloads/oracle.h \
	workloads/pages.c \
	workloads/pages.h \
	workloads/room.c \
	workloads/room.h \
	workloads/witness.c \
	workloads/witness.h \
	$(TM_WORKLOADS)
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
