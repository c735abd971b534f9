#include "kernel.h"
#include "vec_avx2.h"

namespace fewbits {

const Kernels* kernels_avx2() {
    static const Kernels all = {prepare<avx2::V>, multiply<avx2::V>, energies<avx2::V>, false, avx2::V::SMALL_GROUP_ROWS};
    return &all;
}

}  // namespace fewbits
