"""Every architecture against PyTorch, PEFT, transformers and llama.cpp, from its Hugging Face folder and from its GGUF:
logits within 1e-4, loss within 1e-5, gradients within 1e-4 of their norm; in llama.cpp, in F32 throughout, within 1e-4 nat of
what PEFT says and the same 32 greedy tokens. What passes is what the table of exports in the README says."""

import json
import shutil
import sys
from pathlib import Path

import architectures
import gguf
import llama
import numpy as np
import oracle
import pytest
import runs
import torch
import transformers
from safetensors.torch import load_file, save_file
from test_export import EXACT, HUGGING_FACE, Case, greedy_hugging_face, greedy_llama, near, texts_of
from test_parity import CURVE, LOGITS, LOSS, RATE, ck_near, ck_step, two_samples, worst  # noqa: F401

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import export_matrix  # noqa: E402

ALL = list(architectures.ARCHITECTURES)
IMAGES = "gemma3-images"  # in GGUF it is another model: that of its text part
IN_GGUF = [name for name in ALL if architectures.ARCHITECTURES[name].gguf_says_all and name != IMAGES]
FAMILIES = list(export_matrix.FAMILIES)
PROVEN = set()  # (family, base, target) of the exports that passed


class Arch:
    """A random model with an adapter, its GGUF, and texts of 400 tokens."""

    def __init__(self, hone, root, fixtures, name, folder):
        self.name, self.family = name, architectures.family_of(name)
        self.folder, self.adapter = architectures.make(name, folder, fixtures / "models/grouped-tied")
        self.case = Case(hone, folder, self.folder, self.adapter, texts_of(root / "tests/fixtures/text/harbour.txt", 1, 900))
        if architectures.ARCHITECTURES[name].gguf_says_all:
            self.gguf = self.case.export("base.gguf", "gguf", adapter=False)
        self.model = oracle.load_adapted(self.folder, self.adapter, trainable=True)
        self.loss = oracle.evaluate(self.model, self.case.samples)
        assert self.case.tokens >= 400

    def export(self, base, name, format, *flags):
        """An export from the folder ("HF") or from the GGUF."""
        path = self.folder if base == "HF" else self.gguf
        out = self.case.folder / f"{base}-{name}"
        if not out.exists():
            self.case.hone(
                "export", "--model", path, "--adapter", self.adapter, "--out", out, "--format", format, *flags
            )
        return out


@pytest.fixture(scope="session")
def arch_of(hone, root, fixtures, tmp_path_factory):
    made = {}

    def make(name):
        if name not in made:
            made[name] = Arch(hone, root, fixtures, name, tmp_path_factory.mktemp(name))
        return made[name]

    return make


# --- The engine ---


PERMUTED = ("llama", "mistral", "smollm3", "granite")  # rows of q and k in GGUF: consecutive pairs


def to_hugging_face(tensors, arch):
    """Gradients of B of a GGUF base, its rows in Hugging Face's order."""
    if arch.family not in PERMUTED:
        return tensors
    config = arch.model.config
    heads = {".q_proj.lora_B": config.num_attention_heads, ".k_proj.lora_B": config.num_key_value_heads}
    turned = dict(tensors)
    for name, value in tensors.items():
        for part, count in heads.items():
            if part in name:
                turned[name] = value.unflatten(0, (count, -1, 2)).transpose(1, 2).flatten(0, 2)
    return turned


@pytest.mark.parametrize("name", ALL)
def test_lora_step_matches_peft(hone, arch_of, tmp_path, two_samples, name):  # noqa: F811
    arch = arch_of(name)
    model = oracle.load_adapted(arch.folder, arch.adapter, trainable=True)  # a dynamic rope remembers the longest text
    found, tensors = runs.dump_step(hone, tmp_path, arch.folder, arch.adapter, two_samples, "recompute")
    ck_step(found, tensors, model, two_samples, "base_model.model.")
    if name in IN_GGUF:
        found, tensors = runs.dump_step(hone, tmp_path, arch.gguf, arch.adapter, two_samples)
        ck_step(found, to_hugging_face(tensors, arch), model, two_samples, "base_model.model.")


