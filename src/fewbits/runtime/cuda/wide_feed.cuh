// How the blocks of wide.cu share the work, and the packed weights on their way to their warps.
#define TILES (4 * WGS * MT)  // of 16 outputs
#define ROWS (16 * TILES)
#define TILE (128 * (KIND == NF4 ? 4 : KIND))
#define PIECE (TILE + 64)  // a tile and its scales
#define X_BYTES (COLS * 128)
#define PITCH (ROWS + 8)
#define THREADS (128 * WGS + (REGISTERS ? 128 : 32))  // registers move from one warpgroup to others, not from a warp

__constant__ u32 BOOK[16];

struct alignas(64) Problem {
  char x[128];  // the tensor map
  const char *words, *meta;
  const u16* bias;
  u16* y;
  int rows, tiles, kbs, m, batch, across, units;
};
struct Ring {
  u32 slots, full, empty;
  DEV u32 slot(int stage) const { return slots + stage * X_BYTES; }
};
struct Spot {  // in the ring
  int stage = 0;
  u32 parity = 0;
  DEV void advance() {
    if (++stage == STAGES) stage = 0, parity ^= 1;
  }
};
struct Share {  // of the inputs, in tiles: one of SPLIT parts
  int from, end, part;
};

// ---- a warp's packed tiles on their way to it, MT at a time, over all its units ----
DEV void copy16(u32 to, const char* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
DEV void copies_end() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> DEV void copies_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }
struct Raw {  // of a tile, as it lies there
  Natural<KIND> codes;
  uint2 meta;
};
struct Feed {
  const char *words[MT], *meta[MT];
  int unit, kb, ask_at = 0, read_at = 0;
  u32 ring;
  const char* room;
  DEV Feed(const Problem& q, const Share& share, const char* rings) : unit(blockIdx.x / SPLIT) {
    room = rings + (threadIdx.x >> 5) * DEPTH * MT * PIECE, ring = address(room) + (threadIdx.x & 31) * 16;
    begin(q, share);
  }
  DEV void begin(const Problem& q, const Share& share) {
    const int lane = threadIdx.x & 31, groups = ((q.kbs - 1) >> q.m) + 1;
    const int tile = unit / q.across * TILES + (threadIdx.x >> 7) * MT * 4 + (threadIdx.x >> 5 & 3);
    kb = share.from;
#pragma unroll
    for (int i = 0; i < MT; i++) {
      const u64 n = min(tile + 4 * i, q.tiles - 1);
      words[i] = q.words + (n * q.kbs + kb) * TILE + lane * 16, meta[i] = q.meta + n * groups * 64 + lane * 16;
    }
  }
  DEV void ask(const Problem& q, const Share& share) {
    const int lane = threadIdx.x & 31;
    if (unit < q.units) {
#pragma unroll
      for (int i = 0; i < MT; i++) {
        const u32 to = ring + (ask_at * MT + i) * PIECE;
#pragma unroll
        for (int c = 0; c < TILE / 512; c++) copy16(to + c * 512, words[i] + c * 512);
        if (TILE % 512 && lane * 16 < TILE % 512) copy16(to, words[i]);
        if (lane < 4) copy16(to + TILE, meta[i] + (kb >> q.m) * 64);
        words[i] += TILE;
      }
      if (++kb == share.end) unit += gridDim.x / SPLIT, begin(q, share);
    }
    copies_end();
    if (++ask_at == DEPTH) ask_at = 0;
  }
  DEV void read(Raw (&raw)[MT]) {
    const int lane = threadIdx.x & 31;
    copies_wait<DEPTH - 1>();
    __syncwarp();
#pragma unroll
    for (int i = 0; i < MT; i++) {
      const char* from = room + (read_at * MT + i) * PIECE;
      raw[i].codes.load(from, lane >> 2, lane & 3);
      raw[i].meta = ((const uint2*)(from + TILE))[lane >> 2];
    }
    if (++read_at == DEPTH) read_at = 0;
  }
};
