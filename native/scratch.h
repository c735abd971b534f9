// Working memory that is kept from call to call.
#pragma once
#include <cstdlib>

#include "fewbits.h"

namespace fewbits {
namespace {

struct Scratch {
    uint8_t* memory = nullptr;
    size_t size = 0;
    ~Scratch() { std::free(memory); }
    // Null where there is none.
    uint8_t* get(size_t bytes) {
        if (bytes <= size) return memory;
        std::free(memory);
        size = (bytes + 4095) / 4096 * 4096;
        memory = static_cast<uint8_t*>(std::aligned_alloc(64, size));
        if (memory == nullptr) size = 0;
        return memory;
    }
};

}  // namespace
}  // namespace fewbits
