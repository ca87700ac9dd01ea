/*
 * Files that an adapter was merged into, on the processor and on a GPU.
 */
#ifndef HONE_TESTS_CUDA_MERGED_FILES_H
#define HONE_TESTS_CUDA_MERGED_FILES_H

#include <math.h>

#include "base/alloc.h"
#include "base/file.h"
#include "formats/gguf.h"
#include "kernels/kernels.h"
#include "tests/support.h"

/* A tensor of both files: the same but for what merging rounds. w + s B A sums few terms, of which a real GPU rounds other
 * sums than the processor: units in the last place of f32, which in bf16 now and then fall to the other side of a rounding, by
 * 2^-8 of an element. */
static inline void expect_near_tensors(const hone_gguf_tensor *found,
                                       const hone_gguf_tensor *wanted) {
    int64_t n = wanted->rows * wanted->cols;
    double apart = 0, norm = 0, limit = wanted->type == HONE_F32 ? 1e-6 : 1e-3;
    ck_assert_str_eq(found->name, wanted->name);
    ck_assert_uint_eq(found->type, wanted->type);
    ck_assert_uint_eq(found->bytes, wanted->bytes);
    float *values[2];
    for (int f = 0; f < 2; f++) {
        const hone_gguf_tensor *t = f == 0 ? found : wanted;
        values[f] = hone_alloc((size_t)n, sizeof(float));
        ck_assert_ptr_nonnull(values[f]);
        hone_kernels_ref()->dequantize(values[f], t->data, (hone_dtype)t->type, n);
    }
    for (int64_t i = 0; i < n; i++) {
        double w = (double)values[1][i], d = (double)values[0][i] - w;
        apart += d * d;
        norm += w * w;
    }
    for (int f = 0; f < 2; f++) hone_free(values[f]);
    ck_assert_msg(sqrt(apart) <= limit * sqrt(norm), "%s: %g", wanted->name, sqrt(apart / norm));
}

/* On an emulated GPU the same to the last bit. */
static inline void expect_near_files(const char *found, const char *wanted) {
    hone_gguf *ggufs[2];
    ck_ok(hone_gguf_open(&ggufs[0], found));
    ck_ok(hone_gguf_open(&ggufs[1], wanted));
    size_t count = hone_gguf_tensor_count(ggufs[1]);
    ck_assert_uint_eq(hone_gguf_tensor_count(ggufs[0]), count);
    for (size_t i = 0; i < count; i++)
        expect_near_tensors(hone_gguf_tensor_at(ggufs[0], i), hone_gguf_tensor_at(ggufs[1], i));
    for (int f = 0; f < 2; f++) hone_gguf_close(ggufs[f]);
#ifndef HONE_CUDA
    hone_buf files[2] = {{0}};
    ck_ok(hone_file_get(&files[0], found));
    ck_ok(hone_file_get(&files[1], wanted));
    ck_assert_uint_eq(files[0].length, files[1].length);
    ck_assert_mem_eq(files[0].data, files[1].data, files[0].length);
    for (int f = 0; f < 2; f++) hone_buf_free(&files[f]);
#endif
}

#endif
