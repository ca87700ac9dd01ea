#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <utf8proc.h>
#include <yaml.h>
#include <zlib.h>

#include "base/machine.h"
#include "cli/flags.h"
#include "cli/output.h"
#include "kernels/gpus.h"
#include "kernels/libraries.h"
#include "model/arch.h"
#include "train/checkpoint.h"
#include "train/plan_shape.h"

typedef struct shape {
    const char *name;
    int64_t layers, width, heads, kv_heads, head_size, feed_forward, vocabulary;
    bool tied;
} shape;

/* Shapes that small models of the Llama family have. */
static const shape shapes[] = {
    {"135M", 30, 576, 9, 3, 64, 1536, 49152, true},
    {"360M", 32, 960, 15, 5, 64, 2560, 49152, true},
    {"1.1B", 22, 2048, 32, 4, 64, 5632, 32000, false},
    {"1.7B", 24, 2048, 32, 32, 64, 8192, 49152, true},
    {"3B", 28, 3072, 24, 8, 128, 8192, 128256, true},
    {"8B", 32, 4096, 32, 8, 128, 14336, 128256, false},
};

static hone_arch arch_of(const shape *s) {
    hone_arch arch = hone_arch_of(hone_family_of_config("llama"));
    arch.layers = s->layers;
    arch.width = s->width;
    arch.heads = s->heads;
    arch.kv_heads = s->kv_heads;
    arch.head_size = s->head_size;
    arch.feed_forward = s->feed_forward;
    arch.vocabulary = s->vocabulary;
    arch.tied = s->tied;
    return arch;
}

static const struct {
    const char *name;
    hone_dtype type;
} storages[] = {
    {"f32", HONE_F32},
    {"f16", HONE_F16},
    {"q8_0", HONE_Q8_0},
};
enum { SHAPES = sizeof shapes / sizeof *shapes, STORAGES = sizeof storages / sizeof *storages };

static const char formula[] =
    "as `hone plan` says it for a model: weights, 16 bytes per factor of the adapter, the "
    "planned arena of a step, and 52 MiB for the program";

typedef struct examination {
    hone_machine machine;
    const char *kernels; /* name of the table that is used */
    hone_gpus gpus;
    hone_train_options options;
    hone_shape_plans plans[SHAPES][STORAGES];
} examination;

static hone_status plan_all(examination *x) {
    for (int i = 0; i < SHAPES; i++) {
        hone_arch arch = arch_of(&shapes[i]);
        for (int s = 0; s < STORAGES; s++)
            HONE_TRY(hone_shape_plan(&x->plans[i][s], &arch, storages[s].type, &x->options,
                                     x->machine.available));
    }
    return HONE_OK;
}

/* "yes", or what it takes. */
static const char *verdict(const hone_shape_plans *p) {
    if (!p->fits) return "no";
    if (p->chosen.memory.total == p->fastest.memory.total) return "yes";
    if (p->chosen.recompute > HONE_RECOMPUTE_NONE) return "recompute";
    return p->chosen.bf16 ? "bf16" : "fewer rows";
}

static void print_models(const examination *x) {
    printf("\nmemory of a run with the default options (rank %lld, %lld x %lld tokens): most and "
           "least, and whether it is free now:\n  model",
           (long long)x->options.rank, (long long)x->options.batch_size,
           (long long)x->options.seq_len);
    for (int s = 0; s < STORAGES; s++) printf("  weights %-22s", storages[s].name);
    for (int i = 0; i < SHAPES; i++) {
        printf("\n  %-5s", shapes[i].name);
        for (int s = 0; s < STORAGES; s++) {
            const hone_shape_plans *p = &x->plans[i][s];
            printf("  %8s %8s %-12s", hone_size(p->fastest.memory.total).text,
                   hone_size(p->least.memory.total).text, verdict(p));
        }
    }
    printf("\n(hone train takes what is free, or what --memory says, and computes again what it "
           "has no room to keep; hone plan shows it for your model and records.)\n");
}

static void print_gpus(const hone_gpus *g) {
    for (int i = 0; i < g->count; i++) {
        const hone_gpu *gpu = &g->gpu[i];
        printf("GPU %-8d %s, compute capability %d.%d, %s, ", i, gpu->name, gpu->major, gpu->minor,
               hone_size(gpu->memory).text);
        printf("%s free\n", hone_size(gpu->available).text);
    }
    if (g->built) {
        printf("CUDA         driver for %d.%d, built with %d.%d", g->driver / 1000,
               g->driver % 1000 / 10, g->built / 1000, g->built % 1000 / 10);
        for (int i = 0; i < g->library_count; i++) {
            const hone_gpu_library *l = &g->library[i];
            printf(", %s %s", l->name, l->version[0] ? l->version : "missing");
        }
        printf("\n");
    }
    if (g->why_not[0]) printf("no GPU       %s\n", g->why_not);
}

