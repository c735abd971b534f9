// y = x W^T for COLS rows of x at a time on the tensor cores of Hopper. WGS warpgroups multiply, each 64 MT outputs; their warps have the
// packed weights come to shared memory, DEPTH tiles ahead, and dequantize them in registers (wgmma's left operand). One more thread has
// the copy engine bring x into a ring of STAGES slots of 64 inputs. (It takes some 80 cycles for each small piece: with weights brought by
// it too, 2048 x 2048 with 2,048 rows took 44 us where it took 26.) SPLIT blocks of a cluster share the inputs and add up what they have
// through each other's shared memory, in the same order always. Compiled with KIND, BF16, COLS (16 to 256), WGS, MT, SPLIT, STAGES, DEPTH,
// BLOCKS (of a multiprocessor, that registers leave room for) and REGISTERS (0, or those of a thread that multiplies; the others then
// keep 24).

// ---- the thread that has x brought ----
DEV void produce(const Problem& q, const Ring& ring, const Share& share) {
  asm volatile("griddepcontrol.wait;" ::: "memory");
  Spot at;
  for (int unit = blockIdx.x / SPLIT; unit < q.units; unit += gridDim.x / SPLIT) {
    const int row = unit % q.across * COLS;
    for (int kb = share.from; kb < share.end; kb++, at.advance()) {
      const u32 bar = ring.full + 8 * at.stage;
      mbar_wait(ring.empty + 8 * at.stage, at.parity ^ 1);
      mbar_expect(bar, X_BYTES);
      box_copy(ring.slot(at.stage), q.x, kb * 64, row, bar);
    }
  }
}

// ---- warps that multiply ----
DEV Books books_of() {
  Books b = {};
#if KIND == NF4
#pragma unroll
  for (int i = 0; i < 4; i++) {
#pragma unroll
    for (int n = 0; n < 4; n++) b.low[i] |= (BOOK[4 * i + n] & 255) << (8 * n), b.high[i] |= (BOOK[4 * i + n] >> 8 & 255) << (8 * n);
  }
#endif
  return b;
}
DEV void dequantize(const Codes<KIND>& c, const Scales& scales, const Books& books, int h, u32 (&a)[2][4]) {
  u32 low[4], high[4];
  weights(c, 2 * h, scales, books, low);
  weights(c, 2 * h + 1, scales, books, high);
#pragma unroll
  for (int w = 0; w < 2; w++) a[w][0] = low[2 * w], a[w][1] = low[2 * w + 1], a[w][2] = high[2 * w], a[w][3] = high[2 * w + 1];
}
// One unit. What comes next is dequantized while the tensor cores are busy: `raw` is always one step ahead.
DEV void consume(const Problem& q, const Ring& ring, Feed& feed, const Share& share, const Books& books, Spot& at, Raw (&raw)[MT],
                 float (&d)[MT][COLS / 2]) {
  u32 a[2][MT][2][4];
#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int n = 0; n < COLS / 2; n++) d[i][n] = 0.f;
  int before = -1;
#pragma unroll 1
  for (int n = share.from; n < share.end; n++) {
    const u64 x = wg_tile(ring.slot(at.stage));
    Codes<KIND> codes[MT];
    uint2 meta[MT];
#pragma unroll
    for (int i = 0; i < MT; i++) raw[i].codes.codes(codes[i], threadIdx.x & 3), meta[i] = raw[i].meta;
#pragma unroll
    for (int h = 0; h < 2; h++) {
#pragma unroll
      for (int i = 0; i < MT; i++) dequantize(codes[i], Scales(meta[i]), books, h, a[h][i]);
      if (h == 0) mbar_wait(ring.full + 8 * at.stage, at.parity);
      wg_fence();
#pragma unroll
      for (int w = 0; w < 2; w++)
#pragma unroll
        for (int i = 0; i < MT; i++) wg_mma(d[i], a[h][i][w], x + 2 * (2 * w + h));
      wg_commit();
      wg_wait<1>();
      if (h == 0) {
        if (before >= 0 && (threadIdx.x & 31) == 0) mbar_arrive(ring.empty + 8 * before);
        feed.ask(q, share);
        feed.read(raw);
      }
    }
    before = at.stage;
    at.advance();
  }
  wg_wait<0>();
#pragma unroll
  for (int i = 0; i < MT; i++) wg_hold(d[i]);
  if ((threadIdx.x & 31) == 0) mbar_arrive(ring.empty + 8 * before);
}

