/*
 * The forward pass, written once: training, evaluation and generation build it on a tape.
 */
#ifndef HONE_MODEL_TRANSFORMER_H
#define HONE_MODEL_TRANSFORMER_H

#include "autograd/ops.h"
#include "model/lora.h"
#include "model/model.h"

/* Keys and values of the tokens so far, one pair of tensors a block. */
typedef struct hone_cache {
    hone_tensor *k, *v; /* owned, [L] each: [capacity, K*D] */
    hone_buffer memory;
    int64_t capacity; /* tokens */
    int64_t length;   /* tokens held */
} hone_cache;

HONE_MUST_USE hone_status hone_cache_new(hone_cache *out, const hone_model *model,
                                         int64_t capacity);
void hone_cache_free(hone_cache *cache);

/* What the tape reads: packed documents in device memory. */
typedef struct hone_tokens {
    int64_t count;            /* T */
    const int32_t *ids;       /* [T] */
    const int32_t *positions; /* [T] */
    const uint32_t *records;  /* [T], for dropout; may be NULL without it */
    int64_t segment_count;
    const hone_segment *segments; /* [segment_count] */
    int64_t longest_q, longest_k; /* of the segments; in a plan, of those that may come */
    int64_t room; /* of any segment that these arrays may come to hold; 0: as the longest now */
} hone_tokens;

/* What backward computes again in every block instead of finding it kept: each more than the one before, in less memory
 * and more time, with the same bits as long as activations are kept in f32. */
typedef enum hone_recompute {
    HONE_RECOMPUTE_NONE,
    HONE_RECOMPUTE_SELECTIVE, /* outputs of norms and of the gated activation: no product */
    HONE_RECOMPUTE_ATTENTION, /* these, and q, k, v and the attention's output */
    HONE_RECOMPUTE_FULL,      /* all but the block's input */
    HONE_RECOMPUTES,
} hone_recompute;

typedef struct hone_forward {
    hone_model *model;
    const hone_adapter *adapter; /* may be NULL */
    const hone_tokens *tokens;
    hone_cache *
        cache; /* may be NULL; else the new keys and values are appended by the caller's segments */
    const uint64_t *dropout_key; /* in device memory; NULL: no dropout */
    hone_recompute recompute;
    bool
        bf16_activations; /* what backward reads of norms, products and gated activations is kept in bf16 */
    bool offload; /* what backward reads of a block lies on the host meanwhile; with a GPU only */
} hone_forward;

/* hidden [T,C]: what the final norm gives, times the logits' scale where there is one. */
HONE_MUST_USE hone_status hone_transformer_hidden(hone_tensor **hidden, hone_tape *tape,
                                                  const hone_forward *forward);

/* Head and loss on top of it. */
HONE_MUST_USE hone_status hone_transformer_loss(hone_tape *tape, const hone_forward *forward,
                                                const hone_loss_call *call);

/* logits [n,V] of the rows `rows` [n] (device memory). */
HONE_MUST_USE hone_status hone_transformer_logits(hone_tensor **logits, hone_tape *tape,
                                                  const hone_forward *forward, const int32_t *rows,
                                                  int64_t n);

#endif
