#include "model/arch.h"

#include <math.h>

void hone_arch_linear(const hone_arch *arch, hone_role role, int64_t *out, int64_t *in) {
    int64_t q = arch->heads * arch->head_size;
    int64_t kv = arch->kv_heads * arch->head_size;
    bool row = arch->family->qk_norm == HONE_QK_NORM_ROW;
    const int64_t shapes[HONE_ROLES][2] = {
        [HONE_ROLE_ATTN_NORM] = {arch->width, 1},
        [HONE_ROLE_MLP_NORM] = {arch->width, 1},
        [HONE_ROLE_POST_ATTN_NORM] = {arch->width, 1},
        [HONE_ROLE_POST_MLP_NORM] = {arch->width, 1},
        [HONE_ROLE_Q_NORM] = {row ? q : arch->head_size, 1},
        [HONE_ROLE_K_NORM] = {row ? kv : arch->head_size, 1},
        [HONE_ROLE_Q] = {q, arch->width},
        [HONE_ROLE_K] = {kv, arch->width},
        [HONE_ROLE_V] = {kv, arch->width},
        [HONE_ROLE_O] = {arch->width, q},
        [HONE_ROLE_GATE] = {arch->feed_forward, arch->width},
        [HONE_ROLE_UP] = {arch->feed_forward, arch->width},
        [HONE_ROLE_DOWN] = {arch->width, arch->feed_forward},
        [HONE_ROLE_QKV] = {q + 2 * kv, arch->width},
        [HONE_ROLE_GATE_UP] = {2 * arch->feed_forward, arch->width},
    };
    *out = shapes[role][0];
    *in = shapes[role][1];
}

int64_t hone_arch_part_begin(const hone_arch *arch, hone_role role) {
    if (hone_family_whole(arch->family, role) == role) return 0;
    int64_t q = arch->heads * arch->head_size;
    switch (role) {
    case HONE_ROLE_K:
        return q;
    case HONE_ROLE_V:
        return q + arch->kv_heads * arch->head_size;
    case HONE_ROLE_UP:
        return arch->feed_forward;
    default:
        return 0;
    }
}

int64_t hone_arch_parameters(const hone_arch *arch) {
    int64_t block = 0;
    for (hone_role role = 0; role < HONE_ROLES; role++) {
        int64_t out, in;
        if (!hone_family_has(arch->family, role)) continue;
        hone_arch_linear(arch, role, &out, &in);
        block += out * in + (arch->biased[role] ? out : 0);
    }
    bool learned = arch->family->learned_positions;
    int64_t table = arch->vocabulary * arch->width;
    int64_t norm = arch->family->norm == HONE_NORM_LAYER ? 2 * arch->width : arch->width;
    return arch->layers * block + norm + (learned ? arch->context * arch->width : 0) +
           (arch->tied ? table : 2 * table);
}

hone_arch hone_arch_of(const hone_family *family) {
    hone_arch a = {
        .family = family,
        .context = family->usual.context > 0 ? family->usual.context : 2048,
        .norm_epsilon = family->epsilon,
        .window = family->window,
        .attention_softcap = family->attention_softcap,
        .logit_softcap = family->logit_softcap,
        .embedding_scale = 1,
        .residual_scale = 1,
        .logit_scale = 1,
        .tied = family->tied,
        .initializer_range = 0.02,
    };
    for (int i = 0; i < HONE_ROPES; i++) a.rope[i] = (hone_rotary){.attention_factor = 1};
    a.rope[HONE_ROPE_GLOBAL].theta = family->theta;
    a.rope[HONE_ROPE_LOCAL].theta = 10000;
    for (hone_role role = 0; role < HONE_ROLES; role++) {
        bool norm = role < HONE_ROLE_LINEAR;
        bool part_of_qkv = role <= HONE_ROLE_V || role == HONE_ROLE_QKV;
        a.biased[role] = norm ? family->norm == HONE_NORM_LAYER
                              : family->all_biases || (family->qkv_biases && part_of_qkv);
    }
    return a;
}

hone_status hone_arch_check(const hone_arch *a, const char *file) {
    if (a->heads % a->kv_heads != 0) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: %lld attention heads cannot share %lld key/value heads evenly", file,
                         (long long)a->heads, (long long)a->kv_heads);
    }
    if (a->head_size < 1 || a->head_size % 2 != 0 || a->rotated % 2 != 0) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: head size %lld with %lld rotated elements is odd, rope needs pairs",
                         file, (long long)a->head_size, (long long)a->rotated);
    }
    if (a->rotated > a->head_size || a->rotated > HONE_MOST_ROTATED) {
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "%s: rope over %lld elements of a head of %lld is not supported (at most "
                         "the head, and %d)",
                         file, (long long)a->rotated, (long long)a->head_size, HONE_MOST_ROTATED);
    }
    bool finite = a->norm_epsilon > 0 && a->norm_epsilon < 1 && isfinite(a->attention_scale) &&
                  isfinite(a->logit_scale);
    for (int i = 0; i < HONE_ROPES && a->rotated > 0; i++) {
        finite = finite && a->rope[i].theta > 0 && isfinite(a->rope[i].theta);
    }
    if (finite) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT, "%s: norm epsilon, rope theta and scales must be above 0",
                     file);
}
