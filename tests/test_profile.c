/*
 * What --profile measures: passes of the tape with their work, and the table and the trace made of them.
 */
#include <math.h>

#include "autograd/ops.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/sha256.h"
#include "formats/json.h"
#include "tests/support.h"
#include "train/compute.h"
#include "train/profile.h"
#include "train/trainer.h"

/* --- Passes of a tape --- */

enum { T = 5, C = 8, R = 2, H = 2, K = 1, D = 4, V = 7, N = 3, MOST = 64 };

/* Attention over two documents, made of products one of which has an adapter, and a loss. */
typedef struct graph {
    hone_device device;
    hone_tape *tape;
    float numbers[512];
    int used;
    hone_tensor x, x_grad, wq, wk, wv, a, a_grad, b, b_grad, head;
    hone_segment segments[2];
    int32_t rows[N], targets[N];
    int64_t window;
    bool recompute;
    hone_int8_weight int8; /* of wq; without a width: its products are in f32 */
} graph;

static hone_work seen[MOST];
static int seen_count;

static void note(void *context, const hone_work *work) {
    (void)context;
    ck_assert_int_lt(seen_count, MOST);
    seen[seen_count++] = *work;
}

static hone_tensor tensor(graph *g, int64_t rows, int64_t columns) {
    float *data = g->numbers + g->used;
    for (int64_t i = 0; i < rows * columns; i++) data[i] = (float)(i % 5) / 8 - 0.25f;
    g->used += (int)(rows * columns);
    return hone_tensor_over("leaf", HONE_F32, rows, columns, data);
}

static void train(graph *g, hone_tensor *leaf, hone_tensor *grad) {
    *grad = tensor(g, leaf->shape[0], leaf->shape[1]);
    leaf->grad = grad;
    leaf->needs_grad = true;
}

static void build(graph *g) {
    if (g->recompute) hone_tape_keep(g->tape, HONE_KEEP_NOTHING);
    hone_lora lora = {.a = &g->a, .b = &g->b, .scale = 2};
    hone_tensor *q, *k, *v, *o;
    ck_ok(hone_linear(&q, g->tape, &g->x, &g->wq, &lora, NULL));
    ck_ok(hone_linear(&k, g->tape, &g->x, &g->wk, NULL, NULL));
    ck_ok(hone_linear(&v, g->tape, &g->x, &g->wv, NULL, NULL));
    hone_attention_call call = {
        .segments = g->segments,
        .shape = {2, H, K, D, 0.5, .window = g->window},
        .max_q = 3,
        .max_k = 3,
    };
    ck_ok(hone_attention(&o, g->tape, q, k, v, &call));
    hone_tape_keep(g->tape, HONE_KEEP_ALL);
    const double weight = 1;
    hone_loss_call loss = {.rows = g->rows, .targets = g->targets, .count = N, .weight = &weight};
    ck_ok(hone_cross_entropy(NULL, g->tape, o, &g->head, &loss));
    ck_ok(hone_tape_backward(g->tape));
}

/* Makes the first product one in int8. */
static void quantise_wq(graph *g) {
    static float row_factor[H * D], column_factor[C], scale[1];
    static int8_t q[H * D * C];
    hone_int8_weight *w = &g->int8;
    *w = (hone_int8_weight){.out = H * D, .in = C, .source = g->wq.data};
    w->row_factor = row_factor;
    w->column_factor = column_factor;
    g->device.kernels->int8_column_factors(column_factor, w);
    g->device.kernels->int8_row_factors(row_factor, w);
    g->device.kernels->int8_quantize_weight(q, scale, w, 0, H * D);
    w->q = q;
    w->block_scale = scale;
    g->wq.int8 = w;
}

