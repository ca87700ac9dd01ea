"""An adapter merged into a quantised GGUF: every tensor keeps its type, what was not trained keeps its bytes, and what was
trained loses no more than in llama.cpp's own quantiser. llama.cpp says of the merged file what `hone eval` says."""

import json
import math
import os

import gguf
import llama
import numpy as np
import pytest
import quantised
import runs
from gguf.quants import dequantize
from quantised import export_matrix
from safetensors.numpy import save_file
from test_quantize import error, llama_cpp_bytes

RUNTIME_EXACT, RUNTIME = 1e-4, 2e-2
RANK, ALPHA = 8, 16
# PEFT's names of what is trained; q so that rows are permuted, k not at all
TRAINED = {"self_attn.q_proj": "attn_q", "self_attn.v_proj": "attn_v", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


@pytest.fixture(scope="module")
def world(hone, test_data, tmp_path_factory):
    """A folder, the plain model in it, a data file of 400 tokens or more with its samples, and an adapter with factors."""
    folder = tmp_path_factory.mktemp("merged")
    plain = quantised.write_plain(folder / "plain.gguf", test_data / "stories260K/stories260K-f32.gguf")
    text = (test_data / "text/tinyshakespeare.txt").read_text(encoding="utf-8")[:1200]
    data = runs.add_data(hone, folder, [{"text": text[i : i + 600]} for i in (0, 600)])
    return folder, plain, data, runs.show(hone, data, plain), write_adapter(folder / "adapter")


def write_adapter(folder):
    random = np.random.default_rng(5)
    sizes = {name.removesuffix(".weight"): shape for name, shape in quantised.shapes(512)}
    factors = {}
    for layer in range(quantised.LAYERS):
        for module, name in TRAINED.items():
            out, into = sizes[f"blk.{layer}.{name}"]
            key = f"base_model.model.model.layers.{layer}.{module}"
            factors[f"{key}.lora_A.weight"] = random.normal(0, into**-0.5, (RANK, into)).astype(np.float32)
            factors[f"{key}.lora_B.weight"] = random.normal(0, 0.1, (out, RANK)).astype(np.float32)
    folder.mkdir()
    save_file(factors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": ALPHA,
              "target_modules": sorted(module.split(".")[1] for module in TRAINED)}  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder, factors


def tensors_of(path):
    return {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}


def ck_tensors(base, merged, factors):
    """Types, bytes of what was not trained, and the error of what was, q apart, whose rows the runtime orders otherwise."""
    before, after = tensors_of(base), tensors_of(merged)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert after[name].tensor_type == tensor.tensor_type, name
        module = next((hf for hf, role in TRAINED.items() if f".{role}." in name), None)
        if not module:
            assert np.array_equal(after[name].data, tensor.data), name
            continue
        assert not np.array_equal(after[name].data, tensor.data), name
        if module == "self_attn.q_proj":
            continue
        key = f"base_model.model.model.layers.{name.split('.')[1]}.{module}"
        delta = factors[f"{key}.lora_B.weight"] @ factors[f"{key}.lora_A.weight"] * (ALPHA / RANK)
        wanted = np.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type) + delta, np.float32)
        kind = tensor.tensor_type.name.lower()
        theirs = error(wanted, llama_cpp_bytes(wanted, kind), kind)
        rounding = np.finfo(np.float32).eps ** 2 * float((wanted**2).sum())  # products sum in an order of their own
        assert error(wanted, after[name].data, kind) <= theirs * (1 + 1e-6) + rounding, name


def ck_losses(hone, base, merged, adapter, data, samples, printed):
    """What was printed is what `hone eval` says, and llama.cpp says the same of the merged file."""
    loss = hone.json("eval", "--model", merged, "--data", data)["loss"]
    adapted = hone.json("eval", "--model", base, "--adapter", adapter, "--data", data)["loss"]
    assert math.isclose(printed["before"], math.exp(adapted), rel_tol=1e-6)
    assert math.isclose(printed["after"], math.exp(loss), rel_tol=1e-6)
    assert printed["tokens"] == sum(sum(sample["mask"][1:]) for sample in samples)
    with llama.Runtime(llama.f32_form(merged, os.path.dirname(merged))) as runtime:
        assert abs(loss - llama.masked_mean_nll(runtime, samples)) <= RUNTIME_EXACT
    with llama.Runtime(merged, exact=False) as runtime:
        assert abs(loss - llama.masked_mean_nll(runtime, samples)) <= RUNTIME


