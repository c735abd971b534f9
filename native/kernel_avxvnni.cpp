#define FEWBITS_AVXVNNI
#include "kernel.h"
#include "vec_avx2.h"

namespace fewbits {

const Kernels* kernels_avxvnni() {
    static const Kernels all = {prepare<avxvnni::V>, multiply<avxvnni::V>, false};
    return &all;
}

}  // namespace fewbits
