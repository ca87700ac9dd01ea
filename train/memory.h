/*
 * What a run holds in memory when it holds most.
 *
 * The promise of --memory is kept by knowing: the tape is planned without data, which gives the arena to the byte; what
 * the program has already is asked of the system; the rest is buffers whose sizes are known. Evaluation works in the
 * arena of the step, as the two never run at once.
 */
#ifndef HONE_TRAIN_MEMORY_H
#define HONE_TRAIN_MEMORY_H

#include <stdint.h>

#include "model/transformer.h"

/* All in bytes. */
typedef struct hone_memory {
    int64_t program; /* code, tokenizer, tables of the data */
    int64_t weights; /* frozen: mapped, and their copies in int8 or bf16 */
    int64_t trained; /* parameters, gradients, moments; with early stopping the best parameters */
    int64_t passing; /* the part of it that is gone after the steps */
    int64_t step;    /* arena of a step: activations, their gradients, workspaces */
    int64_t evaluation; /* arena of an evaluation: only the larger of the two is taken */
    int64_t batches;    /* ids, masks and places of the tokens */
    int64_t libraries;  /* what oneDNN packs matrices into, and HDF5 writes from */
    int64_t answers;    /* of the report, after the steps: in place of the arena and the moments */
    int64_t opening;    /* of a GPU: what was taken when most was, before the run was planned */
    int64_t total;
    int64_t host; /* what a GPU's run keeps in the machine's memory: no part of the total */
} hone_memory;

/* Sets *out to `fixed` with what a step of `rows` rows of `seq_len` tokens takes besides, by planning it on `tape`. When
 * that is beyond `limit` in any case, the arena is not laid out and the numbers are the least that it may come to. */
HONE_MUST_USE hone_status hone_memory_plan(hone_memory *out, hone_tape *tape,
                                           const hone_memory *fixed, const hone_forward *forward,
                                           int64_t rows, int64_t seq_len, int64_t limit);

/* Sets the total. */
void hone_memory_add_up(hone_memory *memory);

/* Frozen weights of a model: those that are trained are no part of it. */
int64_t hone_memory_weights(const hone_model *model);

/* What the process holds now besides the weights and parameters. Of a GPU, what buffers hold besides the weights and the
 * `counted` bytes, of those that were taken for the run before: there memory counts when it is taken, not when it is used. */
int64_t hone_memory_program(const hone_model *model, const hone_params *params, int64_t counted);

#endif
