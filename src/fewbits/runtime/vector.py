"""Products with two to eight rows of inputs, in CUDA C++ (cuda/vector.cu): as fast as the weights come."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from fewbits.runtime import nvrtc
from fewbits.runtime.gemv import book_words, problem_of
from fewbits.runtime.weight import NF4, KernelWeight

MAX_BATCH = 8
_MOST = 208 << 10  # bytes of shared memory
_HALF = 96 << 10  # of which two blocks fit
_TEAMS = ((1, 4096), (4, 512), (8, 160))  # team, from so many tiles of outputs on
_WARPS = 16


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
    """Whether this kernel takes these inputs."""
    return (
        x.shape[0] <= MAX_BATCH
        and x.dtype in (torch.bfloat16, torch.float16)
        and weight.cols % 4 == 0
        and nvrtc.unavailable() is None
        and plan_for(weight, x.shape[0]) is not None
    )


def product(
    weight: KernelWeight,
    x: Float[Tensor, "batch cols"],
    bias: Float[Tensor, " rows"] | None = None,
    *,
    plan: Plan | None = None,
) -> Float[Tensor, "batch rows"]:
    """X W^T + bias; x contiguous, bf16 or f16, its memory aligned to 16 bytes. Another plan may be given to try it."""
    y = torch.empty(x.shape[0], weight.rows, dtype=x.dtype, device=x.device)
    plan = plan or plan_for(weight, x.shape[0])
    if plan is None:
        raise ValueError(f"{x.shape[0]} rows of {weight.cols} inputs do not fit into shared memory: ask `suits` first")
    device = x.device.index or 0
    kernel = _kernel(weight.kind, weight.book, x.dtype, plan, device)
    units = -(-weight.words.shape[0] // (plan.warps // plan.team))
    processors = torch.cuda.get_device_properties(device).multi_processor_count
    kernel.launch(
        min(units, processors),
        32 * plan.warps,
        problem_of(weight, x, bias, y),
        shared=shared_bytes(weight, x.shape[0], plan),
        attributes=(nvrtc.OVERLAPPED,),
    )
    return y


def shared_bytes(weight: KernelWeight, batch: int, plan: Plan) -> int:
    """Shared memory of a block: what is on its way, x and its sums, and pairs of a codebook."""
    wide = weight.words.shape[1]
    ring = plan.warps * plan.stages * plan.chunk * (128 * weight.bits + 64)
    return ring + (wide * 128 + 16) * batch + wide * 32 + (32 << 10 if weight.kind == NF4 else 0)


def plan_for(weight: KernelWeight, batch: int) -> Plan | None:
    """What was fastest on an H200; None where x takes up too much shared memory.

    Where a product is short, a small ring: the next kernel's blocks fit beside it and ask for their weights while it ends.
    """
    high, wide, _ = weight.words.shape
    team = next((t for t, tiles in _TEAMS if high >= tiles), _WARPS)
    short = 1 < team < 8 and high >= 512
    large, room = (2, _HALF) if short else (4, _MOST)
    for chunk in (4, 2, 1):
        for stages in (2,) if short else (8, 6, 5, 4, 3, 2):
            plan = Plan(warps=_WARPS, team=team, chunk=chunk, stages=stages)
            if chunk <= min(large, max(1, wide // team)) and shared_bytes(weight, batch, plan) <= room:
                return plan
    return None


@cache
def _kernel(kind: int, book: tuple[float, ...] | None, dtype: torch.dtype, plan: Plan, device: int) -> nvrtc.Kernel:
    defines = (
        ("KIND", kind),
        ("BF16", int(dtype == torch.bfloat16)),
        ("WARPS", plan.warps),
        ("TEAM", plan.team),
        ("CHUNK", plan.chunk),
        ("STAGES", plan.stages),
    )
    kernel = nvrtc.load("vector", ("tile.cuh", "stream.cuh", "vector.cu"), defines, device, hash(book))
    kernel.allow_shared(_MOST)
    if book is not None:
        kernel.write_constant("BOOK", book_words(book, dtype))
    return kernel
