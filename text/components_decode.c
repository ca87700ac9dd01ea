#include "text/components.h"

static hone_status add(hone_decode_step **out, hone_component *part, hone_decode_run run) {
    *out = hone_decoder_add(&part->tokenizer->decoder, run);
    return *out ? HONE_OK : HONE_ERR_MEMORY;
}

static hone_status load_byte_level(hone_component *part) {
    hone_decode_step *step;
    return add(&step, part, hone_decode_byte_level);
}

static hone_status load_byte_fallback(hone_component *part) {
    hone_decode_step *step;
    return add(&step, part, hone_decode_byte_fallback);
}

static hone_status load_fuse(hone_component *part) {
    hone_decode_step *step;
    return add(&step, part, hone_decode_fuse);
}

static hone_status load_replace(hone_component *part) {
    hone_decode_step *step;
    hone_component_text content;
    HONE_TRY(hone_component_get_text(&content, part, "content"));
    HONE_TRY(add(&step, part, hone_decode_replace));
    HONE_TRY(hone_component_pattern(&step->regex, part));
    return hone_component_copy(&step->text, &step->text_length, content);
}

static hone_status load_strip(hone_component *part) {
    hone_decode_step *step;
    hone_component_text content;
    int64_t start = 0, stop = 0;
    const char *file = part->tokenizer->path;
    HONE_TRY(hone_component_get_character(&content, part, "content"));
    HONE_TRY(hone_json_opt_int(&start, part->json, "start", 0, 1000, file));
    HONE_TRY(hone_json_opt_int(&stop, part->json, "stop", 0, 1000, file));
    HONE_TRY(add(&step, part, hone_decode_strip));
    step->start = (size_t)start;
    step->stop = (size_t)stop;
    return hone_component_copy(&step->text, &step->text_length, content);
}

static hone_status load_metaspace(hone_component *part) {
    hone_decode_step *step;
    hone_component_text replacement;
    hone_prefix prefix;
    HONE_TRY(hone_component_get_character(&replacement, part, "replacement"));
    HONE_TRY(hone_component_prefix(&prefix, part));
    HONE_TRY(add(&step, part, hone_decode_metaspace));
    step->flag = prefix != HONE_PREFIX_NEVER;
    return hone_component_copy(&step->text, &step->text_length, replacement);
}

static hone_status load_wordpiece(hone_component *part) {
    hone_decode_step *step;
    hone_component_text prefix;
    HONE_TRY(hone_component_get_text(&prefix, part, "prefix"));
    HONE_TRY(add(&step, part, hone_decode_wordpiece));
    HONE_TRY(hone_component_opt_bool(&step->flag, part, "cleanup"));
    return hone_component_copy(&step->text, &step->text_length, prefix);
}

static hone_status load_suffix(hone_component *part) {
    hone_decode_step *step;
    hone_component_text suffix;
    HONE_TRY(hone_component_get_text(&suffix, part, "suffix"));
    if (suffix.length == 0) return hone_component_refuse(part, "BPEDecoder with the suffix", "");
    HONE_TRY(add(&step, part, hone_decode_suffix));
    return hone_component_copy(&step->text, &step->text_length, suffix);
}

static hone_status load_ctc(hone_component *part) {
    hone_decode_step *step;
    hone_component_text padding, delimiter;
    HONE_TRY(hone_component_get_text(&padding, part, "pad_token"));
    HONE_TRY(hone_component_get_text(&delimiter, part, "word_delimiter_token"));
    if (padding.length == 0 || delimiter.length == 0) {
        return hone_component_refuse(part, "CTC with the token", "");
    }
    HONE_TRY(add(&step, part, hone_decode_ctc));
    HONE_TRY(hone_component_opt_bool(&step->flag, part, "cleanup"));
    HONE_TRY(hone_component_copy(&step->text, &step->text_length, padding));
    return hone_component_copy(&step->other, &step->other_length, delimiter);
}

static const hone_component_row rows[] = {
    {"ByteLevel", load_byte_level, 0},
    {"ByteFallback", load_byte_fallback, 0},
    {"Replace", load_replace, 0},
    {"Strip", load_strip, 0},
    {"Metaspace", load_metaspace, 0},
    {"Fuse", load_fuse, 0},
    {"WordPiece", load_wordpiece, 0},
    {"BPEDecoder", load_suffix, 0},
    {"CTC", load_ctc, 0},
};
const hone_component_table hone_decoder_table = HONE_COMPONENT_TABLE("decoder", rows, "decoders");