static void print_plain(const examination *x) {
    const hone_machine *m = &x->machine;
    printf("hone         " HONE_VERSION "\nprocessor    %s\ncores        %d\ninstructions",
           m->processor[0] ? m->processor : "unknown", m->cores);
    for (int i = 0; m->features[i]; i++) printf(" %s", m->features[i]);
    printf("\nkernels      %s\nmemory       %s, ", x->kernels, hone_size(m->memory).text);
    printf("%s free\n", hone_size(m->available).text);
    printf("libraries    oneDNN %s, HDF5 %s, zlib %s, libyaml %s, Jansson %s, utf8proc %s\n",
           hone_onednn_version(), hone_checkpoint_hdf5_version(), zlibVersion(),
           yaml_get_version_string(), jansson_version_str(), utf8proc_version());
    print_gpus(&x->gpus);
    print_models(x);
}

/* The bytes of one plan of each storage: {"f32": bytes, ...} */
static json_t *bytes_json(const hone_shape_plans plans[STORAGES], size_t which) {
    json_t *object = json_object();
    for (int s = 0; s < STORAGES; s++) {
        const hone_plan *plan = (const void *)((const char *)&plans[s] + which);
        json_object_set_new(object, storages[s].name, json_integer(plan->memory.total));
    }
    return object;
}

static json_t *models_json(const examination *x) {
    json_t *models = json_array();
    for (int i = 0; i < SHAPES; i++) {
        hone_arch arch = arch_of(&shapes[i]);
        const hone_shape_plans *plans = x->plans[i];
        json_t *fits = json_object();
        for (int s = 0; s < STORAGES; s++)
            json_object_set_new(fits, storages[s].name, json_string(verdict(&plans[s])));
        json_array_append_new(
            models,
            json_pack("{s:s, s:I, s:o, s:o, s:o, s:o}", "name", shapes[i].name, "parameters",
                      (json_int_t)hone_arch_parameters(&arch), "bytes",
                      bytes_json(plans, offsetof(hone_shape_plans, fastest)), "bytes_recompute",
                      bytes_json(plans, offsetof(hone_shape_plans, recomputed)), "bytes_least",
                      bytes_json(plans, offsetof(hone_shape_plans, least)), "fits", fits));
    }
    return models;
}

/* What is not there is null. */
static json_t *gpus_json(const hone_gpus *g) {
    json_t *gpus = json_array(), *libraries = json_object();
    for (int i = 0; i < g->count; i++) {
        const hone_gpu *gpu = &g->gpu[i];
        char capability[24];
        snprintf(capability, sizeof capability, "%d.%d", gpu->major, gpu->minor);
        json_array_append_new(gpus, json_pack("{s:s, s:s, s:I, s:I}", "name", gpu->name,
                                              "compute_capability", capability, "memory_bytes",
                                              (json_int_t)gpu->memory, "available_bytes",
                                              (json_int_t)gpu->available));
    }
    for (int i = 0; i < g->library_count; i++) {
        const hone_gpu_library *l = &g->library[i];
        json_object_set_new(libraries, l->name,
                            json_pack("{s:s?, s:s?}", "version", l->version[0] ? l->version : NULL,
                                      "why_not", l->version[0] ? NULL : l->why_not));
    }
    return json_pack("{s:o, s:i, s:i, s:o, s:s?}", "gpus", gpus, "driver", g->driver, "built",
                     g->built, "libraries", libraries, "why_not",
                     g->why_not[0] ? g->why_not : NULL);
}

static json_t *examination_json(const examination *x) {
    const hone_machine *m = &x->machine;
    json_t *features = json_array();
    for (int i = 0; m->features[i]; i++)
        json_array_append_new(features, json_string(m->features[i]));
    json_t *libraries = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "onednn", hone_onednn_version(),
                                  "hdf5", hone_checkpoint_hdf5_version(), "zlib", zlibVersion(),
                                  "libyaml", yaml_get_version_string(), "jansson",
                                  jansson_version_str(), "utf8proc", utf8proc_version());
    return json_pack("{s:s, s:s, s:i, s:o, s:s, s:I, s:I, s:o, s:o, s:s, s:o}", "version",
                     HONE_VERSION, "processor", m->processor, "cores", m->cores, "instructions",
                     features, "kernels", x->kernels, "memory_bytes", (json_int_t)m->memory,
                     "available_bytes", (json_int_t)m->available, "libraries", libraries, "cuda",
                     gpus_json(&x->gpus), "formula", formula, "models", models_json(x));
}

static hone_status run(int argc, char **argv) {
    bool json = false;
    const hone_flag flags[] = {
        {.name = "json",
         .type = HONE_FLAG_SWITCH,
         .target = &json,
         .text = "one JSON object on standard output"},
    };
    hone_arguments arguments = {0};
    HONE_TRY(
        hone_flags_parse(&arguments, &hone_command_doctor, flags, HONE_COUNT(flags), argc, argv));
    if (arguments.help) return HONE_OK;
    examination x;
    const hone_kernels *kernels;
    HONE_TRY(hone_machine_look(&x.machine));
    HONE_TRY(hone_kernels_cpu(&kernels));
    HONE_TRY(hone_train_options_default(&x.options));
    x.kernels = kernels->name;
    hone_gpus_look(&x.gpus);
    hone_status status = plan_all(&x);
    if (status == HONE_OK && json) status = hone_print_json(examination_json(&x));
    if (status == HONE_OK && !json) print_plain(&x);
    hone_train_options_free(&x.options);
    return status;
}

const hone_command hone_command_doctor = {
    .name = "doctor",
    .usage = "[options]",
    .summary = "what this machine can do, and which model sizes fit",
    .run = run,
};
