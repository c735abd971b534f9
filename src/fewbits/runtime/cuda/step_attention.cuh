// Attention of one token over the cache: blocks share the heads and, where the context is long, the keys of a head.
//
// The cache is f16 whatever the model's type: bf16's 8 bits cost a trained Llama of 28 M parameters a divergence of 4e-5, f16's 11 2e-6.
DEV void unpacked(float (&to)[8], uint4 w) {
  const u32 v[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
  for (int i = 0; i < 4; i++) to[2 * i] = half_to_float(v[i]), to[2 * i + 1] = high_to_float(v[i]);
}
struct Span {  // which keys of which heads are this block's
  int split, kv, head, begin, end;
  int newest;  // the key that is not stored yet, if this block has it, else -1
  bool active;
  u16 *kc, *vc;
  DEV Span(const Args& a, int layer, int pos) {
    const int keys = pos + 1, splits = splits_of(a, keys), groups = a.heads / RT;
    active = blockIdx.x < groups * splits;
    if (!active) return;
    for (split = 0, head = blockIdx.x; head >= groups; split++) head -= groups;
    head *= RT, kv = head * a.rep_inverse >> 16;
    const int per = splits == 1 ? keys : (keys + splits - 1) / splits;
    begin = split * per, end = min(keys, begin + per), newest = end == keys ? pos : -1;
    const u64 base = ((u64)layer * a.kv_heads + kv) * a.max_len * HD;
    kc = (u16*)a.keys + base, vc = (u16*)a.values + base;
  }
  // A warp's keys: AHEAD times SUBS in a row, of each block of AHEAD * WARPS * SUBS.
  static DEV int at(int n) { return ((threadIdx.x >> 5) + n * WARPS) * SUBS; }
};
struct Rows {  // keys, one by LPK lanes; values, a row by the whole warp
  uint4 key[AHEAD];
  u32 value[AHEAD * SUBS][PAIRS];
  DEV void load(const Span& s, int first, int last) {  // below `last` only: the newest is not stored yet
    const int lane = threadIdx.x & 31, d0 = lane % LPK * 8;
#pragma unroll
    for (int n = 0; n < AHEAD; n++) {
      const int k = first + s.at(n) + lane / LPK;
      key[n] = make_uint4(0, 0, 0, 0);
      if (k < last && d0 < HD) key[n] = __ldcg((const uint4*)(s.kc + k * HD + d0));
    }
#pragma unroll
    for (int n = 0; n < AHEAD * SUBS; n++)
#pragma unroll
      for (int i = 0; i < PAIRS; i++) {
        const int k = first + s.at(n / SUBS) + n % SUBS, d = i * 64 + lane * 2;
        value[n][i] = 0;
        if (k < last && d < HD) value[n][i] = __ldcg((const u32*)(s.vc + k * HD + d));
      }
  }
  // The newest takes its place, where nothing was loaded. (Looking for it at each row was 4 us of a step of 321.)
  DEV void put_newest(const Span& s, int first, const u32* newest) {
    const int lane = threadIdx.x & 31, d0 = lane % LPK * 8;
#pragma unroll
    for (int n = 0; n < AHEAD; n++) {
      const int sub = s.newest - first - s.at(n);
      if ((u32)sub >= SUBS) continue;
      if (lane / LPK == sub && d0 < HD) key[n] = *(const uint4*)(newest + d0 / 2);
#pragma unroll
      for (int k = 0; k < SUBS; k++)
#pragma unroll
        for (int i = 0; i < PAIRS; i++) {
          const int d = i * 64 + lane * 2;
          if (k == sub && d < HD) value[n * SUBS + k][i] = newest[(HD + d) / 2];
        }
    }
  }
};
struct Rotation {  // of two dimensions of a head
  int job, d, other;  // 0 .. RT - 1: a query; RT: the newest key; RT + 1: the newest value
  DEV Rotation(const Args& a) {
    const int i = threadIdx.x;
    job = i / (HD / 2), d = i % (HD / 2) * 2, other = d;
    if (!a.cos || d >= a.rope_dim || job > RT) return;
    const int half = a.rope_dim / 2;
    other = d < half ? d + half : d - half;
  }
  // The two, rotated. They and what they are rotated with are asked for together: one way to the cache where there were two.
  DEV float2 take(const Args& a, const u64* head, const State& now) const {
    const u64 *from = head + d / 2, *with = head + other / 2;
    const bool turned = other != d;
    Word mine, second;
    ask(mine, from), ask(second, with);
    float2 c = make_float2(1.f, 1.f), s = make_float2(0.f, 0.f);
    if (turned) {
      const int at = now.pos * a.rope_dim + d;
      c = __ldg((const float2*)(a.cos + at)), s = __ldg((const float2*)(a.sin + at));
    }
    for (u32 n = 0; stale(mine, now.tag()) || stale(second, now.tag()); patience(n)) ask(mine, from), ask(second, with);
    const float2 v = values_of(mine), o = values_of(second);
    if (!turned) return v;
    if (d < other) s.x = -s.x, s.y = -s.y;
    return make_float2(v.x * c.x + o.x * s.x, v.y * c.y + o.y * s.y);
  }
};
static_assert((RT + 2) * HD / 2 <= CONSUMERS && RT * HD / 2 * 4 <= CONSUMERS, "a thread has one job");
constexpr int SUMS = RT * HD + 8;  // of a warp; the 8 keep its neighbours in other banks
struct Room {  // in the memory of the inputs
  float queries[RT * HD], sums[WARPS * SUMS], top[RT][WARPS], total[RT][WARPS];
  u32 newest[HD];  // f16, key and value
};

DEV void take_queries(const Args& a, const Span& s, const Rotation& turn, Room& room, const State& now) {
  if (turn.job >= RT + (s.newest >= 0 ? 2 : 0)) return;
  const int head = turn.job < RT ? s.head + turn.job : a.heads + (turn.job - RT) * a.kv_heads + s.kv;
  const float2 v = turn.take(a, a.qkv + head * (HD / 2), now);
  if (turn.job < RT) {
    *(float2*)(room.queries + turn.job * HD + turn.d) = make_float2(v.x * a.attn_scale, v.y * a.attn_scale);
    return;
  }
  const u32 both = finite_halves(v.x, v.y);
  *(u32*)((turn.job == RT ? s.kc : s.vc) + now.pos * HD + turn.d) = both;
  room.newest[((turn.job - RT) * HD + turn.d) / 2] = both;
}

struct Online {  // a warp's softmax so far
  float top[RT], total[RT], acc[RT][PAIRS][2];
};
// Scores of a warp's keys, kept by the lanes that share a key.
DEV void scores(const Span& s, const Rows& rows, const Room& room, int first, Online& on, float (&p)[AHEAD][RT]) {
  const int lane = threadIdx.x & 31, d0 = lane % LPK * 8;
  float top[RT];
#pragma unroll
  for (int r = 0; r < RT; r++) top[r] = on.top[r];
#pragma unroll
  for (int n = 0; n < AHEAD; n++) {
    const int key = first + s.at(n) + lane / LPK;
    float k[8];
    unpacked(k, rows.key[n]);
#pragma unroll
    for (int r = 0; r < RT; r++) {
      float dot = 0.f;
      if (d0 < HD) {
        const float4 q0 = *(const float4*)(room.queries + r * HD + d0), q1 = *(const float4*)(room.queries + r * HD + d0 + 4);
        dot = q0.x * k[0] + q0.y * k[1] + q0.z * k[2] + q0.w * k[3] + q1.x * k[4] + q1.y * k[5] + q1.z * k[6] + q1.w * k[7];
      }
#pragma unroll
      for (int o = LPK / 2; o; o >>= 1) dot += __shfl_xor_sync(~0u, dot, o);
      p[n][r] = key < s.end ? dot : -1e30f;
      top[r] = fmaxf(top[r], p[n][r]);
    }
  }
#pragma unroll
  for (int r = 0; r < RT; r++) {
#pragma unroll
    for (int o = LPK; o < 32; o <<= 1) top[r] = fmaxf(top[r], __shfl_xor_sync(~0u, top[r], o));
    top[r] = ceilf(top[r]);  // whole: it is sent on in 24 bits
    const float keep = exponential(on.top[r] - top[r]);
    on.top[r] = top[r], on.total[r] *= keep;
#pragma unroll
    for (int i = 0; i < PAIRS; i++) on.acc[r][i][0] *= keep, on.acc[r][i][1] *= keep;
#pragma unroll
    for (int n = 0; n < AHEAD; n++) {
      p[n][r] = p[n][r] > -1e29f ? exponential(p[n][r] - top[r]) : 0.f;
      on.total[r] += p[n][r];
    }
  }
}
DEV void add_values(const Rows& rows, Online& on, const float (&p)[AHEAD][RT]) {
  const int lane = threadIdx.x & 31;
#pragma unroll
  for (int n = 0; n < AHEAD * SUBS; n++) {
    float f[RT];
#pragma unroll
    for (int r = 0; r < RT; r++) f[r] = __shfl_sync(~0u, p[n / SUBS][r], n % SUBS * LPK);
#pragma unroll
    for (int i = 0; i < PAIRS; i++) {
      const float v0 = half_to_float(rows.value[n][i]), v1 = high_to_float(rows.value[n][i]);
#pragma unroll
      for (int r = 0; r < RT; r++) on.acc[r][i][0] += f[r] * v0, on.acc[r][i][1] += f[r] * v1;
    }
  }
}
DEV void keep_online(Online& on, Room& room) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
#pragma unroll
  for (int r = 0; r < RT; r++) {
#pragma unroll
    for (int o = LPK; o < 32; o <<= 1) on.total[r] += __shfl_xor_sync(~0u, on.total[r], o);
    if (!lane) room.top[r][warp] = on.top[r], room.total[r][warp] = on.total[r];
#pragma unroll
    for (int i = 0; i < PAIRS; i++) {
      const int d = i * 64 + lane * 2;
      if (d < HD) *(float2*)(room.sums + warp * SUMS + r * HD + d) = make_float2(on.acc[r][i][0], on.acc[r][i][1]);
    }
  }
}
DEV void send_parts(const Args& a, const Span& s, const Room& room, const State& now) {  // four threads share two outputs
  const int i = threadIdx.x >> 2, part = threadIdx.x & 3, r = i / (HD / 2), d = i % (HD / 2) * 2;
  if (i >= RT * HD / 2) return;
  float top = -1e30f, total = 0.f, o0 = 0.f, o1 = 0.f;
#pragma unroll
  for (int w = 0; w < WARPS; w += 4) {
    const float4 q = *(const float4*)&room.top[r][w];
    top = fmaxf(top, fmaxf(fmaxf(q.x, q.y), fmaxf(q.z, q.w)));
  }
#pragma unroll
  for (int n = 0; n < WARPS / 4; n++) {
    const int w = part + 4 * n;
    const float f = exponential(room.top[r][w] - top);
    const float2 v = *(const float2*)(room.sums + w * SUMS + r * HD + d);
    o0 += f * v.x, o1 += f * v.y, total += f * room.total[r][w];
  }
#pragma unroll
  for (int o = 1; o < 4; o <<= 1) {
    o0 += __shfl_xor_sync(~0u, o0, o), o1 += __shfl_xor_sync(~0u, o1, o), total += __shfl_xor_sync(~0u, total, o);
  }
  const int at = s.split * a.heads + s.head + r;
  const float f = s.begin == 0 && s.newest >= 0 ? inverse(total) : 1.f;  // a single split is whole
  if (!part) send(a.parts + place_of(at * (HD / 2) + d / 2), packed(o0 * f, o1 * f, now.done + 1));
  if (!part && !d) send(a.part_sums + at, packed(top, total, now.done + 1));
}

DEV void attend(const Args& a, int layer, char* x, const State& now, Shared& sh) {
  const Span span(a, layer, now.pos);
  if (!span.active) return;
  Room& room = *(Room*)x;
  const Rotation turn(a);
  Rows rows;
  rows.load(span, span.begin, min(now.pos, span.end));
  take_queries(a, span, turn, room, now);
  MARK(1);
  consumers_sync();
  MARK(2);
  Online on;
#pragma unroll
  for (int r = 0; r < RT; r++) {
    on.top[r] = -1e30f, on.total[r] = 0.f;
#pragma unroll
    for (int i = 0; i < PAIRS; i++) on.acc[r][i][0] = on.acc[r][i][1] = 0.f;
  }
#pragma unroll 1
  for (int first = span.begin; first < span.end; first += SPLIT_KEYS) {
    if (first != span.begin) rows.load(span, first, now.pos);
    if (span.newest >= 0) rows.put_newest(span, first, room.newest);
    float p[AHEAD][RT];
    scores(span, rows, room, first, on, p);
    add_values(rows, on, p);
  }
  keep_online(on, room);
  MARK(3);
  consumers_sync();
  MARK(4);
  send_parts(a, span, room, now);
  consumers_sync();  // the room is the next phase's
}
