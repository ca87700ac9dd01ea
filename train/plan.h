/*
 * The plan of a run: how many rows go through the model at once, and what backward computes again, so that the run is
 * as fast as it can be in the memory it may take.
 *
 * Every combination has a cost, in units of the arithmetic of a step that keeps all and has no end of rows:
 *
 *     cost = work[recompute] (1.04 with activations in bf16) (1 + 32 / tokens of a pass)
 *
 * The first factor is the arithmetic that recomputation adds, the second the time of rounding; the last says that each pass
 * reads (unpacks, packs) every weight once, which takes about as long as the products of 32 tokens. The cheapest that fits
 * is taken, so that more memory never gives a slower plan. What a GPU has no room for even so may go to the memory of the
 * machine (hone_offload): first the moments, then activations, then both. Recomputation and offloading change no bit of a plan in f32; bf16
 * and how a step is cut into passes change rounding.
 */
#ifndef HONE_TRAIN_PLAN_H
#define HONE_TRAIN_PLAN_H

#include "train/memory.h"
#include "train/trainer.h"

typedef struct hone_plan {
    hone_recompute recompute;
    bool bf16;           /* activations are kept in bf16 */
    int64_t micro_batch; /* rows of a pass */
    int64_t passes;      /* of a step */
    hone_offload offload;
    double cost;
    hone_memory memory;
} hone_plan;

/* What may be chosen from. */
typedef struct hone_plan_scope {
    hone_forward forward;
    int64_t seq_len;
    int64_t batch;         /* most rows of a pass */
    int64_t rows;          /* of a step */
    int recompute;         /* hone_recompute, or HONE_RECOMPUTE_AUTO */
    int activations;       /* hone_activations */
    int offload;           /* hone_offload */
    const hone_plan *made; /* all but what is offloaded is as there; NULL: open */
    int64_t elements;      /* that are trained: of their moments */
    int64_t limit;         /* bytes that may be taken */
    hone_memory fixed;     /* what does not depend on the choice, moments aside; the rest is 0 */
} hone_plan_scope;

/* The arithmetic of a token, as above, in units. */
double hone_plan_cost(hone_recompute recompute, bool bf16, int64_t tokens);

/* Chooses, with `tape` for planning. When nothing fits, memory.total is above the limit: it is the smallest that there is. */
HONE_MUST_USE hone_status hone_plan_choose(hone_plan *out, hone_tape *tape,
                                           const hone_plan_scope *scope);

enum { HONE_COMPUTE_WHY = 96 }; /* bytes for the reason of a way to compute */

/* What the arena of a step holds when it is fullest, by name. */
enum { HONE_PLAN_ITEMS = 32 };
typedef struct hone_plan_item {
    const char *name;
    int64_t bytes;
} hone_plan_item;

/* What `hone plan` shows of a run that is not made, and `hone train` of its own before the first step. */
typedef struct hone_plan_report {
    hone_plan plan;
    hone_compute compute; /* never auto */
    hone_attention_kind attention;
    char why[HONE_COMPUTE_WHY];
    const char *kernels;
    char no_gpu[HONE_DEVICE_DOUBT]; /* as hone_device has it */
    int threads;
    int64_t limit;                         /* bytes that the run may take */
    int64_t steps, rows_per_step, seq_len; /* rows of all GPUs */
    int gpus;                              /* processes with one each; 1 on the processor, too */
    double tokens_per_step;                /* real ones: rows are not quite full */
    double
        seconds_per_step; /* measured on a part of the model, without sums over GPUs; 0: not known */
    hone_plan_item items[HONE_PLAN_ITEMS];
    size_t item_count;
} hone_plan_report;

/* Opens everything that a run of these options would (`out` may be NULL), plans it, and measures for two seconds at
 * most how long a step takes. Fails as the run would. */
HONE_MUST_USE hone_status hone_plan_report_make(hone_plan_report *out,
                                                const hone_train_options *options,
                                                const hone_train_observer *observer);

#endif
