"""What `hone export` writes, in the runtimes it is for: PEFT, transformers and llama.cpp agree with `hone eval`.

Tolerances in nats per token: 1e-5 against PEFT and transformers; 1e-4 against llama.cpp computing in F32 throughout (files
of another type dequantised first); for the file itself at the runtime's own settings 5e-4, 5e-4, 3e-3 and 2e-2 for F32,
F16, BF16 and Q8_0.
"""

import subprocess
import warnings

import llama
import oracle
import peft
import pytest
import runs
import safetensors.torch
import tokenizers
import torch
import transformers

FIXTURES = ["grouped-tied", "untied-odd", "llama3-rope", "sharded-bf16"]
ADAPTERS = ["lora-r4", "rslora-r8-attn", "lora-pattern"]
BASES = ["hf", "stories260K-f32.gguf", "stories260K-q8_0.gguf"]
AT_DEFAULTS = {"f32": 5e-4, "f16": 5e-4, "bf16": 3e-3, "q8_0": 2e-2}
HUGGING_FACE, EXACT, GREEDY = 1e-5, 1e-4, 32


def near(found, wanted, tolerance, what):
    assert abs(found - wanted) <= tolerance, f"{what}: {found} instead of {wanted}"


class Case:
    """A base with an adapter, records of 400 tokens or more, and what `hone eval` says of them."""

    def __init__(self, hone, folder, base, adapter, texts):
        self.hone, self.folder, self.base, self.adapter = hone, folder, base, adapter
        self.data = runs.add_data(hone, folder, [{"text": text} for text in texts])
        self.samples = runs.show(hone, self.data, base)
        self.tokens = sum(len(sample["ids"]) for sample in self.samples)
        self.base_loss = self.loss(base)
        self.adapted_loss = self.loss(base, adapter)

    def loss(self, model, adapter=None):
        flags = ["--adapter", adapter] if adapter else []
        return self.hone.json("eval", "--model", model, "--data", self.data, *flags)["loss"]

    def tokenize(self, text):
        return self.hone.json("tokenize", "--model", self.base, "--parse-special", "--text", text)["ids"]

    def export(self, name, format, *flags, adapter=True):
        out = self.folder / name
        flags = [*flags, "--adapter", self.adapter] if adapter else flags
        self.hone("export", "--model", self.base, "--out", out, "--format", format, *flags)
        return out


def texts_of(path, count, length):
    text = path.read_text(encoding="utf-8")
    return [text[i * length : (i + 1) * length] for i in range(count)]


@pytest.fixture
def stories(hone, test_data, tmp_path):
    def make(base="hf", adapter="lora-r4"):
        folder = test_data / "stories260K"
        texts = texts_of(test_data / "text/tinyshakespeare.txt", 2, 700)
        case = Case(hone, tmp_path, folder / base, folder / "adapters" / adapter, texts)
        assert min(len(sample["ids"]) for sample in case.samples) >= 350 and case.tokens >= 700
        return case

    return make


@pytest.fixture
def fixture(hone, fixtures, root, tmp_path):
    def make(name):
        folder = fixtures / "models" / name
        texts = texts_of(root / "tests/fixtures/text/harbour.txt", 1, 900)
        case = Case(hone, tmp_path, folder, folder / "adapter", texts)
        assert case.tokens >= 400
        return case

    return make


def exact_loss(path, samples, folder, adapter=None):
    with llama.Runtime(llama.f32_form(path, folder), adapter) as runtime:
        return llama.masked_mean_nll(runtime, samples)


def default_loss(path, samples, adapter=None):
    with llama.Runtime(path, adapter, exact=False) as runtime:
        return llama.masked_mean_nll(runtime, samples)


def greedy_hugging_face(model, ids):
    ids = list(ids)
    for _ in range(GREEDY):
        ids.append(int(oracle.logits_of(model, ids)[-1].argmax()))
    return ids[-GREEDY:]


def greedy_llama(path, ids, adapter=None):
    with llama.Runtime(path, adapter) as runtime:
        return runtime.greedy(ids, GREEDY)


# --- PEFT folders ---


