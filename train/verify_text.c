/*
 * Token ids and chat templates of an exported model against those of its base, and the texts that models are compared
 * on.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "data/record.h"
#include "model/chat_choice.h"
#include "train/verify_parts.h"

const char *const hone_verify_passages[] = {
    "The baker opens at seven in the morning. Fresh loaves come out of the oven an hour later, and "
    "by noon most of them are gone.",
    "In 2024, 1,234.56 + 7 = 1,241.56; that is 3\u20444 of 1,655.41.\n\n\tTabs,  two  spaces   and "
    "three.",
    "for (int i = 0; i < n; i++) {\n    sum += values[i] * weights[i]; // don't overflow\n}",
    "Sch\u00f6ne Gr\u00fc\u00dfe aus K\u00f6ln! O\u00f9 est la cr\u00e8me br\u00fbl\u00e9e? "
    "\u00bfD\u00f3nde est\u00e1 el ni\u00f1o?",
    "\u0414\u043e\u0431\u0440\u044b\u0439 \u0434\u0435\u043d\u044c, "
    "\u043c\u0438\u0440! \u4f60\u597d\uff0c\u4e16\u754c\u3002 \u3053\u3093\u306b\u3061\u306f "
    "\uc548\ub155 \u0645\u0631\u062d\u0628\u0627",
    "Emoji \U0001F600\U0001F468\u200D\U0001F469\u200D\U0001F467 and marks e\u0301 \u2014 \u201c"
    "quoted\u201d \u2026",
    "I'm sure they'll say: \"We've DONE it!\"  (see https://example.org/a?b=c#d)",
    NULL,
};

/* --- Texts for the models --- */

enum { LONGEST = 256 }; /* tokens of one text that go through */

static hone_status add_text(hone_verify *v, const int32_t *ids, const uint8_t *mask,
                            int64_t count) {
    if (count > LONGEST) count = LONGEST;
    int64_t context = v->session.model->arch.context;
    if (count > context) count = context;
    if (count < 2) return HONE_OK;
    HONE_TRY(hone_grow(&v->texts, &v->text_capacity, v->text_count + 1, sizeof *v->texts));
    hone_verify_text *text = &v->texts[v->text_count++];
    *text = (hone_verify_text){.count = count};
    text->ids = hone_alloc((size_t)count, sizeof *text->ids);
    text->mask = hone_alloc((size_t)count, 1);
    if (!text->ids || !text->mask) return HONE_ERR_MEMORY;
    memcpy(text->ids, ids, (size_t)count * sizeof *ids);
    memset(text->mask, 1, (size_t)count);
    if (mask) memcpy(text->mask, mask, (size_t)count);
    text->mask[0] = 0;
    return HONE_OK;
}

static hone_status gather_passages(hone_verify *v) {
    int64_t left = v->tokens;
    hone_encoding ids = {0};
    hone_status status = HONE_OK;
    for (size_t i = 0; status == HONE_OK && left > 0 && hone_verify_passages[i]; i++) {
        const char *text = hone_verify_passages[i];
        hone_encode_options how = {.add_special = true};
        hone_encoding_clear(&ids);
        status = hone_tokenizer_encode(v->session.tokenizer, &ids, text, strlen(text), &how);
        if (status == HONE_OK) status = add_text(v, ids.ids, NULL, (int64_t)ids.count);
        left -= (int64_t)ids.count;
    }
    hone_encoding_free(&ids);
    HONE_TRY(status);
    return hone_buf_printf(&v->text_names, "%zu sample texts", v->text_count);
}

/* Samples from all over the data, about as many tokens as were asked for. */
static hone_status gather_samples(hone_verify *v) {
    const hone_samples *samples = v->session.samples;
    int64_t count = hone_samples_count(samples), left = v->tokens;
    const hone_samples_ledger *ledger = hone_samples_ledger_of(samples);
    int64_t mean = ledger->tokens / ledger->samples;
    int64_t wanted = v->tokens / (mean < 1 ? 1 : mean > LONGEST ? LONGEST : mean) + 1;
    int64_t stride = count > wanted ? count / wanted : 1;
    hone_sample sample = {0};
    hone_status status = HONE_OK;
    for (int64_t i = 0; status == HONE_OK && i < count && left > 0; i += stride) {
        status = hone_samples_read(&sample, samples, i);
        if (status != HONE_OK) break;
        status = add_text(v, sample.ids, sample.mask, sample.info.length);
        left -= sample.info.length < LONGEST ? sample.info.length : LONGEST;
    }
    hone_sample_free(&sample);
    HONE_TRY(status);
    return hone_buf_printf(&v->text_names, "%zu of %lld records of %s", v->text_count,
                           (long long)ledger->records, hone_datafile_path(v->session.data));
}

