/*
 * Calls of cuBLASLt. It takes matrices by columns, hone keeps them by rows: what it is given is c^T = op(b)^T op(a)^T,
 * which needs no transposition, because a matrix by rows is its transpose by columns. Its A is hone's b, its B hone's a.
 */
#include "kernels/cuda/matmul.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/products.h"
#include "kernels/cuda/stream.h"

enum { BUCKETS = 256, OFFERS = 4 /* algorithms that are asked for */ };

/* What an algorithm was chosen for: the shape, how the operands are aligned, the size of the workspace. */
enum { KEY_FIELDS = 16 };
typedef struct plan_key {
    int64_t field[KEY_FIELDS];
} plan_key;

/* What a call needs and is made once. The output is C and D of cuBLASLt, with one layout. */
typedef struct plan {
    struct plan *next; /* of its bucket */
    uint64_t used;     /* the number of the last call by it */
    plan_key key;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algo;
} plan;

/* As the device: one per process. */
static struct {
    bool open;
    hone_cublaslt library;
    cublasLtHandle_t handle;
    plan *plans[BUCKETS];
    int count; /* of plans */
    uint64_t calls;
    hone_status status;
    char message[512];
} products;

/* --- Failures --- */

void hone_cuda_keep_failure(hone_status status, const char *message) {
    if (products.status != HONE_OK) return;
    products.status = status;
    snprintf(products.message, sizeof products.message, "%s", message);
}

static void keep_library_failure(const char *function, cublasStatus_t status,
                                 const hone_matmul *s) {
    char text[sizeof products.message];
    snprintf(text, sizeof text,
             "%s: %s, for a product in %s of [%lld,%lld] and [%lld,%lld]%s%s with strides %lld, "
             "%lld, %lld; "
             "train with --device cpu, or report this with the version of cuBLAS, %zu",
             function, products.library.get_status_name(status), hone_precision_name(s->precision),
             (long long)s->m, (long long)s->k, (long long)s->k, (long long)s->n,
             s->trans_a ? ", a transposed," : "", s->trans_b ? ", b transposed," : "",
             (long long)s->lda, (long long)s->ldb, (long long)s->ldc,
             products.library.get_version());
    hone_cuda_keep_failure(HONE_ERR_UNSUPPORTED, text);
}

hone_status hone_cuda_products_status(void) {
    if (products.status == HONE_OK) return HONE_OK;
    return hone_fail(products.status, "%s", products.message);
}

bool hone_cuda_products_forgive(void) {
    bool failed = products.status != HONE_OK;
    products.status = HONE_OK;
    return failed;
}

/* --- Plans --- */

/* The largest power of two, up to what cuBLASLt asks about, that divides an address. */
static uint32_t alignment_of(const void *address) {
    uintptr_t bits = (uintptr_t)address | HONE_CUDA_ALIGNMENT;
    return (uint32_t)(bits & (~bits + 1));
}

static plan_key key_of(const void *c, const void *a, const void *b, const hone_matmul *s,
                       size_t bytes) {
    return (plan_key){{
        s->m,
        s->n,
        s->k,
        s->lda,
        s->ldb,
        s->ldc,
        s->precision,
        s->trans_a,
        s->trans_b,
        alignment_of(a),
        alignment_of(b),
        alignment_of(c),
        (int64_t)bytes,
        s->fp8 ? s->fp8->a_format : 0,
        s->rounds,
        s->bias ? alignment_of(s->bias) : 0,
    }};
}

/* FNV-1a over the fields. */
static size_t bucket_of(const plan_key *key) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (int i = 0; i < KEY_FIELDS; i++) hash = (hash ^ (uint64_t)key->field[i]) * 0x100000001b3u;
    return (size_t)((hash ^ hash >> 32) % BUCKETS);
}

static plan *plan_find(const plan_key *key) {
    plan *p = products.plans[bucket_of(key)];
    while (p && memcmp(&p->key, key, sizeof *key) != 0) p = p->next;
    return p;
}

