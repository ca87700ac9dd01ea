#!/usr/bin/env bash
# Trains one config after another, unattended. A run that fails does not keep the next from running.
# usage: tools/run_batch.sh RESULTS.jsonl CONFIG.yaml...
# Adds one JSON object a run to RESULTS.jsonl: {"config": …, "status": its exit status, "result": what `hone train --json`
# printed, or null when it was killed}. Exit status 1 when a run failed, 2 when called wrongly.
set -euo pipefail

hone=${HONE_BIN:-$(dirname "$0")/../build/release/cli/hone}
if [[ $# -lt 2 ]]; then
    sed -n '2,5s/^# //p' "$0" >&2
    exit 2
fi
if [[ ! -x $hone ]]; then
    echo "no program at $hone: build it, or name it in HONE_BIN" >&2
    exit 2
fi

# A text as a JSON string. Control characters become spaces.
quoted() {
    printf '"%s"' "$(printf '%s' "$1" | tr '\000-\037\177' ' ' | sed 's/\\/\\\\/g; s/"/\\"/g')"
}

results=$1 failed=0
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for config in "$@"; do
    status=0
    "$hone" train --config "$config" --json </dev/null >"$work/out" || status=$?
    [[ $status == 0 ]] || failed=1
    result=$(grep '^{' "$work/out" | tail -n 1 || true)
    printf '{"config": %s, "status": %d, "result": %s}\n' \
        "$(quoted "$config")" "$status" "${result:-null}" >>"$results"
done
exit "$failed"
