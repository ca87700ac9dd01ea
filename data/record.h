/*
 * A record's JSON: written in one canonical spelling, and read back.
 *
 * Canonical: {"text":...} or {"messages":[{"role":...,"content":...},...]} without spaces, in UTF-8; only what JSON must
 * escape is escaped. Messages may have more members (tool_calls, reasoning_content ...), records "tools" and "documents"
 * after the messages. Equal records are equal bytes.
 */
#ifndef HONE_DATA_RECORD_H
#define HONE_DATA_RECORD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/status.h"
#include "text/chat.h"

/* Both replace what *out holds. */
HONE_MUST_USE hone_status hone_record_put_text(hone_buf *out, const char *text, size_t length);
HONE_MUST_USE hone_status hone_record_put_messages(hone_buf *out,
                                                   const hone_conversation *conversation);

/* A record taken apart: `text`, or `messages`. Everything is owned by the struct, which may be used again. */
typedef struct hone_record {
    void *json;       /* what the strings below stand in */
    const char *text; /* NULL for a conversation */
    size_t text_length;
    hone_conversation conversation;
} hone_record;

/* `name` stands for the record in messages. */
HONE_MUST_USE hone_status hone_record_parse(hone_record *out, const char *json, size_t length,
                                            const char *name);
void hone_record_free(hone_record *record); /* takes a zeroed one */

#endif
