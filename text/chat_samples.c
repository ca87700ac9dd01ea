#include <string.h>

#include "base/alloc.h"
#include "text/chat_parts.h"

/* What is learned of a message, in the rendering through it. */
typedef struct turn {
    hone_span learned;
    bool composed; /* the prompt for it is another text than what stands before it there */
    hone_buf text; /* that rendering up to the end of what is learned */
} turn;

/* A conversation on its way to samples. */
typedef struct maker {
    hone_chat_samples *out;
    const hone_chat_template *chat;
    const hone_tokenizer *tokenizer;
    const hone_conversation *conversation;
    hone_jinja_output whole, through,
        before;  /* all of it; up to a turn; the prompt for that turn */
    turn *turns; /* [count] */
} maker;

static hone_status render(hone_jinja_output *out, const maker *m, const hone_chat_call *call) {
    return hone_chat_render(out, m->chat, m->tokenizer, m->conversation, call);
}

static bool starts_with(const hone_buf *text, const hone_buf *start) {
    return text->length >= start->length &&
           (start->length == 0 || memcmp(text->data, start->data, start->length) == 0);
}

static bool is_assistant(const hone_conversation *c, size_t i) {
    const char *role = json_string_value(json_object_get(json_array_get(c->messages, i), "role"));
    return role && strcmp(role, "assistant") == 0;
}

/* --- one turn -------------------------------------------------------------------------------------------------- */

/* What of a message is said by the rendering, its role aside. */
typedef struct found {
    size_t begin, end;
    bool any, content, reasoning;
} found;

static found find_message(const hone_jinja_output *output, size_t message) {
    found f = {0};
    for (size_t i = 0; i < output->count; i++) {
        const hone_jinja_run *run = &output->runs[i];
        if (run->message != (int32_t)message || run->field == HONE_JINJA_ROLE) continue;
        if (!f.any) f.begin = run->begin;
        f.end = run->end;
        f.any = true;
        f.content |= run->field == HONE_JINJA_CONTENT;
        f.reasoning |= run->field == HONE_JINJA_REASONING;
    }
    return f;
}

static hone_status untracked(const maker *m, size_t i) {
    return hone_fail(
        HONE_ERR_UNSUPPORTED,
        "message %zu: what the assistant says cannot be found in what the template %s "
        "renders, so that hone cannot tell what is to be learned; use another template "
        "(template: chatml) or learn everything (train_on: all)",
        i + 1, m->chat->name);
}

static bool is_space(char c) {
    return c == ' ' || c == '\n';
}

static bool is_blank(const hone_buf *text, size_t begin, size_t end) {
    while (begin < end && is_space(text->data[begin])) begin++;
    return begin >= end;
}

/* A template that writes no header for the next turn when asked to: its headers stand between the prompt and what the
 * assistant says, and are not learned. */
static hone_status skip_header(size_t *begin, maker *m, size_t i, const found *f) {
    hone_jinja_output plain = {0};
    if (is_blank(&m->through.text, *begin, f->begin)) return HONE_OK;
    hone_status status = render(&plain, m, &(hone_chat_call){.count = i});
    bool same = status == HONE_OK && plain.text.length == m->before.text.length;
    hone_jinja_output_free(&plain);
    if (same) *begin = f->begin;
    return status == HONE_ERR_MEMORY ? status : HONE_OK;
}

/* Where a turn without reasoning is shown with an empty block for it, the block belongs to the prompt. */
static hone_status skip_empty_thinking(size_t *begin, maker *m, size_t i, const found *f) {
    bool set = json_object_get(m->chat->variables, "enable_thinking") != NULL;
    m->out->reasoned += f->reasoning;
    if (set || f->reasoning || f->begin <= *begin ||
        !hone_jinja_mentions(m->chat->jinja, "enable_thinking"))
        return HONE_OK;
    const hone_chat_call call = {.count = i, .prompt = true, .without_thinking = true};
    if (render(&m->before, m, &call) != HONE_OK) return HONE_OK;
    if (m->before.text.length <= *begin || m->before.text.length > f->begin ||
        !starts_with(&m->through.text, &m->before.text)) {
        m->out->reasoned++; /* the content itself holds it */
        return HONE_OK;
    }
    *begin = m->before.text.length;
    m->out->unthinking++;
    return HONE_OK;
}

