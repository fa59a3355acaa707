# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# What instructions are counted comes out the same in each boot, to the last
# one, and not where nobody counts them.
. "${srcdir:-.}/tests/guest/guest.sh"
need_guests 6.1 6.12

# shellcheck disable=SC2154 # set in tap.sh
exits 'on a machine that has a clock it is refused' 3 "$tlbmark" run null --deterministic
# shellcheck disable=SC2154
is '... and said why' 1 "$(grep -c 'does not count instructions' "$tmp/tap.out")"

# column NAME...: of the rows with responders of a CSV table; nothing that is quoted is before them.
column() {
	awk -F, -v names="$*" 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; n = split(names, name, " "); next }
		$at["responders"] > 0 { for (i = 1; i <= n; i++) printf "%s%s", $at[name[i]], i < n ? " " : "\n" }'
}

for kernel in 6.1 6.12; do
	rm -f "$TLBMARK_STORE"
	boots "$kernel: two boots" "$kernel" --cpus 3 --boots 2 --iommu strict --deterministic -- \
		run mprotect munmap madvise_dontneed vmap dma --pages 1 --responders 1 --ops 40
	set --
	# shellcheck disable=SC2016 # it is of_records that expands it
	for session in $(of_records 'distinct $session' 1); do
		set -- "$@" "$("$tlbmark" show "$session" --csv | tr -d '\r' |
			column workload runs_valid op_p50_ns control_p50_ns cost_ns | sort)"
	done
	is "$kernel: two sessions" 2 $#
	is "$kernel: every figure is the same in both" "${1:-none}" "${2:-other}"
	is "$kernel: all runs are valid, operations are counted, and interrupting a thread of the same mm costs" \
		'dma madvise_dontneed membarrier mprotect munmap vmap ' \
		"$(echo "${1:-}" | awk '$2 == 3 && $3 > 0 && ($1 ~ /^(dma|membarrier|vmap)$/ || $5 > 100) { printf "%s ", $1 }')"
	echo "${1:-}" | sed "s/^/# $kernel: /"
done
finish
