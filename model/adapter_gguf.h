/*
 * LoRA adapters as GGUF files, for llama.cpp and what is built on it.
 *
 *     general.type = "adapter", adapter.type = "lora", general.architecture as the base's, adapter.lora.alpha
 *     blk.0.attn_q.weight.lora_a   [R,in]
 *     blk.0.attn_q.weight.lora_b   [out,R], rows in GGUF's order
 *
 * s = alpha / R with one alpha for the whole file; without one, or with 0, s = 1.
 * Source: llama.cpp, src/llama-adapter.cpp.
 */
#ifndef HONE_MODEL_ADAPTER_GGUF_H
#define HONE_MODEL_ADAPTER_GGUF_H

#include "model/adapter_info.h"
#include "model/lora.h"

/* Reads a file, as hone_adapter_open says. */
HONE_MUST_USE hone_status hone_adapter_open_gguf(hone_adapter **out, const hone_model *model,
                                                 const char *path, const hone_adapter_info *use);

/* HONE_ERR_UNSUPPORTED when llama.cpp could not load a file beside the base: it adapts q, k or v apart, and the base's GGUF has
 * them in one matrix. */
HONE_MUST_USE hone_status hone_adapter_check_gguf(const hone_adapter *adapter);

/* Writes a file, F32. Where the pairs' alphas differ (or are 0), B is multiplied by its scale and no alpha is written.
 * Same adapter and info, same bytes. `info` may be NULL. */
HONE_MUST_USE hone_status hone_adapter_write_gguf(const hone_adapter *adapter, const char *path,
                                                  const hone_adapter_info *info);

#endif
