#include "train/merge_change.h"

static hone_status loss_of(hone_evaluation *out, hone_model *model, const hone_adapter *adapter,
                           const hone_samples *samples, hone_split split, int64_t bins) {
    hone_evaluator *evaluator;
    HONE_TRY(hone_evaluator_new(&evaluator, model, adapter, samples, split));
    hone_status status = hone_evaluate_part(out, evaluator, bins);
    hone_evaluator_free(evaluator);
    return status;
}

hone_status hone_merge_change_measure(hone_merge_change *out, hone_session *session,
                                      const char *merged, int64_t bins) {
    const hone_samples *samples = session->samples;
    out->held_out = hone_samples_split(samples, true)->supervised > 0;
    hone_split split = out->held_out ? HONE_SPLIT_EVAL : HONE_SPLIT_ALL;
    HONE_TRY(loss_of(&out->before, session->model, session->adapter, samples, split, bins));
    hone_model *written;
    HONE_TRY(hone_model_open(&written, merged, &session->device));
    hone_status status = loss_of(&out->after, written, NULL, samples, split, bins);
    hone_model_close(written);
    return status;
}