hone_status hone_verify_gather(hone_verify *v) {
    return v->session.samples ? gather_samples(v) : gather_passages(v);
}

/* --- Token ids --- */

/* Two tokenizers, and what was found. */
typedef struct duel {
    const hone_tokenizer *ours, *theirs;
    hone_encoding a, b;
    int64_t texts, differing;
    hone_verify_check *check;
} duel;

/* A text as it can stand in a message: cut, on one line. */
static void quote(char *out, size_t size, const char *text, size_t length) {
    size_t n = length < size - 1 ? length : size - 1;
    for (size_t i = 0; i < n; i++) {
        unsigned char byte = (unsigned char)text[i];
        out[i] = byte < 0x20 || byte == 0x7f ? ' ' : text[i];
    }
    while (n > 0 && length > n && ((unsigned char)text[n] & 0xc0u) == 0x80u) n--;
    out[n] = '\0';
}

static void note_difference(duel *d, const char *text, size_t length) {
    size_t i = 0;
    while (i < d->a.count && i < d->b.count && d->a.ids[i] == d->b.ids[i]) i++;
    char shown[64];
    quote(shown, sizeof shown, text, length);
    snprintf(d->check->detail, sizeof d->check->detail,
             "\"%s\": token %zu is %d instead of %d, of %zu tokens instead of %zu", shown, i,
             i < d->b.count ? d->b.ids[i] : -1, i < d->a.count ? d->a.ids[i] : -1, d->b.count,
             d->a.count);
}

static bool same_ids(const hone_encoding *a, const hone_encoding *b) {
    return a->count == b->count && memcmp(a->ids, b->ids, a->count * sizeof *a->ids) == 0;
}

static hone_status encode_both(duel *d, const char *text, size_t length, bool special) {
    hone_encode_options how = {.add_special = !special, .parse_special = special};
    hone_encoding_clear(&d->a);
    hone_encoding_clear(&d->b);
    HONE_TRY(hone_tokenizer_encode(d->ours, &d->a, text, length, &how));
    HONE_TRY(hone_tokenizer_encode(d->theirs, &d->b, text, length, &how));
    d->texts++;
    if (same_ids(&d->a, &d->b)) return HONE_OK;
    if (d->differing++ == 0) note_difference(d, text, length);
    return HONE_OK;
}

/* Every entry of the vocabulary as a text, by itself and on a line of its own: what one merge, one score or one special
 * token decides shows in the entry it makes. */
static hone_status try_vocabulary(duel *d) {
    hone_buf text = {0};
    hone_status status = HONE_OK;
    for (int32_t id = 0; status == HONE_OK && id < hone_tokenizer_size(d->ours); id++) {
        hone_buf_clear(&text);
        status = hone_buf_puts(&text, "\n");
        if (status == HONE_OK) status = hone_tokenizer_piece(d->ours, &text, id, true);
        if (status != HONE_OK || text.length < 2) continue;
        status = encode_both(d, text.data + 1, text.length - 1, false);
        if (status == HONE_OK) status = encode_both(d, text.data, text.length, true);
    }
    hone_buf_free(&text);
    return status;
}

static hone_status try_message(duel *d, const hone_record *record) {
    if (record->text) return encode_both(d, record->text, record->text_length, false);
    hone_buf text = {0};
    hone_status status = HONE_OK;
    for (size_t i = 0; i < record->conversation.count && status == HONE_OK; i++) {
        hone_buf_clear(&text);
        status = hone_message_text(&text, json_array_get(record->conversation.messages, i));
        if (status == HONE_OK && text.length > 0)
            status = encode_both(d, text.data, text.length, false);
    }
    hone_buf_free(&text);
    return status;
}

/* Calls `visit` for records from all over the data, at most MOST of them. */
typedef hone_status (*record_visitor)(void *context, const hone_record *record);

static hone_status visit_records(const hone_verify *v, record_visitor visit, void *context) {
    enum { MOST = 64 };
    if (!v->session.data) return HONE_OK;
    int64_t count = hone_datafile_count(v->session.data);
    hone_data_record row = {0};
    hone_record record = {0};
    hone_status status = HONE_OK;
    for (int64_t i = 0; status == HONE_OK && i<count; i += count> MOST ? count / MOST : 1) {
        status = hone_datafile_read(&row, v->session.data, i);
        if (status != HONE_OK) break;
        status = hone_record_parse(&record, row.json.data, row.json.length, "record");
        if (status == HONE_OK) status = visit(context, &record);
    }
    hone_record_free(&record);
    hone_buf_free(&row.json);
    return status;
}

