#include "tests/cuda/emulated.h"

#include "kernels/cuda/cuda.h"

#ifdef HONE_EMULATED_PRODUCTS
#include <stdio.h>
#include <stdlib.h>

#include "kernels/cuda/products.h"
#include "kernels/cuda/stream.h"
#include "tests/cuda/fake_cublaslt.h"
#endif

/* A small number, so that loops over items go round. */
int64_t hone_cuda_resident_blocks(void) {
    return 3;
}

#ifdef HONE_EMULATED_PRODUCTS

enum { SCRATCH_BYTES = 1 << 16, SLAB_BYTES = 1 << 16 };

cudaStream_t hone_cuda_stream(void) {
    static char stream; /* an address that nobody else has */
    return (cudaStream_t)(void *)&stream;
}

void *hone_cuda_scratch(size_t *bytes) {
    static _Alignas(HONE_CUDA_ALIGNMENT) char scratch[SCRATCH_BYTES];
    *bytes = sizeof scratch;
    return scratch;
}

/* Slabs are small, so that weights have several; so is what cuBLASLt gets, which takes time to give. */
static void fill_products(hone_kernels *table) {
    static bool open;
    hone_cublaslt library = fake_cublaslt_functions();
    if (!open && hone_cuda_products_open(&library) != HONE_OK) {
        fprintf(stderr, "%s\n", hone_fail_message());
        abort();
    }
    open = true;
    hone_cuda_products_sizes(SLAB_BYTES, SCRATCH_BYTES);
    hone_cuda_fill_products(table);
}

hone_status hone_emulated_status(void) {
    hone_status status = hone_cuda_products_status();
    if (status == HONE_OK) return HONE_OK;
    return hone_fail_context(status, "%s", fake_cublaslt_state()->complaint);
}

#else

hone_status hone_emulated_status(void) {
    return HONE_OK;
}

static void fill_products(hone_kernels *table) {
    (void)table; /* the reference's stay */
}

#endif

const hone_kernels *hone_kernels_emulated(void) {
    static hone_kernels table;
    table = *hone_kernels_ref();
    table.name = "cuda";
    hone_cuda_fill(&table);
    fill_products(&table);
    return &table;
}
