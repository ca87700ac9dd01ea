/*
 * Groups of GPUs between processes, over a fake of NCCL (tests/cuda/fake_nccl.h): sums, failures, what the fake refuses; and
 * gradients that are sent while backward still goes on.
 */
#include <signal.h>
#include <sys/wait.h>

#include "kernels/cuda/nccl.h"
#include "kernels/cuda/stream.h"
#include "kernels/group.h"
#include "tests/cuda/device_support.h"
#include "tests/cuda/fake_nccl.h"
#include "tests/cuda/fake_parts.h"
#include "train/device_batch.h"
#include "train/exchange.h"

enum { MOST = 4 };

/* --- Processes --- */

typedef void (*part_fn)(hone_device *device, hone_group *group);

static void be_process(part_fn part, const hone_group_name *name, int rank, int size) {
    hone_device device;
    hone_group group;
    ck_ok(hone_device_open_cuda(&device, rank));
    ck_ok(hone_group_join(&group, name, rank, size));
    ck_assert_int_eq(group.rank, rank);
    ck_assert_int_eq(group.size, size);
    part(&device, &group);
    hone_group_abandon(&group);
    hone_device_close(&device);
    if (hone_cuda_is_lost()) _exit(EXIT_SUCCESS); /* with all that it holds */
    ck_assert_int_eq(fake_cudart_used().pieces, 0);
    ck_assert_int_eq(fake_cudart_used().streams, 0);
    ck_assert_int_eq(fake_cudart_used().events, 0);
    _exit(EXIT_SUCCESS);
}

/* Runs a part in each of `size` processes, which succeed: all but the one that is to be lost (-1: none). */
static void run_in_processes(part_fn part, int size, int lost) {
    hone_group_name name;
    pid_t pids[MOST];
    fake_cudart_settings.devices = size;
    ck_ok(hone_group_make_name(&name));
    for (int r = 0; r < size; r++) {
        pids[r] = fork();
        ck_assert_int_ge(pids[r], 0);
        if (pids[r] == 0) be_process(part, &name, r, size);
    }
    for (int r = 0; r < size; r++) {
        int how;
        ck_assert_int_eq(waitpid(pids[r], &how, 0), pids[r]);
        if (r != lost) ck_assert_msg(how == 0, "process %d ended with %#x", r, (unsigned)how);
    }
}

/* --- Sums --- */

enum { COUNT = 5000 };

/* Numbers whose sum in f32 depends on the order. */
static float number_of(int rank, int i) {
    return (float)(i % 7 + 1) * (rank == 1 ? 1e6f : 0.3f) * (i % 2 ? -1.0f : 1.0f);
}

static void sum_numbers(hone_device *device, hone_group *group) {
    static float numbers[COUNT], found[COUNT];
    hone_buffer buffer;
    for (int i = 0; i < COUNT; i++) numbers[i] = number_of(group->rank, i);
    ck_ok(hone_buffer_new(&buffer, device, sizeof numbers));
    ck_ok(hone_device_copy_in(device, buffer.base, numbers, sizeof numbers));
    float *at = buffer.base;
    device->kernels->scale(at, at, COUNT, 2);
    ck_ok(hone_group_sum(group, at, 0));
    ck_ok(hone_group_sum(group, at + 100, COUNT - 100));
    ck_ok(hone_group_sum(group, at, 99));
    ck_ok(hone_group_join_sums(group));
    device->kernels->scale(at, at, COUNT, 0.5);
    ck_ok(hone_device_copy_out(device, found, at, sizeof found));
    for (int i = 0; i < COUNT; i++) {
        float wanted = 2 * number_of(i == 99 ? group->rank : 0, i);
        for (int r = 1; i != 99 && r < group->size; r++) wanted += 2 * number_of(r, i);
        ck_assert(found[i] == 0.5f * wanted);
    }
    hone_buffer_free(&buffer);
    ck_ok(hone_group_leave(group));
    ck_ok(hone_group_leave(group));
}

START_TEST(numbers_are_summed_over_the_processes) {
    run_in_processes(sum_numbers, _i, -1);
}
END_TEST

