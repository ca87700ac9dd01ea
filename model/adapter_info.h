/*
 * What an adapter file says about itself beside the factors.
 */
#ifndef HONE_MODEL_ADAPTER_INFO_H
#define HONE_MODEL_ADAPTER_INFO_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/sha256.h"
#include "formats/safetensors.h"
#include "formats/safetensors_writer.h"

/* NULL: not said. Borrowed. Hashes are SHA-256, as text. */
typedef struct hone_adapter_info {
    const char
        *base_name; /* the base model, for people and tools; NULL: the path it was opened by */
    const char *base_hash;       /* hone_model_hash: with another one a reader says so */
    const char *tokenizer_hash;  /* hone_tokenizer_hash: a reader refuses another one */
    const char *vocabulary_hash; /* hone_tokenizer_vocabulary_hash: a reader refuses another one */
    const char *chat_template;   /* id of the template it was trained with (text/chat.h) */
    const char *template_hash;   /* of the template; with another one a reader says so */
    const char *chat_variables;  /* that the template is to be given; NULL or "": none */
} hone_adapter_info;

/* The keys for them: in the metadata of a folder's safetensors (PEFT warns of keys it does not know in its config),
 * and in GGUF metadata. Other programs ignore them. */
#define HONE_PEFT_BASE_HASH       "hone_base_sha256"
#define HONE_PEFT_TOKENIZER_HASH  "hone_tokenizer_sha256"
#define HONE_PEFT_VOCABULARY_HASH "hone_vocabulary_sha256"
#define HONE_PEFT_CHAT_TEMPLATE   "hone_chat_template"
#define HONE_PEFT_CHAT_VARIABLES  "hone_chat_variables"
#define HONE_PEFT_TEMPLATE_HASH   "hone_chat_template_sha256"
#define HONE_PEFT_VERSION         "hone_version"
#define HONE_GGUF_BASE_HASH       "hone.base_sha256"
#define HONE_GGUF_BASE_NAME       "hone.base_name"
#define HONE_GGUF_TOKENIZER_HASH  "hone.tokenizer_sha256"
#define HONE_GGUF_VOCABULARY_HASH "hone.vocabulary_sha256"
#define HONE_GGUF_CHAT_TEMPLATE   "hone.chat_template"
#define HONE_GGUF_CHAT_VARIABLES  "hone.chat_variables"
#define HONE_GGUF_TEMPLATE_HASH   "hone.chat_template_sha256"
#define HONE_GGUF_VERSION         "hone.version"

/* Appends the chat_variables of an adapter's file or folder; "" where it says none. */
HONE_MUST_USE hone_status hone_adapter_chat_variables(hone_buf *out, const char *path);

/* What an adapter says that it was trained with and is not used with, where that may be meant. */
typedef struct hone_adapter_doubts {
    char other_base[HONE_SHA256_TEXT]; /* the base of its training; "": this one, or not said */
    bool other_template;
} hone_adapter_doubts;

/* What a file recorded against what it is to be used with; what either does not say is not compared. *doubts tells of
 * another base and of another template. A model has another hash in each of its forms (a folder, its GGUF, that in fewer
 * bits), and its tokenizer has, too: on another base the vocabularies are compared, on the same the tokenizers. Where those
 * differ token ids do, and the adapter is refused, by both hashes. */
HONE_MUST_USE hone_status hone_adapter_check_use(hone_adapter_doubts *doubts,
                                                 const hone_adapter_info *recorded,
                                                 const hone_adapter_info *use, const char *file,
                                                 const char *base_path);

/* The same from the metadata of a safetensors file, and into it with "format". */
HONE_MUST_USE hone_status hone_adapter_check_tensors_use(hone_adapter_doubts *doubts,
                                                         const hone_safetensors *tensors,
                                                         const hone_adapter_info *use,
                                                         const char *base_path);
HONE_MUST_USE hone_status hone_adapter_put_info(hone_safetensors_writer *writer,
                                                const hone_adapter_info *info, const char *format);

#endif
