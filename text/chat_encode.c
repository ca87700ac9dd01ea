#include "text/chat.h"

static hone_status put_piece(hone_buf *out, const hone_tokenizer *tokenizer, int32_t id) {
    if (id >= 0) HONE_TRY(hone_tokenizer_piece(tokenizer, out, id, true));
    return out->data ? HONE_OK : hone_buf_puts(out, "");
}

static hone_status render(hone_rendering *out, const hone_chat_template *chat,
                          const hone_tokenizer *tokenizer, const hone_message *messages,
                          size_t count, bool generation) {
    bool with_bos = !hone_chat_template_borrows_bos(chat) || hone_tokenizer_adds_bos(tokenizer);
    hone_buf bos = {0};
    hone_buf eos = {0};
    hone_status status = put_piece(&bos, tokenizer, with_bos ? hone_tokenizer_bos(tokenizer) : -1);
    if (status == HONE_OK) status = put_piece(&eos, tokenizer, hone_tokenizer_eos(tokenizer));
    if (status == HONE_OK)
        status = hone_chat_render(chat, out, messages, count, bos.data, eos.data, generation);
    hone_buf_free(&bos);
    hone_buf_free(&eos);
    return status;
}

hone_status hone_chat_encode(hone_encoding *out, hone_rendering *rendering,
                             const hone_chat_template *chat, const hone_tokenizer *tokenizer,
                             const hone_message *messages, size_t count, bool generation) {
    hone_encoding_clear(out);
    HONE_TRY(render(rendering, chat, tokenizer, messages, count, generation));
    hone_encode_options options = {.parse_special = true,
                                   .literal = rendering->literal,
                                   .literal_count = rendering->literal_count};
    const char *text = rendering->text.data ? rendering->text.data : "";
    return hone_tokenizer_encode(tokenizer, out, text, rendering->text.length, &options);
}

void hone_chat_mask(uint8_t *mask, const hone_encoding *encoding, const hone_rendering *rendering) {
    size_t span = 0;
    for (size_t i = 0; i < encoding->count; i++) {
        hone_span token = encoding->spans[i];
        while (span < rendering->supervised_count &&
               rendering->supervised[span].end <= token.begin) {
            span++;
        }
        bool inside =
            span < rendering->supervised_count && rendering->supervised[span].begin <= token.begin;
        mask[i] = i > 0 && inside;
    }
}
