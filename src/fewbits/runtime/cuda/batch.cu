// y = x W^T for COLS rows of x at a time on the tensor cores of Hopper. A block takes 128 outputs: two warpgroups multiply, 64 outputs
// each, their weights dequantized in registers (wgmma's left operand); two more lay x out in shared memory in the order of the tiles.
// SPLIT blocks of a cluster share the inputs and add up what they have through each other's shared memory, in the same order always.
// Compiled with KIND, BF16, COLS (16, 32, 64 or 128), SPLIT, DEPTH (tiles of weights that a warp has asked for) and STAGES (of x).
#define ROWS 128
#define PITCH (ROWS + 4)
#define UNITS (COLS <= 32 ? 1 : COLS / 32)  // of x, that a thread lays out in a step
#define AHEAD (COLS <= 64 ? 4 : 2)  // steps that are loaded together: the fence after them waits for all loads
#define MULTIPLE (DEPTH > AHEAD ? DEPTH : AHEAD)
#define PACKED (SPLIT > 1)  // partial sums travel as pairs of bf16

__constant__ u32 BOOK[16];

struct Problem {
  const char *words, *meta;
  const u16 *x, *bias;
  u16* y;
  int rows, cols, tiles, kbs, m, batch;
};
DEV u32 address(const void* p) { return (u32)__cvta_generic_to_shared(p); }
DEV void mbar_init(u64* bar, u32 count) { asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(address(bar)), "r"(count)); }
DEV void mbar_arrive(u64* bar) { asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(address(bar)) : "memory"); }
DEV void mbar_wait(u64* bar, u32 parity) {
  u32 done = 0;
  while (!done)
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                 : "=r"(done) : "r"(address(bar)), "r"(parity) : "memory");
}
#define CLUSTER_SYNC \
  asm volatile("barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;" ::: "memory")

// ---- x: 32 u + 8 v .. and 16 on, of row n, go to four places ----
struct Unit {
  uint4 first, second;
  DEV void load(const Problem& q, int n, int k, bool valid) {
    first = second = make_uint4(0, 0, 0, 0);
    if (!valid || n >= q.batch) return;
    const u16* from = q.x + (u64)n * q.cols + k;
    if (k < q.cols) first = *(const uint4*)from;
    if (k + 16 < q.cols) second = *(const uint4*)(from + 16);
  }
  DEV void store(char* tile, int n, int u, int v) const {
    const u32 a[4] = {first.x, first.y, first.z, first.w}, b[4] = {second.x, second.y, second.z, second.w};
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const u32 how = j & 1 ? 0x7632 : 0x5410;
      *(uint2*)(tile + n * 128 + ((2 * j + u) ^ (n & 7)) * 16 + v * 8) =
          make_uint2(__byte_perm(a[j >> 1], b[j >> 1], how), __byte_perm(a[2 + (j >> 1)], b[2 + (j >> 1)], how));
    }
  }
};
struct Producer {
  int row, u, v, first;  // this thread's place among 32 rows and four units of each
  DEV Producer(int tid, int row0) {
    const int r = tid >> 2 & 7;  // even rows and odd ones in different halves of a warp: no two in the same banks
    row = (tid >> 5) * 8 + ((r & 3) << 1 | r >> 2), u = tid >> 1 & 1, v = tid & 1, first = row0;
  }
  DEV void load(const Problem& q, Unit (&x)[UNITS], int kb, int end) const {
#pragma unroll
    for (int i = 0; i < UNITS; i++) {
      const int n = row + 32 * i;
      x[i].load(q, first + n, kb * 64 + 32 * u + 8 * v, n < COLS && kb < end);
    }
  }
  DEV void store(const Unit (&x)[UNITS], char* tile) const {
#pragma unroll
    for (int i = 0; i < UNITS; i++)
      if (row + 32 * i < COLS) x[i].store(tile, row + 32 * i, u, v);
  }
};
struct Ring {
  char* x;
  u64 *full, *empty;
  DEV char* tile(int stage) const { return x + stage * COLS * 128; }
};
// One of two warpgroups that lay out AHEAD steps in turn: while one waits for far memory the other stores.
DEV void produce(const Problem& q, Ring ring, int tid, int which, int from, int end, int steps) {
  const Producer p(tid, blockIdx.y * COLS);
  Unit x[AHEAD][UNITS];
  asm volatile("griddepcontrol.wait;" ::: "memory");
  for (int s = which * AHEAD; s < steps; s += 2 * AHEAD) {
#pragma unroll
    for (int i = 0; i < AHEAD; i++) p.load(q, x[i], from + s + i, end);
#pragma unroll
    for (int i = 0; i < AHEAD; i++) {
      mbar_wait(ring.empty + (s + i) % STAGES, ((s + i) / STAGES & 1) ^ 1);
      p.store(x[i], ring.tile((s + i) % STAGES));
    }
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#pragma unroll
    for (int i = 0; i < AHEAD; i++) mbar_arrive(ring.full + (s + i) % STAGES);
  }
}

