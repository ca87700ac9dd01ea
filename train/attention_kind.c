#include "train/attention_kind.h"

#include "train/compute.h"
#include "train/measured.h"

/* An option's word; "auto" comes before the kinds. */
static hone_attention_kind kind_of(int word) {
    return (hone_attention_kind)(word - 1);
}

/* The first from `kind` on that the device has, of those that round; HONE_ATTENTIONS when there is none. */
static hone_attention_kind next_kind(const hone_run *run, hone_attention_kind kind) {
    while (kind < HONE_ATTENTIONS && hone_model_lacks_attention(run->session.model, kind)) kind++;
    return kind;
}

hone_attention_kind hone_run_likely_attention(const hone_run *run, hone_compute compute) {
    if (run->options->attention > 0) return kind_of(run->options->attention);
    if (compute == HONE_COMPUTE_F32 || compute == HONE_COMPUTE_TF32) return HONE_ATTENTION_EXACT;
    hone_attention_kind first = next_kind(run, HONE_ATTENTION_OWN);
    return first < HONE_ATTENTIONS ? first : HONE_ATTENTION_EXACT;
}

/* All have the same time, so that passes of the same size are compared. */
static hone_status measure(hone_measured *found, const hone_run *run) {
    hone_attention_kind kind = next_kind(run, HONE_ATTENTION_OWN);
    *found = (hone_measured){0};
    HONE_TRY(hone_model_rope(run->session.model, run->options->seq_len));
    while (kind < HONE_ATTENTIONS) {
        double seconds;
        hone_model_attention(run->session.model, kind);
        HONE_TRY(hone_run_time_token(&seconds, run, HONE_ATTENTION_SECONDS));
        bool works = seconds > 0;
        if (works && (found->word == 0 || seconds < found->token_seconds))
            *found = (hone_measured){1 + (int)kind, seconds};
        kind = next_kind(run, kind + 1);
    }
    if (found->word == 0) found->word = 1 + HONE_ATTENTION_EXACT;
    return HONE_OK;
}

/* The fastest, as it was measured before or is now. */
static hone_status find_fastest(hone_run *run) {
    hone_buf key = {0};
    hone_status status = hone_run_measured_key(&key, run);
    if (status == HONE_OK) status = hone_buf_puts(&key, " attention");
    hone_measured found = {0};
    if (status == HONE_OK) found = hone_measured_recall(key.data, hone_attention_names);
    bool known =
        found.word > 0 && !hone_model_lacks_attention(run->session.model, kind_of(found.word));
    if (status == HONE_OK && !known) {
        status = measure(&found, run);
        if (status == HONE_OK) hone_measured_remember(key.data, hone_attention_names, found);
    }
    hone_buf_free(&key);
    HONE_TRY(status);
    run->attention = kind_of(found.word);
    run->token_seconds = found.token_seconds;
    return HONE_OK;
}

/* The first process measures for all. */
static hone_status find_together(hone_run *run) {
    HONE_TRY(hone_group_agree(&run->group, hone_run_leads(run) ? find_fastest(run) : HONE_OK));
    double kind = run->attention;
    HONE_TRY(hone_group_follow(&run->group, &kind));
    run->attention = (hone_attention_kind)kind;
    return HONE_OK;
}

static hone_status check(const hone_run *run) {
    const char *name = hone_attention_names[1 + run->attention];
    const char *why = hone_model_lacks_attention(run->session.model, run->attention);
    if (!why) return HONE_OK;
    const char *instead = run->found.plan ? "resume where the run began, or start a new one"
                                          : "leave it out, or use --attention own";
    if (hone_device_is_host(&run->session.device))
        return hone_fail(HONE_ERR_USAGE,
                         "attention = %s is a GPU's, and this run computes on the processor, whose "
                         "attention is exact: leave it out, or use --device cuda",
                         name);
    return hone_fail(HONE_ERR_USAGE, "attention = %s: %s; %s", name, why, instead);
}

hone_status hone_run_settle_attention(hone_run *run) {
    run->attention = hone_run_likely_attention(run, run->compute);
    bool asked = run->options->attention > 0;
    if (!asked && run->found.plan) {
        HONE_TRY(hone_run_recorded_attention(&run->attention, run));
    } else if (!asked && run->attention != HONE_ATTENTION_EXACT && !hone_run_is_small(run) &&
               next_kind(run, run->attention + 1) < HONE_ATTENTIONS) {
        HONE_TRY(find_together(run));
    }
    HONE_TRY(check(run));
    hone_model_attention(run->session.model, run->attention);
    return HONE_OK;
}