static void exchange_words(hone_device *device, hone_group *group) {
    (void)device;
    double values[] = {0.25 * (group->rank + 1), 1, -group->rank}, all[MOST],
           first = 7 + group->rank;
    ck_ok(hone_group_sum_doubles(group, values, 3));
    ck_assert_double_eq(values[0], 1.5);
    ck_assert_double_eq(values[1], 3);
    ck_assert_double_eq(values[2], -3);
    ck_ok(hone_group_gather(group, all, 10.5 * group->rank));
    for (int r = 0; r < 3; r++) ck_assert_double_eq(all[r], 10.5 * r);
    ck_ok(hone_group_follow(group, &first));
    ck_assert_double_eq(first, 7);
    ck_ok(hone_group_agree(group, HONE_OK));
    hone_status own = group->rank == 1 ? hone_fail(HONE_ERR_DATA, "a bad record") : HONE_OK;
    if (group->rank == 1) {
        ck_fails(hone_group_agree(group, own), HONE_ERR_DATA, "a bad record");
    } else {
        ck_fails(hone_group_agree(group, own), HONE_ERR_PEER, "another process");
    }
    ck_ok(hone_group_leave(group));
}

START_TEST(processes_tell_each_other_numbers_and_failures) {
    run_in_processes(exchange_words, 3, -1);
}
END_TEST

START_TEST(group_of_one_leaves_numbers_alone) {
    hone_group alone = {0};
    double value = 3, all[1];
    float number = 2;
    ck_ok(hone_group_sum(&alone, &number, 1));
    ck_ok(hone_group_join_sums(&alone));
    ck_ok(hone_group_sum_doubles(&alone, &value, 1));
    ck_ok(hone_group_follow(&alone, &value));
    ck_ok(hone_group_gather(&alone, all, 5));
    ck_ok(hone_group_agree(&alone, HONE_OK));
    ck_assert(value == 3 && number == 2 && all[0] == 5);
    ck_fails(hone_group_agree(&alone, hone_fail(HONE_ERR_IO, "no disk")), HONE_ERR_IO, "no disk");
    ck_ok(hone_group_leave(&alone));
    hone_group_abandon(&alone);
}
END_TEST

/* --- Failures --- */

/* Process 1 ends while the others' device waits for its part of a sum. */
static void lose_one(hone_device *device, hone_group *group) {
    if (group->rank == 1) raise(SIGKILL);
    hone_buffer buffer;
    ck_ok(hone_buffer_new(&buffer, device, 400));
    ck_ok(hone_group_sum(group, buffer.base, 100));
    ck_ok(hone_group_join_sums(group));
    ck_fails(hone_device_wait(device), HONE_ERR_PEER, "another process of the run was lost");
    ck_fails(hone_group_sum(group, buffer.base, 100), HONE_ERR_PEER, "gone");
    double value = 1;
    ck_fails(hone_group_sum_doubles(group, &value, 1), HONE_ERR_PEER, "gone");
    ck_ok(hone_group_leave(group));
    hone_buffer_free(&buffer);
}

START_TEST(process_that_is_lost_is_told_to_those_that_wait) {
    run_in_processes(lose_one, 3, 1);
}
END_TEST

static void lose_one_in_words(hone_device *device, hone_group *group) {
    (void)device;
    double value = 1;
    if (group->rank == 0) raise(SIGKILL);
    ck_fails(hone_group_sum_doubles(group, &value, 1), HONE_ERR_PEER, "was lost");
}

START_TEST(process_that_is_lost_is_told_to_those_that_ask) {
    run_in_processes(lose_one_in_words, 2, 0);
}
END_TEST

static void give_up(hone_device *device, hone_group *group) {
    (void)device;
    double value = 1;
    if (group->rank == 1) {
        hone_group_abandon(group);
    } else {
        ck_fails(hone_group_sum_doubles(group, &value, 1), HONE_ERR_PEER, "was lost");
    }
}

START_TEST(process_that_gives_up_is_lost_to_the_others) {
    run_in_processes(give_up, 2, -1);
}
END_TEST

static void sum_other_sizes(hone_device *device, hone_group *group) {
    hone_buffer buffer;
    ck_ok(hone_buffer_new(&buffer, device, 400));
    ck_ok(hone_group_sum(group, buffer.base, 100 - group->rank));
    ck_ok(hone_group_join_sums(group));
    hone_status status = hone_device_wait(device);
    /* Whoever comes second may find that the first has ended. */
    ck_assert(status == HONE_ERR_UNSUPPORTED || status == HONE_ERR_PEER);
    hone_buffer_free(&buffer);
}

START_TEST(sums_of_other_sizes_fail) {
    run_in_processes(sum_other_sizes, 2, -1);
}
END_TEST

START_TEST(group_without_nccl_says_what_to_install) {
    hone_nccl nccl;
    ck_fails(hone_nccl_load(&nccl, "libhone-has-no-such.so"), HONE_ERR_UNSUPPORTED,
             "cannot load NCCL, which several GPUs train together by");
    ck_fails(hone_nccl_load(&nccl, "libhone-has-no-such.so"), HONE_ERR_UNSUPPORTED,
             "install NCCL 2 for CUDA 13");
    ck_fails(hone_nccl_load(&nccl, "libm.so.6"), HONE_ERR_UNSUPPORTED, "lacks ncclGetVersion");
}
END_TEST

