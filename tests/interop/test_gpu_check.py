"""The check of a GPU (tools/gpu_check.sh) goes through to its end, on an emulated one."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest


def check(root, out, *flags):
    """Lines of the results."""
    program = Path(os.environ.get("HONE_EMULATED_BIN", root / "build/release/tests/hone_on_emulator"))
    if not program.is_file():
        assert "CI" not in os.environ or platform.machine() != "x86_64", f"no {program}"
        pytest.skip("the tests were built without CUDA's headers")
    command = ["tools/gpu_check.sh", "--emulate", "--out", out, *flags]
    named = {"HONE_EMULATED_BIN": str(program), "HONE_PYTHON": sys.executable}
    done = subprocess.run(command, cwd=root, env={**os.environ, **named}, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-4000:]
    return out.read_text().splitlines()


def rows_of(lines):
    return [line for line in lines if line.startswith("| ") and not line.startswith(("| what", "| ---"))]


def test_every_line_of_the_check_runs_on_an_emulated_gpu(root, tmp_path):
    lines = check(root, tmp_path / "results.md")
    assert len([line for line in lines if line.startswith("- ") and ": passed" in line]) == 3
    rows = rows_of(lines)
    assert len(rows) == 8  # three modes again and against the processor, PyTorch, speed
    assert all(row.endswith("| yes |") for row in rows[:7])


def test_what_is_asked_of_a_large_model_runs_on_an_emulated_gpu(root, tmp_path):
    rows = rows_of(check(root, tmp_path / "results.md", "--large"))
    assert [row.split("|")[1].split(": ")[-1].strip() for row in rows] == ["frozen products and attention", "speed", "memory", "memory"]
    assert all(row.split("|")[2].strip() for row in rows)
