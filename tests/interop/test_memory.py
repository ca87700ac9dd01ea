"""The promise of --memory: a run takes what its plan says, and a plan takes what there is."""

import json
import shutil
from pathlib import Path

import numpy
import pytest
import runs
from safetensors.numpy import save_file

LAYERS, WIDTH, HIDDEN, HEADS, KV_HEADS, VOCABULARY = 12, 320, 896, 5, 1, 16384
SETTINGS = {"seq_len": 128, "template": "plain"}
SLACK = 3 << 20  # the program is not of the same size to the byte each time


@pytest.fixture(scope="module")
def model(fixtures, tmp_path_factory):
    """A Llama of 19 million random weights, with the tokenizer of a fixture."""
    folder = tmp_path_factory.mktemp("model") / "llama"
    shutil.copytree(fixtures / "models/grouped-tied", folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "hidden_size": WIDTH,
        "intermediate_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": WIDTH // HEADS,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
    }
    (folder / "config.json").write_text(json.dumps(config))
    draw = numpy.random.default_rng(5)
    head = WIDTH // HEADS
    shapes = {
        "self_attn.q_proj": (WIDTH, WIDTH),
        "self_attn.k_proj": (KV_HEADS * head, WIDTH),
        "self_attn.v_proj": (KV_HEADS * head, WIDTH),
        "self_attn.o_proj": (WIDTH, WIDTH),
        "mlp.gate_proj": (HIDDEN, WIDTH),
        "mlp.up_proj": (HIDDEN, WIDTH),
        "mlp.down_proj": (WIDTH, HIDDEN),
        "input_layernorm": (WIDTH,),
        "post_attention_layernorm": (WIDTH,),
    }
    names = {"model.embed_tokens.weight": (VOCABULARY, WIDTH), "model.norm.weight": (WIDTH,)}
    names |= {f"model.layers.{layer}.{name}.weight": shape for layer in range(LAYERS) for name, shape in shapes.items()}
    tensors = {
        name: (draw.standard_normal(shape) * 0.02 if len(shape) == 2 else numpy.ones(shape)).astype(numpy.float32)
        for name, shape in names.items()
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def records(fixtures, tmp_path_factory):
    text = (fixtures / "text/harbour.txt").read_text(encoding="utf-8")
    rows = [{"text": text[i : i + 120]} for i in range(0, 6000, 120)]
    return runs.write_jsonl(tmp_path_factory.mktemp("records") / "records.jsonl", rows)


def plan(hone, model, records, *options):
    return hone.json("plan", "--model", model, "--data", records, *runs.settings(**SETTINGS), *options)


@pytest.mark.parametrize("part,compute", [(1, "f32"), (0.85, "f32"), (0.7, "f32"), (1, "bf16"), (1, "int8")])
def test_run_takes_what_its_plan_says(hone, model, records, tmp_path, part, compute):
    way = ["--compute", compute]
    most = plan(hone, model, records, *way)["memory"]
    smallest = most["total"] - most["step"]
    planned = plan(hone, model, records, *way, "--memory", int(smallest + part * most["step"]) + SLACK)
    budget = planned["memory"]["total"] + SLACK
    assert planned["micro_batch"] == 4 if part == 1 else planned["recompute"] != "full"
    if part == 1:
        assert (planned["recompute"], planned["activations"]) == ("none", "f32")
    result, _ = runs.train(
        hone, tmp_path / "run", model=model, data=records, steps=2, memory=budget, compute=compute,
        sets=SETTINGS | {"checkpoint_every": 1},
    )
    assert abs(result["peak_bytes"] - result["planned_bytes"]) <= 0.05 * result["planned_bytes"]
    assert abs(result["planned_bytes"] - planned["memory"]["total"]) <= 0.05 * result["planned_bytes"]
    assert result["planned_bytes"] <= budget and result["peak_bytes"] <= budget


SHIPPED = Path(__file__).parents[2]  # its model is Q8_0
SMALL = {"model": SHIPPED / "models/hone-base.gguf", "data": SHIPPED / "samples/shop.jsonl", "batch_size": 1}


def plan_small(hone, *options, **flags):
    given = [part for key, value in (SMALL | flags).items() for part in ("--" + key.replace("_", "-"), value)]
    return hone.json("plan", *given, *options)["memory"]


@pytest.mark.parametrize("compute,sets", [("f32", {}), ("int8", {}), ("int8", {"recompute": "full"})])
def test_small_run_takes_what_its_plan_says(hone, tmp_path, compute, sets):
    result, _ = runs.train(hone, tmp_path / "run", **SMALL, seq_len=128, steps=2, memory="100M", compute=compute,
                           sets=sets)
    assert abs(result["peak_bytes"] - result["planned_bytes"]) <= 0.05 * result["planned_bytes"]
    assert result["planned_bytes"] <= 1.1 * result["peak_bytes"]


def test_no_budget_is_refused_because_of_evaluation(hone, tmp_path):
    least = {"activations": "bf16", "recompute": "full"}
    planned = plan_small(hone, *runs.settings(**least), seq_len=64)
    without = plan_small(hone, *runs.settings(**least, eval_fraction=0), seq_len=64)
    assert planned["total"] <= without["total"] + SLACK // 2
    refused = hone("train", *[part for key in ("model", "data") for part in ("--" + key, SMALL[key])], "--batch-size", 1,
                   "--seq-len", 64, "--out", tmp_path / "no", "--memory", planned["total"] - SLACK, status=1)
    assert "may be taken" in refused.stderr
    budget = planned["total"] + SLACK // 2
    small, _ = runs.train(hone, tmp_path / "small", **SMALL, seq_len=64, steps=2, memory=budget)
    assert small["planned_bytes"] <= budget and small["peak_bytes"] <= budget
    assert small["planned_bytes"] <= 1.1 * small["peak_bytes"]
    runs.train(hone, tmp_path / "wide", **(SMALL | {"batch_size": 8}), seq_len=64, steps=1)
    losses = [runs.read_jsonl(tmp_path / run / "metrics.jsonl")[0]["eval_loss"] for run in ("small", "wide")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_plan_at_the_smallest_budget_is_the_run(hone, model, records, tmp_path):
    refused = hone("train", "--model", model, "--data", records, "--out", tmp_path / "no", "--memory", "50M",
                   *runs.settings(**SETTINGS), status=1)
    assert "but 50 MiB may be taken" in refused.stderr and not (tmp_path / "no").exists()
    exact = runs.settings(activations="f32", seq_len=256)
    least = plan(hone, model, records, *exact, "--set", "recompute=full", "--batch-size", 1)["memory"]["total"]
    budget = least + SLACK // 2
    chosen = plan(hone, model, records, *exact, "--memory", budget)
    assert (chosen["recompute"], chosen["micro_batch"], chosen["passes"]) == ("full", 1, 4)
    result, _ = runs.train(hone, tmp_path / "run", model=model, data=records, steps=1, memory=budget,
                           sets=SETTINGS | {"activations": "f32", "seq_len": 256})
    assert result["peak_bytes"] <= budget
    run = (tmp_path / "run/run.yaml").read_text()
    assert '"micro_batch": "1"' in run.replace("'", '"') or "micro_batch: 1" in run


def test_plan_says_time_and_memory(hone, model, records):
    shown = plan(hone, model, records, "--steps", 7)
    assert shown["steps"] == 7 and shown["rows_per_step"] == 4
    assert shown["seconds"] == pytest.approx(7 * shown["tokens_per_step"] / shown["tokens_per_second"], rel=1e-6)
    parts = shown["memory"]
    arena = max(parts["step"], parts["evaluation"])
    others = sum(parts[name] for name in ["weights", "trained", "batches", "libraries", "program"])
    assert parts["total"] == arena + others
    # Parts are summed where the arena is fullest; what lies between them is little.
    assert 0.97 * parts["step"] <= sum(parts["step_items"].values()) <= parts["step"]
    text = hone("plan", "--model", model, "--data", records, *runs.settings(**SETTINGS)).stdout
    assert "tokens/s" in text and "may be taken" in text
