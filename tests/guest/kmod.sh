# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# What the modules must stand, on both kernels: to be loaded and unloaded, that
# callers are killed inside any request, and requests that make no sense. The
# guest's kernel may not complain, and nothing may be left behind.
#
# TLBMARK_FUZZ_IOCTLS and TLBMARK_FUZZ_SECONDS make it longer, TLBMARK_FUZZ_SEED
# does again what failed.
. "${srcdir:-.}/tests/guest/guest.sh"
need_guests 6.1 6.12

# shellcheck disable=SC2154 # set in tap.sh
fuzz=$top_builddir/tests/guest/fuzz
[ -x "$fuzz" ] || skip_all 'no tests/guest/fuzz: no static C library'
seed=${TLBMARK_FUZZ_SEED:-$(date +%s)}
ioctls=${TLBMARK_FUZZ_IOCTLS:-1000000}
seconds=${TLBMARK_FUZZ_SECONDS:-20}

# said PATTERN: the line of the guest's in which it is.
said() {
	# shellcheck disable=SC2154
	grep -E "$1" "$tmp/out" || echo "nothing like '$1'"
}

for kernel in 6.1 6.12; do
	got=0
	# shellcheck disable=SC2154
	"$tlbmark" lab run --kernel "$kernel" --cpus 2 --timeout $((seconds + 300))s --add "$fuzz" -- \
		./fuzz /lab "$seed" 100 5 "$ioctls" "$seconds" >"$tmp/out" 2>&1 || got=$?
	if [ "$got" -eq 0 ]; then
		ok "$kernel: loaded, killed, fuzzed and unloaded"
	else
		not_ok "$kernel: loaded, killed, fuzzed and unloaded" "status $got:" "$(cat "$tmp/out")"
	fi
	for line in '^loaded: .* 100 times' '^opened:' '^killed:' '^fuzzed: .* 0 violations' '^left: 0 areas' \
		'^unloaded:' '^complaints: none'; do
		not=$(said "$line")
		case $not in
		nothing*) not_ok "$kernel: $line" "$(tail -n 30 "$tmp/out")" ;;
		*) ok "$kernel: $not" ;;
		esac
	done
	said '^# seed' | sed "s/^#/# $kernel:/"
done
finish
