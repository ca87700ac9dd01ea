#include <string.h>
#include <strings.h>

#include "base/distance.h"
#include "kernels/group.h"
#include "train/options.h"

static const char *const methods[] = {"lora", NULL};
static const char *const optimizers[] = {"adamw", NULL};
static const char *const schedules[] = {"constant", "linear", "cosine", NULL};
const char *const hone_compute_names[HONE_COMPUTES + 1] = {"auto", "f32",  "tf32", "bf16",
                                                           "fp8",  "int8", NULL};
const char *const hone_attention_names[] = {"auto", "exact", "own", "cudnn", NULL};
static const char *const recomputes[] = {"none", "selective", "attention", "full", "auto", NULL};
const char *const hone_activation_names[] = {"f32", "bf16", "auto", NULL};
static const char *const graphs[] = {"off", "auto", NULL};
const char *const hone_offload_names[HONE_OFFLOADS + 2] = {"none", "optimizer", "activations",
                                                           "all",  "auto",      NULL};
static const char *const train_ons[] = {"assistant", "all", NULL};
static const char *const overlongs[] = {"refuse", "truncate", "split", "drop", NULL};
static const char *const targets[] = {"q", "k", "v", "o", "gate", "up", "down", NULL};

#define AT(field) .key = #field, .offset = offsetof(hone_train_options, field)
#define MANY      9007199254740992.0 /* 2^53: every whole number up to here is exact */

