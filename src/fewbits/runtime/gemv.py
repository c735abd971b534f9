"""Products with few rows of inputs, in CUDA C++ (cuda/linear.cu)."""

from __future__ import annotations

import ctypes
import struct
from dataclasses import dataclass, replace
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from fewbits.runtime import nvrtc
from fewbits.runtime.weight import KernelWeight

MAX_BATCH = 48  # above this, unpacking once and a plain product are faster


class Problem(ctypes.Structure):
    """`Problem` of linear.cu and stream.cuh."""

    _fields_ = (
        ("words", ctypes.c_void_p),
        ("meta", ctypes.c_void_p),
        ("x", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("y", ctypes.c_void_p),
        *((name, ctypes.c_int) for name in ("rows", "cols", "tiles", "kbs", "m", "batch")),
    )


def problem_of(
    weight: KernelWeight, x: Float[Tensor, "batch cols"], bias: Float[Tensor, " rows"] | None, y: Float[Tensor, "batch rows"]
) -> Problem:
    """The parameter of kernels that multiply."""
    high, wide, _ = weight.words.shape
    return Problem(
        words=weight.words.data_ptr(),
        meta=weight.meta.data_ptr(),
        x=x.data_ptr(),
        bias=nvrtc.address(bias),
        y=y.data_ptr(),
        rows=weight.rows,
        cols=weight.cols,
        tiles=high,
        kbs=wide,
        m=weight.group_shift,
        batch=x.shape[0],
    )


def suits(weight: KernelWeight, x: Float[Tensor, "batch cols"]) -> bool:
    """Whether this kernel takes these inputs."""
    return (
        x.shape[0] <= MAX_BATCH
        and x.dtype in (torch.bfloat16, torch.float16)
        and weight.cols % 4 == 0
        and nvrtc.unavailable() is None
    )


def product(
    weight: KernelWeight,
    x: Float[Tensor, "batch cols"],
    bias: Float[Tensor, " rows"] | None = None,
    *,
    plan: Plan | None = None,
) -> Float[Tensor, "batch rows"]:
    """X W^T + bias; x contiguous, bf16 or f16. Another plan may be given to try it."""
    y = torch.empty(x.shape[0], weight.rows, dtype=x.dtype, device=x.device)
    high, wide, _ = weight.words.shape
    plan = plan or plan_for(high, wide)
    problem = problem_of(weight, x, bias, y)
    eights = next(n for n in (1, 2, 4) if 8 * n >= x.shape[0] or n == 4)
    kept = int(eights == 1 and wide <= plan.warps * plan.unroll)
    kernel = _kernel(
        weight.kind,
        weight.book,
        x.dtype,
        replace(plan, unroll=min(plan.unroll, 4 // eights)) if eights > 1 else plan,
        kept,
        eights,
        x.device.index or 0,
    )
    blocks = min(high, plan.blocks * nvrtc.processors(x.device.index or 0)) if kept else high
    kernel.launch((blocks, -(-x.shape[0] // (8 * eights))), 32 * plan.warps, problem, attributes=(nvrtc.OVERLAPPED,))
    return y


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Warps of a block, tiles that a warp has in flight, and blocks for each multiprocessor."""

    warps: int
    unroll: int
    blocks: int


def plan_for(row_tiles: int, col_tiles: int) -> Plan:
    """What was fastest on an H200: wide products have a warp for every four tiles of inputs."""
    if col_tiles > 32:
        return Plan(warps=16, unroll=4, blocks=2)
    return Plan(warps=8, unroll=-(-col_tiles // 8), blocks=2)


@cache
def _kernel(
    kind: int, book: tuple[float, ...] | None, dtype: torch.dtype, plan: Plan, kept: int, eights: int, device: int
) -> nvrtc.Kernel:
    bf16 = int(dtype == torch.bfloat16)
    defines = (
        ("KIND", kind),
        ("BF16", bf16),
        ("THREADS", 32 * plan.warps),
        ("UNROLL", plan.unroll),
        ("KEPT", kept),
        ("NT", eights),
    )
    kernel = nvrtc.load("linear", ("tile.cuh", "linear.cu"), defines, device, hash(book))
    if book is not None:
        kernel.write_constant("BOOK", book_words(book, dtype))
    return kernel


@cache
def book_words(book: tuple[float, ...], dtype: torch.dtype) -> bytes:
    """A codebook as sixteen words whose low half is the value."""
    bits = torch.tensor(book).to(dtype).view(torch.int16).tolist()
    return struct.pack("<16I", *(b & 0xFFFF for b in bits))
