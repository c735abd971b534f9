// Products: the warps of a block share the inputs; each holds its sum for the 16 outputs of a tile.
struct Inputs {  // of one tile of 64: the mma's right operand, whose columns 0 and 1 are the high and low parts, the rest is zero
  u32 b[8];
  float sum;
};
struct Reader {  // of a lane: its part of a tile's inputs, or zeros; `step` bytes lead to the next tile
  const char* from;
  const float* sums;
  int step;
  DEV Reader(const char* x, const Shared& sh, int kb) {
    const int lane = threadIdx.x & 31, column = lane >> 2;
    from = column < 2 ? x + ((kb * 2 + column) * 4 + (lane & 3)) * 32 : (const char*)sh.zeros;
    sums = sh.xs + kb, step = column < 2 ? 256 : 0;
  }
  DEV void read(Inputs& in, int ahead) const {
    const uint4 low = *(const uint4*)(from + ahead * step), high = *(const uint4*)(from + ahead * step + 16);
    in.b[0] = low.x, in.b[1] = low.y, in.b[2] = low.z, in.b[3] = low.w, in.b[4] = high.x, in.b[5] = high.y, in.b[6] = high.z, in.b[7] = high.w;
    in.sum = sums[ahead];
  }
  DEV void advance(int tiles) { from += tiles * step, sums += tiles; }
};
template <int KIND> struct Tile {
  Codes<KIND> c;
  uint2 m;
  DEV void load(const char* tile, const char* meta) {
    const int lane = threadIdx.x & 31;
    c.load(tile, lane);
    m = *(const uint2*)(meta + (lane >> 2) * 8);
  }
  // d: what the codes' bias adds is taken off at the start, as the first mma's addend.
  DEV void add(const float (&d)[4], float sum, float (&row)[2]) const {
    const float v0 = d[0] + d[1], v1 = (d[2] + d[3]) * (1.f / Codes<KIND>::FACTOR);
    if (KIND == NF4) {
      row[0] += half_to_float(m.x) * v0;
      row[1] += half_to_float(m.y) * v1;
    } else {
      row[0] += half_to_float(m.x) * (v0 - high_to_float(m.x) * sum);
      row[1] += half_to_float(m.y) * (v1 - high_to_float(m.y) * sum);
    }
  }
};
template <int KIND>  // two at once: an mma waits about 33 cycles for the one before it
DEV void add_two(const Tile<KIND>& p, const Tile<KIND>& q, const Inputs& x, const Inputs& y, const u32* book, float (&row)[2],
                 float (&other)[2]) {
  const float bp = -Codes<KIND>::BASE * x.sum, bq = -Codes<KIND>::BASE * y.sum;
  const float cp[4] = {bp, 0.f, bp, 0.f}, cq[4] = {bq, 0.f, bq, 0.f};
  float d[4], e[4];
#pragma unroll
  for (int j = 0; j < 4; j++) {
    u32 r[4], s[4];
    p.c.step(j, r, book);
    if (j) mma_f16(d, r, x.b[2 * j], x.b[2 * j + 1]);
    else mma_f16_from(d, r, x.b[0], x.b[1], cp);
    q.c.step(j, s, book);
    if (j) mma_f16(e, s, y.b[2 * j], y.b[2 * j + 1]);
    else mma_f16_from(e, s, y.b[0], y.b[1], cq);
  }
  p.add(d, x.sum, row);
  q.add(e, y.sum, other);
}
template <int KIND>
DEV void add_one(const char* tile, const char* meta, const Inputs& x, const u32* book, float (&row)[2]) {
  Tile<KIND> p;
  p.load(tile, meta);
  const float bp = -Codes<KIND>::BASE * x.sum, cp[4] = {bp, 0.f, bp, 0.f};
  float d[4];
#pragma unroll
  for (int j = 0; j < 4; j++) {
    u32 r[4];
    p.c.step(j, r, book);
    if (j) mma_f16(d, r, x.b[2 * j], x.b[2 * j + 1]);
    else mma_f16_from(d, r, x.b[0], x.b[1], cp);
  }
  p.add(d, x.sum, row);
}
typedef float Sums[16][17];  // of a tile: by output and part
DEV void keep_sums(Sums& to, int part, const float (&row)[2]) {
  const int lane = threadIdx.x & 31;
  if (lane & 3) return;
  to[lane >> 2][part] = row[0];
  to[(lane >> 2) + 8][part] = row[1];
}
template <int KIND> struct Place {  // of tiles in the ring: a chunk's codes, then its scales
  static constexpr int CHUNK = KIND == 8 ? 16 : 32, TILE = 128 * (KIND == NF4 ? 4 : KIND);
};
// All warps share a tile of outputs; each has two tiles along the inputs at a time. (Four warps for two tiles that share inputs, eight
// tiles at once, took 437 us a step where this takes 391: warps then wait for their own slots one after another.)
//
// Inputs are never chosen by reference: that would put them into local memory, which is far away while weights stream by.
template <int KIND> DEV void any_items(const Core& ph, Ring& ring, const char* x, Shared& sh, Sums* sums, int count) {
  constexpr int CHUNK = Place<KIND>::CHUNK, TILE = Place<KIND>::TILE;
  const int kbs = ph.kb, m = ph.m, warp = threadIdx.x >> 5;
#pragma unroll 1
  for (int entry = 0; entry < count; entry++) {
    float row[2] = {0.f, 0.f};
    Reader reader(x, sh, warp);
#pragma unroll 1
    for (int at = 0; at < kbs; at += 32) {
      const int k0 = at + warp, k1 = k0 + WARPS, in_first = min(CHUNK, kbs - at), start = CHUNK == 16 ? at + 16 : at;
      const bool more = CHUNK == 16 && at + 16 < kbs;
      const char *w0 = ring.wait(0), *w1 = more ? ring.wait(1) : w0;
      const int in_second = more ? min(CHUNK, kbs - start) : in_first;
      const char *c0 = w0 + warp * TILE, *m0 = w0 + in_first * TILE + ((k0 >> m) - (at >> m)) * 64;
      Inputs in0, in1;
      if (k1 < kbs) {
        const char *c1 = CHUNK == 32 ? c0 + WARPS * TILE : w1 + warp * TILE, *m1 = w1 + in_second * TILE + ((k1 >> m) - (start >> m)) * 64;
        Tile<KIND> p, q;
        p.load(c0, m0);
        q.load(c1, m1);
        reader.read(in0, 0);
        reader.read(in1, WARPS);
        add_two<KIND>(p, q, in0, in1, sh.book, row, row);
      } else if (k0 < kbs) {
        reader.read(in0, 0);
        add_one<KIND>(c0, m0, in0, sh.book, row);
      }
      reader.advance(2 * WARPS);
      ring.free(0);
      if (more) ring.free(1);
      ring.advance(more ? 2 : 1);
    }
    keep_sums(sums[entry], warp, row);
  }
}
// 32 tiles along the inputs: each warp keeps its two in registers.
template <int KIND> DEV void kept_items(const Core& ph, Ring& ring, const char* x, Shared& sh, Sums* sums, int count) {
  constexpr int CHUNK = Place<KIND>::CHUNK, TILE = Place<KIND>::TILE;
  const int warp = threadIdx.x >> 5, second = CHUNK == 32 ? warp + WARPS : warp;
  const u32 codes = warp * TILE, meta0 = CHUNK * TILE + (warp >> ph.m) * 64, meta1 = CHUNK * TILE + (second >> ph.m) * 64;
  const Reader reader(x, sh, warp);
  Inputs in0, in1;
  reader.read(in0, 0);
  reader.read(in1, WARPS);
#pragma unroll 1
  for (int entry = 0; entry < count; entry++) {
    float row[2] = {0.f, 0.f};
    const char *w0 = ring.wait(0), *w1 = CHUNK == 32 ? w0 : ring.wait(1);
    Tile<KIND> p, q;
    p.load(w0 + codes, w0 + meta0);
    q.load(w1 + second * TILE, w1 + meta1);
    add_two<KIND>(p, q, in0, in1, sh.book, row, row);
    ring.free(0);
    if (CHUNK == 16) ring.free(1);
    ring.advance(CHUNK == 16 ? 2 : 1);
    keep_sums(sums[entry], warp, row);
  }
}
template <int KIND> DEV void tile_items(const Core& ph, Ring& ring, const char* x, Shared& sh, Sums* sums, int count) {
  if (ph.kb == 32) kept_items<KIND>(ph, ring, x, sh, sums, count);
  else any_items<KIND>(ph, ring, x, sh, sums, count);
}
DEV void eight_products(uint4 w, const float (&x)[8], float& sum) {
#if BF16
  sum += low_bf16(w.x) * x[0] + high_bf16(w.x) * x[1] + low_bf16(w.y) * x[2] + high_bf16(w.y) * x[3];
  sum += low_bf16(w.z) * x[4] + high_bf16(w.z) * x[5] + low_bf16(w.w) * x[6] + high_bf16(w.w) * x[7];
#else
  sum += half_to_float(w.x) * x[0] + half_to_float(w.x >> 16) * x[1] + half_to_float(w.y) * x[2] + half_to_float(w.y >> 16) * x[3];
  sum += half_to_float(w.z) * x[4] + half_to_float(w.z >> 16) * x[5] + half_to_float(w.w) * x[6] + half_to_float(w.w >> 16) * x[7];
#endif
}
DEV void eight_floats(float (&to)[8], const char* x, int vector) {
  const float4 p = *(const float4*)(x + vector * 32), q = *(const float4*)(x + vector * 32 + 16);
  to[0] = p.x, to[1] = p.y, to[2] = p.z, to[3] = p.w, to[4] = q.x, to[5] = q.y, to[6] = q.z, to[7] = q.w;
}
DEV void row_items(const Core& ph, Ring& ring, const char* x, Sums* sums, int count) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int split = ph.parts, chunk = WARPS / split, row = warp / split, part = warp % split, vectors = ph.k / 8;
  const int from = vectors * part / split + lane, to = vectors * (part + 1) / split;
  const bool kept = vectors / split <= 64;
  float in[2][8];
