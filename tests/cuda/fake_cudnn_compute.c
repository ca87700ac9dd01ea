/* Graphs of the fake cuDNN: what fits together, and what comes out. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/dtype.h"
#include "tests/cuda/fake_cudnn_objects.h"

enum { BATCH, HEADS, ROWS, COLUMNS, DIMS, TENSORS = 96, BF16_BYTES = 2 };

#define OF(kind) CUDNN_BACKEND_##kind##_DESCRIPTOR
#define AT(name) CUDNN_ATTR_##name

#define TRY(call)                                                                                  \
    do {                                                                                           \
        cudnnStatus_t try_status_ = (call);                                                        \
        if (try_status_ != CUDNN_STATUS_SUCCESS) return try_status_;                               \
    } while (0)

/* --- Tensors --- */

static int64_t int_of(const fake_object *o, int name) {
    return *(const int64_t *)fake_find(o, name)->elements;
}

static int enum_of(const fake_object *o, int name) {
    return *(const int *)fake_find(o, name)->elements;
}

static bool flag_of(const fake_object *o, int name) {
    const fake_attribute *a = fake_find(o, name);
    return a && *(const bool *)a->elements;
}

fake_tensor fake_tensor_of(const fake_object *o) {
    fake_tensor t = {.uid = int_of(o, AT(TENSOR_UNIQUE_ID)),
                     .type = enum_of(o, AT(TENSOR_DATA_TYPE)),
                     .alignment = int_of(o, AT(TENSOR_BYTE_ALIGNMENT)),
                     .is_virtual = flag_of(o, AT(TENSOR_IS_VIRTUAL)),
                     .by_value = flag_of(o, AT(TENSOR_IS_BY_VALUE)),
                     .ragged = fake_refers(o, AT(TENSOR_RAGGED_OFFSET_DESC))};
    memcpy(t.dims, fake_find(o, AT(TENSOR_DIMENSIONS))->elements, sizeof t.dims);
    memcpy(t.strides, fake_find(o, AT(TENSOR_STRIDES))->elements, sizeof t.strides);
    return t;
}

static int64_t element_bytes(int64_t type) {
    return type == CUDNN_DATA_BFLOAT16  ? BF16_BYTES
           : type == CUDNN_DATA_INT64   ? 8
           : type == CUDNN_DATA_BOOLEAN ? 1
                                        : 4;
}

cudnnStatus_t fake_check_tensor(const fake_object *o) {
    fake_tensor t = fake_tensor_of(o);
    for (int i = 0; i < DIMS; i++)
        if (t.dims[i] < 1 || t.strides[i] < 1) return FAKE_INVALID("a size or stride below 1");
    if (t.alignment < 1 || t.alignment % element_bytes(t.type) != 0)
        return FAKE_INVALID("an alignment of %lld, which its elements lack",
                            (long long)t.alignment);
    if (t.is_virtual && t.by_value) return FAKE_INVALID("both virtual and by value");
    if (!t.ragged) return CUDNN_STATUS_SUCCESS;
    fake_tensor offsets = fake_tensor_of(t.ragged);
    if (offsets.type != CUDNN_DATA_INT32 && offsets.type != CUDNN_DATA_INT64)
        return FAKE_INVALID("offsets that are no integers");
    if (offsets.dims[BATCH] != t.dims[BATCH] + 1)
        return FAKE_INVALID("%lld offsets for a batch of %lld", (long long)offsets.dims[BATCH],
                            (long long)t.dims[BATCH]);
    return CUDNN_STATUS_SUCCESS;
}

/* --- Operations --- */

/* What an operation reads and writes. */
typedef struct ends {
    const fake_object *in[6], *out;
} ends;

static ends ends_of(const fake_object *o) {
    switch (o->is) {
    case OF(OPERATION_POINTWISE):
        return (ends){{fake_refers(o, AT(OPERATION_POINTWISE_XDESC)),
                       fake_refers(o, AT(OPERATION_POINTWISE_BDESC)),
                       fake_refers(o, AT(OPERATION_POINTWISE_TDESC))},
                      fake_refers(o, AT(OPERATION_POINTWISE_YDESC))};
    case OF(OPERATION_MATMUL):
        return (ends){{fake_refers(o, AT(OPERATION_MATMUL_ADESC)),
                       fake_refers(o, AT(OPERATION_MATMUL_BDESC)),
                       fake_refers(o, AT(OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC)),
                       fake_refers(o, AT(OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC)),
                       fake_refers(o, AT(OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC))},
                      fake_refers(o, AT(OPERATION_MATMUL_CDESC))};
    case OF(OPERATION_REDUCTION):
        return (ends){{fake_refers(o, AT(OPERATION_REDUCTION_XDESC))},
                      fake_refers(o, AT(OPERATION_REDUCTION_YDESC))};
    default:
        return (ends){{fake_refers(o, AT(OPERATION_RESHAPE_XDESC))},
                      fake_refers(o, AT(OPERATION_RESHAPE_YDESC))};
    }
}

