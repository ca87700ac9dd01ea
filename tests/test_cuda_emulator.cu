/* The emulator that the CUDA kernels are tested in: what it computes, and the faults it has to find. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "kernels/cuda/mma.cuh"

/* --- What kernels may do --- */

__global__ static void write_place(int *out) {
    unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    out[block * threads + thread]++;
}

START_TEST(launch_every_thread_runs_once) {
    std::vector<int> counts(3 * 2 * 4 * 5 * 3 * 2);
    HONE_LAUNCH(write_place, dim3(3, 2, 4), dim3(5, 3, 2), counts.data());
    for (int count : counts) ck_assert_int_eq(count, 1);
}
END_TEST

__global__ static void reverse_block(int *x) {
    HONE_SHARED(int, kept, 100);
    kept[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = kept[blockDim.x - 1 - threadIdx.x];
}

START_TEST(barrier_between_write_and_read_gives_what_was_written) {
    emulator::set_seed((uint64_t)_i);
    int x[100];
    for (int i = 0; i < 100; i++) x[i] = i;
    HONE_LAUNCH(reverse_block, 1, 100, x);
    for (int i = 0; i < 100; i++) ck_assert_int_eq(x[i], 99 - i);
}
END_TEST

__global__ static void sum_lanes(double *out) {
    double x = threadIdx.x;
    for (int bits = 16; bits > 0; bits /= 2) x += __shfl_xor_sync(FULL, x, bits);
    out[threadIdx.x] = x;
}

START_TEST(shuffle_xor_sums_each_warp) {
    double sums[96];
    HONE_LAUNCH(sum_lanes, 1, 96, sums);
    for (int i = 0; i < 96; i++) ck_assert(sums[i] == 496.0 + i / 32 * 1024.0);
}
END_TEST

__global__ static void vote(uint32_t *out) {
    int lane = (int)threadIdx.x;
    uint32_t odd = __ballot_sync(FULL, lane % 2 == 1);
    bool any = __any_sync(FULL, lane == 7), all = __all_sync(FULL, lane < 31);
    int from = __shfl_sync(FULL, 2 * lane, (lane + 1) % 32);
    if (lane < 8) odd &= __ballot_sync(0xffu, lane != 3);
    out[lane] = odd + (any ? 0x10000000u : 0u) + (all ? 0x20000000u : 0u);
    ck_assert_int_eq(from, (lane + 1) % 32 * 2);
}

START_TEST(votes_give_all_lanes_the_same) {
    uint32_t out[32];
    HONE_LAUNCH(vote, 1, 32, out);
    ck_assert_uint_eq(out[0], 0x100000a2u);
    ck_assert_uint_eq(out[31], 0xaaaaaaaau + 0x10000000u);
}
END_TEST

/* Lanes that meet at __syncwarp may pass shared memory on, each warp by itself. */
__global__ static void pass_in_warp(int *out) {
    HONE_SHARED(int, kept, 64);
    for (int round = 0; round < 3; round++) {
        kept[threadIdx.x] = (int)threadIdx.x + round;
        __syncwarp();
        out[threadIdx.x] = kept[threadIdx.x ^ 1u];
        __syncwarp();
    }
}

START_TEST(syncwarp_orders_its_warp) {
    int out[64];
    ck_assert_str_eq(emulator::fault_of([&] { HONE_LAUNCH(pass_in_warp, 1, 64, out); }), "");
    for (int i = 0; i < 64; i++) ck_assert_int_eq(out[i], (i ^ 1) + 2);
}
END_TEST

__global__ static void write_order(std::vector<unsigned> *order) {
    order->push_back(blockIdx.x * blockDim.x + threadIdx.x);
}

START_TEST(order_depends_on_seed_alone) {
    std::vector<unsigned> first, again, other;
    emulator::set_seed(5);
    HONE_LAUNCH(write_order, 3, 40, &first);
    emulator::set_seed(5);
    HONE_LAUNCH(write_order, 3, 40, &again);
    HONE_LAUNCH(write_order, 3, 40, &other);
    ck_assert(first == again);
    ck_assert(first != other);
}
END_TEST

/* --- Tensor cores --- */

enum { ROWS = 16, INNER = 16, COLUMNS = 8 };

/* A product of small whole numbers, which is exact. */
struct product {
    float a[ROWS * INNER], b[INNER * COLUMNS], d[ROWS * COLUMNS];
};

static product product_of(unsigned seed) {
    product p;
    srand(seed);
    for (float &x : p.a) x = (float)(rand() % 17 - 8);
    for (float &x : p.b) x = (float)(rand() % 17 - 8);
    for (float &x : p.d) x = (float)(rand() % 17 - 8);
    return p;
}

static float expected_at(const product &p, int row, int column) {
    float sum = p.d[row * COLUMNS + column];
    for (int k = 0; k < INNER; k++) sum += p.a[row * INNER + k] * p.b[k * COLUMNS + column];
    return sum;
}

static bool is_right(const product &before, const product &after) {
    for (int i = 0; i < ROWS * COLUMNS; i++)
        if (after.d[i] != expected_at(before, i / COLUMNS, i % COLUMNS)) return false;
    return true;
}

/* Fragments as PTX deals them out; with two words of a in each other's place when `wrong`. */
__global__ static void multiply(product *p, bool wrong) {
    int g = (int)threadIdx.x / 4, t = (int)threadIdx.x % 4;
    uint32_t a[4], b[2];
    float d[4];
    for (int i = 0; i < 4; i++) {
        const float *from = p->a + (g + i % 2 * 8) * INNER + 2 * t + i / 2 * 8;
        a[wrong ? i ^ 3 : i] = bf16_pair(from[0], from[1]);
        d[i] = p->d[(g + i / 2 * 8) * COLUMNS + 2 * t + i % 2];
    }
    for (int i = 0; i < 2; i++) {
        const float *from = p->b + (2 * t + i * 8) * COLUMNS + g;
        b[i] = bf16_pair(from[0], from[COLUMNS]);
    }
    mma_bf16(d, a, b[0], b[1]);
    for (int i = 0; i < 4; i++) p->d[(g + i / 2 * 8) * COLUMNS + 2 * t + i % 2] = d[i];
}

START_TEST(mma_bf16_is_the_plain_product) {
    product before = product_of((unsigned)_i), right = before, wrong = before;
    HONE_LAUNCH(multiply, 1, 32, &right, false);
    ck_assert(is_right(before, right));
    HONE_LAUNCH(multiply, 1, 32, &wrong, true);
    ck_assert(!is_right(before, wrong));
}
END_TEST

/* The same of s8, four elements to a word: a [16,32] by rows, b [32,8] by columns. */
enum { S8_INNER = 32 };
struct s8_product {
    int8_t a[ROWS * S8_INNER], b[COLUMNS * S8_INNER];
    int d[ROWS * COLUMNS];
};

__global__ static void multiply_s8(s8_product *p) {
    int g = (int)threadIdx.x / 4, t = (int)threadIdx.x % 4, d[4];
    uint32_t a[4], b[2];
    for (int i = 0; i < 4; i++) {
        memcpy(&a[i], p->a + (g + i % 2 * 8) * S8_INNER + 4 * t + i / 2 * 16, 4);
        d[i] = p->d[(g + i / 2 * 8) * COLUMNS + 2 * t + i % 2];
    }
    for (int i = 0; i < 2; i++) memcpy(&b[i], p->b + g * S8_INNER + 4 * t + i * 16, 4);
    mma_s8(d, a, b[0], b[1]);
    for (int i = 0; i < 4; i++) p->d[(g + i / 2 * 8) * COLUMNS + 2 * t + i % 2] = d[i];
}

START_TEST(mma_s8_is_the_plain_product) {
    s8_product before, after;
    srand((unsigned)_i);
    for (int8_t &x : before.a) x = (int8_t)(rand() % 256 - 128);
    for (int8_t &x : before.b) x = (int8_t)(rand() % 256 - 128);
    for (int &x : before.d) x = rand() % 1000;
    after = before;
    HONE_LAUNCH(multiply_s8, 1, 32, &after);
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        int sum = before.d[i];
        for (int k = 0; k < S8_INNER; k++)
            sum += before.a[i / COLUMNS * S8_INNER + k] * before.b[i % COLUMNS * S8_INNER + k];
        ck_assert_int_eq(after.d[i], sum);
    }
}
END_TEST

