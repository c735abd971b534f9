"""The compiled solvers (native/solve.cpp): searching grids, rounding to codes, packing codes.

Each call works on the calling thread and lets others run. Without the library (see `fewbits.runtime.cpu.why_not`) the callers
do the same with PyTorch's operators; codes are then the same, grids that were searched may differ where two are as good.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

Order = Literal["before", "after", "half", "codebook"]
_ORDERS: tuple[Order, ...] = ("before", "after", "half", "codebook")  # native/solve.h: when the zero point is added
_MOST = 8  # shrinks and lengths that the library takes
_LEVELS = 16  # of a codebook


class _Search(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_float) for name in ("steps", "implied_zero", "least", "p", "whole", "threshold")),
        *((name, ctypes.c_float) for name in ("count_floor", "count_power")),
        *((name, ctypes.c_int32) for name in ("type", "has_zero", "integer_zero", "shrinks", "lengths", "values")),
        *((name, ctypes.c_float * _MOST) for name in ("shrink", "length")),
        *((name, ctypes.c_float * _LEVELS) for name in ("value", "middle")),
    )


class _Groups(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("weights", "scale", "zero")),
        *((name, ctypes.c_int64) for name in ("n", "k")),
    )


class _Rounding(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("weights", "scale", "zero", "codes")),
        *((name, ctypes.c_int64) for name in ("height", "width", "r", "c", "scale_stride", "codes_stride")),
        *((name, ctypes.c_float) for name in ("steps", "middle_code")),
        *((name, ctypes.c_int32) for name in ("order", "values")),
        ("middle", ctypes.c_float * _LEVELS),
        ("code_of", ctypes.c_uint8 * _LEVELS),
    )


@cache
def _library() -> ctypes.CDLL | None:
    """The library with the solvers' functions declared; None where it cannot run."""
    from fewbits.runtime.cpu import library

    if not library.available():
        return None
    found = library.load()
    if found.fewbits_search_size() != ctypes.sizeof(_Search) or found.fewbits_rounding_size() != ctypes.sizeof(_Rounding):
        return None
    found.fewbits_to_stream.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32]
    found.fewbits_to_stream.restype = None
    return found


def available(device: torch.device) -> bool:
    """Whether they can run on tensors of a device."""
    return device.type == "cpu" and _library() is not None


@dataclass(frozen=True, kw_only=True)
class Book:
    """The values of a codebook of at most 16, ascending, and the code of each."""

    values: Float[Tensor, " levels"]
    codes: UInt8[Tensor, " levels"]

    @property
    def middles(self) -> list[float]:
        """What lies half way between one value and the next, in f32."""
        return ((self.values[1:] + self.values[:-1]) / 2).tolist()

    @staticmethod
    def of(values: Float[Tensor, " levels"]) -> "Book | None":
        """None for a codebook of more than 16 values."""
        if values.numel() > _LEVELS:
            return None
        ascending, order = values.cpu().sort(stable=True)
        return Book(values=ascending, codes=order.to(torch.uint8))


