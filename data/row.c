#include "data/row.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "data/record.h"
#include "formats/json.h"
#include "text/utf8.h"

/* A conversation being put together. */
typedef struct turns {
    json_t *messages; /* owned; NULL until there is one */
    const json_t *tools, *documents;
} turns;

struct hone_row_kind {
    const char *name;
    const char *needs[3]; /* fields that must be there for the shape to be this one */
    /* For shapes of two or three texts. */
    const char *prompt, *more, *completion;
    hone_status (*make)(int64_t *made, const hone_row_shape *shape, const json_t *row,
                        hone_buf *record, hone_row_take take, void *context);
};

static void turns_free(turns *t) {
    json_decref(t->messages);
}

/* Takes over `message`. */
static hone_status turns_put(turns *t, json_t *message) {
    if (!t->messages) t->messages = json_array();
    return json_array_append_new(t->messages, message) == 0
               ? HONE_OK
               : hone_fail(HONE_ERR_MEMORY, "no memory for a message");
}

static hone_status turns_add(turns *t, const char *role, const char *content, size_t length) {
    return turns_put(t, hone_message_new(role, content, length));
}

/* Takes over `content` as a new message. */
static hone_status turns_add_joined(turns *t, const char *role, hone_buf *content) {
    hone_status status = turns_add(t, role, content->data ? content->data : "", content->length);
    hone_buf_free(content);
    return status;
}

static bool is_blank(const char *text, size_t length) {
    while (length > 0) {
        int32_t code;
        size_t width = hone_utf8_next(&code, text, length);
        if (!hone_utf8_is_space(code)) return false;
        text += width;
        length -= width;
    }
    return true;
}

static bool is_blank_value(const json_t *value) {
    return !value || is_blank(json_string_value(value), json_string_length(value));
}

/* Of a list of parts: when all are of text, and blank. */
static bool is_blank_content(const json_t *content) {
    if (!json_is_array(content)) return is_blank_value(content);
    size_t i;
    const json_t *part;
    json_array_foreach(content, i, part) {
        const json_t *text = json_object_get(part, "text");
        if (!text || !is_blank_value(text)) return false;
    }
    return true;
}

static hone_status get_text(const json_t **out, const json_t *row, const char *field) {
    *out = json_object_get(row, field);
    if (json_is_string(*out)) return HONE_OK;
    if (!*out) return hone_fail(HONE_ERR_DATA, "lacks the field \"%s\"", field);
    return hone_fail(HONE_ERR_DATA, "the field \"%s\" is %s where text is needed", field,
                     hone_json_kind(*out));
}

/* An absent or null field is NULL. */
static hone_status get_optional(const json_t **out, const json_t *row, const char *field) {
    *out = json_object_get(row, field);
    if (*out && !json_is_null(*out)) return get_text(out, row, field);
    *out = NULL;
    return HONE_OK;
}

static hone_status hand_on(int64_t *made, const turns *t, hone_buf *record, hone_row_take take,
                           void *context) {
    const hone_conversation conversation = {.messages = t->messages,
                                            .count = json_array_size(t->messages),
                                            .tools = t->tools,
                                            .documents = t->documents};
    HONE_TRY(hone_record_put_messages(record, &conversation));
    ++*made;
    return take(context, record);
}

/* --- {"text"} ------------------------------------------------------------------------------------------------ */

static hone_status make_text(int64_t *made, const hone_row_shape *shape, const json_t *row,
                             hone_buf *record, hone_row_take take, void *context) {
    (void)shape;
    const json_t *text;
    HONE_TRY(get_text(&text, row, "text"));
    if (is_blank_value(text)) return HONE_OK;
    HONE_TRY(hone_record_put_text(record, json_string_value(text), json_string_length(text)));
    ++*made;
    return take(context, record);
}

/* --- prompt and completion under their several names ----------------------------------------------------------- */

/* Instruction and input are one message, with an empty line between. */
static hone_status add_prompt(turns *t, const json_t *prompt, const json_t *more) {
    if (is_blank_value(more))
        return turns_add(t, "user", json_string_value(prompt), json_string_length(prompt));
    hone_buf joined = {0};
    hone_status status =
        hone_buf_append(&joined, json_string_value(prompt), json_string_length(prompt));
    if (status == HONE_OK) status = hone_buf_puts(&joined, "\n\n");
    if (status == HONE_OK)
        status = hone_buf_append(&joined, json_string_value(more), json_string_length(more));
    if (status == HONE_OK) status = turns_add_joined(t, "user", &joined);
    hone_buf_free(&joined);
    return status;
}