@pytest.mark.parametrize("name", [*FAMILIES, "llama-biases", IMAGES])
def test_full_step_matches_pytorch(hone, arch_of, tmp_path, two_samples, name):  # noqa: F811
    arch = arch_of(name)
    model = oracle.load_model(arch.folder)
    found, tensors = runs.dump_step(hone, tmp_path, arch.folder, None, two_samples, "full")
    if name == "gpt2":
        turned = {key: value.T for key, value in tensors.items() if ".h." in key and value.dim() == 2}
        tensors.update(turned)  # hone holds GPT-2's matrices as [out, in]
    ck_step(found, tensors, model, two_samples, "")


@pytest.mark.parametrize("name", ["gemma3", "phi3", "gpt2"])
def test_curve_matches_peft(hone, arch_of, tmp_path, name):
    arch, steps = arch_of(name), 20
    model = oracle.load_adapted(arch.folder, arch.adapter, trainable=True)
    wanted = oracle.train_curve(model, arch.case.samples, steps, RATE)
    _, rows = runs.train(
        hone, tmp_path / "run", model=arch.folder, data=arch.case.data, adapter=arch.adapter, steps=steps, lr=RATE,
        seq_len=512, batch_size=1, sets=runs.PLAIN,
    )
    found = [row["loss"] for row in rows]
    assert worst(found, wanted) <= CURVE, worst(found, wanted)
    assert found[0] - found[-1] >= 0.5


@pytest.mark.parametrize("name", FAMILIES)
def test_fresh_adapter_trains_every_projection_peft_knows(hone, arch_of, tmp_path, name):
    """The run's own adapter names the modules as PEFT does, and loads there without a word."""
    arch = arch_of(name)
    runs.train(hone, tmp_path / "run", model=arch.folder, data=arch.case.data, steps=2, seq_len=512, batch_size=1)
    model = oracle.load_adapted(arch.folder, tmp_path / "run/adapter")
    wanted = {oracle.peft_name(n).split(".lora_")[0] for n, _ in arch.model.named_parameters() if "lora_" in n}
    assert {oracle.peft_name(n).split(".lora_")[0] for n, _ in model.named_parameters() if "lora_" in n} == wanted


@pytest.mark.parametrize("name", FAMILIES)
def test_greedy_tokens_with_a_cache_are_those_of_transformers(hone, arch_of, name):
    """Windows, soft caps and ropes by layer also hold for one token after another."""
    arch = arch_of(name)
    prompt = "The harbour wakes before the sun does. Boats knock against the wall, and gulls quarrel over the nets."
    ids = arch.case.tokenize(prompt)
    wanted = greedy_hugging_face(arch.model, ids)
    said = hone(
        "generate", "--model", arch.folder, "--adapter", arch.adapter, "--prompt", prompt,
        "--max-tokens", 32, "--temperature", 0,
    ).stdout
    tokenizer = transformers.AutoTokenizer.from_pretrained(arch.folder, local_files_only=True)
    text = tokenizer.decode(wanted, skip_special_tokens=True)
    assert said.strip()[:40] == text.strip()[:40]


# --- Exports ---


def ck_llama(arch, path, adapter=None):
    with llama.Runtime(path, adapter) as runtime:
        near(llama.masked_mean_nll(runtime, arch.case.samples), arch.loss, EXACT, "llama.cpp")
    ids = arch.case.samples[0]["ids"][:40]
    assert greedy_llama(path, ids, adapter) == greedy_hugging_face(arch.model, ids)


