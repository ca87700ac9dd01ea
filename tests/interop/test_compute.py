"""Modes of --compute, and activations kept in bf16, against f32: what a run learns, the gradients of one step, and the same
bits for the same plan; all of it on models with outliers, too."""

import random
from types import SimpleNamespace

import gguf
import numpy as np
import pytest
import runs
import torch
from gguf.quants import dequantize
from safetensors.torch import load_file, save_file
from test_crash import kill_after

MODES = ["bf16", "int8"]  # of --compute, all but f32
WAYS = {**{mode: {"compute": mode} for mode in MODES}, "kept": {"compute": "f32", "activations": "bf16"}}
EXACT = {"compute": "f32", "activations": "f32"}
LOSS, IMPROVEMENT, COSINE = 0.005, 0.05, 0.99
LEARNT = 0.3  # nats that f32 must gain for a comparison to mean something
BASES = ["hone-base", "stories260K"]
SETS = ["gsm8k", "oasst", "sherlock"]
TRAINED, HELD = 120, 40  # records
BATCH = 24  # of them in the step whose gradients are compared: some 5,000 tokens

# Runs of seconds that learn enough.
RECIPES = {
    "hone-base": {"lr": 3e-3, "alpha": 32, "seq_len": 256, "batch_size": 2},
    "stories260K": {"lr": 3e-3, "seq_len": 512, "batch_size": 2},
}
STEPS = {"gsm8k": 28, "oasst": 40, "sherlock": 24}
RUN = {"schedule": "cosine", "warmup": 3, "eval_fraction": 0, "too_long": "truncate"}

# The projections that read a norm's result.
READERS = {"attn_norm": ["attn_q", "attn_k", "attn_v"], "ffn_norm": ["ffn_gate", "ffn_up"]}
PEFT_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
}
OUTLIERS, FACTOR = 4, 64
OUTLIERS_LR = 1e-3  # what a factor of A learns from an input of 64 times the size moves the result 64 times as far


# --- Data and models ---


def records(test_data, name):
    if name == "gsm8k":
        rows = runs.read_jsonl(test_data / "instruct/gsm8k-test.jsonl")
        return [{"question": row["question"], "answer": row["answer"]} for row in rows]
    if name == "oasst":
        trees = [row["prompt"] for row in runs.read_jsonl(test_data / "chat/oasst-en-100-tree.jsonl")]
        return [
            {"prompt": tree["text"], "completion": reply["text"]} for tree in trees for reply in tree["replies"][:3]
        ]
    text = (test_data / "text/sherlock-holmes.txt").read_text(encoding="utf-8")
    return [{"text": text[i : i + 500]} for i in range(0, 100_000, 500)]


@pytest.fixture(scope="module")
def data(hone, test_data, tmp_path_factory):
    """For each set a data file to train on and one to evaluate."""
    folder = tmp_path_factory.mktemp("data")
    found = {}
    for name in SETS:
        rows = records(test_data, name)
        random.Random(1).shuffle(rows)
        found[name] = SimpleNamespace(
            train=runs.add_data(hone, folder, rows[:TRAINED], f"{name}-train"),
            held=runs.add_data(hone, folder, rows[TRAINED : TRAINED + HELD], f"{name}-held"),
        )
    return found