static hone_status make_pair(int64_t *made, const json_t *system, const json_t *prompt,
                             const json_t *more, const json_t *completion, hone_buf *record,
                             hone_row_take take, void *context) {
    if (is_blank_value(completion)) return HONE_OK;
    turns t = {0};
    hone_status status = HONE_OK;
    if (!is_blank_value(system))
        status = turns_add(&t, "system", json_string_value(system), json_string_length(system));
    if (status == HONE_OK) status = add_prompt(&t, prompt, more);
    if (status == HONE_OK)
        status = turns_add(&t, "assistant", json_string_value(completion),
                           json_string_length(completion));
    if (status == HONE_OK) status = hand_on(made, &t, record, take, context);
    turns_free(&t);
    return status;
}

static hone_status make_flat(int64_t *made, const hone_row_shape *shape, const json_t *row,
                             hone_buf *record, hone_row_take take, void *context) {
    const hone_row_kind *kind = shape->kind;
    const json_t *system;
    const json_t *prompt;
    const json_t *more = NULL;
    const json_t *completion;
    HONE_TRY(get_text(&prompt, row, kind->prompt));
    if (kind->more) HONE_TRY(get_optional(&more, row, kind->more));
    HONE_TRY(get_text(&completion, row, kind->completion));
    HONE_TRY(get_optional(&system, row, "system"));
    return make_pair(made, system, prompt, more, completion, record, take, context);
}

/* Self-instruct: one instruction, a record for each of its instances. */
static hone_status make_instances(int64_t *made, const hone_row_shape *shape, const json_t *row,
                                  hone_buf *record, hone_row_take take, void *context) {
    (void)shape;
    const json_t *instruction;
    HONE_TRY(get_text(&instruction, row, "instruction"));
    const json_t *instances = json_object_get(row, "instances");
    if (!json_is_array(instances)) return hone_fail(HONE_ERR_DATA, "lacks the list \"instances\"");
    for (size_t i = 0; i < json_array_size(instances); i++) {
        const json_t *instance = json_array_get(instances, i);
        const json_t *input = NULL;
        const json_t *output;
        hone_status status = get_optional(&input, instance, "input");
        if (status == HONE_OK) status = get_text(&output, instance, "output");
        if (status != HONE_OK) return hone_fail_context(status, "instance %zu", i + 1);
        HONE_TRY(make_pair(made, NULL, instruction, input, output, record, take, context));
    }
    return HONE_OK;
}

/* --- conversations --------------------------------------------------------------------------------------------- */

static const char *const roles[][2] = {
    {"system", "system"},  {"developer", "system"},  {"user", "user"},
    {"human", "user"},     {"prompter", "user"},     {"assistant", "assistant"},
    {"gpt", "assistant"},  {"chatgpt", "assistant"}, {"bing", "assistant"},
    {"bard", "assistant"}, {"bot", "assistant"},     {"model", "assistant"},
    {"tool", "tool"},
};

static const char *role_of(const char *name) {
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (strcmp(roles[i][0], name) == 0) return roles[i][1];
    }
    return NULL;
}

/* A list of {"type": "text", "text": ...}, {"type": "image", ...} goes to the template as it is. */
static hone_status add_parts(turns *t, const char *role, const json_t *parts) {
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i);
        if (!json_is_object(part))
            return hone_fail(HONE_ERR_DATA,
                             "content part %zu is %s where an object is needed, as in {\"type\": "
                             "\"text\", \"text\": \"...\"}",
                             i + 1, hone_json_kind(part));
    }
    return turns_put(t, json_pack("{s:s, s:O}", "role", role, "content", parts));
}

/* A message that calls tools may have nothing else to say. */
static hone_status add_content(turns *t, const char *role, const json_t *content, bool calls) {
    if (json_is_array(content)) return add_parts(t, role, content);
    if (calls && (!content || json_is_null(content))) return turns_add(t, role, "", 0);
    if (!json_is_string(content))
        return hone_fail(HONE_ERR_DATA, "lacks \"content\" (or \"value\") as text");
    return turns_add(t, role, json_string_value(content), json_string_length(content));
}

/* What templates read besides role and content goes along. */
static hone_status add_members(json_t *to, const json_t *message) {
    static const char *const names[] = {"name",      "reasoning_content", "thinking",
                                        "reasoning", "tool_calls",        "tool_call_id"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *value = json_object_get(message, names[i]);
        if (!value || json_is_null(value)) continue;
        if (json_object_set(to, names[i], value) != 0)
            return hone_fail(HONE_ERR_MEMORY, "no memory for a message");
    }
    return HONE_OK;
}

