/*
 * Contents that are lists of parts: {"type": "text", "text": ...}, {"type": "image", ...} and whatever else a template
 * knows. They reach it as they are, as in transformers; one that takes contents for texts is told apart here, because it
 * would print Python's spelling of the list, or nothing.
 */
#include <string.h>

#include "text/chat_parts.h"

static bool has_text(const char *text) {
    return text && text[strspn(text, " \t\r\n")] != '\0';
}

bool hone_message_says(const json_t *message) {
    const json_t *content = json_object_get(message, "content");
    if (!json_is_array(content)) return has_text(json_string_value(content));
    size_t i;
    const json_t *part;
    json_array_foreach(content, i, part) {
        if (has_text(json_string_value(json_object_get(part, "text")))) return true;
    }
    return false;
}

static hone_status append(hone_buf *out, const json_t *text) {
    if (!json_is_string(text)) return HONE_OK;
    return hone_buf_append(out, json_string_value(text), json_string_length(text));
}

hone_status hone_message_text(hone_buf *out, const json_t *message) {
    const json_t *content = json_object_get(message, "content");
    if (!json_is_array(content)) return append(out, content);
    for (size_t i = 0; i < json_array_size(content); i++)
        HONE_TRY(append(out, json_object_get(json_array_get(content, i), "text")));
    return HONE_OK;
}

static bool has_parts(const hone_conversation *c, size_t i) {
    return json_is_array(json_object_get(json_array_get(c->messages, i), "content"));
}

/* Whether the rendering has anything of the message besides its role. */
static bool is_shown(const hone_jinja_output *output, size_t message) {
    for (size_t i = 0; i < output->count; i++) {
        const hone_jinja_run *run = &output->runs[i];
        if (run->message == (int32_t)message && run->field != HONE_JINJA_ROLE) return true;
    }
    return false;
}

/* Templates may leave out a system message; what is said in a turn they do not. */
static bool is_turn(const json_t *message) {
    const char *role = json_string_value(json_object_get(message, "role"));
    return role && strcmp(role, "system") != 0 && strcmp(role, "developer") != 0;
}

hone_status hone_chat_check_parts(const hone_jinja_output *output, const hone_chat_template *chat,
                                  const hone_conversation *c, size_t count) {
    static const char remedy[] = "its content is a list of parts, into which the template does not "
                                 "look; write content as one text";
    if (output->spelled_part_of > 0)
        return hone_fail(HONE_ERR_DATA, "message %zu: the template %s prints it as Python does: %s",
                         output->spelled_part_of, chat->name, remedy);
    for (size_t i = 0; i < count; i++) {
        const json_t *message = json_array_get(c->messages, i);
        if (!has_parts(c, i) || !hone_message_says(message) || !is_turn(message)) continue;
        if (!is_shown(output, i))
            return hone_fail(HONE_ERR_DATA, "message %zu: the template %s leaves it out: %s", i + 1,
                             chat->name, remedy);
    }
    return HONE_OK;
}

hone_status hone_chat_blame_parts(hone_status status, const hone_conversation *c, size_t count) {
    if (status != HONE_ERR_DATA) return status;
    for (size_t i = 0; i < count; i++) {
        if (has_parts(c, i))
            return hone_fail_context(status,
                                     "message %zu: its content is a list of parts, which the "
                                     "template may not take; write content as one text",
                                     i + 1);
    }
    return status;
}
