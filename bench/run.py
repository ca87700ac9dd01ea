#!/usr/bin/env python3
"""Measures hone and its peers and prints a table, goal beside figure, as Markdown; the figures also as JSON.

Run by bench/run.sh. Results lie in build/bench: results.json, results.md; models and records are kept in
build/bench/cache, by whether HONE_TEST_DATA is set, on whose text their tokenizers are then trained. With --readme the
table also goes into README.md, in the place of the one of the same kernels (avx2, avx512vnni ...) or behind the others. Speeds that have a peer are the better of two runs of each side, taken
in turns: machines have neighbours.
"""

import datetime
import glob
import importlib.metadata
import json
import os
import platform
import sys

import measure
import shapes

OUT = os.path.join(measure.ROOT, "build", "bench")
DATA = os.environ.get("HONE_TEST_DATA")
CACHE = os.path.join(os.environ.get("HONE_BENCH_CACHE", os.path.join(OUT, "cache")), "data" if DATA else "plain")
SHAPE = "llama-135m"
README = os.path.join(measure.ROOT, "README.md")
BEGIN, END = "<!-- written by bench/run.sh --readme: {} -->\n", "<!-- end of what bench/run.sh writes -->\n"


class Table:
    """Rows of (what, peer, hone, ratio, goal, held), and every figure behind them; by which kernels hone computes."""

    def __init__(self, kernels):
        self.rows, self.figures, self.kernels = [], {}, kernels

    def modes(self):
        """Compute modes with the steps to measure."""
        return {"f32": 6, "int8": 8, **({"bf16": 8} if self.has_bf16() else {})}

    def has_bf16(self):
        """Whether the processor multiplies in bf16, for either side."""
        return "bf16" in self.kernels

    def add(self, what, peer, own, ratio, goal, held):
        self.rows.append((what, peer, own, ratio, goal, "yes" if held else "no"))
        print(f"  {what}: {peer} | {own} | {ratio} | {goal}", file=sys.stderr, flush=True)

    def keep(self, name, figure):
        self.figures[name] = figure
        return figure

    def at_least(self, what, peer, own, goal, unit):
        ratio = own / peer
        self.add(what, f"{peer:.4g} {unit}", f"{own:.4g} {unit}", f"{ratio:.2f}×", f"≥ {goal}×", ratio >= goal)

    def at_most(self, what, peer, own, goal):
        ratio = own / peer
        self.add(what, gigabytes(peer), gigabytes(own), f"{ratio:.2f}×", f"≤ {goal}×", ratio <= goal)

    def markdown(self):
        head = ["what", "peer", "hone", "ratio", "goal", "held"]
        lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *self.rows]]
        return "\n".join(lines)


def make(*arguments, shape=SHAPE, script="inputs.py"):
    """What bench/inputs.py (or another script) makes, in a process of its own: the peak of a program that is started counts the memory of the
    one that starts it, so that this one must stay small."""
    command = [sys.executable, os.path.join(measure.HERE, script), CACHE, shape, *arguments]
    return measure.run(command)[0].splitlines()[-1]


def in_turns(table, measurements):
    """Keeps by name the better of two measurements each, all of the first before all of the second."""
    for name, take in [*measurements.items(), *measurements.items()]:
        found, best = take(), table.figures.get(name)
        if best:
            found["peak_bytes"] = best["peak_bytes"] = max(found["peak_bytes"], best["peak_bytes"])
        if not best or found["tokens_per_second"] > best["tokens_per_second"]:
            table.keep(name, found)
    return [table.figures[name] for name in measurements]


def gigabytes(value):
    return f"{value / 1e9:.2f} GB"


