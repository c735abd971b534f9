// Products of one x with some weights, as one piece of work for all threads.
#pragma once
#include "fewbits.h"

namespace fewbits {

struct Task {
    const Weight* weight;
    Product product;
};

constexpr int MOST_TASKS = 3;  // of which x is the same: queries, keys and values

// The threads are those of the first task. Returns a Status.
int32_t multiply_all(const Task* tasks, int count);

// The kernels for a product on this machine; null where there are none.
const Kernels* kernels_for(const Weight& weight, const Product& product);

// The energies of a weight (`Weight::energy`). Returns a Status.
int32_t energies(const Weight& weight, float* energy, int threads);

}  // namespace fewbits
