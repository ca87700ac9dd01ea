#include <math.h>

#include "support.h"
#include "train/schedule.h"

/* Figures of transformers 5: get_*_schedule_with_warmup over an optimiser with lr 1, 2 steps of warm-up, 10 in all. */
static const struct {
    hone_schedule_kind kind;
    double min_lr_ratio;
    double lr[12];
} cases[] = {
    {HONE_SCHEDULE_CONSTANT, 0, {0, 0.5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
    {HONE_SCHEDULE_LINEAR, 0, {0, 0.5, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0, 0}},
    {HONE_SCHEDULE_COSINE,
     0,
     {0, 0.5, 1, 0.961939766255643, 0.853553390593274, 0.691341716182545, 0.5, 0.308658283817455,
      0.146446609406726, 0.0380602337443566, 0, 0}},
    {HONE_SCHEDULE_LINEAR, 0.2, {0, 0.5, 1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.2}},
    {HONE_SCHEDULE_COSINE,
     0.1,
     {0, 0.5, 1, 0.965745789630079, 0.868198051533946, 0.72220754456429, 0.55, 0.37779245543571,
      0.231801948466054, 0.134254210369921, 0.1, 0.1}},
};

START_TEST(schedule_lr_each_kind_matches_transformers) {
    hone_schedule schedule = {.kind = cases[_i].kind,
                              .lr = 2e-4,
                              .warmup = 2,
                              .steps = 10,
                              .min_lr_ratio = cases[_i].min_lr_ratio};
    for (int step = 0; step < 12; step++)
        ck_assert_double_eq_tol(hone_schedule_lr(&schedule, step), 2e-4 * cases[_i].lr[step],
                                1e-18);
}
END_TEST

START_TEST(schedule_lr_without_warmup_starts_at_peak) {
    hone_schedule schedule = {.kind = HONE_SCHEDULE_COSINE, .lr = 1, .steps = 1};
    ck_assert_double_eq(hone_schedule_lr(&schedule, 0), 1);
    ck_assert_double_eq(hone_schedule_lr(&schedule, 1), 0);
}
END_TEST

START_TEST(schedule_lr_warmup_as_long_as_run_stays_finite) {
    hone_schedule schedule = {.kind = HONE_SCHEDULE_LINEAR, .lr = 1, .warmup = 5, .steps = 5};
    for (int step = 0; step < 7; step++) ck_assert(isfinite(hone_schedule_lr(&schedule, step)));
}
END_TEST

START_TEST(schedule_warmup_resolves_automatic) {
    ck_assert_int_eq(hone_schedule_warmup(7, 1000), 7);
    ck_assert_int_eq(hone_schedule_warmup(0, 1000), 0);
    ck_assert_int_eq(hone_schedule_warmup(-1, 5), 0);
    ck_assert_int_eq(hone_schedule_warmup(-1, 110), 5);
    ck_assert_int_eq(hone_schedule_warmup(-1, 100000), 50);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("schedule");
    TCase *values = tcase_create("values");
    tcase_add_loop_test(values, schedule_lr_each_kind_matches_transformers, 0,
                        sizeof cases / sizeof *cases);
    tcase_add_test(values, schedule_lr_without_warmup_starts_at_peak);
    tcase_add_test(values, schedule_lr_warmup_as_long_as_run_stays_finite);
    tcase_add_test(values, schedule_warmup_resolves_automatic);
    suite_add_tcase(suite, values);
    return hone_test_run(suite);
}