/* Plans and runs a step, observed; what was seen stands in `seen`. */
static void run_graph(graph *g) {
    hone_device_open_ref(&g->device);
    ck_ok(hone_tape_new(&g->tape, &g->device));
    g->used = 0;
    g->x = tensor(g, T, C);
    g->wq = tensor(g, H * D, C);
    g->wk = tensor(g, K * D, C);
    g->wv = tensor(g, K * D, C);
    g->a = tensor(g, R, C);
    g->b = tensor(g, H * D, R);
    g->head = tensor(g, V, H * D);
    if (g->int8.in) quantise_wq(g);
    train(g, &g->x, &g->x_grad);
    train(g, &g->a, &g->a_grad);
    train(g, &g->b, &g->b_grad);
    memcpy(g->segments, (hone_segment[]){{0, 3, 0, 3}, {3, 2, 3, 2}}, sizeof g->segments);
    memcpy(g->rows, (int32_t[]){0, 1, 3}, sizeof g->rows);
    memcpy(g->targets, (int32_t[]){1, 0, 6}, sizeof g->targets);
    seen_count = 0;
    hone_tape_observe(g->tape, (hone_observer){.passed = note});
    hone_tape_plan(g->tape, true);
    build(g);
    ck_ok(hone_tape_plan_done(g->tape));
    ck_assert_int_eq(seen_count, 0); /* nothing ran */
    ck_ok(hone_tape_reserve(g->tape));
    hone_tape_begin(g->tape);
    build(g);
    hone_tape_free(g->tape);
}

static int count_of(const char *name, hone_phase phase) {
    int count = 0;
    for (int i = 0; i < seen_count; i++)
        count += strcmp(seen[i].name, name) == 0 && seen[i].phase == phase;
    return count;
}

/* The only pass of that kind, or the first. */
static const hone_work *find(const char *name, hone_phase phase) {
    for (int i = 0; i < seen_count; i++) {
        if (strcmp(seen[i].name, name) == 0 && seen[i].phase == phase) return &seen[i];
    }
    ck_abort_msg("no %s", name);
}

static void check_work(const char *name, hone_phase phase, double flops, double floats) {
    const hone_work *work = find(name, phase);
    ck_assert_double_eq(work->flops, flops);
    ck_assert_double_eq(work->bytes, 4 * floats);
}

START_TEST(observer_sees_every_pass_once_in_order) {
    graph g = {.recompute = _i};
    run_graph(&g);
    static const struct {
        const char *name;
        int forward, backward;
    } expected[] = {{"linear", 3, 3}, {"lora", 1, 1}, {"attention", 1, 1}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        ck_assert_int_eq(count_of(expected[i].name, HONE_FORWARD), expected[i].forward);
        ck_assert_int_eq(count_of(expected[i].name, HONE_REPLAY),
                         g.recompute ? expected[i].forward : 0);
        ck_assert_int_eq(count_of(expected[i].name, HONE_BACKWARD), expected[i].backward);
    }
    ck_assert_int_eq(count_of("cross_entropy", HONE_FORWARD), 1);
    ck_assert_int_eq(count_of("cross_entropy", HONE_BACKWARD), 1);
    ck_assert_int_eq(seen_count, g.recompute ? 17 : 12);
    for (int i = 0; i < seen_count; i++) {
        ck_assert(seen[i].start <= seen[i].end);
        if (i) ck_assert(seen[i - 1].end <= seen[i].start);
    }
}
END_TEST

