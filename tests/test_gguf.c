#include "formats/gguf.h"

#include <stdint.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/file.h"
#include "formats/gguf_writer.h"
#include "tests/support.h"

/* --- A file built in memory, whole or with one fault --- */

typedef enum fault {
    NONE,
    NO_MAGIC,
    VERSION_1,
    VERSION_4,
    BIG_ENDIAN_FILE,
    NEGATIVE_TENSORS,
    MANY_TENSORS,
    MANY_KEYS,
    EMPTY_KEY,
    LONG_KEY,
    HUGE_KEY,
    KEY_TWICE,
    UNKNOWN_KIND,
    UNKNOWN_ELEMENT,
    NESTED_ARRAY,
    HUGE_ARRAY,
    LONG_ARRAY,
    LONG_STRING_IN_ARRAY,
    BAD_BOOL,
    ALIGNMENT_KIND,
    ALIGNMENT_ODD,
    ALIGNMENT_ZERO,
    EMPTY_NAME,
    LONG_NAME,
    NUL_IN_NAME,
    NAME_TWICE,
    FIVE_SIZES,
    NEGATIVE_SIZE,
    SIZES_OVERFLOW,
    BYTES_OVERFLOW,
    NO_BLOCK_MULTIPLE,
    OFFSET_UNALIGNED,
    OFFSET_GAP,
    OFFSET_OVERLAP,
    OFFSET_HUGE,
    DATA_SHORT,
    UNKNOWN_GAP,
} fault;

typedef struct maker {
    hone_buf buf;
    fault fault;
} maker;

static void raw(maker *to, const void *bytes, size_t length) {
    ck_ok(hone_buf_append(&to->buf, bytes, length));
}

static void u32(maker *to, uint32_t value) {
    raw(to, &value, sizeof value);
}

static void u64(maker *to, uint64_t value) {
    raw(to, &value, sizeof value);
}

static void string(maker *to, const char *text) {
    u64(to, strlen(text));
    raw(to, text, strlen(text));
}

static uint64_t pick(const maker *of, fault when, uint64_t faulty, uint64_t right) {
    return of->fault == when ? faulty : right;
}

static void make_keys(maker *to) {
    string(to, "general.architecture");
    u32(to, HONE_GGUF_STRING);
    string(to, "llama");
    string(to, "general.alignment");
    u32(to, (uint32_t)pick(to, ALIGNMENT_KIND, HONE_GGUF_I32, HONE_GGUF_U32));
    u32(to, to->fault == ALIGNMENT_ODD ? 24 : to->fault == ALIGNMENT_ZERO ? 0 : 64);
    if (to->fault == LONG_KEY || to->fault == HUGE_KEY) {
        u64(to, to->fault == LONG_KEY ? 1u << 20 : UINT64_MAX - 3);
    } else {
        string(to, to->fault == EMPTY_KEY   ? ""
                   : to->fault == KEY_TWICE ? "general.architecture"
                                            : "x.list");
    }
    u32(to, (uint32_t)pick(to, UNKNOWN_KIND, 13, HONE_GGUF_ARRAY));
    u32(to, to->fault == UNKNOWN_ELEMENT ? 99
            : to->fault == NESTED_ARRAY  ? HONE_GGUF_ARRAY
                                         : HONE_GGUF_I32);
    u64(to, to->fault == HUGE_ARRAY ? UINT64_MAX / 2 : pick(to, LONG_ARRAY, 1u << 30, 3));
    u32(to, 1);
    u32(to, (uint32_t)-2);
    u32(to, 3);
    string(to, "x.words");
    u32(to, HONE_GGUF_ARRAY);
    u32(to, HONE_GGUF_STRING);
    u64(to, 2);
    string(to, "");
    u64(to, pick(to, LONG_STRING_IN_ARRAY, 1u << 29, 3));
    raw(to, "a\0b", 3);
    string(to, "x.flag");
    u32(to, HONE_GGUF_BOOL);
    raw(to, to->fault == BAD_BOOL ? "\2" : "\1", 1);
}

static void make_name(maker *to) {
    char name[65] = {0};
    memset(name, 'n', 64);
    if (to->fault == NUL_IN_NAME) {
        u64(to, 3);
        raw(to, "a\0b", 3);
        return;
    }
    string(to, to->fault == EMPTY_NAME   ? ""
               : to->fault == LONG_NAME  ? name
               : to->fault == NAME_TWICE ? "a"
                                         : "b");
}

