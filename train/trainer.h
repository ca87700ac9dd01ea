/*
 * A training run, from options to the files of the run folder.
 *
 *     open model, adapter, tokenizer, data  ->  plan memory and write run.yaml  ->  steps, evaluations, checkpoints
 *     ->  adapter/, adapter.gguf, Modelfile, report.html (or model/ and model.gguf when all parameters are trained)
 *
 * A crash at any instant leaves a folder that `resume` goes on from; the result is then the same, bit for bit.
 */
#ifndef HONE_TRAIN_TRAINER_H
#define HONE_TRAIN_TRAINER_H

#include <signal.h>

#include "train/distributed.h"
#include "train/metrics.h"
#include "train/options.h"
#include "train/report.h"

struct hone_plan_report;

/* What a run tells while it goes, and is told from outside. Any may be NULL. */
typedef struct hone_train_observer {
    const hone_rank *
        rank; /* which of the run's processes this one is; NULL: the only one. The first alone writes files. */
    void *context;
    void (*message)(void *context, const char *text); /* one line for a person */
    /* Before the first step (train/plan.h). Its time is what `auto` has measured, or comes of a few hundredths of a second
     * in a small model. */
    void (*plan)(void *context, const struct hone_plan_report *plan);
    void (*step)(void *context, const hone_step_metrics *step, int64_t steps, double seconds_left);
    void (*eval)(void *context, const hone_eval_metrics *eval);
    /* When all files but the report are there, to begin a check of them; the hash is the base's. Its end is waited for: *rows,
     * borrowed until the run ends, go into the report. Both or none. */
    void (*verify)(void *context, const hone_train_options *options, const char *model_hash);
    void (*verified)(void *context, hone_report_table *rows);
    /* At the end, where the time of the steps went, as lines of text (train/profile.h). With it the run is timed and
     * leaves profile.json. */
    void (*profile)(void *context, const char *table);
    const volatile sig_atomic_t *stop; /* a signal's number once it came; NULL: never */
} hone_train_observer;

typedef struct hone_train_result {
    int64_t steps; /* done, those before a resume included */
    int64_t planned_steps;
    int64_t resumed_from; /* -1: a new run */
    double first_loss, last_loss;
    bool has_eval;
    double eval_loss_before, eval_loss; /* before the first step; at the end */
    double seconds;                     /* in steps, of this process */
    int64_t tokens;                     /* trained on, of the whole run */
    double tokens_per_second;
    int64_t planned_bytes, peak_bytes; /* of memory */
    double int8_outliers;              /* as of hone_model_int8_outliers, of this process */
    bool stopped_early;
} hone_train_result;

/* Runs, or with `resume` goes on from the newest checkpoint of options->out (from the start when there is none).
 * HONE_ERR_INTERRUPTED after a signal, saved. */
HONE_MUST_USE hone_status hone_train(hone_train_result *out, const hone_train_options *options,
                                     bool resume, const hone_train_observer *observer);

#endif
