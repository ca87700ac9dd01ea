/*
 * A model: an architecture and its weights, mapped from the file they stand in.
 *
 * Frozen matrices are used where they lie, in the dtype they have; only those that Hugging Face holds transposed (GPT-2)
 * are turned into memory of their own, and all of them are copied to a device that cannot read the host's. Norm gains and biases are few and become HONE_REAL; a gain that a file stores less
 * an offset (Gemma) is held with it. The parts of a fused matrix are rows of it. Training all parameters, or from scratch,
 * gives every weight memory of its own as HONE_REAL.
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
    hone_tensor weight[HONE_ROLES];     /* linear ones [out, in]; gains of norms */
    hone_tensor bias[HONE_ROLES];       /* [out]; no data where there is none */
    hone_tensor grads[2][HONE_LINEARS]; /* of the parts of fused ones: weights, biases */
} hone_layer;

/* A tensor that files hold. `which` is a hone_role, or with layer -1 a hone_outer. */
typedef struct hone_weight {
    int64_t layer;
    int which;
    bool bias;
    hone_tensor *tensor; /* in the model; a vector (gain or bias) has one dimension */
} hone_weight;

/* The names of one kind of file. */
typedef enum hone_form { HONE_FORM_HF, HONE_FORM_GGUF } hone_form;

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
    bool
        qkv_as_one; /* the GGUF has q, k and v of a layer in one matrix, which the family has apart */
    hone_safetensors *safetensors;
    json_t *config; /* config.json; NULL for GGUF */
    hone_tensor
        outer[HONE_OUTERS]; /* embedding and head [V,C] (the head is not there when tied), learned
                                       positions, gain of the final norm */
    hone_tensor norm_bias;  /* of the final norm; no data where there is none */
    hone_layer *layers;     /* owned, [L] */
    hone_weight
        *weights; /* owned: all that files hold, in the order of the forward pass, head last */
    size_t weight_count;
    hone_buffer vectors; /* gains and biases as HONE_REAL */
    hone_buffer *own;    /* owned, [weight_count]: matrices that cannot be used where they lie */
    hone_buffer
        rope; /* cosine, sine [positions, rotated/2] of one table or two (hone_arch_rope_table) */
    int64_t rope_positions;
    hone_int8_weight
        *int8; /* owned; of the matrices, when products are taken in int8 (hone_model_int8) */
    hone_int8_counts *int8_counts; /* in int8_memory */
    hone_buffer int8_memory;
    hone_tensor
        head_copy; /* of the head in f32 or f16, in bf16, in head_memory; there or not (hone_model_settle_head) */
    hone_buffer head_memory;
    hone_params params;            /* of full training; empty otherwise */
    hone_attention_kind attention; /* of passes without a cache (hone_model_attention) */
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

/* From here on, products with the frozen matrices of the first `blocks` blocks and of the head are taken in int8
 * (kernels/int8.h). Those of types of a byte or more for a weight are copied, and the memory of their file is let go;
 * smaller ones are converted while they are used. */
HONE_MUST_USE hone_status hone_model_int8(hone_model *model, int64_t blocks);
void hone_model_int8_free(
    hone_model *model); /* where the host computes, products are in f32 again */
/* Products are in f32 again; what a device's memory had no need of is copied there again. */
HONE_MUST_USE hone_status hone_model_whole(hone_model *model);

/* The part of the blocks of activations that had an outlier so far, and took 16 bits for it; negative when none was taken in
 * int8. And in words, without an end of line. */
double hone_model_int8_outliers(const hone_model *model);
void hone_int8_outliers_text(char out[96], double part);

/* The precision of products with the frozen matrices of the blocks and the head, where they are not taken in int8. Errors:
 * UNSUPPORTED where the device does not take them so; then nothing changes. */
HONE_MUST_USE hone_status hone_model_precision(hone_model *model, hone_precision precision);

/* Which attention whole texts take, in training and evaluation: exact at first. Whoever sets another asks first whether the device
 * has it for all blocks, or why not (NULL: it has). What is generated, against a cache of keys, takes the exact one. */
void hone_model_attention(hone_model *model, hone_attention_kind kind);
const char *hone_model_lacks_attention(const hone_model *model, hone_attention_kind kind);

/* The shape of a block's attention, but for what it works on: segments, tokens and the longest. */
hone_attention_shape hone_model_attention_shape(const hone_model *model, int64_t layer);

/* HONE_ERR_UNSUPPORTED when the device has no attention for the model's heads. */
HONE_MUST_USE hone_status hone_model_check_heads(const hone_model *model);

