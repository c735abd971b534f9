"""Weights whose scales their type cannot hold as they are: which power of two, or which other type, makes them fit.

f16 has numbers from 2**-24 to 65504, and below 2**-14 they lose digits. A weight with a standard deviation of 1e-7 has 4-bit
scales of about 3e-8. It is multiplied by a power of two, quantized as any other weight, and its format says by which (`/f16e-20`).
If the scales of one weight differ by more than f16 can hold, they are stored as bf16, which has the range of f32 in the same two
bytes. So are those of a /q8 block whose common step is too coarse for the smallest.

Scales in f32, bf16 and q8 have the range, but a search loses digits with very small or large weights. These are multiplied by a
power of two as well, and their scales divided by it, which is exact.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import frexp

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fewbits import meta
from fewbits.errors import FewbitsError
from fewbits.formats import MOST_EXPONENT, Format

FAINT = 2.0**-16  # f16 numbers below it have 9 bits or fewer
COARSE = 4  # steps over the base of a /q8 block: its scales differ by a factor of 1000
FAR = 1500.0  # between the largest and the smallest scale of a weight
CLEAR = -12  # an exponent moves the smallest scale to 2**-12 or above
MOST = 13  # and the largest to 2**13 at most: a search may make it larger
REACH = 2.0 ** (-16 - MOST)  # smallest over largest scale that one exponent can serve
ORDINARY = (2.0**-60, 2.0**60)  # scales outside are quantized as if they were about 1
LEAST_WEIGHT = 2.0**-100  # if it is the largest of all, scales in 16 bits are out of range below it
LEAST_F32 = 2.0**-126  # the smallest number of f32 that has all digits


def looks_faint(scale: Int[Tensor, " n"]) -> bool:
    """Whether some stored f16 scale, given by its bits, is small or 0. Bits of positive numbers sort as the numbers do."""
    return bool(scale.min() < torch.tensor(FAINT, dtype=torch.float16).view(torch.int16).item())


def looks_coarse(format: Format, tensors: Mapping[str, Tensor]) -> bool:
    """Whether the common step of some /q8 block is coarse: for its smallest scale, or for zero points in codes."""
    step, base = tensors["scale_steps"].view(torch.float32).unbind(-1)
    return bool((step > COARSE * base).any()) or _coarse_zeros(format, tensors)


def _coarse_zeros(format: Format, tensors: Mapping[str, Tensor]) -> bool:
    if "zero_steps" not in tensors:
        return False
    return bool((tensors["zero_steps"].view(torch.float32)[:, 0] > format.levels).any())


def _is_far_apart(scale: Float[Tensor, " n"]) -> bool:
    """Whether these scales differ by more than FAR.

    Groups of 4 ordinary weights have scales that differ by a factor of 100 to 300. The smallest of them come back from /q8 up to
    a half too large: that is what /q8 costs, and such weights keep the bytes that were planned.
    """
    alive = scale[scale > 0]
    return bool(alive.numel()) and alive.max().item() > FAR * alive.min().item()


def _far_off(scale: Float[Tensor, " n"]) -> bool:
    """Whether /q8 gives one of these scales back more than a quarter too large, or a fifth too small."""
    alive = scale > 0
    filled = scale.where(alive, scale[alive].min())
    ratio = (meta.read("scale", meta.store("scale", filled, "q8"), "q8") / filled)[alive]
    return bool(((ratio < 0.8) | (ratio > 1.25)).any())


def fitting(format: Format, scale: Float[Tensor, " n"], made: Mapping[str, Tensor]) -> Format:
    """The format that can hold these scales: as it is, with an exponent, or with bf16 instead of f16 or q8.

    Zeros do not count. `made`: what the format as it is stores.
    """
    if format.meta == "q8" and _is_far_apart(scale) and (_far_off(scale) or _coarse_zeros(format, made)):
        return replace(format, meta="bf16")
    alive = scale[scale > 0]
    if format.meta != "f16" or not alive.numel():
        return format
    least, most = alive.min().item(), alive.max().item()
    if least >= FAINT:
        return format
    if least < most * REACH:
        return replace(format, meta="bf16")
    up = min(CLEAR + 1 - frexp(least)[1], MOST - frexp(most)[1], MOST_EXPONENT)
    return replace(format, exponent=-up) if up > 0 else format


def is_unusual(format: Format, least: float, most: float) -> bool:
    """Whether the scales of a weight may not fit their type, by the smallest above 0 and the largest that were found."""
    if format.meta == "f16":
        return least < FAINT
    far = most > 0 and not ORDINARY[0] <= most <= ORDINARY[1]
    return far or (format.meta == "q8" and most > COARSE * 64 * least)


def shift_of(format: Format, scale: Float[Tensor, "..."]) -> int:
    """The power of two that brings the largest scale to about 1, if it is far from that and its type is not f16; else 0."""
    most = scale.max().item() if format.meta != "f16" else 0.0
    return 0 if most == 0 or ORDINARY[0] <= most <= ORDINARY[1] else -frexp(most)[1]


def scaled(weight: Float[Tensor, "..."], power: int) -> Float[Tensor, "..."]:
    """The weight times 2**power, in f32: exact, since it is used on weights that this brings nearer to 1."""
    half = power // 2  # 2**power itself may be out of range
    return weight.detach().float() * 2.0**half * 2.0 ** (power - half)


def check_size(most: float, format: Format, dtype: torch.dtype) -> None:
    """Raise FewbitsError for a weight whose largest magnitude is above 0 but too small for its scales, or for f32."""
    least = LEAST_WEIGHT if format.meta in ("f16", "bf16") else LEAST_F32 if dtype == torch.float64 else 0.0
    if 0 < most < least:
        raise FewbitsError(
            f"its largest weight is {most:.3g}, too small for {format} (at least {least:.3g}):"
            " scale the weight up, or --skip this layer"
        )