// ---- what becomes of the sums ----
DEV u32 transposed(u32 x) {
  u32 y;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(y) : "r"(x));
  return y;
}
DEV float of_u16(u16 b) { return BF16 ? low_bf16(b) : half_to_float(b); }
DEV void put4(const Problem& q, int col, int row, uint2 v) {
  if (col >= q.batch || row >= q.rows) return;
  u16* to = q.y + (u64)col * q.rows + row;
  if (q.rows % 4 == 0) {
    *(uint2*)to = v;
  } else {
    const u32 w[2] = {v.x, v.y};
#pragma unroll
    for (int i = 0; i < 4; i++)
      if (row + i < q.rows) to[i] = (u16)(w[i >> 1] >> (16 * (i & 1)));
  }
}
// A warp's 16 outputs: eight rows of x at a time are turned round, so that four lanes write 32 bytes that lie side by side.
DEV void put(const Problem& q, const float (&d)[COLS / 2], int row, int col) {
  const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3, from = (lane & ~3) | (2 * t & 3);
  const float b0 = q.bias && row + g < q.rows ? of_u16(q.bias[row + g]) : 0.f;
  const float b1 = q.bias && row + g + 8 < q.rows ? of_u16(q.bias[row + g + 8]) : 0.f;
#pragma unroll
  for (int i = 0; i < COLS / 8; i++) {
    if (col + 8 * i >= q.batch) break;
    const u32 low = transposed(pair_of(d[4 * i] + b0, d[4 * i + 1] + b0)), high = transposed(pair_of(d[4 * i + 2] + b1, d[4 * i + 3] + b1));
    const u32 l0 = __shfl_sync(~0u, low, from), l1 = __shfl_sync(~0u, low, from + 1);
    const u32 h0 = __shfl_sync(~0u, high, from), h1 = __shfl_sync(~0u, high, from + 1);
    put4(q, col + 8 * i + g, row + 4 * t, t < 2 ? make_uint2(l0, l1) : make_uint2(h0, h1));
  }
}
#if SPLIT > 1
DEV uint4 of_peer(u32 at, int rank) {
  uint4 v;
  asm volatile("{ .reg .b32 a; mapa.shared::cluster.u32 a, %4, %5; ld.shared::cluster.v4.u32 {%0, %1, %2, %3}, [a]; }"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(at), "r"(rank) : "memory");
  return v;
}
DEV void keep(u32* sums, const float (&d)[COLS / 2], int row, int pair) {  // words of two rows of x
#pragma unroll
  for (int i = 0; i < COLS / 2; i += 2) sums[((i >> 2) * 4 + pair) * PITCH + row + 8 * (i >> 1 & 1)] = bhalves(d[i], d[i + 1]);
}
DEV void finish(const Problem& q, const u32* sums, int block, int m, const Share& share) {
  const int first = share.part * (COLS / 2) / SPLIT, end = (share.part + 1) * (COLS / 2) / SPLIT;
  for (int i = threadIdx.x; i < (end - first) * (ROWS / 4); i += 128 * WGS) {
    const int n = first + i / (ROWS / 4), r = i % (ROWS / 4) * 4, row = block * ROWS + r;
    float low[4], high[4];
    uint4 part[SPLIT];
#pragma unroll
    for (int k = 0; k < 4; k++) low[k] = high[k] = q.bias && row + k < q.rows ? of_u16(q.bias[row + k]) : 0.f;
#pragma unroll
    for (int k = 0; k < SPLIT; k++) part[k] = of_peer(address(sums + n * PITCH + r), k);
#pragma unroll
    for (int k = 0; k < SPLIT; k++) {
      const u32 v[4] = {part[k].x, part[k].y, part[k].z, part[k].w};
#pragma unroll
      for (int j = 0; j < 4; j++) low[j] += low_bf16(v[j]), high[j] += high_bf16(v[j]);
    }
    put4(q, m * COLS + 2 * n, row, make_uint2(pair_of(low[0], low[1]), pair_of(low[2], low[3])));
    put4(q, m * COLS + 2 * n + 1, row, make_uint2(pair_of(high[0], high[1]), pair_of(high[2], high[3])));
  }
}
#endif

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
#if SPLIT > 1
    __cluster_dims__(SPLIT, 1, 1)
#endif
    wide(const __grid_constant__ Problem q) {
  extern __shared__ __align__(1024) char memory[];
  __shared__ __align__(8) u64 bars[2 * STAGES];
  asm volatile("griddepcontrol.launch_dependents;");
  char* room = memory + (1024 - (address(memory) & 1023)) % 1024;
  const int part = blockIdx.x % SPLIT;
  const Ring ring{address(room), address(bars), address(bars + STAGES)};
  const Share share{q.kbs * part / SPLIT, q.kbs * (part + 1) / SPLIT, part};
  const bool producer = threadIdx.x >= 128 * WGS;
  if (threadIdx.x == 128 * WGS) {
    for (int i = 0; i < STAGES; i++) mbar_init(ring.full + 8 * i, 1), mbar_init(ring.empty + 8 * i, 4 * WGS);
    mbar_inits_end();
  }
  __syncthreads();
  if (SPLIT > 1) cluster_arrive();
  const int first = blockIdx.x / SPLIT;
  if (producer) {
#if REGISTERS
    asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
#endif
    if (SPLIT > 1) cluster_wait();
    if (threadIdx.x == 128 * WGS) produce(q, ring, share);
  } else {
#if REGISTERS
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
#endif
    Feed feed(q, share, room + STAGES * X_BYTES);
#pragma unroll 1
    for (int i = 0; i < DEPTH; i++) feed.ask(q, share);
    if (SPLIT > 1) cluster_wait();
    const Books books = books_of();
    Raw raw[MT];
    feed.read(raw);
    float d[MT][COLS / 2];
    Spot at;
    const int warp_row = (threadIdx.x >> 7) * MT * 64 + (threadIdx.x >> 5 & 3) * 16;
#if SPLIT == 1
    for (int unit = first; unit < q.units; unit += gridDim.x / SPLIT) {
      consume(q, ring, feed, share, books, at, raw, d);
#pragma unroll
      for (int i = 0; i < MT; i++)
        put(q, d[i], unit / q.across * ROWS + warp_row + 64 * i, unit % q.across * COLS);
    }
#else
    consume(q, ring, feed, share, books, at, raw, d);
    asm volatile("bar.sync 1, %0;" ::"n"(128 * WGS) : "memory");  // nobody needs the ring any more
#pragma unroll
    for (int i = 0; i < MT; i++) keep((u32*)room, d[i], warp_row + 64 * i + (threadIdx.x >> 2 & 7), threadIdx.x & 3);
#endif
  }
#if SPLIT > 1
  __syncwarp();
  cluster_arrive();
  cluster_wait();
  if (!producer) finish(q, (const u32*)room, first / q.across, first % q.across, share);
#endif
#if SPLIT > 1
  __syncwarp();
  cluster_arrive();  // until the last of them has read this block's memory, or written there
  cluster_wait();
#endif
}
