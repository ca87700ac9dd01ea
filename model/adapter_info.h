/*
 * What an adapter file says about itself beside the factors.
 */
#ifndef HONE_MODEL_ADAPTER_INFO_H
#define HONE_MODEL_ADAPTER_INFO_H

#include "base/status.h"

/* NULL: not said. Borrowed. */
typedef struct hone_adapter_info {
    const char
        *base_name; /* the base model, for people and tools; NULL: the path it was opened by */
    const char *base_hash; /* SHA-256 of the base (hone_model_hash): a reader refuses another one */
    const char *chat_template; /* name of the template it was trained with (text/chat.h) */
} hone_adapter_info;

/* The keys for them: in the metadata of adapter_model.safetensors (PEFT warns of keys it does not know in its config),
 * and in GGUF metadata. Other programs ignore them. */
#define HONE_PEFT_BASE_HASH     "hone_base_sha256"
#define HONE_PEFT_CHAT_TEMPLATE "hone_chat_template"
#define HONE_PEFT_VERSION       "hone_version"
#define HONE_GGUF_BASE_HASH     "hone.base_sha256"
#define HONE_GGUF_BASE_NAME     "hone.base_name"
#define HONE_GGUF_CHAT_TEMPLATE "hone.chat_template"
#define HONE_GGUF_VERSION       "hone.version"

/* Fails when both hashes are known and differ; the message names both. */
HONE_MUST_USE hone_status hone_adapter_check_base(const char *recorded, const char *base_hash,
                                                  const char *file, const char *base_path);

#endif
