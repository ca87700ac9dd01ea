/*
 * Whole models out: a base, or a base with an adapter merged into it, or a model trained in full, as a GGUF file or as
 * a Hugging Face folder.
 *
 * Merging is W + s B A in f32, weight by weight and in bands of rows, so that the whole model never lies in f32. A weight
 * that nothing was added to and that keeps its type is copied byte for byte.
 */
#ifndef HONE_MODEL_MERGE_H
#define HONE_MODEL_MERGE_H

#include "model/file_type.h"
#include "model/lora.h"

typedef struct hone_export_options {
    const hone_file_type *file_type; /* NULL: every matrix keeps the type it has */
    const char *tokenizer_path; /* model whose tokenizer goes along; NULL: the model's own path */
    const char
        *name; /* general.name of a GGUF from a Hugging Face base; NULL: the path's last part */
} hone_export_options;

/* Writes a GGUF file: matrices as the file type says, gains in F32. Metadata comes from a GGUF base, else from the config
 * and the tokenizer as llama.cpp's converter sets it. `adapter` may be NULL. */
HONE_MUST_USE hone_status hone_model_export_gguf(const hone_model *model,
                                                 const hone_adapter *adapter, const char *path,
                                                 const hone_export_options *options);

/* Whether hone_model_export_gguf can say the model and its tokenizer: HONE_ERR_UNSUPPORTED and the like with the reason when
 * not. Writes nothing. */
HONE_MUST_USE hone_status hone_model_check_gguf(const hone_model *model,
                                                const hone_export_options *options);

/* Writes a Hugging Face folder, made when it is not there: model.safetensors, the tokenizer's files,
 * generation_config.json, and config.json last. Types: F32, F16, BF16 for all tensors; without one the type of the
 * base's matrices, F32 where that is a quantised one. */
HONE_MUST_USE hone_status hone_model_export_safetensors(const hone_model *model,
                                                        const hone_adapter *adapter,
                                                        const char *folder,
                                                        const hone_export_options *options);

/* --- Between the files of this module --- */

/* Takes the next bytes of a weight. */
typedef hone_status (*hone_sink)(void *to, const void *bytes, size_t length);

/* Gives a weight, merged, as `type` to `sink`, as files of that form hold it: rows of q and k in their order, gains with or
 * without an offset, matrices transposed or not. HONE_ERR_NUMERIC, with the weight's name, for what the type cannot
 * hold. */
HONE_MUST_USE hone_status hone_merge_weight(const hone_model *model, const hone_adapter *adapter,
                                            const hone_weight *weight, hone_dtype type,
                                            hone_form form, void *to, hone_sink sink);

#endif
