/* Importers: every shape and kind of file, what is refused, and that nothing is written then. */
#include "tests/data_support.h"

#define QA(q, a)                                                                                   \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"" q                                           \
    "\"},{\"role\":\"assistant\",\"content\":\"" a "\"}]}"

typedef struct import_case {
    const char *name, *content, *importer, *shape;
    int64_t rows, records;
    const char *first;
} import_case;

static const import_case cases[] = {
    {"a.jsonl", "{\"text\": \"h\\u00e9 \\\"x\\\"\\n\"}\n\n{\"text\":\"b\"}", "jsonl", "text", 2, 2,
     "{\"text\":\"h\xc3\xa9 \\\"x\\\"\\n\"}"},
    {"a.jsonl", "\xef\xbb\xbf{\"prompt\":\"p\",\"completion\":\"c\"}\r\n", "jsonl",
     "prompt/completion", 1, 1, QA("p", "c")},
    {"a.jsonl", "{\"question\":\"p\",\"answer\":\"c\",\"id\":7}\n", "jsonl", "question/answer", 1,
     1, QA("p", "c")},
    {"a.jsonl", "{\"instruction\":\"do\",\"input\":\"this\",\"output\":\"c\"}\n", "jsonl",
     "instruction/input/output", 1, 1, QA("do\\n\\nthis", "c")},
    {"a.jsonl", "{\"instruction\":\"do\",\"input\":\"\",\"output\":\"c\"}\n", "jsonl",
     "instruction/input/output", 1, 1, QA("do", "c")},
    {"a.jsonl", "{\"instruction\":\"do\",\"output\":\"c\",\"system\":\"s\"}\n", "jsonl",
     "instruction/input/output", 1, 1,
     "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"do\"}"
     ","
     "{\"role\":\"assistant\",\"content\":\"c\"}]}"},
    {"a.jsonl",
     "{\"instruction\":\"do\",\"instances\":[{\"input\":\"\",\"output\":\"c\"},"
     "{\"input\":\"x\",\"output\":\"d\"}]}\n",
     "jsonl", "instruction/instances", 1, 2, QA("do", "c")},
    {"a.json",
     "[{\"messages\":[{\"role\":\"user\",\"content\":\"p\"},"
     "{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"c\"}]}]}]",
     "json", "messages", 1, 1,
     "{\"messages\":[{\"role\":\"user\",\"content\":\"p\"},"
     "{\"role\":\"assistant\",\"content\":[{\"type\": \"text\", \"text\": \"c\"}]}]}"},
    {"a.jsonl",
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\",\"image_url\":{\"url\":"
     "\"x\"}},{\"type\":\"text\",\"text\":\"p\", \"cache\":null}]},"
     "{\"role\":\"assistant\",\"content\":\"c\"}]}\n",
     "jsonl", "messages", 1, 1,
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\": \"image\", \"image_url\": "
     "{\"url\": "
     "\"x\"}}, {\"type\": \"text\", \"text\": \"p\", \"cache\": null}]},"
     "{\"role\":\"assistant\",\"content\":\"c\"}]}"},
    {"a.json",
     "[\n {\"conversations\": [{\"from\":\"human\",\"value\":\"p]}\"},"
     "{\"from\":\"gpt\",\"value\":\"c\"}]}\n,\n{\"conversations\":[{\"from\":\"human\","
     "\"value\":\"q\"},{\"from\":\"gpt\",\"value\":\"c\"}]} ]\n",
     "json", "conversations", 2, 2, QA("p]}", "c")},
    {"a.json", "{\n \"text\": \"one\"\n}\n{\"text\":\"two\"}", "json", "text", 2, 2,
     "{\"text\":\"one\"}"},
    {"a.jsonl", "[{\"text\":\"one\"},{\"text\":\"two\"}]", "jsonl", "text", 2, 2,
     "{\"text\":\"one\"}"},
    {"noname", "{\"text\":\"one\"}\n", "jsonl", "text", 1, 1, "{\"text\":\"one\"}"},
    {"a.csv", "Question,Answer\r\n\"a, \"\"b\"\"\nc\",d\r\n\r\ne,f", "csv", "question/answer", 2, 2,
     QA("a, \\\"b\\\"\\nc", "d")},
    {"a.csv", "id;prompt;completion\n1;p;c\n", "csv", "prompt/completion", 1, 1, QA("p", "c")},
    {"a.tsv", "text\tid\nhello, you\t1\n", "csv", "text", 1, 1, "{\"text\":\"hello, you\"}"},
    {"a.txt", "\xef\xbb\xbfone\r\n\r\ntwo\n\n", "text", "one document", 1, 1,
     "{\"text\":\"one\\n\\ntwo\"}"},
    {"a.MD", "# T\n\nbody", "markdown", "one document", 1, 1, "{\"text\":\"# T\\n\\nbody\"}"},
};

