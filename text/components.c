/*
 * The parts that a tokenizer.json names: one table per kind of part, a row per component. What is in no table is
 * refused by its name.
 */
#include "text/components.h"

#include <string.h>

#include "base/alloc.h"
#include "text/utf8.h"

static hone_status refuse_type(const hone_component_table *table, const char *file,
                               const char *type) {
    hone_buf known = {0};
    hone_status status = HONE_OK;
    for (size_t i = 0; i < table->count && status == HONE_OK; i++) {
        status = hone_buf_printf(&known, "%s, ", table->rows[i].type);
    }
    if (status == HONE_OK) {
        status = hone_fail(HONE_ERR_UNSUPPORTED,
                           "%s: %s: the component '%.100s' is not known; known are %sSequence",
                           file, table->where, type, known.data ? known.data : "");
    }
    hone_buf_free(&known);
    return status;
}

static hone_status load_one(const hone_component_table *table, hone_component part) {
    const char *file = part.tokenizer->path;
    const char *type;
    part.where = table->where;
    if (!json_is_object(part.json)) {
        return hone_fail(HONE_ERR_FORMAT, "%s: %s: %s where an object with a 'type' belongs", file,
                         table->where, hone_json_kind(part.json));
    }
    HONE_TRY(hone_json_get_string(&type, part.json, "type", file));
    for (size_t i = 0; i < table->count; i++) {
        if (strcmp(table->rows[i].type, type) != 0) continue;
        part.form = table->rows[i].form;
        return table->rows[i].load(&part);
    }
    return refuse_type(table, file, type);
}

static bool is_sequence(const json_t *json) {
    const char *type = json_string_value(json_object_get(json, "type"));
    return type && strcmp(type, "Sequence") == 0;
}

/* Sequences may hold sequences: what counts is the flat order. */
static hone_status load_all(const hone_component_table *table, hone_component part, int depth) {
    if (!part.json || json_is_null(part.json)) return HONE_OK;
    if (!is_sequence(part.json)) return load_one(table, part);
    const char *file = part.tokenizer->path;
    if (depth > 8) {
        return hone_fail(HONE_ERR_FORMAT, "%s: %s: sequences nested more than 8 deep", file,
                         table->where);
    }
    const json_t *list;
    HONE_TRY(hone_json_get_array(&list, part.json, table->list, file));
    bool last = part.last;
    for (size_t i = 0; i < json_array_size(list); i++) {
        part.json = json_array_get(list, i);
        part.last = last && i + 1 == json_array_size(list);
        HONE_TRY(load_all(table, part, depth + 1));
    }
    return HONE_OK;
}

/* --- Reading members --- */

hone_status hone_component_get_text(hone_component_text *out, const hone_component *part,
                                    const char *key) {
    const json_t *value = json_object_get(part->json, key);
    if (!json_is_string(value)) {
        return hone_fail(HONE_ERR_FORMAT, "%s: %s: '%s' must be a string", part->tokenizer->path,
                         part->where, key);
    }
    *out = (hone_component_text){json_string_value(value), json_string_length(value)};
    return HONE_OK;
}

hone_status hone_component_get_character(hone_component_text *out, const hone_component *part,
                                         const char *key) {
    HONE_TRY(hone_component_get_text(out, part, key));
    if (out->length > 0 && hone_utf8_length(out->data[0]) == out->length) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT, "%s: %s: '%s' must be one character", part->tokenizer->path,
                     part->where, key);
}

hone_status hone_component_opt_bool(bool *out, const hone_component *part, const char *key) {
    return hone_json_opt_bool(out, part->json, key, part->tokenizer->path);
}

hone_status hone_component_refuse(const hone_component *part, const char *key, const char *value) {
    return hone_fail(HONE_ERR_UNSUPPORTED, "%s: %s: %s '%.100s' is not supported",
                     part->tokenizer->path, part->where, key, value);
}

hone_status hone_component_pattern(hone_regex **out, const hone_component *part) {
    const json_t *pattern = json_object_get(part->json, "pattern");
    const json_t *string = json_object_get(pattern, "String");
    const json_t *regex = json_object_get(pattern, "Regex");
    const json_t *value = regex ? regex : string;
    if (!json_is_string(value)) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: %s: 'pattern' must be an object with a 'String' or a 'Regex'",
                         part->tokenizer->path, part->where);
    }
    const char *text = json_string_value(value);
    size_t length = json_string_length(value);
    hone_status status =
        regex ? hone_regex_new(out, text, length) : hone_regex_literal(out, text, length);
    if (status == HONE_OK) return HONE_OK;
    return hone_fail_context(status, "%s: %s", part->tokenizer->path, part->where);
}

hone_status hone_component_prefix(hone_prefix *out, const hone_component *part) {
    static const char *const names[] = {"never", "first", "always"};
    bool wanted = true; /* the older form of the option */
    HONE_TRY(hone_component_opt_bool(&wanted, part, "add_prefix_space"));
    *out = wanted ? HONE_PREFIX_ALWAYS : HONE_PREFIX_NEVER;
    const char *scheme = NULL;
    HONE_TRY(hone_json_opt_string(&scheme, part->json, "prepend_scheme", part->tokenizer->path));
    if (!scheme) return HONE_OK;
    for (int i = 0; i < 3; i++) {
        if (strcmp(names[i], scheme) != 0) continue;
        *out = (hone_prefix)i;
        return HONE_OK;
    }
    return hone_component_refuse(part, "prepend_scheme", scheme);
}

