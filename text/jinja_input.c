#include <string.h>

#include "text/jinja_call.h"

/* Where the values that are being taken come from. */
typedef struct origin {
    int32_t message;
    uint8_t field;
} origin;

static hone_status take_value(hone_jvalue *out, hone_jvm *vm, const json_t *json, origin from);

static hone_status take_text(hone_jvalue *out, hone_jvm *vm, const char *data, size_t length,
                             origin from) {
    hone_jinja_run *run;
    HONE_TRY(hone_j_text(out, vm, data, length));
    HONE_TRY(hone_jarena_take(&run, &vm->arena, 1, sizeof *run));
    *run = (hone_jinja_run){.end = length, .message = from.message, .field = from.field};
    out->as.string->runs = run;
    out->as.string->run_count = from.message != HONE_JINJA_NO_MESSAGE && length > 0;
    return HONE_OK;
}

static hone_status take_list(hone_jvalue *out, hone_jvm *vm, const json_t *json, origin from) {
    hone_jlist *list;
    HONE_TRY(hone_j_list_new(&list, vm, json_array_size(json)));
    for (size_t i = 0; i < json_array_size(json); i++) {
        hone_jvalue *item = &list->items[list->count++];
        HONE_TRY(take_value(item, vm, json_array_get(json, i), from));
        if (from.field == HONE_JINJA_CONTENT && item->kind == HONE_J_DICT)
            item->as.dict->part_of = (size_t)from.message + 1;
    }
    *out = hone_j_list(HONE_J_LIST, list);
    return HONE_OK;
}

static hone_status take_dict(hone_jvalue *out, hone_jvm *vm, const json_t *json, origin from) {
    hone_jdict *dict;
    HONE_TRY(hone_j_dict_new(&dict, vm));
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)(uintptr_t)json, key, member) {
        hone_jvalue name, value;
        HONE_TRY(take_text(&name, vm, key, strlen(key), from));
        HONE_TRY(take_value(&value, vm, member, from));
        HONE_TRY(hone_j_dict_set(dict, vm, name, value));
    }
    *out = hone_j_dict(dict);
    return HONE_OK;
}

static hone_status take_value(hone_jvalue *out, hone_jvm *vm, const json_t *json, origin from) {
    HONE_TRY(hone_j_enter(vm));
    hone_status status = HONE_OK;
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        status = take_dict(out, vm, json, from);
        break;
    case JSON_ARRAY:
        status = take_list(out, vm, json, from);
        break;
    case JSON_STRING:
        status = take_text(out, vm, json_string_value(json), json_string_length(json), from);
        break;
    case JSON_INTEGER:
        *out = hone_j_int(json_integer_value(json));
        break;
    case JSON_REAL:
        *out = hone_j_float(json_real_value(json));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        *out = hone_j_bool(json_is_true(json));
        break;
    default:
        *out = HONE_J_NULL;
    }
    hone_j_leave(vm);
    return status;
}

/* --- messages -------------------------------------------------------------------------------------------------- */

static const char *const reasoning_names[] = {"reasoning_content", "thinking", "reasoning"};

static bool is_reasoning(const char *key) {
    for (size_t i = 0; i < sizeof reasoning_names / sizeof *reasoning_names; i++) {
        if (strcmp(key, reasoning_names[i]) == 0) return true;
    }
    return false;
}

static uint8_t field_of(const char *key) {
    if (strcmp(key, "role") == 0) return HONE_JINJA_ROLE;
    if (strcmp(key, "content") == 0) return HONE_JINJA_CONTENT;
    if (strcmp(key, "tool_calls") == 0) return HONE_JINJA_TOOL_CALLS;
    return is_reasoning(key) ? HONE_JINJA_REASONING : HONE_JINJA_OTHER;
}

static hone_status set_member(hone_jdict *dict, hone_jvm *vm, const char *key, const json_t *value,
                              origin from) {
    hone_jvalue name, taken;
    HONE_TRY(hone_j_text(&name, vm, key, strlen(key)));
    HONE_TRY(take_value(&taken, vm, value, from));
    return hone_j_dict_set(dict, vm, name, taken);
}

/* What transformers does to a message first: members that are null are taken away, and whatever its reasoning is
 * called, templates find it as reasoning_content and as thinking. */
static hone_status take_message(hone_jvalue *out, hone_jvm *vm, const json_t *json, int32_t index) {
    hone_jdict *dict;
    HONE_TRY(hone_j_dict_new(&dict, vm));
    const json_t *reasoning = NULL;
    for (size_t i = 0; i < sizeof reasoning_names / sizeof *reasoning_names; i++) {
        const json_t *value = json_object_get(json, reasoning_names[i]);
        if (!reasoning && value && !json_is_null(value)) reasoning = value;
    }
    const origin thought = {index, HONE_JINJA_REASONING};
    if (reasoning) HONE_TRY(set_member(dict, vm, "thinking", reasoning, thought));
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, key, value) {
        if (json_is_null(value)) continue;
        HONE_TRY(set_member(dict, vm, key, value, (origin){index, field_of(key)}));
    }
    if (reasoning) HONE_TRY(set_member(dict, vm, "reasoning_content", reasoning, thought));
    *out = hone_j_dict(dict);
    return HONE_OK;
}

static hone_status take_messages(hone_jvm *vm, int32_t symbol) {
    const json_t *messages = vm->input->messages;
    hone_jlist *list;
    HONE_TRY(hone_j_list_new(&list, vm, vm->input->count));
    for (size_t i = 0; i < vm->input->count && i < json_array_size(messages); i++) {
        const json_t *message = json_array_get(messages, i);
        hone_jvalue *item = &list->items[list->count++];
        HONE_TRY(json_is_object(message)
                     ? take_message(item, vm, message, (int32_t)i)
                     : take_value(item, vm, message, (origin){(int32_t)i, HONE_JINJA_OTHER}));
    }
    vm->globals[symbol] = hone_j_list(HONE_J_LIST, list);
    return HONE_OK;
}

/* What people gave besides the messages: no control tokens inside. */
static bool is_given(const char *name) {
    return strcmp(name, "tools") == 0 || strcmp(name, "documents") == 0;
}

static hone_status take_variables(hone_jvm *vm) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)vm->input->variables, name, value) {
        int32_t symbol = hone_j_symbol_find(vm->jinja, name, strlen(name));
        if (symbol < 0) continue;
        const origin from = {is_given(name) ? HONE_JINJA_GIVEN : HONE_JINJA_NO_MESSAGE,
                             HONE_JINJA_OTHER};
        HONE_TRY(take_value(&vm->globals[symbol], vm, value, from));
    }
    return HONE_OK;
}

hone_status hone_j_take_input(hone_jvm *vm) {
    const hone_jinja *jinja = vm->jinja;
    for (size_t i = 0; i < jinja->symbol_count; i++) {
        int global = hone_j_global_find(jinja->symbols[i]->data, jinja->symbols[i]->length);
        if (global >= 0) vm->globals[i] = (hone_jvalue){.kind = HONE_J_GLOBAL, .as.global = global};
    }
    HONE_TRY(take_variables(vm));
    int32_t prompt = hone_j_symbol_find(jinja, "add_generation_prompt", 21);
    if (prompt >= 0) vm->globals[prompt] = hone_j_bool(vm->input->generation_prompt);
    int32_t messages = hone_j_symbol_find(jinja, "messages", 8);
    return messages >= 0 && vm->input->messages ? take_messages(vm, messages) : HONE_OK;
}