START_TEST(add_each_shape_gives_records) {
    const import_case *c = &cases[_i];
    hone_data_report_file file = add_file(put_file(c->name, c->content));
    ck_assert_str_eq(file.importer, c->importer);
    ck_assert_str_eq(file.shape, c->shape);
    ck_assert_int_eq(file.rows, c->rows);
    ck_assert_int_eq(file.added, c->records);
    ck_assert(!file.gzipped);
    check_record(0, c->first);
}
END_TEST

START_TEST(add_each_shape_gzipped_gives_the_same) {
    const import_case *c = &cases[_i];
    char name[64];
    snprintf(name, sizeof name, "%s.gz", c->name);
    if (strchr(c->name, '.') == NULL) return;
    hone_data_report_file file = add_file(put_gzip(name, c->content));
    ck_assert(file.gzipped);
    ck_assert_int_eq(file.added, c->records);
    check_record(0, c->first);
}
END_TEST

START_TEST(add_gzip_without_suffix_found_by_magic) {
    hone_data_report_file file = add_file(put_gzip("a.jsonl", "{\"text\":\"x\"}\n"));
    ck_assert(file.gzipped);
    ck_assert_int_eq(file.added, 1);
}
END_TEST

START_TEST(add_rows_of_several_shapes_each_read_as_its_own) {
    hone_data_report_file file = add_file(put_file(
        "a.jsonl", "{\"text\":\"x\"}\n{\"question\":\"p\",\"answer\":\"c\"}\n{\"text\":\"y\"}\n"));
    ck_assert_str_eq(file.shape, "text + question/answer");
    ck_assert_int_eq(file.added, 3);
    check_record(0, "{\"text\":\"x\"}");
    check_record(1, QA("p", "c"));
}
END_TEST

START_TEST(add_map_names_the_fields) {
    const char *input = put_file("a.jsonl", "{\"Q\":\"p\",\"ctx\":\"x\",\"A\":\"c\"}\n");
    hone_data_map map[] = {{"Q", "prompt"}, {"A", "completion"}, {"ctx", "user"}};
    hone_data_add_options options = {.map = map, .map_count = 3};
    hone_data_report report;
    ck_ok(hone_data_add(&report, test_path("data.h5"), &input, 1, &options));
    ck_assert_str_eq(report.files[0].shape, "Q=prompt A=completion ctx=user");
    hone_data_report_free(&report);
    check_record(0, QA("p\\n\\nx", "c"));
}
END_TEST

START_TEST(add_map_text_joins_columns) {
    const char *input = put_file("a.csv", "Title,Body\nT,B\n");
    hone_data_map map[] = {{"Title", "text"}, {"Body", "text"}};
    hone_data_add_options options = {.map = map, .map_count = 2};
    hone_data_report report;
    ck_ok(hone_data_add(&report, test_path("data.h5"), &input, 1, &options));
    hone_data_report_free(&report);
    check_record(0, "{\"text\":\"T\\n\\nB\"}");
}
END_TEST

START_TEST(add_empty_rows_counted_and_left_out) {
    hone_data_report_file file = add_file(
        put_file("a.jsonl", "{\"text\":\" \\u3000\"}\n{\"text\":\"x\"}\n{\"text\":\"\"}\n"));
    ck_assert_int_eq(file.rows, 3);
    ck_assert_int_eq(file.added, 1);
    ck_assert_int_eq(file.empty, 2);
    ck_assert_str_eq(file.empty_example, "row 1");
}
END_TEST

START_TEST(add_shared_instruction_files_all_read) {
    static const struct {
        const char *name, *shape;
        int64_t rows, records;
    } files[] = {
        {"instruct/gsm8k-test.jsonl", "question/answer", 1319, 1319},
        {"instruct/self-instruct-seed-tasks.jsonl", "instruction/instances", 175, 175},
        {"instruct/wikisql-mlx/train.jsonl", "text", 1000, 1000},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *input = hone_test_data(files[i].name);
        if (!input) return;
        hone_data_report_file file = add_file(input);
        ck_assert_str_eq(file.shape, files[i].shape);
        ck_assert_int_eq(file.rows, files[i].rows);
        ck_assert_int_eq(file.added + file.duplicates + file.empty, files[i].records);
    }
}
END_TEST

typedef struct bad_case {
    const char *name, *content;
    hone_status status;
    const char *message;
} bad_case;

