"""What every method shares: a weight is cut into groups, the method fits each group, the codes are rounded to what is stored.

A method is a frozen, keyword-only dataclass in a file of its own name, with one function, `fit`, from plain groups to scales
and zero points. It knows nothing of models, files or devices.

The weight is worked on in pieces of `CHUNK` values, so quantizing needs little more than the codes themselves.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from types import ModuleType
from typing import ClassVar

import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from fewbits import meta, solvers
from fewbits.codebooks import codebook_of
from fewbits.errors import FewbitsError
from fewbits.formats import Format
from fewbits.methods import _range
from fewbits.methods._checks import check_dtype, check_finite
from fewbits.methods._scales import Fit, divisors, store_fit
from fewbits.methods._threads import ForEach, in_turn, one_thread_each
from fewbits.solvers import Order
from fewbits.tensor import QuantizedTensor, assemble, matrix_shape, read_scale, read_zero

CHUNK = 1 << 18  # weights worked on at a time: 1 MiB of f32, so that starting the operators costs little beside their work
SAMPLE = 1 << 20  # most weights that the one scale of a whole tensor is fitted on
Span = tuple[slice, slice]


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A way to find scales and zero points. Subclasses name the kinds of format that they can make."""

    kinds: ClassVar[tuple[str, ...]]

    @abstractmethod
    def fit(self, groups: Float[Tensor, "n k"], format: Format) -> Fit:
        """Find the parameters of n groups of k weights each."""

    def quantize(self, weight: Shaped[Tensor, "..."], format: Format) -> QuantizedTensor:
        """Quantize a weight (its first axis is the outputs).

        The format of the result has an exponent, or bf16 scales, if f16 cannot hold the scales of this weight.

        Raises FewbitsError for NaN or infinity, a scale that its type cannot hold, a weight that is not of a float dtype, or
        a format that this method cannot make; MisfitError for groups that do not divide.
        """
        self.check(format)
        check_dtype(weight)
        if weight.dtype == torch.float64 and weight.numel() and not weight.is_meta:
            _range.check_size(weight.detach().abs().max().item(), format, weight.dtype)  # in f32 it could be 0
        if format.exponent:
            return self._shifted(weight, format, -format.exponent)
        made = self._made(weight, format)
        if _gpu_checks_later(weight) or not self._needs_a_look(made):
            return made
        return self._made_to_fit(weight, made)

    def _needs_a_look(self, made: QuantizedTensor) -> bool:
        """Whether the scales of a result are so small or large that the weight may have to be quantized in another way."""
        if made.format.meta == "f16":
            return _range.looks_faint(made.tensors["scale"])
        if made.format.meta == "q8" and _range.looks_coarse(made.format, made.tensors):
            return True
        return _range.shift_of(made.format, made.scale()) != 0

    def _made_to_fit(self, weight: Float[Tensor, "..."], made: QuantizedTensor) -> QuantizedTensor:
        """The result, or a better one for scales that its format cannot hold or that a search cannot work with."""
        _range.check_size(weight.detach().abs().max().item(), made.format, weight.dtype)
        spanning = _methods().get(_methods().default_for(made.format.kind))
        scale = spanning.fit_matrix(weight.detach().reshape(matrix_shape(made.shape)), made.format).scale
        format = _range.fitting(made.format, scale, made.tensors)
        if format.exponent:
            return self._shifted(weight, format, -format.exponent)
        if shift := _range.shift_of(format, scale):
            return self._shifted(weight, format, shift)
        return made if format == made.format else self._made(weight, format)

    def _shifted(self, weight: Float[Tensor, "..."], format: Format, power: int) -> QuantizedTensor:
        """Quantize the weight times 2**power, and give its scales the inverse factor."""
        check_finite(weight)
        made = self._made(_range.scaled(weight, power), replace(format, exponent=0))
        tensors = made.tensors if format.exponent else meta.times_power_of_two("scale", made.tensors, format.meta, -power)
        return QuantizedTensor(format=format, shape=made.shape, tensors=tensors)

    def _made(self, weight: Float[Tensor, "..."], format: Format) -> QuantizedTensor:
        if (made := self._compiled(weight.detach(), format)) is not None:
            return made
        check_finite(weight)
        shape = tuple(weight.shape)
        matrix = weight.detach().reshape(matrix_shape(shape))
        with one_thread_each(weight.device) as for_each:
            scales = store_fit(self.fit_matrix(matrix, format, for_each), format)
            return assemble(format, shape, encode_matrix(matrix, format, scales, for_each), scales)

    def recipe(self, format: Format) -> solvers.Recipe | None:
        """What `fit` does for a format, for compiled solvers that do the whole of it; None where they cannot."""
        return None

    def _compiled(self, weight: Float[Tensor, "..."], format: Format) -> QuantizedTensor | None:
        from fewbits.methods import _cpu, _gpu  # which build on this module

        return (_gpu if weight.is_cuda else _cpu).quantize(weight, format, self)

    def fit_matrix(self, matrix: Shaped[Tensor, "rows cols"], format: Format, for_each: ForEach = in_turn) -> Fit:
        """Fit all groups of a matrix, piece by piece."""
        if format.granularity == "tensor":
            return self.fit(sample(matrix), format)
        rows, cols = matrix.shape
        r, c = format.block(rows, cols)

        def work(span: Span) -> Fit:
            return self.fit(to_groups(matrix[span].float(), r, c), format)

        return join(for_each(work, spans(rows, cols, (r, c))))

    @classmethod
    def name(cls) -> str:
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def check(cls, format: Format) -> None:
        """Raise FewbitsError if this method cannot make the format."""
        if format.kind not in cls.kinds:
            raise FewbitsError(f"{cls.name()} cannot make {format}: it makes {', '.join(cls.kinds)}")


