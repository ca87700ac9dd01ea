/* Every level of the CPU table against the reference, over shapes that lie beside the sizes of vectors and tiles. */
#include "base/parallel.h"
#include "tests/product_support.h"

static const int64_t lengths[] = {0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 1000, 70001};
enum { LENGTHS = sizeof lengths / sizeof lengths[0] };
static const int64_t widths[] = {1, 2, 7, 8, 12, 16, 17, 31, 64, 65, 576};
enum { WIDTHS = sizeof widths / sizeof widths[0] };

typedef struct gemm_case {
    int64_t m, n, k;
} gemm_case;

static const gemm_case gemms[] = {
    {1, 1, 1},    {1, 17, 5},    {3, 2, 0},     {7, 16, 64},
    {33, 65, 31}, {64, 100, 17}, {129, 5, 300}, {98, 140, 300},
};
enum { GEMMS = sizeof gemms / sizeof gemms[0] };

static void check_gemm(hone_gemm_fn *gemm, int64_t number) {
    const hone_kernels *ref = hone_kernels_ref();
    gemm_case g = gemms[number / 8];
    bool trans_a = number & 1;
    bool trans_b = number & 2;
    float beta = number & 4 ? 1.0f : 0.0f;
    int64_t lda = (trans_a ? g.m : g.k) + 3;
    int64_t ldb = (trans_b ? g.k : g.n) + 2;
    int64_t ldc = g.n + 1;
    float *a = floats_new((g.m + g.k) * lda, 1);
    float *b = floats_new((g.n + g.k) * ldb, 2);
    float *c = floats_new(g.m * ldc, 3);
    if (beta == 0.0f) fill_nan(c, g.m * ldc);
    float *expected = floats_copy(c, g.m * ldc);
    float *size = floats_new(g.m * ldc, 3);
    gemm(c, a, b, g.m, g.n, g.k, trans_a, trans_b, lda, ldb, ldc, 0.5f, beta);
    ref->gemm(expected, a, b, g.m, g.n, g.k, trans_a, trans_b, lda, ldb, ldc, 0.5f, beta);
    magnitudes(a, (g.m + g.k) * lda);
    magnitudes(b, (g.n + g.k) * ldb);
    magnitudes(size, g.m * ldc);
    ref->gemm(size, a, b, g.m, g.n, g.k, trans_a, trans_b, lda, ldb, ldc, 0.5f, beta);
    for (int64_t i = 0; i < g.m; i++)
        expect_product(c + i * ldc, expected + i * ldc, size + i * ldc, g.n, "gemm");
    for (int64_t i = 0; i < g.m; i++) /* between rows nothing is written */
        ck_assert(memcmp(&c[i * ldc + g.n], &expected[i * ldc + g.n], 4) == 0);
    float *all[] = {a, b, c, expected, size};
    for (int i = 0; i < 5; i++) hone_free(all[i]);
}

/* That of the table, which may be a library's, and hone's own. */
START_TEST(gemm_every_level_matches_reference) {
    for (int level = 0; level < LEVELS; level++) {
        const hone_kernels *table = f32_level_table(level);
        if (!table) continue;
        check_gemm(table->gemm, _i);
        if (level < CPU_LEVELS && table->gemm != level_gemm[level])
            check_gemm(level_gemm[level], _i);
    }
}
END_TEST

/* The last three need several slabs of weights. */
static const linear_case linears[] = {
    {1, 32, 1},  {1, 64, 65},  {2, 96, 33},  {3, 32, 40},    {5, 160, 7},     {8, 64, 64},
    {9, 64, 65}, {17, 96, 31}, {12, 64, 33}, {9, 8192, 140}, {29, 1056, 330}, {1, 4864, 130},
};
enum { LINEARS = sizeof linears / sizeof linears[0] };

