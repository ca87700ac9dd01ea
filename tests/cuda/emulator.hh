/*
 * CUDA's execution model on the host, for tests. A kernel file compiled as C++ with this header before it runs its grids
 * here: block after block, and every thread of a block as a fibre that runs until it has to wait. What a GPU leaves
 * undefined is a fault:
 *
 *     shared memory   an index outside of its array; reading what nobody wrote; an element that two threads touch, one of
 *                     them writing, with no barrier between
 *     __syncthreads   not reached by every thread of the block, or reached at another place by some of them
 *     warp functions  a mask without the caller or with lanes that never come, that come elsewhere, or that do not exist;
 *                     a value asked of a lane outside of the mask; __syncwarp alone is a barrier
 *     16 bytes        moved at once, as ldmatrix does, but not from or to a multiple of 16
 *     launches        of no block or thread, of more threads to a block than a GPU has, or of too large a grid
 *
 * The order of blocks, and of threads between two barriers, is shuffled by a seed: what depends on it shows. What is not
 * looked for: kernels that read the host's memory, and the rounding of products and sums that nvcc fuses.
 *
 * The dialect, beside CUDA's own words (kernels/cuda/device.cuh has the same for nvcc): HONE_SHARED declares an array of
 * shared memory, HONE_SHARED_POINTER the type of a pointer into one, HONE_LAUNCH starts a grid and here also ends it;
 * HONE_LAUNCH_SHARED gives its blocks an array of a size that is no constant, which HONE_SHARED_GIVEN names.
 */
#ifndef HONE_TESTS_CUDA_EMULATOR_HH
#define HONE_TESTS_CUDA_EMULATOR_HH

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <functional>

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {
    }
};

namespace emulator {

/* Of the blocks and threads of the launches that follow. */
void set_seed(uint64_t seed);

/* Runs `body` in every thread of the grid, with so many bytes of shared memory beside what it declares. A fault ends the
 * program, or the launch where one is expected. */
void launch(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()> &body);

/* Gets every launch from now on, to run it at once, later, or several times. */
void set_queue(void (*queue)(std::function<void()> launch));

/* A kernel's arguments are those of the moment when it is launched. */
template <typename... Parameters>
auto launcher(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes) {
    return [=](Parameters... arguments) {
        launch(grid, block, shared_bytes, [=] { kernel(arguments...); });
    };
}

/* Runs `launches`, and gives the message of the first fault in them, or "". */
const char *fault_of(const std::function<void()> &launches);

/* Where the running thread is. */
struct place {
    dim3 grid, block, block_at, thread_at;
};
extern const place *here;

struct site {
    const char *file;
    int line;
};

void block_barrier(site at);

/* What a lane brings to a warp call. */
struct brought {
    uint64_t word[3];
};

/* Waits for the lanes of `mask`, all at the same place, and gives what each of them brought; valid until the lane's next
 * call. */
const brought *warp_exchange(site at, uint32_t mask, brought value);
/* Waits for the warp, and orders what its lanes do to shared memory, as no other warp call does: "they do not imply a
 * memory barrier" (CUDA C++ Programming Guide, warp vote and shuffle functions). */
void warp_barrier(site at);
int lane();
[[noreturn]] void fail_lane(site at, int from);

/* --- Shared memory --- */

/* One array of the running block: its bytes, and who touched each element last. */
struct shared_memory;
shared_memory *shared_memory_at(site at, size_t size, int64_t count);
/* That which the launch gave, as elements of so many bytes; one such array to a kernel. */
shared_memory *launch_shared_memory(site at, size_t size);
void *shared_read(shared_memory *memory, int64_t index);
void *shared_write(shared_memory *memory, int64_t index);

template <typename T> class shared_element {
  public:
    shared_element(shared_memory *memory, int64_t index) : memory_(memory), index_(index) {
    }
    operator T() const {
        return *static_cast<const T *>(shared_read(memory_, index_));
    }
    T operator=(T value) const {
        return *static_cast<T *>(shared_write(memory_, index_)) = value;
    }
    T operator=(const shared_element &other) const {
        return *this = T(other);
    }
    T operator+=(T value) const {
        return *this = T(*this) + value;
    }
    T operator*=(T value) const {
        return *this = T(*this) * value;
    }

  private:
    shared_memory *memory_;
    int64_t index_;
};

template <typename T> class shared_pointer {
  public:
    shared_pointer(shared_memory *memory, int64_t at) : memory_(memory), at_(at) {
    }
    shared_element<T> operator[](int64_t i) const {
        return {memory_, at_ + i};
    }
    shared_element<T> operator*() const {
        return {memory_, at_};
    }
    shared_pointer operator+(int64_t n) const {
        return {memory_, at_ + n};
    }
    shared_memory *memory() const {
        return memory_;
    }
    int64_t index() const {
        return at_;
    }

  private:
    shared_memory *memory_;
    int64_t at_;
};

/* --- Warp functions --- */

template <typename T> T exchanged(site at, uint32_t mask, T value, int from) {
    static_assert(sizeof(T) <= sizeof(uint64_t), "a lane brings 8 bytes at most");
    brought mine = {};
    memcpy(mine.word, &value, sizeof value);
    const brought *all = warp_exchange(at, mask, mine);
    if (from < 0 || from >= 32 || !(mask >> from & 1u)) fail_lane(at, from);
    memcpy(&value, all[from].word, sizeof value);
    return value;
}

inline uint32_t ballot(site at, uint32_t mask, bool vote) {
    const brought *all = warp_exchange(at, mask, {{vote}});
    uint32_t votes = 0;
    for (int i = 0; i < 32; i++)
        if (mask >> i & 1u) votes |= (uint32_t)all[i].word[0] << i;
    return votes;
}

/* --- Tensor cores --- */

/* Fragments of a product of 16 x k by k x 8, k/2 or k/4 to a word: rows and columns of words are dealt out to lanes as PTX
 * says for mma.m16n8k16 (bf16) and mma.m16n8k32 (s8), which is the same in words. (PTX ISA 9.0, sections 9.7.14.5.8 and
 * 9.7.14.5.10) */
template <typename Sum>
void multiply_fragments(site at, Sum d[4], const uint32_t a[4], uint32_t b0, uint32_t b1,
                        Sum (*dot)(const uint32_t x[8], const uint32_t y[8], Sum sum)) {
    brought mine;
    memcpy(mine.word, a, 4 * sizeof *a);
    mine.word[2] = b0 | (uint64_t)b1 << 32;
    const brought *all = warp_exchange(at, 0xffffffffu, mine);
    int group = lane() / 4, within = lane() % 4;
    uint32_t x[2][8],
        y[2][8]; /* rows group and group + 8 of a, columns 2 within and the next of b */
    for (int i = 0; i < 8; i++) {
        uint32_t words[6];
        memcpy(words, all[group * 4 + i % 4].word, sizeof words);
        for (int half = 0; half < 2; half++) x[half][i] = words[i / 4 * 2 + half];
        for (int column = 0; column < 2; column++) {
            memcpy(words, all[(within * 2 + column) * 4 + i % 4].word, sizeof words);
            y[column][i] = words[4 + i / 4];
        }
    }
    for (int i = 0; i < 4; i++) d[i] = dot(x[i / 2], y[i % 2], d[i]);
}

/* d += a b, a 16 x 16 by rows, b 16 x 8 by columns, of bf16. */
void multiply_bf16(site at, float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1);
/* The same, a 16 x 32, b 32 x 8, of s8. */
void multiply_s8(site at, int d[4], const uint32_t a[4], uint32_t b0, uint32_t b1);

/* 16 bytes at once, which begin at a multiple of 16. */
void write_quad(site at, shared_pointer<uint32_t> to, const uint32_t word[4]);

/* Four squares of 8 x 8 of 16 bits (ldmatrix.x4): lane i names row i % 8 of square i / 8, and gets of each square a word of
 * row lane / 4; of the squares on their sides when `transposed`. (PTX ISA 9.0, section 9.7.14.5.15) */
void squares_of(site at, uint32_t out[4], shared_pointer<uint32_t> row, bool transposed);

/* --- Arithmetic --- */

/* c and the four products of the bytes of a and b. */
inline int dot_bytes(int a, int b, int c) {
    for (int i = 0; i < 32; i += 8) c += (int8_t)(a >> i) * (int8_t)(b >> i);
    return c;
}

/* A product that is rounded by itself, whatever is done with it. */
inline float rounded_product(float a, float b) {
    volatile float product = a * b;
    return product;
}

/* Threads run one at a time here. */
template <typename T> T add_atomically(T *at, T value) {
    T before;
    memcpy(&before, at, sizeof before);
    value += before;
    memcpy(at, &value, sizeof value);
    return before;
}

} // namespace emulator

