#!/usr/bin/env python3
"""What tools/gpu_check.sh asks of a GPU beside the suites: that runs there learn what they do on the processor, that PyTorch finds
the same loss, and how fast and in how much memory hone and PEFT (bf16, SDPA attention) train there, in one run.

    python bench/gpu.py OUT.md [--large] [--emulate RECORDS]

With --large, instead, how it is with a model of 8 billion parameters. HONE_BIN names the program; with --emulate shapes are
tiny, and PyTorch runs on the processor: every line is run, and no figure means anything.
"""

import json
import os
import shutil
import sys
import tempfile

import torch
import transformers

import inputs
import measure
import shapes

EMULATE = "--emulate" in sys.argv
LARGE = "--large" in sys.argv
CACHE = os.path.join(measure.ROOT, "build", "bench", "gpu")
PEER = "cpu" if EMULATE else "cuda"
# Shape, rows and tokens of a step, goal: times PEFT's tokens per second.
SPEEDS = [("tiny", 2, 16, 2.5)] if EMULATE else [("llama-135m", 16, 1024, 2.5), ("qwen2-0.5b", 16, 1024, 2.5)]
# Model of 8 billion parameters, tokens of a row.
SHAPE_8B, ROW_8B = ("tiny-8b", 16) if EMULATE else ("llama-8b", 2048)
TENSOR_CORES = 790e12  # FLOP/s in bf16 that a large product reaches on an H200
STEPS = 2 if EMULATE else 50
TRAIN = ["--set", "eval_fraction=0", "--set", "checkpoint_every=0", "--set", "checkpoint_minutes=0", "--set", "log_every=1"]


def curve(device, model, records, steps, *options):
    """Losses of a run."""
    folder = tempfile.mkdtemp(prefix="hone-gpu-")
    out = os.path.join(folder, "run")
    command = [measure.HONE, "train", "--model", model, "--data", records, "--out", out, "--steps", steps, "--device", device]
    try:
        measure.run([*command, *TRAIN, *options])
        with open(os.path.join(out, "metrics.jsonl"), encoding="utf-8") as file:
            return [row["loss"] for row in map(json.loads, file) if "grad_norm" in row]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def as_on_the_processor():
    """Rows: the largest difference between losses on the two, relative, over the run."""
    model, records = (os.path.join(measure.ROOT, *path) for path in [("models", "hone-base.gguf"), ("samples", "shop.jsonl")])
    few = ["--seq-len", 512, "--batch-size", 4]
    if EMULATE:
        model, records = os.path.join(measure.ROOT, "tests", "fixtures", "models", "grouped-tied"), sys.argv[-1]
        few = ["--seq-len", 32, "--batch-size", 1, "--set", "too_long=split"]
    exact = curve("cpu", model, records, STEPS, "--compute", "f32", *few)
    ways = [("f32", 1e-3), ("tf32", 5e-3), ("bf16", 5e-3), ("int8", 5e-3)]
    if EMULATE or torch.cuda.get_device_capability() >= (8, 9):
        ways.append(("fp8", 5e-2))
    for compute, limit in ways:
        found = curve("cuda", model, records, STEPS, "--compute", compute, *few)
        off = max(abs(a - b) / b for a, b in zip(found, exact))
        same = curve("cuda", model, records, STEPS, "--compute", compute, "--set", "graphs=off", *few) == found
        yield f"losses of a second run in {compute}, without graphs", "the same" if same else "others", "the same", same
        yield f"losses of {STEPS} steps in {compute}, against f32 on the processor", f"{off:.1e}", f"≤ {limit:.0e}", off <= limit


def as_in_pytorch():
    """Row: the loss of a model with random weights, by hone and by transformers."""
    shape = SPEEDS[0][0]
    model = inputs.model_folder(CACHE, shape)
    stem = inputs.records(CACHE, shape, "full", 16 if EMULATE else 256)
    out = measure.run([measure.HONE, "eval", "--model", model, "--data", stem + ".jsonl", "--device", "cuda", "--compute", "f32", "--json"])[0]
    own = json.loads(out)["loss"]
    torch.backends.cuda.matmul.allow_tf32 = False
    peer = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, local_files_only=True).to(PEER).eval()
    total, count = 0.0, 0
    with open(stem + ".samples.jsonl", encoding="utf-8") as file, torch.no_grad():
        for sample in map(json.loads, file):
            ids = torch.tensor([sample["ids"]], device=PEER)
            total += float(peer(input_ids=ids, labels=ids).loss) * (ids.numel() - 1)
            count += ids.numel() - 1
    off = abs(own - total / count)
    yield f"loss of {shape}, against PyTorch on {PEER}", f"{off:.1e} nat", "≤ 1e-05 nat", off <= 1e-5


