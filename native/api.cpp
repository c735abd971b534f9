// Which instructions this machine has, and the entry point of one product.
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "check.h"
#include "products.h"

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

const Kernels* kernels_of(int level, const Weight& w, const Product& p) {
    switch (level) {
        case AMX: return p.m >= WORTH_AMX && !p.exact && w.group >= CHUNK ? kernels_amx() : kernels_avx512();
        case AVX512: return kernels_avx512();
        case AVXVNNI: return kernels_avxvnni();
        case AVX2: return kernels_avx2();
        default: return nullptr;
    }
}

const int best = detect();
std::atomic<int> level{best};

}  // namespace
}  // namespace fewbits

FEWBITS_API int32_t fewbits_best_level() { return fewbits::best; }
FEWBITS_API int32_t fewbits_level() { return fewbits::level; }

// Use the instructions of a lower level; returns the level that is used from now on.
FEWBITS_API int32_t fewbits_set_level(int32_t wanted) {
    using namespace fewbits;
    int used = wanted < 0 || wanted > best ? best : wanted;
    if (used == AVXVNNI && !has_avxvnni()) used = AVX2;  // servers with AVX-512 may have none
    level = used;
    return used;
}

const fewbits::Kernels* fewbits::kernels_for(const Weight& weight, const Product& product) {
    return kernels_of(level, weight, product);
}

// One product. Returns a Status.
FEWBITS_API int32_t fewbits_linear(const fewbits::Weight* weight, const void* x, void* out, const void* bias, int64_t m,
                                   int64_t stride, int32_t type, int32_t threads, int32_t one_step, int32_t exact) {
    const fewbits::Task task{weight, {x, out, bias, m, stride, type, threads, one_step, exact}};
    if (!fewbits::is_weight(weight) || !fewbits::is_product(*weight, task.product)) return fewbits::BAD_ARGUMENT;
    return fewbits::multiply_all(&task, 1);
}

// `energy` must hold padded + padded / block numbers. Returns a Status.
FEWBITS_API int32_t fewbits_energies(const fewbits::Weight* weight, float* energy, int32_t threads) {
    if (!fewbits::is_weight(weight) || energy == nullptr) return fewbits::BAD_ARGUMENT;
    return fewbits::energies(*weight, energy, threads);
}

// So that the other side can check that it means the same structure.
FEWBITS_API int64_t fewbits_weight_size() { return sizeof(fewbits::Weight); }
