// y = x W^T for up to eight rows of x, as fast as the weights come. A warp streams tiles of 16 outputs x 64 inputs through a ring of
// its own in shared memory; TEAM warps share the inputs of 16 outputs. The weights are asked for, and the
// next kernel let in to ask for its own, before the kernel before this one has ended.
// Compiled with KIND, BF16, WARPS, TEAM, CHUNK (tiles that come together), STAGES (chunks on their way) and ONE (one row of x).
#define TILE (128 * (KIND == NF4 ? 4 : KIND))
#define SLOT (CHUNK * (TILE + 64))
#if BF16
#define MMA mma_bf16
#define MAGIC 0x43004300u  // 128: 7 bits of mantissa lie below it
#else
#define MMA mma_f16
#define MAGIC 0x64006400u  // 1024: 10 bits
#endif
#define PARTS (KIND == 8 && BF16 ? 2 : 1)  // a code of 8 bits is two of 4 where the mantissa is short
#define FACTOR (KIND == 2 || KIND == 3 ? 4.f : KIND == 4 && !BF16 ? 16.f : 1.f)  // of outputs 8..15: their codes stand higher
#define BASE (KIND == NF4 ? 0.f : PARTS == 2 ? 17.f * 128.f : BF16 ? 128.f : 1024.f)

__constant__ u32 BOOK[16];

struct Problem {
  const char *words, *meta;
  const u16 *x, *bias;
  u16* y;
  int rows, cols, tiles, kbs, m, batch;
};
DEV void copy16(u32 to, const char* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
DEV void copies_end() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> DEV void copies_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

// ---- codes as whole numbers above BASE ----
DEV u32 word_of(const uint4& w, int j) { return j == 0 ? w.x : j == 1 ? w.y : j == 2 ? w.z : w.w; }
DEV void integers(const Codes<4>& c, int j, int, const char*, u32 (&a)[4]) {
  u32 x = word_of(c.w, j);
#pragma unroll
  for (int i = 0; i < 4; i++)
    a[i] = BF16 ? and_or(x >> (4 * i), 0x000F000Fu, MAGIC) : and_or(x >> (8 * (i >> 1)), i & 1 ? 0x00F000F0u : 0x000F000Fu, MAGIC);
}
DEV void integers(const Codes<2>& c, int j, int, const char*, u32 (&a)[4]) {
  const u32 x = (j < 2 ? c.w.x : c.w.y) >> (8 * (j & 1));
#pragma unroll
  for (int i = 0; i < 4; i++) a[i] = and_or(x >> (4 * (i >> 1)), i & 1 ? 0x000C000Cu : 0x00030003u, MAGIC);
}
DEV void integers(const Codes<3>& c, int j, int, const char*, u32 (&a)[4]) {
  const u32 x = (j < 2 ? c.w.x : c.w.y) >> (8 * (j & 1));
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int down = 4 * j + i - (i & 1 ? 4 : 2);
    const u32 low = and_or(x >> (4 * (i >> 1)), i & 1 ? 0x000C000Cu : 0x00030003u, MAGIC);
    a[i] = and_or(down < 0 ? c.h << -down : c.h >> down, i & 1 ? 0x00100010u : 0x00040004u, low);
  }
}
DEV void integers(const Codes<8>& c, int j, int part, const char*, u32 (&a)[4]) {
  const u32 x = j == 0 ? c.w.x : j == 1 ? c.w.z : j == 2 ? c.v.x : c.v.z;
  const u32 y = j == 0 ? c.w.y : j == 1 ? c.w.w : j == 2 ? c.v.y : c.v.w;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const u32 from = i < 2 ? x : y;
    if (!BF16) a[i] = __byte_perm(from, 0x64646464u, i & 1 ? 0x4342 : 0x4140);
    else a[i] = and_or(__byte_perm(from, 0, i & 1 ? 0x4342 : 0x4140) >> (4 * part), 0x000F000Fu, MAGIC);
  }
}
// Pairs of codebook values by the byte of their two codes; each lane has a copy in its own bank, at its offset of `pairs`.
DEV u32 pair_at(const char* pairs, u32 offset) { return *(const u32*)(pairs + offset); }
DEV void integers(const Codes<NF4>& c, int j, int, const char* pairs, u32 (&a)[4]) {
  const u32 x = word_of(c.w, j);
  const u32 even = (x & 0x0F0Fu) | (x >> 12 & ~0x0F0Fu), odd = (x >> 4 & 0x0F0Fu) | (x >> 16 & ~0x0F0Fu);
  a[0] = pair_at(pairs, even << 7 & 0x7F80u), a[1] = pair_at(pairs, odd << 7 & 0x7F80u);
  a[2] = pair_at(pairs, even >> 1 & 0x7F80u), a[3] = pair_at(pairs, odd >> 1 & 0x7F80u);
}

