// A tile whose inputs come in their own order: the left operand of products whose right one is x as it lies in memory. In a tile (see
// layout.py) a lane holds inputs 4 t to 4 t + 3 of each 16; the operand wants 2 t, 2 t + 1, 2 t + 8 and 2 t + 9. A lane reads these from
// where two lanes' words lie and puts the pairs side by side, as if they were steps of the tile: step 2 h + p holds, of the sixteens
// 16 h and 32 + 16 h, the inputs 2 t + 8 p and 2 t + 8 p + 1.
template <int> struct Natural;
template <> struct Natural<4> {
  uint2 a, b;
  DEV void load(const char* tile, int g, int t) {
    a = *(const uint2*)(tile + g * 64 + t * 8), b = *(const uint2*)(tile + g * 64 + 32 + t * 8);
  }
  DEV void steps(uint4& w) const {
    w = make_uint4(__byte_perm(a.x, a.y, 0x5410), __byte_perm(b.x, b.y, 0x5410),
                   __byte_perm(a.x, a.y, 0x7632), __byte_perm(b.x, b.y, 0x7632));
  }
  DEV void codes(Codes<4>& c, int) const { steps(c.w); }
};
template <> struct Natural<NF4> : Natural<4> {
  DEV void codes(Codes<NF4>& c, int) const { steps(c.w); }
};
template <> struct Natural<8> {
  uint4 a, b;
  DEV void load(const char* tile, int g, int t) {
    const char* from = tile + (t & 1) * 512 + (4 * g + (t >> 1)) * 16;
    a = *(const uint4*)from, b = *(const uint4*)(from + 32);
  }
  DEV void codes(Codes<8>& c, int) const {
    c.w = make_uint4(__byte_perm(a.x, a.z, 0x6240), __byte_perm(a.y, a.w, 0x6240),
                     __byte_perm(b.x, b.z, 0x6240), __byte_perm(b.y, b.w, 0x6240));
    c.v = make_uint4(__byte_perm(a.x, a.z, 0x7351), __byte_perm(a.y, a.w, 0x7351),
                     __byte_perm(b.x, b.z, 0x7351), __byte_perm(b.y, b.w, 0x7351));
  }
};
template <> struct Natural<2> {
  u32 a, b;
  DEV void load(const char* tile, int g, int t) { a = *(const u32*)(tile + g * 32 + t * 4), b = *(const u32*)(tile + g * 32 + 16 + t * 4); }
  DEV void steps(uint2& w) const { w = make_uint2(__byte_perm(a, b, 0x5140), __byte_perm(a, b, 0x7362)); }
  DEV void codes(Codes<2>& c, int) const { steps(c.w); }
};
template <> struct Natural<3> : Natural<2> {
  u32 high[2];
  DEV void load(const char* tile, int g, int t) {
    Natural<2>::load(tile, g, t);
    high[0] = *(const u32*)(tile + 256 + (4 * g + (t >> 1)) * 4), high[1] = *(const u32*)(tile + 256 + (4 * g + 2 + (t >> 1)) * 4);
  }
  static DEV u32 spread(u32 high, int t) {  // nibbles of steps 0 and 2, of the even inputs below and the odd ones above
    const u32 both = __byte_perm(high >> (8 * (t & 1)), 0, 0x2020);
    return (both & 0x0F0Fu) | (both >> 4 & 0x0F0F0000u);
  }
  DEV void codes(Codes<3>& c, int t) const {
    steps(c.w);
    c.h = spread(high[0], t) | spread(high[1], t) << 4;
  }
};