static void check_linear(const hone_kernels *table, int64_t number) {
    const hone_kernels *ref = hone_kernels_ref();
    linear_case l = linears[number / (2 * DTYPES)];
    hone_dtype type = dtypes[number / 2 % DTYPES];
    float beta = (float)(number % 2);
    void *w = weights_new(type, l.in * l.out, 6);
    float *sizes = floats_new(l.in * l.out, 7);
    ref->dequantize(sizes, w, type, l.in * l.out);
    magnitudes(sizes, l.in * l.out);
    hone_buffer space = workspace_new(table->linear_workspace(type, l.in, l.out, 3));

    product f = product_new(l, l.in, l.out, beta);
    table->linear_fwd(f.output, f.input, w, type, &f.low, l.tokens, l.in, l.out, beta, space.base);
    ref->linear_fwd(f.expected, f.input, w, type, &f.low, l.tokens, l.in, l.out, beta, NULL);
    product_sizes(&f, l, l.in, l.out);
    ref->linear_fwd(f.size, f.input, sizes, HONE_F32, &f.low, l.tokens, l.in, l.out, beta, NULL);
    expect_product(f.output, f.expected, f.size, f.n, "linear_fwd");
    product_free(&f);

    product b = product_new(l, l.out, l.in, beta);
    table->linear_bwd(b.output, b.input, w, type, &b.low, l.tokens, l.in, l.out, beta, space.base);
    ref->linear_bwd(b.expected, b.input, w, type, &b.low, l.tokens, l.in, l.out, beta, NULL);
    product_sizes(&b, l, l.out, l.in);
    ref->linear_bwd(b.size, b.input, sizes, HONE_F32, &b.low, l.tokens, l.in, l.out, beta, NULL);
    expect_product(b.output, b.expected, b.size, b.n, "linear_bwd");
    product_free(&b);
    hone_buffer_free(&space);
    hone_free(sizes);
    hone_free(w);
}

START_TEST(linear_every_level_matches_reference) {
    at_every_f32_level(check_linear, _i);
}
END_TEST

typedef struct lora_case {
    int64_t tokens, in, out, rank;
} lora_case;

static const lora_case loras[] = {
    {1, 1, 1, 1},    {3, 5, 2, 3},     {16, 8, 9, 16},
    {17, 33, 40, 8}, {50, 65, 31, 33}, {200, 24, 16, 64},
};
enum { LORAS = sizeof loras / sizeof loras[0] };

/* Where a GPU rounds, from inputs that this leaves as they are. Only the gradient of t is then rounded on the way, for that
 * of a: by 2^-11 of an element, whose terms' magnitudes sum up to `out` at most. */
static void compare_lora(const hone_kernels *table, lora_case l, bool all, bool rounded) {
    const hone_kernels *ref = hone_kernels_ref();
    hone_lora_shape shape = {l.tokens, l.in, l.out, l.rank, 0.5, rounded};
    bool tf32 = rounded && hone_precisions_have(table->native, HONE_PRODUCTS_TF32);
    int64_t sizes[] = {l.tokens * l.in,   l.tokens * l.out,  l.rank * l.in,
                       l.out * l.rank,    l.tokens * l.rank, l.tokens * l.rank,
                       l.tokens * l.rank, l.rank * l.in,     l.out * l.rank};
    enum { X, DY, A, B, T, REF_T, DT, DA, DB, ARRAYS };
    float *own[ARRAYS], *expected[ARRAYS];
    for (int i = 0; i < ARRAYS; i++) {
        own[i] = tf32_floats_new(sizes[i], 3 + (uint32_t)i);
        expected[i] = floats_copy(own[i], sizes[i]);
    }
    hone_buffer space = workspace_new(table->lora_workspace(shape));
    table->lora_fwd(own[T], own[X], own[A], shape, space.base);
    ref->lora_fwd(expected[T], own[X], own[A], shape, NULL);
    table->lora_bwd(own[DT], all ? own[DA] : NULL, all ? own[DB] : NULL, own[DY],
                    all ? own[X] : NULL, own[REF_T], own[B], shape, space.base);
    ref->lora_bwd(expected[DT], all ? expected[DA] : NULL, all ? expected[DB] : NULL, own[DY],
                  own[X], own[REF_T], own[B], shape, NULL);
    static const int made[] = {T, DT, DA, DB};
    double rounds = 0x1p-11 * 0.5 * (double)(l.out * l.tokens);
    for (int i = 0; i < 4; i++)
        expect_close(own[made[i]], expected[made[i]], sizes[made[i]], 1e-5,
                     20.0 + (tf32 && made[i] == DA ? rounds * 1e5 : 0), "lora");
    for (int i = 0; i < ARRAYS; i++) {
        hone_free(own[i]);
        hone_free(expected[i]);
    }
    hone_buffer_free(&space);
}

