# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh disable=SC2317
# `tlbmark lab`: what it refuses, what it fetches, and real guests: what comes
# back from them, and what happens to those that go wrong. (SC2317: some functions
# are called by name.)
. "${srcdir:-.}/tests/tap.sh"

lab() {
	"$tlbmark" lab "$@"
}

# refuses NAME TEXT ARGUMENT...: bad input, with a line that says TEXT.
refuses() {
	refused=$1
	text=$2
	shift 2
	exits "$refused: status" 2 lab "$@"
	said "$refused" "$text" "$tmp/tap.out"
}

# words FILE: its lines, in one.
words() {
	tr '\n' ' ' <"$1" | sed 's/ $//'
}

# said NAME TEXT FILE
said() {
	if grep -qF -- "$2" "$3"; then
		ok "$1: says so"
	else
		not_ok "$1: says so" "no '$2' in:" "$(tail -n 5 "$3")"
	fi
}

TLBMARK_LAB_CACHE=$tmp/cache
export TLBMARK_LAB_CACHE
unset TLBMARK_LAB_LOCK TLBMARK_LAB_DEBS

# --- what it refuses -------------------------------------------------------------

refuses "no command" "fetch, list, modules, clean or run"
refuses "an unknown command" "unknown command 'boot'" boot
refuses "an option of another command" "takes no --cpus" list --cpus 2
refuses "a command for a guest without --" "behind --" run munmap
refuses "no CPUs" "1 to 255 CPUs" run --cpus 0 -- list
refuses "CPUs that are no number" "1 to 255 CPUs" run --cpus 2x -- list
refuses "CPUs that do not divide" "3 CPUs are not 2 sockets" run --cpus 3 --sockets 2 -- list
refuses "sockets that do not divide" "do not divide by 2 nodes" \
	run --cpus 3 --sockets 3 --nodes 2 -- list
refuses "memory in no unit" "64M to 1024G" run --memory 1T -- list
refuses "too little memory" "64M to 1024G" run --memory 1M -- list
refuses "an IOMMU's mode" "strict, lazy or passthrough" run --iommu 'none strict' -- list
refuses "isolated CPUs" "a list of CPUs" run --isolated all -- list
refuses "a file that is not there" "no file that can be read" run --add "$tmp/none" -- list
refuses "a kernel's name" "no kernel's version" fetch --kernel '6.1;x'
exits "a cache that cannot be written: status" 3 \
	env TLBMARK_LAB_CACHE=/proc/none "$tlbmark" lab fetch --kernel 6.1
said "a cache that cannot be written" TLBMARK_LAB_CACHE "$tmp/tap.out"

# --- fetching, from packages of our own ------------------------------------------

release=9.9.1-amd64
lock=$tmp/test.lock

# package NAME [KEY [VERSION]]: what lies in $tmp/NAME, pinned for the kernel 9.9 or that.
package() {
	mkdir -p "$tmp/$1/DEBIAN"
	deb=$tmp/debs/$1_${3:-9.9.1-2}_amd64.deb
	printf '%s\n' "Package: $1" "Version: ${3:-9.9.1-2}" "Architecture: amd64" \
		"Maintainer: nobody <nobody@example.org>" "Description: test" >"$tmp/$1/DEBIAN/control"
	dpkg-deb --root-owner-group --build "$tmp/$1" "$deb" >"$tmp/dpkg" 2>&1
	echo "${2:-9.9} $1 ${3:-9.9.1-2} $(sha256sum "$deb" | cut -d' ' -f1)" >>"$lock"
}

# A mirror of what is pinned for the kernel `mirror`, told by programs in place of apt's.
mirror() {
	mkdir -p "$tmp/bin"
	grep '^mirror ' "$lock" >"$tmp/mirror"
	cat >"$tmp/bin/apt-cache" <<-'EOF'
		#!/bin/sh
		shift 2
		case $1 in
		pkgnames) sed -n 's/^mirror \(linux-image-[^ ]*\) .*/\1/p' "$MIRROR" ;;
		depends)
			case $3 in
			linux-image-9.9-amd64) echo "  Depends: linux-image-9.9.1-amd64" ;;
			linux-headers-*) echo "  Depends: linux-kbuild-9.9" ;;
			esac
			;;
		madison)
			shift
			for name in "$@"; do
				awk -v name="$name" '$2 == name { print $2 " | " $3 " | http://mirror Packages" }' "$MIRROR"
			done
			;;
		esac
	EOF
	cat >"$tmp/bin/apt-get" <<-'EOF'
		#!/bin/sh
		for one in "$@"; do
			awk -v one="$one" '$2 "=" $3 == one { print "'\''http://mirror/'\'' " $2 "_" $3 "_amd64.deb 1 SHA256:" $4 }' "$MIRROR"
		done
	EOF
	chmod +x "$tmp/bin/apt-cache" "$tmp/bin/apt-get"
}

