#include "text/chat.h"

#include <string.h>

#include "base/alloc.h"

/* One rendering in the making. */
typedef struct renderer {
    hone_rendering *out;
    const hone_message *messages;
    size_t count;
    const char *bos, *eos;
    bool generation;
} renderer;

struct hone_chat_template {
    const char *name;
    hone_status (*render)(renderer *r);
    bool bos_if_added; /* bos is not the template's own: only where the tokenizer puts one */
};

/* --- writing ------------------------------------------------------------------------------------------------- */

static hone_status put(renderer *r, const char *text) {
    return hone_buf_puts(&r->out->text, text);
}

static hone_status add_span(hone_span **spans, size_t *count, size_t *capacity, hone_span span) {
    if (span.begin == span.end) return HONE_OK;
    HONE_TRY(hone_grow(spans, capacity, *count + 1, sizeof **spans));
    (*spans)[(*count)++] = span;
    return HONE_OK;
}

/* What somebody wrote: no control tokens inside. */
static hone_status put_literal(renderer *r, const char *text, size_t length) {
    hone_rendering *out = r->out;
    size_t begin = out->text.length;
    HONE_TRY(hone_buf_append(&out->text, text, length));
    return add_span(&out->literal, &out->literal_count, &out->literal_capacity,
                    (hone_span){begin, out->text.length});
}

/* All text since `begin` is what the model must learn to say. */
static hone_status supervise_from(renderer *r, size_t begin) {
    hone_rendering *out = r->out;
    return add_span(&out->supervised, &out->supervised_count, &out->supervised_capacity,
                    (hone_span){begin, out->text.length});
}

/* Content and the text that ends a turn; both carry loss in the assistant's turns. */
static hone_status put_turn(renderer *r, const hone_message *message, const char *content,
                            size_t length, const char *end) {
    size_t begin = r->out->text.length;
    HONE_TRY(put_literal(r, content, length));
    HONE_TRY(put(r, end));
    return strcmp(message->role, "assistant") == 0 ? supervise_from(r, begin) : HONE_OK;
}

/* --- white space, as Python's str.strip() sees it ------------------------------------------------------------ */

