#include "formats/safetensors.h"

#include "base/alloc.h"
#include "base/file.h"
#include "formats/safetensors_writer.h"
#include "tests/support.h"

/* A file of this header and `data_bytes` bytes of data that count up. */
static hone_buf make(const char *header, size_t data_bytes) {
    hone_buf out = {0};
    uint64_t length = strlen(header);
    ck_ok(hone_buf_append(&out, &length, sizeof length));
    ck_ok(hone_buf_puts(&out, header));
    for (size_t i = 0; i < data_bytes; i++) {
        ck_ok(hone_buf_append(&out, &(char){(char)i}, 1));
    }
    return out;
}

/* Opens a copy of exactly `length` bytes, so that a sanitizer sees a read beyond them. */
static hone_status open_copy(hone_safetensors **out, void **copy, const void *bytes,
                             size_t length) {
    *copy = hone_alloc(length, 1);
    memcpy(*copy, bytes, length);
    return hone_safetensors_open_bytes(out, *copy, length, "x.safetensors");
}

static const char *const WHOLE =
    "{\"__metadata__\":{\"format\":\"pt\",\"k\":\"v\"},"
    "\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[4,28]},"
    "\"a\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]},"
    "\"none\":{\"dtype\":\"F16\",\"shape\":[0,5],\"data_offsets\":[28,28]},"
    "\"half\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[28,30]},"
    "\"one\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[30,38]}}  ";

/* --- values --- */

START_TEST(open_whole_file_gives_tensors_in_order_of_data) {
    hone_buf made = make(WHOLE, 38);
    hone_safetensors *file;
    ck_ok(hone_safetensors_open_bytes(&file, made.data, made.length, "x.safetensors"));
    ck_assert_uint_eq(hone_safetensors_count(file), 5);
    ck_assert_uint_eq(hone_safetensors_file_count(file), 1);
    ck_assert_str_eq(hone_safetensors_at(file, 0)->name, "a");
    const hone_safetensors_tensor *b = hone_safetensors_find(file, "b");
    ck_assert(b == hone_safetensors_at(file, 1));
    ck_assert(b->n_dims == 2 && b->shape[0] == 2 && b->shape[1] == 3 && b->shape[2] == 1);
    ck_assert(b->bytes == 24 && b->data[0] == 4);
    ck_assert_str_eq(b->dtype, "F32");
    ck_assert_str_eq(b->file, "x.safetensors");
    ck_assert_int_eq(hone_safetensors_find(file, "one")->n_dims, 0);
    ck_assert_uint_eq(hone_safetensors_find(file, "none")->bytes, 0);
    ck_assert_ptr_null(hone_safetensors_find(file, "c"));
    hone_safetensors_close(file);
    hone_buf_free(&made);
}
END_TEST

START_TEST(dtype_usable_ones_are_given_others_refused) {
    hone_buf made = make(WHOLE, 38);
    hone_safetensors *file;
    hone_dtype dtype;
    ck_ok(hone_safetensors_open_bytes(&file, made.data, made.length, "x.safetensors"));
    ck_ok(hone_safetensors_dtype(&dtype, hone_safetensors_find(file, "a")));
    ck_assert_int_eq(dtype, HONE_BF16);
    ck_ok(hone_safetensors_dtype(&dtype, hone_safetensors_find(file, "b")));
    ck_assert_int_eq(dtype, HONE_F32);
    ck_ok(hone_safetensors_dtype(&dtype, hone_safetensors_find(file, "none")));
    ck_assert_int_eq(dtype, HONE_F16);
    ck_fails(hone_safetensors_dtype(&dtype, hone_safetensors_find(file, "one")),
             HONE_ERR_UNSUPPORTED, "x.safetensors: tensor 'one' has dtype I64");
    ck_fails(hone_safetensors_dtype(&dtype, hone_safetensors_find(file, "half")),
             HONE_ERR_UNSUPPORTED, "F4");
    hone_safetensors_close(file);
    hone_buf_free(&made);
}
END_TEST

