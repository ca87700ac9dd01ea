#include <math.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/parallel.h"
#include "train/attention_kind.h"
#include "train/compute.h"

static hone_status make_folders(hone_run *run, bool resume) {
    const char *out = run->options->out;
    if (!out || !hone_run_leads(run)) return HONE_OK;
    run->made_folder = !hone_path_exists(out);
    if (!resume && !run->made_folder) {
        return hone_fail(
            HONE_ERR_USAGE,
            "%s: exists already; choose another --out, or go on with that run by --resume", out);
    }
    HONE_TRY(hone_dir_make(out));
    char *checkpoints = hone_run_path(run, "checkpoints");
    hone_status status = checkpoints ? hone_dir_make(checkpoints) : HONE_ERR_MEMORY;
    hone_free(checkpoints);
    return status;
}

static hone_status open_records(hone_run *run) {
    const hone_train_options *o = run->options;
    hone_session *s = &run->session;
    hone_samples_options how = {
        .seq_len = o->seq_len,
        .overlong = (hone_overlong)o->too_long,
        .train_on = (hone_train_on)o->train_on,
        .eval_fraction = o->eval_fraction,
    };
    if (!o->out) return hone_session_open_data(s, o->data, NULL, &how);
    char *import_to = hone_run_path(run, "data.h5");
    hone_status status =
        import_to ? hone_session_open_data(s, o->data, import_to, &how) : HONE_ERR_MEMORY;
    hone_free(import_to);
    return status;
}

/* The first process imports them and makes the cache of tokens; the others then find both. */
static hone_status open_records_in_turn(hone_run *run) {
    hone_status status = hone_run_leads(run) ? open_records(run) : HONE_OK;
    HONE_TRY(hone_group_agree(&run->group, status));
    /* All have them before the first goes on, which takes them away where it fails. */
    status = hone_run_leads(run) ? HONE_OK : open_records(run);
    return hone_group_agree(&run->group, status);
}

/* Children of one process divide what it may use, where nothing else is said. */
static int64_t threads_of(const hone_run *run) {
    if (run->options->threads > 0 || run->rank.local < 2) return run->options->threads;
    hone_threads_set(0);
    int part = hone_threads() / run->rank.local;
    return part > 0 ? part : 1;
}

/* With the group of all processes, which begins when each has its device. */
static hone_status open_session(hone_run *run) {
    const hone_train_options *o = run->options;
    hone_session *s = &run->session;
    bool several = run->observer->rank && run->rank.size > 1;
    hone_device_kind kind = several ? HONE_DEVICE_CUDA : (hone_device_kind)o->device;
    HONE_TRY(hone_session_open(s, kind, run->rank.gpu, o->model, o->from_scratch, o->template,
                               threads_of(run), (uint64_t)o->seed, o->adapter != NULL));
    run->resolved.device = (int)s->device.kind;
    /* What is measured on a GPU is not disturbed by it. */
    if (hone_run_leads(run) && !hone_device_is_host(&s->device)) hone_session_begin_hash(s);
    if (several) HONE_TRY(hone_rank_join(&run->group, &run->rank, o->out));
    HONE_TRY(hone_chat_template_set(s->chat, o->template_vars));
    if (o->date) HONE_TRY(hone_chat_template_date(s->chat, o->date));
    run->resolved.date = (char *)(uintptr_t)hone_chat_template_day(s->chat);
    if (o->seq_len > s->model->arch.context) {
        return hone_fail(HONE_ERR_USAGE,
                         "seq_len %lld is more than the model's context of %lld tokens",
                         (long long)o->seq_len, (long long)s->model->arch.context);
    }
    return open_records_in_turn(run);
}

