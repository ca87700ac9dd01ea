#include "text/decoder.h"

#include "base/alloc.h"

void hone_strings_clear(hone_strings *strings) {
    hone_buf_clear(&strings->bytes);
    strings->count = 0;
}

void hone_strings_free(hone_strings *strings) {
    hone_buf_free(&strings->bytes);
    hone_free(strings->ends);
    *strings = (hone_strings){0};
}

const char *hone_strings_at(size_t *length, const hone_strings *strings, size_t index) {
    size_t begin = index ? strings->ends[index - 1] : 0;
    *length = strings->ends[index] - begin;
    return strings->bytes.data ? strings->bytes.data + begin : "";
}

hone_status hone_strings_end(hone_strings *strings) {
    HONE_TRY(
        hone_grow(&strings->ends, &strings->capacity, strings->count + 1, sizeof *strings->ends));
    strings->ends[strings->count++] = strings->bytes.length;
    return HONE_OK;
}

hone_status hone_strings_add(hone_strings *strings, const char *text, size_t length) {
    HONE_TRY(hone_buf_append(&strings->bytes, text, length));
    return hone_strings_end(strings);
}

hone_decode_step *hone_decoder_add(hone_decoder *decoder, hone_decode_run run) {
    if (hone_grow(&decoder->steps, &decoder->capacity, decoder->count + 1,
                  sizeof *decoder->steps)) {
        return NULL;
    }
    hone_decode_step *step = &decoder->steps[decoder->count++];
    *step = (hone_decode_step){.run = run};
    return step;
}

void hone_decoder_free(hone_decoder *decoder) {
    for (size_t i = 0; i < decoder->count; i++) {
        hone_regex_free(decoder->steps[i].regex);
        hone_free(decoder->steps[i].text);
        hone_free(decoder->steps[i].other);
    }
    hone_free(decoder->steps);
    *decoder = (hone_decoder){0};
}

void hone_decoding_free(hone_decoding *decoding) {
    hone_strings_free(&decoding->in);
    hone_strings_free(&decoding->out);
    hone_strings_free(&decoding->work);
    hone_matcher_free(decoding->matcher);
    *decoding = (hone_decoding){0};
}

hone_status hone_decoder_run(const hone_decoder *decoder, hone_decoding *decoding) {
    for (size_t i = 0; i < decoder->count; i++) {
        hone_strings_clear(&decoding->out);
        HONE_TRY(decoder->steps[i].run(&decoder->steps[i], decoding));
        hone_strings done = decoding->out;
        decoding->out = decoding->in;
        decoding->in = done;
    }
    return HONE_OK;
}
