"""PyTorch, transformers and PEFT as oracles: losses, gradients and training curves of given token ids.

A sample is a dict of `ids` and `mask`, as `hone data show --json` prints them: mask[i] = 1 says that token i is a target.
Each sample is a text of its own. The loss is the sum over all supervised tokens divided by their number.
"""

import json
import os

import gguf
import torch
from gguf.quants import dequantize
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

OUTER = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
BLOCK = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def load_model(folder):
    """The model in f32 with plain (eager) attention, in evaluation mode."""
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
    )
    return model.eval()


def load_gguf(folder, path):
    """The model of a Hugging Face folder with the numbers that a llama GGUF file of it stands for."""
    model = load_model(folder)
    config = model.config
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    weights = {}
    for tensor in gguf.GGUFReader(path).tensors:
        values = torch.tensor(dequantize(tensor.data, tensor.tensor_type).astype("float32"))
        values = values.reshape([int(n) for n in reversed(tensor.shape)])
        parts = tensor.name.split(".")
        if len(parts) == 2:
            weights[OUTER[tensor.name]] = values
            continue
        if parts[2] in heads:  # consecutive pairs back to halves
            values = values.unflatten(0, (heads[parts[2]], -1, 2)).transpose(1, 2).flatten(0, 2)
        weights[f"model.layers.{parts[1]}.{BLOCK[parts[2]]}.weight"] = values
    weights.setdefault("lm_head.weight", weights["model.embed_tokens.weight"])
    model.load_state_dict(weights)
    return model


def load_adapted(folder, adapter, trainable=False):
    return PeftModel.from_pretrained(
        load_model(folder), os.fspath(adapter), is_trainable=trainable
    )


def add_lora(model, rank, alpha, targets=None, seed=0, b_std=0.02, dropout=0.0):
    """Wraps `model` with LoRA factors drawn from `seed`; B is drawn too, so that every gradient is non-zero."""
    torch.manual_seed(seed)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=targets or LINEARS,
        lora_dropout=dropout,
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(model, config)
    with torch.no_grad():
        for name, value in adapted.named_parameters():
            if "lora_B" in name:
                value.normal_(0.0, b_std)
    return adapted.eval()


def save_adapter(adapted, folder):
    """A PEFT folder without a model card and without the path of the base, which would differ by machine."""
    adapted.peft_config["default"].base_model_name_or_path = ""
    adapted.save_pretrained(folder)
    card = os.path.join(folder, "README.md")
    if os.path.exists(card):
        os.remove(card)
    path = os.path.join(folder, "adapter_config.json")
    config = read_json(path)
    config["target_modules"] = sorted(config["target_modules"])  # PEFT writes a set, in any order
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2, sort_keys=True)
        file.write("\n")


def logits_of(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([list(ids)])).logits[0]


def padded(samples):
    """Ids, attention mask and supervised mask [rows, longest] of samples as rows."""
    longest = max(len(sample["ids"]) for sample in samples)
    ids = torch.zeros(len(samples), longest, dtype=torch.long)
    seen = torch.zeros_like(ids)
    mask = torch.zeros_like(ids)
    for row, sample in enumerate(samples):
        n = len(sample["ids"])
        ids[row, :n] = torch.tensor(sample["ids"])
        seen[row, :n] = 1
        mask[row, :n] = torch.tensor(sample["mask"])
    mask[:, 0] = 0
    return ids, seen, mask


def loss_of(model, samples):
    """Mean negative log-likelihood per supervised token, as a scalar that can be differentiated."""
    ids, seen, mask = padded(samples)
    logits = model(input_ids=ids, attention_mask=seen).logits[:, :-1].float()
    nll = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    )
    weight = mask[:, 1:].flatten().float()
    return (nll * weight).sum() / weight.sum()


def evaluate(model, samples, rows=16):
    """As loss_of, over any number of samples, summed in double precision."""
    total, count = 0.0, 0
    with torch.no_grad():
        for begin in range(0, len(samples), rows):
            part = samples[begin : begin + rows]
            supervised = sum(sum(sample["mask"][1:]) for sample in part)
            if supervised:
                total += float(loss_of(model, part)) * supervised
                count += supervised
    return total / count


def gradients(model, samples):
    """Loss and gradients by parameter name; every parameter that requires one."""
    model.zero_grad(set_to_none=True)
    loss = loss_of(model, samples)
    loss.backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return float(loss.detach()), grads


def train_curve(model, samples, steps, lr, decay=0.0, betas=(0.9, 0.999), eps=1e-8, clip=0.0):
    """Losses before each of `steps` AdamW steps at a constant rate, all samples in every step."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=lr, betas=betas, eps=eps, weight_decay=decay)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad(set_to_none=True)
        loss = loss_of(model, samples)
        loss.backward()
        if clip > 0:
            torch.nn.utils.clip_grad_norm_(trained, clip)
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


def peft_name(name):
    """The name under which PEFT saves a parameter."""
    return name.replace(".default", "")


def read_json(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)
