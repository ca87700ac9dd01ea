/*
 * The number type of activations and trainable tensors: float in the program, double in the build of the engine that
 * checks gradients against central differences (HONE_REAL_DOUBLE).
 */
#ifndef HONE_KERNELS_REAL_H
#define HONE_KERNELS_REAL_H

#include "base/dtype.h"

#ifdef HONE_REAL_DOUBLE
typedef double hone_real;
#define HONE_REAL HONE_F64
#else
typedef float hone_real;
#define HONE_REAL HONE_F32
#endif

#endif
