"""Kernels whose warps stream tiles of the packed weight (cuda/stream.cuh): how their blocks are cut, and one launch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from fewbits.runtime import nvrtc
from fewbits.runtime.gemv import book_words, problem_of
from fewbits.runtime.weight import NF4, KernelWeight

MOST_SHARED = 208 << 10  # bytes of a block's shared memory
_PAIRS = 32 << 10  # bytes of a codebook's values


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How blocks are cut.

    Warps of a block, how many of them share 16 outputs, tiles that come together, and how often that many are on their way.
    """

    warps: int
    team: int
    chunk: int
    stages: int


def suits(weight: KernelWeight, x: Float[Tensor, "batch cols"]) -> bool:
    """Whether such kernels take these inputs, however many rows there are."""
    return x.dtype in (torch.bfloat16, torch.float16) and weight.cols % 4 == 0 and nvrtc.unavailable() is None


def ring_bytes(weight: KernelWeight, plan: Plan) -> int:
    """Shared memory of a block for the tiles that are on their way."""
    return plan.warps * plan.stages * plan.chunk * (128 * weight.bits + 64)


def book_bytes(weight: KernelWeight) -> int:
    """Shared memory for the values of a codebook, in pairs."""
    return _PAIRS if weight.kind == NF4 else 0


def product(
    name: str,
    weight: KernelWeight,
    x: Float[Tensor, "batch cols"],
    bias: Float[Tensor, " rows"] | None,
    plan: Plan,
    *,
    blocks: int,
    shared: int,
) -> Float[Tensor, "batch rows"]:
    """X W^T + bias by the kernel in cuda/NAME.cu: at most `blocks` for each multiprocessor, each with `shared` bytes."""
    y = torch.empty(x.shape[0], weight.rows, dtype=x.dtype, device=x.device)
    device = x.device.index or 0
    kernel = _kernel(name, weight.kind, weight.book, x.dtype, plan, device)
    units = -(-weight.words.shape[0] // (plan.warps // plan.team))
    kernel.launch(
        min(units, blocks * nvrtc.processors(device)),
        32 * plan.warps,
        problem_of(weight, x, bias, y),
        shared=shared,
        attributes=(nvrtc.OVERLAPPED,),
    )
    return y


@cache
def _kernel(name: str, kind: int, book: tuple[float, ...] | None, dtype: torch.dtype, plan: Plan, device: int) -> nvrtc.Kernel:
    defines = (
        ("KIND", kind),
        ("BF16", int(dtype == torch.bfloat16)),
        ("WARPS", plan.warps),
        ("TEAM", plan.team),
        ("CHUNK", plan.chunk),
        ("STAGES", plan.stages),
    )
    kernel = nvrtc.load(name, ("tile.cuh", "stream.cuh", f"{name}.cu"), defines, device, hash(book))
    kernel.allow_shared(MOST_SHARED)
    if book is not None:
        kernel.write_constant("BOOK", book_words(book, dtype))
    return kernel
