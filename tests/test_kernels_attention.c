#include "tests/kernel_support.h"

/* Documents packed one after the other, the first token at `lead`. */
typedef struct attention_case {
    int64_t heads, kv_heads, head_size;
    int32_t lead;
    int32_t lengths[6]; /* until 0 */
    int64_t window;
    double softcap;
} attention_case;

static const attention_case cases[] = {
    {1, 1, 1, 0, {1}, 0, 0},
    {1, 1, 8, 0, {5, 1, 3}, 0, 0},
    {2, 1, 12, 3, {16, 17, 15}, 0, 0},
    {4, 2, 7, 0, {127, 128, 129, 1}, 0, 0},
    {8, 4, 8, 0, {130, 2, 31}, 0, 0},
    {3, 1, 80, 1, {100, 33}, 0, 0},
    {9, 3, 64, 0, {157, 70, 129}, 0, 0},
    {2, 2, 64, 0, {385}, 0, 0},
    {2, 2, 16, 2, {700, 5, 20}, 0, 0},
    {14, 2, 64, 0, {200}, 0, 0},
    {13, 1, 20, 0, {150, 3}, 0, 0},
    {5, 1, 128, 0, {97}, 0, 0},
    {1, 1, 13, 0, {1, 1, 2, 193, 192, 6}, 0, 0},
    {2, 1, 256, 0, {70, 1}, 0, 0},
    {1, 1, 96, 0, {131}, 0, 0},
    /* windows of one key, odd, beside vectors and tiles, as long as the document and longer */
    {2, 1, 12, 3, {16, 17, 15}, 1, 0},
    {1, 1, 8, 0, {5, 1, 33, 40}, 7, 0},
    {3, 1, 7, 0, {300, 17}, 15, 0},
    {3, 1, 7, 0, {300, 17}, 17, 0},
    {4, 2, 8, 0, {390, 127, 129}, 127, 0},
    {4, 2, 8, 0, {390, 128, 129}, 128, 0},
    {4, 2, 8, 0, {390, 2, 130}, 129, 0},
    {13, 1, 20, 0, {250, 3}, 31, 0},
    {1, 1, 16, 2, {700, 100}, 200, 0},
    {2, 2, 64, 0, {150, 20}, 150, 0},
    {2, 2, 64, 0, {150, 20}, 1000, 0},
    /* soft caps that matter, alone and with windows */
    {1, 1, 1, 0, {1}, 0, 2},
    {4, 2, 7, 0, {127, 129, 1}, 0, 2},
    {8, 4, 256, 0, {70, 31}, 0, 5},
    {2, 1, 80, 1, {160, 33}, 60, 50},
    {9, 3, 64, 0, {157, 70}, 33, 3},
};
enum { CASES = sizeof cases / sizeof cases[0] };

typedef struct problem {
    hone_segment segments[6];
    hone_attention_shape shape;
    int64_t tokens, longest, q_size, kv_size, lse_size;
    float *q, *k, *v, *do_, *o, *lse, *dq, *dk, *dv;
} problem;

static problem problem_new(attention_case c) {
    problem p = {.shape = {.heads = c.heads,
                           .kv_heads = c.kv_heads,
                           .head_size = c.head_size,
                           .scale = 1.0 / sqrt((double)c.head_size),
                           .window = c.window,
                           .softcap = c.softcap}};
    int32_t at = c.lead;
    for (int i = 0; i < 6 && c.lengths[i]; i++) {
        p.segments[i] = (hone_segment){at, c.lengths[i], at, c.lengths[i]};
        at += c.lengths[i];
        if (c.lengths[i] > p.longest) p.longest = c.lengths[i];
        p.shape.segments++;
    }
    p.tokens = at;
    p.q_size = at * c.heads * c.head_size;
    p.kv_size = at * c.kv_heads * c.head_size;
    p.lse_size = at * c.heads;
    p.q = floats_new(p.q_size, 1);
    p.k = floats_new(p.kv_size, 2);
    p.v = floats_new(p.kv_size, 3);
    p.do_ = floats_new(p.q_size, 4);
    for (int64_t i = 0; i < p.q_size; i++) p.q[i] *= 4.0f; /* so that softmax is not flat */
    p.o = floats_new(p.q_size, 5);
    p.lse = floats_new(p.lse_size, 6);
    p.dq = floats_new(p.q_size, 7);
    p.dk = floats_new(p.kv_size, 8);
    p.dv = floats_new(p.kv_size, 9);
    return p;
}

