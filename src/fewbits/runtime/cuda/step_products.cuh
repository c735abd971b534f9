// Products: the warps of a block share the inputs; each holds its sum for the 16 outputs of a tile.
//
// Codes are multiplied as bytes (step_bytes.cuh); a codebook's, whose values are no whole numbers, as f16.
template <int KIND> struct Inputs {  // of one tile of 64: the mma's right operand
  static constexpr int COLUMNS = 3, COLUMN = 64, TILE = DIGITS;  // columns that are not zero, bytes of one and of a tile
  u32 b[4];
  float2 unit;  // of the product, and the inputs' sum
  DEV void read(const char* from, const char* scales) {
    const uint4 v = *(const uint4*)from;
    b[0] = v.x, b[1] = v.y, b[2] = v.z, b[3] = v.w;
    unit = *(const float2*)scales;
  }
  static DEV const char* scales(const char* x, const Shared&, int kb) { return x + kb * TILE + 192 + (threadIdx.x & 3 ? 8 : 0); }
  static constexpr int SCALES = TILE;
};
template <> struct Inputs<NF4> {  // columns 0 and 1 are high and low parts
  static constexpr int COLUMNS = 2, COLUMN = 128, TILE = 256, SCALES = 4;
  u32 b[8];
  float unit;
  DEV void read(const char* from, const char* scales) {
    const uint4 low = *(const uint4*)from, high = *(const uint4*)(from + 16);
    b[0] = low.x, b[1] = low.y, b[2] = low.z, b[3] = low.w, b[4] = high.x, b[5] = high.y, b[6] = high.z, b[7] = high.w;
    unit = *(const float*)scales;
  }
  static DEV const char* scales(const char*, const Shared& sh, int kb) { return (const char*)(sh.xs + kb); }
};
template <int KIND> struct Reader {  // of a lane: its part of a tile's inputs, or zeros; `step` bytes lead to the next tile
  typedef Inputs<KIND> In;
  const char *from, *scales;
  int step;
  DEV Reader(const char* x, const Shared& sh, int kb) {
    const int lane = threadIdx.x & 31, column = lane >> 2;
    from = column < In::COLUMNS ? x + kb * In::TILE + column * In::COLUMN + (lane & 3) * (In::COLUMN / 4) : (const char*)sh.zeros;
    scales = In::scales(x, sh, kb), step = column < In::COLUMNS ? In::TILE : 0;
  }
  DEV void read(In& in, int ahead) const { in.read(from + ahead * step, scales + ahead * In::SCALES); }
  DEV void advance(int tiles) { from += tiles * step, scales += tiles * In::SCALES; }
};
template <int KIND> struct Tile {
  Bytes<KIND> c;
  uint2 m;
  typedef int Sum;
  DEV void load(const char* tile, const char* meta) {
    const int lane = threadIdx.x & 31;
    c.load(tile, lane);
    m = *(const uint2*)(meta + (lane >> 2) * 8);
  }
  static DEV void start(int (&d)[4]) { d[0] = d[1] = d[2] = d[3] = 0; }
  template <int J> DEV void multiply(int (&d)[4], const Inputs<KIND>& x, const u32*) const {
    if (J & 1) return;
    u32 a[4];
    c.step(J, a), c.step(J + 1, a + 2);
    mma_u8(d, a, x.b[J], x.b[J + 1]);
  }
  DEV void add(const int (&d)[4], const Inputs<KIND>& x, float (&row)[2]) const {
    const float v0 = (float)(d[0] * 256 + d[1]), v1 = (float)(d[2] * 256 + d[3]);
    row[0] += half_to_float(m.x) * (v0 * x.unit.x - high_to_float(m.x) * x.unit.y);
    row[1] += half_to_float(m.y) * (v1 * x.unit.x - high_to_float(m.y) * x.unit.y);
  }
};
template <> struct Tile<NF4> {
  Codes<NF4> c;
  uint2 m;
  typedef float Sum;
  DEV void load(const char* tile, const char* meta) {
    const int lane = threadIdx.x & 31;
    c.load(tile, lane);
    m = *(const uint2*)(meta + (lane >> 2) * 8);
  }
  static DEV void start(float (&d)[4]) { d[0] = d[1] = d[2] = d[3] = 0.f; }
  template <int J> DEV void multiply(float (&d)[4], const Inputs<NF4>& x, const u32* book) const {
    u32 a[4];
    c.step(J, a, book);
    mma_f16(d, a, x.b[2 * J], x.b[2 * J + 1]);
  }
  DEV void add(const float (&d)[4], const Inputs<NF4>& x, float (&row)[2]) const {
    row[0] += half_to_float(m.x) * x.unit * (d[0] + d[1]);
    row[1] += half_to_float(m.y) * x.unit * (d[2] + d[3]);
  }
};
template <int KIND>  // two at once: an mma waits about 33 cycles for the one before it
DEV void add_two(const Tile<KIND>& p, const Tile<KIND>& q, const Inputs<KIND>& x, const Inputs<KIND>& y, const u32* book, float (&row)[2]) {
  typename Tile<KIND>::Sum d[4], e[4];
  p.start(d), q.start(e);
  p.template multiply<0>(d, x, book), q.template multiply<0>(e, y, book);
  p.template multiply<1>(d, x, book), q.template multiply<1>(e, y, book);
  p.template multiply<2>(d, x, book), q.template multiply<2>(e, y, book);
  p.template multiply<3>(d, x, book), q.template multiply<3>(e, y, book);
  p.add(d, x, row);
  q.add(e, y, row);
}
template <int KIND> DEV void add_one(const Tile<KIND>& p, const Inputs<KIND>& x, const u32* book, float (&row)[2]) {
  typename Tile<KIND>::Sum d[4];
  p.start(d);
  p.template multiply<0>(d, x, book);
  p.template multiply<1>(d, x, book);
  p.template multiply<2>(d, x, book);
  p.template multiply<3>(d, x, book);
  p.add(d, x, row);
}
typedef float Sums[16][20];  // of a tile: by output and part; 20, so that eight rows' vectors are in different banks
DEV float* my_sums(Sums* sums, int part) { return &sums[0][(threadIdx.x & 31) >> 2][part]; }
template <int KIND> DEV void keep_sums(float*& to, float (&row)[2]) {  // of a tile, then of the next
  if (KIND != NF4) {  // columns 2 and 3 are the next lane's
    row[0] += __shfl_xor_sync(~0u, row[0], 1);
    row[1] += __shfl_xor_sync(~0u, row[1], 1);
  }
  if (!(threadIdx.x & 3)) to[0] = row[0], to[8 * 20] = row[1];
  to += sizeof(Sums) / 4;
}
template <int KIND> struct Place {  // of tiles in the ring: a chunk's codes, then its scales
  static constexpr int CHUNK = KIND == 8 ? 16 : 32, TILE = 128 * (KIND == NF4 ? 4 : KIND), MINE = CHUNK / WARPS;
};
// All warps share a tile of outputs; each has two tiles along the inputs at a time. (Four warps for two tiles that share inputs, eight
// tiles at once, took 437 us a step where this took 391: warps then wait for their own slots one after another. Two tiles of outputs at
// once per warp, and puts and sums with more at once, took 373 where this takes 356, for all that each phase's own code was faster.)
//
// Inputs are never chosen by reference: that would put them into local memory, which is far away while weights stream by.
template <int KIND> DEV void two_slots(Ring& ring, Reader<KIND>& reader, int at, int m, const u32* book, float (&row)[2]) {
  typedef Place<KIND> P;
  const int warp = threadIdx.x >> 5;
  const char *w0 = ring.wait(), *w1 = ring.wait_next();
  Tile<KIND> tiles[2 * P::MINE];
#pragma unroll
  for (int i = 0; i < 2 * P::MINE; i++) {
    const char* slot = i < P::MINE ? w0 : w1;
    const int k = i % P::MINE * WARPS + warp, start = i < P::MINE ? at : at + P::CHUNK;
    tiles[i].load(slot + k * P::TILE, slot + P::CHUNK * P::TILE + ((start + k >> m) - (start >> m)) * 64);
  }
  ring.free_two();
#pragma unroll
  for (int i = 0; i < 2 * P::MINE; i += 2) {
    Inputs<KIND> in0, in1;
    reader.read(in0, i * WARPS);
    reader.read(in1, (i + 1) * WARPS);
    add_two<KIND>(tiles[i], tiles[i + 1], in0, in1, book, row);
  }
  reader.advance(2 * P::CHUNK);
}
template <int KIND> DEV void one_slot(Ring& ring, Reader<KIND>& reader, int at, int kbs, int m, const u32* book, float (&row)[2]) {
  typedef Place<KIND> P;
  const int warp = threadIdx.x >> 5, have = min(P::CHUNK, kbs - at);
  const char* slot = ring.wait();
#pragma unroll
  for (int i = 0; i < P::MINE; i++) {
    const int k = i * WARPS + warp;
    if (k < have) {
      Tile<KIND> tile;
      Inputs<KIND> in;
      tile.load(slot + k * P::TILE, slot + have * P::TILE + ((at + k >> m) - (at >> m)) * 64);
      reader.read(in, i * WARPS);
      add_one<KIND>(tile, in, book, row);
    }
  }
  ring.free();
  reader.advance(P::CHUNK);
}
template <int KIND> DEV void any_items(const Product& product, Ring& ring, const char* x, Shared& sh, Sums* sums, int count) {
  const int kbs = product.kb, m = product.m, warp = threadIdx.x >> 5;
  float* to = my_sums(sums, warp);
#pragma unroll 1
  for (int entry = 0; entry < count; entry++) {
    float row[2] = {0.f, 0.f};
    Reader<KIND> reader(x, sh, warp);
    int at = 0;
#pragma unroll 1
    for (; at + 2 * Place<KIND>::CHUNK <= kbs; at += 2 * Place<KIND>::CHUNK) two_slots<KIND>(ring, reader, at, m, sh.book, row);
#pragma unroll 1
    for (; at < kbs; at += Place<KIND>::CHUNK) one_slot<KIND>(ring, reader, at, kbs, m, sh.book, row);
    keep_sums<KIND>(to, row);
  }
}
// 32 tiles along the inputs: each warp keeps its two in registers.
template <int KIND> DEV void kept_items(const Product& product, Ring& ring, const char* x, Shared& sh, Sums* sums, int count) {
  constexpr int CHUNK = Place<KIND>::CHUNK, TILE = Place<KIND>::TILE, SECOND = CHUNK == 32 ? WARPS : 0;
  const int warp = threadIdx.x >> 5, codes = warp * TILE, meta0 = CHUNK * TILE + (warp >> product.m) * 64;
  const int meta1 = CHUNK * TILE + (warp + SECOND >> product.m) * 64;
  const Reader<KIND> reader(x, sh, warp);
  Inputs<KIND> in0, in1;
  reader.read(in0, 0);
  reader.read(in1, WARPS);
  float* to = my_sums(sums, warp);
#pragma unroll 1
  for (int entry = 0; entry < count; entry++) {
    float row[2] = {0.f, 0.f};
    Tile<KIND> p, q;
    const char* slot = ring.wait();
    p.load(slot + codes, slot + meta0);
    if (!SECOND) slot = ring.wait_next();
    q.load(slot + codes + SECOND * TILE, slot + meta1);
    if (SECOND) ring.free();
    else ring.free_two();
    add_two<KIND>(p, q, in0, in1, sh.book, row);
    keep_sums<KIND>(to, row);
  }
}
template <int KIND> DEV void tile_items(const Product& product, Ring& ring, const char* x, Shared& sh, Sums* sums, int count) {
  if (product.kb == 32) kept_items<KIND>(product, ring, x, sh, sums, count);
  else any_items<KIND>(product, ring, x, sh, sums, count);
}
