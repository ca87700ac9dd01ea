"""Adapters made elsewhere: PEFT's, MLX-LM's and llama.cpp's forms of one adapter say the same, whichever way they are turned
into each other, and what a form means that hone does not honour is refused before anything is written."""

import json
import shutil

import numpy as np
import pytest
import runs
from safetensors.numpy import load_file, save_file

KINDS = ["lora-r4", "rslora-r8-attn", "lora-pattern"]
REFUSED = {
    "dora-r4": "DoRA",
    "lora-embed": "embed_tokens",
    "lora-save-norm": "modules_to_save",
}
LAYERS = 5


@pytest.fixture(scope="module")
def stories(test_data):
    return test_data / "stories260K"


@pytest.fixture(scope="module")
def data(hone, stories, tmp_path_factory):
    """The text whose loss expected.json gives, as one record."""
    rows = [{"text": "Once upon a time there was a little loaf that wanted to see the oven from outside. " * 3}]
    return runs.add_data(hone, tmp_path_factory.mktemp("forms"), rows)


@pytest.fixture(scope="module")
def loss(hone, stories, data):
    def measure(adapter, model="hf"):
        flags = ["--adapter", adapter] if adapter else []
        return hone.json("eval", "--model", stories / model, *flags, "--data", data)["loss"]

    return measure


def scales_of(peft):
    """The scale of every adapted module, by PEFT's rules for the shared adapters."""
    config = json.loads((peft / "adapter_config.json").read_text())
    tensors = load_file(peft / "adapter_model.safetensors")
    scales = {}
    for name, values in tensors.items():
        if not name.endswith("lora_A.weight"):
            continue
        module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        alpha = next((a for key, a in config["alpha_pattern"].items() if module.endswith(key)), config["lora_alpha"])
        rank = values.shape[0]
        scales[module] = alpha / (rank**0.5 if config["use_rslora"] else rank)
    return scales


