/* Models in several GGUF files. */
#include <stdlib.h>

#include "base/file.h"
#include "formats/gguf_writer.h"
#include "tests/support.h"

static char folder[64];

static const char *in_folder(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void setup(void) {
    snprintf(folder, sizeof folder, "/tmp/hone-split-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void teardown(void) {
    char command[96];
    snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}

/* Part `number` of `count`, with one tensor of that name and value; none without a name. */
static void write_part(const char *name, uint32_t number, uint32_t count, const char *tensor,
                       float value) {
    hone_gguf_writer *writer;
    ck_ok(hone_gguf_writer_new(&writer));
    if (number == 0) ck_ok(hone_gguf_set_string(writer, "general.architecture", "test", 4));
    ck_ok(hone_gguf_set_u32(writer, "split.no", number));
    ck_ok(hone_gguf_set_u32(writer, "split.count", count));
    ck_ok(hone_gguf_set_i32(writer, "split.tensors.count", 2));
    if (tensor) ck_ok(hone_gguf_add_tensor(writer, tensor, HONE_F32, 1, (int64_t[]){1}));
    ck_ok(hone_gguf_begin(writer, in_folder(name)));
    if (tensor) ck_ok(hone_gguf_data(writer, &value, sizeof value));
    ck_ok(hone_gguf_commit(writer));
    hone_gguf_writer_free(writer);
}

/* A first part without tensors, as gguf-split makes on request, and two with one each. */
static void write_parts(void) {
    write_part("m-00001-of-00003.gguf", 0, 3, NULL, 0);
    write_part("m-00002-of-00003.gguf", 1, 3, "b", 2.0f);
    write_part("m-00003-of-00003.gguf", 2, 3, "a", 3.0f);
}

static void expect_failure(const char *name, hone_status status, const char *message) {
    hone_gguf *gguf;
    ck_fails(hone_gguf_open(&gguf, in_folder(name)), status, message);
    ck_assert_ptr_null(gguf);
}

START_TEST(open_first_part_holds_tensors_of_all) {
    write_parts();
    hone_gguf *gguf;
    ck_ok(hone_gguf_open(&gguf, in_folder("m-00001-of-00003.gguf")));
    ck_assert_uint_eq(hone_gguf_tensor_count(gguf), 2);
    ck_assert_str_eq(hone_gguf_tensor_at(gguf, 0)->name, "b");
    float value;
    memcpy(&value, hone_gguf_tensor_find(gguf, "a")->data, sizeof value);
    ck_assert(value == 3.0f);
    ck_assert_ptr_nonnull(hone_gguf_find(gguf, "general.architecture"));
    hone_gguf_close(gguf);
}
END_TEST

START_TEST(open_missing_part_is_named) {
    write_parts();
    unlink(in_folder("m-00003-of-00003.gguf"));
    expect_failure("m-00001-of-00003.gguf", HONE_ERR_IO, "m-00003-of-00003.gguf: part 3 of 3 of ");
}
END_TEST

START_TEST(open_later_part_asks_for_first) {
    write_parts();
    expect_failure("m-00002-of-00003.gguf", HONE_ERR_USAGE, "ends in -00001-of-00003.gguf");
}
END_TEST

START_TEST(open_renamed_first_part_is_refused) {
    write_part("m.gguf", 0, 3, NULL, 0);
    expect_failure("m.gguf", HONE_ERR_FORMAT, "give the parts their names back");
}
END_TEST

START_TEST(open_foreign_part_is_refused) {
    write_parts();
    write_part("m-00002-of-00003.gguf", 2, 3, "b", 0);
    expect_failure("m-00001-of-00003.gguf", HONE_ERR_FORMAT,
                   "part 3 of 3, where part 2 of 3 belongs");
    write_part("m-00002-of-00003.gguf", 1, 3, "a", 0);
    expect_failure("m-00001-of-00003.gguf", HONE_ERR_FORMAT, "tensor 'a' stands twice");
    write_part("m-00002-of-00003.gguf", 1, 3, NULL, 0);
    expect_failure("m-00001-of-00003.gguf", HONE_ERR_FORMAT,
                   "hold 1 tensors together, split.tensors.count says 2");
    ck_ok(hone_file_put(in_folder("m-00002-of-00003.gguf"), "GGUF", 4));
    expect_failure("m-00001-of-00003.gguf", HONE_ERR_FORMAT, "m-00002-of-00003.gguf");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("gguf, split");
    TCase *values = tcase_create("values");
    tcase_add_checked_fixture(values, setup, teardown);
    tcase_add_test(values, open_first_part_holds_tensors_of_all);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_checked_fixture(errors, setup, teardown);
    tcase_add_test(errors, open_missing_part_is_named);
    tcase_add_test(errors, open_later_part_asks_for_first);
    tcase_add_test(errors, open_renamed_first_part_is_refused);
    tcase_add_test(errors, open_foreign_part_is_refused);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