def _methods() -> ModuleType:
    from fewbits import methods  # whose modules build on this one

    return methods


def _gpu_checks_later(weight: Shaped[Tensor, "..."]) -> bool:
    from fewbits.methods import _gpu

    return weight.is_cuda and _gpu.checks_later()


def spans(rows: int, cols: int, block: tuple[int, int]) -> list[Span]:
    """Cut a matrix into pieces of about CHUNK values, in the order of the scales: some rows of blocks, or a part of one row."""
    r, c = block
    width = max(1, CHUNK // (r * c)) * c if r > 1 else cols
    height = max(1, CHUNK // (r * cols)) * r
    return [
        (slice(top, min(top + height, rows)), slice(left, min(left + width, cols)))
        for top in range(0, rows, height)
        for left in range(0, cols, width if height == r else cols)
    ]


def sample(matrix: Shaped[Tensor, "rows cols"]) -> Float[Tensor, "1 k"]:
    """What the one group of a whole tensor is fitted on: at most SAMPLE values of it, evenly spread, and its two ends."""
    if matrix.numel() <= SAMPLE:
        return matrix.reshape(1, -1).float()
    cols = matrix.shape[1]
    step = -(-matrix.numel() // SAMPLE)
    while math.gcd(step, cols) > 1:  # else some columns would never be looked at
        step += 1
    at = torch.arange(0, matrix.numel(), step, device=matrix.device)
    ends = torch.stack(matrix.aminmax())
    return torch.cat([matrix[at // cols, at % cols], ends]).float().view(1, -1)


def to_groups(matrix: Shaped[Tensor, "rows cols"], r: int, c: int) -> Shaped[Tensor, "n k"]:
    """Blocks of r x c, one a row."""
    rows, cols = matrix.shape
    return matrix.reshape(rows // r, r, cols // c, c).transpose(1, 2).reshape(-1, r * c)


def join(fits: list[Fit]) -> Fit:
    """The fits of the pieces as one."""
    zeros = [f.zero for f in fits if f.zero is not None]
    return Fit(scale=torch.cat([f.scale for f in fits]), zero=torch.cat(zeros) if zeros else None)


def encode_matrix(
    matrix: Shaped[Tensor, "rows cols"], format: Format, scales: dict[str, Tensor], for_each: ForEach = in_turn
) -> UInt8[Tensor, "rows cols"]:
    """Round every weight to the nearest code under the scales *as stored*."""
    rows, cols = matrix.shape
    r, c = format.block(rows, cols)
    scale, zero = divisors(read_scale(format, (rows, cols), scales)), read_zero(format, (rows, cols), scales)
    if format.granularity == "tensor":  # any cut will do: as if each row had the one scale
        r, scale, zero = 1, scale.expand(rows, 1), None if zero is None else zero.expand(rows, 1)
    codes = torch.empty(rows, cols, dtype=torch.uint8, device=matrix.device)

    def work(span: Span) -> None:
        piece = matrix[span].float()
        height, width = piece.shape
        at = (slice(span[0].start // r, span[0].stop // r), slice(span[1].start // c, span[1].stop // c))
        here = scale[at], None if zero is None else zero[at]
        codes[span] = encode(format, piece.view(height // r, r, width // c, c), *here).view(piece.shape)

    for_each(work, spans(rows, cols, (r, c)))
    return codes


def encode(
    format: Format,
    blocks: Float[Tensor, "br r bc c"],
    scale: Float[Tensor, "br bc"],
    zero: Float[Tensor, "br bc"] | None,
) -> UInt8[Tensor, "br r bc c"]:
    """Nearest codes of f32 blocks, the inverse of `tensor.decode`.

    The order of operations decides on which side a weight half way between two codes falls, as weights in bf16 often do.
    It is that of bitsandbytes for codebooks (times 1 / scale, kept finite) and of compressed-tensors for the rest.
    """
    if zero is None:
        return nearest(format, blocks * (1 / scale.clamp(min=1e-38))[:, None, :, None])
    scaled, shift, order = blocks / scale[:, None, :, None], zero[:, None, :, None], order_of(format)
    if order == "after":
        scaled = scaled.round_().add_(shift)
    elif order == "half":
        middle = format.levels // 2
        scaled = scaled.add_(shift - middle).round_().add_(middle)
    else:
        scaled = scaled.add_(shift).round_()
    return scaled.clamp_(0, format.levels - 1).to(torch.uint8)


def order_of(format: Format) -> Order:
    """When a format's zero point is added to a weight in steps."""
    if format.is_codebook:
        return "codebook"
    if format.integer_zero:  # codes of both signs: half of the shift now, half when all are whole numbers
        return "half"
    return "before" if format.has_zero or format.bits == 1 else "after"  # symmetric: the shift first would cost the last bits


def nearest(format: Format, scaled: Float[Tensor, "..."]) -> UInt8[Tensor, "..."]:
    """Codes of the nearest values in the codebook."""
    if format.kind == "fp" and format.bits == 8:
        return scaled.clamp(-448, 448).to(torch.float8_e4m3fn).view(torch.uint8)
    values, code_of = codebook_of(format, scaled.device).sort(stable=True)
    middles = (values[1:] + values[:-1]) / 2
    rank = torch.bucketize(scaled.contiguous(), middles, out_int32=True)  # Conv1D comes transposed
    return code_of.to(torch.uint8).index_select(0, rank.view(-1)).view(scaled.shape)
