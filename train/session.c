#include "train/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/parallel.h"
#include "data/import.h"
#include "model/adapter_info.h"
#include "model/chat_choice.h"

/* Ids index the embedding: a tokenizer that knows more tokens would read past its end. */
static hone_status check_vocabulary(const hone_session *s, const char *path) {
    int64_t tokens = hone_tokenizer_size(s->tokenizer), rows = s->model->arch.vocabulary;
    if (tokens <= rows) return HONE_OK;
    return hone_fail(
        HONE_ERR_FORMAT,
        "%s: the tokenizer has %lld tokens but the model's embedding only %lld rows; they "
        "do not belong together",
        path, (long long)tokens, (long long)rows);
}

static void *take_hash(void *context) {
    hone_session *s = context;
    if (hone_model_hash(s->hashed, s->model, &s->closing) != HONE_OK) s->hashed[0] = '\0';
    return NULL;
}

void hone_session_begin_hash(hone_session *s) {
    if (s->hashing || s->model_hash[0]) return;
    s->hashing = pthread_create(&s->hasher, NULL, take_hash, s) == 0;
}

static void end_hash(hone_session *s) {
    if (s->hashing) pthread_join(s->hasher, NULL);
    s->hashing = false;
}

hone_status hone_session_open(hone_session *out, hone_device_kind device, int gpu,
                              const char *model_path, const char *config, const char *chat,
                              int64_t threads, uint64_t seed, bool hash) {
    *out = (hone_session){.chat_named = chat && strcmp(chat, "auto") != 0, .base = model_path};
    hone_threads_set((int)threads);
    HONE_TRY(hone_device_open(&out->device, device, gpu));
    hone_status status = config ? hone_model_create(&out->model, config, &out->device, seed)
                                : hone_model_open(&out->model, model_path, &out->device);
    if (status == HONE_OK && hash) hone_session_begin_hash(out);
    if (status == HONE_OK) status = hone_model_tokenizer(&out->tokenizer, model_path);
    if (status == HONE_OK) status = check_vocabulary(out, model_path);
    if (status == HONE_OK) {
        status = hone_chat_choose(&out->chat, chat, model_path, out->tokenizer);
    }
    if (status != HONE_OK) hone_session_close(out);
    return status;
}

hone_status hone_session_hash_model(hone_session *session) {
    end_hash(session);
    if (!session->model_hash[0]) memcpy(session->model_hash, session->hashed, HONE_SHA256_TEXT);
    if (session->model_hash[0]) return HONE_OK;
    return hone_model_hash(session->model_hash, session->model, &session->closing);
}

hone_status hone_session_info(hone_adapter_info *out, hone_session *s) {
    HONE_TRY(hone_session_hash_model(s));
    if (!s->vocabulary_hash[0])
        HONE_TRY(hone_tokenizer_vocabulary_hash(s->vocabulary_hash, s->tokenizer));
    hone_buf_clear(&s->chat_variables);
    HONE_TRY(hone_chat_template_variables(&s->chat_variables, s->chat));
    *out = (hone_adapter_info){
        .base_hash = s->model_hash,
        .tokenizer_hash = hone_tokenizer_hash(s->tokenizer),
        .vocabulary_hash = s->vocabulary_hash,
        .chat_template = hone_chat_template_id(s->chat),
        .chat_variables = s->chat_variables.data,
        .template_hash = hone_chat_template_hash(s->chat),
    };
    return HONE_OK;
}

/* Those that the adapter was trained with, where none were set. */
static hone_status take_variables(hone_session *s, const char *path) {
    hone_buf variables = {0};
    hone_status status = hone_adapter_chat_variables(&variables, path);
    if (status == HONE_OK) status = hone_chat_template_suggest(s->chat, variables.data);
    hone_buf_free(&variables);
    return status;
}

hone_status hone_session_doubts(hone_buf *warning, const hone_session *s,
                                const hone_adapter *adapter, const char *path) {
    const hone_adapter_doubts *doubts = &adapter->doubts;
    enum { DIGITS = 12 }; /* of a hash, enough to tell files apart */
    const char *join = "";
    if (doubts->other_base[0]) {
        join = "; it ";
        HONE_TRY(hone_buf_printf(warning,
                                 "%s: was trained on base %.*s and is used on %s, base %.*s: right "
                                 "if they are the same model in another form",
                                 path, DIGITS, doubts->other_base, s->model->path, DIGITS,
                                 s->model_hash));
    }
    if (!doubts->other_template) return HONE_OK;
    if (!*join) HONE_TRY(hone_buf_printf(warning, "%s: ", path));
    return hone_buf_printf(warning,
                           "%swas trained with another chat template than \"%s\", which is used "
                           "here: answers may suffer; name the one it was trained with by "
                           "--template",
                           join, hone_chat_template_name(s->chat));
}

