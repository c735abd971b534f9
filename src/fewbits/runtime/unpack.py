"""A packed weight as a plain matrix, in CUDA C++ (cuda/unpack.cu)."""

import ctypes
import struct
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from fewbits.runtime import nvrtc
from fewbits.runtime.weight import KernelWeight

_OUT = {torch.bfloat16: 0, torch.float16: 1, torch.float32: 2}


class _Problem(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("words", "meta", "y")),
        *((name, ctypes.c_int) for name in ("rows", "cols", "tiles", "kbs", "m")),
    )


def suits(weight: KernelWeight, dtype: torch.dtype) -> bool:
    """Whether this kernel can write the matrix."""
    return dtype in _OUT and weight.cols % 4 == 0 and weight.words.is_cuda and nvrtc.unavailable() is None


def unpack(
    weight: KernelWeight, dtype: torch.dtype, out: Float[Tensor, "rows cols"] | None = None
) -> Float[Tensor, "rows cols"]:
    """The whole matrix, each value computed in f32 and rounded once; `out`: where it is to stand, contiguous."""
    y = torch.empty(weight.rows, weight.cols, dtype=dtype, device=weight.words.device) if out is None else out
    high, wide, _ = weight.words.shape
    problem = _Problem(
        words=weight.words.data_ptr(),
        meta=weight.meta.data_ptr(),
        y=y.data_ptr(),
        rows=weight.rows,
        cols=weight.cols,
        tiles=high,
        kbs=wide,
        m=weight.group_shift,
    )
    device = y.device.index or 0
    blocks = min(-(-high * wide // 8), 8 * nvrtc.processors(device))
    _kernel(weight.kind, weight.book, dtype, device).launch(blocks, 256, problem)
    return y


@cache
def _kernel(kind: int, book: tuple[float, ...] | None, dtype: torch.dtype, device: int) -> nvrtc.Kernel:
    kernel = nvrtc.load("unpack", ("tile.cuh", "unpack.cu"), (("KIND", kind), ("OUT", _OUT[dtype])), device, hash(book))
    if book is not None:
        kernel.write_constant("BOOK", struct.pack("<16f", *book))
    return kernel
