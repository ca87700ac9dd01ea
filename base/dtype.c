#include "base/dtype.h"

#include <assert.h>
#include <strings.h>

/* Blocks and their bytes: ggml/src/ggml-common.h. */
static const hone_dtype_info types[] = {
    {HONE_F32, "f32", 1, 4},           {HONE_F16, "f16", 1, 2},
    {HONE_BF16, "bf16", 1, 2},         {HONE_Q4_0, "q4_0", 32, 18},
    {HONE_Q4_1, "q4_1", 32, 20},       {HONE_Q5_0, "q5_0", 32, 22},
    {HONE_Q5_1, "q5_1", 32, 24},       {HONE_Q8_0, "q8_0", 32, 34},
    {HONE_Q2_K, "q2_k", 256, 84},      {HONE_Q3_K, "q3_k", 256, 110},
    {HONE_Q4_K, "q4_k", 256, 144},     {HONE_Q5_K, "q5_k", 256, 176},
    {HONE_Q6_K, "q6_k", 256, 210},     {HONE_IQ4_NL, "iq4_nl", 32, 18},
    {HONE_IQ4_XS, "iq4_xs", 256, 136}, {HONE_MXFP4, "mxfp4", 32, 17},
    {HONE_I32, "i32", 1, 4},
};
enum { TYPE_COUNT = sizeof types / sizeof types[0] };

const hone_dtype_info *hone_dtype_describe(uint32_t type) {
    for (int i = 0; i < TYPE_COUNT; i++) {
        if ((uint32_t)types[i].type == type) return &types[i];
    }
    return NULL;
}

int hone_dtype_is_quantised(hone_dtype type) {
    const hone_dtype_info *info = hone_dtype_describe((uint32_t)type);
    return info && info->block > 1;
}

const char *hone_dtype_name(hone_dtype type) {
    const hone_dtype_info *info = hone_dtype_describe((uint32_t)type);
    return info ? info->name : "unknown";
}

int hone_dtype_parse(hone_dtype *out, const char *name) {
    for (int i = 0; i < TYPE_COUNT; i++) {
        if (strcasecmp(types[i].name, name) != 0) continue;
        *out = types[i].type;
        return 1;
    }
    return 0;
}

size_t hone_dtype_row_bytes(hone_dtype type, int64_t n) {
    const hone_dtype_info *info = hone_dtype_describe((uint32_t)type);
    assert(info && n % info->block == 0);
    return (size_t)(n / info->block) * (size_t)info->bytes;
}

uint16_t hone_f16_from_f32(float value) {
    uint32_t bits = hone_f32_to_bits(value);
    uint16_t sign = (uint16_t)((bits >> 16) & 0x8000u);
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
    if (magnitude >= 0x477ff000u)
        return (uint16_t)(sign | 0x7c00u); /* 65520 and above round to infinity */
    if (magnitude < 0x38800000u) {
        /* Subnormal result: adding 0.5 puts the units of 2^-24 at the end of the mantissa, rounded by the adder. */
        float shifted = hone_f32_from_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (hone_f32_to_bits(shifted) - 0x3f000000u));
    }
    uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return (uint16_t)(sign | ((rounded - 0x38000000u) >> 13));
}
