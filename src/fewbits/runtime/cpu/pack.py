"""A weight in the kernels' layout: made from the stored tensors once, and bit for bit as much information.

Codes are padded to 16 outputs and 32 (or 64) inputs; beyond that they take the bytes that they are stored in. Scales and zero
points are put in the order in which they are read, in the type that they are stored in: behind the codes of their group where
that leaves the next ones aligned, so that memory is read in one stream. Three types become wider: `/q8` meta is held as f32,
scales with an exponent too, and integer zero points (`z`) take a byte each.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped, UInt8
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
FLOATS = (torch.float32, torch.float16, torch.bfloat16)  # dtypes of activations
_TYPES = {"f32": library.F32, "f16": library.F16, "bf16": library.BF16, "q8": library.F32}


@dataclass(frozen=True, kw_only=True, eq=False)
class Pack:
    """A weight in the kernels' layout; `weight` points into the tensors."""

    format: Format
    rows: int
    cols: int
    codes: UInt8[Tensor, "tiles groups bytes"]
    scale: Shaped[Tensor, "tiles groups 16"]
    zero: Shaped[Tensor, "tiles groups 16"] | None
    weight: library.Weight = field(repr=False)
    address: int
    one_step: bool  # the activations of a row share one step (`a8`)
    energy: Float[Tensor, " n"] | None  # native/fewbits.h; None under `a8`, whose activations are rounded already

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        beside = (self.energy,) if self.weight.gap else (self.scale, self.zero, self.energy)
        return self.codes.nbytes + sum(t.nbytes for t in beside if t is not None)


def version_of(tensor: Tensor) -> int:
    """How often a tensor was changed in place; -1 for one that was made in inference mode, which does not count that."""
    return -1 if tensor.is_inference() else tensor._version


def fits(format: Format, shape: tuple[int, ...]) -> bool:
    """Whether there is a kernel for a format at a weight's shape."""
    if format.granularity == "outgroup" or (format.granularity == "group" and not _fits_group(format, shape)):
        return False
    return len(shape) == 2 and min(shape) > 0 and (format.bits <= 4 or not format.is_codebook)


def _fits_group(format: Format, shape: tuple[int, ...]) -> bool:
    """Whole chunks, or parts of one in the widths for which that has kernels (native/kernel.h, has_small_groups)."""
    if format.group % CHUNK == 0:
        return True
    width = format.bits == 4 or (format.bits in (2, 3, 8) and not format.is_codebook)
    return format.group in (4, 8, 16) and width and shape[-1] % CHUNK == 0


def pack(tensor: QuantizedTensor) -> Pack | None:
    """Rearrange a weight that lies on the CPU; None where there is no kernel for its format or shape, or none runs here."""
    if not fits(tensor.format, tensor.shape) or not library.available():
        return None
    with torch.inference_mode(False), torch.no_grad():
        return _packed(tensor)


def _packed(tensor: QuantizedTensor) -> Pack:
    scales = [values for values in (_scale(tensor), _zero(tensor)) if values is not None]
    codes, gap = _codes(tensor, scales)
    if gap:
        scales = _placed(codes[..., -gap:], scales)
    else:
        scales = [room(values.nbytes).view(values.dtype).view(values.shape).copy_(values) for values in scales]
    return assemble(tensor.format, *matrix_shape(tensor.shape), codes, scales[0], scales[1] if len(scales) > 1 else None)


def assemble(
    format: Format,
    rows: int,
    cols: int,
    codes: UInt8[Tensor, "tiles groups bytes"],
    scale: Shaped[Tensor, "tiles groups 16"],
    zero: Shaped[Tensor, "tiles groups 16"] | None,
) -> Pack:
    """The structure that the library reads, around tensors that are in its layout already."""
    groups, width = codes.shape[1:]
    group = cols // groups if format.granularity == "group" else width * 8 // (format.bits * TILE)
    weight = library.Weight(
        rows=rows,
        cols=cols,
        padded=group * groups,
        bits=format.bits,
        group=group,
        block=2 * CHUNK if group % (2 * CHUNK) == 0 else CHUNK,
        scale_type=library.F32 if format.exponent else _TYPES[format.meta],
        zero_type=library.NONE if zero is None else library.U8 if format.integer_zero else _TYPES[format.meta],
        zero_value=0.0 if format.has_zero or format.is_codebook else format.implicit_zero,
        is_codebook=int(format.is_codebook),
        codes=codes.data_ptr(),
        scale=scale.data_ptr(),
        zero=None if zero is None else zero.data_ptr(),
        scale_stride=_stride(scale),
        zero_stride=0 if zero is None else _stride(zero),
        gap=width - group * TILE * format.bits // 8,
    )
    if format.is_codebook:
        _fill_codebook(weight, format)
    energy = None if format.activation_bits is not None else _energy(weight)
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
        energy=energy,
    )


