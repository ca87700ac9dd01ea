#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/distance.h"
#include "base/dtype.h"
#include "base/file.h"
#include "base/machine.h"
#include "base/parallel.h"
#include "base/philox.h"
#include "base/sha256.h"
#include "base/size.h"
#include "tests/support.h"

/* The value of a finite half, by the definition of the format. */
static double half_value(uint32_t half) {
    double sign = half & 0x8000u ? -1.0 : 1.0;
    int exponent = (int)((half >> 10) & 31u);
    int mantissa = (int)(half & 1023u);
    return sign * (exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24));
}

START_TEST(f16_to_f32_all_halves_give_their_value) {
    for (uint32_t half = 0; half < 65536; half++) {
        float found = hone_f16_to_f32((uint16_t)half);
        bool special = (half & 0x7c00u) == 0x7c00u;
        if (!special)
            ck_assert((double)found == half_value(half));
        else if (half & 0x3ffu)
            ck_assert(isnan(found));
        else
            ck_assert(isinf(found));
        ck_assert_int_eq(signbit(found) != 0, half >= 0x8000u);
    }
}
END_TEST

START_TEST(f16_from_f32_all_halves_come_back) {
    for (uint32_t half = 0; half < 65536; half++) {
        float value = hone_f16_to_f32((uint16_t)half);
        uint16_t back = hone_f16_from_f32(value);
        if (isnan(value))
            ck_assert(isnan(hone_f16_to_f32(back)));
        else
            ck_assert_uint_eq(back, half);
    }
}
END_TEST

/* Between each two neighbours: what lies below the middle goes down, above it up, the middle to the even one. */
START_TEST(f16_from_f32_between_halves_rounds_to_nearest_even) {
    for (uint32_t half = 0; half < 0x7c00u; half++) {
        double above = half == 0x7bffu ? 65536.0 : half_value(half + 1);
        float middle = (float)((half_value(half) + above) / 2);
        uint32_t even = half % 2 ? half + 1 : half;
        ck_assert_uint_eq(hone_f16_from_f32(middle), even);
        ck_assert_uint_eq(hone_f16_from_f32(-middle), even | 0x8000u);
        ck_assert_uint_eq(hone_f16_from_f32(nextafterf(middle, 0.0f)), half);
        ck_assert_uint_eq(hone_f16_from_f32(nextafterf(middle, INFINITY)), half + 1);
    }
    ck_assert_uint_eq(hone_f16_from_f32(1e30f), 0x7c00u);
}
END_TEST

START_TEST(bf16_all_patterns_come_back_and_round_to_even) {
    for (uint32_t half = 0; half < 65536; half++) {
        float value = hone_bf16_to_f32((uint16_t)half);
        ck_assert_uint_eq(hone_f32_to_bits(value), half << 16);
        uint16_t back = hone_bf16_from_f32(value);
        if (isnan(value)) {
            ck_assert(isnan(hone_bf16_to_f32(back)));
            continue;
        }
        ck_assert_uint_eq(back, half);
        if (isinf(value)) continue;
        uint32_t bits = half << 16;
        uint32_t up = half + 1;
        ck_assert_uint_eq(hone_bf16_from_f32(hone_f32_from_bits(bits | 0x7fffu)), half);
        ck_assert_uint_eq(hone_bf16_from_f32(hone_f32_from_bits(bits | 0x8001u)), up);
        ck_assert_uint_eq(hone_bf16_from_f32(hone_f32_from_bits(bits | 0x8000u)),
                          half % 2 ? up : half);
    }
    /* A NaN whose payload lies in the low bits only must not become infinity. */
    ck_assert(isnan(hone_bf16_to_f32(hone_bf16_from_f32(hone_f32_from_bits(0x7f800001u)))));
}
END_TEST

START_TEST(whole_lines_are_of_64_bytes) {
    static const size_t bytes[] = {0, 1, 63, 64, 65}, lines[] = {0, 1, 1, 1, 2};
    for (int i = 0; i < 5; i++) ck_assert_uint_eq(hone_whole_lines(bytes[i]), 64 * lines[i]);
}
END_TEST

START_TEST(dtype_names_and_sizes_agree) {
    hone_dtype type;
    ck_assert(hone_dtype_parse(&type, "Q8_0"));
    ck_assert_int_eq(type, HONE_Q8_0);
    ck_assert_str_eq(hone_dtype_name(type), "q8_0");
    ck_assert_uint_eq(hone_dtype_row_bytes(HONE_Q8_0, 64), 68);
    ck_assert_uint_eq(hone_dtype_row_bytes(HONE_BF16, 3), 6);
    ck_assert(!hone_dtype_parse(&type, "q9"));
    ck_assert_ptr_null(hone_dtype_describe(9999));
    ck_assert_str_eq(hone_dtype_name((hone_dtype)9999), "unknown");
}
END_TEST

