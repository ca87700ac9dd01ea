#include "data/record.h"

#include <string.h>

#include "base/alloc.h"
#include "formats/json.h"

hone_status hone_record_put_text(hone_buf *out, const char *text, size_t length) {
    hone_buf_clear(out);
    HONE_TRY(hone_buf_puts(out, "{\"text\":"));
    HONE_TRY(hone_json_append_string(out, text, length));
    return hone_buf_puts(out, "}");
}

static hone_status put_member(hone_buf *out, const char *name, const json_t *value) {
    if (!value || json_is_null(value)) return HONE_OK;
    HONE_TRY(hone_buf_printf(out, ",\"%s\":", name));
    return hone_json_append(out, value, 0);
}

static hone_status put_message(hone_buf *out, json_t *message) {
    const char *key, *before = "{";
    json_t *value;
    json_object_foreach(message, key, value) {
        HONE_TRY(hone_buf_printf(out, "%s\"%s\":", before, key));
        HONE_TRY(hone_json_append(out, value, 0));
        before = ",";
    }
    return hone_buf_puts(out, "}");
}

hone_status hone_record_put_messages(hone_buf *out, const hone_conversation *conversation) {
    hone_buf_clear(out);
    HONE_TRY(hone_buf_puts(out, "{\"messages\":["));
    for (size_t i = 0; i < conversation->count; i++) {
        if (i > 0) HONE_TRY(hone_buf_puts(out, ","));
        HONE_TRY(put_message(out, json_array_get(conversation->messages, i)));
    }
    HONE_TRY(hone_buf_puts(out, "]"));
    HONE_TRY(put_member(out, "tools", conversation->tools));
    HONE_TRY(put_member(out, "documents", conversation->documents));
    return hone_buf_puts(out, "}");
}

static hone_status check_message(const json_t *message, const char *name, size_t number) {
    if (json_is_string(json_object_get(message, "role"))) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT, "%s: message %zu lacks a role", name, number);
}

hone_status hone_record_parse(hone_record *out, const char *json, size_t length, const char *name) {
    hone_record_free(out);
    json_t *root;
    HONE_TRY(hone_json_parse(&root, json, length, name));
    out->json = root;
    const json_t *text = json_object_get(root, "text");
    const json_t *messages = json_object_get(root, "messages");
    if (json_is_string(text)) {
        out->text = json_string_value(text);
        out->text_length = json_string_length(text);
        return HONE_OK;
    }
    if (!json_is_array(messages))
        return hone_fail(HONE_ERR_FORMAT, "%s: neither \"text\" nor \"messages\" in it", name);
    for (size_t i = 0; i < json_array_size(messages); i++)
        HONE_TRY(check_message(json_array_get(messages, i), name, i + 1));
    out->conversation = (hone_conversation){.messages = messages,
                                            .count = json_array_size(messages),
                                            .tools = json_object_get(root, "tools"),
                                            .documents = json_object_get(root, "documents")};
    return HONE_OK;
}

void hone_record_free(hone_record *record) {
    if (record->json) json_decref(record->json);
    *record = (hone_record){0};
}
