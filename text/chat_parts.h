/*
 * What the files of the chat layer share.
 */
#ifndef HONE_TEXT_CHAT_PARTS_H
#define HONE_TEXT_CHAT_PARTS_H

#include "text/chat.h"
#include "text/jinja.h"

struct hone_chat_template {
    hone_jinja *jinja;
    char *name, *id;             /* owned */
    char hash[HONE_SHA256_TEXT]; /* of the text */
    json_t *variables;
    char day[16];
    struct tm now;
};

/* One way to call the template. */
typedef struct hone_chat_call {
    size_t count;          /* of the conversation's messages */
    bool prompt;           /* ends with the header of the assistant's next turn */
    bool without_thinking; /* with enable_thinking = false */
} hone_chat_call;

HONE_MUST_USE hone_status hone_chat_render(hone_jinja_output *out, const hone_chat_template *chat,
                                           const hone_tokenizer *tokenizer,
                                           const hone_conversation *conversation,
                                           const hone_chat_call *call);

/* Whether a message's content is more than white space; of parts, those of text count. */
bool hone_message_says(const json_t *message);

/* HONE_ERR_DATA when the rendering of the first `count` messages shows that the template does not look into contents that
 * are lists of parts. */
HONE_MUST_USE hone_status hone_chat_check_parts(const hone_jinja_output *output,
                                                const hone_chat_template *chat,
                                                const hone_conversation *conversation,
                                                size_t count);
/* Says of a rendering that failed that such a list may be why. */
hone_status hone_chat_blame_parts(hone_status status, const hone_conversation *conversation,
                                  size_t count);

/* Bytes of text[from..] up to the end of the token that ends a turn: the first at which generation ends, else the first
 * control token, else the text without white space at its end (all of it when there is nothing else). */
HONE_MUST_USE hone_status hone_chat_turn_end(size_t *out, const hone_tokenizer *tokenizer,
                                             const char *text, size_t from, size_t length);

/* The sample's text and literal spans from a rendering. */
HONE_MUST_USE hone_status hone_chat_take(hone_chat_sample *out, const hone_jinja_output *output);
/* Appends what the rendering has from byte `from` on. */
HONE_MUST_USE hone_status hone_chat_extend(hone_chat_sample *out, const hone_jinja_output *output,
                                           size_t from);
HONE_MUST_USE hone_status hone_chat_supervise(hone_chat_sample *out, hone_span span);

/* Tokens and mask of a sample whose text and spans are there. */
HONE_MUST_USE hone_status hone_chat_encode(hone_chat_sample *out, const hone_tokenizer *tokenizer);

void hone_chat_sample_clear(hone_chat_sample *sample);

#endif
