#include "formats/gguf.h"

/* Source: gguf-py/gguf/constants.py (GGML_QUANT_SIZES) and ggml/src/ggml-common.h. */
static const hone_gguf_type types[] = {
    {0, "f32", 1, 4},         {1, "f16", 1, 2},         {2, "q4_0", 32, 18},
    {3, "q4_1", 32, 20},      {6, "q5_0", 32, 22},      {7, "q5_1", 32, 24},
    {8, "q8_0", 32, 34},      {9, "q8_1", 32, 40},      {10, "q2_k", 256, 84},
    {11, "q3_k", 256, 110},   {12, "q4_k", 256, 144},   {13, "q5_k", 256, 176},
    {14, "q6_k", 256, 210},   {15, "q8_k", 256, 292},   {16, "iq2_xxs", 256, 66},
    {17, "iq2_xs", 256, 74},  {18, "iq3_xxs", 256, 98}, {19, "iq1_s", 256, 50},
    {20, "iq4_nl", 32, 18},   {21, "iq3_s", 256, 110},  {22, "iq2_s", 256, 82},
    {23, "iq4_xs", 256, 136}, {24, "i8", 1, 1},         {25, "i16", 1, 2},
    {26, "i32", 1, 4},        {27, "i64", 1, 8},        {28, "f64", 1, 8},
    {29, "iq1_m", 256, 56},   {30, "bf16", 1, 2},       {34, "tq1_0", 256, 54},
    {35, "tq2_0", 256, 66},   {39, "mxfp4", 32, 17},    {40, "nvfp4", 64, 36},
    {41, "q1_0", 128, 18},    {42, "q2_0", 0, 0}, /* 64 elements in 18 bytes in one program, 128 in 34 in another */
};

/* By hone_gguf_kind. */
static const struct {
    const char *name;
    size_t bytes; /* 0: no fixed size */
} kinds[] = {
    {"u8", 1},   {"i8", 1},     {"u16", 2},   {"i16", 2}, {"u32", 4}, {"i32", 4}, {"f32", 4},
    {"bool", 1}, {"string", 0}, {"array", 0}, {"u64", 8}, {"i64", 8}, {"f64", 8},
};

const hone_gguf_type *hone_gguf_type_describe(uint32_t type) {
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (types[i].type == type) return &types[i];
    }
    return NULL;
}

const char *hone_gguf_kind_name(hone_gguf_kind kind) {
    return (size_t)kind < sizeof kinds / sizeof kinds[0] ? kinds[kind].name : "unknown";
}

size_t hone_gguf_kind_bytes(hone_gguf_kind kind) {
    return (size_t)kind < sizeof kinds / sizeof kinds[0] ? kinds[kind].bytes : 0;
}
