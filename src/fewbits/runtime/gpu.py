"""Quantized linear layers on an NVIDIA GPU: which kernel computes how many rows.

Up to 8 rows: CUDA C++ that streams the packed weight (`row`, `vector`), and `gemv` for the shapes that these do not take. More: `wide`, on
Hopper's tensor cores, which dequantizes on the way too. Where its blocks would leave multiprocessors idle, the weight is unpacked into
16-bit floats and the library's product follows. Where CUDA C++ cannot be compiled, Triton does the first.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from fewbits.runtime import gemv, row, vector, wide
from fewbits.runtime import unpack as unpacking
from fewbits.runtime.modes import autocast_dtype, has_memory, is_traced, wants_gradient
from fewbits.runtime.prepare import prepare
from fewbits.runtime.weight import KernelWeight

if TYPE_CHECKING:
    from fewbits.layers import QuantizedLayer

TRITON_ROWS = 64


def linear(layer: "QuantizedLayer", x: Float[Tensor, "*batch i"]) -> Float[Tensor, "*batch o"] | None:
    """X times the layer's weight, plus its bias.

    None if the layer's format has no kernel, a gradient is wanted, or PyTorch traces or transforms x: kernels are launched past
    PyTorch, which would not see them. Under torch.autocast x and bias are cast as for nn.Linear.
    """
    bias = layer.bias
    if wants_gradient(x, bias) or is_traced(x):
        return None
    dtype = autocast_dtype(x)
    if dtype is not None:
        x, bias = x.to(dtype), None if bias is None else bias.to(dtype)
    if not has_memory(x) or x.dim() == 0:
        return None
    weight = prepare(layer)
    if weight is None or x.shape[-1] != weight.cols:
        return None
    rows = x.reshape(-1, weight.cols)
    return product(weight, rows.contiguous(), bias).view(*x.shape[:-1], weight.rows)


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
        if x.shape[0] > vector.MAX_BATCH and wide.suits(weight, x):
            return wide.product(weight, x, bias)
        if gemv.suits(weight, x):
            return gemv.product(weight, x, bias)
    if x.shape[0] <= TRITON_ROWS and x.dtype in (torch.bfloat16, torch.float16) and has_triton():
        from fewbits.runtime.triton import gemm

        return gemm.product(weight, x, bias)
    return F.linear(x, unpack(weight, x.dtype), bias)


def products(
    weights: Sequence[KernelWeight], x: Float[Tensor, "batch cols"], biases: Sequence[Float[Tensor, " rows"] | None]
) -> list[Float[Tensor, "batch rows"]]:
    """Products of several weights with the same inputs; those that would each be unpacked share one product of the library's."""
    x = x.contiguous()
    alone = len(weights) == 1 or x.shape[0] <= TRITON_ROWS or any(b is not None for b in biases)
    if alone or all(wide.suits(w, x) for w in weights):
        return [product(w, x, b) for w, b in zip(weights, biases, strict=True)]
    rows = [w.rows for w in weights]
    matrix = torch.empty(sum(rows), x.shape[1], dtype=x.dtype, device=x.device)
    for weight, part in zip(weights, matrix.split(rows), strict=True):
        if unpacking.suits(weight, x.dtype):
            unpacking.unpack(weight, x.dtype, out=part)
        else:
            part.copy_(unpack(weight, x.dtype))
    return list(F.linear(x, matrix).split(rows, dim=-1))


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
