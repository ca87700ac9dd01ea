"""The engine against PyTorch and PEFT: logits within 1e-4, loss within 1e-5, gradients within 1e-4 of their norm, and
50 steps of LoRA training within 1e-4 of PEFT's curve."""

import shutil

import oracle
import pytest
import runs
import torch
from safetensors.torch import load_file, save_file

FIXTURES = ["grouped-tied", "untied-odd", "llama3-rope", "sharded-bf16"]
LOGITS, LOSS, GRADIENT, CURVE = 1e-4, 1e-5, 1e-4, 1e-4
STEPS, RATE = 50, 1e-3

# What the random models and the trained one are given: records of several lengths and shapes.
RECORDS = [
    {"text": "The harbour wakes before the sun does. Boats knock against the wall."},
    {"prompt": "Is the fish fresh?", "completion": "Yes. It came in with the boat this morning."},
    {"question": "Do you deliver on Sundays?", "answer": "No, we are closed. Monday is fine."},
    {"text": '"Ten," she says. "Ten crates, and the ice is already melting."'},
    {"prompt": "What does a kilo of cod cost?", "completion": "14.50, unless the weather has been bad."},
]


def ck_near(found, wanted, tolerance, what):
    assert abs(found - wanted) <= tolerance, f"{what}: {found} instead of {wanted}"


def ck_step(found, tensors, model, samples, prefix):
    """One step of the engine against PyTorch's: loss, logits of every token, gradient of every trained tensor."""
    loss, grads = oracle.gradients(model, samples)
    ck_near(found, loss, LOSS, "loss")
    wanted = torch.cat([oracle.logits_of(model, sample["ids"]) for sample in samples])
    assert float((tensors["logits"] - wanted).abs().max()) <= LOGITS
    names = {oracle.peft_name(name).removeprefix(prefix): value for name, value in grads.items()}
    assert {"grad." + name for name in names} == {name for name in tensors if name.startswith("grad.")}
    for name, value in names.items():
        difference = float((tensors["grad." + name] - value).norm() / value.norm())
        assert difference <= GRADIENT, f"{name}: the gradient is off by {difference} of its norm"


@pytest.fixture(scope="session")
def two_samples():
    """Token ids below every fixture's vocabulary, with gaps in the mask; packed, a document must not see the other."""
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(3, 380, (96,), generator=generator).tolist()
    return [
        {"ids": ids[:61], "mask": [0] * 9 + [1] * 30 + [0] * 4 + [1] * 18},
        {"ids": ids[61:], "mask": [0] * 3 + [1] * 32},
    ]


@pytest.mark.parametrize("flags", [("repeat",), ("recompute", "repeat")], ids=["plain", "recompute"])
@pytest.mark.parametrize("name", FIXTURES)
def test_lora_step_packed_matches_peft(hone, fixtures, tmp_path, two_samples, name, flags):
    folder = fixtures / "models" / name
    adapter = folder / "adapter"
    model = oracle.load_adapted(folder, adapter, trainable=True)
    found, tensors = runs.dump_step(hone, tmp_path, folder, adapter, two_samples, *flags)
    ck_step(found, tensors, model, two_samples, "base_model.model.")


@pytest.mark.parametrize("name", FIXTURES)
def test_full_step_packed_matches_pytorch(hone, fixtures, tmp_path, two_samples, name):
    folder = fixtures / "models" / name
    found, tensors = runs.dump_step(hone, tmp_path, folder, None, two_samples, "full")
    ck_step(found, tensors, oracle.load_model(folder), two_samples, "")


@pytest.mark.parametrize("name", FIXTURES)
def test_fixture_expectations_hold(fixtures, name):
    """The committed expectations, which the C suites use, are what PyTorch says today."""
    folder = fixtures / "models" / name
    expected, tensors = oracle.read_json(folder / "expected.json"), load_file(folder / "expected.safetensors")
    model = oracle.load_adapted(folder, folder / "adapter", trainable=True)
    assert float((oracle.logits_of(model, expected["ids"]) - tensors["lora.logits"]).abs().max()) <= LOGITS
    ck_near(oracle.gradients(model, [expected])[0], expected["lora_loss"], LOSS, "loss")


def test_trained_model_step_matches_peft(hone, test_data, tmp_path):
    """The trained model and adapter on real text, from the Hugging Face folder and from the F32 GGUF."""
    base = test_data / "stories260K"
    adapter = base / "adapters" / "lora-r4"
    expected = oracle.read_json(base / "expected.json")["lora-r4"]
    samples = [
        {"ids": expected[name]["ids"], "mask": [0] + [1] * (len(expected[name]["ids"]) - 1)}
        for name in ["lily", "shakespeare"]
    ]
    model = oracle.load_adapted(base / "hf", adapter, trainable=True)
    found, tensors = runs.dump_step(hone, tmp_path, base / "hf", adapter, samples)
    ck_step(found, tensors, model, samples, "base_model.model.")
    other, tensors_gguf = runs.dump_step(hone, tmp_path, base / "stories260K-f32.gguf", adapter, samples)
    ck_near(other, found, LOSS, "loss from GGUF")
    assert float((tensors["logits"] - tensors_gguf["logits"]).abs().max()) <= LOGITS


