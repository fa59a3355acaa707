# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh disable=SC2016
# The floor in the kernel: each call runs its function once on the responder.
. "${srcdir:-.}/tests/guest/guest.sh"
need_guests 6.1 6.12

for kernel in 6.1 6.12; do
	rm -f "$TLBMARK_STORE"*
	boots "$kernel: every way" "$kernel" -- run ipi --how single,mask,all,flush-all \
		--responders 1 --ops 200 --repeat 1 --no-plots --quiet
	for how in single mask all flush-all; do
		called=tm_ipi_nothing
		[ $how != flush-all ] || called=tm_ipi_flush_all
		is "$kernel: $how: $called once an operation" '200 200' "$(of_records \
			"\$counts.ops || ' ' || \$probe.functions.$called.in" \
			"\$cell.parameters.how = '$how'")"
		is "$kernel: $how: the oracle counted once everywhere" 1 "$(of_records \
			'$verify.checks >= 32 and $verify.violations = 0' \
			"\$cell.parameters.how = '$how'")"
	done
done
finish