hone_status hone_session_open_adapter(hone_session *s, hone_buf *warning, const char *path) {
    hone_adapter_info use;
    hone_buf_clear(warning);
    HONE_TRY(hone_session_info(&use, s));
    HONE_TRY(hone_adapter_open(&s->adapter, s->model, path, &use));
    HONE_TRY(take_variables(s, path));
    return hone_session_doubts(warning, s, s->adapter, path);
}

/* A name for a data file that no other process has, in a fresh folder. Owned by the caller. */
static hone_status temporary_name(char **file, char **folder) {
    const char *base = getenv("TMPDIR");
    hone_buf name = {0};
    HONE_TRY(hone_buf_printf(&name, "%s/hone-XXXXXX", base && *base ? base : "/tmp"));
    if (!mkdtemp(name.data)) {
        hone_status status =
            hone_fail_errno(HONE_ERR_IO, "%s: cannot make a temporary folder", name.data);
        hone_buf_free(&name);
        return status;
    }
    *folder = name.data;
    *file = hone_path_join(name.data, "data.h5");
    return *file ? HONE_OK : HONE_ERR_MEMORY;
}

static hone_status import(const char *to, const char *path) {
    hone_data_report report = {0};
    hone_status status = hone_data_add(&report, to, &path, 1, &(hone_data_add_options){0});
    hone_data_report_free(&report);
    return status;
}

static hone_status open_imported(hone_session *s, const char *path, const char *import_to) {
    if (import_to) {
        HONE_TRY(import(import_to, path));
        return hone_datafile_open(&s->data, import_to);
    }
    char *file = NULL, *folder = NULL;
    hone_status status = temporary_name(&file, &folder);
    if (status == HONE_OK) status = import(file, path);
    if (status == HONE_OK) status = hone_datafile_open(&s->data, file);
    if (file) unlink(file);
    if (folder) rmdir(folder);
    hone_free(file);
    hone_free(folder);
    return status;
}

/* Data without reasoning teaches answers that follow an empty block of thinking: prompts are to have it, too. */
static hone_status open_samples(hone_session *s, const hone_samples_options *options) {
    HONE_TRY(hone_samples_open(&s->samples, s->data, s->tokenizer, s->chat, options));
    const hone_samples_ledger *ledger = hone_samples_ledger_of(s->samples);
    if (ledger->unthinking == 0 || ledger->reasoned > 0) return HONE_OK;
    return hone_chat_template_suggest(s->chat, "{\"enable_thinking\": false}");
}

hone_status hone_session_open_data(hone_session *s, const char *path, const char *import_to,
                                   const hone_samples_options *options) {
    hone_samples_options how = *options;
    if (import_to && hone_path_exists(import_to)) { /* by an earlier start of the same run */
        HONE_TRY(hone_datafile_open(&s->data, import_to));
        return open_samples(s, &how);
    }
    if (!hone_path_exists(path)) {
        return hone_fail(HONE_ERR_IO,
                         "%s: no such file; give a .h5 of `hone data` or a file that "
                         "`hone data add` reads",
                         path);
    }
    if (hone_data_importable(path)) {
        how.no_cache = !import_to;
        HONE_TRY(open_imported(s, path, import_to));
    } else {
        HONE_TRY(hone_datafile_open(&s->data, path));
    }
    return open_samples(s, &how);
}

void hone_session_close(hone_session *s) {
    atomic_store(&s->closing, true);
    end_hash(s);
    hone_samples_free(s->samples);
    hone_datafile_free(s->data);
    hone_adapter_free(s->adapter);
    hone_model_close(s->model);
    hone_chat_template_free(s->chat);
    hone_buf_free(&s->chat_variables);
    hone_tokenizer_free(s->tokenizer);
    hone_device_close(&s->device);
    *s = (hone_session){0};
}
