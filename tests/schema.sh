# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# The schema takes the golden record and refuses each of its damaged copies.
. "${srcdir:-.}/tests/tap.sh"

"$python3" -c 'import jsonschema' 2>/dev/null || skip_all 'no python3-jsonschema'
"$python3" "$top_srcdir/tests/check-schema"
