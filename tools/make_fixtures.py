#!/usr/bin/env python3
"""Writes tests/fixtures/models: seeded random Llama-family models with what PyTorch and PEFT compute from them.

Each folder is a Hugging Face model (config.json, model.safetensors or shards, tokenizer.json, tokenizer_config.json) with
    adapter/                a PEFT LoRA adapter, all linear layers, A and B non-zero
    expected.json           one sample (ids, mask), losses with and without the adapter, a 50-step training curve
    expected.safetensors    base.logits, lora.logits [T,V]; grad.<PEFT tensor name> of the LoRA factors;
                            full.<HF tensor name>: gradients of all parameters of the base, without the adapter
The same seed gives the same files on one version of PyTorch; the expectations belong to the files beside them.

    python tools/make_fixtures.py [folder]
"""

import json
import os
import shutil
import sys

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "interop"))
import oracle  # noqa: E402

TEXT = os.path.join(ROOT, "tests", "fixtures", "text", "harbour.txt")
VOCABULARY = 384
STEPS = 50
RATE = 1e-3
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' "
    "+ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LETTERS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITS = {
    "gpt-2": None,  # the regex inside ByteLevel
    "llama-bpe": LETTERS.replace("DIGITS", r"\p{N}{1,3}"),
    "qwen2": LETTERS.replace("DIGITS", r"\p{N}"),
}

# Widths: C model, F feed-forward, L layers, H heads, K key/value heads, D head size.
SHAPES = {
    "grouped-tied": dict(C=48, F=80, L=2, H=4, K=2, D=12, tied=True, split="gpt-2"),
    "untied-odd": dict(C=42, F=77, L=2, H=3, K=1, D=20, tied=False, split="llama-bpe"),
    "llama3-rope": dict(C=48, F=64, L=2, H=6, K=3, D=8, tied=True, split="llama-bpe", bos=True, llama3=True),
    "sharded-bf16": dict(C=64, F=96, L=2, H=4, K=4, D=16, tied=False, split="qwen2", bf16=True),
}


def train_tokenizer(split, bos):
    tokenizer = Tokenizer(models.BPE())
    regex = SPLITS[split]
    if regex is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(regex), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(specials),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    with open(TEXT, encoding="utf-8") as file:
        tokenizer.train_from_iterator(file, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in specials])
    if bos:
        first = specials[0]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{first} $A", pair=f"{first} $A {first} $B", special_tokens=[(first, tokenizer.token_to_id(first))]
        )
    return tokenizer


def write_tokenizer(folder, shape):
    tokenizer = train_tokenizer(shape["split"], shape.get("bos", False))
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 256,
        "chat_template": CHATML,
    }
    if shape.get("bos"):
        config["bos_token"] = "<|endoftext|>"
        config["add_bos_token"] = True
    write_json(os.path.join(folder, "tokenizer_config.json"), config)
    return tokenizer


def llama_config(shape):
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    if shape.get("llama3"):
        rope = {
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        }
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=shape["C"],
        intermediate_size=shape["F"],
        num_hidden_layers=shape["L"],
        num_attention_heads=shape["H"],
        num_key_value_heads=shape["K"],
        head_dim=shape["D"],
        max_position_embeddings=512,
        tie_word_embeddings=shape["tied"],
        rope_parameters=rope,
        rms_norm_eps=1e-5,
        bos_token_id=381 if shape.get("bos") else None,
        eos_token_id=383,
    )


def random_model(shape, seed):
    """Weights large enough that every layer changes the logits by far more than rounding does."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(llama_config(shape))
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "norm" in name:
                value.uniform_(0.6, 1.4)
            elif "embed" in name or "lm_head" in name:
                value.normal_(0.0, 0.3)
            else:
                value.normal_(0.0, value.shape[1] ** -0.5)
    return model.to(torch.bfloat16) if shape.get("bf16") else model


def make_sample(tokenizer):
    """The start of the text as one sample whose loss leaves out the first tokens and a stretch in the middle."""
    with open(TEXT, encoding="utf-8") as file:
        ids = tokenizer.encode(file.read()).ids[:40]
    mask = [0 if i < 6 or 20 <= i < 25 else 1 for i in range(len(ids))]
    return {"ids": ids, "mask": mask}


def expectations(folder, seed):
    """What PyTorch and PEFT say about the files just written."""
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    sample = make_sample(tokenizer)
    base = oracle.load_model(folder)
    tensors = {"base.logits": oracle.logits_of(base, sample["ids"])}
    base_loss, grads = oracle.gradients(base, [sample])
    tensors.update({"full." + name: value for name, value in grads.items()})

    adapted = oracle.add_lora(oracle.load_model(folder), rank=4, alpha=16, seed=seed, b_std=0.05)
    oracle.save_adapter(adapted, os.path.join(folder, "adapter"))
    tensors["lora.logits"] = oracle.logits_of(adapted, sample["ids"])
    lora_loss, grads = oracle.gradients(adapted, [sample])
    tensors.update({"grad." + oracle.peft_name(name): value for name, value in grads.items()})
    save_file({name: value.contiguous() for name, value in tensors.items()}, os.path.join(folder, "expected.safetensors"))

    curve = oracle.train_curve(adapted, [sample], STEPS, RATE)
    return {
        "ids": sample["ids"],
        "mask": sample["mask"],
        "base_loss": base_loss,
        "lora_loss": lora_loss,
        "curve": {"lr": RATE, "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "losses": curve},
    }


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.write("\n")


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "tests", "fixtures", "models")
    for seed, (name, shape) in enumerate(SHAPES.items(), start=1):
        folder = os.path.join(target, name)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        write_tokenizer(folder, shape)
        limit = "60KB" if shape.get("bf16") else "10MB"
        random_model(shape, seed).save_pretrained(folder, max_shard_size=limit)
        os.remove(os.path.join(folder, "generation_config.json"))
        result = expectations(folder, 100 + seed)
        write_json(os.path.join(folder, "expected.json"), result)
        losses = result["curve"]["losses"]
        print(f"{name}: base {result['base_loss']:.4f} lora {result['lora_loss']:.4f} curve to {losses[-1]:.4f}")


if __name__ == "__main__":
    main()
