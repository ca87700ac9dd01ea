#include "tests/fuzz/fuzz_import.h"

/* As lines, as a list or sequence, and with fields named by a person. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    static const hone_data_map map[] = {
        {"q", "prompt"},
        {"a", "completion"},
    };
    fuzz_import(hone_import_jsonl, bytes, length, NULL, 0);
    fuzz_import(hone_import_json, bytes, length, NULL, 0);
    fuzz_import(hone_import_jsonl, bytes, length, map, 2);
    return 0;
}
