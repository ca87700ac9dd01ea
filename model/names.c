#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"

static const char *outer_name(const hone_arch *arch, hone_form form, int which) {
    const hone_role_names *names = &arch->family->outer[which];
    return form == HONE_FORM_GGUF ? names->gguf : names->hf;
}

static const char *role_name(const hone_arch *arch, hone_form form, int which) {
    const hone_role_names *names = &arch->family->roles[which];
    return form == HONE_FORM_GGUF ? names->gguf : names->hf;
}

static const char *blocks_name(const hone_arch *arch, hone_form form) {
    return form == HONE_FORM_GGUF ? "blk" : arch->family->blocks;
}

void hone_module_name(char out[HONE_NAME], const hone_arch *arch, hone_form form, int64_t layer,
                      int which) {
    if (layer < 0) {
        snprintf(out, HONE_NAME, "%s", outer_name(arch, form, which));
    } else {
        snprintf(out, HONE_NAME, "%s.%lld.%s", blocks_name(arch, form), (long long)layer,
                 role_name(arch, form, which));
    }
}

void hone_weight_name(char out[HONE_NAME], const hone_arch *arch, hone_form form,
                      const hone_weight *weight) {
    char module[HONE_NAME];
    hone_module_name(module, arch, form, weight->layer, weight->which);
    snprintf(out, HONE_NAME, "%.*s.%s", HONE_NAME - 8, module, weight->bias ? "bias" : "weight");
}

/* Steps over `text` at the start of *at. */
static bool skip(const char **at, const char *text) {
    size_t length = strlen(text);
    if (strncmp(*at, text, length) != 0) return false;
    *at += length;
    return true;
}

/* What follows the block's number in "<blocks>.<number>.<rest>"; NULL when it is no such name, or of a block that the model
 * does not have. */
static const char *in_block(const char *name, const char *blocks, int64_t layers) {
    if (!skip(&name, blocks) || !skip(&name, ".")) return NULL;
    size_t digits = strspn(name, "0123456789");
    if (digits == 0 || digits > 9 || name[digits] != '.') return NULL;
    return strtoll(name, NULL, 10) < layers ? name + digits + 1 : NULL;
}

/* `name` with another beginning; false when it does not begin so, or becomes too long. */
static bool begin_with(char out[HONE_NAME], const char *name, const char *from, const char *to) {
    if (!from || !skip(&name, from)) return false;
    return snprintf(out, HONE_NAME, "%s%s", to, name) < HONE_NAME;
}

bool hone_name_older(char out[HONE_NAME], const hone_family *family, const char *name) {
    for (int i = 0; i < 2; i++) {
        const hone_spelling *s = &family->spellings[i];
        if (begin_with(out, name, s->now, s->older)) return true;
    }
    return false;
}

bool hone_name_now(char out[HONE_NAME], const hone_family *family, const char *older) {
    for (int i = 0; i < 2; i++) {
        const hone_spelling *s = &family->spellings[i];
        if (begin_with(out, older, s->older, s->now)) return true;
    }
    return false;
}

/* "<module>.weight", or its bias where it has one. */
static bool is_of(const char *name, const char *module, bool biased) {
    if (!module || !skip(&name, module)) return false;
    return strcmp(name, ".weight") == 0 || (biased && strcmp(name, ".bias") == 0);
}

/* Tensors that only repeat settings. */
static bool says_nothing(const hone_arch *arch, hone_form form, const char *name) {
    if (form == HONE_FORM_GGUF) {
        return strcmp(name, "rope_freqs.weight") == 0 ||
               strcmp(name, "rope_factors_long.weight") == 0 ||
               strcmp(name, "rope_factors_short.weight") == 0;
    }
    if (strstr(name, "rotary_emb.inv_freq")) return true;
    const char *rest = in_block(name, arch->family->blocks, arch->layers);
    return arch->family->learned_positions && rest &&
           (strcmp(rest, "attn.bias") == 0 || strcmp(rest, "attn.masked_bias") == 0);
}

/* A tensor of the vision tower, say. */
static bool is_left_out(const hone_family *family, const char *name) {
    skip(&name, "model.");
    for (int i = 0; i < 2; i++) {
        const char *at = name;
        if (family->other_parts[i] && skip(&at, family->other_parts[i])) return true;
    }
    return false;
}

static bool is_known_now(const hone_arch *arch, hone_form form, const char *name) {
    bool layer_norm = arch->family->norm == HONE_NORM_LAYER;
    for (int i = 0; i < HONE_OUTERS; i++) {
        bool biased = layer_norm && i == HONE_OUTER_NORM;
        if (is_of(name, outer_name(arch, form, i), biased)) return true;
    }
    const char *rest = in_block(name, blocks_name(arch, form), arch->layers);
    for (int role = 0; rest && role < HONE_ROLES; role++) {
        if (is_of(rest, role_name(arch, form, role), arch->biased[role])) return true;
    }
    return says_nothing(arch, form, name);
}

bool hone_weight_is_known(const hone_arch *arch, hone_form form, const char *name) {
    char now[HONE_NAME];
    if (is_known_now(arch, form, name)) return true;
    if (form == HONE_FORM_GGUF) return false;
    return is_left_out(arch->family, name) ||
           (hone_name_now(now, arch->family, name) && is_known_now(arch, form, now));
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
