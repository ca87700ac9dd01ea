#include "base/parallel.h"
#include "kernels/cpu/simd/levels.h"

enum { TOKEN_GRAIN = 16 };

typedef struct rope_call {
    float *x;
    const float *cosine, *sine;
    const int32_t *positions;
    hone_rope_shape shape;
    float sign; /* -1 turns back */
} rope_call;

/* Pairs (i, i + pairs): two runs of their own. */
static void head_halves(float *restrict x, const float *restrict cosine, const float *restrict sine,
                        int64_t pairs, float sign) {
    float *restrict y = x + pairs;
    int64_t p = 0;
    for (; p + VW <= pairs; p += VW) {
        vf c = vf_load(cosine + p);
        vf s = vf_load(sine + p) * sign;
        vf a = vf_load(x + p);
        vf b = vf_load(y + p);
        vf_store(x + p, a * c - b * s);
        vf_store(y + p, a * s + b * c);
    }
    for (; p < pairs; p++) {
        float s = sine[p] * sign;
        float a = x[p];
        float b = y[p];
        x[p] = a * cosine[p] - b * s;
        y[p] = a * s + b * cosine[p];
    }
}

/* Pairs (2i, 2i + 1). The compiler finds the shuffles. */
static void head_interleaved(float *restrict x, const float *restrict cosine,
                             const float *restrict sine, int64_t pairs, float sign) {
    for (int64_t p = 0; p < pairs; p++) {
        float s = sine[p] * sign;
        float a = x[2 * p];
        float b = x[2 * p + 1];
        x[2 * p] = a * cosine[p] - b * s;
        x[2 * p + 1] = a * s + b * cosine[p];
    }
}

static void tokens_rope(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const rope_call *call = context;
    hone_rope_shape shape = call->shape;
    int64_t pairs = shape.rotated / 2;
    for (int64_t t = begin; t < end; t++) {
        const float *cosine = call->cosine + call->positions[t] * pairs;
        const float *sine = call->sine + call->positions[t] * pairs;
        for (int64_t h = 0; h < shape.heads; h++) {
            float *head = call->x + (t * shape.heads + h) * shape.head_size;
            if (shape.interleaved)
                head_interleaved(head, cosine, sine, pairs, call->sign);
            else
                head_halves(head, cosine, sine, pairs, call->sign);
        }
    }
}

void HONE_SIMD(hone_rope)(float *x, const float *cosine, const float *sine,
                          const int32_t *positions, hone_rope_shape shape, bool inverse) {
    rope_call call = {x, cosine, sine, positions, shape, inverse ? -1.0f : 1.0f};
    hone_parallel_for(shape.tokens, TOKEN_GRAIN, tokens_rope, &call);
}