@pytest.mark.parametrize("name", FIXTURES)
def test_eval_of_fixture_matches_pytorch(hone, fixtures, tmp_path, name):
    folder = fixtures / "models" / name
    data = runs.add_data(hone, tmp_path, RECORDS)
    samples = runs.show(hone, data, folder)
    for adapter in [None, folder / "adapter"]:
        model = oracle.load_adapted(folder, adapter) if adapter else oracle.load_model(folder)
        extra = ["--adapter", adapter] if adapter else []
        found = hone.json("eval", "--model", folder, "--data", data, *extra)
        ck_near(found["loss"], oracle.evaluate(model, samples), LOSS, f"loss with adapter {adapter}")
        assert found["tokens"] == sum(sum(sample["mask"][1:]) for sample in samples)


FORMS = {
    "hf": ("hf", None),
    "f32": ("stories260K-f32.gguf", None),
    "f16": ("stories260K-f16.gguf", "stories260K-f16.gguf"),
    "bf16": ("stories260K-bf16.gguf", "stories260K-bf16.gguf"),
    "q8_0": ("stories260K-q8_0.gguf", "stories260K-q8_0.gguf"),
}


@pytest.fixture(scope="session")
def stories(hone, test_data, tmp_path_factory):
    """A data file of stories and questions, and its samples as the trained model sees them."""
    base = test_data / "stories260K"
    with open(test_data / "text" / "tinyshakespeare.txt", encoding="utf-8") as file:
        text = file.read(4000)
    rows = [{"text": text[i : i + 400]} for i in range(0, 4000, 400)] + RECORDS
    data = runs.add_data(hone, tmp_path_factory.mktemp("stories"), rows)
    return base, data, runs.show(hone, data, base / "hf")


@pytest.mark.parametrize("form", FORMS)
def test_eval_of_trained_model_in_every_form_matches_pytorch(hone, stories, form):
    """Stored numbers are used as they are: PyTorch gets those of the same file."""
    base, data, samples = stories
    name, gguf_file = FORMS[form]
    model = oracle.load_gguf(base / "hf", base / gguf_file) if gguf_file else oracle.load_model(base / "hf")
    found = hone.json("eval", "--model", base / name, "--data", data)
    ck_near(found["loss"], oracle.evaluate(model, samples), LOSS, form)


@pytest.mark.parametrize("name", ["lora-r4", "rslora-r8-attn", "lora-pattern", "lora-r4.gguf"])
def test_eval_with_adapters_made_elsewhere_matches_peft(hone, stories, name):
    base, data, samples = stories
    adapter = base / "adapters" / name
    model = oracle.load_adapted(base / "hf", base / "adapters" / name.removesuffix(".gguf"))
    wanted = oracle.evaluate(model, samples)
    for form in ["hf", "stories260K-f32.gguf"]:
        found = hone.json("eval", "--model", base / form, "--adapter", adapter, "--data", data)
        ck_near(found["loss"], wanted, LOSS, f"{name} on {form}")


REFUSED = {"dora-r4": "dora", "lora-embed": "embed", "lora-save-norm": "norm", "lora-embed.gguf": "token_embd"}


@pytest.mark.parametrize("name", REFUSED)
def test_eval_with_an_adapter_that_cannot_be_honoured_is_refused(hone, stories, name):
    base, data, _ = stories
    done = hone("eval", "--model", base / "hf", "--adapter", base / "adapters" / name, "--data", data, status=1)
    assert REFUSED[name] in done.stderr.lower()


# --- Curves ---


def ck_curve(hone, tmp_path, folder, adapter, data, samples, **options):
    """50 steps over all samples at once; gives hone's and PEFT's losses."""
    model = oracle.load_adapted(folder, adapter, trainable=True)
    wanted = oracle.train_curve(model, samples, STEPS, RATE)
    out = tmp_path / "run"
    _, steps = runs.train(
        hone, out, model=folder, data=data, adapter=adapter, steps=STEPS, lr=RATE, sets=runs.PLAIN, **options
    )
    found = [step["loss"] for step in steps]
    assert len(found) == STEPS
    return found, wanted, model, out


def worst(found, wanted):
    return max(abs(a - b) for a, b in zip(found, wanted))


