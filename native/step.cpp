// One token through all layers in one call: at 4 bits a step of Llama-3.2-1B's shape takes 33 ms with two threads; the same
// operators called one by one from Python added 6 to 8 ms to that.
#include "step.h"

#include "check.h"
#include "products.h"
#include "scratch.h"

FEWBITS_API int32_t fewbits_level();

namespace fewbits {
namespace {

constexpr int32_t FROM_AVX512 = 3;       // the level
constexpr int64_t ACTIVATED = 1024;      // numbers of the inner width that one thread activates at a time
constexpr int64_t WORTH_THREADS = 4096;  // multiplications of attention, or numbers to activate, that pay for a second thread

thread_local Scratch memory;

const StepMath* math() {
    if (fewbits_level() == 0) return nullptr;
    return fewbits_level() >= FROM_AVX512 && step_math_avx512 ? step_math_avx512() : step_math_avx2();
}

class Step {
public:
    Step(const Decoder& d, const StepMath& math, int64_t at, int threads, bool exact)
        : d_(d), math_(math), at_(at), threads_(threads), exact_(exact) {}

    // 0: done; 1: no kernel; 2: out of memory. `x` is the token's embedding, and changed.
    int32_t run(float* x, float* logits) {
        if (!make_room()) return 2;
        for (int i = 0; i < d_.count; ++i) {
            if (const int32_t failed = attention(d_.layers[i], x)) return failed;
            if (const int32_t failed = mlp(d_.layers[i], x)) return failed;
        }
        if (d_.head.weight == nullptr) return math_.norm(d_.norm, x, d_.hidden, d_.eps, d_.layer_norm, logits), 0;
        math_.norm(d_.norm, x, d_.hidden, d_.eps, d_.layer_norm, normed_);
        return product({&d_.head}, normed_, {logits});
    }

private:
    struct Heads {  // what each thread needs to know to take some heads
        const Step* step;
        const Layer* layer;
        int64_t parts_a_head;  // into how many parts the queries of one head of keys are split
    };

    bool make_room() {
        const int64_t queries = int64_t(d_.heads) * d_.head_dim, all = queries + 2 * int64_t(d_.kv_heads) * d_.head_dim;
        const int64_t sizes[] = {d_.hidden, all, queries, 2 * int64_t(d_.inner), d_.hidden, d_.heads * (at_ + 1)};
        float** const parts[] = {&normed_, &qkv_, &mixed_, &inner_, &change_, &scores_};
        int64_t whole = 0;
        for (const int64_t size : sizes) whole += rounded_up(size);
        float* from = reinterpret_cast<float*>(memory.get(size_t(whole) * sizeof(float)));
        if (from == nullptr) return false;
        for (int i = 0; i < 6; ++i) *parts[i] = from, from += rounded_up(sizes[i]);
        return true;
    }
    static int64_t rounded_up(int64_t floats) { return (floats + TILE - 1) / TILE * TILE; }

    // Products of one row with up to three weights.
    struct Weights { const Linear *first, *second = nullptr, *third = nullptr; };
    struct Outs { float *first, *second = nullptr, *third = nullptr; };
    int32_t product(const Weights& weights, const float* x, const Outs& outs) const {
        const Linear* const linears[] = {weights.first, weights.second, weights.third};
        float* const to[] = {outs.first, outs.second, outs.third};
        Task tasks[MOST_TASKS];
        int count = 0;
        for (int i = 0; i < MOST_TASKS; ++i) {
            if (linears[i] == nullptr || linears[i]->weight == nullptr) continue;
            const Weight& w = *linears[i]->weight;
            tasks[count++] = {&w, {x, to[i], linears[i]->bias, 1, w.cols, F32, threads_, 0, exact_}};
        }
        return multiply_all(tasks, count);
    }

    int32_t attention(const Layer& layer, float* x) {
        math_.norm(layer.before_attention, x, d_.hidden, d_.eps, d_.layer_norm, normed_);
        float* keys = qkv_ + int64_t(d_.heads) * d_.head_dim;
        float* values = keys + int64_t(d_.kv_heads) * d_.head_dim;
        const Linear* qkv = layer.qkv;
        if (const int32_t failed = product({qkv, qkv + 1, qkv + 2}, normed_, {qkv_, keys, values})) return failed;
        const bool split = d_.kv_heads < threads_;
        Heads heads{this, &layer, split ? d_.heads / d_.kv_heads : 1};
        remember(layer, keys, values);
        const bool alone = d_.heads * (at_ + 1) * d_.head_dim < WORTH_THREADS;
        parallel([](void* h, int64_t part) {
            const Heads& heads = *static_cast<Heads*>(h);
            heads.step->attend(*heads.layer, part, heads.parts_a_head);
        }, &heads, d_.kv_heads * heads.parts_a_head, alone ? 1 : threads_);
        return add_product(layer.out, mixed_, x);
    }

    // Turn the keys of this token, and put them and its values where those of the others are.
    void remember(const Layer& layer, float* keys, const float* values) const {
        const int64_t size = d_.head_dim, one = d_.length * size;
        for (int h = 0; h < d_.kv_heads; ++h) {
            if (d_.cos) math_.turn(keys + h * size, d_.cos + at_ * size, d_.sin + at_ * size, size);
            __builtin_memcpy(layer.keys + h * one + at_ * size, keys + h * size, size_t(size) * sizeof(float));
            __builtin_memcpy(layer.values + h * one + at_ * size, values + h * size, size_t(size) * sizeof(float));
        }
    }