static const bad_case bad_cases[] = {
    {"a.jsonl", "{\"text\":\"x\"}\n{\"text\": \"y\n", HONE_ERR_FORMAT, "row 2: the row: line 1"},
    {"a.jsonl", "{\"text\":\"x\"}\n\n{\"txt\":\"y\"}\n", HONE_ERR_DATA,
     "row 3: shape text: lacks the field \"text\". The row starts: {\"txt\":\"y\"}"},
    {"a.jsonl", "{\"question\":\"x\",\"answer\":42}\n", HONE_ERR_DATA,
     "row 1: shape question/answer: the field \"answer\" is integer"},
    {"a.jsonl", "{\"foo\":\"x\",\"bar\":1}\n", HONE_ERR_DATA, "its fields (foo, bar) are none"},
    {"a.jsonl", "7\n", HONE_ERR_DATA, "row 1: is not an object"},
    {"a.jsonl", "{\"messages\":[{\"role\":\"king\",\"content\":\"x\"}]}\n", HONE_ERR_DATA,
     "message 1: the role \"king\""},
    {"a.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":null}]}\n", HONE_ERR_DATA,
     "message 1: lacks \"content\""},
    {"a.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"},\"x\"]}]}\n",
     HONE_ERR_DATA, "message 1: content part 2 is string where an object is needed"},
    {"a.jsonl",
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\" \"}]}]}",
     HONE_ERR_DATA, "every row is empty"},
    {"a.jsonl", "{\"text\":\"\xff\"}\n", HONE_ERR_FORMAT, "row 1"},
    {"a.jsonl", "", HONE_ERR_DATA, "holds no rows"},
    {"a.jsonl", "\n \n", HONE_ERR_DATA, "holds no rows"},
    {"a.jsonl", "{\"text\":\"\"}\n", HONE_ERR_DATA, "every row is empty"},
    {"a.json", "[{\"text\":\"x\"}", HONE_ERR_FORMAT, "after row 1"},
    {"a.json", "[{\"text\":\"x\"},]", HONE_ERR_FORMAT, "a row is missing"},
    {"a.json", "[{\"text\":\"x\"}] x", HONE_ERR_FORMAT, "more after the end"},
    {"a.json", "[{\"text\":\"x\"} {\"text\":\"y\"}]", HONE_ERR_FORMAT, "neither a comma"},
    {"a.json", "[{\"text\":\"x", HONE_ERR_FORMAT, "row 1: the row: line 1"},
    {"a.json", "]", HONE_ERR_FORMAT, "a stray bracket"},
    {"a.json", "[]", HONE_ERR_DATA, "holds no rows"},
    {"a.csv", "question,answer\na\n", HONE_ERR_DATA,
     "row 1: has 1 fields where the header has 2. The row starts: a"},
    {"a.csv", "question,answer\na,\"b\n", HONE_ERR_FORMAT, "opened in line 2 is not closed"},
    {"a.csv", "question,answer\na,\"b\"c\n", HONE_ERR_FORMAT, "text after a closing quote"},
    {"a.csv", "question,answer\n", HONE_ERR_DATA, "holds no rows"},
    {"a.csv", "question,answer\ncaf\xe9,x\n", HONE_ERR_FORMAT, "byte 3 (0xe9) is not UTF-8"},
    {"a.csv", "text,Text\nx,y\n", HONE_ERR_DATA, "the column \"text\" twice"},
    {"a.csv", "x,y\n1,2\n", HONE_ERR_DATA, "its fields (x, y) are none"},
    {"a.txt", "caf\xe9", HONE_ERR_FORMAT, "the text: byte 3 (0xe9) is not UTF-8"},
    {"a.txt",
     "\xff\xfe"
     "a",
     HONE_ERR_FORMAT, "UTF-16"},
    {"a.txt", " \n", HONE_ERR_DATA, "every row is empty"},
    {"a.pdf", "%PDF", HONE_ERR_UNSUPPORTED, ".pdf files cannot be imported; these can: .jsonl"},
    {"noname", "hello", HONE_ERR_UNSUPPORTED, "without a suffix"},
    {"a.txt", "x", HONE_OK, ""},
};

START_TEST(add_bad_input_refused_and_nothing_written) {
    const bad_case *c = &bad_cases[_i];
    const char *inputs[] = {put_file("good.jsonl", "{\"text\":\"good\"}\n"),
                            put_file(c->name, c->content)};
    hone_data_report report;
    if (c->status == HONE_OK) {
        ck_ok(hone_data_add(&report, test_path("data.h5"), inputs, 2, NULL));
        hone_data_report_free(&report);
        return;
    }
    /* "every row is empty" is about an addition without a single record. */
    size_t first = strstr(c->message, "every row") ? 1 : 0;
    hone_status status =
        hone_data_add(&report, test_path("data.h5"), inputs + first, 2 - first, NULL);
    ck_assert_msg(status == c->status, "status %d: %s", (int)status, hone_fail_message());
    ck_assert_msg(strstr(hone_fail_message(), c->message), "%s", hone_fail_message());
    ck_assert_msg(strstr(hone_fail_message(), c->name), "%s", hone_fail_message());
    ck_assert(!hone_path_exists(test_path("data.h5")));
    ck_assert(!hone_path_exists(test_path("data.h5.partial")));
    ck_assert_ptr_null(report.files);
}
END_TEST

