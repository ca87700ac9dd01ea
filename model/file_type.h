/*
 * File types: what people call a whole GGUF file ("q4_k_m"), and the type that each tensor gets in it. Some tensors suffer
 * more than others from few bits; the mixtures are llama.cpp's, tensor for tensor, so that its users get what they know.
 *
 * Source: src/llama-quant.cpp of ggml-org/llama.cpp.
 */
#ifndef HONE_MODEL_FILE_TYPE_H
#define HONE_MODEL_FILE_TYPE_H

#include "model/arch.h"

typedef struct hone_file_type {
    const char *name; /* as in --type */
    uint32_t number;  /* general.file_type */
    hone_dtype type;  /* of most tensors */
    enum {
        HONE_MIX_NONE,
        HONE_MIX_SMALL,
        HONE_MIX_MEDIUM
    } mix; /* its tensors of more bits: none, few, more */
} hone_file_type;

/* All of them, ended by one without a name. */
enum { HONE_FILE_TYPES = 11 };
extern const hone_file_type hone_file_types[HONE_FILE_TYPES + 1];

/* The one of that name (any case), or NULL. */
const hone_file_type *hone_file_type_named(const char *name);

/* The one that is called as the tensor type, or NULL. */
const hone_file_type *hone_file_type_of(hone_dtype type);

/* The type of a matrix in a file of that type. `name` is its GGUF name, `columns` the length of its rows. A row that does
 * not fit the blocks takes the next type that does, at last F16; learned positions stay F32. */
hone_dtype hone_file_type_tensor(const hone_file_type *file, const hone_arch *arch,
                                 const char *name, int64_t columns);

#endif
