/*
 * A fuzz target is one file fuzz_<what>.c with this function, and seeds in corpus/<what>/. The ordinary build links it
 * with replay.c and runs it over its seeds as a test. To search for new inputs, with clang:
 *
 *     cmake -S . -B build/fuzz -G Ninja -DCMAKE_C_COMPILER=clang -DHONE_FUZZ=ON \
 *           -DCMAKE_C_FLAGS="-g -O1 -fsanitize=fuzzer-no-link,address,undefined"
 *     cmake --build build/fuzz --target fuzz_gguf
 *     build/fuzz/tests/fuzz_gguf -max_total_time=60 NEW_INPUTS tests/fuzz/corpus/gguf
 */
#ifndef HONE_TESTS_FUZZ_FUZZ_H
#define HONE_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Gives 0. Bytes that are malformed are refused by the code under test; only a crash or an abort is a finding. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

#endif
