#include "text/jinja_text.h"

#include <string.h>

#include "text/jinja_vm.h"
#include "text/utf8.h"

/* --- building -------------------------------------------------------------------------------------------------- */

static hone_status make_room(char **place, hone_jbuilder *out, hone_jvm *vm, size_t length) {
    HONE_TRY(hone_j_charge(vm, length));
    HONE_TRY(hone_jarena_grow(&out->data, &vm->arena, out->length, &out->capacity,
                              out->length + length + 1, 1));
    if (out == vm->out && (int64_t)(out->length + length) > vm->output_limit)
        return hone_j_fail(vm, "the template writes more than %lld MB",
                           (long long)(vm->output_limit >> 20));
    *place = out->data + out->length;
    out->length += length;
    return HONE_OK;
}

/* The last `length` bytes came from where `like` says. Runs that touch and agree become one. */
static hone_status mark(hone_jbuilder *out, hone_jvm *vm, size_t length, hone_jinja_run like) {
    like.generation |= out->generation;
    if (length == 0 || (like.message == HONE_JINJA_NO_MESSAGE && !like.generation)) return HONE_OK;
    like.begin = out->length - length;
    like.end = out->length;
    if (out->run_count > 0) {
        hone_jinja_run *last = &out->runs[out->run_count - 1];
        if (last->end == like.begin && last->message == like.message && last->field == like.field &&
            last->generation == like.generation) {
            last->end = like.end;
            return HONE_OK;
        }
    }
    HONE_TRY(hone_jarena_grow(&out->runs, &vm->arena, out->run_count, &out->run_capacity,
                              out->run_count + 1, sizeof *out->runs));
    out->runs[out->run_count++] = like;
    return HONE_OK;
}

static const hone_jinja_run no_run = {.message = HONE_JINJA_NO_MESSAGE};

hone_status hone_j_put(hone_jbuilder *out, hone_jvm *vm, const char *text, size_t length) {
    char *place;
    HONE_TRY(make_room(&place, out, vm, length));
    if (length > 0) memcpy(place, text, length);
    return mark(out, vm, length, no_run);
}

hone_status hone_j_puts(hone_jbuilder *out, hone_jvm *vm, const char *text) {
    return hone_j_put(out, vm, text, strlen(text));
}