static void problem_free(problem *p) {
    float *all[] = {p->q, p->k, p->v, p->do_, p->o, p->lse, p->dq, p->dk, p->dv};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) hone_free(all[i]);
}

static hone_buffer workspace_for(const hone_kernels *table, const problem *p, bool backward) {
    return workspace_new(table->attention_workspace(p->shape, p->longest, p->longest, backward));
}

static void run(const hone_kernels *table, problem *p) {
    hone_buffer workspace = workspace_for(table, p, false);
    table->attention_fwd(p->o, p->lse, p->q, p->k, p->v, p->segments, p->shape, workspace.base);
    hone_buffer_free(&workspace);
    workspace = workspace_for(table, p, true);
    table->attention_bwd(p->dq, p->dk, p->dv, p->do_, p->q, p->k, p->v, p->o, p->lse, p->segments,
                         p->shape, workspace.base);
    hone_buffer_free(&workspace);
}

static void compare(attention_case c, const hone_kernels *table) {
    problem expected = problem_new(c);
    problem found = problem_new(c);
    run(hone_kernels_ref(), &expected);
    run(table, &found);
    expect_close(found.o, expected.o, found.q_size, 1e-5, 1.0, "o");
    expect_close(found.lse, expected.lse, found.lse_size, 1e-5, 1.0, "lse");
    expect_close(found.dq, expected.dq, found.q_size, 4e-5, 1.0, "dq");
    expect_close(found.dk, expected.dk, found.kv_size, 4e-5, 1.0, "dk");
    expect_close(found.dv, expected.dv, found.kv_size, 4e-5, 1.0, "dv");
    problem_free(&found);
    problem_free(&expected);
}

START_TEST(attention_every_level_matches_reference) {
    for (int level = 0; level < LEVELS; level++) {
        const hone_kernels *table = f32_level_table(level);
        if (table) compare(cases[_i], table);
    }
}
END_TEST

/* One document on many threads is cut into parts; each number of threads has to give the same but for rounding. */
START_TEST(attention_bwd_many_threads_matches_reference) {
    const hone_kernels *table;
    ck_ok(hone_kernels_cpu(&table));
    hone_threads_set(_i);
    static const attention_case long_ones[] = {
        {3, 1, 16, 0, {400}, 0, 0},      {2, 1, 8, 0, {3, 500, 40, 20}, 0, 0},
        {1, 1, 8, 0, {900}, 1, 0},       {1, 1, 8, 0, {900}, 100, 0},
        {2, 1, 8, 0, {700, 30}, 400, 0}, {1, 1, 8, 0, {650}, 640, 4},
    };
    for (size_t i = 0; i < sizeof long_ones / sizeof long_ones[0]; i++)
        compare(long_ones[i], table);
    hone_threads_set(0);
}
END_TEST

START_TEST(attention_bwd_run_twice_gives_same_bits) {
    const hone_kernels *table;
    ck_ok(hone_kernels_cpu(&table));
    attention_case c = {9, 3, 64, 0, {300, 40}, 0, 0};
    problem first = problem_new(c);
    problem second = problem_new(c);
    run(table, &first);
    run(table, &second);
    ck_assert_mem_eq(first.o, second.o, (size_t)first.q_size * 4);
    ck_assert_mem_eq(first.dq, second.dq, (size_t)first.q_size * 4);
    ck_assert_mem_eq(first.dk, second.dk, (size_t)first.kv_size * 4);
    ck_assert_mem_eq(first.dv, second.dv, (size_t)first.kv_size * 4);
    problem_free(&first);
    problem_free(&second);
}
END_TEST