START_TEST(work_of_operations_is_what_their_formulas_say) {
    graph g = {.recompute = true};
    run_graph(&g);
    const int q = T * H * D, x = T * C, a = R * C,
              b = H * D * R; /* the product takes t b^T along */
    for (hone_phase phase = HONE_FORWARD; phase <= HONE_REPLAY; phase++) {
        check_work("linear", phase, 2 * T * C * H * D + 2 * T * b, x + C * H * D + q);
        check_work("lora", phase, 2 * T * a, x + a + T * R);
        check_work("attention", phase, 2 * 2 * (6 + 3) * H * D, q + 2 * T * K * D + q + T * H);
    }
    check_work("cross_entropy", HONE_FORWARD, 2 * 2 * N * V * H * D,
               N * H * D + V * H * D + N * H * D + N);
    check_work("cross_entropy", HONE_BACKWARD, 0, N * H * D + q);
    check_work("attention", HONE_BACKWARD, 5 * 2 * (6 + 3) * H * D,
               q + (q + 2 * T * K * D + q + T * H) + (q + 2 * T * K * D));
    check_work("lora", HONE_BACKWARD, 2 * T * (b + b + a),
               q + b + T * R + (T * R + 2 * b) + (x + 2 * a));
    const hone_work *last = NULL; /* q's, after those of v and k: its gradient is added */
    for (int i = 0; i < seen_count; i++) {
        if (strcmp(seen[i].name, "linear") == 0) last = &seen[i];
    }
    ck_assert_double_eq(last->flops, 2 * T * C * H * D + 2 * T * a);
    ck_assert_double_eq(last->bytes, 4 * (q + C * H * D + 2 * x));
    ck_assert_int_eq(last->shape[0], C);
    ck_assert_int_eq(last->shape[1], H * D);
}
END_TEST

/* Activations are quantised in a part of its own, and the product reads what came of that: a byte for each number, and
 * for a block of them a scale and, of activations, a sum. */
START_TEST(work_in_int8_is_that_of_what_is_read) {
    graph g = {.int8.in = C};
    run_graph(&g);
    const int rows = T * (C + 8), rows_bwd = T * (H * D + 8), w = H * D * C + 4;
    const hone_work *fwd = find("linear", HONE_FORWARD), *bwd = NULL;
    for (int i = 0; i < seen_count; i++) {
        if (strcmp(seen[i].name, "linear") == 0) bwd = &seen[i];
    }
    ck_assert_str_eq(fwd->mode, "int8");
    ck_assert_double_eq(fwd->bytes, rows + w + 4 * T * H * D);
    ck_assert_double_eq(bwd->bytes, rows_bwd + w + 4 * 2 * T * C);
    for (hone_phase phase = HONE_FORWARD; phase <= HONE_BACKWARD; phase += HONE_BACKWARD) {
        const hone_work *part = find("quantize", phase);
        ck_assert_int_eq(count_of("quantize", phase), 1);
        ck_assert_double_eq(part->flops, 0);
        ck_assert_double_eq(part->bytes,
                            phase == HONE_BACKWARD ? 4 * T * H * D + rows_bwd : 4 * T * C + rows);
    }
}
END_TEST

START_TEST(work_of_attention_counts_the_window) {
    graph g = {.window = 2};
    run_graph(&g);
    ck_assert_double_eq(find("attention", HONE_FORWARD)->flops, 2 * 2 * (5 + 3) * H * D);
}
END_TEST

/* --- Rows --- */

/* A step in which one product takes `seconds`. */
static void take_step(hone_profile *p, int64_t step, double seconds) {
    hone_observer observer = hone_profile_observer(p);
    double start = 100 * (double)step;
    hone_work work = {.name = "linear", .shape = {3, 4}, .flops = 2e9, .bytes = 1e9};
    work.start = start + 1;
    work.end = work.start + seconds;
    hone_profile_step_begin(p, step, start);
    observer.passed(observer.context, &work);
    hone_profile_step_end(p, start + 1 + seconds);
}