def to_mlx(peft, folder):
    """The adapter as MLX-LM writes one: transposed, one scale, one rank (zeros where it was less)."""
    folder.mkdir()
    source, scales = load_file(peft / "adapter_model.safetensors"), scales_of(peft)
    one = next(iter(scales.values()))
    rank = max(values.shape[0] for name, values in source.items() if "lora_A" in name)
    tensors = {}
    for module, scale in scales.items():
        a = source[f"base_model.model.{module}.lora_A.weight"].T
        b = source[f"base_model.model.{module}.lora_B.weight"].T * (scale / one)
        missing = rank - a.shape[1]
        tensors[f"{module}.lora_a"] = np.ascontiguousarray(np.pad(a, ((0, 0), (0, missing))))
        tensors[f"{module}.lora_b"] = np.ascontiguousarray(np.pad(b, ((0, missing), (0, 0)))).astype(np.float32)
    save_file(tensors, folder / "adapters.safetensors")
    keys = sorted({module.split(".", 3)[3] for module in scales})
    config = {
        "fine_tune_type": "lora",
        "num_layers": LAYERS,
        "lora_parameters": {"rank": rank, "scale": one, "dropout": 0.0, "keys": keys},
        "model": "stories",
        "iters": 100,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_mlx_form_says_what_peft_form_says(loss, stories, tmp_path, kind):
    peft = stories / "adapters" / kind
    wanted = loss(peft)
    assert abs(loss(to_mlx(peft, tmp_path / "mlx")) - wanted) < 1e-6
    assert abs(wanted - loss(None)) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_forms_turn_into_each_other_without_a_difference(hone, loss, stories, tmp_path, kind):
    """PEFT to GGUF to PEFT to MLX to GGUF to MLX to PEFT."""
    at = stories / "adapters" / kind
    wanted = loss(at)
    for number, form in enumerate(["gguf-adapter", "peft", "mlx", "gguf-adapter", "mlx", "peft"]):
        target = tmp_path / f"{number}{'.gguf' if form == 'gguf-adapter' else ''}"
        hone("export", "--model", stories / "hf", "--adapter", at, "--out", target, "--format", form, "-q")
        assert abs(loss(target) - wanted) < 1e-6, (number, form)
        at = target


def test_peft_loads_what_came_from_mlx(hone, loss, stories, tmp_path, data):
    import oracle

    mlx = to_mlx(stories / "adapters/rslora-r8-attn", tmp_path / "mlx")
    hone("export", "--model", stories / "hf", "--adapter", mlx, "--out", tmp_path / "peft", "--format", "peft", "-q")
    samples = runs.show(hone, data, stories / "hf")
    found = oracle.evaluate(oracle.load_adapted(stories / "hf", tmp_path / "peft"), samples)
    assert abs(found - loss(mlx)) < 1e-5


@pytest.mark.parametrize("form", ["peft", "mlx", "gguf"])
def test_every_form_is_merged_and_trained_on(hone, loss, stories, data, tmp_path, form):
    adapters = stories / "adapters"
    at = {"peft": adapters / "lora-r4", "gguf": adapters / "lora-r4.gguf"}.get(form)
    at = at or to_mlx(adapters / "lora-r4", tmp_path / "mlx")
    merged = tmp_path / "merged.gguf"
    hone("export", "--model", stories / "hf", "--adapter", at, "--out", merged, "--type", "f32", "-q")
    wanted = loss(at)
    assert abs(hone.json("eval", "--model", merged, "--data", data)["loss"] - wanted) < 1e-5
    out = tmp_path / "run"
    result, _ = runs.train(hone, out, model=stories / "hf", adapter=at, data=data, steps=2, lr=1e-3, seq_len=256,
                           batch_size=1, sets={"eval_fraction": 0})  # fmt: skip
    assert abs(result["losses"]["first"] - wanted) < 1e-4 and result["losses"]["last"] < wanted
    assert result["verified"]["agrees"]


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_honoured_is_refused_by_name(hone, stories, data, tmp_path, kind):
    flags = ["--model", stories / "hf", "--adapter", stories / "adapters" / kind]
    for form in ["peft", "gguf-adapter", "mlx", "gguf", "safetensors"]:
        said = hone("export", *flags, "--out", tmp_path / "out", "--format", form, status=1)
        assert REFUSED[kind] in said.stderr
        assert list(tmp_path.iterdir()) == []
    assert REFUSED[kind] in hone("eval", *flags, "--data", data, status=1).stderr
    hone("train", *flags, "--data", data, "--out", tmp_path / "run", status=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key, value", [("bias", "all"), ("bias", "lora_only"), ("lora_bias", True)])
def test_trained_biases_are_refused(hone, stories, data, tmp_path, key, value):
    folder = tmp_path / "adapter"
    shutil.copytree(stories / "adapters/lora-r4", folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").chmod(0o644)
    (folder / "adapter_config.json").write_text(json.dumps({**config, key: value}))
    said = hone("eval", "--model", stories / "hf", "--adapter", folder, "--data", data, status=1)
    assert "trained biases" in said.stderr and key in said.stderr


# --- On another form of its base ---


@pytest.fixture(scope="module")
def forms(hone, stories, tmp_path_factory):
    """The base in the forms that people have it in: hashes of the file and of the tokenizer differ in all of them."""
    folder = tmp_path_factory.mktemp("forms-of-base")
    named = {"hf": stories / "hf", "f32": stories / "stories260K-f32.gguf", "q8_0": stories / "stories260K-q8_0.gguf"}
    named["q4_k_m"] = folder / "stories-q4_k_m.gguf"
    hone("export", "--model", stories / "hf", "--out", named["q4_k_m"], "--type", "q4_k_m", "-q")
    return named


@pytest.mark.parametrize("origin", ["hf", "q8_0"])
def test_adapter_is_used_on_other_forms_of_its_base_with_a_warning(hone, forms, data, tmp_path, origin):
    """What people do: train on the folder, use the adapter on the Q4_K_M file; or the other way round."""
    out = tmp_path / "run"
    runs.train(hone, out, model=forms[origin], data=data, steps=20, rank=4, lr=5e-3, sets={"eval_fraction": 0})

    def evaluate(form, *flags):
        said = hone("eval", "--model", forms[form], "--data", data, "--json", *flags)
        return json.loads(said.stdout)["loss"], said.stderr

    trained, silence = evaluate(origin, "--adapter", out)
    assert not silence
    for form, near in [("hf", 5e-3), ("f32", 5e-3), ("q8_0", 5e-3), ("q4_k_m", 0.2)]:
        if form == origin:
            continue
        for adapter in [out, out / "adapter.gguf"]:
            loss, said = evaluate(form, "--adapter", adapter)
            assert abs(loss - trained) < near and evaluate(form)[0] - loss > 0.5
            assert said.count("\n") == 1 and "the same model in another form" in said
            assert f"{forms[form]}, base " in said


def test_every_command_takes_an_adapter_of_another_form(hone, forms, data, tmp_path):
    run, model = tmp_path / "run", forms["f32"]
    runs.train(hone, run, model=forms["hf"], data=data, steps=2, rank=4, sets={"eval_fraction": 0})
    used, warning = ["--model", model, "--adapter", run], "the same model in another form"
    said = hone("generate", *used, "--prompt", "Once", "--max-tokens", 4)
    assert warning in said.stderr
    said = hone("export", *used, "--out", tmp_path / "m.gguf", "--json")
    assert warning in said.stderr and json.loads(said.stdout)["merged"]
    said = hone("verify", *used, "--json")
    assert said.stderr.count(warning) == 1 and json.loads(said.stdout)["agrees"]
    said = hone("train", *used, "--data", data, "--out", tmp_path / "more", "--steps", 1, "--json")
    assert warning in said.stderr and json.loads(said.stdout.splitlines()[-1])["verified"]["agrees"]
    assert warning not in hone("verify", "--model", model, "--adapter", tmp_path / "more").stderr


def test_adapter_of_another_vocabulary_is_refused(hone, forms, data, tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    runs.train(hone, run, model=forms["f32"], data=data, steps=1, rank=4, sets={"eval_fraction": 0})
    shutil.copytree(forms["hf"], other, copy_function=shutil.copyfile)
    text = (other / "tokenizer.json").read_text(encoding="utf-8")
    tokenizer = json.loads(text)
    token = next(t for t, id in tokenizer["model"]["vocab"].items() if id == 300)
    tokenizer["model"]["vocab"] = {t + "!" if t == token else t: id for t, id in tokenizer["model"]["vocab"].items()}
    tokenizer["model"]["merges"] = [m for m in tokenizer["model"]["merges"] if token not in {"".join(m), *m}]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    for adapter in [run, run / "adapter.gguf"]:
        said = hone("eval", "--model", other, "--adapter", adapter, "--data", data, status=1)
        assert "trained with a vocabulary of hash" in said.stderr
