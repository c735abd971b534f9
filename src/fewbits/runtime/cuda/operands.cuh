// A tile's codes as the left operand of a product: 16-bit floats, dequantized. Compiled with KIND and BF16.
#if BF16
#define PAIR_MAGIC 0x43004300u  // 128: 7 bits of mantissa lie below it
#define MIDDLE 128.f
#else
#define PAIR_MAGIC 0x64006400u  // 1024: 10 bits
#define MIDDLE 1024.f
#endif

DEV u32 pair_of(float low, float high) { return BF16 ? bhalves(low, high) : halves(low, high); }
DEV u32 pair_sub(u32 a, u32 b) {
  u32 r;
#if BF16
  asm("sub.rn.bf16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
#else
  asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
#endif
  return r;
}
DEV u32 pair_fma(u32 a, u32 b, u32 c) {
  u32 r;
#if BF16
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c));
#else
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c));
#endif
  return r;
}
// Bytes of a table of 16 (four words of it) for the four codes in the low half of x.
struct Lookup {
  u32 first, which;  // position within each half of the table, and the half
  DEV explicit Lookup(u32 x) : first(x & 0x7777u), which(and_or(x >> 1, 0x4444u, 0x3210u)) {}
  DEV u32 bytes(const u32 (&table)[4]) const {
    return __byte_perm(__byte_perm(table[0], table[1], first), __byte_perm(table[2], table[3], first), which);
  }
};
// Scale and zero point of a lane's two outputs, each twice in a word: weight = (code - whole) * scale + rest.
struct Scales {
  float s[2], z[2];
  u32 whole[2], scale[2], rest[2];
  DEV explicit Scales(uint2 meta) {
    const u32 m[2] = {meta.x, meta.y};
#pragma unroll
    for (int r = 0; r < 2; r++) {
      s[r] = half_to_float(m[r]), z[r] = high_to_float(m[r]);
      const float near = fminf(fmaxf(rintf(z[r]), -MIDDLE), MIDDLE - 1.f), left = (near - z[r]) * s[r];
      whole[r] = pair_of(MIDDLE + near, MIDDLE + near), scale[r] = pair_of(s[r], s[r]), rest[r] = pair_of(left, left);
    }
  }
};
struct Books {  // a codebook's 16 values, low bytes and high bytes
  u32 low[4], high[4];
};
DEV u32 word_of(const uint4& w, int j) { return j == 0 ? w.x : j == 1 ? w.y : j == 2 ? w.z : w.w; }

// Step j's four registers.
DEV void weights(const Codes<4>& c, int j, const Scales& m, const Books&, u32 (&a)[4]) {
  const u32 x = word_of(c.w, j);
#pragma unroll
  for (int i = 0; i < 4; i++)
    a[i] = pair_fma(pair_sub(and_or(x >> (4 * i), 0x000F000Fu, PAIR_MAGIC), m.whole[i & 1]), m.scale[i & 1], m.rest[i & 1]);
}
DEV void weights(const Codes<2>& c, int j, const Scales& m, const Books&, u32 (&a)[4]) {
  const u32 x = (j < 2 ? c.w.x : c.w.y) >> (8 * (j & 1));
#pragma unroll
  for (int i = 0; i < 4; i++)
    a[i] = pair_fma(pair_sub(and_or(x >> (2 * i), 0x00030003u, PAIR_MAGIC), m.whole[i & 1]), m.scale[i & 1], m.rest[i & 1]);
}
DEV void weights(const Codes<3>& c, int j, const Scales& m, const Books&, u32 (&a)[4]) {
  const u32 x = (j < 2 ? c.w.x : c.w.y) >> (8 * (j & 1));
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int at = 4 * j + i;
    const u32 high = at < 2 ? c.h << (2 - at) : c.h >> (at - 2);
    const u32 code = and_or(high, 0x00040004u, and_or(x >> (2 * i), 0x00030003u, PAIR_MAGIC));
    a[i] = pair_fma(pair_sub(code, m.whole[i & 1]), m.scale[i & 1], m.rest[i & 1]);
  }
}
DEV void weights(const Codes<8>& c, int j, const Scales& m, const Books&, u32 (&a)[4]) {
  const u32 x = j == 0 ? c.w.x : j == 1 ? c.w.z : j == 2 ? c.v.x : c.v.z;
  const u32 y = j == 0 ? c.w.y : j == 1 ? c.w.w : j == 2 ? c.v.y : c.v.w;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const u32 from = i < 2 ? x : y;
#if BF16  // which has too few bits for a code: by way of f32, 2^23 + code
    const float low = __uint_as_float(__byte_perm(from, 0x4B000000u, i & 1 ? 0x7652 : 0x7650)) - 8388608.f;
    const float high = __uint_as_float(__byte_perm(from, 0x4B000000u, i & 1 ? 0x7653 : 0x7651)) - 8388608.f;
    a[i] = bhalves((low - m.z[i & 1]) * m.s[i & 1], (high - m.z[i & 1]) * m.s[i & 1]);
#else
    const u32 code = __byte_perm(from, 0x64646464u, i & 1 ? 0x4342 : 0x4140);
    a[i] = pair_fma(pair_sub(code, m.whole[i & 1]), m.scale[i & 1], m.rest[i & 1]);
#endif
  }
}
DEV void weights(const Codes<NF4>& c, int j, const Scales& m, const Books& book, u32 (&a)[4]) {
  const u32 x = word_of(c.w, j);
  const Lookup first(x), second(x >> 16);
  const u32 low0 = first.bytes(book.low), high0 = first.bytes(book.high), low1 = second.bytes(book.low), high1 = second.bytes(book.high);
  const u32 a01 = __byte_perm(low0, high0, 0x5140), b01 = __byte_perm(low1, high1, 0x5140);
  const u32 a23 = __byte_perm(low0, high0, 0x7362), b23 = __byte_perm(low1, high1, 0x7362);
  a[0] = __byte_perm(a01, b01, 0x5410), a[1] = __byte_perm(a01, b01, 0x7632);
  a[2] = __byte_perm(a23, b23, 0x5410), a[3] = __byte_perm(a23, b23, 0x7632);
#pragma unroll
  for (int i = 0; i < 4; i++) a[i] = pair_fma(a[i], m.scale[i & 1], 0x80008000u);
}
