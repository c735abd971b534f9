"""The solvers as CUDA C++ for an NVIDIA GPU: the same as `fewbits.solvers`, a whole weight in one launch, nothing waited for.

A group of weights stays in the registers of the lanes that share it while its grid is searched (cuda/solve_fit.cu); codes are
packed where they are made (cuda/solve_encode.cu).
"""

import ctypes
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float, Int32, Shaped, UInt8
from torch import Tensor

from fewbits.pieces import packed_bytes
from fewbits.runtime import nvrtc
from fewbits.solvers import Book, Count, Grids, Order

_TYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2, torch.uint8: 3}
_METAS = {"f32": 0, "f16": 1, "bf16": 2}
_ORDERS: dict[Order, int] = {"before": 0, "after": 1, "half": 2, "codebook": 3}
_TRIED = 5  # grids that are tried together
_THREADS = 256
_ROWS = 512  # of statistics, made at a time
LARGEST_GROUP = 16384  # in the registers of a block


class _Fit(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("weights", "scale", "zero", "stats")),
        ("n", ctypes.c_int64),
        *(
            (name, ctypes.c_float)
            for name in ("steps", "implied_zero", "least", "p", "whole", "threshold", "most_zero", "most_value")
        ),
        ("shrink", ctypes.c_float * 8),
        ("length", ctypes.c_float * 8),
        ("value", ctypes.c_float * 16),
        ("middle", ctypes.c_float * 16),
    )


class _Encode(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("weights", "scale", "zero", "kept_scale", "kept_zero", "stats", "stream")),
        ("n", ctypes.c_int64),
        *((name, ctypes.c_int) for name in ("cols", "r", "c")),
        *((name, ctypes.c_float) for name in ("steps", "middle_code", "implied_zero", "least")),
        ("middle", ctypes.c_float * 16),
        ("code_of", ctypes.c_uint8 * 16),
    )


@dataclass(frozen=True, kw_only=True)
class Found:
    """Scale and zero point of each group, as a method finds them; and what tells whether they can be stored.

    `stats`: the bits of the largest scale and zero point by magnitude, and of the smallest scale above 0, as floats of 32 bits.
    """

    scale: Float[Tensor, " n"]
    zero: Float[Tensor, " n"] | None
    stats: Int32[Tensor, " 3"]


def available(weight: Shaped[Tensor, "..."]) -> bool:
    """Whether they can run on this weight."""
    return weight.is_cuda and weight.dtype in _TYPES and nvrtc.unavailable() is None


def fits(group: int, grids: Grids) -> bool:
    """Whether the search takes groups of this many weights and so many steps."""
    return group <= LARGEST_GROUP and len(grids.shrinks) <= _TRIED and grids.fits()


