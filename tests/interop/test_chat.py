"""The way of a conversation: data in, rendered by the model's own template as transformers renders it, trained,
and prompted in the same way afterwards.
"""

import json
import shutil

import pytest
import yaml
from runs import PLAIN, add_data, show, train
from safetensors import safe_open
from transformers import AutoTokenizer

TURNS = [
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": " a loaf "},
    {"role": "user", "content": "and two"},
    {"role": "assistant", "content": "two loaves"},
]
THOUGHT = [TURNS[0], {**TURNS[1], "reasoning_content": "bread is sold"}]


@pytest.fixture(scope="module")
def model(fixtures, test_data, tmp_path_factory):
    """model(name): a copy of the fixture's model with one of the shared templates."""

    def make(name):
        folder = tmp_path_factory.mktemp("chat") / "model"
        shutil.copytree(fixtures / "models/grouped-tied", folder)
        shutil.copyfile(test_data / "templates" / name, folder / "chat_template.jinja")
        return folder

    return make


def learned(sample, tokenizer):
    return tokenizer.decode([i for i, m in zip(sample["ids"], sample["mask"], strict=True) if m])


def test_thinking_template_trains_turn_by_turn_and_prompts_alike(hone, model, tmp_path):
    folder = model("Qwen-Qwen3-0.6B.jinja")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    data = add_data(hone, tmp_path, [{"messages": TURNS}] * 4)
    samples = show(hone, data, folder)[:2]
    assert [s["sample"] for s in samples] == [0, 1]
    for sample, upto in zip(samples, (2, 4), strict=True):
        assert sample["text"] == tokenizer.apply_chat_template(TURNS[:upto], tokenize=False)
    assert [learned(s, tokenizer) for s in samples] == [" a loaf <|im_end|>", "two loaves<|im_end|>"]

    out = tmp_path / "run"
    train(hone, out, model=folder, data=data, steps=2, seq_len=128, sets={**PLAIN, "date": "2024-07-26"})
    with safe_open(out / "adapter/adapter_model.safetensors", "np") as file:
        metadata = file.metadata()
    assert json.loads(metadata["hone_chat_variables"]) == {"enable_thinking": False}
    assert len(metadata["hone_chat_template"]) == 64
    assert str(yaml.safe_load((out / "run.yaml").read_text())["date"]) == "2024-07-26"
    for path in (out, out / "adapter.gguf"):
        trained = hone.json("eval", "--model", folder, "--adapter", path, "--data", data)
        assert trained["tokens"] == sum(sum(s["mask"]) for s in samples)  # equal records are one

    path = tmp_path / "prompt.json"
    path.write_text(json.dumps(TURNS[:3]))
    found = hone.json("tokenize", "--model", folder, "--messages", path, "--generation", "--template-vars",
                      '{"enable_thinking": false}')
    wanted = tokenizer.apply_chat_template(TURNS[:3], add_generation_prompt=True, enable_thinking=False, tokenize=False)
    assert "".join(found["pieces"]) == wanted


def test_reasoning_is_learned_and_prompts_stay_open(hone, model, tmp_path):
    folder = model("Qwen-Qwen3-0.6B.jinja")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    data = add_data(hone, tmp_path, [{"messages": THOUGHT}] * 4)
    sample = show(hone, data, folder)[0]
    assert sample["text"] == tokenizer.apply_chat_template(THOUGHT, tokenize=False)
    assert learned(sample, tokenizer).startswith("<think>\nbread is sold\n</think>")
    out = tmp_path / "run"
    train(hone, out, model=folder, data=data, steps=2, seq_len=128, sets=PLAIN)
    with safe_open(out / "adapter/adapter_model.safetensors", "np") as file:
        assert "hone_chat_variables" not in file.metadata()


def test_tools_reach_the_template(hone, model, tmp_path):
    folder = model("Qwen-Qwen2.5-7B-Instruct.jinja")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tools = [{"type": "function", "function": {"name": "price", "parameters": {"type": "object", "properties": {}}}}]
    call = {"type": "function", "function": {"name": "price", "arguments": {"of": "bread"}}}
    messages = [
        {"role": "user", "content": "price?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "3", "name": "price"},
        {"role": "assistant", "content": "It is 3."},
    ]
    data = add_data(hone, tmp_path, [{"messages": messages, "tools": tools}])
    sample = show(hone, data, folder)[0]
    assert sample["text"] == tokenizer.apply_chat_template(messages, tools=tools, tokenize=False)
    text = learned(sample, tokenizer)
    assert '"arguments": {"of": "bread"}' in text and text.endswith("It is 3.<|im_end|>")


def test_template_files_and_refusals(hone, model, tmp_path):
    folder = model("classic/zephyr.jinja")
    path, template = tmp_path / "m.json", tmp_path / "t.jinja"
    path.write_text(json.dumps(TURNS))
    template.write_text("{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}{% endfor %}")
    found = hone.json("tokenize", "--model", folder, "--messages", path, "--template", template)
    assert "".join(found["pieces"]) == "<user>hello<assistant>a loaf<user>and two<assistant>two loaves"
    template.write_text("{% for m in messages %}\n{{ m.content | nonsense }}{% endfor %}")
    said = hone("tokenize", "--model", folder, "--messages", path, "--template", template, status=1).stderr
    assert "line 2, column 16: no filter is named 'nonsense'" in said
    template.write_text("{% for m in messages %}{{ m.content | length }}{% endfor %}")
    said = hone("tokenize", "--model", folder, "--messages", path, "--template", template, status=1).stderr
    assert "cannot be found" in said and "template: chatml" in said
    template.write_text("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}")
    said = hone("tokenize", "--model", folder, "--messages", path, "--template", template, status=1).stderr
    assert "too many steps" in said
    said = hone("tokenize", "--model", folder, "--messages", path, "--template", "nosuch", status=2).stderr
    assert "known: chatml" in said
