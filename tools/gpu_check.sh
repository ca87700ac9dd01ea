#!/usr/bin/env bash
# Checks hone on this machine's GPU, within ten minutes: the suites of steps, small runs under compute-sanitizer, runs against
# the processor and PyTorch, and speed and memory against PEFT. Writes what it found to bench/results/ (or --out FILE).
#
# Uses build/gpu where it was brought along, else builds it. tools/gpu_check.sh --prepare makes it on a machine without a GPU, with
# the libraries that the other may lack beside it. --emulate goes through all of it on an emulated GPU: for the script's own
# sake, so that its figures mean nothing. Needs Python with torch, transformers, peft, tokenizers and psutil (HONE_PYTHON).
set -euo pipefail
cd "$(dirname "$0")/.."

build=build/gpu
python=${HONE_PYTHON:-python3}
emulate='' out='' failed=0

# The program and the suite for Hopper alone, and every shared library but the system's own and CUDA's in a folder beside.
prepare() {
    local cuda
    cuda=$(tools/cuda_toolkit.sh)
    cmake --preset gpu -DCMAKE_CUDA_COMPILER="$cuda/bin/nvcc" -DCUDAToolkit_ROOT="$cuda" >/dev/null
    cmake --build --preset gpu -j "$(nproc)" --target hone test_cuda_steps
    mkdir -p "$build/lib"
    ldd "$build/cli/hone" "$build/tests/test_cuda_steps" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
        grep -vE '/(libc|libm|libdl|libpthread|librt)\.so' | xargs cp -Lt "$build/lib"
    strip --strip-unneeded "$build"/lib/* "$build/cli/hone" "$build/tests/test_cuda_steps"
    du -shc "$build/lib" "$build/cli/hone" "$build/tests/test_cuda_steps"
}

usage() {
    echo "usage: tools/gpu_check.sh [--prepare | --emulate] [--out FILE]" >&2
    exit 2
}

while [[ $# -gt 0 ]]; do
    case $1 in
    --prepare)
        prepare
        exit
        ;;
    --emulate) emulate=yes ;;
    --out)
        [[ $# -gt 1 ]] || usage
        out=$2
        shift
        ;;
    *) usage ;;
    esac
    shift
done

if [[ $emulate ]]; then
    hone=${HONE_EMULATED_BIN:-build/release/tests/hone_on_emulator}
    steps=$(dirname "$hone")/test_cuda_steps
    name="no GPU: emulated"
else
    name=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader --id=0)
    hone=$build/cli/hone
    steps=$build/tests/test_cuda_steps
    [[ -x $hone ]] || prepare
    export LD_LIBRARY_PATH=$PWD/$build/lib:${LD_LIBRARY_PATH:-}
fi
out=${out:-bench/results/$(date +%F)-$(tr -cs 'A-Za-z0-9\n' '-' <<<"${name%%,*}").md}
mkdir -p "$(dirname "$out")"
model=tests/fixtures/models/grouped-tied
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
records=$work/few.jsonl
head -n 3 samples/shop.jsonl >"$records"

# check WHAT COMMAND ...: a line of the results, with how long it took; what a failed one said is shown.
check() {
    local what=$1 began=$SECONDS state=passed
    shift
    "$@" >"$work/said" 2>&1 || state=FAILED
    if [[ $state == FAILED ]]; then
        failed=1
        tail -n 40 "$work/said" >&2
    fi
    echo "$what: $state in $((SECONDS - began)) s" | tee -a "$work/lines" >&2
}

# A step of a small model, with a checkpoint and an evaluation, under a tool of compute-sanitizer.
# shellcheck disable=SC2317 # called by check
small_run() {
    local command=("$hone" train --model "$model" --data "$records" --out "$work/run-$1" --device cuda --steps 1
        --seq-len 96 --batch-size 1 --compute "$2")
    [[ $emulate ]] || command=(compute-sanitizer --tool "$1" --error-exitcode 1 --target-processes application-only "${command[@]}")
    "${command[@]}"
}

check "the program finds the GPU" "$hone" train --model "$model" --data "$records" --out "$work/first" --device cuda \
    --steps 1 --seq-len 96 --batch-size 1
# One process: a GPU takes a second to open.
check "steps of every family and type of base" env CK_FORK="${emulate:+yes}" "$steps"
tools=(memcheck racecheck initcheck synccheck)
[[ $emulate ]] && tools=("the emulator") # which looks for all of that at once
for tool in "${tools[@]}"; do
    check "$tool on a small run" small_run "$tool" bf16
done

{
    echo "# $(date +%F): $name"
    echo
    echo "\`tools/gpu_check.sh${emulate:+ --emulate}\` at $(git describe --always --dirty 2>/dev/null || echo 'no commit')${emulate:+; figures mean nothing}"
    echo
    sed 's/^/- /' "$work/lines"
    echo
} >"$out"
HONE_BIN=$hone "$python" bench/gpu.py "$out" ${emulate:+--emulate} || failed=1
echo "$out" >&2
exit "$failed"
