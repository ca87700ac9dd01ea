#!/usr/bin/env python3
"""What tools/gpu_check.sh asks of a GPU beside the suites, a part a call; each row of the table is written once it is known.

    python bench/gpu.py OUT.md PART [--emulate RECORDS]

    processor   runs on the GPU learn what they do on the processor, with recorded batches and without
    pytorch     makes the models of the next part, and finds the same loss of one as PyTorch
    speeds      how fast and in how much memory hone and PEFT (bf16, SDPA attention) train these models
    large       the same with a model of 8 billion parameters, and the memory that hone takes on a quantised base

HONE_BIN names the program; with --emulate shapes are tiny, and PyTorch runs on the processor: every line is run, and no
figure means anything.
"""

import json
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import inputs
import measure
import shapes

EMULATE = "--emulate" in sys.argv
CACHE = os.path.join(measure.ROOT, "build", "bench", "gpu")
MEMORY, ROOM = "/dev/shm", 40 << 30  # where the files of the large model lie, if there is so much room
PEER = "cpu" if EMULATE else "cuda"
# Shape, rows and tokens of a step, goal: times PEFT's tokens per second.
SPEEDS = [("tiny", 2, 16, 2.5)] if EMULATE else [("llama-135m-bf16", 16, 1024, 2.5), ("qwen2-0.5b-bf16", 16, 1024, 2.5)]
# Model of 8 billion parameters, tokens of a row.
SHAPE_8B, ROW_8B = ("tiny-8b", 16) if EMULATE else ("llama-8b", 2048)
TENSOR_CORES = 790e12  # FLOP/s in bf16 that a large product reaches on an H200
STEPS = 2 if EMULATE else 50
TRAIN = ["--set", "eval_fraction=0", "--set", "checkpoint_every=0", "--set", "checkpoint_minutes=0", "--set", "log_every=1"]
# As a user has it, who asks for bf16 and nothing else.
DEFAULTS = {"device": "cuda", "compute": "bf16", "recompute": "auto", "activations": "auto", "threads": 0}


def safely(name, rows):
    """The rows, or one that says why there are no more: others can still tell."""
    try:
        yield from rows
    except (SystemExit, Exception) as error:
        print(error, file=sys.stderr, flush=True)
        yield name, str(error)[-300:].replace("\n", " ").replace("|", "/"), "", False


def curve(device, model, records, *options):
    """Losses of a run."""
    folder = tempfile.mkdtemp(prefix="hone-gpu-")
    out = os.path.join(folder, "run")
    command = [measure.HONE, "train", "--model", model, "--data", records, "--out", out, "--steps", STEPS, "--device", device]
    try:
        measure.run([*command, *TRAIN, *options])
        with open(os.path.join(out, "metrics.jsonl"), encoding="utf-8") as file:
            return [row["loss"] for row in map(json.loads, file) if "grad_norm" in row]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def has_fp8():
    gpu = json.loads(measure.run([measure.HONE, "doctor", "--json"])[0])["cuda"]["gpus"][0]
    return [int(part) for part in gpu["compute_capability"].split(".")] >= [8, 9]


def processor():
    """Rows: the largest difference between losses on the two, relative, over the run. All runs at once."""
    model, records = (os.path.join(measure.ROOT, *path) for path in [("models", "hone-base.gguf"), ("samples", "shop.jsonl")])
    few = ["--seq-len", 512, "--batch-size", 4, "--threads", 4]
    if EMULATE:
        model, records = os.path.join(measure.ROOT, "tests", "fixtures", "models", "grouped-tied"), sys.argv[-1]
        few = ["--seq-len", 32, "--batch-size", 1, "--set", "too_long=split"]
    ways = [("f32", 1e-3), ("tf32", 5e-3), ("bf16", 5e-3), ("int8", 5e-3)] + ([("fp8", 5e-2)] if has_fp8() else [])

    def both(compute):  # one after the other: the second takes the attention that the first has measured
        return [curve("cuda", model, records, "--compute", compute, *few, *more) for more in ([], ["--set", "graphs=off"])]

    def compare(compute, limit, runs, exact):
        found, again = runs.result()
        off = max(abs(a - b) / b for a, b in zip(found, exact.result()))
        same = found == again
        yield f"losses of a second run in {compute}, without graphs", "the same" if same else "others", "the same", same
        yield f"losses of {STEPS} steps in {compute}, against f32 on the processor", f"{off:.1e}", f"≤ {limit:.0e}", off <= limit

    with ThreadPoolExecutor(1 + len(ways)) as pool:
        exact = pool.submit(curve, "cpu", model, records, "--compute", "f32", *few)
        runs = [pool.submit(both, compute) for compute, _ in ways]
        for (compute, limit), run in zip(ways, runs):
            yield from safely(f"losses in {compute}", compare(compute, limit, run, exact))


def pytorch():
    """Row: the loss of a model with random weights, by hone and by transformers."""
    import torch
    import transformers

    for shape, _, tokens, _ in SPEEDS:
        inputs.model_folder(CACHE, shape)
        inputs.records(CACHE, shape, "full", tokens)
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