static void check_lora(const hone_kernels *table, int64_t number) {
    compare_lora(table, loras[number / 4], number % 2, number / 2 % 2);
}

START_TEST(lora_every_level_matches_reference) {
    at_every_f32_level(check_lora, _i);
}
END_TEST

/* Ranks beside the sizes of vectors, and numbers of threads. */
static void check_lora_rank(const hone_kernels *table, int64_t rank) {
    for (int threads = 1; threads <= 3; threads++) {
        hone_threads_set(threads);
        compare_lora(table, (lora_case){70, 65, 31, rank}, true, false);
        compare_lora(table, (lora_case){20, 9, 7, rank}, false, false);
    }
    hone_threads_set(0);
}

START_TEST(lora_any_rank_and_threads_match_reference) {
    at_every_f32_level(check_lora_rank, ranks[_i]);
}
END_TEST

/* Widths that are no multiple of a vector, in the dtypes that allow them, with other numbers of threads. */
static void check_linear_odd(const hone_kernels *table, int64_t in) {
    const hone_kernels *ref = hone_kernels_ref();
    enum { OUT = 5 };
    for (int d = 0; d < DTYPES; d++) {
        if (dtypes[d] == HONE_Q8_0) continue;
        for (int64_t tokens = 1; tokens <= 28; tokens += 3) {
            hone_threads_set((int)(1 + tokens % 4 * 5));
            linear_case l = {tokens, in, OUT};
            void *w = weights_new(dtypes[d], in * OUT, 6);
            hone_buffer space = workspace_new(table->linear_workspace(dtypes[d], in, OUT, 3));
            product f = product_new(l, in, OUT, 0.0f), b = product_new(l, OUT, in, 0.0f);
            hone_low_rank *low = tokens % 2 ? &b.low : NULL;
            table->linear_fwd(f.output, f.input, w, dtypes[d], low ? &f.low : NULL, tokens, in, OUT,
                              0.0f, space.base);
            ref->linear_fwd(f.expected, f.input, w, dtypes[d], low ? &f.low : NULL, tokens, in, OUT,
                            0.0f, NULL);
            expect_close(f.output, f.expected, f.n, 1e-5, 1.0 + (double)in / 8, "linear_fwd");
            table->linear_bwd(b.output, b.input, w, dtypes[d], low, tokens, in, OUT, 0.0f,
                              space.base);
            ref->linear_bwd(b.expected, b.input, w, dtypes[d], low, tokens, in, OUT, 0.0f, NULL);
            expect_close(b.output, b.expected, b.n, 1e-5, 2.0, "linear_bwd");
            product_free(&f);
            product_free(&b);
            hone_buffer_free(&space);
            hone_free(w);
        }
    }
    hone_threads_set(0);
}

START_TEST(linear_odd_width_matches_reference) {
    at_every_f32_level(check_linear_odd, widths[_i]);
}
END_TEST

