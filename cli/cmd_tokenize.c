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
    const char *model, *text, *file, *messages, *template;
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

/* One message of the file; its texts are borrowed from `value`. */
static hone_status read_message(hone_message *out, const json_t *value, const char *file,
                                size_t number) {
    const json_t *role = json_object_get(value, "role");
    const json_t *content = json_object_get(value, "content");
    if (!json_is_string(role) || !json_is_string(content))
        return hone_fail(HONE_ERR_DATA,
                         "%s: message %zu: needs a \"role\" and a \"content\", both texts", file,
                         number);
    *out = (hone_message){.role = json_string_value(role),
                          .content = json_string_value(content),
                          .length = json_string_length(content)};
    return HONE_OK;
}

static hone_status encode_array(tokens *out, const hone_tokenizer *tokenizer, const json_t *array,
                                const tokenize_options *options) {
    const hone_chat_template *chat;
    HONE_TRY(hone_chat_choose(&chat, options->template, options->model, tokenizer));
    size_t count = json_array_size(array);
    hone_message *messages = hone_alloc(count, sizeof *messages);
    hone_status status = messages ? HONE_OK : HONE_ERR_MEMORY;
    for (size_t i = 0; i < count && status == HONE_OK; i++)
        status = read_message(&messages[i], json_array_get(array, i), options->messages, i);
    hone_rendering rendering = {0};
    if (status == HONE_OK)
        status = hone_chat_encode(&out->encoding, &rendering, chat, tokenizer, messages, count,
                                  options->generation);
    if (status == HONE_OK) status = make_mask(out);
    if (status == HONE_OK) hone_chat_mask(out->mask, &out->encoding, &rendering);
    hone_rendering_free(&rendering);
    hone_free(messages);
    return status;
}

/* The file holds a list of messages, or an object with one under "messages". */
static hone_status encode_messages(tokens *out, const hone_tokenizer *tokenizer,
                                   const tokenize_options *options) {
    json_t *root;
    HONE_TRY(hone_json_load(&root, options->messages));
    const json_t *array = json_is_object(root) ? json_object_get(root, "messages") : root;
    hone_status status =
        json_is_array(array)
            ? encode_array(out, tokenizer, array, options)
            : hone_fail(HONE_ERR_DATA, "%s: holds no list of messages", options->messages);
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
         .text = "chat template of --messages; auto: the model's own",
         .shown = "auto"},
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