static bool is_space(uint32_t c) {
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Bytes of the white-space character that starts at `text`; 0 when there is none. None has more than three. */
static size_t space_length(const char *text, size_t left) {
    const unsigned char *b = (const unsigned char *)text;
    if (left >= 1 && b[0] < 0x80) return is_space(b[0]) ? 1 : 0;
    if (left >= 2 && b[0] == 0xc2) return is_space(b[1]) ? 2 : 0;
    if (left < 3 || (b[0] & 0xf0) != 0xe0) return 0;
    uint32_t c = ((b[0] & 0x0fu) << 12) | ((b[1] & 0x3fu) << 6) | (b[2] & 0x3fu);
    return is_space(c) ? 3 : 0;
}

static size_t strip_right(const char *text, size_t length) {
    const unsigned char *bytes = (const unsigned char *)text;
    while (length > 0) {
        size_t width = 1;
        while (width < 3 && width < length && (bytes[length - width] & 0xc0) == 0x80) width++;
        if (space_length(text + length - width, width) != width) break;
        length -= width;
    }
    return length;
}

static size_t strip_left(const char **text, size_t length) {
    size_t width;
    while ((width = space_length(*text, length)) > 0) {
        *text += width;
        length -= width;
    }
    return length;
}

static size_t strip(const char **text, size_t length) {
    return strip_right(*text, strip_left(text, length));
}

/* --- templates ----------------------------------------------------------------------------------------------- */

static bool has_role(const renderer *r, size_t i, const char *role) {
    return i < r->count && strcmp(r->messages[i].role, role) == 0;
}

static hone_status refuse(const renderer *r, size_t i, const char *why) {
    return hone_fail(HONE_ERR_DATA, "message %zu (role \"%.40s\"): %s", i + 1,
                     i < r->count ? r->messages[i].role : "", why);
}

/* For templates that write the role itself into the header. */
static bool is_plain_name(const char *role) {
    size_t length = strspn(role, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    return length > 0 && role[length] == '\0';
}

static hone_status render_chatml(renderer *r) {
    for (size_t i = 0; i < r->count; i++) {
        const hone_message *m = &r->messages[i];
        if (!is_plain_name(m->role)) return refuse(r, i, "not a role that chatml can name");
        HONE_TRY(put(r, "<|im_start|>"));
        HONE_TRY(put(r, m->role));
        HONE_TRY(put(r, "\n"));
        HONE_TRY(put_turn(r, m, m->content, m->length, "<|im_end|>"));
        HONE_TRY(put(r, "\n"));
    }
    return r->generation ? put(r, "<|im_start|>assistant\n") : HONE_OK;
}

static hone_status put_llama3_header(renderer *r, const char *role) {
    HONE_TRY(put(r, "<|start_header_id|>"));
    HONE_TRY(put(r, role));
    return put(r, "<|end_header_id|>\n\n");
}

/* The original template ends with an assistant header whatever is asked for; here only where it is asked for, as in
 * Llama 3.1 and later. */
static hone_status render_llama3(renderer *r) {
    HONE_TRY(put(r, r->bos));
    for (size_t i = 0; i < r->count; i++) {
        const hone_message *m = &r->messages[i];
        if (!is_plain_name(m->role)) return refuse(r, i, "not a role that llama-3 can name");
        const char *content = m->content;
        size_t length = strip(&content, m->length);
        HONE_TRY(put_llama3_header(r, m->role));
        HONE_TRY(put_turn(r, m, content, length, "<|eot_id|>"));
    }
    return r->generation ? put_llama3_header(r, "assistant") : HONE_OK;
}

static hone_status put_llama2_user(renderer *r, const hone_message *system,
                                   const hone_message *user) {
    const char *content = user->content;
    size_t length = strip_right(content, user->length);
    HONE_TRY(put(r, r->bos));
    HONE_TRY(put(r, "[INST] "));
    if (system) {
        HONE_TRY(put(r, "<<SYS>>\n"));
        HONE_TRY(put_literal(r, system->content, system->length));
        HONE_TRY(put(r, length > 0 ? "\n<</SYS>>\n\n" : "\n<</SYS>>"));
    } else {
        length = strip_left(&content, length);
    }
    HONE_TRY(put_literal(r, content, length));
    return put(r, " [/INST]");
}

static hone_status put_llama2_assistant(renderer *r, const hone_message *m) {
    const char *content = m->content;
    size_t length = strip(&content, m->length);
    size_t begin = r->out->text.length;
    HONE_TRY(put(r, " "));
    HONE_TRY(put_literal(r, content, length));
    HONE_TRY(put(r, " "));
    HONE_TRY(put(r, r->eos));
    return supervise_from(r, begin);
}

static hone_status render_llama2(renderer *r) {
    const hone_message *system = has_role(r, 0, "system") ? &r->messages[0] : NULL;
    size_t first = system ? 1 : 0;
    if (first == r->count)
        return refuse(r, 0, "llama-2 has no place for a system message without a user message");
    for (size_t i = first; i < r->count; i++) {
        bool user = (i - first) % 2 == 0;
        if (!has_role(r, i, user ? "user" : "assistant"))
            return refuse(r, i, "in llama-2 user and assistant must take turns, the user first");
        if (user) {
            HONE_TRY(put_llama2_user(r, i == first ? system : NULL, &r->messages[i]));
        } else {
            HONE_TRY(put_llama2_assistant(r, &r->messages[i]));
        }
    }
    return HONE_OK;
}

static hone_status render_zephyr(renderer *r) {
    for (size_t i = 0; i < r->count; i++) {
        const hone_message *m = &r->messages[i];
        if (has_role(r, i, "system")) {
            HONE_TRY(put(r, "<|system|>\n"));
        } else if (has_role(r, i, "user")) {
            HONE_TRY(put(r, "<|user|>\n"));
        } else if (has_role(r, i, "assistant")) {
            HONE_TRY(put(r, "<|assistant|>\n"));
        } else {
            return refuse(r, i, "zephyr knows the roles system, user and assistant only");
        }
        HONE_TRY(put_turn(r, m, m->content, m->length, r->eos));
        HONE_TRY(put(r, "\n"));
    }
    return r->generation ? put(r, "<|assistant|>\n") : HONE_OK;
}

/* Contents with line ends between; an assistant's turn ends with eos, or with its line end where there is no eos. */
static hone_status render_plain(renderer *r) {
    HONE_TRY(put(r, r->bos));
    bool has_eos = r->eos[0] != '\0';
    for (size_t i = 0; i < r->count; i++) {
        const hone_message *m = &r->messages[i];
        bool ended = has_eos && has_role(r, i, "assistant");
        HONE_TRY(put_turn(r, m, m->content, m->length, ended ? r->eos : "\n"));
        if (ended && (i + 1 < r->count || r->generation)) HONE_TRY(put(r, "\n"));
    }
    return HONE_OK;
}

static const hone_chat_template templates[] = {
    {"chatml", render_chatml, false},  {"llama-2", render_llama2, false},
    {"llama-3", render_llama3, false}, {"zephyr", render_zephyr, false},
    {"plain", render_plain, true},
};

const hone_chat_template *hone_chat_template_find(const char *name) {
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) {
        if (strcmp(templates[i].name, name) == 0) return &templates[i];
    }
    return NULL;
}

const char *hone_chat_template_name(const hone_chat_template *chat) {
    return chat->name;
}

bool hone_chat_template_borrows_bos(const hone_chat_template *chat) {
    return chat->bos_if_added;
}

hone_status hone_chat_render(const hone_chat_template *chat, hone_rendering *out,
                             const hone_message *messages, size_t count, const char *bos,
                             const char *eos, bool generation) {
    hone_rendering_clear(out);
    if (count == 0) return hone_fail(HONE_ERR_DATA, "a conversation without messages");
    renderer r = {out, messages, count, bos, eos, generation};
    return chat->render(&r);
}

void hone_rendering_clear(hone_rendering *rendering) {
    hone_buf_clear(&rendering->text);
    rendering->supervised_count = 0;
    rendering->literal_count = 0;
}

void hone_rendering_free(hone_rendering *rendering) {
    if (!rendering) return;
    hone_buf_free(&rendering->text);
    hone_free(rendering->supervised);
    hone_free(rendering->literal);
    *rendering = (hone_rendering){0};
}
