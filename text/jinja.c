#include "text/jinja.h"

#include <string.h>

#include "base/alloc.h"
#include "text/jinja_parser.h"
#include "text/jinja_vm.h"
#include "text/utf8.h"

const hone_jinja_limits hone_jinja_default_limits = {
    .steps = 20000000, .memory = (int64_t)512 << 20, .output = (int64_t)64 << 20};

/* --- names ----------------------------------------------------------------------------------------------------- */

int32_t hone_j_symbol_find(const hone_jinja *jinja, const char *name, size_t length) {
    for (size_t i = 0; i < jinja->symbol_count; i++) {
        const hone_jstr *symbol = jinja->symbols[i];
        if (symbol->length == length && memcmp(symbol->data, name, length) == 0) return (int32_t)i;
    }
    return -1;
}

hone_status hone_j_symbol(int32_t *out, hone_jinja *jinja, const char *name, size_t length) {
    *out = hone_j_symbol_find(jinja, name, length);
    if (*out >= 0) return HONE_OK;
    char *copy;
    hone_jstr *symbol;
    HONE_TRY(hone_jarena_take(&copy, &jinja->arena, length + 1, 1));
    HONE_TRY(hone_jarena_take(&symbol, &jinja->arena, 1, sizeof *symbol));
    memcpy(copy, name, length);
    *symbol = (hone_jstr){.data = copy, .length = length, .characters = -1};
    HONE_TRY(hone_jarena_grow(&jinja->symbols, &jinja->arena, jinja->symbol_count,
                              &jinja->symbol_capacity, jinja->symbol_count + 1,
                              sizeof(hone_jstr *)));
    *out = (int32_t)jinja->symbol_count;
    jinja->symbols[jinja->symbol_count++] = symbol;
    return HONE_OK;
}

bool hone_jinja_mentions(const hone_jinja *jinja, const char *variable) {
    return hone_j_symbol_find(jinja, variable, strlen(variable)) >= 0;
}

bool hone_jinja_has_generation(const hone_jinja *jinja) {
    return jinja->has_generation;
}

/* --- compiling ------------------------------------------------------------------------------------------------- */

/* Line ends become \n, and the last one goes. */
static hone_status take_source(hone_jinja *jinja, const char *text, size_t length) {
    jinja->source = hone_alloc(length + 1, 1);
    if (!jinja->source) return HONE_ERR_MEMORY;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\r' && i + 1 < length && text[i + 1] == '\n') continue;
        jinja->source[jinja->length++] = text[i] == '\r' ? '\n' : text[i];
    }
    if (jinja->length > 0 && jinja->source[jinja->length - 1] == '\n') jinja->length--;
    jinja->source[jinja->length] = '\0';
    size_t valid = hone_utf8_valid(jinja->source, jinja->length);
    if (valid < jinja->length) return hone_j_fail_at(jinja, valid, HONE_ERR_FORMAT, "not UTF-8");
    return HONE_OK;
}

static hone_status compile(hone_jinja *jinja, const char *text, size_t length) {
    static const char *const names[] = {"loop", "caller", "varargs", "kwargs"};
    int32_t *const symbols[] = {&jinja->loop, &jinja->caller, &jinja->varargs, &jinja->kwargs};
    HONE_TRY(take_source(jinja, text, length));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        HONE_TRY(hone_j_symbol(symbols[i], jinja, names[i], strlen(names[i])));
    hone_jtokens tokens = {0};
    HONE_TRY(hone_j_tokenize(&tokens, jinja));
    return hone_j_parse(jinja, &tokens);
}

hone_status hone_jinja_new(hone_jinja **out, const char *text, size_t length, const char *name) {
    *out = NULL;
    hone_jinja *jinja = hone_alloc(1, sizeof *jinja);
    if (!jinja) return HONE_ERR_MEMORY;
    jinja->name = hone_strdup(name);
    hone_status status = jinja->name ? compile(jinja, text, length) : HONE_ERR_MEMORY;
    if (status != HONE_OK) {
        hone_jinja_free(jinja);
        return status;
    }
    *out = jinja;
    return HONE_OK;
}

void hone_jinja_free(hone_jinja *jinja) {
    if (!jinja) return;
    hone_jarena_free(&jinja->arena);
    hone_free(jinja->name);
    hone_free(jinja->source);
    hone_free(jinja);
}

/* --- rendering ------------------------------------------------------------------------------------------------- */

void hone_jinja_output_free(hone_jinja_output *output) {
    hone_buf_free(&output->text);
    hone_free(output->runs);
    *output = (hone_jinja_output){0};
}

static hone_status hand_over(hone_jinja_output *out, const hone_jbuilder *builder) {
    HONE_TRY(hone_buf_append(&out->text, builder->data ? builder->data : "", builder->length));
    HONE_TRY(hone_grow(&out->runs, &out->capacity, builder->run_count + 1, sizeof *out->runs));
    if (builder->run_count > 0)
        memcpy(out->runs, builder->runs, builder->run_count * sizeof *out->runs);
    out->count = builder->run_count;
    return HONE_OK;
}

static hone_status render(hone_jinja_output *out, hone_jvm *vm) {
    hone_jbuilder builder = {0};
    vm->out = &builder;
    HONE_TRY(
        hone_jarena_take(&vm->globals, &vm->arena, vm->jinja->symbol_count, sizeof *vm->globals));
    HONE_TRY(hone_j_take_input(vm));
    HONE_TRY(hone_j_scope_new(&vm->scope, vm, NULL));
    HONE_TRY(hone_j_run(vm, vm->jinja->body));
    out->spelled_part_of = vm->spelled_part_of;
    return hand_over(out, &builder);
}

hone_status hone_jinja_render(hone_jinja_output *out, const hone_jinja *jinja,
                              const hone_jinja_input *input) {
    const hone_jinja_limits *limits = input->limits ? input->limits : &hone_jinja_default_limits;
    hone_buf_clear(&out->text);
    out->count = 0;
    hone_jvm vm = {.jinja = jinja,
                   .input = input,
                   .arena = {.limit = limits->memory},
                   .steps = limits->steps,
                   .output_limit = limits->output};
    hone_status status = render(out, &vm);
    if (status != HONE_OK && vm.arena.exceeded) {
        status = hone_j_fail(&vm, "the template needs more than %lld MB of memory",
                             (long long)(limits->memory >> 20));
    }
    hone_jarena_free(&vm.arena);
    return status;
}