@dataclass(frozen=True, kw_only=True)
class Count:
    """What the squared error of a weight w counts in its group: floor + (|w| / mean |w|)**power. The floor is above 0."""

    floor: float = 1.0
    power: float = 1.0

    def of(self, groups: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """That for every weight."""
        size = groups.abs()
        mean = size.mean(dim=1, keepdim=True).clamp_(min=1e-30)  # of a group of zeros
        return size.div_(mean).pow_(self.power).add_(self.floor)


@dataclass(frozen=True, kw_only=True)
class Grids:
    """The grids that a search is about, and how it goes (fewbits/methods/_search.py). `p` is 0 for no norm."""

    steps: float
    implied_zero: float
    least: float
    p: float
    whole: float
    threshold: float
    meta: str
    has_zero: bool
    integer_zero: bool
    shrinks: Sequence[float]
    lengths: Sequence[float]
    book: Book | None = None
    count: Count | None = None

    def fits(self) -> bool:
        """Whether the library takes so many steps."""
        return len(self.shrinks) <= _MOST and len(self.lengths) <= _MOST


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that a method does to a group, for solvers that do the whole of it: from the grid that spans it, search as told here.

    Without shrinks and lengths nothing is searched. `p` is 0 for no norm. Without a `count` all errors count the same.
    """

    shrinks: Sequence[float] = ()
    lengths: Sequence[float] = ()
    p: float = 0.0
    whole: float = 0.0
    threshold: float = 0.0
    count: Count | None = None

    def grids(
        self,
        *,
        steps: float,
        implied_zero: float,
        least: float,
        meta: str,
        has_zero: bool,
        integer_zero: bool,
        book: Book | None,
    ) -> Grids:
        """The same search over the grids of one format."""
        return Grids(
            steps=steps,
            implied_zero=implied_zero,
            least=least,
            p=self.p,
            whole=self.whole,
            threshold=self.threshold,
            meta=meta,
            has_zero=has_zero,
            integer_zero=integer_zero,
            shrinks=self.shrinks,
            lengths=self.lengths,
            book=book,
            count=self.count,
        )


def search(
    groups: Float[Tensor, "n k"],
    scale: Float[Tensor, " n"],
    zero: Float[Tensor, " n"],
    grids: Grids,
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """The grids found from those begun with, `scale` and `zero`, each as it will be stored. Raises MemoryError."""
    groups = groups.contiguous()
    scale, zero = scale.clone(), zero.clone()
    n, k = groups.shape
    what = _Groups(
        weights=groups.data_ptr(),
        scale=scale.data_ptr(),
        zero=zero.data_ptr(),
        n=n,
        k=k,
    )
    library = _library()
    if library is None or library.fewbits_search(ctypes.byref(_settings(grids)), ctypes.byref(what)):
        raise MemoryError(f"no memory to search the grids of {n} groups of {k} weights")
    return scale, zero


def _settings(grids: Grids) -> _Search:
    book = grids.book
    floats = ctypes.c_float * _MOST
    values = ctypes.c_float * _LEVELS
    return _Search(
        steps=grids.steps,
        implied_zero=grids.implied_zero,
        least=grids.least,
        p=grids.p,
        whole=grids.whole,
        threshold=grids.threshold,
        count_floor=0.0 if grids.count is None else grids.count.floor,
        count_power=0.0 if grids.count is None else grids.count.power,
        type={"f16": 1, "bf16": 2}.get(grids.meta, 0),
        has_zero=grids.has_zero,
        integer_zero=grids.integer_zero,
        shrinks=len(grids.shrinks),
        lengths=len(grids.lengths),
        values=0 if book is None else book.values.numel(),
        shrink=floats(*grids.shrinks),
        length=floats(*grids.lengths),
        value=values(*([] if book is None else book.values.tolist())),
        middle=values(*([] if book is None else book.middles)),
    )


def round_to_codes(
    piece: Float[Tensor, "height width"],
    block: tuple[int, int],
    scale: Float[Tensor, "br bc"],
    zero: Float[Tensor, "br bc"] | None,
    codes: UInt8[Tensor, "height width"],
    *,
    steps: float,
    order: Order,
    middle_code: float = 0.0,
    book: Book | None = None,
) -> None:
    """Round the blocks of a matrix, each with its scale and zero point, into `codes`: what `methods.base.encode` does."""
    piece, scale = piece.contiguous(), scale.contiguous()
    zero = None if zero is None else zero.contiguous()
    what = _Rounding(
        weights=piece.data_ptr(),
        scale=scale.data_ptr(),
        zero=None if zero is None else zero.data_ptr(),
        codes=codes.data_ptr(),
        height=piece.shape[0],
        width=piece.shape[1],
        r=block[0],
        c=block[1],
        scale_stride=scale.shape[1],
        codes_stride=codes.stride(0),
        steps=steps,
        middle_code=middle_code,
        order=_ORDERS.index(order),
        values=0 if book is None else book.values.numel(),
        middle=(ctypes.c_float * _LEVELS)(*([] if book is None else book.middles)),
        code_of=(ctypes.c_uint8 * _LEVELS)(*([] if book is None else book.codes.tolist())),
    )
    library = _library()
    if library is None or library.fewbits_round(ctypes.byref(what)):
        raise RuntimeError("the compiled solvers are not there: ask `available` first")


def to_stream(codes: UInt8[Tensor, " n"], stream: UInt8[Tensor, " m"], bits: int) -> None:
    """Pack n codes into a stream of ceil(n * bits / 8) bytes: what `packing.pack` does."""
    library = _library()
    if library is None:
        raise RuntimeError("the compiled solvers are not there: ask `available` first")
    library.fewbits_to_stream(codes.data_ptr(), stream.data_ptr(), codes.numel(), bits)