static void make_tensors(maker *to) {
    string(to, "a");
    u32(to, 2);
    u64(to, 4);
    u64(to, 3);
    u32(to, (uint32_t)pick(to, UNKNOWN_GAP, 200, HONE_F32));
    u64(to, pick(to, UNKNOWN_GAP, 128, 0));
    make_name(to);
    u32(to, (uint32_t)pick(to, FIVE_SIZES, 5, 3));
    u64(to, to->fault == SIZES_OVERFLOW      ? (uint64_t)1 << 62
            : to->fault == NO_BLOCK_MULTIPLE ? 33
            : to->fault == BYTES_OVERFLOW    ? (uint64_t)1 << 61
                                             : 64);
    u64(to, to->fault == NEGATIVE_SIZE    ? (uint64_t)-2
            : to->fault == SIZES_OVERFLOW ? 4
                                          : pick(to, BYTES_OVERFLOW, 1, 2));
    u64(to, pick(to, BYTES_OVERFLOW, 3, 1));
    if (to->fault == FIVE_SIZES) {
        u64(to, 1);
        u64(to, 1);
    }
    u32(to, to->fault == BYTES_OVERFLOW ? HONE_F64 : HONE_Q8_0);
    u64(to, to->fault == OFFSET_UNALIGNED ? 65
            : to->fault == OFFSET_GAP     ? 128
            : to->fault == OFFSET_OVERLAP ? 0
            : to->fault == OFFSET_HUGE    ? UINT64_MAX - 63
                                          : 64);
}

/* a: f32 [4, 3], 48 bytes padded to 64; b: q8_0 [64, 2, 1], 136 bytes padded to 192. */
static maker make(fault broken) {
    maker to = {.fault = broken};
    raw(&to, broken == NO_MAGIC ? "GGML" : "GGUF", 4);
    u32(&to, broken == VERSION_1         ? 1
             : broken == VERSION_4       ? 4
             : broken == BIG_ENDIAN_FILE ? 0x03000000u
                                         : 3);
    u64(&to, broken == NEGATIVE_TENSORS ? (uint64_t)-1 : pick(&to, MANY_TENSORS, 1u << 30, 2));
    u64(&to, pick(&to, MANY_KEYS, (uint64_t)1 << 60, 5));
    make_keys(&to);
    make_tensors(&to);
    while (to.buf.length % 64 != 0) raw(&to, "", 1);
    unsigned char data[256];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)i;
    raw(&to, data, broken == DATA_SHORT ? sizeof data - 1 : sizeof data);
    return to;
}

/* Opens a copy of exactly `length` bytes, so that a sanitizer sees a read beyond them. */
static hone_status open_copy(hone_gguf **out, void **copy, const void *bytes, size_t length) {
    *copy = hone_alloc(length, 1);
    memcpy(*copy, bytes, length);
    return hone_gguf_open_bytes(out, *copy, length, "x.gguf");
}

/* --- values --- */

START_TEST(open_whole_file_gives_metadata) {
    maker made = make(NONE);
    hone_gguf *gguf;
    ck_ok(hone_gguf_open_bytes(&gguf, made.buf.data, made.buf.length, "x.gguf"));
    ck_assert_str_eq(hone_gguf_path(gguf), "x.gguf");
    ck_assert_uint_eq(hone_gguf_version(gguf), 3);
    ck_assert_uint_eq(hone_gguf_alignment(gguf), 64);
    ck_assert_uint_eq(hone_gguf_key_count(gguf), 5);
    ck_assert(hone_gguf_string_is(hone_gguf_key_at(gguf, 2)->key, "x.list"));
    hone_gguf_string text;
    ck_ok(hone_gguf_get_string(&text, gguf, "general.architecture"));
    ck_assert(hone_gguf_string_is(text, "llama") && !hone_gguf_string_is(text, "llam"));
    bool flag = false;
    ck_ok(hone_gguf_get_bool(&flag, gguf, "x.flag"));
    ck_assert(flag);
    int64_t number;
    ck_ok(hone_gguf_get_int(&number, gguf, "general.alignment", 0, 64));
    ck_assert_int_eq(number, 64);
    ck_ok(hone_gguf_get_int_of(&number, gguf, "x.list", 1, -2, 0));
    ck_assert_int_eq(number, -2);
    ck_ok(hone_gguf_get_int_of(&number, gguf, "general.alignment", 1000, 0, 64));
    ck_assert_int_eq(number, 64);
    const hone_gguf_value *array;
    ck_ok(hone_gguf_get_array(&array, gguf, "x.list", HONE_GGUF_I32));
    ck_assert_int_eq(hone_gguf_array_i32(array, 2), 3);
    hone_gguf_close(gguf);
    hone_buf_free(&made.buf);
}
END_TEST

