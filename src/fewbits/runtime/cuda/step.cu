// A whole decode step (or several) of a transformer in one kernel that stays on the GPU: one block an SM, the weights streamed by
// a producer warp through a ring in shared memory while sixteen warps compute; phases are separated by barriers over the grid,
// across which the ring keeps filling. Nothing is added by atomics, so the same input gives the same bits.
//
// Compiled with HD (head size), RT (query heads that share a pass over keys), SLOT (bytes of a ring slot), GROUP (slots that share a
// barrier), SMALL (bytes for struct Shared), BF16 (16-bit type), PROFILE,
// KINDS (the sorts of weights that occur, as bits), LAYERNORM (else RMSNorm), NORMS (normed inputs of a thread, in fours).
#define WARPS 16
#define CONSUMERS (WARPS * 32)
#define BATCH 8  // tiles summed over the warps at a time
#define SPLITS 6  // of attention, merged at a time
#define KEYS 512  // keys scored at a time
#define KBMAX 512
#define LPK (HD <= 32 ? 4 : HD <= 64 ? 8 : 16)  // lanes that share a key
#define SUBS (32 / LPK)

enum Type { QKV, ATTEND, OUT, GATED, PLAIN, DOWN, HEAD };

struct Seg {
  const char* w;
  const char* meta;
  const float* bias;
  int tiles, rows, out0, kind, m, chunk;  // 2^m tiles a group; chunk: tiles a slot (kind 16: rows a slot)
};
struct Phase {
  Seg seg[3];
  const float* norm_w;
  const float* norm_b;
  int type, segs, units, kb, k, layer, raw, next_raw;
};
__constant__ Phase PHASES[320];
__constant__ u32 BOOK[16];

struct Args {
  float *h, *qkv, *act, *part_acc, *part_ml;
  char *keys, *values;
  const float *cos, *sin;
  const char *embed, *embed_meta;
  const u16* positions;
  u64* best;
  int* tokens;
  float* logits;
  u32* barrier;
  u32 barrier_base;
  int phases, slots, steps, pos;
  int hidden, heads, kv_heads, max_len, splits, split_keys, layer_norm;
  int embed_kind, embed_m, gelu, rope_dim;
  float eps, attn_scale, inv_temperature, embed_scale;
  u32 seed;
  u32 ring_bytes, x_bytes;
  const Phase* phase_list;
  float* act_sums;
  long long* profile;
};

DEV u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }
DEV void mbar_init(u64* bar, u32 count) { asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(shared_address(bar)), "r"(count)); }
DEV void mbar_arrive(u64* bar) { asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(shared_address(bar)) : "memory"); }
DEV void mbar_expect(u64* bar, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(shared_address(bar)), "r"(bytes) : "memory");
}
DEV void mbar_wait(u64* bar, u32 parity) {
  u32 done = 0;
  for (u32 n = 0; !done; n++) {
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                 : "=r"(done) : "r"(shared_address(bar)), "r"(parity) : "memory");
    if (n > (1u << 22)) __trap();
  }
}
DEV void bulk_copy(void* to, const void* from, u32 bytes, u64* bar) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_address(to)),
               "l"(from), "r"(bytes), "r"(shared_address(bar)) : "memory");
}
DEV void consumers_sync() { asm volatile("bar.sync 1, 512;" ::: "memory"); }
DEV float4 cached4(const float* p) { return __ldcg((const float4*)p); }

#if PROFILE
__shared__ long long marks[16];
#define MARK(i) \
  if (!threadIdx.x) marks[i] = clock64()
#define KEEP_MARKS \
  if (threadIdx.x < 16) a.profile[(blockIdx.x * a.phases + p) * 16 + threadIdx.x] = marks[threadIdx.x], marks[threadIdx.x] = 0
#else
#define MARK(i)
#define KEEP_MARKS
#endif
struct Shared {  // what is small
  u64 full[32], empty[32];
  float xs[KBMAX];
  float red[BATCH][16][17];
  float warp_sums[2][WARPS];
  u64 warp_best[WARPS];
  u32 book[16];
  float tops[WARPS][4];  // largest scores by warp
  Phase phase[2];  // this one and the next: constant memory would be waited for
  uint4 zeros[2];
  int token;
};
static_assert(sizeof(Shared) <= SMALL, "struct Shared is given SMALL bytes");

// ---- the grid's barrier: block arrivals are counted up and never reset ----
DEV void grid_arrive(const Args& a) {
  asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(a.barrier) : "memory");
}
DEV void grid_wait(const Args& a, u32 count) {
  if (threadIdx.x == 0) {
    u32 target = a.barrier_base + count * gridDim.x, seen;
    for (u32 n = 0;; n++) {
      asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(a.barrier) : "memory");
      if ((int)(seen - target) >= 0) break;
      if (n > (1u << 23)) __trap();
    }
  }
  consumers_sync();
}

// ---- which tiles are this block's ----
DEV void my_units(const Phase& ph, int& from, int& to) {
  from = (u32)ph.units * blockIdx.x / gridDim.x;  // below 2^32: a vocabulary of 2^20 has 2^16 tiles
  to = (u32)ph.units * (blockIdx.x + 1) / gridDim.x;
}
DEV const Seg& locate(const Phase& ph, int unit, int part, int& tile) {
  tile = unit;
  if (ph.type == GATED) return ph.seg[part];
  int s = 0;
  while (s + 1 < ph.segs && tile >= ph.seg[s].tiles) tile -= ph.seg[s++].tiles;
  return ph.seg[s];
}
DEV int parts_of(const Phase& ph) { return ph.type == GATED ? 2 : 1; }