def with_outliers(source, target, seed=4):
    """Writes a llama GGUF in F32 in which four gains of every norm of a block are multiplied and the columns of weights
    that read them divided, by a power of two. Gives those columns by block and projection."""
    reader, draw = gguf.GGUFReader(source), np.random.default_rng(seed)
    tensors = {
        t.name: dequantize(t.data, t.tensor_type).astype("float32").reshape([int(n) for n in reversed(t.shape)]).copy()
        for t in reader.tensors
    }
    columns = {}
    for name in [name for name in tensors if name.split(".")[-2] in READERS]:
        _, block, norm, _ = name.split(".")
        chosen = draw.choice(tensors[name].shape[0], OUTLIERS, replace=False)
        tensors[name][chosen] *= FACTOR
        for projection in READERS[norm]:
            tensors[f"blk.{block}.{projection}.weight"][:, chosen] /= FACTOR
            columns[block, projection] = chosen
    writer = gguf.GGUFWriter(target, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        writer.add_key_value(field.name, field.contents(), kind, field.types[-1] if len(field.types) > 1 else None)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return columns


@pytest.fixture(scope="module")
def models(root, test_data, tmp_path_factory):
    """The bases as (path, columns), also those with outliers."""
    folder = tmp_path_factory.mktemp("models")
    plain = {
        "hone-base": root / "models/hone-base.gguf",
        "stories260K": test_data / "stories260K/stories260K-f32.gguf",
    }
    found = {(name, False): (path, {}) for name, path in plain.items()}
    for name, path in plain.items():
        target = folder / f"{name}.gguf"
        found[name, True] = (target, with_outliers(path, target))
    return found


def evaluate(hone, model, data, *extra):
    return hone.json("eval", "--model", model, "--data", data, *extra)["loss"]


# --- Outliers ---


@pytest.mark.parametrize("base", BASES)
def test_outliers_leave_the_function_alone(hone, models, data, base):
    """Powers of two: in f32 not even rounding tells the models apart."""
    losses = [evaluate(hone, models[base, outliers][0], data["gsm8k"].held) for outliers in (False, True)]
    assert abs(losses[0] - losses[1]) <= 1e-6


def test_int8_tells_how_often_outliers_were_met(hone, models, data, tmp_path):
    """By eval, in words and in JSON, and by train, there and in the report; eval in f32 says nothing."""
    sentence = "{:.2f} % of the blocks of activations had an outlier and took 16 bits"
    for base in BASES:  # rows of the smaller one are narrow: all take 16 bits, which counts for nothing here
        options = ["--model", models[base, False][0], "--data", data["gsm8k"].held]
        part = hone.json("eval", *options, "--compute", "int8")["int8_outliers"]
        print(f"{base}: {part}")
        assert 0 <= part < 0.02
        assert f"int8 {sentence.format(100 * part)}\n" in hone("eval", *options, "--compute", "int8").stdout
    assert "int8_outliers" not in hone.json("eval", *options)
    result, _ = runs.train(
        hone, tmp_path / "run", model=options[1], data=options[3], seq_len=128, steps=1, sets=RUN, compute="int8"
    )
    assert 0 <= result["int8_outliers"] < 0.1
    assert sentence.format(100 * result["int8_outliers"]) in (tmp_path / "run/report.html").read_text()


# --- What a run learns ---


def learnt(hone, out, base, model, sets, way, **changes):
    """The loss on held-out records, in f32, of a run with the settings `way`."""
    recipe = {"rank": 8, "alpha": 16, **RECIPES[base], **changes}
    runs.train(hone, out, model=model, data=sets.train, sets={**RUN, **way}, **recipe)
    return evaluate(hone, model, sets.held, "--adapter", out)


@pytest.mark.parametrize("name,outliers", [(name, outliers) for name in SETS for outliers in (False, True)])
@pytest.mark.parametrize("base", BASES)
def test_run_learns_what_f32_learns(hone, models, data, tmp_path, base, name, outliers):
    model = models[base, outliers][0]
    changes = {"steps": STEPS[name]} | ({"lr": OUTLIERS_LR} if outliers else {})
    before = evaluate(hone, model, data[name].held)
    exact = learnt(hone, tmp_path / "f32", base, model, data[name], EXACT, **changes)
    assert before - exact >= LEARNT
    for way in MODES if outliers else WAYS:  # an outlier is one to products
        settings = WAYS[way]
        found = learnt(hone, tmp_path / way, base, model, data[name], settings, **changes)
        off = abs(found - exact)
        print(f"{base} {name} {way}: {before:.4f} to {exact:.4f} in f32, {off:.1e} from it in {way}")
        assert off <= LOSS * exact, way
        assert off <= IMPROVEMENT * (before - exact), way


# --- Gradients ---


def factors(hone, folder, model, columns, data):
    """A PEFT folder of factors with B drawn, too, for a model whose inputs have outliers in `columns`: there A is smaller
    by as much as the weights."""
    out = folder / "drawn"
    runs.train(hone, out, model=model, data=data, steps=1, rank=8, lr=1e-9, seq_len=256, batch_size=1, sets=RUN)
    path = out / "adapter/adapter_model.safetensors"
    drawn, generator = load_file(path), torch.Generator().manual_seed(3)
    for name in sorted(name for name in drawn if "lora_B" in name):
        drawn[name] = torch.randn(drawn[name].shape, generator=generator) * 0.02
    for (block, projection), chosen in columns.items():
        drawn[f"base_model.model.model.layers.{block}.{PEFT_NAMES[projection]}.lora_A.weight"][:, chosen] /= FACTOR
    save_file(drawn, path)
    return path.parent


def cosine(a, b):
    return float(torch.nn.functional.cosine_similarity(a.double().flatten(), b.double().flatten(), 0))


@pytest.mark.parametrize("outliers", [False, True], ids=["plain", "outliers"])
@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("base", BASES)
def test_gradients_point_where_those_of_f32_do(hone, models, data, tmp_path, base, name, outliers):
    model, columns = models[base, outliers]
    samples = [
        {"ids": sample["ids"][:256], "mask": sample["mask"][:256]} for sample in runs.show(hone, data[name].held, model)
    ]
    samples = [sample for sample in samples if any(sample["mask"][1:])][:BATCH]
    adapter = factors(hone, tmp_path, model, columns, data[name].train)
    _, exact = runs.dump_step(hone, tmp_path, model, adapter, samples)
    grads = [key for key in exact if key.startswith("grad.")]
    assert all("lora_A" in key or "lora_B" in key for key in grads) and grads
    for way in WAYS:
        _, found = runs.dump_step(hone, tmp_path, model, adapter, samples, way, "repeat")
        cosines = {key: cosine(found[key], exact[key]) for key in grads}
        worst = min(cosines, key=cosines.get)
        print(f"{base} {name} {way}: the worst is {cosines[worst]:.4f} of {worst}")
        assert cosines[worst] >= COSINE, (way, worst)


# --- The same plan, the same bits ---

SMALL = {"steps": 12, "seq_len": 128, "batch_size": 2, "rank": 4, "lr": 1e-3, "threads": 2}
KEPT = {**RUN, "checkpoint_every": 4, "dropout": 0.1}


def adapter_bytes(out):
    return (out / "adapter/adapter_model.safetensors").read_bytes()


def loss_curve(out):
    return [step["loss"] for step in runs.steps_of(out)]


@pytest.fixture(scope="module")
def small(hone, models, data, tmp_path_factory):
    """What starts the same small run in a folder, and the folder of one that nothing disturbed, by mode."""
    folder = tmp_path_factory.mktemp("small")
    flags = {"model": models["hone-base", False][0], "data": data["gsm8k"].train, **SMALL}
    for way, settings in WAYS.items():
        runs.train(hone, folder / way, sets={**KEPT, **settings}, **flags)
    return flags, folder


@pytest.mark.parametrize("way", WAYS)
def test_same_plan_gives_the_same_bits(hone, small, tmp_path, way):
    flags, calm = small
    runs.train(hone, tmp_path / "again", sets={**KEPT, **WAYS[way]}, **flags)
    assert adapter_bytes(tmp_path / "again") == adapter_bytes(calm / way)
    assert loss_curve(tmp_path / "again") == loss_curve(calm / way)


@pytest.mark.parametrize("way", WAYS)
def test_killed_run_resumes_to_the_same_bits_and_in_its_own_way_only(hone, small, tmp_path, way):
    flags, calm = small
    out = tmp_path / "killed"
    options = [part for key, value in flags.items() for part in ("--" + key.replace("_", "-"), str(value))]
    command = ["train", "--out", str(out), *options, *runs.settings(**KEPT)]
    own = [*map(str, command), *runs.settings(**WAYS[way])]
    assert kill_after([hone.binary, *own], out, 6, 0)
    refused = hone(*command, *runs.settings(**EXACT), "--resume", status=2)
    assert "resume with what the run began with" in refused.stderr
    hone(*own, "--resume")
    assert adapter_bytes(out) == adapter_bytes(calm / way)
    assert loss_curve(out) == loss_curve(calm / way)


@pytest.mark.parametrize("mode", MODES)
def test_parts_of_a_step_change_it_by_rounding_only(hone, small, tmp_path, mode):
    """Each token is rounded or quantised by itself: which others share its batch does not matter."""
    flags, _ = small
    curves = []
    for batch, accumulation in [(4, 1), (1, 4)]:
        out = tmp_path / str(batch)
        whole = {**flags, "batch_size": batch, "steps": 1}
        runs.train(hone, out, sets={**RUN, "accumulation": accumulation}, compute=mode, **whole)
        curves.append([(step["loss"], step["grad_norm"]) for step in runs.steps_of(out)])
    for one, other in zip(*curves, strict=True):
        print(f"{mode}: (loss, norm) {one} and {other}")
        assert one == pytest.approx(other, rel=1e-6)


def test_every_parameter_in_another_mode_is_refused(hone, small, tmp_path):
    flags, _ = small
    for mode in MODES:
        options = [part for key in ("model", "data") for part in ("--" + key, flags[key])]
        refused = hone("train", "--out", tmp_path / mode, *options, "--full", "--compute", mode, status=2)
        assert "frozen weights" in refused.stderr
        assert not (tmp_path / mode).exists()
