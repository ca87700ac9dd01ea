#include <string.h>

#include "formats/gguf.h"
#include "tests/fuzz/fuzz.h"
#include "text/tokenizer.h"

static const char *const texts[] = {
    "",
    "hello world",
    " hello  wor\r\n\n 1234 <|end|>  <|strip|> \t<user> word ab.b e\xcc\x81\xc3\xa9 <s></s>",
    ("\xf0\x9f\x98\x80\xff\xed\xa0\x80\xe2\x96\x81\xe2\x96\x81hello\xe3\x80\x80 "
     "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8"),
    "hellohellohellohellohellohellohellohellohellohellohellohellohellohellohello",
};

/* Spans rise and lie in the text; what was encoded can be decoded. */
static void encode(const hone_tokenizer *tokenizer, const char *text, bool special) {
    size_t length = strlen(text);
    hone_span literal = {length / 2, length};
    hone_encode_options options = {.add_special = special,
                                   .parse_special = special,
                                   .literal = &literal,
                                   .literal_count = length > 1};
    hone_encoding out = {0};
    hone_buf decoded = {0};
    if (hone_tokenizer_encode(tokenizer, &out, text, length, &options) == HONE_OK) {
        for (size_t i = 0; i < out.count; i++) {
            if (out.ids[i] < 0 || out.ids[i] >= hone_tokenizer_size(tokenizer)) __builtin_trap();
            if (out.spans[i].begin > out.spans[i].end || out.spans[i].end > length) {
                __builtin_trap();
            }
            if (i > 0 && out.spans[i].begin < out.spans[i - 1].begin) __builtin_trap();
            (void)!hone_tokenizer_piece(tokenizer, &decoded, out.ids[i], special);
        }
        (void)!hone_tokenizer_decode(tokenizer, &decoded, out.ids, out.count, special);
    }
    hone_buf_free(&decoded);
    hone_encoding_free(&out);
}

static hone_status load(hone_tokenizer **out, const uint8_t *bytes, size_t length) {
    if (length < 4 || memcmp(bytes, "GGUF", 4) != 0) {
        return hone_tokenizer_load_bytes(out, (const char *)bytes, length, "input");
    }
    hone_gguf *gguf;
    HONE_TRY(hone_gguf_open_bytes(&gguf, bytes, length, "input"));
    hone_status status = hone_tokenizer_load_gguf(out, gguf);
    hone_gguf_close(gguf);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    hone_tokenizer *tokenizer;
    if (load(&tokenizer, bytes, length) != HONE_OK) return 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        encode(tokenizer, texts[i], false);
        encode(tokenizer, texts[i], true);
    }
    hone_tokenizer_free(tokenizer);
    return 0;
}