/* The first run that ends after `place`. */
static size_t run_after(const hone_jstr *from, size_t place) {
    size_t low = 0, high = from->run_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (from->runs[middle].end > place) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

hone_status hone_j_put_part(hone_jbuilder *out, hone_jvm *vm, const hone_jstr *from, size_t begin,
                            size_t end) {
    for (size_t run = run_after(from, begin), at = begin; at < end; run++) {
        bool inside = run < from->run_count && from->runs[run].begin < end;
        size_t until = inside ? from->runs[run].begin : end;
        if (until > at) {
            HONE_TRY(hone_j_put(out, vm, from->data + at, until - at));
            at = until;
        }
        if (!inside) break;
        until = from->runs[run].end < end ? from->runs[run].end : end;
        char *place;
        HONE_TRY(make_room(&place, out, vm, until - at));
        memcpy(place, from->data + at, until - at);
        HONE_TRY(mark(out, vm, until - at, from->runs[run]));
        at = until;
    }
    return HONE_OK;
}

hone_status hone_j_put_str(hone_jbuilder *out, hone_jvm *vm, const hone_jstr *from) {
    return hone_j_put_part(out, vm, from, 0, from->length);
}

hone_status hone_j_put_for(hone_jbuilder *out, hone_jvm *vm, const hone_jstr *from, size_t place,
                           const char *text, size_t length) {
    size_t run = run_after(from, place);
    bool inside = run < from->run_count && from->runs[run].begin <= place;
    char *to;
    HONE_TRY(make_room(&to, out, vm, length));
    if (length > 0) memcpy(to, text, length);
    return mark(out, vm, length, inside ? from->runs[run] : no_run);
}

hone_status hone_j_put_times(hone_jbuilder *out, hone_jvm *vm, const hone_jstr *text,
                             int64_t count) {
    if (text->length == 0) return HONE_OK;
    for (int64_t i = 0; i < count; i++) HONE_TRY(hone_j_put_str(out, vm, text));
    return HONE_OK;
}

/* --- strings --------------------------------------------------------------------------------------------------- */

static hone_status new_string(hone_jstr **out, hone_jvm *vm, const char *data, size_t length) {
    HONE_TRY(hone_jarena_take(out, &vm->arena, 1, sizeof **out));
    **out = (hone_jstr){.data = data ? data : "", .length = length, .characters = -1};
    return HONE_OK;
}

hone_status hone_j_built(hone_jvalue *out, hone_jvm *vm, hone_jbuilder *builder) {
    hone_jstr *string;
    HONE_TRY(new_string(&string, vm, builder->data, builder->length));
    string->runs = builder->runs;
    string->run_count = builder->run_count;
    *builder = (hone_jbuilder){0};
    *out = hone_j_string(string);
    return HONE_OK;
}

hone_status hone_j_text(hone_jvalue *out, hone_jvm *vm, const char *data, size_t length) {
    hone_jstr *string;
    HONE_TRY(new_string(&string, vm, data, length));
    *out = hone_j_string(string);
    return HONE_OK;
}

hone_status hone_j_part(hone_jvalue *out, hone_jvm *vm, const hone_jstr *from, size_t begin,
                        size_t end) {
    hone_jstr *string;
    if (end < begin) end = begin;
    HONE_TRY(hone_j_charge(vm, 0));
    HONE_TRY(new_string(&string, vm, from->data + begin, end - begin));
    string->safe = from->safe;
    *out = hone_j_string(string);
    size_t first = run_after(from, begin), last = first;
    while (last < from->run_count && from->runs[last].begin < end) last++;
    if (last == first) return HONE_OK;
    hone_jinja_run *runs;
    HONE_TRY(hone_jarena_take(&runs, &vm->arena, last - first, sizeof *runs));
    for (size_t i = first; i < last; i++) {
        hone_jinja_run run = from->runs[i];
        run.begin = run.begin > begin ? run.begin - begin : 0;
        run.end = (run.end < end ? run.end : end) - begin;
        runs[i - first] = run;
    }
    string->runs = runs;
    string->run_count = last - first;
    return HONE_OK;
}

int64_t hone_j_characters(hone_jstr *string) {
    if (string->characters >= 0) return string->characters;
    int64_t count = 0;
    for (size_t i = 0; i < string->length; i++)
        count += ((unsigned char)string->data[i] & 0xc0) != 0x80;
    return string->characters = count;
}

size_t hone_j_place(hone_jstr *string, int64_t index) {
    if (hone_j_characters(string) == (int64_t)string->length) return (size_t)index;
    size_t at = 0;
    for (; index > 0 && at < string->length; index--) at += hone_utf8_length(string->data[at]);
    return at < string->length ? at : string->length;
}

int64_t hone_j_find(const hone_jstr *in, const hone_jstr *what, size_t from) {
    if (from > in->length) return -1;
    if (what->length == 0) return (int64_t)from;
    const char *found = memmem(in->data + from, in->length - from, what->data, what->length);
    return found ? found - in->data : -1;
}

int64_t hone_j_find_last(const hone_jstr *in, const hone_jstr *what, size_t until) {
    if (until > in->length) until = in->length;
    for (size_t at = until; what->length <= until && at + 1 > what->length; at--) {
        size_t begin = at - what->length;
        if (memcmp(in->data + begin, what->data, what->length) == 0) return (int64_t)begin;
    }
    return -1;
}

bool hone_j_same_text(const hone_jstr *a, const hone_jstr *b) {
    return a->length == b->length && memcmp(a->data, b->data, a->length) == 0;
}

/* --- stripping ------------------------------------------------------------------------------------------------- */

bool hone_j_is_space(int32_t code) {
    return (code >= 0x1c && code <= 0x1f) || hone_utf8_is_space(code);
}

static bool is_stripped(int32_t code, const hone_jstr *chars) {
    if (!chars) return hone_j_is_space(code);
    for (size_t at = 0; at < chars->length;) {
        int32_t other;
        at += hone_utf8_next(&other, chars->data + at, chars->length - at);
        if (other == code) return true;
    }
    return false;
}

void hone_j_strip(size_t *begin, size_t *end, const hone_jstr *string, const hone_jstr *chars,
                  bool left, bool right) {
    *begin = 0;
    *end = string->length;
    int32_t code;
    while (left && *begin < *end) {
        size_t bytes = hone_utf8_next(&code, string->data + *begin, *end - *begin);
        if (!is_stripped(code, chars)) break;
        *begin += bytes;
    }
    while (right && *end > *begin) {
        size_t last = *end - 1;
        while (last > *begin && ((unsigned char)string->data[last] & 0xc0) == 0x80) last--;
        hone_utf8_next(&code, string->data + last, *end - last);
        if (!is_stripped(code, chars)) break;
        *end = last;
    }
}

/* --- HTML ------------------------------------------------------------------------------------------------------ */

hone_status hone_j_with_safe(hone_jvalue *out, hone_jvm *vm, hone_jvalue string, bool safe) {
    *out = string;
    if (string.as.string->safe == safe) return HONE_OK;
    hone_jstr *copy;
    HONE_TRY(hone_jarena_take(&copy, &vm->arena, 1, sizeof *copy));
    *copy = *string.as.string;
    copy->safe = safe;
    *out = hone_j_string(copy);
    return HONE_OK;
}

static const char *entity(char c) {
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '\'':
        return "&#39;";
    case '"':
        return "&#34;";
    default:
        return NULL;
    }
}

hone_status hone_j_escape(hone_jvalue *out, hone_jvm *vm, hone_jvalue value) {
    hone_jstr *string;
    HONE_TRY(hone_j_to_string(&string, vm, value));
    if (string->safe) {
        *out = hone_j_string(string);
        return HONE_OK;
    }
    hone_jbuilder builder = {0};
    size_t kept = 0;
    for (size_t at = 0; at < string->length; at++) {
        const char *name = entity(string->data[at]);
        if (!name) continue;
        HONE_TRY(hone_j_put_part(&builder, vm, string, kept, at));
        HONE_TRY(hone_j_put_for(&builder, vm, string, at, name, strlen(name)));
        kept = at + 1;
    }
    HONE_TRY(hone_j_put_part(&builder, vm, string, kept, string->length));
    HONE_TRY(hone_j_built(out, vm, &builder));
    out->as.string->safe = true;
    return HONE_OK;
}
