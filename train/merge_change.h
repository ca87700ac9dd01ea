/*
 * What merging and quantising did to a model: the loss of the file that was written beside that of the model it was
 * written from, on the same records.
 */
#ifndef HONE_TRAIN_MERGE_CHANGE_H
#define HONE_TRAIN_MERGE_CHANGE_H

#include "train/evaluate.h"
#include "train/session.h"

typedef struct hone_merge_change {
    hone_evaluation before; /* base, with the adapter if there is one */
    hone_evaluation after;  /* the written model, opened anew */
    bool held_out;          /* on the held-out records; else on all */
} hone_merge_change;

/* Evaluates the session's model and the one at `merged` on the session's samples, on the held-out ones if there are any,
 * up to `bins` bins of about 1,024 tokens (0: all). */
HONE_MUST_USE hone_status hone_merge_change_measure(hone_merge_change *out, hone_session *session,
                                                    const char *merged, int64_t bins);

#endif
