/*
 * Every operation's gradient against central differences, in double precision, signs included.
 */
#include "tests/gradient_support.h"

_Static_assert(sizeof(hone_real) == sizeof(double), "this suite is built in double precision");

static const int64_t sizes[][3] = {{1, 1, 1}, {3, 5, 2}, {7, 8, 9}, {8, 15, 16}, {9, 17, 3}};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static hone_tensor *build_add(problem *p) {
    hone_tensor *a = on_tape(p, 0), *b = on_tape(p, 1), *y, *z;
    ck_ok(hone_add(&y, p->tape, a, b));
    ck_ok(hone_add(&z, p->tape, a, y)); /* a is used twice: its gradients add up */
    return z;
}

START_TEST(add_used_twice_grad_matches) {
    problem p;
    open_problem(&p);
    add_leaf(&p, sizes[_i][0], sizes[_i][1]);
    add_leaf(&p, sizes[_i][0], sizes[_i][1]);
    p.build = build_add;
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

static hone_tensor *build_embedding(problem *p) {
    hone_tensor *y;
    ck_ok(hone_embedding(&y, p->tape, &p->leaf[0], p->ids, p->T));
    return y;
}

START_TEST(embedding_repeated_ids_grad_matches) {
    problem p;
    open_problem(&p);
    p.T = sizes[_i][0];
    add_leaf(&p, 5, sizes[_i][1]);
    p.build = build_embedding;
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

static hone_tensor *build_rmsnorm(problem *p) {
    hone_tensor *y, *z, *x = on_tape(p, 0);
    ck_ok(hone_rmsnorm(&y, p->tape, x, &p->leaf[1], 1e-5, HONE_NOT_ROUNDED));
    ck_ok(hone_add(&z, p->tape, x, y)); /* the residual: dx is added to */
    return z;
}

START_TEST(rmsnorm_with_residual_grad_matches) {
    problem p;
    open_problem(&p);
    add_leaf(&p, sizes[_i][0], sizes[_i][1]);
    add_leaf(&p, sizes[_i][1], 1);
    p.build = build_rmsnorm;
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

START_TEST(rmsnorm_of_groups_grad_matches) {
    problem p;
    open_problem(&p);
    add_leaf(&p, sizes[_i][0], sizes[_i][1] * sizes[_i][2]);
    add_leaf(&p, sizes[_i][1], 1);
    p.build = build_rmsnorm;
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

static hone_tensor *build_layernorm(problem *p) {
    hone_tensor *y, *z, *x = on_tape(p, 0);
    ck_ok(hone_layernorm(&y, p->tape, x, &p->leaf[1], &p->leaf[2], 1e-5));
    ck_ok(hone_add(&z, p->tape, x, y));
    return z;
}

static void check_layernorm(int64_t tokens, int64_t width, int wanted) {
    problem p;
    open_problem(&p);
    add_leaf(&p, tokens, width);
    add_leaf(&p, width, 1);
    add_leaf(&p, width, 1);
    p.build = build_layernorm;
    freeze_others(&p, wanted);
    check_gradients(&p);
    close_problem(&p);
}

START_TEST(layernorm_with_residual_grad_matches) {
    check_layernorm(sizes[_i][0], sizes[_i][1], 7);
}
END_TEST

START_TEST(layernorm_some_inputs_frozen_grad_matches) {
    check_layernorm(3, 5, _i);
}
END_TEST

/* Operations that change x where it lies, one after the other, and the one that keeps its result. */
static hone_tensor *build_in_place(problem *p) {
    hone_tensor *x = on_tape(p, 0);
    hone_tape_keep(p->tape, p->keep);
    if (p->keep == HONE_KEEP_NOTHING) {
        ck_ok(hone_linear(&x, p->tape, x, &p->leaf[2], NULL, NULL));
    }
    ck_ok(hone_bias(&x, p->tape, x, &p->leaf[1]));
    ck_ok(hone_scale(&x, p->tape, x, -1.75));
    ck_ok(hone_softcap(&x, p->tape, x, 1.25));
    hone_tape_keep(p->tape, HONE_KEEP_ALL);
    return x;
}

static void check_in_place(int64_t tokens, int64_t width, int wanted, bool recompute) {
    problem p;
    open_problem(&p);
    add_leaf(&p, tokens, width);
    add_leaf(&p, width, 1);
    if (recompute) add_leaf(&p, width, width);
    p.keep = recompute ? HONE_KEEP_NOTHING : HONE_KEEP_ALL;
    p.build = build_in_place;
    freeze_others(&p, wanted);
    check_gradients(&p);
    close_problem(&p);
}

START_TEST(in_place_chain_grad_matches) {
    check_in_place(sizes[_i][0], sizes[_i][1], 7, false);
    check_in_place(sizes[_i][0], sizes[_i][1], 7, true);
}
END_TEST

START_TEST(in_place_chain_some_inputs_frozen_grad_matches) {
    check_in_place(3, 5, _i, true);
    if (_i & 3) check_in_place(3, 5, _i, false);
}
END_TEST

static hone_tensor *build_linear(problem *p) {
    hone_lora lora = {
        &p->leaf[2], &p->leaf[3], 0.7, {&p->key, p->records, p->positions, 3, p->rate}};
    hone_tensor *y, *z, *s, *x = on_tape(p, 0);
    ck_ok(hone_linear(&y, p->tape, x, &p->leaf[1], &lora, NULL));
    ck_ok(hone_linear(&z, p->tape, x, &p->leaf[1], NULL, NULL)); /* x and w are used twice */
    ck_ok(hone_add(&s, p->tape, y, z));
    return s;
}

static void check_linear(int i, double rate) {
    problem p;
    open_problem(&p);
    p.rate = rate;
    int64_t tokens = sizes[i][0], in = sizes[i][1], out = sizes[i][2], rank = 3;
    add_leaf(&p, tokens, in);
    add_leaf(&p, out, in);
    add_leaf(&p, rank, in);
    add_leaf(&p, out, rank);
    p.build = build_linear;
    check_gradients(&p);
    close_problem(&p);
}

START_TEST(linear_with_lora_grad_matches) {
    check_linear(_i, 0);
}
END_TEST

START_TEST(linear_with_dropout_grad_matches) {
    check_linear(_i + 1, 0.4); /* a single element might be dropped altogether */
}
END_TEST

static hone_tensor *build_rope(problem *p) {
    hone_tensor *y;
    hone_rope_shape shape = {p->T, p->H, p->D, p->D - p->D / 3 / 2 * 2, p->interleaved};
    ck_ok(hone_rope(&y, p->tape, on_tape(p, 0), p->cosine, p->sine, p->positions, shape));
    return y;
}

START_TEST(rope_both_layouts_grad_matches) {
    problem p;
    open_problem(&p);
    p.T = 6;
    p.H = 2;
    p.D = 4 + 2 * (_i / 2);
    p.interleaved = _i % 2;
    add_leaf(&p, p.T, p.H * p.D);
    p.build = build_rope;
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

static hone_tensor *build_attention(problem *p) {
    hone_attention_call call = {p->segments,
                                {.segments = p->segment_count,
                                 .heads = p->H,
                                 .kv_heads = p->K,
                                 .head_size = p->D,
                                 .scale = 1 / sqrt((double)p->D),
                                 .window = p->window,
                                 .softcap = p->softcap},
                                p->max_len,
                                p->max_len};
    hone_tensor *o, *q = on_tape(p, 0), *k = on_tape(p, 1), *v = on_tape(p, 2);
    ck_ok(hone_attention(&o, p->tape, q, k, v, &call));
    return o;
}

static void check_attention(int64_t heads, int64_t kv_heads, int64_t head_size, int64_t window,
                            double softcap) {
    problem p;
    open_problem(&p);
    p.H = heads;
    p.K = kv_heads;
    p.D = head_size;
    p.window = window;
    p.softcap = softcap;
    p.segments = packed;
    p.segment_count = 3;
    p.max_len = 5;
    add_leaf(&p, 9, p.H * p.D);
    add_leaf(&p, 9, p.K * p.D);
    add_leaf(&p, 9, p.K * p.D);
    p.build = build_attention;
    check_gradients(&p);
    close_problem(&p);
}

START_TEST(attention_packed_documents_grad_matches) {
    static const int64_t heads[][3] = {{1, 1, 1}, {2, 1, 3}, {4, 2, 8}, {3, 3, 5}};
    check_attention(heads[_i][0], heads[_i][1], heads[_i][2], 0, 0);
}
END_TEST

START_TEST(attention_window_and_softcap_grad_matches) {
    static const int64_t windows[] = {0, 2, 4, 5, 6};
    check_attention(4, 2, 5, windows[_i], _i % 2 ? 0 : 0.7);
    check_attention(2, 1, 3, windows[_i], 0.4);
}
END_TEST

START_TEST(attention_some_inputs_frozen_grad_matches) {
    problem p;
    open_problem(&p);
    p.H = 2;
    p.K = 1;
    p.D = 3;
    p.segments = packed;
    p.segment_count = 3;
    p.max_len = 5;
    add_leaf(&p, 9, p.H * p.D);
    add_leaf(&p, 9, p.K * p.D);
    add_leaf(&p, 9, p.K * p.D);
    p.build = build_attention;
    freeze_others(&p, _i);
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

static const hone_activation_kind kinds[] = {HONE_SILU, HONE_GELU_TANH};

static hone_tensor *build_activation(problem *p) {
    hone_tensor *y;
    ck_ok(hone_activation(&y, p->tape, on_tape(p, 0), p->kind));
    return y;
}

START_TEST(activation_every_kind_grad_matches) {
    problem p;
    open_problem(&p);
    p.kind = kinds[_i % 2];
    add_leaf(&p, sizes[_i / 2][0], sizes[_i / 2][1]);
    p.build = build_activation;
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

static hone_tensor *build_gated(problem *p) {
    hone_tensor *y, *gate = on_tape(p, 0), *up = on_tape(p, 1);
    ck_ok(hone_gated(&y, p->tape, gate, up, p->kind, HONE_NOT_ROUNDED));
    return y;
}

START_TEST(gated_every_kind_grad_matches) {
    problem p;
    open_problem(&p);
    p.kind = kinds[_i % 2];
    add_leaf(&p, sizes[_i / 2][0], sizes[_i / 2][1]);
    add_leaf(&p, sizes[_i / 2][0], sizes[_i / 2][1]);
    p.build = build_gated;
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

START_TEST(gated_one_input_frozen_grad_matches) {
    problem p;
    open_problem(&p);
    add_leaf(&p, 3, 5);
    add_leaf(&p, 3, 5);
    p.build = build_gated;
    freeze_others(&p, _i);
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

static hone_tensor *build_gather(problem *p) {
    hone_tensor *y, *x = on_tape(p, 0);
    ck_ok(hone_gather(&y, p->tape, x, p->rows, 3));
    return y;
}

START_TEST(gather_some_rows_grad_matches) {
    problem p;
    open_problem(&p);
    memcpy(p.rows, (int32_t[]){4, 0, 2}, 3 * sizeof(int32_t));
    add_leaf(&p, 5, 7);
    p.build = build_gather;
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

/* The loss itself is the function; its gradient is weighted. */
static hone_tensor *build_cross_entropy(problem *p) {
    static const double weight = 0.25;
    hone_loss_call call = {p->rows, p->targets, p->T, &weight, p->softcap, &p->loss};
    p->loss = 0;
    hone_tensor *h = on_tape(p, 0);
    ck_ok(hone_cross_entropy(NULL, p->tape, h, &p->leaf[1], &call));
    return NULL;
}

START_TEST(cross_entropy_some_rows_grad_matches) {
    problem p;
    open_problem(&p);
    p.softcap = 0.6 * _i;
    memcpy(p.rows, (int32_t[]){1, 2, 5}, 3 * sizeof(int32_t));
    memcpy(p.targets, (int32_t[]){3, 0, 6}, 3 * sizeof(int32_t));
    p.T = 3;
    add_leaf(&p, 6, 5);
    add_leaf(&p, 7, 5);
    p.build = build_cross_entropy;
    p.factor = 0.25;
    check_gradients(&p);
    close_problem(&p);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("gradients");
    TCase *grad = tcase_create("grad");
    tcase_set_timeout(grad, 120);
    tcase_add_loop_test(grad, add_used_twice_grad_matches, 0, SIZES);
    tcase_add_loop_test(grad, embedding_repeated_ids_grad_matches, 3, SIZES);
    tcase_add_loop_test(grad, rmsnorm_with_residual_grad_matches, 0, SIZES);
    tcase_add_loop_test(grad, rmsnorm_of_groups_grad_matches, 0, 3);
    tcase_add_loop_test(grad, layernorm_with_residual_grad_matches, 1, SIZES);
    tcase_add_loop_test(grad, layernorm_some_inputs_frozen_grad_matches, 1, 8);
    tcase_add_loop_test(grad, in_place_chain_grad_matches, 0, SIZES);
    tcase_add_loop_test(grad, linear_with_lora_grad_matches, 0, SIZES);
    tcase_add_loop_test(grad, linear_with_dropout_grad_matches, 0, SIZES - 1);
    tcase_add_loop_test(grad, rope_both_layouts_grad_matches, 0, 6);
    tcase_add_loop_test(grad, attention_packed_documents_grad_matches, 0, 4);
    tcase_add_loop_test(grad, attention_some_inputs_frozen_grad_matches, 1, 8);
    tcase_add_loop_test(grad, attention_window_and_softcap_grad_matches, 0, 5);
    tcase_add_loop_test(grad, activation_every_kind_grad_matches, 0, 2 * SIZES);
    tcase_add_loop_test(grad, gated_every_kind_grad_matches, 0, 2 * SIZES);
    tcase_add_loop_test(grad, gated_one_input_frozen_grad_matches, 1, 4);
    tcase_add_loop_test(grad, in_place_chain_some_inputs_frozen_grad_matches, 1, 8);
    tcase_add_test(grad, gather_some_rows_grad_matches);
    tcase_add_loop_test(grad, cross_entropy_some_rows_grad_matches, 0, 2);
    suite_add_tcase(suite, grad);
    return hone_test_run(suite);
}
