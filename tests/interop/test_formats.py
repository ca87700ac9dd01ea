"""Files of the gguf and safetensors packages read here, and files written here read by them; quantised bytes compared."""

import os
import subprocess

import gguf
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file


@pytest.fixture(scope="module")
def tool(hone):
    """Runs tests/tools/formats_tool of the same build as the program."""
    path = os.path.join(os.path.dirname(hone.binary), os.pardir, "tests", "formats_tool")

    def run(*arguments):
        subprocess.run([path, *map(str, arguments)], check=True, timeout=60)

    return run


def same_gguf(left, right):
    a, b = gguf.GGUFReader(left), gguf.GGUFReader(right)
    assert list(a.fields) == list(b.fields)
    for name, field in a.fields.items():
        other = b.fields[name]
        assert field.types == other.types
        assert len(field.parts) == len(other.parts)
        for x, y in zip(field.parts, other.parts):
            assert np.array_equal(x, y), name
    assert [t.name for t in a.tensors] == [t.name for t in b.tensors]
    for x, y in zip(a.tensors, b.tensors):
        assert x.tensor_type == y.tensor_type and list(x.shape) == list(y.shape)
        assert x.data.tobytes() == y.data.tobytes()


def test_gguf_of_every_kind_copied_is_read_the_same(tool, fixtures, tmp_path):
    tool("copy-gguf", fixtures / "formats/kinds.gguf", tmp_path / "out.gguf")
    same_gguf(fixtures / "formats/kinds.gguf", tmp_path / "out.gguf")


@pytest.mark.parametrize(
    "name",
    [
        "stories260K/stories260K-f32.gguf",
        "stories260K/stories260K-q8_0.gguf",
        "stories260K/adapters/lora-r4.gguf",
        "quant/quant-types.gguf",
        "vocab/ggml-vocab-gpt-2.gguf",
    ],
)
def test_gguf_real_file_copied_is_read_the_same(tool, test_data, tmp_path, name):
    tool("copy-gguf", test_data / name, tmp_path / "out.gguf")
    same_gguf(test_data / name, tmp_path / "out.gguf")


def test_gguf_with_other_alignment_is_read_and_kept(tool, tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "in.gguf", "fixture")
    writer.add_custom_alignment(256)
    for i in range(3):
        writer.add_tensor(f"t{i}", np.arange(5 + i, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    tool("copy-gguf", tmp_path / "in.gguf", tmp_path / "out.gguf")
    same_gguf(tmp_path / "in.gguf", tmp_path / "out.gguf")
    assert (tmp_path / "in.gguf").read_bytes() == (tmp_path / "out.gguf").read_bytes()


def load_all(*paths):
    """Name to (dtype, shape, bytes) of all tensors, and the metadata of the first file."""
    tensors, metadata = {}, None
    for path in paths:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() if metadata is None else metadata
            for name in file.keys():
                tensor = file.get_tensor(name)
                raw = tensor.contiguous().flatten().view(dtype=torch.uint8)
                tensors[name] = (str(tensor.dtype), tuple(tensor.shape), raw.numpy().tobytes())
    return tensors, metadata


def test_safetensors_shards_copied_to_one_file_are_read_the_same(tool, fixtures, tmp_path):
    folder = fixtures / "models/sharded-bf16"
    tool("copy-safetensors", folder, tmp_path / "out.safetensors")
    tensors, metadata = load_all(tmp_path / "out.safetensors")
    expected, _ = load_all(*sorted(folder.glob("model-*.safetensors")))
    assert tensors == expected
    assert metadata == {"format": "pt"}


def test_safetensors_of_the_package_copied_is_read_the_same(tool, tmp_path):
    tensors = {
        "α.weight": torch.randn(3, 5),
        "half": torch.randn(7).half(),
        "brain": torch.randn(2, 3, 4).bfloat16(),
        "scalar": torch.tensor(1.5),
        "empty": torch.zeros(0, 3),
    }
    save_file(tensors, tmp_path / "in.safetensors", metadata={"format": "pt", "k": 'a "quoted" ö'})
    tool("copy-safetensors", tmp_path / "in.safetensors", tmp_path / "out.safetensors")
    assert load_all(tmp_path / "in.safetensors") == load_all(tmp_path / "out.safetensors")


@pytest.mark.parametrize("name", ["F16", "BF16", "Q8_0"])
def test_quantize_gives_the_bytes_of_gguf_py(tool, tmp_path, name):
    rng = np.random.default_rng(11)
    scale = 10.0 ** rng.uniform(-9, 4, (4096, 1))
    values = (rng.standard_normal((4096, 96)) * scale).astype(np.float32).clip(-65000, 65000)
    values.tofile(tmp_path / "in")
    tool("quantize", name.lower(), 96, tmp_path / "in", tmp_path / "out")
    expected = gguf.quants.quantize(values, gguf.GGMLQuantizationType[name])
    assert (tmp_path / "out").read_bytes() == expected.tobytes()