/* --- The fake --- */

typedef struct bench {
    hone_device device;
    hone_buffer buffer;
    hone_nccl nccl;
    ncclComm_t comm;
} bench;

/* A group of one, by the library's own calls. */
static void open_bench(bench *b) {
    ncclUniqueId id;
    ncclConfig_t config = {sizeof config, (unsigned)HONE_NCCL_MAGIC, HONE_NCCL_CONFIG_VERSION, 0};
    ncclResult_t state;
    open_cuda(&b->device);
    ck_ok(hone_buffer_new(&b->buffer, &b->device, 400));
    b->nccl = fake_nccl_functions();
    ck_assert_int_eq(b->nccl.get_unique_id(&id), ncclSuccess);
    ck_assert_int_eq(b->nccl.init_rank(&b->comm, 1, id, 0, &config), ncclInProgress);
    ck_assert_int_eq(b->nccl.get_async_error(b->comm, &state), ncclSuccess);
    ck_assert_int_eq(state, ncclSuccess);
}

static void close_bench(bench *b) {
    hone_buffer_free(&b->buffer);
    hone_device_close(&b->device);
}

static ncclResult_t reduce(const bench *b, const void *from, void *to, size_t n, int type, int op) {
    return b->nccl.all_reduce(from, to, n, (ncclDataType_t)type, (ncclRedOp_t)op, b->comm,
                              hone_cuda_stream());
}

START_TEST(fake_refuses_what_nccl_does_not_promise) {
    bench b;
    open_bench(&b);
    static float host[100];
    float *at = b.buffer.base;
    const struct {
        const void *from;
        void *to;
        size_t n;
        int type, op;
    } wrong[] = {
        {NULL, at, 1, ncclFloat32, ncclSum},   {at, NULL, 1, ncclFloat32, ncclSum},
        {host, at, 1, ncclFloat32, ncclSum},   {at, host, 1, ncclFloat32, ncclSum},
        {at, at, 101, ncclFloat32, ncclSum},   {at, at, 51, ncclFloat64, ncclSum},
        {at, at + 1, 2, ncclFloat32, ncclSum}, {at, at, 1, 3, ncclSum},
        {at, at, 1, ncclFloat32, 1},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert_int_eq(
            reduce(&b, wrong[i].from, wrong[i].to, wrong[i].n, wrong[i].type, wrong[i].op),
            ncclInvalidArgument);
    }
    ck_assert_int_eq(reduce(&b, at, at, 100, ncclFloat32, ncclSum), ncclInProgress);
    ck_assert_int_eq(reduce(&b, at, at + 50, 50, ncclFloat32, ncclSum), ncclInProgress);
    ck_ok(hone_device_wait(&b.device));
    ck_assert_int_eq(b.nccl.finalize(b.comm), ncclSuccess);
    ck_assert_int_eq(reduce(&b, at, at, 1, ncclFloat32, ncclSum), ncclInvalidArgument);
    ck_assert_int_eq(b.nccl.destroy(b.comm), ncclSuccess);
    ck_assert_int_eq(reduce(&b, at, at, 1, ncclFloat32, ncclSum), ncclInvalidArgument);
    close_bench(&b);
}
END_TEST

START_TEST(fake_refuses_configurations_and_ranks) {
    const ncclConfig_t good = {sizeof good, (unsigned)HONE_NCCL_MAGIC, HONE_NCCL_CONFIG_VERSION, 0};
    const struct {
        ncclConfig_t config;
        int size, rank;
    } wrong[] = {
        {{sizeof good, 0, HONE_NCCL_CONFIG_VERSION, 0}, 1, 0},
        {{sizeof good, good.magic, 21300, 0}, 1, 0},
        {{8, good.magic, HONE_NCCL_CONFIG_VERSION, 0}, 1, 0},
        {{sizeof good, good.magic, HONE_NCCL_CONFIG_VERSION, 1}, 1, 0},
        {good, 1, 1},
        {good, 2, -1},
        {good, 0, 0},
    };
    hone_nccl nccl = fake_nccl_functions();
    ncclUniqueId id;
    ncclComm_t comm;
    ck_assert_int_eq(nccl.get_unique_id(&id), ncclSuccess);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ncclConfig_t config = wrong[i].config;
        ncclResult_t result = nccl.init_rank(&comm, wrong[i].size, id, wrong[i].rank, &config);
        ck_assert(result == ncclInvalidArgument || result == ncclInvalidUsage);
    }
    ncclConfig_t config = good;
    ck_assert_int_eq(nccl.init_rank(&comm, 2, id, 0, &config), ncclInProgress);
    ncclResult_t state;
    ck_assert_int_eq(nccl.get_async_error(comm, &state), ncclSuccess);
    ck_assert_int_eq(state, ncclInProgress); /* the other has not come */
}
END_TEST