def ck_peft(case, model_folder):
    out = case.export("peft", "peft")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Unexpected keyword|.*missing")
        model = oracle.load_adapted(model_folder, out)
    near(oracle.evaluate(model, case.samples), case.adapted_loss, HUGGING_FACE, "PEFT")
    near(case.loss(case.base, out), case.adapted_loss, 1e-7, "hone eval of its own folder")
    return model


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_peft_folder_of_stories_loads_in_peft(stories, test_data, adapter):
    case = stories(adapter=adapter)
    assert abs(case.adapted_loss - case.base_loss) > 0.05
    ck_peft(case, case.base)
    kept = peft.PeftConfig.from_pretrained(case.folder / "peft")
    assert kept.peft_type == "LORA" and kept.task_type == "CAUSAL_LM"


@pytest.mark.parametrize("name", FIXTURES)
def test_peft_folder_of_fixture_loads_in_peft(fixture, name):
    case = fixture(name)
    ck_peft(case, case.base)


def test_peft_folder_from_gguf_base_is_in_hugging_face_order(stories, test_data):
    case = stories(base="stories260K-f32.gguf")
    ck_peft(case, test_data / "stories260K/hf")


def test_peft_folder_has_every_factor_of_the_original(stories):
    case = stories()
    out = case.export("peft", "peft")
    wanted = safetensors.torch.load_file(case.adapter / "adapter_model.safetensors")
    found = safetensors.torch.load_file(out / "adapter_model.safetensors")
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


# --- GGUF adapters ---


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_gguf_adapter_of_stories_loads_in_llama_cpp(stories, test_data, adapter):
    case = stories(adapter=adapter)
    out = case.export("adapter.gguf", "gguf-adapter")
    base = test_data / "stories260K/stories260K-f32.gguf"
    near(exact_loss(base, case.samples, case.folder, out), case.adapted_loss, EXACT, "llama.cpp")
    near(case.loss(case.base, out), case.adapted_loss, 1e-6, "hone eval of its own file")
    model = oracle.load_adapted(case.base, case.adapter)
    ids = case.samples[0]["ids"][:40]
    assert greedy_llama(base, ids, out) == greedy_hugging_face(model, ids)


@pytest.mark.parametrize("type_", AT_DEFAULTS)
def test_gguf_adapter_on_base_of_every_type_at_defaults(stories, type_):
    case = stories(base=f"stories260K-{type_}.gguf", adapter="rslora-r8-attn")
    out = case.export("adapter.gguf", "gguf-adapter")
    near(default_loss(case.base, case.samples, out), case.adapted_loss, AT_DEFAULTS[type_], "llama.cpp at its defaults")


@pytest.mark.parametrize("name", FIXTURES)
def test_gguf_adapter_of_fixture_loads_in_llama_cpp(fixture, name):
    case = fixture(name)
    out = case.export("adapter.gguf", "gguf-adapter")
    base = case.export("base.gguf", "gguf", "--type", "f32", adapter=False)
    near(exact_loss(base, case.samples, case.folder), case.base_loss, EXACT, "llama.cpp, base")
    near(exact_loss(base, case.samples, case.folder, out), case.adapted_loss, EXACT, "llama.cpp, adapted")


# --- Merged GGUF ---


@pytest.mark.parametrize(
    ("base", "type_"), [*(("hf", type_) for type_ in AT_DEFAULTS), (BASES[1], "q8_0"), (BASES[2], "f32"), (BASES[2], "q8_0")]
)
def test_merged_gguf_of_stories_runs_in_llama_cpp(stories, base, type_):
    case = stories(base=base)
    out = case.export("merged.gguf", "gguf", "--type", type_)
    merged = case.loss(out)
    near(merged, case.adapted_loss, AT_DEFAULTS[type_], "what rounding to the type changes")
    near(exact_loss(out, case.samples, case.folder), merged, EXACT, "llama.cpp in F32")
    near(default_loss(out, case.samples), merged, AT_DEFAULTS[type_], "llama.cpp at its defaults")
    if base == "hf" and type_ == "f32":
        model = oracle.load_adapted(case.base, case.adapter)
        ids = case.samples[0]["ids"][:40]
        assert greedy_llama(out, ids) == greedy_hugging_face(model, ids)


