/*
 * Chat templates: conversations to the text that a model is trained on and prompted with.
 *
 * Every template is Jinja (text/jinja.h): the model's own, one of those that hone brings by name, or a file. Rendering
 * knows which message each byte came from, so that the loss mask follows from it for any template: of every assistant's
 * turn the model learns what comes after the prompt for that turn, through its content to the token that ends it. Where
 * the template has {% generation %} blocks, they say it.
 */
#ifndef HONE_TEXT_CHAT_H
#define HONE_TEXT_CHAT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "base/buf.h"
#include "base/sha256.h"
#include "base/status.h"
#include "text/tokenizer.h"

typedef struct hone_chat_template hone_chat_template;

/* The names of the templates that hone brings, "chatml, llama-2, ...", and the Jinja text of one; NULL for another. */
const char *hone_chat_names(void);
const char *hone_chat_source(const char *name);

/* Compiles a template. `name` is for messages; `id` names it in files: NULL for the SHA-256 of its text. */
HONE_MUST_USE hone_status hone_chat_template_new(hone_chat_template **out, const char *text,
                                                 size_t length, const char *name, const char *id);

/* One that hone brings; HONE_ERR_USAGE for another name. */
HONE_MUST_USE hone_status hone_chat_template_named(hone_chat_template **out, const char *name);
void hone_chat_template_free(hone_chat_template *chat); /* takes NULL */

const char *hone_chat_template_name(const hone_chat_template *chat);
const char *hone_chat_template_id(const hone_chat_template *chat);
const char *hone_chat_template_hash(const hone_chat_template *chat); /* SHA-256 of its text */

/* Sets variables that the template may read (enable_thinking ...): a JSON object as text; those that were set stay
 * unless they are named again. HONE_ERR_USAGE when it is none. */
HONE_MUST_USE hone_status hone_chat_template_set(hone_chat_template *chat, const char *variables);
/* As above for those that are not set yet. */
HONE_MUST_USE hone_status hone_chat_template_suggest(hone_chat_template *chat,
                                                     const char *variables);

/* The variables as text, "" when there are none; the caller frees it with hone_buf_free. */
HONE_MUST_USE hone_status hone_chat_template_variables(hone_buf *out,
                                                       const hone_chat_template *chat);

/* The day that the template is told, "2024-07-26"; today until it is set. */
HONE_MUST_USE hone_status hone_chat_template_date(hone_chat_template *chat, const char *date);
const char *hone_chat_template_day(const hone_chat_template *chat);

/* What decides its renderings, as a line: id, text, variables, and the day where it reads it. */
HONE_MUST_USE hone_status hone_chat_template_key(char out[HONE_SHA256_TEXT],
                                                 const hone_chat_template *chat);

/* All borrowed. Messages are objects with role, content (a text, a list of parts, or null), and whatever the template
 * reads besides (reasoning_content, tool_calls, tool_call_id, name ...). */
typedef struct hone_conversation {
    const json_t *messages;          /* an array */
    size_t count;                    /* of them, the first so many */
    const json_t *tools, *documents; /* NULL: none */
} hone_conversation;

/* {"role": ..., "content": ...}; a new reference, NULL when memory is out or `content` is not UTF-8. */
json_t *hone_message_new(const char *role, const char *content, size_t length);

/* Appends what a message says, as people read it: its content; of a list of parts, the texts one after the other. */
HONE_MUST_USE hone_status hone_message_text(hone_buf *out, const json_t *message);

/* A text with two lists of spans over it, each sorted and apart. */
typedef struct hone_rendering {
    hone_buf text;
    hone_span *supervised; /* what the model must learn to say */
    size_t supervised_count, supervised_capacity;
    hone_span *literal; /* what people wrote: no control tokens inside */
    size_t literal_count, literal_capacity;
} hone_rendering;

/* A rendering and its tokens. mask[i] = 1: the first byte of token i lies in a supervised span: a token that begins
 * before the span (a merge across the seam) belongs to the prompt, one that runs past its end to the answer. Token 0
 * never. */
typedef struct hone_chat_sample {
    hone_rendering rendering;
    hone_encoding encoding;
    uint8_t *mask;
    size_t mask_capacity;
} hone_chat_sample;

typedef struct hone_chat_samples {
    hone_chat_sample *items; /* [count]; the memory is used again */
    size_t count, capacity;
    /* Assistant's turns with reasoning, and those without whose empty block of thinking belongs to the prompt, as
     * enable_thinking = false gives it. */
    size_t reasoned, unthinking;
} hone_chat_samples;

/* The prompt for the assistant's next turn, and its tokens: control tokens are parsed outside of what people wrote,
 * nothing is added. *out is cleared first. What the model sees when it answers comes from here. */
HONE_MUST_USE hone_status hone_chat_prompt(hone_chat_sample *out, const hone_chat_template *chat,
                                           const hone_tokenizer *tokenizer,
                                           const hone_conversation *conversation);

/* What the model is trained on: the conversation as one sample; or, where the text of a turn changes with what follows
 * it, one sample for each of the assistant's turns, which alone is learned there, so that training and use agree.
 * HONE_ERR_DATA for what the template refuses; HONE_ERR_UNSUPPORTED when an assistant's content cannot be found in the
 * rendering. `all`: one sample, nothing is looked for, every token is learned. */
HONE_MUST_USE hone_status hone_chat_samples_make(hone_chat_samples *out,
                                                 const hone_chat_template *chat,
                                                 const hone_tokenizer *tokenizer,
                                                 const hone_conversation *conversation, bool all);

void hone_chat_sample_free(hone_chat_sample *sample);    /* takes a zeroed one */
void hone_chat_samples_free(hone_chat_samples *samples); /* takes a zeroed one */

#endif
