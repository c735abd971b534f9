"""What compiled solvers are asked: the grids of a format and how they are searched. And whether the CPU's are there.

`solvers_cpu` and `solvers_gpu` do it. Without the library (see `fewbits.runtime.cpu.why_not`) the callers do the same with
PyTorch's operators; codes are then the same, grids that were searched may differ where two are as good.
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
MOST = 8  # shrinks and lengths that the libraries take
LEVELS = 16  # of a codebook


@cache
def library() -> ctypes.CDLL | None:
    """The library with the solvers' functions declared; None where it cannot run."""
    from fewbits.runtime.cpu import library as built
    from fewbits.solvers_cpu import sizes

    if not built.available():
        return None
    found = built.load()
    if not hasattr(found, "fewbits_solve_sizes"):  # built from older sources
        return None
    pointer, long, integer = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
    found.fewbits_to_stream.argtypes = [pointer, pointer, long, integer]
    found.fewbits_solve.argtypes = [pointer, pointer, pointer]
    found.fewbits_finite.argtypes = [pointer, integer, long, integer]
    found.fewbits_solve_sizes.restype = long
    return found if found.fewbits_solve_sizes() == sizes() else None


def available(device: torch.device) -> bool:
    """Whether they can run on tensors of a device."""
    return device.type == "cpu" and library() is not None


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
        if values.numel() > LEVELS:
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
        return len(self.shrinks) <= MOST and len(self.lengths) <= MOST


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


def to_stream(codes: UInt8[Tensor, " n"], stream: UInt8[Tensor, " m"], bits: int) -> None:
    """Pack n codes into a stream of ceil(n * bits / 8) bytes: what `packing.pack` does."""
    found = library()
    if found is None:
        raise RuntimeError("the compiled solvers are not there: ask `available` first")
    if stream.numel() < (codes.numel() * bits + 7) // 8:
        raise ValueError(f"{codes.numel()} codes of {bits} bits do not fit into {stream.numel()} bytes")
    if found.fewbits_to_stream(codes.data_ptr(), stream.data_ptr(), codes.numel(), bits):
        raise ValueError(f"codes of {bits} bits cannot be packed")
