#include "kernels/int8.h"

#include "base/size.h"

hone_int8_rows hone_int8_rows_view(void *memory, int64_t tokens, int64_t width) {
    size_t blocks = (size_t)(hone_int8_tiles(tokens) * hone_int8_blocks(width));
    size_t q = blocks * HONE_INT8_TILE * HONE_INT8_BLOCK;
    size_t numbers = hone_whole_lines(blocks * HONE_INT8_TILE * sizeof(float));
    char *at = memory;
    return (hone_int8_rows){
        .tokens = tokens,
        .width = width,
        .q = (int8_t *)at,
        .residual = (int8_t *)(at + q),
        .scale = (float *)(void *)(at + 2 * q),
        .sum = (int32_t *)(void *)(at + 2 * q + numbers),
        .residual_sum = (int32_t *)(void *)(at + 2 * q + 2 * numbers),
        .marked = (uint8_t *)(at + 2 * q + 3 * numbers),
    };
}

size_t hone_int8_rows_bytes(int64_t tokens, int64_t width) {
    size_t blocks = (size_t)(hone_int8_tiles(tokens) * hone_int8_blocks(width));
    return 2 * blocks * HONE_INT8_TILE * HONE_INT8_BLOCK +
           3 * hone_whole_lines(blocks * HONE_INT8_TILE * sizeof(float)) + hone_whole_lines(blocks);
}

void hone_int8_count(hone_int8_counts *counts, const hone_int8_rows *rows) {
    int64_t blocks = hone_int8_blocks(rows->width);
    if (!counts) return;
    counts->blocks += rows->tokens * blocks;
    for (int64_t i = 0; i < hone_int8_tiles(rows->tokens) * blocks; i++)
        counts->marked += rows->marked[i];
}
