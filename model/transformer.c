#include "model/transformer.h"

#include <math.h>

#include "base/alloc.h"

hone_status hone_cache_new(hone_cache *out, const hone_model *model, int64_t capacity) {
    const hone_arch *arch = &model->arch;
    int64_t width = arch->kv_heads * arch->head_size;
    *out = (hone_cache){.capacity = capacity};
    out->k = hone_alloc(2 * (size_t)arch->layers, sizeof *out->k);
    if (!out->k) return HONE_ERR_MEMORY;
    out->v = out->k + arch->layers;
    size_t bytes = (size_t)(capacity * width) * sizeof(hone_real);
    HONE_TRY(hone_buffer_new(&out->memory, model->device, 2 * (size_t)arch->layers * bytes));
    for (int64_t i = 0; i < 2 * arch->layers; i++) {
        void *data = (unsigned char *)out->memory.base + (size_t)i * bytes;
        out->k[i] = hone_tensor_over("cache", HONE_REAL, capacity, width, data);
    }
    return HONE_OK;
}

void hone_cache_free(hone_cache *cache) {
    hone_free(cache->k);
    hone_buffer_free(&cache->memory);
    *cache = (hone_cache){0};
}

/* One block while it is built. */
typedef struct block {
    const hone_forward *f;
    hone_tape *tape;
    int64_t layer;
} block;

static hone_tensor *weight(const block *b, hone_role role) {
    return &b->f->model->layers[b->layer].weight[role];
}

static hone_status linear(hone_tensor **y, const block *b, hone_tensor *x, hone_role role) {
    hone_lora_pair *pair = b->f->adapter ? hone_adapter_pair(b->f->adapter, b->layer, role) : NULL;
    if (!pair || pair->rank == 0) return hone_linear(y, b->tape, x, weight(b, role), NULL);
    hone_lora lora = {.a = &pair->a, .b = &pair->b, .scale = pair->scale};
    if (b->f->dropout_key) {
        lora.dropout = (hone_dropout){
            .key = b->f->dropout_key,
            .records = b->f->tokens->records,
            .positions = b->f->tokens->positions,
            .module = (uint32_t)(b->layer * HONE_LINEARS + (int64_t)role - HONE_ROLE_LINEAR),
            .rate = b->f->adapter->dropout,
        };
    }
    return hone_linear(y, b->tape, x, weight(b, role), &lora);
}

static hone_status rotate(hone_tensor **x, const block *b, int64_t heads) {
    const hone_model *model = b->f->model;
    const hone_arch *arch = &model->arch;
    const hone_real *cosine = model->rope.base;
    hone_rope_shape shape = {b->f->tokens->count, heads, arch->head_size, arch->head_size,
                             arch->rope_interleaved};
    return hone_rope(x, b->tape, *x, cosine, cosine + model->rope_positions * arch->head_size / 2,
                     b->f->tokens->positions, shape);
}

static hone_status attend(hone_tensor **y, const block *b, hone_tensor *x) {
    const hone_arch *arch = &b->f->model->arch;
    const hone_tokens *tokens = b->f->tokens;
    hone_tensor *q, *k, *v, *o;
    HONE_TRY(linear(&q, b, x, HONE_ROLE_Q));
    HONE_TRY(linear(&k, b, x, HONE_ROLE_K));
    HONE_TRY(linear(&v, b, x, HONE_ROLE_V));
    HONE_TRY(rotate(&q, b, arch->heads));
    HONE_TRY(rotate(&k, b, arch->kv_heads));
    hone_cache *cache = b->f->cache;
    if (cache) {
        HONE_TRY(hone_store(b->tape, k, &cache->k[b->layer], cache->length));
        HONE_TRY(hone_store(b->tape, v, &cache->v[b->layer], cache->length));
        k = &cache->k[b->layer];
        v = &cache->v[b->layer];
    }
    hone_attention_call call = {
        .segments = tokens->segments,
        .shape = {.segments = tokens->segment_count,
                  .heads = arch->heads,
                  .kv_heads = arch->kv_heads,
                  .head_size = arch->head_size,
                  .scale = 1 / sqrt((double)arch->head_size)},
        .max_q = tokens->longest_q,
        .max_k = tokens->longest_k,
    };
    HONE_TRY(hone_attention(&o, b->tape, q, k, v, &call));
    return linear(y, b, o, HONE_ROLE_O);
}

static hone_status gated_mlp(hone_tensor **y, const block *b, hone_tensor *x) {
    hone_tensor *gate, *up, *act;
    HONE_TRY(linear(&gate, b, x, HONE_ROLE_GATE));
    HONE_TRY(linear(&up, b, x, HONE_ROLE_UP));
    HONE_TRY(hone_gated(&act, b->tape, gate, up, HONE_SILU));
    return linear(y, b, act, HONE_ROLE_DOWN);
}

static hone_status decoder_block(hone_tensor **x, const block *b) {
    double epsilon = b->f->model->arch.norm_epsilon;
    hone_tensor *h, *y;
    HONE_TRY(hone_rmsnorm(&h, b->tape, *x, weight(b, HONE_ROLE_ATTN_NORM), epsilon));
    HONE_TRY(attend(&y, b, h));
    HONE_TRY(hone_add(x, b->tape, *x, y));
    HONE_TRY(hone_rmsnorm(&h, b->tape, *x, weight(b, HONE_ROLE_MLP_NORM), epsilon));
    HONE_TRY(gated_mlp(&y, b, h));
    return hone_add(x, b->tape, *x, y);
}

hone_status hone_transformer_hidden(hone_tensor **hidden, hone_tape *tape, const hone_forward *f) {
    hone_tensor *x;
    HONE_TRY(hone_embedding(&x, tape, &f->model->embedding, f->tokens->ids, f->tokens->count));
    for (int64_t layer = 0; layer < f->model->arch.layers; layer++) {
        block b = {f, tape, layer};
        if (f->recompute) HONE_TRY(hone_tape_segment_begin(tape));
        HONE_TRY(decoder_block(&x, &b));
        if (f->recompute) hone_tape_segment_end(tape);
    }
    return hone_rmsnorm(hidden, tape, x, &f->model->norm, f->model->arch.norm_epsilon);
}

hone_status hone_transformer_loss(hone_tape *tape, const hone_forward *f,
                                  const hone_loss_call *call) {
    hone_tensor *hidden;
    HONE_TRY(hone_transformer_hidden(&hidden, tape, f));
    return hone_cross_entropy(NULL, tape, hidden, hone_model_head(f->model), call);
}

hone_status hone_transformer_logits(hone_tensor **logits, hone_tape *tape, const hone_forward *f,
                                    const int32_t *rows, int64_t n) {
    hone_tensor *hidden, *chosen;
    HONE_TRY(hone_transformer_hidden(&hidden, tape, f));
    HONE_TRY(hone_gather(&chosen, tape, hidden, rows, n));
    return hone_linear(logits, tape, chosen, hone_model_head(f->model), NULL);
}