static hone_status visit_tokens(void *context, const hone_record *record) {
    return try_message(context, record);
}

/* The tokens that begin and end, and whether they are put there. */
static void compare_settings(duel *d) {
    const struct {
        const char *what;
        int32_t ours, theirs;
    } rows[] = {
        {"bos", hone_tokenizer_bos(d->ours), hone_tokenizer_bos(d->theirs)},
        {"eos", hone_tokenizer_eos(d->ours), hone_tokenizer_eos(d->theirs)},
        {"add_bos", hone_tokenizer_adds_bos(d->ours), hone_tokenizer_adds_bos(d->theirs)},
        {"add_eos", hone_tokenizer_adds_eos(d->ours), hone_tokenizer_adds_eos(d->theirs)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        d->texts++;
        if (rows[i].ours == rows[i].theirs) continue;
        if (d->differing++ > 0) continue;
        snprintf(d->check->detail, sizeof d->check->detail, "%s is %d instead of %d", rows[i].what,
                 rows[i].theirs, rows[i].ours);
    }
}

static hone_status compare_tokens(duel *d, const hone_verify *v) {
    for (size_t i = 0; hone_verify_passages[i]; i++) {
        const char *text = hone_verify_passages[i];
        HONE_TRY(encode_both(d, text, strlen(text), false));
    }
    HONE_TRY(visit_records(v, visit_tokens, d));
    HONE_TRY(try_vocabulary(d));
    compare_settings(d);
    return HONE_OK;
}

hone_status hone_verify_tokens(hone_verify *v, const hone_verify_side *side) {
    duel d = {.ours = v->session.tokenizer, .theirs = side->tokenizer};
    d.check = hone_verify_add(v, side, "token ids");
    if (!d.check) return HONE_ERR_MEMORY;
    hone_status status = compare_tokens(&d, v);
    hone_encoding_free(&d.a);
    hone_encoding_free(&d.b);
    snprintf(d.check->compared, sizeof d.check->compared, "%lld texts", (long long)d.texts);
    d.check->difference = (double)d.differing;
    d.check->unit = "texts";
    d.check->ok = d.differing == 0;
    return status;
}

/* --- Templates --- */

static const char sample_messages[] =
    "[{\"role\":\"system\",\"content\":\"You answer in one sentence.\"},"
    "{\"role\":\"user\",\"content\":\"When do you open?\"},"
    "{\"role\":\"assistant\",\"content\":\"At seven.\"},"
    "{\"role\":\"user\",\"content\":\"  And on Sunday?\\n\"}]";

typedef struct rendering {
    const hone_verify *v;
    const hone_verify_side *side;
    const hone_chat_template *ours;
    hone_chat_samples a, b;
    int64_t count, differing;
    hone_verify_check *check;
} rendering;

static void note_rendering(rendering *r, const hone_rendering *ours, const hone_rendering *theirs) {
    const char *a = ours->text.data ? ours->text.data : "";
    const char *b = theirs->text.data ? theirs->text.data : "";
    size_t at = 0;
    while (a[at] && a[at] == b[at]) at++;
    char left[48], right[48];
    quote(left, sizeof left, a + at, strlen(a + at));
    quote(right, sizeof right, b + at, strlen(b + at));
    snprintf(r->check->detail, sizeof r->check->detail,
             "conversation %lld, byte %zu: \"%s\" instead of \"%s\"", (long long)r->count, at,
             right, left);
}

/* What a template refuses is no text at all. */
static hone_status render(hone_chat_samples *out, const hone_chat_template *chat,
                          const hone_tokenizer *tokenizer, const hone_conversation *conversation,
                          bool prompt) {
    hone_status status = HONE_OK;
    if (out->capacity == 0) {
        HONE_TRY(hone_grow(&out->items, &out->capacity, 1, sizeof *out->items));
        memset(out->items, 0, out->capacity * sizeof *out->items);
    }
    out->count = 1;
    status = prompt ? hone_chat_prompt(out->items, chat, tokenizer, conversation)
                    : hone_chat_samples_make(out, chat, tokenizer, conversation, true);
    if (status != HONE_OK) out->count = 0;
    return status == HONE_ERR_MEMORY ? status : HONE_OK;
}

static bool same_text(const hone_rendering *a, const hone_rendering *b) {
    return a->text.length == b->text.length &&
           (a->text.length == 0 || memcmp(a->text.data, b->text.data, a->text.length) == 0);
}

static hone_status render_both(rendering *r, const hone_conversation *conversation, bool prompt) {
    static const hone_rendering nothing;
    HONE_TRY(render(&r->a, r->ours, r->v->session.tokenizer, conversation, prompt));
    HONE_TRY(render(&r->b, r->side->chat, r->side->tokenizer, conversation, prompt));
    const hone_rendering *ours = r->a.count > 0 ? &r->a.items[0].rendering : &nothing;
    const hone_rendering *theirs = r->b.count > 0 ? &r->b.items[0].rendering : &nothing;
    if (!same_text(ours, theirs) && r->differing++ == 0) note_rendering(r, ours, theirs);
    r->count++;
    return HONE_OK;
}

static hone_status visit_rendering(void *context, const hone_record *record) {
    return record->text ? HONE_OK : render_both(context, &record->conversation, false);
}

/* Prompts after one message more each time, with the system message and without. */
static hone_status render_samples(rendering *r) {
    json_t *messages;
    HONE_TRY(hone_json_parse(&messages, sample_messages, strlen(sample_messages), "samples"));
    hone_status status = HONE_OK;
    for (int without = 0; without < 2 && status == HONE_OK; without++) {
        size_t count = json_array_size(messages);
        for (size_t n = 1; n <= count && status == HONE_OK; n++)
            status = render_both(r, &(hone_conversation){.messages = messages, .count = n}, true);
        json_array_remove(messages, 0);
    }
    json_decref(messages);
    return status;
}

/* The template's own text, byte for byte. */
static hone_status compare_own(rendering *r) {
    hone_buf a = {0}, b = {0};
    hone_status status = hone_chat_own_template(&a, r->v->session.base);
    if (status == HONE_OK) status = hone_chat_own_template(&b, r->side->path);
    bool same = a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
    if (status == HONE_OK && !same && r->differing++ == 0) {
        size_t at = 0;
        while (at < a.length && at < b.length && a.data[at] == b.data[at]) at++;
        snprintf(r->check->detail, sizeof r->check->detail,
                 "the template's text is another from byte %zu on (%zu bytes instead of %zu)", at,
                 b.length, a.length);
    }
    r->count++;
    hone_buf_free(&a);
    hone_buf_free(&b);
    return status;
}

/* The same variables and the same day for both. */
static hone_status share_settings(hone_chat_template *to, const hone_chat_template *from) {
    hone_buf variables = {0};
    if (!to || to == from) return HONE_OK;
    hone_status status = hone_chat_template_variables(&variables, from);
    if (status == HONE_OK) status = hone_chat_template_set(to, variables.data);
    if (status == HONE_OK) status = hone_chat_template_date(to, hone_chat_template_day(from));
    hone_buf_free(&variables);
    return status;
}

hone_status hone_verify_template(hone_verify *v, const hone_verify_side *side) {
    rendering r = {.v = v, .side = side, .ours = v->session.chat};
    hone_chat_template *own = NULL;
    if (v->session.chat_named)
        HONE_TRY(hone_chat_choose(&own, "auto", v->session.base, v->session.tokenizer));
    if (own) r.ours = own;
    r.check = hone_verify_add(v, side, "chat template");
    hone_status status = r.check ? share_settings(own, v->session.chat) : HONE_ERR_MEMORY;
    if (status == HONE_OK) status = share_settings(side->chat, v->session.chat);
    if (status == HONE_OK) status = render_samples(&r);
    if (status == HONE_OK) status = visit_records(v, visit_rendering, &r);
    if (status == HONE_OK) status = compare_own(&r);
    hone_chat_template_free(own);
    hone_chat_samples_free(&r.a);
    hone_chat_samples_free(&r.b);
    HONE_TRY(status);
    snprintf(r.check->compared, sizeof r.check->compared, "%lld texts", (long long)r.count);
    if (v->session.chat_named && !*r.check->detail) {
        snprintf(r.check->detail, sizeof r.check->detail,
                 "trained with the template \"%s\": name it where the model is used",
                 hone_chat_template_name(v->session.chat));
    }
    r.check->difference = (double)r.differing;
    r.check->unit = "texts";
    r.check->ok = r.differing == 0;
    return status;
}