START_TEST(metadata_by_key_and_in_order) {
    hone_buf made = make(WHOLE, 38);
    hone_safetensors *file;
    const char *key;
    const char *value;
    size_t cursor = 0;
    ck_ok(hone_safetensors_open_bytes(&file, made.data, made.length, "x.safetensors"));
    ck_assert_str_eq(hone_safetensors_metadata(file, "format"), "pt");
    ck_assert_ptr_null(hone_safetensors_metadata(file, "none"));
    ck_assert(hone_safetensors_metadata_next(&key, &value, file, &cursor));
    ck_assert_str_eq(key, "format");
    ck_assert(hone_safetensors_metadata_next(&key, &value, file, &cursor));
    ck_assert_str_eq(value, "v");
    ck_assert(!hone_safetensors_metadata_next(&key, &value, file, &cursor));
    hone_safetensors_close(file);
    hone_buf_free(&made);
}
END_TEST

START_TEST(open_file_without_tensors_is_fine) {
    hone_buf made = make("{}", 0);
    hone_safetensors *file;
    ck_ok(hone_safetensors_open_bytes(&file, made.data, made.length, "x.safetensors"));
    ck_assert_uint_eq(hone_safetensors_count(file), 0);
    ck_assert_ptr_null(hone_safetensors_find(file, "a"));
    ck_assert_ptr_null(hone_safetensors_metadata(file, "format"));
    hone_safetensors_close(file);
    hone_buf_free(&made);
}
END_TEST

START_TEST(open_file_of_the_package_gives_its_values) {
    hone_safetensors *file;
    float value;
    ck_ok(hone_safetensors_open(&file, HONE_TEST_FIXTURES "/formats/dtypes.safetensors"));
    ck_assert_uint_eq(hone_safetensors_count(file), 5);
    ck_assert_str_eq(hone_safetensors_metadata(file, "note"), "gr\xc3\xb6\xc3\x9f"
                                                              "e");
    memcpy(&value, hone_safetensors_find(file, "scalar")->data, sizeof value);
    ck_assert(value == 2.5f);
    memcpy(&value, hone_safetensors_find(file, "b.f32")->data + 20, sizeof value);
    ck_assert(value == 5.0f);
    hone_safetensors_close(file);
}
END_TEST

START_TEST(open_shards_by_folder_and_by_index_agree) {
    const char *folder = HONE_TEST_FIXTURES "/models/sharded-bf16";
    const char *index = HONE_TEST_FIXTURES "/models/sharded-bf16/model.safetensors.index.json";
    hone_safetensors *a;
    hone_safetensors *b;
    ck_ok(hone_safetensors_open(&a, folder));
    ck_ok(hone_safetensors_open(&b, index));
    ck_assert_str_eq(hone_safetensors_path(a), index);
    ck_assert_uint_gt(hone_safetensors_file_count(a), 1);
    ck_assert_uint_eq(hone_safetensors_count(a), hone_safetensors_count(b));
    for (size_t i = 0; i < hone_safetensors_count(a); i++) {
        const hone_safetensors_tensor *x = hone_safetensors_at(a, i);
        const hone_safetensors_tensor *y = hone_safetensors_find(b, x->name);
        ck_assert(y && x->bytes == y->bytes && memcmp(x->data, y->data, x->bytes) == 0);
        ck_assert_str_eq(x->dtype, "BF16");
    }
    hone_safetensors_close(a);
    hone_safetensors_close(b);
}
END_TEST

static const char *const real_files[] = {
    "stories260K/hf/model.safetensors",
    "stories260K/adapters/lora-r4/adapter_model.safetensors",
    "stories260K/adapters/lora-embed/adapter_model.safetensors",
    "stories260K/adapters/dora-r4/adapter_model.safetensors",
    "tiny-archs/llama/model.safetensors",
    "tiny-archs/qwen2/model.safetensors",
    "tiny-archs/gemma3/model.safetensors",
    "tiny-archs/phi3/model.safetensors",
    "tiny-archs/gpt2/model.safetensors",
};

