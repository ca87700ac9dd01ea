#include "tests/cuda/fake_cudnn.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "tests/cuda/fake_cudnn_objects.h"
#include "tests/cuda/fake_parts.h"
#include "tests/cuda/fake_stream.h"

enum { VERSION = 92600, RESHAPES_OF_BACKWARD = 3, KERNEL_BYTES = 4096, SCRATCHED = 256 };

static fake_cudnn state;
static fake_object *objects;

fake_cudnn *fake_cudnn_state(void) {
    return &state;
}

cudnnStatus_t fake_refuse(cudnnStatus_t status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(state.complaint, sizeof state.complaint, format, arguments);
    va_end(arguments);
    return status;
}

/* The failure that a test has asked for. */
static cudnnStatus_t asked_for(void) {
    cudnnStatus_t status = state.to_return;
    state.to_return = CUDNN_STATUS_SUCCESS;
    return status;
}

/* --- Which attributes there are --- */

enum { ONE = 1, ANY = -256, DIMS = 4, REQUIRED = 1 };

#define OF(kind)   CUDNN_BACKEND_##kind##_DESCRIPTOR
#define AT(name)   CUDNN_ATTR_##name
#define TYPE(name) CUDNN_TYPE_##name

typedef struct rule {
    int of, name, type;
    int count; /* exactly; negative: up to */
    int required;
    int refers; /* kind of descriptor, for TYPE(BACKEND_DESCRIPTOR) */
} rule;

