/*
 * What the suites of model/ share: a folder of their own, models on the reference kernels, and the loss of given ids.
 */
#ifndef HONE_TESTS_MODEL_SUPPORT_H
#define HONE_TESTS_MODEL_SUPPORT_H

#include <math.h>

#include "base/alloc.h"
#include "base/file.h"
#include "model/transformer.h"
#include "tests/support.h"

#ifndef HONE_TEST_FIXTURES
#define HONE_TEST_FIXTURES "tests/fixtures" /* the build says where */
#endif

static char test_folder[64];
static hone_device test_device;

static inline void make_test_folder(void) {
    snprintf(test_folder, sizeof test_folder, "/tmp/hone-model-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(test_folder));
    hone_device_open_ref(&test_device);
}

static inline void remove_test_folder(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", test_folder);
    ck_assert_int_eq(system(command), 0);
}

/* Good until 16 further calls of these two. */
static inline const char *test_text(const char *folder, const char *name) {
    static char paths[16][512];
    static int next;
    char *path = paths[next++ % 16];
    char joined[sizeof paths[0]]; /* the folder may be one of `paths` */
    int length = snprintf(joined, sizeof joined, "%s/%s", folder, name);
    ck_assert_int_lt(length, (int)sizeof joined);
    return strcpy(path, joined);
}

static inline const char *test_path(const char *name) {
    return test_text(test_folder, name);
}

/* A committed fixture below tests/fixtures. */
static inline const char *test_fixture(const char *name) {
    return test_text(HONE_TEST_FIXTURES, name);
}

static inline hone_model *open_model(const char *path) {
    hone_model *model;
    ck_ok(hone_model_open(&model, path, &test_device));
    return model;
}

static inline hone_adapter *open_adapter(const hone_model *model, const char *path) {
    hone_adapter *adapter;
    ck_ok(hone_adapter_open(&adapter, model, path, NULL));
    return adapter;
}

static inline hone_status build_logits(hone_tensor **logits, hone_tape *tape,
                                       const hone_forward *forward, const int32_t *rows) {
    return hone_transformer_logits(logits, tape, forward, rows, forward->tokens->count);
}

static inline double row_nll(const float *row, int64_t width, int32_t target) {
    double most = (double)row[0], sum = 0;
    for (int64_t i = 1; i < width; i++) most = fmax(most, (double)row[i]);
    for (int64_t i = 0; i < width; i++) sum += exp((double)row[i] - most);
    return log(sum) + most - (double)row[target];
}

/* Mean negative log-likelihood of tokens 1 … count-1; with a mask, of those where it is set. */
static inline double mean_nll(hone_model *model, const hone_adapter *adapter, const int32_t *ids,
                              const uint8_t *mask, int64_t count) {
    int32_t positions[1024], rows[1024];
    ck_assert_int_le(count, 1024);
    for (int32_t i = 0; i < (int32_t)count; i++) positions[i] = rows[i] = i;
    hone_segment segment = {0, (int32_t)count, 0, (int32_t)count};
    hone_tokens tokens = {.count = count,
                          .ids = ids,
                          .positions = positions,
                          .segment_count = 1,
                          .segments = &segment,
                          .longest_q = count,
                          .longest_k = count};
    hone_forward forward = {.model = model, .adapter = adapter, .tokens = &tokens};
    hone_tape *tape;
    hone_tensor *logits;
    ck_ok(hone_model_rope(model, count));
    ck_ok(hone_tape_new(&tape, &test_device));
    hone_tape_plan(tape, false);
    ck_ok(build_logits(&logits, tape, &forward, rows));
    ck_ok(hone_tape_plan_done(tape));
    ck_ok(hone_tape_reserve(tape));
    hone_tape_begin(tape);
    ck_ok(build_logits(&logits, tape, &forward, rows));
    double sum = 0;
    int64_t counted = 0, width = model->arch.vocabulary;
    for (int64_t i = 1; i < count; i++) {
        if (mask && !mask[i]) continue;
        sum += row_nll((const float *)logits->data + (i - 1) * width, width, ids[i]);
        counted++;
    }
    hone_tape_free(tape);
    return sum / (double)counted;
}

/* Reads a JSON array of integers; gives their number. */
static inline int64_t read_ids(int32_t *out, int64_t most, const json_t *array) {
    size_t i;
    json_t *value;
    ck_assert_int_le((int64_t)json_array_size(array), most);
    json_array_foreach(array, i, value) out[i] = (int32_t)json_integer_value(value);
    return (int64_t)json_array_size(array);
}

#endif
