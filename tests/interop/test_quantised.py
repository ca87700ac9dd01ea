"""Training on GGUF files of every tensor type as they are, against the same numbers in F32 (dequantised by the gguf package)
and against llama.cpp; and the adapters of those runs in llama.cpp, PEFT and transformers. Every model asserts the tensor types
that it is there for."""

import os
import subprocess

import gguf
import llama
import numpy as np
import oracle
import peft
import pytest
import quantised
import runs
from gguf.quants import dequantize
from quantised import export_matrix

EXACT, CURVE, GRADIENT = 1e-5, 1e-4, 1e-4
RUNTIME_EXACT, RUNTIME = 1e-4, 2e-2
STEPS = 5


@pytest.fixture(scope="module")
def world(hone, test_data, tmp_path_factory):
    """A folder, the plain model in it, and a data file of 400 tokens or more with its samples."""
    folder = tmp_path_factory.mktemp("quantised")
    plain = quantised.write_plain(folder / "plain.gguf", test_data / "stories260K/stories260K-f32.gguf")
    text = (test_data / "text/tinyshakespeare.txt").read_text(encoding="utf-8")[:1200]
    data = runs.add_data(hone, folder, [{"text": text[i : i + 600]} for i in (0, 600)])
    samples = runs.show(hone, data, plain)
    assert sum(len(sample["ids"]) for sample in samples) >= 400
    return folder, plain, data, samples


def trained(hone, folder, model, data):
    """The folder of a short run on the model, taken once."""
    out = folder / f"{os.path.basename(model)}-run"
    if not out.exists():
        runs.train(
            hone, out, model=model, data=data, steps=STEPS, lr=1e-2, seq_len=512, batch_size=2, seed=3,
            sets={**runs.PLAIN, "rank": 4},
        )  # fmt: skip
    return out


def same_as_dequantised(hone, folder, path, data, samples):
    """Loss, logits, gradients and a training curve, on the file and on its dequantised copy; gives the copy."""
    copy = llama.dequantize_file(path, f"{path}.f32.gguf")
    curves = {
        model: [step["loss"] for step in runs.steps_of(trained(hone, folder, model, data))] for model in (path, copy)
    }
    assert len(curves[path]) == STEPS and curves[path][0] - curves[path][-1] >= 0.1
    assert max(abs(a - b) for a, b in zip(curves[path], curves[copy])) <= CURVE
    adapter = trained(hone, folder, path, data)
    loss, tensors = runs.dump_step(hone, folder, path, adapter, samples)
    loss_copy, tensors_copy = runs.dump_step(hone, folder, copy, adapter, samples)
    assert abs(loss - loss_copy) <= EXACT
    assert float((tensors["logits"] - tensors_copy["logits"]).abs().max()) <= EXACT
    assert tensors.keys() == tensors_copy.keys() and len(tensors) > 20
    for name, value in tensors_copy.items():
        if name.startswith("grad."):
            assert float((tensors[name] - value).norm() / value.norm()) <= GRADIENT, name
    return copy


def same_as_runtime(loss, path, copy, samples, adapter=None):
    """A loss of `hone eval` against llama.cpp on the dequantised copy, and on the file at its defaults."""
    with llama.Runtime(copy, adapter) as runtime:
        assert abs(loss - llama.masked_mean_nll(runtime, samples)) <= RUNTIME_EXACT
    with llama.Runtime(path, adapter, exact=False) as runtime:
        assert abs(loss - llama.masked_mean_nll(runtime, samples)) <= RUNTIME


def eval_loss(hone, model, data, *flags):
    return hone.json("eval", "--model", model, "--data", data, *flags)["loss"]


@pytest.mark.parametrize("name", quantised.ALL)
def test_model_of_one_type_trains_as_its_dequantised_copy(hone, world, name):
    folder, plain, data, samples = world
    path = quantised.model_of(name, plain, folder)
    copy = same_as_dequantised(hone, folder, path, data, samples)
    same_as_runtime(eval_loss(hone, path, data), path, copy, samples)
    quantised.PROVEN.add((name.upper(), "trained"))


class Trained:
    """A base of one type with the adapter that was trained on it, and the loss of the two in `hone eval`."""

    def __init__(self, hone, world, name):
        self.hone, self.name, (self.folder, plain, self.data, self.samples) = hone, name, world
        self.base = quantised.model_of(name, plain, self.folder)
        self.flags = ["--adapter", trained(hone, self.folder, self.base, self.data)]
        self.loss = eval_loss(hone, self.base, self.data, *self.flags)
        assert eval_loss(hone, self.base, self.data) - self.loss >= 0.1

    def export(self, end, format, *flags):
        out = self.folder / f"{self.name}-{end}"
        self.hone("export", "--model", self.base, *self.flags, "--format", format, "--out", out, *flags)
        return out


