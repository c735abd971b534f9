// One token through a transformer's decoder, as src/fewbits/runtime/structure.py describes it. All is float32.
#pragma once
#include "fewbits.h"

namespace fewbits {

struct Linear {
    const Weight* weight;  // null: there is none
    const float* bias;     // or null
};

struct Norm {
    const float* weight;
    const float* bias;  // or null
};

struct Layer {
    Norm before_attention, before_mlp;
    Linear qkv[3];  // one after the other they give queries, keys, values; one may give them all
    Linear out, gate, up, down;
    float *keys, *values;  // [kv_heads][length][head_dim]
};

enum Activation : int32_t { SILU = 0, GELU_TANH = 1, RELU = 2 };

struct Decoder {
    const Layer* layers;
    const float *cos, *sin;  // [length][head_dim], sines of the first half with the other sign; or null
    Norm norm;
    Linear head;  // where it has no weight, the hidden state behind the norm is the answer
    int64_t length;
    int32_t count;  // of layers
    int32_t hidden, inner, heads, kv_heads, head_dim;
    int32_t layer_norm;  // the mean is subtracted
    int32_t merged;      // `up` gives gate and up
    int32_t activation;
    float eps, scaling;
};

// Queries of one head of keys and values, and the tokens that they look at.
struct Attention {
    const float* queries;  // [count][head_dim]
    const float *keys, *values;
    float* scores;  // [count][tokens]: working memory
    float* out;     // [count][head_dim]
    int64_t tokens;
    int count, head_dim;
    float scaling;
};

// What a set of instructions offers beside products.
struct StepMath {
    void (*norm)(const Norm&, const float* x, int64_t n, float eps, bool centred, float* out);
    void (*add)(float* to, const float* x, int64_t n);
    void (*turn)(float* head, const float* cos, const float* sin, int64_t n);
    void (*activate)(float* gate, const float* up, int64_t n, int32_t kind);  // gate = f(gate) * up, in place; up may be null
    void (*attend)(const Attention&);
};

const StepMath* step_math_avx2();
__attribute__((weak)) const StepMath* step_math_avx512();

}  // namespace fewbits
