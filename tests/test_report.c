#include <math.h>

#include "base/alloc.h"
#include "base/file.h"
#include "support.h"
#include "train/chart.h"
#include "train/report.h"

static hone_buf page;

static void teardown(void) {
    hone_buf_free(&page);
}

static size_t count_of(const char *text) {
    size_t count = 0;
    for (const char *at = page.data; (at = strstr(at, text)); at += strlen(text)) count++;
    return count;
}

START_TEST(html_text_escapes_what_html_reads) {
    ck_ok(hone_html_text(&page, "a<b>&\"c'\x01\xff\xc3\xbc\n"));
    ck_assert_str_eq(page.data, "a&lt;b&gt;&amp;&quot;c&#39; \xef\xbf\xbd\xc3\xbc\n");
}
END_TEST

START_TEST(chart_without_points_draws_nothing) {
    const double x[] = {1, 2};
    const double y[] = {(double)NAN, (double)INFINITY};
    const hone_chart_line line = {"a", "a", x, y, 2, true};
    ck_ok(hone_chart(&page, "t", &line, 1));
    ck_ok(hone_chart(&page, "t", &line, 0));
    ck_assert_uint_eq(page.length, 0);
}
END_TEST

START_TEST(chart_one_point_or_flat_line_stays_finite) {
    const double x[] = {5, 6};
    const double y[] = {0, 0};
    for (size_t count = 1; count <= 2; count++) {
        const hone_chart_line line = {"a", "a", x, y, count, true};
        ck_ok(hone_chart(&page, "t", &line, 1));
    }
    ck_assert_ptr_null(strstr(page.data, "nan"));
    ck_assert_ptr_null(strstr(page.data, "inf"));
    ck_assert_uint_eq(count_of("<circle"), 3);
}
END_TEST

START_TEST(chart_extreme_numbers_end) {
    const double x[] = {0, 1e-310, 1e16, 1e16 + 2};
    const double y[] = {1e-320, 2e-320, 1e300, -1e300};
    for (size_t i = 0; i < 4; i++) {
        const hone_chart_line line = {"a", "a", x + i, y + i, 4 - i, true};
        ck_ok(hone_chart(&page, "t", &line, 1));
    }
    ck_assert_uint_eq(count_of("<svg"), 4);
}
END_TEST

START_TEST(chart_long_line_is_thinned_and_keeps_its_peak) {
    enum { POINTS = 200000 };
    double *x = hone_alloc(POINTS, sizeof *x);
    double *y = hone_alloc(POINTS, sizeof *y);
    for (int i = 0; i < POINTS; i++) x[i] = i;
    y[123456] = 1;
    const hone_chart_line line = {"a", "a", x, y, POINTS, false};
    ck_ok(hone_chart(&page, "t", &line, 1));
    ck_assert_uint_lt(page.length, 60000);
    ck_assert_uint_eq(count_of(" 34.0L"), 1); /* the top of the plot */
    hone_free(x);
    hone_free(y);
}
END_TEST

START_TEST(report_format_holds_every_part_and_nothing_that_is_fetched) {
    hone_step_metrics steps[] = {{.step = 1, .loss = 3, .lr = 1e-4},
                                 {.step = 2, .loss = (double)NAN, .lr = 2e-4},
                                 {.step = 3, .loss = 1, .lr = 0}};
    hone_eval_metrics evals[] = {{.step = 0, .eval_loss = 3.5}, {.step = 3, .eval_loss = 2}};
    const hone_metrics_history history = {
        .steps = steps, .step_count = 3, .evals = evals, .eval_count = 2};
    const hone_report_sample samples[] = {
        {"When <b>do</b> you open?", "Once upon", "At 7 & a bit.", "At seven.", true},
        {"<script>alert(1)</script>", NULL, "x", NULL, false},
    };
    const hone_report_row row = {"na<me", "va\"lue"};
    const hone_report_table table = {&row, 1};
    const hone_report report = {.title = "shop <1>",
                                .history = &history,
                                .samples = samples,
                                .sample_count = 2,
                                .summary = table,
                                .ledger = table,
                                .settings = table,
                                .times = table,
                                .files = table};
    ck_ok(hone_report_format(&page, &report));
    ck_assert_uint_eq(count_of("<svg"), 2);
    ck_assert_uint_eq(count_of("<tr><td>na&lt;me</td><td>va&quot;lue</td></tr>"), 5);
    ck_assert_uint_eq(count_of("<script"), 0);
    ck_assert_uint_eq(count_of("http:"), 0);
    ck_assert_uint_eq(count_of("src="), 0);
    ck_assert_uint_eq(count_of("href"), 0);
    ck_assert_uint_eq(count_of("held out</span>"), 1);
    ck_assert_uint_eq(count_of("At 7 &amp; a bit."), 1);
    ck_assert_uint_eq(count_of("<b>Before:</b>"), 1);
    ck_assert_uint_eq(count_of("<title>shop &lt;1&gt;</title></head>"), 1);
}
END_TEST

START_TEST(report_format_empty_report_is_a_page) {
    const hone_report report = {.title = "x"};
    ck_ok(hone_report_format(&page, &report));
    ck_assert_uint_eq(count_of("<h2>"), 0);
    ck_assert_uint_eq(count_of("</html>"), 1);
}
END_TEST

START_TEST(report_write_any_failing_allocation_is_reported) {
    const hone_report_row row = {"name", "value"};
    hone_step_metrics step = {.step = 1, .loss = 3};
    const hone_metrics_history history = {.steps = &step, .step_count = 1};
    const hone_report report = {.title = "x", .history = &history, .summary = {&row, 1}};
    hone_status status = HONE_ERR_MEMORY;
    for (int n = 1; n < 100 && status != HONE_OK; n++) {
        hone_alloc_fail_at(n);
        status = hone_report_format(&page, &report);
        hone_alloc_fail_at(0);
        ck_assert(status == HONE_OK || status == HONE_ERR_MEMORY);
        hone_buf_free(&page);
    }
    ck_assert_int_eq(status, HONE_OK);
    ck_fails(hone_report_write("/nowhere/report.html", &report), HONE_ERR_IO, "/nowhere/");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("report");
    TCase *values = tcase_create("values");
    tcase_add_checked_fixture(values, NULL, teardown);
    tcase_add_test(values, html_text_escapes_what_html_reads);
    tcase_add_test(values, chart_without_points_draws_nothing);
    tcase_add_test(values, chart_one_point_or_flat_line_stays_finite);
    tcase_add_test(values, chart_extreme_numbers_end);
    tcase_add_test(values, chart_long_line_is_thinned_and_keeps_its_peak);
    tcase_add_test(values, report_format_holds_every_part_and_nothing_that_is_fetched);
    tcase_add_test(values, report_format_empty_report_is_a_page);
    suite_add_tcase(suite, values);
    TCase *errors = tcase_create("errors");
    tcase_add_checked_fixture(errors, NULL, teardown);
    tcase_add_test(errors, report_write_any_failing_allocation_is_reported);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
