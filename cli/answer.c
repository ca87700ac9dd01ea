#include "cli/answer.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/open_adapter.h"
#include "cli/output.h"
#include "text/utf8.h"

hone_answer_settings hone_answer_defaults(void) {
    return (hone_answer_settings){
        .chat = "auto", .max_tokens = 256, .seed = 42, .temperature = 0.7, .top_p = 0.95};
}

void hone_answer_flags(hone_flag out[HONE_ANSWER_FLAGS], hone_answer_settings *s) {
    const hone_flag flags[HONE_ANSWER_FLAGS] = {
        {"model", HONE_FLAG_TEXT, &s->model, .unit = "PATH", .text = "the base model"},
        {"adapter", HONE_FLAG_TEXT, &s->adapter, .unit = "PATH",
         .text = "a run folder, a folder of PEFT or MLX-LM, or an adapter .gguf"},
        {"template", HONE_FLAG_TEXT, &s->chat, .unit = "NAME", .shown = "auto",
         .text = "chat template, or the path of a .jinja file"},
        {"template-vars", HONE_FLAG_TEXT, &s->variables, .unit = "JSON",
         .text = "variables of the template, as in {\"enable_thinking\": false}"},
        {"max-tokens", HONE_FLAG_INT, &s->max_tokens, .unit = "N", .minimum = 1, .maximum = 1 << 24,
         .shown = "256", .text = "most tokens of an answer"},
        {"temperature", HONE_FLAG_REAL, &s->temperature, .unit = "T", .maximum = 100,
         .shown = "0.7", .text = "0: always the likeliest token"},
        {"top-p", HONE_FLAG_REAL, &s->top_p, .unit = "P", .maximum = 1, .shown = "0.95",
         .text = "choose among the likeliest tokens that have this probability together"},
        {"seed", HONE_FLAG_INT, &s->seed, .unit = "N", .maximum = 9007199254740992.0, .shown = "42",
         .text = "of the choices"},
        {"context", HONE_FLAG_INT, &s->context, .unit = "N", .maximum = 1 << 24,
         .text = "most tokens held, prompt included; 0: up to 4096 of the model's"},
        {"device", HONE_FLAG_CHOICE, &s->device, .words = hone_device_words,
         .unit = hone_device_choices, .shown = "auto", .text = "where the numbers are computed"},
        {"threads", HONE_FLAG_INT, &s->threads, .unit = "N", .maximum = 4096,
         .text = "threads; 0: OMP_NUM_THREADS, else every core"},
    };
    memcpy(out, flags, sizeof flags);
}

hone_status hone_answer_open(hone_session *session, hone_generator **generator,
                             const hone_answer_settings *s) {
    if (!s->model) return hone_fail(HONE_ERR_USAGE, "--model is missing");
    HONE_TRY(hone_session_open(session, (hone_device_kind)s->device, 0, s->model, NULL, s->chat,
                               s->threads, 0, false));
    if (s->adapter) HONE_TRY(hone_open_adapter(session, s->adapter));
    HONE_TRY(hone_chat_template_set(session->chat, s->variables));
    int64_t own = session->model->arch.context;
    int64_t context = s->context > 0 ? s->context : own < 4096 ? own : 4096;
    return hone_generator_new(generator, session->model, session->adapter, context);
}

enum { LONGEST_CHARACTER = 4 };

/* Writes the whole characters of what has come: a token may hold part of one. What can become none is U+FFFD. */
static hone_status write_ready(hone_buf *pending, bool all) {
    size_t ready = hone_utf8_valid(pending->data, pending->length);
    if (all || pending->length - ready >= LONGEST_CHARACTER) ready = pending->length;
    if (ready == 0) return HONE_OK;
    hone_buf text = {0};
    hone_status status = hone_utf8_repair(&text, pending->data, ready);
    if (status == HONE_OK) hone_print_text(text.data, text.length);
    hone_buf_free(&text);
    fflush(stdout);
    memmove(pending->data, pending->data + ready, pending->length - ready);
    pending->length -= ready;
    return status;
}

static hone_status remember(hone_encoding *said, int32_t id) {
    if (!said) return HONE_OK;
    if (said->count == said->capacity) {
        size_t ids = said->capacity, spans = said->capacity;
        HONE_TRY(hone_grow(&said->ids, &ids, said->count + 1, sizeof *said->ids));
        HONE_TRY(hone_grow(&said->spans, &spans, said->count + 1, sizeof *said->spans));
        said->capacity = ids;
    }
    said->ids[said->count] = id;
    said->spans[said->count++] = (hone_span){0};
    return HONE_OK;
}

static hone_status say_tokens(hone_encoding *said, hone_buf *pending, hone_session *session,
                              hone_generator *generator, const hone_answer_settings *s) {
    hone_sampling sampling = {s->temperature, s->top_p, (uint64_t)s->seed};
    for (int64_t i = 0; i < s->max_tokens; i++) {
        int32_t id;
        HONE_TRY(hone_generator_choose(&id, generator, &sampling));
        if (hone_tokenizer_ends(session->tokenizer, id)) break;
        HONE_TRY(remember(said, id));
        HONE_TRY(hone_tokenizer_piece(session->tokenizer, pending, id, false));
        HONE_TRY(write_ready(pending, false));
        if (hone_generator_length(generator) == hone_generator_capacity(generator)) {
            hone_warn("the context of %lld tokens is full",
                      (long long)hone_generator_capacity(generator));
            break;
        }
        HONE_TRY(hone_generator_feed(generator, &id, 1));
    }
    return write_ready(pending, true);
}

hone_status hone_answer(hone_encoding *said, hone_session *session, hone_generator *generator,
                        const hone_answer_settings *s, const int32_t *ids, int64_t count) {
    HONE_TRY(hone_generator_feed(generator, ids, count));
    hone_buf pending = {0};
    hone_status status = say_tokens(said, &pending, session, generator, s);
    hone_buf_free(&pending);
    return status;
}