@pytest.mark.parametrize("name", FIXTURES)
def test_curve_on_random_models_matches_peft(hone, fixtures, tmp_path, name):
    """All records share one row: documents packed together train as PEFT trains them apart."""
    folder = fixtures / "models" / name
    data = runs.add_data(hone, tmp_path, RECORDS)
    samples = runs.show(hone, data, folder)
    found, wanted, model, out = ck_curve(
        hone, tmp_path, folder, folder / "adapter", data, samples, seq_len=512, batch_size=1
    )
    assert worst(found, wanted) <= CURVE, worst(found, wanted)
    assert found[0] - found[-1] >= 0.5
    ck_factors(model, out / "adapter")


def ck_factors(model, folder):
    """The adapter that was written holds the factors that PEFT ended with."""
    written = load_file(folder / "adapter_model.safetensors")
    trained = {oracle.peft_name(n): p.detach() for n, p in model.named_parameters() if p.requires_grad}
    assert written.keys() == trained.keys()
    for name, value in trained.items():
        difference = float((written[name] - value).norm() / value.norm())
        assert difference <= 1e-2, f"{name} is off by {difference} of its norm"


@pytest.fixture
def long_records(hone, test_data, tmp_path):
    """Four records of more than half a row each, so that every step takes all four."""
    with open(test_data / "text" / "tinyshakespeare.txt", encoding="utf-8") as file:
        text = file.read(2400)
    data = runs.add_data(hone, tmp_path, [{"text": text[i : i + 600]} for i in range(0, 2400, 600)])
    samples = runs.show(hone, data, test_data / "stories260K" / "hf")
    assert all(257 <= len(sample["ids"]) <= 512 for sample in samples)
    return data, samples


@pytest.mark.parametrize("split", [(4, 1), (1, 4)], ids=["batch", "accumulated"])
def test_curve_on_the_trained_model_matches_peft(hone, test_data, tmp_path, long_records, split):
    data, samples = long_records
    folder = test_data / "stories260K" / "hf"
    adapter = new_factors(folder, tmp_path / "start")
    sets = {**runs.PLAIN, "accumulation": split[1]}
    model = oracle.load_adapted(folder, adapter, trainable=True)
    wanted = oracle.train_curve(model, samples, STEPS, RATE)
    _, steps = runs.train(
        hone,
        tmp_path / "run",
        model=folder,
        data=data,
        adapter=adapter,
        steps=STEPS,
        lr=RATE,
        seq_len=512,
        batch_size=split[0],
        sets=sets,
    )
    found = [step["loss"] for step in steps]
    assert worst(found, wanted) <= CURVE, worst(found, wanted)
    assert found[0] - found[-1] >= 0.5


def new_factors(folder, target, zero=False):
    """A PEFT folder of fresh factors as hone would draw them: A random; B small, or zero."""
    adapted = oracle.add_lora(oracle.load_model(folder), rank=8, alpha=16, seed=3, b_std=0.02)
    oracle.save_adapter(adapted, target)
    return target


def test_curve_from_zeroed_factors_does_not_match(hone, fixtures, tmp_path):
    """The comparison has teeth: with the factors zeroed nothing can be learned, and the curve is another."""
    folder = fixtures / "models" / "grouped-tied"
    data = runs.add_data(hone, tmp_path, RECORDS)
    samples = runs.show(hone, data, folder)
    wanted = oracle.train_curve(
        oracle.load_adapted(folder, folder / "adapter", trainable=True), samples, STEPS, RATE
    )
    zeroed = shutil.copytree(folder / "adapter", tmp_path / "zeroed")
    factors = load_file(zeroed / "adapter_model.safetensors")
    save_file({name: torch.zeros_like(value) for name, value in factors.items()}, zeroed / "adapter_model.safetensors")
    _, steps = runs.train(
        hone,
        tmp_path / "run",
        model=folder,
        data=data,
        adapter=zeroed,
        steps=STEPS,
        lr=RATE,
        seq_len=512,
        batch_size=1,
        sets=runs.PLAIN,
    )
    found = [step["loss"] for step in steps]
    assert worst(found, wanted) > 0.1
    assert abs(found[0] - found[-1]) <= 1e-6


def test_fresh_factors_are_drawn_as_peft_draws_them(hone, fixtures, tmp_path):
    """A uniform in +-1/sqrt(in), B zero: after one step at rate 0 the written adapter shows what was drawn."""
    folder = fixtures / "models" / "grouped-tied"
    data = runs.add_data(hone, tmp_path, RECORDS)
    sets = {**runs.PLAIN, "warmup": 2}
    runs.train(hone, tmp_path / "run", model=folder, data=data, steps=1, rank=4, seq_len=512, batch_size=1, sets=sets)
    for name, value in load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors").items():
        if "lora_B" in name:
            assert not value.any()
            continue
        bound = value.shape[1] ** -0.5
        assert float(value.abs().max()) <= bound
        assert abs(float(value.std()) / (bound / 3**0.5) - 1) <= 0.25, name