START_TEST(open_whole_file_gives_tensors) {
    maker made = make(NONE);
    hone_gguf *gguf;
    ck_ok(hone_gguf_open_bytes(&gguf, made.buf.data, made.buf.length, "x.gguf"));
    ck_assert_uint_eq(hone_gguf_tensor_count(gguf), 2);
    const hone_gguf_tensor *a = hone_gguf_tensor_find(gguf, "a");
    const hone_gguf_tensor *b = hone_gguf_tensor_find(gguf, "b");
    ck_assert(a == hone_gguf_tensor_at(gguf, 0) && b == hone_gguf_tensor_at(gguf, 1));
    ck_assert_ptr_null(hone_gguf_tensor_find(gguf, "c"));
    ck_assert(a->rows == 3 && a->cols == 4 && a->bytes == 48 && a->data[5] == 5);
    ck_assert(b->rows == 2 && b->cols == 64 && b->bytes == 136 && b->data[0] == 64);
    ck_assert(b->n_dims == 3 && b->sizes[2] == 1 && b->sizes[3] == 1);
    hone_dtype dtype;
    ck_ok(hone_gguf_tensor_dtype(&dtype, gguf, b));
    ck_assert_int_eq(dtype, HONE_Q8_0);
    hone_gguf_close(gguf);
    hone_buf_free(&made.buf);
}
END_TEST

START_TEST(next_over_strings_gives_each_with_its_bytes) {
    maker made = make(NONE);
    hone_gguf *gguf;
    const hone_gguf_value *array;
    hone_gguf_string text;
    ck_ok(hone_gguf_open_bytes(&gguf, made.buf.data, made.buf.length, "x.gguf"));
    ck_ok(hone_gguf_get_array(&array, gguf, "x.words", HONE_GGUF_STRING));
    hone_gguf_strings words = hone_gguf_strings_of(array);
    ck_assert(hone_gguf_next(&text, &words) && text.length == 0);
    ck_assert(hone_gguf_next(&text, &words) && text.length == 3);
    ck_assert_mem_eq(text.data, "a\0b", 3);
    ck_assert(!hone_gguf_next(&text, &words));
    hone_gguf_close(gguf);
    hone_buf_free(&made.buf);
}
END_TEST

START_TEST(open_unknown_type_lists_it_and_refuses_its_use) {
    maker made = make(NONE);
    /* The type word of "a" stands 12 bytes before the name of "b" (offset, then the length of the name). */
    const char name_of_b[] = {1, 0, 0, 0, 0, 0, 0, 0, 'b'};
    char *at = memmem(made.buf.data, made.buf.length, name_of_b, sizeof name_of_b);
    ck_assert_ptr_nonnull(at);
    at[-12] = (char)200;
    hone_gguf *gguf;
    hone_dtype dtype;
    ck_ok(hone_gguf_open_bytes(&gguf, made.buf.data, made.buf.length, "x.gguf"));
    const hone_gguf_tensor *a = hone_gguf_tensor_find(gguf, "a");
    ck_assert(a->type == 200 && a->bytes == 64);
    ck_assert_ptr_null(hone_gguf_type_describe(200));
    ck_fails(hone_gguf_tensor_dtype(&dtype, gguf, a), HONE_ERR_UNSUPPORTED,
             "x.gguf: tensor 'a' has type 200 (unknown)");
    ck_fails(hone_gguf_tensor_dtype(&dtype, gguf, a), HONE_ERR_UNSUPPORTED,
             "one of f32, f16, q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, "
             "iq4_xs, bf16, mxfp4");
    hone_gguf_close(gguf);
    hone_buf_free(&made.buf);
}
END_TEST

START_TEST(type_describe_known_types_have_names_and_sizes) {
    ck_assert_str_eq(hone_gguf_type_describe(12)->name, "q4_k");
    ck_assert_int_eq(hone_gguf_type_describe(12)->bytes, 144);
    for (uint32_t type = 0; type < 50; type++) {
        const hone_dtype_info *known = hone_gguf_type_describe(type);
        const hone_dtype_info *own = hone_dtype_describe(type);
        if (!own) continue;
        ck_assert_str_eq(known->name, own->name);
        ck_assert(known->block == own->block && known->bytes == own->bytes);
    }
}
END_TEST

/* --- errors --- */