/* The same from shared memory, as far as `apart` words are from row to row: a by its rows, b of its rows too. */
__global__ static void multiply_shared(product *p, int apart, int skip) {
    HONE_SHARED_GIVEN(uint32_t, words);
    int lane = (int)threadIdx.x, g = lane / 4, t = lane % 4;
    for (int i = lane; i < ROWS * INNER / 2; i += WARP)
        words[i / 8 * apart + i % 8] = bf16_pair(p->a[2 * i], p->a[2 * i + 1]);
    HONE_SHARED_POINTER(uint32_t) other = words + ROWS * apart;
    for (int i = lane; i < INNER * COLUMNS / 2; i += WARP)
        other[i / 4 * apart + i % 4] = bf16_pair(p->b[2 * i], p->b[2 * i + 1]);
    __syncwarp();
    uint32_t a[4], b[4];
    float d[4];
    for (int i = 0; i < 4; i++) d[i] = p->d[(g + i / 2 * 8) * COLUMNS + 2 * t + i % 2];
    load_squares(a, words + (lane % 16 * apart + lane / 16 * 4 + skip));
    load_squares_aside(b, other + lane % 16 * apart); /* twice the same two */
    ck_assert(b[0] == b[2] && b[1] == b[3]);
    mma_bf16(d, a, b[0], b[1]);
    for (int i = 0; i < 4; i++) p->d[(g + i / 2 * 8) * COLUMNS + 2 * t + i % 2] = d[i];
}

