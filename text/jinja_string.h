/*
 * What Python's str can do, as methods and filters of templates share it. Kept text keeps where it came from.
 */
#ifndef HONE_TEXT_JINJA_STRING_H
#define HONE_TEXT_JINJA_STRING_H

#include "text/jinja_call.h"

typedef enum hone_jcase {
    HONE_J_LOWER,
    HONE_J_UPPER,
    HONE_J_SWAP,
    HONE_J_TITLE,      /* str.title(): the first letter of every word */
    HONE_J_CAPITALIZE, /* the first letter of the text */
    HONE_J_FOLD,
} hone_jcase;

HONE_MUST_USE hone_status hone_j_change_case(hone_jvalue *out, hone_jvm *vm, const hone_jstr *text,
                                             hone_jcase to);
/* Appends bytes begin <= i < end in another case. */
HONE_MUST_USE hone_status hone_j_put_case(hone_jbuilder *out, hone_jvm *vm, const hone_jstr *text,
                                          size_t begin, size_t end, hone_jcase to);

/* str.islower() and str.isupper() */
bool hone_j_is_case(const hone_jstr *text, hone_jcase which);

/* Every character is of the kind that `is` says, and there is one. */
bool hone_j_all(const hone_jstr *text, bool (*is)(int32_t code));

/* str.split and str.rsplit; `separator` NULL: white space. A negative `most` is no bound. */
HONE_MUST_USE hone_status hone_j_split(hone_jvalue *out, hone_jvm *vm, const hone_jstr *text,
                                       const hone_jstr *separator, int64_t most, bool from_right);

HONE_MUST_USE hone_status hone_j_replace(hone_jvalue *out, hone_jvm *vm, const hone_jstr *text,
                                         const hone_jstr *old, const hone_jstr *by, int64_t most);

/* Fills up to `width` characters: the share of `left` (0: none, 1: half of it, 2: all) goes before the text. */
HONE_MUST_USE hone_status hone_j_fill(hone_jvalue *out, hone_jvm *vm, hone_jstr *text,
                                      int64_t width, const hone_jstr *with, int left);

/* Lines as str.splitlines(). */
HONE_MUST_USE hone_status hone_j_splitlines(hone_jlist **out, hone_jvm *vm, const hone_jstr *text,
                                            bool keep_ends);

/* Texts joined; `any`: other values become text, else they are an error. */
HONE_MUST_USE hone_status hone_j_join(hone_jvalue *out, hone_jvm *vm, const hone_jstr *separator,
                                      const hone_jlist *items, bool any);

#endif