@pytest.mark.parametrize("name", FIXTURES)
def test_merged_gguf_of_fixture_runs_in_llama_cpp(fixture, name):
    case = fixture(name)
    out = case.export("merged.gguf", "gguf", "--type", "f32")
    near(exact_loss(out, case.samples, case.folder), case.adapted_loss, EXACT, "llama.cpp")


def test_merged_gguf_tokenizes_as_hone_does(fixture, stories):
    text = "It's 12345 o'clock,\n\n  caf\u00e9 I'LL see \u65e5\u672c <|im_end|> x"
    for case in [fixture("llama3-rope"), stories()]:
        case.folder = case.folder / case.base.name
        case.folder.mkdir()
        out = case.export("base.gguf", "gguf", adapter=False)
        wanted = case.tokenize(text)
        with llama.Runtime(out) as runtime:
            assert runtime.tokenize(text, bos=True) == wanted


# --- Merged safetensors ---


def ck_tokenizer(case, out):
    """The ids of tokenizer.json itself, and of what transformers makes of the folder. A copied folder is taken as the
    original is: transformers 5 builds Llama's tokenizer anew, other than its tokenizer.json says."""
    plain = tokenizers.Tokenizer.from_file(str(out / "tokenizer.json"))
    loaded = transformers.AutoTokenizer.from_pretrained(out, local_files_only=True)
    original = None
    if case.base.is_dir():
        original = transformers.AutoTokenizer.from_pretrained(case.base, local_files_only=True)
    for text in ["It's 12345 o'clock,\n\n  then.", " a  b", "caf\u00e9 <|im_end|></s> x", ""]:
        wanted = case.tokenize(text)
        assert plain.encode(text).ids == wanted, text
        assert loaded(text)["input_ids"] == (original(text)["input_ids"] if original else wanted), text


def ck_folder(case, out, dtype, tolerance):
    model = transformers.AutoModelForCausalLM.from_pretrained(out, local_files_only=True, attn_implementation="eager")
    assert model.dtype == dtype
    near(oracle.evaluate(model.float().eval(), case.samples), case.adapted_loss, tolerance, "transformers")
    ck_tokenizer(case, out)


@pytest.mark.parametrize("base", BASES)
def test_merged_folder_of_stories_runs_in_transformers(stories, base):
    case = stories(base=base)
    ck_folder(case, case.export("merged", "safetensors"), torch.float32, HUGGING_FACE)


@pytest.mark.parametrize("name", FIXTURES)
def test_merged_folder_of_fixture_runs_in_transformers(fixture, name):
    case = fixture(name)
    ck_folder(case, case.export("merged", "safetensors", "--type", "f32"), torch.float32, HUGGING_FACE)


@pytest.mark.parametrize(("type_", "dtype"), [("f16", torch.float16), ("bf16", torch.bfloat16)])
def test_merged_folder_in_half_precision(stories, type_, dtype):
    case = stories()
    ck_folder(case, case.export("merged", "safetensors", "--type", type_), dtype, AT_DEFAULTS[type_])


def test_merged_folder_equals_pefts_own_merge(stories):
    case = stories(adapter="lora-pattern")
    out = case.export("merged", "safetensors")
    wanted = oracle.load_adapted(case.base, case.adapter).merge_and_unload().state_dict()
    for name, value in safetensors.torch.load_file(out / "model.safetensors").items():
        torch.testing.assert_close(value, wanted[name], rtol=0, atol=1e-6)


def test_folder_from_gguf_keeps_the_chat_template(hone, fixtures, tmp_path):
    folder = fixtures / "models/grouped-tied"
    hone("export", "--model", folder, "--out", tmp_path / "a.gguf")
    hone("export", "--model", tmp_path / "a.gguf", "--out", tmp_path / "a", "--format", "safetensors")
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    found, wanted = (
        transformers.AutoTokenizer.from_pretrained(path, local_files_only=True) for path in (tmp_path / "a", folder)
    )
    assert found.chat_template == wanted.chat_template
    assert found.apply_chat_template(messages) == wanted.apply_chat_template(messages)


# --- Tokenizers alone ---

VOCABS = ["gpt-2", "qwen2", "starcoder", "llama-spm", "llama3/ggml-vocab-llama-bpe"]