/* In the order of the help and of run.yaml. */
static const hone_train_option table[] = {
    {AT(model), .flag = "model", .type = HONE_OPTION_TEXT, .unit = "PATH",
     .text = "the base model: a Hugging Face folder, a .safetensors in one, or a .gguf"},
    {AT(data), .flag = "data", .type = HONE_OPTION_TEXT, .unit = "PATH",
     .text = "the records: a .h5 of `hone data`, or a file that `hone data add` reads"},
    {AT(out), .flag = "out", .type = HONE_OPTION_TEXT, .unit = "DIR",
     .text = "the run folder, made by the run"},
    {AT(adapter), .flag = "adapter", .type = HONE_OPTION_TEXT, .unit = "PATH",
     .text =
         "start from these factors: a run folder, a folder of PEFT or MLX-LM, or an adapter .gguf"},
    {AT(from_scratch), .flag = "from-scratch", .type = HONE_OPTION_TEXT, .unit = "FILE",
     .text = "a config.json: train a new model of this shape; --model gives the tokenizer only"},
    {AT(steps), .flag = "steps", .type = HONE_OPTION_INT, .maximum = MANY, .unit = "N",
     .text = "optimiser steps; 0: as many as the epochs need"},
    {AT(epochs), .flag = "epochs", .type = HONE_OPTION_INT, .maximum = 1e6, .unit = "N",
     .text = "passes over the data, when --steps is 0; 0: 3, or more for few records"},
    {AT(method), .flag = NULL, .type = HONE_OPTION_CHOICE, .words = methods,
     .text = "the kind of adapter"},
    {AT(full), .flag = "full", .type = HONE_OPTION_BOOL,
     .text = "train every parameter of the model instead of an adapter"},
    {AT(rank), .flag = "rank", .type = HONE_OPTION_INT, .minimum = 1, .maximum = 4096, .unit = "R",
     .text = "rank of the LoRA factors"},
    {AT(alpha), .flag = "alpha", .type = HONE_OPTION_REAL, .maximum = 1e6, .above = true,
     .unit = "A", .text = "the adapter's part is scaled by alpha / rank"},
    {AT(dropout), .flag = NULL, .type = HONE_OPTION_REAL, .maximum = 1, .below = true, .unit = "P",
     .text = "part of the adapter's inputs that is dropped in training"},
    {AT(targets), .flag = NULL, .type = HONE_OPTION_WORDS, .words = targets, .unit = "LIST",
     .text = "projections that take LoRA factors"},
    {AT(optimizer), .flag = NULL, .type = HONE_OPTION_CHOICE, .words = optimizers,
     .text = "the optimiser"},
    {AT(lr), .flag = "lr", .type = HONE_OPTION_REAL, .maximum = 10, .above = true, .unit = "LR",
     .text = "peak learning rate"},
    {AT(schedule), .flag = NULL, .type = HONE_OPTION_CHOICE, .words = schedules,
     .text = "how the learning rate falls after the warm-up"},
    {AT(warmup), .flag = NULL, .type = HONE_OPTION_INT, .minimum = -1, .maximum = MANY,
     .unit = "STEPS", .text = "steps in which the learning rate rises; -1: 1 in 20, at most 50"},
    {AT(min_lr_ratio), .flag = NULL, .type = HONE_OPTION_REAL, .maximum = 1, .unit = "PART",
     .text = "the learning rate falls to this part of its peak"},
    {AT(weight_decay), .flag = NULL, .type = HONE_OPTION_REAL, .maximum = 10, .unit = "W",
     .text = "AdamW's decoupled weight decay"},
    {AT(beta1), .flag = NULL, .type = HONE_OPTION_REAL, .maximum = 1, .below = true,
     .text = "AdamW: memory of the mean gradient"},
    {AT(beta2), .flag = NULL, .type = HONE_OPTION_REAL, .maximum = 1, .below = true,
     .text = "AdamW: memory of the squared gradient"},
    {AT(epsilon), .flag = NULL, .type = HONE_OPTION_REAL, .maximum = 1, .above = true,
     .text = "AdamW: added to the root of the squared gradient"},
    {AT(clip), .flag = NULL, .type = HONE_OPTION_REAL, .maximum = 1e9, .unit = "NORM",
     .text = "gradients with a larger norm are scaled down to it; 0: off"},
    {AT(batch_size), .flag = "batch-size", .type = HONE_OPTION_INT, .minimum = 1, .maximum = 65536,
     .unit = "ROWS", .text = "rows of --seq-len tokens in a batch, of each GPU"},
    {AT(accumulation), .flag = NULL, .type = HONE_OPTION_INT, .minimum = 1, .maximum = 65536,
     .unit = "N", .text = "batches whose gradients make one step"},
    {AT(seq_len), .flag = "seq-len", .type = HONE_OPTION_INT, .minimum = 2, .maximum = 1 << 20,
     .unit = "TOKENS", .text = "tokens in a row; records are packed into rows"},
    {AT(seed), .flag = "seed", .type = HONE_OPTION_INT, .maximum = MANY, .unit = "N",
     .text = "of the factors, the order of the data and dropout"},
    {AT(device), .flag = "device", .type = HONE_OPTION_CHOICE, .words = hone_device_words,
     .unit = hone_device_choices, .text = "where the numbers are computed"},
    {AT(gpus), .flag = "gpus", .type = HONE_OPTION_INT, .maximum = HONE_GROUP_MOST, .unit = "N",
     .text = "train on this many GPUs of this machine at once; 0: on one, or as --device says"},
    {AT(compute), .flag = "compute", .type = HONE_OPTION_CHOICE, .words = hone_compute_names,
     .text = "how products with frozen weights are taken; auto: the fastest way on this machine"},
    {AT(attention), .flag = "attention", .type = HONE_OPTION_CHOICE, .words = hone_attention_names,
     .text = "which attention a GPU takes: exact, in f32; hone's own or cuDNN's, which round to "
             "bf16; auto: exact with compute = f32, else the faster of the two"},
    {AT(threads), .flag = "threads", .type = HONE_OPTION_INT, .maximum = 4096, .unit = "N",
     .text = "threads; 0: OMP_NUM_THREADS, else every core this process may use"},
    {AT(memory), .flag = "memory", .type = HONE_OPTION_SIZE, .maximum = MANY, .unit = "SIZE",
     .text = "most memory the run may take, as in 6G; 0: what the machine has free"},
    {AT(recompute), .flag = NULL, .type = HONE_OPTION_CHOICE, .words = recomputes,
     .text = "what backward computes again, for less memory and more time, with the same bits; "
             "auto: as "
             "much as --memory asks for"},
    {AT(activations), .flag = NULL, .type = HONE_OPTION_CHOICE, .words = hone_activation_names,
     .text = "how what backward reads is kept: bf16 takes half the memory and rounds gradients a "
             "little; auto: bf16 where --memory asks for it"},
    {AT(graphs), .flag = NULL, .type = HONE_OPTION_CHOICE, .words = graphs,
     .text =
         "auto: a GPU repeats what it is to do for a batch from a recording, a CUDA graph; off: "
         "it is told each time; with the same bits"},
    {AT(offload), .flag = "offload", .type = HONE_OPTION_CHOICE, .words = hone_offload_names,
     .text = "what a run on a GPU keeps in the machine's memory, with the same bits; auto: what "
             "the GPU has no room for"},
    {AT(template), .flag = NULL, .type = HONE_OPTION_TEXT, .unit = "NAME",
     .text = "chat template; auto: the model's own; or the path of a .jinja file"},
    {AT(template_vars), .flag = NULL, .type = HONE_OPTION_TEXT, .unit = "JSON",
     .text = "variables of the template, as in {\"enable_thinking\": false}"},
    {AT(date), .flag = NULL, .type = HONE_OPTION_TEXT, .unit = "DATE",
     .text = "the day that the template is told; none: that of the first start"},
    {AT(train_on), .flag = NULL, .type = HONE_OPTION_CHOICE, .words = train_ons,
     .text = "which tokens are learned: the assistant's, or all"},
    {AT(too_long), .flag = NULL, .type = HONE_OPTION_CHOICE, .words = overlongs,
     .text = "what becomes of records of more than --seq-len tokens"},
    {AT(eval_fraction), .flag = NULL, .type = HONE_OPTION_REAL, .maximum = 1, .below = true,
     .unit = "PART", .text = "part of the records that is held out for evaluation"},
    {AT(eval_every), .flag = NULL, .type = HONE_OPTION_INT, .maximum = MANY, .unit = "STEPS",
     .text = "steps between evaluations; 0: only before and after training"},
    {AT(early_stop), .flag = NULL, .type = HONE_OPTION_INT, .maximum = 1e6, .unit = "N",
     .text = "stop after this many evaluations without a better loss; 0: off"},
    {AT(checkpoint_every), .flag = NULL, .type = HONE_OPTION_INT, .maximum = MANY, .unit = "STEPS",
     .text = "steps between checkpoints; 0: off"},
    {AT(checkpoint_minutes), .flag = NULL, .type = HONE_OPTION_REAL, .maximum = 1e6, .unit = "MIN",
     .text = "minutes between checkpoints; 0: off"},
    {AT(checkpoint_keep), .flag = NULL, .type = HONE_OPTION_INT, .minimum = 1, .maximum = 1e6,
     .unit = "N", .text = "newest checkpoints that are kept"},
    {AT(log_every), .flag = NULL, .type = HONE_OPTION_INT, .minimum = 1, .maximum = MANY,
     .unit = "STEPS", .text = "steps between progress lines where there is no terminal"},
};

