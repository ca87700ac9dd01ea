#include <string.h>
#include <utf8proc.h>

#include "base/alloc.h"
#include "text/components.h"

static hone_status load_form(hone_component *part) {
    hone_step *step;
    HONE_TRY(hone_component_step(&step, part, hone_normalize_form));
    step->form = part->form | UTF8PROC_STABLE;
    return HONE_OK;
}

static hone_status load_prepend(hone_component *part) {
    hone_step *step;
    hone_component_text prefix;
    HONE_TRY(hone_component_get_text(&prefix, part, "prepend"));
    HONE_TRY(hone_component_step(&step, part, hone_normalize_prepend));
    return hone_component_copy(&step->text, &step->text_length, prefix);
}

static hone_status load_replace(hone_component *part) {
    hone_step *step;
    hone_component_text content;
    HONE_TRY(hone_component_get_text(&content, part, "content"));
    HONE_TRY(hone_component_step(&step, part, hone_normalize_replace));
    HONE_TRY(hone_component_pattern(&step->regex, part));
    return hone_component_copy(&step->text, &step->text_length, content);
}

/* --- Characters --- */

static hone_status add_map(hone_component *part, hone_character_map map) {
    hone_step *step;
    HONE_TRY(hone_component_step(&step, part, hone_normalize_characters));
    step->map = map;
    return HONE_OK;
}

static hone_status load_lowercase(hone_component *part) {
    return add_map(part, hone_map_lower);
}

static hone_status load_strip_accents(hone_component *part) {
    return add_map(part, hone_map_strip_marks);
}

static hone_status load_nmt(hone_component *part) {
    return add_map(part, hone_map_nmt);
}

static hone_status load_strip(hone_component *part) {
    hone_step *step;
    HONE_TRY(hone_component_step(&step, part, hone_normalize_strip));
    HONE_TRY(hone_component_opt_bool(&step->left, part, "strip_left"));
    return hone_component_opt_bool(&step->right, part, "strip_right");
}

static hone_status load_byte_level(hone_component *part) {
    hone_step *step;
    return hone_component_step(&step, part, hone_normalize_byte_level);
}

/* BertNormalizer is a list of others; accents go with lower case unless the file says otherwise. */
static hone_status load_bert(hone_component *part) {
    bool clean = true, chinese = true, lower = true;
    HONE_TRY(hone_component_opt_bool(&clean, part, "clean_text"));
    HONE_TRY(hone_component_opt_bool(&chinese, part, "handle_chinese_chars"));
    HONE_TRY(hone_component_opt_bool(&lower, part, "lowercase"));
    bool strip = lower;
    HONE_TRY(hone_component_opt_bool(&strip, part, "strip_accents"));
    if (clean) HONE_TRY(add_map(part, hone_map_clean));
    if (chinese) HONE_TRY(add_map(part, hone_map_chinese));
    if (strip) {
        part->form = UTF8PROC_DECOMPOSE;
        HONE_TRY(load_form(part));
        HONE_TRY(add_map(part, hone_map_strip_nonspacing));
    }
    return lower ? add_map(part, hone_map_lower) : HONE_OK;
}

/* --- The table of replacements, in base64 --- */

static int base64_digit(char c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* Writes the bytes that `text` spells to out[0 .. 3 * length / 4]; returns how many, SIZE_MAX for what is no base64. */
static size_t read_base64(unsigned char *out, hone_component_text text) {
    uint32_t bits = 0;
    size_t count = 0, length = text.length;
    while (length > 0 && text.data[length - 1] == '=') length--;
    for (size_t i = 0; i < length; i++) {
        int digit = base64_digit(text.data[i]);
        if (digit < 0) return SIZE_MAX;
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4 != 0) out[count++] = (unsigned char)(bits >> (6 - 2 * (i % 4)));
    }
    return count;
}

static hone_status load_precompiled(hone_component *part) {
    hone_step *step;
    hone_component_text text;
    HONE_TRY(hone_component_get_text(&text, part, "precompiled_charsmap"));
    if (text.length == 0) return HONE_OK;
    HONE_TRY(hone_component_step(&step, part, hone_normalize_precompiled));
    unsigned char *bytes = hone_alloc(text.length, 1);
    if (!bytes) return HONE_ERR_MEMORY;
    size_t length = read_base64(bytes, text);
    hone_status status =
        length == SIZE_MAX
            ? hone_fail(HONE_ERR_FORMAT, "%s: %s: precompiled_charsmap is no base64",
                        part->tokenizer->path, part->where)
            : hone_charsmap_new(&step->charsmap, bytes, length, part->tokenizer->path,
                                "normalizer: precompiled_charsmap");
    hone_free(bytes);
    return status;
}

static const hone_component_row rows[] = {
    {"NFC", load_form, UTF8PROC_COMPOSE},
    {"NFD", load_form, UTF8PROC_DECOMPOSE},
    {"NFKC", load_form, UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
    {"NFKD", load_form, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT},
    {"Lowercase", load_lowercase, 0},
    {"Strip", load_strip, 0},
    {"StripAccents", load_strip_accents, 0},
    {"Prepend", load_prepend, 0},
    {"Replace", load_replace, 0},
    {"ByteLevel", load_byte_level, 0},
    {"Nmt", load_nmt, 0},
    {"BertNormalizer", load_bert, 0},
    {"Precompiled", load_precompiled, 0},
};
const hone_component_table hone_normalizer_table =
    HONE_COMPONENT_TABLE("normalizer", rows, "normalizers");