    void attend(const Layer& layer, int64_t part, int64_t parts_a_head) const {
        const int64_t size = d_.head_dim, count = d_.heads / d_.kv_heads / parts_a_head, first = part * count;
        const int64_t from = part / parts_a_head * d_.length * size;
        float* queries = qkv_ + first * size;
        for (int64_t q = 0; q < count && d_.cos; ++q) {
            math_.turn(queries + q * size, d_.cos + at_ * size, d_.sin + at_ * size, size);
        }
        math_.attend({queries, layer.keys + from, layer.values + from, scores_ + first * (at_ + 1), mixed_ + first * size,
                      at_ + 1, int(count), d_.head_dim, d_.scaling});
    }

    int32_t mlp(const Layer& layer, float* x) {
        math_.norm(layer.before_mlp, x, d_.hidden, d_.eps, d_.layer_norm, normed_);
        float* up = inner_ + d_.inner;
        const bool gated = d_.merged || layer.gate.weight != nullptr;
        const int32_t failed = layer.gate.weight ? product({&layer.gate, &layer.up}, normed_, {inner_, up})
                                                 : product({&layer.up}, normed_, {inner_});
        if (failed) return failed;
        activate(gated ? up : nullptr);
        return add_product(layer.down, inner_, x);
    }

    void activate(const float* up) {
        struct Work { const Step* step; const float* up; } work{this, up};
        parallel([](void* w, int64_t part) {
            const Work& work = *static_cast<Work*>(w);
            const int64_t first = part * ACTIVATED, rest = work.step->d_.inner - first;
            float* gate = work.step->inner_ + first;
            work.step->math_.activate(gate, work.up ? work.up + first : nullptr, rest < ACTIVATED ? rest : ACTIVATED,
                                      work.step->d_.activation);
        }, &work, ceil_div(d_.inner, ACTIVATED), d_.inner < WORTH_THREADS ? 1 : threads_);
    }

    int32_t add_product(const Linear& linear, const float* from, float* x) {
        const int32_t failed = product({&linear}, from, {change_});
        if (!failed) math_.add(x, change_, d_.hidden);
        return failed;
    }

    const Decoder& d_;
    const StepMath& math_;
    const int64_t at_;
    const int threads_;
    const bool exact_;
    float *normed_, *qkv_, *mixed_, *inner_, *change_, *scores_;
};

// A product of `cols` inputs, whose outputs are `rows`.
bool is_linear(const Linear& linear, int64_t rows, int64_t cols) {
    return is_weight(linear.weight) && linear.weight->rows == rows && linear.weight->cols == cols;
}

bool is_qkv(const Decoder& d, const Linear* qkv) {
    const int64_t queries = int64_t(d.heads) * d.head_dim, keys = int64_t(d.kv_heads) * d.head_dim;
    if (qkv[1].weight == nullptr && qkv[2].weight == nullptr) return is_linear(qkv[0], queries + 2 * keys, d.hidden);
    return is_linear(qkv[0], queries, d.hidden) && is_linear(qkv[1], keys, d.hidden) && is_linear(qkv[2], keys, d.hidden);
}

bool is_layer(const Decoder& d, const Layer& layer) {
    const bool gated = layer.gate.weight != nullptr;
    return is_qkv(d, layer.qkv) && is_linear(layer.out, d.hidden, int64_t(d.heads) * d.head_dim) && layer.keys && layer.values &&
           layer.before_attention.weight && layer.before_mlp.weight && !(gated && d.merged) &&
           (!gated || is_linear(layer.gate, d.inner, d.hidden)) && is_linear(layer.up, d.merged ? 2 * int64_t(d.inner) : d.inner, d.hidden) &&
           is_linear(layer.down, d.hidden, d.inner);
}

bool is_decoder(const Decoder* decoder, int64_t at) {
    if (decoder == nullptr) return false;
    const Decoder& d = *decoder;
    if (d.count < 0 || d.hidden < 1 || d.inner < 1 || d.heads < 1 || d.kv_heads < 1 || d.head_dim < 1) return false;
    if (d.heads % d.kv_heads != 0 || !is_size(int64_t(d.heads) * d.head_dim, d.length) || at < 0 || at >= d.length) return false;
    if (d.activation < SILU || d.activation > RELU || (d.cos && (d.sin == nullptr || d.head_dim % 2 != 0))) return false;
    if (d.norm.weight == nullptr || (d.head.weight && (!is_weight(d.head.weight) || d.head.weight->cols != d.hidden))) return false;
    if (d.count > 0 && d.layers == nullptr) return false;
    for (int i = 0; i < d.count; ++i) if (!is_layer(d, d.layers[i])) return false;
    return true;
}

}  // namespace
}  // namespace fewbits

// Returns a Status. Tokens before number `at` are in the cache.
FEWBITS_API int32_t fewbits_step(const fewbits::Decoder* decoder, float* x, float* logits, int64_t at, int32_t threads, int32_t exact) {
    const fewbits::StepMath* math = fewbits::math();
    if (!fewbits::is_decoder(decoder, at) || x == nullptr || logits == nullptr) return fewbits::BAD_ARGUMENT;
    return math == nullptr ? fewbits::NO_KERNEL : fewbits::Step(*decoder, *math, at, threads, exact != 0).run(x, logits);
}

// So that the other side can check that it means the same structures.
FEWBITS_API int64_t fewbits_decoder_size() { return sizeof(fewbits::Decoder); }
FEWBITS_API int64_t fewbits_layer_size() { return sizeof(fewbits::Layer); }