enum { ROWS = sizeof table / sizeof *table };

const hone_train_option *hone_train_option_list(size_t *count) {
    *count = ROWS;
    return table;
}

const hone_train_option *hone_train_option_find(const char *key) {
    for (size_t i = 0; i < ROWS; i++) {
        if (strcmp(table[i].key, key) == 0) return &table[i];
    }
    return NULL;
}

const hone_train_option *hone_train_option_find_flag(const char *flag) {
    for (size_t i = 0; i < ROWS; i++) {
        if (table[i].flag && strcmp(table[i].flag, flag) == 0) return &table[i];
    }
    return NULL;
}

/* What other programs call the same thing. */
static const struct {
    const char *other, *key;
} aliases[] = {
    {"learning_rate", "lr"},
    {"lora_rank", "rank"},
    {"lora_r", "rank"},
    {"r", "rank"},
    {"lora_alpha", "alpha"},
    {"lora_dropout", "dropout"},
    {"target_modules", "targets"},
    {"max_steps", "steps"},
    {"num_epochs", "epochs"},
    {"num_train_epochs", "epochs"},
    {"max_seq_length", "seq_len"},
    {"max_length", "seq_len"},
    {"sequence_length", "seq_len"},
    {"per_device_train_batch_size", "batch_size"},
    {"gradient_accumulation_steps", "accumulation"},
    {"warmup_steps", "warmup"},
    {"max_grad_norm", "clip"},
    {"gradient_checkpointing", "recompute"},
    {"base_model", "model"},
    {"dataset", "data"},
    {"output_dir", "out"},
};

const char *hone_train_option_nearest(const char *key) {
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++) {
        if (strcasecmp(aliases[i].other, key) == 0) return aliases[i].key;
    }
    const char *nearest = NULL;
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < ROWS; i++) {
        size_t distance =
            strcasecmp(key, table[i].key) == 0 ? 0 : hone_edit_distance(key, table[i].key);
        if (distance < least) {
            least = distance;
            nearest = table[i].key;
        }
    }
    return hone_edit_is_near(key, least) ? nearest : NULL;
}
