/*
 * Chat templates by name: messages to the text that a model is trained on and prompted with.
 *
 * Rendering keeps track of where each part came from, so that the loss mask follows from the rendering: the assistant's
 * content and the token that ends the turn carry loss; headers, other turns and what follows the end token do not.
 */
#ifndef HONE_TEXT_CHAT_H
#define HONE_TEXT_CHAT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/status.h"
#include "text/tokenizer.h"

typedef struct hone_message {
    const char *role; /* "system", "user", "assistant"; borrowed */
    const char *content;
    size_t length;
} hone_message;

typedef struct hone_chat_template hone_chat_template; /* a static row of a table */

/* chatml, llama-2, llama-3, zephyr, plain; NULL for another name. `plain` writes the contents with line ends between. */
const hone_chat_template *hone_chat_template_find(const char *name);
const char *hone_chat_template_name(const hone_chat_template *chat);

/* Whether the template writes bos only where the tokenizer puts one by itself (plain), not by its own rule. */
bool hone_chat_template_borrows_bos(const hone_chat_template *chat);

/* A text with two lists of spans over it, each sorted and apart. */
typedef struct hone_rendering {
    hone_buf text;
    hone_span *supervised; /* what the model must learn to say */
    size_t supervised_count, supervised_capacity;
    hone_span *literal; /* what people wrote: no control tokens inside */
    size_t literal_count, literal_capacity;
} hone_rendering;

/* Renders into *out (cleared first). `generation` ends with the header of the assistant's next turn. Messages that the
 * template cannot render (a role it has no place for) are refused with the message's number. bos and eos are the
 * texts of those tokens, "" where the model has none. */
HONE_MUST_USE hone_status hone_chat_render(const hone_chat_template *chat, hone_rendering *out,
                                           const hone_message *messages, size_t count,
                                           const char *bos, const char *eos, bool generation);

/* Renders with the texts of the tokenizer's own bos and eos, and encodes: control tokens are parsed outside of literal
 * spans, nothing is added. *rendering and *out are cleared first. What the model sees of a conversation, in training,
 * in evaluation and when it answers, comes from here. */
HONE_MUST_USE hone_status hone_chat_encode(hone_encoding *out, hone_rendering *rendering,
                                           const hone_chat_template *chat,
                                           const hone_tokenizer *tokenizer,
                                           const hone_message *messages, size_t count,
                                           bool generation);

/* Sets mask[i] to 1 when the first byte of token i lies in a supervised span: a token that begins before the span (a
 * merge across the seam) belongs to the prompt, one that runs past its end belongs to the answer. Token 0 never. */
void hone_chat_mask(uint8_t *mask, const hone_encoding *encoding, const hone_rendering *rendering);

void hone_rendering_clear(hone_rendering *rendering);
void hone_rendering_free(hone_rendering *rendering);

#endif