def merge(hone, base, adapter, out, data, *flags):
    out.unlink(missing_ok=True)
    done = hone.json("export", "--model", base, "--adapter", adapter, "--out", out, "--data", data, *flags)
    assert done["merged"]
    return done["perplexity"]


@pytest.mark.parametrize("name", quantised.ALL)
def test_merged_file_keeps_the_bases_type(hone, world, name):
    folder, plain, data, samples, (adapter, factors) = world
    base, merged = quantised.model_of(name, plain, folder), folder / f"merged-{name}.gguf"
    printed = merge(hone, base, adapter, merged, data)
    assert quantised.matrix_types(merged) == {gguf.GGMLQuantizationType[name.upper()]}
    ck_tensors(base, merged, factors)
    ck_losses(hone, base, merged, adapter, data, samples, printed)
    quantised.PROVEN.add((name.upper(), "merged GGUF, its own type"))


def test_merged_file_keeps_the_bases_mixture(hone, world):
    folder, plain, data, samples, (adapter, factors) = world
    base = quantised.quantise(plain, folder / "q4_k_m.gguf", 15)
    assert {kind.name for kind in quantised.matrix_types(base)} == {"Q4_K", "Q6_K"}
    merged = folder / "merged-q4_k_m.gguf"
    printed = merge(hone, base, adapter, merged, data)
    ck_tensors(base, merged, factors)
    ck_losses(hone, base, merged, adapter, data, samples, printed)
    assert gguf.GGUFReader(merged).fields["general.file_type"].contents() == 15


@pytest.mark.parametrize("name", export_matrix.FILE_TYPES)
def test_merged_file_of_another_type_runs_in_llama_cpp(hone, world, name):
    folder, plain, data, samples, (adapter, _) = world
    merged = folder / f"as-{name}.gguf"
    printed = merge(hone, plain, adapter, merged, data, "--type", name)
    assert name.upper()[:4] in {kind.name for kind in quantised.matrix_types(merged)}
    ck_losses(hone, plain, merged, adapter, data, samples, printed)
    quantised.PROVEN.add((name.upper(), export_matrix.WRITTEN))


def test_perplexity_is_measured_on_the_runs_own_records(hone, world, tmp_path):
    """Without --data: on the held-out records of the run. Of an adapter alone it is not measured, and that is said."""
    _, plain, data, *_ = world
    run = tmp_path / "run"
    runs.train(hone, run, model=plain, data=data, steps=2, seq_len=600, batch_size=1, sets={"rank": 2, "eval_fraction": 0})
    export = ["export", "--model", plain, "--out"]
    done = hone.json(*export, tmp_path / "a.gguf", "--adapter", run, "--type", "q8_0")
    loss = hone.json("eval", "--model", tmp_path / "a.gguf", "--data", data)["loss"]
    assert math.isclose(done["perplexity"]["after"], math.exp(loss), rel_tol=1e-6)
    assert "perplexity" in hone(*export, tmp_path / "b.gguf", "--adapter", run).stderr
    apart = hone(*export, tmp_path / "c.gguf", "--adapter", run / "adapter", "--json")
    assert json.loads(apart.stdout)["perplexity"] is None and "--data" in apart.stderr
    os.rename(data, f"{data}.away")
    try:
        gone = hone(*export, tmp_path / "d.gguf", "--adapter", run, "--json")
    finally:
        os.rename(f"{data}.away", data)
    assert json.loads(gone.stdout)["perplexity"] is None and "no such file" in gone.stderr and "--data" in gone.stderr


def test_change_that_rounds_to_nothing_is_said(hone, world, tmp_path):
    """What few steps change is small beside the steps of a coarse type."""
    folder, plain, data, *_ = world
    base, run = quantised.model_of("q4_1", plain, folder), tmp_path / "run"
    runs.train(hone, run, model=base, data=data, steps=4, seq_len=600, batch_size=1, lr=1e-3)
    export = ["export", "--model", base, "--adapter", run, "--out"]
    assert "rounding took part of what was trained away" in hone(*export, tmp_path / "a.gguf").stderr
    assert "warning" not in hone(*export, tmp_path / "b.gguf", "--type", "f16").stderr