START_TEST(squares_of_shared_memory_are_fragments) {
    enum { APART = 12, BYTES = (ROWS + INNER) * APART * 4 };
    product before = product_of((unsigned)_i), after = before;
    HONE_LAUNCH_SHARED(multiply_shared, 1, 32, BYTES, &after, APART, 0);
    ck_assert(is_right(before, after));
}
END_TEST

/* --- Faults --- */

static void expect_fault(const char *text, const std::function<void()> &launch) {
    for (uint64_t seed = 1; seed <= 20; seed++) { /* in whatever order */
        emulator::set_seed(seed);
        const char *found = emulator::fault_of(launch);
        ck_assert_msg(strstr(found, text) != NULL, "\"%s\", expected \"%s\"", found, text);
    }
}

__global__ static void take_outside(int at) {
    HONE_SHARED(int, kept, 10);
    kept[at] = 1;
}

START_TEST(index_outside_of_shared_memory_is_fault) {
    expect_fault("takes element 10 of 10", [] { HONE_LAUNCH(take_outside, 1, 1, 10); });
    expect_fault("takes element -1 of 10", [] { HONE_LAUNCH(take_outside, 1, 1, -1); });
    ck_assert_str_eq(emulator::fault_of([] { HONE_LAUNCH(take_outside, 1, 1, 9); }), "");
}
END_TEST

__global__ static void read_unwritten(int *out) {
    HONE_SHARED(int, kept, 64);
    if (threadIdx.x != 5) kept[threadIdx.x] = 1;
    __syncthreads();
    out[threadIdx.x] = kept[63 - threadIdx.x];
}

START_TEST(unwritten_shared_memory_is_fault) {
    int out[64];
    expect_fault("reads element 5, which nobody wrote",
                 [&] { HONE_LAUNCH(read_unwritten, 1, 64, out); });
}
END_TEST

__global__ static void read_early(int *out) {
    HONE_SHARED(int, kept, 64);
    for (int i = (int)threadIdx.x; i < 64; i += 32) kept[i] = 0;
    __syncthreads();
    kept[threadIdx.x] = 1;
    out[threadIdx.x] = kept[(threadIdx.x + 1) % 32];
}

START_TEST(read_without_barrier_is_fault) {
    int out[32];
    expect_fault("with no barrier after thread", [&] { HONE_LAUNCH(read_early, 1, 32, out); });
}
END_TEST

__global__ static void write_early() {
    HONE_SHARED(float, kept, 1);
    if (threadIdx.x == 0) kept[0] = 1.0f;
    __syncthreads();
    float sum = kept[0];
    if (threadIdx.x == 3) kept[0] = sum;
}

/* The next round's write meets readers of this one. */
START_TEST(write_without_barrier_after_reads_is_fault) {
    expect_fault("with no barrier after thread", [] { HONE_LAUNCH(write_early, 1, 64); });
    expect_fault("with no barrier after thread", [] { HONE_LAUNCH(write_early, 1, 32); });
}
END_TEST

__global__ static void both_write() {
    HONE_SHARED(int, kept, 1);
    kept[0] = 1;
}

START_TEST(two_writers_are_fault) {
    expect_fault("writes element 0 with no barrier after thread",
                 [] { HONE_LAUNCH(both_write, 1, 2); });
}
END_TEST

/* A warp's barrier does not order other warps. */
__global__ static void pass_between_warps(int *out) {
    HONE_SHARED(int, kept, 64);
    kept[threadIdx.x] = 1;
    __syncwarp();
    out[threadIdx.x] = kept[63 - threadIdx.x];
}

START_TEST(syncwarp_does_not_order_other_warps) {
    int out[64];
    expect_fault("with no barrier after thread",
                 [&] { HONE_LAUNCH(pass_between_warps, 1, 64, out); });
}
END_TEST

