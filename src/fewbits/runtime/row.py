"""Products with one row of inputs, in CUDA C++ (cuda/row.cu): as fast as the weights come."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from fewbits.runtime import nvrtc
from fewbits.runtime.gemv import book_words, problem_of
from fewbits.runtime.weight import NF4, KernelWeight

_WARPS = 16  # of a multiprocessor: one block's, or two blocks'
_SHORT = 110 << 10  # bytes of weights on their way to a multiprocessor that leave the next kernel's as much room,
_LONG = 192 << 10  # and where that has long to wait
_TEAMS = ((1, 4096), (2, 768), (4, 512), (8, 160))  # warps that share 16 outputs, from so many tiles of outputs on
_PAIRS = 32 << 10  # bytes of a codebook's values
_MOST = 208 << 10  # bytes of a block's shared memory


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
        x.shape[0] == 1 and x.dtype in (torch.bfloat16, torch.float16) and weight.cols % 4 == 0 and nvrtc.unavailable() is None
    )


def product(
    weight: KernelWeight,
    x: Float[Tensor, "1 cols"],
    bias: Float[Tensor, " rows"] | None = None,
    *,
    plan: Plan | None = None,
) -> Float[Tensor, "1 rows"]:
    """X W^T + bias; x contiguous, bf16 or f16, its memory aligned to 16 bytes. Another plan may be given to try it."""
    y = torch.empty(1, weight.rows, dtype=x.dtype, device=x.device)
    plan = plan or plan_for(weight)
    device = x.device.index or 0
    kernel = _kernel(weight.kind, weight.book, x.dtype, plan, device)
    units = -(-weight.words.shape[0] // (plan.warps // plan.team))
    processors = torch.cuda.get_device_properties(device).multi_processor_count
    kernel.launch(
        min(units, _WARPS // plan.warps * processors),
        32 * plan.warps,
        problem_of(weight, x, bias, y),
        shared=shared_bytes(weight, plan),
        attributes=(nvrtc.OVERLAPPED,),
    )
    return y


def shared_bytes(weight: KernelWeight, plan: Plan) -> int:
    """Shared memory of a block: what is on its way, and pairs of a codebook."""
    return _ring(weight, plan) + (_PAIRS if weight.kind == NF4 else 0)


def plan_for(weight: KernelWeight) -> Plan:
    """What was fastest on an H200.

    A warp has 8 tiles on their way, or twice 8 where more than 16 are its share of 16 outputs. Few outputs of many inputs take one
    block for each multiprocessor: two could both be on one where another has none.
    """
    high, wide, _ = weight.words.shape
    warps = _WARPS if high < 512 and wide >= 64 else _WARPS // 2
    team = next((t for t, tiles in _TEAMS if high >= tiles), warps)
    stages = 2 if wide > 16 * team else 1
    room = (_LONG if stages == 2 else _SHORT) * warps // _WARPS
    plans = [Plan(warps=warps, team=team, chunk=c, stages=stages) for c in (8, 4, 2, 1)]
    return next(p for p in plans if p.chunk <= max(1, wide // team) and _ring(weight, p) <= room)


def _ring(weight: KernelWeight, plan: Plan) -> int:
    return plan.warps * plan.stages * plan.chunk * (128 * weight.bits + 64)


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
    kernel = nvrtc.load("row", ("tile.cuh", "stream.cuh", "row.cu"), defines, device, hash(book))
    kernel.allow_shared(_MOST)
    if book is not None:
        kernel.write_constant("BOOK", book_words(book, dtype))
    return kernel
