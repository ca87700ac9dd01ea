#include "formats/json.h"
#include "tests/fuzz/fuzz.h"

/* What is read can be written and reads back equal. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    json_t *value;
    if (hone_json_parse(&value, (const char *)bytes, length, "input") != HONE_OK) return 0;
    hone_buf text = {0};
    json_t *again = NULL;
    if (hone_json_append(&text, value, length % 2 ? 2 : 0) != HONE_OK) __builtin_trap();
    if (hone_json_parse(&again, text.data, text.length, "written") != HONE_OK) __builtin_trap();
    if (!json_equal(value, again)) __builtin_trap();
    json_decref(again);
    json_decref(value);
    hone_buf_free(&text);
    return 0;
}
