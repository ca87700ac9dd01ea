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

mapfile -t code < <(git ls-files -- '*.c' '*.h' '*.cc' '*.hh' '*.cu' '*.cuh')
mapfile -t scripts < <(git ls-files -- '*.sh' .ci/run)
tidied=("$@")
[[ $# -gt 0 ]] || mapfile -t tidied < <(git ls-files -- '*.c')

"$(tool clang-format)" --dry-run -Werror "${code[@]}" || fail "clang-format: run clang-format -i on these files"
python3 tools/check_lengths.py "${code[@]}" || fail "lengths"
shellcheck "${scripts[@]}" || fail "shellcheck"
if git grep -nIE '[[:blank:]]+$' -- . ':!tests/fixtures' ':!tests/fuzz/corpus'; then
    fail "white space at the end of lines"
fi
man=$(groff -man -Tutf8 -Kutf8 -ww -z docs/hone.1 2>&1) || true
[[ -z $man ]] || fail "man page: $man"

# With the compile commands of the release build. Clang 14 does not know all the processor features that GCC knows.
# Clang-tidy's count of what it suppressed is no finding.
build=build/release
[[ -e $build/compile_commands.json ]] || cmake --preset release >/dev/null
printf '%s\0' "${tidied[@]}" |
    xargs -0 -n 2 -P "$(nproc)" "$(tool clang-tidy)" -p "$build" --quiet --extra-arg=-Wno-unknown-warning-option \
        --extra-arg='-D__builtin_cpu_supports(feature)=1' \
        2> >(grep -avE '^[0-9]+ warnings?( and [0-9]+ errors?)? generated|^Suppressed|^Use -header-filter' >&2) ||
    fail "clang-tidy"

[[ $status == 0 ]] && echo "style: clean"
exit "$status"
