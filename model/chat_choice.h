/*
 * Which chat template a model is used with: its own, one by name, or a file.
 */
#ifndef HONE_MODEL_CHAT_CHOICE_H
#define HONE_MODEL_CHAT_CHOICE_H

#include "text/chat.h"
#include "text/tokenizer.h"

/* `name` is the name of a template that hone brings, the path of a Jinja file (it has a '/' or ends in .jinja), or "auto"
 * (NULL): the model's own (chat_template.jinja, tokenizer_config.json, GGUF metadata); a model without one takes chatml
 * when its tokens are in the vocabulary, else plain. *out is the caller's (hone_chat_template_free). HONE_ERR_USAGE for
 * an unknown name; a template that cannot be compiled is refused with line and column. */
HONE_MUST_USE hone_status hone_chat_choose(hone_chat_template **out, const char *name,
                                           const char *model_path, const hone_tokenizer *tokenizer);

/* The model's own template text, appended; nothing where it has none. */
HONE_MUST_USE hone_status hone_chat_own_template(hone_buf *out, const char *model_path);

#endif
