#include <float.h>
#include <math.h>

#include "base/file.h"
#include "formats/json.h"
#include "tests/support.h"

static json_t *parse(const char *text) {
    json_t *value;
    ck_ok(hone_json_parse(&value, text, strlen(text), "x.json"));
    return value;
}

/* --- values --- */

START_TEST(get_members_of_each_type_gives_values) {
    json_t *object =
        parse("{\"s\": \"t\", \"i\": -7, \"w\": 8.0, \"r\": 0.5, \"b\": true, \"a\": [1], "
              "\"o\": {\"k\": 1}, \"n\": null}");
    const char *text;
    int64_t number;
    double real;
    bool flag;
    const json_t *inner;
    ck_ok(hone_json_get_string(&text, object, "s", "x"));
    ck_assert_str_eq(text, "t");
    ck_ok(hone_json_get_int(&number, object, "i", -10, 10, "x"));
    ck_assert_int_eq(number, -7);
    ck_ok(hone_json_get_int(&number, object, "w", 0, 8, "x"));
    ck_assert_int_eq(number, 8);
    ck_ok(hone_json_get_number(&real, object, "r", "x"));
    ck_assert_double_eq(real, 0.5);
    ck_ok(hone_json_get_number(&real, object, "i", "x"));
    ck_assert_double_eq(real, -7.0);
    ck_ok(hone_json_get_bool(&flag, object, "b", "x"));
    ck_assert(flag);
    ck_ok(hone_json_get_array(&inner, object, "a", "x"));
    ck_assert_uint_eq(json_array_size(inner), 1);
    ck_ok(hone_json_get_object(&inner, object, "o", "x"));
    ck_assert_uint_eq(json_object_size(inner), 1);
    json_decref(object);
}
END_TEST

START_TEST(opt_absent_or_null_keeps_default) {
    json_t *object = parse("{\"n\": null}");
    const char *text = "default";
    int64_t number = 3;
    double real = 1.5;
    bool flag = true;
    const json_t *inner = object;
    ck_ok(hone_json_opt_string(&text, object, "n", "x"));
    ck_ok(hone_json_opt_int(&number, object, "none", 0, 1, "x"));
    ck_ok(hone_json_opt_number(&real, object, "n", "x"));
    ck_ok(hone_json_opt_bool(&flag, object, "none", "x"));
    ck_ok(hone_json_opt_array(&inner, object, "n", "x"));
    ck_ok(hone_json_opt_object(&inner, object, "none", "x"));
    ck_assert_str_eq(text, "default");
    ck_assert_int_eq(number, 3);
    ck_assert_double_eq(real, 1.5);
    ck_assert(flag && inner == object);
    json_decref(object);
}
END_TEST

START_TEST(parse_integer_beyond_64_bits_becomes_real) {
    json_t *object =
        parse("{\"m\": 1000000000000000019884624838656, \"s\": \"99999999999999999999\", "
              "\"k\": -99999999999999999999, \"e\": \"\\\"1000000000000000000000\", "
              "\"i\": 9223372036854775807}");
    ck_assert_double_eq(json_real_value(json_object_get(object, "m")), 1e30);
    ck_assert_double_eq(json_real_value(json_object_get(object, "k")), -1e20);
    ck_assert_str_eq(json_string_value(json_object_get(object, "s")), "99999999999999999999");
    ck_assert_str_eq(json_string_value(json_object_get(object, "e")), "\"1000000000000000000000");
    json_decref(object);
}
END_TEST

START_TEST(parse_string_with_nul_keeps_it) {
    json_t *value = parse("[\"a\\u0000b\"]");
    ck_assert_uint_eq(json_string_length(json_array_get(value, 0)), 3);
    json_decref(value);
}
END_TEST