def in_plan(own):
    """What hone chose, as part of what was measured."""
    print(json.dumps(own), file=sys.stderr, flush=True)  # should the peer fail
    plan = own["plan"]
    return f"{plan['compute']}, attention {plan['attention']}, recompute {plan['recompute']}, activations {plan['activations']}"


def against_peer(what, own, peer, speed_goal, memory_goal):
    """Rows: speed, and of either what its buffers take."""
    print(json.dumps(peer), file=sys.stderr, flush=True)
    ratio = own["tokens_per_second"] / peer["tokens_per_second"]
    figures = f"{own['tokens_per_second']:.4g} tokens/s against {peer['tokens_per_second']:.4g}: {ratio:.2f}×"
    yield f"{what}: speed", figures, f"≥ {speed_goal}×", ratio >= speed_goal
    used, peak = own["device_peak_bytes"], peer["peak_bytes"]
    figures = f"{used / 1e9:.2f} GB against {peak / 1e9:.2f}: {used / peak:.2f}×"
    yield f"{what}: memory", figures, f"≤ {memory_goal}×" if memory_goal else "", not memory_goal or used <= memory_goal * peak


def speed(shape, rows, tokens, goal):
    model = inputs.model_folder(CACHE, shape)
    stem = inputs.records(CACHE, shape, "full", tokens)
    steps = 2 if EMULATE else 10
    own = measure.hone_train(model, stem + ".jsonl", steps, rows, tokens, **DEFAULTS)
    options = {"dtype": "bfloat16", "device": PEER}
    what = f"{shape}, {rows}×{tokens}, {in_plan(own)}"
    peer = measure.peft(model, stem + ".samples.jsonl", batch=rows, steps=steps, warmup=2, **options)
    yield from against_peer(what, own, peer, goal, None)


def speeds():
    """Rows of tokens per second and memory of both, and their ratio."""
    for shape, rows, tokens, goal in SPEEDS:
        yield from safely(f"{shape}: speed", speed(shape, rows, tokens, goal))


def make_large(cache):
    """The model, its records, and a quantised base, side by side: their paths, without endings of the second."""
    inputs.tokenizer_folder(cache, SHAPE_8B)  # of both
    commands = [["inputs.py", cache, SHAPE_8B, "full", ROW_8B], ["q4_k_m.py", cache, SHAPE_8B]]
    with ThreadPoolExecutor() as pool:
        made = [pool.submit(measure.run, [sys.executable, os.path.join(measure.HERE, script), *rest]) for script, *rest in commands]
        return [path for run in made for path in run.result()[0].splitlines()[-2:]]


def beside_peft(model, stem):
    rows, steps = 4, 1 if EMULATE else 3
    own = measure.hone_train(model, stem + ".jsonl", steps, rows, ROW_8B, **{**DEFAULTS, "activations": "bf16"})
    rate = own["tokens_per_second"] * shapes.flops_per_token(SHAPE_8B, ROW_8B, rank=0)
    part = rate / TENSOR_CORES
    what = f"{SHAPE_8B}, {rows}×{ROW_8B}, {in_plan(own)}"
    yield f"{what}: frozen products and attention", f"{rate / 1e12:.4g} TFLOP/s, {part:.2f} of what products reach", "≥ 0.55", part >= 0.55
    options = {"dtype": "bfloat16", "device": PEER}
    peer = measure.peft(model, stem + ".samples.jsonl", batch=rows, steps=1 if EMULATE else 2, warmup=1, **options)
    yield from against_peer(what, own, peer, 1.5, 0.6)


def on_quantised(base, stem):
    own = measure.hone_train(base, stem + ".jsonl", 1, 1, ROW_8B, **{**DEFAULTS, "recompute": "full", "activations": "bf16"})
    used = own["device_peak_bytes"]
    figures = f"{used / 1e9:.2f} GB, {own['tokens_per_second']:.4g} tokens/s"
    yield f"{SHAPE_8B} on a Q4_K_M base, 1×{ROW_8B}, {in_plan(own)}: memory", figures, "< 8 GB", used < 8e9


def large():
    """Rows: speed and memory of 8 billion parameters against PEFT, and memory on a quantised base."""
    in_memory = os.path.isdir(MEMORY) and shutil.disk_usage(MEMORY).free >= ROOM
    cache = tempfile.mkdtemp(prefix="hone-gpu-", dir=MEMORY if in_memory else CACHE)
    try:
        model, stem, base = make_large(cache)
        yield from safely("speed", beside_peft(model, stem))
        yield from safely("on a quantised base", on_quantised(base, stem))
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def main():
    os.makedirs(CACHE, exist_ok=True)
    out, name = sys.argv[1:3]
    part, must_hold = {"processor": (processor, True), "pytorch": (pytorch, True), "speeds": (speeds, False), "large": (large, False)}[name]
    measure.LIMIT = None if EMULATE else 100
    wrong = 0
    with open(out, "a", encoding="utf-8") as file:
        for what, found, goal, held in safely(name, part()):
            line = f"| {what} | {found} | {goal} | {'yes' if held else 'no'} |"
            print(line, file=sys.stderr, flush=True)
            print(line, file=file, flush=True)
            wrong += must_hold and not held
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