START_TEST(profile_leaves_the_first_of_several_steps_out) {
    hone_profile *p;
    ck_ok(hone_profile_new(&p));
    take_step(p, 1, 50);
    ck_assert_int_eq(p->steps, 1);
    ck_assert_double_eq_tol(p->rows[0].seconds, 50, 1e-9);
    for (int64_t step = 2; step <= 6; step++) take_step(p, step, 3);
    ck_assert_int_eq(p->steps, 5);
    ck_assert_int_eq(p->row_count, 1);
    ck_assert_int_eq(p->rows[0].calls, 5);
    ck_assert_double_eq_tol(p->rows[0].seconds, 15, 1e-9);
    ck_assert_double_eq_tol(p->rows[0].phase[HONE_FORWARD], 15, 1e-9);
    ck_assert_double_eq_tol(p->seconds, 20, 1e-9);
    ck_assert_int_eq(p->event_count, HONE_PROFILE_TRACED);
    ck_assert_int_eq(p->traced[0].step, 2);
    hone_buf table = {0};
    ck_ok(hone_profile_table(&table, p, &(hone_limits){.flops = 1e9, .bytes = 2e9}));
    ck_assert_ptr_nonnull(strstr(table.data, "5 steps of 4000.00 ms"));
    ck_assert_ptr_nonnull(strstr(table.data,
                                 "linear         3x4                  1  3000.00        - "
                                 "       -  3000.00  75.0%     0.7  67%     0.3  17%"));
    hone_buf_free(&table);
    hone_profile_free(p);
}
END_TEST

/* Half of the products in int8, at a quarter of its limit, half in f32, at half of that: the step is at 3/8. */
START_TEST(profile_measures_a_row_by_the_limit_of_its_mode) {
    hone_profile *p;
    ck_ok(hone_profile_new(&p));
    hone_observer observer = hone_profile_observer(p);
    hone_profile_step_begin(p, 1, 0);
    hone_work work = {.name = "linear", .shape = {3, 4}, .weights = HONE_Q8_0, .flops = 1e9};
    work.mode = "int8";
    work.end = 1;
    observer.passed(observer.context, &work);
    work.mode = NULL;
    work.start = 1;
    work.end = 2;
    observer.passed(observer.context, &work);
    hone_profile_step_end(p, 2);
    hone_limits limits = {.flops = 2e9, .bytes = 2e9, .mode_flops = 4e9, .mode = "int8"};
    hone_buf text = {0};
    ck_ok(hone_profile_table(&text, p, &limits));
    static const char *const expected[] = {"2.0 GFLOP/s (product of f32), 4.0 GFLOP/s (in int8), ",
                                           "50.0%     1.0  25%", "50.0%     1.0  50%",
                                           "100.0%     1.0  38%"};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        ck_assert_msg(strstr(text.data, expected[i]), "no %s in %s", expected[i], text.data);
    ck_assert_ptr_nonnull(strstr(text.data, "linear         3x4 int8"));
    ck_assert_ptr_nonnull(strstr(text.data, "linear         3x4 q8_0"));
    hone_buf_free(&text);
    hone_profile_free(p);
}
END_TEST

START_TEST(profile_with_more_sizes_than_rows_keeps_the_sum) {
    hone_profile *p;
    ck_ok(hone_profile_new(&p));
    hone_observer observer = hone_profile_observer(p);
    enum { SIZES = HONE_PROFILE_ROWS + 50 };
    hone_profile_step_begin(p, 1, 0);
    for (int i = 0; i < SIZES; i++) {
        hone_work work = {.name = "add", .shape = {i + 1}, .start = i, .end = i + 1};
        observer.passed(observer.context, &work);
    }
    hone_profile_step_end(p, SIZES);
    double sum = 0;
    for (int i = 0; i < p->row_count; i++) sum += p->rows[i].seconds;
    ck_assert_int_eq(p->row_count, HONE_PROFILE_ROWS);
    ck_assert_double_eq_tol(sum, SIZES, 1e-9);
    hone_profile_free(p);
}
END_TEST

START_TEST(profile_without_steps_says_so) {
    hone_profile *p;
    ck_ok(hone_profile_new(&p));
    hone_buf text = {0};
    ck_ok(hone_profile_table(&text, p, &(hone_limits){.flops = 1, .bytes = 1}));
    ck_assert_ptr_nonnull(strstr(text.data, "no step was taken"));
    hone_buf_clear(&text);
    ck_ok(hone_profile_trace(&text, p));
    json_t *trace;
    ck_ok(hone_json_parse(&trace, text.data, text.length, "trace"));
    json_decref(trace);
    hone_buf_free(&text);
    hone_profile_free(p);
}
END_TEST

