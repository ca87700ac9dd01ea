"""Killed at any instant and resumed, a run ends as the undisturbed one: the adapter byte for byte, the metrics but for times."""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import runs

STEPS, EVERY = 40, 4  # 10 checkpoints
KILLS, RESUMED = 20, 15  # kills over the run's length; how many of them at least must find a checkpoint
TIMES = {"seconds", "tokens_per_second", "peak_bytes", "eval_seconds"}
RESULTS = ["adapter/adapter_model.safetensors", "adapter/adapter_config.json", "adapter.gguf"]
SETS = {
    "dropout": 0.1,
    "accumulation": 2,
    "recompute": "full",
    "eval_fraction": 0.2,
    "eval_every": 10,
    "checkpoint_every": EVERY,
    "checkpoint_minutes": 0,
    "checkpoint_keep": 2,
}


def records():
    draw = random.Random(11)
    words = "harbour boat gull fish ice crate rope slate knot ferry cat scale tide mud crab stone net wind rain".split()
    for _ in range(60):
        yield {"text": " ".join(draw.choices(words, k=draw.randint(8, 34))).capitalize() + "."}


class Runs:
    """A run that can be started in several folders, with what it leaves when nothing disturbs it."""

    def __init__(self, hone, fixtures, folder):
        self.hone, self.folder = hone, folder
        self.model = fixtures / "models" / "grouped-tied"
        self.data = runs.add_data(hone, folder, list(records()))
        self.calm = folder / "calm"
        assert self.finish(self.calm) == -1
        self.wanted = self.results(self.calm)

    def command(self, out, *extra, steps=STEPS):
        flags = ["--model", self.model, "--data", self.data, "--out", out, "--steps", steps, "--rank", 4]
        flags += ["--seq-len", 128, "--batch-size", 2, "--threads", 1, "--lr", 1e-3]
        return [str(part) for part in [self.hone.binary, "train", *flags, *runs.settings(**SETS), *extra]]

    def finish(self, out, *extra, steps=STEPS):
        """Runs to the end; gives the step it went on from, -1 for a new run."""
        done = subprocess.run(self.command(out, *extra, steps=steps), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        found = re.search(r"resumed from step (\d+)", done.stderr)
        return int(found.group(1)) if found else -1

    @staticmethod
    def results(out):
        metrics = [
            {key: value for key, value in row.items() if key not in TIMES}
            for row in runs.read_jsonl(out / "metrics.jsonl")
        ]
        return [(out / name).read_bytes() for name in RESULTS], metrics

    def ck_same(self, out, wanted):
        files, metrics = self.results(out)
        assert metrics == wanted[1]
        for name, found, want in zip(RESULTS, files, wanted[0]):
            assert found == want, f"{name} differs"
        leftovers = [path for path in Path(out).rglob("*.partial")]
        assert not leftovers, leftovers


@pytest.fixture(scope="module")
def crash(hone, fixtures, tmp_path_factory):
    return Runs(hone, fixtures, tmp_path_factory.mktemp("crash"))


def steps_done(out):
    """Whole lines of steps in metrics.jsonl, while it is being written."""
    try:
        text = (out / "metrics.jsonl").read_text()
    except FileNotFoundError:
        return 0
    return sum('"grad_norm"' in line for line in text.splitlines(keepends=True) if line.endswith("\n"))


def kill_after(command, out, step, delay):
    """Starts a run and kills it `delay` seconds after the line of `step` is there. False when it was done before."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and steps_done(out) < step:
        time.sleep(0.001)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def test_two_undisturbed_runs_are_the_same(crash, tmp_path):
    assert crash.finish(tmp_path / "again") == -1
    crash.ck_same(tmp_path / "again", crash.wanted)


def test_killed_at_random_instants_ends_the_same(crash, tmp_path):
    draw = random.Random(3)
    killed, resumed = 0, 0
    for number in range(KILLS):
        out = tmp_path / str(number)
        step = 1 + number * (STEPS - 2) // KILLS
        if not kill_after(crash.command(out), out, step, draw.random() * 0.02):
            continue
        killed += 1
        resumed += crash.finish(out, "--resume") > 0
        crash.ck_same(out, crash.wanted)
        shutil.rmtree(out)
    print(f"{killed} runs killed, {resumed} of them went on from a checkpoint")
    assert killed >= KILLS - 2
    assert resumed >= RESUMED, resumed


# --- Killed at each write, sync and rename of a checkpoint ---

CALLS = "write,pwrite64,writev,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,ftruncate"
SHORT = 9  # steps: checkpoints at 4 and 8; the calls of the second are the ones to be killed at


def trace(command, log, *options):
    return ["strace", "-f", "-qq", "-o", str(log), *options, *command]


def calls_of_second_checkpoint(crash, folder):
    """The calls made while the checkpoint of step 8 is written, as (name, how many of that name so far in its thread)."""
    log = folder / "trace"
    names = CALLS + ",openat,open,creat"
    command = trace(crash.command(folder / "traced", steps=SHORT), log, "-e", "trace=" + names)
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    counts, found, inside = {}, [], False
    for line in log.read_text().splitlines():
        match = re.match(r"(\d+) +(\w+)\((.*)", line)
        if not match:
            continue
        thread, name, rest = match.groups()
        inside = inside or "step-000008" in rest
        if name in CALLS.split(","):
            counts[thread, name] = counts.get((thread, name), 0) + 1
            if inside:
                found.append((thread, name, counts[thread, name]))
        if inside and name in ("openat", "open", "creat") and ("metrics.jsonl" in rest or "adapter" in rest):
            break  # past the checkpoint
    main = found[0][0]
    assert found and all(thread == main for thread, _, _ in found), "a checkpoint is written by one thread"
    return [(name, count) for _, name, count in found]


def test_killed_at_each_call_of_a_checkpoint_ends_the_same(crash, tmp_path):
    assert shutil.which("strace"), "this test needs strace"
    assert crash.finish(tmp_path / "short", steps=SHORT) == -1
    wanted = crash.results(tmp_path / "short")
    points = calls_of_second_checkpoint(crash, tmp_path)
    assert {"rename", "renameat", "renameat2"} & {name for name, _ in points}
    assert {"fsync", "fdatasync"} & {name for name, _ in points}
    before = 0
    for name, count in points:
        out = tmp_path / f"{name}-{count}"
        inject = ["-e", f"trace={name}", "-e", f"inject={name}:signal=SIGKILL:when={count}"]
        command = trace(crash.command(out, steps=SHORT), tmp_path / "inject", *inject)
        done = subprocess.run(command, capture_output=True, timeout=300)
        assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), (name, count, done.stderr)
        before += crash.finish(out, "--resume", steps=SHORT) == EVERY
        crash.ck_same(out, wanted)
        shutil.rmtree(out)
    print(f"killed at each of {len(points)} calls: {points}")
    assert before >= 1, "no kill hit the second checkpoint before it was whole"


def test_interrupted_run_saves_and_resumes_the_same(crash, tmp_path):
    """A signal that asks: the step is finished and saved, and the message says how to go on."""
    for number, (sent, status) in enumerate([(signal.SIGINT, 130), (signal.SIGTERM, 143)]):
        out = tmp_path / str(number)
        process = subprocess.Popen(crash.command(out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and steps_done(out) < 5:
            time.sleep(0.001)
        process.send_signal(sent)
        _, said = process.communicate(timeout=60)
        assert process.returncode == status
        assert "--resume" in said
        assert crash.finish(out, "--resume") >= 5
        crash.ck_same(out, crash.wanted)


def test_damaged_newest_checkpoint_is_passed_over(crash, tmp_path):
    """A checkpoint cut short by a failing disk: the one before it is used."""
    out = tmp_path / "damaged"
    assert kill_after(crash.command(out), out, 14, 0)
    newest = sorted((out / "checkpoints").glob("step-*.h5"))[-1]
    step = int(re.search(r"\d+", newest.stem).group())
    os.truncate(newest, newest.stat().st_size // 2)
    assert 0 < crash.finish(out, "--resume") < step
    crash.ck_same(out, crash.wanted)