/* --- Gradients --- */

enum { TOKENS = 9, FIRST = 5 };

/* A step of a model on the device, and what its gradients were where they were said to be complete. */
typedef struct follower {
    hone_device *device;
    hone_model *model;
    hone_adapter *adapter;
    hone_params *params;
    hone_device_batch batch;
    hone_tape *tape;
    hone_forward forward;
    float *seen;     /* [elements] */
    int64_t settled; /* first element that is */
    int times;       /* that more were */
    int64_t launches_at_first;
} follower;

static hone_status note_settled(void *context, const void *from) {
    follower *f = context;
    const float *base = f->params->grads.base;
    int64_t first = from ? (const float *)from - base : 0;
    if (first >= f->settled) return HONE_OK;
    if (f->times++ == 0) f->launches_at_first = fake_cudart_used().launches;
    ck_ok(hone_device_wait(f->device));
    fake_peek(f->seen + first, base + first, (size_t)(f->settled - first) * sizeof(float));
    f->settled = first;
    return HONE_OK;
}

static void load_batch(follower *f) {
    int32_t ids[TOKENS], positions[TOKENS], row[TOKENS], target[TOKENS],
        begin[] = {0, FIRST}, length[] = {FIRST, TOKENS - FIRST};
    uint32_t records[TOKENS];
    int64_t rows = 0;
    for (int32_t i = 0; i < TOKENS; i++) {
        ids[i] = 3 + i * 7;
        positions[i] = i < FIRST ? i : i - FIRST;
        records[i] = i < FIRST;
        if (i == 0 || i == FIRST) continue;
        row[rows] = i - 1;
        target[rows++] = ids[i];
    }
    hone_batch host = {.tokens = TOKENS,
                       .ids = ids,
                       .positions = positions,
                       .records = records,
                       .documents = 2,
                       .document_begin = begin,
                       .document_length = length,
                       .rows = rows,
                       .row = row,
                       .target = target};
    ck_ok(hone_device_batch_new(&f->batch, f->device, TOKENS, FIRST));
    ck_ok(hone_device_batch_load(&f->batch, &host));
    ck_ok(hone_device_batch_begin(&f->batch, 1 / (double)rows));
}

static void open_follower(follower *f, hone_device *device, const char *model, bool full,
                          bool recompute) {
    *f = (follower){.device = device};
    ck_ok(hone_model_open(&f->model, test_fixture(model), f->device));
    if (full) {
        ck_ok(hone_model_train_all(f->model));
        f->params = &f->model->params;
    } else {
        ck_ok(hone_adapter_new(&f->adapter, f->model, 0x7f, 2, 4, 1));
        f->params = &f->adapter->params;
    }
    load_batch(f);
    ck_ok(hone_model_rope(f->model, FIRST));
    ck_ok(hone_tape_new(&f->tape, f->device));
    f->forward = (hone_forward){.model = f->model,
                                .adapter = f->adapter,
                                .tokens = &f->batch.tokens,
                                .recompute = recompute ? HONE_RECOMPUTE_FULL : HONE_RECOMPUTE_NONE};
    f->settled = f->params->elements;
    f->seen = hone_alloc((size_t)f->settled, sizeof *f->seen);
    ck_assert_ptr_nonnull(f->seen);
    hone_tape_plan(f->tape, true);
    ck_ok(hone_transformer_loss(f->tape, &f->forward, &f->batch.loss));
    ck_ok(hone_tape_backward(f->tape));
    ck_ok(hone_tape_plan_done(f->tape));
    ck_ok(hone_tape_reserve(f->tape));
}

static void take_step(follower *f) {
    hone_tape_begin(f->tape);
    ck_ok(hone_transformer_loss(f->tape, &f->forward, &f->batch.loss));
    ck_ok(hone_tape_backward(f->tape));
}

static void close_follower(follower *f) {
    hone_free(f->seen);
    hone_tape_free(f->tape);
    hone_device_batch_free(&f->batch);
    hone_adapter_free(f->adapter);
    hone_model_close(f->model);
}

