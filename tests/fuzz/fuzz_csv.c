#include "tests/fuzz/fuzz_import.h"

/* With the shape found by looking, and with fields named by a person. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    static const hone_data_map map[] = {
        {"q", "text"},
        {"a", "text"},
    };
    fuzz_import(hone_import_csv, bytes, length, NULL, 0);
    fuzz_import(hone_import_csv, bytes, length, map, 2);
    return 0;
}
