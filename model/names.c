#include <stdio.h>
#include <string.h>

#include "model/model.h"

static const hone_role_names outer[] = {
    [HONE_OUTER_EMBEDDING] = {"model.embed_tokens", "token_embd", NULL},
    [HONE_OUTER_NORM] = {"model.norm", "output_norm", NULL},
    [HONE_OUTER_HEAD] = {"lm_head", "output", NULL},
};

void hone_weight_name_hf(char out[HONE_NAME], int64_t layer, int role_or_outer) {
    if (layer < 0) {
        snprintf(out, HONE_NAME, "%s.weight", outer[role_or_outer].hf);
    } else {
        snprintf(out, HONE_NAME, "model.layers.%lld.%s.weight", (long long)layer,
                 hone_roles[role_or_outer].hf);
    }
}

void hone_weight_name_gguf(char out[HONE_NAME], int64_t layer, int role_or_outer) {
    if (layer < 0) {
        snprintf(out, HONE_NAME, "%s.weight", outer[role_or_outer].gguf);
    } else {
        snprintf(out, HONE_NAME, "blk.%lld.%s.weight", (long long)layer,
                 hone_roles[role_or_outer].gguf);
    }
}

/* Whether `name` is "<prefix><number>.<part>.weight". */
static bool block_part_is(const char *name, const char *prefix, const char *part) {
    size_t length = strlen(prefix);
    if (strncmp(name, prefix, length) != 0) return false;
    name += length;
    size_t digits = strspn(name, "0123456789");
    if (digits == 0 || name[digits] != '.') return false;
    name += digits + 1;
    size_t n = strlen(part);
    return strncmp(name, part, n) == 0 && strcmp(name + n, ".weight") == 0;
}

bool hone_weight_is_known(const char *name, bool gguf) {
    char known[HONE_NAME];
    for (int i = HONE_OUTER_EMBEDDING; i <= HONE_OUTER_HEAD; i++) {
        if (gguf) {
            hone_weight_name_gguf(known, -1, i);
        } else {
            hone_weight_name_hf(known, -1, i);
        }
        if (strcmp(name, known) == 0) return true;
    }
    for (int role = 0; role < HONE_ROLES; role++) {
        const char *part = gguf ? hone_roles[role].gguf : hone_roles[role].hf;
        if (block_part_is(name, gguf ? "blk." : "model.layers.", part)) return true;
    }
    return gguf ? strcmp(name, "rope_freqs.weight") == 0
                : strstr(name, "rotary_emb.inv_freq") != NULL;
}

static const char *row_at(const void *rows, int64_t row, size_t row_bytes) {
    return (const char *)rows + (size_t)row * row_bytes;
}

void hone_rows_to_gguf(void *to, const void *from, int64_t heads, int64_t head_size,
                       size_t row_bytes) {
    int64_t half = head_size / 2;
    for (int64_t row = 0; row < heads * head_size; row++) {
        int64_t head = row / head_size, i = row % head_size / 2, j = row % 2;
        int64_t source = head * head_size + j * half + i;
        memcpy((char *)to + (size_t)row * row_bytes, row_at(from, source, row_bytes), row_bytes);
    }
}

void hone_rows_to_hf(void *to, const void *from, int64_t heads, int64_t head_size,
                     size_t row_bytes) {
    int64_t half = head_size / 2;
    for (int64_t row = 0; row < heads * head_size; row++) {
        int64_t head = row / head_size, i = row % half, j = row % head_size / half;
        int64_t source = head * head_size + 2 * i + j;
        memcpy((char *)to + (size_t)row * row_bytes, row_at(from, source, row_bytes), row_bytes);
    }
}
