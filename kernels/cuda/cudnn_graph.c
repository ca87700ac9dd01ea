#include "kernels/cuda/cudnn_graph.h"

#include <assert.h>
#include <string.h>

enum { INNER_UIDS = 1000, INNER_ALIGNMENT = 16, MESSAGE = 512 };

/* --- Descriptors --- */

static void note(hone_cudnn_graph *g, cudnnStatus_t status, const char *doing) {
    if (g->status != CUDNN_STATUS_SUCCESS || status == CUDNN_STATUS_SUCCESS) return;
    g->status = status;
    g->failed = doing;
}

/* One more that lives until the plan is made; NULL after a failure. */
static cudnnBackendDescriptor_t create(hone_cudnn_graph *g, cudnnBackendDescriptorType_t type) {
    cudnnBackendDescriptor_t made = NULL;
    if (g->status != CUDNN_STATUS_SUCCESS) return NULL;
    assert(g->made_count < HONE_CUDNN_DESCRIPTORS);
    note(g, g->target.library->descriptor_create(type, &made), "making a descriptor");
    if (g->status == CUDNN_STATUS_SUCCESS) g->made[g->made_count++] = made;
    return made;
}

static void set(hone_cudnn_graph *g, cudnnBackendDescriptor_t of, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t count, const void *elements) {
    if (g->status != CUDNN_STATUS_SUCCESS) return;
    note(g, g->target.library->attribute_set(of, name, type, count, elements),
         "setting an attribute");
}