START_TEST(append_number_any_double_reads_back_the_same) {
    const double cases[] = {0.0,
                            -0.0,
                            1.0,
                            0.1,
                            1.0 / 3.0,
                            100.0,
                            1e15,
                            1e16,
                            1e-5,
                            3e-6,
                            DBL_MAX,
                            DBL_MIN,
                            5e-324,
                            -2.5,
                            0x1p-149,
                            6.02e23,
                            1e22,
                            1e23,
                            123456789.0,
                            0.05,
                            2e-4,
                            9.999999999999999e22,
                            4503599627370497.5};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hone_buf text = {0};
        ck_ok(hone_json_append_number(&text, cases[i]));
        double back = strtod(text.data, NULL);
        ck_assert_msg(memcmp(&back, &cases[i], sizeof back) == 0, "%s", text.data);
        json_t *value = parse(text.data);
        ck_assert_msg(json_is_real(value), "%s", text.data);
        json_decref(value);
        hone_buf_free(&text);
    }
}
END_TEST

START_TEST(append_number_common_values_are_short) {
    const struct {
        double value;
        const char *text;
    } cases[] = {
        {0.1, "0.1"},          {1e-3, "0.001"}, {100.0, "100.0"},           {2e-4, "0.0002"},
        {(double)NAN, "null"}, {-0.0, "-0.0"},  {(double)INFINITY, "null"}, {1e-7, "1e-07"},
        {10000, "10000.0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hone_buf text = {0};
        ck_ok(hone_json_append_number(&text, cases[i].value));
        ck_assert_str_eq(text.data, cases[i].text);
        hone_buf_free(&text);
    }
}
END_TEST

START_TEST(append_string_escapes_and_replaces_what_is_not_utf8) {
    const struct {
        const char *in;
        size_t length;
        const char *out;
    } cases[] = {
        {"a\"b\\c", 5, "\"a\\\"b\\\\c\""},
        {"\n\t\x01\x7f", 4, "\"\\n\\t\\u0001\\u007f\""},
        {"a\0b", 3, "\"a\\u0000b\""},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"\xff"
         "a\xc3",
         3,
         "\"\xef\xbf\xbd"
         "a\xef\xbf\xbd\""},
        {"\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xc0\x80", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hone_buf text = {0};
        ck_ok(hone_json_append_string(&text, cases[i].in, cases[i].length));
        ck_assert_str_eq(text.data, cases[i].out);
        json_t *value = parse(text.data);
        json_decref(value);
        hone_buf_free(&text);
    }
}
END_TEST

START_TEST(append_value_parsed_again_is_equal) {
    json_t *value = parse(
        "{\"b\": [1, 2.5, null, true, false, \"x\"], \"a\": {}, \"c\": [], \"d\": {\"e\": []}}");
    hone_buf text = {0};
    ck_ok(hone_json_append(&text, value, 0));
    ck_assert_str_eq(text.data, "{\"b\": [1, 2.5, null, true, false, \"x\"], \"a\": {}, \"c\": [], "
                                "\"d\": {\"e\": []}}");
    hone_buf_clear(&text);
    ck_ok(hone_json_append(&text, value, 2));
    json_t *again = parse(text.data);
    ck_assert(json_equal(value, again));
    ck_assert(strstr(text.data, "{\n  \"b\": [\n    1,\n") == text.data);
    json_decref(again);
    json_decref(value);
    hone_buf_free(&text);
}
END_TEST

START_TEST(save_then_load_is_equal) {
    const char *path = "test_json.tmp.json";
    json_t *value = parse("{\"lr\": 0.1, \"n\": [1, 2]}");
    json_t *again;
    ck_ok(hone_json_save(value, path));
    ck_ok(hone_json_load(&again, path));
    ck_assert(json_equal(value, again));
    json_decref(value);
    json_decref(again);
    unlink(path);
}
END_TEST

/* --- errors --- */

static const struct {
    const char *text;
    const char *message;
} malformed[] = {
    {"", "x.json: line 1: empty"},
    {"{\n \"a\": 1,\n \"b\" 2}", "x.json: line 3, column 6"},
    {"{\"a\": 1", "cut short"},
    {"{\"a\": 1, \"a\": 2}", "duplicate"},
    {"[1] x", "line 1, column 5"},
    {"\"\xff\"", "line 1"},
    {"[1e999]", "line 1"},
    {"{\"a\": 99999999999999999999, \n\"b\" }", "line 2"},
    {"nul", "line 1"},
};

START_TEST(parse_malformed_text_names_the_place) {
    json_t *value;
    const char *text = malformed[_i].text;
    ck_fails(hone_json_parse(&value, text, strlen(text), "x.json"), HONE_ERR_FORMAT,
             malformed[_i].message);
    ck_assert_ptr_null(value);
}
END_TEST

START_TEST(parse_deep_nesting_is_refused) {
    enum { DEPTH = 100000 };
    static char text[DEPTH];
    memset(text, '[', sizeof text);
    json_t *value;
    ck_fails(hone_json_parse(&value, text, sizeof text, "deep.json"), HONE_ERR_FORMAT, "deep.json");
}
END_TEST

START_TEST(get_wrong_members_name_file_and_key) {
    json_t *object = parse("{\"s\": \"t\", \"i\": 7, \"h\": 0.5, \"n\": null, \"big\": 1e300}");
    const char *text;
    int64_t number;
    double real;
    bool flag;
    const json_t *inner;
    ck_fails(hone_json_get_string(&text, object, "none", "c.json"), HONE_ERR_FORMAT,
             "c.json: \"none\" is missing");
    ck_fails(hone_json_get_string(&text, object, "n", "c.json"), HONE_ERR_FORMAT, "is missing");
    ck_fails(hone_json_get_string(&text, object, "i", "c.json"), HONE_ERR_FORMAT,
             "c.json: \"i\" is integer where a string is wanted");
    ck_fails(hone_json_get_int(&number, object, "i", 0, 6, "c.json"), HONE_ERR_FORMAT,
             "\"i\" is 7, outside 0 to 6");
    ck_fails(hone_json_get_int(&number, object, "h", 0, 6, "c.json"), HONE_ERR_FORMAT, "integer");
    ck_fails(hone_json_get_int(&number, object, "big", 0, 6, "c.json"), HONE_ERR_FORMAT, "integer");
    ck_fails(hone_json_get_int(&number, object, "s", 0, 6, "c.json"), HONE_ERR_FORMAT, "string");
    ck_fails(hone_json_get_number(&real, object, "s", "c.json"), HONE_ERR_FORMAT, "a number");
    ck_fails(hone_json_get_bool(&flag, object, "i", "c.json"), HONE_ERR_FORMAT, "true or false");
    ck_fails(hone_json_get_array(&inner, object, "i", "c.json"), HONE_ERR_FORMAT, "an array");
    ck_fails(hone_json_get_object(&inner, object, "i", "c.json"), HONE_ERR_FORMAT, "an object");
    ck_fails(hone_json_get_bool(&flag, json_object_get(object, "i"), "k", "c.json"),
             HONE_ERR_FORMAT, "an object with \"k\"");
    json_decref(object);
}
END_TEST

START_TEST(load_missing_file_names_it) {
    json_t *value;
    ck_fails(hone_json_load(&value, "no-such.json"), HONE_ERR_IO, "no-such.json");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("json");
    TCase *values = tcase_create("values");
    tcase_add_test(values, get_members_of_each_type_gives_values);
    tcase_add_test(values, opt_absent_or_null_keeps_default);
    tcase_add_test(values, parse_integer_beyond_64_bits_becomes_real);
    tcase_add_test(values, parse_string_with_nul_keeps_it);
    tcase_add_test(values, append_number_any_double_reads_back_the_same);
    tcase_add_test(values, append_number_common_values_are_short);
    tcase_add_test(values, append_string_escapes_and_replaces_what_is_not_utf8);
    tcase_add_test(values, append_value_parsed_again_is_equal);
    tcase_add_test(values, save_then_load_is_equal);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_loop_test(errors, parse_malformed_text_names_the_place, 0,
                        (int)(sizeof malformed / sizeof malformed[0]));
    tcase_add_test(errors, parse_deep_nesting_is_refused);
    tcase_add_test(errors, get_wrong_members_name_file_and_key);
    tcase_add_test(errors, load_missing_file_names_it);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