static const struct {
    fault broken;
    hone_status status;
    const char *message;
} faults[] = {
    {NO_MAGIC, HONE_ERR_FORMAT, "x.gguf: not a GGUF file"},
    {VERSION_1, HONE_ERR_UNSUPPORTED, "x.gguf: GGUF version 1"},
    {VERSION_4, HONE_ERR_UNSUPPORTED, "GGUF version 4"},
    {BIG_ENDIAN_FILE, HONE_ERR_UNSUPPORTED, "big-endian"},
    {NEGATIVE_TENSORS, HONE_ERR_FORMAT, "byte 8: the number of tensors is -1"},
    {MANY_TENSORS, HONE_ERR_FORMAT, "the number of tensors is 1073741824"},
    {MANY_KEYS, HONE_ERR_FORMAT, "byte 16: the number of keys"},
    {EMPTY_KEY, HONE_ERR_FORMAT, "an empty key"},
    {LONG_KEY, HONE_ERR_FORMAT, "a key needs 1048576 bytes"},
    {HUGE_KEY, HONE_ERR_FORMAT, "a key has 18446744073709551612 bytes, more than 2^30"},
    {KEY_TWICE, HONE_ERR_FORMAT, "key 'general.architecture' stands twice"},
    {UNKNOWN_KIND, HONE_ERR_FORMAT, "key 'x.list': a value of an unknown type"},
    {UNKNOWN_ELEMENT, HONE_ERR_FORMAT, "an array of an unknown type"},
    {NESTED_ARRAY, HONE_ERR_FORMAT, "an array of arrays"},
    {HUGE_ARRAY, HONE_ERR_FORMAT, "an array of more than 2^30 elements"},
    {LONG_ARRAY, HONE_ERR_FORMAT, "needs 4294967296 bytes"},
    {LONG_STRING_IN_ARRAY, HONE_ERR_FORMAT, "a string of the metadata needs 536870912 bytes"},
    {BAD_BOOL, HONE_ERR_FORMAT, "key 'x.flag': a bool that is neither 0 nor 1"},
    {ALIGNMENT_KIND, HONE_ERR_FORMAT, "'general.alignment' holds i32 instead of a u32"},
    {ALIGNMENT_ODD, HONE_ERR_FORMAT, "general.alignment is 24"},
    {ALIGNMENT_ZERO, HONE_ERR_FORMAT, "general.alignment is 0"},
    {EMPTY_NAME, HONE_ERR_FORMAT, "an empty name"},
    {LONG_NAME, HONE_ERR_FORMAT, "a name of more than 63 bytes"},
    {NUL_IN_NAME, HONE_ERR_FORMAT, "a zero byte in the name"},
    {NAME_TWICE, HONE_ERR_FORMAT, "tensor 'a' stands twice"},
    {FIVE_SIZES, HONE_ERR_FORMAT, "tensor 'b': more than 4 sizes"},
    {NEGATIVE_SIZE, HONE_ERR_FORMAT, "a negative size"},
    {SIZES_OVERFLOW, HONE_ERR_FORMAT, "sizes whose product is beyond 64 bits"},
    {BYTES_OVERFLOW, HONE_ERR_FORMAT, "more than 2^64 bytes"},
    {NO_BLOCK_MULTIPLE, HONE_ERR_FORMAT, "no multiple of its type's block"},
    {OFFSET_UNALIGNED, HONE_ERR_FORMAT, "an offset that is not aligned"},
    {OFFSET_GAP, HONE_ERR_FORMAT, "a gap between its data and the tensor before it"},
    {OFFSET_OVERLAP, HONE_ERR_FORMAT, "data that overlaps the tensor before it"},
    {OFFSET_HUGE, HONE_ERR_FORMAT, "a gap between"},
    {DATA_SHORT, HONE_ERR_FORMAT, "tensor 'b': data that reaches past the end of the file"},
    {UNKNOWN_GAP, HONE_ERR_FORMAT, "tensor 'a': a gap between"},
};

START_TEST(open_malformed_file_is_refused_by_name) {
    maker made = make(faults[_i].broken);
    hone_gguf *gguf;
    void *copy;
    ck_fails(open_copy(&gguf, &copy, made.buf.data, made.buf.length), faults[_i].status,
             faults[_i].message);
    ck_assert_ptr_null(gguf);
    hone_free(copy);
    hone_buf_free(&made.buf);
}
END_TEST

START_TEST(open_any_shorter_file_is_refused) {
    maker made = make(NONE);
    for (size_t length = 0; length < made.buf.length; length++) {
        hone_gguf *gguf;
        void *copy;
        ck_assert_int_ne(open_copy(&gguf, &copy, made.buf.data, length), HONE_OK);
        hone_free(copy);
    }
    hone_buf_free(&made.buf);
}
END_TEST

START_TEST(open_any_changed_byte_opens_or_is_refused) {
    static const unsigned char changes[] = {0x01, 0x80, 0xff, 0x20};
    maker made = make(NONE);
    for (size_t i = 0; i < 4 * made.buf.length; i++) {
        hone_gguf *gguf;
        void *copy;
        made.buf.data[i / 4] ^= (char)changes[i % 4];
        if (open_copy(&gguf, &copy, made.buf.data, made.buf.length) == HONE_OK) {
            hone_gguf_close(gguf);
        }
        hone_free(copy);
        made.buf.data[i / 4] ^= (char)changes[i % 4];
    }
    hone_buf_free(&made.buf);
}
END_TEST

