#include "model/transformer.h"

#include "autograd/product.h"
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

static const hone_arch *arch_of(const block *b) {
    return &b->f->model->arch;
}

static bool has(const block *b, hone_role role) {
    return hone_family_has(arch_of(b)->family, role);
}

static hone_tensor *weight(const block *b, hone_role role) {
    return &b->f->model->layers[b->layer].weight[role];
}

static hone_tensor *bias(const block *b, hone_role role) {
    return &b->f->model->layers[b->layer].bias[role];
}

/* The factors for a role: of the fused matrix it is a part of, if it is. PEFT draws one dropout mask for a module. */
static bool find_lora(hone_lora *lora, const block *b, hone_role role, hone_role whole) {
    const hone_adapter *adapter = b->f->adapter;
    hone_lora_pair *pair = adapter ? hone_adapter_pair(adapter, b->layer, whole) : NULL;
    if (!pair || pair->rank == 0) return false;
    *lora = (hone_lora){
        .a = &pair->a,
        .b = role == whole ? &pair->b : hone_adapter_part(pair, role),
        .scale = pair->scale,
    };
    if (!b->f->dropout_key) return true;
    lora->dropout = (hone_dropout){
        .key = b->f->dropout_key,
        .records = b->f->tokens->records,
        .positions = b->f->tokens->positions,
        .module = (uint32_t)(b->layer * HONE_LINEARS + (int64_t)whole - HONE_ROLE_LINEAR),
        .rate = adapter->dropout,
    };
    return true;
}

/* The largest rank of the block's factors. */
static int64_t most_rank(const block *b) {
    const hone_adapter *adapter = b->f->adapter;
    int64_t most = 0;
    for (int i = 0; adapter && i < HONE_LINEARS; i++) {
        const hone_lora_pair *pair =
            hone_adapter_pair(adapter, b->layer, (hone_role)(HONE_ROLE_LINEAR + i));
        if (pair && pair->rank > most) most = pair->rank;
    }
    return most;
}

/* What is multiplied by weights of roles like this one is rounded once for all of them, with so much room, where they take it
 * so and nothing of it is dropped for one alone. */
static int64_t operand_room(const block *b, hone_role role) {
    const hone_adapter *adapter = b->f->adapter;
    bool drops = adapter && b->f->dropout_key && adapter->dropout > 0;
    if (drops || !hone_product_takes_rounded(b->f->model->device->kernels, weight(b, role)))
        return HONE_NOT_ROUNDED;
    return most_rank(b);
}

/* Rounds x so, unless it came so. */
static hone_status operand(hone_tensor **x, const block *b, hone_role role) {
    int64_t room = operand_room(b, role);
    if (room == HONE_NOT_ROUNDED || (*x)->dtype == HONE_BF16) return HONE_OK;
    return hone_round(x, b->tape, *x, room);
}

/* Rounded when that is asked for, which takes an x that is and no bias. */
static hone_status linear_to(hone_tensor **y, const block *b, hone_tensor *x, hone_role role,
                             bool rounds) {
    hone_role whole = hone_family_whole(arch_of(b)->family, role);
    hone_lora lora;
    bool adapted = find_lora(&lora, b, role, whole);
    hone_tensor *added = arch_of(b)->biased[whole] ? bias(b, role) : NULL;
    bool trained = added && added->needs_grad;
    if (rounds) return hone_linear_rounded(y, b->tape, x, weight(b, role), adapted ? &lora : NULL);
    HONE_TRY(hone_linear(y, b->tape, x, weight(b, role), adapted ? &lora : NULL,
                         trained ? NULL : added));
    return trained ? hone_bias(y, b->tape, *y, added) : HONE_OK;
}

static hone_status linear(hone_tensor **y, const block *b, hone_tensor *x, hone_role role) {
    return linear_to(y, b, x, role, false);
}

static hone_status normalise(hone_tensor **y, hone_tape *tape, const hone_arch *arch,
                             hone_tensor *x, hone_tensor *gain, hone_tensor *shift, int64_t room) {
    return arch->family->norm == HONE_NORM_LAYER
               ? hone_layernorm(y, tape, x, gain, shift, arch->norm_epsilon)
               : hone_rmsnorm(y, tape, x, gain, arch->norm_epsilon, room);
}

/* Nothing where the family has no such norm. Rounded where a norm can do that, with so much room. */
static hone_status norm_of_operand(hone_tensor **x, const block *b, hone_role role, int64_t room) {
    if (!has(b, role)) return HONE_OK;
    return normalise(x, b->tape, arch_of(b), *x, weight(b, role), bias(b, role), room);
}

static hone_status norm(hone_tensor **x, const block *b, hone_role role) {
    return norm_of_operand(x, b, role, HONE_NOT_ROUNDED);
}