// ---- the producer ----
DEV void produce(const Args& a, char* ring, Shared& sh) {
  u32 slot = 0, parity = 1, in_group = 0, group = 0;
  for (int step = 0; step < a.steps; step++)
    for (int p = 0; p < a.phases; p++) {
      const Phase& ph = PHASES[p];
      if (ph.type == ATTEND) continue;
      int from, to, tile;
      my_units(ph, from, to);
      for (int item = from * parts_of(ph); item < to * parts_of(ph); item++) {
        const Seg& sg = locate(ph, item / parts_of(ph), item % parts_of(ph), tile);
        const bool raw = sg.kind == 16;
        const int total = raw ? 16 : ph.kb, have = raw ? sg.rows - tile * 16 : ph.kb;
        const u32 unit_bytes = raw ? ph.k * 2 : 128 * bits_of(sg.kind);
        const char* w = sg.w + (u64)tile * (raw ? 16 : ph.kb) * unit_bytes;
        const int groups = raw ? 0 : ((ph.kb - 1) >> sg.m) + 1;
        for (int at = 0; at < total; at += sg.chunk) {
          const int count = max(0, min(sg.chunk, have - at));  // rows past the end are not read
          if (in_group == 0) mbar_wait(&sh.empty[group], parity);
          char* to_ = ring + slot * SLOT;
          const u32 bytes = count * unit_bytes;
          const int g0 = raw ? 0 : at >> sg.m;
          const u32 more = raw ? 0 : (((at + count - 1) >> sg.m) - g0 + 1) * 64;
          mbar_expect(&sh.full[group], bytes + more);
          if (bytes) bulk_copy(to_, w + (u64)at * unit_bytes, bytes, &sh.full[group]);
          if (more) bulk_copy(to_ + bytes, sg.meta + ((u64)tile * groups + g0) * 64, more, &sh.full[group]);
          if (++slot == a.slots) slot = 0;
          if (++in_group == GROUP) {
            in_group = 0;
            if (++group == a.slots / GROUP) group = 0, parity ^= 1;
          }
        }
      }
    }
  while (in_group && in_group++ < GROUP) mbar_arrive(&sh.full[group]);  // the last group is not whole
}

// ---- what a phase multiplies: x in shared memory, as f16 high and low parts in the order of the tiles, or as it is ----
DEV void spread(float (&to)[4], float4 v) { to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w; }
// Four inputs, 4 p ..: all lanes of a warp call this. Lane 4 apart holds the other half of the words: one of the two writes the high
// parts, the other the low parts.
DEV void put(char* x, Shared& sh, const Phase& ph, int p, bool valid, const float (&v)[4], float scale) {
  if (ph.raw) {
    if (valid) *(float4*)(x + p * 16) = make_float4(v[0], v[1], v[2], v[3]);
    return;
  }
  float c[4];
#pragma unroll
  for (int j = 0; j < 4; j++) c[j] = valid ? fminf(fmaxf(v[j] * scale, -65504.f), 65504.f) : 0.f;
  const u32 h0 = halves(c[0], c[1]), h1 = halves(c[2], c[3]);
  const float r[4] = {half_to_float(h0), half_to_float(h0 >> 16), half_to_float(h1), half_to_float(h1 >> 16)};
  const u32 l0 = halves(c[0] - r[0], c[1] - r[1]), l1 = halves(c[2] - r[2], c[3] - r[3]);
  float sum = ((r[0] + half_to_float(l0)) + (r[1] + half_to_float(l0 >> 16))) + ((r[2] + half_to_float(l1)) + (r[3] + half_to_float(l1 >> 16)));
  const int kb = p >> 4, second = p >> 3 & 1, half = p >> 2 & 1, t = p & 3;
  const u32 o0 = __shfl_xor_sync(~0u, half ? h0 : l0, 4), o1 = __shfl_xor_sync(~0u, half ? h1 : l1, 4);
#pragma unroll
  for (int o = 1; o < 16; o <<= 1) sum += __shfl_xor_sync(~0u, sum, o);
  if (!valid) return;
  u32* to = (u32*)x + ((kb * 2 + half) * 4 + t) * 8 + second;
  const u32 a0 = half ? o0 : h0, b0 = half ? l0 : o0, a1 = half ? o1 : h1, b1 = half ? l1 : o1;
  to[0] = __byte_perm(a0, b0, 0x5410);
  to[2] = __byte_perm(a0, b0, 0x7632);
  to[4] = __byte_perm(a1, b1, 0x5410);
  to[6] = __byte_perm(a1, b1, 0x7632);
  if (!(p & 15)) sh.xs[kb] = sum;
}

DEV float from16(u16 v) {
#if BF16
  return __uint_as_float((u32)v << 16);
#else
  return half_to_float(v);
#endif
}
DEV u16 to16(float v) {
#if BF16
  return (u16)bhalves(v, 0.f);
#else
  return (u16)halves(v, 0.f);
#endif
}
DEV void sixteens(float (&to)[4], const u16* from) {
  const ushort4 v = *(const ushort4*)from;
  to[0] = from16(v.x), to[1] = from16(v.y), to[2] = from16(v.z), to[3] = from16(v.w);
}
DEV u32 code_at(const Args& a, int row, int k, int j) {  // input k + j of a row of a quantized embedding; k % 4 == 0
  const int bits = bits_of(a.embed_kind), kb = k >> 6, second = k >> 5 & 1, half = k >> 4 & 1;
  const int lane = (row & 7) * 4 + (k >> 2 & 3), i = (row >> 3 & 1) + 2 * second;
  const u32* tile = (const u32*)a.embed + ((u64)(row >> 4) * (a.hidden >> 6) + kb) * 32 * bits;
  if (bits == 4) return tile[lane * 4 + j] >> (4 * i + 16 * half) & 15;
  if (bits == 8) return tile[(j >> 1) * 128 + lane * 4 + (j & 1) * 2 + second] >> (16 * (i & 1) + 8 * half) & 255;
  u32 code = tile[lane * 2 + (j >> 1)] >> (2 * i + 8 * (j & 1) + 16 * half) & 3;
  if (bits == 3) code += (tile[64 + lane] >> (i + 4 * j + 16 * half) & 1) << 2;
  return code;
}
DEV void embedding(const Args& a, const Shared& sh, int token, int k, float (&to)[4]) {
  if (a.embed_kind == 16) {
    sixteens(to, (const u16*)a.embed + (u64)token * a.hidden + k);
  } else {
    const int groups = (((a.hidden >> 6) - 1) >> a.embed_m) + 1, in_tile = (token & 7) * 2 + (token >> 3 & 1);
    const u32 pair = ((const u32*)a.embed_meta)[((u64)(token >> 4) * groups + (k >> 6 >> a.embed_m)) * 16 + in_tile];
    const float s = half_to_float(pair), z = half_to_float(pair >> 16);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const u32 c = code_at(a, token, k, j);
      to[j] = (a.embed_kind == NF4 ? half_to_float(sh.book[c]) : (float)c - z) * s;
    }
  }
