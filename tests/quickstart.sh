# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# quickstart's own decisions, with everything it calls replaced: what it
# installs, as whom, what it leaves alone, and what its last line says.
. "${srcdir:-.}/tests/tap.sh"

tree=$tmp/tree
bin=$tmp/bin
log=$tmp/log
mkdir -p "$tree" "$bin"
cp "$top_srcdir/quickstart" "$tree/quickstart"

# stand_in NAME: a command of that name; its body comes on stdin.
stand_in() {
	{
		echo '#!/bin/sh'
		cat
	} >"$bin/$1"
	chmod +x "$bin/$1"
}

stand_in id <<END
cat $tmp/uid
END
stand_in stat <<END
cat $tmp/owner
END
stand_in dpkg-query <<END
for package; do :; done
grep -qx "\$package" $tmp/installed && echo "install ok installed"
END
stand_in apt-cache <<END
cat $tmp/lists
END
stand_in apt-get <<END
echo "apt-get \$*" >>$log
case \$1 in
update)
	echo something >$tmp/lists
	;;
install)
	[ -e $tmp/stale ] && { rm $tmp/stale; exit 100; }
	for word; do
		case \$word in
		-* | install) ;;
		*) grep -qx "\$word" $tmp/refused || echo "\$word" >>$tmp/installed ;;
		esac
	done
	;;
esac
END
stand_in setpriv <<END
echo "setpriv \$1 \$2" >>$log
while [ "\${1#--}" != "\$1" ]; do shift; done
exec "\$@"
END
stand_in chown <<END
echo "chown \$*" >>$log
END
stand_in autoreconf <<END
echo autoreconf >>$log
mkdir -p build-aux
touch Makefile.in build-aux/tap-driver.sh
printf '#!/bin/sh\necho configure >>$log\ntouch Makefile config.status\nchmod +x config.status\n' >configure
chmod +x configure
END
stand_in make <<END
echo "make \$*" >>$log
case "\$*" in
*distdir*)
	mkdir -p build/source/tests
	cp configure build/source/configure
	printf '#!/bin/sh\nmkdir -p \$3\nprintf "# PASS:  2\\\\n" >\$3/test-suite.log\n[ \$1 != aarch64 ] || { rm \$3/test-suite.log; exit 77; }\n' \
		>build/source/tests/variant
	chmod +x build/source/tests/variant
	;;
*"check VERBOSE=1"*)
	cat $tmp/suite >test-suite.log
	grep -q '^# FAIL: *[1-9]' test-suite.log && exit 1
	exit 0
	;;
*lint*)
	printf '# PASS:  5\n# SKIP:  1\n' >lint.log
	;;
*distcheck*)
	[ ! -e $tmp/distcheck-fails ]
	;;
*)
	printf '#!/bin/sh\necho "tlbmark \$*"\necho "store \$TLBMARK_STORE"\n' >tlbmark
	chmod +x tlbmark
	;;
esac
END
# So that the packages which go by their command are always there.
for command in gcc make autoreconf automake pkg-config clang bpftool g++ gnuplot stress-ng \
	clang-format clang-tidy cppcheck shellcheck valgrind groff xz aarch64-linux-gnu-gcc \
	qemu-aarch64-static sudo; do
	[ -e "$bin/$command" ] || echo "exit 0" | stand_in "$command"
done
stand_in sudo <<END
echo "sudo \$1" >>$log
[ "\$1" != -n ] || [ ! -e $tmp/no-sudo ] || exit 1
[ "\$1" != -n ] || shift
exec "\$@"
END

# A machine on which nothing is missing, and a tree that is root's.
fresh() {
	rm -f "$log" "$tmp/stale" "$tmp/distcheck-fails" "$tmp/no-sudo"
	: >"$log"
	echo 0 >"$tmp/uid"
	echo 0 >"$tmp/owner"
	echo something >"$tmp/lists"
	: >"$tmp/refused"
	printf '# PASS:  40\n# SKIP:  1\n# XFAIL: 0\n# FAIL:  0\n# XPASS: 0\n# ERROR: 0\n' \
		>"$tmp/suite"
	printf '%s\n' libc6-dev libhwloc-dev libnuma-dev libjansson-dev libsqlite3-dev zlib1g-dev \
		libbpf-dev libbenchmark-dev libcmocka-dev >"$tmp/installed"
	find "$tree" -mindepth 1 ! -name quickstart -delete
}

quickstart() {
	(
		unset XDG_DATA_HOME TLBMARK_STORE
		cd "$tmp" && HOME=$tmp/home PATH=$bin:$PATH "$tree/quickstart" "$@"
	)
}

without() {
	grep -vx "$1" "$tmp/installed" >"$tmp/i" && mv "$tmp/i" "$tmp/installed"
}

logged() {
	if grep -qxF -e "$2" "$log"; then
		ok "$1"
	else
		not_ok "$1" "no '$2' in:" "$(cat "$log")"
	fi
}

not_logged() {
	if grep -q -e "$2" "$log"; then
		not_ok "$1" "'$2' is in:" "$(cat "$log")"
	else
		ok "$1"
	fi
}

says() {
	if grep -q -e "$2" "$tmp/tap.out"; then
		ok "$1"
	else
		not_ok "$1" "no '$2' in:" "$(cat "$tmp/tap.out")"
	fi
}