/* Copies all tensors of `from` through a writer. */
static void copy_file(const hone_safetensors *from, const char *path) {
    hone_safetensors_writer *writer;
    ck_ok(hone_safetensors_writer_new(&writer));
    ck_ok(hone_safetensors_set_metadata(writer, "format", "pt"));
    for (size_t i = 0; i < hone_safetensors_count(from); i++) {
        const hone_safetensors_tensor *tensor = hone_safetensors_at(from, i);
        hone_dtype dtype;
        ck_ok(hone_safetensors_dtype(&dtype, tensor));
        ck_ok(hone_safetensors_add_tensor(writer, tensor->name, dtype, tensor->n_dims,
                                          tensor->shape));
    }
    ck_ok(hone_safetensors_begin(writer, path));
    for (size_t i = 0; i < hone_safetensors_count(from); i++) {
        const hone_safetensors_tensor *tensor = hone_safetensors_at(from, i);
        size_t half = (size_t)tensor->bytes / 2;
        ck_ok(hone_safetensors_data(writer, tensor->data, half));
        ck_ok(hone_safetensors_data(writer, tensor->data + half, (size_t)tensor->bytes - half));
    }
    ck_ok(hone_safetensors_commit(writer));
    hone_safetensors_writer_free(writer);
}

START_TEST(writer_copy_of_a_real_file_reads_back_equal) {
    const char *path = hone_test_data(real_files[_i]);
    if (!path) return;
    hone_safetensors *a;
    hone_safetensors *b;
    char copy[64];
    snprintf(copy, sizeof copy, "test_safetensors.%d.safetensors", _i);
    ck_ok(hone_safetensors_open(&a, path));
    copy_file(a, copy);
    ck_ok(hone_safetensors_open(&b, copy));
    ck_assert_uint_eq(hone_safetensors_count(a), hone_safetensors_count(b));
    ck_assert_str_eq(hone_safetensors_metadata(b, "format"), "pt");
    for (size_t i = 0; i < hone_safetensors_count(a); i++) {
        const hone_safetensors_tensor *x = hone_safetensors_at(a, i);
        const hone_safetensors_tensor *y = hone_safetensors_at(b, i);
        ck_assert_str_eq(x->name, y->name);
        ck_assert_str_eq(x->dtype, y->dtype);
        ck_assert(x->bytes == y->bytes && memcmp(x->data, y->data, x->bytes) == 0);
        ck_assert_mem_eq(x->shape, y->shape, sizeof x->shape);
        ck_assert_uint_eq((uintptr_t)y->data % 4, 0);
    }
    hone_safetensors_close(a);
    hone_safetensors_close(b);
    unlink(copy);
}
END_TEST

/* --- errors --- */

