#include "tests/cuda/fake_cublaslt.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/dtype.h"
#include "kernels/fp8.h"
#include "kernels/precision.h"
#include "tests/cuda/fake_parts.h"
#include "tests/cuda/fake_stream.h"

enum { DEFAULT_ALIGNMENT = 256, WORKSPACE_ALIGNMENT = 256, SCALE_ALIGNMENT = 16, SCRATCHED = 4096 };

typedef enum kind { HANDLE = 0x5eed, OPERATION, LAYOUT, PREFERENCE, CHOICE } kind;
typedef enum operand { A, B, C, D, OPERANDS } operand;

typedef struct layout {
    int64_t type, rows, columns, stride;
} layout;

/* What an operation and its layouts come to. */
typedef struct problem {
    int64_t compute, m, n, k;
    int64_t trans_a, trans_b;
    int64_t biased;
    layout of[OPERANDS];
} problem;

/* Any of the library's opaque things; kept after it is destroyed, so that its use can be told. */
typedef struct object {
    struct object *next; /* of all */
    kind is;
    bool alive;
    union {
        struct {
            int64_t compute, scale;
            int32_t op[2]; /* of A and B */
            int32_t pointer_mode;
            uint32_t epilogue;
            const float *bias;         /* [m], of the epilogue that adds one */
            const float *scaled_by[2]; /* A and B in fp8; NULL: 1 */
        } operation;
        layout layout;
        struct {
            uint64_t bytes; /* of the workspace, at most */
            uint32_t alignment[OPERANDS];
        } preference;
        struct {
            problem solves;
            uint64_t bytes;
            uint32_t alignment[OPERANDS];
        } choice;
    };
} object;

static fake_cublaslt state;
static object *objects;

fake_cublaslt *fake_cublaslt_state(void) {
    return &state;
}