fresh
exits "build on a fresh tree" 0 quickstart build
not_logged "nothing missing, nothing installed" apt-get
logged "it bootstraps" autoreconf
logged "it configures" configure
exits "build again" 0 quickstart build
is "it bootstraps and configures once" "1 1" \
	"$(grep -cx autoreconf "$log") $(grep -cx configure "$log")"

fresh
without libhwloc-dev
exits "a missing library" 0 quickstart build
logged "only that is installed" "apt-get install -y --no-install-recommends libhwloc-dev"
says "and it says so" 'installing: libhwloc-dev *$'
not_logged "lists that are there are not fetched" "apt-get update"
quickstart build >/dev/null 2>&1
is "and not twice" 1 "$(grep -c '^apt-get' "$log")"

fresh
without libnuma-dev
: >"$tmp/lists"
exits "a machine without package lists" 0 quickstart build
is "fetches them first" "apt-get update" "$(head -n 1 "$log")"

fresh
without libnuma-dev
: >"$tmp/stale"
exits "stale package lists" 0 quickstart build
logged "are fetched anew" "apt-get update"

fresh
without libhwloc-dev
echo libhwloc-dev >"$tmp/refused"
exits "a library that is not to be had" 3 quickstart build
says "is named" 'cannot build without: libhwloc-dev'
fresh
without libbpf-dev
echo libbpf-dev >"$tmp/refused"
exits "one that is not needed" 0 quickstart build
says "is named, too" 'going on without: libbpf-dev'

fresh
echo 1000 >"$tmp/uid"
echo 1000 >"$tmp/owner"
without zlib1g-dev
exits "a user" 0 quickstart build
logged "installs through sudo" "sudo env"
not_logged "and builds as he is" setpriv
exits "run" 0 quickstart run null --ops 5
says "passes the arguments on" '^tlbmark run null --ops 5$'
logged "as root" "sudo env"
says "keeping the records where he looks" "^store $tmp/home/.local/share/tlbmark/records.db\$"
is "and his" "chown -R 1000:1000 $tmp/home/.local/share/tlbmark" "$(tail -n 1 "$log")"
: >"$tmp/no-sudo"
exits "run, where sudo would ask" 0 quickstart run
says "does without" 'measuring without root'
says "and measures" '^tlbmark run$'
rm "$bin/sudo"
without zlib1g-dev
if PATH=/usr/sbin:/usr/bin:/sbin:/bin command -v sudo >/dev/null; then
	skip "a user without sudo" "this machine has one"
else
	exits "a user without sudo" 3 quickstart build
	says "is told what to type" 'apt-get install zlib1g-dev'
fi

fresh
echo 1000 >"$tmp/owner"
exits "root in a user's tree" 0 quickstart build
logged "builds as that user" "setpriv --reuid=1000 --regid=1000"
is "every step of it" "" "$(awk '/^setpriv/ { dropped = 1; next } /^chown/ { next } !dropped; { dropped = 0 }' "$log")"
stand_in getent <<END
echo "user:x:1000:1000::$tmp/his:/bin/sh"
END
export SUDO_UID=1000 SUDO_GID=1000
exits "root by sudo runs" 0 quickstart run
says "for that user" "^store $tmp/his/.local/share/tlbmark/records.db\$"
logged "who gets the records" "chown -R 1000:1000 $tmp/his/.local/share/tlbmark"
unset SUDO_UID SUDO_GID
exits "and checks" 0 quickstart check
says "with what the tests left given back" '0 failed'
is "as the last thing" "chown -R 1000:1000 build" "$(tail -n 1 "$log")"

# Nine stages; aarch64 cannot be had, so that one is a skip. Suites: 40 passed
# and 1 skipped, lint 5 and 1, three variants with 2 each.
fresh
exits "check" 0 quickstart check
is "its last line adds up" "59 passed, 0 failed, 3 skipped" "$(tail -n 1 "$tmp/tap.out")"
{
	printf '# PASS:  38\n# SKIP:  1\n# XFAIL: 1\n# FAIL:  2\n# XPASS: 0\n# ERROR: 1\n'
	printf 'FAIL: tests/%s\n=====\n\nok 1 - good\nPASS: tests/one.sh 1 - good\n' one
	printf 'not ok 2 - bad\nFAIL: tests/one.sh 2 - bad\n# got: this\nok 3 - good\nand more\n'
	printf 'ERROR: tests/one.sh - missing test plan\n'
} >"$tmp/suite"
exits "check with failing tests" 1 quickstart check
is "counts each once" "57 passed, 3 failed, 3 skipped" "$(tail -n 1 "$tmp/tap.out")"
is "tells what failed once more" "tests/one: not ok 2 - bad|    # got: this|ERROR: tests/one.sh - missing test plan|" \
	"$(tail -n 4 "$tmp/tap.out" | head -n 3 | tr '\n' '|')"
fresh
: >"$tmp/distcheck-fails"
exits "check with a failing stage" 1 quickstart check
is "counts the stage" "58 passed, 1 failed, 3 skipped" "$(tail -n 1 "$tmp/tap.out")"

exits "no command" 2 quickstart
exits "an unknown command" 2 quickstart dance
says "shows what there is" 'quickstart check'
exits "help" 0 quickstart --help
finish
