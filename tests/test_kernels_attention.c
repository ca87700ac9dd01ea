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
    p.shape.tokens = at;
    p.shape.longest = p.longest;
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

/* Emulated kernels take several times as long with the sanitizers: there they have every second case. */
#ifdef __SANITIZE_ADDRESS__
enum { EMULATED_STEP = 2 };
#else
enum { EMULATED_STEP = 1 };
#endif

START_TEST(attention_every_level_matches_reference) {
    int levels = _i % EMULATED_STEP == 0 ? LEVELS : CPU_LEVELS;
    for (int level = 0; level < levels; level++) {
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

/* Key 40 of a document is seen by the queries from there to before `end`. */
static void check_nan(const hone_kernels *table, hone_attention_kind kind, int32_t length,
                      int64_t window, int64_t end) {
    problem p = problem_new((attention_case){2, 1, 8, 0, {length}, window, 0});
    p.shape.kind = kind;
    p.k[40 * 8] = NAN;
    hone_buffer workspace = workspace_for(table, &p, false);
    table->attention_fwd(p.o, p.lse, p.q, p.k, p.v, p.segments, p.shape, workspace.base);
    for (int64_t i = 0; i < length; i++) {
        bool seen = i >= 40 && i < end;
        ck_assert_int_eq(isnan(p.o[i * 16]) != 0, seen);
        ck_assert_int_eq(isnan(p.lse[i * 2 + 1]) != 0, seen);
    }
    hone_buffer_free(&workspace);
    problem_free(&p);
}

START_TEST(attention_fwd_nan_key_reaches_its_window_only) {
    for (int level = 0; level < LEVELS; level++) {
        const hone_kernels *table = f32_level_table(level);
        if (!table) continue;
        check_nan(table, HONE_ATTENTION_EXACT, 190, 30, 70);
        check_nan(table, HONE_ATTENTION_OWN, 190, 30, 70);
    }
}
END_TEST

START_TEST(attention_fwd_nan_key_reaches_later_queries_only) {
    for (int level = 0; level < LEVELS; level++) {
        const hone_kernels *table = f32_level_table(level);
        if (!table) continue;
        check_nan(table, HONE_ATTENTION_EXACT, 90, 0, 90);
        check_nan(table, HONE_ATTENTION_OWN, 90, 0, 90);
    }
}
END_TEST

#ifdef HONE_EMULATED_CUDA
/* --- With operands rounded to bf16 --- */

/* Of o, dq, dk and dv the sums of what their terms are in size: what a product errs by, in parts of it. */
typedef struct sizes {
    float *o, *dq, *dk, *dv;
} sizes;

static void round_to_bf16(float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] = hone_bf16_to_f32(hone_bf16_from_f32(x[i]));
}

static double dot(const float *a, const float *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

static void add_size(float *sum, double weight, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) sum[i] += (float)(fabs(weight) * fabs((double)x[i]));
}

/* What a query, `at` as a row of its head, and a key add. */
static void add_pair(sizes *out, const problem *p, int64_t query, int64_t kv, double lse) {
    int64_t n = p->shape.head_size;
    const float *q = p->q + query * n, *k = p->k + kv * n, *v = p->v + kv * n;
    const float *grad = p->do_ + query * n;
    double cap = p->shape.softcap, score = p->shape.scale * dot(q, k, n), slope = 1;
    if (cap > 0) {
        score = cap * tanh(score / cap);
        slope = 1 - score / cap * (score / cap);
    }
    double weight = exp(score - lse);
    double ds = weight * (dot(grad, v, n) - dot(grad, p->o + query * n, n)) * slope;
    add_size(out->o + query * n, weight, v, n);
    add_size(out->dv + kv * n, weight, grad, n);
    add_size(out->dq + query * n, ds * p->shape.scale, k, n);
    add_size(out->dk + kv * n, ds * p->shape.scale, q, n);
}

/* Of a problem that was computed. */
static sizes sizes_new(const problem *p) {
    int64_t q_size = p->q_size, kv_size = p->kv_size, heads = p->shape.heads;
    sizes out = {hone_alloc((size_t)q_size, 4), hone_alloc((size_t)q_size, 4),
                 hone_alloc((size_t)kv_size, 4), hone_alloc((size_t)kv_size, 4)};
    for (int64_t s = 0; s < p->shape.segments; s++) {
        hone_segment run = p->segments[s];
        for (int64_t i = 0; i < run.q_len; i++) {
            int64_t window = p->shape.window;
            for (int64_t j = window > 0 && i >= window ? i - window + 1 : 0; j <= i; j++) {
                for (int64_t h = 0; h < heads; h++) {
                    int64_t query = (run.q_begin + i) * heads + h;
                    int64_t kv = (run.k_begin + j) * p->shape.kv_heads;
                    kv += h / (heads / p->shape.kv_heads);
                    add_pair(&out, p, query, kv, (double)p->lse[query]);
                }
            }
        }
    }
    return out;
}

static void sizes_free(sizes *s) {
    float *all[] = {s->o, s->dq, s->dk, s->dv};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) hone_free(all[i]);
}

/* Operands are held exactly, so that only weights and their gradients are rounded, each by at most 2^-8 of itself. */
static void expect_rounded(const float *found, const float *expected, const float *size, int64_t n,
                           const char *what) {
    for (int64_t i = 0; i < n; i++) {
        double apart = fabs((double)found[i] - (double)expected[i]);
        double room = 1.02 / 256 * (double)size[i] + 2e-5;
        ck_each(apart <= room, "%s: element %lld of %lld: %.9g, expected %.9g within %.3g", what,
                (long long)i, (long long)n, (double)found[i], (double)expected[i], room);
    }
}

