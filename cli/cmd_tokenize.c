#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "cli/flags.h"
#include "cli/output.h"
#include "cli/token_print.h"
#include "formats/json.h"
#include "model/chat_choice.h"

typedef struct tokenize_options {
    const char *model, *text, *file, *messages, *template, *variables;
    bool parse_special, no_special, generation, json;
} tokenize_options;

/* Tokens and which of them carry loss. */
typedef struct tokens {
    hone_encoding encoding;
    uint8_t *mask; /* owned, [count] */
} tokens;

static hone_status make_mask(tokens *out) {
    out->mask = hone_alloc(out->encoding.count, 1);
    return out->mask ? HONE_OK : HONE_ERR_MEMORY;
}

static hone_status encode_text(tokens *out, const hone_tokenizer *tokenizer, const char *text,
                               size_t length, const tokenize_options *options) {
    const hone_encode_options how = {.add_special = !options->no_special,
                                     .parse_special = options->parse_special};
    HONE_TRY(hone_tokenizer_encode(tokenizer, &out->encoding, text, length, &how));
    HONE_TRY(make_mask(out));
    for (size_t i = 1; i < out->encoding.count; i++) out->mask[i] = 1;
    return HONE_OK;
}

static hone_status encode_file(tokens *out, const hone_tokenizer *tokenizer,
                               const tokenize_options *options) {
    hone_buf text = {0};
    hone_status status =
        hone_file_get(&text, strcmp(options->file, "-") == 0 ? "/dev/stdin" : options->file);
    if (status == HONE_OK) status = encode_text(out, tokenizer, text.data, text.length, options);
    hone_buf_free(&text);
    return status;
}

/* Takes over a sample's tokens. */
static void take_sample(tokens *out, hone_chat_sample *sample) {
    out->encoding = sample->encoding;
    out->mask = sample->mask;
    sample->encoding = (hone_encoding){0};
    sample->mask = NULL;
    sample->mask_capacity = 0;
}

static hone_status encode_prompt(tokens *out, const hone_tokenizer *tokenizer,
                                 const hone_chat_template *chat,
                                 const hone_conversation *conversation) {
    hone_chat_sample sample = {0};
    hone_status status = hone_chat_prompt(&sample, chat, tokenizer, conversation);
    if (status == HONE_OK) take_sample(out, &sample);
    hone_chat_sample_free(&sample);
    return status;
}

/* The last of the samples that a conversation becomes: the whole of it. */
static hone_status encode_samples(tokens *out, const hone_tokenizer *tokenizer,
                                  const hone_chat_template *chat,
                                  const hone_conversation *conversation) {
    hone_chat_samples samples = {0};
    hone_status status = hone_chat_samples_make(&samples, chat, tokenizer, conversation, false);
    if (status == HONE_OK && samples.count > 1)
        hone_say("in training, the conversation becomes %zu samples, one for each of the "
                 "assistant's turns; this is the last",
                 samples.count);
    if (status == HONE_OK) take_sample(out, &samples.items[samples.count - 1]);
    hone_chat_samples_free(&samples);
    return status;
}

static hone_status encode_with(tokens *out, const hone_tokenizer *tokenizer, const json_t *root,
                               const json_t *messages, const tokenize_options *options) {
    const hone_conversation conversation = {.messages = messages,
                                            .count = json_array_size(messages),
                                            .tools = json_object_get(root, "tools"),
                                            .documents = json_object_get(root, "documents")};
    hone_chat_template *chat;
    HONE_TRY(hone_chat_choose(&chat, options->template, options->model, tokenizer));
    hone_status status = hone_chat_template_set(chat, options->variables);
    if (status == HONE_OK)
        status = options->generation ? encode_prompt(out, tokenizer, chat, &conversation)
                                     : encode_samples(out, tokenizer, chat, &conversation);
    hone_chat_template_free(chat);
    return status;
}

static hone_status check_messages(const json_t *messages, const char *file) {
    if (!json_is_array(messages))
        return hone_fail(HONE_ERR_DATA, "%s: holds no list of messages", file);
    size_t i;
    const json_t *message;
    json_array_foreach(messages, i, message) {
        bool says = json_object_get(message, "content") || json_object_get(message, "tool_calls");
        if (!says || !json_is_string(json_object_get(message, "role")))
            return hone_fail(HONE_ERR_DATA,
                             "%s: message %zu: needs a \"role\", a text, and a \"content\"", file,
                             i);
    }
    return HONE_OK;
}

/* The file holds a list of messages, or an object with one under "messages", and perhaps tools and documents. */
static hone_status encode_messages(tokens *out, const hone_tokenizer *tokenizer,
                                   const tokenize_options *options) {
    json_t *root;
    HONE_TRY(hone_json_load(&root, options->messages));
    const json_t *messages = json_is_object(root) ? json_object_get(root, "messages") : root;
    hone_status status = check_messages(messages, options->messages);
    if (status == HONE_OK) status = encode_with(out, tokenizer, root, messages, options);
    json_decref(root);
    return status;
}

