# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh disable=SC2086,SC2317
# What tools can say about the source, each tool one test: `make lint`. TM_LINT
# holds this build's flags, as words. (SC2086: so it is split. SC2317: the
# functions below are called by name.)
. "${srcdir:-.}/tests/tap.sh"
cd "$top_srcdir" || exit 99
jobs=$(nproc)

all=$(find bench include kernels plots results tests/unit workloads -name '*.[ch]' \
	! -name registry.c ! -name '*.skel.h' -o -name '*.cc')
# Kernel modules are read by the kernel's own build only.
c=$(find bench kernels plots results tests/unit workloads -name '*.c' ! -name '*.bpf.c' \
	! -name registry.c ! -path 'workloads/kmod/*')
case $TM_LINT in
*-DHAVE_BPF=1*) ;;
*) c=$(printf '%s\n' "$c" | grep -v '^bench/probe_bpf') ;;
esac

formatted() {
	printf '%s\n' "$all" | xargs clang-format --dry-run -Werror
}

# One file a process: they take seconds each.
tidy() {
	printf '%s\n' "$c" | xargs -P "$jobs" -I FILE clang-tidy --quiet FILE -- -std=gnu11 \
		-D_GNU_SOURCE= -DPACKAGE_VERSION='""' -DTM_PKGDATADIR='""' -DTM_PLOTS_DIR='""' \
		-DTM_SOURCE_DIR='""' $TM_LINT 2>&1 | grep -v ' warnings\{0,1\} generated\.$' >"$tmp/tidy"
	cat "$tmp/tidy"
	! grep -q . "$tmp/tidy"
}

# The suppressed two are undefined in C11 and defined by gcc and clang.
analysed() {
	printf '%s\n' "$c" | xargs cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr \
		-j "$jobs" --enable=warning,performance,portability -D__x86_64__ -Iinclude -I. \
		--include=tests/cppcheck.h \
		--suppress=shiftNegativeLHS --suppress=shiftTooManyBitsSigned
}

scripts() {
	shellcheck quickstart .ci/run tests/check-includes tests/fault-table tests/figures tests/run-unit \
		tests/variant &&
		shellcheck -x -P SCRIPTDIR tests/*.sh tests/guest/*.sh &&
		find kernels/lab -type f ! -name '*.[co]' ! -name .dirstamp ! -path '*/.deps/*' \
			-exec shellcheck -x -P SCRIPTDIR {} +
}

# run TOOL FUNCTION
run() {
	if command -v "$1" >/dev/null 2>&1; then
		passes "$1" "$2"
	else
		skip "$1" "not installed"
	fi
}

run clang-format formatted
run clang-tidy tidy
run cppcheck analysed
run shellcheck scripts
passes check-includes sh tests/check-includes .
finish