BASES = ["HF", "GGUF"]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", IN_GGUF)
def test_peft_folder_loads_in_peft(arch_of, name, base):
    arch = arch_of(name)
    model = oracle.load_adapted(arch.folder, arch.export(base, "peft", "peft"))
    near(oracle.evaluate(model, arch.case.samples), arch.loss, HUGGING_FACE, "PEFT")
    PROVEN.add((arch.family, base, "PEFT folder"))


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", IN_GGUF)
def test_gguf_adapter_runs_in_llama_cpp(arch_of, name, base):
    arch = arch_of(name)
    ck_llama(arch, arch.gguf, arch.export(base, "adapter.gguf", "gguf-adapter"))
    PROVEN.add((arch.family, base, "GGUF adapter"))


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", IN_GGUF)
def test_merged_folder_runs_in_transformers(arch_of, name, base):
    arch = arch_of(name)
    out = arch.export(base, "merged", "safetensors")
    model = transformers.AutoModelForCausalLM.from_pretrained(out, local_files_only=True, attn_implementation="eager")
    near(oracle.evaluate(model.eval(), arch.case.samples), arch.loss, HUGGING_FACE, "transformers")
    PROVEN.add((arch.family, base, "merged safetensors"))


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", IN_GGUF)
def test_merged_gguf_runs_in_llama_cpp(arch_of, name, base):
    arch = arch_of(name)
    out = arch.export(base, "merged.gguf", "gguf")
    near(arch.case.loss(out), arch.loss, LOSS, "hone eval")
    ck_llama(arch, out)
    PROVEN.add((arch.family, base, "merged GGUF"))


MLX = {
    "gpt2": "model.h.1.attn.c_attn",
    "phi3": "model.layers.1.self_attn.qkv_proj",
    IMAGES: "language_model.model.layers.1.self_attn.q_proj",
}


@pytest.mark.parametrize("name", MLX)
def test_mlx_folder_names_modules_as_mlx_lm_does(arch_of, name):
    """Factors as PEFT's, transposed; read back on the folder and, under the same names, on the GGUF."""
    arch = arch_of(name)
    out = arch.export("HF", "mlx", "mlx")
    tensors, peft = load_file(out / "adapters.safetensors"), load_file(arch.adapter / "adapter_model.safetensors")
    assert len(tensors) == len(peft)
    (wanted,) = [t for n, t in peft.items() if ".1." in n and MLX[name].split(".1.")[1] + ".lora_A.weight" in n]
    assert torch.equal(tensors[f"{MLX[name]}.lora_a"], wanted.T)
    for base in (arch.folder, arch.gguf):
        near(arch.case.loss(base, out), arch.loss, LOSS, "hone eval")


@pytest.mark.parametrize("name", sorted(set(ALL) - set(IN_GGUF)))
def test_eval_of_a_long_text_matches_pytorch(arch_of, name):
    """Longer than windows, of which a token sees little, and than contexts that a rope scaling stretches."""
    arch = arch_of(name)
    near(arch.case.loss(arch.folder, arch.adapter), arch.loss, LOSS, "hone eval")


def test_eval_of_a_short_text_takes_the_short_factors(hone, arch_of, tmp_path):
    arch = arch_of("phi3-longrope")
    data = runs.add_data(hone, tmp_path, [{"text": "The harbour wakes."}])
    samples = runs.show(hone, data, arch.folder)
    assert len(samples[0]["ids"]) <= 32
    found = hone.json("eval", "--model", arch.folder, "--adapter", arch.adapter, "--data", data)["loss"]
    near(found, oracle.evaluate(arch.model, samples), LOSS, "hone eval")


def test_first_gpt2_files_without_the_outer_name_are_read(hone, arch_of, tmp_path, two_samples):  # noqa: F811
    """transformer.* left out, masks kept, as on the usual download."""
    arch = arch_of("gpt2")
    folder = shutil.copytree(arch.folder, tmp_path / "old")
    tensors = {n.removeprefix("transformer."): t for n, t in load_file(folder / "model.safetensors").items()}
    tensors["h.0.attn.bias"] = torch.ones(1, 1, 8, 8).tril()
    save_file(tensors, folder / "model.safetensors")
    found, _ = runs.dump_step(hone, tmp_path, folder, arch.adapter, two_samples)
    ck_near(found, oracle.gradients(arch.model, two_samples)[0], LOSS, "loss")


