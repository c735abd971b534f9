// Tiles of a packed weight on their way to a warp, through a ring of its own in shared memory, and their codes as operands: what the
// kernels for one row of x (row.cu) and for a few (vector.cu) share. Compiled with KIND, BF16, WARPS, TEAM (warps that share the inputs
// of 16 outputs) and CHUNK (tiles that come together).
#define FLIGHT 3  // times 512 bytes that a warp has on its way at most when it asks gently
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
#define PAIRS (256 * 32 * 4)
DEV const char* pairs_at(char* room, int lane) {  // to be read after a barrier
  if (KIND == NF4)
    for (int n = threadIdx.x; n < 256 * 32; n += WARPS * 32) ((u32*)room)[n] = (BOOK[n >> 5 & 15] & 0xFFFF) | BOOK[n >> 9] << 16;
  return room + lane * 4;
}
DEV u32 pair_at(const char* pairs, u32 offset) { return *(const u32*)(pairs + offset); }
DEV void integers(const Codes<NF4>& c, int j, int, const char* pairs, u32 (&a)[4]) {
  const u32 x = word_of(c.w, j);
  const u32 even = (x & 0x0F0Fu) | (x >> 12 & ~0x0F0Fu), odd = (x >> 4 & 0x0F0Fu) | (x >> 16 & ~0x0F0Fu);
  a[0] = pair_at(pairs, even << 7 & 0x7F80u), a[1] = pair_at(pairs, odd << 7 & 0x7F80u);
  a[2] = pair_at(pairs, even >> 1 & 0x7F80u), a[3] = pair_at(pairs, odd >> 1 & 0x7F80u);
}

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
  // Gently: what the kernel before this one still reads, and then x, does not wait behind all weights of this one. 2048 x 8192 takes
  // 4.8 us so, where asking for all at once takes 5.5.
  template <bool GENTLY = false> DEV void ask(const Problem& q, u32 slot, int lane) {
    if (left-- > 0) {
      const int count = min(CHUNK, to - kb), g0 = kb >> q.m, scales = ((kb + count - 1) >> q.m) - g0 + 1;
      if (CHUNK * TILE % 512 == 0 && count == CHUNK) {
#pragma unroll
        for (int i = 0; i < CHUNK * TILE / 512; i++) {
          copy16(slot + i * 512, words + i * 512);
          if (GENTLY) copies_end(), copies_wait<FLIGHT - 1>();
        }
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