static hone_status add_message(turns *t, const json_t *message) {
    const json_t *role = json_object_get(message, "role");
    const json_t *content = json_object_get(message, "content");
    if (!role) role = json_object_get(message, "from");
    if (!content) content = json_object_get(message, "value");
    if (!json_is_string(role))
        return hone_fail(HONE_ERR_DATA, "lacks \"role\" (or \"from\") as text");
    const char *known = role_of(json_string_value(role));
    if (!known)
        return hone_fail(
            HONE_ERR_DATA,
            "the role \"%.40s\" is none of system, user (human), assistant (gpt), tool",
            json_string_value(role));
    HONE_TRY(add_content(t, known, content, json_object_get(message, "tool_calls") != NULL));
    return add_members(json_array_get(t->messages, json_array_size(t->messages) - 1), message);
}

static hone_status add_messages(turns *t, const json_t *list) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        hone_status status = add_message(t, json_array_get(list, i));
        if (status != HONE_OK) return hone_fail_context(status, "message %zu", i + 1);
    }
    return HONE_OK;
}

static bool all_blank(const turns *t) {
    size_t i;
    json_t *message;
    json_array_foreach(t->messages, i, message) {
        if (!is_blank_content(json_object_get(message, "content"))) return false;
    }
    return true;
}

static hone_status make_messages(int64_t *made, const hone_row_shape *shape, const json_t *row,
                                 hone_buf *record, hone_row_take take, void *context) {
    const char *field = shape->kind->needs[0];
    const json_t *list = json_object_get(row, field);
    if (!json_is_array(list)) return hone_fail(HONE_ERR_DATA, "lacks the list \"%s\"", field);
    turns t = {.tools = json_object_get(row, "tools"),
               .documents = json_object_get(row, "documents")};
    const json_t *system = json_object_get(row, "system");
    hone_status status = HONE_OK;
    if (json_is_string(system) && !is_blank_value(system))
        status = turns_add(&t, "system", json_string_value(system), json_string_length(system));
    if (status == HONE_OK) status = add_messages(&t, list);
    if (status == HONE_OK && !all_blank(&t)) status = hand_on(made, &t, record, take, context);
    turns_free(&t);
    return status;
}

/* --- fields named by the person -------------------------------------------------------------------------------- */

static const char *const map_roles[][2] = {
    {"text", "text"}, {"system", "system"},        {"prompt", "user"},
    {"user", "user"}, {"completion", "assistant"}, {"assistant", "assistant"},
};

static const char *map_role_of(const char *role) {
    for (size_t i = 0; i < sizeof map_roles / sizeof *map_roles; i++) {
        if (strcmp(map_roles[i][0], role) == 0) return map_roles[i][1];
    }
    return NULL;
}

hone_status hone_row_check_map(const hone_data_map *map, size_t count) {
    size_t texts = 0;
    size_t answers = 0;
    for (size_t i = 0; i < count; i++) {
        const char *role = map_role_of(map[i].role);
        if (!role)
            return hone_fail(HONE_ERR_USAGE,
                             "--map %s=%s: the role is none of text, prompt, completion, system, "
                             "user, assistant",
                             map[i].field, map[i].role);
        texts += strcmp(role, "text") == 0;
        answers += strcmp(role, "assistant") == 0;
    }
    if (texts > 0 && texts < count)
        return hone_fail(HONE_ERR_USAGE, "--map: text cannot stand together with other roles");
    if (texts == 0 && answers == 0)
        return hone_fail(HONE_ERR_USAGE,
                         "--map names no text, completion or assistant: there is nothing to learn");
    return HONE_OK;
}

/* All fields of one role become one text, in the order of the map, with an empty line between. */
static hone_status join_mapped(hone_buf *out, const hone_row_shape *shape, const json_t *row,
                               const char *role) {
    for (size_t i = 0; i < shape->map_count; i++) {
        if (strcmp(map_role_of(shape->map[i].role), role) != 0) continue;
        const json_t *text;
        HONE_TRY(get_text(&text, row, shape->map[i].field));
        if (is_blank_value(text)) continue;
        if (out->length > 0) HONE_TRY(hone_buf_puts(out, "\n\n"));
        HONE_TRY(hone_buf_append(out, json_string_value(text), json_string_length(text)));
    }
    return out->data ? HONE_OK : hone_buf_puts(out, "");
}

static hone_status make_mapped_turns(turns *t, const hone_row_shape *shape, const json_t *row) {
    static const char *const order[] = {"system", "user", "assistant"};
    for (size_t i = 0; i < 3; i++) {
        hone_buf text = {0};
        hone_status status = join_mapped(&text, shape, row, order[i]);
        bool wanted = text.length > 0 || strcmp(order[i], "system") != 0;
        if (status == HONE_OK && wanted) status = turns_add_joined(t, order[i], &text);
        hone_buf_free(&text);
        HONE_TRY(status);
    }
    return HONE_OK;
}