static hone_status print_json(const tokens *out, const hone_tokenizer *tokenizer) {
    json_t *ids = json_array();
    json_t *pieces = json_array();
    json_t *mask = json_array();
    hone_buf piece = {0};
    hone_status status = HONE_OK;
    for (size_t i = 0; i < out->encoding.count && status == HONE_OK; i++) {
        hone_buf_clear(&piece);
        status = hone_tokenizer_piece(tokenizer, &piece, out->encoding.ids[i], true);
        json_array_append_new(ids, json_integer(out->encoding.ids[i]));
        json_array_append_new(mask, json_integer(out->mask[i]));
        json_array_append_new(pieces, hone_json_text(piece.length ? piece.data : "", piece.length));
    }
    hone_buf_free(&piece);
    json_t *object = json_pack("{s:o, s:o, s:o}", "ids", ids, "pieces", pieces, "mask", mask);
    if (status == HONE_OK) return hone_print_json(object);
    json_decref(object);
    return status;
}

static hone_status print_plain(const tokens *out, const hone_tokenizer *tokenizer) {
    for (size_t i = 0; i < out->encoding.count; i++)
        printf("%s%d", i ? " " : "", (int)out->encoding.ids[i]);
    putchar('\n');
    hone_say("%zu tokens:", out->encoding.count);
    return hone_print_tokens(tokenizer, out->encoding.ids, out->mask, out->encoding.count);
}

static hone_status tokenize(const hone_tokenizer *tokenizer, const tokenize_options *options) {
    tokens out = {0};
    hone_status status;
    if (options->messages) {
        status = encode_messages(&out, tokenizer, options);
    } else if (options->file) {
        status = encode_file(&out, tokenizer, options);
    } else {
        status = encode_text(&out, tokenizer, options->text, strlen(options->text), options);
    }
    if (status == HONE_OK)
        status = options->json ? print_json(&out, tokenizer) : print_plain(&out, tokenizer);
    hone_encoding_free(&out.encoding);
    hone_free(out.mask);
    return status;
}

static hone_status parse(tokenize_options *out, hone_arguments *arguments, int argc, char **argv) {
    const hone_flag flags[] = {
        {.name = "model",
         .type = HONE_FLAG_TEXT,
         .target = &out->model,
         .unit = "PATH",
         .text = "the model whose tokenizer is used"},
        {.name = "text",
         .type = HONE_FLAG_TEXT,
         .target = &out->text,
         .unit = "TEXT",
         .text = "the text itself"},
        {.name = "file",
         .type = HONE_FLAG_TEXT,
         .target = &out->file,
         .unit = "FILE",
         .text = "a text file; -: standard input"},
        {.name = "messages",
         .type = HONE_FLAG_TEXT,
         .target = &out->messages,
         .unit = "FILE.json",
         .text = "a conversation: [{\"role\": ..., \"content\": ...}, ...]"},
        {.name = "template",
         .type = HONE_FLAG_TEXT,
         .target = &out->template,
         .unit = "NAME",
         .text = "chat template of --messages; auto: the model's own; or the path of a .jinja file",
         .shown = "auto"},
        {.name = "template-vars",
         .type = HONE_FLAG_TEXT,
         .target = &out->variables,
         .unit = "JSON",
         .text = "--messages: variables of the template, as in {\"enable_thinking\": false}"},
        {.name = "generation",
         .type = HONE_FLAG_SWITCH,
         .target = &out->generation,
         .text = "--messages: end with the header of the assistant's next turn"},
        {.name = "parse-special",
         .type = HONE_FLAG_SWITCH,
         .target = &out->parse_special,
         .text = "--text, --file: control tokens written in the text become their ids"},
        {.name = "no-special",
         .type = HONE_FLAG_SWITCH,
         .target = &out->no_special,
         .text = "--text, --file: do not add the model's own first and last tokens"},
        {.name = "json",
         .type = HONE_FLAG_SWITCH,
         .target = &out->json,
         .text = "one JSON object on standard output: ids, pieces, mask"},
    };
    HONE_TRY(
        hone_flags_parse(arguments, &hone_command_tokenize, flags, HONE_COUNT(flags), argc, argv));
    if (arguments->help) return HONE_OK;
    if (!out->model)
        return hone_fail(HONE_ERR_USAGE, "--model is needed: its tokenizer decides the tokens");
    if (!!out->text + !!out->file + !!out->messages == 1) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE, "one of --text, --file and --messages is needed");
}

static hone_status run(int argc, char **argv) {
    tokenize_options options = {.template = "auto"};
    hone_arguments arguments = {0};
    HONE_TRY(parse(&options, &arguments, argc, argv));
    if (arguments.help) return HONE_OK;
    hone_tokenizer *tokenizer;
    HONE_TRY(hone_open_tokenizer(&tokenizer, options.model));
    hone_status status = tokenize(tokenizer, &options);
    hone_tokenizer_free(tokenizer);
    return status;
}

const hone_command hone_command_tokenize = {
    .name = "tokenize",
    .usage = "--model PATH (--text TEXT | --file FILE | --messages FILE.json) [options]",
    .summary = "token ids as the model sees them, with pieces and loss mask",
    .run = run,
};
