// Words and the arithmetic of one tile: 16 outputs x 64 inputs, see layout.py. No headers: this is compiled at run time.
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned short u16;

#define DEV __device__ __forceinline__

DEV u32 and_or(u32 x, u32 mask, u32 bits) {
  u32 r;
  asm("lop3.b32 %0, %1, %2, %3, 0xEA;" : "=r"(r) : "r"(x), "r"(mask), "r"(bits));
  return r;
}
DEV float half_to_float(u32 x) {
  float r;
  asm("{ .reg .f16 h, g; mov.b32 {h, g}, %1; cvt.f32.f16 %0, h; }" : "=f"(r) : "r"(x));
  return r;
}
DEV float high_to_float(u32 x) {
  float r;
  asm("{ .reg .f16 h, g; mov.b32 {h, g}, %1; cvt.f32.f16 %0, g; }" : "=f"(r) : "r"(x));
  return r;
}
DEV u32 halves(float low, float high) {
  u32 r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
DEV u32 bhalves(float low, float high) {
  u32 r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
DEV float low_bf16(u32 x) { return __uint_as_float(x << 16); }
DEV float high_bf16(u32 x) { return __uint_as_float(x & 0xFFFF0000u); }

DEV void mma_f16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
DEV void mma_f16_from(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, const float (&c)[4]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%10,%11,%12,%13};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
}
DEV void mma_bf16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#define NF4 104  // kind of a 4-bit codebook; other kinds are their number of bits; 16: rows of 16-bit floats as they are
DEV int bits_of(int kind) { return kind == NF4 ? 4 : kind; }

// The codes of step j as four operands. f16: 1024 + code, times FACTOR for outputs 8..15 (registers 1 and 3).
template <int> struct Codes;
template <> struct Codes<4> {
  static constexpr float FACTOR = 16.f, BASE = 1024.f;
  uint4 w;
  DEV void load(const char* tile, int lane) { w = *(const uint4*)(tile + lane * 16); }
  DEV void step(int j, u32 (&a)[4], const u32*) const {
    u32 x = j == 0 ? w.x : j == 1 ? w.y : j == 2 ? w.z : w.w;
    a[0] = and_or(x, 0x000F000Fu, 0x64006400u);
    a[1] = and_or(x, 0x00F000F0u, 0x64006400u);
    x >>= 8;
    a[2] = and_or(x, 0x000F000Fu, 0x64006400u);
    a[3] = and_or(x, 0x00F000F0u, 0x64006400u);
  }
};
template <> struct Codes<8> {
  static constexpr float FACTOR = 1.f, BASE = 1024.f;
  uint4 w, v;
  DEV void load(const char* tile, int lane) {
    w = *(const uint4*)(tile + lane * 16);
    v = *(const uint4*)(tile + 512 + lane * 16);
  }
  DEV void step(int j, u32 (&a)[4], const u32*) const {
    u32 x = j == 0 ? w.x : j == 1 ? w.z : j == 2 ? v.x : v.z;
    u32 y = j == 0 ? w.y : j == 1 ? w.w : j == 2 ? v.y : v.w;
    a[0] = __byte_perm(x, 0x64646464u, 0x4140);
    a[1] = __byte_perm(x, 0x64646464u, 0x4342);
    a[2] = __byte_perm(y, 0x64646464u, 0x4140);
    a[3] = __byte_perm(y, 0x64646464u, 0x4342);
  }
};
template <> struct Codes<2> {
  static constexpr float FACTOR = 4.f, BASE = 1024.f;
  uint2 w;
  DEV void load(const char* tile, int lane) { w = *(const uint2*)(tile + lane * 8); }
  DEV void step(int j, u32 (&a)[4], const u32*) const {
    u32 x = (j < 2 ? w.x : w.y) >> (8 * (j & 1));
    a[0] = and_or(x, 0x00030003u, 0x64006400u);
    a[1] = and_or(x, 0x000C000Cu, 0x64006400u);
    x >>= 4;
    a[2] = and_or(x, 0x00030003u, 0x64006400u);
    a[3] = and_or(x, 0x000C000Cu, 0x64006400u);
  }
};
template <> struct Codes<3> {
  static constexpr float FACTOR = 1.f, BASE = 1024.f;
  uint2 w;
  u32 h;
  DEV void load(const char* tile, int lane) {
    w = *(const uint2*)(tile + lane * 8);
    h = *(const u32*)(tile + 256 + lane * 4);
  }
  DEV void step(int j, u32 (&a)[4], const u32*) const {
    u32 x = (j < 2 ? w.x : w.y) >> (8 * (j & 1));
#pragma unroll
    for (int i = 0; i < 4; i++) {
      u32 low = and_or(x >> (2 * i), 0x00030003u, 0x64006400u);
      a[i] = and_or((h >> (4 * j + i)) << 2, 0x00040004u, low);
    }
  }
};
template <> struct Codes<NF4> {  // a table of 16 words never has a bank conflict
  static constexpr float FACTOR = 1.f, BASE = 0.f;
  uint4 w;
  DEV void load(const char* tile, int lane) { w = *(const uint4*)(tile + lane * 16); }
  DEV void step(int j, u32 (&a)[4], const u32* book) const {
    u32 x = j == 0 ? w.x : j == 1 ? w.y : j == 2 ? w.z : w.w;
#pragma unroll
    for (int i = 0; i < 4; i++)
      a[i] = __byte_perm(book[x >> (4 * i) & 15], book[x >> (16 + 4 * i) & 15], 0x5410);
  }
};
