"""Templates rendered by hone and by jinja2 as transformers sets it up: the same text, or both refuse."""

import json
import subprocess
from pathlib import Path

import jinja_generator
import pytest
from runs import tool
from transformers.utils.chat_template_utils import _compile_jinja_template

GENERATED = 500


def by_jinja(template, variables):
    try:
        return _compile_jinja_template(template).render(**variables)
    except Exception as error:
        return error


def by_hone(program, tasks):
    lines = "".join(json.dumps(task) + "\n" for task in tasks)
    done = subprocess.run([program], input=lines.encode(), capture_output=True, timeout=300, check=True)
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def compare(program, templates, variables):
    answers = by_hone(program, [{"template": text, "variables": variables} for text in templates])
    wrong, rendered = [], 0
    for template, answer in zip(templates, answers, strict=True):
        expected = by_jinja(template, variables)
        if isinstance(expected, Exception):
            if "error" not in answer:
                wrong.append((template, f"{type(expected).__name__}: {expected}", answer["text"]))
        elif "error" in answer or answer["text"] != expected:
            wrong.append((template, expected, answer.get("text", answer.get("error"))))
        else:
            rendered += 1
    return wrong, rendered


def report(wrong):
    return "\n\n".join(f"{template!r}\n  jinja2 {expected!r}\n  hone   {got!r}" for template, expected, got in wrong[:10])


def test_generated_templates_render_as_by_jinja2(hone):
    templates = [jinja_generator.template(seed) for seed in range(GENERATED)]
    wrong, rendered = compare(tool(hone, "render_templates"), templates, jinja_generator.DATA)
    assert not wrong, f"{len(wrong)} differ:\n{report(wrong)}"
    assert rendered >= 0.5 * GENERATED


@pytest.mark.parametrize("group", ["text", "numbers", "lists", "scopes", "spaces", "refused"])
def test_written_templates_render_as_by_jinja2(hone, group):
    cases = (Path(__file__).parent / "jinja_cases" / f"{group}.txt").read_text(encoding="utf-8")
    # white space at the end of a line is spelled out in the files
    templates = [case.rstrip("\n").replace("·", " ").replace("→", "\t") for case in cases.split("\n---\n")]
    wrong, _ = compare(tool(hone, "render_templates"), templates, jinja_generator.DATA)
    assert not wrong, f"{len(wrong)} differ:\n{report(wrong)}"
