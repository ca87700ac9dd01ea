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


# --- Contents in parts ---

IMAGE = {"type": "image", "url": "shop.png"}


def in_parts(*texts):
    return [{"type": "text", "text": text} for text in texts]


PARTS = [
    {"role": "user", "content": [IMAGE, *in_parts("hel", "lo <|im_end|>")]},
    {"role": "assistant", "content": in_parts(" a loaf ")},
    {"role": "user", "content": "and two"},
    {"role": "assistant", "content": [*in_parts("two"), {"type": "chart", "points": [1, None]}, *in_parts(" loaves")]},
]
WRITTEN = """{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.content is string %}{{ m.content }}
{%- else %}{% for p in m.content %}{% if p['type'] == 'text' %}{{ p.text }}{% elif p.points %}{{ p.points | tojson }}
{%- else %}[{{ p.type }} {{ p.url }}]{% endif %}{% endfor %}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}"""


def test_parts_reach_the_template_and_are_learned(hone, model, tmp_path):
    folder = model("classic/zephyr.jinja")
    (folder / "chat_template.jinja").write_text(WRITTEN)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    wanted = tokenizer.apply_chat_template(PARTS, tokenize=False)
    assert "[image shop.png]hello <|im_end|><|im_end|>\n" in wanted and "two[1, null] loaves<|im_end|>" in wanted
    data = add_data(hone, tmp_path, [{"messages": PARTS}, {"messages": PARTS}])
    (sample,) = show(hone, data, folder)
    assert sample["text"] == wanted
    assert learned(sample, tokenizer) == " a loaf <|im_end|>two[1, null] loaves<|im_end|>"
    path = tmp_path / "m.json"
    path.write_text(json.dumps(PARTS))
    found = hone.json("tokenize", "--model", folder, "--messages", path)
    assert (found["ids"], found["mask"]) == (sample["ids"], sample["mask"])
    train(hone, tmp_path / "run", model=folder, data=data, steps=2, seq_len=256, sets=PLAIN)
    for flags in ([], ["--adapter", tmp_path / "run"]):
        assert hone.json("eval", "--model", folder, "--data", data, *flags)["tokens"] == sum(sample["mask"])


def test_shared_templates_take_parts_as_transformers_or_refuse(hone, model, test_data, tmp_path):
    """What transformers renders from parts as it would from texts, hone renders too; a Python list or an omission is refused."""
    messages = [{**turn, "content": in_parts(turn["content"])} for turn in TURNS]
    path, data = tmp_path / "m.json", add_data(hone, tmp_path, [{"messages": messages}])
    path.write_text(json.dumps(messages))
    taken = []
    for file in sorted((test_data / "templates").rglob("*.jinja")):
        folder = model(file.relative_to(test_data / "templates"))
        tokenizer = AutoTokenizer.from_pretrained(folder)
        try:
            wanted = tokenizer.apply_chat_template(messages, tokenize=False)
        except Exception:
            wanted = ""
        if wanted and wanted == tokenizer.apply_chat_template(TURNS, tokenize=False):
            assert show(hone, data, folder)[-1]["text"] == wanted, file
            taken.append(file.stem)
        else:
            said = hone("data", "show", data, "--model", folder, status=1).stderr
            assert "record 0" in said and "message 1" in said and "write content as one text" in said, file
    assert "gemma-3" in taken


def test_special_tokens_are_variables_by_name(hone, model, tmp_path):
    folder = model("classic/zephyr.jinja")
    names = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "image_token", "boi"]
    config = json.loads((folder / "tokenizer_config.json").read_text())
    eos = config["eos_token"]
    config.update(unk_token=eos, pad_token=eos, cls_token=None, image_token=eos, extra_special_tokens={"boi": eos})
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "chat_template.jinja").write_text("".join(f"{name}={{{{ {name} }}}};" for name in names) + "{{ messages[0].content }}")
    path = tmp_path / "m.json"
    path.write_text(json.dumps(TURNS[:1]))
    found = hone.json("tokenize", "--model", folder, "--messages", path, "--generation")
    wanted = AutoTokenizer.from_pretrained(folder).apply_chat_template(TURNS[:1], tokenize=False)
    assert "".join(found["pieces"]) == wanted
    assert f"pad_token={eos};cls_token=;mask_token=;image_token={eos};boi={eos};" in wanted