START_TEST(limits_are_numbers_of_a_machine) {
    hone_device device;
    ck_ok(hone_device_open_cpu(&device));
    for (hone_compute way = HONE_COMPUTE_F32; way < HONE_COMPUTES; way++) {
        if (!hone_precisions_have(device.kernels->precisions, hone_compute_precision(way)))
            continue;
        hone_limits limits;
        ck_ok(hone_limits_measure(&limits, &device, way, _i ? 32 << 20 : INT64_MAX));
        ck_assert(limits.flops > 1e7 && limits.flops < 1e15);
        ck_assert(limits.bytes > 1e7 && limits.bytes < 1e14);
        ck_assert(limits.copied == (_i ? 16 << 20 : 128 << 20));
        if (way == HONE_COMPUTE_F32) {
            ck_assert_ptr_null(limits.mode);
        } else {
            ck_assert_str_eq(limits.mode, hone_compute_names[way]);
            ck_assert(limits.mode_flops > 1e7 && limits.mode_flops < 1e15);
        }
    }
}
END_TEST

/* --- A run --- */

static char folder[64];

static void make_folder(void) {
    strcpy(folder, "/tmp/hone-profile-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void remove_folder(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

static hone_buf table;

static void keep_table(void *context, const char *text) {
    (void)context;
    hone_buf_clear(&table);
    ck_ok(hone_buf_puts(&table, text));
}

static void train_run(const char *name, int steps, bool profile) {
    hone_train_options o;
    ck_ok(hone_train_options_default(&o));
    char text[6][256];
    snprintf(text[0], sizeof *text, "model=%s/models/grouped-tied", HONE_TEST_FIXTURES);
    snprintf(text[1], sizeof *text, "data=%s/records.jsonl", folder);
    snprintf(text[2], sizeof *text, "out=%s/%s", folder, name);
    snprintf(text[3], sizeof *text, "steps=%d", steps);
    for (int i = 0; i < 4; i++) ck_ok(hone_train_options_assign(&o, text[i], "test"));
    static const char *const more[] = {
        "seq_len=96",     "batch_size=2", "accumulation=2", "rank=4",         "dropout=0.1",
        "recompute=full", "threads=1",    "eval_every=2",   "template=plain", "checkpoint_every=2"};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        ck_ok(hone_train_options_assign(&o, more[i], "test"));
    ck_ok(hone_train_options_check(&o));
    hone_train_result result;
    ck_ok(hone_train(&result, &o, false,
                     &(hone_train_observer){.profile = profile ? keep_table : NULL}));
    hone_train_options_free(&o);
}

static void write_records(void) {
    hone_buf text = {0};
    for (int i = 0; i < 40; i++)
        ck_ok(hone_buf_printf(&text, "{\"question\": \"Item %d?\", \"answer\": \"%d coins.\"}\n", i,
                              i * 3 % 17));
    char path[128];
    snprintf(path, sizeof path, "%s/records.jsonl", folder);
    ck_ok(hone_file_put(path, text.data, text.length));
    hone_buf_free(&text);
}

/* The milliseconds a step of a line: the number before the part in per cent. */
static double milliseconds(const char *line) {
    double number = 0, last = 0;
    for (const char *at = line + 31; at < strchr(line, '\n');) {
        int length = 0;
        if (sscanf(at, " %lf%n", &number, &length) == 1) {
            at += length;
            if (*at == '%') return last;
            last = number;
        } else {
            ck_assert_int_eq(sscanf(at, " -%n", &length), 0);
            at += length;
        }
    }
    ck_abort_msg("no time in: %s", line);
}

static void check_table(void) {
    double sum = 0, step = 0;
    int rows = 0;
    const char *line = strchr(strchr(table.data, '\n') + 1, '\n') + 1; /* below the head */
    for (; strncmp(line, "between", 7) != 0; line = strchr(line, '\n') + 1) {
        if (strncmp(line, "step ", 5) == 0) {
            step = milliseconds(line);
        } else {
            sum += milliseconds(line);
            rows++;
        }
    }
    ck_assert_int_gt(rows, 10);
    ck_assert_double_gt(step, 0);
    ck_assert_double_eq_tol(sum, step, 0.005 * (rows + 1));
    ck_assert_ptr_nonnull(strstr(line, "evaluation"));
    ck_assert_ptr_nonnull(strstr(line, "checkpoint"));
    ck_assert_ptr_nonnull(strstr(line, "metrics"));
}

/* Complete events of a track follow each other; gives how many there are. */
static int check_track(const json_t *events, json_int_t track) {
    double end = -1;
    size_t i;
    int count = 0;
    json_t *event;
    json_array_foreach(events, i, event) {
        if (strcmp(json_string_value(json_object_get(event, "ph")), "X") != 0) continue;
        if (json_integer_value(json_object_get(event, "tid")) != track) continue;
        double start = json_number_value(json_object_get(event, "ts"));
        ck_each(start >= end - 1e-6, "%s overlaps what is before it",
                json_string_value(json_object_get(event, "name")));
        end = start + json_number_value(json_object_get(event, "dur"));
        count++;
    }
    return count;
}

START_TEST(train_with_profile_leaves_table_and_trace) {
    make_folder();
    write_records();
    train_run("run", 6, true);
    check_table();
    char path[128];
    snprintf(path, sizeof path, "%s/run/profile.json", folder);
    json_t *trace;
    ck_ok(hone_json_load(&trace, path));
    const json_t *events = json_object_get(trace, "traceEvents");
    ck_assert_int_eq(check_track(events, 1), HONE_PROFILE_TRACED);
    ck_assert_int_gt(check_track(events, 2), 100);
    json_decref(trace);
    hone_buf_free(&table);
    remove_folder();
}
END_TEST

START_TEST(train_with_profile_gives_the_same_bytes) {
    make_folder();
    write_records();
    train_run("with", 3, true);
    train_run("without", 3, false);
    char path[128], hash[2][HONE_SHA256_TEXT];
    const char *const runs[] = {"with", "without"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s/adapter/adapter_model.safetensors", folder, runs[i]);
        ck_ok(hone_sha256_file(hash[i], path));
    }
    ck_assert_str_eq(hash[0], hash[1]);
    snprintf(path, sizeof path, "%s/without/profile.json", folder);
    ck_assert(!hone_path_exists(path));
    hone_buf_free(&table);
    remove_folder();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("profile");
    TCase *work = tcase_create("work");
    tcase_add_loop_test(work, observer_sees_every_pass_once_in_order, 0, 2);
    tcase_add_test(work, work_of_operations_is_what_their_formulas_say);
    tcase_add_test(work, work_in_int8_is_that_of_what_is_read);
    tcase_add_test(work, work_of_attention_counts_the_window);
    suite_add_tcase(suite, work);
    TCase *rows = tcase_create("rows");
    tcase_set_timeout(rows, 60);
    tcase_add_test(rows, profile_leaves_the_first_of_several_steps_out);
    tcase_add_test(rows, profile_measures_a_row_by_the_limit_of_its_mode);
    tcase_add_test(rows, profile_with_more_sizes_than_rows_keeps_the_sum);
    tcase_add_test(rows, profile_without_steps_says_so);
    tcase_add_loop_test(rows, limits_are_numbers_of_a_machine, 0, 2);
    suite_add_tcase(suite, rows);
    TCase *run = tcase_create("run");
    tcase_set_timeout(run, 120);
    tcase_add_test(run, train_with_profile_leaves_table_and_trace);
    tcase_add_test(run, train_with_profile_gives_the_same_bytes);
    suite_add_tcase(suite, run);
    return hone_test_run(suite);
}
