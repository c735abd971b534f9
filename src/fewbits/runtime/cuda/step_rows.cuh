// Products with plain rows of 16-bit floats; and which product is whose.
DEV void eight_products(uint4 w, const float (&x)[8], float& sum) {
#if BF16
  sum += low_bf16(w.x) * x[0] + high_bf16(w.x) * x[1] + low_bf16(w.y) * x[2] + high_bf16(w.y) * x[3];
  sum += low_bf16(w.z) * x[4] + high_bf16(w.z) * x[5] + low_bf16(w.w) * x[6] + high_bf16(w.w) * x[7];
#else
  sum += half_to_float(w.x) * x[0] + half_to_float(w.x >> 16) * x[1] + half_to_float(w.y) * x[2] + half_to_float(w.y >> 16) * x[3];
  sum += half_to_float(w.z) * x[4] + half_to_float(w.z >> 16) * x[5] + half_to_float(w.w) * x[6] + half_to_float(w.w >> 16) * x[7];
#endif
}
DEV void eight_floats(float (&to)[8], const char* x, int vector) {
  const float4 p = *(const float4*)(x + vector * 32), q = *(const float4*)(x + vector * 32 + 16);
  to[0] = p.x, to[1] = p.y, to[2] = p.z, to[3] = p.w, to[4] = q.x, to[5] = q.y, to[6] = q.z, to[7] = q.w;
}
DEV void row_items(const Core& ph, Ring& ring, const char* x, Sums* sums, int count) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int split = ph.parts, chunk = WARPS / split, row = warp / split, part = warp % split, vectors = ph.k / 8;
  const int from = vectors * part / split + lane, to = vectors * (part + 1) / split;
  const bool kept = vectors / split <= 64;
  float in[2][8];
#pragma unroll
  for (int n = 0; n < 2; n++) {
    const bool have = kept && from + 32 * n < to;
    eight_floats(in[n], x, have ? from + 32 * n : 0);
#pragma unroll
    for (int i = 0; i < 8; i++) in[n][i] = have ? in[n][i] : 0.f;
  }
#pragma unroll 1
  for (int entry = 0; entry < count; entry++)
#pragma unroll 1
    for (int at = 0; at < 16; at += chunk) {
      const uint4* w = (const uint4*)(ring.wait() + row * ph.k * 2);
      float sum = 0.f, more = 0.f;
      if (kept) {  // past the row's end: this lane's first vector, times zeros
        eight_products(w[from < to ? from : 0], in[0], sum);
        eight_products(w[from + 32 < to ? from + 32 : 0], in[1], more);
        sum += more;
      } else
#pragma unroll 1
        for (int v = from; v < to; v += 32) {
          float one[8];
          eight_floats(one, x, v);
          eight_products(w[v], one, sum);
        }
      ring.free();
#pragma unroll
      for (int o = 16; o; o >>= 1) sum += __shfl_xor_sync(~0u, sum, o);
      if (!lane) sums[entry][at + row][part] = sum;
    }
}
DEV void products(const Core& ph, const Product& product, Ring& ring, const char* x, Shared& sh, Sums* sums, int count) {
  switch (product.kind) {
#if KINDS & 32
    case 16: row_items(ph, ring, x, sums, count); break;
#endif
#if KINDS & 1
    case 4: tile_items<4>(product, ring, x, sh, sums, count); break;
#endif
#if KINDS & 2
    case 8: tile_items<8>(product, ring, x, sh, sums, count); break;
#endif
#if KINDS & 4
    case 3: tile_items<3>(product, ring, x, sh, sums, count); break;
#endif
#if KINDS & 8
    case 2: tile_items<2>(product, ring, x, sh, sums, count); break;
#endif
#if KINDS & 16
    case NF4: tile_items<NF4>(product, ring, x, sh, sums, count); break;
#endif
  }
}
