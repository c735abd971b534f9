// The solvers with the instructions of AVX2.
#include "rounding.h"
#include "search.h"

const fewbits::Solvers* fewbits::solvers_avx2() {
    static const Solvers solvers{search, round};
    return &solvers;
}
