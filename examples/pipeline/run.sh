#!/usr/bin/env bash
# Fit, report, gate. Usage: run.sh DATA.csv OUT, with columns form and days.
# Exit status: 0 all is well, 3 caution, 4 untrusted, 5 the model misfits, 2 bad data, 1 anything else.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
data=$(realpath "$1")
out=$(realpath -m "$2")
cd "$here"

elboroom fit absence:absence --data "$data" --out "$out"
if [ -n "${SUMMARY_FILE:-}" ]; then
    cat "$out/report.md" >> "$SUMMARY_FILE" # of a pull request, where the system offers a file for it
fi
elboroom check "$out" --fail-on untrusted --fail-on misfit --fail-on caution
