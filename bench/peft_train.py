#!/usr/bin/env python3
"""One measurement of the peer: LoRA fine-tuning with PyTorch, transformers and PEFT.

Prints one JSON object: settings, tokens_per_second (median over the steps after the warm-up; padding is not counted),
peak_bytes (ru_maxrss of this process; on a GPU, what PyTorch held there at most), losses, seconds from exec to the first step.
"""

import time

STARTED = time.time()

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import random  # noqa: E402
import resource  # noqa: E402
import statistics  # noqa: E402

import psutil  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402

import shapes  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a Hugging Face folder")
    parser.add_argument("--samples", required=True, help="JSON lines of ids and mask")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--recompute", action="store_true", help="gradient checkpointing")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--group", action="store_true", help="batches of samples of similar length")
    return parser.parse_args()


def load(options):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        options.model, dtype=getattr(torch, options.dtype), attn_implementation="sdpa", local_files_only=True
    )
    model.config.use_cache = False
    if options.recompute:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    config = LoraConfig(r=options.rank, lora_alpha=2 * options.rank, target_modules=shapes.TARGETS, task_type="CAUSAL_LM")
    model = get_peft_model(model, config).train().to(options.device)
    return torch.compile(model) if options.compile else model


def batches(options):
    """Batches in a seeded order; by similar length as the Trainer's LengthGroupedSampler does when asked."""
    with open(options.samples, encoding="utf-8") as file:
        samples = [json.loads(line) for line in file]
    random.Random(0).shuffle(samples)
    if options.group:
        block = options.batch * 50
        parts = [samples[i : i + block] for i in range(0, len(samples), block)]
        samples = [s for part in parts for s in sorted(part, key=lambda s: -len(s["ids"]))]
    groups = [samples[i : i + options.batch] for i in range(0, len(samples), options.batch)]
    groups = [group for group in groups if len(group) == options.batch]
    random.Random(1).shuffle(groups)
    if options.group:  # the longest first, so that memory shows its peak
        groups.sort(key=lambda g: -max(len(s["ids"]) for s in g))
        groups = groups[:1] + random.Random(2).sample(groups[1:], len(groups) - 1)
    return groups


def collate(group, device):
    longest = max(len(sample["ids"]) for sample in group)
    ids = torch.zeros(len(group), longest, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    seen = torch.zeros_like(ids)
    for row, sample in enumerate(group):
        n = len(sample["ids"])
        ids[row, :n] = torch.tensor(sample["ids"])
        seen[row, :n] = 1
        labels[row, :n] = torch.tensor([i if m else -100 for i, m in zip(sample["ids"], sample["mask"])])
    tokens = int(seen.sum())
    batch = {"input_ids": ids, "labels": labels, "attention_mask": seen if tokens < seen.numel() else None}
    return {name: part if part is None else part.to(device) for name, part in batch.items()}, tokens


def run(options, model, groups):
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=options.lr)
    losses, rates = [], []
    first = None
    for step in range(options.steps + options.warmup):
        batch, tokens = collate(groups[step % len(groups)], options.device)
        begin = time.time()
        first = first or begin - process_start()
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
        rates.append((tokens, time.time() - begin))
    return losses, rates[options.warmup :], first


def peak_bytes(options):
    if options.device == "cuda":
        return torch.cuda.max_memory_reserved()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def process_start():
    return psutil.Process().create_time() if psutil else STARTED


def main():
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    groups = batches(options)
    model = load(options)
    losses, rates, first = run(options, model, groups)
    same = len({tokens for tokens, _ in rates}) == 1
    speed = (
        rates[0][0] / statistics.median(seconds for _, seconds in rates)
        if same
        else sum(tokens for tokens, _ in rates) / sum(seconds for _, seconds in rates)
    )
    print(
        json.dumps(
            {
                **vars(options),
                "model": os.path.basename(options.model),
                "samples": os.path.basename(options.samples),
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                "tokens_per_second": round(speed, 1),
                "tokens_per_step": round(sum(tokens for tokens, _ in rates) / len(rates), 1),
                "peak_bytes": peak_bytes(options),
                "seconds_to_first_step": round(first, 2),
                "losses": [round(loss, 4) for loss in losses],
            }
        )
    )


if __name__ == "__main__":
    main()
