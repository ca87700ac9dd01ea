"""The program that is built with CUDA, on a machine without a GPU; and that the other has nothing of it."""

import os
import platform
import re
import subprocess

import pytest

NO_DRIVER = "no NVIDIA driver is loaded: install one that serves CUDA 13"


def lines_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.fixture(scope="module")
def cuda(hone):
    """The program with CUDA, which tools/test.sh builds on x86-64."""
    binary = os.environ.get("HONE_CUDA_BIN")
    if not binary:
        assert "CI" not in os.environ or platform.machine() != "x86_64", "HONE_CUDA_BIN must be set when CI is"
        pytest.skip("HONE_CUDA_BIN names no program built with HONE_CUDA=ON")
    if os.path.exists("/dev/nvidiactl"):
        pytest.skip("this machine has a GPU")
    return type(hone)(binary)


@pytest.fixture
def records(tmp_path):
    path = tmp_path / "faq.jsonl"
    path.write_text('{"question": "What is it?", "answer": "It is a loaf."}\n' * 8)
    return path


def needs(binary):
    """Libraries that the program cannot start without."""
    found = [re.search(r"\(NEEDED\).*\[(.*)\]", line) for line in lines_of("readelf", "-d", binary)]
    return [match.group(1) for match in found if match]


def test_no_library_of_cuda_is_needed_to_start(cuda):
    assert not [name for name in needs(cuda.binary) if re.search("cuda|cublas|cudnn|nccl|nvidia", name, re.I)]


def test_program_without_cuda_has_no_code_of_it(hone):
    symbols = [line.split()[-1] for line in lines_of("nm", hone.binary)]
    assert "hone_device_open_cuda" in symbols  # that which says so
    assert not [name for name in symbols if re.search(r"cudart|cublas|cudnn|nccl|^cuda[A-Z]|_cuda$", name) and name != "hone_device_open_cuda"]


def test_asked_for_a_gpu_without_driver_is_refused(cuda, fixtures, records, tmp_path):
    model = fixtures / "models" / "grouped-tied"
    done = cuda("train", "--model", model, "--data", records, "--out", tmp_path / "run", "--device", "cuda", status=1)
    assert NO_DRIVER in done.stderr and "--device cpu" in done.stderr
    assert not (tmp_path / "run").exists()


def test_asked_for_nothing_trains_on_the_processor_and_says_why(cuda, fixtures, records, tmp_path):
    model = fixtures / "models" / "grouped-tied"
    options = ["--data", records, "--out", tmp_path / "run", "--steps", "2", "--seq-len", "64", "--set", "eval_fraction=0"]
    done = cuda("train", "--model", model, *options)
    assert re.search(rf"^no GPU +{NO_DRIVER}", done.stderr, re.M), done.stderr
    assert "device: cpu" in (tmp_path / "run" / "run.yaml").read_text()
    assert cuda("eval", "--model", model, "--adapter", tmp_path / "run", "--data", records).stdout


def test_build_without_cuda_says_so(hone, fixtures, records, tmp_path):
    options = ["--data", records, "--out", tmp_path / "run", "--device", "cuda"]
    done = hone("train", "--model", fixtures / "models" / "grouped-tied", *options, status=2)
    assert "this build of hone has no CUDA" in done.stderr
