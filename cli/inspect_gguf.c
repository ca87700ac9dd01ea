#include <string.h>

#include "cli/inspect.h"
#include "cli/output.h"
#include "formats/gguf.h"

/* Arrays are shown up to this many elements. */
enum { SHOWN = 8 };

static int64_t integer_of(const hone_gguf_value *value, uint64_t i) {
    const unsigned char *at = value->data;
    int8_t i8;
    int16_t i16;
    uint16_t u16;
    int32_t i32;
    uint32_t u32;
    int64_t i64;
    switch (value->element) {
    case HONE_GGUF_I8:
        memcpy(&i8, at + i, 1);
        return i8;
    case HONE_GGUF_I16:
        memcpy(&i16, at + 2 * i, 2);
        return i16;
    case HONE_GGUF_U16:
        memcpy(&u16, at + 2 * i, 2);
        return u16;
    case HONE_GGUF_I32:
        memcpy(&i32, at + 4 * i, 4);
        return i32;
    case HONE_GGUF_U32:
        memcpy(&u32, at + 4 * i, 4);
        return u32;
    case HONE_GGUF_U64:
    case HONE_GGUF_I64:
        memcpy(&i64, at + 8 * i, 8);
        return i64;
    default:
        return at[i];
    }
}

static json_t *number_json(const hone_gguf_value *value, uint64_t i) {
    if (value->element == HONE_GGUF_BOOL) return json_boolean(value->data[i]);
    if (value->element == HONE_GGUF_F32) {
        float number;
        memcpy(&number, value->data + 4 * i, 4);
        json_t *real = json_real((double)number);
        return real ? real : json_null(); /* NaN and infinities */
    }
    if (value->element == HONE_GGUF_F64) {
        double number;
        memcpy(&number, value->data + 8 * i, 8);
        json_t *real = json_real(number);
        return real ? real : json_null();
    }
    return json_integer(integer_of(value, i));
}

/* The one string of a value, or the first ones of an array. */
static json_t *strings_json(const hone_gguf_value *value) {
    json_t *array = json_array();
    hone_gguf_strings strings = hone_gguf_strings_of(value);
    hone_gguf_string text;
    while (json_array_size(array) < SHOWN && hone_gguf_next(&text, &strings))
        json_array_append_new(array, hone_json_text(text.data, text.length));
    return array;
}

static json_t *array_json(const hone_gguf_value *value) {
    json_t *first = NULL;
    if (value->element == HONE_GGUF_STRING) {
        first = strings_json(value);
    } else if (value->element != HONE_GGUF_ARRAY) {
        first = json_array();
        for (uint64_t i = 0; i < value->count && i < SHOWN; i++)
            json_array_append_new(first, number_json(value, i));
    }
    json_t *object = json_pack("{s:s, s:I}", "type", hone_gguf_kind_name(value->element), "count",
                               (json_int_t)value->count);
    if (first) json_object_set_new(object, "first", first);
    return object;
}

static hone_status value_json(json_t **out, const hone_gguf *gguf, const hone_gguf_value *value) {
    (void)gguf;
    if (value->kind == HONE_GGUF_ARRAY) {
        *out = array_json(value);
    } else if (value->kind == HONE_GGUF_STRING) {
        json_t *strings = strings_json(value);
        *out = json_incref(json_array_get(strings, 0));
        json_decref(strings);
    } else {
        *out = number_json(value, 0);
    }
    return *out ? HONE_OK : hone_fail(HONE_ERR_MEMORY, "out of memory: cannot make JSON");
}

static hone_status add_metadata(json_t *object, const hone_gguf *gguf) {
    json_t *metadata = json_object_get(object, "metadata");
    for (size_t i = 0; i < hone_gguf_key_count(gguf); i++) {
        const hone_gguf_value *value = hone_gguf_key_at(gguf, i);
        json_t *shown;
        HONE_TRY(value_json(&shown, gguf, value));
        json_t *key = hone_json_text(value->key.data, value->key.length);
        int failed = key ? json_object_set_new(metadata, json_string_value(key), shown) : -1;
        json_decref(key);
        if (failed) return hone_fail(HONE_ERR_MEMORY, "out of memory: cannot make JSON");
    }
    return HONE_OK;
}

static hone_status add_tensors(json_t *object, const hone_gguf *gguf) {
    for (size_t i = 0; i < hone_gguf_tensor_count(gguf); i++) {
        const hone_gguf_tensor *tensor = hone_gguf_tensor_at(gguf, i);
        const hone_dtype_info *type = hone_gguf_type_describe(tensor->type);
        int64_t shape[HONE_GGUF_DIMS];
        for (int d = 0; d < tensor->n_dims; d++) shape[d] = tensor->sizes[tensor->n_dims - 1 - d];
        HONE_TRY(hone_inspect_add_tensor(object, tensor->name, type ? type->name : "unknown",
                                         tensor->n_dims, shape));
    }
    return HONE_OK;
}

hone_status hone_inspect_gguf(json_t **out, const char *path) {
    hone_gguf *gguf;
    HONE_TRY(hone_gguf_open(&gguf, path));
    hone_status status = hone_inspect_begin(out, path, "gguf", path);
    if (status == HONE_OK) status = add_metadata(*out, gguf);
    if (status == HONE_OK) status = add_tensors(*out, gguf);
    hone_gguf_close(gguf);
    return status;
}
