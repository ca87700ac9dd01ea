"""Steps that several interop tests take with the program: data in, samples out, a training run and its metrics."""

import json
import os
import subprocess
from pathlib import Path


def tool(hone, name):
    """A program of tests/tools, built beside `hone`."""
    path = Path(hone.binary).parents[1] / "tests" / name
    assert path.is_file(), f"no program at {path}: build the tests"
    return os.fspath(path)


def write_jsonl(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def read_jsonl(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def add_data(hone, folder, rows, name="data"):
    """A data file of the records `rows`: one input file for each shape among them."""
    shapes = {}
    for row in rows:
        shapes.setdefault("-".join(row), []).append(row)
    sources = [write_jsonl(Path(folder) / f"{name}-{shape}.jsonl", part) for shape, part in shapes.items()]
    target = Path(folder) / f"{name}.h5"
    hone("data", "add", target, *sources)
    return target


def show(hone, data, model):
    """The samples of a data file as the model sees them: dicts of ids, mask and more."""
    return hone.json_lines("data", "show", data, "--model", model)


def settings(**values):
    """--set options."""
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


def train(hone, out, **options):
    """Runs `hone train`; keyword arguments are flags (seq_len -> --seq-len), `sets` a dict of config keys. Gives the
    final JSON object and the steps of metrics.jsonl."""
    sets = options.pop("sets", {})
    flags = [part for key, value in options.items() for part in ("--" + key.replace("_", "-"), value)]
    result = hone.json("train", "--out", out, *flags, *settings(**sets))
    return result, steps_of(out)


def steps_of(out):
    """The lines of metrics.jsonl that are steps."""
    return [row for row in read_jsonl(Path(out) / "metrics.jsonl") if "loss" in row]


def dump_step(hone, folder, model, adapter, samples, *flags):
    """One step of the engine by tests/tools/dump_step: its loss, and the tensors it wrote."""
    from safetensors.torch import load_file

    source, target = Path(folder) / "samples.json", Path(folder) / "step.safetensors"
    source.write_text(json.dumps([{"ids": list(s["ids"]), "mask": list(s["mask"])} for s in samples]))
    command = [tool(hone, "dump_step"), model, adapter or "-", source, target, *flags]
    done = subprocess.run([os.fspath(part) for part in command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return float(done.stdout), load_file(target)


# Settings under which hone takes the steps that oracle.train_curve takes.
PLAIN = {
    "schedule": "constant",
    "warmup": 0,
    "weight_decay": 0,
    "clip": 0,
    "eval_fraction": 0,
    "checkpoint_every": 0,
    "checkpoint_minutes": 0,
}
