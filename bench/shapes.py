"""Shapes of the models that are measured: random weights, since speed and memory don't depend on their values."""

SHAPES = {
    "llama-135m": {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "vocab_size": 49152,
    },
    "qwen2-0.5b": {
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
    },
    # The sizes of Qwen2.5-1.5B, without its biases.
    "llama-1.5b": {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "head_dim": 128,
        "vocab_size": 151936,
    },
    # The sizes of Llama 3 8B.
    "llama-8b": {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 128256,
        "tie_word_embeddings": False,
        "dtype": "bfloat16",
    },
}
# For scripts that run where speed means nothing; the second has rows that k-quants can hold.
SHAPES["tiny"] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 512,
}
SHAPES["tiny-8b"] = {**SHAPES["llama-8b"], **SHAPES["tiny"], "hidden_size": 256, "intermediate_size": 256, "head_dim": 64}
# As the models of these sizes are published.
for name in ["llama-135m", "qwen2-0.5b"]:
    SHAPES[name + "-bf16"] = {**SHAPES[name], "dtype": "bfloat16"}
RANDOM_BLOCKS = {"llama-1.5b", "llama-8b", "tiny-8b"}  # in Q4_K_M: too large to be quantised (q4_k_m.py)
GENERATED = {"llama-1.5b"}  # of which there is nothing else
COMMON = {
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
    "bos_token_id": None,
    "eos_token_id": 0,
    "dtype": "float32",
}
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def config_of(name):
    return {**COMMON, **SHAPES[name]}


def flops_per_token(name, length, rank=16):
    """Floating-point operations of one LoRA step per token: frozen products forward and for the input gradient, causal
    attention forward and 2.5 times that backward, LoRA products forward and for both gradients (two each)."""
    c = config_of(name)
    width, ffn, layers, heads = c["hidden_size"], c["intermediate_size"], c["num_hidden_layers"], c["num_attention_heads"]
    head = c.get("head_dim", width // heads)
    q, kv = heads * head, c["num_key_value_heads"] * head
    linears = [(width, q), (width, kv), (width, kv), (q, width), (width, ffn), (width, ffn), (ffn, width)]
    frozen = sum(2 * a * b for a, b in linears) * layers + 2 * width * c["vocab_size"]
    lora = sum(2 * rank * (a + b) for a, b in linears) * layers
    attention = 2 * 2 * (length / 2) * q * layers
    return 2 * frozen + 3 * lora + 3.5 * attention