static void plan_free(plan *p) {
    const hone_cublaslt *l = &products.library;
    if (p->operation) (void)l->desc_destroy(p->operation);
    if (p->a) (void)l->layout_destroy(p->a);
    if (p->b) (void)l->layout_destroy(p->b);
    if (p->c) (void)l->layout_destroy(p->c);
    hone_free(p);
}

/* Stops at the first call that does not succeed. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        cublasStatus_t try_status_ = (call);                                                       \
        if (try_status_ != CUBLAS_STATUS_SUCCESS) return try_status_;                              \
    } while (0)

/* Of an operand, which in fp8 has that format. */
static cudaDataType_t type_of(const hone_matmul *s, hone_fp8_format format) {
    if (!s->fp8) return s->precision == HONE_PRODUCTS_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    return format == HONE_E4M3 ? CUDA_R_8F_E4M3 : CUDA_R_8F_E5M2;
}

/* Where the bias and the scales of a call lie; the plan's next one may have others. */
static cublasStatus_t set_addresses(const plan *p, const hone_matmul *s) {
    const hone_cublaslt *l = &products.library;
    if (s->bias)
        TRY(l->desc_set(p->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &s->bias, sizeof s->bias));
    if (!s->fp8) return CUBLAS_STATUS_SUCCESS;
    TRY(l->desc_set(p->operation, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &s->fp8->b_scale,
                    sizeof s->fp8->b_scale));
    return l->desc_set(p->operation, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &s->fp8->a_scale,
                       sizeof s->fp8->a_scale);
}

static cublasStatus_t describe(plan *p, const hone_matmul *s) {
    const hone_cublaslt *l = &products.library;
    cudaDataType_t type_a = type_of(s, HONE_E4M3);
    cudaDataType_t type_b = type_of(s, s->fp8 ? s->fp8->a_format : HONE_E4M3);
    cublasComputeType_t compute =
        s->precision == HONE_PRODUCTS_TF32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    int32_t op_a = s->trans_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    int32_t op_b = s->trans_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    uint32_t epilogue = s->bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    uint64_t m = (uint64_t)s->m, n = (uint64_t)s->n, k = (uint64_t)s->k;
    TRY(l->desc_create(&p->operation, compute, CUDA_R_32F));
    TRY(l->desc_set(p->operation, CUBLASLT_MATMUL_DESC_TRANSA, &op_a, sizeof op_a));
    TRY(l->desc_set(p->operation, CUBLASLT_MATMUL_DESC_TRANSB, &op_b, sizeof op_b));
    TRY(l->desc_set(p->operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
    TRY(l->layout_create(&p->a, type_a, s->trans_b ? k : n, s->trans_b ? n : k, s->ldb));
    TRY(l->layout_create(&p->b, type_b, s->trans_a ? m : k, s->trans_a ? k : m, s->lda));
    TRY(l->layout_create(&p->c, s->rounds ? CUDA_R_16BF : CUDA_R_32F, n, m, s->ldc));
    return set_addresses(p, s);
}

/* The alignments of hone's a, b and c are three fields of the key from here on. */
enum { KEY_ALIGNMENT = 9, KEY_BYTES = 12 };

static cublasStatus_t prefer(cublasLtMatmulPreference_t preference, const plan_key *key) {
    static const struct {
        cublasLtMatmulPreferenceAttributes_t attribute;
        int operand;
    } alignments[] = {
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, 1},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, 0},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, 2},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, 2},
    };
    uint64_t bytes = (uint64_t)key->field[KEY_BYTES];
    TRY(products.library.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                        &bytes, sizeof bytes));
    for (size_t i = 0; i < sizeof alignments / sizeof alignments[0]; i++) {
        uint32_t least = (uint32_t)key->field[KEY_ALIGNMENT + alignments[i].operand];
        TRY(products.library.preference_set(preference, alignments[i].attribute, &least,
                                            sizeof least));
    }
    return CUBLAS_STATUS_SUCCESS;
}

