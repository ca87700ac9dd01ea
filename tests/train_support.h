/*
 * What the suites that train share: a folder of their own, records, the options of a small run, and observers.
 */
#ifndef HONE_TESTS_TRAIN_SUPPORT_H
#define HONE_TESTS_TRAIN_SUPPORT_H

#include "base/alloc.h"
#include "base/file.h"
#include "base/sha256.h"
#include "tests/support.h"
#include "train/trainer.h"

#ifndef HONE_TEST_FIXTURES
#define HONE_TEST_FIXTURES "tests/fixtures" /* the build says where */
#endif

#define MODEL "models/grouped-tied"

static char folder[64];

static inline void make_folder(void) {
    strcpy(folder, "/tmp/hone-train-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static inline void remove_folder(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

static inline const char *in_folder(const char *name) {
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

/* Questions with answers that can be learnt. */
static inline void write_records(const char *path, int count) {
    hone_buf text = {0};
    for (int i = 0; i < count; i++) {
        ck_ok(hone_buf_printf(&text,
                              "{\"question\": \"What is the price of item %d?\", \"answer\": "
                              "\"Item %d is %d coins.\"}\n",
                              i, i, i * 3 % 17));
    }
    ck_ok(hone_file_put(path, text.data, text.length));
    hone_buf_free(&text);
}

static inline void set(hone_train_options *o, const char *assignment) {
    ck_ok(hone_train_options_assign(o, assignment, "test"));
}

static inline hone_train_options options_for(const char *out) {
    hone_train_options o;
    ck_ok(hone_train_options_default(&o));
    char text[512];
    snprintf(text, sizeof text, "model=%s/%s", HONE_TEST_FIXTURES, MODEL);
    set(&o, text);
    snprintf(text, sizeof text, "data=%s", in_folder("records.jsonl"));
    set(&o, text);
    snprintf(text, sizeof text, "out=%s", out);
    set(&o, text);
    static const char *const small[] = {"steps=12",
                                        "seq_len=96",
                                        "batch_size=2",
                                        "accumulation=2",
                                        "rank=4",
                                        "alpha=8",
                                        "dropout=0.1",
                                        "lr=1e-2",
                                        "recompute=full",
                                        "checkpoint_every=3",
                                        "eval_every=4",
                                        "template=plain",
                                        "checkpoint_minutes=0"};
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) set(&o, small[i]);
    ck_ok(hone_train_options_check(&o));
    return o;
}

static const hone_train_observer silent;

static inline void hash_of(char out[HONE_SHA256_TEXT], const char *run, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", run, name);
    ck_ok(hone_sha256_file(out, path));
}

static inline void check_same_file(const char *a, const char *b, const char *name) {
    char first[HONE_SHA256_TEXT], second[HONE_SHA256_TEXT];
    hash_of(first, a, name);
    hash_of(second, b, name);
    ck_assert_msg(strcmp(first, second) == 0, "%s differs between %s and %s", name, a, b);
}

/* Stops a run after a step. */
static volatile sig_atomic_t stop_flag;
static int64_t stop_after;

static inline void count_steps(void *context, const hone_step_metrics *m, int64_t steps,
                               double left) {
    (void)context;
    (void)steps;
    (void)left;
    if (m->step == stop_after) stop_flag = SIGINT;
}

static const hone_train_observer stopping = {.step = count_steps, .stop = &stop_flag};

#endif
