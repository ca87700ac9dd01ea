#include "formats/safetensors.h"
#include "tests/fuzz/fuzz.h"

static volatile uint64_t sum; /* so that every byte is read */

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    hone_safetensors *file;
    if (hone_safetensors_open_bytes(&file, bytes, length, "input") != HONE_OK) return 0;
    uint64_t total = 0;
    for (size_t i = 0; i < hone_safetensors_count(file); i++) {
        const hone_safetensors_tensor *tensor = hone_safetensors_at(file, i);
        hone_dtype dtype;
        (void)!hone_safetensors_dtype(&dtype, tensor);
        if (hone_safetensors_find(file, tensor->name) != tensor) __builtin_trap();
        for (uint64_t b = 0; b < tensor->bytes; b++) sum += tensor->data[b];
        total += tensor->bytes;
    }
    if (total > length) __builtin_trap(); /* tensors that overlap */
    hone_safetensors_close(file);
    return 0;
}
