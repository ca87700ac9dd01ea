/*
 * LoRA adapters as PEFT folders: adapter_config.json and adapter_model.safetensors.
 *
 *     base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight   [R,in]
 *     base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight   [out,R], rows in Hugging Face's order
 *
 * s = alpha / R, or alpha / sqrt(R) with use_rslora; alpha by alpha_pattern, else lora_alpha.
 * Source: huggingface/peft, tuners/lora/config.py and utils/save_and_load.py (0.21).
 */
#ifndef HONE_MODEL_ADAPTER_PEFT_H
#define HONE_MODEL_ADAPTER_PEFT_H

#include "formats/json.h"
#include "model/adapter_info.h"
#include "model/lora.h"

/* Reads a folder, as hone_adapter_open says. The tensors decide which layers are adapted; a rank that the config
 * contradicts is an error, as it is to PEFT. */
HONE_MUST_USE hone_status hone_adapter_open_peft(hone_adapter **out, const hone_model *model,
                                                 const char *folder, const hone_adapter_info *use);

/* Writes both files into `folder`, made when it is not there: F32 tensors, then the config. Same adapter and info, same
 * bytes. `info` may be NULL. */
HONE_MUST_USE hone_status hone_adapter_write_peft(const hone_adapter *adapter, const char *folder,
                                                  const hone_adapter_info *info);

/* --- Between the files of this module --- */

/* Refuses a config with any setting that changes what the tensors mean and is not honoured, by its key. */
HONE_MUST_USE hone_status hone_peft_check_config(const json_t *config, const char *file);

/* The config of an adapter; a new reference. */
HONE_MUST_USE hone_status hone_peft_config(json_t **out, const hone_adapter *adapter,
                                           const hone_adapter_info *info);

#endif