#pragma unroll
  for (int j = 0; j < 4; j++) to[j] *= a.embed_scale;
}

struct NormWeights {  // of this thread's inputs: asked for before the barrier, they are always in far memory
  float4 w[NORMS];
  DEV void load(const Phase& ph) {
#pragma unroll
    for (int n = 0; n < NORMS; n++) {
      const int p = threadIdx.x + n * CONSUMERS;
      w[n] = __ldg((const float4*)ph.norm_w + (p < ph.k >> 2 ? p : 0));
    }
  }
};
DEV float over_block(Shared& sh, float v, int which) {  // the sum over all consumers
#pragma unroll
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
  if (!(threadIdx.x & 31)) sh.warp_sums[which][threadIdx.x >> 5] = v;
  consumers_sync();
  float sum = 0.f;
#pragma unroll
  for (int w = 0; w < WARPS; w += 4) {
    const float4 q = *(const float4*)&sh.warp_sums[which][w];
    sum += (q.x + q.y) + (q.z + q.w);
  }
  return sum;
}
DEV void first_inputs(const Args& a, const Shared& sh, int token, int pos, int k, float (&v)[4]) {
  embedding(a, sh, token, k, v);
  if (a.positions) {
    float q[4];
    sixteens(q, a.positions + (u64)pos * a.hidden + k);
#pragma unroll
    for (int j = 0; j < 4; j++) v[j] += q[j];
  }
  if (blockIdx.x == 0) *(float4*)(a.h + k) = make_float4(v[0], v[1], v[2], v[3]);
}
DEV void normed(const Args& a, const Phase& ph, char* x, Shared& sh, int token, int pos, const NormWeights& weights) {
  const int count = ph.k >> 2, tid = threadIdx.x;
  float v[NORMS][4], sum = 0.f, squares = 0.f;
#pragma unroll
  for (int n = 0; n < NORMS; n++) {
    const int p = tid + n * CONSUMERS;
    if (token < 0) spread(v[n], cached4(a.h + (p < count ? p * 4 : 0)));
    else first_inputs(a, sh, token, pos, p < count ? p * 4 : 0, v[n]);
#pragma unroll
    for (int j = 0; j < 4; j++) v[n][j] = p < count ? v[n][j] : 0.f;
  }
  float mean = 0.f;
  const float inv = 1.f / ph.k;
  if (LAYERNORM) {  // the centred sum: a difference of squares would cancel where the mean is large
#pragma unroll
    for (int n = 0; n < NORMS; n++) sum += (v[n][0] + v[n][1]) + (v[n][2] + v[n][3]);
    mean = over_block(sh, sum, 1) * inv;
  }
#pragma unroll
  for (int n = 0; n < NORMS; n++)
    if (tid + n * CONSUMERS < count)
#pragma unroll
      for (int j = 0; j < 4; j++) v[n][j] -= mean, squares += v[n][j] * v[n][j];
  MARK(5);
  const float r = rsqrtf(over_block(sh, squares, 0) * inv + a.eps);
  MARK(6);
#pragma unroll
  for (int n = 0; n < NORMS; n++) {
    const int p = tid + n * CONSUMERS;
    const bool valid = p < count;
    float w[4], b[4] = {0, 0, 0, 0};
    spread(w, weights.w[n]);
    if (LAYERNORM && ph.norm_b) spread(b, __ldg((const float4*)ph.norm_b + (valid ? p : 0)));
#pragma unroll
    for (int j = 0; j < 4; j++) v[n][j] = v[n][j] * r * w[j] + b[j];
    if (n * CONSUMERS < count) put(x, sh, ph, p, valid, v[n], 1.f);
  }
}

DEV int splits_of(const Args& a, int keys) { return min(a.splits, (keys + a.split_keys - 1) / a.split_keys); }

DEV void merged(const Args& a, int k, int splits, float (&v)[4]) {  // attention's outputs k.. from its splits
  const int head = k / HD, d = k % HD;
  const float2* ml = (const float2*)a.part_ml + head * a.splits;
  const float* acc = a.part_acc + (u64)head * a.splits * HD + d;
  float most = -1e30f, total = 0.f;
#pragma unroll
  for (int j = 0; j < 4; j++) v[j] = 0.f;
  for (int s0 = 0; s0 < splits; s0 += SPLITS) {
    float2 part[SPLITS];
    float4 o[SPLITS];
#pragma unroll
    for (int s = 0; s < SPLITS; s++) {
      const int at = min(s0 + s, splits - 1);
      part[s] = __ldcg(ml + at), o[s] = cached4(acc + at * HD);
    }
    float m = most;
#pragma unroll
    for (int s = 0; s < SPLITS; s++) m = fmaxf(m, part[s].x);
    const float keep = __expf(most - m);
    most = m, total *= keep;
#pragma unroll
    for (int j = 0; j < 4; j++) v[j] *= keep;
#pragma unroll
    for (int s = 0; s < SPLITS; s++) {
      const float f = s0 + s < splits ? __expf(part[s].x - m) : 0.f;
      total += f * part[s].y;
      v[0] += f * o[s].x, v[1] += f * o[s].y, v[2] += f * o[s].z, v[3] += f * o[s].w;
    }
  }
  const float inv = __fdividef(1.f, total);
#pragma unroll
  for (int j = 0; j < 4; j++) v[j] *= inv;
}