/* Other warp calls wait for lanes as a barrier does, but order no memory. */
enum class call { shuffle, vote, multiply, load };

__global__ static void pass_by_call(int *out, call what) {
    HONE_SHARED(int, kept, 32);
    HONE_SHARED(uint32_t, rows, 32);
    int lane = (int)threadIdx.x;
    rows[lane] = 0;
    __syncwarp();
    kept[lane] = 1;
    uint32_t words[4] = {};
    int sums[4] = {};
    if (what == call::shuffle) (void)__shfl_sync(FULL, 1, 0);
    if (what == call::vote) (void)__ballot_sync(FULL, true);
    if (what == call::multiply) mma_s8(sums, words, 0, 0);
    if (what == call::load) load_squares(words, rows + lane % 8 * 4);
    out[lane] = kept[31 - lane];
}

START_TEST(other_warp_calls_order_nothing) {
    int out[32];
    for (call what : {call::shuffle, call::vote, call::multiply, call::load})
        expect_fault("with no barrier after thread",
                     [&] { HONE_LAUNCH(pass_by_call, 1, 32, out, what); });
}
END_TEST

__global__ static void half_waits() {
    if (threadIdx.x < 50) __syncthreads();
}

START_TEST(barrier_that_some_leave_out_is_fault) {
    expect_fault("divergence: thread 0 waits at", [] { HONE_LAUNCH(half_waits, 1, 100); });
}
END_TEST

__global__ static void two_barriers() {
    if (threadIdx.x < 50) {
        __syncthreads();
    } else {
        __syncthreads();
    }
}

START_TEST(barriers_at_two_places_are_fault) {
    expect_fault("divergence: thread 0 waits at", [] { HONE_LAUNCH(two_barriers, 1, 100); });
}
END_TEST

__global__ static void lane_leaves() {
    if (threadIdx.x != 4) (void)__shfl_sync(FULL, 1, 0);
}

START_TEST(warp_call_that_a_lane_leaves_out_is_fault) {
    expect_fault("but thread 4 has ended", [] { HONE_LAUNCH(lane_leaves, 1, 32); });
}
END_TEST

__global__ static void call_with(uint32_t mask, int from) {
    if (mask >> threadIdx.x & 1u || from < 0) (void)__shfl_sync(mask, 1, abs(from));
}

START_TEST(wrong_masks_are_faults) {
    expect_fault("lacks lane", [] { HONE_LAUNCH(call_with, 1, 32, 0xfff0u, -4); });
    expect_fault("asks for the value of lane 2, which is not in its mask",
                 [] { HONE_LAUNCH(call_with, 1, 32, 0xfff0u, 2); });
    expect_fault("asks for the value of lane 32", [] { HONE_LAUNCH(call_with, 1, 32, FULL, 32); });
    expect_fault("names lane 20, which the block does not have",
                 [] { HONE_LAUNCH(call_with, 1, 20, FULL, 0); });
}
END_TEST

__global__ static void take_much() {
    HONE_SHARED(char, some, 40 << 10);
    HONE_SHARED(char, more, 9 << 10);
    some[0] = more[0] = 1;
}

START_TEST(launches_that_do_not_fit_are_faults) {
    expect_fault("49152 bytes of shared memory, not 50176", [] { HONE_LAUNCH(take_much, 1, 1); });
}
END_TEST

START_TEST(launches_that_no_gpu_has_are_faults) {
    const dim3 wrong[][2] = {
        {0, 8},
        {1, 0},
        {1, 1025},
        {1, dim3(32, 33)},
        {1, dim3(1, 1, 65)},
        {1u << 31, 1},
        {dim3(1, 65536), 1},
        {dim3(1, 1, 65536), 1},
    };
    for (const dim3 *launch : wrong)
        expect_fault("a launch of ", [=] { HONE_LAUNCH(write_early, launch[0], launch[1]); });
    expect_fault("a launch of 2 x 65536 x 1 blocks of 3 x 1 x 1 threads",
                 [] { HONE_LAUNCH(write_early, dim3(2, 65536), 3); });
}
END_TEST

__global__ static void store_at(int at) {
    HONE_SHARED(uint32_t, words, 16);
    const quad four = {{1, 2, 3, 4}};
    store_quad(words + at, four);
    for (uint32_t i = 0; i < 4; i++) ck_assert_uint_eq(words[at + i], i + 1);
}

