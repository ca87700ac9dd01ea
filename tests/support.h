/*
 * What the Check suites share.
 */
#ifndef HONE_TESTS_SUPPORT_H
#define HONE_TESTS_SUPPORT_H

#include <check.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/status.h"

/* ck_assert_msg for loops over many elements: Check's own writes to a file each time it holds. */
#define ck_each(condition, ...)                                                                    \
    do {                                                                                           \
        if (!(condition)) ck_abort_msg(__VA_ARGS__);                                               \
    } while (0)

/* Fails the test with the error message when `expr` is not HONE_OK. */
#define ck_ok(expr)                                                                                \
    do {                                                                                           \
        hone_status ck_status_ = (expr);                                                           \
        ck_assert_msg(ck_status_ == HONE_OK, "%s: %s", #expr, hone_fail_message());                \
    } while (0)

/* Fails unless `expr` returns `code` with a message that contains `text`. */
#define ck_fails(expr, code, text)                                                                 \
    do {                                                                                           \
        hone_status ck_status_ = (expr);                                                           \
        ck_assert_msg(ck_status_ == (code), "%s: status %d, message: %s", #expr, (int)ck_status_,  \
                      hone_fail_message());                                                        \
        ck_assert_msg(strstr(hone_fail_message(), text) != NULL, "%s: message: %s", #expr,         \
                      hone_fail_message());                                                        \
    } while (0)

/* The path of a file under $HONE_TEST_DATA, or NULL after saying SKIP; with CI set a missing variable fails the test.
 * The text is good until the next call. */
static inline const char *hone_test_data(const char *name) {
    static char path[1024];
    const char *folder = getenv("HONE_TEST_DATA");
    if (!folder) {
        ck_assert_msg(!getenv("CI"), "HONE_TEST_DATA must be set when CI is");
        printf("SKIP: %s needs HONE_TEST_DATA\n", name);
        return NULL;
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* Runs a suite of one case list and gives the exit status. */
static inline int hone_test_run(Suite *suite) {
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static inline bool hone_test_tell_kernel(const char *path, const char *text) {
    FILE *file = fopen(path, "we");
    if (!file) return false;
    fputs(text, file);
    return fclose(file) == 0;
}

/* A user namespace in which the user is who they were: without that no file can be made. */
static inline bool hone_test_unshare_user(void) {
    char user[64], group[64];
    snprintf(user, sizeof user, "%u %u 1\n", (unsigned)getuid(), (unsigned)getuid());
    snprintf(group, sizeof group, "%u %u 1\n", (unsigned)getgid(), (unsigned)getgid());
    return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
           hone_test_tell_kernel("/proc/self/uid_map", user) &&
           hone_test_tell_kernel("/proc/self/setgroups", "deny") &&
           hone_test_tell_kernel("/proc/self/gid_map", group);
}

/* Mounts a file system of `size` ("64k") on a folder, seen by this process alone, which should be a forked one. False
 * where the kernel does not let it. */
static inline bool hone_test_small_disk(const char *folder, const char *size) {
    char options[32];
    snprintf(options, sizeof options, "size=%s", size);
    if (unshare(CLONE_NEWNS) != 0 && !hone_test_unshare_user()) return false;
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", folder, "tmpfs", 0, options) == 0;
}

#endif
