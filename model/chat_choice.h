/*
 * Which chat template a model wants: by name, or recognised from the template text that comes with it.
 */
#ifndef HONE_MODEL_CHAT_CHOICE_H
#define HONE_MODEL_CHAT_CHOICE_H

#include "text/chat.h"
#include "text/tokenizer.h"

/* `name` is a template's name, or "auto": the named template whose marks stand in the model's own chat template
 * (tokenizer_config.json, chat_template.jinja, GGUF metadata); without one, chatml when its tokens are in the
 * vocabulary, else plain. HONE_ERR_USAGE for an unknown name. */
HONE_MUST_USE hone_status hone_chat_choose(const hone_chat_template **out, const char *name,
                                           const char *model_path, const hone_tokenizer *tokenizer);

/* The model's own template text, appended; nothing where it has none. */
HONE_MUST_USE hone_status hone_chat_own_template(hone_buf *out, const char *model_path);

#endif