DEV void gathered(const Args& a, const Phase& ph, char* x, Shared& sh, int pos) {
  const int count = ph.k >> 2;
  if (ph.type == OUT) {
    for (int base = 0; base < count; base += CONSUMERS) {
      const int p = base + threadIdx.x;
      float v[4];
      merged(a, p < count ? p * 4 : 0, splits_of(a, pos + 1), v);
      put(x, sh, ph, p, p < count, v, 1.f);
    }
    return;
  }
  for (int base = 0; base < count; base += 4 * CONSUMERS) {  // GATED has put them in order already
    float4 v[4], q[4];
#pragma unroll
    for (int n = 0; n < 4; n++) {
      const int p = base + n * CONSUMERS + threadIdx.x;
      v[n] = cached4(a.act + (p < count ? p * 4 : 0));
      q[n] = cached4(a.act_sums + (p < count ? p * 4 : 0));
    }
#pragma unroll
    for (int n = 0; n < 4; n++) {
      const int p = base + n * CONSUMERS + threadIdx.x;
      if (p < count) *(float4*)(x + p * 16) = v[n];
      float sum = (q[n].x + q[n].y) + (q[n].z + q[n].w);
#pragma unroll
      for (int o = 1; o < 16; o <<= 1) sum += __shfl_xor_sync(~0u, sum, o);
      if (p < count && !(p & 15)) sh.xs[p >> 4] = sum;
    }
  }
}

