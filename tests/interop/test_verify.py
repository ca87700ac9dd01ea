"""`hone verify`: true exports pass, and each planted fault is found, named and ends in exit status 1."""

import ctypes
import json
import os
import shutil
import stat
import sys
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
import pytest
import runs
from safetensors.numpy import load_file, save_file

TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


class Run:
    """A finished run on a small trained model."""

    def __init__(self, hone, model, out, data):
        self.hone, self.model, self.out = hone, model, out
        self.result, _ = runs.train(
            hone, out, model=model, data=data, steps=12, rank=4, lr=5e-3, seq_len=256, batch_size=2, threads=2,
            sets={"eval_fraction": 0.2},
        )  # fmt: skip

    def verify(self, *extra, adapter=None, status=0):
        flags = ["--model", self.model, "--adapter", adapter or self.out, "--threads", 2, *extra]
        return self.hone.json("verify", *flags, status=status)

    def export(self, path, *flags):
        self.hone("export", "--model", self.model, "--adapter", self.out, "--out", path, *flags, "-q")
        return path

    def copy(self, folder):
        """The run again, to be spoilt."""
        target = folder / "run"
        shutil.copytree(self.out, target)
        return target


@pytest.fixture(scope="module")
def data(hone, test_data, tmp_path_factory):
    text = (test_data / "text/tinyshakespeare.txt").read_text(encoding="utf-8")
    rows = [{"text": text[i : i + 300]} for i in range(0, 6000, 300)]
    rows += [{"question": f"What is item {i}?", "answer": f"Item {i} is a loaf."} for i in range(8)]
    return runs.add_data(hone, tmp_path_factory.mktemp("verify-data"), rows)


