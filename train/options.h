/*
 * The options of a training run: one struct, and one table that feeds the command line, the keys of config files,
 * `--set key=value`, the ranges, the help and run.yaml.
 *
 * Precedence: option > config file > default. Callers start from hone_train_options_default(), load the config file,
 * apply the command line's settings, and end with hone_train_options_check().
 */
#ifndef HONE_TRAIN_OPTIONS_H
#define HONE_TRAIN_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "data/samples.h"
#include "model/transformer.h"
#include "train/schedule.h"

typedef enum hone_compute {
    HONE_COMPUTE_AUTO,
    HONE_COMPUTE_F32,
    HONE_COMPUTE_TF32,
    HONE_COMPUTE_BF16,
    HONE_COMPUTE_FP8,
    HONE_COMPUTE_INT8,
    HONE_COMPUTES
} hone_compute;
extern const char *const
    hone_compute_names[HONE_COMPUTES + 1]; /* "auto", "f32", "tf32", "bf16", "fp8", "int8", NULL */
extern const char
    *const hone_attention_names[2 + HONE_ATTENTIONS]; /* "auto", "exact", "own", "cudnn", NULL */
/* How activations that backward reads are kept; AUTO: the plan chooses. */
typedef enum hone_activations {
    HONE_ACTIVATIONS_F32,
    HONE_ACTIVATIONS_BF16,
    HONE_ACTIVATIONS_AUTO,
} hone_activations;
extern const char *const hone_activation_names[4]; /* "f32", "bf16", "auto", NULL */
enum { HONE_RECOMPUTE_AUTO = HONE_RECOMPUTES };    /* the plan chooses one of hone_recompute */
/* What is kept in the host's memory where a GPU computes, as bits; AUTO: the plan chooses. */
typedef enum hone_offload {
    HONE_OFFLOAD_NONE,
    HONE_OFFLOAD_OPTIMIZER,   /* AdamW's moments */
    HONE_OFFLOAD_ACTIVATIONS, /* what backward reads of a block, from its forward on */
    HONE_OFFLOAD_ALL,
    HONE_OFFLOADS,
    HONE_OFFLOAD_AUTO = HONE_OFFLOADS,
} hone_offload;
extern const char
    *const hone_offload_names[HONE_OFFLOADS + 2]; /* "none", "optimizer", … "auto", NULL */
/* Projections that take LoRA factors, as bits of hone_train_options.targets. */
enum {
    HONE_TARGET_Q = 1 << 0,
    HONE_TARGET_K = 1 << 1,
    HONE_TARGET_V = 1 << 2,
    HONE_TARGET_O = 1 << 3,
    HONE_TARGET_GATE = 1 << 4,
    HONE_TARGET_UP = 1 << 5,
    HONE_TARGET_DOWN = 1 << 6,
    HONE_TARGET_ALL = (1 << 7) - 1,
};

/* Texts are owned by the struct; NULL where nothing was given. Sizes are bytes. What each field means, its range and
 * unit stand in the table (hone_train_option_list). Choices hold the number of the enum named beside them. */
typedef struct hone_train_options {
    char *model;
    char *data;
    char *out;
    char *adapter;       /* initial factors */
    char *from_scratch;  /* path of a config.json; `model` then gives the tokenizer only */
    char *template;      /* "auto", a name of text/chat.h, or the path of a Jinja file */
    char *template_vars; /* a JSON object: what the template may read besides */
    char *date;          /* that the template is told, as 2024-07-26; of the first start of a run */

    int64_t steps;  /* 0: as `epochs` says */
    int64_t epochs; /* counts only when steps is 0 */

    int method; /* 0 = lora: the kind of adapter */
    bool full;  /* every parameter is trained; no adapter. Set by from_scratch too. */
    int64_t rank;
    double alpha;
    double dropout;
    uint32_t targets; /* HONE_TARGET_… bits */

    int optimizer; /* 0 = adamw */
    double lr;
    int schedule; /* hone_schedule_kind */
    int64_t warmup;
    double min_lr_ratio;
    double weight_decay;
    double beta1, beta2, epsilon;
    double clip; /* 0: off */

    int64_t batch_size;   /* rows of seq_len tokens that go through the model at once, at most */
    int64_t accumulation; /* a step takes batch_size x accumulation rows */
    int64_t seq_len;
    int64_t seed;

    int device;      /* hone_device_kind */
    int compute;     /* hone_compute */
    int64_t gpus;    /* processes with a GPU each; 0: one process, on one GPU or the processor */
    int attention;   /* 0: auto; else 1 + hone_attention_kind */
    int64_t threads; /* 0: every core */
    int64_t memory;  /* bytes; 0: what the machine has free */
    int recompute;   /* hone_recompute, or HONE_RECOMPUTE_AUTO */
    int activations; /* hone_activations */
    int graphs;      /* 0 = off, 1 = auto */
    int offload;     /* hone_offload */

    int train_on; /* hone_train_on */
    int too_long; /* hone_overlong */

    double eval_fraction;
    int64_t eval_every; /* steps; 0: only at the end */
    int64_t early_stop; /* evaluations without improvement; 0: off */

    int64_t checkpoint_every;  /* steps; 0: off */
    double checkpoint_minutes; /* 0: off */
    int64_t checkpoint_keep;

    int64_t log_every; /* steps between progress lines off a terminal */
} hone_train_options;

