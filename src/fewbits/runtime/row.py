"""Products with one row of inputs, in CUDA C++ (cuda/row.cu): as fast as the weights come."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from fewbits.runtime import stream
from fewbits.runtime.stream import Plan
from fewbits.runtime.weight import KernelWeight

_WARPS = 16  # of a multiprocessor: one block's, or two blocks'
_SHORT = 110 << 10  # bytes of weights on their way to a multiprocessor that leave the next kernel's as much room,
_LONG = 192 << 10  # and where that has long to wait
_FEW = 192  # tiles of outputs, below which blocks of few warps would leave a multiprocessor without any
_TEAMS = ((1, 4096), (2, 768), (4, 512), (8, 160))  # warps that share 16 outputs, from so many tiles of outputs on


def suits(weight: KernelWeight, x: Float[Tensor, "batch cols"]) -> bool:
    """Whether this kernel takes these inputs."""
    return x.shape[0] == 1 and stream.suits(weight, x)


def product(
    weight: KernelWeight,
    x: Float[Tensor, "1 cols"],
    bias: Float[Tensor, " rows"] | None = None,
    *,
    plan: Plan | None = None,
) -> Float[Tensor, "1 rows"]:
    """X W^T + bias; x contiguous, bf16 or f16, its memory aligned to 16 bytes. Another plan may be given to try it."""
    plan = plan or plan_for(weight)
    return stream.product("row", weight, x, bias, plan, blocks=_WARPS // plan.warps, shared=shared_bytes(weight, plan))


def shared_bytes(weight: KernelWeight, plan: Plan) -> int:
    """Shared memory of a block: what is on its way, and pairs of a codebook."""
    return stream.ring_bytes(weight, plan) + stream.book_bytes(weight)


def plan_for(weight: KernelWeight) -> Plan:
    """What was fastest on an H200.

    A warp has 8 tiles on their way, or twice 8 where more than 16 are its share of 16 outputs. Few outputs of many inputs take one
    block for each multiprocessor: two could both be on one where another has none.
    """
    high, wide, _ = weight.words.shape
    warps = _WARPS if high < _FEW and wide >= 64 else _WARPS // 2
    team = next((t for t, tiles in _TEAMS if high >= tiles), warps)
    stages = 2 if wide > 16 * team else 1
    room = (_LONG if stages == 2 else _SHORT) * warps // _WARPS
    plans = [Plan(warps=warps, team=team, chunk=c, stages=stages) for c in (8, 4, 2, 1)]
    even = [p for p in plans if stages == 1 or p.chunk <= 4 or wide % (team * p.chunk) == 0]  # 4096 x 14336: 11.3 us, else 11.7
    return next(p for p in even if p.chunk <= max(1, wide // team) and stream.ring_bytes(weight, p) <= room)
