#include <stdio.h>
#include <string.h>

#include "cli/answer.h"
#include "cli/command.h"
#include "cli/output.h"

static hone_status read_input(hone_buf *out) {
    char chunk[1 << 16];
    size_t got;
    while ((got = fread(chunk, 1, sizeof chunk, stdin)) > 0) {
        HONE_TRY(hone_buf_append(out, chunk, got));
    }
    if (ferror(stdin)) return hone_fail_errno(HONE_ERR_IO, "standard input: cannot read");
    return hone_buf_puts(out, "");
}

/* The prompt's ids: as it stands, or as a user's message in the chat template. */
static hone_status encode(hone_encoding *out, const hone_session *session, const hone_buf *prompt,
                          bool as_message) {
    if (!as_message) {
        hone_encode_options options = {.add_special = true, .parse_special = true};
        return hone_tokenizer_encode(session->tokenizer, out, prompt->data, prompt->length,
                                     &options);
    }
    json_t *messages = json_array();
    if (json_array_append_new(messages, hone_message_new("user", prompt->data, prompt->length)) !=
        0) {
        json_decref(messages);
        return hone_fail(HONE_ERR_DATA, "the prompt is not UTF-8 text");
    }
    hone_chat_sample sample = {0};
    hone_status status = hone_chat_prompt(&sample, session->chat, session->tokenizer,
                                          &(hone_conversation){.messages = messages, .count = 1});
    *out = sample.encoding;
    sample.encoding = (hone_encoding){0};
    hone_chat_sample_free(&sample);
    json_decref(messages);
    return status;
}

static hone_status generate(hone_session *session, const hone_answer_settings *s,
                            const hone_buf *prompt, bool as_message) {
    hone_generator *generator = NULL;
    HONE_TRY(hone_answer_open(session, &generator, s));
    hone_encoding ids = {0};
    hone_status status = encode(&ids, session, prompt, as_message);
    if (status == HONE_OK && ids.count == 0) {
        status =
            hone_fail(HONE_ERR_USAGE, "the prompt is empty and the model has no token to begin "
                                      "with; give it a first word");
    }
    if (status == HONE_OK) {
        status = hone_answer(NULL, session, generator, s, ids.ids, (int64_t)ids.count);
    }
    if (status == HONE_OK) putchar('\n');
    hone_encoding_free(&ids);
    hone_generator_free(generator);
    return status;
}

static hone_status run(int argc, char **argv) {
    hone_answer_settings s = hone_answer_defaults();
    const char *prompt = NULL;
    bool as_message = false;
    hone_flag flags[HONE_ANSWER_FLAGS + 2] = {
        {"prompt", HONE_FLAG_TEXT, &prompt, .unit = "TEXT",
         .text = "what the text begins with; -: read standard input"},
        {"chat", HONE_FLAG_SWITCH, &as_message,
         .text = "put the prompt through the chat template, as a user's message"},
    };
    hone_answer_flags(flags + 2, &s);
    hone_arguments arguments = {0};
    HONE_TRY(
        hone_flags_parse(&arguments, &hone_command_generate, flags, HONE_COUNT(flags), argc, argv));
    if (arguments.help) return HONE_OK;
    if (!prompt) return hone_fail(HONE_ERR_USAGE, "--prompt is missing");
    hone_buf text = {0};
    hone_session session = {0};
    hone_status status =
        strcmp(prompt, "-") == 0 ? read_input(&text) : hone_buf_puts(&text, prompt);
    if (status == HONE_OK) status = generate(&session, &s, &text, as_message);
    hone_session_close(&session);
    hone_buf_free(&text);
    return status;
}

const hone_command hone_command_generate = {
    .name = "generate",
    .usage = "--model PATH [--adapter PATH] --prompt TEXT [options]",
    .summary = "let a model continue a text",
    .run = run,
};