/* All 65,536 halves, and all bytes under scales of every kind. */
static void check_dequantize(const hone_kernels *table, int64_t unused) {
    (void)unused;
    enum { HALVES = 65536 };
    uint16_t *halves = hone_alloc(HALVES, sizeof *halves);
    for (int i = 0; i < HALVES; i++) halves[i] = (uint16_t)i;
    float *found = floats_new(HALVES, 1);
    float *expected = floats_new(HALVES, 2);
    for (int d = 1; d <= 2; d++) {
        table->dequantize(found, halves, dtypes[d], HALVES);
        hone_kernels_ref()->dequantize(expected, halves, dtypes[d], HALVES);
        expect_close(found, expected, HALVES, 0.0, 0.0, hone_dtype_name(dtypes[d]));
    }
    char *blocks = hone_alloc(HALVES / 32, 34);
    for (int b = 0; b < HALVES / 32; b++) {
        uint16_t scale = (uint16_t)(b / 8 * 251);
        memcpy(blocks + b * 34, &scale, 2);
        for (int i = 0; i < 32; i++) blocks[b * 34 + 2 + i] = (char)(b % 8 * 32 + i);
    }
    table->dequantize(found, blocks, HONE_Q8_0, HALVES);
    hone_kernels_ref()->dequantize(expected, blocks, HONE_Q8_0, HALVES);
    expect_close(found, expected, HALVES, 0.0, 0.0, "q8_0");
    hone_free(blocks);
    hone_free(expected);
    hone_free(found);
    hone_free(halves);
}

START_TEST(dequantize_all_values_match_reference) {
    at_every_f32_level(check_dequantize, 0);
}
END_TEST

static void check_embedding(const hone_kernels *table, int64_t width) {
    enum { ROWS = 11, TOKENS = 40 };
    int32_t ids[TOKENS];
    for (int t = 0; t < TOKENS; t++) ids[t] = t % 3 == 0 ? t * 7 % ROWS : 0; /* as padding has */
    float *found = floats_new(TOKENS * width, 1);
    float *expected = floats_new(TOKENS * width, 2);
    for (int d = 0; d < DTYPES; d++) {
        if (dtypes[d] == HONE_Q8_0 && width % 32 != 0) continue;
        void *rows = weights_new(dtypes[d], ROWS * width, 3);
        table->embedding_fwd(found, ids, rows, dtypes[d], TOKENS, width);
        hone_kernels_ref()->embedding_fwd(expected, ids, rows, dtypes[d], TOKENS, width);
        expect_close(found, expected, TOKENS * width, 0.0, 0.0, "embedding_fwd");
        hone_free(rows);
    }
    float *dtable = floats_new(ROWS * width, 4);
    float *dexpected = floats_copy(dtable, ROWS * width);
    table->embedding_bwd(dtable, ids, found, TOKENS, width);
    hone_kernels_ref()->embedding_bwd(dexpected, ids, found, TOKENS, width);
    expect_close(dtable, dexpected, ROWS * width, 0.0, 0.0, "embedding_bwd");
    float *all[] = {found, expected, dtable, dexpected};
    for (int i = 0; i < 4; i++) hone_free(all[i]);
}

START_TEST(embedding_every_level_equals_reference) {
    at_every_f32_level(check_embedding, widths[_i]);
}
END_TEST

