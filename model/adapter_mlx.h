/*
 * LoRA adapters as MLX-LM folders: adapter_config.json and adapters.safetensors.
 *
 *     model.layers.0.self_attn.q_proj.lora_a   [in,R]
 *     model.layers.0.self_attn.q_proj.lora_b   [R,out], columns in Hugging Face's order of rows
 *
 * One scale s for the whole file, lora_parameters.scale, by itself and not divided by the rank; one rank; the last
 * num_layers blocks are adapted, in each the modules of lora_parameters.keys.
 * Source: ml-explore/mlx-lm, mlx_lm/tuner/utils.py and lora.py.
 */
#ifndef HONE_MODEL_ADAPTER_MLX_H
#define HONE_MODEL_ADAPTER_MLX_H

#include "model/adapter_info.h"
#include "model/lora.h"

/* Reads a folder, as hone_adapter_open says. DoRA, whole weights and adapted embeddings are refused by name. */
HONE_MUST_USE hone_status hone_adapter_open_mlx(hone_adapter **out, const hone_model *model,
                                                const char *folder, const hone_adapter_info *use);

/* Writes both files into `folder`, made when it is not there: F32. Pairs of a smaller rank than the largest get columns of
 * zeros; where scales differ, B is multiplied by its own and the file's is 1. Both change nothing of what the adapter
 * does. `info` may be NULL. */
HONE_MUST_USE hone_status hone_adapter_write_mlx(const hone_adapter *adapter, const char *folder,
                                                 const hone_adapter_info *info);

/* --- Between the files of this module --- */

/* How the names of the blocks' modules begin there: "model.layers.", "model.h." for GPT-2, "language_model.model.layers." for a
 * model that takes images, too. (ml-explore/mlx-lm, mlx_lm/models) */
void hone_mlx_blocks(char out[HONE_NAME], const hone_family *family);

#endif
