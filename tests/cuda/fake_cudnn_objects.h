/*
 * What the two halves of the fake of cuDNN share: descriptors as they were given, and what is computed of them.
 */
#ifndef HONE_TESTS_CUDA_FAKE_CUDNN_OBJECTS_H
#define HONE_TESTS_CUDA_FAKE_CUDNN_OBJECTS_H

#include "tests/cuda/fake_cudart.h"
#include "tests/cuda/fake_cudnn.h"

/* Kinds beside those of descriptors. */
enum { FAKE_HANDLE = 0x5eed, FAKE_OPERATIONS, FAKE_ATTRIBUTES = 10 };

typedef struct fake_attribute {
    int name;
    int64_t count;
    void *elements;
} fake_attribute;

/* A handle or a descriptor; kept after it is destroyed, so that its use can be told. */
typedef struct fake_object {
    struct fake_object *next; /* of all */
    int is;
    bool alive, finalized;
    fake_attribute attributes[FAKE_ATTRIBUTES];
    int count;
    const struct fake_object *graph; /* of configurations and plans */
} fake_object;

typedef struct fake_tensor {
    int64_t uid, type, alignment;
    int64_t dims[4], strides[4];
    bool is_virtual, by_value;
    const fake_object *ragged;
} fake_tensor;

cudnnStatus_t fake_refuse(cudnnStatus_t status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
#define FAKE_INVALID(...) fake_refuse(CUDNN_STATUS_BAD_PARAM, __VA_ARGS__)

/* NULL where it is not set. */
const fake_attribute *fake_find(const fake_object *o, int name);

static inline const fake_object *fake_at(const fake_attribute *a, int64_t i) {
    return ((const fake_object *const *)a->elements)[i];
}

static inline const fake_object *fake_refers(const fake_object *o, int name) {
    const fake_attribute *a = fake_find(o, name);
    return a ? fake_at(a, 0) : NULL;
}

fake_tensor fake_tensor_of(const fake_object *o);

cudnnStatus_t fake_check_tensor(const fake_object *o);
cudnnStatus_t fake_check_operation(const fake_object *o);
cudnnStatus_t fake_check_graph(const fake_object *o);
cudnnStatus_t fake_check_addresses(const fake_object *graph, const fake_object *pack);

/* What a finalised pack says, and numbers that it gives by value, as they are now: until they are computed with, both may
 * go. */
enum { FAKE_MOST_ADDRESSES = 32 };
typedef struct fake_addresses {
    int64_t uids[FAKE_MOST_ADDRESSES];
    void *of[FAKE_MOST_ADDRESSES];
    double by_value[FAKE_MOST_ADDRESSES];
    int64_t count;
} fake_addresses;
void fake_keep_addresses(fake_addresses *out, const fake_object *graph, const fake_object *pack);
cudnnStatus_t fake_compute(const fake_object *graph, const fake_addresses *at);

#endif