def vocab_path(test_data, name):
    folder, _, file = name.rpartition("/")
    return test_data / "vocab" / folder / f"{file if folder else 'ggml-vocab-' + file}.gguf"


@pytest.mark.parametrize("name", VOCABS)
def test_tokenizer_json_from_gguf_gives_llama_cpps_ids(hone, test_data, tmp_path, name):
    path = vocab_path(test_data, name)
    done = subprocess.run([runs.tool(hone, "tokenizer_folder"), path, tmp_path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    tokenizer = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    texts = path.with_name(path.name + ".inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    wanted = path.with_name(path.name + ".out").read_text().splitlines()
    for text, ids in zip(texts, wanted, strict=False):
        assert tokenizer.encode(text, add_special_tokens=False).ids == [int(i) for i in ids.split()], repr(text)


# --- Refusals ---


def ck_refused(hone, status, message, *flags):
    done = hone("export", *flags, status=status)
    assert message in done.stderr, done.stderr


def test_export_refuses_what_it_cannot_do(hone, fixtures, tmp_path):
    folder = fixtures / "models/grouped-tied"
    model, adapter = ["--model", folder], ["--adapter", folder / "adapter"]
    taken = tmp_path / "taken"
    taken.write_text("mine")
    ck_refused(hone, 2, "--model is missing", "--out", tmp_path / "a")
    ck_refused(hone, 2, "--out is missing", *model)
    ck_refused(hone, 2, "taken exists", *model, "--out", taken)
    ck_refused(hone, 2, "--format peft needs --adapter", *model, "--out", tmp_path / "a", "--format", "peft")
    ck_refused(
        hone, 2, "adapters are written as f32", *model, *adapter, "--out", tmp_path / "a", "--format", "peft", "--type", "f16"
    )
    ck_refused(
        hone, 2, "--type q8_0 is for --format gguf", *model, "--out", tmp_path / "a", "--format", "safetensors", "--type", "q8_0"
    )
    ck_refused(hone, 1, "no such adapter", *model, "--adapter", tmp_path / "none", "--out", tmp_path / "a")
    assert taken.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize("format", ["peft", "gguf-adapter", "gguf", "safetensors"])
def test_export_makes_parents_and_leaves_nothing_when_it_fails(hone, fixtures, tmp_path, format):
    folder, out = fixtures / "models/grouped-tied", tmp_path / "made/deep/out"
    flags = ["--model", folder, "--adapter", folder / "adapter", "--format", format, "--out", out]
    command = [hone.binary, "export", *map(str, flags)]
    shell = ["bash", "-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "bash"]
    done = subprocess.run([*shell, *command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "is the disk full?" in done.stderr, done.stderr
    assert not any(out.parent.iterdir())
    hone("export", *flags)
    assert out.exists()


@pytest.mark.parametrize(
    ("adapter", "message"),
    [("dora-r4", "use_dora"), ("lora-embed", "embed_tokens"), ("lora-save-norm", "modules_to_save"), ("lora-embed.gguf", "token_embd")],
)
def test_export_refuses_adapters_by_name(hone, test_data, tmp_path, adapter, message):
    folder = test_data / "stories260K"
    flags = ["--model", folder / "hf", "--adapter", folder / "adapters" / adapter, "--out", tmp_path / "a.gguf"]
    ck_refused(hone, 1, message, *flags)
    assert not any(tmp_path.iterdir())


def test_export_refuses_an_adapter_of_another_shape_and_warns_of_another_base(hone, fixtures, tmp_path):
    mine, other = fixtures / "models/untied-odd", fixtures / "models/grouped-tied"
    ck_refused(hone, 1, "expected", "--model", mine, "--adapter", other / "adapter", "--out", tmp_path / "a.gguf")
    hone("export", "--model", mine, "--adapter", mine / "adapter", "--out", tmp_path / "b.gguf", "--format", "gguf-adapter")
    hone("export", "--model", mine, "--out", tmp_path / "same-shapes.gguf")
    flags = ["--model", tmp_path / "same-shapes.gguf", "--adapter", tmp_path / "b.gguf", "--out", tmp_path / "c.gguf"]
    assert "same-shapes.gguf, base" in hone("export", *flags).stderr