START_TEST(quads_that_are_not_there_are_faults) {
    ck_assert_str_eq(emulator::fault_of([] { HONE_LAUNCH(store_at, 1, 1, 12); }), "");
    expect_fault("stores 16 bytes at word 6", [] { HONE_LAUNCH(store_at, 1, 1, 6); });
    expect_fault("takes element 16 of 16", [] { HONE_LAUNCH(store_at, 1, 1, 16); });
}
END_TEST

START_TEST(squares_that_are_not_there_are_faults) {
    enum { APART = 12, BYTES = (ROWS + INNER) * APART * 4 };
    product p = product_of(1);
    expect_fault("names a row at word", /* 10 words apart no row begins at 16 bytes */
                 [&] { HONE_LAUNCH_SHARED(multiply_shared, 1, 32, BYTES, &p, 10, 0); });
    expect_fault("which nobody wrote",
                 [&] { HONE_LAUNCH_SHARED(multiply_shared, 1, 32, BYTES, &p, APART, 4); });
    expect_fault("takes element 375 of 375",
                 [&] { HONE_LAUNCH_SHARED(multiply_shared, 1, 32, 375 * 4, &p, APART, 0); });
    expect_fault("takes element", [&] { HONE_LAUNCH(multiply_shared, 1, 32, &p, APART, 0); });
    expect_fault("at most 101376 bytes of shared memory in all, not 101380",
                 [&] { HONE_LAUNCH_SHARED(multiply_shared, 1, 32, 101380, &p, APART, 0); });
}
END_TEST

__global__ static void multiply_here_and_there() {
    uint32_t a[4] = {};
    float d[4] = {};
    if (threadIdx.x < 16) {
        mma_bf16(d, a, 0, 0);
    } else {
        mma_bf16(d, a, 0, 0);
    }
}

__global__ static void multiply_by_some() {
    uint32_t a[4] = {};
    float d[4] = {};
    if (threadIdx.x != 9) mma_bf16(d, a, 0, 0);
}

START_TEST(mma_that_not_all_lanes_make_is_fault) {
    expect_fault("divergence: thread 0 waits at",
                 [] { HONE_LAUNCH(multiply_here_and_there, 1, 32); });
    expect_fault("but thread 9 has ended", [] { HONE_LAUNCH(multiply_by_some, 1, 32); });
}
END_TEST

/* A fault that nobody expects ends the program, saying what it was. */
START_TEST(unexpected_fault_ends_program) {
    HONE_LAUNCH(both_write, 1, 2);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("CUDA emulator");
    TCase *values = tcase_create("values");
    tcase_add_test(values, launch_every_thread_runs_once);
    tcase_add_loop_test(values, barrier_between_write_and_read_gives_what_was_written, 1, 20);
    tcase_add_test(values, shuffle_xor_sums_each_warp);
    tcase_add_test(values, votes_give_all_lanes_the_same);
    tcase_add_test(values, syncwarp_orders_its_warp);
    tcase_add_test(values, order_depends_on_seed_alone);
    tcase_add_loop_test(values, mma_bf16_is_the_plain_product, 1, 5);
    tcase_add_loop_test(values, mma_s8_is_the_plain_product, 1, 5);
    tcase_add_loop_test(values, squares_of_shared_memory_are_fragments, 1, 5);
    suite_add_tcase(suite, values);
    TCase *faults = tcase_create("faults");
    tcase_add_test(faults, index_outside_of_shared_memory_is_fault);
    tcase_add_test(faults, unwritten_shared_memory_is_fault);
    tcase_add_test(faults, read_without_barrier_is_fault);
    tcase_add_test(faults, write_without_barrier_after_reads_is_fault);
    tcase_add_test(faults, two_writers_are_fault);
    tcase_add_test(faults, syncwarp_does_not_order_other_warps);
    tcase_add_test(faults, other_warp_calls_order_nothing);
    tcase_add_test(faults, barrier_that_some_leave_out_is_fault);
    tcase_add_test(faults, barriers_at_two_places_are_fault);
    tcase_add_test(faults, warp_call_that_a_lane_leaves_out_is_fault);
    tcase_add_test(faults, wrong_masks_are_faults);
    tcase_add_test(faults, launches_that_do_not_fit_are_faults);
    tcase_add_test(faults, launches_that_no_gpu_has_are_faults);
    tcase_add_test(faults, quads_that_are_not_there_are_faults);
    tcase_add_test(faults, squares_that_are_not_there_are_faults);
    tcase_add_test(faults, mma_that_not_all_lanes_make_is_fault);
    tcase_add_test_raise_signal(faults, unexpected_fault_ends_program, 6); /* SIGABRT */
    suite_add_tcase(suite, faults);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