def speeds():
    """Rows of tokens per second and memory of both, and their ratio."""
    for shape, rows, tokens, goal in SPEEDS:
        model = inputs.model_folder(CACHE, shape)
        stem = inputs.records(CACHE, shape, "full", tokens)
        steps = 2 if EMULATE else 10
        own = measure.hone_train(model, stem + ".jsonl", steps, rows, tokens, device="cuda", compute="bf16")
        peer = measure.peft(model, stem + ".samples.jsonl", batch=rows, steps=steps, warmup=2, dtype="bfloat16", device=PEER)
        ratio = own["tokens_per_second"] / peer["tokens_per_second"]
        what = f"{shape}, {rows}×{tokens}, bf16"
        figures = f"{own['tokens_per_second']:.4g} tokens/s against {peer['tokens_per_second']:.4g}: {ratio:.2f}×"
        yield f"{what}: speed", figures, f"≥ {goal}×", ratio >= goal
        if not EMULATE:  # of either, what its buffers take
            used, peak = own["device_peak_bytes"], peer["peak_bytes"]
            yield f"{what}: memory", f"{used / 1e9:.2f} GB against {peak / 1e9:.2f}: {used / peak:.2f}×", "", True


def large():
    """Rows: speed and memory of 8 billion parameters against PEFT, and memory on a quantised base."""
    model = inputs.model_folder(CACHE, SHAPE_8B)
    stem = inputs.records(CACHE, SHAPE_8B, "full", ROW_8B)
    rows, steps = 4, 1 if EMULATE else 5
    own = measure.hone_train(model, stem + ".jsonl", steps, rows, ROW_8B, device="cuda", compute="bf16", recompute="auto", activations="bf16")
    rate = own["tokens_per_second"] * shapes.flops_per_token(SHAPE_8B, ROW_8B, rank=0)
    part = rate / TENSOR_CORES
    what = f"{SHAPE_8B}, {rows}×{ROW_8B}, bf16"
    yield f"{what}: frozen products and attention", f"{rate / 1e12:.4g} TFLOP/s, {part:.2f} of what products reach", "≥ 0.55", part >= 0.55
    peer = measure.peft(model, stem + ".samples.jsonl", batch=rows, steps=steps, warmup=1, dtype="bfloat16", device=PEER)
    ratio = own["tokens_per_second"] / peer["tokens_per_second"]
    figures = f"{own['tokens_per_second']:.4g} tokens/s against {peer['tokens_per_second']:.4g}: {ratio:.2f}×"
    yield f"{what}: speed", figures, "≥ 1.5×", ratio >= 1.5
    used, peak = own["device_peak_bytes"], peer["peak_bytes"]
    yield f"{what}: memory", f"{used / 1e9:.2f} GB against {peak / 1e9:.2f}: {used / peak:.2f}×", "≤ 0.6×", used <= 0.6 * peak
    base = measure.run([sys.executable, os.path.join(measure.HERE, "q4_k_m.py"), CACHE, SHAPE_8B])[0].split()[-1]
    own = measure.hone_train(base, stem + ".jsonl", 1, 1, ROW_8B, device="cuda", compute="bf16", recompute="full", activations="bf16")
    used = own["device_peak_bytes"]
    figures = f"{used / 1e9:.2f} GB, {own['tokens_per_second']:.4g} tokens/s"
    yield f"{SHAPE_8B} on a Q4_K_M base, 1×{ROW_8B}, recomputation: memory", figures, "< 8 GB", used < 8e9


def main():
    os.makedirs(CACHE, exist_ok=True)
    wrong = 0
    with open(sys.argv[1], "a", encoding="utf-8") as out:
        out.write("| what | found | asked for | held |\n| --- | --- | --- | --- |\n")
        for part, must_hold in [(large, False)] if LARGE else [(as_on_the_processor, True), (as_in_pytorch, True), (speeds, False)]:
            try:
                rows = list(part())
            except (SystemExit, Exception) as error:  # the other parts can still tell
                rows = [(part.__name__, str(error)[-300:].replace("\n", " ").replace("|", "/"), "", False)]
            for what, found, goal, held in rows:
                line = f"| {what} | {found} | {goal} | {'yes' if held else 'no'} |"
                print(line, file=sys.stderr, flush=True)
                print(line, file=out, flush=True)
                wrong += must_hold and not held
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
