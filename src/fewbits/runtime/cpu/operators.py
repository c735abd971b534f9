"""The kernels as an operator of PyTorch, for graphs; and as a plain function, which is some microseconds faster."""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from fewbits.formats import Format
from fewbits.runtime.cpu import library
from fewbits.runtime.cpu.pack import Pack, assemble

_ASSEMBLED = "_cpu_assembled"
_TYPES = {torch.float32: library.F32, torch.float16: library.F16, torch.bfloat16: library.BF16}


def multiply(
    x: Float[Tensor, "*batch i"], weight: Pack, bias: Float[Tensor, " o"] | None, *, exact: bool = False
) -> Float[Tensor, "*batch o"]:
    """`x` times a packed weight, plus bias. `exact`: with the activations as they are, in f32. Raises MemoryError."""
    flat = x if x.dim() == 2 else x.reshape(-1, weight.cols)
    rows = len(flat)
    stride, step = flat.stride()
    if step != 1:
        flat, stride = flat.contiguous(), weight.cols
    if bias is not None and not bias.is_contiguous():
        bias = bias.contiguous()
    out = flat.new_empty((rows, weight.rows))  # torch.empty with a dtype takes 1 us longer
    failed = library.load().fewbits_linear(
        weight.address,
        flat.data_ptr(),
        out.data_ptr(),
        None if bias is None else bias.data_ptr(),
        rows,
        stride,
        _TYPES[x.dtype],
        torch.get_num_threads(),
        weight.one_step,
        exact,
    )
    if failed:
        raise MemoryError(f"no memory to round {rows} x {weight.cols} activations")
    return out if flat is x else out.view(*x.shape[:-1], weight.rows)


@torch.library.custom_op("fewbits::cpu_linear", mutates_args=(), device_types="cpu")
def cpu_linear(
    x: Tensor,
    codes: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    bias: Tensor | None,
    format: str,
    rows: int,
    cols: int,
    exact: bool,
) -> Tensor:
    """`multiply` with the parts of a Pack one by one."""
    weight = cast(Pack | None, codes.__dict__.get(_ASSEMBLED))
    if weight is None or weight.codes.data_ptr() != codes.data_ptr() or weight.scale.data_ptr() != scale.data_ptr():
        weight = assemble(Format.parse(format), rows, cols, codes, scale, zero)
        setattr(codes, _ASSEMBLED, weight)
    return multiply(x, weight, bias, exact=exact)


@cpu_linear.register_fake
def _(
    x: Tensor,
    codes: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    bias: Tensor | None,
    format: str,
    rows: int,
    cols: int,
    exact: bool,
) -> Tensor:
    return x.new_empty((*x.shape[:-1], rows))
