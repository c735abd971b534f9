// The solvers with the instructions of AVX512.
#include "parts.h"

const fewbits::Solvers* fewbits::solvers_avx512() { return &SOLVERS; }