static void check_rmsnorm(const hone_kernels *table, int64_t width) {
    enum { TOKENS = 37 };
    int64_t tokens = width > 1000 ? 2 : TOKENS;
    const hone_kernels *ref = hone_kernels_ref();
    int64_t n = tokens * width;
    float *x = floats_new(n, 1);
    float *w = floats_new(width, 2);
    float *dy = floats_new(n, 3);
    float *y = floats_new(n, 4);
    float *y2 = floats_new(n, 5);
    float *dw = floats_new(width, 6);
    float *dw2 = floats_copy(dw, width);
    float rstd[TOKENS];
    float rstd2[TOKENS];
    table->rmsnorm_fwd(y, rstd, x, w, tokens, width, 1e-5);
    ref->rmsnorm_fwd(y2, rstd2, x, w, tokens, width, 1e-5);
    expect_close(y, y2, n, 2e-6, 1e-3, "rmsnorm_fwd");
    expect_close(rstd, rstd2, tokens, 2e-6, 0.0, "rstd");
    for (int beta = 0; beta < 2; beta++) {
        memcpy(y2, y, (size_t)n * 4);
        table->rmsnorm_bwd(y, dw, dy, x, w, rstd2, tokens, width, (float)beta);
        ref->rmsnorm_bwd(y2, dw2, dy, x, w, rstd2, tokens, width, (float)beta);
        expect_close(y, y2, n, 1e-5, 10.0, "dx");
        expect_close(dw, dw2, width, 1e-5, 10.0, "dw");
    }
    /* dx in the place of dy */
    ref->rmsnorm_bwd(y2, NULL, dy, x, w, rstd2, tokens, width, 0.0f);
    table->rmsnorm_bwd(dy, dw, dy, x, w, rstd2, tokens, width, 0.0f);
    expect_close(dy, y2, n, 1e-5, 10.0, "dx in place");
    float *all[] = {x, w, dy, y, y2, dw, dw2};
    for (int i = 0; i < 7; i++) hone_free(all[i]);
}

START_TEST(rmsnorm_every_level_matches_reference) {
    at_every_f32_level(check_rmsnorm, widths[_i]);
}
END_TEST

START_TEST(rmsnorm_of_wide_rows_matches_reference) {
    at_every_f32_level(check_rmsnorm, wide_rows[_i]);
}
END_TEST

static void check_rope(const hone_kernels *table, int64_t head_size) {
    enum { TOKENS = 40, HEADS = 3, POSITIONS = 50 };
    int64_t n = TOKENS * HEADS * head_size;
    int64_t rotated = head_size / 2 * 2;
    for (int variant = 0; variant < 8; variant++) {
        hone_rope_shape shape = {TOKENS, HEADS, head_size, variant & 4 ? rotated / 4 * 2 : rotated,
                                 variant & 1};
        float *cosine = floats_new(POSITIONS * head_size, 1);
        float *sine = floats_new(POSITIONS * head_size, 2);
        int32_t positions[TOKENS];
        for (int t = 0; t < TOKENS; t++) positions[t] = t * 3 % POSITIONS;
        float *x = floats_new(n, 3);
        float *expected = floats_copy(x, n);
        table->rope(x, cosine, sine, positions, shape, variant & 2);
        hone_kernels_ref()->rope(expected, cosine, sine, positions, shape, variant & 2);
        expect_close(x, expected, n, 2e-6, 1.0, "rope");
        float *all[] = {cosine, sine, x, expected};
        for (int i = 0; i < 4; i++) hone_free(all[i]);
    }
}

START_TEST(rope_every_level_matches_reference) {
    at_every_f32_level(check_rope, widths[_i]);
}
END_TEST

static void check_elementwise(const hone_kernels *table, int64_t n) {
    float *a = floats_new(n, 1);
    float *b = floats_new(n, 2);
    float *y = floats_new(n, 3);
    float *expected = floats_new(n, 4);
    float guard = y[n] = 7.0f;
    hone_kernels_ref()->add(expected, a, b, n);
    table->add(y, a, b, n);
    ck_assert(memcmp(y, expected, (size_t)n * 4) == 0);
    table->copy(y, a, n);
    ck_assert(memcmp(y, a, (size_t)n * 4) == 0);
    table->add(a, a, b, n);
    ck_assert(memcmp(a, expected, (size_t)n * 4) == 0);
    table->zero(y, n);
    for (int64_t i = 0; i < n; i++) ck_each(y[i] == 0.0f, "element %lld", (long long)i);
    ck_assert(y[n] == guard);
    float *all[] = {a, b, y, expected};
    for (int i = 0; i < 4; i++) hone_free(all[i]);
}

START_TEST(elementwise_every_level_equals_reference) {
    at_every_f32_level(check_elementwise, lengths[_i]);
}
END_TEST