START_TEST(open_any_failed_allocation_is_reported) {
    maker made = make(NONE);
    hone_status status = HONE_ERR_MEMORY;
    for (int64_t n = 1; status != HONE_OK && n < 100; n++) {
        hone_gguf *gguf;
        hone_alloc_fail_at(n);
        status = hone_gguf_open_bytes(&gguf, made.buf.data, made.buf.length, "x.gguf");
        hone_alloc_fail_at(0);
        ck_assert(status == HONE_OK || status == HONE_ERR_MEMORY);
        hone_gguf_close(gguf);
    }
    ck_assert_int_eq(status, HONE_OK);
    hone_buf_free(&made.buf);
}
END_TEST

START_TEST(get_wrong_key_names_file_and_key) {
    maker made = make(NONE);
    hone_gguf *gguf;
    ck_ok(hone_gguf_open_bytes(&gguf, made.buf.data, made.buf.length, "x.gguf"));
    uint32_t word = 7;
    int64_t number = 7;
    float real = 7.0f;
    bool flag;
    hone_gguf_string text;
    const hone_gguf_value *array;
    ck_fails(hone_gguf_get_u32(&word, gguf, "none"), HONE_ERR_FORMAT,
             "x.gguf: key 'none' is missing");
    ck_fails(hone_gguf_get_u32(&word, gguf, "x.flag"), HONE_ERR_FORMAT,
             "x.gguf: key 'x.flag' holds bool instead of a u32");
    ck_fails(hone_gguf_get_int(&number, gguf, "x.list", 0, 9), HONE_ERR_FORMAT,
             "holds an array of i32 instead of an integer");
    ck_fails(hone_gguf_get_int(&number, gguf, "general.alignment", 0, 9), HONE_ERR_FORMAT,
             "is 64, outside 0 to 9");
    ck_fails(hone_gguf_get_int(&number, gguf, "x.flag", 0, 9), HONE_ERR_FORMAT, "an integer");
    ck_fails(hone_gguf_get_int_of(&number, gguf, "x.list", 3, 0, 9), HONE_ERR_FORMAT,
             "has 3 elements but element 3");
    ck_fails(hone_gguf_get_int_of(&number, gguf, "x.words", 0, 0, 9), HONE_ERR_FORMAT, "string");
    ck_fails(hone_gguf_get_f32(&real, gguf, "x.flag"), HONE_ERR_FORMAT, "an f32");
    ck_fails(hone_gguf_get_bool(&flag, gguf, "x.list"), HONE_ERR_FORMAT, "a bool");
    ck_fails(hone_gguf_get_string(&text, gguf, "x.words"), HONE_ERR_FORMAT, "a string");
    ck_fails(hone_gguf_get_array(&array, gguf, "x.words", HONE_GGUF_F32), HONE_ERR_FORMAT,
             "an array of f32");
    ck_ok(hone_gguf_opt_u32(&word, gguf, "none"));
    ck_ok(hone_gguf_opt_int(&number, gguf, "none", 0, 0));
    ck_ok(hone_gguf_opt_f32(&real, gguf, "none"));
    ck_assert(word == 7 && number == 7 && real == 7.0f);
    hone_gguf_close(gguf);
    hone_buf_free(&made.buf);
}
END_TEST

/* --- writing --- */

static const char *const WRITTEN = "test_gguf.tmp.gguf";

/* Copies keys and tensors of `from` through a writer. */
static void copy_file(const hone_gguf *from, const char *path) {
    hone_gguf_writer *writer;
    uint64_t bytes;
    ck_ok(hone_gguf_writer_new(&writer));
    ck_ok(hone_gguf_set_all(writer, from));
    for (size_t i = 0; i < hone_gguf_tensor_count(from); i++) {
        const hone_gguf_tensor *tensor = hone_gguf_tensor_at(from, i);
        ck_ok(hone_gguf_add_tensor(writer, tensor->name, tensor->type, tensor->n_dims,
                                   tensor->sizes));
    }
    ck_ok(hone_gguf_file_bytes(&bytes, writer));
    ck_ok(hone_gguf_begin(writer, path));
    for (size_t i = 0; i < hone_gguf_tensor_count(from); i++) {
        const hone_gguf_tensor *tensor = hone_gguf_tensor_at(from, i);
        size_t half = (size_t)tensor->bytes / 2;
        ck_ok(hone_gguf_data(writer, tensor->data, half));
        ck_ok(hone_gguf_data(writer, tensor->data + half, (size_t)tensor->bytes - half));
    }
    ck_assert(!hone_path_exists(path));
    ck_ok(hone_gguf_commit(writer));
    hone_gguf_writer_free(writer);
    hone_map map;
    ck_ok(hone_map_open(&map, path));
    ck_assert_uint_eq(map.length, bytes);
    hone_map_close(&map);
}

