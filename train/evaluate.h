/*
 * Evaluation: the mean negative log-likelihood per supervised token over a split, each record whole, from its first
 * token.
 */
#ifndef HONE_TRAIN_EVALUATE_H
#define HONE_TRAIN_EVALUATE_H

#include "kernels/group.h"
#include "train/device_batch.h"

typedef struct hone_evaluation {
    double loss;    /* nat per supervised token */
    int64_t tokens; /* supervised */
    int64_t all_tokens;
    double seconds;
} hone_evaluation;

typedef struct hone_evaluator hone_evaluator;

/* Over the samples of a split. Everything is borrowed. HONE_ERR_DATA when the split is empty. `adapter` may be NULL. */
HONE_MUST_USE hone_status hone_evaluator_new(hone_evaluator **out, hone_model *model,
                                             const hone_adapter *adapter,
                                             const hone_samples *samples, hone_split split);
void hone_evaluator_free(hone_evaluator *evaluator); /* takes NULL */

/* Has as many tokens go through the model at once as `bytes` of an arena allow, up to what is usual; if need be the
 * longest sample alone, whatever that takes. The loss changes by rounding at most. Before memory is shared or taken. */
HONE_MUST_USE hone_status hone_evaluator_fit(hone_evaluator *evaluator, size_t bytes);

/* Bytes of the arena that it works in, and of the batches that it holds besides. */
size_t hone_evaluator_arena_bytes(const hone_evaluator *evaluator);
size_t hone_evaluator_batch_bytes(const hone_evaluator *evaluator);

/* Lets it work in memory that is used for other things at other times: borrowed, of hone_evaluator_arena_bytes() at
 * least. Without, it takes its own at the first evaluation. */
void hone_evaluator_share(hone_evaluator *evaluator, const hone_buffer *arena);

/* Has each process of a group (borrowed) evaluate a part of the bins: all of them get the loss of the whole. */
void hone_evaluator_divide(hone_evaluator *evaluator, const hone_group *group);

/* HONE_ERR_NUMERIC when the loss is no finite number. */
HONE_MUST_USE hone_status hone_evaluate(hone_evaluation *out, hone_evaluator *evaluator);

/* As above over the first `most` bins of 1,024 tokens (fewer after hone_evaluator_fit) or a longer record, in an order that the samples alone decide;
 * 0: over all. */
HONE_MUST_USE hone_status hone_evaluate_part(hone_evaluation *out, hone_evaluator *evaluator,
                                             int64_t most);

#endif
