#!/usr/bin/env python3
"""The README's table of exports by architecture, from what the tests of architectures proved.

    python3 tools/export_matrix.py build/results/interop.xml     writes it into README.md

A test that passes says with its name what it proved: tests/interop/test_architectures.py, test_<target>[<name>-<base>]. The
same file checks that the README says what a whole run proved.
"""

import os
import re
import sys
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "interop"))

TARGETS = {
    "test_peft_folder_loads_in_peft": "PEFT folder",
    "test_gguf_adapter_runs_in_llama_cpp": "GGUF adapter",
    "test_merged_folder_runs_in_transformers": "merged safetensors",
    "test_merged_gguf_runs_in_llama_cpp": "merged GGUF",
}
BASES = ("HF", "GGUF")
FAMILIES = {
    "llama": "Llama 2, 3, 3.1, 3.2, TinyLlama, SmolLM2",
    "mistral": "Mistral",
    "smollm3": "SmolLM3",
    "qwen2": "Qwen2, Qwen2.5",
    "qwen3": "Qwen3",
    "phi3": "Phi-3, Phi-3.5, Phi-4-mini",
    "gemma2": "Gemma 2",
    "gemma3": "Gemma 3 (text)",
    "granite": "Granite 3",
    "olmo2": "OLMo 2",
    "gpt2": "GPT-2",
}
BEGIN, END = "<!-- exports: tools/export_matrix.py -->\n", "<!-- end of exports -->\n"


def table(proven):
    """Markdown. `proven`: a set of (family, base, target)."""
    lines = ["| model | " + " | ".join(TARGETS.values()) + " |", "| --- |" + " --- |" * len(TARGETS)]
    for family, name in FAMILIES.items():
        cells = [", ".join(b for b in BASES if (family, b, target) in proven) for target in TARGETS.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def in_readme(text):
    return text.split(BEGIN)[1].split(END)[0]


def read_results(path):
    """What passed of a JUnit file. A family is proven when none of its entries failed."""
    proven, failed = set(), set()
    for case in xml.etree.ElementTree.parse(path).iter("testcase"):
        match = re.fullmatch(r"(\w+)\[(.+)-(HF|GGUF)\]", case.get("name"))
        if not match or match[1] not in TARGETS:
            continue
        cell = (match[2].split("-")[0], match[3], TARGETS[match[1]])
        passed = all(child.tag not in ("failure", "error", "skipped") for child in case)
        (proven if passed else failed).add(cell)
    return proven - failed


def main():
    path = os.path.join(ROOT, "README.md")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    old = BEGIN + in_readme(text) + END
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace(old, BEGIN + table(read_results(sys.argv[1])) + END))


if __name__ == "__main__":
    main()
