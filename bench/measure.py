"""One measurement of either side: runs a program and gives its speed, memory and times."""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
HONE = os.environ.get("HONE_BIN", os.path.join(ROOT, "build", "release", "cli", "hone"))
THREADS = 2
WARMUP = 1
LIMIT = None  # seconds that a program may take, where there is one


def run(command, env=None, watch=None):
    """Runs a command; gives standard output, peak resident bytes, wall seconds, and the seconds until a line of standard
    error began with `watch`."""
    began = time.time()
    seen = []
    process = subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )
    said = []

    def listen():
        for line in process.stderr:
            said.append(line)
            if watch and line.startswith(watch) and not seen:
                seen.append(time.time() - began)

    listener = threading.Thread(target=listen)
    killer = threading.Timer(LIMIT or threading.TIMEOUT_MAX, process.kill)
    killer.daemon = True
    killer.start()
    listener.start()
    out = process.stdout.read()
    listener.join()
    _, status, usage = os.wait4(process.pid, 0)
    killer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{''.join(said)[-4000:]}\nstatus {process.returncode} after {time.time() - began:.0f} s")
    return out, usage.ru_maxrss * 1024, time.time() - began, seen[0] if seen else None


def peft(model, samples, threads=THREADS, **options):
    """A measurement by peft_train.py."""
    flags = []
    for key, value in options.items():
        flags += [f"--{key}"] if value is True else [] if value is False else [f"--{key}", value]
    command = [sys.executable, os.path.join(HERE, "peft_train.py"), "--model", model, "--samples", samples]
    out, _, _, _ = run([*command, "--threads", threads, *flags])
    return json.loads(out.splitlines()[-1])


def hone_train(model, records, steps, batch, seq_len, uneven=False, threads=THREADS, **sets):
    """A training run of hone, and what it took of its plan. Speed: median over the steps after the warm-up; over all of their
    tokens when `uneven`. Step 1 begins as long before its line as it took."""
    folder = tempfile.mkdtemp(prefix="hone-bench-")
    out = os.path.join(folder, "run")
    fixed = {"eval_fraction": 0, "checkpoint_every": 0, "checkpoint_minutes": 0, "compute": "f32", "recompute": "none", "activations": "f32", "log_every": 1}
    sets = {**fixed, **sets}
    flags = [part for key, value in sets.items() for part in ("--set", f"{key}={value}")]
    command = [HONE, "train", "--model", model, "--data", records, "--out", out, "--steps", steps + WARMUP]
    command += ["--batch-size", batch, "--seq-len", seq_len, "--threads", threads, "--json", *flags]
    try:
        _, peak, wall, stepped = run(command, watch="step 1/")
        with open(os.path.join(out, "metrics.jsonl"), encoding="utf-8") as file:
            every = [row for row in map(json.loads, file) if "grad_norm" in row]
        with open(os.path.join(out, "run.yaml"), encoding="utf-8") as file:
            plan = dict(re.findall(r'^  "(\w+)": "(.*)"$', file.read(), re.MULTILINE))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    lines = every[WARMUP:]
    if uneven:
        speed = sum(row["tokens"] for row in lines) / sum(row["seconds"] for row in lines)
    else:
        speed = statistics.median(row["tokens"] / row["seconds"] for row in lines)
    return {
        "tokens_per_second": round(speed, 1),
        "tokens_per_step": sum(row["tokens"] for row in lines) / len(lines),
        "peak_bytes": peak,
        "device_peak_bytes": every[-1]["peak_bytes"],
        "seconds": round(wall, 2),
        "seconds_to_step_1": round(stepped - every[0]["seconds"], 2),
        "losses": [row["loss"] for row in lines],
        "plan": {key: plan[key] for key in ("compute", "attention", "recompute", "activations")},
    }


def gemm_limit():
    """Best rate of an f32 product of this machine in FLOP/s, two threads, through PyTorch."""
    code = (
        "import torch, time\n"
        f"torch.set_num_threads({THREADS})\n"
        "a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)\n"
        "best = 1e9\n"
        "for _ in range(20):\n"
        "    t = time.time(); a @ b; best = min(best, time.time() - t)\n"
        "print(2 * 2048**3 / best)\n"
    )
    return float(run([sys.executable, "-c", code])[0])