fetch() {
	TLBMARK_LAB_DEBS=$tmp/debs lab fetch --kernel 9.9 --lock "$lock"
}

if command -v dpkg-deb >/dev/null; then
	mkdir -p "$tmp/debs" "$tmp/linux-image-$release/boot" \
		"$tmp/linux-headers-$release/usr/src/linux-headers-$release"
	echo kernel >"$tmp/linux-image-$release/boot/vmlinuz-$release"
	echo "include /usr/src/linux-headers-9.9.1-common/Makefile" \
		>"$tmp/linux-headers-$release/usr/src/linux-headers-$release/Makefile"
	package "linux-image-$release"
	package "linux-headers-$release"
	cp "$tmp/debs/linux-headers-${release}_9.9.1-2_amd64.deb" "$tmp/whole"
	head -c 300 "$tmp/whole" >"$tmp/debs/linux-headers-${release}_9.9.1-2_amd64.deb"
	fetch >"$tmp/out" 2>"$tmp/err"
	is "a package that is cut short" 3 $?
	said "a package that is cut short" "damaged or cut short" "$tmp/err"
	is "a package that is cut short leaves nothing" "" "$(ls -A "$tmp/cache/kernels")"
	cp "$tmp/whole" "$tmp/debs/linux-headers-${release}_9.9.1-2_amd64.deb"
	folder=$tmp/cache/kernels/9.9.1-2
	mkfifo "$tmp/held"
	# shellcheck disable=SC2016 # for that shell to expand
	flock "$tmp/cache/fetch.lock" sh -c 'echo >"$0/held"; while [ ! -e "$0/go" ]; do sleep 0.1; done' "$tmp" &
	read -r _ <"$tmp/held"
	fetch >"$tmp/out" 2>"$tmp/err" &
	one=$!
	fetch >"$tmp/out2" 2>"$tmp/err2" &
	sleep 1
	is "a fetch waits for another one" waits "$([ -e "$folder" ] || echo waits)"
	: >"$tmp/go"
	wait $! $one
	is "two fetches at once" "$folder $folder" "$(cat "$tmp/out") $(cat "$tmp/out2")"
	is "one kernel, and nothing half" 9.9.1-2 "$(ls -A "$tmp/cache/kernels")"
	is "its kernel" kernel "$(cat "$folder/kernel")"
	is "its headers find their other half" \
		"include $folder/usr/src/linux-headers-9.9.1-common/Makefile" "$(cat "$folder/build/Makefile")"
	lab list --lock "$lock" >"$tmp/out"
	is "list shows it" "9.9.1-2 $release 9.9" \
		"$(awk '$1 == "9.9.1-2" { print $1, $2, $4 }' "$tmp/out")"
	mkdir -p "$tmp/linux-kbuild-9.9"
	for name in "linux-image-$release" "linux-headers-$release"; do
		package "$name" mirror
	done
	# Before the kernel's own: of the next version already, and of an older release of Linux.
	package linux-kbuild-9.9 mirror 9.9.1-3
	package linux-kbuild-9.9 mirror 9.9.0-1
	mirror
	rm -rf "$tmp/cache/kernels"
	from_mirror() {
		PATH=$tmp/bin:$PATH MIRROR=$tmp/mirror TLBMARK_LAB_DEBS=$tmp/debs \
			lab fetch --kernel 9.9 --lock "$tmp/mirror.lock"
	}
	is "a mirror between two versions" "$folder" "$(from_mirror 2>"$tmp/err")"
	is "a package of the kernel's own release of Linux goes with it" "linux-kbuild-9.9 9.9.1-3" \
		"$(sed -n 's/^9.9 \(linux-kbuild-9.9 [^ ]*\) .*/\1/p' "$tmp/mirror.lock")"
	sed -i '/kbuild-9.9 9.9.1-3/d' "$tmp/mirror"
	rm -rf "$tmp/cache/kernels" "$tmp/mirror.lock"
	exits "a mirror without one of the packages: status" 3 from_mirror
	said "a mirror without one of the packages" \
		"no linux-kbuild-9.9 that goes with the kernel 9.9.1-2" "$tmp/tap.out"
	mkdir -p "$tmp/linux-source-9.9/usr/src"
	echo source >"$tmp/linux-source-9.9/usr/src/linux-source-9.9.tar.xz"
	package linux-source-9.9 source-9.9
	# shellcheck disable=SC2154 # set in tap.sh
	is "the source of a kernel" source "$(cat "$(LAB_KERNEL=9.9 LAB_LOCK=$lock TLBMARK_LAB_DEBS=$tmp/debs \
		sh "$top_srcdir/kernels/lab/source" 2>"$tmp/err")")"
	passes "clean" lab clean
	is "clean leaves the lock files alone" "fetch.lock