static const rule rules[] = {
    {OF(TENSOR), AT(TENSOR_DATA_TYPE), TYPE(DATA_TYPE), ONE, REQUIRED, 0},
    {OF(TENSOR), AT(TENSOR_DIMENSIONS), TYPE(INT64), DIMS, REQUIRED, 0},
    {OF(TENSOR), AT(TENSOR_STRIDES), TYPE(INT64), DIMS, REQUIRED, 0},
    {OF(TENSOR), AT(TENSOR_UNIQUE_ID), TYPE(INT64), ONE, REQUIRED, 0},
    {OF(TENSOR), AT(TENSOR_BYTE_ALIGNMENT), TYPE(INT64), ONE, REQUIRED, 0},
    {OF(TENSOR), AT(TENSOR_IS_VIRTUAL), TYPE(BOOLEAN), ONE, 0, 0},
    {OF(TENSOR), AT(TENSOR_IS_BY_VALUE), TYPE(BOOLEAN), ONE, 0, 0},
    {OF(TENSOR), AT(TENSOR_RAGGED_OFFSET_DESC), TYPE(BACKEND_DESCRIPTOR), ONE, 0, OF(TENSOR)},
    {OF(POINTWISE), AT(POINTWISE_MODE), TYPE(POINTWISE_MODE), ONE, REQUIRED, 0},
    {OF(POINTWISE), AT(POINTWISE_MATH_PREC), TYPE(DATA_TYPE), ONE, REQUIRED, 0},
    {OF(POINTWISE), AT(POINTWISE_AXIS), TYPE(INT64), ONE, 0, 0},
    {OF(OPERATION_POINTWISE), AT(OPERATION_POINTWISE_PW_DESCRIPTOR), TYPE(BACKEND_DESCRIPTOR), ONE,
     REQUIRED, OF(POINTWISE)},
    {OF(OPERATION_POINTWISE), AT(OPERATION_POINTWISE_XDESC), TYPE(BACKEND_DESCRIPTOR), ONE,
     REQUIRED, OF(TENSOR)},
    {OF(OPERATION_POINTWISE), AT(OPERATION_POINTWISE_BDESC), TYPE(BACKEND_DESCRIPTOR), ONE, 0,
     OF(TENSOR)},
    {OF(OPERATION_POINTWISE), AT(OPERATION_POINTWISE_TDESC), TYPE(BACKEND_DESCRIPTOR), ONE, 0,
     OF(TENSOR)},
    {OF(OPERATION_POINTWISE), AT(OPERATION_POINTWISE_YDESC), TYPE(BACKEND_DESCRIPTOR), ONE,
     REQUIRED, OF(TENSOR)},
    {OF(MATMUL), AT(MATMUL_COMP_TYPE), TYPE(DATA_TYPE), ONE, REQUIRED, 0},
    {OF(OPERATION_MATMUL), AT(OPERATION_MATMUL_DESC), TYPE(BACKEND_DESCRIPTOR), ONE, REQUIRED,
     OF(MATMUL)},
    {OF(OPERATION_MATMUL), AT(OPERATION_MATMUL_ADESC), TYPE(BACKEND_DESCRIPTOR), ONE, REQUIRED,
     OF(TENSOR)},
    {OF(OPERATION_MATMUL), AT(OPERATION_MATMUL_BDESC), TYPE(BACKEND_DESCRIPTOR), ONE, REQUIRED,
     OF(TENSOR)},
    {OF(OPERATION_MATMUL), AT(OPERATION_MATMUL_CDESC), TYPE(BACKEND_DESCRIPTOR), ONE, REQUIRED,
     OF(TENSOR)},
    {OF(OPERATION_MATMUL), AT(OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC), TYPE(BACKEND_DESCRIPTOR), ONE,
     0, OF(TENSOR)},
    {OF(OPERATION_MATMUL), AT(OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC), TYPE(BACKEND_DESCRIPTOR), ONE,
     0, OF(TENSOR)},
    {OF(OPERATION_MATMUL), AT(OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC), TYPE(BACKEND_DESCRIPTOR), ONE,
     0, OF(TENSOR)},
    {OF(REDUCTION), AT(REDUCTION_OPERATOR), TYPE(REDUCTION_OPERATOR_TYPE), ONE, REQUIRED, 0},
    {OF(REDUCTION), AT(REDUCTION_COMP_TYPE), TYPE(DATA_TYPE), ONE, REQUIRED, 0},
    {OF(REDUCTION), AT(REDUCTION_IS_DETERMINISTIC), TYPE(BOOLEAN), ONE, 0, 0},
    {OF(OPERATION_REDUCTION), AT(OPERATION_REDUCTION_DESC), TYPE(BACKEND_DESCRIPTOR), ONE, REQUIRED,
     OF(REDUCTION)},
    {OF(OPERATION_REDUCTION), AT(OPERATION_REDUCTION_XDESC), TYPE(BACKEND_DESCRIPTOR), ONE,
     REQUIRED, OF(TENSOR)},
    {OF(OPERATION_REDUCTION), AT(OPERATION_REDUCTION_YDESC), TYPE(BACKEND_DESCRIPTOR), ONE,
     REQUIRED, OF(TENSOR)},
    {OF(OPERATION_RESHAPE), AT(OPERATION_RESHAPE_XDESC), TYPE(BACKEND_DESCRIPTOR), ONE, REQUIRED,
     OF(TENSOR)},
    {OF(OPERATION_RESHAPE), AT(OPERATION_RESHAPE_YDESC), TYPE(BACKEND_DESCRIPTOR), ONE, REQUIRED,
     OF(TENSOR)},
    {OF(OPERATIONGRAPH), AT(OPERATIONGRAPH_OPS), TYPE(BACKEND_DESCRIPTOR), ANY, REQUIRED,
     FAKE_OPERATIONS},
    {OF(OPERATIONGRAPH), AT(OPERATIONGRAPH_HANDLE), TYPE(HANDLE), ONE, REQUIRED, 0},
    {OF(ENGINEHEUR), AT(ENGINEHEUR_OPERATION_GRAPH), TYPE(BACKEND_DESCRIPTOR), ONE, REQUIRED,
     OF(OPERATIONGRAPH)},
    {OF(ENGINEHEUR), AT(ENGINEHEUR_MODE), TYPE(HEUR_MODE), ONE, REQUIRED, 0},
    {OF(EXECUTION_PLAN), AT(EXECUTION_PLAN_HANDLE), TYPE(HANDLE), ONE, REQUIRED, 0},
    {OF(EXECUTION_PLAN), AT(EXECUTION_PLAN_ENGINE_CONFIG), TYPE(BACKEND_DESCRIPTOR), ONE, REQUIRED,
     OF(ENGINECFG)},
    {OF(VARIANT_PACK), AT(VARIANT_PACK_UNIQUE_IDS), TYPE(INT64), ANY, REQUIRED, 0},
    {OF(VARIANT_PACK), AT(VARIANT_PACK_DATA_POINTERS), TYPE(VOID_PTR), ANY, REQUIRED, 0},
    {OF(VARIANT_PACK), AT(VARIANT_PACK_WORKSPACE), TYPE(VOID_PTR), ONE, REQUIRED, 0},
    {OF(ENGINECFG), -1, 0, 0, 0, 0},
};
enum { RULES = sizeof rules / sizeof rules[0] };