// ---- weights ----
struct Asked {
  Codes<KIND> codes;
  uint2 meta;
  DEV void load(const Problem& q, int tile, int kb, int groups, int lane) {
    kb = kb < q.kbs ? kb : q.kbs - 1;
    codes.load(q.words + ((u64)tile * q.kbs + kb) * 128 * (KIND == NF4 ? 4 : KIND), lane);
    meta = ((const uint2*)(q.meta + ((u64)tile * groups + (kb >> q.m)) * 64))[lane >> 2];
  }
};
DEV void consume(const Problem& q, Ring ring, int tile, int from, int steps, float (&d)[COLS / 2]) {
  const int lane = threadIdx.x & 31, groups = ((q.kbs - 1) >> q.m) + 1;
  Asked asked[DEPTH];
  Books books;
  u32 a[2][4][4];
#pragma unroll
  for (int i = 0; i < DEPTH; i++) asked[i].load(q, tile, from + i, groups, lane);
#if KIND == NF4
#pragma unroll
  for (int i = 0; i < 4; i++) {
    books.low[i] = books.high[i] = 0;
#pragma unroll
    for (int b = 0; b < 4; b++)
      books.low[i] |= (BOOK[4 * i + b] & 255) << (8 * b), books.high[i] |= (BOOK[4 * i + b] >> 8 & 255) << (8 * b);
  }
#endif
#pragma unroll
  for (int i = 0; i < COLS / 2; i++) d[i] = 0.f;
  const Scales first(asked[0].meta);
#pragma unroll
  for (int j = 0; j < 4; j++) weights(asked[0].codes, j, first, books, a[0][j]);
  asked[0].load(q, tile, from + DEPTH, groups, lane);
  int stage = 0, before = -1;
  u32 parity = 0;
  for (int s = 0; s < steps; s += DEPTH) {
#pragma unroll
    for (int i = 0; i < DEPTH; i++) {
      mbar_wait(ring.full + stage, parity);
      const u64 tile_of_x = wg_tile(address(ring.tile(stage)));
      Asked& next = asked[(i + 1) % DEPTH];
      const Scales scales(next.meta);
#pragma unroll
      for (int j = 0; j < 4; j++) {  // a warp waits while the tensor cores are busy: what comes next is dequantized in between
        wg_fence();
        wg_mma(d, a[i & 1][j], tile_of_x + 2 * j);
        wg_commit();
        if (j == 0) {
          wg_wait<1>();
          if (before >= 0 && lane == 0) mbar_arrive(ring.empty + before);
        }
        weights(next.codes, j, scales, books, a[(i + 1) & 1][j]);
      }
      before = stage;
      if (++stage == STAGES) stage = 0, parity ^= 1;
      next.load(q, tile, from + s + i + 1 + DEPTH, groups, lane);
    }
  }
  wg_wait<0>();
  wg_hold(d);
}