#define gridDim   (emulator::here->grid)
#define blockDim  (emulator::here->block)
#define blockIdx  (emulator::here->block_at)
#define threadIdx (emulator::here->thread_at)

#define HONE_SITE (emulator::site{__FILE__, __LINE__})

#define __syncthreads()                emulator::block_barrier(HONE_SITE)
#define __syncwarp()                   emulator::warp_barrier(HONE_SITE)
#define __ballot_sync(mask, yes)       emulator::ballot(HONE_SITE, mask, yes)
#define __any_sync(mask, yes)          (emulator::ballot(HONE_SITE, mask, yes) != 0)
#define __all_sync(mask, yes)          (emulator::ballot(HONE_SITE, mask, yes) == (mask))
#define __shfl_sync(mask, value, from) emulator::exchanged(HONE_SITE, mask, value, from)
#define __shfl_xor_sync(mask, value, bits)                                                         \
    emulator::exchanged(HONE_SITE, mask, value, emulator::lane() ^ (bits))
#define atomicAdd(at, value) emulator::add_atomically(at, value)
#define __ffs(x)             __builtin_ffs((int)(x))
#define __fmul_rn(a, b)      emulator::rounded_product(a, b)
#define __fdividef(a, b)     ((a) / (b))

#define HONE_SHARED(type, name, count)                                                             \
    emulator::shared_pointer<type> name(                                                           \
        emulator::shared_memory_at(HONE_SITE, sizeof(type), count), 0)
#define HONE_SHARED_POINTER(type) emulator::shared_pointer<type>
#define HONE_LAUNCH(kernel, grid, block, ...)                                                      \
    HONE_LAUNCH_SHARED(kernel, grid, block, 0, __VA_ARGS__)
#define HONE_SHARED_GIVEN(type, name)                                                              \
    emulator::shared_pointer<type> name(emulator::launch_shared_memory(HONE_SITE, sizeof(type)), 0)
#define HONE_LAUNCH_SHARED(kernel, grid, block, bytes, ...)                                        \
    emulator::launcher(kernel, grid, block, bytes)(__VA_ARGS__)

#endif
