#include <string.h>

#include "formats/json.h"
#include "tests/fuzz/fuzz.h"
#include "text/jinja.h"

static const char conversation[] =
    "[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\" U \\u00e9\"},"
    "{\"role\":\"assistant\",\"content\":\"A\",\"tool_calls\":[{\"name\":\"f\",\"arguments\":{"
    "\"a\":[1,2.5,null]}}]}]";

/* Runs are sorted, apart and within the text. */
static void check(const hone_jinja_output *output) {
    size_t at = 0;
    for (size_t i = 0; i < output->count; i++) {
        const hone_jinja_run *run = &output->runs[i];
        if (run->begin < at || run->end <= run->begin || run->end > output->text.length)
            __builtin_trap();
        at = run->end;
    }
}

/* The bytes are a template, rendered with a small conversation under narrow limits. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    const hone_jinja_limits limits = {.steps = 20000, .memory = 1 << 22, .output = 1 << 16};
    const struct tm now = {.tm_year = 124, .tm_mon = 6, .tm_mday = 26};
    hone_jinja *jinja;
    json_t *messages;
    hone_jinja_output output = {0};
    if (hone_jinja_new(&jinja, (const char *)bytes, length, "input") != HONE_OK) return 0;
    if (hone_json_parse(&messages, conversation, strlen(conversation), "messages") != HONE_OK)
        __builtin_trap();
    const hone_jinja_input input = {
        .messages = messages, .count = 3, .now = &now, .limits = &limits};
    if (hone_jinja_render(&output, jinja, &input) == HONE_OK) check(&output);
    hone_jinja_output_free(&output);
    json_decref(messages);
    hone_jinja_free(jinja);
    return 0;
}
