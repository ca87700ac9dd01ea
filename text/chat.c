#include "text/chat.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "formats/json.h"
#include "text/chat_parts.h"

/* --- templates ------------------------------------------------------------------------------------------------- */

/* A date at noon, with the weekday and the day of the year. */
static bool set_day(hone_chat_template *chat, int year, int month, int day) {
    struct tm noon = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = 12};
    timegm(&noon);
    bool real = noon.tm_year == year - 1900 && noon.tm_mon == month - 1 && noon.tm_mday == day &&
                year >= 1000 && year <= 9999;
    if (!real) return false;
    chat->now = noon;
    snprintf(chat->day, sizeof chat->day, "%04d-%02d-%02d", year % 10000, month % 100, day % 100);
    return true;
}

static void set_today(hone_chat_template *chat) {
    time_t now = time(NULL);
    struct tm today;
    localtime_r(&now, &today);
    set_day(chat, today.tm_year + 1900, today.tm_mon + 1, today.tm_mday);
}

hone_status hone_chat_template_new(hone_chat_template **out, const char *text, size_t length,
                                   const char *name, const char *id) {
    *out = NULL;
    hone_chat_template *chat = hone_alloc(1, sizeof *chat);
    if (!chat) return HONE_ERR_MEMORY;
    hone_sha256_bytes(chat->hash, text, length);
    chat->name = hone_strdup(name);
    chat->id = hone_strdup(id ? id : chat->hash);
    chat->variables = json_object();
    set_today(chat);
    hone_status status = chat->name && chat->id && chat->variables ? HONE_OK : HONE_ERR_MEMORY;
    if (status == HONE_OK) status = hone_jinja_new(&chat->jinja, text, length, name);
    if (status != HONE_OK) {
        hone_chat_template_free(chat);
        return status;
    }
    *out = chat;
    return HONE_OK;
}

hone_status hone_chat_template_named(hone_chat_template **out, const char *name) {
    *out = NULL;
    const char *source = hone_chat_source(name);
    if (source) return hone_chat_template_new(out, source, strlen(source), name, name);
    return hone_fail(
        HONE_ERR_USAGE,
        "unknown chat template \"%s\"; known: %s; or give auto for the model's own, or "
        "the path of a .jinja file",
        name, hone_chat_names());
}

void hone_chat_template_free(hone_chat_template *chat) {
    if (!chat) return;
    hone_jinja_free(chat->jinja);
    json_decref(chat->variables);
    hone_free(chat->name);
    hone_free(chat->id);
    hone_free(chat);
}

const char *hone_chat_template_name(const hone_chat_template *chat) {
    return chat->name;
}

const char *hone_chat_template_id(const hone_chat_template *chat) {
    return chat->id;
}

const char *hone_chat_template_hash(const hone_chat_template *chat) {
    return chat->hash;
}

static hone_status set_variables(hone_chat_template *chat, const char *variables, bool replace) {
    if (!variables || !*variables) return HONE_OK;
    json_t *given;
    hone_status status =
        hone_json_parse(&given, variables, strlen(variables), "the template's variables");
    if (status != HONE_OK || !json_is_object(given)) {
        if (status == HONE_OK) json_decref(given);
        return hone_fail(HONE_ERR_USAGE,
                         "the template's variables must be a JSON object, as in "
                         "{\"enable_thinking\": false}, not \"%.200s\"",
                         variables);
    }
    int failed = replace ? json_object_update(chat->variables, given)
                         : json_object_update_missing(chat->variables, given);
    json_decref(given);
    return failed ? HONE_ERR_MEMORY : HONE_OK;
}

hone_status hone_chat_template_set(hone_chat_template *chat, const char *variables) {
    return set_variables(chat, variables, true);
}

hone_status hone_chat_template_suggest(hone_chat_template *chat, const char *variables) {
    return set_variables(chat, variables, false);
}

hone_status hone_chat_template_variables(hone_buf *out, const hone_chat_template *chat) {
    if (json_object_size(chat->variables) == 0) return hone_buf_puts(out, "");
    return hone_json_append(out, chat->variables, 0);
}

hone_status hone_chat_template_date(hone_chat_template *chat, const char *date) {
    int year, month, day, end = 0;
    bool read = sscanf(date, "%4d-%2d-%2d%n", &year, &month, &day, &end) == 3 && !date[end];
    if (read && set_day(chat, year, month, day)) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE, "\"%s\" is no date; write one as 2024-07-26", date);
}

const char *hone_chat_template_day(const hone_chat_template *chat) {
    return chat->day;
}

hone_status hone_chat_template_key(char out[HONE_SHA256_TEXT], const hone_chat_template *chat) {
    hone_buf text = {0};
    hone_status status = hone_buf_printf(&text, "%s\n%s\n", chat->id, chat->hash);
    if (status == HONE_OK) status = hone_chat_template_variables(&text, chat);
    if (status == HONE_OK && hone_jinja_mentions(chat->jinja, "strftime_now"))
        status = hone_buf_printf(&text, "\n%s", chat->day);
    if (status == HONE_OK) hone_sha256_bytes(out, text.data, text.length);
    hone_buf_free(&text);
    return status;
}

/* --- rendering ------------------------------------------------------------------------------------------------- */

json_t *hone_message_new(const char *role, const char *content, size_t length) {
    return json_pack("{s:s, s:s%}", "role", role, "content", content, length);
}