static void set_descriptor(hone_cudnn_graph *g, cudnnBackendDescriptor_t of,
                           cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t value) {
    set(g, of, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static void set_tensor(hone_cudnn_graph *g, cudnnBackendDescriptor_t of,
                       cudnnBackendAttributeName_t name, const hone_cudnn_tensor *value) {
    if (value) set_descriptor(g, of, name, value->descriptor);
}

static void set_type(hone_cudnn_graph *g, cudnnBackendDescriptor_t of,
                     cudnnBackendAttributeName_t name, cudnnDataType_t value) {
    set(g, of, name, CUDNN_TYPE_DATA_TYPE, 1, &value);
}

static void set_flag(hone_cudnn_graph *g, cudnnBackendDescriptor_t of,
                     cudnnBackendAttributeName_t name, bool value) {
    set(g, of, name, CUDNN_TYPE_BOOLEAN, 1, &value);
}

static void set_int(hone_cudnn_graph *g, cudnnBackendDescriptor_t of,
                    cudnnBackendAttributeName_t name, int64_t value) {
    set(g, of, name, CUDNN_TYPE_INT64, 1, &value);
}

static void finalize(hone_cudnn_graph *g, cudnnBackendDescriptor_t of, const char *doing) {
    if (g->status != CUDNN_STATUS_SUCCESS) return;
    note(g, g->target.library->descriptor_finalize(of), doing);
}

/* --- Tensors --- */

hone_cudnn_shape hone_cudnn_dense(int64_t batch, int64_t heads, int64_t rows, int64_t columns) {
    return (hone_cudnn_shape){{batch, heads, rows, columns},
                              {heads * rows * columns, rows * columns, columns, 1}};
}

hone_cudnn_tensor hone_cudnn_tensor_at(hone_cudnn_graph *g, cudnnDataType_t type,
                                       hone_cudnn_shape shape, hone_cudnn_place place) {
    cudnnBackendDescriptor_t made = create(g, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    bool inner = place.uid == 0;
    set_type(g, made, CUDNN_ATTR_TENSOR_DATA_TYPE, type);
    set(g, made, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, HONE_CUDNN_DIMS, shape.dims);
    set(g, made, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, HONE_CUDNN_DIMS, shape.strides);
    set_int(g, made, CUDNN_ATTR_TENSOR_UNIQUE_ID, inner ? INNER_UIDS + g->inner++ : place.uid);
    set_int(g, made, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, inner ? INNER_ALIGNMENT : place.alignment);
    if (inner) set_flag(g, made, CUDNN_ATTR_TENSOR_IS_VIRTUAL, true);
    if (place.by_value) set_flag(g, made, CUDNN_ATTR_TENSOR_IS_BY_VALUE, true);
    set_tensor(g, made, CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC, place.ragged);
    finalize(g, made, "describing a tensor");
    return (hone_cudnn_tensor){made, shape};
}

hone_cudnn_tensor hone_cudnn_inner(hone_cudnn_graph *g, cudnnDataType_t type,
                                   hone_cudnn_shape shape) {
    return hone_cudnn_tensor_at(g, type, shape, (hone_cudnn_place){0});
}

/* --- Operations --- */

static void append(hone_cudnn_graph *g, cudnnBackendDescriptor_t operation) {
    finalize(g, operation, "describing an operation");
    if (g->status != CUDNN_STATUS_SUCCESS) return;
    assert(g->operation_count < HONE_CUDNN_OPERATIONS);
    g->operations[g->operation_count++] = operation;
}

static bool is_logical(cudnnPointwiseMode_t mode) {
    return mode == CUDNN_POINTWISE_CMP_GT || mode == CUDNN_POINTWISE_CMP_GE ||
           mode == CUDNN_POINTWISE_CMP_LT || mode == CUDNN_POINTWISE_LOGICAL_AND;
}

/* What an operation of the mode computes in and gives. */
static cudnnDataType_t type_of(cudnnPointwiseMode_t mode) {
    if (is_logical(mode)) return CUDNN_DATA_BOOLEAN;
    return mode == CUDNN_POINTWISE_GEN_INDEX ? CUDNN_DATA_INT32 : CUDNN_DATA_FLOAT;
}

static cudnnBackendDescriptor_t pointwise_mode(hone_cudnn_graph *g, cudnnPointwiseMode_t mode,
                                               int64_t axis) {
    cudnnBackendDescriptor_t made = create(g, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    set(g, made, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set_type(g, made, CUDNN_ATTR_POINTWISE_MATH_PREC, type_of(mode));
    if (mode == CUDNN_POINTWISE_GEN_INDEX) set_int(g, made, CUDNN_ATTR_POINTWISE_AXIS, axis);
    finalize(g, made, "describing an operation on elements");
    return made;
}

static void pointwise(hone_cudnn_graph *g, const hone_cudnn_tensor *y,
                      cudnnBackendDescriptor_t mode, const hone_cudnn_tensor *x,
                      const hone_cudnn_tensor *b, const hone_cudnn_tensor *where) {
    cudnnBackendDescriptor_t made = create(g, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set_descriptor(g, made, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, mode);
    set_tensor(g, made, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    set_tensor(g, made, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    set_tensor(g, made, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, where);
    set_tensor(g, made, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    append(g, made);
}

void hone_cudnn_pointwise_into(hone_cudnn_graph *g, const hone_cudnn_tensor *y,
                               cudnnPointwiseMode_t mode, const hone_cudnn_tensor *x,
                               const hone_cudnn_tensor *b, const hone_cudnn_tensor *where) {
    pointwise(g, y, pointwise_mode(g, mode, 0), x, b, where);
}

hone_cudnn_tensor hone_cudnn_pointwise(hone_cudnn_graph *g, cudnnPointwiseMode_t mode,
                                       const hone_cudnn_tensor *x, const hone_cudnn_tensor *b,
                                       const hone_cudnn_tensor *where) {
    hone_cudnn_tensor y = hone_cudnn_inner(g, type_of(mode), x->shape);
    hone_cudnn_pointwise_into(g, &y, mode, x, b, where);
    return y;
}

hone_cudnn_tensor hone_cudnn_index(hone_cudnn_graph *g, const hone_cudnn_tensor *x, int64_t axis) {
    hone_cudnn_tensor y = hone_cudnn_inner(g, CUDNN_DATA_INT32, x->shape);
    pointwise(g, &y, pointwise_mode(g, CUDNN_POINTWISE_GEN_INDEX, axis), x, NULL, NULL);
    return y;
}

void hone_cudnn_product(hone_cudnn_graph *g, const hone_cudnn_tensor *y, const hone_cudnn_tensor *a,
                        const hone_cudnn_tensor *b, hone_cudnn_lengths lengths) {
    cudnnBackendDescriptor_t how = create(g, CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    set_type(g, how, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT);
    finalize(g, how, "describing a product");
    cudnnBackendDescriptor_t made = create(g, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    set_descriptor(g, made, CUDNN_ATTR_OPERATION_MATMUL_DESC, how);
    set_tensor(g, made, CUDNN_ATTR_OPERATION_MATMUL_ADESC, a);
    set_tensor(g, made, CUDNN_ATTR_OPERATION_MATMUL_BDESC, b);
    set_tensor(g, made, CUDNN_ATTR_OPERATION_MATMUL_CDESC, y);
    set_tensor(g, made, CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, lengths.m);
    set_tensor(g, made, CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, lengths.n);
    set_tensor(g, made, CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, lengths.k);
    append(g, made);
}

void hone_cudnn_reduce(hone_cudnn_graph *g, const hone_cudnn_tensor *y, cudnnReduceTensorOp_t how,
                       const hone_cudnn_tensor *x) {
    cudnnBackendDescriptor_t kind = create(g, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    set(g, kind, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &how);
    set_type(g, kind, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT);
    set_flag(g, kind, CUDNN_ATTR_REDUCTION_IS_DETERMINISTIC, true);
    finalize(g, kind, "describing a reduction");
    cudnnBackendDescriptor_t made = create(g, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    set_descriptor(g, made, CUDNN_ATTR_OPERATION_REDUCTION_DESC, kind);
    set_tensor(g, made, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
    set_tensor(g, made, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y);
    append(g, made);
}

void hone_cudnn_reshape(hone_cudnn_graph *g, const hone_cudnn_tensor *y,
                        const hone_cudnn_tensor *x) {
    cudnnBackendDescriptor_t made = create(g, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
    set_tensor(g, made, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x);
    set_tensor(g, made, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y);
    append(g, made);
}

/* --- Plans --- */

static cudnnBackendDescriptor_t whole_graph(hone_cudnn_graph *g) {
    cudnnBackendDescriptor_t graph = create(g, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set(g, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, g->operation_count,
        g->operations);
    if (g->target.handle)
        set(g, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &g->target.handle);
    finalize(g, graph, "taking the graph");
    return graph;
}

/* The kernel that the library's heuristics put first. */
static cudnnBackendDescriptor_t choose(hone_cudnn_graph *g) {
    cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    cudnnBackendDescriptor_t graph = whole_graph(g);
    cudnnBackendDescriptor_t heuristic = create(g, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    set_descriptor(g, heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    set(g, heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (!g->target.handle)
        set_descriptor(g, heuristic, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, g->target.device);
    finalize(g, heuristic, "looking for a kernel");
    cudnnBackendDescriptor_t chosen = create(g, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    if (g->status != CUDNN_STATUS_SUCCESS) return NULL;
    int64_t found = 0;
    note(g,
         g->target.library->attribute_get(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                          CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &found, &chosen),
         "looking for a kernel");
    if (found < 1) note(g, CUDNN_STATUS_NOT_SUPPORTED, "looking for a kernel");
    return chosen;
}

static void compile(hone_cudnn_plan *out, hone_cudnn_graph *g) {
    cudnnBackendDescriptor_t chosen = choose(g);
    cudnnBackendDescriptor_t plan = create(g, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    if (g->target.handle) {
        set(g, plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &g->target.handle);
    } else {
        set_descriptor(g, plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, g->target.device);
    }
    set_descriptor(g, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, chosen);
    finalize(g, plan, "compiling the kernel");
    if (g->status != CUDNN_STATUS_SUCCESS) return;
    int64_t count = 0;
    out->descriptor = plan;
    note(g,
         g->target.library->attribute_get(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                          CUDNN_TYPE_INT64, 1, &count, &out->bytes),
         "asking for the size of a workspace");
}

/* The last thing that the library complained of, on one line; it has the whole way up to it, a line each. */
static const char *complaint(char text[MESSAGE], const hone_cudnn *library) {
    static const char before[] = "Reason: ";
    library->get_last_error_string(text, MESSAGE);
    char *reason = strstr(text, before);
    reason = reason ? reason + strlen(before) : text;
    reason[strcspn(reason, "\n")] = '\0';
    return reason;
}

static hone_status failure(const hone_cudnn_graph *g, const char *what) {
    char text[MESSAGE] = "";
    const char *reason = complaint(text, g->target.library);
    return hone_fail(HONE_ERR_UNSUPPORTED, "cuDNN %zu has no kernel for %s: %s while %s%s%s",
                     g->target.library->get_version(), what,
                     g->target.library->get_error_string(g->status), g->failed,
                     reason[0] ? ": " : "", reason);
}

hone_status hone_cudnn_plan_make(hone_cudnn_plan *out, hone_cudnn_graph *g, const char *what) {
    *out = (hone_cudnn_plan){0};
    compile(out, g);
    hone_status status = g->status == CUDNN_STATUS_SUCCESS ? HONE_OK : failure(g, what);
    memcpy(out->made, g->made, sizeof out->made);
    out->made_count = g->made_count;
    if (status != HONE_OK) hone_cudnn_plan_free(out, g->target.library);
    return status;
}

void hone_cudnn_plan_free(hone_cudnn_plan *plan, const hone_cudnn *library) {
    while (plan->made_count > 0) (void)library->descriptor_destroy(plan->made[--plan->made_count]);
    *plan = (hone_cudnn_plan){0};
}

/* --- Running --- */

static cudnnStatus_t fill_pack(const hone_cudnn *l, cudnnBackendDescriptor_t pack,
                               const int64_t *uids, void *const *addresses, int64_t count,
                               void *workspace) {
    cudnnStatus_t status =
        l->attribute_set(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, uids);
    if (status == CUDNN_STATUS_SUCCESS)
        status = l->attribute_set(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
                                  count, addresses);
    if (status == CUDNN_STATUS_SUCCESS)
        status = l->attribute_set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1,
                                  &workspace);
    return status == CUDNN_STATUS_SUCCESS ? l->descriptor_finalize(pack) : status;
}

cudnnStatus_t hone_cudnn_run(const hone_cudnn_target *target, const hone_cudnn_plan *plan,
                             const int64_t *uids, void *const *addresses, int64_t count,
                             void *workspace) {
    const hone_cudnn *l = target->library;
    cudnnBackendDescriptor_t pack = NULL;
    cudnnStatus_t status = l->descriptor_create(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack);
    if (status != CUDNN_STATUS_SUCCESS) return status;
    status = fill_pack(l, pack, uids, addresses, count, workspace);
    if (status == CUDNN_STATUS_SUCCESS) status = l->execute(target->handle, plan->descriptor, pack);
    (void)l->descriptor_destroy(pack);
    return status;
}
