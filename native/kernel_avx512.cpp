#include "kernel.h"
#include "vec_avx512.h"

namespace fewbits {

const Kernels* kernels_avx512() {
    static const Kernels all = {prepare<avx512::V>, multiply<avx512::V>, energies<avx512::V>, false, avx512::V::SMALL_GROUP_ROWS};
    return &all;
}

}  // namespace fewbits