// ---- products: the warps of a block share the inputs; each holds its sum for the 16 outputs of a tile ----
struct Inputs {  // of one tile of 64: the mma's right operand, whose columns 0 and 1 are the high and low parts, the rest is zero
  u32 b[8];
  float sum;
  DEV void load(const char* x, const Shared& sh, int kb, bool valid) {
    const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
    const uint4* from = (const uint4*)(valid && g < 2 ? x + ((kb * 2 + g) * 4 + t) * 32 : (const char*)sh.zeros);
    const uint4 low = from[0], high = from[1];
    b[0] = low.x, b[1] = low.y, b[2] = low.z, b[3] = low.w, b[4] = high.x, b[5] = high.y, b[6] = high.z, b[7] = high.w;
    sum = valid ? sh.xs[kb] : 0.f;
  }
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
DEV void add_two(const Tile<KIND>& p, const Tile<KIND>& q, const Inputs& x, const Inputs& y, const u32* book, float (&row)[2]) {
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
  q.add(e, y.sum, row);
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
struct Ring {
  const char* memory;
  u64 *full, *empty;
  u32 slots, slot, in_group, group, parity;
  DEV const char* wait() const {
    if (in_group == 0) mbar_wait(full + group, parity);
    return memory + slot * SLOT;
  }
  DEV const char* wait_next() const {
    const u32 next = slot + 1 == slots ? 0 : slot + 1;
    if (in_group + 1 == GROUP) mbar_wait(full + (next ? group + 1 : 0), next ? parity : parity ^ 1);
    return memory + next * SLOT;
  }
  DEV void free() {
    if (++slot == slots) slot = 0;
    if (++in_group < GROUP) return;
    in_group = 0;
    __syncwarp();
    if (!(threadIdx.x & 31)) mbar_arrive(empty + group);
    if (++group == slots / GROUP) group = 0, parity ^= 1;
  }
};
DEV void keep_sums(Shared& sh, int entry, const float (&row)[2]) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  if (lane & 3) return;
  sh.red[entry][lane >> 2][warp] = row[0];
  sh.red[entry][(lane >> 2) + 8][warp] = row[1];
}
// Whole chunks of 32 tiles, two a warp (8 bits: two chunks of 16). Loads have no condition, and inputs are never chosen by reference:
// either would put them into local memory, which is far away while weights stream through the caches.
template <int KIND, bool KEPT, class Flush>
DEV void whole_items(const Phase& ph, Ring& ring, const char* x, Shared& sh, int items, Flush flush) {
  constexpr int CHUNK = KIND == 8 ? 16 : 32, TILE = 128 * (KIND == NF4 ? 4 : KIND);
  const int kbs = ph.kb, m = ph.seg[0].m, warp = threadIdx.x >> 5;
  const u32 codes0 = warp * TILE, codes1 = (CHUNK == 32 ? warp + WARPS : warp) * TILE;
  const u32 meta0 = CHUNK * TILE + (warp >> m) * 64, meta1 = CHUNK * TILE + ((CHUNK == 32 ? warp + WARPS : warp) >> m) * 64;
  Inputs in0, in1;
  in0.load(x, sh, warp, true);
  in1.load(x, sh, warp + WARPS, true);
  MARK(8);
  for (int item = 0, entry = 0; item < items; item++) {
    float row[2] = {0.f, 0.f};
    for (int at = 0; at < (KEPT ? 32 : kbs); at += 32) {
      if (!KEPT && at) {
        in0.load(x, sh, at + warp, true);
        in1.load(x, sh, at + warp + WARPS, true);
      }
      const char *w0 = ring.wait(), *w1 = CHUNK == 32 ? w0 : ring.wait_next();
      if (!item && !at) MARK(9);
      Tile<KIND> p, q;
      p.load(w0 + codes0, w0 + meta0);
      q.load(w1 + codes1, w1 + meta1);
      add_two<KIND>(p, q, in0, in1, sh.book, row);
      ring.free();
      if (CHUNK == 16) ring.free();
    }
    if (!KEPT && item + 1 < items) {
      in0.load(x, sh, warp, true);
      in1.load(x, sh, warp + WARPS, true);
    }
    keep_sums(sh, entry, row);
    MARK(10);
    if (++entry == BATCH || item + 1 == items) flush(item + 1 - entry, entry, item + 1 == items), entry = 0;
  }
}
template <int KIND, class Flush>  // any number of tiles
DEV void odd_items(const Phase& ph, Ring& ring, const char* x, Shared& sh, int items, Flush flush) {
  constexpr int CHUNK = KIND == 8 ? 16 : 32, TILE = 128 * (KIND == NF4 ? 4 : KIND);
  const int kbs = ph.kb, m = ph.seg[0].m, warp = threadIdx.x >> 5;
  for (int item = 0, entry = 0; item < items; item++) {
    float row[2] = {0.f, 0.f};
    for (int at = 0; at < kbs; at += CHUNK) {
      const int count = min(CHUNK, kbs - at);
      const char* w = ring.wait();
      for (int i = warp; i < count; i += WARPS) {
        Inputs in;
        in.load(x, sh, at + i, true);
        add_one<KIND>(w + i * TILE, w + count * TILE + (((at + i) >> m) - (at >> m)) * 64, in, sh.book, row);
      }
      ring.free();
    }
    keep_sums(sh, entry, row);
    if (++entry == BATCH || item + 1 == items) flush(item + 1 - entry, entry, item + 1 == items), entry = 0;
  }
}
template <int KIND, class Flush> DEV void tile_items(const Phase& ph, Ring& ring, const char* x, Shared& sh, int items, Flush flush) {
  if (ph.kb == 32) whole_items<KIND, true>(ph, ring, x, sh, items, flush);
  else if (ph.kb % 32 == 0) whole_items<KIND, false>(ph, ring, x, sh, items, flush);
  else odd_items<KIND>(ph, ring, x, sh, items, flush);
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
template <class Flush> DEV void row_items(const Phase& ph, Ring& ring, const char* x, Shared& sh, int items, Flush flush) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int chunk = ph.seg[0].chunk, split = WARPS / chunk, row = warp / split, part = warp % split, vectors = ph.k / 8;
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
  for (int item = 0, entry = 0; item < items; item++) {
    for (int at = 0; at < 16; at += chunk) {
      const uint4* w = (const uint4*)(ring.wait() + (u64)row * ph.k * 2);
      float sum = 0.f, more = 0.f;
      if (kept) {  // past the row's end: this lane's first vector, times zeros
        eight_products(w[from < to ? from : 0], in[0], sum);
        eight_products(w[from + 32 < to ? from + 32 : 0], in[1], more);
        sum += more;
      } else
        for (int v = from; v < to; v += 32) {
          float one[8];
          eight_floats(one, x, v);
          eight_products(w[v], one, sum);
        }
      ring.free();
#pragma unroll
      for (int o = 16; o; o >>= 1) sum += __shfl_xor_sync(~0u, sum, o);
      if (!lane) sh.red[entry][at + row][part] = sum;
    }
    if (++entry == BATCH || item + 1 == items) flush(item + 1 - entry, entry, item + 1 == items), entry = 0;
  }
}

// ---- what is done with the sums ----
DEV float gelu_tanh(float x) { return x / (1.f + __expf(-1.5957691216057308f * (x + 0.044715f * x * x * x))); }
DEV float gelu_erf(float x) { return 0.5f * x * (1.f + erff(x * 0.70710678118654752f)); }
DEV float activated(const Args& a, float x) {
  return a.gelu == 0 ? __fdividef(x, 1.f + __expf(-x)) : a.gelu == 1 ? gelu_tanh(x) : fmaxf(x, 0.f);
}
DEV u32 mixed(u32 x) {
  x ^= x >> 16, x *= 0x7feb352du, x ^= x >> 15, x *= 0x846ca68bu;
  return x ^ x >> 16;
}
DEV float chosen_by(const Args& a, float logit, int row, int pos) {  // Gumbel: the largest is a draw from the softmax
  if (a.inv_temperature <= 0.f) return logit;
  const u32 bits = mixed(mixed(mixed(a.seed) + (u32)pos) ^ (u32)row * 0x9E3779B9u);
  const float u = ((float)(bits >> 8) + 0.5f) * 5.9604644775390625e-8f;
  return logit * a.inv_temperature - __logf(-__logf(u));
}
DEV u64 ranked(float value, int row) {  // orders by value, then by the lower row
  u32 bits = __float_as_uint(value);
  bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return (u64)bits << 32 | (u32)~row;
}
DEV float summed(const float* row, int parts, int part) {
  float sum = 0.f;
#pragma unroll
  for (int i = 0; i < 4; i++)
    if (part + 4 * i < parts) sum += row[part + 4 * i];
  sum += __shfl_xor_sync(~0u, sum, 1);
  return sum + __shfl_xor_sync(~0u, sum, 2);
}
DEV void keep_active(const Args& a, const Phase& ph, int k, float v) {  // for DOWN: as it is, or in parts as `put` makes them
  if (ph.next_raw) {
    a.act[k] = v;
    return;
  }
  const float c = fminf(fmaxf(v * 0.0625f, -65504.f), 65504.f);  // activations up to 2^20 fit into f16
  const u32 hi = halves(c, 0.f);
  const float r = half_to_float(hi);
  const u32 lo = halves(c - r, 0.f);
  const int kb = k >> 6, half = k >> 4 & 1, t = k >> 2 & 3, j = k & 3, second = k >> 5 & 1;
  u16* to = (u16*)a.act + ((kb * 2 * 4 + t) * 8 + 2 * j + second) * 2 + half;
  to[0] = (u16)hi;
  to[4 * 8 * 2] = (u16)lo;
  a.act_sums[k] = r + half_to_float(lo);
}
DEV void finish(const Args& a, const Phase& ph, const Shared& sh, int first_unit, int tiles, int pos, float before, u64& best) {
  const int each = parts_of(ph), tid = threadIdx.x, entry = tid >> 6, r = tid >> 2 & 15, part = tid & 3;
  if (tid >= tiles / each * 64) return;
  int tile;
  const Seg& sg = locate(ph, first_unit + entry, 0, tile);
  const int parts = ph.raw ? WARPS / sg.chunk : WARPS, row = tile * 16 + r;
  float v = summed(sh.red[entry * each][r], parts, part);
  float up = ph.type == GATED ? summed(sh.red[entry * 2 + 1][r], parts, part) : 0.f;
  if (part || row >= sg.rows) return;
  if (ph.type == DOWN && !ph.raw) v *= 16.f;
  if (sg.bias) v += __ldg(sg.bias + row);
  if (ph.type == GATED && ph.seg[1].bias) up += __ldg(ph.seg[1].bias + row);
  const int out = sg.out0 + row;
  if (ph.type == QKV) a.qkv[out] = v;
  else if (ph.type == OUT || ph.type == DOWN) a.h[out] = before + v;
  else if (ph.type == GATED) keep_active(a, ph, out, activated(a, v) * up);
  else if (ph.type == PLAIN) keep_active(a, ph, out, activated(a, v));
  else {
    if (a.logits) a.logits[out] = v;
    const u64 rank = ranked(chosen_by(a, v, out, pos), out);
    best = rank > best ? rank : best;
  }
}

DEV void multiply(const Args& a, const Phase& ph, Ring& ring, const char* x, Shared& sh, int pos, u64& best) {
  int from, to;
  my_units(ph, from, to);
  const int each = parts_of(ph), items = (to - from) * each;
  const bool adds = ph.type == OUT || ph.type == DOWN;
  float before = 0.f;  // the residual stream that this thread will add to
  auto ask = [&](int first, int units) {
    const int row = (first + (threadIdx.x >> 6)) * 16 + (threadIdx.x >> 2 & 15);
    if (adds && (int)(threadIdx.x >> 6) < units && row < ph.seg[0].rows) before = __ldcg(a.h + row);
  };
  ask(from, to - from);
  MARK(7);
  auto flush = [&](int item, int tiles, bool last) {
    consumers_sync();
    MARK(11);
    finish(a, ph, sh, from + item / each, tiles, pos, before, best);
    if (!last) consumers_sync(), ask(from + (item + tiles) / each, to - from);
  };
  switch (ph.seg[0].kind) {
    case 16: row_items(ph, ring, x, sh, items, flush); break;
#if KINDS & 1
    case 4: tile_items<4>(ph, ring, x, sh, items, flush); break;
#endif
#if KINDS & 2
    case 8: tile_items<8>(ph, ring, x, sh, items, flush); break;
#endif
#if KINDS & 4
    case 3: tile_items<3>(ph, ring, x, sh, items, flush); break;
#endif
#if KINDS & 8
    case 2: tile_items<2>(ph, ring, x, sh, items, flush); break;
#endif
#if KINDS & 16
    case NF4: tile_items<NF4>(ph, ring, x, sh, items, flush); break;
#endif
  }
}

// ---- attention of one token over the cache ----
DEV float turned(const Args& a, const float* head, int d, int pos) {  // rotary embedding of dimension d
  const float v = __ldcg(head + d);
  if (!a.cos || d >= a.rope_dim) return v;
  const int half = a.rope_dim / 2;
  const float other = d < half ? -__ldcg(head + d + half) : __ldcg(head + d - half);
  return v * a.cos[pos * a.rope_dim + d] + other * a.sin[pos * a.rope_dim + d];
}
DEV void unpacked(float (&to)[8], uint4 w) {
  const u32 v[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
#if BF16
    to[2 * i] = low_bf16(v[i]), to[2 * i + 1] = high_bf16(v[i]);
#else
    to[2 * i] = half_to_float(v[i]), to[2 * i + 1] = half_to_float(v[i] >> 16);
#endif
  }
}
#define AHEAD 1                    // keys a lane asks for at a time
#define PAIRS ((HD + 63) / 64)     // words of a value row that a lane holds
struct Span {                      // which keys of which head are this block's
  int split, kv, head, begin, end;
  bool active;
  u16 *kc, *vc;
  DEV Span(const Args& a, const Phase& ph, int pos) {
    const int keys = pos + 1, splits = splits_of(a, keys), rep = a.heads / a.kv_heads, turns = rep / RT, unit = blockIdx.x;
    active = unit < a.kv_heads * turns * splits;
    split = unit % splits, kv = unit / (splits * turns), head = kv * rep + unit / splits % turns * RT;
    const int per = (keys + splits - 1) / splits;
    begin = split * per, end = min(keys, begin + per);
    const u64 base = ((u64)ph.layer * a.kv_heads + (active ? kv : 0)) * a.max_len * HD;
    kc = (u16*)a.keys + base, vc = (u16*)a.values + base;
  }
};
struct KeyRows {  // of the lanes that share a key
  uint4 row[AHEAD];
  DEV void load(const Span& s, int first, int last) {  // below `last` only: the newest is not stored yet
    const int lane = threadIdx.x & 31, d0 = lane % LPK * 8;
#pragma unroll
    for (int n = 0; n < AHEAD; n++) {
      const int key = first + ((threadIdx.x >> 5) + n * WARPS) * SUBS + lane / LPK;
      row[n] = make_uint4(0, 0, 0, 0);
      if (key < last && d0 < HD) row[n] = __ldcg((const uint4*)(s.kc + key * HD + d0));
    }
  }
};
struct ValueRows {  // a warp holds a row
  u32 row[AHEAD * SUBS][PAIRS];
  DEV void load(const Span& s, int first, int last) {
    const int lane = threadIdx.x & 31;
#pragma unroll
    for (int n = 0; n < AHEAD * SUBS; n++)
#pragma unroll
      for (int i = 0; i < PAIRS; i++) {
        const int key = first + (threadIdx.x >> 5) + n * WARPS, d = i * 64 + lane * 2;
        row[n][i] = 0;
        if (key < last && d < HD) row[n][i] = __ldcg((const u32*)(s.vc + key * HD + d));
      }
  }
};
// Keys are scored by groups of lanes, values summed by warps that each hold whole rows, in blocks of AHEAD * WARPS * SUBS keys.
DEV void attend(const Args& a, const Span& s, char* x, Shared& sh, int pos, KeyRows& keys, ValueRows& values) {
  constexpr int BLOCK = AHEAD * WARPS * SUBS;
  static_assert(BLOCK <= KEYS, "scores have their room");
  const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5, sub = lane / LPK, d0 = lane % LPK * 8;
  float* queries = (float*)x;              // [RT][HD]
  float* newest = queries + RT * HD;       // [2][HD]: the newest key and value
  float* scores = newest + 2 * HD;         // [KEYS][RT]
  float* sums = scores + KEYS * RT;        // [WARPS][RT][HD + 1]
  const bool has_newest = s.end == pos + 1;
  for (int i = tid; i < (RT + 2) * HD; i += CONSUMERS) {
    const int job = i / HD, d = i % HD;
    if (job < RT) queries[i] = turned(a, a.qkv + (s.head + job) * HD, d, pos) * a.attn_scale;
    else if (has_newest) {
      const float* k = a.qkv + (a.heads + s.kv) * HD;
      const u16 v = job == RT ? to16(turned(a, k, d, pos)) : to16(__ldcg(k + a.kv_heads * HD + d));
      (job == RT ? s.kc : s.vc)[pos * HD + d] = v;
      newest[(job - RT) * HD + d] = from16(v);
    }
  }
  consumers_sync();
  float most[RT], total[RT], acc[RT][PAIRS][2] = {};
#pragma unroll
  for (int r = 0; r < RT; r++) most[r] = -1e30f, total[r] = 0.f;
  for (int first = s.begin; first < s.end; first += BLOCK) {
    if (first != s.begin) keys.load(s, first, pos), values.load(s, first, pos);
    float top[RT];
#pragma unroll
    for (int r = 0; r < RT; r++) top[r] = most[r];
#pragma unroll
    for (int n = 0; n < AHEAD; n++) {
      const int at = (warp + n * WARPS) * SUBS + sub, key = first + at;
      float k[8];
      unpacked(k, keys.row[n]);
      if (key == pos && d0 < HD) {
#pragma unroll
        for (int i = 0; i < 8; i++) k[i] = newest[d0 + i];
      }
#pragma unroll
      for (int r = 0; r < RT; r++) {
        float dot = 0.f;
        if (d0 < HD) {
          const float4 q0 = *(const float4*)(queries + r * HD + d0), q1 = *(const float4*)(queries + r * HD + d0 + 4);
          dot = q0.x * k[0] + q0.y * k[1] + q0.z * k[2] + q0.w * k[3] + q1.x * k[4] + q1.y * k[5] + q1.z * k[6] + q1.w * k[7];
        }
#pragma unroll
        for (int o = LPK / 2; o; o >>= 1) dot += __shfl_xor_sync(~0u, dot, o);
        if (key >= s.end) dot = -1e30f;
        if (lane % LPK == 0) scores[at * RT + r] = dot;
        top[r] = fmaxf(top[r], dot);
      }
    }
#pragma unroll
    for (int r = 0; r < RT; r++) {
#pragma unroll
      for (int o = LPK; o < 32; o <<= 1) top[r] = fmaxf(top[r], __shfl_xor_sync(~0u, top[r], o));
      if (!lane) sh.tops[warp][r] = top[r];
    }
    consumers_sync();
#pragma unroll
    for (int r = 0; r < RT; r++) {
      float m = sh.tops[lane & 15][r];
#pragma unroll
      for (int o = 8; o; o >>= 1) m = fmaxf(m, __shfl_xor_sync(~0u, m, o));
      const float keep = __expf(most[r] - m);
      most[r] = m, total[r] *= keep;
#pragma unroll
      for (int i = 0; i < PAIRS; i++) acc[r][i][0] *= keep, acc[r][i][1] *= keep;
    }
#pragma unroll
    for (int n = 0; n < AHEAD * SUBS; n++) {
      const int at = warp + n * WARPS, key = first + at;
      if (key >= s.end) break;
#pragma unroll
      for (int i = 0; i < PAIRS; i++) {
        const int d = i * 64 + lane * 2;
#if BF16
        float v0 = low_bf16(values.row[n][i]), v1 = high_bf16(values.row[n][i]);
#else
        float v0 = half_to_float(values.row[n][i]), v1 = half_to_float(values.row[n][i] >> 16);
#endif
        if (key == pos && d < HD) v0 = newest[HD + d], v1 = newest[HD + d + 1];
#pragma unroll
        for (int r = 0; r < RT; r++) {
          const float f = __expf(scores[at * RT + r] - most[r]);
          if (!i) total[r] += f;
          acc[r][i][0] += f * v0, acc[r][i][1] += f * v1;
        }
      }
    }
    consumers_sync();
  }
#pragma unroll
  for (int r = 0; r < RT; r++) {
    float* to = sums + (warp * RT + r) * (HD + 1);
#pragma unroll
    for (int i = 0; i < PAIRS; i++)
      if (i * 64 + lane * 2 < HD) to[i * 64 + lane * 2] = acc[r][i][0], to[i * 64 + lane * 2 + 1] = acc[r][i][1];
    if (!lane) to[HD] = total[r];
  }
  consumers_sync();
  for (int i = tid; i < RT * (HD + 1); i += CONSUMERS) {
    const int r = i / (HD + 1), d = i % (HD + 1);
    float o = 0.f, m = most[0];
#pragma unroll
    for (int w = 0; w < WARPS; w++) o += sums[w * RT * (HD + 1) + i];
#pragma unroll
    for (int n = 1; n < RT; n++) m = r == n ? most[n] : m;
    if (d < HD) a.part_acc[((u64)(s.head + r) * a.splits + s.split) * HD + d] = o;
    else ((float2*)a.part_ml)[(s.head + r) * a.splits + s.split] = make_float2(m, o);
  }
}

DEV void keep_best(const Args& a, Shared& sh, u64 best) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
#pragma unroll
  for (int o = 16; o; o >>= 1) {
    const u64 other = __shfl_xor_sync(~0u, best, o);
    best = other > best ? other : best;
  }
  if (!lane) sh.warp_best[warp] = best;
  consumers_sync();
  if (threadIdx.x) return;
  for (int w = 0; w < WARPS; w++) best = sh.warp_best[w] > best ? sh.warp_best[w] : best;
  a.best[blockIdx.x] = best;
}
DEV int next_token(const Args& a, Shared& sh) {
  if (threadIdx.x < 32) {
    u64 best = 0;
    for (int i = threadIdx.x; i < gridDim.x; i += 32) {
      const u64 other = __ldcg(a.best + i);
      best = other > best ? other : best;
    }
#pragma unroll
    for (int o = 16; o; o >>= 1) {
      const u64 other = __shfl_xor_sync(~0u, best, o);
      best = other > best ? other : best;
    }
    if (!threadIdx.x) sh.token = (int)~(u32)best;
  }
  consumers_sync();
  return sh.token;
}

