// Weights to the nearest codes, and these to a stream of BITS each: what `encode` of src/fewbits/methods/base.py and `pack` of
// src/fewbits/packing.py do. A thread makes 32 codes, which are BITS whole words. Compiled with WEIGHTS (0: f32, 1: f16, 2: bf16,
// 3: codes already, one a byte), META (the same, of scales that are written), BITS, ORDER (0: the zero point is added before
// rounding, 1: after it, 2: half before and half after, 3: codebook), VALUES (of the codebook, ascending), HAS_ZERO and LINES
// (groups are parts of rows, of 32 weights or a multiple).
struct Problem {
  const char* weights;  // rows x cols
  const float *scale, *zero;  // one of each for r x c weights; zero only where formats have one
  void *kept_scale, *kept_zero;  // where they are written as they are stored, and then computed with; or null
  const u32* stats;  // [2]: bits of the smallest scale above 0
  unsigned char* stream;
  long long n;
  int cols, r, c;
  float steps, middle_code, implied_zero, least;
  float middle[16];
  unsigned char code_of[16];
};

DEV float as_stored(float x) { return META == 1 ? half_to_float(halves(x, 0.f)) : META == 2 ? low_bf16(bhalves(x, 0.f)) : x; }
DEV void keep(void* to, long long at, float x) {
  if (META == 0) ((float*)to)[at] = x;
  else ((u16*)to)[at] = (u16)(META == 1 ? halves(x, 0.f) : bhalves(x, 0.f));
}
struct Block {
  float scale, zero;
  DEV void load(const Problem& q, long long group, bool first) {
    scale = q.scale[group], zero = HAS_ZERO ? q.zero[group] : q.implied_zero;
    if (!q.kept_scale) return;
    if (!(scale > 0.f)) scale = q.stats[2] == ~0u ? 1.f : __uint_as_float(q.stats[2]);  // a group of zeros: any scale does
    scale = as_stored(fmaxf(scale, q.least));
    if (HAS_ZERO && q.kept_zero) zero = as_stored(zero);
    if (!first) return;
    keep(q.kept_scale, group, scale);
    if (HAS_ZERO && q.kept_zero) keep(q.kept_zero, group, zero);
  }
};
DEV u32 code(const Problem& q, const Block& b, float w) {
#if ORDER == 3
  const float at = w * (1.f / fmaxf(b.scale, 1e-38f));
  u32 out = q.code_of[0];
#pragma unroll
  for (int i = 1; i < VALUES; i++) out = q.middle[i - 1] < at ? q.code_of[i] : out;
  return out;
#else
  const float scaled = w / b.scale;
  const float at = ORDER == 0   ? rintf(__fadd_rn(scaled, b.zero))
                   : ORDER == 1 ? __fadd_rn(rintf(scaled), b.zero)
                                : rintf(__fadd_rn(scaled, b.zero - q.middle_code)) + q.middle_code;
  return (u32)fminf(fmaxf(at, 0.f), q.steps);
#endif
}
DEV float weight(const Problem& q, long long at) {
  return WEIGHTS == 0   ? ((const float*)q.weights)[at]
         : WEIGHTS == 1 ? half_to_float(((const u16*)q.weights)[at])
                        : low_bf16(((const u16*)q.weights)[at]);
}
DEV void eight(const Problem& q, long long at, float (&w)[8]) {  // which lie 32 bytes or 16 apart
  if (WEIGHTS == 0) {
    const float4 a = ((const float4*)(q.weights + at * 4))[0], b = ((const float4*)(q.weights + at * 4))[1];
    w[0] = a.x, w[1] = a.y, w[2] = a.z, w[3] = a.w, w[4] = b.x, w[5] = b.y, w[6] = b.z, w[7] = b.w;
  } else {
    const uint4 x = *(const uint4*)(q.weights + at * 2);
    const u32 words[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
      w[2 * i] = WEIGHTS == 1 ? half_to_float(words[i]) : low_bf16(words[i]);
      w[2 * i + 1] = WEIGHTS == 1 ? high_to_float(words[i]) : high_bf16(words[i]);
    }
  }
}
extern "C" __global__ void __launch_bounds__(256) encode(const __grid_constant__ Problem q) {
  const long long start = ((long long)blockIdx.x * 256 + threadIdx.x) * 32;
  if (start >= q.n) return;
  const int count = q.n - start < 32 ? (int)(q.n - start) : 32;
  u32 words[BITS + 1];
#pragma unroll
  for (int i = 0; i <= BITS; i++) words[i] = 0;
#if WEIGHTS == 3
#pragma unroll
  for (int i = 0; i < 32; i++) {
    const u32 x = i < count ? ((const unsigned char*)q.weights)[start + i] : 0;
#elif LINES
  Block b;
  const long long row = start / q.cols;
  const int col = (int)(start - row * q.cols);
  b.load(q, row * (q.cols / q.c) + col / q.c, col % q.c == 0);
  float w[8];
#pragma unroll
  for (int i = 0; i < 32; i++) {
    if (i % 8 == 0) eight(q, start + i, w);
    const u32 x = code(q, b, w[i & 7]);
#else
  Block b;
  long long row = start / q.cols, group = -1;
  int col = (int)(start - row * q.cols);
#pragma unroll
  for (int i = 0; i < 32; i++) {
    u32 x = 0;
    if (i < count) {
      const long long now = row / q.r * (q.cols / q.c) + col / q.c;
      if (now != group) b.load(q, group = now, row % q.r == 0 && col % q.c == 0);
      x = code(q, b, weight(q, start + i));
      if (++col == q.cols) col = 0, row++;
    }
#endif
    const int bit = i * BITS;
    words[bit >> 5] |= x << (bit & 31);
    if ((bit & 31) + BITS > 32) words[(bit >> 5) + 1] |= x >> (32 - (bit & 31));
  }
  unsigned char* to = q.stream + start / 8 * BITS;
  if (count == 32) {
#pragma unroll
    for (int i = 0; i < BITS; i++) ((u32*)to)[i] = words[i];
  } else {
    const int bytes = (count * BITS + 7) / 8;
#pragma unroll
    for (int i = 0; i < 4 * BITS; i++)
      if (i < bytes) to[i] = (unsigned char)(words[i >> 2] >> (8 * (i & 3)));
  }
}
