#!/usr/bin/env bash
# Checks hone on this machine's GPU, within four minutes: the suite of steps, small runs under compute-sanitizer, runs against
# the processor and PyTorch, all side by side; then speed and memory against PEFT. Writes what it found to bench/results/ (or
# --out FILE.md), and to a .log beside it what a failed check said.
#
# With --large, instead, speed and memory with a model of 8 billion parameters, in as much time, and 24 GB in /dev/shm or on the
# disk.
#
# Uses build/gpu where it was brought along, else builds it. tools/gpu_check.sh --prepare makes it on a machine without a GPU: to
# bring are build/gpu/lib, build/gpu/data, build/gpu/cli/hone and build/gpu/tests/test_cuda_steps. --emulate goes through all of
# it on an emulated GPU: for the script's own sake, so that its figures mean nothing. Needs Python with torch, transformers,
# peft, tokenizers and psutil, for --large gguf as well, which --prepare brings along (HONE_PYTHON).
set -euo pipefail
cd "$(dirname "$0")/.."

build=build/gpu
python=${HONE_PYTHON:-python3}
emulate='' large='' out='' suite_data=()
# The second is what the program would set for itself and start anew with; compute-sanitizer would lose it there.
export HF_HUB_OFFLINE=1 GOMP_SPINCOUNT=1000

# The program and the suite for Hopper alone; every shared library but the system's own and CUDA's in a folder beside; the
# models of the suite, where the test data is at hand.
prepare() {
    local cuda programs=("$build/cli/hone" "$build/tests/test_cuda_steps")
    cuda=$(tools/cuda_toolkit.sh)
    cmake --preset gpu -DCMAKE_CUDA_COMPILER="$cuda/bin/nvcc" -DCUDAToolkit_ROOT="$cuda" >/dev/null
    cmake --build --preset gpu -j "$(nproc)" --target hone test_cuda_steps
    rm -rf "${build:?}"/{lib,data}
    mkdir -p "$build/lib" "$build/data"
    ldd "${programs[@]}" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
        grep -vE '/lib(c|m|mvec|dl|pthread|rt|resolv|util|anl|nsl|stdc\+\+|gcc_s)\.so' | xargs cp -Lt "$build/lib"
    strip --strip-unneeded "$build"/lib/* "${programs[@]}"
    [[ -d ${HONE_TEST_DATA:-} ]] && cp -r "$HONE_TEST_DATA/tiny-archs" "$build/data"
    local package
    package=$("$python" -c 'import importlib.util as u; print(u.find_spec("gguf").submodule_search_locations[0])') &&
        cp -r "$package" "$build/data"
    du -shc "$build/lib" "$build/data" "${programs[@]}"
}

# Where the program looks for its libraries: those of CUDA may lie in Python packages. cuDNN has several files, and compiles.
link_libraries() {
    "$python" -c 'import glob, importlib.util, sys
found = importlib.util.find_spec("nvidia")
folders = [folder + "/*/lib/" for folder in (found.submodule_search_locations if found else [])]
for name in sys.argv[1:]:
    places = (glob.glob(folder + name) for folder in folders + ["/usr/local/cuda/lib64/"])
    for path in next(filter(None, places), []): print(path)' \
        'libcublasLt.so.13' 'libcudnn*.so.9' 'libnvrtc*.so.13*' |
        xargs -r ln -sft "$build/lib"
}

usage() {
    echo "usage: tools/gpu_check.sh [--prepare | [--emulate] [--large] [--out FILE]]" >&2
    exit 2
}

while [[ $# -gt 0 ]]; do
    case $1 in
    --prepare)
        prepare
        exit
        ;;
    --emulate) emulate=yes ;;
    --large) large=yes ;;
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
    tools=("the emulator") # which looks for all of it at once
