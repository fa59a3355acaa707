# SPDX-License-Identifier: GPL-3.0-or-later

# TM_REQUIRE(VARIABLE, MODULE, DEBIAN-PACKAGE): as PKG_CHECK_MODULES, but says
# in one line what to install.
AC_DEFUN([TM_REQUIRE], [
PKG_CHECK_MODULES([$1], [$2], [],
	[AC_MSG_ERROR([$2 is missing. Install it (Debian: $3), or run ./quickstart build])])
])

# TM_SANITIZERS: --enable-sanitizers=LIST goes to the compiler as
# -fsanitize=LIST, for everything but the freestanding exec helper.
AC_DEFUN([TM_SANITIZERS], [
AC_ARG_ENABLE([sanitizers],
	[AS_HELP_STRING([--enable-sanitizers=LIST],
		[build with -fsanitize=LIST: "address,undefined" or "thread"])],
	[], [enable_sanitizers=no])
AS_CASE([$enable_sanitizers],
	[no], [TM_SANITIZE=],
	[yes], [enable_sanitizers=address,undefined
		TM_SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"],
	[TM_SANITIZE="-fsanitize=$enable_sanitizers -fno-sanitize-recover=all -fno-omit-frame-pointer"])
AC_SUBST([TM_SANITIZE])
])

# TM_BPF: the BPF probe needs libbpf, a clang that has the bpf target, and
# bpftool, which a user's PATH often hides. Sets HAVE_BPF and tm_bpf.
AC_DEFUN([TM_BPF], [
AC_ARG_ENABLE([bpf],
	[AS_HELP_STRING([--disable-bpf],
		[build without the BPF probe; perf_event tracepoints remain])],
	[], [enable_bpf=auto])
tm_bpf=yes
AS_IF([test "x$enable_bpf" = xno], [tm_bpf="no (--disable-bpf)"], [
	PKG_CHECK_MODULES([LIBBPF], [libbpf >= 1.0], [],
		[tm_bpf="no (install libbpf-dev)"])
	AC_PATH_PROG([CLANG], [clang])
	AC_PATH_PROG([BPFTOOL], [bpftool], [], [$PATH:/usr/sbin:/sbin])
	AS_IF([test -z "$CLANG"], [tm_bpf="no (install clang)"],
		[test -z "$BPFTOOL"], [tm_bpf="no (install bpftool)"],
		[echo "int x;" | "$CLANG" -target bpf -g -c -x c -o /dev/null - 2>/dev/null],
		[], [tm_bpf="no ($CLANG has no bpf target)"])
])
AS_IF([test "x$tm_bpf" = xyes], [
	AC_DEFINE([HAVE_BPF], [1], [the BPF probe is built in])
	TM_BPF_FLAGS="-target bpf -g -O2 -Wall -D__TARGET_ARCH_$TM_BPF_ARCH"
	tm_multiarch=`$CC -print-multiarch 2>/dev/null`
	AS_IF([test -d "/usr/include/$tm_multiarch"],
		[TM_BPF_FLAGS="$TM_BPF_FLAGS -idirafter /usr/include/$tm_multiarch"])
	AS_IF([test "x$enable_werror" = xyes], [TM_BPF_FLAGS="$TM_BPF_FLAGS -Werror"])
], [
	AS_IF([test "x$enable_bpf" = xyes], [AC_MSG_ERROR([--enable-bpf: $tm_bpf])])
	LIBBPF_CFLAGS=
	LIBBPF_LIBS=
])
AC_SUBST([TM_BPF_FLAGS])
AM_CONDITIONAL([HAVE_BPF], [test "x$tm_bpf" = xyes])
])

# TM_GBENCH: the only part in C++. Sets HAVE_GBENCH and tm_gbench.
AC_DEFUN([TM_GBENCH], [
AC_ARG_ENABLE([gbench],
	[AS_HELP_STRING([--disable-gbench],
		[build without tlbmark-gbench, the Google Benchmark front end])],
	[], [enable_gbench=auto])
AS_IF([test "x$enable_gbench" = xno], [tm_gbench="no (--disable-gbench)"], [
	PKG_CHECK_MODULES([BENCHMARK], [benchmark >= 1.7], [
		AC_LANG_PUSH([C++])
		AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[#include <string>]], [[]])],
			[tm_gbench=yes], [tm_gbench="no (install g++)"])
		AC_LANG_POP([C++])
	], [tm_gbench="no (install libbenchmark-dev)"])
	AS_IF([test "x$enable_gbench$tm_gbench" != xyesyes && test "x$enable_gbench" = xyes],
		[AC_MSG_ERROR([--enable-gbench: $tm_gbench])])
])
AM_CONDITIONAL([HAVE_GBENCH], [test "x$tm_gbench" = xyes])
])
