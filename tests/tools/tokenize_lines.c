/*
 * Tokenises texts for the interop tests: tokenize_lines TOKENIZER [add] [plain]
 *
 * TOKENIZER is a tokenizer.json, a folder with one, or a GGUF file. Standard input holds one JSON value a line: a
 * string, or {"hex": "..."} for any bytes. Output: for each a line {"ids", "spans", "decoded"}. "add" puts bos and eos,
 * "plain" does not parse control tokens.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "formats/gguf.h"
#include "formats/json.h"
#include "text/tokenizer.h"

static void check(hone_status status) {
    if (status == HONE_OK) return;
    fprintf(stderr, "%s\n", hone_fail_message());
    exit(1);
}

static hone_tokenizer *load(const char *path) {
    hone_tokenizer *tokenizer;
    size_t length = strlen(path);
    if (hone_path_is_dir(path)) {
        check(hone_tokenizer_load_folder(&tokenizer, path));
    } else if (length > 5 && strcmp(path + length - 5, ".gguf") == 0) {
        hone_gguf *gguf;
        check(hone_gguf_open(&gguf, path));
        check(hone_tokenizer_load_gguf(&tokenizer, gguf));
        hone_gguf_close(gguf);
    } else {
        check(hone_tokenizer_load_json(&tokenizer, path));
    }
    return tokenizer;
}

static void read_text(hone_buf *out, const json_t *value) {
    hone_buf_clear(out);
    check(hone_buf_append(out, "", 0));
    if (json_is_string(value)) {
        check(hone_buf_append(out, json_string_value(value), json_string_length(value)));
        return;
    }
    const char *hex = json_string_value(json_object_get(value, "hex"));
    for (unsigned int byte; hex && sscanf(hex, "%2x", &byte) == 1; hex += 2) {
        check(hone_buf_append(out, &(char){(char)byte}, 1));
    }
}

static void print_encoding(const hone_tokenizer *tokenizer, const hone_encoding *encoding) {
    hone_buf decoded = {0};
    hone_buf line = {0};
    check(hone_tokenizer_decode(tokenizer, &decoded, encoding->ids, encoding->count, true));
    check(hone_buf_puts(&line, "{\"ids\": ["));
    for (size_t i = 0; i < encoding->count; i++) {
        check(hone_buf_printf(&line, "%s%d", i ? "," : "", encoding->ids[i]));
    }
    check(hone_buf_puts(&line, "], \"spans\": ["));
    for (size_t i = 0; i < encoding->count; i++) {
        check(hone_buf_printf(&line, "%s[%zu,%zu]", i ? "," : "", encoding->spans[i].begin,
                              encoding->spans[i].end));
    }
    check(hone_buf_puts(&line, "], \"decoded\": "));
    check(hone_json_append_string(&line, decoded.data ? decoded.data : "", decoded.length));
    printf("%s}\n", line.data);
    hone_buf_free(&decoded);
    hone_buf_free(&line);
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    hone_tokenizer *tokenizer = load(argv[1]);
    hone_encode_options options = {.parse_special = true};
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "add") == 0) options.add_special = true;
        if (strcmp(argv[i], "plain") == 0) options.parse_special = false;
    }
    char *line = NULL;
    size_t capacity = 0;
    hone_buf text = {0};
    hone_encoding encoding = {0};
    for (ssize_t length; (length = getline(&line, &capacity, stdin)) > 0;) {
        json_t *value;
        check(hone_json_parse(&value, line, (size_t)length, "standard input"));
        read_text(&text, value);
        hone_encoding_clear(&encoding);
        check(hone_tokenizer_encode(tokenizer, &encoding, text.data, text.length, &options));
        print_encoding(tokenizer, &encoding);
        json_decref(value);
    }
    hone_encoding_free(&encoding);
    hone_buf_free(&text);
    hone_tokenizer_free(tokenizer);
    free(line);
    return 0;
}