hone_status hone_component_step(hone_step **out, hone_component *part, hone_step_run run) {
    *out = hone_steps_add(part->steps);
    if (!*out) return HONE_ERR_MEMORY;
    (*out)->run = run;
    return HONE_OK;
}

hone_status hone_component_copy(char **out, size_t *length, hone_component_text text) {
    *out = hone_strndup(text.data, text.length);
    *length = text.length;
    return *out ? HONE_OK : HONE_ERR_MEMORY;
}

/* --- Post-processors: what stands before and behind a single text --- */

static hone_status no_tokens(hone_component *part) {
    (void)part; /* ByteLevel here only trims the offsets of the library */
    return HONE_OK;
}

static bool is_token_id(const json_t *id) {
    return json_is_integer(id) && json_integer_value(id) >= 0 && json_integer_value(id) < INT32_MAX;
}

/* The ids of a special token of a template. */
static hone_status add_special_ids(hone_component *part, hone_ids *ids, const char *name) {
    const json_t *special = json_object_get(json_object_get(part->json, "special_tokens"), name);
    const json_t *list = json_object_get(special, "ids");
    if (!json_is_array(list)) {
        return hone_fail(HONE_ERR_FORMAT, "%s: %s: special_tokens lacks the ids of '%.100s'",
                         part->tokenizer->path, part->where, name);
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *id = json_array_get(list, i);
        if (!is_token_id(id)) {
            return hone_fail(HONE_ERR_FORMAT, "%s: %s: an id of '%.100s' is no token id",
                             part->tokenizer->path, part->where, name);
        }
        HONE_TRY(hone_ids_add(ids, (int32_t)json_integer_value(id)));
    }
    return HONE_OK;
}

/* A second one would work on the pieces of the first (and mostly fails in the library). */
static hone_status check_first(const hone_component *part) {
    const hone_tokenizer *tokenizer = part->tokenizer;
    if (tokenizer->prefix.count == 0 && tokenizer->suffix.count == 0) return HONE_OK;
    return hone_component_refuse(part, "a second part that adds tokens,",
                                 json_string_value(json_object_get(part->json, "type")));
}

static hone_status load_template(hone_component *part) {
    const json_t *single;
    hone_ids *ids = &part->tokenizer->prefix;
    HONE_TRY(check_first(part));
    HONE_TRY(hone_json_get_array(&single, part->json, "single", part->tokenizer->path));
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i);
        const json_t *special = json_object_get(item, "SpecialToken");
        if (json_object_get(item, "Sequence")) {
            if (ids != &part->tokenizer->prefix) {
                return hone_component_refuse(part, "single", "with the text twice");
            }
            ids = &part->tokenizer->suffix;
            continue;
        }
        const char *name = json_string_value(json_object_get(special, "id"));
        if (!name) {
            return hone_fail(HONE_ERR_FORMAT,
                             "%s: %s: item %zu of 'single' is neither a "
                             "SpecialToken nor a Sequence",
                             part->tokenizer->path, part->where, i);
        }
        HONE_TRY(add_special_ids(part, ids, name));
    }
    if (ids != &part->tokenizer->prefix) return HONE_OK;
    return hone_component_refuse(part, "single", "without the text");
}

/* "sep": [text, id], "cls": [text, id] */
static hone_status load_cls_sep(hone_component *part) {
    static const char *const keys[] = {"cls", "sep"};
    HONE_TRY(check_first(part));
    for (int i = 0; i < 2; i++) {
        const json_t *id = json_array_get(json_object_get(part->json, keys[i]), 1);
        if (!is_token_id(id)) {
            return hone_fail(HONE_ERR_FORMAT, "%s: %s: '%s' must be a token and its id",
                             part->tokenizer->path, part->where, keys[i]);
        }
        hone_ids *ids = i == 0 ? &part->tokenizer->prefix : &part->tokenizer->suffix;
        HONE_TRY(hone_ids_add(ids, (int32_t)json_integer_value(id)));
    }
    return HONE_OK;
}

static const hone_component_row processor_rows[] = {
    {"TemplateProcessing", load_template, 0},
    {"ByteLevel", no_tokens, 0},
    {"BertProcessing", load_cls_sep, 0},
    {"RobertaProcessing", load_cls_sep, 0},
};
static const hone_component_table processors =
    HONE_COMPONENT_TABLE("post_processor", processor_rows, "processors");

hone_status hone_tokenizer_components(hone_tokenizer *tokenizer, const json_t *root) {
    hone_component part = {.tokenizer = tokenizer, .last = true};
    part.json = json_object_get(root, "normalizer");
    part.steps = &tokenizer->normalizers;
    HONE_TRY(load_all(&hone_normalizer_table, part, 0));
    part.json = json_object_get(root, "pre_tokenizer");
    part.steps = &tokenizer->pretokenizers;
    HONE_TRY(load_all(&hone_pretokenizer_table, part, 0));
    part.json = json_object_get(root, "post_processor");
    HONE_TRY(load_all(&processors, part, 0));
    part.json = json_object_get(root, "decoder");
    HONE_TRY(load_all(&hone_decoder_table, part, 0));
    /* a file without decoder: what the bytes mean follows from the pre-tokenizer */
    bool byte_level = tokenizer->bpe.bytes && tokenizer->decoder.count == 0;
    if (byte_level && !hone_decoder_add(&tokenizer->decoder, hone_decode_byte_level)) {
        return HONE_ERR_MEMORY;
    }
    return HONE_OK;
}
