// Codes as bytes, for products in whole numbers: two mma.m16n8k32 take a tile of 16 outputs x 64 inputs, where floats take four.
//
// Bytes of an operand are the inputs 4 t + j + {0, 32, 16, 48} of an output: 4 bits need a mask and a shift for four of them. The
// other side is a tile's inputs as three signed digits of 8 bits, in the right operand's columns 0, 1 and 2; the rest is zero.
DEV void mma_u8(int (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// step: the bytes of output g in a[0], of output g + 8 in a[1], for inputs of step j.
template <int> struct Bytes;
template <> struct Bytes<4> {
  uint4 w;
  DEV void load(const char* tile, int lane) { w = *(const uint4*)(tile + lane * 16); }
  DEV void step(int j, u32* a) const {
    const u32 x = j == 0 ? w.x : j == 1 ? w.y : j == 2 ? w.z : w.w;
    a[0] = x & 0x0F0F0F0Fu, a[1] = x >> 4 & 0x0F0F0F0Fu;
  }
};
template <> struct Bytes<8> {
  uint4 w, v;
  DEV void load(const char* tile, int lane) {
    w = *(const uint4*)(tile + lane * 16);
    v = *(const uint4*)(tile + 512 + lane * 16);
  }
  DEV void step(int j, u32* a) const {
    const u32 x = j == 0 ? w.x : j == 1 ? w.z : j == 2 ? v.x : v.z, y = j == 0 ? w.y : j == 1 ? w.w : j == 2 ? v.y : v.w;
    a[0] = __byte_perm(x, y, 0x5140), a[1] = __byte_perm(x, y, 0x7362);
  }
};
DEV u32 spread_twos(u32 x) { return and_or(x << 4, 0x03000300u, x & 0x00030003u); }  // bits 0, 4, 16 and 20 on
template <> struct Bytes<2> {
  uint2 w;
  DEV void load(const char* tile, int lane) { w = *(const uint2*)(tile + lane * 8); }
  DEV void step(int j, u32* a) const {
    const u32 x = (j < 2 ? w.x : w.y) >> 8 * (j & 1);
    a[0] = spread_twos(x), a[1] = spread_twos(x >> 2);
  }
};
template <> struct Bytes<3> {
  uint2 w;
  u32 h;
  DEV void load(const char* tile, int lane) {
    w = *(const uint2*)(tile + lane * 8);
    h = *(const u32*)(tile + 256 + lane * 4);
  }
  DEV void step(int j, u32* a) const {
    const u32 x = (j < 2 ? w.x : w.y) >> 8 * (j & 1);
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const u32 high = h >> (4 * j + i);  // bits 0, 2, 16 and 18 on
      a[i] = and_or(high << 2, 0x00040004u, and_or(high << 8, 0x04000400u, spread_twos(x >> 2 * i)));
    }
  }
};