/* Whether the text before byte `at` of the turn's rendering ends as the prompt for the turn does: with the template's
 * header, and with something of the message before it. */
static bool ends_alike(const maker *m, size_t at) {
    const hone_jinja_output *p = &m->before;
    size_t header = p->count > 0 ? p->text.length - p->runs[p->count - 1].end : p->text.length;
    size_t same = 0;
    while (same < at && same < p->text.length &&
           m->through.text.data[at - 1 - same] == p->text.data[p->text.length - 1 - same])
        same++;
    return same > header;
}

/* Where the prompt differs from what the finished conversation shows further up only (a system message that moves with
 * the last user's), the sample is the prompt and then the turn. White space before the content may belong to the turn. */
static bool find_seam(size_t *begin, const maker *m, const found *f) {
    enum { MOST_SPACE = 4 };
    for (size_t at = f->begin;; at--) {
        *begin = at;
        if (ends_alike(m, at)) return true;
        if (at == 0 || f->begin - at == MOST_SPACE || !is_space(m->through.text.data[at - 1]))
            return false;
    }
}

/* What is learned of the turn: from the end of the prompt for it, or from its first byte, to the token that ends it. */
static hone_status find_turn(maker *m, size_t i) {
    HONE_TRY(render(&m->through, m, &(hone_chat_call){.count = i + 1}));
    found f = find_message(&m->through, i);
    const json_t *message = json_array_get(m->conversation->messages, i);
    if (hone_message_says(message) && !f.any) return untracked(m, i);
    turn *t = &m->turns[i];
    bool asked = render(&m->before, m, &(hone_chat_call){.count = i, .prompt = true}) == HONE_OK;
    bool prompted = asked && starts_with(&m->through.text, &m->before.text) &&
                    (!f.any || m->before.text.length <= f.begin);
    if (!prompted && !f.any) return HONE_OK; /* an empty turn that leaves nothing to find */
    size_t begin = prompted ? m->before.text.length : f.begin;
    if (prompted && f.any) HONE_TRY(skip_header(&begin, m, i, &f));
    if (prompted && f.any) HONE_TRY(skip_empty_thinking(&begin, m, i, &f));
    if (asked && !prompted) t->composed = find_seam(&begin, m, &f);
    if (!prompted && !t->composed) begin = f.begin;
    size_t end, from = f.any ? f.end : begin;
    const hone_buf *text = &m->through.text;
    HONE_TRY(hone_chat_turn_end(&end, m->tokenizer, text->data, from, text->length));
    t->learned = (hone_span){begin, end};
    return hone_buf_append(&t->text, text->data, end);
}

/* --- samples --------------------------------------------------------------------------------------------------- */

static hone_status add_sample(hone_chat_sample **out, maker *m, const hone_jinja_output *text) {
    hone_chat_samples *samples = m->out;
    if (samples->count == samples->capacity) {
        size_t old = samples->capacity;
        HONE_TRY(hone_grow(&samples->items, &samples->capacity, old + 1, sizeof *samples->items));
        memset(samples->items + old, 0, (samples->capacity - old) * sizeof *samples->items);
    }
    *out = &samples->items[samples->count++];
    return hone_chat_take(*out, text);
}

/* The marks of the template itself. */
static hone_status by_generation(maker *m) {
    hone_chat_sample *sample;
    HONE_TRY(add_sample(&sample, m, &m->whole));
    for (size_t i = 0; i < m->whole.count; i++) {
        const hone_jinja_run *run = &m->whole.runs[i];
        if (run->generation)
            HONE_TRY(hone_chat_supervise(sample, (hone_span){run->begin, run->end}));
    }
    return hone_chat_encode(sample, m->tokenizer);
}

