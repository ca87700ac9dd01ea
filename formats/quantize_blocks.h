/*
 * Encoders of the block types of GGUF: values to bytes. The layouts stand in quantize_blocks.c and quantize_super.c.
 */
#ifndef HONE_FORMATS_QUANTIZE_BLOCKS_H
#define HONE_FORMATS_QUANTIZE_BLOCKS_H

#include <stdbool.h>

/* Encodes one block of finite values, none beyond HONE_BLOCK_LIMIT. False: the scale is too large for binary16. */
typedef bool (*hone_block_fn)(unsigned char *out, const float *x);

/* No type but MXFP4 reaches that far, and squares of smaller values can be summed in f32. */
#define HONE_BLOCK_LIMIT 3e8f

/* Blocks of 32. */
bool hone_block_q4_0(unsigned char *out, const float *x);
bool hone_block_q4_1(unsigned char *out, const float *x);
bool hone_block_q5_0(unsigned char *out, const float *x);
bool hone_block_q5_1(unsigned char *out, const float *x);
bool hone_block_q8_0(unsigned char *out, const float *x);
bool hone_block_iq4_nl(unsigned char *out, const float *x);
bool hone_block_mxfp4(unsigned char *out, const float *x);

/* Blocks of 256: scales, coded themselves, for each 16 or 32 values. */
bool hone_block_q2_k(unsigned char *out, const float *x);
bool hone_block_q3_k(unsigned char *out, const float *x);
bool hone_block_q4_k(unsigned char *out, const float *x);
bool hone_block_q5_k(unsigned char *out, const float *x);
bool hone_block_q6_k(unsigned char *out, const float *x);
bool hone_block_iq4_xs(unsigned char *out, const float *x);

/* --- Shared by both --- */

/* The 16 values of IQ4_NL and IQ4_XS. */
extern const signed char hone_iq4_values[16];

/* Writes a scale as binary16, little-endian; false when it is too large. *as_stored is what a reader will see. */
bool hone_put_half(unsigned char *out, float *as_stored, float value);

#endif