static hone_status make_mapped_text(int64_t *made, const hone_row_shape *shape, const json_t *row,
                                    hone_buf *record, hone_row_take take, void *context) {
    hone_buf text = {0};
    hone_status status = join_mapped(&text, shape, row, "text");
    if (status == HONE_OK && text.length > 0) {
        status = hone_record_put_text(record, text.data, text.length);
        ++*made;
        if (status == HONE_OK) status = take(context, record);
    }
    hone_buf_free(&text);
    return status;
}

static bool ends_with_text(const turns *t) {
    const json_t *last = json_array_get(t->messages, json_array_size(t->messages) - 1);
    return json_string_length(json_object_get(last, "content")) > 0;
}

static hone_status make_mapped(int64_t *made, const hone_row_shape *shape, const json_t *row,
                               hone_buf *record, hone_row_take take, void *context) {
    if (strcmp(map_role_of(shape->map[0].role), "text") == 0)
        return make_mapped_text(made, shape, row, record, take, context);
    turns t = {0};
    hone_status status = make_mapped_turns(&t, shape, row);
    if (status == HONE_OK && ends_with_text(&t)) status = hand_on(made, &t, record, take, context);
    turns_free(&t);
    return status;
}

/* --- the table of shapes --------------------------------------------------------------------------------------- */

/* The first whose needed fields are all there. */
static const hone_row_kind kinds[] = {
    {"messages", {"messages"}, .make = make_messages},
    {"conversations", {"conversations"}, .make = make_messages},
    {"instruction/instances", {"instruction", "instances"}, .make = make_instances},
    {"instruction/input/output",
     {"instruction", "output"},
     "instruction",
     "input",
     "output",
     make_flat},
    {"instruction/context/response",
     {"instruction", "response"},
     "instruction",
     "context",
     "response",
     make_flat},
    {"prompt/completion", {"prompt", "completion"}, "prompt", NULL, "completion", make_flat},
    {"prompt/response", {"prompt", "response"}, "prompt", NULL, "response", make_flat},
    {"question/answer", {"question", "answer"}, "question", NULL, "answer", make_flat},
    {"text", {"text"}, .make = make_text},
};

static const hone_row_kind mapped_kind = {.name = "mapped", .make = make_mapped};

static bool has_needs(const hone_row_kind *kind, const json_t *row) {
    for (size_t i = 0; i < 3 && kind->needs[i]; i++) {
        if (!json_object_get(row, kind->needs[i])) return false;
    }
    return true;
}

static hone_status refuse_shape(const json_t *row) {
    hone_buf found = {0};
    hone_buf known = {0};
    hone_status status = HONE_OK;
    const char *key;
    json_t *value;
    size_t names = 0;
    json_object_foreach((json_t *)(uintptr_t)row, key, value) {
        if (status == HONE_OK && names++ < 20)
            status = hone_buf_printf(&found, "%s%.40s", found.length ? ", " : "", key);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && status == HONE_OK; i++)
        status = hone_buf_printf(&known, "%s%s", i ? "; " : "", kinds[i].name);
    if (status == HONE_OK)
        status = hone_fail(HONE_ERR_DATA,
                           "its fields (%s) are none of the known shapes (%s); say what they are "
                           "with --map FIELD=ROLE",
                           found.data ? found.data : "none", known.data);
    hone_buf_free(&found);
    hone_buf_free(&known);
    return status;
}

bool hone_row_fits(const hone_row_shape *shape, const json_t *row) {
    return shape->kind == &mapped_kind || has_needs(shape->kind, row);
}

hone_status hone_row_find_shape(hone_row_shape *shape, const json_t *row) {
    if (shape->map_count > 0) {
        shape->kind = &mapped_kind;
        return HONE_OK;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!has_needs(&kinds[i], row)) continue;
        shape->kind = &kinds[i];
        return HONE_OK;
    }
    return refuse_shape(row);
}

void hone_row_describe(char *out, size_t size, const hone_row_shape *shape) {
    if (!shape->kind || shape->kind != &mapped_kind) {
        snprintf(out, size, "%s", shape->kind ? shape->kind->name : "");
        return;
    }
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < shape->map_count && used < size; i++) {
        int more = snprintf(out + used, size - used, "%s%s=%s", i ? " " : "", shape->map[i].field,
                            shape->map[i].role);
        used += more > 0 ? (size_t)more : 0;
    }
}

hone_status hone_row_records(int64_t *made, const hone_row_shape *shape, const json_t *row,
                             hone_buf *record, hone_row_take take, void *context) {
    *made = 0;
    return shape->kind->make(made, shape, row, record, take, context);
}
