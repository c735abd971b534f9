"""Products with two to eight rows of inputs, in CUDA C++ (cuda/vector.cu): as fast as the weights come."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from fewbits.runtime import stream
from fewbits.runtime.stream import Plan
from fewbits.runtime.weight import KernelWeight

MAX_BATCH = 8
_HALF = 96 << 10  # bytes of shared memory, of which two blocks fit
_TEAMS = ((1, 4096), (4, 512), (8, 160))  # team, from so many tiles of outputs on
_WARPS = 16


def suits(weight: KernelWeight, x: Float[Tensor, "batch cols"]) -> bool:
    """Whether this kernel takes these inputs."""
    return x.shape[0] <= MAX_BATCH and stream.suits(weight, x) and plan_for(weight, x.shape[0]) is not None


def product(
    weight: KernelWeight,
    x: Float[Tensor, "batch cols"],
    bias: Float[Tensor, " rows"] | None = None,
    *,
    plan: Plan | None = None,
) -> Float[Tensor, "batch rows"]:
    """X W^T + bias; x contiguous, bf16 or f16, its memory aligned to 16 bytes. Another plan may be given to try it."""
    plan = plan or plan_for(weight, x.shape[0])
    if plan is None:
        raise ValueError(f"{x.shape[0]} rows of {weight.cols} inputs do not fit into shared memory: ask `suits` first")
    return stream.product("vector", weight, x, bias, plan, blocks=1, shared=shared_bytes(weight, x.shape[0], plan))


def shared_bytes(weight: KernelWeight, batch: int, plan: Plan) -> int:
    """Shared memory of a block: what is on its way, x and its sums, and pairs of a codebook."""
    wide = weight.words.shape[1]
    return stream.ring_bytes(weight, plan) + (wide * 128 + 16) * batch + wide * 32 + stream.book_bytes(weight)


def plan_for(weight: KernelWeight, batch: int) -> Plan | None:
    """What was fastest on an H200; None where x takes up too much shared memory.

    Where a product is short, a small ring: the next kernel's blocks fit beside it and ask for their weights while it ends.
    """
    high, wide, _ = weight.words.shape
    team = next((t for t, tiles in _TEAMS if high >= tiles), _WARPS)
    short = 1 < team < 8 and high >= 512
    large, room = (2, _HALF) if short else (4, stream.MOST_SHARED)
    for chunk in (4, 2, 1):
        for stages in (2,) if short else (8, 6, 5, 4, 3, 2):
            plan = Plan(warps=_WARPS, team=team, chunk=chunk, stages=stages)
            if chunk <= min(large, max(1, wide // team)) and shared_bytes(weight, batch, plan) <= room:
                return plan
    return None
