// The tables and the polynomial of a power (power.h).
#include <cmath>

#include "solve.h"

namespace fewbits {
namespace {

constexpr int FIRST = 11;  // the exponents that are looked up have the bits 8 * FIRST to 8 * FIRST + 63

// m**p for m from 1 to 2, through Chebyshev's points: Newton's divided differences, multiplied out.
void fit(double p, float (&out)[Power::DEGREE + 1]) {
    constexpr int N = Power::DEGREE;
    double x[N + 1], y[N + 1], c[N + 1] = {};
    for (int i = 0; i <= N; ++i) {
        x[i] = 1.5 + 0.5 * std::cos(3.14159265358979 * (i + 0.5) / (N + 1));
        y[i] = std::pow(x[i], p);
    }
    for (int step = 1; step <= N; ++step)
        for (int i = N; i >= step; --i) y[i] = (y[i] - y[i - 1]) / (x[i] - x[i - step]);
    for (int i = N; i >= 0; --i) {
        for (int j = N; j > 0; --j) c[j] = c[j - 1] - x[i] * c[j];
        c[0] = y[i] - x[i] * c[0];
    }
    for (int i = 0; i <= N; ++i) out[i] = float(c[i]);
}

}  // namespace

Power power_of(double p) {
    Power power;
    for (int i = 0; i < 16; ++i) {  // twice the 8: sixteen lanes look up with four bits
        power.low[i] = float(std::exp2(p * (i % 8)));
        power.high[(FIRST + i) % 16] = float(std::exp2(p * (8 * (FIRST + i % 8) - 127)));
    }
    fit(p, power.mantissa);
    return power;
}

Powers::Powers(const Search& s) : norm(power_of(s.p)), left(power_of(s.p - 1.0)), count(power_of(s.count_power)) {
    kept = float(std::pow(s.threshold, 2.0 - s.p));
}

}  // namespace fewbits