tree.lock" "$(ls -A "$tmp/cache")"
else
	skip "fetching" "no dpkg-deb"
fi

# --- guests -----------------------------------------------------------------------

[ "$(uname -m)" = x86_64 ] || { skip "guests" "the lab knows x86-64 only"; finish; }
for tool in qemu-system-x86_64:qemu-system-x86 cpio:cpio busybox:busybox-static; do
	command -v "${tool%:*}" >/dev/null || { skip "guests" "no ${tool%:*}: install ${tool#*:}"; finish; }
done
unset TLBMARK_LAB_CACHE
if ! "$tlbmark" lab fetch --kernel 6.1 >"$tmp/6.1" 2>"$tmp/err" ||
	! "$tlbmark" lab fetch --kernel 6.12 >"$tmp/6.12" 2>"$tmp/err"; then
	skip "guests" "$(tail -n 1 "$tmp/err")"
	finish
fi
read -r old <"$tmp/6.1"
read -r new <"$tmp/6.12"

# A cache of this test's own, but for the kernels.
TLBMARK_LAB_CACHE=$tmp/guests
export TLBMARK_LAB_CACHE
mkdir -p "$TLBMARK_LAB_CACHE"
ln -s "${old%/*}" "$TLBMARK_LAB_CACHE/kernels"
cp "${old%/*}/../lab.lock" "$TLBMARK_LAB_CACHE/lab.lock"
TLBMARK_STORE=$tmp/records.db
export TLBMARK_STORE
busybox=$(command -v busybox)

# guest OPTION... -- COMMAND: a busybox command; its status in $got.
guest() {
	got=0
	"$tlbmark" lab run --add "$busybox" --timeout 100s "$@" >"$tmp/out" 2>"$tmp/err" || got=$?
}

# field MEMBER: of the stored records, each once.
field() {
	sqlite3 "$TLBMARK_STORE" "select distinct json_extract(json, '\$.$1') from records"
}

for version in "$(cat "$old/version")" "$(cat "$new/version")"; do
	rm -f "$TLBMARK_STORE"*
	exits "$version: a workload runs there" 0 lab run --kernel "$version" --boots 2 -- \
		run --quick --repeat 1 --ops 20 --responders 0 --quiet null munmap
	is "$version: two sessions are stored" 2 "$(sqlite3 "$TLBMARK_STORE" \
		'select count(distinct session) from records')"
	is "$version: all runs went well" ok "$(field status)"
	is "$version: the records say where they are from" "$version" \
		"$(field environment.virtualization.lab.kernel)"
	built=$(field environment.virtualization.lab.modules)
	is "$version: and with which modules" "$(basename "$(lab modules --kernel "$version")")" "$built"
	is "$version: as they say themselves" "${built#*-}" \
		"$(field environment.kernel.modules.tlbmark_ipi | sed 's/.*-//')"
	"$python3" -c 'import jsonschema' 2>/dev/null &&
		passes "$version: they fit the schema" \
			"$python3" "$top_srcdir/tests/check-schema" "$TLBMARK_STORE"
done

guest -- ./busybox sh -c 'echo out; echo err >&2; exit 7'
is "the command's status, and its output by stream" "7 out err" \
	"$got $(cat "$tmp/out") $(cat "$tmp/err")"

