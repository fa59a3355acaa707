# SPDX-License-Identifier: GPL-3.0-or-later
# The measurement core, and the command line on top of it.

noinst_LIBRARIES += libtlbmark-core.a libtlbmark-cli.a
libtlbmark_core_a_SOURCES = \
	bench/background.c \
	bench/background.h \
	bench/catalogue.c \
	bench/cgroup.c \
	bench/cgroup.h \
	bench/clock.c \
	bench/clock.h \
	bench/deterministic.c \
	bench/deterministic.h \
	bench/engine.c \
	bench/engine.h \
	bench/environment.c \
	bench/environment.h \
	bench/fold.c \
	bench/fold.h \
	bench/guard.c \
	bench/hist.c \
	bench/hist.h \
	bench/hist_encode.c \
	bench/hypervisor.c \
	bench/hypervisor.h \
	bench/interruptions.c \
	bench/interruptions.h \
	bench/journal.c \
	bench/journal.h \
	bench/list.c \
	bench/placement.c \
	bench/placement.h \
	bench/plan.c \
	bench/plan.h \
	bench/plan_internal.h \
	bench/plan_lists.c \
	bench/probe.c \
	bench/probe.h \
	bench/probe_internal.h \
	bench/probe_perf.c \
	bench/probe_proc.c \
	bench/random.h \
	bench/record.c \
	bench/record.h \
	bench/record_internal.h \
	bench/record_kernel.c \
	bench/missing.c \
	bench/responder.c \
	bench/responder.h \
	bench/run.c \
	bench/run.h \
	bench/supervisor.c \
	bench/supervisor.h \
	bench/sysfile.c \
	bench/sysfile.h \
	bench/sysstate.c \
	bench/sysstate.h \
	bench/tlb_bpf.h \
	bench/topology.c \
	bench/topology.h \
	bench/trace.c \
	bench/trace.h \
	bench/verify.c \
	bench/workload_api.c \
	include/tlbmark/arch.h \
	include/tlbmark/uapi.h \
	include/tlbmark/uapi_dma.h \
	include/tlbmark/uapi_ipi.h \
	include/tlbmark/uapi_notifier.h \
	include/tlbmark/uapi_vmap.h \
	include/tlbmark/workload.h

libtlbmark_cli_a_SOURCES = \
	bench/cli.c \
	bench/cli.h \
	bench/cli_lab.c \
	bench/cli_list.c \
	bench/cli_plot.c \
	bench/cli_run.c \
	bench/cli_stress.c \
	bench/completion.c \
	bench/doctor.c \
	bench/doctor.h \
	bench/doctor_checks.c \
	bench/man.c \
	bench/perf_hold.c \
	bench/perf_hold.h \
	bench/progress.c \
	bench/progress.h \
	bench/session.c \
	bench/session.h \
	bench/signals.c \
	bench/signals.h \
	bench/stress.c \
	bench/stress.h \
	bench/stress_cpus.c \
	bench/stress_draw.c \
	bench/stress_report.c \
	bench/stress_turns.c \
	bench/stress_turns.h \
	plots/data.c \
	plots/figure.c \
	plots/figure.h \
	plots/figure_axis.c \
	plots/figure_stale.c \
	plots/plot.c \
	plots/plot.h \
	results/show.c \
	results/show_record.c \
	results/show_record.h

bin_PROGRAMS += tlbmark
tlbmark_SOURCES = bench/main.c
tlbmark_LDADD = $(TM_ARCHIVES) $(TM_LIBS)

# The only C++. What links it is named as its EXTRA source, so that automake
# takes the C++ linker.
if HAVE_GBENCH
noinst_LIBRARIES += libtlbmark-gbench.a
libtlbmark_gbench_a_SOURCES = bench/gbench.cc bench/gbench.h
bin_PROGRAMS += tlbmark-gbench
tlbmark_gbench_SOURCES = bench/gbench_main.c
nodist_EXTRA_tlbmark_gbench_SOURCES = bench/gbench.cc
tlbmark_gbench_LDADD = libtlbmark-gbench.a $(TM_ARCHIVES) $(TM_LIBS) $(BENCHMARK_LIBS)
endif

if HAVE_BPF
libtlbmark_core_a_SOURCES += bench/probe_bpf.c
else
libtlbmark_core_a_SOURCES += bench/probe_nobpf.c
endif

# The BPF programs become a header with the object in it. "gen object" drops
# what only the linker needs; without it the header is ten times as large.
EXTRA_DIST += bench/tlb.bpf.c
if HAVE_BPF
TM_SKELETON = bench/tlb.skel.h
bench/tlb.bpf.o: bench/tlb.bpf.c bench/tlb_bpf.h
	$(AM_V_GEN)$(MKDIR_P) bench && \
	$(CLANG) $(TM_BPF_FLAGS) -I$(srcdir)/include $(LIBBPF_CFLAGS) -c $(srcdir)/bench/tlb.bpf.c -o $@
bench/tlb.linked.o: bench/tlb.bpf.o
	$(AM_V_GEN)$(BPFTOOL) gen object $@ bench/tlb.bpf.o
$(TM_SKELETON): bench/tlb.linked.o
	$(AM_V_GEN){ echo '/* NOLINTBEGIN: not ours */' && \
	$(BPFTOOL) gen skeleton bench/tlb.linked.o name tlb_bpf && \
	echo '/* NOLINTEND */'; } >$@.tmp && mv $@.tmp $@
bench/probe_bpf.$(OBJEXT): $(TM_SKELETON)
CLEANFILES += bench/tlb.bpf.o bench/tlb.linked.o $(TM_SKELETON)
endif