START_TEST(edit_distance_swap_counts_one) {
    ck_assert_uint_eq(hone_edit_distance("rank", "rank"), 0);
    ck_assert_uint_eq(hone_edit_distance("rnak", "rank"), 1);
    ck_assert_uint_eq(hone_edit_distance("", "rank"), 4);
    ck_assert_uint_eq(hone_edit_distance("kitten", "sitting"), 3);
    ck_assert(hone_edit_is_near("rank", 1));
    ck_assert(!hone_edit_is_near("rank", 3));
}
END_TEST

static void expect_words(uint64_t key, const uint32_t c[4], const uint32_t expected[4]) {
    hone_philox found = hone_philox_draw(key, c[0], c[1], c[2], c[3]);
    for (int i = 0; i < 4; i++) ck_assert_uint_eq(found.word[i], expected[i]);
}

/* The known answers of the Random123 distribution (kat_vectors, philox4x32 with 10 rounds). */
START_TEST(philox_known_counters_give_known_words) {
    expect_words(0, (uint32_t[]){0, 0, 0, 0},
                 (uint32_t[]){0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    expect_words(UINT64_MAX, (uint32_t[]){UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX},
                 (uint32_t[]){0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    expect_words(0x299f31d0a4093822u, (uint32_t[]){0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                 (uint32_t[]){0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
    ck_assert(hone_uniform(0) == 0.0f);
    ck_assert(hone_uniform(UINT32_MAX) < 1.0f);
}
END_TEST

START_TEST(bytes_read_past_end_fails_and_stays) {
    const unsigned char data[] = {1, 0, 0, 0, 2, 0};
    hone_bytes in = {data, sizeof data, 0, "model.gguf"};
    uint32_t number;
    ck_ok(hone_bytes_read(&number, &in, sizeof number, "a count"));
    ck_assert_uint_eq(number, 1);
    ck_fails(hone_bytes_read(&number, &in, sizeof number, "a length"), HONE_ERR_FORMAT,
             "model.gguf: byte 4: a length needs 4 bytes but 2 remain");
    ck_assert_uint_eq(in.at, 4);
    const void *rest;
    ck_fails(hone_bytes_take(&rest, &in, UINT64_MAX, "a text"), HONE_ERR_FORMAT, "a text");
    ck_ok(hone_bytes_take(&rest, &in, 2, "the rest"));
    ck_assert_ptr_eq(rest, data + 4);
    ck_ok(hone_bytes_take(&rest, &in, 0, "nothing"));
}
END_TEST

START_TEST(buf_appends_grow_and_end_in_zero) {
    hone_buf buf = {0};
    ck_ok(hone_buf_puts(&buf, ""));
    ck_assert_str_eq(buf.data, "");
    for (int i = 0; i < 1000; i++) ck_ok(hone_buf_printf(&buf, "%d,", i));
    ck_assert_uint_eq(buf.length, strlen(buf.data));
    ck_assert_str_eq(buf.data + buf.length - 8, "998,999,");
    hone_buf_clear(&buf);
    ck_ok(hone_buf_append(&buf, "a\0b", 3));
    ck_assert_uint_eq(buf.length, 3);
    ck_assert_mem_eq(buf.data, "a\0b", 4);
    hone_buf_free(&buf);
    ck_assert_ptr_null(buf.data);
    hone_buf_free(NULL);
}
END_TEST

START_TEST(buf_append_without_memory_keeps_content) {
    hone_buf buf = {0};
    ck_ok(hone_buf_puts(&buf, "kept"));
    char large[4096] = {0};
    hone_alloc_fail_at(1);
    ck_fails(hone_buf_append(&buf, large, sizeof large), HONE_ERR_MEMORY, "out of memory");
    hone_alloc_fail_at(0);
    ck_assert_str_eq(buf.data, "kept");
    hone_buf_free(&buf);
}
END_TEST

START_TEST(alloc_nth_failure_hits_the_nth) {
    hone_alloc_fail_at(2);
    void *first = hone_alloc(1, 1);
    void *second = hone_alloc(1, 1);
    void *third = hone_alloc(1, 1);
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_null(second);
    ck_assert_ptr_nonnull(third);
    hone_free(first);
    hone_free(third);
}
END_TEST

START_TEST(alloc_overflowing_product_fails) {
    ck_assert_ptr_null(hone_alloc(SIZE_MAX / 2, 3));
    void *block = hone_alloc(0, 0);
    ck_assert_ptr_nonnull(block);
    ck_assert_ptr_null(hone_realloc(block, SIZE_MAX / 2, 3));
    hone_free(block);
    hone_free(NULL);
}
END_TEST

START_TEST(status_context_stands_before_message) {
    hone_status status = hone_fail(HONE_ERR_DATA, "row %d", 7);
    ck_assert_int_eq(hone_fail_context(status, "%s", "faq.jsonl"), HONE_ERR_DATA);
    ck_assert_str_eq(hone_fail_message(), "faq.jsonl: row 7");
}
END_TEST

typedef struct visits {
    int seen[1000];
    int nested;
} visits;

static void visit(void *context, int64_t begin, int64_t end, int thread) {
    visits *v = context;
    ck_assert_int_ge(thread, 0);
    ck_assert_int_lt(thread, hone_threads());
    for (int64_t i = begin; i < end; i++) __atomic_add_fetch(&v->seen[i], 1, __ATOMIC_RELAXED);
}

static void visit_nested(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    for (int64_t i = begin; i < end; i++) hone_parallel_for(100, 1, visit, context);
}

static void expect_visits(const visits *v, int64_t n, int times) {
    for (int64_t i = 0; i < 1000; i++) ck_assert_int_eq(v->seen[i], i < n ? times : 0);
}

START_TEST(looking_at_the_machine_leaves_the_threads) {
    hone_machine machine;
    hone_threads_set(3);
    ck_assert_int_eq(hone_machine_look(&machine), HONE_OK);
    ck_assert_int_eq(hone_threads(), 3);
    ck_assert_int_eq(machine.cores, hone_cores());
    ck_assert_int_gt(machine.available, 0);
    ck_assert_int_le(machine.available, machine.memory);
}
END_TEST

START_TEST(parallel_loops_visit_each_item_once) {
    for (int threads = 1; threads <= 4; threads++) {
        hone_threads_set(threads);
        ck_assert_int_eq(hone_threads(), threads);
        for (int64_t n = 0; n <= 1000; n += 37) {
            visits whole = {0};
            visits each = {0};
            hone_parallel_for(n, 1 + n % 11, visit, &whole);
            hone_parallel_each(n, visit, &each);
            expect_visits(&whole, n, 1);
            expect_visits(&each, n, 1);
        }
        visits nested = {0};
        hone_parallel_for(10, 1, visit_nested, &nested);
        expect_visits(&nested, 100, 10);
    }
}
END_TEST

static char folder[] = "/tmp/hone-base-XXXXXX";
static char path[64];
static char partial[80];

static void folder_make(void) {
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(partial, sizeof partial, "%s.partial", path);
}

static void folder_remove(void) {
    unlink(path);
    unlink(partial);
    rmdir(folder);
}

static void expect_content(const char *text) {
    hone_buf buf = {0};
    ck_ok(hone_file_get(&buf, path));
    ck_assert_str_eq(buf.data, text);
    hone_buf_free(&buf);
}

START_TEST(file_commit_replaces_whole_file) {
    ck_ok(hone_file_put(path, "old", 3));
    struct stat info;
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_uint_eq(info.st_mode & 0777u, 0600);
    hone_file file;
    ck_ok(hone_file_create(&file, path));
    ck_ok(hone_file_write(&file, "new text", 8));
    expect_content("old"); /* until the commit */
    ck_ok(hone_file_commit(&file));
    expect_content("new text");
    ck_assert(!hone_path_exists(partial));
}
END_TEST

START_TEST(file_abandon_leaves_old_file) {
    ck_ok(hone_file_put(path, "old", 3));
    hone_file file;
    ck_ok(hone_file_create(&file, path));
    ck_ok(hone_file_write(&file, "half", 4));
    hone_file_abandon(&file);
    hone_file_abandon(&file);
    expect_content("old");
    ck_assert(!hone_path_exists(partial));
}
END_TEST

START_TEST(file_create_after_crash_starts_afresh) {
    FILE *left = fopen(partial, "w");
    ck_assert_ptr_nonnull(left);
    fputs("what a crash left, longer than the new text", left);
    fclose(left);
    ck_ok(hone_file_put(path, "new", 3));
    expect_content("new");
}
END_TEST

START_TEST(file_write_full_disk_is_io_error) {
    if (access("/dev/full", W_OK) != 0) return;
    ck_assert_int_eq(symlink("/dev/full", partial), 0);
    char block[1 << 16] = {0};
    ck_fails(hone_file_put(path, block, sizeof block), HONE_ERR_IO, "is the disk full?");
    ck_assert(!hone_path_exists(path));
}
END_TEST

START_TEST(map_open_reads_bytes_and_names_failures) {
    ck_ok(hone_file_put(path, "abc", 3));
    hone_map map;
    ck_ok(hone_map_open(&map, path));
    ck_assert_uint_eq(map.length, 3);
    ck_assert_mem_eq(map.data, "abc", 3);
    hone_map_close(&map);
    hone_map_close(&map);
    ck_ok(hone_file_put(path, "", 0));
    ck_ok(hone_map_open(&map, path));
    ck_assert_uint_eq(map.length, 0);
    hone_map_close(&map);
    ck_fails(hone_map_open(&map, folder), HONE_ERR_IO, "not a regular file");
    ck_fails(hone_map_open(&map, partial), HONE_ERR_IO, partial);
}
END_TEST

START_TEST(sha256_known_text_gives_known_digest) {
    const char *digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    char found[HONE_SHA256_TEXT];
    hone_sha256_bytes(found, "abc", 3); /* FIPS 180-2, appendix B.1 */
    ck_assert_str_eq(found, digest);
    ck_ok(hone_file_put(path, "abc", 3));
    ck_ok(hone_sha256_file(found, path));
    ck_assert_str_eq(found, digest);
}
END_TEST

START_TEST(sha256_file_stops_when_nobody_waits_for_it) {
    char found[HONE_SHA256_TEXT];
    atomic_bool stop = false;
    ck_ok(hone_file_put(path, "abc", 3));
    ck_ok(hone_sha256_file_until(found, path, &stop));
    atomic_store(&stop, true);
    ck_fails(hone_sha256_file_until(found, path, &stop), HONE_ERR_INTERRUPTED, path);
}
END_TEST

START_TEST(dir_make_parent_makes_all_but_the_last) {
    char top[80], below[96];
    snprintf(top, sizeof top, "%s/a", folder);
    snprintf(below, sizeof below, "%s/b/c.bin", top);
    ck_ok(hone_dir_make_parent(below));
    ck_assert(!hone_path_exists(below));
    ck_ok(hone_file_put(below, "x", 1));
    ck_ok(hone_dir_make_parent("c.bin"));
    ck_ok(hone_dir_make_parent("/c.bin"));
    hone_dir_remove(top);
    ck_assert(!hone_path_exists(top));
}
END_TEST

START_TEST(dir_make_existing_is_fine_and_file_is_not) {
    ck_ok(hone_dir_make(folder));
    ck_ok(hone_file_put(path, "", 0));
    ck_fails(hone_dir_make(path), HONE_ERR_IO, "cannot make the folder");
    char *joined = hone_path_join(folder, "file");
    ck_assert_str_eq(joined, path);
    hone_free(joined);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("base");
    TCase *values = tcase_create("values");
    tcase_add_test(values, f16_to_f32_all_halves_give_their_value);
    tcase_add_test(values, f16_from_f32_all_halves_come_back);
    tcase_add_test(values, f16_from_f32_between_halves_rounds_to_nearest_even);
    tcase_add_test(values, bf16_all_patterns_come_back_and_round_to_even);
    tcase_add_test(values, whole_lines_are_of_64_bytes);
    tcase_add_test(values, dtype_names_and_sizes_agree);
    tcase_add_test(values, edit_distance_swap_counts_one);
    tcase_add_test(values, philox_known_counters_give_known_words);
    tcase_add_test(values, buf_appends_grow_and_end_in_zero);
    tcase_add_test(values, status_context_stands_before_message);
    tcase_add_test(values, parallel_loops_visit_each_item_once);
    tcase_add_test(values, looking_at_the_machine_leaves_the_threads);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, bytes_read_past_end_fails_and_stays);
    tcase_add_test(errors, buf_append_without_memory_keeps_content);
    tcase_add_test(errors, alloc_nth_failure_hits_the_nth);
    tcase_add_test(errors, alloc_overflowing_product_fails);
    suite_add_tcase(suite, errors);
    TCase *files = tcase_create("files");
    tcase_add_checked_fixture(files, folder_make, folder_remove);
    tcase_add_test(files, file_commit_replaces_whole_file);
    tcase_add_test(files, file_abandon_leaves_old_file);
    tcase_add_test(files, file_create_after_crash_starts_afresh);
    tcase_add_test(files, file_write_full_disk_is_io_error);
    tcase_add_test(files, map_open_reads_bytes_and_names_failures);
    tcase_add_test(files, sha256_known_text_gives_known_digest);
    tcase_add_test(files, sha256_file_stops_when_nobody_waits_for_it);
    tcase_add_test(files, dir_make_parent_makes_all_but_the_last);
    tcase_add_test(files, dir_make_existing_is_fine_and_file_is_not);
    suite_add_tcase(suite, files);
    return hone_test_run(suite);
}
