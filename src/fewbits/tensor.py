"""The quantized tensor: packed codes, their scales and zero points, and what they stand for.

Invariants, for a weight of `shape` seen as a matrix [rows, cols] (rows = shape[0], the outputs), and
`format.block(rows, cols) = (r, c)`:

    codes:  uint8 [rows, cols], below 2**bits        stored: ceil(rows * cols * bits / 8) bytes
    scale:  f32 [rows / r, cols / c], not negative   stored as `format.meta` says, over 2**format.exponent
    zero:   like scale (`uint`), or packed integers (`uint..z`), or none
    original ~ (codes - zero) * scale      with `int`: zero = 2**(bits-1)
    original ~ codebook[codes] * scale     for `nf` and `fp`

Granularity needs no other name than the shape of the scale.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from fewbits import meta
from fewbits.codebooks import codebook_of
from fewbits.errors import FewbitsError
from fewbits.formats import Format
from fewbits.packing import pack, unpack
from fewbits.pieces import grid_shape, matrix_shape, pieces


@dataclass(frozen=True, kw_only=True)
class QuantizedTensor:
    """A weight in a format. `tensors` holds what is stored, by the names that `layout` gives."""

    format: Format
    shape: tuple[int, ...]
    tensors: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        for name, (shape, dtype) in layout(self.format, self.shape).items():
            have = self.tensors.get(name)
            if have is None or tuple(have.shape) != shape or have.dtype != dtype:
                what = "nothing" if have is None else f"{tuple(have.shape)} {have.dtype}"
                raise FewbitsError(f"{self.format} of shape {self.shape} stores {name} as {shape} {dtype}, not {what}")

    @property
    def nbytes(self) -> int:
        """Bytes of all that is stored: codes, scales, zero points."""
        return sum(t.nbytes for t in self.tensors.values())

    def codes(self) -> UInt8[Tensor, "rows cols"]:
        """The codes, one a byte."""
        rows, cols = matrix_shape(self.shape)
        return unpack(self.tensors["codes"], self.format.bits, rows * cols).view(rows, cols)

    def scale(self) -> Float[Tensor, "block_rows block_cols"]:
        """The scales, f32, one a block."""
        return read_scale(self.format, self.shape, self.tensors)

    def zero(self) -> Float[Tensor, "block_rows block_cols"] | None:
        """The zero points, f32, in units of codes; none for codebooks; the middle code for `int`."""
        return read_zero(self.format, self.shape, self.tensors)

    def dequantize(self, dtype: torch.dtype = torch.float32) -> Float[Tensor, "..."]:
        """The weight that the codes stand for, computed in f32 and rounded once to `dtype`."""
        rows, cols = matrix_shape(self.shape)
        r, c = self.format.block(rows, cols)
        codes = self.codes().view(rows // r, r, cols // c, c)
        return decode(self.format, codes, self.scale(), self.zero()).view(self.shape).to(dtype)

    def dequantize_rows(self, ids: Int[Tensor, " n"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "n cols"]:
        """Some rows of the matrix, as an embedding looks them up; the others are not unpacked."""
        rows, cols = matrix_shape(self.shape)
        r, c = self.format.block(rows, cols)
        at = (ids // r)[:, None] * (cols // c) + torch.arange(cols // c, device=ids.device)
        scale = read_scale(self.format, self.shape, self.tensors, at)
        zero = read_zero(self.format, self.shape, self.tensors, at)
        codes = self._code_rows(ids).view(-1, 1, cols // c, c)
        return decode(self.format, codes, scale, zero).view(-1, cols).to(dtype)

    def _code_rows(self, ids: Tensor) -> Tensor:
        rows, cols = matrix_shape(self.shape)
        if cols * self.format.bits % 8:  # rows begin within a byte
            return self.codes().index_select(0, ids)  # which, unlike [ids], refuses negative ones
        packed = self.tensors["codes"].view(rows, -1).index_select(0, ids)
        return unpack(packed.view(-1), self.format.bits, ids.numel() * cols)


def decode(
    format: Format,
    codes: UInt8[Tensor, "br r bc c"],
    scale: Float[Tensor, "br bc"],
    zero: Float[Tensor, "br bc"] | None,
) -> Float[Tensor, "br r bc c"]:
    """Blocks of codes to the f32 values that they stand for."""
    if zero is None:
        values = codebook_of(format, codes.device).index_select(0, codes.reshape(-1).int()).view(codes.shape)
    else:
        values = codes.to(torch.float32).sub_(zero[:, None, :, None])
    return values.mul_(scale[:, None, :, None])


def read_scale(
    format: Format, shape: tuple[int, ...], tensors: Mapping[str, Tensor], at: Int[Tensor, "..."] | None = None
) -> Float[Tensor, "..."]:
    """The stored scales, f32: the whole grid, or those at some flat positions."""
    values = meta.read("scale", tensors, format.meta, at)
    if format.exponent:
        values = values * 2.0**format.exponent
    return values.view(grid_shape(format, shape)) if at is None else values


def read_zero(
    format: Format, shape: tuple[int, ...], tensors: Mapping[str, Tensor], at: Int[Tensor, "..."] | None = None
) -> Float[Tensor, "..."] | None:
    """The stored or, for `int`, implied zero points, f32: the whole grid, or those at some flat positions."""
    if format.is_codebook:
        return None
    grid = grid_shape(format, shape)
    if not format.has_zero:
        middle = torch.full((), format.implicit_zero, dtype=torch.float32, device=next(iter(tensors.values())).device)
        return middle.expand(grid if at is None else at.shape)
    if not format.integer_zero:
        values = meta.read("zero", tensors, format.meta, at)
        return values.view(grid) if at is None else values
    zeros = unpack(tensors["zero"], format.bits, prod(grid))
    return (zeros.view(grid) if at is None else zeros[at]).float()


def layout(format: Format, shape: tuple[int, ...]) -> meta.Spec:
    """Name, shape and dtype of every tensor that a quantized weight of this shape stores (see `pieces`)."""
    return meta.as_spec(pieces(format, shape))


def assemble(
    format: Format,
    shape: tuple[int, ...],
    codes: UInt8[Tensor, "rows cols"],
    scales: Mapping[str, Tensor],
) -> QuantizedTensor:
    """Pack codes beside the stored scales and zero points."""
    return QuantizedTensor(format=format, shape=shape, tensors={"codes": pack(codes.reshape(-1), format.bits), **scales})