static void check_rows(const hone_kernels *table, int64_t width) {
    enum { ROWS = 90 };
    int32_t rows[ROWS];
    for (int i = 0; i < ROWS; i++) rows[i] = i * 7 % ROWS;
    float *x = floats_new(ROWS * width, 1);
    float *y = floats_new(ROWS * width, 2);
    float *back = floats_new(ROWS * width, 3);
    table->gather_rows(y, x, rows, ROWS, width);
    for (int i = 0; i < ROWS; i++)
        ck_assert(memcmp(y + i * width, x + rows[i] * width, (size_t)width * 4) == 0);
    table->scatter_rows(back, y, rows, ROWS, width);
    ck_assert(memcmp(back, x, (size_t)(ROWS * width) * 4) == 0);
    float *all[] = {x, y, back};
    for (int i = 0; i < 3; i++) hone_free(all[i]);
}

START_TEST(rows_gathered_and_scattered_come_back) {
    at_every_f32_level(check_rows, widths[_i]);
}
END_TEST

/* Rows of logits, of which the second predicts nothing. */
typedef struct entropy_case {
    int64_t n, vocabulary;
    double softcap;
    const float *logits;
    int32_t targets[5];
} entropy_case;

/* The same with the table's kernel; what becomes of the logits is to be freed. */
static float *run_entropy(float loss[5], const hone_kernels *table, const entropy_case *e,
                          hone_loss_gradient gradient) {
    const double weight = 0.25;
    float *logits = floats_copy(e->logits, e->n * e->vocabulary);
    logits[e->n * e->vocabulary] = 12.5f;
    table->cross_entropy(loss, logits, e->targets, e->n, e->vocabulary, &weight, e->softcap,
                         gradient);
    ck_assert(logits[e->n * e->vocabulary] == 12.5f); /* beyond nothing is written */
    return logits;
}

/* Of a row, where it lies: 2 V elements after that before it. */
static void expect_rounded(const float *found, const float *wanted, const entropy_case *e) {
    for (int64_t i = 0; i < e->n * e->vocabulary; i++) {
        uint16_t half;
        int64_t place = i / e->vocabulary * 2 * e->vocabulary + i % e->vocabulary;
        memcpy(&half, (const char *)found + place * 2, sizeof half);
        ck_each(half == hone_bf16_from_f32(wanted[i]), "element %lld", (long long)i);
    }
}

static void compare_cross_entropy(const hone_kernels *table, const entropy_case *e) {
    float loss[5], wanted_loss[5];
    int64_t n = e->n, size = n * e->vocabulary;
    bool rounds = table->bf16_fwd != NULL;
    float *wanted = run_entropy(wanted_loss, hone_kernels_ref(), e, HONE_LOSS_GRADIENT);
    float *found = run_entropy(loss, table, e, HONE_LOSS_GRADIENT);
    expect_close(loss, wanted_loss, n, 1e-6, 1.0, "loss");
    expect_close(found, wanted, size, e->softcap > 0.0 ? 5e-6 : 2e-6, 0.05, "dlogits");
    for (int64_t i = 0; n > 1 && i < e->vocabulary; i++)
        ck_each(found[e->vocabulary + i] == 0.0f, "row of none");
    ck_assert(n == 1 || loss[1] == 0.0f);
    float again[5];
    float *scratch = run_entropy(again, table, e, HONE_LOSS_ALONE);
    ck_assert_mem_eq(loss, again, (size_t)n * 4);
    float *rounded = rounds ? run_entropy(again, table, e, HONE_LOSS_GRADIENT_BF16) : NULL;
    if (rounded) expect_rounded(rounded, found, e);
    ck_assert_mem_eq(loss, again, (size_t)n * 4);
    float *all[] = {wanted, found, scratch, rounded};
    for (int i = 0; i < 4; i++) hone_free(all[i]);
}

