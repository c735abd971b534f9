"""The arguments of the operators, checked: what does not fit is a FewbitsError instead of a read beyond the end of a tensor.

Shapes and types alone are looked at, so that the fake implementations, which have no memory, refuse the same arguments.
"""

import torch
from torch import Tensor

from fewbits.errors import FewbitsError
from fewbits.formats import Format
from fewbits.pieces import grid_shape
from fewbits.runtime.cpu.pack import CHUNK, FLOATS, TILE, fits

_MOST = 1 << 31
_NUMBERS = 1 << 47  # in one tensor
_STORED = {"f32": torch.int32, "f16": torch.int16, "bf16": torch.int16, "q8": torch.int32}


def check_product(
    x: Tensor,
    codes: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    bias: Tensor | None,
    format: Format,
    rows: int,
    cols: int,
) -> None:
    """Check the arguments of `fewbits::cpu_linear` against each other. Raises FewbitsError."""
    check_given(x=x, codes=codes, scale=scale)
    if not (0 < rows < _MOST and 0 < cols < _MOST and rows * cols < _NUMBERS):
        _fail(f"a weight of {rows} x {cols}", "rows and cols are positive and below 2**31")
    if not fits(format, (rows, cols)):
        _fail(f"{format} at {rows} x {cols}", "there is no kernel for it (fewbits.runtime.cpu.pack.fits)")
    _check_x(x, bias, rows, cols)
    groups = grid_shape(format, (rows, cols))[1]
    tiles = -(-rows // TILE)
    _check_codes(codes, format, cols, (tiles, groups))
    of_scale, of_zero = _dtypes(format)
    _check_scales("scale", scale, of_scale, (tiles, groups, TILE))
    if (zero is None) == format.has_zero:
        _fail("no zero points" if zero is None else "zero points", f"{format} has {'some' if format.has_zero else 'none'}")
    if zero is not None:
        _check_scales("zero", zero, of_zero, (tiles, groups, TILE))


def check_given(**tensors: Tensor | None) -> None:
    """Raise FewbitsError for a tensor that is None: PyTorch passes that to an operator whose schema excludes it."""
    for name, tensor in tensors.items():
        if tensor is None:
            _fail(f"{name} is None", "a tensor is needed")


def check_storage(**tensors: Tensor | None) -> None:
    """Raise FewbitsError if the memory of a tensor was given up or made smaller, or has another sign than it says."""
    for name, tensor in tensors.items():
        if tensor is None or tensor.numel() == 0:
            continue
        last = tensor.storage_offset() + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
        if (last + 1) * tensor.element_size() > tensor.untyped_storage().nbytes():
            _fail(f"{name} of {tuple(tensor.shape)}", "its memory is smaller than that (was its storage resized?)")


def check_ids(ids: Tensor) -> None:
    """Check the row numbers of a lookup. Raises FewbitsError."""
    check_given(ids=ids)
    if ids.dim() != 1 or ids.dtype.is_floating_point or ids.dtype.is_complex or ids.dtype == torch.bool:
        _fail(f"ids of shape {tuple(ids.shape)} and {ids.dtype}", "a row of whole numbers is needed")


def check_shape(shape: list[int]) -> None:
    """Check the shape of a stored weight. Raises FewbitsError."""
    numbers = 1
    for size in shape:
        numbers *= size if 0 < size < _MOST else _NUMBERS
    if not shape or numbers >= _NUMBERS:
        _fail(f"a weight of shape {shape}", "sizes are positive, and there are fewer than 2**47 weights")


def _check_x(x: Tensor, bias: Tensor | None, rows: int, cols: int) -> None:
    if x.dtype not in FLOATS or x.layout is not torch.strided:
        _fail(f"x of {x.dtype}, {x.layout}", "float32, float16 or bfloat16, dense")
    if x.dim() == 0 or x.shape[-1] != cols:
        _fail(f"x of shape {tuple(x.shape)}", f"its last dimension is the weight's {cols} inputs")
    if bias is not None and (bias.dtype != x.dtype or tuple(bias.shape) != (rows,) or bias.device != x.device):
        _fail(f"bias of {bias.dtype}, shape {tuple(bias.shape)}", f"{x.dtype} and ({rows},), like x and the outputs")


def _check_codes(codes: Tensor, format: Format, cols: int, grid: tuple[int, int]) -> None:
    grain = 2 * CHUNK if cols >= 2 * CHUNK else CHUNK
    padded = cols if format.granularity == "group" else -(-cols // grain) * grain
    width = padded // grid[1] * TILE * format.bits // 8
    if codes.dtype != torch.uint8 or codes.dim() != 3 or not codes.is_contiguous():
        _fail(f"codes of {codes.dtype}, shape {tuple(codes.shape)}", "three dimensions of uint8, contiguous")
    if tuple(codes.shape[:2]) != grid or codes.shape[2] not in (width, *(width + gap for gap in _gaps(format))):
        _fail(f"codes of shape {tuple(codes.shape)}", f"{(*grid, width)}, perhaps with room for scales behind each group")


def _dtypes(format: Format) -> tuple[torch.dtype, torch.dtype]:
    """How scales and zero points are held: as the bits of floats (meta.py), scales with an exponent as f32."""
    held = _STORED[format.meta]
    return torch.int32 if format.exponent else held, torch.uint8 if format.integer_zero else held


def _gaps(format: Format) -> tuple[int, ...]:
    """How many bytes may be left for the scales and zero points of a group of whole chunks."""
    of_scale, of_zero = _dtypes(format)
    sizes = of_scale.itemsize + (of_zero.itemsize if format.has_zero else 0)
    return (sizes * TILE,) if format.granularity == "group" and format.group % CHUNK == 0 else ()


def _check_scales(name: str, values: Tensor, dtype: torch.dtype, shape: tuple[int, int, int]) -> None:
    if values.dtype != dtype or tuple(values.shape) != shape:
        _fail(f"{name} of {values.dtype}, shape {tuple(values.shape)}", f"{dtype} and {shape}")
    tiles, groups, _ = shape
    outer, inner, step = values.stride()
    if step != 1 or (tiles > 1 and groups > 1 and outer != groups * inner):
        _fail(f"{name} with strides {(outer, inner, step)}", "groups at equal distances, 16 numbers side by side")


def _fail(what: str, wanted: str) -> None:
    raise FewbitsError(f"torch.ops.fewbits: {what}: {wanted}")