def lora(table, all_variants):
    """LoRA r=16 on every linear layer, 4 rows of 512 tokens, f32."""
    model = make()
    stem = make("full", 512)
    ways = {"peft f32": lambda: measure.peft(model, stem + ".samples.jsonl", steps=4)}
    if table.has_bf16():
        ways["peft bf16"] = lambda: measure.peft(model, stem + ".samples.jsonl", steps=4, dtype="bfloat16")
    for mode, steps in table.modes().items():
        ways[f"hone {mode}"] = lambda mode=mode, steps=steps: measure.hone_train(model, stem + ".jsonl", steps, 4, 512, compute=mode)
    measured = dict(zip(ways, in_turns(table, ways)))
    peer, own, fast, native = (measured.get(name) for name in ["peft f32", "hone f32", "hone int8", "hone bf16"])
    small = table.keep("hone int8, bf16", measure.hone_train(model, stem + ".jsonl", 6, 4, 512, compute="int8", activations="bf16"))
    selective = table.keep("hone f32, selective", measure.hone_train(model, stem + ".jsonl", 4, 4, 512, recompute="selective"))
    saving = table.keep("hone f32, recompute", measure.hone_train(model, stem + ".jsonl", 4, 4, 512, recompute="full"))
    table.keep("peft f32, recompute", measure.peft(model, stem + ".samples.jsonl", steps=2, recompute=True))
    if all_variants:
        for name, options in [("bf16", {"dtype": "bfloat16"}), ("compile", {"compile": True})]:
            if f"peft {name}" not in table.figures:
                table.keep(f"peft {name}", measure.peft(model, stem + ".samples.jsonl", steps=3, warmup=2, **options))
    best = max(row["tokens_per_second"] for name, row in table.figures.items() if name.startswith("peft"))
    table.at_least("135M, 4×512, f32: speed", best, own["tokens_per_second"], 2.0, "tokens/s")
    table.at_least("135M, 4×512, int8: speed", best, fast["tokens_per_second"], 4.0, "tokens/s")
    if native:
        table.at_least("135M, 4×512, bf16: speed", best, native["tokens_per_second"], 2.0, "tokens/s")
    table.at_most("135M, 4×512, int8: memory", peer["peak_bytes"], fast["peak_bytes"], 0.3)
    about = f"{small['tokens_per_second']:.4g} tokens/s"
    table.at_most(f"the same with activations in bf16 ({about}): memory", peer["peak_bytes"], small["peak_bytes"], 0.3)
    table.at_most("135M, 4×512, f32: memory", peer["peak_bytes"], own["peak_bytes"], 0.3)
    about = f"{selective['tokens_per_second']:.4g} tokens/s"
    table.at_most(f"the same with norms and activations computed again ({about}): memory", peer["peak_bytes"], selective["peak_bytes"], 0.3)
    table.at_most("the same with recomputation: memory", peer["peak_bytes"], saving["peak_bytes"], 0.15)
    limit = table.keep("f32 GEMM limit, FLOP/s", measure.gemm_limit())
    part = own["tokens_per_second"] * shapes.flops_per_token(SHAPE, 512) / limit
    peer_part = peer["tokens_per_second"] * shapes.flops_per_token(SHAPE, 512) / limit
    table.add(f"part of the f32 GEMM limit ({limit / 1e9:.0f} GFLOP/s)", f"{peer_part:.2f}", f"{part:.2f}", "", "≥ 0.75", part >= 0.75)


def as_q8_0(model):
    base = model + "-q8_0.gguf"
    if not os.path.exists(base):
        measure.run([measure.HONE, "export", "--model", model, "--out", base, "--format", "gguf", "--type", "q8_0"])
    return base


