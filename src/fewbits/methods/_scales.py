"""Scales and zero points as methods find them, and as a format stores them."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fewbits import meta
from fewbits.formats import Format
from fewbits.packing import pack

LEAST_F16 = 2.0**-24  # the smallest f16 above 0


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Scale and zero point of each group.

    The scale of a group of zeros may be 0. The zero is in units of codes; integer where the format says so; none for symmetric
    and codebook formats.
    """

    scale: Float[Tensor, " n"]
    zero: Float[Tensor, " n"] | None = None


def store_fit(fit: Fit, format: Format) -> dict[str, Tensor]:
    """Scales and zero points as the format stores them."""
    scale, zero = _fill(fit.scale), fit.zero
    if format.meta == "f16":
        scale = scale.clamp(min=LEAST_F16)  # below it a scale would become 0 and kill its group
    if stores_zero_scales(format):
        scale = scale.where(fit.scale > 0, 0)
        zero = None if zero is None else _fill_zeros(zero, fit.scale > 0)
    tensors = meta.store("scale", scale, format.meta)
    if format.integer_zero and zero is not None:
        return tensors | {"zero": pack(zero.to(torch.uint8), format.bits)}
    if format.has_zero and zero is not None:
        return tensors | meta.store("zero", zero, format.meta)
    return tensors


def stores_zero_scales(format: Format) -> bool:
    """Whether a group of zeros is stored with a scale of 0, since no code of its grid need stand for exactly 0.

    `int1` has the values -1/2 and 1/2; /q8 rounds the zero points of `uint`.
    """
    return (format.kind == "int" and format.bits == 1) or (format.has_zero and not format.integer_zero and format.meta == "q8")


def divisors(scale: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Scales to divide by: 1 for the 0 of a group of zeros."""
    return scale.where(scale > 0, 1)


def _fill_zeros(zero: Float[Tensor, " n"], alive: Bool[Tensor, " n"]) -> Float[Tensor, " n"]:
    """A group of zeros gets a zero point in use, which does not widen the range of its /q8 block."""
    return zero.where(alive, zero[alive].min()) if bool(alive.any()) else torch.zeros_like(zero)


def _fill(scale: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """A group of zeros gets the smallest scale in use: any does for it, and an odd one would spoil its /q8 block."""
    alive = scale > 0
    if bool(alive.all()):
        return scale
    least = scale[alive].min() if bool(alive.any()) else scale.new_tensor(1.0)
    return scale.where(alive, least)