START_TEST(writer_copy_of_a_file_has_the_same_bytes) {
    maker made = make(NONE);
    hone_gguf *gguf;
    hone_buf written = {0};
    ck_ok(hone_gguf_open_bytes(&gguf, made.buf.data, made.buf.length, "x.gguf"));
    copy_file(gguf, WRITTEN);
    ck_ok(hone_file_get(&written, WRITTEN));
    ck_assert_uint_eq(written.length, made.buf.length);
    /* The bytes between tensors are 0x30.. in the made file and zero in the written one. */
    hone_gguf *again;
    ck_ok(hone_gguf_open(&again, WRITTEN));
    size_t head = (size_t)(hone_gguf_tensor_at(gguf, 0)->data - (unsigned char *)made.buf.data);
    ck_assert_mem_eq(written.data, made.buf.data, head);
    for (size_t i = 0; i < 2; i++) {
        const hone_gguf_tensor *tensor = hone_gguf_tensor_at(gguf, i);
        ck_assert_mem_eq(hone_gguf_tensor_at(again, i)->data, tensor->data, tensor->bytes);
    }
    hone_gguf_close(again);
    hone_gguf_close(gguf);
    hone_buf_free(&written);
    hone_buf_free(&made.buf);
    unlink(WRITTEN);
}
END_TEST

static void set_each_kind(hone_gguf_writer *writer) {
    hone_gguf_string words[] = {{"one", 3}, {"", 0}};
    ck_ok(hone_gguf_set_u32(writer, "u32", 5));
    ck_ok(hone_gguf_set_i32(writer, "i32", -5));
    ck_ok(hone_gguf_set_u64(writer, "u64", UINT64_MAX));
    ck_ok(hone_gguf_set_f32(writer, "f32", 0.5f));
    ck_ok(hone_gguf_set_bool(writer, "bool", true));
    ck_ok(hone_gguf_set_string(writer, "string", "text", 4));
    ck_ok(hone_gguf_set_strings(writer, "strings", words, 2));
    ck_ok(hone_gguf_set_array(writer, "floats", HONE_GGUF_F32, (float[]){1.0f, 2.0f}, 2));
    ck_ok(hone_gguf_set_array(writer, "words", HONE_GGUF_U32, (uint32_t[]){1, 2, 3}, 3));
    ck_ok(hone_gguf_set_strings(writer, "empty", NULL, 0));
    ck_ok(hone_gguf_set_u32(writer, "gone", 1));
    hone_gguf_unset(writer, "gone");
    hone_gguf_unset(writer, "never");
    ck_ok(hone_gguf_set_u32(writer, "u32", 6)); /* replaces, in its place */
}

START_TEST(writer_each_kind_reads_back) {
    hone_gguf_writer *writer;
    hone_gguf *gguf;
    ck_ok(hone_gguf_writer_new(&writer));
    set_each_kind(writer);
    ck_ok(hone_gguf_begin(writer, WRITTEN));
    ck_ok(hone_gguf_commit(writer));
    hone_gguf_writer_free(writer);
    ck_ok(hone_gguf_open(&gguf, WRITTEN));
    uint32_t word;
    int64_t number;
    float real;
    hone_gguf_string text;
    const hone_gguf_value *array;
    ck_assert_uint_eq(hone_gguf_key_count(gguf), 10);
    ck_assert(hone_gguf_string_is(hone_gguf_key_at(gguf, 0)->key, "u32"));
    ck_ok(hone_gguf_get_u32(&word, gguf, "u32"));
    ck_assert_uint_eq(word, 6);
    ck_ok(hone_gguf_get_int(&number, gguf, "i32", -5, 0));
    ck_assert_int_eq(number, -5);
    ck_fails(hone_gguf_get_int(&number, gguf, "u64", 0, INT64_MAX), HONE_ERR_FORMAT, "u64");
    ck_ok(hone_gguf_get_f32(&real, gguf, "f32"));
    ck_assert(real == 0.5f);
    ck_ok(hone_gguf_get_string(&text, gguf, "string"));
    ck_assert(hone_gguf_string_is(text, "text"));
    ck_ok(hone_gguf_get_array(&array, gguf, "floats", HONE_GGUF_F32));
    ck_assert(hone_gguf_array_f32(array, 1) == 2.0f);
    ck_ok(hone_gguf_get_array(&array, gguf, "words", HONE_GGUF_U32));
    ck_assert_uint_eq(hone_gguf_array_u32(array, 2), 3);
    ck_ok(hone_gguf_get_array(&array, gguf, "empty", HONE_GGUF_STRING));
    ck_assert_uint_eq(array->count, 0);
    hone_gguf_close(gguf);
    unlink(WRITTEN);
}
END_TEST