def qwen2(table, _):
    """The 0.5B Qwen2 shape, one row of 512 tokens."""
    model = make(shape="qwen2-0.5b")
    stem = make("full", 512, shape="qwen2-0.5b")
    ways = {
        "0.5B peft": lambda: measure.peft(model, stem + ".samples.jsonl", batch=1, steps=4),
        "0.5B peft, recompute": lambda: measure.peft(model, stem + ".samples.jsonl", batch=1, steps=4, recompute=True),
    }
    if table.has_bf16():
        ways["0.5B peft bf16"] = lambda: measure.peft(model, stem + ".samples.jsonl", batch=1, steps=4, dtype="bfloat16")
    for mode, steps in table.modes().items():
        ways[f"0.5B hone {mode}"] = lambda mode=mode, steps=steps: measure.hone_train(model, stem + ".jsonl", steps, 1, 512, compute=mode)
    measured = dict(zip(ways, in_turns(table, ways)))
    plain, own, fast, native = (measured.get(f"0.5B {name}") for name in ["peft", "hone f32", "hone int8", "hone bf16"])
    small = table.keep("0.5B hone on q8_0", measure.hone_train(as_q8_0(model), stem + ".jsonl", 4, 1, 512, recompute="full"))
    best = max(row["tokens_per_second"] for name, row in measured.items() if "peft" in name)
    table.at_least("0.5B Qwen2, 1×512, f32: speed", best, own["tokens_per_second"], 2.0, "tokens/s")
    table.at_least("0.5B Qwen2, 1×512, int8: speed", best, fast["tokens_per_second"], 4.0, "tokens/s")
    if native:
        table.at_least("0.5B Qwen2, 1×512, bf16: speed", best, native["tokens_per_second"], 2.0, "tokens/s")
    table.at_most("0.5B Qwen2, 1×512, f32: memory", plain["peak_bytes"], own["peak_bytes"], 0.46)
    table.at_most("0.5B Qwen2, 1×512 on a Q8_0 base, recomputation: memory", plain["peak_bytes"], small["peak_bytes"], 0.15)


def q8_0(table, _):
    """The same on a Q8_0 base: memory."""
    model = make()
    stem = make("full", 512)
    base = as_q8_0(model)
    peer = table.figures.get("peft f32") or table.keep("peft f32", measure.peft(model, stem + ".samples.jsonl", steps=2))
    own = table.keep("hone on q8_0", measure.hone_train(base, stem + ".jsonl", 3, 4, 512, recompute="full"))
    table.at_most("135M, 4×512 on a Q8_0 base, recomputation: memory", peer["peak_bytes"], own["peak_bytes"], 0.1)


def q4_k_m(table, _):
    """The same on a Q4_K_M base: memory."""
    base = make(script="q4_k_m.py")
    own = table.keep("hone on q4_k_m", measure.hone_train(base, make("full", 512) + ".jsonl", 3, 4, 512, recompute="full"))
    below(table, "135M, 4×512 on a Q4_K_M base, recomputation", own, base, 0.7e9)


def large(table, _):
    """A model of 1.5 billion parameters in Q4_K_M."""
    base = make(shape="llama-1.5b", script="q4_k_m.py")
    records = make("full", 512, shape="llama-1.5b") + ".jsonl"
    own = table.keep("hone, 1.5B on q4_k_m", measure.hone_train(base, records, 2, 1, 512, recompute="full"))
    below(table, "1.5B, 1×512 on a Q4_K_M base, recomputation", own, base, 4e9)


def below(table, what, own, base, limit):
    """Peak memory of a run, of which the mapped file is a part, under a limit."""
    about = f"{own['tokens_per_second']:.4g} tokens/s, file {gigabytes(os.path.getsize(base))}"
    table.add(f"{what}: memory", "", f"{gigabytes(own['peak_bytes'])} ({about})", "", f"< {gigabytes(limit)}", own["peak_bytes"] < limit)


def short(table, _):
    """Short real records: 8 a step for the peer, as many tokens in packed rows for hone."""
    model = make()
    stem = make("gsm8k")
    samples = stem + ".samples.jsonl"
    with open(samples, encoding="utf-8") as file:
        lengths = [len(json.loads(line)["ids"]) for line in file]
    tokens = sum(lengths) / len(lengths)
    row = max(max(lengths), round(4 * tokens))
    padded, grouped, own, fast = in_turns(
        table,
        {
            "peft, short records, padded": lambda: measure.peft(model, samples, batch=8, steps=12),
            "peft, short records, grouped by length": lambda: measure.peft(model, samples, batch=8, steps=12, group=True),
            "hone, short records, f32": lambda: measure.hone_train(model, stem + ".jsonl", 12, 2, row, uneven=True),
            "hone, short records, int8": lambda: measure.hone_train(model, stem + ".jsonl", 12, 2, row, uneven=True, compute="int8"),
        },
    )
    for name, peer in [("padded", padded), ("grouped by length", grouped)]:
        what = f"short records (gsm8k, {tokens:.0f} tokens), the peer's {name}"
        table.at_least(f"{what}, f32: speed", peer["tokens_per_second"], own["tokens_per_second"], 3.0, "tokens/s")
        table.at_least(f"{what}, int8: speed", peer["tokens_per_second"], fast["tokens_per_second"], 6.0, "tokens/s")