/* New queries against a cache of keys: the last rows of the whole. */
static void check_cache(const hone_kernels *table, attention_case c, int32_t fresh) {
    problem p = problem_new(c);
    hone_buffer workspace = workspace_for(table, &p, false);
    hone_buffer workspace_ref = workspace_for(hone_kernels_ref(), &p, false);
    hone_kernels_ref()->attention_fwd(p.o, NULL, p.q, p.k, p.v, p.segments, p.shape,
                                      workspace_ref.base);
    int64_t start = (c.lengths[0] - fresh) * p.shape.heads * p.shape.head_size;
    hone_segment last = {0, fresh, 0, c.lengths[0]};
    table->attention_fwd(p.dq, NULL, p.q + start, p.k, p.v, &last, p.shape, workspace.base);
    expect_close(p.dq, p.o + start, p.q_size - start, 1e-5, 1.0, "o");
    hone_buffer_free(&workspace);
    hone_buffer_free(&workspace_ref);
    problem_free(&p);
}

START_TEST(attention_fwd_cache_gives_last_rows) {
    static const int32_t fresh[] = {1, 2, 7};
    static const int64_t windows[] = {0, 1, 20, 127, 128, 150};
    for (int level = 0; level < LEVELS; level++) {
        const hone_kernels *table = f32_level_table(level);
        attention_case c = {6, 2, 20, 0, {150}, windows[_i / 3], _i % 2 ? 3.0 : 0.0};
        if (table) check_cache(table, c, fresh[_i % 3]);
    }
}
END_TEST

START_TEST(attention_fwd_nan_key_reaches_its_window_only) {
    for (int level = 0; level < LEVELS; level++) {
        const hone_kernels *table = f32_level_table(level);
        if (!table) continue;
        problem p = problem_new((attention_case){2, 1, 8, 0, {190}, 30, 0});
        p.k[40 * 8] = NAN;
        hone_buffer workspace = workspace_for(table, &p, false);
        table->attention_fwd(p.o, p.lse, p.q, p.k, p.v, p.segments, p.shape, workspace.base);
        for (int64_t i = 0; i < 190; i++) {
            bool seen = i >= 40 && i < 70;
            ck_assert_int_eq(isnan(p.o[i * 16]) != 0, seen);
            ck_assert_int_eq(isnan(p.lse[i * 2 + 1]) != 0, seen);
        }
        hone_buffer_free(&workspace);
        problem_free(&p);
    }
}
END_TEST

START_TEST(attention_fwd_nan_key_reaches_later_queries_only) {
    for (int level = 0; level < LEVELS; level++) {
        const hone_kernels *table = f32_level_table(level);
        if (!table) continue;
        problem p = problem_new((attention_case){2, 1, 8, 0, {90}, 0, 0});
        p.k[40 * 8] = NAN;
        hone_buffer workspace = workspace_for(table, &p, false);
        table->attention_fwd(p.o, p.lse, p.q, p.k, p.v, p.segments, p.shape, workspace.base);
        for (int64_t i = 0; i < 90; i++) ck_assert_int_eq(isnan(p.o[i * 16]) != 0, i >= 40);
        for (int64_t i = 0; i < 90; i++) ck_assert_int_eq(isnan(p.lse[i * 2 + 1]) != 0, i >= 40);
        hone_buffer_free(&workspace);
        problem_free(&p);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("attention");
    TCase *backends = tcase_create("backends");
    tcase_set_timeout(backends, 60);
    tcase_add_loop_test(backends, attention_every_level_matches_reference, 0, CASES);
    tcase_add_loop_test(backends, attention_bwd_many_threads_matches_reference, 1, 6);
    tcase_add_test(backends, attention_bwd_run_twice_gives_same_bits);
    tcase_add_loop_test(backends, attention_fwd_cache_gives_last_rows, 0, 18);
    tcase_add_test(backends, attention_fwd_nan_key_reaches_its_window_only);
    tcase_add_test(backends, attention_fwd_nan_key_reaches_later_queries_only);
    suite_add_tcase(suite, backends);
    return hone_test_run(suite);
}
