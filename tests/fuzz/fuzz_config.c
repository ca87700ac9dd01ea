#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "train/options.h"

static hone_status parse(hone_train_options *out, const char *text, size_t length) {
    hone_status status = hone_train_options_default(out);
    return status == HONE_OK ? hone_config_parse(out, text, length, "input") : status;
}

/* A config that is read can be written, reads back, and is then written the same. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    hone_train_options options;
    if (parse(&options, (const char *)bytes, length) == HONE_OK) {
        hone_train_options again;
        hone_buf first = {0}, second = {0};
        const hone_plan_entry plan = {"input", options.model ? options.model : ""};
        if (hone_config_format(&first, &options, &plan, 1) != HONE_OK) __builtin_trap();
        if (parse(&again, first.data, first.length) != HONE_OK) __builtin_trap();
        if (hone_config_format(&second, &again, &plan, 1) != HONE_OK) __builtin_trap();
        if (strcmp(first.data, second.data) != 0) __builtin_trap();
        hone_train_options_free(&again);
        hone_buf_free(&first);
        hone_buf_free(&second);
    }
    hone_train_options_free(&options);
    return 0;
}
