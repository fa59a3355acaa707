# SPDX-License-Identifier: GPL-3.0-or-later
# Unit tests are cmocka programs tests/unit/test_NAME.c; system tests are sh
# scripts that print TAP. Both through automake's TAP driver.
TM_TAP = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
LOG_DRIVER = $(TM_TAP)
# Ends what hangs, together with what it left running in its process group. The
# longest builds a kernel first.
TM_PATIENCE = timeout -k 10 1500
LOG_COMPILER = $(TM_PATIENCE) $(SHELL) $(srcdir)/tests/run-unit
TEST_EXTENSIONS = .sh
SH_LOG_DRIVER = $(TM_TAP)
SH_LOG_COMPILER = $(TM_PATIENCE) $(SHELL)
AM_TESTS_ENVIRONMENT = srcdir='$(srcdir)'; LC_ALL=C; TM_LINT='$(TM_LINT)'; \
	export srcdir LC_ALL TM_LINT;
TM_LINT = -Iinclude -I. -isystem $(abs_builddir)/bench $(TM_LINT_BPF) $(HWLOC_CFLAGS) $(NUMA_CFLAGS) \
	$(JANSSON_CFLAGS) $(SQLITE_CFLAGS) $(ZLIB_CFLAGS) $(LIBBPF_CFLAGS) $(CMOCKA_CFLAGS)
if HAVE_BPF
TM_LINT_BPF = -DHAVE_BPF=1
endif

TM_PLAIN_TESTS = \
	tests/unit/test_clock \
	tests/unit/test_deterministic \
	tests/unit/test_doctor \
	tests/unit/test_environment \
	tests/unit/test_exec_helper \
	tests/unit/test_fold \
	tests/unit/test_hist \
	tests/unit/test_man \
	tests/unit/test_placement \
	tests/unit/test_plan \
	tests/unit/test_plot_data \
	tests/unit/test_probe_text \
	tests/unit/test_record \
	tests/unit/test_room \
	tests/unit/test_stale \
	tests/unit/test_stats \
	tests/unit/test_store \
	tests/unit/test_stress \
	tests/unit/test_stress_turns \
	tests/unit/test_table \
	tests/unit/test_trace
# Those that start threads: under ThreadSanitizer too, and not under valgrind,
# where one thread runs at a time and spinning takes forever.
TM_THREAD_TESTS = \
	tests/unit/test_run
# Those that set, watch or load the machine itself: valgrind and qemu lack the
# system calls, or the speed.
TM_HOST_TESTS = \
	tests/unit/test_background \
	tests/unit/test_pages \
	tests/unit/test_probe \
	tests/unit/test_sysstate
TM_UNIT_TESTS = $(TM_PLAIN_TESTS) $(TM_THREAD_TESTS) $(TM_HOST_TESTS) \
	$(TM_GBENCH_TESTS)
if HAVE_GBENCH
TM_GBENCH_TESTS = tests/unit/test_gbench
tests_unit_test_gbench_LDADD = libtlbmark-gbench.a $(LDADD) $(BENCHMARK_LIBS)
nodist_EXTRA_tests_unit_test_gbench_SOURCES = bench/gbench.cc
endif

# Runs in guests, beside their program.
check_PROGRAMS += tests/guest/fuzz
tests_guest_fuzz_SOURCES = \
	tests/guest/fuzz.c \
	tests/guest/fuzz.h \
	tests/guest/fuzz_modules.c \
	tests/guest/fuzz_requests.c
tests_guest_fuzz_CFLAGS = $(TM_CFLAGS) -pthread
tests_guest_fuzz_LDFLAGS = -static
tests_guest_fuzz_LDADD =

# Preloaded by tests/stress.sh: calls that do nothing. No library of ours is
# shared, so automake has no rule.
check_DATA = tests/lie.so
tests/lie.so: tests/lie.c
	$(AM_V_CC)$(MKDIR_P) tests && $(CC) $(CPPFLAGS) $(CFLAGS) -shared -fPIC -o $@ $(srcdir)/tests/lie.c
CLEANFILES += tests/lie.so
EXTRA_DIST += tests/lie.c

TM_SYSTEM_TESTS = \
	tests/errors.sh \
	tests/gbench.sh \
	tests/guest/deterministic.sh \
	tests/guest/dma.sh \
	tests/guest/faults.sh \
	tests/guest/ipi.sh \
	tests/guest/isolated.sh \
	tests/guest/kmod.sh \
	tests/guest/memory.sh \
	tests/guest/notifier.sh \
	tests/guest/pages.sh \
	tests/guest/reliability.sh \
	tests/guest/tiny.sh \
	tests/guest/topology.sh \
	tests/guest/vmap.sh \
	tests/guest/write_tracking.sh \
	tests/includes.sh \
	tests/lab.sh \
	tests/plots.sh \
	tests/quickstart.sh \
	tests/reliability.sh \
	tests/restore.sh \
	tests/schema.sh \
	tests/stress.sh \
	tests/workloads.sh

if HAVE_CMOCKA
check_PROGRAMS += $(TM_UNIT_TESTS)
TESTS += $(TM_UNIT_TESTS)
endif
TESTS += $(TM_SYSTEM_TESTS)

# What several unit tests use.
check_LIBRARIES = libtlbmark-tests.a
libtlbmark_tests_a_SOURCES = \
	tests/unit/synthetic.c \
	tests/unit/synthetic.h \
	tests/unit/tree.h
LDADD = libtlbmark-tests.a $(TM_ARCHIVES) $(TM_LIBS) $(CMOCKA_LIBS)

EXTRA_DIST += \
	$(TM_SYSTEM_TESTS) \
	tests/check-includes \
	tests/check-schema \
	tests/cppcheck.h \
	tests/fault-table \
	tests/figures \
	tests/fixtures \
	tests/golden \
	tests/guest/guest.sh \
	tests/lint.sh \
	tests/run-unit \
	tests/tap.sh \
	tests/valgrind.supp \
	tests/variant

.PHONY: lint check-asan check-tsan check-valgrind check-aarch64
lint: $(TM_SKELETON)
	$(MAKE) $(AM_MAKEFLAGS) check-TESTS TESTS=tests/lint.sh TEST_SUITE_LOG=lint.log VERBOSE=1

# How soon a stress run finds each fault, in an hour or less.
.PHONY: fault-table
fault-table: all
	$(SHELL) $(srcdir)/tests/fault-table

# What the suite wants to reach on a quiet machine, and what it reaches here.
.PHONY: figures
figures: all
	$(SHELL) $(srcdir)/tests/figures

# Other builds need a tree that is not configured in place: what `make dist`
# would pack.
check-asan check-tsan check-valgrind check-aarch64:
	$(MKDIR_P) build
	$(MAKE) $(AM_MAKEFLAGS) distdir distdir=build/source
	build/source/tests/variant `echo $@ | sed s/check-//` build/source build/`echo $@ | sed s/check-//`
