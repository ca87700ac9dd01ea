/*
 * Architectures are described, not coded: a family is a row of a table (model/family.h), a model a filled-in
 * description.
 */
#ifndef HONE_MODEL_ARCH_H
#define HONE_MODEL_ARCH_H

#include "base/status.h"
#include "formats/gguf_writer.h"
#include "formats/json.h"
#include "model/family.h"

enum { HONE_MOST_LAYERS = 512, HONE_MOST_ROTATED = 512 };

typedef enum hone_rope_scaling {
    HONE_ROPE_PLAIN,
    HONE_ROPE_LINEAR, /* all frequencies divided by `factor` (position interpolation, arXiv 2306.15595) */
    HONE_ROPE_DYNAMIC,  /* theta grows with a text longer than `original_context` (NTK-aware) */
    HONE_ROPE_LLAMA3,   /* slow frequencies divided by `factor`, smoothly between low and high */
    HONE_ROPE_YARN,     /* a ramp between interpolation and none (arXiv 2309.00071) */
    HONE_ROPE_LONGROPE, /* every frequency divided by a number of its own (arXiv 2402.13753) */
    HONE_ROPE_SCALINGS,
} hone_rope_scaling;

/* One kind of rotary embedding. (transformers, modeling_rope_utils.py) */
typedef struct hone_rotary {
    double theta;
    hone_rope_scaling scaling;
    double factor, original_context;
    double low, high; /* llama3: low_freq_factor, high_freq_factor; yarn: beta_slow, beta_fast */
    bool truncate;    /* yarn: the ramp's ends are whole dimensions */
    double attention_factor;                  /* cosines and sines are multiplied by it */
    float divisors[2][HONE_MOST_ROTATED / 2]; /* longrope, [pair]: of short texts, of long ones */
} hone_rotary;

enum { HONE_ROPE_GLOBAL, HONE_ROPE_LOCAL, HONE_ROPES };

/* What is special about a layer. */
enum { HONE_LAYER_LOCAL = 1 /* sees a window only */, HONE_LAYER_NO_ROPE = 2 };

typedef struct hone_arch {
    const hone_family *family; /* static */
    int64_t layers;            /* L */
    int64_t width;             /* C */
    int64_t heads;             /* H */
    int64_t kv_heads;          /* K, divides H */
    int64_t head_size;         /* D, even */
    int64_t feed_forward;      /* F */
    int64_t vocabulary;        /* V: rows of the embedding */
    int64_t context;           /* most positions it was made for */
    double norm_epsilon;
    int64_t rotated;              /* leading elements of a head that rope turns, even; 0: no rope */
    hone_rotary rope[HONE_ROPES]; /* of layers that see everything; of local ones, if they differ */
    uint8_t layer[HONE_MOST_LAYERS]; /* [L] HONE_LAYER_… */
    int64_t window;                  /* tokens that a local layer sees, its own included; 0: all */
    double attention_scale;          /* of the scores */
    double attention_softcap, logit_softcap;             /* 0: none */
    double embedding_scale, residual_scale, logit_scale; /* 1: none */
    bool biased[HONE_ROLES];  /* which linear layers and norms have biases */
    bool rope_interleaved;    /* rows of q and k are in GGUF's order: pairs side by side */
    bool tied;                /* the head is the embedding */
    double initializer_range; /* standard deviation of fresh weights */
} hone_arch;

/* Rows and columns of a linear role's weight: [out, in]; of a norm's gain: [elements, 1]. */
void hone_arch_linear(const hone_arch *arch, hone_role role, int64_t *out, int64_t *in);

/* Where a part lies in the fused weight that holds it: rows begin … begin + out of hone_family_whole. */
int64_t hone_arch_part_begin(const hone_arch *arch, hone_role role);

/* Parameters of the whole model. */
int64_t hone_arch_parameters(const hone_arch *arch);

/* A description with the family's own values and no sizes. */
hone_arch hone_arch_of(const hone_family *family);

/* Fails when sizes do not fit together. */
HONE_MUST_USE hone_status hone_arch_check(const hone_arch *arch, const char *file);

/* From config.json of Hugging Face (`file` for messages), as transformers 4 and 5 write it; the text part of a model that
 * takes images, too. HONE_ERR_UNSUPPORTED names what is not supported: another model_type, activation, rope scaling. */
HONE_MUST_USE hone_status hone_arch_from_config(hone_arch *out, const json_t *config,
                                                const char *file);

/* config.json for this architecture, a text part by itself, as transformers reads it; a new reference. dtype: "float32",
 * … bos, eos: -1 = none. */
HONE_MUST_USE hone_status hone_arch_to_config(json_t **out, const hone_arch *arch,
                                              const char *dtype, int64_t bos, int64_t eos);

/* From GGUF metadata and tensors. llama3 scaling is only known by its factors there: rope_freqs.weight. */
HONE_MUST_USE hone_status hone_arch_from_gguf(hone_arch *out, const hone_gguf *gguf);

/* The keys of GGUF that describe the architecture, as llama.cpp's converter writes them. */
HONE_MUST_USE hone_status hone_arch_to_gguf(hone_gguf_writer *writer, const hone_arch *arch);

/* HONE_ERR_UNSUPPORTED names what llama.cpp's form of the family cannot express. */
HONE_MUST_USE hone_status hone_arch_fits_gguf(const hone_arch *arch, const char *file);

/* The window of the model's local layers, where llama.cpp lets them see everything; 0 where nothing is lost. */
int64_t hone_arch_gguf_lost_window(const hone_arch *arch);

/* What a GGUF file of the family means without saying so: its local layers and those without rope; its scores' scale. */
void hone_arch_gguf_layers(hone_arch *arch);
double hone_arch_gguf_scale(const hone_arch *arch);

/* Angle per position of each pair, [rotated / 2], in a text of `length` tokens; in f32, as transformers and llama.cpp
 * have it: long contexts see the rounding. */
void hone_rope_frequencies(float *frequencies, const hone_rotary *rope, int64_t rotated,
                           int64_t length);

/* llama3 scaling as GGUF has it: what the frequency of pair 0 <= i < rotated / 2 is divided by. */
void hone_rope_llama3_factors(float *factors, const hone_rotary *rope, int64_t rotated);

/* Whether texts longer than rope[HONE_ROPE_GLOBAL].original_context are turned by other angles than shorter ones. */
static inline bool hone_arch_rope_by_length(const hone_arch *arch) {
    hone_rope_scaling scaling = arch->rope[HONE_ROPE_GLOBAL].scaling;
    return scaling == HONE_ROPE_LONGROPE || scaling == HONE_ROPE_DYNAMIC;
}

/* Which of the model's two tables of angles a layer uses in texts of up to `length` tokens: the second is for local layers
 * with a rope of their own, or else for long texts. */
static inline int hone_arch_rope_table(const hone_arch *arch, int64_t layer, int64_t length) {
    if (arch->family->local_rope) return arch->layer[layer] & HONE_LAYER_LOCAL ? 1 : 0;
    bool is_long = (double)length > arch->rope[HONE_ROPE_GLOBAL].original_context;
    return hone_arch_rope_by_length(arch) && is_long ? 1 : 0;
}

#endif
