#include "tests/cuda/emulator.hh"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <vector>

extern "C" {
#include "base/dtype.h"
}

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* Keeps on the stack what a call may not change, keeps where that is in *from, and goes on where `to` was kept. As
 * swapcontext does, without its two system calls. (System V ABI, AMD64 supplement, section 3.2.1) */
extern "C" void hone_emulator_switch(void **from, void *to);
asm(R"(
    .text
hone_emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

namespace emulator {

enum { WARP = 32, STACK_BYTES = 256 << 10 };
/* Of a launch. (CUDA C++ Programming Guide, technical specifications per compute capability) */
enum { MOST_THREADS = 1024, MOST_LAYERS = 64, MOST_ACROSS = INT32_MAX, MOST_ASIDE = 65535 };
/* Bytes of a block: what it declares, and with what the launch gives, on every GPU from Ampere on. */
enum { MOST_SHARED = 48 << 10, MOST_SHARED_IN_ALL = 99 << 10 };

enum class state { fresh, ready, at_warp, at_block, done };

struct thread {
    place at;
    state now;
    site waits_at;
    uint32_t mask;      /* at_warp: the lanes it waits for */
    unsigned exchanges; /* warp calls so far: the words of two of them are kept apart */
    bool at_barrier;    /* at_warp: in __syncwarp */
    int number, lane;
    struct fibre *fibre; /* ready, at_warp, at_block: that which runs it */
};

/* Words that lanes bring to a warp call; `passed` counts the warp's barriers. */
struct warp {
    brought words[2][WARP];
    uint32_t passed;
};

/* Runs threads one after the other; while one of them waits, the fibre is its. */
struct fibre {
    void *at; /* while it does not run: its stack's end */
    std::unique_ptr<char[]> stack{new char[STACK_BYTES]};
    void *sanitizer = nullptr;
};

/* Who touched an element last, and after how many barriers of the block and of its warp. */
struct touch {
    int thread = -1;
    uint32_t block_phase = 0, warp_phase = 0;
};

struct element {
    bool written = false;
    touch writer, reader;
    bool many_warps = false; /* have read it since the block's last barrier */
    bool many_lanes = false; /* of the reader's warp have, since the warp's last barrier */
};

struct shared_memory {
    site at;
    size_t size;
    int64_t count;
    std::unique_ptr<char[]> bytes;
    std::vector<element> elements;
};

const place *here;

/* The launch that runs. */
static struct {
    const std::function<void()> *body;
    std::vector<thread> threads;
    std::vector<warp> warps;
    std::vector<int> order; /* of fresh threads, and the next of them */
    size_t next;
    uint32_t block_phase;
    std::map<std::pair<const char *, int>, shared_memory> shared;
    size_t shared_bytes, shared_given; /* declared by the block; by the launch */
    thread *running;
    touch now; /* of the running thread */
    void *scheduler;
    void *scheduler_sanitizer;
    const void *scheduler_stack;
    size_t scheduler_stack_size;
    bool failed;
} run;

static std::deque<fibre> fibres;     /* all there are */
static std::vector<fibre *> resting; /* those that run no thread */
static uint64_t seed = 1;
static void (*queue)(std::function<void()> launch);
static bool fault_expected;
static char fault[512];

void set_seed(uint64_t value) {
    seed = value;
}

/* splitmix64 */
static uint64_t random_word() {
    uint64_t z = seed += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void shuffle(std::vector<int> *order) {
    for (size_t i = order->size(); i > 1; i--)
        std::swap((*order)[i - 1], (*order)[random_word() % i]);
}

/* --- Fibres --- */

static void to_scheduler(fibre *self) {
#if SANITIZED
    __sanitizer_start_switch_fiber(&self->sanitizer, run.scheduler_stack, run.scheduler_stack_size);
#endif
    hone_emulator_switch(&self->at, run.scheduler);
#if SANITIZED
    __sanitizer_finish_switch_fiber(self->sanitizer, &run.scheduler_stack,
                                    &run.scheduler_stack_size);
#endif
}

static void resume(fibre *next) {
#if SANITIZED
    __sanitizer_start_switch_fiber(&run.scheduler_sanitizer, next->stack.get(), STACK_BYTES);
#endif
    hone_emulator_switch(&run.scheduler, next->at);
#if SANITIZED
    __sanitizer_finish_switch_fiber(run.scheduler_sanitizer, nullptr, nullptr);
#endif
}

static void set_running(thread *t) {
    run.running = t;
    run.now = {t->number, run.block_phase, run.warps[(size_t)(t->number / WARP)].passed};
    here = &t->at;
}

/* Takes fresh threads until there are none, or until one of them waits; then goes on when that one does. */
static void fibre_main() {
#if SANITIZED
    __sanitizer_finish_switch_fiber(nullptr, &run.scheduler_stack, &run.scheduler_stack_size);
#endif
    fibre *self = resting.back();
    for (;;) {
        resting.pop_back();
        while (run.next < run.order.size()) {
            thread *t = &run.threads[(size_t)run.order[run.next++]];
            t->fibre = self;
            t->now = state::ready;
            set_running(t);
            (*run.body)();
            run.running->now = state::done;
        }
        resting.push_back(self);
        to_scheduler(self);
    }
}

/* A stack on which nothing ran looks as if fibre_main were to be returned to, six registers having been kept. */
static fibre *rested_fibre() {
    if (!resting.empty()) return resting.back();
    fibres.emplace_back();
    fibre *f = &fibres.back();
    auto end = reinterpret_cast<uintptr_t>(f->stack.get() + STACK_BYTES) / 16 * 16;
    auto *kept = reinterpret_cast<uintptr_t *>(end) - 8;
    memset(kept, 0, 8 * sizeof *kept);
    kept[6] = reinterpret_cast<uintptr_t>(fibre_main);
    f->at = kept;
    resting.push_back(f);
    return f;
}

/* --- Faults --- */

/* Threads that have not ended are left where they are: nothing on their stacks needs to be undone. */
[[noreturn]] static void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void note_fault(const char *format, va_list arguments) {
    vsnprintf(fault, sizeof fault, format, arguments);
    if (!fault_expected) {
        fprintf(stderr, "emulated GPU: %s\n", fault);
        abort();
    }
    run.failed = true;
}

[[noreturn]] static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    note_fault(format, arguments);
    va_end(arguments);
    for (;;) to_scheduler(run.running->fibre);
}

void fail_lane(site at, int from) {
    fail("%s:%d: lane %d asks for the value of lane %d, which is not in its mask", at.file, at.line,
         lane(), from);
}

/* --- Waiting --- */

static void wait(state how, site at) {
    thread *self = run.running;
    self->now = how;
    self->waits_at = at;
    to_scheduler(self->fibre);
    set_running(self);
}

int lane() {
    return run.running->lane;
}

void block_barrier(site at) {
    wait(state::at_block, at);
}

const brought *warp_exchange(site at, uint32_t mask, brought value) {
    thread *self = run.running;
    if (!(mask >> self->lane & 1u))
        fail("%s:%d: mask %08x lacks lane %d, which calls", at.file, at.line, mask, self->lane);
    brought *words = run.warps[(size_t)(self->number / WARP)].words[self->exchanges++ % 2];
    words[self->lane] = value;
    self->mask = mask;
    wait(state::at_warp, at);
    return words;
}

void warp_barrier(site at) {
    thread *self = run.running;
    self->at_barrier = true;
    warp_exchange(at, 0xffffffffu, {});
    self->at_barrier = false;
}

static bool same(site a, site b) {
    return a.line == b.line && (a.file == b.file || strcmp(a.file, b.file) == 0);
}

static void fail_launch(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void fail_launch(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    note_fault(format, arguments);
    va_end(arguments);
}

static void make_ready(thread *t) {
    t->now = state::ready;
}

/* Lets the lanes go that thread t waits for, when all are there. */
static bool release_lanes(thread *t) {
    int first = t->number - t->lane;
    for (int i = 0; i < WARP; i++) {
        if (!(t->mask >> i & 1u)) continue;
        if (first + i >= (int)run.threads.size()) {
            fail_launch("%s:%d: mask %08x names lane %d, which the block does not have",
                        t->waits_at.file, t->waits_at.line, t->mask, i);
            return false;
        }
        const thread *other = &run.threads[(size_t)(first + i)];
        if (other->now != state::at_warp || other->mask != t->mask ||
            !same(other->waits_at, t->waits_at))
            return false;
    }
    for (int i = 0; i < WARP; i++)
        if (t->mask >> i & 1u) make_ready(&run.threads[(size_t)(first + i)]);
    if (t->at_barrier) run.warps[(size_t)(t->number / WARP)].passed++;
    return true;
}

static bool release_block() {
    const thread *first = &run.threads[0];
    for (const thread &t : run.threads)
        if (t.now != state::at_block || !same(t.waits_at, first->waits_at)) return false;
    for (thread &t : run.threads) make_ready(&t);
    run.block_phase++;
    return true;
}

static const char *doing(const thread &t, char *room, size_t size) {
    if (t.now == state::done) return "has ended";
    snprintf(room, size, "waits at %s:%d", t.waits_at.file, t.waits_at.line);
    return room;
}

/* Nobody can go on: names a thread that waits, and one that does something else. */
static void fail_divergence() {
    char room[2][160];
    const thread *waits = nullptr;
    for (const thread &t : run.threads)
        if (!waits && t.now != state::done) waits = &t;
    for (const thread &t : run.threads) {
        bool as_waits = t.now == waits->now && same(t.waits_at, waits->waits_at);
        bool in_reach = waits->now == state::at_block || t.number / WARP == waits->number / WARP;
        if (as_waits || !in_reach) continue;
        fail_launch("divergence: thread %d %s, but thread %d %s", waits->number,
                    doing(*waits, room[0], sizeof room[0]), t.number,
                    doing(t, room[1], sizeof room[1]));
        return;
    }
    fail_launch("divergence: thread %d %s, and never goes on", waits->number,
                doing(*waits, room[0], sizeof room[0]));
}

/* --- Blocks --- */

static void start_block(dim3 grid, dim3 block, dim3 at) {
    int count = (int)(block.x * block.y * block.z);
    run.threads.assign((size_t)count, thread{});
    run.warps.assign((size_t)(count + WARP - 1) / WARP, warp{});
    run.order.resize((size_t)count);
    for (int i = 0; i < count; i++) {
        thread *t = &run.threads[(size_t)i];
        unsigned n = (unsigned)i;
        t->number = i;
        t->lane = i % WARP;
        t->at = {grid, block, at, {n % block.x, n / block.x % block.y, n / block.x / block.y}};
        run.order[(size_t)i] = i;
    }
    shuffle(&run.order);
    run.next = 0;
    run.block_phase = 0;
    run.shared.clear();
    run.shared_bytes = 0;
}

static bool resume_ready() {
    bool any = false;
    for (int i : run.order) {
        thread *t = &run.threads[(size_t)i];
        if (t->now != state::ready || run.failed) continue;
        any = true;
        resume(t->fibre);
    }
    return any;
}

static bool all_done() {
    for (const thread &t : run.threads)
        if (t.now != state::done) return false;
    return true;
}

static void run_block() {
    while (!run.failed && run.next < run.order.size()) resume(rested_fibre());
    while (!run.failed && !all_done()) {
        bool released = release_block();
        for (thread &t : run.threads)
            if (!run.failed && t.now == state::at_warp) released |= release_lanes(&t);
        if (run.failed) break;
        if (!released) fail_divergence();
        shuffle(&run.order);
        resume_ready();
    }
}

void set_queue(void (*value)(std::function<void()> launch)) {
    queue = value;
}

static bool is_within(dim3 size, dim3 most) {
    return size.x > 0 && size.y > 0 && size.z > 0 && size.x <= most.x && size.y <= most.y &&
           size.z <= most.z;
}

static bool can_launch(dim3 grid, dim3 block) {
    return is_within(grid, {MOST_ACROSS, MOST_ASIDE, MOST_ASIDE}) &&
           is_within(block, {MOST_THREADS, MOST_THREADS, MOST_LAYERS}) &&
           block.x * block.y * block.z <= MOST_THREADS;
}

static void run_grid(dim3 grid, dim3 block, size_t shared_bytes,
                     const std::function<void()> &body) {
    run.failed = false;
    if (!can_launch(grid, block)) {
        fail_launch("a launch of %u x %u x %u blocks of %u x %u x %u threads", grid.x, grid.y,
                    grid.z, block.x, block.y, block.z);
        return;
    }
    std::vector<int> blocks((size_t)grid.x * grid.y * grid.z);
    for (size_t i = 0; i < blocks.size(); i++) blocks[i] = (int)i;
    shuffle(&blocks);
    run.body = &body;
    run.shared_given = shared_bytes;
    for (int number : blocks) {
        unsigned n = (unsigned)number;
        start_block(grid, block, {n % grid.x, n / grid.x % grid.y, n / grid.x / grid.y});
        run_block();
        if (run.failed) break;
    }
    if (!run.failed) return;
    fibres.clear(); /* with the threads that were left in them */
    resting.clear();
}

void launch(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()> &body) {
    if (queue) {
        queue([=] { run_grid(grid, block, shared_bytes, body); });
    } else {
        run_grid(grid, block, shared_bytes, body);
    }
}

const char *fault_of(const std::function<void()> &launches) {
    fault[0] = '\0';
    fault_expected = true;
    launches();
    fault_expected = false;
    return fault;
}

/* --- Shared memory --- */

static shared_memory *find_shared(site at, size_t size, int64_t count, bool *fresh) {
    auto place = run.shared.try_emplace({at.file, at.line});
    shared_memory *memory = &place.first->second;
    *fresh = place.second;
    if (!*fresh) return memory;
    memory->at = at;
    memory->size = size;
    memory->count = count;
    memory->bytes.reset(new char[size * (size_t)count]);
    memory->elements.resize((size_t)count);
    return memory;
}

static void check_shared(site at) {
    if (run.shared_bytes > MOST_SHARED)
        fail("%s:%d: a block has %d bytes of shared memory, not %zu", at.file, at.line, MOST_SHARED,
             run.shared_bytes);
    if (run.shared_bytes + run.shared_given > MOST_SHARED_IN_ALL)
        fail("%s:%d: a launch gives at most %d bytes of shared memory in all, not %zu", at.file,
             at.line, MOST_SHARED_IN_ALL, run.shared_bytes + run.shared_given);
}

shared_memory *shared_memory_at(site at, size_t size, int64_t count) {
    bool fresh;
    shared_memory *memory = find_shared(at, size, count, &fresh);
    if (fresh) run.shared_bytes += size * (size_t)count;
    check_shared(at);
    return memory;
}

shared_memory *launch_shared_memory(site at, size_t size) {
    bool fresh;
    shared_memory *memory = find_shared(at, size, (int64_t)(run.shared_given / size), &fresh);
    check_shared(at);
    return memory;
}

static element *element_at(shared_memory *memory, int64_t index) {
    if (index < 0 || index >= memory->count)
        fail("%s:%d: thread %d takes element %lld of %lld of shared memory", memory->at.file,
             memory->at.line, run.running->number, (long long)index, (long long)memory->count);
    return &memory->elements[(size_t)index];
}

/* Whether no barrier stands between what another thread did and now. */
static bool races(const touch &before, const touch &now) {
    if (before.thread < 0 || before.thread == now.thread || before.block_phase != now.block_phase)
        return false;
    bool same_warp = before.thread / WARP == now.thread / WARP;
    return !same_warp || before.warp_phase == now.warp_phase;
}

[[noreturn]] static void fail_race(const shared_memory *memory, int64_t index, const char *what,
                                   int other) {
    fail("%s:%d: thread %d %s element %lld with no barrier after thread %d", memory->at.file,
         memory->at.line, run.running->number, what, (long long)index, other);
}

void *shared_read(shared_memory *memory, int64_t index) {
    element *e = element_at(memory, index);
    const touch now = run.now;
    if (!e->written)
        fail("%s:%d: thread %d reads element %lld, which nobody wrote", memory->at.file,
             memory->at.line, now.thread, (long long)index);
    if (races(e->writer, now)) fail_race(memory, index, "reads", e->writer.thread);
    touch last = e->reader;
    bool again = last.thread >= 0 && last.block_phase == now.block_phase;
    bool same_warp = last.thread / WARP == now.thread / WARP;
    e->many_warps = again && (e->many_warps || !same_warp);
    e->many_lanes = again && same_warp && last.warp_phase == now.warp_phase &&
                    (e->many_lanes || last.thread != now.thread);
    e->reader = now;
    return memory->bytes.get() + (size_t)index * memory->size;
}

void *shared_write(shared_memory *memory, int64_t index) {
    element *e = element_at(memory, index);
    const touch now = run.now;
    if (races(e->writer, now)) fail_race(memory, index, "writes", e->writer.thread);
    bool read_since = e->reader.thread >= 0 && e->reader.block_phase == now.block_phase;
    bool by_lanes = e->many_lanes && e->reader.warp_phase == now.warp_phase;
    if (races(e->reader, now) || (read_since && (e->many_warps || by_lanes)))
        fail_race(memory, index, "writes", e->reader.thread);
    e->written = true;
    e->writer = now;
    return memory->bytes.get() + (size_t)index * memory->size;
}

/* --- Tensor cores --- */

static float bf16_at(const uint32_t *words, int i) {
    return hone_bf16_to_f32((uint16_t)(words[i / 2] >> (i % 2 * 16)));
}

/* How tensor cores round on the way is not said; here it is once. */
static float dot_bf16(const uint32_t x[8], const uint32_t y[8], float sum) {
    double all = static_cast<double>(sum);
    for (int i = 0; i < 16; i++)
        all += static_cast<double>(bf16_at(x, i)) * static_cast<double>(bf16_at(y, i));
    return static_cast<float>(all);
}

void multiply_bf16(site at, float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1) {
    multiply_fragments<float>(at, d, a, b0, b1, dot_bf16);
}

static int dot_s8(const uint32_t x[8], const uint32_t y[8], int sum) {
    for (int i = 0; i < 8; i++) sum = dot_bytes((int)x[i], (int)y[i], sum);
    return sum;
}

void multiply_s8(site at, int d[4], const uint32_t a[4], uint32_t b0, uint32_t b1) {
    multiply_fragments<int>(at, d, a, b0, b1, dot_s8);
}

static uint32_t word_at(uint64_t row, int64_t word) {
    auto *memory = reinterpret_cast<shared_memory *>(row >> 16);
    return *static_cast<const uint32_t *>(shared_read(memory, (int64_t)(row & 0xffff) + word));
}

void write_quad(site at, shared_pointer<uint32_t> to, const uint32_t word[4]) {
    if (to.index() % 4 != 0)
        fail("%s:%d: thread %d stores 16 bytes at word %lld of shared memory, which is no multiple "
             "of 4",
             at.file, at.line, run.running->number, (long long)to.index());
    for (int i = 0; i < 4; i++) to[i] = word[i];
}

void squares_of(site at, uint32_t out[4], shared_pointer<uint32_t> row, bool transposed) {
    if (row.index() < 0 || row.index() % 4 != 0)
        fail("%s:%d: lane %d names a row at word %lld of shared memory, which is no multiple of 4",
             at.file, at.line, lane(), (long long)row.index());
    /* An address has 48 bits, an index into shared memory less than 16. */
    uint64_t mine = reinterpret_cast<uint64_t>(row.memory()) << 16 | (uint64_t)row.index();
    const brought *all = warp_exchange(at, 0xffffffffu, {{mine}});
    int group = lane() / 4, within = lane() % 4;
    for (int square = 0; square < 4; square++) {
        const brought *rows = all + square * 8;
        if (!transposed) {
            out[square] = word_at(rows[group].word[0], within);
            continue;
        }
        uint32_t low = word_at(rows[within * 2].word[0], group / 2);
        uint32_t high = word_at(rows[within * 2 + 1].word[0], group / 2);
        int shift = group % 2 * 16;
        out[square] = (low >> shift & 0xffffu) | (high >> shift & 0xffffu) << 16;
    }
}

} // namespace emulator
