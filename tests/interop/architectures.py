"""Every architecture as small random models, made by transformers: the table that the tests of architectures go through.

A model is named by its family; other entries of the same family have another setting: a rope scaling, a window, biases.
`gguf_says_all` is false where a GGUF cannot hold a setting that the texts of the tests make a difference for; such an entry
is compared from the Hugging Face folder only.
"""

import dataclasses
import os
import shutil

import oracle
import torch
import transformers

VOCABULARY = 384
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
CONV1D = ["c_attn", "c_proj", "c_fc"]


@dataclasses.dataclass
class Architecture:
    config: str
    settings: dict
    targets: list = dataclasses.field(default_factory=lambda: LINEARS)
    gguf_says_all: bool = True
    images: bool = False  # a model that takes them, too; `config` is that of its text part

    def make_config(self):
        shared = {
            "vocab_size": VOCABULARY,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 1024,
            "rms_norm_eps": 1e-5,
            "bos_token_id": None,
            "eos_token_id": 383,
            "pad_token_id": None,
        }
        if self.config == "GPT2Config":
            shared = {name: shared[name] for name in ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")}
        config = getattr(transformers, self.config)(**{**shared, **self.settings})
        if not self.images:
            return config
        ids = {name: shared[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        return transformers.Gemma3Config(text_config=config.to_dict(), vision_config=VISION, mm_tokens_per_image=4, **ids)


def rope(kind, theta=10000.0, **settings):
    return {"rope_type": kind, "rope_theta": theta, **settings}


LLAMA3 = rope(
    "llama3", 500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64
)
YARN = rope("yarn", factor=4.0, original_max_position_embeddings=256)
LONGROPE = rope(
    "longrope",
    partial_rotary_factor=0.75,
    short_factor=[1.0, 1.1, 1.2, 1.3, 1.5, 1.7],
    long_factor=[1.0, 1.5, 2.5, 4.0, 6.0, 9.0],
    original_max_position_embeddings=32,
)
GEMMA = {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 24}
GEMMA3_ROPES = {
    "full_attention": rope("linear", 1000000.0, factor=8.0),
    "sliding_attention": rope("default"),
}
VISION = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "patch_size": 14
}  # fmt: skip
IN_TEXT_PART = [
    f"language_model.layers.{layer}.{block}.{name}"
    for layer in range(7)
    for block, names in (("self_attn", LINEARS[:4]), ("mlp", LINEARS[4:]))
    for name in names
]
PHI3_WIDE = {"original_max_position_embeddings": 1024, "tie_word_embeddings": False}

ARCHITECTURES = {
    "llama": Architecture("LlamaConfig", {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
    "llama-biases": Architecture("LlamaConfig", {"attention_bias": True, "mlp_bias": True, "head_dim": 24}),
    "llama-linear": Architecture("LlamaConfig", {"rope_parameters": rope("linear", factor=4.0)}),
    "llama-yarn": Architecture("LlamaConfig", {"rope_parameters": YARN, "num_key_value_heads": 4}),
    "llama-yarn-attention": Architecture("LlamaConfig", {"rope_parameters": {**YARN, "attention_factor": 1.3}}),
    "llama-yarn-ramp": Architecture(
        "LlamaConfig", {"rope_parameters": {**YARN, "beta_fast": 16.0, "beta_slow": 2.0}}, gguf_says_all=False
    ),
    "llama-dynamic": Architecture("LlamaConfig", {"rope_parameters": rope("dynamic", factor=4.0)}),
    "llama-dynamic-long": Architecture(
        "LlamaConfig",
        {"rope_parameters": rope("dynamic", factor=4.0), "max_position_embeddings": 32},
        gguf_says_all=False,
    ),
    "mistral": Architecture("MistralConfig", {"sliding_window": None}),
    "mistral-window": Architecture("MistralConfig", {"sliding_window": 24, "head_dim": 32}, gguf_says_all=False),
    "smollm3": Architecture("SmolLM3Config", {"num_hidden_layers": 5, "tie_word_embeddings": True}),
    "qwen2": Architecture("Qwen2Config", {"tie_word_embeddings": True}),
    "qwen2-window": Architecture(
        "Qwen2Config",
        {"use_sliding_window": True, "sliding_window": 24, "max_window_layers": 1, "num_hidden_layers": 3},
        gguf_says_all=False,
    ),
    "qwen2-yarn": Architecture("Qwen2Config", {"rope_parameters": YARN}),
    "qwen3": Architecture("Qwen3Config", {"head_dim": 32, "tie_word_embeddings": True}),
    "phi3": Architecture("Phi3Config", PHI3_WIDE, FUSED),
    "phi3-longrope": Architecture(
        "Phi3Config", {"rope_parameters": LONGROPE, "original_max_position_embeddings": 32}, FUSED
    ),
    "phi3-window": Architecture("Phi3Config", {**PHI3_WIDE, "sliding_window": 24}, FUSED, gguf_says_all=False),
    "gemma2": Architecture(
        "Gemma2Config", {**GEMMA, "attn_logit_softcapping": 3.0, "final_logit_softcapping": 5.0, "num_hidden_layers": 3}
    ),
    "gemma3": Architecture("Gemma3TextConfig", {**GEMMA, "num_hidden_layers": 7, "rope_parameters": GEMMA3_ROPES}),
    "gemma3-images": Architecture(
        "Gemma3TextConfig", {**GEMMA, "num_hidden_layers": 7, "rope_parameters": GEMMA3_ROPES}, IN_TEXT_PART, images=True
    ),
    "granite": Architecture(
        "GraniteConfig",
        {
            "embedding_multiplier": 6.0,
            "residual_multiplier": 0.4,
            "attention_multiplier": 0.125,
            "logits_scaling": 2.0,
            "tie_word_embeddings": True,
        },
    ),
    "olmo2": Architecture("Olmo2Config", {"num_hidden_layers": 3}),
    "gpt2": Architecture("GPT2Config", {"n_embd": 64, "n_head": 4, "n_layer": 2, "n_positions": 1024}, CONV1D),
}


def family_of(name):
    return name.split("-")[0]


def fill(model):
    """Weights large enough that every layer, gain and bias changes the logits by far more than rounding does."""
    gemma = "gemma" in model.config.model_type
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith(".bias"):
                value.normal_(0.0, 0.2)
            elif "norm" in name or "ln_" in name:
                value.uniform_(0.6, 1.4).sub_(1.0 if gemma else 0.0)
            elif "embed" in name or "lm_head" in name or "wte" in name or "wpe" in name:
                value.normal_(0.0, 0.3)
            else:
                value.normal_(0.0, 64**-0.5)
    return model


def make(name, folder, tokenizer):
    """A model folder with the tokenizer of another folder, and beside it a PEFT folder whose factors are all non-zero."""
    architecture = ARCHITECTURES[name]
    torch.manual_seed(sum(map(ord, name)))
    model = fill(transformers.AutoModelForCausalLM.from_config(architecture.make_config()))
    base = folder / "base"
    model.save_pretrained(base)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / file, base / file)
    adapted = oracle.add_lora(oracle.load_model(base), rank=4, alpha=16, targets=architecture.targets, seed=7, b_std=0.05)
    oracle.save_adapter(adapted, os.fspath(folder / "adapter"))
    return base, folder / "adapter"
