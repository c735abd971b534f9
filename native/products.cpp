// Activations are rounded once for all weights that take them alike; then the tiles of all weights are shared out.
#include "products.h"

#include <algorithm>
#include <memory>
#include <new>

#include "scratch.h"

namespace fewbits {
namespace {

// Of a call, and of the products in float that its rows with hazards take.
thread_local Scratch scratch[2];

struct Call {
    const Weight* weight;
    const Product* product;
    const Kernels* kernels;
    Activations activations;
    int rounded_by;      // the call whose activations these are
    int64_t first_part;  // of this one's tiles
    bool in_8_bits;      // whether any row is: else there is nothing to do before `multiply_in_float`
    int64_t tiles() const { return in_8_bits ? tiles_of(*weight) : 0; }
};

struct Calls {
    Call call[MOST_TASKS];
    int count;
    int64_t parts, per_part;  // tiles
};

bool alike(const Call& a, const Call& b) {
    return a.weight->cols == b.weight->cols && a.weight->padded == b.weight->padded && a.weight->group == b.weight->group &&
           a.weight->block == b.weight->block && a.kernels == b.kernels && a.product->one_step == b.product->one_step;
}

// How the activations of a call are laid out, and the bytes that their codes, steps, sums and hazards take.
struct Sizes {
    size_t codes, steps, sums, hazards;
    size_t whole() const { return (codes + steps + sums + hazards + LINE - 1) / LINE * LINE; }
};

Sizes lay_out(Call& call) {
    const Weight& w = *call.weight;
    const Product& p = *call.product;
    Activations& a = call.activations;
    a.tiled = call.kernels->tiled;
    const int64_t m = a.rows = a.tiled ? (p.m + 15) / 16 * 16 : p.m;
    a.blocks = w.padded / w.block, a.groups = w.padded / w.group;
    a.in_float = p.exact || (w.group < CHUNK && p.m > call.kernels->small_group_rows);
    a.stride = w.padded + (a.in_float ? TILE : 0);  // rows that lie a power of two apart share few lines of a cache
    return {size_t(m) * a.stride * (a.in_float ? 4 : 1), size_t(m) * a.blocks * 4, size_t(m) * a.groups * 4, size_t(m)};
}

// Put them into memory; returns what is left of it.
uint8_t* place(Activations& a, const Sizes& sizes, uint8_t* memory) {
    a.codes = reinterpret_cast<int8_t*>(memory), a.values = reinterpret_cast<float*>(memory);
    a.steps = reinterpret_cast<float*>(memory + sizes.codes);
    a.sums = reinterpret_cast<float*>(memory + sizes.codes + sizes.steps);
    a.hazards = memory + sizes.codes + sizes.steps + sizes.sums;
    return memory + sizes.whole();
}

bool make_room(Calls& all, Scratch& scratch) {
    Sizes sizes[MOST_TASKS] = {};
    size_t bytes = 0;
    for (int i = 0; i < all.count; ++i) {
        Call& call = all.call[i];
        call.rounded_by = i;
        for (int j = i - 1; j >= 0; --j) if (alike(call, all.call[j])) call.rounded_by = j;
        if (call.rounded_by == i) bytes += (sizes[i] = lay_out(call)).whole();
    }
    uint8_t* memory = scratch.get(bytes);
    if (memory == nullptr) return false;
    for (int i = 0; i < all.count; ++i) {
        Call& call = all.call[i];
        if (call.rounded_by == i) memory = place(call.activations, sizes[i], memory);
        else call.activations = all.call[call.rounded_by].activations;
    }
    return true;
}

// Threads cost some microseconds to start: each must have this many bytes of codes to go through, rows of x counted in.
constexpr int64_t WORTH_A_THREAD = 32 << 10;

int threads_for(const Calls& all) {
    const Product& p = *all.call[0].product;
    int64_t bytes = 0;
    for (int i = 0; i < all.count; ++i) bytes += tiles_of(*all.call[i].weight) * tile_bytes(*all.call[i].weight);
    const int64_t most = bytes * (1 + p.m / 4) / WORTH_A_THREAD;
    return int(std::max<int64_t>(1, std::min<int64_t>(most, p.threads)));
}

void round_activations(Call& call, int threads) {
    parallel([](void* c, int64_t row) {
        const Call& call = *static_cast<Call*>(c);
        call.kernels->quantize(*call.weight, *call.product, call.activations, row);
    }, &call, call.product->m, call.product->m >= 8 ? threads : 1);
}

void share_out(Calls& all, int threads) {
    int64_t tiles = 0;
    for (int i = 0; i < all.count; ++i) tiles += all.call[i].tiles();
    if (tiles == 0) return void(all.parts = 0);
    all.per_part = ceil_div(tiles, threads == 1 ? 1 : int64_t(threads) * 4);
    all.parts = 0;
    for (int i = 0; i < all.count; ++i) {
        all.call[i].first_part = all.parts;
        all.parts += ceil_div(all.call[i].tiles(), all.per_part);
    }
}

void multiply_part(void* calls, int64_t part) {
    const Calls& all = *static_cast<Calls*>(calls);
    int i = all.count - 1;
    while (part < all.call[i].first_part) --i;
    const Call& call = all.call[i];
    const int64_t first = (part - call.first_part) * all.per_part, tiles = call.tiles();
    const int64_t last = first + all.per_part < tiles ? first + all.per_part : tiles;
    call.kernels->multiply(*call.weight, *call.product, call.activations, first, last);
}

// The rows of x that the kernels must not round, if there are any. `rows` has room for all of them.
int64_t rows_with_hazards(const Call& call, int32_t* rows) {
    int64_t count = 0;
    for (int64_t row = 0; row < call.product->m; ++row) {
        if (call.activations.hazards[row] != NO_HAZARD) rows[count++] = int32_t(row);
    }
    return count;
}

int64_t count_hazards(const Call& call) {
    if (call.activations.in_float) return 0;
    int64_t count = 0;
    for (int64_t row = 0; row < call.product->m; ++row) count += call.activations.hazards[row] != NO_HAZARD;
    return count;
}

int32_t multiply_in(Scratch* scratch, const Task* tasks, int count);

// Rows with hazards once more, in float.
int32_t multiply_in_float(const Call& call, Scratch* scratch) {
    const std::unique_ptr<int32_t[]> rows(new (std::nothrow) int32_t[size_t(call.product->m)]);
    if (rows == nullptr) return OUT_OF_MEMORY;
    Task task{call.weight, *call.product};
    task.product.exact = 1, task.product.only = rows.get();
    task.product.m = rows_with_hazards(call, rows.get());
    return multiply_in(scratch, &task, 1);
}

int32_t multiply_in(Scratch* scratch, const Task* tasks, int count) {
    Calls all{};
    for (int i = 0; i < count; ++i) {
        const Kernels* kernels = kernels_for(*tasks[i].weight, tasks[i].product);
        if (kernels == nullptr) return NO_KERNEL;
        if (tasks[i].product.m == 0 || tasks[i].weight->rows == 0) continue;
        all.call[all.count++] = {tasks[i].weight, &tasks[i].product, kernels, {}, 0, 0, true};
    }
    if (all.count == 0) return DONE;
    if (!make_room(all, *scratch)) return OUT_OF_MEMORY;
    const int threads = threads_for(all);
    for (int i = 0; i < all.count; ++i) if (all.call[i].rounded_by == i) round_activations(all.call[i], threads);
    int64_t hazards[MOST_TASKS];
    for (int i = 0; i < all.count; ++i) {
        hazards[i] = count_hazards(all.call[i]);
        all.call[i].in_8_bits = hazards[i] < all.call[i].product->m;
    }
    share_out(all, threads);
    parallel(multiply_part, &all, all.parts, threads);
    for (int i = 0; i < all.count; ++i) {
        if (hazards[i] == 0) continue;
        if (const int32_t failed = multiply_in_float(all.call[i], scratch + 1)) return failed;
    }
    return DONE;
}

}  // namespace

int32_t multiply_all(const Task* tasks, int count) { return multiply_in(scratch, tasks, count); }

int32_t energies(const Weight& weight, float* energy, int threads) {
    const Kernels* kernels = kernels_for(weight, {});
    if (kernels == nullptr) return NO_KERNEL;
    struct Work { const Kernels* kernels; const Weight& weight; float* energy; } work{kernels, weight, energy};
    const int64_t slice = FLOAT_SLICE / CHUNK, blocks = weight.padded / weight.block;
    std::fill(energy, energy + weight.padded + blocks, 0.0f);
    parallel([](void* data, int64_t part) {
        const Work& work = *static_cast<Work*>(data);
        work.kernels->energies(work.weight, part * FLOAT_SLICE / CHUNK, work.energy);
    }, &work, ceil_div(weight.padded / CHUNK, slice), threads);
    for (int64_t b = 0; b < blocks; ++b) {
        for (int64_t k = 0; k < weight.block; ++k) energy[weight.padded + b] += energy[b * weight.block + k];
    }
    return DONE;
}

}  // namespace fewbits