static cublasStatus_t refuse(cublasStatus_t status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static cublasStatus_t refuse(cublasStatus_t status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(state.complaint, sizeof state.complaint, format, arguments);
    va_end(arguments);
    return status;
}

#define INVALID(...)     refuse(CUBLAS_STATUS_INVALID_VALUE, __VA_ARGS__)
#define UNSUPPORTED(...) refuse(CUBLAS_STATUS_NOT_SUPPORTED, __VA_ARGS__)
#define TRY(call)                                                                                  \
    do {                                                                                           \
        cublasStatus_t try_status_ = (call);                                                       \
        if (try_status_ != CUBLAS_STATUS_SUCCESS) return try_status_;                              \
    } while (0)

/* The failure that a test has asked for. */
static cublasStatus_t asked_for(void) {
    cublasStatus_t status = state.to_return;
    state.to_return = CUBLAS_STATUS_SUCCESS;
    return status;
}

/* --- Objects --- */

static object *object_new(kind is) {
    object *o = hone_alloc(1, sizeof *o);
    if (!o) return NULL;
    *o = (object){.next = objects, .is = is, .alive = true};
    objects = o;
    state.created++;
    if (is != CHOICE) state.live++;
    return o;
}

static bool is_one(const void *opaque, kind is) {
    const object *o = opaque;
    return o && o->is == is && o->alive;
}

static cublasStatus_t object_give(void *out, kind is, object **made) {
    if (!out) return INVALID("nowhere to put what is made");
    *made = object_new(is);
    if (!*made) return refuse(CUBLAS_STATUS_ALLOC_FAILED, "no memory");
    memcpy(out, made, sizeof *made);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t object_destroy(void *opaque, kind is) {
    if (!is_one(opaque, is)) return INVALID("what is destroyed is none, or was destroyed before");
    ((object *)opaque)->alive = false;
    state.live--;
    return CUBLAS_STATUS_SUCCESS;
}

static size_t get_version(void) {
    return CUBLAS_VERSION;
}

static const char *get_status_name(cublasStatus_t status) {
    return status == CUBLAS_STATUS_SUCCESS            ? "CUBLAS_STATUS_SUCCESS"
           : status == CUBLAS_STATUS_NOT_INITIALIZED  ? "CUBLAS_STATUS_NOT_INITIALIZED"
           : status == CUBLAS_STATUS_INVALID_VALUE    ? "CUBLAS_STATUS_INVALID_VALUE"
           : status == CUBLAS_STATUS_NOT_SUPPORTED    ? "CUBLAS_STATUS_NOT_SUPPORTED"
           : status == CUBLAS_STATUS_EXECUTION_FAILED ? "CUBLAS_STATUS_EXECUTION_FAILED"
                                                      : "another status";
}

static cublasStatus_t create(cublasLtHandle_t *out) {
    object *made;
    TRY(asked_for());
    return object_give(out, HANDLE, &made);
}

static cublasStatus_t destroy(cublasLtHandle_t handle) {
    return object_destroy(handle, HANDLE);
}

static cublasStatus_t desc_create(cublasLtMatmulDesc_t *out, cublasComputeType_t compute,
                                  cudaDataType_t scale) {
    object *made;
    TRY(object_give(out, OPERATION, &made));
    made->operation.compute = compute;
    made->operation.scale = scale;
    made->operation.op[A] = made->operation.op[B] = CUBLAS_OP_N;
    made->operation.pointer_mode = CUBLASLT_POINTER_MODE_HOST;
    made->operation.epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t desc_destroy(cublasLtMatmulDesc_t desc) {
    return object_destroy(desc, OPERATION);
}

/* Takes an attribute of exactly `size` bytes. */
static cublasStatus_t take(void *to, size_t size, const void *from, size_t given) {
    if (!from || given != size)
        return INVALID("an attribute of %zu bytes, not %zu", size, from ? given : 0);
    memcpy(to, from, size);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t desc_set(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
                               const void *value, size_t size) {
    if (!is_one(desc, OPERATION)) return INVALID("no operation to describe");
    object *o = (object *)(void *)desc;
    int32_t given = 0;
    if (attribute == CUBLASLT_MATMUL_DESC_A_SCALE_POINTER)
        return take(&o->operation.scaled_by[A], sizeof(void *), value, size);
    if (attribute == CUBLASLT_MATMUL_DESC_B_SCALE_POINTER)
        return take(&o->operation.scaled_by[B], sizeof(void *), value, size);
    if (attribute == CUBLASLT_MATMUL_DESC_BIAS_POINTER)
        return take(&o->operation.bias, sizeof(void *), value, size);
    TRY(take(&given, sizeof given, value, size));
    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        if (given != CUBLASLT_EPILOGUE_DEFAULT && given != CUBLASLT_EPILOGUE_BIAS)
            return UNSUPPORTED("epilogue %d", given);
        o->operation.epilogue = (uint32_t)given;
        return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_TRANSA:
    case CUBLASLT_MATMUL_DESC_TRANSB:
        if (given != CUBLAS_OP_N && given != CUBLAS_OP_T) return INVALID("no operation %d", given);
        o->operation.op[attribute == CUBLASLT_MATMUL_DESC_TRANSB] = given;
        return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_POINTER_MODE:
        if (given < CUBLASLT_POINTER_MODE_HOST || given > 4)
            return INVALID("no pointer mode %d", given);
        o->operation.pointer_mode = given;
        return CUBLAS_STATUS_SUCCESS;
    default:
        return UNSUPPORTED("attribute %d of an operation", (int)attribute);
    }
}

static cublasStatus_t layout_create(cublasLtMatrixLayout_t *out, cudaDataType type, uint64_t rows,
                                    uint64_t columns, int64_t stride) {
    object *made;
    TRY(object_give(out, LAYOUT, &made));
    made->layout = (layout){type, (int64_t)rows, (int64_t)columns, stride};
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t layout_destroy(cublasLtMatrixLayout_t l) {
    return object_destroy(l, LAYOUT);
}

static cublasStatus_t preference_create(cublasLtMatmulPreference_t *out) {
    object *made;
    TRY(object_give(out, PREFERENCE, &made));
    for (int i = 0; i < OPERANDS; i++) made->preference.alignment[i] = DEFAULT_ALIGNMENT;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t preference_destroy(cublasLtMatmulPreference_t preference) {
    return object_destroy(preference, PREFERENCE);
}

static cublasStatus_t preference_set(cublasLtMatmulPreference_t preference,
                                     cublasLtMatmulPreferenceAttributes_t attribute,
                                     const void *value, size_t size) {
    if (!is_one(preference, PREFERENCE)) return INVALID("no preference");
    object *o = (object *)(void *)preference;
    uint32_t *alignment = o->preference.alignment;
    switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
        return take(&o->preference.bytes, sizeof o->preference.bytes, value, size);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
        return take(&alignment[A], sizeof alignment[A], value, size);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
        return take(&alignment[B], sizeof alignment[B], value, size);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
        return take(&alignment[C], sizeof alignment[C], value, size);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
        return take(&alignment[D], sizeof alignment[D], value, size);
    default:
        return UNSUPPORTED("attribute %d of a preference", (int)attribute);
    }
}

/* --- What may be multiplied --- */

static size_t element_bytes(int64_t type) {
    return type == CUDA_R_8F_E4M3 || type == CUDA_R_8F_E5M2 ? 1 : type == CUDA_R_16BF ? 2 : 4;
}

static bool is_fp8(const problem *p) {
    return element_bytes(p->of[A].type) == 1;
}

/* What a device of compute capability 8.9 or 9.0 asks of products in fp8. */
static cublasStatus_t check_fp8(const problem *p) {
    const layout *a = &p->of[A], *b = &p->of[B], *d = &p->of[D];
    if (!p->trans_a || p->trans_b)
        return UNSUPPORTED("fp8 with A %stransposed, B %stransposed", p->trans_a ? "" : "not ",
                           p->trans_b ? "" : "not ");
    if (p->k % 16 != 0 || p->m * 4 % 16 != 0)
        return UNSUPPORTED("fp8 of %lld rows and %lld terms", (long long)p->m, (long long)p->k);
    if (a->stride % 16 != 0 || b->stride % 16 != 0 || d->stride * 4 % 16 != 0)
        return UNSUPPORTED("fp8 with columns %lld, %lld and %lld apart", (long long)a->stride,
                           (long long)b->stride, (long long)d->stride);
    return CUBLAS_STATUS_SUCCESS;
}

/* Whether A and B may be multiplied: hone has a use for exact f32, f32 by TF32, bf16 and fp8 into f32, bf16 into bf16. */
static bool are_types(int64_t a, int64_t b, bool tf32) {
    if (a == CUDA_R_8F_E4M3 && !tf32) return b == CUDA_R_8F_E4M3 || b == CUDA_R_8F_E5M2;
    if (a == CUDA_R_8F_E5M2 && !tf32) return b == CUDA_R_8F_E4M3;
    return a == b && (a == CUDA_R_32F || (a == CUDA_R_16BF && !tf32));
}

static cublasStatus_t check_types(const object *operation, const problem *p) {
    int64_t ab = p->of[A].type;
    bool tf32 = p->compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    if ((p->compute != CUBLAS_COMPUTE_32F && !tf32) || operation->operation.scale != CUDA_R_32F)
        return UNSUPPORTED("compute type %d with scale type %d", (int)p->compute,
                           (int)operation->operation.scale);
    bool rounds = ab == CUDA_R_16BF && p->of[D].type == CUDA_R_16BF;
    if (!are_types(ab, p->of[B].type, tf32) || p->of[C].type != p->of[D].type ||
        (p->of[D].type != CUDA_R_32F && !rounds))
        return UNSUPPORTED("operands of types %d, %d, %d, %d", (int)ab, (int)p->of[B].type,
                           (int)p->of[C].type, (int)p->of[D].type);
    if (p->biased && rounds) return UNSUPPORTED("a bias in f32 on an output in bf16");
    if (p->biased && !operation->operation.bias) return INVALID("no bias for its epilogue");
    if (p->biased && (uintptr_t)operation->operation.bias % 16 != 0)
        return UNSUPPORTED("a bias that is not aligned to 16 bytes");
    const float *const *by = operation->operation.scaled_by;
    if ((by[A] || by[B]) && element_bytes(ab) != 1) return INVALID("a scale of what is not fp8");
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t check_layout(const layout *l, char name) {
    if (l->rows <= 0 || l->columns <= 0)
        return INVALID("%c has %lld rows and %lld columns", name, (long long)l->rows,
                       (long long)l->columns);
    if (l->rows > INT32_MAX || l->columns > INT32_MAX)
        return UNSUPPORTED("%c has %lld rows and %lld columns", name, (long long)l->rows,
                           (long long)l->columns);
    if (l->stride < l->rows)
        return INVALID("the columns of %c lie %lld apart, and have %lld rows", name,
                       (long long)l->stride, (long long)l->rows);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t check_sizes(const problem *p) {
    const layout *b = &p->of[B], *c = &p->of[C], *d = &p->of[D];
    int64_t b_rows = p->trans_b ? b->columns : b->rows;
    if (b_rows != p->k)
        return INVALID("op(A) has %lld columns, op(B) %lld rows", (long long)p->k,
                       (long long)b_rows);
    if (d->rows != p->m || d->columns != p->n)
        return INVALID("D is %lld x %lld, the product %lld x %lld", (long long)d->rows,
                       (long long)d->columns, (long long)p->m, (long long)p->n);
    if (c->rows != d->rows || c->columns != d->columns)
        return INVALID("C is %lld x %lld, D %lld x %lld", (long long)c->rows, (long long)c->columns,
                       (long long)d->rows, (long long)d->columns);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t problem_of(problem *p, cublasLtMatmulDesc_t desc,
                                 const cublasLtMatrixLayout_t layouts[OPERANDS]) {
    memset(p, 0, sizeof *p);
    if (!is_one(desc, OPERATION)) return INVALID("no description of the operation");
    const object *operation = (const object *)(const void *)desc;
    for (int i = 0; i < OPERANDS; i++) {
        if (!is_one(layouts[i], LAYOUT)) return INVALID("no layout of %c", "ABCD"[i]);
        p->of[i] = ((const object *)(const void *)layouts[i])->layout;
    }
    p->compute = operation->operation.compute;
    p->biased = operation->operation.epilogue == CUBLASLT_EPILOGUE_BIAS;
    TRY(check_types(operation, p));
    for (int i = 0; i < OPERANDS; i++) TRY(check_layout(&p->of[i], "ABCD"[i]));
    p->trans_a = operation->operation.op[A] == CUBLAS_OP_T;
    p->trans_b = operation->operation.op[B] == CUBLAS_OP_T;
    p->m = p->trans_a ? p->of[A].columns : p->of[A].rows;
    p->k = p->trans_a ? p->of[A].rows : p->of[A].columns;
    p->n = p->trans_b ? p->of[B].rows : p->of[B].columns;
    TRY(check_sizes(p));
    return is_fp8(p) ? check_fp8(p) : CUBLAS_STATUS_SUCCESS;
}

/* --- Algorithms --- */

static object *choice_new(const problem *p, uint64_t bytes, const uint32_t alignment[OPERANDS]) {
    object *made = object_new(CHOICE);
    if (!made) return NULL;
    made->choice.solves = *p;
    made->choice.bytes = bytes;
    memcpy(made->choice.alignment, alignment, sizeof made->choice.alignment);
    return made;
}

/* The first that is offered does not run. The second needs all of the workspace that it may have. */
static cublasStatus_t get_heuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                    cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                    cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                    cublasLtMatmulPreference_t preference, int requested,
                                    cublasLtMatmulHeuristicResult_t results[], int *found) {
    TRY(asked_for());
    if (!is_one(handle, HANDLE)) return refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no handle");
    if (!is_one(preference, PREFERENCE)) return INVALID("no preference");
    if (requested <= 0 || !results || !found) return INVALID("no algorithms asked for");
    problem p;
    const cublasLtMatrixLayout_t layouts[OPERANDS] = {a, b, c, d};
    TRY(problem_of(&p, desc, layouts));
    const object *wish = (const object *)(const void *)preference;
    *found = 0;
    for (int i = 0; i < OPERANDS; i++)
        if (wish->preference.alignment[i] % element_bytes(p.of[i].type) != 0)
            return UNSUPPORTED("no algorithm for elements of %c that are not aligned", "ABCD"[i]);
    for (int i = 0; i < OPERANDS && is_fp8(&p); i++)
        if (wish->preference.alignment[i] % 16 != 0)
            return UNSUPPORTED("fp8 with %c aligned to %u bytes", "ABCD"[i],
                               wish -> preference.alignment[i]);
    object *made = choice_new(&p, wish->preference.bytes, wish->preference.alignment);
    if (!made) return refuse(CUBLAS_STATUS_ALLOC_FAILED, "no memory");
    memset(results, 0, (size_t)requested * sizeof *results);
    *found = requested > 1 ? 2 : 1;
    if (requested > 1) results[0].state = CUBLAS_STATUS_NOT_SUPPORTED;
    cublasLtMatmulHeuristicResult_t *last = &results[*found - 1];
    last->state = CUBLAS_STATUS_SUCCESS;
    last->workspaceSize = made->choice.bytes;
    memcpy(last->algo.data, &made, sizeof made);
    return CUBLAS_STATUS_SUCCESS;
}

/* Without an algorithm the library looks for one by itself, with the preferences that are the default. */
static cublasStatus_t choice_of(object **out, const cublasLtMatmulAlgo_t *algo, const problem *p) {
    static const uint32_t aligned[OPERANDS] = {DEFAULT_ALIGNMENT, DEFAULT_ALIGNMENT,
                                               DEFAULT_ALIGNMENT, DEFAULT_ALIGNMENT};
    if (algo) {
        memcpy(out, algo->data, sizeof *out);
    } else {
        *out = choice_new(p, 0, aligned);
    }
    if (!is_one(*out, CHOICE)) return INVALID("no algorithm");
    if (memcmp(&(*out)->choice.solves, p, sizeof *p) != 0)
        return INVALID("the algorithm was chosen for another product");
    return CUBLAS_STATUS_SUCCESS;
}

/* --- Products --- */

typedef struct range {
    uintptr_t begin, end;
} range;

static range range_of(const void *x, const layout *l) {
    size_t elements = (size_t)((l->columns - 1) * l->stride + l->rows);
    uintptr_t begin = (uintptr_t)x;
    return (range){begin, begin + elements * element_bytes(l->type)};
}

static bool overlap(range a, range b) {
    return a.begin < b.end && b.begin < a.end;
}

/* Whether columns of one lie in the room between columns of the other, with the same stride. */
static bool interleave(const void *x, const layout *of_x, const void *y, const layout *of_y) {
    int64_t size = (int64_t)element_bytes(of_x->type), stride = of_x->stride;
    if (of_y->stride != stride || (int64_t)element_bytes(of_y->type) != size) return false;
    int64_t apart = ((const char *)y - (const char *)x) / size % stride;
    if (apart < 0) apart += stride;
    return apart >= of_x->rows && apart + of_y->rows <= stride;
}

static bool share(const void *x, const layout *of_x, const void *y, const layout *of_y) {
    return overlap(range_of(x, of_x), range_of(y, of_y)) && !interleave(x, of_x, y, of_y);
}

static cublasStatus_t check_addresses(const object *choice, const problem *p,
                                      const void *const at[OPERANDS]) {
    for (int i = 0; i < OPERANDS; i++) {
        if (!at[i]) return INVALID("%c is NULL", "ABCD"[i]);
        uint32_t least = choice->choice.alignment[i];
        if ((uintptr_t)at[i] % least != 0)
            return INVALID("%c is not aligned to the %u bytes the algorithm was chosen for",
                           "ABCD"[i], least);
    }
    range d = range_of(at[D], &p->of[D]);
    if (share(at[A], &p->of[A], at[D], &p->of[D]) || share(at[B], &p->of[B], at[D], &p->of[D]))
        return INVALID("the output overlaps an operand");
    if (at[C] != at[D] && overlap(d, range_of(at[C], &p->of[C])))
        return INVALID("D overlaps C, and does not begin where C does");
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t check_workspace(const object *choice, const problem *p,
                                      const void *const at[OPERANDS], const void *workspace,
                                      size_t bytes) {
    if ((uintptr_t)workspace % WORKSPACE_ALIGNMENT != 0)
        return INVALID("the workspace is not aligned to %d bytes", WORKSPACE_ALIGNMENT);
    if (bytes < choice->choice.bytes || (choice->choice.bytes > 0 && !workspace))
        return INVALID("a workspace of %zu bytes, where %llu are needed", workspace ? bytes : 0,
                       (unsigned long long)choice->choice.bytes);
    range used = {(uintptr_t)workspace, (uintptr_t)workspace + choice->choice.bytes};
    for (int i = 0; i < OPERANDS; i++)
        if (overlap(used, range_of(at[i], &p->of[i])))
            return INVALID("the workspace overlaps %c", "ABCD"[i]);
    return CUBLAS_STATUS_SUCCESS;
}

/* Both ends of what the algorithm needs lose what they held. */
static void scratch(void *workspace, size_t bytes) {
    size_t part = bytes < SCRATCHED ? bytes : SCRATCHED;
    if (part == 0) return;
    memset(workspace, 0xff, part);
    memset((char *)workspace + bytes - part, 0xff, part);
}

static double element(const void *x, const layout *l, int64_t row, int64_t column) {
    int64_t at = column * l->stride + row;
    if (l->type == CUDA_R_8F_E4M3)
        return (double)hone_fp8_to_f32(((const uint8_t *)x)[at], HONE_E4M3);
    if (l->type == CUDA_R_8F_E5M2)
        return (double)hone_fp8_to_f32(((const uint8_t *)x)[at], HONE_E5M2);
    if (l->type == CUDA_R_16BF) return (double)hone_bf16_to_f32(((const uint16_t *)x)[at]);
    return (double)((const float *)x)[at];
}

/* The vectors that are multiplied with each other, `count` of k elements: rows of op(A), or columns of op(B). */
static double *vectors_new(const void *x, const layout *l, bool are_columns, int64_t count,
                           int64_t k, bool tf32) {
    double *v = hone_alloc((size_t)(count * k), sizeof *v);
    if (!v) return NULL;
    for (int64_t i = 0; i < count; i++) {
        for (int64_t j = 0; j < k; j++) {
            double e = are_columns ? element(x, l, j, i) : element(x, l, i, j);
            v[i * k + j] = tf32 ? (double)hone_tf32((float)e) : e;
        }
    }
    return v;
}

static double dot(const double *a, const double *b, int64_t k) {
    double sum = 0;
    for (int64_t i = 0; i < k; i++) sum += a[i] * b[i];
    return sum;
}

/* What is queued of a call. */
typedef struct product {
    problem p;
    const void *at[OPERANDS];
    void *d;
    const float *bias; /* NULL: none */
    void *workspace;
    size_t bytes; /* of it, that the algorithm writes to */
    double alpha, beta;
    const float *by[2]; /* on the device: what A and B are scaled by, where it is given */
} product;

static void put(void *d, const layout *l, int64_t row, int64_t column, float value) {
    int64_t at = column * l->stride + row;
    if (l->type == CUDA_R_16BF) {
        ((uint16_t *)d)[at] = hone_bf16_from_f32(value);
    } else {
        ((float *)d)[at] = value;
    }
}

static void multiply(void *context) {
    const product *call = context;
    const problem *p = &call->p;
    const void *const *at = call->at;
    double alpha = call->alpha, beta = call->beta;
    for (int i = A; i <= B; i++) alpha *= call->by[i] ? (double)*call->by[i] : 1;
    scratch(call->workspace, call->bytes);
    bool tf32 = p->compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    double *a = vectors_new(at[A], &p->of[A], p->trans_a, p->m, p->k, tf32);
    double *b = vectors_new(at[B], &p->of[B], !p->trans_b, p->n, p->k, tf32);
    for (int64_t j = 0; a && b && j < p->n; j++) {
        for (int64_t i = 0; i < p->m; i++) {
            double sum = alpha * dot(a + i * p->k, b + j * p->k, p->k);
            if (beta != 0) sum += beta * element(at[C], &p->of[C], i, j);
            if (call->bias) sum += (double)call->bias[i];
            put(call->d, &p->of[D], i, j, (float)sum);
        }
    }
    if (!a || !b) fake_die("no memory");
    hone_free(a);
    hone_free(b);
}

static cublasStatus_t check_scalars(cublasLtMatmulDesc_t desc, const void *alpha,
                                    const void *beta) {
    if (!alpha || !beta) return INVALID("alpha or beta is NULL");
    int32_t mode = ((const object *)(const void *)desc)->operation.pointer_mode;
    if (mode != CUBLASLT_POINTER_MODE_HOST && mode != CUBLASLT_POINTER_MODE_DEVICE)
        return UNSUPPORTED("pointer mode %d", mode);
    return CUBLAS_STATUS_SUCCESS;
}

/* Of A and B in fp8. */
static cublasStatus_t check_scales(const float *const by[2]) {
    for (int i = A; i <= B; i++)
        if ((uintptr_t)by[i] % SCALE_ALIGNMENT != 0)
            return UNSUPPORTED("the scale of %c is not aligned to %d bytes", "ABCD"[i],
                               SCALE_ALIGNMENT);
    return CUBLAS_STATUS_SUCCESS;
}

/* NOLINTNEXTLINE(readability-function-size): the library's own arguments */
static cublasStatus_t matmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha,
                             const void *a, cublasLtMatrixLayout_t a_layout, const void *b,
                             cublasLtMatrixLayout_t b_layout, const void *beta, const void *c,
                             cublasLtMatrixLayout_t c_layout, void *d,
                             cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo,
                             void *workspace, size_t bytes, cudaStream_t stream) {
    TRY(asked_for());
    if (!is_one(handle, HANDLE)) return refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no handle");
    problem p;
    const cublasLtMatrixLayout_t layouts[OPERANDS] = {a_layout, b_layout, c_layout, d_layout};
    const void *const at[OPERANDS] = {a, b, c, d};
    TRY(problem_of(&p, desc, layouts));
    TRY(check_scalars(desc, alpha, beta));
    if (c == d && c_layout != d_layout) return INVALID("in place, but with two layouts");
    object *choice = NULL;
    TRY(choice_of(&choice, algo, &p));
    TRY(check_addresses(choice, &p, at));
    TRY(check_workspace(choice, &p, at, workspace, bytes));
    const object *operation = (const object *)(const void *)desc;
    const float *const *by = operation->operation.scaled_by;
    TRY(check_scales(by));
    state.stream = stream;
    state.matmuls++;
    product *made = hone_alloc(1, sizeof *made);
    if (!made) return refuse(CUBLAS_STATUS_ALLOC_FAILED, "no memory");
    *made = (product){p,
                      {a, b, c, d},
                      d,
                      p.biased ? operation->operation.bias : NULL,
                      workspace,
                      choice->choice.bytes,
                      (double)*(const float *)alpha,
                      (double)*(const float *)beta,
                      {by[A], by[B]}};
    if (fake_stream_launch(stream, (fake_work){multiply, hone_free, made}) != cudaSuccess)
        return refuse(CUBLAS_STATUS_EXECUTION_FAILED, "nothing is launched any more");
    return CUBLAS_STATUS_SUCCESS;
}

hone_cublaslt fake_cublaslt_functions(void) {
    return (hone_cublaslt){
        .get_version = get_version,
        .get_status_name = get_status_name,
        .create = create,
        .destroy = destroy,
        .desc_create = desc_create,
        .desc_destroy = desc_destroy,
        .desc_set = desc_set,
        .layout_create = layout_create,
        .layout_destroy = layout_destroy,
        .preference_create = preference_create,
        .preference_destroy = preference_destroy,
        .preference_set = preference_set,
        .get_heuristic = get_heuristic,
        .matmul = matmul,
    };
}
