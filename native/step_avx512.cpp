// What stands between the products of a step, with the instructions of AVX-512.
#include "step_math.h"

const fewbits::StepMath* fewbits::step_math_avx512() {
    static const StepMath math{norm, add, turn, activate, attend};
    return &math;
}