static void check_cross_entropy(const hone_kernels *table, int64_t vocabulary) {
    for (int64_t n = 1; n <= 5; n += 2) {
        float *logits = floats_new(n * vocabulary, 1);
        for (int64_t i = 0; i < n * vocabulary; i++) logits[i] *= 20.0f;
        entropy_case e = {n, vocabulary, 0.0, logits, {0}};
        for (int i = 0; i < 5; i++) e.targets[i] = (int32_t)((vocabulary - 1) * i / 4);
        if (n > 1) e.targets[1] = -1;
        compare_cross_entropy(table, &e);
        e.softcap = 15.0;
        compare_cross_entropy(table, &e);
        hone_free(logits);
    }
}

START_TEST(cross_entropy_every_level_matches_reference) {
    int64_t sizes[] = {1, 2, 17, 512, 4096, 4097, 16388, 24575, 151936};
    at_every_f32_level(check_cross_entropy, sizes[_i]);
}
END_TEST

START_TEST(cross_entropy_nan_logit_gives_nan_loss) {
    for (int level = 0; level < LEVELS; level++) {
        const hone_kernels *table = f32_level_table(level);
        float *logits = floats_new(5000, 1);
        logits[4321] = NAN;
        int32_t target = 3;
        const double weight = 1;
        float loss = 0.0f;
        if (table)
            table->cross_entropy(&loss, logits, &target, 1, 5000, &weight, 0.0, HONE_LOSS_GRADIENT);
        ck_assert(!table || isnan(loss));
        hone_free(logits);
    }
}
END_TEST

/* The mask has to be bit-identical: what is dropped is exactly zero, what is kept is not. */
static void check_dropout(const hone_kernels *table, int64_t width) {
    enum { TOKENS = 20 };
    uint64_t key = 0x123456789abcdef0u;
    uint32_t records[TOKENS];
    int32_t positions[TOKENS];
    for (int t = 0; t < TOKENS; t++) {
        records[t] = 0xfffffff0u + (uint32_t)t;
        positions[t] = t * 1000;
    }
    double rates[] = {0.0, 0.05, 0.1, 0.5, 0.999};
    for (int r = 0; r < 5; r++) {
        hone_dropout draw = {&key, records, positions, 0x80000007u, rates[r]};
        float *x = floats_new(TOKENS * width, 1);
        for (int64_t i = 0; i < TOKENS * width; i++) x[i] += 2.0f;
        float *y = floats_new(TOKENS * width, 2);
        fill_nan(y, TOKENS * width);
        float *expected = floats_copy(y, TOKENS * width);
        for (int beta = 0; beta < 2; beta++) {
            table->dropout(y, x, draw, TOKENS, width, (float)beta);
            hone_kernels_ref()->dropout(expected, x, draw, TOKENS, width, (float)beta);
            for (int64_t i = 0; i < TOKENS * width; i++)
                ck_each((y[i] == 0.0f) == (expected[i] == 0.0f), "element %lld", (long long)i);
            expect_close(y, expected, TOKENS * width, 1e-6, 1.0, "dropout");
        }
        float *all[] = {x, y, expected};
        for (int i = 0; i < 3; i++) hone_free(all[i]);
    }
}

START_TEST(dropout_every_level_gives_reference_mask) {
    at_every_f32_level(check_dropout, widths[_i]);
}
END_TEST

static void check_sums(const hone_kernels *table, int64_t n) {
    float *x = floats_new(n, 1);
    double sums[2][2] = {{0.5}, {0.5}};
    for (int threads = 1; threads <= 2; threads++) {
        hone_threads_set(threads);
        table->sum(&sums[threads - 1][0], x, n);
        table->sum_squares(&sums[threads - 1][1], x, n);
    }
    hone_threads_set(0);
    ck_assert(memcmp(sums[0], sums[1], sizeof sums[0]) == 0);
    double expected = 0.5;
    hone_kernels_ref()->sum(&expected, x, n);
    ck_assert(fabs(sums[0][0] - expected) <= 1e-12 * (double)(n + 1));
    hone_kernels_ref()->sum_squares(&expected, x, n);
    ck_assert(fabs(sums[0][1] - expected) <= 1e-12 * (double)(n + 1));
    hone_free(x);
}