/* Rank and alpha are the given adapter's: options that ask for others are refused, not ignored. */
static hone_status adopt_adapter(hone_run *run) {
    hone_train_options *o = &run->resolved;
    const hone_adapter *adapter = run->session.adapter;
    hone_train_options defaults;
    HONE_TRY(hone_train_options_default(&defaults));
    int64_t default_rank = defaults.rank;
    double default_alpha = defaults.alpha;
    hone_train_options_free(&defaults);
    const hone_lora_pair *pair = adapter->pairs;
    while (pair->rank == 0) pair++; /* an adapter has one pair at least */
    double alpha = pair->scale * (double)pair->rank;
    if ((o->rank != default_rank && o->rank != pair->rank) ||
        (o->alpha != default_alpha && fabs(o->alpha - alpha) > 1e-6 * alpha)) {
        return hone_fail(HONE_ERR_USAGE,
                         "%s: has rank %lld and alpha %g; leave --rank and --alpha out, or start "
                         "without --adapter",
                         o->adapter, (long long)pair->rank, alpha);
    }
    o->rank = pair->rank;
    o->alpha = alpha;
    return HONE_OK;
}

static hone_status open_parameters(hone_run *run) {
    const hone_train_options *o = run->options;
    hone_session *s = &run->session;
    if (o->from_scratch) {
        run->params = &s->model->params;
        return HONE_OK;
    }
    if (o->full) {
        HONE_TRY(hone_model_train_all(s->model));
        run->params = &s->model->params;
        return HONE_OK;
    }
    if (o->adapter) {
        hone_buf warning = {0};
        hone_status status = hone_session_open_adapter(s, &warning, o->adapter);
        if (warning.length > 0) hone_run_say(run, "%s", warning.data);
        hone_buf_free(&warning);
        HONE_TRY(status);
        HONE_TRY(adopt_adapter(run));
    } else {
        HONE_TRY(hone_adapter_new(&s->adapter, s->model, o->targets, o->rank, o->alpha,
                                  (uint64_t)o->seed));
    }
    s->adapter->dropout = o->dropout;
    run->params = &s->adapter->params;
    return HONE_OK;
}

static int64_t at_most(int64_t n, int64_t limit) {
    return n < limit ? n : limit;
}

/* No row goes into a step twice; and unless the passes are given, few records are gone through more often. */
static hone_status resolve_steps(hone_run *run) {
    enum { FEWEST_STEPS = 100, FEWEST_EPOCHS = 3, MOST_EPOCHS = 50 };
    hone_train_options *o = &run->resolved;
    int64_t bins = hone_loader_bins(run->loader), ranks = run->rank.size;
    if (bins < ranks)
        return hone_fail(HONE_ERR_DATA,
                         "the records fill %lld rows of %lld tokens, which is less than one for "
                         "each of %lld GPUs: use fewer GPUs, or shorter rows (--seq-len)",
                         (long long)bins, (long long)o->seq_len, (long long)ranks);
    if (hone_run_rows(run) > bins) {
        o->batch_size = at_most(o->batch_size, bins / ranks);
        o->accumulation = at_most(o->accumulation, bins / (o->batch_size * ranks));
        hone_run_say(run, "data: fills %lld rows of %lld tokens: a step takes %lld",
                     (long long)bins, (long long)o->seq_len, (long long)hone_run_rows(run));
    }
    int64_t bins_a_step = hone_run_rows(run);
    if (o->epochs == 0) {
        int64_t wanted = (FEWEST_STEPS * bins_a_step + bins - 1) / bins;
        o->epochs = wanted < FEWEST_EPOCHS ? FEWEST_EPOCHS : at_most(wanted, MOST_EPOCHS);
    }
    run->steps = o->steps > 0 ? o->steps : (o->epochs * bins + bins_a_step - 1) / bins_a_step;
    return HONE_OK;
}

