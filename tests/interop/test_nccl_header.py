"""What hone declares of NCCL (kernels/cuda/nccl.h) is what the library's own header declares."""

import ctypes
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

SITE = Path(sysconfig.get_paths()["purelib"]) / "nvidia"
VALUES = """
#include HEADER
#include <stddef.h>
#include <stdio.h>
#define SHOW(value) printf("%s %lld\\n", #value, (long long)(value))
int main(void) {
    SHOW(sizeof(ncclUniqueId)); SHOW(NCCL_UNIQUE_ID_BYTES); SHOW(sizeof(ncclResult_t)); SHOW(sizeof(ncclRedOp_t));
    SHOW(sizeof(ncclDataType_t)); SHOW(sizeof(ncclComm_t)); SHOW(ncclSuccess); SHOW(ncclUnhandledCudaError);
    SHOW(ncclSystemError); SHOW(ncclInternalError); SHOW(ncclInvalidArgument); SHOW(ncclInvalidUsage);
    SHOW(ncclRemoteError); SHOW(ncclInProgress); SHOW(ncclSum); SHOW(ncclFloat32); SHOW(ncclFloat64);
    SHOW(offsetof(ncclConfig_t, size)); SHOW(offsetof(ncclConfig_t, magic)); SHOW(offsetof(ncclConfig_t, version));
    SHOW(offsetof(ncclConfig_t, blocking)); SHOW(sizeof(((ncclConfig_t *)0)->blocking));
    MAGIC
}
"""
OURS = 'printf("magic %x\\n", (unsigned)HONE_NCCL_MAGIC);'
THEIRS = 'ncclConfig_t config = NCCL_CONFIG_INITIALIZER; printf("magic %x\\n", config.magic);'


def header():
    """NCCL's header and the flags to read it with: of a CUDA toolkit, or of the wheels in the tests' environment."""
    places = [Path("/usr/local/cuda/include/nccl.h"), SITE / "nccl/include/nccl.h"]
    found = [place for place in places if place.is_file()]
    return found, [f"-isystem{place}" for place in [SITE / "cu13/include", Path("/usr/local/cuda/include")] if place.is_dir()]


HEADERS, FLAGS = header()


def compiled(tmp_path, root, name, magic):
    source, program = tmp_path / "values.c", tmp_path / "values"
    source.write_text(VALUES.replace("    MAGIC", magic))
    command = ["gcc", "-std=gnu11", f"-I{root}", f'-DHEADER="{name}"', *FLAGS, source, "-o", program]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout


def prototypes(root, name):
    """Of every function, as one line without spaces that do not matter."""
    command = ["gcc", "-E", "-P", "-std=gnu11", f"-I{root}", *FLAGS, "-include", name, "-x", "c", "/dev/null"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = {}
    for kind, function, arguments in re.findall(r"\b(const char\s*\*|ncclResult_t)\s*(nccl\w+)\s*\(([^;{}]*)\)\s*;", text):
        found[function] = re.sub(r"\s*([*,])\s*", r"\1", re.sub(r"\s+", " ", f"{kind}({arguments})")).strip()
    return found


@pytest.mark.parametrize("theirs", HEADERS, ids=lambda path: path.parts[-3])
def test_values_and_layouts_are_those_of_the_library(root, tmp_path, theirs):
    ours = compiled(tmp_path, root, "kernels/cuda/nccl.h", OURS)
    assert ours == compiled(tmp_path, root, str(theirs), THEIRS)
    assert len(ours.splitlines()) == 23


@pytest.mark.parametrize("theirs", HEADERS, ids=lambda path: path.parts[-3])
def test_functions_are_those_of_the_library(root, theirs):
    ours, library = prototypes(root, "kernels/cuda/nccl.h"), prototypes(root, str(theirs))
    assert len(ours) == 9
    assert ours == {name: library.get(name) for name in ours}


def test_library_has_the_functions(root):
    """That of the tests' environment, which loads without a GPU."""
    library = ctypes.CDLL(str(SITE / "nccl/lib/libnccl.so.2"))
    version = ctypes.c_int()
    assert library.ncclGetVersion(ctypes.byref(version)) == 0 and version.value >= 21400
    for name in prototypes(root, "kernels/cuda/nccl.h"):
        assert getattr(library, name)


def test_there_is_a_header_to_compare_with():
    assert HEADERS