guest --cpus 4 --nodes 2 --iommu strict --isolated 3 --append 'tlbmark.test=a tlbmark.test=b' \
	--out "$tmp/kept" -- ./busybox sh -c '
	cat /sys/devices/system/cpu/online /sys/devices/system/node/online \
		/sys/devices/system/cpu/isolated /sys/devices/system/cpu/nohz_full
	ls /sys/class/iommu | head -n 1
	cat /sys/kernel/iommu_groups/*/type | sort -u
	tr " " "\n" </proc/cmdline | grep tlbmark.test'
is "CPUs, nodes, isolation, IOMMU, command line" "0-3 0-1 3 3 dmar0 DMA tlbmark.test=a tlbmark.test=b" \
	"$(words "$tmp/out")"
is "the logs are kept" "console dmesg qemu records" "$(cd "$tmp/kept" && echo *)"

guest -- ./busybox sh -c 'echo c >/proc/sysrq-trigger'
is "a panic" 1 "$got"
said "a panic" "Kernel panic" "$tmp/err"

guest -- ./busybox sh -c 'echo "<4>WARNING: CPU: 0 PID: 1 at nowhere" >/dev/kmsg'
is "a warning of the guest's kernel" 1 "$got"
said "a warning of the guest's kernel" "complained" "$tmp/err"
guest --no-dmesg-gate -- ./busybox sh -c 'echo "<4>WARNING: CPU: 0 PID: 1 at nowhere" >/dev/kmsg'
is "a warning, without the gate" 0 "$got"

guest --timeout 15s -- ./busybox sleep 1000
is "a guest that hangs" 1 "$got"
said "a guest that hangs" "did not end within 15 s" "$tmp/err"

guest --modules nothing -- ./busybox true
is "an unknown module" 2 "$got"
said "an unknown module" "no module 'nothing'" "$tmp/err"

exits "a user's own kernel, with modules" 0 lab run --kernel "$new/boot/vmlinuz-$(cat "$new/release")" \
	--build-tree "$new/build" --add "$busybox" -- ./busybox ls /sys/module/tlbmark_ipi
exits "no QEMU: status" 3 env TLBMARK_LAB_QEMU="$tmp/none" "$tlbmark" lab run -- list
said "no QEMU" "install the package" "$tmp/tap.out"

# --- several at once, and what is left ---------------------------------------------

"$tlbmark" lab run --modules none --add "$busybox" -- ./busybox echo one >"$tmp/one" 2>&1 &
one=$!
"$tlbmark" lab run --modules none --add "$busybox" -- ./busybox echo two >"$tmp/two" 2>&1
both=$?
wait $one
is "two guests at once" "0 0 one two" "$both $? $(cat "$tmp/one") $(cat "$tmp/two")"
is "nothing is left of the guests" "" "$(ls -d "$TLBMARK_LAB_CACHE"/run.* 2>/dev/null)"

# ours: processes of this test's guests.
ours() {
	for process in /proc/[0-9]*; do
		[ "$(readlink "$process/cwd" 2>/dev/null | grep -c "^$TLBMARK_LAB_CACHE/run")" -eq 0 ] ||
			echo "${process#/proc/}"
	done
}

# within SECONDS COMMAND...: until it succeeds.
within() {
	tries=$(($1 * 10))
	shift
	while [ "$tries" -gt 0 ] && ! "$@"; do
		tries=$((tries - 1))
		sleep 0.1
	done
	[ "$tries" -gt 0 ]
}

boots() {
	[ -s "$(echo "$TLBMARK_LAB_CACHE"/run.*/1/console)" ]
}

# gone NAME: no process, and no file unless the name promises none.
gone() {
	[ -z "$(ours)" ] || return 1
	case $1 in
	*"no file"*) [ ! -e "$(echo "$TLBMARK_LAB_CACHE"/run.*)" ] ;;
	esac
}

# ended NAME SIGNAL: kills a lab that has a guest, or, where NAME says so, its script.
ended() {
	"$tlbmark" lab run --modules none --add "$busybox" -- ./busybox sleep 1000 >"$tmp/out" 2>&1 &
	front=$!
	if ! within 60 boots; then
		kill $front
		not_ok "$1" "the guest did not start:" "$(cat "$tmp/out")"
		return
	fi
	case $1 in
	*script*) kill -"$2" "$(pgrep -P $front)" ;;
	*) kill -"$2" $front ;;
	esac
	wait $front 2>/dev/null
	if within 20 gone "$1"; then
		ok "$1"
	else
		not_ok "$1" "$(ours)" "$(ls -d "$TLBMARK_LAB_CACHE"/run.*)"
	fi
}

ended "SIGTERM leaves no process and no file" TERM
ended "SIGKILL leaves no process and no file" KILL
ended "SIGKILL for its script leaves no process" KILL
guest --modules none -- ./busybox true
is "and the next guest clears the rest away" "0 " \
	"$got $(ls -d "$TLBMARK_LAB_CACHE"/run.* 2>/dev/null)"
finish