typedef enum hone_option_type {
    HONE_OPTION_TEXT,   /* char * */
    HONE_OPTION_INT,    /* int64_t */
    HONE_OPTION_REAL,   /* double */
    HONE_OPTION_SIZE,   /* int64_t bytes; K, M, G, T are powers of 1024 */
    HONE_OPTION_BOOL,   /* bool */
    HONE_OPTION_CHOICE, /* int: the number of one of `words` */
    HONE_OPTION_WORDS,  /* uint32_t: bits, one for each of `words`; "all" is every one */
} hone_option_type;

/* One row of the table. */
typedef struct hone_train_option {
    const char *key;  /* in config files and --set: "batch_size" */
    const char *flag; /* "batch-size", or NULL when only --set and config files know it */
    hone_option_type type;
    double minimum, maximum;  /* of numbers, inclusive … */
    bool above, below;        /* … unless it must lie above the minimum, below the maximum */
    const char *const *words; /* of choices, NULL-ended */
    const char *unit;         /* what stands for the value in the help: "PATH", "STEPS" */
    const char *text;         /* one line of help */
    size_t offset;            /* in hone_train_options */
} hone_train_option;

/* The table; *count rows. */
const hone_train_option *hone_train_option_list(size_t *count);

/* The row of a key, or of a flag (without the dashes); NULL when there is none. */
const hone_train_option *hone_train_option_find(const char *key);
const hone_train_option *hone_train_option_find_flag(const char *flag);

/* The nearest key by edit distance; NULL when nothing is near. */
const char *hone_train_option_nearest(const char *key);

/* Fills *out with the defaults. */
HONE_MUST_USE hone_status hone_train_options_default(hone_train_options *out);
HONE_MUST_USE hone_status hone_train_options_copy(hone_train_options *out,
                                                  const hone_train_options *from);
void hone_train_options_free(hone_train_options *options); /* takes a zeroed one */

/* Sets one key from text ("6G", "true", "q,v", "2e-4"). `where` names the place in messages: "--rank", "shop.yaml:7".
 * HONE_ERR_USAGE for an unknown key (with the nearest one), a wrong type, a value out of range. */
HONE_MUST_USE hone_status hone_train_options_set(hone_train_options *options, const char *key,
                                                 const char *value, const char *where);

/* As above from "key=value". */
HONE_MUST_USE hone_status hone_train_options_assign(hone_train_options *options,
                                                    const char *assignment, const char *where);

/* The value of one key as text, as run.yaml and the help write it ("" for a text that is not set). Appends. */
HONE_MUST_USE hone_status hone_train_option_format(hone_buf *out, const hone_train_options *options,
                                                   const hone_train_option *option);

/* What no single key can show: model, data and out are given, options that exclude each other. HONE_ERR_USAGE. */
HONE_MUST_USE hone_status hone_train_options_check(hone_train_options *options);
/* As above for a plan: out may be missing. */
HONE_MUST_USE hone_status hone_train_options_check_plan(hone_train_options *options);

/* Reads a YAML config: a flat mapping of scalars, and lists of scalars for WORDS. Keys given twice, unknown keys, nested
 * values and wrong types are errors with file and line. The key `plan` (what an earlier run resolved) is skipped, so that
 * a run.yaml is a config. Relative paths in it mean what they mean on the command line. (train/config.c) */
HONE_MUST_USE hone_status hone_config_load(hone_train_options *options, const char *path);

/* As above from text, as a checkpoint holds it; `name` stands for the file in messages. */
HONE_MUST_USE hone_status hone_config_parse(hone_train_options *options, const char *text,
                                            size_t length, const char *name);

/* Fills *options with those of the run whose folder `path` is, and says so in *found; else (NULL too) with the defaults. */
HONE_MUST_USE hone_status hone_config_of_run(hone_train_options *options, bool *found,
                                             const char *path);

/* One resolved fact of a plan. */
typedef struct hone_plan_entry {
    const char *name, *value;
} hone_plan_entry;

/* Appends the YAML of every option, defaults included, then the plan (may be empty). Loading it gives the same options
 * to the bit. Same input, same bytes. */
HONE_MUST_USE hone_status hone_config_format(hone_buf *out, const hone_train_options *options,
                                             const hone_plan_entry *plan, size_t plan_count);

#endif