static problem rounded_problem(attention_case c) {
    problem p = problem_new(c);
    round_to_bf16(p.q, p.q_size);
    round_to_bf16(p.k, p.kv_size);
    round_to_bf16(p.v, p.kv_size);
    round_to_bf16(p.do_, p.q_size);
    return p;
}

/* Backward is given what the reference's forward found. */
static void run_own(const hone_kernels *table, problem *p, const problem *of) {
    p->shape.kind = HONE_ATTENTION_OWN;
    ck_assert_ptr_null(table->attention_lacks(HONE_ATTENTION_OWN, p->shape));
    hone_buffer workspace = workspace_for(table, p, true);
    table->attention_fwd(p->o, p->lse, p->q, p->k, p->v, p->segments, p->shape, NULL);
    table->attention_bwd(p->dq, p->dk, p->dv, p->do_, p->q, p->k, p->v, of->o, of->lse, p->segments,
                         p->shape, workspace.base);
    hone_buffer_free(&workspace);
}

/* More that are beside its tiles: sizes of heads up to each that it has, and lengths about 32 and 64. */
static const attention_case own_cases[] = {{1, 1, 16, 0, {63, 64, 65, 1}, 0, 0},
                                           {1, 1, 31, 0, {31, 32, 33}, 0, 0},
                                           {3, 1, 48, 1, {129, 1}, 20, 0},
                                           {2, 1, 112, 0, {65}, 64, 0},
                                           {4, 2, 128, 3, {63, 64, 65}, 32, 30},
                                           {2, 1, 130, 0, {65, 33}, 0, 0},
                                           {4, 2, 192, 0, {31, 32, 33}, 0, 0},
                                           {1, 1, 176, 0, {64, 97}, 31, 4},
                                           {2, 1, 255, 0, {34}, 0, 0},
                                           {2, 2, 256, 0, {32, 33, 63}, 33, 0},
                                           {1, 1, 8, 0, {2, 3, 1, 1, 1, 2}, 2, 0}};
enum { OWN_CASES = sizeof own_cases / sizeof own_cases[0] };

static void compare_own(const hone_kernels *table, attention_case c) {
    problem expected = rounded_problem(c), found = rounded_problem(c);
    run(hone_kernels_ref(), &expected);
    run_own(table, &found, &expected);
    sizes of = sizes_new(&expected);
    expect_rounded(found.o, expected.o, of.o, found.q_size, "o");
    expect_close(found.lse, expected.lse, found.lse_size, 1e-5, 1.0, "lse");
    expect_rounded(found.dq, expected.dq, of.dq, found.q_size, "dq");
    expect_rounded(found.dk, expected.dk, of.dk, found.kv_size, "dk");
    expect_rounded(found.dv, expected.dv, of.dv, found.kv_size, "dv");
    sizes_free(&of);
    problem_free(&found);
    problem_free(&expected);
}

START_TEST(attention_own_matches_reference) {
    const hone_kernels *table = level_table(CPU_LEVELS);
    if (table && _i % EMULATED_STEP == 0)
        compare_own(table, _i < CASES ? cases[_i] : own_cases[_i - CASES]);
}
END_TEST

static void expect_same(const float *a, const float *b, int64_t n) {
    ck_assert_mem_eq(a, b, (size_t)n * sizeof *a);
}

/* The order of threads is another one each time. Operands are rounded to nearest: rounded before, they are the same. */
START_TEST(attention_own_gives_same_bits_in_any_order_of_threads) {
    const hone_kernels *table = level_table(CPU_LEVELS);
    if (!table) return;
    attention_case c = {6, 2, 40, 0, {100, 40}, 50, 5};
    problem first = problem_new(c), second = problem_new(c), rounded = rounded_problem(c);
    run_own(table, &first, &first);
    run_own(table, &second, &second);
    run_own(table, &rounded, &rounded);
    expect_same(first.o, second.o, first.q_size);
    expect_same(first.o, rounded.o, first.q_size);
    expect_same(first.lse, rounded.lse, first.lse_size);
    expect_same(first.dq, second.dq, first.q_size);
    expect_same(first.dk, second.dk, first.kv_size);
    expect_same(first.dv, second.dv, first.kv_size);
    problem_free(&first);
    problem_free(&second);
    problem_free(&rounded);
}
END_TEST

START_TEST(attention_own_fwd_cache_gives_last_rows) {
    static const int32_t fresh[] = {1, 2, 70};
    static const int64_t windows[] = {0, 20, 129};
    const hone_kernels *table = level_table(CPU_LEVELS);
    if (!table) return;
    attention_case c = {6, 2, 20, 0, {150}, windows[_i / 3], _i % 2 ? 3.0 : 0.0};
    problem p = rounded_problem(c);
    run(hone_kernels_ref(), &p);
    sizes of = sizes_new(&p);
    int64_t start = (c.lengths[0] - fresh[_i % 3]) * p.shape.heads * p.shape.head_size;
    hone_segment last = {0, fresh[_i % 3], 0, c.lengths[0]};
    p.shape.kind = HONE_ATTENTION_OWN;
    p.shape.tokens = p.shape.longest = 0;
    table->attention_fwd(p.dq, NULL, p.q + start, p.k, p.v, &last, p.shape, NULL);
    expect_rounded(p.dq, p.o + start, of.o + start, p.q_size - start, "o");
    sizes_free(&of);
    problem_free(&p);
}
END_TEST
#endif

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
#ifdef HONE_EMULATED_CUDA
    tcase_add_loop_test(backends, attention_own_matches_reference, 0, CASES + OWN_CASES);
    tcase_add_test(backends, attention_own_gives_same_bits_in_any_order_of_threads);
    tcase_add_loop_test(backends, attention_own_fwd_cache_gives_last_rows, 0, 9);
#endif
    suite_add_tcase(suite, backends);
    return hone_test_run(suite);
}
