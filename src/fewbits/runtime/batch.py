"""Products with some dozens of rows of inputs on Hopper's tensor cores, in CUDA C++ (cuda/batch.cu)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from fewbits.runtime import nvrtc
from fewbits.runtime.gemv import book_words, problem_of
from fewbits.runtime.weight import KernelWeight

MAX_BATCH = 256  # above this, unpacking once and a plain product are faster
ROWS = 128  # outputs of a block
_COLS = (16, 32, 64, 128)  # rows of inputs of a block
_CLUSTERED = 112  # blocks of clusters that run at a time


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Rows of inputs of a block, blocks of a cluster that share a product's inputs, tiles that a warp has asked for, stages of x."""

    cols: int
    split: int
    depth: int
    stages: int


def suits(weight: KernelWeight, x: Float[Tensor, "batch cols"]) -> bool:
    """Whether this kernel takes these inputs."""
    return (
        x.shape[0] <= MAX_BATCH
        and x.dtype in (torch.bfloat16, torch.float16)
        and weight.cols % 8 == 0
        and nvrtc.unavailable() is None
        and torch.cuda.get_device_capability(x.device) == (9, 0)  # wgmma
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
    blocks = -(-weight.rows // ROWS)
    plan = plan or plan_for(blocks, weight.words.shape[1], x.shape[0])
    across = -(-x.shape[0] // plan.cols)
    kernel, shared = _kernel(weight.kind, weight.book, x.dtype, plan, x.device.index or 0)
    problem = problem_of(weight, x, bias, y)
    kernel.launch((blocks * plan.split, across), 512, problem, shared=shared, attributes=(nvrtc.OVERLAPPED,))
    return y


def plan_for(blocks: int, col_tiles: int, batch: int) -> Plan:
    """What was fastest on an H200, where clusters of four or more blocks fit onto 112 of the 132 multiprocessors.

    Six blocks share long inputs: 2048 x 8192 with 32 rows takes 11.0 us, with four 13.1. Of short inputs they take two tiles at a time,
    since what is left over of four is waited for: 2048 x 2048 with 128 rows 7.7 us, with four blocks 8.1.
    """
    cols = next((n for n in _COLS if n >= batch), _COLS[-1])
    blocks *= -(-batch // cols)
    splits = (6, 4, 2) if cols == 128 or col_tiles >= 64 else (4, 2)
    split = next((s for s in splits if blocks * s <= _CLUSTERED and col_tiles >= 2 * s), 1)
    depth = 2 if cols == 128 and split == 6 else 8 if cols <= 64 and col_tiles >= 8 * split else 4
    return Plan(cols=cols, split=split, depth=depth, stages=8 if cols <= 64 else 6)


@cache
def _kernel(kind: int, book: tuple[float, ...] | None, dtype: torch.dtype, plan: Plan, device: int) -> tuple[nvrtc.Kernel, int]:
    defines = (
        ("KIND", kind),
        ("BF16", int(dtype == torch.bfloat16)),
        ("COLS", plan.cols),
        ("SPLIT", plan.split),
        ("DEPTH", plan.depth),
        ("STAGES", plan.stages),
    )
    kernel = nvrtc.load("batch", ("tile.cuh", "operands.cuh", "wgmma.cuh", "batch.cu"), defines, device, hash(book))
    shared = 1024 + plan.cols * max(128 * plan.stages, 4 * (ROWS + 4))  # the stages, and later the sums in f32
    kernel.allow_shared(shared)
    if book is not None:
        kernel.write_constant("BOOK", book_words(book, dtype))
    return kernel, shared