struct NextPhase {  // asked for before the barrier, kept after it; by threads that have less to do in most phases
  u32 word;
  DEV void ask(const Args& a, int p) {
    const int i = (int)threadIdx.x - (CONSUMERS - 64);
    word = __ldg((const u32*)(a.phase_list + p) + (i >= 0 && i < (int)sizeof(Phase) / 4 ? i : 0));
  }
  DEV void keep(Shared& sh, int to) const {
    const int i = (int)threadIdx.x - (CONSUMERS - 64);
    if (i >= 0 && i < (int)sizeof(Phase) / 4) ((u32*)&sh.phase[to])[i] = word;
  }
};
DEV void consume(const Args& a, const char* memory, char* x, Shared& sh) {
  u32 done = 0;
  Ring ring = {memory, sh.full, sh.empty, (u32)a.slots, 0, 0, 0, 0};
  int token = __ldcg(a.tokens + a.pos);
  NextPhase next;
  next.ask(a, 0);
  next.keep(sh, 0);
  consumers_sync();
  for (int step = 0; step < a.steps; step++) {
    const int pos = a.pos + step;
    u64 best = 0;
    for (int p = 0; p < a.phases; p++, done++) {
      const Phase& ph = sh.phase[done & 1];
      MARK(0);
      next.ask(a, p + 1 < a.phases ? p + 1 : 0);
      if (ph.type == ATTEND) {
        const Span span(a, ph, pos);
        KeyRows keys;
        ValueRows values;
        if (span.active) keys.load(span, span.begin, min(pos, span.end)), values.load(span, span.begin, min(pos, span.end));
        grid_wait(a, done);
        MARK(1);
        if (span.active) attend(a, span, x, sh, pos, keys, values);
      } else {
        if (ph.type == OUT || ph.type == DOWN) {
          grid_wait(a, done);
          MARK(1);
            gathered(a, ph, x, sh, pos);
        } else {
          NormWeights weights;
          weights.load(ph);
          if (p) grid_wait(a, done);
          MARK(1);
            normed(a, ph, x, sh, p ? -1 : token, pos, weights);
        }
        consumers_sync();
        MARK(2);
        multiply(a, ph, ring, x, sh, pos, best);
      }
      MARK(3);
      next.keep(sh, (done + 1) & 1);
      if (ph.type == HEAD) keep_best(a, sh, best);
      consumers_sync();
      MARK(4);
      KEEP_MARKS;
      if (!threadIdx.x) grid_arrive(a);
    }
    grid_wait(a, done);
    token = next_token(a, sh);
    if (!blockIdx.x && !threadIdx.x) a.tokens[pos + 1] = token;
  }
}

extern "C" __global__ void __launch_bounds__(CONSUMERS + 32, 1) decode_steps(const __grid_constant__ Args a) {
  extern __shared__ __align__(128) char memory[];
  char *ring = memory, *x = memory + a.ring_bytes;
  Shared& sh = *(Shared*)(x + a.x_bytes);
  if (threadIdx.x == 0)
    for (int i = 0; i < a.slots / GROUP; i++) mbar_init(&sh.full[i], GROUP), mbar_init(&sh.empty[i], WARPS);
  if (threadIdx.x < 16) sh.book[threadIdx.x] = BOOK[threadIdx.x];
  if (threadIdx.x < 2) sh.zeros[threadIdx.x] = make_uint4(0, 0, 0, 0);
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  __syncthreads();
  if (threadIdx.x < CONSUMERS) consume(a, ring, x, sh);
  else if (threadIdx.x == CONSUMERS) produce(a, ring, sh);
}