@dataclass(frozen=True, kw_only=True)
class Solver:
    """Finds the grids of groups of k weights of one type on one GPU. Made once: filling it in takes the host as long as launching."""

    kernel: nvrtc.Kernel
    problem: _Fit  # all that is the same for each weight
    threads: int
    lanes: int  # that share a group
    has_zero: bool
    most_blocks: int

    def fit(self, groups: Shaped[Tensor, "n k"]) -> Found:
        """Begin with the grid that spans each group, and search for a better one."""
        groups = groups.contiguous()
        n, device = groups.shape[0], groups.device
        scale = torch.empty(n, dtype=torch.float32, device=device)
        zero = torch.empty(n, dtype=torch.float32, device=device) if self.has_zero else None
        stats = _fresh_stats(device)
        problem = _Fit.from_buffer_copy(self.problem)
        problem.weights, problem.stats, problem.n = groups.data_ptr(), stats.data_ptr(), n
        problem.scale, problem.zero = scale.data_ptr(), nvrtc.address(zero)
        self.kernel.launch(min(-(-n * self.lanes // self.threads), self.most_blocks), self.threads, problem)
        return Found(scale=scale, zero=zero, stats=stats)


def solver(grids: Grids, k: int, dtype: torch.dtype, device: int, *, most_zero: float, count: Count | None) -> Solver:
    """For groups of k weights of this type. Without a `count` all weights count the same."""
    book = grids.book
    threads, lanes, each = _shape_of(k)
    defines = (
        ("THREADS", threads), ("K", k), ("L", lanes), ("V", each), ("WEIGHTS", _TYPES[dtype]),
        ("META", _METAS.get(grids.meta, 0)), ("HAS_ZERO", int(grids.has_zero)), ("INTEGER_ZERO", int(grids.integer_zero)),
        ("VALUES", 0 if book is None else book.values.numel()), ("SHRINKS", len(grids.shrinks)),
        ("LENGTHS", len(grids.lengths)), ("NORM", int(grids.p > 0)), *_counted(count),
    )  # fmt: skip
    return Solver(
        kernel=nvrtc.load("fit", ("tile.cuh", "solve_group.cuh", "solve_fit.cu"), defines, device),
        problem=_settings(grids, most_zero),
        threads=threads,
        lanes=lanes,
        has_zero=grids.has_zero,
        most_blocks=8 * _processors(device),
    )


def _counted(count: Count | None) -> nvrtc.Defines:
    if count is None:
        return (("COUNTED", 0), ("FLOOR", 0.0), ("POWER", 1.0))
    return (("COUNTED", 1), ("FLOOR", count.floor), ("POWER", count.power))


def _settings(grids: Grids, most_zero: float) -> _Fit:
    book = grids.book
    return _Fit(
        steps=grids.steps,
        implied_zero=grids.implied_zero,
        least=grids.least,
        p=grids.p,
        whole=grids.whole,
        threshold=grids.threshold,
        most_zero=most_zero,
        most_value=1.0 if book is None else float(book.values.nan_to_num(0).abs().max()),
        shrink=(ctypes.c_float * 8)(*grids.shrinks),
        length=(ctypes.c_float * 8)(*grids.lengths),
        value=_floats(None if book is None else book.values.tolist()),
        middle=_floats(None if book is None else book.middles),
    )


def _floats(values: list[float] | None) -> ctypes.Array[ctypes.c_float]:
    return (ctypes.c_float * 16)(*(values or []))


@cache
def _middles(book: Book) -> tuple[ctypes.Array[ctypes.c_float], ctypes.Array[ctypes.c_uint8]]:
    """What lies between the values of a codebook, and their codes."""
    return _floats(book.middles), (ctypes.c_uint8 * 16)(*book.codes.tolist())


def _shape_of(k: int) -> tuple[int, int, int]:
    """Threads of a block, lanes that share a group, and weights of a lane."""
    if k > 512:
        each = 16 if k <= 8192 else 32
        threads = -(-k // (32 * each)) * 32
        return threads, threads, each
    each = 8 if k < 64 else 16
    lanes = 1
    while lanes * each < k:
        lanes *= 2
    return _THREADS, lanes, each


def encode(
    matrix: Shaped[Tensor, "rows cols"],
    block: tuple[int, int],
    scale: Shaped[Tensor, " n"],
    zero: Float[Tensor, " n"] | None,
    *,
    bits: int,
    order: Order,
    implied_zero: float = 0.0,
    book: Book | None = None,
    keep: tuple[str, Int32[Tensor, " 3"], float] | None = None,
) -> tuple[UInt8[Tensor, " m"], dict[str, Tensor]]:
    """The stream of codes of a matrix in blocks of r x c with a scale (and perhaps a zero point) each.

    `keep` names the type in which scales and zero points are to be stored (then they are rounded to it first, and returned), the
    statistics that they were found with, and the smallest scale.
    """
    matrix = matrix.contiguous()
    n, device = matrix.numel(), matrix.device
    stream = torch.empty(packed_bytes(n, bits), dtype=torch.uint8, device=device)
    kept = {} if keep is None else _room(keep[0], scale, None if order == "half" else zero)
    problem = _Encode(
        weights=matrix.data_ptr(),
        scale=scale.data_ptr(),
        zero=nvrtc.address(zero),
        kept_scale=nvrtc.address(kept.get("scale")),
        kept_zero=nvrtc.address(kept.get("zero")),
        stats=None if keep is None else keep[1].data_ptr(),
        stream=stream.data_ptr(),
        n=n,
        cols=matrix.shape[1],
        r=block[0],
        c=block[1],
        steps=float((1 << bits) - 1),
        middle_code=float(1 << bits >> 1),
        implied_zero=implied_zero,
        least=0.0 if keep is None else keep[2],
    )
    if book is not None:
        problem.middle, problem.code_of = _middles(book)
    kernel = _encode_kernel(
        (
            ("WEIGHTS", _TYPES[matrix.dtype]), ("META", 0 if keep is None else _METAS[keep[0]]), ("BITS", bits),
            ("ORDER", _ORDERS[order]), ("VALUES", 0 if book is None else book.values.numel()), ("HAS_ZERO", int(zero is not None)),
            ("LINES", int(block[0] == 1 and block[1] % 32 == 0)),
        ),
        device.index or 0,
    )  # fmt: skip
    kernel.launch(-(-n // (32 * 256)), 256, problem)
    return stream, kept


def _room(meta: str, scale: Tensor, zero: Tensor | None) -> dict[str, Tensor]:
    dtype = torch.int32 if meta == "f32" else torch.int16
    kept = {"scale": torch.empty(scale.shape, dtype=dtype, device=scale.device)}
    return kept if zero is None else kept | {"zero": torch.empty(zero.shape, dtype=dtype, device=zero.device)}


def to_stream(codes: UInt8[Tensor, " n"], bits: int) -> UInt8[Tensor, " m"]:
    """Pack codes: what `packing.pack` does."""
    return encode(codes.view(1, -1), (1, 1), codes, None, bits=bits, order="before")[0]


@cache
def _encode_kernel(defines: nvrtc.Defines, device: int) -> nvrtc.Kernel:
    return nvrtc.load("encode", ("tile.cuh", "solve_encode.cu"), defines, device)


_left: dict[torch.device, list[Tensor]] = {}


def _fresh_stats(device: torch.device) -> Int32[Tensor, " 3"]:
    """A row that no launch has written to. Many are made at once, and waited for: then any stream may use them."""
    left = _left.setdefault(device, [])
    if not left:
        left.extend(torch.tensor([[0, 0, -1]] * _ROWS, dtype=torch.int32, device=device).unbind())
    return left.pop()


@cache
def _processors(device: int) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count
