"""Quantized linear layers on an NVIDIA GPU: which kernel computes how many rows.

Up to 8 rows: CUDA C++ that streams the packed weight (`row`, `vector`); up to 256: Hopper's wide tensor-core products (`batch`), and `gemv`
for the shapes that those two do not take. More: the weight is unpacked into 16-bit floats, which then takes a small part of the
product's time, and the library's product follows. Where CUDA C++ cannot be compiled, Triton does the first.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from fewbits.runtime import batch, gemv, row, vector
from fewbits.runtime import unpack as unpacking
from fewbits.runtime.prepare import prepare
from fewbits.runtime.weight import KernelWeight

if TYPE_CHECKING:
    from fewbits.layers import QuantizedLayer

TRITON_ROWS = 64


def linear(layer: "QuantizedLayer", x: Float[Tensor, "*batch i"]) -> Float[Tensor, "*batch o"] | None:
    """X times the layer's weight, plus its bias; None where the layer's format has no kernel."""
    if torch.is_grad_enabled() and x.requires_grad:
        return None
    weight = prepare(layer)
    if weight is None:
        return None
    rows = x.reshape(-1, weight.cols)
    return product(weight, rows.contiguous(), layer.bias).view(*x.shape[:-1], weight.rows)


def product(
    weight: KernelWeight, x: Float[Tensor, "batch cols"], bias: Float[Tensor, " rows"] | None = None
) -> Float[Tensor, "batch rows"]:
    """X W^T + bias for contiguous x."""
    if bias is None or bias.dtype == x.dtype:
        if x.data_ptr() % 16:  # a part of another tensor: kernels read 16 bytes at a time
            x = x.clone()
        if row.suits(weight, x):
            return row.product(weight, x, bias)
        if vector.suits(weight, x):
            return vector.product(weight, x, bias)
        if x.shape[0] > vector.MAX_BATCH and batch.suits(weight, x):
            return batch.product(weight, x, bias)
        if gemv.suits(weight, x):
            return gemv.product(weight, x, bias)
    if x.shape[0] <= TRITON_ROWS and x.dtype in (torch.bfloat16, torch.float16) and has_triton():
        from fewbits.runtime.triton import gemm

        return gemm.product(weight, x, bias)
    return F.linear(x, unpack(weight, x.dtype), bias)


def unpack(weight: KernelWeight, dtype: torch.dtype) -> Float[Tensor, "rows cols"]:
    """The whole matrix, by the fastest means there are."""
    if unpacking.suits(weight, dtype):
        return unpacking.unpack(weight, dtype)
    if not has_triton():
        return weight.dequantize(dtype)
    from fewbits.runtime.triton import gemm

    return gemm.unpack(weight, dtype)


def has_triton() -> bool:
    """Whether Triton is installed (torch's CUDA builds bring it)."""
    return find_spec("triton") is not None
