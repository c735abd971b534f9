// The first inputs of a step: a token's embedding, plain or quantized, and its position's.
DEV u32 code_at(const Args& a, int row, int k, int j) {  // input k + j of a row of a quantized embedding; k % 4 == 0
  const int bits = bits_of(a.embed_kind), kb = k >> 6, second = k >> 5 & 1, half = k >> 4 & 1;
  const int lane = (row & 7) * 4 + (k >> 2 & 3), i = (row >> 3 & 1) + 2 * second;
  const u32* tile = (const u32*)a.embed + ((u64)(row >> 4) * (a.hidden >> 6) + kb) * 32 * bits;
  if (bits == 4) return tile[lane * 4 + j] >> (4 * i + 16 * half) & 15;
  if (bits == 8) return tile[(j >> 1) * 128 + lane * 4 + (j & 1) * 2 + second] >> (16 * (i & 1) + 8 * half) & 255;
  u32 code = tile[lane * 2 + (j >> 1)] >> (2 * i + 8 * (j & 1) + 16 * half) & 3;
  if (bits == 3) code += (tile[64 + lane] >> (i + 4 * j + 16 * half) & 1) << 2;
  return code;
}
DEV void embedding(const Args& a, const Shared& sh, int token, int k, float (&to)[4]) {
  if (a.embed_kind == 16) return sixteens(to, (const u16*)a.embed + (u64)token * a.hidden + k);
  const int groups = (((a.hidden >> 6) - 1) >> a.embed_m) + 1, in_tile = (token & 7) * 2 + (token >> 3 & 1);
  const u32 pair = ((const u32*)a.embed_meta)[((u64)(token >> 4) * groups + (k >> 6 >> a.embed_m)) * 16 + in_tile];
  const float s = half_to_float(pair), z = half_to_float(pair >> 16);
#pragma unroll
  for (int j = 0; j < 4; j++) {
    const u32 c = code_at(a, token, k, j);
    to[j] = (a.embed_kind == NF4 ? half_to_float(sh.book[c]) : (float)c - z) * s;
  }
}
DEV void first_inputs(const Args& a, const Shared& sh, int token, int pos, int k, float (&v)[4]) {
  embedding(a, sh, token, k, v);
  if (!a.positions) return;
  float q[4];
  sixteens(q, a.positions + (u64)pos * a.hidden + k);
#pragma unroll
  for (int j = 0; j < 4; j++) v[j] += q[j];
}
// Into shared memory, as they are; returns the residual stream where this thread will add to it, in OUT and in DOWN: their outputs
// are parted alike.
DEV float begin_step(const Args& a, Shared& sh, char* x, int token, int pos) {
#pragma unroll 1
  for (int k = threadIdx.x * 4; k < a.hidden; k += CONSUMERS * 4) {
    float v[4];
    first_inputs(a, sh, token, pos, k, v);
    *(float4*)(x + k * 4) = make_float4(v[0], v[1], v[2], v[3]);
  }
  consumers_sync();
  const int tiles = a.hidden >> 4, first = (u32)tiles * blockIdx.x / gridDim.x;
  const int row = first * 16 + threadIdx.x;
  return row < a.hidden ? *(float*)(x + row * 4) : 0.f;
}
