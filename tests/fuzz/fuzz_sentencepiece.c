#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "text/tokenizer.h"

static const char *const texts[] = {
    "",
    " hello  world\t1234 <sep>\xef\xac\x81 \xe2\x96\x81x ",
    "\xf0\x9f\x98\x80\xff\xe3\x80\x80 e\xcc\x81",
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    hone_tokenizer *tokenizer;
    if (hone_tokenizer_load_spm(&tokenizer, bytes, length, "input") != HONE_OK) return 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        hone_encode_options options = {.parse_special = true, .add_special = true};
        hone_encoding out = {0};
        hone_buf decoded = {0};
        size_t size = strlen(texts[i]);
        if (hone_tokenizer_encode(tokenizer, &out, texts[i], size, &options) == HONE_OK) {
            for (size_t k = 0; k < out.count; k++) {
                if (out.ids[k] < 0 || out.ids[k] >= hone_tokenizer_size(tokenizer)) {
                    __builtin_trap();
                }
                if (out.spans[k].begin > out.spans[k].end || out.spans[k].end > size) {
                    __builtin_trap();
                }
            }
            (void)!hone_tokenizer_decode(tokenizer, &decoded, out.ids, out.count, true);
        }
        hone_buf_free(&decoded);
        hone_encoding_free(&out);
    }
    hone_tokenizer_free(tokenizer);
    return 0;
}