def long(table, _):
    """8,192 tokens against 512, both with recomputation: time per token, and memory."""
    model = make()
    few, many = (make("full", n) + ".jsonl" for n in (512, 8192))
    at_512 = table.figures.get("hone f32, recompute")
    at_512 = at_512 or table.keep("hone f32, recompute", measure.hone_train(model, few, 3, 4, 512, recompute="full"))
    own = table.keep("hone, 8192 tokens", measure.hone_train(model, many, 1, 1, 8192, recompute="full"))
    ratio = at_512["tokens_per_second"] / own["tokens_per_second"]
    speed = f"{own['tokens_per_second']:.4g} tokens/s"
    table.add("8,192 tokens, recomputation: time per token", f"{at_512['tokens_per_second']:.4g} tokens/s at 512", speed, f"{ratio:.2f}×", "≤ 3×", ratio <= 3)
    table.add("8,192 tokens, recomputation: memory", "", gigabytes(own["peak_bytes"]), "", "< 2.5 GB", own["peak_bytes"] < 2.5e9)


def tokenize(table, _):
    """tinyshakespeare.txt with the GPT-2 vocabulary."""
    folder = os.path.join(DATA, "hf-tokenizers", "gpt-2")
    text = os.path.join(DATA, "text", "tinyshakespeare.txt")
    code = (
        "import json, sys, time, tokenizers\n"
        "t = tokenizers.Tokenizer.from_file(sys.argv[1] + '/tokenizer.json')\n"
        "s = open(sys.argv[2], encoding='utf-8').read()\n"
        "out = {}\n"
        "for name, parts in [('whole', [s]), ('by_paragraph', s.split('\\n\\n'))]:\n"
        "    b = time.time(); [t.encode(p) for p in parts]; out[name] = len(s.encode()) / 1e6 / (time.time() - b)\n"
        "print(json.dumps(out))\n"
    )
    one = {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    peer = table.keep("tokenizers", json.loads(measure.run([sys.executable, "-c", code, folder, text], env=one)[0]))
    tool = os.path.join(os.path.dirname(measure.HONE), os.pardir, "tests", "time_tokenizer")
    own = table.keep("hone tokenizer", json.loads(measure.run([tool, folder, text, 1])[0]))
    two = table.keep("hone tokenizer, 2 threads", json.loads(measure.run([tool, folder, text, 2])[0]))
    for kind in ["whole", "by_paragraph"]:
        table.at_least(f"tokenizing, one thread, {kind.replace('_', ' ')}", peer[kind], own[kind], 3.0, "MB/s")
    ratio = two["by_paragraph"] / own["by_paragraph"]
    table.add("tokenizing, two threads against one", f"{own['by_paragraph']:.4g} MB/s", f"{two['by_paragraph']:.4g} MB/s", f"{ratio:.2f}×", "in proportion", ratio >= 1.8)


def start(table, _):
    """From exec until step 1 begins, a first evaluation of held-out records apart; tokens and file cached by a run before."""
    model = make()
    stem = make("full", 512)
    data = stem + ".h5"
    if not os.path.exists(data):
        measure.run([measure.HONE, "data", "add", data, stem + ".jsonl"])
    runs = [measure.hone_train(model, data, 1, 1, 512) for _ in range(2)]
    own = table.keep("hone, seconds to step 1", min(row["seconds_to_step_1"] for row in runs))
    peer = table.figures.get("peft f32", {}).get("seconds_to_first_step")
    table.add("exec to step 1", f"{peer} s" if peer else "", f"{own} s", "", "≤ 0.5 s", own <= 0.5)


def memory(table, all_variants):
    """Resident memory of a run that tokenizes and trains, by the size of its data file; 64 MB fill every buffer."""
    model = os.path.join(measure.ROOT, "tests", "fixtures", "models", "grouped-tied")
    found = {}
    for megabytes in [64, 2048 if all_variants else 256]:
        data = os.path.join(CACHE, f"text-{megabytes}.h5")
        if not os.path.exists(data):
            add_text(data, megabytes)
        for cache in glob.glob(data + ".tokens-*"):
            os.remove(cache)
        found[megabytes] = measure.hone_train(model, data, 3, 2, 512, too_long="split")["peak_bytes"]
    table.keep("peak bytes by megabytes of data", found)
    small, large = min(found), max(found)
    ratio = found[large] / found[small]
    table.add(f"memory with {large} MB of data against {small} MB", gigabytes(found[small]), gigabytes(found[large]), f"{ratio:.2f}×", "flat", ratio <= 1.1)


def add_text(data, megabytes):
    """A data file of records that are all different."""
    source = data.removesuffix(".h5") + ".jsonl"
    with open(os.path.join(measure.ROOT, "tests", "fixtures", "text", "harbour.txt"), encoding="utf-8") as file:
        text = file.read()
    with open(source, "w", encoding="utf-8") as file:
        for number in range(megabytes * 1_000_000 // len(text)):
            file.write(json.dumps({"text": f"{number}. {text[: 200 + number % 1200]}"}) + "\n")
    measure.run([measure.HONE, "data", "add", data, source])
    os.remove(source)


ROWS = {
    "lora": lora,
    "q8_0": q8_0,
    "qwen2": qwen2,
    "q4_k_m": q4_k_m,
    "1.5b": large,
    "short": short,
    "long": long,
    "tokenize": tokenize,
    "start": start,
    "memory": memory,
}
ONLY_WITH_ALL = {"1.5b"}
NEED_DATA = {"short", "tokenize"}


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start"


def versions(own):
    peers = ["torch", "transformers", "peft", "tokenizers"]
    said = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in peers)
    return f"hone {own['version']} with {own['kernels']} kernels; {said}"


def write_readme(kernels, text):
    with open(README, encoding="utf-8") as file:
        whole = file.read()
    begin = BEGIN.format(kernels)
    if begin in whole:
        before, _, rest = whole.partition(begin)
        after = rest.partition(END)[2]
    else:
        before, last, after = whole.rpartition(END)
        before += last + "\n"
    if END not in whole:
        sys.exit(f"{README}: has no line {END.strip()} to write a table behind")
    with open(README, "w", encoding="utf-8") as file:
        file.write(f"{before}{begin}{text}{END}{after}")


def main():
    words = sys.argv[1:]
    chosen = [word for word in words if not word.startswith("-")]
    chosen = chosen or [name for name in ROWS if name not in ONLY_WITH_ALL or "--all" in words]
    unknown = set(chosen) - set(ROWS)
    if unknown:
        sys.exit(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    os.makedirs(CACHE, exist_ok=True)
    os.makedirs(OUT, exist_ok=True)
    own = json.loads(measure.run([measure.HONE, "doctor", "--json"])[0])
    table = Table(own["kernels"])
    about = {"machine": machine(), "versions": versions(own), "date": datetime.date.today().isoformat(), "threads": measure.THREADS}
    for name in chosen:
        if name in NEED_DATA and not DATA:
            print(f"left out: {name} needs HONE_TEST_DATA", file=sys.stderr)
            continue
        print(name, file=sys.stderr, flush=True)
        ROWS[name](table, "--all" in words)
    with open(os.path.join(OUT, "results.json"), "w", encoding="utf-8") as file:
        json.dump({**about, "figures": table.figures, "rows": table.rows}, file, indent=1)
    command = " ".join(["bench/run.sh", *(word for word in words if word != "--readme")])
    text = f"{about['machine']}; {about['threads']} threads a side; {about['versions']}; {about['date']}; `{command}`\n\n{table.markdown()}\n"
    with open(os.path.join(OUT, "results.md"), "w", encoding="utf-8") as file:
        file.write(text)
    if "--readme" in words:
        write_readme(own["kernels"], text)
    print(text)


if __name__ == "__main__":
    main()
