#include <string.h>

#include "formats/gguf.h"
#include "tests/fuzz/fuzz.h"

static volatile uint64_t sum; /* so that every byte is read */

static void read_bytes(const unsigned char *data, uint64_t length) {
    for (uint64_t i = 0; i < length; i++) sum += data[i];
}

/* Keys with a terminator, as programs ask for them. */
static void read_by_key(const hone_gguf *gguf, const hone_gguf_value *value) {
    char key[256];
    if (value->key.length >= sizeof key) return;
    memcpy(key, value->key.data, value->key.length);
    key[value->key.length] = '\0';
    int64_t number;
    hone_gguf_string text;
    (void)!hone_gguf_get_int_of(&number, gguf, key, 3, -10, 1000);
    (void)!hone_gguf_get_int(&number, gguf, key, -10, 1000);
    if (hone_gguf_get_string(&text, gguf, key) == HONE_OK) {
        read_bytes((const unsigned char *)text.data, text.length);
    }
}

static void read_value(const hone_gguf *gguf, const hone_gguf_value *value) {
    read_by_key(gguf, value);
    read_bytes((const unsigned char *)value->key.data, value->key.length);
    read_bytes(value->data, value->bytes);
    if (value->element != HONE_GGUF_STRING) return;
    hone_gguf_string text;
    hone_gguf_strings strings = hone_gguf_strings_of(value);
    while (hone_gguf_next(&text, &strings)) {
        read_bytes((const unsigned char *)text.data, text.length);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    hone_gguf *gguf;
    if (hone_gguf_open_bytes(&gguf, bytes, length, "input") != HONE_OK) return 0;
    for (size_t i = 0; i < hone_gguf_key_count(gguf); i++) {
        read_value(gguf, hone_gguf_key_at(gguf, i));
    }
    for (size_t i = 0; i < hone_gguf_tensor_count(gguf); i++) {
        const hone_gguf_tensor *tensor = hone_gguf_tensor_at(gguf, i);
        hone_dtype dtype;
        read_bytes(tensor->data, tensor->bytes);
        (void)!hone_gguf_tensor_dtype(&dtype, gguf, tensor);
        if (hone_gguf_tensor_find(gguf, tensor->name) != tensor) __builtin_trap();
    }
    hone_gguf_close(gguf);
    return 0;
}
