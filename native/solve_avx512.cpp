// The solvers with the instructions of AVX512.
#include "rounding.h"
#include "search.h"

const fewbits::Solvers* fewbits::solvers_avx512() {
    static const Solvers solvers{search, round};
    return &solvers;
}
