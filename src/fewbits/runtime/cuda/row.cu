// y = x W^T for one row of x. A warp streams tiles of 16 outputs x 64 inputs. The mma has room for eight rows: its columns hold x of the
// CHUNK tiles that come together, each tile's in its own, so that x goes by whole lines into the registers that the mma reads, and no warp
// waits for another (laid out in shared memory by the block, as vector.cu does, it takes 1.3 of 6.0 us with 8192 inputs). Of a tile's
// products the column of its own inputs counts; a lane is left with two tiles of eight to scale.
// Compiled with KIND, BF16, WARPS, TEAM, CHUNK and STAGES (chunks on their way).
struct Row {
  uint2 v[4];
  DEV void load(const Problem& q, int kb, int g, int t) {
#pragma unroll
    for (int c = 0; c < 4; c++) {
      const int k = (kb + g) * 64 + 16 * c + 4 * t;
      v[c] = make_uint2(0, 0);
      if (g < CHUNK && k < q.cols) v[c] = *(const uint2*)(q.x + k);
    }
  }
  DEV void operands(u32 (&b)[8]) const {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      b[0 + i] = __byte_perm(v[2 * i].x, v[2 * i + 1].x, 0x5410), b[2 + i] = __byte_perm(v[2 * i].x, v[2 * i + 1].x, 0x7632);
      b[4 + i] = __byte_perm(v[2 * i].y, v[2 * i + 1].y, 0x5410), b[6 + i] = __byte_perm(v[2 * i].y, v[2 * i + 1].y, 0x7632);
    }
  }
  DEV float sum() const {  // of this lane's tile
    float s = 0.f;
#pragma unroll
    for (int c = 0; c < 4; c++)
      s += BF16 ? (low_bf16(v[c].x) + high_bf16(v[c].x)) + (low_bf16(v[c].y) + high_bf16(v[c].y))
                : (half_to_float(v[c].x) + high_to_float(v[c].x)) + (half_to_float(v[c].y) + high_to_float(v[c].y));
    s += __shfl_xor_sync(~0u, s, 1);
    return s + __shfl_xor_sync(~0u, s, 2);
  }
};
// The products of a chunk's tiles: a lane keeps those of tiles 2 t and 2 t + 1, of outputs g and g + 8.
DEV void products(const char* slot, const u32 (&b)[8], const char* pairs, int lane, float (&kept)[2][2]) {
#pragma unroll
  for (int i = 0; i < CHUNK; i++) {
    Codes<KIND> c;
    c.load(slot + i * TILE, lane);
    float d[4] = {}, e[4] = {};
#pragma unroll
    for (int j = 0; j < 4; j++) {
      u32 a[4];
      integers(c, j, 0, pairs, a);
      MMA(d, a, b[2 * j], b[2 * j + 1]);
      if (PARTS == 2) {
        integers(c, j, 1, pairs, a);
        MMA(e, a, b[2 * j], b[2 * j + 1]);
      }
    }
    if ((lane & 3) == i >> 1)
#pragma unroll
      for (int r = 0; r < 2; r++) kept[i & 1][r] = d[2 * r + (i & 1)] + (PARTS == 2 ? 16.f * e[2 * r + (i & 1)] : 0.f);
  }
}
DEV void scaled(const uint2 m, float sum, const float (&v)[2], float (&acc)[2]) {
  const float s0 = half_to_float(m.x), s1 = half_to_float(m.y) * (1.f / FACTOR);
  const float z0 = high_to_float(m.x) + BASE, z1 = high_to_float(m.y) * FACTOR + BASE;
  acc[0] += s0 * (KIND == NF4 ? v[0] : v[0] - z0 * sum), acc[1] += s1 * (KIND == NF4 ? v[1] : v[1] - z1 * sum);
}
DEV void store(const Problem& q, int row, float v) {
  if (row >= q.rows) return;
  if (q.bias) v += BF16 ? low_bf16(q.bias[row]) : half_to_float(q.bias[row]);
  q.y[row] = (u16)(BF16 ? bhalves(v, 0.f) : halves(v, 0.f));
}

extern "C" __global__ void __launch_bounds__(WARPS * 32, 16 / WARPS) row(const __grid_constant__ Problem q) {
  extern __shared__ __align__(128) char room[];
  __shared__ float parts[2][WARPS][16];
  asm volatile("griddepcontrol.launch_dependents;");
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, t = lane & 3;
  const int groups = ((q.kbs - 1) >> q.m) + 1, member = warp % TEAM, units = (q.tiles + WARPS / TEAM - 1) / (WARPS / TEAM);
  const char* ring = room + warp * STAGES * SLOT;
  const u32 ring_address = (u32)__cvta_generic_to_shared(ring) + lane * 16;
  const int first = warp / TEAM, tiles_apart = gridDim.x * (WARPS / TEAM);
  Stream ahead(q, blockIdx.x * (WARPS / TEAM) + first, tiles_apart, member, groups, lane);
#pragma unroll 1
  for (int i = 0; i < STAGES; i++) ahead.ask<true>(q, ring_address + i * SLOT, lane);
  const char* pairs = pairs_at(room + WARPS * STAGES * SLOT, lane);
  if (KIND == NF4) __syncthreads();
  asm volatile("griddepcontrol.wait;" ::: "memory");
  Row next;
  next.load(q, ahead.from, g, t);
  int stage = 0, buffer = 0;
  for (int unit = blockIdx.x; unit < units; unit += gridDim.x, buffer ^= 1) {
    const int tile = unit * (WARPS / TEAM) + first;
    float acc[2] = {};
    if (tile < q.tiles)
      for (int kb = ahead.from; kb < ahead.to; kb += CHUNK) {
        u32 b[8];
        next.operands(b);
        const float sum = next.sum();
        next.load(q, kb + CHUNK < ahead.to ? kb + CHUNK : ahead.from, g, t);
        const char* slot = ring + stage * SLOT;
        copies_wait<STAGES - 1>();
        __syncwarp();
        float kept[2][2];
        products(slot, b, pairs, lane, kept);
#pragma unroll
        for (int p = 0; p < 2; p++) {
          const int at = kb + 2 * t + p;
          const float of_tile = __shfl_sync(~0u, sum, 8 * t + 4 * p);
          if (2 * t + p < CHUNK && at < ahead.to)
            scaled(((const uint2*)(slot + CHUNK * TILE + ((at >> q.m) - (kb >> q.m)) * 64))[g], of_tile, kept[p], acc);
        }
        __syncwarp();
        ahead.ask(q, ring_address + stage * SLOT, lane);
        if (++stage == STAGES) stage = 0;
      }
#pragma unroll
    for (int r = 0; r < 2; r++) {
      acc[r] += __shfl_xor_sync(~0u, acc[r], 1);
      acc[r] += __shfl_xor_sync(~0u, acc[r], 2);
      if (TEAM == 1 && t == r) store(q, tile * 16 + g + 8 * r, acc[r]);
      if (TEAM > 1 && t == r) parts[buffer][warp][g + 8 * r] = acc[r];
    }
    if (TEAM == 1) continue;
    __syncthreads();
    if (threadIdx.x < WARPS / TEAM * 16) {
      const int team = threadIdx.x >> 4;
      float sum = 0.f;
#pragma unroll
      for (int w = 0; w < TEAM; w++) sum += parts[buffer][team * TEAM + w][threadIdx.x & 15];
      store(q, (unit * (WARPS / TEAM) + team) * 16 + (threadIdx.x & 15), sum);
    }
  }
}
