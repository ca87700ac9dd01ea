#include "train/preview.h"

#include <string.h>

#include "base/alloc.h"
#include "data/record.h"
#include "model/generate.h"

enum { LONGEST = 256 }; /* tokens of a record that is shown */

hone_status hone_preview_answer(hone_buf *out, hone_generator *generator,
                                const hone_tokenizer *tokenizer, const int32_t *ids, int64_t count,
                                int64_t max_tokens) {
    const hone_sampling greedy = {.top_p = 1};
    hone_generator_rewind(generator, 0);
    HONE_TRY(hone_generator_feed(generator, ids, count));
    HONE_TRY(hone_buf_puts(out, ""));
    for (int64_t i = 0; i < max_tokens; i++) {
        int32_t id;
        HONE_TRY(hone_generator_choose(&id, generator, &greedy));
        if (hone_tokenizer_ends(tokenizer, id)) break;
        HONE_TRY(hone_tokenizer_piece(tokenizer, out, id, false));
        if (hone_generator_length(generator) == hone_generator_capacity(generator)) break;
        HONE_TRY(hone_generator_feed(generator, &id, 1));
    }
    return HONE_OK;
}

/* Records' questions, put to the model with the adapter or without. */
typedef struct asker {
    hone_session *session;
    hone_generator *generator;
    bool before;                 /* training: which answer is taken */
    int64_t max_tokens, longest; /* of an answer, of a record */
    hone_chat_sample prompt;
} asker;

/* For records up to a length, and no longer ones than there are. */
static hone_status open_generator(asker *a) {
    hone_session *s = a->session;
    int64_t context = s->model->arch.context;
    a->longest = hone_samples_ledger_of(s->samples)->longest;
    if (a->longest > LONGEST) a->longest = LONGEST;
    int64_t capacity = a->longest + a->max_tokens;
    if (capacity > context) capacity = context;
    if (a->longest > capacity) a->longest = capacity;
    return hone_generator_new(&a->generator, s->model, a->before ? NULL : s->adapter, capacity);
}

hone_status hone_preview_bytes(int64_t *out, hone_session *session, int64_t max_tokens) {
    asker a = {.session = session, .max_tokens = max_tokens};
    HONE_TRY(open_generator(&a));
    *out = (int64_t)hone_generator_bytes(a.generator);
    hone_generator_free(a.generator);
    return HONE_OK;
}

static hone_status answer(const char **out, asker *a) {
    hone_buf text = {0};
    hone_status status =
        hone_preview_answer(&text, a->generator, a->session->tokenizer, a->prompt.encoding.ids,
                            (int64_t)a->prompt.encoding.count, a->max_tokens);
    if (status == HONE_OK) {
        *out = text.data;
    } else {
        hone_buf_free(&text);
    }
    return status;
}

/* The caller frees it with hone_free, also when this fails. */
static hone_status content_of(const char **out, const json_t *message) {
    if (*out) return HONE_OK;
    hone_buf text = {0};
    hone_status status = hone_buf_puts(&text, "");
    if (status == HONE_OK) status = hone_message_text(&text, message);
    *out = text.data;
    return status;
}

/* A question of several turns may be longer than the first sample of its record. */
static hone_status ask(hone_report_sample *out, bool *fits, asker *a, const hone_record *record) {
    hone_conversation asked = record->conversation;
    const json_t *reply = json_array_get(asked.messages, --asked.count); /* the last turn */
    const json_t *question = json_array_get(asked.messages, asked.count - 1);
    HONE_TRY(hone_chat_prompt(&a->prompt, a->session->chat, a->session->tokenizer, &asked));
    *fits = (int64_t)a->prompt.encoding.count < a->longest;
    if (!*fits) return HONE_OK;
    HONE_TRY(content_of(&out->prompt, question));
    HONE_TRY(content_of(&out->reference, reply));
    return answer(a->before ? &out->before : &out->after, a);
}

static bool ends_with_answer(const hone_record *record) {
    const hone_conversation *c = &record->conversation;
    if (c->count < 2) return false;
    const json_t *role = json_object_get(json_array_get(c->messages, c->count - 1), "role");
    return strcmp(json_string_value(role), "assistant") == 0;
}

/* Asks the samples of one split until there are `most`. Those that do not fit are passed over. */
static hone_status ask_split(hone_preview *out, asker *a, size_t most, bool held_out) {
    hone_session *s = a->session;
    hone_data_record row = {0};
    hone_record record = {0};
    hone_status status = HONE_OK;
    for (int64_t i = 0; i < hone_samples_count(s->samples) && out->count < most; i++) {
        hone_sample_info info;
        status = hone_samples_info(&info, s->samples, i);
        if (status != HONE_OK) break;
        if (info.is_eval != held_out || info.part > 0) continue;
        status = hone_datafile_read(&row, s->data, info.record);
        if (status != HONE_OK) break;
        status = hone_record_parse(&record, row.json.data, row.json.length, "record");
        if (status != HONE_OK) break;
        if (record.text || !ends_with_answer(&record) || info.length > a->longest) continue;
        out->samples[out->count].held_out = held_out;
        bool fits = true;
        status = ask(&out->samples[out->count++], &fits, a, &record);
        if (status != HONE_OK) break;
        out->count -= !fits;
    }
    hone_record_free(&record);
    hone_buf_free(&row.json);
    return status;
}

/* One generator at a time: the second takes the memory of the first. */
static hone_status ask_all(hone_preview *out, asker *a, size_t most, bool before) {
    size_t had = out->count; /* the same records each time */
    out->count = 0;
    a->before = before;
    hone_status status = open_generator(a);
    if (status == HONE_OK) status = ask_split(out, a, most, true);
    if (status == HONE_OK) status = ask_split(out, a, most, false);
    hone_generator_free(a->generator);
    a->generator = NULL;
    if (out->count < had) out->count = had; /* what a failure left unasked is freed, too */
    return status;
}

hone_status hone_preview_make(hone_preview *out, hone_session *session, size_t most,
                              int64_t max_tokens) {
    *out = (hone_preview){0};
    asker a = {.session = session, .max_tokens = max_tokens};
    out->samples = hone_alloc(most, sizeof *out->samples);
    hone_status status = out->samples ? HONE_OK : HONE_ERR_MEMORY;
    if (status == HONE_OK && session->adapter) {
        status = ask_all(out, &a, most, true);
        most = out->count; /* no more are looked for again */
    }
    if (status == HONE_OK && most > 0) status = ask_all(out, &a, most, false);
    hone_chat_sample_free(&a.prompt);
    if (status != HONE_OK) hone_preview_free(out);
    return status;
}

void hone_preview_free(hone_preview *preview) {
    for (size_t i = 0; preview->samples && i < preview->count; i++) {
        const hone_report_sample *s = &preview->samples[i];
        hone_free((void *)(uintptr_t)s->prompt);
        hone_free((void *)(uintptr_t)s->before);
        hone_free((void *)(uintptr_t)s->after);
        hone_free((void *)(uintptr_t)s->reference);
    }
    hone_free(preview->samples);
    *preview = (hone_preview){0};
}
