"""Products with more than a few rows of inputs on Hopper's tensor cores, in CUDA C++ (cuda/wide.cu): no weight is unpacked to memory."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from fewbits.runtime import nvrtc, tensormap
from fewbits.runtime.gemv import book_words
from fewbits.runtime.weight import NF4, KernelWeight

_FEW = 512  # rows up to which unpacking is always slower
_BUSY = 0.8  # of the multiprocessors in the last round, so that unpacking and PyTorch's product are no faster
_SOURCES = ("tile.cuh", "operands.cuh", "wgmma.cuh", "tma.cuh", "natural.cuh", "wide_feed.cuh", "wide.cu")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a product is cut.

    Rows of inputs of a block; its warpgroups, each with 64 times `each` outputs; blocks of a cluster that share a product's inputs;
    slots of 64 inputs of x, and tiles of weights a warp has on their way; blocks that a multiprocessor has room for; registers of a
    thread that multiplies (0: as they come); whether blocks go on to further units.
    """

    cols: int
    groups: int = 2
    each: int = 1
    split: int = 1
    stages: int = 8
    depth: int = 6
    blocks: int = 1
    registers: int = 0
    stays: bool = False

    @property
    def rows(self) -> int:
        """Outputs of a block."""
        return 64 * self.groups * self.each

    @property
    def threads(self) -> int:
        return 128 * self.groups + (128 if self.registers else 32)

    def shared(self, bits: int) -> int:
        """Bytes of a block: x and weights on their way, and later the sums of a split product."""
        ring = self.stages * self.cols * 128 + 4 * self.groups * self.each * self.depth * (128 * bits + 64)
        return 1024 + max(ring, self.cols // 2 * (self.rows + 8) * 4 if self.split > 1 else 0)


class Problem(ctypes.Structure):
    """`Problem` of wide.cu."""

    _fields_ = (
        ("x", ctypes.c_char * tensormap.BYTES),
        *((name, ctypes.c_void_p) for name in ("words", "meta", "bias", "y")),
        *((name, ctypes.c_int) for name in ("rows", "tiles", "kbs", "m", "batch", "across", "units", "unused")),
    )


def suits(weight: KernelWeight, x: Float[Tensor, "batch cols"]) -> bool:
    """Whether this kernel takes these inputs, and is the fastest there."""
    return (
        x.dtype in (torch.bfloat16, torch.float16)
        and weight.cols % 8 == 0
        and nvrtc.unavailable() is None
        and nvrtc.capability(x.device.index or 0) == (9, 0)  # wgmma
        and plan_for(weight.rows, weight.words.shape[1], x.shape[0]) is not None
    )


def product(
    weight: KernelWeight,
    x: Float[Tensor, "batch cols"],
    bias: Float[Tensor, " rows"] | None = None,
    *,
    plan: Plan | None = None,
) -> Float[Tensor, "batch rows"]:
    """X W^T + bias; x contiguous, bf16 or f16, its memory aligned to 16 bytes. Another plan may be given to try it."""
    n = x.shape[0]
    high, wide, _ = weight.words.shape
    plan = plan or plan_for(weight.rows, wide, n) or _LARGE
    y = torch.empty(n, weight.rows, dtype=x.dtype, device=x.device)
    across = -(-n // plan.cols)
    units = -(-weight.rows // plan.rows) * across
    device = x.device.index or 0
    problem = Problem(
        words=weight.words.data_ptr(),
        meta=weight.meta.data_ptr(),
        bias=nvrtc.address(bias),
        y=y.data_ptr(),
        rows=weight.rows,
        tiles=high,
        kbs=wide,
        m=weight.group_shift,
        batch=n,
        across=across,
        units=units,
    )
    ctypes.memmove(ctypes.addressof(problem), tensormap.map_of(x, plan.cols), tensormap.BYTES)
    kernel, shared = _kernel(weight.kind, weight.book, x.dtype, plan, device)
    clusters = min(units, nvrtc.processors(device)) if plan.stays else units
    kernel.launch(clusters * plan.split, plan.threads, problem, shared=shared, attributes=(nvrtc.OVERLAPPED,))
    return y


_LARGE = Plan(cols=256, stages=5, depth=4, registers=240, stays=True)
_LONG = 64  # tiles of inputs


@cache
def plan_for(rows: int, col_tiles: int, batch: int) -> Plan | None:
    """What was fastest on an H200; None where unpacking and PyTorch's product are.

    Where blocks are too few for all multiprocessors, those of a cluster share the inputs.
    """
    blocks = -(-rows // 128)
    if batch <= 64:
        return _up_to_64(blocks, col_tiles, next(n for n in (16, 32, 64) if n >= batch))
    if batch <= 128:
        return _up_to_128(blocks, col_tiles)
    units = blocks * -(-batch // 256)
    if units / (-(-units // 132) * 132) >= _BUSY:
        return _LARGE
    if batch > _FEW:
        return None
    if col_tiles < _LONG and units <= 33:
        return Plan(cols=128, split=_split(blocks * -(-batch // 128), col_tiles, {6: 132, 3: 132, 2: 132}))
    splits = {6: 132 if col_tiles >= _LONG else 0, 4: 132, 3: 132, 2: 132}
    return replace(_LARGE, split=_split(units, col_tiles, splits), stays=False)


def _up_to_64(blocks: int, col_tiles: int, cols: int) -> Plan:
    """Blocks of one warpgroup, of which a multiprocessor has room for three: one product begins while another ends.

    Tall weights in blocks of 256 outputs: 128256 x 2048 with 32 rows takes 72.5 us, in blocks of 128 78.0.
    """
    if blocks >= 512:
        return Plan(cols=cols, each=2, stages=6, stays=True)
    if blocks > 66 and col_tiles >= 4:
        return Plan(cols=cols, each=2, split=2, stages=6)
    most = 264 if cols == 64 else 528
    split = _split(2 * blocks, col_tiles, {8: 264, 4: most, 2: most})
    return Plan(cols=cols, groups=1, split=split, stages=6, depth=8, blocks=3 if cols < 64 else 2)


def _up_to_128(blocks: int, col_tiles: int) -> Plan:
    """128256 x 2048 with 128 rows takes 120 us in blocks of 256 outputs, 137 in blocks of 128."""
    if blocks >= 512:
        return Plan(cols=128, each=2, registers=240, stages=7, stays=True)
    if blocks > 66:
        return Plan(cols=128)
    if blocks > 33:
        return Plan(cols=128, split=_split(blocks, col_tiles, {2: 132}), stages=6)
    if col_tiles >= _LONG and blocks <= 18:
        return Plan(cols=128, split=6)
    split = _split(2 * blocks, col_tiles, {8: 132, 4: 264, 2: 264})
    return Plan(cols=128, groups=1, split=split, stages=4, depth=8, blocks=2)


def _split(blocks: int, col_tiles: int, most: dict[int, int]) -> int:
    """How many share the inputs: the first number with which there are no more blocks than it may make."""
    return next((s for s, blocks_of in most.items() if blocks * s <= blocks_of and col_tiles >= 2 * s), 1)


@cache
def _kernel(kind: int, book: tuple[float, ...] | None, dtype: torch.dtype, plan: Plan, device: int) -> tuple[nvrtc.Kernel, int]:
    defines = (
        ("KIND", kind),
        ("BF16", int(dtype == torch.bfloat16)),
        ("COLS", plan.cols),
        ("WGS", plan.groups),
        ("MT", plan.each),
        ("SPLIT", plan.split),
        ("STAGES", plan.stages),
        ("DEPTH", plan.depth),
        ("BLOCKS", plan.blocks),
        ("REGISTERS", plan.registers),
    )
    kernel = nvrtc.load("wide", _SOURCES, defines, device, hash(book))
    shared = plan.shared(4 if kind == NF4 else kind)
    kernel.allow_shared(shared)
    if book is not None:
        kernel.write_constant("BOOK", book_words(book, dtype))
    return kernel, shared
