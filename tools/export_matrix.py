#!/usr/bin/env python3
"""The README's tables of exports, by architecture and by the type of the base's tensors, from what the tests proved.

    python3 tools/export_matrix.py build/results/interop.xml     writes them into README.md

A test that passes says with its name what it proved: tests/interop/test_architectures.py, test_<target>[<name>-<base>];
test_quantised.py and test_merge_types.py, test_<target>[<type>]. test_architectures.py and test_quantised.py check that the
README says what a whole run proved.
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
TYPE_TARGETS = {
    "test_model_of_one_type_trains_as_its_dequantised_copy": "trained",
    "test_peft_folder_of_one_type_loads_in_peft": "PEFT folder",
    "test_gguf_adapter_of_one_type_runs_in_llama_cpp": "GGUF adapter",
    "test_merged_folder_of_one_type_runs_in_transformers": "merged safetensors",
    "test_merged_file_keeps_the_bases_type": "merged GGUF, its own type",
    "test_merged_file_changes_the_bases_type": "merged GGUF, another type",
}
BASE_TYPES = [
    "F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS",
    "MXFP4",
]  # fmt: skip
FILE_TYPES = ["f32", "f16", "bf16", "q8_0", "q4_0", "q5_0", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k"]
WRITING, WRITTEN = "test_merged_file_of_another_type_runs_in_llama_cpp", "--type"
END = "<!-- end of exports -->\n"


def table(proven):
    """Markdown. `proven`: a set with (family, base, target)."""
    rows = {
        name: [", ".join(b for b in BASES if (family, b, target) in proven) for target in TARGETS.values()]
        for family, name in FAMILIES.items()
    }
    return markdown("model", TARGETS.values(), rows)


def types_table(proven):
    """Markdown. `proven`: a set with (type of the base, target), and (file type, WRITTEN)."""
    rows = {
        kind: ["yes" if (kind, target) in proven else "" for target in TYPE_TARGETS.values()] for kind in BASE_TYPES
    }
    written = [f"`{name}`" for name in FILE_TYPES if (name.upper(), WRITTEN) in proven]
    text = markdown("tensors of the base", TYPE_TARGETS.values(), rows)
    return text + f"\n`--type` writes {', '.join(written)}.\n"


def markdown(first, columns, rows):
    lines = [f"| {first} | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    lines += [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items()]
    return "\n".join(lines) + "\n"


BLOCKS = {"exports": table, "exports by type": types_table}


def begin(block):
    return f"<!-- {block}: tools/export_matrix.py -->\n"


def in_readme(text, block):
    return text.split(begin(block))[1].split(END)[0]


def cell_of(name):
    """What a test of this name proves, or None."""
    match = re.fullmatch(r"(\w+)\[([\w-]+?)(?:-(HF|GGUF))?\]", name)
    if not match:
        return None
    test, of, base = match.groups()
    if base and test in TARGETS:
        return of.split("-")[0], base, TARGETS[test]
    target = WRITTEN if test == WRITING else TYPE_TARGETS.get(test)
    return (of.upper(), target) if target and not base else None


def read_results(path):
    """What passed of a JUnit file. A family is proven when none of its entries failed."""
    proven, failed = set(), set()
    for case in xml.etree.ElementTree.parse(path).iter("testcase"):
        passed = all(child.tag not in ("failure", "error", "skipped") for child in case)
        (proven if passed else failed).add(cell_of(case.get("name")))
    return proven - failed - {None}


def main():
    path = os.path.join(ROOT, "README.md")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    proven = read_results(sys.argv[1])
    for block, make in BLOCKS.items():
        text = text.replace(begin(block) + in_readme(text, block) + END, begin(block) + make(proven) + END)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
