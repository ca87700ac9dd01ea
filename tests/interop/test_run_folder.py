"""What a training run leaves, in the runtimes it is for: the adapter in PEFT and llama.cpp, a fully trained model in
transformers and llama.cpp. All agree with `hone eval`, and with the program's own greedy text."""

import json

import llama
import oracle
import pytest
import runs

HUGGING_FACE, EXACT, GREEDY = 1e-5, 1e-4, 32
AT_DEFAULTS = {"f32": 5e-4, "f16": 5e-4, "bf16": 3e-3, "q8_0": 2e-2}
PROMPT = "First Citizen:\nBefore we"
STEPS = 30


def near(found, wanted, tolerance, what):
    assert abs(found - wanted) <= tolerance, f"{what}: {found} instead of {wanted}"


@pytest.fixture(scope="session")
def shakespeare(hone, test_data, tmp_path_factory):
    """Records of some 300 tokens each, as a data file."""
    text = (test_data / "text/tinyshakespeare.txt").read_text(encoding="utf-8")
    rows = [{"text": text[i : i + 600]} for i in range(0, 6000, 600)]
    return runs.add_data(hone, tmp_path_factory.mktemp("shakespeare"), rows)


class Trained:
    """A run on one form of the trained model, and what `hone eval` says about it."""

    def __init__(self, hone, test_data, data, folder, form):
        self.stories = test_data / "stories260K"
        self.form = form
        self.base = self.stories / ("hf" if form == "hf" else f"stories260K-{form}.gguf")
        self.gguf = self.stories / f"stories260K-{'f32' if form == 'hf' else form}.gguf"
        self.out = folder / form
        runs.train(
            hone,
            self.out,
            model=self.base,
            data=data,
            steps=STEPS,
            rank=8,
            lr=5e-3,
            seq_len=512,
            batch_size=2,
            sets={"dropout": 0.05, "eval_fraction": 0},
        )
        self.samples = runs.show(hone, data, self.base)
        assert sum(len(sample["ids"]) for sample in self.samples) >= 400
        self.before = hone.json("eval", "--model", self.base, "--data", data)["loss"]
        self.loss = hone.json("eval", "--model", self.base, "--adapter", self.out, "--data", data)["loss"]

    def pytorch(self):
        folder = self.stories / "hf"
        return oracle.load_model(folder) if self.form == "hf" else oracle.load_gguf(folder, self.gguf)


@pytest.fixture(scope="session")
def trained(hone, test_data, shakespeare, tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("trained"), {}

    def make(form):
        if form not in made:
            made[form] = Trained(hone, test_data, shakespeare, folder, form)
        return made[form]

    return make


@pytest.mark.parametrize("form", ["hf", "f32", "q8_0"])
def test_adapter_of_a_run_loads_in_peft(trained, form):
    run = trained(form)
    assert run.loss < run.before - 0.3
    model = oracle.PeftModel.from_pretrained(run.pytorch(), run.out / "adapter")
    near(oracle.evaluate(model, run.samples), run.loss, HUGGING_FACE, "PEFT")


@pytest.mark.parametrize("form", ["hf", "f16", "bf16", "q8_0"])
def test_gguf_adapter_of_a_run_loads_in_llama_cpp(trained, tmp_path, form):
    run = trained(form)
    adapter = run.out / "adapter.gguf"
    with llama.Runtime(llama.f32_form(run.gguf, tmp_path), adapter) as runtime:
        near(llama.masked_mean_nll(runtime, run.samples), run.loss, EXACT, "llama.cpp in F32")
    with llama.Runtime(run.gguf, adapter, exact=False) as runtime:
        tolerance = AT_DEFAULTS["f32" if form == "hf" else form]
        near(llama.masked_mean_nll(runtime, run.samples), run.loss, tolerance, "llama.cpp at its defaults")


@pytest.mark.parametrize("form", ["hf", "q8_0"])
def test_greedy_text_of_a_run_is_llama_cpps(hone, trained, tmp_path, form):
    run = trained(form)
    flags = ["--prompt", PROMPT, "--temperature", "0", "--max-tokens", GREEDY]
    said = hone("generate", "--model", run.base, "--adapter", run.out, *flags).stdout
    with llama.Runtime(llama.f32_form(run.gguf, tmp_path), run.out / "adapter.gguf") as runtime:
        ids = runtime.tokenize(PROMPT, bos=True)
        follow = runtime.greedy(ids, GREEDY)
        wanted = runtime.model.detokenize(follow, prev_tokens=ids).decode()
    assert said.strip() == wanted.strip()


def ck_whole_model(hone, out, data, tmp_path):
    """A model folder and a GGUF with all weights, in transformers and llama.cpp."""
    samples = runs.show(hone, data, out / "model")
    loss = hone.json("eval", "--model", out / "model", "--data", data)["loss"]
    near(oracle.evaluate(oracle.load_model(out / "model"), samples), loss, HUGGING_FACE, "transformers")
    near(hone.json("eval", "--model", out / "model.gguf", "--data", data)["loss"], loss, HUGGING_FACE, "GGUF")
    with llama.Runtime(llama.f32_form(out / "model.gguf", tmp_path)) as runtime:
        near(llama.masked_mean_nll(runtime, samples), loss, EXACT, "llama.cpp")
    return loss


def test_fully_trained_model_loads_everywhere(hone, test_data, shakespeare, tmp_path):
    base = test_data / "stories260K/hf"
    out = tmp_path / "full"
    hone("train", "--model", base, "--data", shakespeare, "--out", out, "--full", "--steps", 20, "--lr", 1e-3,
         "--seq-len", 512, "--batch-size", 2, "--set", "eval_fraction=0")  # fmt: skip
    before = hone.json("eval", "--model", base, "--data", shakespeare)["loss"]
    assert ck_whole_model(hone, out, shakespeare, tmp_path) < before - 0.3


def test_model_from_scratch_loads_everywhere(hone, fixtures, shakespeare, tmp_path):
    folder = fixtures / "models" / "llama3-rope"
    config = json.loads((folder / "config.json").read_text())
    scratch = tmp_path / "config.json"
    scratch.write_text(json.dumps({**config, "num_hidden_layers": 3}))
    out = tmp_path / "scratch"
    hone("train", "--model", folder, "--from-scratch", scratch, "--data", shakespeare, "--out", out, "--steps", 30,
         "--lr", 3e-3, "--seq-len", 512, "--batch-size", 2, "--set", "eval_fraction=0")  # fmt: skip
    assert ck_whole_model(hone, out, shakespeare, tmp_path) < 5.5
