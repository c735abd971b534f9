// What a phase multiplies, put into shared memory in the form that its weights want: three signed digits of 8 bits for codes that are
// whole numbers, high and low f16 for a codebook, f32 for plain rows.
//
// Tiles of 64 inputs w, w + 16, .. are asked for by warp w. Two tiles at a time, a lane has four inputs, two and two 16 apart.
DEV int my_tile(int n) { return (threadIdx.x >> 5) + WARPS * (2 * n + (threadIdx.x >> 4 & 1)); }
DEV int my_word(int n) { return my_tile(n) * 32 + (threadIdx.x & 8) * 2 + (threadIdx.x & 7); }  // and the word 8 on
DEV int my_place(int n) { return my_tile(n) * 32 + (threadIdx.x & 15) * 2; }  // of both in what is exchanged

DEV int sum_over_warp(int v) {
  int r;
  asm volatile("redux.sync.add.s32 %0, %1, 0xffffffff;" : "=r"(r) : "r"(v));
  return r;
}
DEV u32 magnitude(float v) { return __float_as_uint(v) & 0x7FFFFFFFu; }
// The exponent of the largest of a warp's inputs, as f32 keeps it: the two tiles are scaled by it.
DEV u32 common_exponent(const float (&c)[4]) {
  const u32 most = max(max(magnitude(c[0]), magnitude(c[1])), max(magnitude(c[2]), magnitude(c[3])));
  return max(largest_in_warp(most) >> 23, 40u);
}
DEV float power_of_two(u32 exponent) { return __uint_as_float(exponent << 23); }
DEV float not_finite(float scale, u32 exponent) { return exponent == 255 ? __uint_as_float(0x7FC00000u) : scale; }

constexpr int DIGITS = 208;  // bytes of a tile: [digit, highest first][4 t + j][input 0, 32, 16, 48 on], then what Scale holds
struct __align__(16) Scale {
  float high, sum, low, zero;  // unit of 256 d[0] + d[1] for columns 0 and 1, the inputs' sum; the same for columns 2 and 3, without
};
// 22 bits and a sign below the common exponent: an input is off by 2^-21 of the largest at most. What is added to round also makes
// the digits signed: in all but the highest, 128 more than they are.
DEV void put_digits(char* x, int n, bool valid, const float (&c)[4]) {
  constexpr u32 ROUNDING = 0x4B400000u + 0x8080u;
  const u32 e = common_exponent(c);
  const float inverse = power_of_two(274 - e), unit = not_finite(power_of_two(e - 20), e);
  u32 q[4];
#pragma unroll
  for (int i = 0; i < 4; i++) q[i] = __float_as_uint(fmaf(c[i], inverse, __uint_as_float(0x4B400000u) + 32896.f));
  const int mine = (int)(q[0] + q[1] + q[2] + q[3] - 4 * ROUNDING), upper = threadIdx.x & 16;
  const int first = sum_over_warp(upper ? 0 : mine), second = sum_over_warp(upper ? mine : 0);
  // A lane of the lower 32 inputs gives the lane 8 on its odd inputs, and takes the even ones of the upper 32.
  const bool odd = threadIdx.x & 8;
  const u32 k0 = odd ? q[1] : q[0], k1 = odd ? q[3] : q[2];
  const u32 g0 = __shfl_xor_sync(~0u, odd ? q[0] : q[1], 8), g1 = __shfl_xor_sync(~0u, odd ? q[2] : q[3], 8);
  const u32 twos = odd ? 0x1504 : 0x5140, third = odd ? 0x26 : 0x62;
  const u32 p0 = __byte_perm(k0, g0, twos), p1 = __byte_perm(k1, g1, twos);
  const u32 high = __byte_perm(__byte_perm(k0, g0, third), __byte_perm(k1, g1, third), 0x5410);
  if (!valid) return;
  char* tile = x + my_tile(n) * DIGITS;
  u32* to = (u32*)tile + (threadIdx.x & 7) * 2 + (odd ? 1 : 0);
  to[0] = (high | 0x80808080u) - 0x40404040u ^ 0x80808080u;
  to[16] = __byte_perm(p0, p1, 0x7632) ^ 0x80808080u;
  to[32] = __byte_perm(p0, p1, 0x5410) ^ 0x80808080u;
  const float sum = (float)(upper ? second : first) * unit;
  if (!(threadIdx.x & 15)) *(Scale*)(tile + 192) = {unit * 256.f, sum, unit * (1.f / 256.f), 0.f};
}
DEV void put_halves(char* x, Shared& sh, int n, bool valid, const float (&c)[4]) {
  const u32 e = common_exponent(c);
  const float inverse = power_of_two(266 - e);  // up to 2^13
  float v[4];
#pragma unroll
  for (int i = 0; i < 4; i++) v[i] = c[i] * inverse;
  const u32 h0 = halves(v[0], v[2]), h1 = halves(v[1], v[3]);
  const u32 l0 = halves(v[0] - half_to_float(h0), v[2] - high_to_float(h0));
  const u32 l1 = halves(v[1] - half_to_float(h1), v[3] - high_to_float(h1));
  if (!valid) return;
  const int kb = my_tile(n), t = threadIdx.x >> 1 & 3, second = threadIdx.x >> 3 & 1, j = threadIdx.x & 1;
  u32* to = (u32*)x + (kb * 8 + t) * 8 + j * 4 + second;  // [tile][high, low][t][j][second]: operands are pairs of neighbours
  to[0] = h0, to[2] = h1;
  to[32] = l0, to[34] = l1;
  if (!(threadIdx.x & 15)) sh.xs[kb] = not_finite(power_of_two(e - 12), e);
}
// All lanes of a warp call this. c: inputs 2 w, 2 w + 1, 2 w + 16, 2 w + 17 for w = my_word(n); zeros where not valid.
DEV void put(char* x, Shared& sh, int kind, int n, bool valid, const float (&c)[4]) {
#if KINDS & 32
  if (kind == 16) {
    float2* to = (float2*)x + my_word(n);
    if (valid) to[0] = make_float2(c[0], c[1]), to[8] = make_float2(c[2], c[3]);
    return;
  }
#endif
#if KINDS & 16
  if (kind == NF4) return put_halves(x, sh, n, valid, c);
#endif
#if KINDS & 15
  put_digits(x, n, valid, c);
#endif
}