static hone_status rotate(hone_tensor **x, const block *b, int64_t heads) {
    const hone_model *model = b->f->model;
    const hone_arch *arch = &model->arch;
    if (arch->rotated == 0 || (arch->layer[b->layer] & HONE_LAYER_NO_ROPE)) return HONE_OK;
    /* A cache is for one text, whose keys must all be turned alike. */
    int64_t length = b->f->cache ? b->f->cache->capacity : b->f->tokens->longest_k;
    int64_t half = model->rope_positions * arch->rotated / 2;
    const hone_real *cosine = (const hone_real *)model->rope.base +
                              2 * half * hone_arch_rope_table(arch, b->layer, length);
    hone_rope_shape shape = {b->f->tokens->count, heads, arch->head_size, arch->rotated,
                             arch->rope_interleaved};
    return hone_rope(x, b->tape, *x, cosine, cosine + half, b->f->tokens->positions, shape);
}

static hone_status project(hone_tensor **q, hone_tensor **k, hone_tensor **v, const block *b,
                           hone_tensor *x) {
    HONE_TRY(operand(&x, b, HONE_ROLE_Q));
    HONE_TRY(linear(q, b, x, HONE_ROLE_Q));
    HONE_TRY(linear(k, b, x, HONE_ROLE_K));
    HONE_TRY(linear(v, b, x, HONE_ROLE_V));
    HONE_TRY(norm(q, b, HONE_ROLE_Q_NORM));
    HONE_TRY(norm(k, b, HONE_ROLE_K_NORM));
    HONE_TRY(rotate(q, b, arch_of(b)->heads));
    return rotate(k, b, arch_of(b)->kv_heads);
}

/* What is kept of a part of the block that is computed again at `level` and above. */
static void keep_below(const block *b, hone_recompute level) {
    hone_recompute chosen = b->f->recompute;
    hone_keep kept = chosen >= HONE_RECOMPUTE_SELECTIVE ? HONE_KEEP_PRODUCTS : HONE_KEEP_ALL;
    hone_tape_keep(b->tape, chosen >= level ? HONE_KEEP_NOTHING : kept);
}

static hone_status attend(hone_tensor **y, const block *b, hone_tensor *x) {
    const hone_model *model = b->f->model;
    const hone_tokens *tokens = b->f->tokens;
    hone_tensor *q, *k, *v, *o;
    HONE_TRY(project(&q, &k, &v, b, x));
    hone_cache *cache = b->f->cache;
    if (cache) {
        HONE_TRY(hone_store(b->tape, k, &cache->k[b->layer], cache->length));
        HONE_TRY(hone_store(b->tape, v, &cache->v[b->layer], cache->length));
        k = &cache->k[b->layer];
        v = &cache->v[b->layer];
    }
    int64_t longest_q = tokens->room ? tokens->room : tokens->longest_q;
    int64_t longest_k = tokens->room ? tokens->room : tokens->longest_k;
    hone_attention_call call = {
        .segments = tokens->segments,
        .shape = hone_model_attention_shape(model, b->layer),
        .max_q = longest_q,
        .max_k = longest_k,
    };
    call.shape.segments = tokens->segment_count;
    call.shape.kind = cache ? HONE_ATTENTION_EXACT : model->attention;
    call.shape.tokens = tokens->count;
    call.shape.longest = call.max_q > call.max_k ? call.max_q : call.max_k;
    HONE_TRY(hone_attention(&o, b->tape, q, k, v, &call));
    keep_below(b, HONE_RECOMPUTE_FULL);
    HONE_TRY(operand(&o, b, HONE_ROLE_O));
    return linear(y, b, o, HONE_ROLE_O);
}

static bool is_biased(const block *b, hone_role role) {
    return arch_of(b)->biased[hone_family_whole(arch_of(b)->family, role)];
}

/* Gate and up are in bf16 where all that they are made of, and what they make, is. */
static hone_status gated(hone_tensor **act, const block *b, hone_tensor *x,
                         hone_activation_kind kind) {
    hone_tensor *gate, *up;
    int64_t room = operand_room(b, HONE_ROLE_DOWN);
    bool rounds = x->dtype == HONE_BF16 && room != HONE_NOT_ROUNDED &&
                  operand_room(b, HONE_ROLE_GATE) != HONE_NOT_ROUNDED &&
                  !is_biased(b, HONE_ROLE_UP) && !is_biased(b, HONE_ROLE_GATE);
    HONE_TRY(linear_to(&up, b, x, HONE_ROLE_UP, rounds));
    HONE_TRY(linear_to(&gate, b, x, HONE_ROLE_GATE, rounds));
    return hone_gated(act, b->tape, gate, up, kind, room);
}

