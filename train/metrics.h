/*
 * The metrics of a run: metrics.jsonl, one JSON object a line, and the same numbers as a TensorBoard event file.
 *
 * Lines are appended and flushed one by one. `--resume` cuts the file back to the checkpoint's step first. A loop that
 * evaluates and saves at the same step must evaluate first: lines up to and including the checkpoint's step are kept.
 */
#ifndef HONE_TRAIN_METRICS_H
#define HONE_TRAIN_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct hone_step_metrics {
    int64_t step; /* the first is 1 */
    double loss;  /* mean over the supervised tokens of the step */
    double lr;
    double grad_norm; /* before clipping */
    int64_t tokens;
    int64_t supervised_tokens;
    double seconds; /* of this step */
    double tokens_per_second;
    int64_t peak_bytes; /* hone_device_used, so far */
} hone_step_metrics;

typedef struct hone_eval_metrics {
    int64_t step; /* after how many steps; 0 is before training */
    double eval_loss;
    int64_t eval_tokens; /* supervised */
    double eval_seconds;
} hone_eval_metrics;

typedef struct hone_metrics hone_metrics;

/* Opens `folder`/metrics.jsonl for appending (0600) and starts a new `folder`/events.out.tfevents.* file. */
HONE_MUST_USE hone_status hone_metrics_open(hone_metrics **out, const char *folder);

/* Write one line each, numbers with nine significant digits, NaN and infinity as null. */
HONE_MUST_USE hone_status hone_metrics_step(hone_metrics *metrics, const hone_step_metrics *step);
HONE_MUST_USE hone_status hone_metrics_eval(hone_metrics *metrics, const hone_eval_metrics *eval);

/* Syncs both files to disk: before a checkpoint that stands for these lines. */
HONE_MUST_USE hone_status hone_metrics_sync(hone_metrics *metrics);
void hone_metrics_free(hone_metrics *metrics); /* takes NULL */

/* Cuts `folder`/metrics.jsonl back to its lines with step <= `step`; a last line that a crash cut short goes too. The
 * file is replaced whole. A missing file is fine. To be called before hone_metrics_open. */
HONE_MUST_USE hone_status hone_metrics_resume(const char *folder, int64_t step);

/* Everything in `folder`/metrics.jsonl, in file order. Owned by the struct. */
typedef struct hone_metrics_history {
    hone_step_metrics *steps;
    size_t step_count, step_capacity;
    hone_eval_metrics *evals;
    size_t eval_count, eval_capacity;
} hone_metrics_history;

HONE_MUST_USE hone_status hone_metrics_read(hone_metrics_history *out, const char *folder);
void hone_metrics_history_free(hone_metrics_history *history); /* takes a zeroed one */

#endif
