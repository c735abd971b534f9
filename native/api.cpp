// The entry points: which instructions this machine has, and one product.
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>

#include "fewbits.h"

namespace fewbits {
namespace {

enum Level { NOTHING = 0, AVX2 = 1, AVXVNNI = 2, AVX512 = 3, AMX = 4 };

struct Cpuid {
    unsigned a, b = 0, c, d = 0;
    Cpuid(unsigned leaf, unsigned sub) : a(leaf), c(sub) { __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d)); }
};

// AMX needs the system's leave, once a process: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA).
bool may_use_amx() {
    const Cpuid seven(7, 0);
    const bool there = (seven.d >> 24 & 1) && (seven.d >> 25 & 1);  // AMX-TILE, AMX-INT8
    return there && syscall(SYS_arch_prctl, 0x1023, 18) == 0;
}

bool has_avxvnni() { return kernels_avxvnni && (Cpuid(7, 1).a >> 4 & 1); }

int detect() {
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))) return NOTHING;
    const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vnni");
    if (kernels_avx512 && wide) return kernels_amx && may_use_amx() ? AMX : AVX512;
    return has_avxvnni() ? AVXVNNI : AVX2;
}

constexpr int64_t WORTH_AMX = 8;  // rows of x: a tile has 16, and fewer take as long

const Kernels* kernels_of(int level, const Product& p) {
    switch (level) {
        case AMX: return p.m >= WORTH_AMX && !p.exact ? kernels_amx() : kernels_avx512();
        case AVX512: return kernels_avx512();
        case AVXVNNI: return kernels_avxvnni();
        case AVX2: return kernels_avx2();
        default: return nullptr;
    }
}

const int best = detect();
int level = best;

// Working memory of the calling thread, kept from call to call.
struct Scratch {
    uint8_t* memory = nullptr;
    size_t size = 0;
    ~Scratch() { std::free(memory); }
    uint8_t* get(size_t bytes) {
        if (bytes <= size) return memory;
        std::free(memory);
        size = (bytes + 4095) / 4096 * 4096;
        memory = static_cast<uint8_t*>(std::aligned_alloc(64, size));
        if (memory == nullptr) size = 0;
        return memory;
    }
};
thread_local Scratch scratch;

struct Call {
    const Weight* weight;
    const Product* product;
    Activations activations;
    const Kernels* kernels;
    int64_t per_part;
};

bool make_room(const Weight& w, const Product& p, Activations& a) {
    const int64_t m = a.rows = a.tiled ? (p.m + 15) / 16 * 16 : p.m;
    a.blocks = w.padded / w.block, a.groups = w.padded / w.group;
    a.stride = w.padded;
    const size_t codes = size_t(m) * a.stride * (p.exact ? 4 : 1), steps = size_t(m) * a.blocks * 4, sums = size_t(m) * a.groups * 4;
    uint8_t* memory = scratch.get(codes + steps + sums);
    if (memory == nullptr) return false;
    a.codes = reinterpret_cast<int8_t*>(memory), a.values = reinterpret_cast<float*>(memory);
    a.steps = reinterpret_cast<float*>(memory + codes), a.sums = reinterpret_cast<float*>(memory + codes + steps);
    return true;
}

// Threads cost some microseconds to start: each must have this many bytes of codes to go through, rows of x counted in.
constexpr int64_t WORTH_A_THREAD = 32 << 10;

int threads_for(const Weight& w, const Product& p) {
    const int64_t work = tiles_of(w) * tile_bytes(w) * (1 + p.m / 4);
    const int64_t most = work / WORTH_A_THREAD;
    return int(most < 1 ? 1 : most < p.threads ? most : p.threads);
}

}  // namespace
}  // namespace fewbits

FEWBITS_API int32_t fewbits_best_level() { return fewbits::best; }
FEWBITS_API int32_t fewbits_level() { return fewbits::level; }

// Use the instructions of a lower level; returns the level that is used from now on.
FEWBITS_API int32_t fewbits_set_level(int32_t wanted) {
    using namespace fewbits;
    level = wanted < 0 || wanted > best ? best : wanted;
    if (level == AVXVNNI && !has_avxvnni()) level = AVX2;  // servers with AVX-512 may have none
    return level;
}

// One product. 0: done; 1: this machine has no kernel; 2: out of memory.
static int32_t fewbits_multiply(const fewbits::Weight* w, const fewbits::Product* p) {
    using namespace fewbits;
    Call call{w, p, {}, kernels_of(level, *p), 0};
    if (call.kernels == nullptr) return 1;
    call.activations.tiled = level == AMX && call.kernels == kernels_amx();
    if (p->m == 0 || w->rows == 0) return 0;
    if (!make_room(*w, *p, call.activations)) return 2;
    const int threads = threads_for(*w, *p);
    parallel([](void* c, int64_t row) {
        const Call& call = *static_cast<Call*>(c);
        call.kernels->quantize(*call.weight, *call.product, call.activations, row);
    }, &call, p->m, p->m >= 8 ? threads : 1);
    const int64_t tiles = tiles_of(*w), parts = threads == 1 ? 1 : int64_t(threads) * 4;
    call.per_part = ceil_div(tiles, parts);
    parallel([](void* c, int64_t part) {
        const Call& call = *static_cast<Call*>(c);
        const int64_t first = part * call.per_part, tiles = tiles_of(*call.weight);
        const int64_t last = first + call.per_part < tiles ? first + call.per_part : tiles;
        call.kernels->multiply(*call.weight, *call.product, call.activations, first, last);
    }, &call, ceil_div(tiles, call.per_part), threads);
    return 0;
}

// The same with the product's parts one by one.
FEWBITS_API int32_t fewbits_linear(const fewbits::Weight* weight, const void* x, void* out, const void* bias, int64_t m,
                                   int64_t stride, int32_t type, int32_t threads, int32_t one_step, int32_t exact) {
    const fewbits::Product product{x, out, bias, m, stride, type, threads, one_step, exact};
    return fewbits_multiply(weight, &product);
}

// So that the other side can check that it means the same structure.
FEWBITS_API int64_t fewbits_weight_size() { return sizeof(fewbits::Weight); }
