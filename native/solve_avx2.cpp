// The solvers with the instructions of AVX2.
#include "parts.h"

const fewbits::Solvers* fewbits::solvers_avx2() { return &SOLVERS; }
