"""The check of a GPU (tools/gpu_check.sh) goes through to its end, on an emulated one."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest


def emulated(root):
    """The program that takes an emulated GPU for a real one."""
    program = Path(os.environ.get("HONE_EMULATED_BIN", root / "build/release/tests/hone_on_emulator"))
    if not program.is_file():
        assert "CI" not in os.environ or platform.machine() != "x86_64", f"no {program}"
        pytest.skip("the tests were built without CUDA's headers")
    return program


def test_doctor_shows_the_gpu(root):
    program = emulated(root)
    cuda = json.loads(subprocess.run([program, "doctor", "--json"], capture_output=True, check=True).stdout)["cuda"]
    assert cuda["why_not"] is None and cuda["driver"] == cuda["built"] == 13000
    (gpu,) = cuda["gpus"]
    assert gpu["name"] == "Fenced 0" and gpu["compute_capability"] == "9.0"
    assert gpu["memory_bytes"] == gpu["available_bytes"] == 1 << 30
    assert cuda["libraries"]["cuBLASLt"]["version"].startswith("13.")
    assert cuda["libraries"]["cuDNN"]["version"].startswith("9.") and cuda["libraries"]["NCCL"]["version"].startswith("2.")
    said = subprocess.run([program, "doctor"], capture_output=True, check=True, text=True).stdout
    assert "GPU 0        Fenced 0, compute capability 9.0, 1.0 GiB, 1.0 GiB free" in said
    assert "no GPU" not in said


def test_run_shows_answers_and_the_check_that_was_made_meanwhile(root, fixtures, tmp_path):
    data, out = tmp_path / "faq.jsonl", tmp_path / "run"
    rows = [{"question": "What is the price?", "answer": "Two."}, {"question": "And of two?", "answer": "Three coins."}]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ["--model", fixtures / "models/grouped-tied", "--data", data, "--out", out, "--device", "cuda", "--steps", "1"]
    sets = ["--seq-len", "64", "--batch-size", "1", "--compute", "f32", "--set", "eval_fraction=0", "--json"]
    done = subprocess.run([emulated(root), "train", *flags, *sets], capture_output=True, check=True, timeout=300)
    assert json.loads(done.stdout)["verified"]["agrees"]
    page = (out / "report.html").read_text()
    assert "adapter.gguf: logits" in page and "What is the price?" in page and "Three coins." in page


def check(root, out, *flags):
    """Lines of the results."""
    program = emulated(root)
    command = ["tools/gpu_check.sh", "--emulate", "--out", out, *flags]
    named = {"HONE_EMULATED_BIN": str(program), "HONE_PYTHON": sys.executable}
    done = subprocess.run(command, cwd=root, env={**os.environ, **named}, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-4000:]
    return out.read_text().splitlines()


def rows_of(lines):
    return [line for line in lines if line.startswith("| ") and not line.startswith(("| what", "| ---"))]


def test_every_line_of_the_check_runs_on_an_emulated_gpu(root, tmp_path):
    lines = check(root, tmp_path / "results.md")
    assert len([line for line in lines if line.startswith("- ") and ": passed" in line]) == 5
    rows = rows_of(lines)
    assert len(rows) == 13  # five modes again and against the processor, PyTorch, speed and memory
    assert all(row.endswith("| yes |") for row in rows[:11])
    assert "bf16, attention own, recompute none, activations" in rows[11]
    assert not list(tmp_path.glob("results.[lr]*"))  # no failures, and rows in their place


def test_what_is_asked_of_a_large_model_runs_on_an_emulated_gpu(root, tmp_path):
    rows = rows_of(check(root, tmp_path / "results.md", "--large"))
    assert [row.split("|")[1].split(": ")[-1].strip() for row in rows] == ["frozen products and attention", "speed", "memory", "memory"]
    assert all(row.split("|")[2].strip() for row in rows)


def script(path, text):
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_checks_that_fail_are_named_and_what_they_said_is_kept(root, tmp_path):
    program = script(tmp_path / "hone", "echo it rains >&2; exit 3")
    script(tmp_path / "test_cuda_steps", "echo SKIP one; echo SKIP two")
    named = {"HONE_EMULATED_BIN": program, "HONE_PYTHON": script(tmp_path / "python", "echo it snows; exit 1")}
    out = tmp_path / "results.md"
    done = subprocess.run(["tools/gpu_check.sh", "--emulate", "--out", out], cwd=root, env={**os.environ, **named}, capture_output=True)
    assert done.returncode == 1
    lines = [line.rsplit(" in ", 1)[0] for line in out.read_text().splitlines() if line.startswith("- ")]
    assert lines[0] == "- the program finds the GPU: FAILED"
    assert sorted(lines[1:]) == [
        "- losses against processor: FAILED",
        "- losses against pytorch: FAILED",
        "- steps of every family and type of base: passed (2 skipped)",
        "- the emulator on a small run: FAILED",
    ]
    assert "| what | found | asked for | held |" in out.read_text()
    said = (tmp_path / "results.log").read_text()
    assert said.count("it rains") == 2 and said.count("it snows") == 3 and "--- the emulator on a small run\n" in said


FAKE = """
[[ $1 == doctor ]] && echo '{"cuda": {"gpus": [{"compute_capability": "9.0"}]}}' && exit
[[ "$*" == *"compute fp8"* ]] && { echo "hone: it rains | hails" >&2; exit 1; }
while [[ $1 != --out ]]; do shift; done
mkdir -p "$2"
for loss in 3.5 3.25; do echo "{\\"loss\\": $loss, \\"grad_norm\\": 1}"; done >"$2/metrics.jsonl"
"""


def test_a_run_that_fails_leaves_the_rows_of_the_others(root, tmp_path):
    out = tmp_path / "rows.md"
    command = [sys.executable, "bench/gpu.py", out, "processor", "--emulate", "records"]
    env = {**os.environ, "HONE_BIN": script(tmp_path / "hone", FAKE)}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 1 and "it rains | hails" in done.stderr
    rows = rows_of(out.read_text().splitlines())
    assert len(rows) == 9 and all(row.endswith("| yes |") for row in rows[:8])
    assert rows[8].startswith("| losses in fp8 |") and "it rains / hails" in rows[8] and rows[8].endswith("| no |")
