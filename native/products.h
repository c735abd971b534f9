// Products of one x with some weights, as one piece of work for all threads.
#pragma once
#include "fewbits.h"

namespace fewbits {

struct Task {
    const Weight* weight;
    Product product;
};

constexpr int MOST_TASKS = 3;  // of which x is the same: queries, keys and values

// 0: done; 1: this machine has no kernel; 2: out of memory. The threads are those of the first task.
int32_t multiply_all(const Task* tasks, int count);

// The kernels for a product on this machine; null where there are none.
const Kernels* kernels_for(const Weight& weight, const Product& product);

}  // namespace fewbits