/* With a tied head the gradient of the embedding, first in memory, is begun first and completed last. */
static const struct {
    const char *model;
    bool full, recompute;
    int times; /* at least */
} steps[] = {
    {"models/grouped-tied", false, false, 8},
    {"models/grouped-tied", false, true, 8},
    {"models/grouped-tied", true, false, 8},
    {"models/untied-odd", true, false, 8},
};
enum { STEPS = sizeof steps / sizeof *steps };

START_TEST(gradients_that_are_complete_do_not_change_any_more) {
    follower f;
    hone_device device;
    open_cuda(&device);
    open_follower(&f, &device, steps[_i].model, steps[_i].full, steps[_i].recompute);
    hone_tape_follow(f.tape, note_settled, &f);
    take_step(&f);
    int64_t end = fake_cudart_used().launches;
    ck_assert_int_eq(f.settled, 0);
    ck_assert_int_ge(f.times, steps[_i].times);
    ck_assert_int_gt(end - f.launches_at_first, 20); /* which a sum goes on beside */
    size_t bytes = (size_t)f.params->elements * sizeof(float);
    float *grads = hone_alloc(1, bytes);
    ck_ok(hone_device_copy_out(&device, grads, f.params->grads.base, bytes));
    ck_assert_mem_eq(grads, f.seen, bytes);
    double norm = 0;
    for (int64_t i = 0; i < f.params->elements; i++) norm += (double)grads[i] * (double)grads[i];
    ck_assert_double_gt(norm, 0);
    hone_free(grads);
    hone_tape_follow(f.tape, NULL, NULL);
    f.times = 0;
    take_step(&f);
    ck_assert_int_eq(f.times, 0);
    close_follower(&f);
    hone_device_close(&device);
}
END_TEST

/* Both processes take the same step, so that every gradient comes out twice as large, in pieces. */
static void exchange_step(hone_device *device, hone_group *group) {
    follower f;
    open_follower(&f, device, "models/grouped-tied", false, false);
    size_t bytes = (size_t)f.params->elements * sizeof(float);
    float *once = f.seen, *twice = hone_alloc(1, bytes);
    take_step(&f);
    ck_ok(hone_device_copy_out(device, once, f.params->grads.base, bytes));
    device->kernels->zero(f.params->grads.base, f.params->elements);
    hone_exchange exchange = hone_exchange_of(group, f.params, f.tape);
    hone_exchange_begin(&exchange);
    int sums = fake_nccl_sums();
    take_step(&f);
    ck_assert_int_ge(fake_nccl_sums() - sums, 5);
    ck_assert_int_le(fake_nccl_sums() - sums, 9);
    ck_ok(hone_exchange_end(&exchange));
    ck_ok(hone_device_copy_out(device, twice, f.params->grads.base, bytes));
    for (int64_t i = 0; i < f.params->elements; i++) ck_assert(twice[i] == 2 * once[i]);
    hone_free(twice);
    close_follower(&f);
    ck_ok(hone_group_leave(group));
}

START_TEST(gradients_are_exchanged_while_backward_goes_on) {
    run_in_processes(exchange_step, 2, -1);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cuda_group");
    TCase *sums = tcase_create("sums");
    tcase_add_checked_fixture(sums, start, stop);
    tcase_set_timeout(sums, 60);
    tcase_add_loop_test(sums, numbers_are_summed_over_the_processes, 2, MOST + 1);
    tcase_add_test(sums, processes_tell_each_other_numbers_and_failures);
    tcase_add_test(sums, group_of_one_leaves_numbers_alone);
    tcase_add_loop_test(sums, gradients_that_are_complete_do_not_change_any_more, 0, STEPS);
    tcase_add_test(sums, gradients_are_exchanged_while_backward_goes_on);
    suite_add_tcase(suite, sums);
    TCase *errors = tcase_create("errors");
    tcase_add_checked_fixture(errors, start, stop);
    tcase_set_timeout(errors, 60);
    tcase_add_test(errors, process_that_is_lost_is_told_to_those_that_wait);
    tcase_add_test(errors, process_that_is_lost_is_told_to_those_that_ask);
    tcase_add_test(errors, process_that_gives_up_is_lost_to_the_others);
    tcase_add_test(errors, sums_of_other_sizes_fail);
    tcase_add_test(errors, group_without_nccl_says_what_to_install);
    tcase_add_test(errors, fake_refuses_what_nccl_does_not_promise);
    tcase_add_test(errors, fake_refuses_configurations_and_ranks);
    suite_add_tcase(suite, errors);
    return hone_test_run(suite);
}
