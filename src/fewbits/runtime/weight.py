"""A quantized weight as kernels read it: tiles of codes and pairs of (scale, zero point)."""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float, Int, Int32
from torch import Tensor

from fewbits.codebooks import codebook
from fewbits.formats import Format
from fewbits.runtime.layout import BITS, TILE_COLS, TILE_ROWS, from_tiles, meta_tiles, to_tiles
from fewbits.tensor import QuantizedTensor, matrix_shape

WHOLE_ROW = 20  # group_shift where a row has one scale
_GROUPS = tuple(TILE_COLS << i for i in range(8))
_SCALE_ERROR = 2.0**-10  # relative; a normal f16 number has half of it
_ZERO_ERROR = 2.0**-4  # in codes
NF4 = 104  # kind of a codebook of 16 values; other kinds are their number of bits


@dataclass(frozen=True, kw_only=True)
class KernelWeight:
    """`words` [row tiles, column tiles, 32 * bits], `meta` [row tiles, groups, 16]: see layout.py.

    2**group_shift tiles of 64 inputs share a scale. `book` holds the values of a codebook of 4 bits.
    """

    words: Int32[Tensor, "row_tiles col_tiles words"]
    meta: Int32[Tensor, "row_tiles groups 16"]
    rows: int
    cols: int
    bits: int
    group_shift: int
    book: tuple[float, ...] | None = None

    @property
    def kind(self) -> int:
        return self.bits if self.book is None else NF4

    @property
    def nbytes(self) -> int:
        return self.words.nbytes + self.meta.nbytes

    def dequantize(self, dtype: torch.dtype = torch.float32) -> Float[Tensor, "rows cols"]:
        """The whole matrix."""
        codes = from_tiles(self.words, self.bits, self.words.shape[0] * TILE_ROWS, self.words.shape[1] * TILE_COLS)
        return self._values(codes, self.meta)[: self.rows, : self.cols].to(dtype)

    def dequantize_rows(self, ids: Int[Tensor, " n"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "n cols"]:
        """Some rows, as an embedding looks them up: their tiles are unpacked, the others are not."""
        tiles = ids // TILE_ROWS
        count, wide, _ = self.words[tiles].shape
        codes = from_tiles(self.words[tiles], self.bits, count * TILE_ROWS, wide * TILE_COLS)
        values = self._values(codes, self.meta[tiles]).view(count, TILE_ROWS, -1)
        return values[torch.arange(count, device=ids.device), ids % TILE_ROWS, : self.cols].to(dtype)

    def _values(self, codes: Tensor, meta: Tensor) -> Tensor:
        high, groups, _ = meta.shape
        pair = meta.contiguous().view(torch.float16).view(high, groups, 8, 2, 2).permute(0, 3, 2, 1, 4).float()
        pair = pair.reshape(high * TILE_ROWS, groups, 2)
        group = torch.arange(codes.shape[1], device=codes.device) // TILE_COLS >> self.group_shift
        scale, zero = pair[:, group, 0], pair[:, group, 1]
        if self.book is not None:
            return _book(self.book, codes.device)[codes.int()] * scale
        return (codes.float() - zero) * scale


@cache  # a copy to the device could not be recorded in a CUDA graph
def _book(values: tuple[float, ...], device: torch.device) -> Float[Tensor, " levels"]:
    return torch.tensor(values, dtype=torch.float32, device=device)


def supports(format: Format, shape: tuple[int, ...]) -> str | None:
    """Why kernels cannot take this format; None if they can."""
    if format.bits not in BITS or (format.is_codebook and format.bits != 4):
        return f"{format.bits} bits of {format.kind}"
    if format.activation_bits:
        return "activations of 8 bits"
    if format.granularity == "outgroup":
        return "groups of outputs"
    if format.granularity == "group" and format.group not in (*_GROUPS, matrix_shape(shape)[1]):
        return f"groups of {format.group}: only 64 times a power of two"
    return None


def repack(weight: QuantizedTensor) -> KernelWeight | None:
    """Rearrange a stored weight; None if f16 would change a scale or zero point by more than what rounding to it costs."""
    rows, cols = matrix_shape(weight.shape)
    scale, zero = weight.scale(), weight.zero()
    zero = torch.zeros_like(scale) if zero is None else zero
    if not (_rounds_to_f16(scale, scale * _SCALE_ERROR) and _rounds_to_f16(zero, torch.full_like(zero, _ZERO_ERROR))):
        return None
    scale, zero = (v.expand(rows, -1) if v.shape[0] == 1 else v for v in (scale, zero))
    groups = scale.shape[1]
    book = tuple(codebook(weight.format.kind, weight.format.bits).tolist()) if weight.format.is_codebook else None
    return KernelWeight(
        words=to_tiles(weight.codes(), weight.format.bits),
        meta=meta_tiles(scale, zero),
        rows=rows,
        cols=cols,
        bits=weight.format.bits,
        group_shift=WHOLE_ROW if groups == 1 else (cols // groups // TILE_COLS).bit_length() - 1,
        book=book,
    )


def _rounds_to_f16(values: Tensor, most: Tensor) -> bool:
    """Whether f16 holds every value with no more than this error; neither infinity nor, for a small scale, 0."""
    return bool(((values.half().float() - values).abs() <= most).all())
