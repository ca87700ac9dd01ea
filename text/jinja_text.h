/*
 * Strings of templates: made, cut and joined, with the runs of bytes that came from messages.
 */
#ifndef HONE_TEXT_JINJA_TEXT_H
#define HONE_TEXT_JINJA_TEXT_H

#include "text/jinja_value.h"

/* A string in the making; memory is the rendering's arena. */
typedef struct hone_jbuilder {
    char *data;
    size_t length, capacity;
    hone_jinja_run *runs;
    size_t run_count, run_capacity;
    bool generation; /* what is put now stands in a generation block */
} hone_jbuilder;

/* Appends text of the template's own. */
HONE_MUST_USE hone_status hone_j_put(hone_jbuilder *out, hone_jvm *vm, const char *text,
                                     size_t length);
HONE_MUST_USE hone_status hone_j_puts(hone_jbuilder *out, hone_jvm *vm, const char *text);

/* Appends bytes begin <= i < end of a string. */
HONE_MUST_USE hone_status hone_j_put_part(hone_jbuilder *out, hone_jvm *vm, const hone_jstr *from,
                                          size_t begin, size_t end);
HONE_MUST_USE hone_status hone_j_put_str(hone_jbuilder *out, hone_jvm *vm, const hone_jstr *from);

/* Appends text that stands for the byte at `place` of a string. */
HONE_MUST_USE hone_status hone_j_put_for(hone_jbuilder *out, hone_jvm *vm, const hone_jstr *from,
                                         size_t place, const char *text, size_t length);

/* Appends `count` times `text`. */
HONE_MUST_USE hone_status hone_j_put_times(hone_jbuilder *out, hone_jvm *vm, const hone_jstr *text,
                                           int64_t count);

/* The string, or a value of it; it takes over the builder's memory. */
HONE_MUST_USE hone_status hone_j_built(hone_jvalue *out, hone_jvm *vm, hone_jbuilder *builder);

/* A string of borrowed bytes. */
HONE_MUST_USE hone_status hone_j_text(hone_jvalue *out, hone_jvm *vm, const char *data,
                                      size_t length);

/* Bytes begin <= i < end of a string; it shares the bytes. */
HONE_MUST_USE hone_status hone_j_part(hone_jvalue *out, hone_jvm *vm, const hone_jstr *from,
                                      size_t begin, size_t end);

/* Length in characters (the compiler counts those of the template's own, which threads share), and the byte at which character `index` begins (0 <= index <= length). */
int64_t hone_j_characters(hone_jstr *string);
size_t hone_j_place(hone_jstr *string, int64_t index);

/* The first place at or after `from` where `what` stands, or -1; and the last one that ends at or before `until`. */
int64_t hone_j_find(const hone_jstr *in, const hone_jstr *what, size_t from);
int64_t hone_j_find_last(const hone_jstr *in, const hone_jstr *what, size_t until);

/* What Python's str.isspace() and str.strip() see as white space. */
bool hone_j_is_space(int32_t code);

/* The place of the first byte that is kept, and of the end: white space when `chars` is NULL. */
void hone_j_strip(size_t *begin, size_t *end, const hone_jstr *string, const hone_jstr *chars,
                  bool left, bool right);

/* Appends str(value), and repr(value). */
HONE_MUST_USE hone_status hone_j_put_value(hone_jbuilder *out, hone_jvm *vm, hone_jvalue value);
HONE_MUST_USE hone_status hone_j_put_repr(hone_jbuilder *out, hone_jvm *vm, hone_jvalue value);

/* str(value); a string is itself (soft_str of jinja2). */
HONE_MUST_USE hone_status hone_j_to_string(hone_jstr **out, hone_jvm *vm, hone_jvalue value);

/* A string without its mark of being safe, and with it. */
HONE_MUST_USE hone_status hone_j_with_safe(hone_jvalue *out, hone_jvm *vm, hone_jvalue string,
                                           bool safe);

/* HTML's five special characters spelled out; a safe string is itself. */
HONE_MUST_USE hone_status hone_j_escape(hone_jvalue *out, hone_jvm *vm, hone_jvalue value);

/* Python's repr of a float into out[32]. */
void hone_j_float_text(char out[32], double value);

/* As json.dumps of Python. */
typedef struct hone_jdumps {
    bool ensure_ascii, sort_keys;
    const hone_jstr *indent;                         /* NULL: on one line */
    const hone_jstr *item_separator, *key_separator; /* NULL: Python's own */
} hone_jdumps;

HONE_MUST_USE hone_status hone_j_put_json(hone_jbuilder *out, hone_jvm *vm, hone_jvalue value,
                                          const hone_jdumps *how);

#endif