@pytest.fixture(scope="module")
def trained_on(hone, world):
    made = {}

    def make(name):
        if name not in made:
            made[name] = Trained(hone, world, name)
        return made[name]

    return make


@pytest.fixture(scope="module")
def hugging_face(hone, world):
    """The plain model as a folder."""
    folder, plain, *_ = world
    hone("export", "--model", plain, "--format", "safetensors", "--out", folder / "plain")
    return folder / "plain"


@pytest.mark.parametrize("name", quantised.ALL)
def test_peft_folder_of_one_type_loads_in_peft(trained_on, hugging_face, name):
    """On the numbers that the gguf package reads in the base."""
    case = trained_on(name)
    model = peft.PeftModel.from_pretrained(oracle.load_gguf(hugging_face, case.base), case.export("peft", "peft"))
    assert abs(oracle.evaluate(model.eval(), case.samples) - case.loss) <= EXACT
    quantised.PROVEN.add((name.upper(), "PEFT folder"))


@pytest.mark.parametrize("name", quantised.ALL)
def test_gguf_adapter_of_one_type_runs_in_llama_cpp(trained_on, name):
    case = trained_on(name)
    copy = llama.f32_form(case.base, case.folder)
    same_as_runtime(case.loss, case.base, copy, case.samples, case.export("adapter.gguf", "gguf-adapter"))
    quantised.PROVEN.add((name.upper(), "GGUF adapter"))


@pytest.mark.parametrize("name", quantised.ALL)
def test_merged_folder_of_one_type_runs_in_transformers(trained_on, name):
    case = trained_on(name)
    halves = ["--type", "f32"] if name in ("f16", "bf16") else []  # would round the merged weights
    out = case.export("folder", "safetensors", *halves)
    assert oracle.read_json(out / "config.json")["torch_dtype"] == "float32"
    model = oracle.load_model(out)
    assert abs(oracle.evaluate(model, case.samples) - case.loss) <= EXACT
    quantised.PROVEN.add((name.upper(), "merged safetensors"))


@pytest.mark.parametrize("name", quantised.ALL)
def test_merged_file_changes_the_bases_type(hone, trained_on, name):
    """To F32, exactly; and to a mixture of other types, in which llama.cpp says what `hone eval` says."""
    case = trained_on(name)
    plain, mixed = (case.export(f"{to}.gguf", "gguf", "--type", to) for to in ("f32", "q5_k_m"))
    assert quantised.matrix_types(plain) == {gguf.GGMLQuantizationType.F32}
    assert {kind.name for kind in quantised.matrix_types(mixed)} == {"Q5_K", "Q6_K"}
    with llama.Runtime(plain) as runtime:
        assert abs(case.loss - llama.masked_mean_nll(runtime, case.samples)) <= RUNTIME_EXACT
    with llama.Runtime(mixed, exact=False) as runtime:
        found = llama.masked_mean_nll(runtime, case.samples)
    assert abs(eval_loss(hone, mixed, case.data) - found) <= RUNTIME
    quantised.PROVEN.add((name.upper(), "merged GGUF, another type"))


MIXED = {"q4_k_m": (15, {"Q4_K", "Q6_K"}), "q3_k_l": (13, {"Q3_K", "Q5_K", "Q6_K"}), "q2_k": (10, {"Q2_K", "Q3_K", "Q6_K"})}


@pytest.mark.parametrize("name", MIXED)
def test_model_of_mixed_types_trains_generates_and_may_be_split(hone, world, name):
    """llama.cpp's own mixtures; the tied head is the Q6_K embedding."""
    folder, plain, data, samples = world
    file_type, types = MIXED[name]
    path = quantised.quantise(plain, folder / f"mixed-{name}.gguf", file_type)
    assert {kind.name for kind in quantised.matrix_types(path)} == types
    copy = same_as_dequantised(hone, folder, path, data, samples)
    same_as_runtime(eval_loss(hone, path, data), path, copy, samples)
    parts = quantised.rewrite(path, folder / f"parts-{name}", lambda tensor: tensor.tensor_type, parts=3)
    flags = ["--prompt", "To be, or", "--max-tokens", 32, "--temperature", 0]
    said = [hone("generate", "--model", model, *flags).stdout for model in (path, copy, parts)]
    assert said[0] and said == [said[0]] * 3
    assert eval_loss(hone, path, data) == eval_loss(hone, parts, data)