// ---- x in shared memory: for each row and 64 inputs, four lanes' eight words, and the sum ----
struct Inputs {
  char* words;
  float* sums;  // [kbs][8]
  int stride;
  DEV Inputs(char* room, const Problem& q) : words(room), stride(q.kbs * 128 + 16) {
    sums = (float*)(room + stride * q.batch);
  }
  DEV void fill(const Problem& q) const {
    for (int n = threadIdx.x; n < (q.kbs * q.batch * 4 + 31 & ~31); n += WARPS * 32) {
      const int t = n & 3, row = (n >> 2) / q.kbs, at = (n >> 2) - row * q.kbs;
      uint2 v[4];
#pragma unroll
      for (int c = 0; c < 4; c++) {
        const int k = at * 64 + 16 * c + 4 * t;
        v[c] = make_uint2(0, 0);
        if (row < q.batch && k < q.cols) v[c] = *(const uint2*)(q.x + (u64)row * q.cols + k);
      }
      float sum = 0.f;
#pragma unroll
      for (int c = 0; c < 4; c++)
        sum += BF16 ? (low_bf16(v[c].x) + high_bf16(v[c].x)) + (low_bf16(v[c].y) + high_bf16(v[c].y))
                    : (half_to_float(v[c].x) + high_to_float(v[c].x)) + (half_to_float(v[c].y) + high_to_float(v[c].y));
      sum += __shfl_xor_sync(~0u, sum, 1);
      sum += __shfl_xor_sync(~0u, sum, 2);
      if (row >= q.batch) continue;
      if (t == 0) sums[at * 8 + row] = sum;
      u32* to = (u32*)(words + row * stride + at * 128 + t * 32);
      *(uint4*)to = make_uint4(__byte_perm(v[0].x, v[1].x, 0x5410), __byte_perm(v[2].x, v[3].x, 0x5410),
                               __byte_perm(v[0].x, v[1].x, 0x7632), __byte_perm(v[2].x, v[3].x, 0x7632));
      *(uint4*)(to + 4) = make_uint4(__byte_perm(v[0].y, v[1].y, 0x5410), __byte_perm(v[2].y, v[3].y, 0x5410),
                                     __byte_perm(v[0].y, v[1].y, 0x7632), __byte_perm(v[2].y, v[3].y, 0x7632));
    }
  }
};

// ---- a warp's chunks, one behind the other over all its tiles: all its lanes copy 16 bytes each ----
struct Stream {
  const char *words, *meta;  // of this lane, in the next chunk and in its tile
  u64 words_jump, meta_jump;  // from the end of a tile to the next of this warp
  int kb, from, to, left;     // of the next chunk; a warp's share of the inputs; chunks that are still to be asked for
  DEV Stream(const Problem& q, int tile, int tiles_apart, int member, int groups, int lane)
      : from(q.kbs * member / TEAM), to(q.kbs * (member + 1) / TEAM) {
    const int chunks = (to - from + CHUNK - 1) / CHUNK;
    kb = from;
    words = q.words + ((u64)tile * q.kbs + from) * TILE + lane * 16, meta = q.meta + (u64)tile * groups * 64 + lane * 16;
    words_jump = ((u64)tiles_apart * q.kbs - chunks * CHUNK) * TILE, meta_jump = (u64)tiles_apart * groups * 64;
    left = tile < q.tiles ? ((q.tiles - tile + tiles_apart - 1) / tiles_apart) * chunks : 0;
  }
  DEV void ask(const Problem& q, u32 slot, int lane) {
    if (left-- > 0) {
      const int count = min(CHUNK, to - kb), g0 = kb >> q.m, scales = ((kb + count - 1) >> q.m) - g0 + 1;
      if (CHUNK * TILE % 512 == 0 && count == CHUNK) {
#pragma unroll
        for (int i = 0; i < CHUNK * TILE / 512; i++) copy16(slot + i * 512, words + i * 512);
      } else {
#pragma unroll 1
        for (int i = lane * 16; i < count * TILE; i += 512) copy16(slot + i - lane * 16, words + i - lane * 16);
      }
      if (lane < scales * 4) copy16(slot + CHUNK * TILE, meta + g0 * 64);
      kb += CHUNK, words += CHUNK * TILE;
      if (kb >= to) kb = from, words += words_jump, meta += meta_jump;
    }
    copies_end();
  }
};

DEV void multiply(const char* codes, uint2 m, const uint4* x, float2 sum, const char* pairs, int lane, float (&acc)[4]) {
  Codes<KIND> c;
  c.load(codes, lane);
  const uint4 b0 = x[0], b1 = x[1];
  const u32 b[8] = {b0.x, b0.y, b0.z, b0.w, b1.x, b1.y, b1.z, b1.w};
  float d[4] = {}, e[4] = {};
#pragma unroll
  for (int j = 0; j < 4; j++) {
    u32 a[4];
    integers(c, j, 0, pairs, a);
    MMA((PARTS == 2 || j < 2 ? d : e), a, b[2 * j], b[2 * j + 1]);  // two chains: each product waits for the one before
    if (PARTS == 2) {
      integers(c, j, 1, pairs, a);
      MMA(e, a, b[2 * j], b[2 * j + 1]);
    }
  }
  const float s0 = half_to_float(m.x), s1 = half_to_float(m.y) * (1.f / FACTOR);
  const float z0 = high_to_float(m.x) + BASE, z1 = high_to_float(m.y) * FACTOR + BASE;
#pragma unroll
  for (int r = 0; r < 4; r += 1 + ONE) {
    float v = PARTS == 2 ? d[r] + 16.f * e[r] : d[r] + e[r];
    if (KIND != NF4) v -= (r > 1 ? z1 : z0) * (r & 1 ? sum.y : sum.x);
    acc[r] += (r > 1 ? s1 : s0) * v;
  }
}
DEV void store(const Problem& q, int row, int col, float v) {
  if (col >= q.batch || row >= q.rows) return;
  if (q.bias) v += BF16 ? low_bf16(q.bias[row]) : half_to_float(q.bias[row]);
  q.y[(u64)col * q.rows + row] = (u16)(BF16 ? bhalves(v, 0.f) : halves(v, 0.f));
}

