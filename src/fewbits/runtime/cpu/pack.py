"""A weight in the kernels' layout: made from the stored tensors once, and bit for bit as much information.

Codes are padded to 16 outputs and 32 (or 64) inputs; beyond that they take the bytes that they are stored in. Scales and zero
points are put in the order in which they are read, in the type that they are stored in. Two types become wider:
`/q8` meta is held as f32, and integer zero points (`z`) take a byte each.
"""

import ctypes
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Shaped, UInt8
from torch import Tensor

from fewbits import meta
from fewbits.codebooks import codebook
from fewbits.formats import Format
from fewbits.runtime.cpu import library
from fewbits.runtime.cpu.memory import room
from fewbits.tensor import QuantizedTensor, grid_shape, matrix_shape

if TYPE_CHECKING:
    from collections.abc import Mapping

TILE, CHUNK = 16, 32  # outputs and inputs that are stored together (native/fewbits.h)
_TYPES = {"f32": library.F32, "f16": library.F16, "bf16": library.BF16, "q8": library.F32}


@dataclass(frozen=True, kw_only=True, eq=False)
class Pack:
    """A weight in the kernels' layout; `weight` points into the tensors."""

    format: Format
    rows: int
    cols: int
    codes: UInt8[Tensor, " n"]
    scale: Shaped[Tensor, "tiles groups 16"]
    zero: Shaped[Tensor, "tiles groups 16"] | None
    weight: library.Weight = field(repr=False)
    address: int
    one_step: bool  # the activations of a row share one step (`a8`)

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return sum(t.nbytes for t in (self.codes, self.scale, self.zero) if t is not None)


def fits(format: Format, shape: tuple[int, ...]) -> bool:
    """Whether there is a kernel for a format at a weight's shape."""
    if format.granularity == "outgroup" or (format.granularity == "group" and format.group % CHUNK):
        return False
    return len(shape) == 2 and min(shape) > 0 and (format.bits <= 4 or not format.is_codebook)


def pack(tensor: QuantizedTensor) -> Pack | None:
    """Rearrange a weight that lies on the CPU; None where there is no kernel for its format or shape, or none runs here."""
    if not fits(tensor.format, tensor.shape) or not library.available():
        return None
    rows, cols = matrix_shape(tensor.shape)
    grain = 2 * CHUNK if cols >= 2 * CHUNK else CHUNK
    padded = cols if tensor.format.granularity == "group" else -(-cols // grain) * grain
    codes = _codes(tensor.tensors["codes"], rows, cols, padded, tensor.format.bits)
    return assemble(tensor.format, rows, cols, codes, _scale(tensor), _zero(tensor))


def assemble(
    format: Format,
    rows: int,
    cols: int,
    codes: UInt8[Tensor, " n"],
    scale: Shaped[Tensor, "tiles groups 16"],
    zero: Shaped[Tensor, "tiles groups 16"] | None,
) -> Pack:
    """The structure that the library reads, around tensors that are in its layout already."""
    padded = codes.numel() * 8 // (format.bits * TILE * (-(-rows // TILE)))
    group = padded // scale.shape[1]
    weight = library.Weight(
        rows=rows,
        cols=cols,
        padded=padded,
        bits=format.bits,
        group=group,
        block=2 * CHUNK if group % (2 * CHUNK) == 0 else CHUNK,
        scale_type=_TYPES[format.meta],
        zero_type=library.NONE if zero is None else library.U8 if format.integer_zero else _TYPES[format.meta],
        zero_value=0.0 if format.has_zero or format.is_codebook else format.implicit_zero,
        is_codebook=int(format.is_codebook),
        codes=codes.data_ptr(),
        scale=scale.data_ptr(),
        zero=None if zero is None else zero.data_ptr(),
    )
    if format.is_codebook:
        _fill_codebook(weight, format)
    return Pack(
        format=format,
        rows=rows,
        cols=cols,
        codes=codes,
        scale=scale,
        zero=zero,
        weight=weight,
        address=ctypes.addressof(weight),
        one_step=format.activation_bits is not None,
    )


def restore(pack: Pack) -> UInt8[Tensor, " m"]:
    """The codes as they are stored: undoes the rearrangement exactly."""
    stored = torch.empty((pack.rows * pack.cols * pack.format.bits + 7) // 8, dtype=torch.uint8)
    shape = pack.rows, pack.cols, pack.weight.padded, pack.format.bits
    library.load().fewbits_unpack(pack.codes.data_ptr(), stored.data_ptr(), *shape)
    return stored


def _codes(stored: Tensor, rows: int, cols: int, padded: int, bits: int) -> Tensor:
    out = room(library.load().fewbits_packed_bytes(rows, padded, bits))
    stored = stored.contiguous()
    library.load().fewbits_pack(stored.data_ptr(), out.data_ptr(), rows, cols, padded, bits, torch.get_num_threads())
    return out


def _scale(tensor: QuantizedTensor) -> Tensor:
    return _interleaved(_stored(tensor, "scale"), tensor)


def _zero(tensor: QuantizedTensor) -> Tensor | None:
    if not tensor.format.has_zero:
        return None
    if tensor.format.integer_zero:
        zeros = tensor.zero()
        return None if zeros is None else _interleaved(zeros.to(torch.uint8).reshape(-1), tensor)
    return _interleaved(_stored(tensor, "zero"), tensor)


def _stored(tensor: QuantizedTensor, name: str) -> Tensor:
    tensors: Mapping[str, Tensor] = tensor.tensors
    return meta.read(name, tensors, "q8").view(torch.int32) if tensor.format.meta == "q8" else tensors[name]


def _interleaved(values: Tensor, tensor: QuantizedTensor) -> Tensor:
    """Values of blocks, in the order in which a tile of 16 outputs reads them; outputs beyond the last have 0."""
    rows, _ = matrix_shape(tensor.shape)
    grid = values.view(grid_shape(tensor.format, tensor.shape)).expand(rows, -1)
    tiles = F.pad(grid, (0, 0, 0, -rows % TILE)).view(-1, TILE, grid.shape[1])
    ordered = tiles.transpose(1, 2)
    return room(ordered.numel() * ordered.element_size()).view(ordered.dtype).view(ordered.shape).copy_(ordered)


def _fill_codebook(weight: library.Weight, format: Format) -> None:
    """The values in 15 bits: value ~ (128 high + low - 16384) / 16383 * peak, at most peak / 32766 off; 0 stays 0."""
    values = codebook(format.kind, format.bits)
    peak = values.abs().max().item()
    steps = (values.double() / peak * 16383).round().long() + 16384
    for i, step in enumerate(steps.tolist()):
        weight.high[i], weight.low[i] = step >> 7, step & 127
        weight.values[i] = values[i].item()
    weight.peak = peak
