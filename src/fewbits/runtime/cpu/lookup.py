"""Rows of a stored weight, as an embedding looks them up, in one call: PyTorch takes thirty operators for a token's."""

import ctypes
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fewbits.codebooks import codebook
from fewbits.errors import FewbitsError
from fewbits.formats import META_BLOCK, Format
from fewbits.runtime.cpu import library
from fewbits.runtime.cpu.checks import check_ids, check_shape, check_storage
from fewbits.runtime.cpu.linear import Forgotten
from fewbits.runtime.modes import has_memory, is_traced
from fewbits.tensor import QuantizedTensor, layout, matrix_shape

if TYPE_CHECKING:
    from fewbits.layers import QuantizedLayer

_NAME = "_cpu_table"
_TYPES = {"f32": library.F32, "f16": library.F16, "bf16": library.BF16, "q8": library.U8}


class _Grid(ctypes.Structure):
    _fields_ = (
        ("values", ctypes.c_void_p),
        ("steps", ctypes.c_void_p),
        *((name, ctypes.c_int32) for name in ("type", "bits", "shared")),
        ("all", ctypes.c_float),
    )


class _Table(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("codes", "book")),
        *((name, ctypes.c_int64) for name in ("rows", "cols", "bytes", "block_rows", "block_cols")),
        ("bits", ctypes.c_int32),
        ("scale", _Grid),
        ("zero", _Grid),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Held(Forgotten):
    """A weight as the library reads it: where its tensors lie."""

    tensors: tuple[tuple[str, Tensor, int], ...]
    book: Tensor | None
    table: _Table

    def is_of(self, buffers: dict[str, Tensor | None]) -> bool:
        return bool(self.tensors) and all(
            buffers.get(name) is tensor and tensor.data_ptr() == at for name, tensor, at in self.tensors
        )


def rows(layer: "QuantizedLayer", ids: Int[Tensor, " n"]) -> Float[Tensor, "n cols"] | None:
    """The rows `ids` of a layer's weight, f32; None where the library cannot. Raises IndexError."""
    if ids.dtype.is_floating_point or ids.dtype == torch.bool or not (is_traced(ids) or has_memory(ids)):
        return None
    if is_traced(ids):
        weight = layer.quantized
        stored = [weight.tensors[name] for name in layout(weight.format, weight.shape)]
        return cpu_rows(stored, ids, str(weight.format), list(weight.shape)) if stored[0].is_cpu else None
    owner = layer.owner
    held: _Held | None = owner.__dict__.get(_NAME)
    if held is None or not held.is_of(owner._buffers):
        held = _held(layer.quantized)
        owner.__dict__[_NAME] = held
    return _looked_up(held, ids)


@torch.library.custom_op("fewbits::cpu_rows", mutates_args=(), device_types="cpu")
def cpu_rows(stored: list[Tensor], ids: Tensor, format: str, shape: list[int]) -> Tensor:
    """`rows` of what is stored, in the order of `layout`, for graphs."""
    weight = _checked(stored, ids, format, shape)
    check_storage(ids=ids, **weight.tensors)
    found = _looked_up(_held(weight), ids)
    return weight.dequantize_rows(ids) if found is None else found


@cpu_rows.register_fake
def _(stored: list[Tensor], ids: Tensor, format: str, shape: list[int]) -> Tensor:
    _checked(stored, ids, format, shape)
    return stored[0].new_empty((ids.shape[0], prod(shape[1:])), dtype=torch.float32)


def _checked(stored: list[Tensor], ids: Tensor, format: str, shape: list[int]) -> QuantizedTensor:
    """The weight that is stored. Raises FewbitsError if the arguments do not fit each other."""
    check_ids(ids)
    check_shape(shape)
    of = Format.parse(format)
    names = list(layout(of, tuple(shape)))
    if len(stored) != len(names):
        raise FewbitsError(f"torch.ops.fewbits: {len(stored)} stored tensors: {format} has {len(names)}, {', '.join(names)}")
    return QuantizedTensor(format=of, shape=tuple(shape), tensors=dict(zip(names, stored, strict=True)))


def _looked_up(held: _Held, ids: Int[Tensor, " n"]) -> Float[Tensor, "n cols"] | None:
    if not held.tensors:  # not on the CPU, not contiguous, or no library
        return None
    ids = ids.long().contiguous()
    out = torch.empty(ids.shape[0], held.table.cols, dtype=torch.float32, device="cpu")
    status = _lookup()(ctypes.addressof(held.table), ids.data_ptr(), ids.shape[0], out.data_ptr(), torch.get_num_threads())
    if status == library.NO_SUCH_ROW:
        raise IndexError(f"index out of range: rows are 0 to {held.table.rows - 1}")
    if status == library.NO_KERNEL:
        return None
    library.check(status, f"{ids.shape[0]} rows")
    return out


def _held(weight: QuantizedTensor) -> _Held:
    tensors = tuple((name, t, t.data_ptr()) for name, t in weight.tensors.items())
    if weight.format.exponent or not library.available() or not all(t.is_cpu and t.is_contiguous() for _, t, _ in tensors):
        return _Held(tensors=(), book=None, table=_Table())
    format, (height, width) = weight.format, matrix_shape(weight.shape)
    book = codebook(format.kind, format.bits) if format.is_codebook else None
    block_rows, block_cols = format.block(height, width)
    table = _Table(
        codes=weight.tensors["codes"].data_ptr(),
        book=None if book is None else book.data_ptr(),
        rows=height,
        cols=width,
        bytes=weight.tensors["codes"].numel(),
        block_rows=block_rows,
        block_cols=block_cols,
        bits=format.bits,
        scale=_grid("scale", weight),
        zero=_zero(weight),
    )
    return _Held(tensors=tensors, book=book, table=table)


def _zero(weight: QuantizedTensor) -> _Grid:
    format = weight.format
    if format.is_codebook or not format.has_zero:
        return _Grid(type=library.NONE, all=0.0 if format.is_codebook else format.implicit_zero)
    if format.integer_zero:
        return _Grid(values=weight.tensors["zero"].data_ptr(), type=library.U8, bits=format.bits)
    return _grid("zero", weight)


def _grid(name: str, weight: QuantizedTensor) -> _Grid:
    kind = _TYPES[weight.format.meta]
    if weight.format.meta != "q8":
        return _Grid(values=weight.tensors[name].data_ptr(), type=kind)
    codes, steps = weight.tensors[f"{name}_codes"], weight.tensors[f"{name}_steps"]
    return _Grid(values=codes.data_ptr(), steps=steps.data_ptr(), type=kind, shared=META_BLOCK)


@cache
def _lookup() -> Any:
    pointer, integer = ctypes.c_void_p, ctypes.c_int32
    sizes = {"fewbits_table_size": _Table}
    return library.entry("fewbits_lookup", pointer, pointer, ctypes.c_int64, pointer, integer, sizes=sizes)