/* The first algorithm of the library's order that it can run. */
static cublasStatus_t choose(plan *p, cublasLtMatmulPreference_t preference) {
    cublasLtMatmulHeuristicResult_t results[OFFERS] = {0};
    int found = 0;
    TRY(prefer(preference, &p->key));
    TRY(products.library.get_heuristic(products.handle, p->operation, p->a, p->b, p->c, p->c,
                                       preference, OFFERS, results, &found));
    for (int i = 0; i < found; i++) {
        if (results[i].state != CUBLAS_STATUS_SUCCESS) continue;
        p->algo = results[i].algo;
        return CUBLAS_STATUS_SUCCESS;
    }
    return CUBLAS_STATUS_NOT_SUPPORTED;
}

static cublasStatus_t plan_make(plan *p, const hone_matmul *s) {
    cublasLtMatmulPreference_t preference = NULL;
    TRY(describe(p, s));
    TRY(products.library.preference_create(&preference));
    cublasStatus_t status = choose(p, preference);
    (void)products.library.preference_destroy(preference);
    return status;
}

/* Where the pointer to the plan is that was not used for longest. */
static plan **oldest_plan(void) {
    plan **oldest = NULL;
    for (int i = 0; i < BUCKETS; i++) {
        for (plan **at = &products.plans[i]; *at; at = &(*at)->next)
            if (!oldest || (*at)->used < (*oldest)->used) oldest = at;
    }
    return oldest;
}

static void drop_plan(plan **at) {
    plan *gone = *at;
    *at = gone->next;
    plan_free(gone);
    products.count--;
}

/* NULL after keeping the failure. */
static plan *plan_new(const plan_key *key, const hone_matmul *s) {
    plan *p = hone_alloc(1, sizeof *p);
    if (!p) {
        hone_cuda_keep_failure(HONE_ERR_MEMORY, hone_fail_message());
        return NULL;
    }
    p->key = *key;
    cublasStatus_t status = plan_make(p, s);
    if (status != CUBLAS_STATUS_SUCCESS) {
        keep_library_failure("no algorithm of cuBLASLt", status, s);
        plan_free(p);
        return NULL;
    }
    if (products.count == HONE_CUDA_MOST_PLANS) drop_plan(oldest_plan());
    products.count++;
    plan **bucket = &products.plans[bucket_of(key)];
    p->next = *bucket;
    *bucket = p;
    return p;
}

/* --- Calls --- */

void hone_cuda_matmul(void *c, const void *a, const void *b, const hone_matmul *s, float alpha,
                      float beta, void *workspace, size_t bytes) {
    assert(products.open && (!s->rounds || s->precision == HONE_PRODUCTS_BF16));
    if (s->m == 0 || s->n == 0) return;
    if (s->k == 0) { /* no layout of cuBLASLt is that empty */
        assert(!s->rounds && !s->bias);
        if (beta != 1.0f) hone_scale_matrix_cuda(c, s->m, s->n, s->ldc, beta);
        return;
    }
    plan_key key = key_of(c, a, b, s, bytes);
    plan *p = plan_find(&key);
    if (!p) p = plan_new(&key, s);
    if (!p) return;
    p->used = ++products.calls;
    cublasStatus_t status = set_addresses(p, s);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = products.library.matmul(products.handle, p->operation, &alpha, b, p->a, a, p->b,
                                         &beta, c, p->c, c, p->c, &p->algo, workspace, bytes,
                                         hone_cuda_stream());
    if (status != CUBLAS_STATUS_SUCCESS) keep_library_failure("cublasLtMatmul", status, s);
}

/* --- Opening and closing --- */

hone_status hone_cuda_products_open(const hone_cublaslt *library) {
    assert(!products.open);
    memset(&products, 0, sizeof products);
    products.library = *library;
    cublasStatus_t status = library->create(&products.handle);
    if (status != CUBLAS_STATUS_SUCCESS)
        return hone_fail(
            HONE_ERR_UNSUPPORTED,
            "cuBLASLt does not start: %s; check that nvidia-smi shows the GPU, and that "
            "its memory is free",
            library->get_status_name(status));
    products.open = true;
    return HONE_OK;
}

void hone_cuda_products_close(void) {
    if (!products.open) return;
    for (int i = 0; i < BUCKETS; i++) {
        while (products.plans[i]) drop_plan(&products.plans[i]);
    }
    if (!hone_cuda_is_lost()) (void)products.library.destroy(products.handle);
    memset(&products, 0, sizeof products);
}
