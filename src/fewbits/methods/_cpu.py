"""A whole weight quantized on the CPU by the compiled solvers: found, rounded and packed as one, each part while it is in the cache.

What they do not reach, and all of it without them, `base` does with PyTorch's operators. The results are the same, to the bit
where nothing is searched.
"""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import gcd

import torch
from jaxtyping import Shaped
from torch import Tensor

from fewbits import solvers_cpu
from fewbits.codebooks import codebook_of
from fewbits.formats import Format
from fewbits.methods._affine import MOST_ZERO
from fewbits.methods._checks import check_finite
from fewbits.methods._grids import Grids
from fewbits.methods._scales import LEAST_F16, Fit, divisors, store_fit, stores_zero_scales
from fewbits.methods._threads import one_thread_each
from fewbits.methods.base import CHUNK, Method, order_of, sample
from fewbits.pieces import packed_bytes
from fewbits.solvers_cpu import Room, Rounding, Said
from fewbits.tensor import QuantizedTensor, matrix_shape, read_scale, read_zero


def quantize(weight: Shaped[Tensor, "..."], format: Format, method: Method) -> QuantizedTensor | None:
    """Quantize a weight (its first axis is the outputs); None where the solvers do not reach.

    Raises what `Method.quantize` raises.
    """
    if not solvers_cpu.reach(weight) or (format.is_codebook and format.bits > 4):
        return None
    solving = _solving(method, format)
    if solving is None:
        return None
    shape = tuple(weight.shape)
    work = _Work(weight.reshape(matrix_shape(shape)), format, solving)
    with one_thread_each(weight.device):
        if format.granularity == "tensor":
            check_finite(weight)
            return work.rounded(shape, method.fit(sample(work.matrix), format))
        # The scales of q8 depend on one another, and a scale of 0 is no divisor: their codes are found later.
        said = work.find(codes=format.meta != "q8" and not stores_zero_scales(format))
        if said.not_finite:
            check_finite(weight)  # raises, and says more
        fit = Fit(scale=work.scale, zero=work.zero)
        if work.stream is None or said.faint:
            return work.rounded(shape, fit)
        return QuantizedTensor(format=format, shape=shape, tensors={"codes": work.stream, **store_fit(fit, format)})


@dataclass(frozen=True, kw_only=True)
class _Solving:
    search: ctypes.Structure
    rounding: Rounding


@cache  # the same for all layers
def _solving(method: Method, format: Format) -> _Solving | None:
    recipe = method.recipe(format)
    grids = Grids(format)
    if recipe is None or not (asked := grids.asked(recipe)).fits():
        return None
    book = codebook_of(format, torch.device("cpu")) if format.is_codebook else None
    return _Solving(
        search=solvers_cpu.search_settings(
            asked, most_zero=MOST_ZERO[format.meta], most_value=0.0 if book is None else float(book.abs().max())
        ),
        rounding=Rounding(
            bits=format.bits,
            steps=format.levels - 1.0,
            order=order_of(format),
            implied_zero=grids.implied_zero,
            middle_code=float(format.levels // 2),
            least=LEAST_F16,
            book=grids.book,
        ),
    )


class _Work:
    """A matrix and what is found for it."""

    def __init__(self, matrix: Shaped[Tensor, "rows cols"], format: Format, solving: _Solving) -> None:
        self.matrix, self.format, self.solving = matrix, format, solving
        self.block = format.block(*matrix.shape)
        self.threads = torch.get_num_threads()
        self.stream: Tensor | None = None

    def find(self, *, codes: bool) -> Said:
        """The grids of all groups; the codes too where these do not hang on all grids."""
        n = self.matrix.numel() // (self.block[0] * self.block[1])
        floats = self.matrix.new_empty((2, n), dtype=torch.float32)  # whatever the default dtype and device are
        self.scale, self.zero = floats[0], floats[1] if self.format.has_zero else None
        self.stream = self.room_for_codes() if codes else None
        rounding = self.solving.rounding.settings(self.format.meta) if codes else None
        said = Said()
        for piece, room in self.pieces(self.scale, self.zero, self.stream):
            said |= solvers_cpu.solve(
                piece, self.block, room, search=self.solving.search, rounding=rounding, threads=self.threads
            )
        return said

    def rounded(self, shape: tuple[int, ...], fit: Fit) -> QuantizedTensor:
        """All weights, rounded under the grids as they are stored."""
        grid = tuple(self.matrix.shape)
        tensors = store_fit(fit, self.format)
        scale = divisors(read_scale(self.format, grid, tensors)).reshape(-1).contiguous()
        zero = read_zero(self.format, grid, tensors) if self.format.has_zero else None
        zero = None if zero is None else zero.reshape(-1).contiguous()
        stream, rounding = self.room_for_codes(), self.solving.rounding.settings(None)
        for piece, room in self.pieces(scale, zero, stream):
            solvers_cpu.solve(piece, self.block, room, rounding=rounding, threads=self.threads)
        return QuantizedTensor(format=self.format, shape=shape, tensors={"codes": stream, **tensors})

    def room_for_codes(self) -> Tensor:
        return self.matrix.new_empty(packed_bytes(self.matrix.numel(), self.format.bits), dtype=torch.uint8)

    def pieces(self, scale: Tensor, zero: Tensor | None, stream: Tensor | None) -> Iterator[tuple[Tensor, Room]]:
        """The matrix at once; where it does not lie row by row (Conv1D's), in copies of some rows at a time."""
        (rows, cols), (r, c) = self.matrix.shape, self.block
        if self.matrix.is_contiguous():
            yield self.matrix, Room(scale=scale, zero=zero, stream=stream)
            return
        one = self.format.granularity == "tensor"
        unit = 8 if one else r * 8 // gcd(r, 8)  # whose codes end with a whole byte
        height = max(1, 4 * CHUNK // (unit * cols)) * unit
        for top in range(0, rows, height):
            piece = self.matrix[top : top + height].contiguous()
            first = 0 if one else top // r * (cols // c)
            yield (
                piece,
                Room(
                    scale=scale[first:],
                    zero=None if zero is None else zero[first:],
                    stream=None if stream is None else stream[top * cols * self.format.bits // 8 :],
                ),
            )