static size_t element_bytes(int type) {
    if (type == TYPE(BOOLEAN)) return sizeof(bool);
    bool wide = type == TYPE(INT64) || type == TYPE(VOID_PTR) || type == TYPE(HANDLE) ||
                type == TYPE(BACKEND_DESCRIPTOR);
    return wide ? sizeof(int64_t) : sizeof(int);
}

static const rule *rule_of(int of, int name) {
    for (int i = 0; i < RULES; i++)
        if (rules[i].of == of && rules[i].name == name) return &rules[i];
    return NULL;
}

/* --- Objects --- */

static fake_object *object_new(int is) {
    fake_object *o = hone_alloc(1, sizeof *o);
    if (!o) return NULL;
    *o = (fake_object){.next = objects, .is = is, .alive = true};
    objects = o;
    state.created++;
    state.live++;
    return o;
}

/* NULL where it is none that is alive. */
static fake_object *object_of(const void *opaque) {
    for (fake_object *o = objects; o; o = o->next)
        if (o == opaque) return o->alive ? o : NULL;
    return NULL;
}

static bool is_operation(int kind) {
    return kind == OF(OPERATION_POINTWISE) || kind == OF(OPERATION_MATMUL) ||
           kind == OF(OPERATION_REDUCTION) || kind == OF(OPERATION_RESHAPE);
}

static bool refers_well(const void *opaque, int kind) {
    const fake_object *o = object_of(opaque);
    if (!o || !o->finalized) return false;
    return kind == FAKE_OPERATIONS ? is_operation(o->is) : o->is == kind;
}

const fake_attribute *fake_find(const fake_object *o, int name) {
    for (int i = 0; i < o->count; i++)
        if (o->attributes[i].name == name) return &o->attributes[i];
    return NULL;
}

static size_t get_version(void) {
    return VERSION;
}

static const char *get_error_string(cudnnStatus_t status) {
    return status == CUDNN_STATUS_SUCCESS            ? "CUDNN_STATUS_SUCCESS"
           : status == CUDNN_STATUS_NOT_INITIALIZED  ? "CUDNN_STATUS_NOT_INITIALIZED"
           : status == CUDNN_STATUS_BAD_PARAM        ? "CUDNN_STATUS_BAD_PARAM"
           : status == CUDNN_STATUS_NOT_SUPPORTED    ? "CUDNN_STATUS_NOT_SUPPORTED"
           : status == CUDNN_STATUS_EXECUTION_FAILED ? "CUDNN_STATUS_EXECUTION_FAILED"
                                                     : "another status";
}

static void get_last_error_string(char *message, size_t most) {
    snprintf(message, most, "Error: %s; Reason: %s\nand so on", "?", state.complaint);
}

static cudnnStatus_t create(cudnnHandle_t *out) {
    cudnnStatus_t status = asked_for();
    if (status != CUDNN_STATUS_SUCCESS) return status;
    fake_object *made = object_new(FAKE_HANDLE);
    if (!made) return fake_refuse(CUDNN_STATUS_INTERNAL_ERROR, "no memory");
    *out = (cudnnHandle_t)(void *)made;
    return CUDNN_STATUS_SUCCESS;
}