START_TEST(writer_wrong_use_is_refused) {
    hone_gguf_writer *writer;
    int64_t sizes[] = {33, 2, INT64_MAX, 4};
    ck_ok(hone_gguf_writer_new(&writer));
    ck_fails(hone_gguf_set_u32(writer, "", 1), HONE_ERR_USAGE, "empty");
    ck_fails(hone_gguf_set_u32(writer, "general.alignment", 12), HONE_ERR_USAGE, "power of two");
    ck_fails(hone_gguf_set_i32(writer, "general.alignment", 32), HONE_ERR_USAGE, "u32");
    ck_fails(hone_gguf_set_array(writer, "k", HONE_GGUF_STRING, "x", 1), HONE_ERR_USAGE, "'k'");
    ck_fails(hone_gguf_add_tensor(writer, "t", 999, 1, sizes), HONE_ERR_USAGE, "known size");
    ck_fails(hone_gguf_add_tensor(writer, "t", 42, 1, sizes), HONE_ERR_USAGE, "known size");
    ck_fails(hone_gguf_add_tensor(writer, "t", HONE_Q8_0, 1, sizes), HONE_ERR_USAGE, "block");
    ck_fails(hone_gguf_add_tensor(writer, "t", HONE_F32, 3, sizes), HONE_ERR_USAGE, "64 bits");
    ck_fails(hone_gguf_add_tensor(writer, "t", HONE_F32, 5, sizes), HONE_ERR_USAGE, "4 sizes");
    ck_fails(hone_gguf_add_tensor(writer, "", HONE_F32, 1, sizes), HONE_ERR_USAGE, "63 bytes");
    ck_ok(hone_gguf_add_tensor(writer, "t", HONE_F32, 1, sizes));
    ck_fails(hone_gguf_add_tensor(writer, "t", HONE_F32, 1, sizes), HONE_ERR_USAGE, "twice");
    ck_fails(hone_gguf_set_u32(writer, "general.alignment", 64), HONE_ERR_USAGE, "before");
    ck_fails(hone_gguf_data(writer, sizes, 4), HONE_ERR_USAGE, "before the header");
    ck_fails(hone_gguf_commit(writer), HONE_ERR_USAGE, "before the header");
    ck_ok(hone_gguf_begin(writer, WRITTEN));
    ck_fails(hone_gguf_set_u32(writer, "late", 1), HONE_ERR_USAGE, "before the data");
    ck_fails(hone_gguf_data(writer, sizes, 133), HONE_ERR_USAGE, "132 bytes and is given more");
    ck_fails(hone_gguf_commit(writer), HONE_ERR_USAGE, "'t' is not complete");
    hone_gguf_writer_free(writer);
    ck_assert(!hone_path_exists(WRITTEN) && !hone_path_exists("test_gguf.tmp.gguf.partial"));
}
END_TEST

START_TEST(writer_any_failed_allocation_is_reported) {
    hone_status status = HONE_ERR_MEMORY;
    for (int64_t n = 1; status != HONE_OK && n < 100; n++) {
        hone_gguf_writer *writer = NULL;
        hone_alloc_fail_at(n);
        status = hone_gguf_writer_new(&writer);
        if (status == HONE_OK) status = hone_gguf_set_string(writer, "k", "text", 4);
        if (status == HONE_OK) {
            status = hone_gguf_add_tensor(writer, "t", HONE_F32, 1, (int64_t[]){2});
        }
        if (status == HONE_OK) status = hone_gguf_begin(writer, WRITTEN);
        if (status == HONE_OK) status = hone_gguf_data(writer, "12345678", 8);
        if (status == HONE_OK) status = hone_gguf_commit(writer);
        hone_alloc_fail_at(0);
        ck_assert(status == HONE_OK || status == HONE_ERR_MEMORY);
        hone_gguf_writer_free(writer);
    }
    ck_assert_int_eq(status, HONE_OK);
    unlink(WRITTEN);
}
END_TEST

/* --- real files --- */

static const struct {
    const char *name;
    size_t keys, tensors;
    const char *architecture;
} real_files[] = {
    {"stories260K/stories260K-f32.gguf", 29, 47, "llama"},
    {"stories260K/stories260K-f16.gguf", 29, 47, "llama"},
    {"stories260K/stories260K-bf16.gguf", 29, 47, "llama"},
    {"stories260K/stories260K-q8_0.gguf", 29, 47, "llama"},
    {"stories260K/adapters/lora-r4.gguf", 6, 70, "llama"},
    {"stories260K/adapters/lora-embed.gguf", 6, 12, "llama"},
    {"quant/quant-types.gguf", 2, 30, "test"},
    {"tiny-archs/llama.gguf", 30, 21, "llama"},
    {"tiny-archs/llama3-rope.gguf", 30, 21, "llama"},
    {"tiny-archs/mistral.gguf", 30, 21, "llama"},
    {"tiny-archs/qwen2.gguf", 26, 26, "qwen2"},
    {"tiny-archs/qwen3.gguf", 28, 24, "qwen3"},
    {"tiny-archs/gemma2.gguf", 31, 24, "gemma2"},
    {"tiny-archs/gemma3.gguf", 31, 28, "gemma3"},
    {"tiny-archs/phi3.gguf", 29, 15, "phi3"},
    {"tiny-archs/smollm3.gguf", 28, 20, "smollm3"},
    {"vocab/ggml-vocab-gpt-2.gguf", 16, 0, "gpt2"},
    {"vocab/ggml-vocab-qwen2.gguf", 12, 0, "qwen2"},
    {"vocab/ggml-vocab-llama-spm.gguf", 22, 0, "llama"},
    {"vocab/ggml-vocab-phi-3.gguf", 26, 0, "phi3"},
    {"vocab/llama3/ggml-vocab-llama-bpe.gguf", 10, 0, "llama"},
};

