"""The repository's own checks find what they are there to find, and its sample data is what the README says."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

GUARDED = "#ifndef {0}\n#define {0}\n{1}\n#endif\n"
CLEAN = {
    "base/ground.h": GUARDED.format("HONE_BASE_GROUND_H", "int ground(void);"),
    "base/ground.c": '#include "base/ground.h"\n#include <stdlib.h>\nint ground(void) { free(malloc(1)); return 0; }\n',
    "kernels/sum.c": '/* printf("no"); malloc(1) */\n#include "base/ground.h"\nchar *s = "exit(1)";\n',
    "train/checkpoint_read.c": "#include <hdf5.h>\n",
    "cli/main.c": "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n",
    "tests/test_sum.c": '#include "kernels/sum.c"\n#include <stdlib.h>\nint f(void) { abort(); }\n',
}
VIOLATIONS = {
    "an upward include": ("base/up.c", '#include "train/checkpoint_read.c"\n', "base/ may not include"),
    "a sideways include": ("text/side.c", '#include "kernels/sum.c"\n', "text/ may not include"),
    "a relative include": ("model/near.c", '#include "near.h"\n', "not a path from the root"),
    "HDF5 in the model": ("model/h5.c", "#include <hdf5.h>\n", "<hdf5.h> may be included"),
    "CUDA above kernels": ("autograd/gpu.c", "#include <cuda_runtime.h>\n", "<cuda_runtime.h> may be included"),
    "a socket": ("data/net.c", "#include <sys/socket.h>\n", "<sys/socket.h> may be included"),
    "heap outside base": ("formats/heap.c", "void *f(void) { return malloc(1); }\n", "heap call outside base/"),
    "printing below cli": ("train/say.c", 'void f(void) { fprintf(stderr, "x"); }\n', "printing or exit outside cli/"),
    "exit below cli": ("train/quit.c", "void f(void) { exit(1); }\n", "printing or exit outside cli/"),
    "OpenMP above base": ("kernels/par.c", "#pragma omp parallel\n", "OpenMP pragma outside base/"),
    "a name twice": ("kernels/ground.c", "int x;\n", "ground.c: in base/ground.c and kernels/ground.c"),
    "a wrong guard": ("base/guard.h", GUARDED.format("GUARD_H", "int g(void);"), "include guard should be"),
    "a header that leans": ("base/lean.h", GUARDED.format("HONE_BASE_LEAN_H", "size_t g(void);"), "compile alone"),
    "a strange folder": ("misc/odd.c", "int x;\n", "misc/ is no folder for code"),
}


def check(root, tool, *arguments):
    command = [sys.executable, os.fspath(root / "tools" / tool), *map(os.fspath, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_check_layers_clean_tree_passes(root, tmp_path):
    write(tmp_path, CLEAN)
    run = check(root, "check_layers.py", "--root", tmp_path)
    assert run.returncode == 0, run.stdout
    assert "6 files of code, 0 violations" in run.stdout


@pytest.mark.parametrize("what", VIOLATIONS)
def test_check_layers_violation_named(root, tmp_path, what):
    name, text, message = VIOLATIONS[what]
    write(tmp_path, {**CLEAN, name: text})
    run = check(root, "check_layers.py", "--root", tmp_path)
    assert run.returncode == 1
    assert message in run.stdout and "1 violations" in run.stdout


def test_check_lengths_long_function_named(root, tmp_path):
    body = "".join(f"    x += {n};\n" for n in range(90))
    short = "static int\nshort_one(int x,\n          int y) {\n    return x + y;\n}\n\n"
    write(tmp_path, {"a.c": f"{short}int tall(int x) {{\n{body}    return x;\n}}\n"})
    run = check(root, "check_lengths.py", tmp_path / "a.c")
    assert run.returncode == 1
    assert "tall has 93 lines, more than 80" in run.stdout
    assert "2 functions, median 48 lines" in run.stdout


JUNIT = """<testsuite>
<testcase name="check" status="run"><system-out>SKIP: x needs HONE_TEST_DATA
100%: Checks: 7, Failures: 0, Errors: 0</system-out></testcase>
<testcase name="broken" status="fail"><failure message=""/><system-out>75%: Checks: 4, Failures: 1, Errors: 0
</system-out></testcase>
<testcase name="crashed" status="fail"><failure message="Timeout"/></testcase>
<testcase name="plain" status="run"/>
</testsuite>"""


def test_sum_tests_failures_counted(root, tmp_path):
    write(tmp_path, {"c.xml": JUNIT, "none.xml": "<testsuite/>"})
    run = check(root, "sum_tests.py", f"c={tmp_path}/c.xml")
    assert run.returncode == 1
    assert run.stdout.splitlines() == [
        "c: SKIP: x needs HONE_TEST_DATA",
        "c: 11 passed, 2 failed, 1 skipped",
        "11 passed, 2 failed, 1 skipped",
    ]
    for nothing in ("none", "missing"):
        run = check(root, "sum_tests.py", f"n={tmp_path}/{nothing}.xml")
        assert run.returncode == 1 and "0 passed, 1 failed" in run.stdout


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_samples_shop_complete_and_distinct(root):
    trained, heldout = rows(root / "samples/shop.jsonl"), rows(root / "samples/shop-heldout.jsonl")
    assert len(trained) >= 150 and len(heldout) == 30
    repeated = [q for q, n in Counter(row["question"] for row in trained + heldout).items() if n > 1]
    assert not repeated
    answers = {row["fact"]: row["answer"] for row in trained}
    wordings = Counter(row["fact"] for row in trained)
    for row in trained + heldout:
        assert row["answer"] == answers[row["fact"]]
        assert 8 <= len(row["answer"].split()) <= 30
    assert all(wordings[row["fact"]] >= 2 for row in heldout)