def _energy(weight: library.Weight) -> Float[Tensor, " n"]:
    """The sum of squares of each input's weights, then of each block's; `weight` points to it from now on."""
    count = weight.padded + weight.padded // weight.block
    energy = torch.empty(count, dtype=torch.float32, device="cpu")
    status = library.load().fewbits_energies(ctypes.addressof(weight), energy.data_ptr(), torch.get_num_threads())
    library.check(status, f"a weight of {weight.rows} x {weight.cols}")
    weight.energy = energy.data_ptr()
    return energy


def restore(pack: Pack) -> UInt8[Tensor, " m"]:
    """The codes as they are stored: undoes the rearrangement exactly."""
    stored = torch.empty((pack.rows * pack.cols * pack.format.bits + 7) // 8, dtype=torch.uint8, device="cpu")
    w = pack.weight
    shape = pack.rows, pack.cols, w.padded, pack.format.bits, w.group, w.gap
    status = library.load().fewbits_unpack(pack.codes.data_ptr(), stored.data_ptr(), *shape)
    library.check(status, f"a weight of {pack.rows} x {pack.cols}")
    return stored


def _codes(tensor: QuantizedTensor, scales: Sequence[Tensor]) -> tuple[UInt8[Tensor, "tiles groups bytes"], int]:
    """The codes, and how many bytes are left free behind those of each group, for scales and zero points."""
    rows, cols = matrix_shape(tensor.shape)
    bits, groups = tensor.format.bits, scales[0].shape[1]
    grain = 2 * CHUNK if cols >= 2 * CHUNK else CHUNK
    padded = cols if tensor.format.granularity == "group" else -(-cols // grain) * grain
    gap = sum(values.element_size() for values in scales) * TILE
    if tensor.format.granularity != "group" or tensor.format.group % CHUNK or gap % _line():
        gap = 0
    group = padded // groups
    shape = -(-rows // TILE), groups, group * TILE * bits // 8 + gap
    out, stored = room(prod(shape)).view(shape), tensor.tensors["codes"].contiguous()
    sizes = rows, cols, padded, bits, group, gap, torch.get_num_threads()
    status = library.load().fewbits_pack(stored.data_ptr(), out.data_ptr(), *sizes)
    library.check(status, f"a weight of {rows} x {cols}")
    return out, gap


def _placed(free: UInt8[Tensor, "tiles groups bytes"], scales: Sequence[Tensor]) -> list[Tensor]:
    """Copies of scales and zero points in the room behind the codes, as views of it."""
    parts = free.split([values.element_size() * TILE for values in scales], dim=-1)
    return [part.view(values.dtype).copy_(values) for part, values in zip(parts, scales, strict=True)]


def _line() -> int:
    """Bytes that codes must be aligned to: what the widest register here loads."""
    return 32 if library.LEVELS[library.load().fewbits_best_level()] in ("avx2", "avxvnni") else 64


def _stride(scales: Shaped[Tensor, "tiles groups 16"]) -> int:
    """Bytes from one group to the next, all tiles' groups counted on."""
    tiles, groups, _ = scales.shape
    return scales.element_size() * (scales.stride(1) if groups > 1 else scales.stride(0) if tiles > 1 else TILE)


def _scale(tensor: QuantizedTensor) -> Tensor:
    if tensor.format.exponent:  # the kernels know no exponent: its scales are held as f32
        return _interleaved(tensor.scale().reshape(-1).view(torch.int32), tensor)
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


def _interleaved(values: Tensor, tensor: QuantizedTensor) -> Shaped[Tensor, "tiles groups 16"]:
    """Values of blocks, in the order in which a tile of 16 outputs reads them; outputs beyond the last have 0."""
    rows, _ = matrix_shape(tensor.shape)
    grid = values.view(grid_shape(tensor.format, tensor.shape)).expand(rows, -1)
    tiles = F.pad(grid, (0, 0, 0, -rows % TILE)).view(-1, TILE, grid.shape[1])
    return tiles.transpose(1, 2)


def _fill_codebook(weight: library.Weight, format: Format) -> None:
    """The values in 15 bits: value ~ (128 high + low - 16384) / 16383 * peak, at most peak / 32766 off; 0 stays 0."""
    values = codebook(format.kind, format.bits)
    peak = values.abs().max().item()
    steps = (values.double() / peak * 16383).round().long() + 16384
    for i, step in enumerate(steps.tolist()):
        weight.high[i], weight.low[i] = step >> 7, step & 127
        weight.values[i] = values[i].item()
    weight.peak = peak
    weight.byte_step, byte = as_bytes(values)
    for i, code in enumerate(byte):
        weight.byte[i] = 128 + code


def as_bytes(values: Float[Tensor, " levels"]) -> tuple[float, list[int]]:
    """A step and whole numbers from -127 to 127 for a codebook: of many steps the one whose worst error is the least."""
    steps = values.abs().max().double() / torch.linspace(64, 127, 4033, dtype=torch.float64)[:, None]
    codes = (values.double() / steps).round()
    best = int((codes * steps - values).abs().amax(dim=1).argmin())
    return steps[best].item(), codes[best].int().tolist()