extern "C" __global__ void __launch_bounds__(WARPS * 32, 2) vector(const __grid_constant__ Problem q) {
  extern __shared__ __align__(128) char room[];
  __shared__ float parts[TEAM > 1 ? 2 : 1][TEAM > 1 ? WARPS : 1][TEAM > 1 ? 16 : 1][ONE ? 1 : 9];
  asm volatile("griddepcontrol.launch_dependents;");
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, t = lane & 3;
  const int groups = ((q.kbs - 1) >> q.m) + 1, member = warp % TEAM, units = (q.tiles + WARPS / TEAM - 1) / (WARPS / TEAM);
  const char* ring = room + warp * STAGES * SLOT;
  const u32 ring_address = (u32)__cvta_generic_to_shared(ring) + lane * 16;
  const int first = warp / TEAM, tiles_apart = gridDim.x * (WARPS / TEAM);
  Stream ahead(q, blockIdx.x * (WARPS / TEAM) + first, tiles_apart, member, groups, lane);
#pragma unroll 1
  for (int i = 0; i < STAGES; i++) ahead.ask(q, ring_address + i * SLOT, lane);
  char* after = room + WARPS * STAGES * SLOT;
#if KIND == NF4
  for (int n = threadIdx.x; n < 256 * 32; n += WARPS * 32)
    ((u32*)after)[n] = (BOOK[n >> 5 & 15] & 0xFFFF) | BOOK[n >> 9] << 16;
  const char* pairs = after + lane * 4;
  after += 256 * 32 * 4;
#else
  const char* pairs = after;
#endif
  asm volatile("griddepcontrol.wait;" ::: "memory");
  const Inputs inputs(after, q);
  inputs.fill(q);
  __syncthreads();
  const char* x = inputs.words + (g < q.batch ? g : 0) * inputs.stride + t * 32;  // other columns are not looked at
  int stage = 0, buffer = 0;
  for (int unit = blockIdx.x; unit < units; unit += gridDim.x, buffer ^= 1) {
    const int tile = unit * (WARPS / TEAM) + first;
    float acc[4] = {};
    if (tile < q.tiles)
      for (int kb = ahead.from; kb < ahead.to; kb += CHUNK) {
        const char* slot = ring + stage * SLOT;
        copies_wait<STAGES - 1>();
        __syncwarp();
        const auto one = [&](int i) {
          const uint2 m = ((const uint2*)(slot + CHUNK * TILE + (((kb + i) >> q.m) - (kb >> q.m)) * 64))[g];
          const float2 sum = *(const float2*)(inputs.sums + (kb + i) * 8 + 2 * t);
          multiply(slot + i * TILE, m, (const uint4*)(x + (kb + i) * 128), sum, pairs, lane, acc);
        };
        if (kb + CHUNK <= ahead.to) {
#pragma unroll
          for (int i = 0; i < CHUNK; i++) one(i);
        } else {
#pragma unroll 1
          for (int i = 0; kb + i < ahead.to; i++) one(i);
        }
        __syncwarp();
        ahead.ask(q, ring_address + stage * SLOT, lane);
        if (++stage == STAGES) stage = 0;
      }
    if (TEAM == 1) {
#pragma unroll
      for (int r = 0; r < 4; r++) store(q, tile * 16 + g + 8 * (r >> 1), 2 * t + (r & 1), acc[r]);
      continue;
    }
#pragma unroll
    for (int r = 0; r < 4; r += 1 + ONE)
      if (!ONE || t == 0) parts[buffer][warp][g + 8 * (r >> 1)][2 * t + (r & 1)] = acc[r];
    __syncthreads();
    for (int n = threadIdx.x; n < WARPS / TEAM * 16 * (ONE ? 1 : 8); n += WARPS * 32) {
      const int row = n & 15, team = n >> 4 & (WARPS / TEAM - 1), col = n / (16 * (WARPS / TEAM));
      float sum = 0.f;
#pragma unroll
      for (int w = 0; w < TEAM; w++) sum += parts[buffer][team * TEAM + w][row][col];
      store(q, (unit * (WARPS / TEAM) + team) * 16 + row, col, sum);
    }
  }
}
