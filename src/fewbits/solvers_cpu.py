"""The solvers on the CPU (native/solve.cpp): a weight's grids found, its codes rounded and packed, in one call on several threads.

Neither the threads nor the pieces that a weight comes in change a bit of the results.
"""

import ctypes
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from fewbits import solvers
from fewbits.formats import Meta
from fewbits.solvers import LEVELS, MOST, Book, Grids, Order

_TYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}  # native/fewbits.h: Real
_METAS: dict[Meta, int] = {"f32": 0, "f16": 1, "bf16": 2, "q8": 0}  # how scales are rounded that go through it
_ORDERS: dict[Order, int] = {"before": 0, "after": 1, "half": 2, "codebook": 3}  # native/solve.h
_NOT_FINITE, _FAINT, _NO_MEMORY = 1, 2, 4
_REFUSED = (4, -2)  # what fewbits_solve and fewbits_finite return for a bad argument


class _Search(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_float) for name in ("steps", "implied_zero", "least", "p", "whole", "threshold")),
        *((name, ctypes.c_float) for name in ("count_floor", "count_power", "most_zero", "most_value")),
        *((name, ctypes.c_int32) for name in ("type", "has_zero", "integer_zero", "shrinks", "lengths", "values")),
        *((name, ctypes.c_float * MOST) for name in ("shrink", "length")),
        *((name, ctypes.c_float * LEVELS) for name in ("value", "middle")),
    )


class _Rounding(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_float) for name in ("steps", "middle_code", "implied_zero", "least")),
        *((name, ctypes.c_int32) for name in ("type", "order", "bits", "values", "read_back")),
        ("middle", ctypes.c_float * LEVELS),
        ("code_of", ctypes.c_uint8 * LEVELS),
    )


class _Groups(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("weights", "scale", "zero", "stream")),
        *((name, ctypes.c_int64) for name in ("n", "k", "across")),
        *((name, ctypes.c_int32) for name in ("type", "one_scale", "threads", "said")),
    )


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """How weights become codes of `bits` bits. Scales below `least` are stored as it."""

    bits: int
    steps: float
    order: Order
    implied_zero: float
    middle_code: float
    least: float
    book: Book | None = None

    def settings(self, meta: Meta | None) -> ctypes.Structure:
        """For scales and zero points that are yet to be stored as `meta`; None for those that were, and are read back."""
        book = self.book
        return _Rounding(
            steps=self.steps,
            middle_code=self.middle_code,
            implied_zero=self.implied_zero,
            least=self.least if meta == "f16" else 0.0,
            type=0 if meta is None else _METAS[meta],
            order=_ORDERS[self.order],
            bits=self.bits,
            values=0 if book is None else book.values.numel(),
            read_back=meta is None,
            middle=_floats(LEVELS, [] if book is None else book.middles),
            code_of=(ctypes.c_uint8 * LEVELS)(*([] if book is None else book.codes.tolist())),
        )


@dataclass(frozen=True, kw_only=True)
class Room:
    """Where the results of some groups go: scale and zero point of each, and the stream of their codes."""

    scale: Float[Tensor, " n"]
    zero: Float[Tensor, " n"] | None
    stream: UInt8[Tensor, " m"] | None


@dataclass(frozen=True, kw_only=True)
class Said:
    """What came up: NaN or infinity among the weights; groups whose scale is 0 though their weights are not."""

    not_finite: bool = False
    faint: bool = False

    def __or__(self, other: "Said") -> "Said":
        return Said(not_finite=self.not_finite or other.not_finite, faint=self.faint or other.faint)


def reach(weight: Shaped[Tensor, "..."]) -> bool:
    """Whether they can run on this weight."""
    return weight.numel() > 0 and weight.dtype in _TYPES and solvers.available(weight.device)


def search_settings(grids: Grids, *, most_zero: float, most_value: float) -> ctypes.Structure:
    """The search of these grids, from those that span each group. `most_value`: of the codebook, by magnitude."""
    book, count = grids.book, grids.count
    return _Search(
        steps=grids.steps,
        implied_zero=grids.implied_zero,
        least=grids.least,
        p=grids.p,
        whole=grids.whole,
        threshold=grids.threshold,
        count_floor=0.0 if count is None else count.floor,
        count_power=0.0 if count is None else count.power,
        most_zero=most_zero,
        most_value=most_value,
        type={"f16": 1, "bf16": 2}.get(grids.meta, 0),
        has_zero=grids.has_zero,
        integer_zero=grids.integer_zero,
        shrinks=len(grids.shrinks),
        lengths=len(grids.lengths),
        values=0 if book is None else book.values.numel(),
        shrink=_floats(MOST, grids.shrinks),
        length=_floats(MOST, grids.lengths),
        value=_floats(LEVELS, [] if book is None else book.values.tolist()),
        middle=_floats(LEVELS, [] if book is None else book.middles),
    )


def solve(
    matrix: Shaped[Tensor, "rows cols"],
    block: tuple[int, int],
    room: Room,
    *,
    search: ctypes.Structure | None = None,
    rounding: ctypes.Structure | None = None,
    threads: int,
) -> Said:
    """Find the grids of a matrix in blocks (of one row or one column), or take those in `room`; round to them and pack the codes.

    The matrix lies row by row. A block that is the whole of it is one scale for all rows. Raises MemoryError.
    """
    (rows, cols), (r, c) = matrix.shape, block
    whole = r > 1 and c > 1
    k = c if r == 1 or whole else r
    groups = _Groups(
        weights=matrix.data_ptr(),
        scale=room.scale.data_ptr(),
        zero=None if room.zero is None else room.zero.data_ptr(),
        stream=None if room.stream is None else room.stream.data_ptr(),
        n=rows * cols // k,
        k=k,
        across=0 if r == 1 or whole else cols,
        type=_TYPES[matrix.dtype],
        one_scale=whole,
        threads=threads,
    )
    _call("fewbits_solve", _address(search), _address(rounding), ctypes.byref(groups))
    if groups.said & _NO_MEMORY:
        raise MemoryError(f"no memory to quantize {rows} x {cols} weights in groups of {k}")
    return Said(not_finite=bool(groups.said & _NOT_FINITE), faint=bool(groups.said & _FAINT))


def finite(weight: Shaped[Tensor, "..."], threads: int) -> bool | None:
    """Whether all of a weight is; None where they do not reach."""
    dense = weight if weight.is_contiguous() else weight.mT if weight.dim() > 1 else weight
    if not reach(weight) or not dense.is_contiguous():
        return None
    return bool(_call("fewbits_finite", dense.data_ptr(), _TYPES[weight.dtype], weight.numel(), threads, fails=-1))


def _call(name: str, *arguments: object, fails: int = 1) -> int:
    library = solvers.library()
    said = fails if library is None else int(getattr(library, name)(*arguments))
    if said == fails:
        raise RuntimeError("the compiled solvers are not there: ask `reach` first")
    if said in _REFUSED:
        raise ValueError(f"{name} refuses its arguments: sizes or types do not fit each other")
    return said


def sizes() -> int:
    """Those of the structures here, as the library tells its own."""
    return ctypes.sizeof(_Search) | ctypes.sizeof(_Rounding) << 16 | ctypes.sizeof(_Groups) << 32


def _address(settings: ctypes.Structure | None) -> object:
    return None if settings is None else ctypes.byref(settings)


def _floats(room: int, values: object) -> ctypes.Array[ctypes.c_float]:
    return (ctypes.c_float * room)(*values)  # type: ignore[misc]
