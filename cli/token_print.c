#include "cli/token_print.h"

#include <stdio.h>

#include "base/file.h"
#include "cli/output.h"
#include "model/model.h"

hone_status hone_open_tokenizer(hone_tokenizer **out, const char *model) {
    if (hone_path_exists(model)) return hone_model_tokenizer(out, model);
    return hone_fail(
        HONE_ERR_IO,
        "%s: no such file; --model takes a Hugging Face folder, a .safetensors in one, "
        "or a .gguf",
        model);
}

/* What goes before token i. */
static const char *mark_before(const uint8_t *mask, size_t i, bool colours) {
    if (colours) {
        static const char *const styles[2][2] = {{"\033[0m", "\033[0;4m"},
                                                 {"\033[0;32m", "\033[0;32;4m"}};
        return styles[mask[i] != 0][i % 2];
    }
    bool before = i > 0 && mask[i - 1];
    if (mask[i] && !before) return "⟦";
    return !mask[i] && before ? "⟧" : "";
}

hone_status hone_print_tokens(const hone_tokenizer *tokenizer, const int32_t *ids,
                              const uint8_t *mask, size_t count) {
    bool colours = hone_colours(stdout);
    hone_buf piece = {0};
    hone_status status = HONE_OK;
    for (size_t i = 0; i < count && status == HONE_OK; i++) {
        hone_buf_clear(&piece);
        status = hone_tokenizer_piece(tokenizer, &piece, ids[i], true);
        fputs(mark_before(mask, i, colours), stdout);
        if (piece.length > 0) hone_print_text(piece.data, piece.length);
    }
    if (colours) fputs("\033[0m", stdout);
    if (!colours && count > 0 && mask[count - 1]) fputs("⟧", stdout);
    putchar('\n');
    hone_buf_free(&piece);
    return status;
}
