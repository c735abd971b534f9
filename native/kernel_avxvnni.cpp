#define FEWBITS_AVXVNNI
#include "kernel.h"
#include "vec_avx2.h"

namespace fewbits {

const Kernels* kernels_avxvnni() {
    static const Kernels all = {prepare<avxvnni::V>, multiply<avxvnni::V>, energies<avxvnni::V>, false, avxvnni::V::SMALL_GROUP_ROWS};
    return &all;
}

}  // namespace fewbits