@pytest.fixture(scope="module")
def base(test_data, tmp_path_factory):
    """The model as a Hugging Face folder with a chat template of its own."""
    folder = tmp_path_factory.mktemp("verify-base") / "stories"
    shutil.copytree(test_data / "stories260K/hf", folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": TEMPLATE}))
    return folder


@pytest.fixture(scope="module")
def run(hone, base, data, tmp_path_factory):
    return Run(hone, base, tmp_path_factory.mktemp("verify") / "run", data)


def faults(result):
    """What differs, as (last part of the file, what, detail)."""
    return [(Path(c["file"]).name, c["what"], c["detail"]) for c in result["checks"] if not c["ok"]]


def ck_fault(result, file, what, *words):
    found = faults(result)
    assert not result["agrees"] and found
    hits = [detail for name, kind, detail in found if (name, kind) == (file, what)]
    assert hits, found
    assert all(word in hits[0] for word in words), hits


# --- What agrees ---


def test_run_ends_with_its_verification(run):
    verified = run.result["verified"]
    assert verified["agrees"]
    assert {Path(c["file"]).name for c in verified["checks"]} == {"adapter", "adapter.gguf"}
    assert {c["what"] for c in verified["checks"]} == {"factors", "logits", "loss", "greedy text"}
    page = (run.out / "report.html").read_text()
    assert "adapter.gguf: logits" in page and "agrees" in page


def test_run_folder_agrees_and_says_what_was_used(run):
    result = run.verify()
    assert result["agrees"] and result["with"] is None
    assert "step-000012.h5" in result["training_side"]
    said = run.hone("verify", "--model", run.model, "--adapter", run.out)
    assert "hone's own reader alone" in said.stderr
    assert "DIFFERS" not in said.stdout and "adapter.gguf, read by hone" in said.stdout


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16", "q8_0"])
def test_merged_gguf_agrees(run, tmp_path, kind):
    path = run.export(tmp_path / "m.gguf", "--format", "gguf", "--type", kind)
    result = run.verify("--merged", path)
    assert {"token ids", "chat template", "weights", "adapter's share"} <= {c["what"] for c in result["checks"]}


def test_merged_folder_and_single_exports_agree(run, tmp_path):
    for kind in ["base", "f16", "bf16"]:
        run.verify("--merged", run.export(tmp_path / f"m-{kind}", "--format", "safetensors", "--type", kind))
    for name in ["adapter", "adapter.gguf"]:
        result = run.verify(adapter=run.out / name)
        assert {Path(c["file"]).name for c in result["checks"]} == {name}
    alone = run.export(tmp_path / "peft", "--format", "peft")
    run.verify("--merged", run.export(tmp_path / "m.gguf"), adapter=alone)


def test_full_training_agrees(hone, base, data, tmp_path):
    out = tmp_path / "full"
    result, _ = runs.train(hone, out, model=base, data=data, steps=2, seq_len=256, batch_size=2, sets={"full": "true"})
    names = {Path(c["file"]).name for c in result["verified"]["checks"]}
    assert result["verified"]["agrees"] and names == {"model", "model.gguf"}


def test_nothing_to_compare_is_refused(run, tmp_path):
    alone = run.export(tmp_path / "peft", "--format", "peft")
    said = run.hone("verify", "--model", run.model, "--adapter", alone, status=2)
    assert "nothing to compare" in said.stderr


# --- What differs ---


def rewrite(path, change):
    """A GGUF file again, with what `change` makes of each tensor (name, array) and of each key (name, value)."""
    source = gguf.GGUFReader(path)
    target = path.with_suffix(".new")
    writer = gguf.GGUFWriter(target, source.fields["general.architecture"].contents())
    for field in source.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        value = change(field.name, field.contents())
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            writer.add_key_value(field.name, value, field.types[0], sub_type=field.types[1])
        else:
            writer.add_key_value(field.name, value, field.types[0])
    for tensor in source.tensors:
        data = np.ascontiguousarray(change(tensor.name, np.array(tensor.data)))
        writer.add_tensor(tensor.name, data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(target, path)


def unpermute(rows, heads):
    """Rows of q or k in GGUF's order back in Hugging Face's."""
    return rows.reshape(heads, -1, 2, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def spoil(path, wanted, value):
    def change(name, found):
        return value(found) if name == wanted else found

    rewrite(path, change)


def test_changed_factor_is_named(run, tmp_path):
    out = run.copy(tmp_path)
    path = out / "adapter/adapter_model.safetensors"
    tensors = load_file(path)
    name = "base_model.model.model.layers.2.mlp.up_proj.lora_B.weight"
    tensors[name][5, 1] += 1e-3
    save_file(tensors, path)
    ck_fault(run.verify(adapter=out, status=1), "adapter", "factors", "lora_B of model.layers.2.mlp.up_proj")
    said = run.hone("verify", "--model", run.model, "--adapter", out, status=1)
    assert "DIFFERS" in said.stdout and "model.layers.2.mlp.up_proj" in said.stderr


def test_large_change_is_placed_block_by_block(run, tmp_path):
    out = run.copy(tmp_path)
    spoil(out / "adapter.gguf", "blk.3.ffn_down.weight.lora_b", lambda b: b + 0.5)
    result = run.verify(adapter=out, status=1)
    ck_fault(result, "adapter.gguf", "factors", "lora_B of model.layers.3.mlp.down_proj")
    ck_fault(result, "adapter.gguf", "block by block", "first apart in block 4 (blk.3)")
    ck_fault(result, "adapter.gguf", "logits")
    assert all(name == "adapter.gguf" for name, _, _ in faults(result))


def test_wrong_alpha_is_named(run, tmp_path):
    out = run.copy(tmp_path)
    spoil(out / "adapter.gguf", "adapter.lora.alpha", lambda alpha: 2 * alpha)
    ck_fault(run.verify(adapter=out, status=1), "adapter.gguf", "factors", "scale", "alpha")


def test_unpermuted_rows_of_an_adapter_are_named(run, tmp_path):
    out = run.copy(tmp_path)
    spoil(out / "adapter.gguf", "blk.0.attn_q.weight.lora_b", lambda b: unpermute(b, 8))
    ck_fault(run.verify(adapter=out, status=1), "adapter.gguf", "factors", "self_attn.q_proj", "order of rope pairs")


def test_unpermuted_rows_of_a_merged_model_are_named(run, tmp_path):
    path = run.export(tmp_path / "m.gguf", "--type", "f32")
    spoil(path, "blk.1.attn_k.weight", lambda w: unpermute(w, 4))
    result = run.verify("--merged", path, status=1)
    ck_fault(result, "m.gguf", "weights", "model.layers.1.self_attn.k_proj", "order of rope pairs")
    ck_fault(result, "m.gguf", "block by block", "first apart in block 2")


def test_merge_with_another_strength_is_seen_through_rounding(run, tmp_path):
    """A Q8_0 file of a half merged model: every single weight is within what rounding does."""
    adapter = run.copy(tmp_path) / "adapter"
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": 3 * config["lora_alpha"]}))
    path = tmp_path / "m.gguf"
    run.hone("export", "--model", run.model, "--adapter", adapter, "--out", path, "--type", "q8_0")
    ck_fault(run.verify("--merged", path, status=1), "m.gguf", "adapter's share", "3 times")


def test_merge_that_was_left_out_is_named(run, tmp_path):
    path = tmp_path / "m.gguf"
    run.hone("export", "--model", run.model, "--out", path, "--type", "f32")
    ck_fault(run.verify("--merged", path, status=1), "m.gguf", "adapter's share", "0 times")


def test_removed_merge_is_named(run, tmp_path):
    folder = run.export(tmp_path / "m", "--format", "safetensors")
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    gone = tokenizer["model"]["merges"].pop(40)
    path.write_text(json.dumps(tokenizer))
    ck_fault(run.verify("--merged", folder, status=1), "m", "token ids", "token")
    assert gone


def test_changed_score_of_a_token_is_named(run, tmp_path):
    path = run.export(tmp_path / "m.gguf", "--type", "f32")
    spoil(path, "tokenizer.ggml.scores", lambda scores: [*scores[:261], -1e6, *scores[262:]])
    ck_fault(run.verify("--merged", path, status=1), "m.gguf", "token ids", "token")


def test_another_template_is_named(run, tmp_path):
    path = run.export(tmp_path / "m.gguf", "--type", "f32")
    spoil(path, "tokenizer.chat_template", lambda text: text.replace("<|im_start|>", "<|im_start|> "))
    ck_fault(run.verify("--merged", path, status=1), "m.gguf", "chat template")
    folder = run.export(tmp_path / "m", "--format", "safetensors")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["chat_template"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    ck_fault(run.verify("--merged", folder, status=1), "m", "chat template", "im_start")


def test_other_rope_base_is_placed(run, tmp_path):
    """No tensor differs, yet the answers do: the file's settings are wrong."""
    path = run.export(tmp_path / "m.gguf", "--type", "f32")
    spoil(path, "llama.rope.freq_base", lambda theta: 500.0)
    result = run.verify("--merged", path, status=1)
    ck_fault(result, "m.gguf", "block by block", "first apart in block 1 (blk.0)")
    assert "weights" not in {what for _, what, _ in faults(result)}


def test_too_coarse_rounding_is_beyond_the_limit(run, tmp_path):
    """Weights rounded to 4 bits in an F16 file: it is measured against what F16 does."""
    path = run.export(tmp_path / "m.gguf", "--type", "f16")

    def coarse(name, value):
        if not name.endswith(".weight") or "norm" in name:
            return value
        step = np.abs(value).max(axis=-1, keepdims=True) / 7
        return (np.round(value / step) * step).astype(value.dtype)

    rewrite(path, coarse)
    result = run.verify("--merged", path, status=1)
    ck_fault(result, "m.gguf", "loss", "perplexity")
    ck_fault(result, "m.gguf", "weights", "model.embed_tokens.weight (f16)")


def test_run_whose_files_differ_exits_1_and_is_saved(run, tmp_path):
    """A finished run is resumed to repeat its end; a program that spoils the export stands in for a fault."""
    out = run.copy(tmp_path)
    spoiler = tmp_path / "spoil.so"
    source = tmp_path / "spoil.c"
    source.write_text(SPOILER)
    assert os.system(f"cc -shared -fPIC -o {spoiler} {source} -ldl") == 0
    said = run.hone("train", "--resume", "--out", out, "--json", status=1, env={"LD_PRELOAD": str(spoiler)})
    assert "what was exported is not what was trained" in said.stderr
    result = json.loads(said.stdout.splitlines()[-1])
    assert not result["verified"]["agrees"]
    assert "DIFFERS" in (out / "report.html").read_text()


# Changes one byte of adapter.gguf as it is renamed into its place.
SPOILER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int rename(const char *from, const char *to) {
    static int (*real)(const char *, const char *);
    if (!real) real = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    if (strstr(to, "adapter.gguf")) {
        FILE *file = fopen(from, "r+b");
        fseek(file, -5, SEEK_END);
        fputc(0x3f, file);
        fclose(file);
    }
    return real(from, to);
}
"""


# --- Types of few bits: rounding is no fault, anything else is ---


def rounded(result, name):
    """What the row of the loss says of a file."""
    rows = [c for c in result["checks"] if Path(c["file"]).name == name and c["what"] == "loss"]
    assert len(rows) == 1 and rows[0]["limit"] == 1e-4
    return rows[0]["detail"]


@pytest.mark.parametrize("kind", ["q4_0", "q5_0", "q4_k_m", "q5_k_s"])
def test_what_rounding_does_to_a_small_model_is_told_and_no_fault(run, tmp_path, kind):
    """This one does not bear four bits: its loss changes by more than a larger model's would."""
    path = run.export(tmp_path / "m.gguf", "--type", kind)
    assert "rounding the weights changed the loss by " in rounded(run.verify("--merged", path), "m.gguf")


def test_file_that_llama_cpp_rounded_agrees(run, tmp_path):
    path, rounded_path = run.export(tmp_path / "m.gguf", "--type", "f32"), tmp_path / "q.gguf"
    settings = llama_cpp.llama_model_quantize_default_params()
    for kind in [llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0, llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_K_M]:
        settings.ftype = kind
        done = llama_cpp.llama_model_quantize(os.fsencode(path), os.fsencode(rounded_path), ctypes.byref(settings))
        assert done == 0
        rounded(run.verify("--merged", rounded_path), "q.gguf")


def test_row_of_a_coarse_file_that_is_damaged_is_named(run, tmp_path):
    path = run.export(tmp_path / "m.gguf", "--type", "q4_0")

    def swap(rows):
        rows[[7, 8]] = rows[[8, 7]]
        return rows

    spoil(path, "blk.2.ffn_up.weight", swap)
    ck_fault(run.verify("--merged", path, status=1), "m.gguf", "weights", "model.layers.2.mlp.up_proj", "(q4_0)")


def test_unpermuted_rows_of_a_coarse_file_are_named(run, tmp_path):
    path = run.export(tmp_path / "m.gguf", "--type", "q4_0")
    spoil(path, "blk.1.attn_k.weight", lambda w: unpermute(w, 4))
    result = run.verify("--merged", path, status=1)
    ck_fault(result, "m.gguf", "weights", "model.layers.1.self_attn.k_proj")


def test_other_setting_of_a_coarse_file_is_placed(run, tmp_path):
    """Less than rounding changes the loss by."""
    path = run.export(tmp_path / "m.gguf", "--type", "q4_0")
    spoil(path, "llama.rope.freq_base", lambda theta: 8000.0)
    result = run.verify("--merged", path, status=1)
    ck_fault(result, "m.gguf", "logits")
    ck_fault(result, "m.gguf", "loss", "rounding the weights")
    assert "weights" not in {what for _, what, _ in faults(result)}


def test_file_that_was_rounded_twice_is_named(run, tmp_path):
    coarse, path = run.export(tmp_path / "q.gguf", "--type", "q4_0"), tmp_path / "m.gguf"
    run.hone("export", "--model", coarse, "--out", path, "--type", "q8_0", "-q")
    ck_fault(run.verify("--merged", path, status=1), "m.gguf", "weights", "(q8_0)")


def test_merge_that_was_left_out_of_a_coarse_file_is_named(run, tmp_path):
    path = tmp_path / "m.gguf"
    run.hone("export", "--model", run.model, "--out", path, "--type", "q4_k_m")
    ck_fault(run.verify("--merged", path, status=1), "m.gguf", "adapter's share", "times")


# --- What an adapter says that it was trained with ---


def test_adapter_with_another_tokenizer_is_refused(run, data, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run.model, other)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    tokenizer["model"]["merges"].pop()
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    for adapter in [run.out, run.out / "adapter.gguf"]:
        for command in ["eval", "verify"]:
            flags = [command, "--model", other, "--adapter", adapter, "--data", data]
            assert "trained with a tokenizer of hash" in run.hone(*flags, status=1).stderr


def test_adapter_with_another_template_warns(run, data, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run.model, other)
    (other / "chat_template.jinja").write_text(TEMPLATE.replace("m.role }}", "m.role }} "))
    for adapter in [run.out, run.out / "adapter.gguf"]:
        flags = ["eval", "--model", other, "--adapter", adapter, "--data", data]
        assert "was trained with another chat template" in run.hone(*flags).stderr
    flags = ["eval", "--model", run.model, "--adapter", run.out, "--data", data]
    assert "warning" not in run.hone(*flags).stderr
    result = run.hone.json("verify", "--model", other, "--adapter", run.out, status=1)
    ck_fault(result, "adapter", "chat template", "another template")


def test_hash_that_is_given_is_not_computed(run):
    """Another one than the adapter's: the adapter seems to be of another base."""
    flags = ["verify", "--model", run.model, "--adapter", run.out]
    assert "warning" not in run.hone(*flags).stderr
    assert f"is used on {run.model}, base 0123abcd" in run.hone(*flags, "--model-hash", 8 * "0123abcd").stderr
    for wrong in ["0123", 8 * "0123ABCD"]:
        assert "64 hexadecimal digits" in run.hone(*flags, "--model-hash", wrong, status=2).stderr


# --- Another runtime ---


def script(path, body):
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def said_by_hone(run, *model):
    prompt = "The baker opens at seven in the morning, and then"
    flags = ["--prompt", prompt, "--temperature", 0, "--max-tokens", 32]
    return run.hone("generate", "--model", run.model, "--adapter", run.out, *flags).stdout


VERSION = 'if [ "$1" = --version ]; then echo "version: 4242 (abcdef0)" >&2; exit 0; fi'


def test_with_fake_program_that_says_the_same_agrees(run, tmp_path):
    (tmp_path / "said").write_text(said_by_hone(run).rstrip("\n") + " [end of text]\n")
    fake = script(tmp_path / "llama-completion", f'{VERSION}\ncat "{tmp_path}/said"; echo "$@" > "{tmp_path}/asked"')
    result = run.verify("--with", fake)
    assert result["with"] == "llama-completion, version: 4242 (abcdef0)"
    assert [c["what"] for c in result["checks"] if "llama-completion" in c["with"]] == ["greedy text"]
    asked = (tmp_path / "asked").read_text()
    assert f"--lora {run.out}/adapter.gguf" in asked and "--temp 0" in asked and "base.gguf" in asked


def test_with_fake_program_that_says_something_else_differs(run, tmp_path):
    fake = script(tmp_path / "llama-cli", f"{VERSION}\necho Once upon a time there was nothing.")
    ck_fault(run.verify("--with", fake, status=1), "adapter.gguf", "greedy text", "instead of")
    fake = script(tmp_path / "llama-perplexity", f"{VERSION}\necho 'Final estimate: PPL = 1234.5678 +/- 9'")
    ck_fault(run.verify("--with", fake, status=1), "adapter.gguf", "perplexity", "1234.57 instead of")


def test_with_program_that_loses_the_end_of_its_log_is_run_again(run, tmp_path):
    """llama.cpp's programs may end before the thread that writes their log has come to its end."""
    count = f'n=$(cat "{tmp_path}/n" 2>/dev/null); n=$((${{n:-0}} + 1)); echo $n > "{tmp_path}/n"'
    (tmp_path / "said").write_text(said_by_hone(run).rstrip("\n"))
    cut = f'{VERSION}\n{count}\nif [ $n -lt 3 ]; then printf Onc; else cat "{tmp_path}/said"; printf "\\n\\n"; fi'
    run.verify("--with", script(tmp_path / "llama-completion", cut))
    assert (tmp_path / "n").read_text().strip() == "3"
    cut = f"{VERSION}\n{count}\nprintf '[1]900.9,'; [ $n -lt 6 ] || echo 'Final estimate: PPL = 1234.5678 +/- 9'"
    fake = script(tmp_path / "llama-perplexity", cut)
    ck_fault(run.verify("--with", fake, status=1), "adapter.gguf", "perplexity", "1234.57 instead of")


def test_with_program_that_fails_is_an_error_with_its_words(run, tmp_path):
    flags = ["verify", "--model", run.model, "--adapter", run.out, "--with"]
    fake = script(tmp_path / "llama-cli", f"{VERSION}\necho 'error: no such flag' >&2; exit 3")
    assert "exit status 3: error: no such flag" in run.hone(*flags, fake, status=1).stderr
    assert "cannot start" in run.hone(*flags, tmp_path / "nowhere", status=1).stderr
    fake = script(tmp_path / "llama-perplexity", f"{VERSION}\necho hello")
    assert "no line" in run.hone(*flags, fake, status=1).stderr


@pytest.mark.parametrize("name", ["llama-completion", "llama-perplexity"])
@pytest.mark.parametrize("form", ["adapter", "q8_0"])
def test_with_llama_cpp_agrees(run, tmp_path, root, name, form):
    """The package has llama.cpp's library but none of its programs: tests/interop/llama_program.py stands in for them."""
    stand_in = root / "tests/interop/llama_program.py"
    program = script(tmp_path / name, f'exec "{sys.executable}" "{stand_in}" {name} "$@"')
    merged = ["--merged", run.export(tmp_path / "m.gguf", "--type", form)] if form != "adapter" else []
    result = run.verify("--with", program, *merged)
    seen = [c for c in result["checks"] if "llama_cpp" in c["with"]]
    assert len(seen) == 1 + len(merged) // 2 and all(c["ok"] for c in seen)
