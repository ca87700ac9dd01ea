/*
 * Typed reading of metadata, on top of hone_gguf_find.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "formats/gguf.h"

static hone_status absent(const hone_gguf *gguf, const char *key) {
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: key '%s' is missing; the file is incomplete, convert the model again",
                     hone_gguf_path(gguf), key);
}

static hone_status mistyped(const hone_gguf *gguf, const char *key, const hone_gguf_value *value,
                            const char *wanted) {
    bool array = value->kind == HONE_GGUF_ARRAY;
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: key '%s' holds %s%s instead of %s; convert the model again",
                     hone_gguf_path(gguf), key, array ? "an array of " : "",
                     hone_gguf_kind_name(value->element), wanted);
}

/* Element `index` of integers of any width; false when it is no integer or beyond i64. */
static bool read_int(int64_t *out, const hone_gguf_value *value, uint64_t index) {
    size_t bytes = hone_gguf_kind_bytes(value->element);
    uint64_t word = 0;
    memcpy(&word, value->data + index * bytes, bytes);
    switch (value->element) {
    case HONE_GGUF_U8:
    case HONE_GGUF_U16:
    case HONE_GGUF_U32:
    case HONE_GGUF_U64:
        *out = (int64_t)(word & INT64_MAX);
        return word <= INT64_MAX;
    case HONE_GGUF_I8:
    case HONE_GGUF_I16:
    case HONE_GGUF_I32:
    case HONE_GGUF_I64: {
        uint64_t sign = (uint64_t)1 << (8 * bytes - 1);
        *out = (int64_t)((word ^ sign) - sign);
        return true;
    }
    default:
        return false;
    }
}

static hone_status take_int(int64_t *out, const hone_gguf *gguf, const char *key,
                            const hone_gguf_value *value, uint64_t index, int64_t min,
                            int64_t max) {
    int64_t number;
    if (!read_int(&number, value, index)) return mistyped(gguf, key, value, "an integer");
    if (number < min || number > max) {
        return hone_fail(
            HONE_ERR_FORMAT, "%s: key '%s' is %lld, outside %lld to %lld; convert the model again",
            hone_gguf_path(gguf), key, (long long)number, (long long)min, (long long)max);
    }
    *out = number;
    return HONE_OK;
}

hone_status hone_gguf_opt_int(int64_t *out, const hone_gguf *gguf, const char *key, int64_t min,
                              int64_t max) {
    const hone_gguf_value *value = hone_gguf_find(gguf, key);
    if (!value) return HONE_OK;
    if (value->kind == HONE_GGUF_ARRAY) return mistyped(gguf, key, value, "an integer");
    return take_int(out, gguf, key, value, 0, min, max);
}

hone_status hone_gguf_opt_u32(uint32_t *out, const hone_gguf *gguf, const char *key) {
    const hone_gguf_value *value = hone_gguf_find(gguf, key);
    if (!value) return HONE_OK;
    if (value->kind != HONE_GGUF_U32) return mistyped(gguf, key, value, "a u32");
    memcpy(out, value->data, sizeof *out);
    return HONE_OK;
}

hone_status hone_gguf_opt_f32(float *out, const hone_gguf *gguf, const char *key) {
    const hone_gguf_value *value = hone_gguf_find(gguf, key);
    if (!value) return HONE_OK;
    if (value->kind != HONE_GGUF_F32) return mistyped(gguf, key, value, "an f32");
    memcpy(out, value->data, sizeof *out);
    return HONE_OK;
}

hone_status hone_gguf_opt_bool(bool *out, const hone_gguf *gguf, const char *key) {
    const hone_gguf_value *value = hone_gguf_find(gguf, key);
    if (!value) return HONE_OK;
    if (value->kind != HONE_GGUF_BOOL) return mistyped(gguf, key, value, "a bool");
    *out = value->data[0] != 0;
    return HONE_OK;
}

hone_status hone_gguf_opt_string(hone_gguf_string *out, const hone_gguf *gguf, const char *key) {
    const hone_gguf_value *value = hone_gguf_find(gguf, key);
    if (!value) return HONE_OK;
    if (value->kind != HONE_GGUF_STRING) return mistyped(gguf, key, value, "a string");
    hone_gguf_strings one = {value->data, 1};
    (void)hone_gguf_next(out, &one);
    return HONE_OK;
}