START_TEST(sum_any_threads_gives_same_bits) {
    at_every_f32_level(check_sums, lengths[_i]);
}
END_TEST

static void check_adamw(const hone_kernels *table, int64_t n) {
    hone_adamw_step step = {1e-2f, 0.5f, 1.0f - 0.9f * 0.9f, 1.0f - 0.99f * 0.99f, 0.9f,
                            0.99f, 1e-8f};
    float *grad = floats_new(n, 1);
    float *p = floats_new(n, 2);
    float *m = floats_new(n, 3);
    float *v = floats_new(n, 4);
    magnitudes(v, n);
    float *p2 = floats_copy(p, n);
    float *m2 = floats_copy(m, n);
    float *v2 = floats_copy(v, n);
    table->adamw(p, grad, m, v, n, &step, 0.1);
    hone_kernels_ref()->adamw(p2, grad, m2, v2, n, &step, 0.1);
    expect_close(p, p2, n, 2e-6, 0.1, "p");
    expect_close(m, m2, n, 1e-6, 0.1, "m");
    expect_close(v, v2, n, 1e-6, 1e-3, "v");
    float *all[] = {grad, p, m, v, p2, m2, v2};
    for (int i = 0; i < 7; i++) hone_free(all[i]);
}

START_TEST(adamw_every_level_matches_reference) {
    at_every_f32_level(check_adamw, lengths[_i]);
}
END_TEST

START_TEST(kernels_cpu_unknown_level_is_usage_error) {
    const hone_kernels *table;
    setenv("HONE_ISA", "mmx", 1);
    ck_fails(hone_kernels_cpu(&table), HONE_ERR_USAGE,
             "HONE_ISA=mmx: no such instruction set; use ref");
    setenv("HONE_ISA", "ref", 1);
    ck_ok(hone_kernels_cpu(&table));
    ck_assert_str_eq(table->name, "ref");
    unsetenv("HONE_ISA");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernels, levels");
    TCase *backends = tcase_create("backends");
    tcase_set_timeout(backends, 60);
    tcase_add_loop_test(backends, gemm_every_level_matches_reference, 0, 8 * GEMMS);
    tcase_add_loop_test(backends, lora_every_level_matches_reference, 0, 4 * LORAS);
    tcase_add_loop_test(backends, lora_any_rank_and_threads_match_reference, 0, RANKS);
    tcase_add_loop_test(backends, linear_every_level_matches_reference, 0, 2 * DTYPES * LINEARS);
    tcase_add_loop_test(backends, linear_odd_width_matches_reference, 0, WIDTHS);
    tcase_add_test(backends, dequantize_all_values_match_reference);
    tcase_add_loop_test(backends, embedding_every_level_equals_reference, 0, WIDTHS);
    tcase_add_loop_test(backends, rmsnorm_every_level_matches_reference, 0, WIDTHS);
    tcase_add_loop_test(backends, rmsnorm_of_wide_rows_matches_reference, 0, WIDE_ROWS);
    tcase_add_loop_test(backends, rope_every_level_matches_reference, 0, WIDTHS);
    tcase_add_loop_test(backends, elementwise_every_level_equals_reference, 0, LENGTHS);
    tcase_add_loop_test(backends, rows_gathered_and_scattered_come_back, 0, WIDTHS);
    tcase_add_loop_test(backends, cross_entropy_every_level_matches_reference, 0, 9);
    tcase_add_test(backends, cross_entropy_nan_logit_gives_nan_loss);
    tcase_add_loop_test(backends, dropout_every_level_gives_reference_mask, 0, WIDTHS);
    tcase_add_loop_test(backends, sum_any_threads_gives_same_bits, 0, LENGTHS);
    tcase_add_loop_test(backends, adamw_every_level_matches_reference, 0, LENGTHS);
    suite_add_tcase(suite, backends);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, kernels_cpu_unknown_level_is_usage_error);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