START_TEST(add_bad_input_leaves_present_file_as_it_was) {
    add_file(put_file("good.jsonl", "{\"text\":\"good\"}\n"));
    hone_buf before = {0};
    hone_buf after = {0};
    ck_ok(hone_file_get(&before, test_path("data.h5")));
    const char *input = put_file("bad.jsonl", "{\"text\":\"x\"}\n{\n");
    hone_data_report report;
    ck_fails(hone_data_add(&report, test_path("data.h5"), &input, 1, NULL), HONE_ERR_FORMAT,
             "bad.jsonl: row 2");
    ck_ok(hone_file_get(&after, test_path("data.h5")));
    ck_assert_uint_eq(before.length, after.length);
    ck_assert_mem_eq(before.data, after.data, before.length);
    hone_buf_free(&before);
    hone_buf_free(&after);
}
END_TEST

START_TEST(add_damaged_gzip_refused) {
    put_gzip("a.jsonl.gz", "{\"text\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}\n");
    hone_buf bytes = {0};
    ck_ok(hone_file_get(&bytes, test_path("a.jsonl.gz")));
    const char *input = put_bytes("b.jsonl.gz", bytes.data, bytes.length - 9);
    hone_data_report report;
    ck_fails(hone_data_add(&report, test_path("data.h5"), &input, 1, NULL), HONE_ERR_FORMAT,
             "the gzip data is damaged");
    bytes.data[bytes.length - 6] ^= 1; /* the checksum */
    input = put_bytes("c.jsonl.gz", bytes.data, bytes.length);
    ck_fails(hone_data_add(&report, test_path("data.h5"), &input, 1, NULL), HONE_ERR_FORMAT,
             "the gzip data is damaged");
    hone_buf_free(&bytes);
}
END_TEST

START_TEST(add_bad_map_or_path_refused) {
    const char *input = put_file("a.jsonl", "{\"a\":\"x\"}\n");
    hone_data_map map[] = {{"a", "answer"}};
    hone_data_add_options options = {.map = map, .map_count = 1};
    hone_data_report report;
    const char *path = test_path("data.h5");
    ck_fails(hone_data_add(&report, path, &input, 1, &options), HONE_ERR_USAGE, "--map a=answer");
    map[0].role = "prompt";
    ck_fails(hone_data_add(&report, path, &input, 1, &options), HONE_ERR_USAGE, "nothing to learn");
    map[0] = (hone_data_map){"b", "text"};
    ck_fails(hone_data_add(&report, path, &input, 1, &options), HONE_ERR_DATA,
             "lacks the field \"b\"");
    input = test_path("none.jsonl");
    ck_fails(hone_data_add(&report, path, &input, 1, NULL), HONE_ERR_IO, "none.jsonl");
    input = test_folder;
    ck_fails(hone_data_add(&report, path, &input, 1, NULL), HONE_ERR_IO, "is a folder");
    ck_fails(hone_data_add(&report, path, &input, 0, NULL), HONE_ERR_USAGE, "no input");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("data_import");
    TCase *values = tcase_create("values");
    tcase_add_checked_fixture(values, make_test_folder, remove_test_folder);
    int count = (int)(sizeof cases / sizeof *cases);
    tcase_add_loop_test(values, add_each_shape_gives_records, 0, count);
    tcase_add_loop_test(values, add_each_shape_gzipped_gives_the_same, 0, count);
    tcase_add_test(values, add_gzip_without_suffix_found_by_magic);
    tcase_add_test(values, add_rows_of_several_shapes_each_read_as_its_own);
    tcase_add_test(values, add_map_names_the_fields);
    tcase_add_test(values, add_map_text_joins_columns);
    tcase_add_test(values, add_empty_rows_counted_and_left_out);
    tcase_add_test(values, add_shared_instruction_files_all_read);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_checked_fixture(errors, make_test_folder, remove_test_folder);
    tcase_add_loop_test(errors, add_bad_input_refused_and_nothing_written, 0,
                        (int)(sizeof bad_cases / sizeof *bad_cases));
    tcase_add_test(errors, add_bad_input_leaves_present_file_as_it_was);
    tcase_add_test(errors, add_damaged_gzip_refused);
    tcase_add_test(errors, add_bad_map_or_path_refused);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
