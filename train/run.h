/*
 * The state of a training run, shared by the files that make it up. Not for callers of hone_train.
 */
#ifndef HONE_TRAIN_RUN_H
#define HONE_TRAIN_RUN_H

#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/exchange.h"
#include "train/optimizer.h"
#include "train/passes.h"
#include "train/plan.h"
#include "train/profile.h"
#include "train/session.h"
#include "train/trainer.h"

enum { HONE_RUN_SHOWN_TOKENS = 96, HONE_RUN_GROUPS = 4 }; /* of an answer in the report; below */

/* A buffer that is saved as one tensor per parameter. Where the host cannot read it, checkpoints go by a copy. */
typedef struct hone_run_group {
    const char *name;
    const hone_buffer *buffer;
    float *copy; /* owned */
} hone_run_group;

typedef struct hone_run {
    hone_train_options resolved;       /* a copy that shares its texts with the caller's */
    const hone_train_options *options; /* = &resolved */
    const hone_train_observer *observer;
    hone_rank rank;   /* of this process */
    hone_group group; /* of all of them */
    hone_exchange exchange;
    bool stopping; /* a signal came to one of them */
    hone_session session;
    int64_t small;        /* parameters of a model that `auto` does not measure; tests lower it */
    double auto_seconds;  /* that it may take; tests lower it */
    hone_compute compute; /* that the run settled on */
    char why[HONE_COMPUTE_WHY];
    hone_attention_kind attention; /* that it settled on */
    double token_seconds;          /* by hone_plan_cost, as `auto` measured it; 0: it did not */
    hone_params *params;           /* of the adapter or of the whole model */
    hone_loader *loader;
    hone_evaluator *evaluator; /* NULL: nothing is held out */
    hone_batch host;
    struct { /* what `host` holds beforehand: `rows` from a cursor on; none: 0 */
        hone_cursor from, to;
        int64_t rows;
    } ahead;
    hone_device_batch batch;
    hone_passes passes;
    hone_plan plan;
    int64_t limit;     /* bytes that may be taken */
    hone_buffer arena; /* of steps and evaluations */
    hone_tape *tape;
    hone_forward forward;
    hone_optimizer optimizer;
    hone_buffer dropout_key; /* one uint64_t */
    hone_buffer best;        /* the parameters at the best evaluation; with early stopping only */
    hone_metrics *metrics;
    hone_profile *profile; /* NULL: nobody asked for one */
    hone_checkpoint_state state;
    hone_run_group groups[HONE_RUN_GROUPS]; /* those that there are, first */
    hone_checkpoint_tensor *saved;          /* owned: what a checkpoint holds, where it lies */
    size_t saved_count;
    float *saved_scales; /* owned */
    char **saved_names;
    hone_checkpoint_state found; /* of the checkpoint that is gone on from; zeroed without one */
    char *found_path;            /* owned */
    hone_buf file;               /* what run.yaml is to hold */
    bool has_checkpoint;
    int64_t saved_step; /* of it */
    int64_t steps;      /* of the whole run */
    bool made_folder;   /* by this process; removed again when the run cannot start */
    bool started;       /* everything is open: the folder stays */
    bool no_gguf;       /* GGUF cannot say what is trained: model/ or adapter/ alone is written */
    double saved_at;    /* clock of the last checkpoint */
    hone_train_result result;
} hone_run;

/* --- opening (train/run_open.c) --- */

/* An empty run of these options, which are borrowed with the observer. */
HONE_MUST_USE hone_status hone_run_new(hone_run **out, const hone_train_options *options,
                                       const hone_train_observer *observer);
void hone_run_free(hone_run *run); /* takes NULL */

/* Makes the folders (none without `out`), opens model, parameters and data, resolves the number of steps, and plans the
 * memory. */
HONE_MUST_USE hone_status hone_run_open(hone_run *run, bool resume);

/* --- planning (train/plan.c) --- */

/* Chooses run->plan, or takes that of the checkpoint that was found, and leaves the tape with it; says what would fit when
 * it does not. */
HONE_MUST_USE hone_status hone_run_plan(hone_run *run);
/* Tells the observer (train/plan_report.c). */
HONE_MUST_USE hone_status hone_run_tell_plan(const hone_run *run);
/* Takes all memory of the plan, its pages too; opens the optimiser in it. */
HONE_MUST_USE hone_status hone_run_commit(hone_run *run);

/* --- the plan in writing (train/plan_record.c) --- */

/* Sets the part of run->state that is known before the first step, all but the model's hash, and what run.yaml is to hold. */
HONE_MUST_USE hone_status hone_run_describe(hone_run *run);
/* What the checkpoint that was found was planned with. */
HONE_MUST_USE hone_status hone_run_recorded_plan(hone_plan *out, const hone_run *run);
HONE_MUST_USE hone_status hone_run_recorded_compute(hone_compute *out, const hone_run *run);
/* That it was found with as many processes as there are now. */
HONE_MUST_USE hone_status hone_run_check_ranks(const hone_run *run);
/* That all processes have planned the same. */
HONE_MUST_USE hone_status hone_run_compare_plans(const hone_run *run);
HONE_MUST_USE hone_status hone_run_recorded_attention(hone_attention_kind *out,
                                                      const hone_run *run);
/* That it says all that hone_run_describe has set: one of an earlier version may not. */
HONE_MUST_USE hone_status hone_run_check_names(const hone_run *run);
/* Writes run.yaml. */
HONE_MUST_USE hone_status hone_run_write_plan(const hone_run *run);

/* --- checkpoints (train/run_state.c) --- */

/* Looks for the newest checkpoint of the run's folder. */
HONE_MUST_USE hone_status hone_run_find_checkpoint(hone_run *run);
/* Names what a checkpoint holds. */
HONE_MUST_USE hone_status hone_run_state_prepare(hone_run *run);
HONE_MUST_USE hone_status hone_run_save(hone_run *run);
/* Goes on from the checkpoint that was found, when it belongs to this run. */
HONE_MUST_USE hone_status hone_run_restore(hone_run *run);

/* --- results (train/run_files.c) --- */

/* Looks, before the first step, whether a model that is trained in full can be written as GGUF; says so when not. */
HONE_MUST_USE hone_status hone_run_check_files(hone_run *run);

/* Writes the adapter or model, Modelfile, profile.json when there is a profile, and report. */
HONE_MUST_USE hone_status hone_run_write_files(hone_run *run);

/* "<out>/<name>", owned by the caller. */
char *hone_run_path(const hone_run *run, const char *name);

/* Whether this process is the one that writes files. */
static inline bool hone_run_leads(const hone_run *run) {
    return run->rank.rank == 0;
}

/* Rows of a step, in all processes. */
static inline int64_t hone_run_rows(const hone_run *run) {
    return run->options->batch_size * run->options->accumulation * run->rank.size;
}

void hone_run_say(const hone_run *run, const char *format, ...) HONE_PRINTF(2, 3);

#endif