else
    name=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader --id=0)
    hone=$build/cli/hone
    steps=$build/tests/test_cuda_steps
    tools=(memcheck racecheck synccheck initcheck)
    [[ -x $hone ]] || prepare
    link_libraries
    export PATH=$PATH:/usr/local/cuda/bin
    [[ ! -d $build/data/gguf ]] || export PYTHONPATH=$PWD/$build/data
    [[ ! -d $build/data/tiny-archs ]] || suite_data=(HONE_TEST_DATA="$PWD/$build/data")
fi
out=${out:-bench/results/$(date +%F)-$(tr -cs 'A-Za-z0-9\n' '-' <<<"${name%%,*}")${large:+-large}.md}
mkdir -p "$(dirname "$out")"
model=tests/fixtures/models/grouped-tied
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
records=$work/few.jsonl
for i in {1..12}; do # texts, which no answers are asked for after the run
    echo "{\"text\": \"Loaf number $i is taken out of the oven at seven, and sold before noon.\"}"
done >"$records"

# fail LOG WHAT: what went wrong, in one file beside the results.
fail() {
    touch "$work/failed"
    { echo "--- $2"; tail -n 60 "$1"; } | tee -a "${out%.md}.log" >&2
}

# check WHAT SECONDS COMMAND ...: a line of the results, with how long it took and how many tests were skipped.
check() {
    local what=$1 limit=$2 began=$SECONDS state=passed said skipped
    shift 2
    said=$(mktemp -p "$work")
    [[ $emulate ]] && limit=$((10 * limit))
    if ! timeout -k 5 "$limit" "$@" >"$said" 2>&1; then
        state=FAILED
        fail "$said" "$what"
    fi
    skipped=$(grep -c '^SKIP' "$said" || true)
    [[ $skipped == 0 ]] || state+=" ($skipped skipped)"
    echo "- $what: $state in $((SECONDS - began)) s" | tee -a "$out" >&2
}

# small_run NAME OPTION ...
small_run() {
    echo "$hone" train --model "$model" --data "$records" --out "$work/run-$1" --device cuda --steps 1 --seq-len 32 --batch-size 1 \
        --set too_long=split "${@:2}"
}

# Side by side: none is about speed. Rows of the table wait in a file, which outlives this script.
checks() {
    # shellcheck disable=SC2046 # words are what small_run gives
    check "the program finds the GPU" 30 $(small_run first --compute f32)
    # A process for each test, so that one that fails leaves the others.
    check "steps of every family and type of base" 120 env CK_FORK=yes "${suite_data[@]}" "$steps" &
    for tool in "${tools[@]}"; do
        sanitizer=(compute-sanitizer --tool "$tool" --error-exitcode 1 --print-limit 20)
        [[ $tool == memcheck ]] && sanitizer+=(--report-api-errors no) # hone looks at them itself
        [[ $emulate ]] && sanitizer=()
        # shellcheck disable=SC2046
        check "$tool on a small run" 90 "${sanitizer[@]}" $(small_run "${tool// /-}" --compute int8 --attention own) &
    done
    for part in processor pytorch; do
        check "losses against $part" 90 "$python" bench/gpu.py "$rows" "$part" "${emulated[@]}" &
    done
    wait
    echo >>"$out"
}

export HONE_BIN=$hone
emulated=(${emulate:+--emulate "$records"})
rows=${out%.md}.rows
rm -f "${out%.md}.log"
: >"$rows"
cat >"$out" <<END
# $(date +%F): $name

\`tools/gpu_check.sh${large:+ --large}${emulate:+ --emulate}\` at $(git describe --always --dirty 2>/dev/null || echo 'no commit')${emulate:+; figures mean nothing}

END
[[ $large ]] || checks
printf '%s\n' '| what | found | asked for | held |' '| --- | --- | --- | --- |' | cat - "$rows" >>"$out"
rm "$rows"
part=speeds
[[ $large ]] && part=large
"$python" bench/gpu.py "$out" "$part" "${emulated[@]}" |& tee "$work/said" >&2 || fail "$work/said" "$part"
echo "$out" >&2
[[ ! -e $work/failed ]]
