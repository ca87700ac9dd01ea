#!/usr/bin/env bash
# Checks the style of what git knows: clang-format, clang-tidy, lengths, shellcheck, white space, the man page.
# usage: tools/check_style.sh [FILE.c ...]   clang-tidy on these files only
set -euo pipefail
cd "$(dirname "$0")/.."

status=0
fail() {
    echo "style: $1" >&2
    status=1
}
tool() {
    command -v "$1-14" || command -v "$1"
}

mapfile -t code < <(git ls-files -- '*.c' '*.h')
mapfile -t scripts < <(git ls-files -- '*.sh' .ci/run)
tidied=("$@")
[[ $# -gt 0 ]] || mapfile -t tidied < <(git ls-files -- '*.c')

"$(tool clang-format)" --dry-run -Werror "${code[@]}" || fail "clang-format: run clang-format -i on these files"
python3 tools/check_lengths.py "${code[@]}" || fail "lengths"
shellcheck "${scripts[@]}" || fail "shellcheck"
if git grep -nIE '[[:blank:]]+$' -- . ':!tests/fixtures'; then
    fail "white space at the end of lines"
fi
if [[ -e docs/hone.1 ]] && ! groff -man -Tutf8 -Kutf8 -ww -z docs/hone.1 2>&1 | tee /dev/stderr | wc -c | grep -qx 0; then
    fail "man page"
fi

# The database of the release build. Clang-tidy's count of what it suppressed is no finding.
build=build/release
[[ -e $build/compile_commands.json ]] || cmake --preset release >/dev/null
tidy() {
    xargs -r -d '\n' -n 2 -P "$(nproc)" "$(tool clang-tidy)" -p "$build" --quiet \
        --extra-arg=-Wno-unknown-warning-option "$@" \
        2> >(grep -vE '^[0-9]+ warnings?( and [0-9]+ errors?)? generated|^Suppressed|^Use -header-filter' >&2)
}
# base/status.c defines what tools/analysis.h puts macros over.
printf '%s\n' "${tidied[@]}" | grep -vx base/status.c | tidy "--extra-arg=-include$PWD/tools/analysis.h" ||
    fail "clang-tidy"
printf '%s\n' "${tidied[@]}" | { grep -x base/status.c || true; } | tidy || fail "clang-tidy"

[[ $status == 0 ]] && echo "style: clean"
exit "$status"
