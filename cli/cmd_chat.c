#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/answer.h"
#include "cli/command.h"
#include "cli/output.h"

/* A conversation and what of it the generator holds. */
typedef struct conversation {
    hone_session *session;
    hone_generator *generator;
    const hone_answer_settings *settings;
    json_t *messages;
    hone_encoding held; /* ids that were fed */
} conversation;

static hone_status add_message(conversation *c, const char *role, const char *text, size_t length) {
    if (!c->messages) c->messages = json_array();
    if (json_array_append_new(c->messages, hone_message_new(role, text, length)) == 0)
        return HONE_OK;
    return hone_fail(HONE_ERR_DATA, "what was written is not UTF-8 text");
}

static void forget_message(conversation *c) {
    json_array_remove(c->messages, json_array_size(c->messages) - 1);
}

static size_t common_start(const hone_encoding *a, const hone_encoding *b) {
    size_t n = 0;
    while (n < a->count && n < b->count && a->ids[n] == b->ids[n]) n++;
    return n;
}

/* Feeds what the generator does not hold yet and says the answer, which becomes a message. */
static hone_status reply(conversation *c, const hone_encoding *prompt) {
    size_t same = common_start(&c->held, prompt);
    if (same == prompt->count) same--; /* one token must be fed to have its logits */
    hone_generator_rewind(c->generator, (int64_t)same);
    hone_encoding said = {0};
    hone_status status = hone_answer(&said, c->session, c->generator, c->settings,
                                     prompt->ids + same, (int64_t)(prompt->count - same));
    putchar('\n');
    hone_buf text = {0};
    if (status == HONE_OK) {
        status = hone_tokenizer_decode(c->session->tokenizer, &text, said.ids, said.count, false);
    }
    if (status == HONE_OK) {
        status = add_message(c, "assistant", text.data ? text.data : "", text.length);
    }
    hone_buf_free(&text);
    hone_encoding_free(&said);
    return status;
}

static hone_status answer_line(conversation *c, const char *line, size_t length) {
    HONE_TRY(add_message(c, "user", line, length));
    hone_chat_sample sample = {0};
    const hone_conversation said = {.messages = c->messages, .count = json_array_size(c->messages)};
    hone_status status = hone_chat_prompt(&sample, c->session->chat, c->session->tokenizer, &said);
    const hone_encoding *prompt = &sample.encoding;
    if (status == HONE_OK && (int64_t)prompt->count >= hone_generator_capacity(c->generator)) {
        hone_warn("the conversation fills the context of %lld tokens; /new begins another",
                  (long long)hone_generator_capacity(c->generator));
        forget_message(c);
    } else if (status == HONE_OK) {
        status = reply(c, prompt);
        hone_encoding_free(&c->held);
        c->held = *prompt;
        sample.encoding = (hone_encoding){0};
    }
    hone_chat_sample_free(&sample);
    return status;
}

/* A line of standard input without its end; false when there is none left. */
static bool read_line(hone_buf *line) {
    hone_buf_clear(line);
    int c;
    while ((c = getchar()) != EOF && c != '\n') {
        char byte = (char)c;
        if (byte != '\r' && hone_buf_append(line, &byte, 1) != HONE_OK) return false;
    }
    return c != EOF || line->length > 0;
}

/* `first`: the messages that every conversation begins with. */
static hone_status converse(conversation *c, size_t first) {
    bool terminal = isatty(STDIN_FILENO);
    if (terminal) hone_say("Ask something. /new begins another conversation, Ctrl-D ends.");
    hone_buf line = {0};
    hone_status status = HONE_OK;
    while (status == HONE_OK) {
        if (terminal) fputs("> ", stderr);
        if (!read_line(&line)) break;
        if (line.length == 0) continue;
        if (strcmp(line.data, "/new") == 0) {
            while (json_array_size(c->messages) > first) forget_message(c);
        } else {
            status = answer_line(c, line.data, line.length);
        }
    }
    hone_buf_free(&line);
    return status;
}

static hone_status run(int argc, char **argv) {
    hone_answer_settings s = hone_answer_defaults();
    const char *system = NULL;
    hone_flag flags[HONE_ANSWER_FLAGS + 1] = {
        {"system", HONE_FLAG_TEXT, &system, .unit = "TEXT",
         .text = "what the conversation begins with: who the assistant is"},
    };
    hone_answer_flags(flags + 1, &s);
    hone_arguments arguments = {0};
    HONE_TRY(
        hone_flags_parse(&arguments, &hone_command_chat, flags, HONE_COUNT(flags), argc, argv));
    if (arguments.help) return HONE_OK;
    hone_session session = {0};
    conversation c = {.session = &session, .settings = &s};
    hone_status status = hone_answer_open(&session, &c.generator, &s);
    if (status == HONE_OK && system) status = add_message(&c, "system", system, strlen(system));
    if (status == HONE_OK) status = converse(&c, json_array_size(c.messages));
    json_decref(c.messages);
    hone_encoding_free(&c.held);
    hone_generator_free(c.generator);
    hone_session_close(&session);
    return status;
}

const hone_command hone_command_chat = {
    .name = "chat",
    .usage = "--model PATH [--adapter PATH] [options]",
    .summary = "talk with a model",
    .run = run,
};