def test_export_to_gguf_of_what_it_cannot_say_is_refused(hone, arch_of, tmp_path):
    config = oracle.read_json(arch_of("gemma2").folder / "config.json")
    other = {"layer_types": ["full_attention"] * 3, "query_pre_attn_scalar": 16}
    for key, value in other.items():
        folder = shutil.copytree(arch_of("gemma2").folder, tmp_path / key)
        (folder / "config.json").write_text(json.dumps({**config, key: value}))
    refused = {
        arch_of("llama-yarn-ramp").folder: "this kind of rope scaling",
        tmp_path / "layer_types": "in another pattern",
        tmp_path / "query_pre_attn_scalar": "a scale of their own",
    }
    for folder, message in refused.items():
        done = hone("export", "--model", folder, "--out", tmp_path / "out.gguf", status=1)
        assert message in done.stderr and "export to safetensors instead" in done.stderr
        assert not (tmp_path / "out.gguf").exists()


@pytest.mark.parametrize(("name", "lost"), [("mistral-window", True), ("phi3-window", True), ("gemma2", False)])
def test_export_says_which_window_llama_cpp_does_not_know(hone, arch_of, tmp_path, name, lost):
    said = hone("export", "--model", arch_of(name).folder, "--out", tmp_path / "out.gguf").stderr
    assert ("of up to 24 tokens only" in said) == lost


@pytest.mark.parametrize(("name", "seq_len", "lost"), [("mistral-window", 128, True), ("mistral-window", 24, False),
                                                       ("qwen2-window", 128, True), ("gemma2", 128, False)])
def test_training_says_first_which_window_llama_cpp_does_not_know(hone, arch_of, tmp_path, name, seq_len, lost):
    arch = arch_of(name)
    flags = ["--model", arch.folder, "--data", arch.case.data, "--out", tmp_path / "run", "--steps", 1]
    said = hone("train", *flags, "--batch-size", 1, "--seq-len", seq_len, "--set", "too_long=split").stderr
    assert ("layers see 24 tokens back" in said) == lost
    assert not lost or said.index("layers see 24 tokens back") < said.index("step 1/1")


def test_full_training_of_what_gguf_cannot_say_leaves_it_out(hone, arch_of, tmp_path):
    arch, out = arch_of("llama-yarn-ramp"), tmp_path / "run"
    flags = ["--model", arch.folder, "--data", arch.case.data, "--out", out, "--full", "--steps", 2]
    said = hone("train", *flags, "--batch-size", 1).stderr
    assert said.index("there will be no model.gguf") < said.index("step 2/2")
    assert (out / "model").exists() and (out / "report.html").exists() and not (out / "model.gguf").exists()
    hone("verify", "--model", arch.folder, "--adapter", out)


@pytest.mark.parametrize(("name", "targets"), [("phi3", "q,v"), ("phi3", "up"), ("gpt2", "k"), ("gpt2", "gate")])
def test_targets_within_a_fused_matrix_are_refused(hone, arch_of, tmp_path, name, targets):
    arch = arch_of(name)
    sets = ["--set", f"targets={targets}"]
    done = hone("train", "--model", arch.folder, "--data", arch.case.data, "--out", tmp_path / "run", *sets, status=2)
    assert "choose all of these targets or none" in done.stderr or "none of the chosen targets" in done.stderr


# --- Files of the converter's --fuse-qkv ---


