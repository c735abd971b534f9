// The entry points of the solvers: a weight cut into parts for the threads.
#include "solve.h"

#include <optional>

#include "bits.h"
#include "check.h"

FEWBITS_API int32_t fewbits_level();

namespace fewbits {
namespace {

constexpr int32_t LEVEL_AVX512 = 3;    // from which level on there is AVX-512
constexpr int64_t PART = 1 << 16;      // weights of a part, about: 100 us of the least work, 20 times what it takes to hand it out

const Solvers* solvers() {
    const int32_t level = fewbits_level();
    if (level == 0) return nullptr;
    return level >= LEVEL_AVX512 && solvers_avx512 ? solvers_avx512() : solvers_avx2();
}

// Call work(first, last) for all of `n`, in parts of a multiple of `unit`, each of which is so many weights.
template <class F>
void in_parts(int64_t n, int64_t unit, int64_t weights, int threads, F work) {
    struct Parts {
        F& work;
        int64_t n, step;
    } parts{work, n, unit * (PART > weights ? PART / weights : 1)};
    const auto one = [](void* data, int64_t i) {
        const Parts& p = *static_cast<Parts*>(data);
        p.work(i * p.step, (i + 1) * p.step < p.n ? (i + 1) * p.step : p.n);
    };
    parallel(one, &parts, ceil_div(n, parts.step), threads);
}

bool is_search(const Search* s) {
    return s == nullptr || (is_float(s->type) && s->shrinks >= 0 && s->shrinks <= 8 && s->lengths >= 0 && s->lengths <= 8 &&
                            s->values >= 0 && s->values <= 16);
}

bool is_rounding(const Rounding* r) {
    if (r == nullptr) return true;
    const int least = r->order == CODEBOOK ? 1 : 0;
    return is_float(r->type) && r->order >= BEFORE && r->order <= CODEBOOK && r->bits >= 1 && r->bits <= 8 && r->values >= least &&
           r->values <= 16;
}

bool is_groups(const Groups* groups, bool coded) {
    if (groups == nullptr) return false;
    const Groups& g = *groups;
    if (g.n < 1 || g.k < 1 || g.k > INT32_MAX || g.across < 0 || !is_size(g.n, g.k) || !is_float(g.type)) return false;
    if (g.across > 0 && (g.n % g.across != 0 || g.one_scale)) return false;
    return g.weights != nullptr && g.scale != nullptr && (!coded || g.stream != nullptr);
}

}  // namespace
}  // namespace fewbits

// Returns a Status; `groups->said` says what came up.
FEWBITS_API int32_t fewbits_solve(const fewbits::Search* search, const fewbits::Rounding* rounding, fewbits::Groups* groups) {
    using namespace fewbits;
    const Solvers* with = solvers();
    if (with == nullptr) return NO_KERNEL;
    if (!is_search(search) || !is_rounding(rounding) || !is_groups(groups, rounding != nullptr)) return BAD_ARGUMENT;
    const Groups& g = *groups;
    std::optional<Powers> powers;
    if (search && search->shrinks + search->lengths > 0) powers.emplace(*search);
    Task task{search, powers ? &*powers : nullptr, rounding, g};
    if (g.across == 0) {
        in_parts(g.n, with->side, with->side * g.k, g.threads, [&](int64_t a, int64_t b) { with->lines(task, a, b); });
    } else {
        const int64_t strips = ceil_div(g.across, with->side) * (g.n / g.across), rows = g.n / g.across * g.k;
        if (search) in_parts(strips, 1, with->side * g.k, g.threads, [&](int64_t a, int64_t b) { with->columns(task, a, b); });
        if (rounding) in_parts(rows, 8, 8 * g.across, g.threads, [&](int64_t a, int64_t b) { with->rows(task, a, b); });
    }
    groups->said = task.said.load();
    return DONE;
}

// 1: all of them are; 0: NaN or infinity is among them; -1: this machine has no solver; -2: bad argument.
FEWBITS_API int32_t fewbits_finite(const void* values, int32_t type, int64_t n, int32_t threads) {
    using namespace fewbits;
    const Solvers* with = solvers();
    if (with == nullptr) return -1;
    if (n < 0 || n > MOST_NUMBERS || !is_float(type) || (n > 0 && values == nullptr)) return -2;
    std::atomic<int32_t> fine{1};
    in_parts(n, 1, 1, threads, [&](int64_t a, int64_t b) {
        if (!with->finite(values, type, a, b)) fine.store(0, std::memory_order_relaxed);
    });
    return fine.load();
}

// n codes below 2**bits to ceil(n * bits / 8) bytes. Returns a Status.
FEWBITS_API int32_t fewbits_to_stream(const uint8_t* codes, uint8_t* stream, int64_t n, int32_t bits) {
    using namespace fewbits;
    if (n < 0 || n > MOST_NUMBERS || bits < 1 || bits > 8 || (n > 0 && (codes == nullptr || stream == nullptr))) return BAD_ARGUMENT;
    to_stream(bits, codes, stream, n);
    return DONE;
}

// So that the other side can check that it means the same structures.
FEWBITS_API int64_t fewbits_solve_sizes() {
    return sizeof(fewbits::Search) | sizeof(fewbits::Rounding) << 16 | sizeof(fewbits::Groups) << 32;
}
