// y = x W^T for two to eight rows of x, as fast as the weights come. A warp streams tiles of 16 outputs x 64 inputs through a ring of
// its own in shared memory; TEAM warps share the inputs of 16 outputs. The weights are asked for, and the
// next kernel let in to ask for its own, before the kernel before this one has ended.
// Compiled with KIND, BF16, WARPS, TEAM, CHUNK (tiles that come together) and STAGES (chunks on their way).
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
  for (int r = 0; r < 4; r++) {
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
  __shared__ float parts[TEAM > 1 ? 2 : 1][TEAM > 1 ? WARPS : 1][TEAM > 1 ? 16 : 1][9];
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
  const char* pairs = pairs_at(after, lane);
  if (KIND == NF4) after += PAIRS;
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
    for (int r = 0; r < 4; r++)
      parts[buffer][warp][g + 8 * (r >> 1)][2 * t + (r & 1)] = acc[r];
    __syncthreads();
    for (int n = threadIdx.x; n < WARPS / TEAM * 16 * 8; n += WARPS * 32) {
      const int row = n & 15, team = n >> 4 & (WARPS / TEAM - 1), col = n / (16 * (WARPS / TEAM));
      float sum = 0.f;
#pragma unroll
      for (int w = 0; w < TEAM; w++) sum += parts[buffer][team * TEAM + w][row][col];
      store(q, (unit * (WARPS / TEAM) + team) * 16 + row, col, sum);
    }
  }
}
