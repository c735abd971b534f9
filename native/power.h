// x**p for many x: the power of the exponent by two tables, that of the mantissa by a polynomial. Half of the instructions of a
// logarithm and an exponential, whose last bits a sum over a group has no use for.
#pragma once
#include "lanes.h"
#include "solve.h"

namespace fewbits {
namespace {

// x is 0 or more and below 2**25; what is below 2**-39 counts as that.
inline Lanes power(const Power& p, Lanes x) {
    const Parts parts = parts_of(max(x, Lanes::all(1.8189894e-12f)));
    Lanes sum = Lanes::all(p.mantissa[Power::DEGREE]);
    for (int i = Power::DEGREE - 1; i >= 0; --i) sum = fused(sum, parts.mantissa, Lanes::all(p.mantissa[i]));
    return sum * (look_up<0>(p.low, parts) * look_up<3>(p.high, parts));
}

}  // namespace
}  // namespace fewbits
