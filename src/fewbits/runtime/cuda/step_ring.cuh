// The rings in shared memory through which weights stream: one thread fills them, in the order in which the block will need them and
// as far ahead as they hold, across phases and steps; sixteen warps empty them. Beside the weights' there are two small ones, for what
// describes a phase and for norms: read from memory when needed, they would be waited for while weights pass through the caches.
struct Turn {  // a place in a ring of `count`
  u32 at, parity;
  DEV void next(u32 count) {
    if (++at == count) at = 0, parity ^= 1;
  }
};
DEV void produce_units(const Args& a, const Phase& ph, char* ring, Shared& sh, Turn& turn, u64 policy) {
  int from, to, tile;
  my_units(ph, from, to);
  for (int item = from << gated(ph); item < to << gated(ph); item++) {
    const Seg& sg = locate(ph, item >> gated(ph), item & gated(ph), tile);
    const bool raw = sg.kind == 16;
    const int total = raw ? 16 : ph.kb, have = raw ? sg.rows - tile * 16 : ph.kb;
    const u32 unit_bytes = raw ? ph.k * 2 : 128 * bits_of(sg.kind);
    const char* w = sg.w + (u64)tile * (raw ? 16 : ph.kb) * unit_bytes;
    const int groups = raw ? 0 : ((ph.kb - 1) >> sg.m) + 1;
    for (int at = 0; at < total; at += sg.chunk) {
      const int count = max(0, min(sg.chunk, have - at));  // rows past the end are not read
      mbar_wait(&sh.empty[turn.at], turn.parity);
      char* place = ring + turn.at * SLOT;
      const u32 bytes = count * unit_bytes;
      const int g0 = raw ? 0 : at >> sg.m;
      const u32 more = raw ? 0 : (((at + count - 1) >> sg.m) - g0 + 1) * 64;
      mbar_expect(&sh.full[turn.at], bytes + more);
      if (bytes) bulk_copy(place, w + (u64)at * unit_bytes, bytes, &sh.full[turn.at], policy);
      if (more) bulk_copy(place + bytes, sg.meta + ((u64)tile * groups + g0) * 64, more, &sh.full[turn.at], policy);
      turn.next(a.slots);
    }
  }
}
DEV void produce(const Args& a, char* ring, char* norms, Shared& sh) {
  Turn turn = {0, 1}, head = {0, 1}, norm = {0, 1};
  const u64 policy = read_once();
  for (int step = 0; step < a.steps; step++)
    for (int p = 0; p < a.phases; p++) {
      const Phase& ph = PHASES[p];
      mbar_wait(&sh.head_empty[head.at], head.parity);
      mbar_expect(&sh.head_full[head.at], sizeof(Phase));
      bulk_copy(&sh.heads[head.at], a.phase_list + p, sizeof(Phase), &sh.head_full[head.at]);
      head.next(HEADS);
      if (ph.norm) {
        mbar_wait(&sh.norm_empty[norm.at], norm.parity);
        mbar_expect(&sh.norm_full[norm.at], a.norm_bytes);
        bulk_copy(norms + norm.at * a.norm_bytes, ph.norm, a.norm_bytes, &sh.norm_full[norm.at]);
        norm.next(NORMED);
      }
      if (ph.type != ATTEND) produce_units(a, ph, ring, sh, turn, policy);
    }
}
DEV void free_slot(u64* empty) {
  __syncwarp();
  if (!(threadIdx.x & 31)) mbar_arrive(empty);
}
struct Ring {
  const char* memory;
  u64 *full, *empty;
  u32 slots, slot, parity;
  DEV const char* wait() const {
    mbar_wait(full + slot, parity);
    return memory + slot * SLOT;
  }
  DEV const char* wait_next() const {
    const u32 next = slot + 1 == slots ? 0 : slot + 1;
    mbar_wait(full + next, next ? parity : parity ^ 1);
    return memory + next * SLOT;
  }
  DEV void free() {
    free_slot(empty + slot);
    if (++slot == slots) slot = 0, parity ^= 1;
  }
};
