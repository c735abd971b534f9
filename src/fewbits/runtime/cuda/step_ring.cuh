// The rings in shared memory through which weights stream: one thread fills them, in the order in which the block will need them and
// as far ahead as they hold, across phases and steps; sixteen warps empty them. Beside the weights' there are two small ones, for what
// describes a phase and for norms: read from memory when needed, they would be waited for while weights pass through the caches.
struct Turn {  // a place in a ring of `count`
  u32 at, parity;
  DEV void next(u32 count) {
    if (++at == count) at = 0, parity ^= 1;
  }
};
// No more than this many slots are asked for at once: more fill the memory's queues, and what blocks hand on to each other waits behind
// them. A step of Llama-1B in 4 bits on an H200 took 366, 356, 366 and 372 us with one, two, three and four; with a head in bf16, whose
// phase streams without pause, 509, 468, 460 and 465.
constexpr u32 FLYING = SLOTS > 2 ? 2 : 1;
DEV int2 my_units(const Phase& ph) {
  return make_int2((u32)ph.units * blockIdx.x / gridDim.x, (u32)ph.units * (blockIdx.x + 1) / gridDim.x);  // units: below 2^16
}
DEV const Seg& locate(const Phase& ph, int item, int& tile) {
  if (ph.core.type == GATED) {
    tile = item >> 1;
    return ph.seg[item & 1];
  }
  int s = 0;
  for (tile = item; s + 1 < ph.segs && tile >= ph.seg[s].tiles; s++) tile -= ph.seg[s].tiles;
  return ph.seg[s];
}
DEV void produce_units(const Phase& ph, int2 units, char* ring, Shared& sh, Turn& turn, Turn& landed, u64 policy) {
  const int kb = ph.core.kb, k = ph.core.k, twice = ph.core.type == GATED;
  for (int item = units.x << twice; item < units.y << twice; item++) {
    int tile;
    const Seg& sg = locate(ph, item, tile);
    const bool raw = sg.kind == 16;
    const int total = raw ? 16 : kb, have = raw ? sg.rows - tile * 16 : kb;
    const u32 unit_bytes = raw ? k * 2 : 128 * bits_of(sg.kind);
    const char* w = sg.w + (u64)tile * (raw ? 16 : kb) * unit_bytes;
    const int groups = raw ? 0 : ((kb - 1) >> sg.m) + 1;
    for (int at = 0; at < total; at += sg.chunk) {
      const int count = max(0, min(sg.chunk, have - at));  // rows past the end are not read
      if (turn.at == (landed.at + FLYING) % SLOTS) {
        mbar_wait(&sh.full[landed.at], landed.parity);
        landed.next(SLOTS);
      }
      mbar_wait(&sh.empty[turn.at], turn.parity);
      char* place = ring + turn.at * SLOT;
      const u32 bytes = count * unit_bytes;
      const int g0 = raw ? 0 : at >> sg.m;
      const u32 more = raw ? 0 : (((at + count - 1) >> sg.m) - g0 + 1) * 64;
      mbar_expect(&sh.full[turn.at], bytes + more);
      if (bytes) bulk_copy(place, w + (u64)at * unit_bytes, bytes, &sh.full[turn.at], policy);
      if (more) bulk_copy(place + bytes, sg.meta + ((u64)tile * groups + g0) * 64, more, &sh.full[turn.at], policy);
      turn.next(SLOTS);
    }
  }
}
DEV void produce(const Args& a, char* ring, char* norms, Shared& sh) {
  Turn turn = {0, 1}, landed = {0, 0}, head = {0, 1}, norm = {0, 1};
  const u64 policy = read_once();
  for (int step = 0; step < a.steps; step++)
    for (int p = 0; p < a.phases; p++) {
      const Phase& ph = PHASES[p];
      mbar_wait(&sh.head_empty[head.at], head.parity);
      const int2 units = my_units(ph);
      sh.units[head.at] = units;
      mbar_expect(&sh.head_full[head.at], sizeof(Phase));
      bulk_copy(&sh.heads[head.at], a.phase_list + p, sizeof(Phase), &sh.head_full[head.at]);
      head.next(HEADS);
      if (ph.core.norm) {
        mbar_wait(&sh.norm_empty[norm.at], norm.parity);
        mbar_expect(&sh.norm_full[norm.at], a.norm_bytes);
        bulk_copy(norms + norm.at * a.norm_bytes, ph.core.norm, a.norm_bytes, &sh.norm_full[norm.at]);
        norm.next(NORMED);
      }
      if (ph.core.type != ATTEND) produce_units(ph, units, ring, sh, turn, landed, policy);
    }
}
DEV void free_slot(u64* empty) {
  __syncwarp();
  if (!(threadIdx.x & 31)) mbar_arrive(empty);
}
struct Ring {
  const char* memory;
  u64 *full, *empty;
  u32 slot, parity;
  DEV const char* wait() const {
    mbar_wait(full + slot, parity);
    return memory + slot * SLOT;
  }
  DEV void next() {
    if (++slot == SLOTS) slot = 0, parity ^= 1;
  }
  DEV const char* wait_next() {  // for the slot after this, which is not given back yet
    next();
    return wait();
  }
  DEV void free() {
    free_slot(empty + slot);
    next();
  }
  DEV void free_two() {  // this slot and the one before it
    __syncwarp();
    if (!(threadIdx.x & 31)) mbar_arrive(empty + (slot ? slot - 1 : SLOTS - 1)), mbar_arrive(empty + slot);
    next();
  }
};