static hone_status in_one(maker *m) {
    hone_chat_sample *sample;
    HONE_TRY(add_sample(&sample, m, &m->whole));
    for (size_t i = 0; i < m->conversation->count; i++)
        HONE_TRY(hone_chat_supervise(sample, m->turns[i].learned));
    return hone_chat_encode(sample, m->tokenizer);
}

static hone_status one_turn(maker *m, size_t i) {
    const turn *t = &m->turns[i];
    hone_span learned = t->learned;
    hone_chat_sample *sample;
    HONE_TRY(render(&m->through, m, &(hone_chat_call){.count = i + 1}));
    if (t->composed) {
        HONE_TRY(render(&m->before, m, &(hone_chat_call){.count = i, .prompt = true}));
        HONE_TRY(add_sample(&sample, m, &m->before));
        HONE_TRY(hone_chat_extend(sample, &m->through, learned.begin));
        size_t length = learned.end - learned.begin;
        learned = (hone_span){m->before.text.length, m->before.text.length + length};
    } else {
        HONE_TRY(add_sample(&sample, m, &m->through));
    }
    HONE_TRY(hone_chat_supervise(sample, learned));
    return hone_chat_encode(sample, m->tokenizer);
}

static hone_status turn_by_turn(maker *m) {
    for (size_t i = 0; i < m->conversation->count; i++) {
        if (m->turns[i].learned.end > 0) HONE_TRY(one_turn(m, i));
    }
    return HONE_OK;
}

static hone_status by_turns(maker *m) {
    size_t count = m->conversation->count;
    m->turns = hone_alloc(count, sizeof *m->turns);
    if (!m->turns) return HONE_ERR_MEMORY;
    bool same = true;
    for (size_t i = 0; i < count; i++) {
        if (!is_assistant(m->conversation, i)) continue;
        HONE_TRY(find_turn(m, i));
        same = same && !m->turns[i].composed && starts_with(&m->whole.text, &m->turns[i].text);
    }
    return same ? in_one(m) : turn_by_turn(m);
}

static hone_status learn_all(maker *m) {
    hone_chat_sample *sample;
    HONE_TRY(add_sample(&sample, m, &m->whole));
    HONE_TRY(hone_chat_supervise(sample, (hone_span){0, m->whole.text.length}));
    return hone_chat_encode(sample, m->tokenizer);
}

static void release(maker *m) {
    for (size_t i = 0; m->turns && i < m->conversation->count; i++)
        hone_buf_free(&m->turns[i].text);
    hone_free(m->turns);
    hone_jinja_output_free(&m->whole);
    hone_jinja_output_free(&m->through);
    hone_jinja_output_free(&m->before);
}

hone_status hone_chat_samples_make(hone_chat_samples *out, const hone_chat_template *chat,
                                   const hone_tokenizer *tokenizer,
                                   const hone_conversation *conversation, bool all) {
    maker m = {.out = out, .chat = chat, .tokenizer = tokenizer, .conversation = conversation};
    out->count = out->reasoned = out->unthinking = 0;
    hone_status status = render(&m.whole, &m, &(hone_chat_call){.count = conversation->count});
    if (status == HONE_OK)
        status = all                                      ? learn_all(&m)
                 : hone_jinja_has_generation(chat->jinja) ? by_generation(&m)
                                                          : by_turns(&m);
    release(&m);
    return status;
}

hone_status hone_chat_prompt(hone_chat_sample *out, const hone_chat_template *chat,
                             const hone_tokenizer *tokenizer,
                             const hone_conversation *conversation) {
    hone_jinja_output text = {0};
    hone_status status =
        hone_chat_render(&text, chat, tokenizer, conversation,
                         &(hone_chat_call){.count = conversation->count, .prompt = true});
    if (status == HONE_OK) status = hone_chat_take(out, &text);
    if (status == HONE_OK) status = hone_chat_encode(out, tokenizer);
    hone_jinja_output_free(&text);
    return status;
}
