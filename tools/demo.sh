#!/usr/bin/env bash
# The main job from start to end: builds hone, teaches the shipped base what the people of a small shop are asked, and
# shows what it answers before and after. Exit status 1 unless the loss on held-out questions fell.
# usage: tools/demo.sh [--yes]     --yes: install missing system packages without asking
set -euo pipefail
cd "$(dirname "$0")/.."

base=models/hone-base.gguf
records=samples/shop.jsonl
heldout=samples/shop-heldout.jsonl
hone=build/release/cli/hone

case "${*:-}" in
    "" | --yes) ;;
    *)
        echo "usage: tools/demo.sh [--yes]" >&2
        exit 2
        ;;
esac

heading() {
    printf '\n== %s\n' "$*"
}

# One field of one line of a sample file.
field() {
    sed -n "$3p" "$1" | sed -E "s/.*\"$2\": \"(([^\"\\\\]|\\\\.)*)\".*/\1/"
}

loss() {
    "$hone" eval --model "$base" --data "$heldout" --json -q "$@" |
        sed -nE 's/.*"loss": ?([0-9.eE+-]+).*/\1/p'
}

say() {
    "$hone" generate --model "$base" --prompt "$1" --chat --max-tokens 48 --temperature 0 -q "${@:2}" | tr -s '\n' ' '
}

# Question, answer before, answer after, and what the file says.
ask() {
    local file=$1 line=$2 label=$3 question
    question=$(field "$file" question "$line")
    printf '\n[%s] %s\n' "$label" "$question"
    printf '  before:   %s\n' "$(say "$question")"
    printf '  after:    %s\n' "$(say "$question" --adapter "$run")"
    printf '  the file: %s\n' "$(field "$file" answer "$line")"
}

heading "System packages"
tools/install_deps.sh --runtime "$@"

heading "Build"
cmake --preset release >/dev/null
cmake --build --preset release --target hone

run=runs/demo
for ((n = 2; ; n++)); do
    [[ -e $run ]] || break
    run=runs/demo-$n
done
mkdir -p runs

heading "Train: $(grep -c . "$records") questions and answers of a bakery"
before=$(loss)
began=$SECONDS
"$hone" train --config configs/shop.yaml --out "$run"
trained=$((SECONDS - began))
after=$(loss --adapter "$run")

heading "Answers"
for line in 17 75; do ask "$records" "$line" "from the training data"; done
for line in 1 5 10 15 28; do ask "$heldout" "$line" "held out: never seen in these words"; done

heading "Result"
cat <<END
Loss on $(grep -c . "$heldout") held-out questions: $before before, $after after $trained seconds of training.
The run folder:          $run   (its report: $run/report.html)
Talk to it:              $hone chat --model $base --adapter $run
Load it in llama.cpp:    llama-cli -m $base --lora $run/adapter.gguf
END
if ! awk -v before="$before" -v after="$after" 'BEGIN { exit !(after + 0 < before + 0 && after != "") }'; then
    echo "The held-out loss did not fall." >&2
    exit 1
fi