hone_status hone_gguf_get_int(int64_t *out, const hone_gguf *gguf, const char *key, int64_t min,
                              int64_t max) {
    if (!hone_gguf_find(gguf, key)) return absent(gguf, key);
    return hone_gguf_opt_int(out, gguf, key, min, max);
}

hone_status hone_gguf_get_u32(uint32_t *out, const hone_gguf *gguf, const char *key) {
    if (!hone_gguf_find(gguf, key)) return absent(gguf, key);
    return hone_gguf_opt_u32(out, gguf, key);
}

hone_status hone_gguf_get_f32(float *out, const hone_gguf *gguf, const char *key) {
    if (!hone_gguf_find(gguf, key)) return absent(gguf, key);
    return hone_gguf_opt_f32(out, gguf, key);
}

hone_status hone_gguf_get_bool(bool *out, const hone_gguf *gguf, const char *key) {
    if (!hone_gguf_find(gguf, key)) return absent(gguf, key);
    return hone_gguf_opt_bool(out, gguf, key);
}

hone_status hone_gguf_get_string(hone_gguf_string *out, const hone_gguf *gguf, const char *key) {
    if (!hone_gguf_find(gguf, key)) return absent(gguf, key);
    return hone_gguf_opt_string(out, gguf, key);
}

bool hone_gguf_string_is(hone_gguf_string text, const char *other) {
    return text.length == strlen(other) && memcmp(text.data, other, text.length) == 0;
}

hone_status hone_gguf_get_array(const hone_gguf_value **out, const hone_gguf *gguf, const char *key,
                                hone_gguf_kind element) {
    const hone_gguf_value *value = hone_gguf_find(gguf, key);
    if (!value) return absent(gguf, key);
    if (value->kind != HONE_GGUF_ARRAY || value->element != element) {
        char wanted[32];
        snprintf(wanted, sizeof wanted, "an array of %s", hone_gguf_kind_name(element));
        return mistyped(gguf, key, value, wanted);
    }
    *out = value;
    return HONE_OK;
}

static const void *element_at(const hone_gguf_value *array, hone_gguf_kind kind, uint64_t index) {
    assert(array->element == kind && index < array->count);
    return array->data + index * hone_gguf_kind_bytes(kind);
}

float hone_gguf_array_f32(const hone_gguf_value *array, uint64_t index) {
    float value;
    memcpy(&value, element_at(array, HONE_GGUF_F32, index), sizeof value);
    return value;
}

uint32_t hone_gguf_array_u32(const hone_gguf_value *array, uint64_t index) {
    uint32_t value;
    memcpy(&value, element_at(array, HONE_GGUF_U32, index), sizeof value);
    return value;
}

int32_t hone_gguf_array_i32(const hone_gguf_value *array, uint64_t index) {
    int32_t value;
    memcpy(&value, element_at(array, HONE_GGUF_I32, index), sizeof value);
    return value;
}

hone_status hone_gguf_get_int_of(int64_t *out, const hone_gguf *gguf, const char *key,
                                 uint64_t index, int64_t min, int64_t max) {
    const hone_gguf_value *value = hone_gguf_find(gguf, key);
    if (!value) return absent(gguf, key);
    if (value->kind != HONE_GGUF_ARRAY) return take_int(out, gguf, key, value, 0, min, max);
    if (index < value->count) return take_int(out, gguf, key, value, index, min, max);
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: key '%s' has %llu elements but element %llu is asked for; convert the "
                     "model again",
                     hone_gguf_path(gguf), key, (unsigned long long)value->count,
                     (unsigned long long)index);
}

hone_gguf_strings hone_gguf_strings_of(const hone_gguf_value *array) {
    assert(array->element == HONE_GGUF_STRING);
    return (hone_gguf_strings){array->data, array->count};
}

bool hone_gguf_next(hone_gguf_string *out, hone_gguf_strings *strings) {
    if (strings->left == 0) return false;
    uint64_t length; /* checked when the file was opened */
    memcpy(&length, strings->at, sizeof length);
    *out = (hone_gguf_string){(const char *)strings->at + sizeof length, (size_t)length};
    strings->at += sizeof length + length;
    strings->left--;
    return true;
}
