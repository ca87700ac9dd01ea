/*
 * A model: an architecture and its weights, mapped from the file they stand in.
 *
 * Frozen weights are used where they lie, in the dtype they have. Norm gains are few and become HONE_REAL. Training all
 * parameters, or from scratch, gives every weight memory of its own as HONE_REAL.
 */
#ifndef HONE_MODEL_MODEL_H
#define HONE_MODEL_MODEL_H

#include "autograd/tensor.h"
#include "base/sha256.h"
#include "formats/safetensors.h"
#include "kernels/device.h"
#include "model/arch.h"
#include "text/tokenizer.h"

typedef struct hone_layer {
    hone_tensor weight[HONE_ROLES]; /* norms [C]; linear ones [out, in] */
} hone_layer;

/* A tensor that training changes. `grad` of the tensor is in memory of its own. */
typedef struct hone_param {
    char *name; /* owned; unique in the model */
    hone_tensor *tensor;
    bool decays; /* weight decay applies: matrices, not gains */
} hone_param;

/* All of them, with their values and gradients side by side in two buffers. */
typedef struct hone_params {
    hone_param *items; /* owned */
    size_t count;
    int64_t elements;
    hone_buffer values, grads; /* [elements] each */
    hone_tensor *grad_tensors; /* owned, [count] */
} hone_params;

typedef struct hone_model {
    hone_arch arch;
    const hone_device *device; /* borrowed */
    char *path;                /* owned: as it was asked for */
    hone_gguf *gguf;           /* one of the two is there */
    hone_safetensors *safetensors;
    json_t *config;        /* config.json; NULL for GGUF */
    hone_tensor embedding; /* [V,C] */
    hone_tensor norm;      /* [C] */
    hone_tensor
        head; /* [V,C]; the embedding again when tied (then `embedding` is the one to use) */
    hone_layer *layers; /* owned, [L] */
    hone_buffer norms;  /* gains as HONE_REAL */
    hone_buffer rope;   /* cosine and sine tables, [positions, D/2] each */
    int64_t rope_positions;
    hone_params params; /* of full training; empty otherwise */
} hone_model;

/* Opens a Hugging Face folder, a .safetensors in one, or a .gguf; checks that all weights are there with the right
 * shapes. HONE_ERR_UNSUPPORTED names an architecture or tensor type that cannot be used. */
HONE_MUST_USE hone_status hone_model_open(hone_model **out, const char *path,
                                          const hone_device *device);
void hone_model_close(hone_model *model); /* takes NULL */

/* A model of the architecture in the config.json at `path`, with fresh weights: normal with the config's
 * initializer_range (output projections of the residual divided by sqrt(2 L), arXiv 1909.08053), gains 1. */
HONE_MUST_USE hone_status hone_model_create(hone_model **out, const char *config_path,
                                            const hone_device *device, uint64_t seed);

/* Gives every weight memory of its own and a gradient. */
HONE_MUST_USE hone_status hone_model_train_all(hone_model *model);

/* The tokenizer that belongs to a model's path. */
HONE_MUST_USE hone_status hone_model_tokenizer(hone_tokenizer **out, const char *path);

/* The folder of a model that was named by it or by a file in it; owned by the caller, NULL when memory is out. */
char *hone_model_folder(const char *path);

/* Makes cosine and sine tables for positions 0 <= p < positions; again when more are needed. */
HONE_MUST_USE hone_status hone_model_rope(hone_model *model, int64_t positions);

/* The weight of the output head, whichever it is. */
static inline hone_tensor *hone_model_head(hone_model *model) {
    return model->arch.tied ? &model->embedding : &model->head;
}

/* SHA-256 of the model's weights, for adapters and checkpoints: of the file, or over all shards; of the config of a
 * model made fresh. Reads all of them. */
HONE_MUST_USE hone_status hone_model_hash(char out[HONE_SHA256_TEXT], const hone_model *model);

/* The name of a weight as Hugging Face writes it, "model.layers.3.self_attn.q_proj.weight". `layer` -1: the tensors
 * outside of the blocks, by hone_outer. */
typedef enum hone_outer { HONE_OUTER_EMBEDDING, HONE_OUTER_NORM, HONE_OUTER_HEAD } hone_outer;
enum { HONE_NAME = 128 };
void hone_weight_name_hf(char out[HONE_NAME], int64_t layer, int role_or_outer);
void hone_weight_name_gguf(char out[HONE_NAME], int64_t layer, int role_or_outer);

/* Whether a file's tensor is one that the model uses, or one that only repeats its settings (rope frequencies). */
bool hone_weight_is_known(const char *name, bool gguf);

/* Reorders the rows of q or k, [heads * head_size, columns], between Hugging Face's order and GGUF's. `to` and `from`
 * are apart. Row h D + 2i + j of GGUF is row h D + j D/2 + i of Hugging Face, with j 0 or 1. */
void hone_rows_to_gguf(void *to, const void *from, int64_t heads, int64_t head_size,
                       size_t row_bytes);
void hone_rows_to_hf(void *to, const void *from, int64_t heads, int64_t head_size,
                     size_t row_bytes);

/* Allocates values and gradients for `count` parameters whose tensors have their shapes, and sets their addresses.
 * Names and `decays` are the caller's. */
HONE_MUST_USE hone_status hone_params_allocate(hone_params *params, const hone_device *device);
void hone_params_free(hone_params *params);

#endif
