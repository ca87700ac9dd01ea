/*
 * Read before every file that clang-tidy looks at: what the analyzer, which sees one file at a time, cannot know.
 */
#ifndef HONE_TOOLS_ANALYSIS_H
#define HONE_TOOLS_ANALYSIS_H

#include "base/status.h"

/* These return their first argument, which is never HONE_OK. */
#define hone_fail(code, ...)         (hone_fail(code, __VA_ARGS__), (code))
#define hone_fail_errno(code, ...)   (hone_fail_errno(code, __VA_ARGS__), (code))
#define hone_fail_context(code, ...) (hone_fail_context(code, __VA_ARGS__), (code))

#endif
