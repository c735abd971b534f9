"""Products and unpacking in Triton, for any GPU that it knows and for Triton's interpreter on the CPU.

A program takes some row tiles and all of their inputs, 64 at a time; sums stay in one program, so the same input gives the same bits.
"""

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from fewbits.runtime.triton.tuning import Blocks, choose, key_of
from fewbits.runtime.weight import KernelWeight


@triton.jit
def _code(words, base, g, q, C: tl.constexpr, LOW: tl.constexpr, BITS: tl.constexpr):
    """Codes of output g + 8 LOW and input 16 C + q of tiles; base, g, q broadcast."""
    i: tl.constexpr = LOW + 2 * (C // 2)
    half: tl.constexpr = C % 2
    j = q % 4
    lane = g * 4 + q // 4
    if BITS == 4:
        return (tl.load(words + base + lane * 4 + j) >> (4 * i + 16 * half)) & 15
    if BITS == 8:
        word = tl.load(words + base + (j // 2) * 128 + lane * 4 + (j % 2) * 2 + C // 2)
        return (word >> (16 * LOW + 8 * half)) & 255
    code = (tl.load(words + base + lane * 2 + j // 2) >> (2 * i + 16 * half + 8 * (j % 2))) & 3
    if BITS == 3:
        high = tl.load(words + base + 64 + lane) >> (i + 16 * half + 4 * j)
        code += (high & 1) << 2
    return code


@triton.jit
def _value(
    words,
    meta,
    book,
    tile,
    kb,
    g,
    q,
    kbs,
    groups,
    shift,
    C: tl.constexpr,
    LOW: tl.constexpr,
    BITS: tl.constexpr,
    BOOK: tl.constexpr,
):
    """What the codes stand for, in f32."""
    base = (tile * kbs + kb).to(tl.int64) * (32 * BITS)
    code = _code(words, base, g, q, C, LOW, BITS)
    pair = tl.load(meta + (tile * groups + (kb >> shift)).to(tl.int64) * 16 + 2 * g + LOW)
    scale = (pair & 0xFFFF).to(tl.int16).to(tl.float16, bitcast=True).to(tl.float32)
    if BOOK:
        return tl.load(book + code) * scale
    zero = ((pair >> 16) & 0xFFFF).to(tl.int16).to(tl.float16, bitcast=True).to(tl.float32)
    return (code.to(tl.float32) - zero) * scale


@triton.jit
def _unpack_kernel(
    words, meta, book, out, rows, cols, kbs, groups, shift, BITS: tl.constexpr, BOOK: tl.constexpr, KB: tl.constexpr
):
    tile = tl.program_id(0)
    kb = tl.program_id(1) * KB + tl.arange(0, KB)[:, None, None]
    g = tl.arange(0, 8)[None, :, None]
    q = tl.arange(0, 16)[None, None, :]
    inside = tl.minimum(kb, kbs - 1)
    for c in tl.static_range(4):
        for low in tl.static_range(2):
            v = _value(words, meta, book, tile, inside, g, q, kbs, groups, shift, c, low, BITS, BOOK)
            row = tile * 16 + g + 8 * low
            col = kb * 64 + 16 * c + q
            tl.store(out + row.to(tl.int64) * cols + col, v.to(out.dtype.element_ty), mask=(row < rows) & (col < cols))


@triton.jit
def _gemm_kernel(
    x, words, meta, book, bias, y, batch, rows, cols, tiles, groups, shift,
    KBS: tl.constexpr, BITS: tl.constexpr, BOOK: tl.constexpr, BIAS: tl.constexpr, M: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    m = tl.program_id(1) * M + tl.arange(0, M)
    n = tl.arange(0, TILES * 8)
    tile = tl.program_id(0) * TILES + n // 8
    inside = tl.minimum(tile, tiles - 1)[:, None]
    g = (n % 8)[:, None]
    q = tl.arange(0, 16)[None, :]
    low = tl.zeros((M, TILES * 8), tl.float32)
    high = tl.zeros((M, TILES * 8), tl.float32)
    for kb in range(KBS):
        for c in tl.static_range(4):
            k = kb * 64 + 16 * c + q
            part = tl.load(x + m[:, None] * cols + k, mask=(m[:, None] < batch) & (k < cols), other=0.0)
            w = _value(words, meta, book, inside, kb, g, q, KBS, groups, shift, c, 0, BITS, BOOK)
            low = tl.dot(part, tl.trans(w.to(part.dtype)), low, input_precision="ieee")
            w = _value(words, meta, book, inside, kb, g, q, KBS, groups, shift, c, 1, BITS, BOOK)
            high = tl.dot(part, tl.trans(w.to(part.dtype)), high, input_precision="ieee")
    row = tile * 16 + n % 8
    at = y + m[:, None].to(tl.int64) * rows
    ok = m[:, None] < batch
    if BIAS:
        low += tl.load(bias + row, mask=row < rows, other=0.0).to(tl.float32)[None, :]
        high += tl.load(bias + row + 8, mask=row + 8 < rows, other=0.0).to(tl.float32)[None, :]
    tl.store(at + row[None, :], low.to(y.dtype.element_ty), mask=ok & (row[None, :] < rows))
    tl.store(at + row[None, :] + 8, high.to(y.dtype.element_ty), mask=ok & (row[None, :] + 8 < rows))


def unpack(weight: KernelWeight, dtype: torch.dtype) -> Float[Tensor, "rows cols"]:
    """The whole matrix, each value computed in f32 and rounded once."""
    out = torch.empty(weight.rows, weight.cols, dtype=dtype, device=weight.words.device)
    high, wide, _ = weight.words.shape
    grid = (high, triton.cdiv(wide, 4))
    book, has_book = _book(weight)
    _unpack_kernel[grid](
        weight.words, weight.meta, book, out, weight.rows, weight.cols, wide, weight.meta.shape[1], weight.group_shift,
        BITS=weight.bits, BOOK=has_book, KB=4,
    )  # fmt: skip
    return out


def product(
    weight: KernelWeight, x: Float[Tensor, "batch cols"], bias: Float[Tensor, " rows"] | None = None
) -> Float[Tensor, "batch rows"]:
    """X W^T + bias, the weights rounded to the type of x (contiguous)."""
    batch, (high, wide, _) = x.shape[0], weight.words.shape
    y = torch.empty(batch, weight.rows, dtype=x.dtype, device=x.device)
    m = 16 if batch <= 16 else 32 if batch <= 32 else 64
    book, has_book = _book(weight)

    def run(blocks: Blocks) -> None:
        _gemm_kernel[(triton.cdiv(high, blocks.tiles), triton.cdiv(batch, m))](
            x, weight.words, weight.meta, book, y if bias is None else bias, y, batch, weight.rows, weight.cols, high,
            weight.meta.shape[1], weight.group_shift,
            KBS=wide, BITS=weight.bits, BOOK=has_book, BIAS=bias is not None, M=m, TILES=blocks.tiles,
            num_warps=blocks.warps, num_stages=blocks.stages,
        )  # fmt: skip

    run(choose(key_of(weight.kind, m, weight.rows, weight.cols), x.device, run))
    return y


_books: dict[tuple[tuple[float, ...], torch.device], Tensor] = {}


def _book(weight: KernelWeight) -> tuple[Tensor, bool]:
    if weight.book is None:
        return weight.words, False
    key = (weight.book, weight.words.device)
    if key not in _books:
        _books[key] = torch.tensor(weight.book, dtype=torch.float32, device=weight.words.device)
    return _books[key], True
