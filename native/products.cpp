// Activations are rounded once for all weights that take them alike; then the tiles of all weights are shared out.
#include "products.h"

#include "scratch.h"

namespace fewbits {
namespace {

thread_local Scratch scratch;

struct Call {
    const Weight* weight;
    const Product* product;
    const Kernels* kernels;
    Activations activations;
    int rounded_by;      // the call whose activations these are
    int64_t first_part;  // of this one's tiles
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

// How the activations of a call lie, and the bytes that their codes, their steps and their sums take.
struct Sizes {
    size_t codes, steps, sums;
    size_t whole() const { return (codes + steps + sums + LINE - 1) / LINE * LINE; }
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
    return {size_t(m) * a.stride * (a.in_float ? 4 : 1), size_t(m) * a.blocks * 4, size_t(m) * a.groups * 4};
}

// Put them into memory; returns what is left of it.
uint8_t* place(Activations& a, const Sizes& sizes, uint8_t* memory) {
    a.codes = reinterpret_cast<int8_t*>(memory), a.values = reinterpret_cast<float*>(memory);
    a.steps = reinterpret_cast<float*>(memory + sizes.codes);
    a.sums = reinterpret_cast<float*>(memory + sizes.codes + sizes.steps);
    return memory + sizes.whole();
}

bool make_room(Calls& all) {
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
    return int(most < 1 ? 1 : most < p.threads ? most : p.threads);
}

void round_activations(Call& call, int threads) {
    parallel([](void* c, int64_t row) {
        const Call& call = *static_cast<Call*>(c);
        call.kernels->quantize(*call.weight, *call.product, call.activations, row);
    }, &call, call.product->m, call.product->m >= 8 ? threads : 1);
}

void share_out(Calls& all, int threads) {
    int64_t tiles = 0;
    for (int i = 0; i < all.count; ++i) tiles += tiles_of(*all.call[i].weight);
    all.per_part = ceil_div(tiles, threads == 1 ? 1 : int64_t(threads) * 4);
    all.parts = 0;
    for (int i = 0; i < all.count; ++i) {
        all.call[i].first_part = all.parts;
        all.parts += ceil_div(tiles_of(*all.call[i].weight), all.per_part);
    }
}

void multiply_part(void* calls, int64_t part) {
    const Calls& all = *static_cast<Calls*>(calls);
    int i = all.count - 1;
    while (part < all.call[i].first_part) --i;
    const Call& call = all.call[i];
    const int64_t first = (part - call.first_part) * all.per_part, tiles = tiles_of(*call.weight);
    const int64_t last = first + all.per_part < tiles ? first + all.per_part : tiles;
    call.kernels->multiply(*call.weight, *call.product, call.activations, first, last);
}

}  // namespace

int32_t multiply_all(const Task* tasks, int count) {
    Calls all{};
    for (int i = 0; i < count; ++i) {
        const Kernels* kernels = kernels_for(*tasks[i].weight, tasks[i].product);
        if (kernels == nullptr) return 1;
        if (tasks[i].product.m == 0 || tasks[i].weight->rows == 0) continue;
        all.call[all.count++] = {tasks[i].weight, &tasks[i].product, kernels, {}, 0, 0};
    }
    if (all.count == 0) return 0;
    if (!make_room(all)) return 2;
    const int threads = threads_for(all);
    for (int i = 0; i < all.count; ++i) if (all.call[i].rounded_by == i) round_activations(all.call[i], threads);
    share_out(all, threads);
    parallel(multiply_part, &all, all.parts, threads);
    return 0;
}

}  // namespace fewbits
