# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# Every workload, for real, on this machine, a few operations of each: it runs
# or says why not, its oracle finds nothing, and its records are what the
# schema says. With two CPUs: each that must interrupt does, and the control
# does not.
. "${srcdir:-.}/tests/tap.sh"

TLBMARK_STORE=$tmp/records.db
export TLBMARK_STORE
responders=1
[ "$(nproc)" -gt 1 ] || responders=0

query() {
	sqlite3 "$TLBMARK_STORE" "$1"
}

for w in $("$tlbmark" list --names); do
	rm -f "$TLBMARK_STORE"*
	got=0
	"$tlbmark" run --quiet --no-plots --quick --ops 60 --responders $responders "$w" \
		>"$tmp/out" 2>"$tmp/err" || got=$?
	if [ "$got" -eq 3 ] && [ ! -s "$TLBMARK_STORE" ]; then
		# Modules, isolated CPUs and a second node are to be had in guests.
		if guest=$(grep -lw -- "$w" "$top_srcdir"/tests/guest/*.sh); then
			echo "# $w: $(cat "$tmp/err"); it has ${guest##*/}"
		else
			skip "$w" "$(cat "$tmp/err")"
		fi
		continue
	fi
	if [ "$got" -ne 0 ]; then
		not_ok "$w" "returned $got:" "$(cat "$tmp/err")"
		continue
	fi
	mine="json_extract(json, '\$.cell.workload') = '$w'"
	bad=$(query "select count(*) from records where status != 'ok'")
	ops=$(query "select count(*) from records where json_extract(json, '\$.counts.ops') < 1")
	if [ "$bad" -ne 0 ] || [ "$ops" -ne 0 ]; then
		not_ok "$w" "$bad runs not ok, $ops without operations" \
			"$(query "select json_extract(json, '\$.why') from records")"
		continue
	fi
	ok "$w runs"
	checks=$(query "select coalesce(sum(json_extract(json, '\$.verify.checks')), -1)
		from records where $mine")
	wrong=$(query "select coalesce(sum(json_extract(json, '\$.verify.violations')), 0)
		from records where $mine")
	if [ "$wrong" -ne 0 ] || [ "$checks" -eq 0 ]; then
		not_ok "$w verifies" "$wrong violations in $checks checks"
	else
		ok "$w verifies ($checks checks)"
	fi
	gate=$(query "select json_extract(json, '\$.cell.gate') from records where $mine limit 1")
	if [ "$gate" = every ] && [ "$responders" -eq 1 ]; then
		# All figures come from this run; a busy machine moves them alike. A
		# control may be interrupted, but not by flushes of this operation.
		seen=$(query "select coalesce(sum(json_extract(json, '\$.counts.deliveries')) * 2 >
			nullif(sum(json_extract(json, '\$.counts.deliveries_expected')), 0),
			sum(json_extract(json, '\$.counts.tlb_interrupts')) > 0) from records
			where $mine and json_extract(json, '\$.cell.role') = 'measured'")
		flushes="coalesce(json_extract(json, '\$.probe.flush.remote_shootdown.in'),
			json_extract(json, '\$.counts.deliveries'))"
		role="json_extract(json, '\$.cell.role')"
		# Some are others': the same share of the machine, in both.
		quiet=$(query "select coalesce(sum($flushes * ($role = 'control_foreign')) * 2 <=
			sum($flushes * ($role = 'measured')), 0) from records where $mine")
		is "$w interrupts its responder, and no foreign one" '1 1' "$seen $quiet"
	fi
	if ! "$python3" -c 'import jsonschema' 2>/dev/null; then
		skip "$w: schema" 'no python3-jsonschema'
	else
		passes "$w: its records fit the schema" \
			"$python3" "$top_srcdir/tests/check-schema" "$TLBMARK_STORE"
	fi
done
finish
