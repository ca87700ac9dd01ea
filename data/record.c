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

hone_status hone_record_put_messages(hone_buf *out, const hone_message *messages, size_t count) {
    hone_buf_clear(out);
    HONE_TRY(hone_buf_puts(out, "{\"messages\":["));
    for (size_t i = 0; i < count; i++) {
        HONE_TRY(hone_buf_puts(out, i > 0 ? ",{\"role\":" : "{\"role\":"));
        HONE_TRY(hone_json_append_string(out, messages[i].role, strlen(messages[i].role)));
        HONE_TRY(hone_buf_puts(out, ",\"content\":"));
        HONE_TRY(hone_json_append_string(out, messages[i].content, messages[i].length));
        HONE_TRY(hone_buf_puts(out, "}"));
    }
    return hone_buf_puts(out, "]}");
}

static hone_status take_message(hone_record *out, const json_t *message, const char *name) {
    const json_t *role = json_object_get(message, "role");
    const json_t *content = json_object_get(message, "content");
    if (!json_is_string(role) || !json_is_string(content))
        return hone_fail(HONE_ERR_FORMAT, "%s: message %zu lacks role or content as text", name,
                         out->count + 1);
    HONE_TRY(hone_grow(&out->messages, &out->capacity, out->count + 1, sizeof *out->messages));
    out->messages[out->count++] = (hone_message){
        json_string_value(role), json_string_value(content), json_string_length(content)};
    return HONE_OK;
}

hone_status hone_record_parse(hone_record *out, const char *json, size_t length, const char *name) {
    if (out->json) json_decref(out->json);
    out->json = NULL;
    out->text = NULL;
    out->count = 0;
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
        HONE_TRY(take_message(out, json_array_get(messages, i), name));
    return HONE_OK;
}

void hone_record_free(hone_record *record) {
    if (record->json) json_decref(record->json);
    hone_free(record->messages);
    *record = (hone_record){0};
}
