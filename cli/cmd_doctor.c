#include <jansson.h>
#include <stdio.h>
#include <utf8proc.h>
#include <yaml.h>
#include <zlib.h>

#include "base/machine.h"
#include "cli/flags.h"
#include "cli/output.h"
#include "kernels/kernels.h"
#include "kernels/libraries.h"
#include "model/arch.h"
#include "train/checkpoint.h"
#include "train/options.h"

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
    return (hone_arch){.family = hone_family_of_config("llama"),
                       .layers = s->layers,
                       .width = s->width,
                       .heads = s->heads,
                       .kv_heads = s->kv_heads,
                       .head_size = s->head_size,
                       .feed_forward = s->feed_forward,
                       .vocabulary = s->vocabulary,
                       .tied = s->tied};
}

static const struct {
    const char *name;
    double bytes; /* of a weight */
} storages[] = {
    {"f32", 4},
    {"f16", 2},
    {"q8_0", 1.0625},
};
enum { STORAGES = sizeof storages / sizeof *storages };

static const char formula[] = "weights + 28 bytes per factor of the adapter + 64 MiB + 4 bytes x "
                              "tokens x layers x block, where "
                              "block = 7 width + 2 key/value width + 3 feed-forward; with "
                              "recompute=full layers x width + block "
                              "instead of layers x block";

static int64_t adapter_parameters(const hone_arch *arch, int64_t rank) {
    int64_t sum = 0;
    for (hone_role role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++) {
        int64_t out, in;
        if (!hone_family_has(arch->family, role)) continue;
        hone_arch_linear(arch, role, &out, &in);
        sum += rank * (out + in);
    }
    return arch->layers * sum;
}

/* Memory of a run with the default options, by the formula. */
static int64_t run_bytes(const hone_arch *arch, double weight_bytes,
                         const hone_train_options *options, bool recompute) {
    int64_t tokens = options->batch_size * options->seq_len;
    int64_t block = 7 * arch->width + 2 * arch->kv_heads * arch->head_size + 3 * arch->feed_forward;
    int64_t per_token = recompute ? arch->layers * arch->width + block : arch->layers * block;
    return (int64_t)(weight_bytes * (double)hone_arch_parameters(arch)) +
           28 * adapter_parameters(arch, options->rank) + 4 * tokens * per_token + (64 << 20);
}

typedef struct examination {
    hone_machine machine;
    const char *kernels; /* name of the table that is used */
    hone_train_options options;
} examination;

/* "yes", or what it takes. */
static const char *verdict(const examination *x, const hone_arch *arch, double weight_bytes) {
    if (run_bytes(arch, weight_bytes, &x->options, false) <= x->machine.available) return "yes";
    bool fits = run_bytes(arch, weight_bytes, &x->options, true) <= x->machine.available;
    return fits ? "recompute" : "no";
}

static void print_models(const examination *x) {
    printf(
        "\nmemory of a run with the default options (rank %lld, %lld x %lld tokens), and whether "
        "it is free now:\n  model",
        (long long)x->options.rank, (long long)x->options.batch_size,
        (long long)x->options.seq_len);
    for (int s = 0; s < STORAGES; s++) printf("  weights %-14s", storages[s].name);
    for (size_t i = 0; i < HONE_COUNT(shapes); i++) {
        printf("\n  %-5s", shapes[i].name);
        for (int s = 0; s < STORAGES; s++) {
            hone_arch arch = arch_of(&shapes[i]);
            double bytes = storages[s].bytes;
            printf("  %8s %-13s", hone_size(run_bytes(&arch, bytes, &x->options, false)).text,
                   verdict(x, &arch, bytes));
        }
    }
    printf("\n(recompute: with --set recompute=full. The numbers are estimates: %s.)\n", formula);
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
    print_models(x);
}

/* {"f32": bytes, ...} */
static json_t *bytes_json(const examination *x, const hone_arch *arch, bool recompute) {
    json_t *object = json_object();
    for (int s = 0; s < STORAGES; s++)
        json_object_set_new(
            object, storages[s].name,
            json_integer(run_bytes(arch, storages[s].bytes, &x->options, recompute)));
    return object;
}

static json_t *models_json(const examination *x) {
    json_t *models = json_array();
    for (size_t i = 0; i < HONE_COUNT(shapes); i++) {
        hone_arch arch = arch_of(&shapes[i]);
        json_t *fits = json_object();
        for (int s = 0; s < STORAGES; s++)
            json_object_set_new(fits, storages[s].name,
                                json_string(verdict(x, &arch, storages[s].bytes)));
        json_array_append_new(models,
                              json_pack("{s:s, s:I, s:o, s:o, s:o}", "name", shapes[i].name,
                                        "parameters", (json_int_t)hone_arch_parameters(&arch),
                                        "bytes", bytes_json(x, &arch, false), "bytes_recompute",
                                        bytes_json(x, &arch, true), "fits", fits));
    }
    return models;
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
    return json_pack("{s:s, s:s, s:i, s:o, s:s, s:I, s:I, s:o, s:s, s:o}", "version", HONE_VERSION,
                     "processor", m->processor, "cores", m->cores, "instructions", features,
                     "kernels", x->kernels, "memory_bytes", (json_int_t)m->memory,
                     "available_bytes", (json_int_t)m->available, "libraries", libraries, "formula",
                     formula, "models", models_json(x));
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
    hone_status status = HONE_OK;
    if (json) {
        status = hone_print_json(examination_json(&x));
    } else {
        print_plain(&x);
    }
    hone_train_options_free(&x.options);
    return status;
}

const hone_command hone_command_doctor = {
    .name = "doctor",
    .usage = "[options]",
    .summary = "what this machine can do, and which model sizes fit",
    .run = run,
};