/* A token's text as a variable; a model without the token has none. */
static hone_status set_token(json_t *variables, const char *name, const hone_tokenizer *tokenizer,
                             int32_t id) {
    if (id < 0) return HONE_OK;
    hone_buf text = {0};
    hone_status status = hone_tokenizer_piece(tokenizer, &text, id, true);
    if (status == HONE_OK &&
        json_object_set_new(variables, name, json_stringn(text.data, text.length)) != 0)
        status = HONE_ERR_MEMORY;
    hone_buf_free(&text);
    return status;
}

/* null stands for what is not given, as in transformers. */
static hone_status set_given(json_t *variables, const char *name, const json_t *value) {
    json_t *given = value ? json_incref((json_t *)(uintptr_t)value) : json_null();
    return json_object_set_new(variables, name, given) == 0 ? HONE_OK : HONE_ERR_MEMORY;
}

static hone_status gather(json_t *variables, const hone_chat_template *chat,
                          const hone_tokenizer *tokenizer, const hone_conversation *conversation,
                          bool without_thinking) {
    int32_t bos = hone_tokenizer_bos(tokenizer), eos = hone_tokenizer_eos(tokenizer);
    HONE_TRY(set_given(variables, "tools", conversation->tools));
    HONE_TRY(set_given(variables, "documents", conversation->documents));
    const json_t *named = hone_tokenizer_named(tokenizer);
    if (named && json_object_update(variables, (json_t *)(uintptr_t)named) != 0)
        return HONE_ERR_MEMORY;
    HONE_TRY(set_token(variables, "bos_token", tokenizer, bos));
    HONE_TRY(set_token(variables, "eos_token", tokenizer, eos));
    /* for the template named plain: where the tokenizer puts one by itself */
    if (hone_tokenizer_adds_bos(tokenizer))
        HONE_TRY(set_token(variables, "added_bos_token", tokenizer, bos));
    if (json_object_update(variables, chat->variables) != 0) return HONE_ERR_MEMORY;
    if (without_thinking && json_object_set_new(variables, "enable_thinking", json_false()) != 0)
        return HONE_ERR_MEMORY;
    return HONE_OK;
}

hone_status hone_chat_render(hone_jinja_output *out, const hone_chat_template *chat,
                             const hone_tokenizer *tokenizer, const hone_conversation *conversation,
                             const hone_chat_call *call) {
    if (conversation->count == 0)
        return hone_fail(HONE_ERR_DATA, "a conversation without messages");
    json_t *variables = json_object();
    if (!variables) return HONE_ERR_MEMORY;
    hone_status status = gather(variables, chat, tokenizer, conversation, call->without_thinking);
    const hone_jinja_input input = {.messages = conversation->messages,
                                    .count = call->count,
                                    .variables = variables,
                                    .generation_prompt = call->prompt,
                                    .now = &chat->now};
    if (status == HONE_OK) status = hone_jinja_render(out, chat->jinja, &input);
    json_decref(variables);
    if (status != HONE_OK) return hone_chat_blame_parts(status, conversation, call->count);
    return hone_chat_check_parts(out, chat, conversation, call->count);
}

/* --- samples --------------------------------------------------------------------------------------------------- */

void hone_chat_sample_clear(hone_chat_sample *sample) {
    hone_buf_clear(&sample->rendering.text);
    sample->rendering.supervised_count = 0;
    sample->rendering.literal_count = 0;
    hone_encoding_clear(&sample->encoding);
}

static hone_status add_span(hone_span **spans, size_t *count, size_t *capacity, hone_span span) {
    if (span.begin >= span.end) return HONE_OK;
    if (*count > 0 && (*spans)[*count - 1].end == span.begin) {
        (*spans)[*count - 1].end = span.end;
        return HONE_OK;
    }
    HONE_TRY(hone_grow(spans, capacity, *count + 1, sizeof **spans));
    (*spans)[(*count)++] = span;
    return HONE_OK;
}

hone_status hone_chat_supervise(hone_chat_sample *out, hone_span span) {
    hone_rendering *r = &out->rendering;
    return add_span(&r->supervised, &r->supervised_count, &r->supervised_capacity, span);
}

hone_status hone_chat_extend(hone_chat_sample *out, const hone_jinja_output *output, size_t from) {
    hone_rendering *r = &out->rendering;
    size_t at = r->text.length;
    HONE_TRY(hone_buf_append(&r->text, output->text.data + from, output->text.length - from));
    for (size_t i = 0; i < output->count; i++) {
        const hone_jinja_run *run = &output->runs[i];
        if (run->message == HONE_JINJA_NO_MESSAGE || run->end <= from) continue;
        size_t begin = run->begin > from ? run->begin - from : 0;
        HONE_TRY(add_span(&r->literal, &r->literal_count, &r->literal_capacity,
                          (hone_span){at + begin, at + run->end - from}));
    }
    return HONE_OK;
}

hone_status hone_chat_take(hone_chat_sample *out, const hone_jinja_output *output) {
    hone_chat_sample_clear(out);
    return hone_chat_extend(out, output, 0);
}

void hone_chat_sample_free(hone_chat_sample *sample) {
    hone_buf_free(&sample->rendering.text);
    hone_free(sample->rendering.supervised);
    hone_free(sample->rendering.literal);
    hone_encoding_free(&sample->encoding);
    hone_free(sample->mask);
    *sample = (hone_chat_sample){0};
}

void hone_chat_samples_free(hone_chat_samples *samples) {
    for (size_t i = 0; i < samples->capacity; i++) hone_chat_sample_free(&samples->items[i]);
    hone_free(samples->items);
    *samples = (hone_chat_samples){0};
}
