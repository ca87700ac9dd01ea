#include <stdio.h>

#include "formats/gguf.h"

/* What files may hold and hone does not compute with. Source: gguf-py/gguf/constants.py (GGML_QUANT_SIZES). */
static const hone_dtype_info others[] = {
    {9, "q8_1", 32, 40},
    {15, "q8_k", 256, 292},
    {16, "iq2_xxs", 256, 66},
    {17, "iq2_xs", 256, 74},
    {18, "iq3_xxs", 256, 98},
    {19, "iq1_s", 256, 50},
    {21, "iq3_s", 256, 110},
    {22, "iq2_s", 256, 82},
    {24, "i8", 1, 1},
    {25, "i16", 1, 2},
    {27, "i64", 1, 8},
    {28, "f64", 1, 8},
    {29, "iq1_m", 256, 56},
    {34, "tq1_0", 256, 54},
    {35, "tq2_0", 256, 66},
    {40, "nvfp4", 64, 36},
    {41, "q1_0", 128, 18},
    {42, "q2_0", 0, 0}, /* 64 elements in 18 bytes in one program, 128 in 34 in another */
};

/* By hone_gguf_kind. */
static const struct {
    const char *name;
    size_t bytes; /* 0: no fixed size */
} kinds[] = {
    {"u8", 1},   {"i8", 1},     {"u16", 2},   {"i16", 2}, {"u32", 4}, {"i32", 4}, {"f32", 4},
    {"bool", 1}, {"string", 0}, {"array", 0}, {"u64", 8}, {"i64", 8}, {"f64", 8},
};

const hone_dtype_info *hone_gguf_type_describe(uint32_t type) {
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if ((uint32_t)others[i].type == type) return &others[i];
    }
    return hone_dtype_describe(type);
}

const char *hone_gguf_kind_name(hone_gguf_kind kind) {
    return (size_t)kind < sizeof kinds / sizeof kinds[0] ? kinds[kind].name : "unknown";
}

size_t hone_gguf_kind_bytes(hone_gguf_kind kind) {
    return (size_t)kind < sizeof kinds / sizeof kinds[0] ? kinds[kind].bytes : 0;
}

/* --- What hone computes with --- */

static bool is_weight(const hone_dtype_info *info) {
    return info && info->type != HONE_I32;
}

/* "f32, f16, …": the names of all weight types. */
static void list_weight_types(char *out, size_t size) {
    size_t length = 0;
    for (uint32_t type = 0; type <= HONE_MXFP4; type++) {
        const hone_dtype_info *info = hone_dtype_describe(type);
        if (!is_weight(info) || length >= size) continue;
        length +=
            (size_t)snprintf(out + length, size - length, "%s%s", length ? ", " : "", info->name);
    }
}

hone_status hone_gguf_tensor_dtype(hone_dtype *out, const hone_gguf *gguf,
                                   const hone_gguf_tensor *tensor) {
    const hone_dtype_info *own = hone_dtype_describe(tensor->type);
    if (is_weight(own)) {
        *out = own->type;
        return HONE_OK;
    }
    char readable[160];
    list_weight_types(readable, sizeof readable);
    const hone_dtype_info *type = hone_gguf_type_describe(tensor->type);
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: tensor '%s' has type %u (%s), which hone cannot compute with; take the "
                     "model in one of %s",
                     hone_gguf_path(gguf), tensor->name, tensor->type,
                     type ? type->name : "unknown", readable);
}
