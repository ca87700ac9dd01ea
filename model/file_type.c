#include "model/file_type.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "formats/quantize.h"

const hone_file_type hone_file_types[HONE_FILE_TYPES + 1] = {
    {"f32", 0, HONE_F32, HONE_MIX_NONE},       {"f16", 1, HONE_F16, HONE_MIX_NONE},
    {"bf16", 32, HONE_BF16, HONE_MIX_NONE},    {"q8_0", 7, HONE_Q8_0, HONE_MIX_NONE},
    {"q4_0", 2, HONE_Q4_0, HONE_MIX_NONE},     {"q5_0", 8, HONE_Q5_0, HONE_MIX_NONE},
    {"q4_k_s", 14, HONE_Q4_K, HONE_MIX_SMALL}, {"q4_k_m", 15, HONE_Q4_K, HONE_MIX_MEDIUM},
    {"q5_k_s", 16, HONE_Q5_K, HONE_MIX_NONE},  {"q5_k_m", 17, HONE_Q5_K, HONE_MIX_MEDIUM},
    {"q6_k", 18, HONE_Q6_K, HONE_MIX_NONE},    {0},
};

const hone_file_type *hone_file_type_named(const char *name) {
    for (const hone_file_type *file = hone_file_types; file->name; file++) {
        if (strcasecmp(file->name, name) == 0) return file;
    }
    return NULL;
}

const hone_file_type *hone_file_type_of(hone_dtype type) {
    return hone_file_type_named(hone_dtype_name(type));
}

/* The first and last eighth of the layers, and every third between. */
static bool takes_more_bits(int64_t layer, int64_t layers) {
    return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

/* What llama.cpp takes for a model of 70B, whose eight query heads share a value head. */
static bool is_70b(const hone_arch *arch) {
    if (arch->layers != 80) return false;
    return strcmp(arch->family->gguf, "qwen2") == 0 ||
           (strcmp(arch->family->gguf, "llama") == 0 && arch->heads != arch->kv_heads);
}

static hone_dtype value_type(const hone_file_type *file, const hone_arch *arch, int64_t layer) {
    if (file->mix == HONE_MIX_MEDIUM && takes_more_bits(layer, arch->layers)) return HONE_Q6_K;
    if (file->mix == HONE_MIX_SMALL && layer < 4) return HONE_Q5_K;
    return file->type == HONE_Q4_K && is_70b(arch) ? HONE_Q5_K : file->type;
}

static hone_dtype down_type(const hone_file_type *file, const hone_arch *arch, int64_t layer) {
    if (file->mix == HONE_MIX_MEDIUM && takes_more_bits(layer, arch->layers)) return HONE_Q6_K;
    return file->mix == HONE_MIX_SMALL && layer < arch->layers / 8 ? HONE_Q5_K : file->type;
}

static hone_dtype head_type(const hone_file_type *file, int64_t columns) {
    bool finer = file->type != HONE_Q8_0 && hone_quantize_fits(file->type, columns);
    return finer ? HONE_Q6_K : HONE_Q8_0;
}

static hone_dtype mixed(const hone_file_type *file, const hone_arch *arch, const char *name,
                        int64_t columns) {
    const char *head = arch->tied ? "token_embd.weight" : "output.weight";
    if (strcmp(name, head) == 0) return head_type(file, columns);
    if (strncmp(name, "blk.", 4) != 0) return file->type;
    char *part;
    int64_t layer = strtoll(name + 4, &part, 10);
    if (strcmp(part, ".attn_v.weight") == 0 || strcmp(part, ".attn_qkv.weight") == 0) {
        return value_type(file, arch, layer);
    }
    return strcmp(part, ".ffn_down.weight") == 0 ? down_type(file, arch, layer) : file->type;
}

/* For rows that do not fill blocks of 256. */
static hone_dtype smaller_blocks(hone_dtype type) {
    switch (type) {
    case HONE_Q4_K:
        return HONE_Q5_0;
    case HONE_Q5_K:
        return HONE_Q5_1;
    case HONE_Q6_K:
        return HONE_Q8_0;
    default:
        return type;
    }
}

hone_dtype hone_file_type_tensor(const hone_file_type *file, const hone_arch *arch,
                                 const char *name, int64_t columns) {
    if (strcmp(name, "position_embd.weight") == 0) return HONE_F32;
    if (!hone_dtype_is_quantised(file->type)) return file->type;
    hone_dtype type = mixed(file, arch, name, columns);
    if (!hone_quantize_fits(type, columns)) type = smaller_blocks(type);
    return hone_quantize_fits(type, columns) ? type : HONE_F16;
}