static int mode_of(const fake_object *o) {
    return enum_of(fake_refers(o, AT(OPERATION_POINTWISE_PW_DESCRIPTOR)), AT(POINTWISE_MODE));
}

static bool takes_two(int mode) {
    return mode != CUDNN_POINTWISE_EXP && mode != CUDNN_POINTWISE_LOG &&
           mode != CUDNN_POINTWISE_GEN_INDEX;
}

static bool is_logical(int mode) {
    return mode == CUDNN_POINTWISE_CMP_GT || mode == CUDNN_POINTWISE_CMP_GE ||
           mode == CUDNN_POINTWISE_CMP_LT || mode == CUDNN_POINTWISE_LOGICAL_AND;
}

static cudnnStatus_t check_pointwise(const fake_object *o, const ends *e) {
    int mode = mode_of(o);
    const fake_object *how = fake_refers(o, AT(OPERATION_POINTWISE_PW_DESCRIPTOR));
    fake_tensor y = fake_tensor_of(e->out);
    if (takes_two(mode) != (e->in[1] != NULL) ||
        (mode == CUDNN_POINTWISE_BINARY_SELECT) != (e->in[2] != NULL))
        return FAKE_INVALID("mode %d with too few or too many operands", mode);
    if ((mode == CUDNN_POINTWISE_GEN_INDEX) != (fake_find(how, AT(POINTWISE_AXIS)) != NULL))
        return FAKE_INVALID("an index without an axis, or the other way round");
    if (is_logical(mode) != (y.type == CUDNN_DATA_BOOLEAN))
        return FAKE_INVALID("mode %d gives elements of type %d", mode, (int)y.type);
    if (e->in[2] && fake_tensor_of(e->in[2]).type != CUDNN_DATA_BOOLEAN)
        return FAKE_INVALID("a choice that is no truth value");
    for (int i = 0; i < 3 && e->in[i]; i++) {
        fake_tensor x = fake_tensor_of(e->in[i]);
        for (int d = 0; d < DIMS; d++)
            if (x.dims[d] != 1 && x.dims[d] != y.dims[d])
                return FAKE_INVALID("mode %d on sizes that do not fit", mode);
    }
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t check_matmul(const ends *e) {
    fake_tensor a = fake_tensor_of(e->in[0]), b = fake_tensor_of(e->in[1]);
    fake_tensor c = fake_tensor_of(e->out);
    if (a.dims[COLUMNS] != b.dims[ROWS] || c.dims[ROWS] != a.dims[ROWS] ||
        c.dims[COLUMNS] != b.dims[COLUMNS] || a.dims[BATCH] != c.dims[BATCH] ||
        b.dims[BATCH] != c.dims[BATCH] || a.dims[HEADS] != c.dims[HEADS] ||
        c.dims[HEADS] % b.dims[HEADS] != 0)
        return FAKE_INVALID("a product of sizes that do not fit");
    for (int i = 2; i < 5; i++) {
        if (!e->in[i]) continue;
        fake_tensor length = fake_tensor_of(e->in[i]);
        if (length.type != CUDNN_DATA_INT32 || length.dims[BATCH] != c.dims[BATCH])
            return FAKE_INVALID("lengths that do not fit");
    }
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t check_reduction(const ends *e) {
    fake_tensor x = fake_tensor_of(e->in[0]), y = fake_tensor_of(e->out);
    for (int d = 0; d < DIMS; d++)
        if (y.dims[d] != x.dims[d] && y.dims[d] != 1 && (d != HEADS || x.dims[d] % y.dims[d] != 0))
            return FAKE_INVALID("a reduction to sizes that do not fit");
    return CUDNN_STATUS_SUCCESS;
}

/* Of rows and columns, the other way round under the same strides: what attention needs. */
static cudnnStatus_t check_reshape(const ends *e) {
    fake_tensor x = fake_tensor_of(e->in[0]), y = fake_tensor_of(e->out);
    if (x.dims[BATCH] == y.dims[BATCH] && x.dims[HEADS] == y.dims[HEADS] &&
        x.dims[ROWS] == y.dims[COLUMNS] && x.dims[COLUMNS] == y.dims[ROWS] &&
        x.strides[ROWS] == y.strides[COLUMNS] && x.strides[COLUMNS] == y.strides[ROWS])
        return CUDNN_STATUS_SUCCESS;
    return fake_refuse(CUDNN_STATUS_NOT_SUPPORTED, "a reshape that turns no matrix");
}

cudnnStatus_t fake_check_operation(const fake_object *o) {
    ends e = ends_of(o);
    if (o->is == OF(OPERATION_POINTWISE)) return check_pointwise(o, &e);
    if (o->is == OF(OPERATION_MATMUL)) return check_matmul(&e);
    return o->is == OF(OPERATION_REDUCTION) ? check_reduction(&e) : check_reshape(&e);
}

/* --- Graphs --- */

typedef struct tensors {
    const fake_object *of[TENSORS];
    int count;
} tensors;

static bool holds(const tensors *all, const fake_object *o) {
    for (int i = 0; i < all->count; i++)
        if (all->of[i] == o) return true;
    return false;
}

static cudnnStatus_t add(tensors *all, const fake_object *o) {
    if (!o || holds(all, o)) return CUDNN_STATUS_SUCCESS;
    for (int i = 0; i < all->count; i++)
        if (int_of(all->of[i], AT(TENSOR_UNIQUE_ID)) == int_of(o, AT(TENSOR_UNIQUE_ID)))
            return FAKE_INVALID("two tensors of one uid");
    if (all->count == TENSORS) return fake_refuse(CUDNN_STATUS_NOT_SUPPORTED, "too many tensors");
    all->of[all->count++] = o;
    return add(all, fake_tensor_of(o).ragged);
}

/* All tensors of a graph, in the order of its operations. */
static cudnnStatus_t collect(tensors *all, const fake_object *graph) {
    const fake_attribute *operations = fake_find(graph, AT(OPERATIONGRAPH_OPS));
    all->count = 0;
    for (int64_t i = 0; i < operations->count; i++) {
        ends e = ends_of(fake_at(operations, i));
        for (int j = 0; j < 6; j++) TRY(add(all, e.in[j]));
        TRY(add(all, e.out));
    }
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t fake_check_graph(const fake_object *graph) {
    const fake_attribute *operations = fake_find(graph, AT(OPERATIONGRAPH_OPS));
    tensors all, written = {.count = 0};
    TRY(collect(&all, graph));
    for (int64_t i = 0; i < operations->count; i++) {
        ends e = ends_of(fake_at(operations, i));
        for (int j = 0; j < 6; j++)
            if (e.in[j] && fake_tensor_of(e.in[j]).is_virtual && !holds(&written, e.in[j]))
                return FAKE_INVALID("a virtual tensor is read that nothing wrote");
        if (holds(&written, e.out)) return FAKE_INVALID("a tensor is written twice");
        TRY(add(&written, e.out));
    }
    return CUDNN_STATUS_SUCCESS;
}

/* --- Addresses --- */

static void *address_of(const fake_object *pack, int64_t uid) {
    const fake_attribute *uids = fake_find(pack, AT(VARIANT_PACK_UNIQUE_IDS));
    void *const *addresses = fake_find(pack, AT(VARIANT_PACK_DATA_POINTERS))->elements;
    for (int64_t i = 0; i < uids->count; i++)
        if (((const int64_t *)uids->elements)[i] == uid) return addresses[i];
    return NULL;
}

cudnnStatus_t fake_check_addresses(const fake_object *graph, const fake_object *pack) {
    tensors all;
    int64_t expected = 0;
    TRY(collect(&all, graph));
    for (int i = 0; i < all.count; i++) {
        fake_tensor t = fake_tensor_of(all.of[i]);
        if (t.is_virtual) continue;
        expected++;
        const void *address = address_of(pack, t.uid);
        if (!address) return FAKE_INVALID("tensor %lld has no address", (long long)t.uid);
        if ((uintptr_t)address % (uintptr_t)t.alignment != 0)
            return FAKE_INVALID("tensor %lld is not aligned to %lld bytes", (long long)t.uid,
                                (long long)t.alignment);
    }
    int64_t given = fake_find(pack, AT(VARIANT_PACK_UNIQUE_IDS))->count;
    if (given == expected) return CUDNN_STATUS_SUCCESS;
    return FAKE_INVALID("%lld addresses for %lld tensors", (long long)given, (long long)expected);
}

void fake_keep_addresses(fake_addresses *out, const fake_object *graph, const fake_object *pack) {
    tensors all;
    *out = (fake_addresses){0};
    if (collect(&all, graph) != CUDNN_STATUS_SUCCESS) return;
    for (int i = 0; i < all.count && out->count < FAKE_MOST_ADDRESSES; i++) {
        fake_tensor t = fake_tensor_of(all.of[i]);
        if (t.is_virtual) continue;
        out->uids[out->count] = t.uid;
        out->of[out->count] = address_of(pack, t.uid);
        if (t.by_value) {
            void *kept = &out->by_value[out->count];
            out->of[out->count] = memcpy(kept, out->of[out->count], (size_t)element_bytes(t.type));
        }
        out->count++;
    }
}

static void *kept_address(const fake_addresses *at, int64_t uid) {
    for (int64_t i = 0; i < at->count; i++)
        if (at->uids[i] == uid) return at->of[i];
    return NULL;
}

/* --- Values: of one batch element at a time, dense [heads, rows, columns] --- */

typedef struct value {
    fake_tensor shape;
    float *x;
} value;

typedef struct values {
    tensors of;
    value at[TENSORS];
    const fake_addresses *addresses;
    int64_t batch; /* element */
} values;

static int64_t size_of(const fake_tensor *t) {
    return t->dims[HEADS] * t->dims[ROWS] * t->dims[COLUMNS];
}

static int64_t integer_at(const fake_tensor *t, const void *x, int64_t i) {
    return t->type == CUDNN_DATA_INT64 ? ((const int64_t *)x)[i] : ((const int32_t *)x)[i];
}

/* Where the batch element begins, and how many rows (or columns, where these lie further apart) it has. */
static int64_t begin_of(const values *v, const fake_tensor *t, int64_t *rows, int *axis) {
    *axis = t->strides[ROWS] >= t->strides[COLUMNS] ? ROWS : COLUMNS;
    *rows = t->dims[*axis];
    if (!t->ragged) return t->dims[BATCH] == 1 ? 0 : v->batch * t->strides[BATCH];
    fake_tensor offsets = fake_tensor_of(t->ragged);
    const void *x = kept_address(v->addresses, offsets.uid);
    int64_t begin = integer_at(&offsets, x, v->batch);
    int64_t there = (integer_at(&offsets, x, v->batch + 1) - begin) / t->strides[*axis];
    if (there < *rows) *rows = there;
    return begin;
}

static float element(const fake_tensor *t, const void *x, int64_t i) {
    if (t->type == CUDNN_DATA_BFLOAT16) return hone_bf16_to_f32(((const uint16_t *)x)[i]);
    if (t->type == CUDNN_DATA_FLOAT) return ((const float *)x)[i];
    return (float)integer_at(t, x, i);
}

static void put(const fake_tensor *t, void *x, int64_t i, float y) {
    if (t->type == CUDNN_DATA_BFLOAT16) ((uint16_t *)x)[i] = hone_bf16_from_f32(y);
    if (t->type == CUDNN_DATA_FLOAT) ((float *)x)[i] = y;
}

/* Reads a tensor of the caller's, or writes it. */
static void move(const values *v, value *of, bool writes) {
    const fake_tensor *t = &of->shape;
    char *x = kept_address(v->addresses, t->uid);
    int64_t rows, index[DIMS], i = 0;
    int axis;
    int64_t begin = begin_of(v, t, &rows, &axis);
    for (index[HEADS] = 0; index[HEADS] < t->dims[HEADS]; index[HEADS]++) {
        for (index[ROWS] = 0; index[ROWS] < t->dims[ROWS]; index[ROWS]++) {
            for (index[COLUMNS] = 0; index[COLUMNS] < t->dims[COLUMNS]; index[COLUMNS]++, i++) {
                bool there = index[axis] < rows;
                int64_t at = begin;
                for (int d = HEADS; d < DIMS; d++) at += index[d] * t->strides[d];
                if (!writes) of->x[i] = there ? element(t, x, at) : NAN;
                if (writes && there) put(t, x, at, of->x[i]);
            }
        }
    }
}

static value *value_of(values *v, const fake_object *o) {
    for (int i = 0; i < v->of.count; i++)
        if (v->of.of[i] == o) return &v->at[i];
    return NULL;
}

/* Room for it, once; what is read from the caller is read the first time. */
static value *ready(values *v, const fake_object *o, bool writes) {
    value *of = value_of(v, o);
    if (of->x) return of;
    of->x = hone_alloc((size_t)size_of(&of->shape), sizeof *of->x);
    if (of->x && !writes) move(v, of, false);
    return of;
}

static void store(const values *v, value *of) {
    if (!of->shape.is_virtual) {
        move(v, of, true);
    } else if (of->shape.type == CUDNN_DATA_BFLOAT16) {
        for (int64_t i = 0; i < size_of(&of->shape); i++)
            of->x[i] = hone_bf16_to_f32(hone_bf16_from_f32(of->x[i]));
    }
}

/* --- Computing --- */

/* Of a value that may have one head, row or column for all. */
static float spread(const value *of, int64_t head, int64_t row, int64_t column) {
    const int64_t *dims = of->shape.dims;
    head = dims[HEADS] == 1 ? 0 : head;
    row = dims[ROWS] == 1 ? 0 : row;
    column = dims[COLUMNS] == 1 ? 0 : column;
    return of->x[(head * dims[ROWS] + row) * dims[COLUMNS] + column];
}

static float apply(int mode, float x, float b, float where) {
    switch (mode) {
    case CUDNN_POINTWISE_ADD:
        return x + b;
    case CUDNN_POINTWISE_MUL:
        return x * b;
    case CUDNN_POINTWISE_DIV:
        return x / b;
    case CUDNN_POINTWISE_SUB:
        return x - b;
    case CUDNN_POINTWISE_EXP:
        return expf(x);
    case CUDNN_POINTWISE_LOG:
        return logf(x);
    case CUDNN_POINTWISE_CMP_GT:
        return x > b;
    case CUDNN_POINTWISE_CMP_GE:
        return x >= b;
    case CUDNN_POINTWISE_CMP_LT:
        return x < b;
    case CUDNN_POINTWISE_LOGICAL_AND:
        return x != 0 && b != 0;
    default:
        return where != 0 ? x : b;
    }
}

static void compute_pointwise(const fake_object *o, value *const in[], value *y) {
    int mode = mode_of(o);
    const fake_object *how = fake_refers(o, AT(OPERATION_POINTWISE_PW_DESCRIPTOR));
    bool counts = mode == CUDNN_POINTWISE_GEN_INDEX;
    bool by_row = counts && int_of(how, AT(POINTWISE_AXIS)) == ROWS;
    const int64_t *dims = y->shape.dims;
    int64_t i = 0;
    for (int64_t h = 0; h < dims[HEADS]; h++) {
        for (int64_t r = 0; r < dims[ROWS]; r++) {
            for (int64_t c = 0; c < dims[COLUMNS]; c++, i++) {
                float b = in[1] ? spread(in[1], h, r, c) : 0;
                float where = in[2] ? spread(in[2], h, r, c) : 0;
                y->x[i] = counts ? (float)(by_row ? r : c)
                                 : apply(mode, spread(in[0], h, r, c), b, where);
            }
        }
    }
}

static int64_t length_of(const values *v, const value *of, int64_t whole) {
    if (!of) return whole;
    return integer_at(&of->shape, kept_address(v->addresses, of->shape.uid), v->batch);
}

/* Nothing comes of rows, columns and terms past the lengths. */
static void compute_matmul(const values *v, value *const in[], value *y) {
    const value *a = in[0], *b = in[1];
    const int64_t *dims = y->shape.dims;
    int64_t group = dims[HEADS] / b->shape.dims[HEADS];
    int64_t m = length_of(v, in[2], dims[ROWS]), n = length_of(v, in[3], dims[COLUMNS]);
    int64_t k = length_of(v, in[4], a->shape.dims[COLUMNS]);
    memset(y->x, 0, (size_t)size_of(&y->shape) * sizeof *y->x);
    for (int64_t h = 0; h < dims[HEADS]; h++) {
        for (int64_t r = 0; r < m; r++) {
            for (int64_t c = 0; c < n; c++) {
                float sum = 0;
                for (int64_t i = 0; i < k; i++)
                    sum += a->x[(h * dims[ROWS] + r) * a->shape.dims[COLUMNS] + i] *
                           b->x[(h / group * b->shape.dims[ROWS] + i) * dims[COLUMNS] + c];
                y->x[(h * dims[ROWS] + r) * dims[COLUMNS] + c] = sum;
            }
        }
    }
}

static void compute_reduction(const fake_object *o, value *const in[], value *y) {
    int how = enum_of(fake_refers(o, AT(OPERATION_REDUCTION_DESC)), AT(REDUCTION_OPERATOR));
    bool adds = how == CUDNN_REDUCE_TENSOR_ADD;
    const int64_t *dims = in[0]->shape.dims, *to = y->shape.dims;
    int64_t group = dims[HEADS] / to[HEADS], i = 0;
    for (int64_t j = 0; j < size_of(&y->shape); j++) y->x[j] = adds ? 0 : -INFINITY;
    for (int64_t h = 0; h < dims[HEADS]; h++) {
        for (int64_t r = 0; r < dims[ROWS]; r++) {
            for (int64_t c = 0; c < dims[COLUMNS]; c++, i++) {
                int64_t row = to[ROWS] == 1 ? 0 : r, column = to[COLUMNS] == 1 ? 0 : c;
                float *at = &y->x[(h / group * to[ROWS] + row) * to[COLUMNS] + column];
                *at = adds ? *at + in[0]->x[i] : fmaxf(*at, in[0]->x[i]);
            }
        }
    }
}

static void compute_reshape(value *const in[], value *y) {
    const int64_t *dims = y->shape.dims;
    for (int64_t h = 0; h < dims[HEADS]; h++)
        for (int64_t r = 0; r < dims[ROWS]; r++)
            for (int64_t c = 0; c < dims[COLUMNS]; c++)
                y->x[(h * dims[ROWS] + r) * dims[COLUMNS] + c] =
                    in[0]->x[(h * dims[COLUMNS] + c) * dims[ROWS] + r];
}

static cudnnStatus_t compute_operation(values *v, const fake_object *o) {
    ends e = ends_of(o);
    value *in[6] = {NULL}, *y = ready(v, e.out, true);
    bool all = y->x != NULL;
    for (int i = 0; i < 6; i++) {
        if (!e.in[i]) continue;
        in[i] = ready(v, e.in[i], false);
        all = all && in[i]->x;
    }
    if (!all) return fake_refuse(CUDNN_STATUS_INTERNAL_ERROR, "no memory");
    if (o->is == OF(OPERATION_POINTWISE)) compute_pointwise(o, in, y);
    if (o->is == OF(OPERATION_MATMUL)) compute_matmul(v, in, y);
    if (o->is == OF(OPERATION_REDUCTION)) compute_reduction(o, in, y);
    if (o->is == OF(OPERATION_RESHAPE)) compute_reshape(in, y);
    store(v, y);
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t compute_element(values *v, const fake_attribute *operations) {
    cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
    for (int i = 0; i < v->of.count; i++) v->at[i] = (value){.shape = fake_tensor_of(v->of.of[i])};
    for (int64_t i = 0; i < operations->count && status == CUDNN_STATUS_SUCCESS; i++)
        status = compute_operation(v, fake_at(operations, i));
    for (int i = 0; i < v->of.count; i++) hone_free(v->at[i].x);
    return status;
}

/* Whether no ragged tensor has anything of the batch element. */
static bool is_empty(values *v) {
    for (int i = 0; i < v->of.count; i++) {
        fake_tensor t = fake_tensor_of(v->of.of[i]);
        int64_t rows;
        int axis;
        if (t.is_virtual || !t.ragged) continue;
        (void)begin_of(v, &t, &rows, &axis);
        return rows == 0;
    }
    return false;
}

cudnnStatus_t fake_compute(const fake_object *graph, const fake_addresses *at) {
    const fake_attribute *operations = fake_find(graph, AT(OPERATIONGRAPH_OPS));
    static values v;
    v = (values){.addresses = at};
    TRY(collect(&v.of, graph));
    int64_t batch = 0;
    for (int64_t i = 0; i < operations->count; i++) {
        fake_tensor y = fake_tensor_of(ends_of(fake_at(operations, i)).out);
        if (y.dims[BATCH] > batch) batch = y.dims[BATCH];
    }
    for (v.batch = 0; v.batch < batch; v.batch++)
        if (!is_empty(&v)) TRY(compute_element(&v, operations));
    return CUDNN_STATUS_SUCCESS;
}