def test_missing_part_is_named(hone, world):
    folder, plain, data, _ = world
    first = quantised.rewrite(plain, folder / "short", lambda tensor: tensor.tensor_type, parts=2)
    os.remove(folder / "short-00002-of-00002.gguf")
    said = hone("eval", "--model", first, "--data", data, status=1).stderr
    assert "short-00002-of-00002.gguf" in said and "missing" in said


def test_types_that_cannot_be_computed_are_named(hone, world):
    """One of the IQ types, and a number that nobody knows: tensor, type, and what can be read."""
    folder, plain, data, _ = world
    reader = gguf.GGUFReader(plain)
    for kind, shown in ((gguf.GGMLQuantizationType.IQ2_XXS, "16 (iq2_xxs)"), (gguf.GGMLQuantizationType.TQ1_0, "34 (tq1_0)")):
        path = folder / f"{kind.name}.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        for field in reader.fields.values():
            llama.copy_field(writer, field)
        for tensor in reader.tensors:
            values = tensor.data
            if tensor.name == "blk.1.ffn_up.weight":
                block, size = gguf.GGML_QUANT_SIZES[kind]
                rows, columns = values.shape
                writer.add_tensor(tensor.name, np.zeros((rows, columns // block * size), np.uint8), raw_dtype=kind)
            else:
                writer.add_tensor(tensor.name, values)
        quantised.finish(writer)
        said = hone("eval", "--model", path, "--data", data, status=1).stderr
        for word in ("blk.1.ffn_up.weight", shown, "q4_k", "iq4_xs", "mxfp4"):
            assert word in said, said


def test_vocabulary_of_another_size_than_the_embedding_is_refused(hone, world):
    folder, plain, data, _ = world
    reader = gguf.GGUFReader(plain)
    path = folder / "short-vocabulary.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    for field in reader.fields.values():
        llama.copy_field(writer, field)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data[:500] if tensor.name == "token_embd.weight" else tensor.data)
    quantised.finish(writer)
    said = hone("eval", "--model", path, "--data", data, status=1).stderr
    assert "512 tokens" in said and "500 rows" in said


@pytest.mark.parametrize("level", ["ref", "plain", "avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16"])
def test_random_blocks_are_dequantised_as_the_gguf_package_does(hone, tmp_path, level):
    """Bit for bit, at every instruction set that this machine has."""
    kinds = [gguf.GGMLQuantizationType[name.upper()] for name in quantised.TYPES]
    writer = gguf.GGUFWriter(tmp_path / "blocks.gguf", "test")
    wanted = []
    for number, kind in enumerate(kinds):
        data = quantised.random_blocks(kind, 1024, seed=number).reshape(4, -1)
        writer.add_tensor(kind.name, data, raw_dtype=kind)
        with np.errstate(over="ignore"):
            wanted.append(dequantize(data, kind).astype(np.float32))
    quantised.finish(writer)
    command = [runs.tool(hone, "formats_tool"), "dequantise", tmp_path / "blocks.gguf", tmp_path / "out.f32"]
    done = subprocess.run(command, env={**os.environ, "HONE_ISA": level}, capture_output=True, text=True)
    if "this processor cannot run it" in done.stderr:
        pytest.skip(f"no {level} here")
    assert done.returncode == 0, done.stderr
    found = np.fromfile(tmp_path / "out.f32", np.float32)
    assert np.array_equal(found.view(np.uint32), np.concatenate([w.ravel() for w in wanted]).view(np.uint32))


# --- The README ---


def test_type_matrix_of_the_readme_is_what_was_proven(root, request):
    before = request.session.items[: request.session.items.index(request.node)]
    ran = {export_matrix.cell_of(item.name) for item in before}
    whole = {(kind, target) for kind in export_matrix.BASE_TYPES for target in export_matrix.TYPE_TARGETS.values()}
    whole |= {(name.upper(), export_matrix.WRITTEN) for name in export_matrix.FILE_TYPES}
    if not whole <= ran:
        pytest.skip("only a whole run of test_merge_types.py and this file can say it")
    text = (root / "README.md").read_text(encoding="utf-8")
    assert export_matrix.types_table(quantised.PROVEN) == export_matrix.in_readme(text, "exports by type")
