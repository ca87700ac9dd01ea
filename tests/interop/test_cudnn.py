"""cuDNN as hone takes it: what is declared of it, against its headers; and that the real library, of the wheels, compiles
attention's graphs for GPUs that are described to it."""

import json
import os
import platform
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

# What cuDNN asks of a device, beside its generation; those of an H100.
DEVICE = {
    "deviceName": "described",
    "driverVer": 13000,
    "cudaDeviceId": 0,
    "pciDeviceId": 0,
    "totalGlobalMem": 85_000_000_000,
    "multiProcessorCount": 132,
    "warpSize": 32,
    "maxGridSize": [2147483647, 65535, 65535],
    "maxBlockSize": [1024, 1024, 64],
    "maxThreadsPerBlock": 1024,
    "maxThreadsPerSM": 2048,
    "maxCtasPerSM": 32,
    "regsPerBlock": 65536,
    "maxRegistersPerSM": 65536,
    "maxSharedMemoryPerBlock": 49152,
    "maxSharedMemoryPerBlockOptin": 232448,
    "reservedSharedMemoryPerBlock": 1024,
    "l2CacheSize": 52428800,
    "smClockRateKHz": 1980000,
    "memClockRateKHz": 2619000,
    "isTccDriver": 0,
    "supportCoopLaunch": 1,
}
SHARED_MEMORY = {800: 166912, 900: 232448, 1000: 232448}

# batch longest heads kv_heads heads_taken kv_heads_taken head_size windowed
SHAPES = {
    "one head": (16, 128, 1, 1, 1, 1, 64, 0),
    "grouped heads": (4, 1024, 14, 2, 14, 2, 64, 0),
    "some of the heads": (2, 4096, 32, 8, 4, 1, 128, 0),
    "heads of 80": (2, 2048, 32, 32, 8, 8, 80, 0),
    "heads of 96, windowed": (2, 2048, 32, 32, 8, 8, 96, 1),
    "heads of 256, windowed": (1, 1024, 4, 1, 4, 1, 256, 1),
    "small heads": (16, 128, 4, 2, 4, 2, 8, 1),
}


@pytest.fixture(scope="module")
def wheels():
    """The folder of NVIDIA's wheels, where cuDNN is among them."""
    folder = Path(sysconfig.get_paths()["purelib"]) / "nvidia"
    if not (folder / "cudnn/lib/libcudnn.so.9").is_file():
        pytest.skip("the Python packages here have no cuDNN")
    return folder


@pytest.fixture(scope="module")
def plans(hone, wheels):
    """Has cuDNN compile graphs for a device of a generation, a line of `cudnn_plans` for each."""
    built = Path(hone.binary).parents[1] / "tests"
    if not (built / "cudnn_plans").is_file():
        assert "CI" not in os.environ or platform.machine() != "x86_64", f"no cudnn_plans in {built}"
        pytest.skip("this build has no tests of what is computed on GPUs")

    def compile_for(generation, graphs):
        device = DEVICE | {"deviceVer": generation, "maxSharedMemoryPerBlockOptin": SHARED_MEMORY[generation]}
        done = subprocess.run(
            [
                built / "cudnn_plans",
                wheels / "cudnn/lib/libcudnn.so.9",
                built / "libcudnn_driver.so",
                json.dumps(device),
            ],
            input="".join(" ".join(map(str, graph)) + "\n" for graph in graphs),
            capture_output=True,
            text=True,
            timeout=300,
            env=os.environ | {"LD_LIBRARY_PATH": f"{wheels}/cudnn/lib:{wheels}/cu13/lib"},
        )
        if done.returncode == 3:
            pytest.skip(done.stderr)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) == len(graphs)
        return lines

    return compile_for


@pytest.mark.parametrize("shape", SHAPES)
def test_hopper_has_kernels_for_both_passes(plans, shape):
    forward, backward = plans(900, [(0, *SHAPES[shape]), (1, *SHAPES[shape])])
    for line in forward, backward:
        assert line.startswith("plan "), line
        taken, expected = map(int, line.split()[1:])
        assert expected <= taken <= expected + (1 << 20)  # attention_cudnn.c: SPARE


@pytest.mark.parametrize("generation", [800, 1000])
def test_where_no_kernel_sums_in_order_backward_is_refused(plans, generation):
    """Forward there is; the heuristics of cuDNN 9.26 offer a deterministic backward pass on Hopper alone."""
    shape = SHAPES["grouped heads"]
    forward, backward = plans(generation, [(0, *shape), (1, *shape)])
    assert forward.startswith("plan ")
    assert re.match(r"none cuDNN \d+ has no kernel for attention backward, .*: CUDNN_STATUS_NOT_SUPPORTED", backward)


def test_a_graph_that_makes_no_sense_is_refused_with_the_reason(plans):
    (line,) = plans(900, [(0, 2, 128, 4, 3, 4, 3, 64, 0)])
    assert line.startswith("none ") and "CUDNN_STATUS_BAD_PARAM while describing an operation" in line


def declarations(root):
    """What kernels/cuda/cudnn.h declares: constants, and functions by their names in the library."""
    header = (root / "kernels/cuda/cudnn.h").read_text()
    names = dict(re.findall(r'\{"(cudnn\w+)", offsetof\(hone_cudnn, (\w+)\)\}', (root / "kernels/cuda/cudnn.c").read_text()))
    constants = re.findall(r"\b(CUDNN_\w+) = (\d+),", header)
    members = re.findall(r"^    ([\w ]+?\*?) ?\(\*(\w+)\)\(([^;]*)\);", header, re.M)
    functions = {name: next(m for m in members if m[1] == member) for name, member in names.items()}
    assert len(constants) > 90 and len(functions) == len(members) == 12
    return constants, functions


def test_declarations_are_those_of_the_headers(root, wheels, tmp_path):
    constants, functions = declarations(root)
    lines = ["#include <cudnn.h>"]
    lines += [f'_Static_assert({name} == {value}, "{name}");' for name, value in constants]
    for name, (result, _, parameters) in functions.items():
        lines.append(f'_Static_assert(__builtin_types_compatible_p(__typeof__({name}), {result}({parameters})), "{name}");')
    source = tmp_path / "declared.c"
    source.write_text("\n".join(lines) + "\n")
    compiler = os.environ.get("CC", "cc")
    folders = [f"-I{wheels}/cudnn/include", f"-I{wheels}/cu13/include"]
    done = subprocess.run([compiler, "-std=c17", "-fsyntax-only", *folders, source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