#pragma unroll
  for (int n = 0; n < 2; n++) {
    const bool have = kept && from + 32 * n < to;
    eight_floats(in[n], x, have ? from + 32 * n : 0);
#pragma unroll
    for (int i = 0; i < 8; i++) in[n][i] = have ? in[n][i] : 0.f;
  }
#pragma unroll 1
  for (int entry = 0; entry < count; entry++)
#pragma unroll 1
    for (int at = 0; at < 16; at += chunk) {
      const uint4* w = (const uint4*)(ring.wait() + row * ph.k * 2);
      float sum = 0.f, more = 0.f;
      if (kept) {  // past the row's end: this lane's first vector, times zeros
        eight_products(w[from < to ? from : 0], in[0], sum);
        eight_products(w[from + 32 < to ? from + 32 : 0], in[1], more);
        sum += more;
      } else
#pragma unroll 1
        for (int v = from; v < to; v += 32) {
          float one[8];
          eight_floats(one, x, v);
          eight_products(w[v], one, sum);
        }
      ring.free();
#pragma unroll
      for (int o = 16; o; o >>= 1) sum += __shfl_xor_sync(~0u, sum, o);
      if (!lane) sums[entry][at + row][part] = sum;
    }
}
DEV void products(const Core& ph, Ring& ring, const char* x, Shared& sh, Sums* sums, int count) {
  switch (ph.kind) {
#if KINDS & 32
    case 16: row_items(ph, ring, x, sums, count); break;
#endif
#if KINDS & 1
    case 4: tile_items<4>(ph, ring, x, sh, sums, count); break;
#endif
#if KINDS & 2
    case 8: tile_items<8>(ph, ring, x, sh, sums, count); break;
#endif
#if KINDS & 4
    case 3: tile_items<3>(ph, ring, x, sh, sums, count); break;
#endif
#if KINDS & 8
    case 2: tile_items<2>(ph, ring, x, sh, sums, count); break;
#endif
#if KINDS & 16
    case NF4: tile_items<NF4>(ph, ring, x, sh, sums, count); break;
#endif
  }
}