static hone_status open_data(hone_run *run) {
    const hone_train_options *o = run->options;
    const hone_session *s = &run->session;
    HONE_TRY(
        hone_loader_new(&run->loader, s->samples, HONE_SPLIT_TRAIN, o->seq_len, (uint64_t)o->seed));
    HONE_TRY(resolve_steps(run));
    if (hone_samples_split(s->samples, true)->samples > 0) {
        HONE_TRY(
            hone_evaluator_new(&run->evaluator, s->model, s->adapter, s->samples, HONE_SPLIT_EVAL));
    }
    const hone_samples_ledger *ledger = hone_samples_ledger_of(s->samples);
    hone_run_say(run, "data: %lld records, %lld samples, %lld tokens, %lld of them supervised",
                 (long long)ledger->records, (long long)ledger->samples, (long long)ledger->tokens,
                 (long long)ledger->supervised);
    if (ledger->overlong || ledger->unsupervised) {
        hone_run_say(run,
                     "data: %lld too long (%lld truncated, %lld split, %lld dropped), %lld without "
                     "anything to learn",
                     (long long)ledger->overlong, (long long)ledger->truncated,
                     (long long)ledger->split, (long long)ledger->dropped,
                     (long long)ledger->unsupervised);
    }
    return HONE_OK;
}

/* What hone export says too: now it is not too late for shorter rows. */
static void warn_of_window(const hone_run *run) {
    int64_t window = hone_arch_gguf_lost_window(&run->session.model->arch);
    int64_t longest = run->options->seq_len;
    if (window == 0 || longest <= window) return;
    hone_run_say(run,
                 "the model's layers see %lld tokens back, which llama.cpp does not do for this "
                 "architecture: of texts longer than that, as rows of %lld tokens may be, it will "
                 "say something else (--seq-len %lld)",
                 (long long)window, (long long)longest, (long long)window);
}

/* A device that computes in the machine's memory has nowhere to put things. */
static hone_status check_offload(const hone_run *run) {
    const hone_train_options *o = run->options;
    bool named = o->offload != HONE_OFFLOAD_NONE && o->offload != HONE_OFFLOAD_AUTO;
    const char *no_gpu = run->session.device.no_gpu;
    if (!named || !hone_device_is_host(&run->session.device)) return HONE_OK;
    return hone_fail(
        HONE_ERR_USAGE,
        "offload = %s: moves what a GPU has no room for to the machine's memory, where "
        "this run, on the processor, has everything already: leave it out%s%s",
        hone_offload_names[o->offload], no_gpu[0] ? "; no GPU: " : "", no_gpu);
}

/* All that a step needs, but for the memory that the plan takes. */
static hone_status open_engine(hone_run *run) {
    const hone_train_options *o = run->options;
    hone_session *s = &run->session;
    HONE_TRY(hone_buffer_new(&run->dropout_key, &s->device, sizeof(uint64_t)));
    HONE_TRY(hone_model_rope(s->model, o->seq_len));
    HONE_TRY(hone_tape_new(&run->tape, &s->device));
    run->forward = (hone_forward){
        .model = s->model,
        .adapter = s->adapter,
        .tokens = &run->batch.tokens,
        .dropout_key = s->adapter && s->adapter->dropout > 0 ? run->dropout_key.base : NULL,
    };
    HONE_TRY(hone_run_plan(run));
    HONE_TRY(hone_device_batch_new(&run->batch, &s->device, run->plan.micro_batch * o->seq_len,
                                   o->seq_len));
    run->batch.pads = hone_device_records(&s->device);
    /* Copies beside the stream are none that are recorded. */
    if (o->graphs && !run->forward.offload) hone_passes_record(&run->passes, &s->device);
    return HONE_OK;
}

hone_status hone_run_open(hone_run *run, bool resume) {
    if (run->observer->rank && run->rank.size > 1) HONE_TRY(hone_rank_check_gpus(&run->rank));
    HONE_TRY(make_folders(run, resume));
    if (resume) HONE_TRY(hone_run_find_checkpoint(run));
    HONE_TRY(hone_run_check_ranks(run));
    HONE_TRY(open_session(run));
    HONE_TRY(check_offload(run));
    HONE_TRY(open_parameters(run));
    HONE_TRY(hone_run_check_files(run));
    HONE_TRY(hone_run_settle_compute(run));
    HONE_TRY(hone_run_settle_attention(run));
    if (hone_run_leads(run))
        hone_session_begin_hash(&run->session); /* what was measured was not to be disturbed */
    HONE_TRY(open_data(run));
    warn_of_window(run);
    return open_engine(run);
}
