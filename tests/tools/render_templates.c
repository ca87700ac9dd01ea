/*
 * Templates rendered one after the other: each line of standard input is an object {"template", "messages" (may be
 * absent), "variables" (an object), "generation_prompt"}; each line of standard output {"text", "runs"} or {"error"}.
 * A run is [begin, end, message, field, generation]. The date is 2024-07-26.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/json.h"
#include "text/jinja.h"

static json_t *as_json(const hone_jinja_output *output) {
    json_t *runs = json_array();
    for (size_t i = 0; i < output->count; i++) {
        const hone_jinja_run *run = &output->runs[i];
        json_array_append_new(runs,
                              json_pack("[i,i,i,i,b]", (int)run->begin, (int)run->end,
                                        (int)run->message, (int)run->field, (int)run->generation));
    }
    json_t *text = json_stringn(output->text.data ? output->text.data : "", output->text.length);
    return json_pack("{s:o, s:o}", "text", text, "runs", runs);
}

static hone_status render(hone_jinja_output *output, const json_t *task) {
    const json_t *text = json_object_get(task, "template");
    const json_t *messages = json_object_get(task, "messages");
    struct tm now = {.tm_year = 124, .tm_mon = 6, .tm_mday = 26, .tm_hour = 12, .tm_isdst = 0};
    timegm(&now);
    const hone_jinja_input input = {.messages = messages,
                                    .count = json_array_size(messages),
                                    .variables = json_object_get(task, "variables"),
                                    .generation_prompt =
                                        json_is_true(json_object_get(task, "generation_prompt")),
                                    .now = &now};
    hone_jinja *jinja;
    HONE_TRY(hone_jinja_new(&jinja, json_string_value(text), json_string_length(text), "template"));
    hone_status status = hone_jinja_render(output, jinja, &input);
    hone_jinja_free(jinja);
    return status;
}

int main(void) {
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    while ((length = getline(&line, &room, stdin)) > 0) {
        json_t *task;
        hone_jinja_output output = {0};
        if (hone_json_parse(&task, line, (size_t)length, "a task") != HONE_OK) {
            fprintf(stderr, "%s\n", hone_fail_message());
            return EXIT_FAILURE;
        }
        hone_status status = render(&output, task);
        json_t *answer =
            status == HONE_OK ? as_json(&output) : json_pack("{s:s}", "error", hone_fail_message());
        char *printed = json_dumps(answer, JSON_COMPACT);
        puts(printed);
        free(printed);
        json_decref(answer);
        json_decref(task);
        hone_jinja_output_free(&output);
    }
    free(line);
    return EXIT_SUCCESS;
}