START_TEST(open_real_file_copied_has_the_same_bytes) {
    const char *path = hone_test_data(real_files[_i].name);
    if (!path) return;
    hone_gguf *gguf;
    hone_gguf_string architecture;
    ck_ok(hone_gguf_open(&gguf, path));
    ck_assert_uint_eq(hone_gguf_key_count(gguf), real_files[_i].keys);
    ck_assert_uint_eq(hone_gguf_tensor_count(gguf), real_files[_i].tensors);
    ck_ok(hone_gguf_get_string(&architecture, gguf, "general.architecture"));
    ck_assert_msg(hone_gguf_string_is(architecture, real_files[_i].architecture), "%.*s",
                  (int)architecture.length, architecture.data);
    hone_buf original = {0};
    hone_buf written = {0};
    char copy[64];
    snprintf(copy, sizeof copy, "test_gguf.%d.gguf", _i);
    copy_file(gguf, copy);
    ck_ok(hone_file_get(&original, path));
    ck_ok(hone_file_get(&written, copy));
    /* Older writers leave the padding out when no tensor follows. */
    size_t padding = real_files[_i].tensors ? 0 : 31;
    ck_assert_uint_ge(written.length, original.length);
    ck_assert_uint_le(written.length, original.length + padding);
    ck_assert_mem_eq(written.data, original.data, original.length);
    hone_gguf_close(gguf);
    hone_buf_free(&original);
    hone_buf_free(&written);
    unlink(copy);
}
END_TEST

START_TEST(open_vocabulary_gives_its_tokens) {
    const char *path = hone_test_data("vocab/ggml-vocab-llama-spm.gguf");
    if (!path) return;
    hone_gguf *gguf;
    const hone_gguf_value *tokens;
    const hone_gguf_value *types;
    hone_gguf_string text;
    uint64_t count = 0;
    ck_ok(hone_gguf_open(&gguf, path));
    ck_ok(hone_gguf_get_array(&tokens, gguf, "tokenizer.ggml.tokens", HONE_GGUF_STRING));
    ck_ok(hone_gguf_get_array(&types, gguf, "tokenizer.ggml.token_type", HONE_GGUF_I32));
    ck_assert_uint_eq(tokens->count, 32000);
    ck_assert_uint_eq(types->count, 32000);
    hone_gguf_strings it = hone_gguf_strings_of(tokens);
    while (hone_gguf_next(&text, &it)) {
        if (count == 1) ck_assert(hone_gguf_string_is(text, "<s>"));
        count++;
    }
    ck_assert_uint_eq(count, 32000);
    ck_assert_int_eq(hone_gguf_array_i32(types, 3), 6);
    hone_gguf_close(gguf);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("gguf");
    TCase *values = tcase_create("values");
    tcase_add_test(values, open_whole_file_gives_metadata);
    tcase_add_test(values, open_whole_file_gives_tensors);
    tcase_add_test(values, next_over_strings_gives_each_with_its_bytes);
    tcase_add_test(values, open_unknown_type_lists_it_and_refuses_its_use);
    tcase_add_test(values, type_describe_known_types_have_names_and_sizes);
    tcase_add_test(values, writer_copy_of_a_file_has_the_same_bytes);
    tcase_add_test(values, writer_each_kind_reads_back);
    tcase_add_loop_test(values, open_real_file_copied_has_the_same_bytes, 0,
                        (int)(sizeof real_files / sizeof real_files[0]));
    tcase_add_test(values, open_vocabulary_gives_its_tokens);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_loop_test(errors, open_malformed_file_is_refused_by_name, 0,
                        (int)(sizeof faults / sizeof faults[0]));
    tcase_add_test(errors, open_any_shorter_file_is_refused);
    tcase_add_test(errors, open_any_changed_byte_opens_or_is_refused);
    tcase_add_test(errors, open_any_failed_allocation_is_reported);
    tcase_add_test(errors, get_wrong_key_names_file_and_key);
    tcase_add_test(errors, writer_wrong_use_is_refused);
    tcase_add_test(errors, writer_any_failed_allocation_is_reported);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
