# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# `tlbmark plot` with gnuplot, without it, and with one that fails. The session
# has no responders, so that it is valid on a busy machine too.
. "${srcdir:-.}/tests/tap.sh"

command -v gnuplot >/dev/null || skip_all "no gnuplot: install gnuplot-nox"
kinds="ladder cdf pages responders split heatmap stale"
store=$tmp/records.db

passes "a session to draw" "$tlbmark" run munmap --pages 1,8 --responders 0 --ops 400 --repeat 2 \
	--no-verify --no-plots --quiet --probe none --store "$store"

# draw OPTION...: into $tmp/out; what it says is in $tmp/said.
draw() {
	"$tlbmark" plot --store "$store" --out "$tmp/out" "$@" >"$tmp/said" 2>&1
}

draw
is "drawn" 0 $?
for kind in $kinds; do
	if grep -q "^$kind *left out: ." "$tmp/said"; then
		is "$kind: left out, so there is no file" "" "$(ls "$tmp/out/$kind".* 2>/dev/null)"
	elif command -v xmllint >/dev/null; then
		passes "$kind.svg is XML" xmllint --noout "$tmp/out/$kind.svg"
	elif command -v "$python3" >/dev/null; then
		passes "$kind.svg is XML" "$python3" -c \
			'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' \
			"$tmp/out/$kind.svg"
	else
		passes "$kind.svg is whole" grep -q '^</svg>' "$tmp/out/$kind.svg"
	fi
done
for kind in ladder pages; do
	is "$kind.png is a picture" " 137  80  78  71" "$(od -An -tu1 -N4 "$tmp/out/$kind.png")"
	passes "$kind.png is more than a frame" test "$(wc -c <"$tmp/out/$kind.png")" -gt 4000
done
passes "the caption names the session" grep -q 'session [0-9a-f]' "$tmp/out/ladder.svg"
passes "and the kernel" grep -qF "$(uname -r)" "$tmp/out/ladder.svg"

rm -r "$tmp/out"
draw --only ladder --format svg last
is "one plot in one format" "ladder.svg" "$(ls -A "$tmp/out")"
exits "a plot that is none" 2 "$tlbmark" plot --store "$store" --out "$tmp/out" --only pie
exits "a format that is none" 2 "$tlbmark" plot --store "$store" --out "$tmp/out" --format bmp
exits "two sessions" 2 "$tlbmark" plot --store "$store" --out "$tmp/out" last last
exits "no such store" 3 "$tlbmark" plot --store "$tmp/none.db" --out "$tmp/out"
: >"$tmp/file"
exits "a folder that cannot be" 3 "$tlbmark" plot --store "$store" --out "$tmp/file/sub"
exits "a folder with an odd name" 0 "$tlbmark" plot --store "$store" --only ladder \
	--out "$tmp/it's \"\`odd\`\" \$HOME"
passes "is where the files are" test -s "$tmp/it's \"\`odd\`\" \$HOME/ladder.svg"

mkdir "$tmp/bin"
cp "$tmp/out/ladder.svg" "$tmp/before.svg"
path=$PATH
PATH=$tmp/bin
draw --only ladder
status=$?
PATH=$path
is "no gnuplot: the status" 3 "$status"
passes "no gnuplot: what to do about it" grep -q 'apt-get install gnuplot' "$tmp/said"

# One that stops in the middle of a file and does not notice, as on a full disk.
cat >"$tmp/bin/gnuplot" <<'END'
#!/bin/sh
file=$(sed -n 's/^set output "\(.*\)"$/\1/p')
echo '<svg>' >"$file"
END
chmod +x "$tmp/bin/gnuplot"
PATH=$tmp/bin:$path
draw --only ladder
status=$?
is "a file cut short: the status" 3 "$status"
printf '#!/bin/sh\necho "line 1: something is wrong" >&2\nexit 1\n' >"$tmp/bin/gnuplot"
draw --only ladder
status=$?
PATH=$path
is "gnuplot fails: the status" 3 "$status"
passes "and what it said" grep -q 'something is wrong' "$tmp/said"
passes "the earlier picture is still there" cmp "$tmp/before.svg" "$tmp/out/ladder.svg"
is "and nothing half-written beside it" "ladder.svg" "$(ls -A "$tmp/out")"
finish