// ---- the sum over the cluster ----
DEV uint4 of_peer(u32 at, int rank) {
  uint4 v;
  asm volatile("{ .reg .b32 a; mapa.shared::cluster.u32 a, %4, %5; ld.shared::cluster.v4.u32 {%0, %1, %2, %3}, [a]; }"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(at), "r"(rank) : "memory");
  return v;
}
DEV void put4(const Problem& q, int col, int row, const float (&v)[4]) {
  if (col >= q.batch || row >= q.rows) return;
  u16* to = q.y + (u64)col * q.rows + row;
  float sum[4];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const u16 b = q.bias && row + i < q.rows ? q.bias[row + i] : 0;
    sum[i] = v[i] + (BF16 ? low_bf16(b) : half_to_float(b));
  }
  if (q.rows % 4 == 0) {
    *(uint2*)to = make_uint2(pair_of(sum[0], sum[1]), pair_of(sum[2], sum[3]));
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++)
      if (row + i < q.rows) to[i] = (u16)pair_of(sum[i], 0.f);
  }
}
#if PACKED  // words of two columns
DEV void keep(u32* sums, const float (&d)[COLS / 2], int row, int pair) {
#pragma unroll
  for (int i = 0; i < COLS / 2; i += 2) sums[((i >> 2) * 4 + pair) * PITCH + row + 8 * (i >> 1 & 1)] = bhalves(d[i], d[i + 1]);
}
DEV void finish(const Problem& q, const u32* sums, int block, int rank) {
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  for (int n = rank * COLS / 2 / SPLIT + warp; n < (rank + 1) * COLS / 2 / SPLIT; n += 16) {
    float low[4] = {}, high[4] = {};
    uint4 part[SPLIT];
#pragma unroll
    for (int r = 0; r < SPLIT; r++) part[r] = of_peer(address(sums + n * PITCH + 4 * lane), r);
#pragma unroll
    for (int r = 0; r < SPLIT; r++) {
      const u32 v[4] = {part[r].x, part[r].y, part[r].z, part[r].w};
#pragma unroll
      for (int i = 0; i < 4; i++) low[i] += low_bf16(v[i]), high[i] += high_bf16(v[i]);
    }
    put4(q, blockIdx.y * COLS + 2 * n, block * ROWS + 4 * lane, low);
    put4(q, blockIdx.y * COLS + 2 * n + 1, block * ROWS + 4 * lane, high);
  }
}
#else
DEV void keep(u32* sums, const float (&d)[COLS / 2], int row, int pair) {
#pragma unroll
  for (int i = 0; i < COLS / 2; i++)
    sums[((i >> 2) * 8 + 2 * pair + (i & 1)) * PITCH + row + 8 * (i >> 1 & 1)] = __float_as_uint(d[i]);
}
DEV void finish(const Problem& q, const u32* sums, int block, int) {
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  for (int n = warp; n < COLS; n += 16) {
    const float4 v = *(const float4*)(sums + n * PITCH + 4 * lane);
    const float sum[4] = {v.x, v.y, v.z, v.w};
    put4(q, blockIdx.y * COLS + n, block * ROWS + 4 * lane, sum);
  }
}
#endif

extern "C" __global__ void __launch_bounds__(512, 1)
#if SPLIT > 1
    __cluster_dims__(SPLIT, 1, 1)
#endif
    batch(const __grid_constant__ Problem q) {
  extern __shared__ __align__(1024) char room[];
  __shared__ u64 full[STAGES], empty[STAGES];
  asm volatile("griddepcontrol.launch_dependents;");
  char* x = room + (1024 - (address(room) & 1023)) % 1024;
  const int group = threadIdx.x >> 7, rank = blockIdx.x % SPLIT, block = blockIdx.x / SPLIT;
  const int from = q.kbs * rank / SPLIT, end = q.kbs * (rank + 1) / SPLIT, steps = (end - from + MULTIPLE - 1) / MULTIPLE * MULTIPLE;
  if (threadIdx.x == 0)
    for (int i = 0; i < STAGES; i++) mbar_init(full + i, 128), mbar_init(empty + i, 8);
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  __syncthreads();
  Ring ring{x, full, empty};
  const int tile = block * 8 + (threadIdx.x >> 5);
  u32* sums = (u32*)x;
  if (group >= 2) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 96;");
    produce(q, ring, threadIdx.x & 127, group - 2, from, end, steps);
    __syncthreads();
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 160;");
    float d[COLS / 2];
    consume(q, ring, tile < q.tiles ? tile : q.tiles - 1, from, steps, d);
    __syncthreads();  // nobody needs x any more
    keep(sums, d, (threadIdx.x >> 5) * 16 + (threadIdx.x >> 2 & 7), threadIdx.x & 3);
  }
#if SPLIT > 1
  CLUSTER_SYNC;
#else
  __syncthreads();
#endif
  finish(q, sums, block, rank);
#if SPLIT > 1
  CLUSTER_SYNC;  // until the last of them has read this block's
#endif
}