#define T(dtype, shape, offsets)                                                                   \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static const struct {
    const char *header;
    size_t data_bytes;
    hone_status status;
    const char *message;
} malformed[] = {
    {"", 0, HONE_ERR_FORMAT, "byte 8: the header does not begin with '{'"},
    {" {}", 0, HONE_ERR_FORMAT, "does not begin with '{'"},
    {"{", 0, HONE_ERR_FORMAT, "x.safetensors: line 1"},
    {"{} {}", 0, HONE_ERR_FORMAT, "x.safetensors: line 1, column 4"},
    {"{}", 4, HONE_ERR_FORMAT, "4 bytes behind the last tensor belong to none"},
    {"{\"a\":1}", 0, HONE_ERR_FORMAT, "tensor 'a': an object with \"dtype\""},
    {"{\"a\":{}}", 0, HONE_ERR_FORMAT, "tensor 'a': \"dtype\" is missing"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 0, HONE_ERR_FORMAT, "\"data_offsets\" is missing"},
    {"{\"a\":" T("F33", "[1]", "[0,4]") "}", 4, HONE_ERR_UNSUPPORTED, "unknown dtype 'F33'"},
    {"{\"a\":" T("F32", "[-1]", "[0,4]") "}", 4, HONE_ERR_FORMAT, "no integer from 0 up"},
    {"{\"a\":" T("F32", "[1.0]", "[0,4]") "}", 4, HONE_ERR_FORMAT, "no integer from 0 up"},
    {"{\"a\":" T("F32", "[\"1\"]", "[0,4]") "}", 4, HONE_ERR_FORMAT, "no integer from 0 up"},
    {"{\"a\":" T("F32", "[99999999999999999999]", "[0,4]") "}", 4, HONE_ERR_FORMAT, "no integer"},
    {"{\"a\":" T("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, HONE_ERR_FORMAT, "8 dimensions"},
    {"{\"a\":" T("F32", "[4294967296,4294967296]", "[0,0]") "}", 0, HONE_ERR_FORMAT, "64 bits"},
    {"{\"a\":" T("F32", "[4611686018427387904]", "[0,0]") "}", 0, HONE_ERR_FORMAT, "do not fit"},
    {"{\"a\":" T("F32", "[2]", "[0,4]") "}", 4, HONE_ERR_FORMAT, "do not fit dtype and shape"},
    {"{\"a\":" T("F4", "[3]", "[0,1]") "}", 1, HONE_ERR_FORMAT, "do not fit dtype and shape"},
    {"{\"a\":" T("F32", "[1]", "[0]") "}", 4, HONE_ERR_FORMAT, "not two integers"},
    {"{\"a\":" T("F32", "[1]", "[0,4,8]") "}", 4, HONE_ERR_FORMAT, "not two integers"},
    {"{\"a\":" T("F32", "[1]", "[0,4.0]") "}", 4, HONE_ERR_FORMAT, "not two integers"},
    {"{\"a\":" T("F32", "[1]", "[-4,0]") "}", 4, HONE_ERR_FORMAT, "outside the file"},
    {"{\"a\":" T("F32", "[1]", "[4,0]") "}", 4, HONE_ERR_FORMAT, "outside the file"},
    {"{\"a\":" T("F32", "[1]", "[0,4]") "}", 3, HONE_ERR_FORMAT, "outside the file"},
    {"{\"a\":" T("F32", "[1]", "[0,9223372036854775807]") "}", 3, HONE_ERR_FORMAT, "outside"},
    {"{\"a\":" T("F32", "[1]", "[4,8]") "}", 8, HONE_ERR_FORMAT, "a gap between its data"},
    {"{\"a\":" T("F32", "[1]", "[0,4]") ",\"b\":" T("F32", "[1]", "[2,6]") "}", 6, HONE_ERR_FORMAT,
     "tensor 'b': data that overlaps"},
    {"{\"a\":" T("F32", "[1]", "[0,4]") ",\"b\":" T("F32", "[1]", "[0,4]") "}", 4, HONE_ERR_FORMAT,
     "data that overlaps"},
    {"{\"a\":" T("F32", "[1]", "[0,4]") ",\"a\":" T("F32", "[1]", "[4,8]") "}", 8, HONE_ERR_FORMAT,
     "duplicate"},
    {"{\"__metadata__\":1}", 0, HONE_ERR_FORMAT, "__metadata__ is not an object of strings"},
    {"{\"__metadata__\":{\"a\":1}}", 0, HONE_ERR_FORMAT, "__metadata__ is not an object"},
    {"{\"a\\u0000b\":" T("F32", "[1]", "[0,4]") "}", 4, HONE_ERR_FORMAT, "line 1"},
    {"{\"a\\u001b[31m\":1}", 0, HONE_ERR_FORMAT, "tensor 'a?[31m'"},
};

START_TEST(open_malformed_file_is_refused_by_name) {
    hone_buf made = make(malformed[_i].header, malformed[_i].data_bytes);
    hone_safetensors *file;
    void *copy;
    ck_fails(open_copy(&file, &copy, made.data, made.length), malformed[_i].status,
             malformed[_i].message);
    ck_assert_ptr_null(file);
    hone_free(copy);
    hone_buf_free(&made);
}
END_TEST

START_TEST(open_header_longer_than_the_file_is_refused) {
    static const uint64_t lengths[] = {1, 100000001, UINT64_MAX, UINT64_MAX - 7};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        hone_safetensors *file;
        ck_fails(hone_safetensors_open_bytes(&file, &lengths[i], 8, "x"), HONE_ERR_FORMAT,
                 "byte 0: a header of");
    }
}
END_TEST

START_TEST(open_any_shorter_file_is_refused) {
    hone_buf made = make(WHOLE, 38);
    for (size_t length = 0; length < made.length; length++) {
        hone_safetensors *file;
        void *copy;
        ck_assert_int_ne(open_copy(&file, &copy, made.data, length), HONE_OK);
        hone_free(copy);
    }
    hone_buf_free(&made);
}
END_TEST

START_TEST(open_any_changed_byte_opens_or_is_refused) {
    static const unsigned char changes[] = {0x01, 0x80, 0xff, 0x20};
    hone_buf made = make(WHOLE, 38);
    for (size_t i = 0; i < 4 * made.length; i++) {
        hone_safetensors *file;
        void *copy;
        made.data[i / 4] ^= (char)changes[i % 4];
        if (open_copy(&file, &copy, made.data, made.length) == HONE_OK) {
            hone_safetensors_close(file);
        }
        hone_free(copy);
        made.data[i / 4] ^= (char)changes[i % 4];
    }
    hone_buf_free(&made);
}
END_TEST

START_TEST(open_any_failed_allocation_is_reported) {
    hone_buf made = make(WHOLE, 38);
    hone_status status = HONE_ERR_MEMORY;
    for (int64_t n = 1; status != HONE_OK && n < 100; n++) {
        hone_safetensors *file;
        hone_alloc_fail_at(n);
        status = hone_safetensors_open_bytes(&file, made.data, made.length, "x");
        hone_alloc_fail_at(0);
        ck_assert(status == HONE_OK || status == HONE_ERR_MEMORY);
        hone_safetensors_close(file);
    }
    ck_assert_int_eq(status, HONE_OK);
    hone_buf_free(&made);
}
END_TEST

/* --- shards --- */

static char folder[] = "test_safetensors.XXXXXX";
static char path_text[128];

static const char *in_folder(const char *name) {
    snprintf(path_text, sizeof path_text, "%s/%s", folder, name);
    return path_text;
}

static void put(const char *name, hone_buf content) {
    ck_ok(hone_file_put(in_folder(name), content.data, content.length));
    hone_buf_free(&content);
}

static void make_shards(void) {
    strcpy(folder, "test_safetensors.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    put("1.safetensors", make("{\"a\":" T("F32", "[1]", "[0,4]") "}", 4));
    put("2.safetensors", make("{\"b\":" T("F32", "[1]", "[0,4]") "}", 4));
    put("3.safetensors", make("{\"a\":" T("F32", "[1]", "[0,4]") "}", 4));
}

static void remove_shards(void) {
    static const char *const names[] = {"1.safetensors", "2.safetensors", "3.safetensors",
                                        "index.json"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) unlink(in_folder(names[i]));
    rmdir(folder);
}

static const struct {
    const char *index;
    hone_status status;
    const char *message;
} indices[] = {
    {"{", HONE_ERR_FORMAT, "index.json: line 1"},
    {"{}", HONE_ERR_FORMAT, "\"weight_map\" is missing"},
    {"{\"weight_map\":[]}", HONE_ERR_FORMAT, "\"weight_map\" is array"},
    {"{\"weight_map\":{\"a\":1}}", HONE_ERR_FORMAT, "holds integer where a file name"},
    {"{\"weight_map\":{\"a\":\"../1.safetensors\"}}", HONE_ERR_FORMAT, "is not a file name"},
    {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", HONE_ERR_FORMAT, "is not a file name"},
    {"{\"weight_map\":{\"a\":\"..\"}}", HONE_ERR_FORMAT, "is not a file name"},
    {"{\"weight_map\":{\"a\":\"\"}}", HONE_ERR_FORMAT, "is not a file name"},
    {"{\"weight_map\":{\"a\":\"9.safetensors\"}}", HONE_ERR_IO, "9.safetensors: cannot open"},
    {"{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"1.safetensors\"}}", HONE_ERR_FORMAT,
     "tensor 'b' is not in '1.safetensors'"},
    {"{\"weight_map\":{\"a\":\"2.safetensors\",\"b\":\"1.safetensors\"}}", HONE_ERR_FORMAT,
     "tensor 'a' is not in '2.safetensors'"},
    {"{\"weight_map\":{\"a\":\"1.safetensors\",\"c\":\"3.safetensors\"}}", HONE_ERR_FORMAT,
     "tensor 'a': a name that stands in two files"},
    {"{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}}", HONE_OK, ""},
};

START_TEST(open_index_is_checked_against_its_shards) {
    const char *text = indices[_i].index;
    hone_safetensors *file = NULL;
    ck_ok(hone_file_put(in_folder("index.json"), text, strlen(text)));
    if (indices[_i].status == HONE_OK) {
        ck_ok(hone_safetensors_open(&file, in_folder("index.json")));
        ck_assert_uint_eq(hone_safetensors_count(file), 2);
        ck_assert_uint_eq(hone_safetensors_file_count(file), 2);
    } else {
        ck_fails(hone_safetensors_open(&file, in_folder("index.json")), indices[_i].status,
                 indices[_i].message);
    }
    hone_safetensors_close(file);
}
END_TEST

START_TEST(open_folder_without_model_names_what_is_missing) {
    hone_safetensors *file;
    ck_fails(hone_safetensors_open(&file, folder), HONE_ERR_IO, "model.safetensors.index.json");
    ck_fails(hone_safetensors_open(&file, in_folder("none")), HONE_ERR_IO, "cannot open");
}
END_TEST

START_TEST(writer_wrong_use_is_refused) {
    hone_safetensors_writer *writer;
    int64_t shape[] = {3, -1, INT64_MAX, 1, 1, 1, 1, 1, 1};
    ck_ok(hone_safetensors_writer_new(&writer));
    ck_fails(hone_safetensors_set_metadata(writer, "k", "\xff"), HONE_ERR_USAGE, "'k'");
    ck_fails(hone_safetensors_add_tensor(writer, "t", HONE_Q8_0, 1, shape), HONE_ERR_UNSUPPORTED,
             "q8_0");
    ck_fails(hone_safetensors_add_tensor(writer, "t", HONE_F32, 2, shape), HONE_ERR_USAGE, "shape");
    ck_fails(hone_safetensors_add_tensor(writer, "t", HONE_F32, 9, shape), HONE_ERR_USAGE, "8");
    ck_fails(hone_safetensors_add_tensor(writer, "t", HONE_F32, 1, shape + 2), HONE_ERR_USAGE, "");
    ck_fails(hone_safetensors_add_tensor(writer, "\xff", HONE_F32, 1, shape), HONE_ERR_USAGE,
             "not UTF-8");
    ck_ok(hone_safetensors_add_tensor(writer, "t", HONE_F16, 1, shape));
    ck_fails(hone_safetensors_add_tensor(writer, "t", HONE_F16, 1, shape), HONE_ERR_USAGE, "twice");
    ck_fails(hone_safetensors_data(writer, "x", 1), HONE_ERR_USAGE, "before the header");
    ck_ok(hone_safetensors_begin(writer, in_folder("out.safetensors")));
    ck_fails(hone_safetensors_data(writer, "1234567", 7), HONE_ERR_USAGE, "6 bytes and is given");
    ck_ok(hone_safetensors_data(writer, "12345", 5));
    ck_fails(hone_safetensors_commit(writer), HONE_ERR_USAGE, "'t' is not complete");
    hone_safetensors_writer_free(writer);
    ck_assert(!hone_path_exists(in_folder("out.safetensors")));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("safetensors");
    TCase *values = tcase_create("values");
    tcase_add_test(values, open_whole_file_gives_tensors_in_order_of_data);
    tcase_add_test(values, dtype_usable_ones_are_given_others_refused);
    tcase_add_test(values, metadata_by_key_and_in_order);
    tcase_add_test(values, open_file_without_tensors_is_fine);
    tcase_add_test(values, open_file_of_the_package_gives_its_values);
    tcase_add_test(values, open_shards_by_folder_and_by_index_agree);
    tcase_add_loop_test(values, writer_copy_of_a_real_file_reads_back_equal, 0,
                        (int)(sizeof real_files / sizeof real_files[0]));
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_loop_test(errors, open_malformed_file_is_refused_by_name, 0,
                        (int)(sizeof malformed / sizeof malformed[0]));
    tcase_add_test(errors, open_header_longer_than_the_file_is_refused);
    tcase_add_test(errors, open_any_shorter_file_is_refused);
    tcase_add_test(errors, open_any_changed_byte_opens_or_is_refused);
    tcase_add_test(errors, open_any_failed_allocation_is_reported);
    suite_add_tcase(suite, errors);
    TCase *shards = tcase_create("shards");
    tcase_add_checked_fixture(shards, make_shards, remove_shards);
    tcase_add_loop_test(shards, open_index_is_checked_against_its_shards, 0,
                        (int)(sizeof indices / sizeof indices[0]));
    tcase_add_test(shards, open_folder_without_model_names_what_is_missing);
    tcase_add_test(shards, writer_wrong_use_is_refused);
    suite_add_tcase(suite, shards);
    return hone_test_run(suite);
}