static hone_status mlp(hone_tensor **y, const block *b, hone_tensor *x) {
    hone_activation_kind kind = arch_of(b)->family->gelu ? HONE_GELU_TANH : HONE_SILU;
    hone_tensor *up, *act;
    HONE_TRY(operand(&x, b, HONE_ROLE_UP));
    if (has(b, hone_family_whole(arch_of(b)->family, HONE_ROLE_GATE))) {
        HONE_TRY(gated(&act, b, x, kind));
    } else {
        HONE_TRY(linear(&up, b, x, HONE_ROLE_UP));
        HONE_TRY(hone_activation(&act, b->tape, up, kind));
    }
    /* Backward reads what comes out of this product only where a norm follows. */
    keep_below(b, has(b, HONE_ROLE_POST_MLP_NORM) ? HONE_RECOMPUTE_FULL : HONE_RECOMPUTES);
    HONE_TRY(operand(&act, b, HONE_ROLE_DOWN));
    return linear(y, b, act, HONE_ROLE_DOWN);
}

/* x += y, which may be scaled first. */
static hone_status residual(hone_tensor **x, const block *b, hone_tensor *y) {
    double scale = arch_of(b)->residual_scale;
    if (scale != 1) HONE_TRY(hone_scale(&y, b->tape, y, scale));
    return hone_add(x, b->tape, *x, y);
}

static hone_status decoder_block(hone_tensor **x, const block *b) {
    hone_tensor *h = *x, *y;
    keep_below(b, HONE_RECOMPUTE_ATTENTION);
    HONE_TRY(norm_of_operand(&h, b, HONE_ROLE_ATTN_NORM, operand_room(b, HONE_ROLE_Q)));
    HONE_TRY(attend(&y, b, h));
    HONE_TRY(norm(&y, b, HONE_ROLE_POST_ATTN_NORM));
    HONE_TRY(residual(x, b, y));
    h = *x;
    HONE_TRY(norm_of_operand(&h, b, HONE_ROLE_MLP_NORM, operand_room(b, HONE_ROLE_UP)));
    HONE_TRY(mlp(&y, b, h));
    HONE_TRY(norm(&y, b, HONE_ROLE_POST_MLP_NORM));
    hone_tape_keep(b->tape, HONE_KEEP_ALL);
    return residual(x, b, y);
}

static hone_status embed(hone_tensor **x, hone_tape *tape, const hone_forward *f) {
    hone_model *model = f->model;
    const hone_tokens *tokens = f->tokens;
    HONE_TRY(
        hone_embedding(x, tape, &model->outer[HONE_OUTER_EMBEDDING], tokens->ids, tokens->count));
    if (model->arch.embedding_scale != 1) {
        HONE_TRY(hone_scale(x, tape, *x, model->arch.embedding_scale));
    }
    if (!model->arch.family->learned_positions) return HONE_OK;
    hone_tensor *place;
    HONE_TRY(hone_embedding(&place, tape, &model->outer[HONE_OUTER_POSITIONS], tokens->positions,
                            tokens->count));
    return hone_add(x, tape, *x, place);
}

hone_status hone_transformer_hidden(hone_tensor **hidden, hone_tape *tape, const hone_forward *f) {
    hone_model *model = f->model;
    hone_tensor *x;
    hone_tape_keep_bf16(tape, f->bf16_activations);
    hone_tape_offload(tape, f->offload);
    HONE_TRY(embed(&x, tape, f));
    for (int64_t layer = 0; layer < model->arch.layers; layer++) {
        block b = {f, tape, layer};
        HONE_TRY(hone_tape_section(tape));
        HONE_TRY(decoder_block(&x, &b));
    }
    HONE_TRY(hone_tape_section(tape));
    HONE_TRY(normalise(hidden, tape, &model->arch, x, &model->outer[HONE_OUTER_NORM],
                       &model->norm_bias, HONE_NOT_ROUNDED));
    if (model->arch.logit_scale == 1) return HONE_OK;
    return hone_scale(hidden, tape, *hidden, model->arch.logit_scale);
}

hone_status hone_transformer_loss(hone_tape *tape, const hone_forward *f,
                                  const hone_loss_call *call) {
    hone_tensor *hidden;
    hone_loss_call capped = *call;
    capped.softcap = f->model->arch.logit_softcap;
    HONE_TRY(hone_transformer_hidden(&hidden, tape, f));
    return hone_cross_entropy(NULL, tape, hidden, hone_model_multiplied_head(f->model), &capped);
}

hone_status hone_transformer_logits(hone_tensor **logits, hone_tape *tape, const hone_forward *f,
                                    const int32_t *rows, int64_t n) {
    hone_tensor *hidden, *chosen;
    HONE_TRY(hone_transformer_hidden(&hidden, tape, f));
    HONE_TRY(hone_gather(&chosen, tape, hidden, rows, n));
    HONE_TRY(hone_linear(logits, tape, chosen, hone_model_multiplied_head(f->model), NULL, NULL));
    double cap = f->model->arch.logit_softcap;
    return cap > 0 ? hone_softcap(logits, tape, *logits, cap) : HONE_OK;
}