def fuse_qkv(source, target):
    """The file with q, k and v of each block in one tensor."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        part = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], part)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    for name, tensor in tensors.items():
        if ".attn_k." in name or ".attn_v." in name:
            continue
        parts = [tensors[name.replace(".attn_q.", f".attn_{part}.")].data for part in "qkv"] if ".attn_q." in name else [tensor.data]
        writer.add_tensor(name.replace(".attn_q.", ".attn_qkv."), np.concatenate(parts), raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


@pytest.mark.parametrize("name", ["llama-biases", "qwen2", "gemma3"])
def test_gguf_with_q_k_and_v_in_one_is_used_and_merged(hone, arch_of, tmp_path, name):
    arch = arch_of(name)
    base, adapter = fuse_qkv(arch.gguf, tmp_path / "fused.gguf"), ["--adapter", arch.adapter]
    wanted = arch.case.loss(arch.gguf)
    near(arch.case.loss(base), wanted, LOSS, "hone eval")
    with llama.Runtime(base) as runtime:
        near(llama.masked_mean_nll(runtime, arch.case.samples), wanted, EXACT, "llama.cpp")
    near(arch.case.loss(base, arch.adapter), arch.loss, LOSS, "hone eval")
    hone("export", "--model", base, *adapter, "--out", tmp_path / "merged.gguf")
    ck_llama(arch, tmp_path / "merged.gguf")
    out = tmp_path / "adapter.gguf"
    said = hone("export", "--model", base, *adapter, "--out", out, "--format", "gguf-adapter", status=1).stderr
    assert "attn_qkv" in said and "without --fuse-qkv" in said and not out.exists()


def test_training_on_q_k_and_v_in_one_leaves_the_gguf_adapter_out(hone, arch_of, tmp_path):
    arch, run = arch_of("qwen2"), tmp_path / "run"
    base = fuse_qkv(arch.gguf, tmp_path / "fused.gguf")
    flags = ["--model", base, "--data", arch.case.data, "--steps", 2, "--batch-size", 1]
    said = hone("train", *flags, "--out", run).stderr
    assert said.index("there will be no adapter.gguf") < said.index("step 2/2")
    assert (run / "adapter").exists() and not (run / "adapter.gguf").exists() and not (run / "Modelfile").exists()
    hone("verify", "--model", base, "--adapter", run)
    found = hone.json("eval", "--model", base, "--adapter", run, "--data", arch.case.data)["loss"]
    model = oracle.load_adapted(arch.folder, run / "adapter")
    near(oracle.evaluate(model, arch.case.samples), found, HUGGING_FACE, "PEFT")
    hone("train", *flags, "--out", tmp_path / "rest", "--set", "targets=o,gate,up,down")
    with llama.Runtime(base, tmp_path / "rest/adapter.gguf") as runtime:
        found = hone.json("eval", "--model", base, "--adapter", tmp_path / "rest", "--data", arch.case.data)["loss"]
        near(llama.masked_mean_nll(runtime, arch.case.samples), found, EXACT, "llama.cpp")


# --- The text part of a model that takes images ---


def test_text_part_is_exported_for_the_whole_and_by_itself(hone, arch_of, tmp_path):
    arch = arch_of(IMAGES)
    model = oracle.load_adapted(arch.folder, arch.export("HF", "peft", "peft"))
    near(oracle.evaluate(model, arch.case.samples), arch.loss, HUGGING_FACE, "PEFT")
    adapted = [name for name, _ in model.named_parameters() if "lora_A" in name]
    assert len(adapted) == 49 and not any("vision_tower" in name for name in adapted)
    ck_llama(arch, arch.gguf, arch.export("HF", "adapter.gguf", "gguf-adapter"))
    merged = arch.export("HF", "merged.gguf", "gguf")
    near(arch.case.loss(merged), arch.loss, LOSS, "hone eval")
    ck_llama(arch, merged)
    out = arch.export("HF", "merged", "safetensors")
    model = transformers.AutoModelForCausalLM.from_pretrained(out, local_files_only=True, attn_implementation="eager")
    assert type(model).__name__ == "Gemma3ForCausalLM"
    near(oracle.evaluate(model.eval(), arch.case.samples), arch.loss, HUGGING_FACE, "transformers")
    hone("verify", "--model", arch.folder, "--adapter", arch.adapter, "--merged", out)


def test_text_part_trains_to_an_adapter_of_the_whole(hone, arch_of, tmp_path):
    arch = arch_of(IMAGES)
    hone("train", "--model", arch.folder, "--data", arch.case.data, "--out", tmp_path / "run", "--steps", 2)
    said = hone.json("eval", "--model", arch.folder, "--adapter", tmp_path / "run", "--data", arch.case.data)["loss"]
    model = oracle.load_adapted(arch.folder, tmp_path / "run/adapter")
    near(oracle.evaluate(model, arch.case.samples), said, HUGGING_FACE, "PEFT")
    ck_names = {name.split(".lora_")[0] for name in load_file(tmp_path / "run/adapter/adapter_model.safetensors")}
    assert "base_model.model.model.language_model.layers.0.self_attn.q_proj" in ck_names and len(ck_names) == 49
    hone("verify", "--model", arch.folder, "--adapter", tmp_path / "run")


def test_text_part_is_found_under_every_name_it_had(hone, arch_of, tmp_path, two_samples):  # noqa: F811
    """Files and adapters of several versions of transformers, and adapters of the text part by itself."""
    arch = arch_of(IMAGES)
    wanted = oracle.gradients(arch.model, two_samples)[0]
    whole, older, alone = "model.language_model.", "language_model.model.", "model."
    base = shutil.copytree(arch.folder, tmp_path / "base")
    tensors = load_file(base / "model.safetensors")
    assert any(name.startswith(older) for name in tensors) and any(name.startswith("vision_tower.") for name in tensors)
    named = {name.replace(older, whole).replace("vision_tower.", "model.vision_tower."): t for name, t in tensors.items()}
    save_file(named, base / "model.safetensors")
    tensors = load_file(arch.adapter / "adapter_model.safetensors")
    for beginning in (whole, older, alone):
        adapter = shutil.copytree(arch.adapter, tmp_path / beginning)
        named = {name.replace(whole, beginning): t for name, t in tensors.items()}
        save_file(named, adapter / "adapter_model.safetensors")
        found, _ = runs.dump_step(hone, tmp_path, base, adapter, two_samples)
        ck_near(found, wanted, LOSS, beginning)
    near(arch.case.loss(arch.gguf, arch.adapter), arch.loss, LOSS, "hone eval")


# --- Ready-made files ---

READY = ["llama", "llama3-rope", "qwen2", "qwen3", "mistral", "gemma2", "gemma3", "phi3", "smollm3", "gpt2"]


@pytest.mark.parametrize("name", READY)
def test_ready_made_models_give_the_published_logits(hone, test_data, tmp_path, name):
    folder = test_data / "tiny-archs"
    expected = oracle.read_json(folder / "expected.json")[name]
    ids = expected["ids"]
    sample = {"ids": ids, "mask": [0] + [1] * (len(ids) - 1)}
    forms = [folder / name, folder / f"{name}.gguf"]
    for path in forms[: 1 if name in ("mistral", "gpt2") else 2]:  # a window that the GGUF does not say; no such file
        loss, tensors = runs.dump_step(hone, tmp_path, path, None, [sample])
        ck_near(loss, expected["loss"], LOSS, path.name)
        assert float((tensors["logits"][-1, :32] - torch.tensor(expected["last_logits"])).abs().max()) <= LOGITS


# --- The README ---


def test_export_matrix_of_the_readme_is_what_was_proven(root, request):
    ran = {item.name for item in request.session.items}
    if not all(f"test_merged_gguf_runs_in_llama_cpp[{name}-{base}]" in ran for name in IN_GGUF for base in BASES):
        pytest.skip("only a whole run of this file can say it")
    text = (root / "README.md").read_text(encoding="utf-8")
    assert export_matrix.table(PROVEN) == export_matrix.in_readme(text, "exports")