/* Work that was queued may still read a graph. */
static void forget(fake_object *o) {
    for (int i = 0; o->is == OF(VARIANT_PACK) && i < o->count; i++)
        hone_free(o->attributes[i].elements);
    o->alive = false;
    state.live--;
}

static cudnnStatus_t destroy(cudnnHandle_t handle) {
    fake_object *o = object_of(handle);
    if (!o || o->is != FAKE_HANDLE) return FAKE_INVALID("no handle");
    forget(o);
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t set_stream(cudnnHandle_t handle, cudaStream_t stream) {
    const fake_object *o = object_of(handle);
    if (!o || o->is != FAKE_HANDLE) return FAKE_INVALID("no handle");
    state.stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t descriptor_create(cudnnBackendDescriptorType_t type,
                                       cudnnBackendDescriptor_t *out) {
    bool known = false;
    for (int i = 0; i < RULES; i++) known |= rules[i].of == (int)type;
    if (!known || !out) return FAKE_INVALID("no descriptor of kind %d", (int)type);
    *out = object_new((int)type);
    return *out ? CUDNN_STATUS_SUCCESS : fake_refuse(CUDNN_STATUS_INTERNAL_ERROR, "no memory");
}

static cudnnStatus_t descriptor_destroy(cudnnBackendDescriptor_t descriptor) {
    fake_object *o = object_of(descriptor);
    if (!o || o->is == FAKE_HANDLE) return FAKE_INVALID("what is destroyed is none");
    forget(o);
    return CUDNN_STATUS_SUCCESS;
}

/* --- Attributes --- */

static cudnnStatus_t check_elements(const rule *r, int type, int64_t count, const void *elements) {
    if (type != r->type)
        return FAKE_INVALID("attribute %d is of type %d, not %d", r->name, r->type, type);
    bool fits = r->count > 0 ? count == r->count : count > 0 && count <= -r->count;
    if (!fits || !elements)
        return FAKE_INVALID("attribute %d with %lld elements", r->name, (long long)count);
    if (type == TYPE(HANDLE)) {
        const fake_object *o = object_of(*(void *const *)elements);
        return o && o->is == FAKE_HANDLE ? CUDNN_STATUS_SUCCESS : FAKE_INVALID("no handle");
    }
    if (type != TYPE(BACKEND_DESCRIPTOR)) return CUDNN_STATUS_SUCCESS;
    for (int64_t i = 0; i < count; i++)
        if (!refers_well(((void *const *)elements)[i], r->refers))
            return FAKE_INVALID("attribute %d refers to no finalised descriptor of its kind",
                                r->name);
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t attribute_set(cudnnBackendDescriptor_t descriptor,
                                   cudnnBackendAttributeName_t name,
                                   cudnnBackendAttributeType_t type, int64_t count,
                                   const void *elements) {
    fake_object *o = object_of(descriptor);
    if (!o) return FAKE_INVALID("no descriptor");
    if (o->finalized) return FAKE_INVALID("attribute %d is set after finalising", (int)name);
    const rule *r = rule_of(o->is, (int)name);
    if (!r) return FAKE_INVALID("kind %d has no attribute %d", o->is, (int)name);
    cudnnStatus_t status = check_elements(r, (int)type, count, elements);
    if (status != CUDNN_STATUS_SUCCESS) return status;
    if (fake_find(o, (int)name) || o->count == FAKE_ATTRIBUTES)
        return FAKE_INVALID("attribute %d is set twice", (int)name);
    size_t bytes = (size_t)count * element_bytes(r->type);
    void *kept = hone_alloc(1, bytes);
    if (!kept) return fake_refuse(CUDNN_STATUS_INTERNAL_ERROR, "no memory");
    memcpy(kept, elements, bytes);
    o->attributes[o->count++] = (fake_attribute){(int)name, count, kept};
    return CUDNN_STATUS_SUCCESS;
}

/* --- What an engine and its plan say --- */

static int reshapes_of(const fake_object *graph) {
    const fake_attribute *operations = fake_find(graph, AT(OPERATIONGRAPH_OPS));
    int count = 0;
    for (int64_t i = 0; i < operations->count; i++)
        count += fake_at(operations, i)->is == OF(OPERATION_RESHAPE);
    return count;
}

/* Backward's scores, in bf16, as the library keeps them on Hopper. */
static int64_t bytes_of(const fake_object *graph) {
    const fake_attribute *operations = fake_find(graph, AT(OPERATIONGRAPH_OPS));
    for (int64_t i = 0; i < operations->count; i++) {
        const fake_object *o = fake_at(operations, i);
        if (o->is != OF(OPERATION_RESHAPE)) continue;
        fake_tensor t = fake_tensor_of(fake_refers(o, AT(OPERATION_RESHAPE_YDESC)));
        return KERNEL_BYTES + 2 * t.dims[0] * t.dims[1] * t.dims[2] * t.dims[3];
    }
    return KERNEL_BYTES;
}

static cudnnStatus_t give_engine(const fake_object *heuristic, int64_t most, int64_t *count,
                                 void *elements) {
    const fake_object *graph = fake_refers(heuristic, AT(ENGINEHEUR_OPERATION_GRAPH));
    *count = 0;
    if (most < 1) return CUDNN_STATUS_SUCCESS;
    fake_object *out = object_of(*(void **)elements);
    if (!out || out->is != OF(ENGINECFG)) return FAKE_INVALID("nowhere to put a configuration");
    if (state.no_backward && reshapes_of(graph) == RESHAPES_OF_BACKWARD)
        return CUDNN_STATUS_SUCCESS;
    out->graph = graph;
    out->finalized = true;
    *count = 1;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t attribute_get(cudnnBackendDescriptor_t descriptor,
                                   cudnnBackendAttributeName_t name,
                                   cudnnBackendAttributeType_t type, int64_t most, int64_t *count,
                                   void *elements) {
    const fake_object *o = object_of(descriptor);
    if (!o || !o->finalized) return FAKE_INVALID("no finalised descriptor");
    if (!count || !elements) return FAKE_INVALID("nowhere to put what is asked for");
    if (o->is == OF(ENGINEHEUR) && name == AT(ENGINEHEUR_RESULTS) &&
        type == TYPE(BACKEND_DESCRIPTOR))
        return give_engine(o, most, count, elements);
    if (o->is == OF(EXECUTION_PLAN) && name == AT(EXECUTION_PLAN_WORKSPACE_SIZE) &&
        type == TYPE(INT64) && most == ONE) {
        *count = ONE;
        *(int64_t *)elements = bytes_of(o->graph);
        return CUDNN_STATUS_SUCCESS;
    }
    return FAKE_INVALID("attribute %d of kind %d is not for asking", (int)name, o->is);
}

/* --- Finalising --- */

static cudnnStatus_t check_whole(const fake_object *o) {
    for (int i = 0; i < RULES; i++)
        if (rules[i].of == o->is && rules[i].required && !fake_find(o, rules[i].name))
            return FAKE_INVALID("kind %d lacks attribute %d", o->is, rules[i].name);
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t check_pack(const fake_object *o) {
    int64_t uids = fake_find(o, AT(VARIANT_PACK_UNIQUE_IDS))->count;
    int64_t addresses = fake_find(o, AT(VARIANT_PACK_DATA_POINTERS))->count;
    if (uids == addresses) return CUDNN_STATUS_SUCCESS;
    return FAKE_INVALID("%lld tensors and %lld addresses", (long long)uids, (long long)addresses);
}

static cudnnStatus_t check_kind(fake_object *o) {
    switch (o->is) {
    case OF(TENSOR):
        return fake_check_tensor(o);
    case OF(OPERATIONGRAPH):
        return fake_check_graph(o);
    case OF(VARIANT_PACK):
        return check_pack(o);
    case OF(EXECUTION_PLAN):
        o->graph = fake_refers(o, AT(EXECUTION_PLAN_ENGINE_CONFIG))->graph;
        state.plans++;
        return CUDNN_STATUS_SUCCESS;
    case OF(ENGINECFG):
        return FAKE_INVALID("a configuration without an engine");
    default:
        return is_operation(o->is) ? fake_check_operation(o) : CUDNN_STATUS_SUCCESS;
    }
}

static cudnnStatus_t descriptor_finalize(cudnnBackendDescriptor_t descriptor) {
    cudnnStatus_t status = asked_for();
    if (status != CUDNN_STATUS_SUCCESS) return status;
    fake_object *o = object_of(descriptor);
    if (!o || o->is == FAKE_HANDLE || o->finalized) return FAKE_INVALID("nothing to finalise");
    status = check_whole(o);
    if (status == CUDNN_STATUS_SUCCESS) status = check_kind(o);
    o->finalized = status == CUDNN_STATUS_SUCCESS;
    return status;
}

/* --- Execution --- */

static void scratch(void *workspace, int64_t bytes) {
    memset(workspace, 0xff, SCRATCHED);
    memset((char *)workspace + bytes - SCRATCHED, 0xff, SCRATCHED);
}

/* What is queued of an execution. */
typedef struct call {
    const fake_object *graph;
    fake_addresses at;
    void *workspace;
} call;

static void run(void *context) {
    const call *c = context;
    scratch(c->workspace, bytes_of(c->graph));
    if (fake_compute(c->graph, &c->at) != CUDNN_STATUS_SUCCESS) fake_die(state.complaint);
}

static cudnnStatus_t execute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                             cudnnBackendDescriptor_t pack) {
    cudnnStatus_t status = state.to_return_of_run;
    if (status != CUDNN_STATUS_SUCCESS) return status;
    const fake_object *h = object_of(handle), *p = object_of(plan), *with = object_of(pack);
    if (!h || h->is != FAKE_HANDLE) return FAKE_INVALID("no handle");
    if (!p || p->is != OF(EXECUTION_PLAN) || !p->finalized) return FAKE_INVALID("no plan");
    if (!with || with->is != OF(VARIANT_PACK) || !with->finalized) return FAKE_INVALID("no pack");
    if (*(void **)fake_find(p, AT(EXECUTION_PLAN_HANDLE))->elements != handle)
        return FAKE_INVALID("the plan was made for another handle");
    void *workspace = *(void **)fake_find(with, AT(VARIANT_PACK_WORKSPACE))->elements;
    if (!workspace) return FAKE_INVALID("no workspace");
    status = fake_check_addresses(p->graph, with);
    if (status != CUDNN_STATUS_SUCCESS) return status;
    state.runs++;
    call *made = hone_alloc(1, sizeof *made);
    if (!made) return fake_refuse(CUDNN_STATUS_INTERNAL_ERROR, "no memory");
    *made = (call){.graph = p->graph, .workspace = workspace};
    fake_keep_addresses(&made->at, p->graph, with);
    if (fake_stream_launch(state.stream, (fake_work){run, hone_free, made}) != cudaSuccess)
        return fake_refuse(CUDNN_STATUS_EXECUTION_FAILED, "nothing is launched any more");
    return CUDNN_STATUS_SUCCESS;
}

hone_cudnn fake_cudnn_functions(void) {
    return (hone_cudnn){
        .get_version = get_version,
        .get_error_string = get_error_string,
        .get_last_error_string = get_last_error_string,
        .create = create,
        .destroy = destroy,
        .set_stream = set_stream,
        .descriptor_create = descriptor_create,
        .descriptor_destroy = descriptor_destroy,
        .descriptor_finalize = descriptor_finalize,
        .attribute_set = attribute_set,
        .attribute_get = attribute_get,
        .execute = execute,
    };
}