/* Whether an int8 copy is read in a weight's place; the embedding is read as well. A device has the copy alone. */
bool hone_model_int8_replaces(const hone_model *model, const hone_weight *weight);

/* Copies a matrix of the list of weights to the device's memory again, where it is not. */
HONE_MUST_USE hone_status hone_model_reload(hone_model *model, size_t weight);

/* The tokenizer that belongs to a model's path. */
HONE_MUST_USE hone_status hone_model_tokenizer(hone_tokenizer **out, const char *path);

/* The folder of a model that was named by it or by a file in it; owned by the caller, NULL when memory is out. */
char *hone_model_folder(const char *path);

/* Makes ready for texts of up to `positions` tokens: cosine and sine tables; again when more are needed. HONE_ERR_DATA
 * when learned positions end before that. */
HONE_MUST_USE hone_status hone_model_rope(hone_model *model, int64_t positions);

/* The weight of the output head, whichever it is. */
static inline hone_tensor *hone_model_head(hone_model *model) {
    return &model->outer[model->arch.tied ? HONE_OUTER_EMBEDDING : HONE_OUTER_HEAD];
}

/* What products with it are taken with: the weight or its copy. */
static inline hone_tensor *hone_model_multiplied_head(hone_model *model) {
    return model->head_memory.base ? &model->head_copy : hone_model_head(model);
}

/* Makes a copy of the head in bf16 where a GPU would convert it for every product, as its precision is now, and has the memory;
 * elsewhere there is none. */
HONE_MUST_USE hone_status hone_model_settle_head(hone_model *model);
void hone_model_head_free(hone_model *model);

/* SHA-256 of the model's weights, for adapters and checkpoints: of the file, or over all shards; of the config of a
 * model made fresh. Reads all of them, until *stop, as hone_sha256_file_until does. */
HONE_MUST_USE hone_status hone_model_hash(char out[HONE_SHA256_TEXT], const hone_model *model,
                                          const atomic_bool *stop);

enum { HONE_NAME = 128 };

/* "model.layers.3.self_attn.q_proj" or "blk.3.attn_q": the module that a tensor belongs to. Layer -1: hone_outer. */
void hone_module_name(char out[HONE_NAME], const hone_arch *arch, hone_form form, int64_t layer,
                      int which);

/* The same with ".weight" or ".bias". */
void hone_weight_name(char out[HONE_NAME], const hone_arch *arch, hone_form form,
                      const hone_weight *weight);

/* The same tensor's or module's name in older files of the family, and back; false where it has no other. */
bool hone_name_older(char out[HONE_NAME], const hone_family *family, const char *name);
bool hone_name_now(char out[HONE_NAME], const hone_family *family, const char *older);

/* Whether a file's tensor is one that the model uses, one that says nothing new (rope frequencies, masks), or one of a part
 * that is left out; as it is called now, or was once. */
bool hone_weight_is_known(const hone_arch *arch, hone_form form, const char *name);

/* Bytes that all frozen weights take, where they lie. */
int64_t hone_model_weight_bytes(const hone_model *model);

/* The type of the first block's matrices, which most of the model has. */
hone_dtype hone_model_usual_type(const hone_model *model);

/* Lists the weights of model->arch; for those who make models. */
HONE_MUST_USE hone_status hone_model_list_weights(hone_model *model);

/* Rows and columns of a weight; a vector has one column. */
void hone_weight_shape(const hone_arch *arch, const hone_weight *weight, int64_t *rows,
                       int64_t *columns);
bool hone_weight_is_vector(const hone_weight *weight);

/* Makes a weight's tensor one of its shape without data; matrices are of `type`. */
void hone_weight_give_shape(const hone_arch *arch, const hone_weight *weight, hone_dtype type);

/* A model without data, for plans: tapes are planned on it, and never run. */
HONE_MUST_USE hone_status hone_model_outline(hone_model **out, const hone_arch *arch,
                                             hone_dtype type, const hone_device *device);

/* Points the parts of fused weights into them; again when those have moved. */
void hone_model_divide(hone_model *model);

/* llama.cpp's converter can write q, k and v of any family as one matrix (--fuse-qkv). In model->gguf they are taken apart. */
HONE_MUST_USE hone_status hone_model_part_qkv(hone_model *model);

/* Some rows of a tensor, without its gradient. */
hone_tensor hone_tensor_rows(const hone_tensor *whole, int64_t begin, int64_t rows);

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
