"""Scale and zero point from a range: what round-to-nearest does, and where the searching methods begin."""

import torch
from jaxtyping import Float
from torch import Tensor

from fewbits.formats import Format
from fewbits.methods._scales import Fit

# Largest zero point whose own rounding costs at most about half a code, by the bits of the type that stores it.
MOST_ZERO = {"f32": 2.0**23, "f16": 2.0**10, "bf16": 2.0**7, "q8": 2.0**10}


def fit_range(low: Float[Tensor, " n"], high: Float[Tensor, " n"], format: Format) -> Fit:
    """The affine grid whose first code is `low` and whose last is `high`; symmetric formats take the larger magnitude.

    A group of zeros gets a scale of 0: what is stored for it is not decided here (see `_scales.store_fit`).
    """
    low = low + 0.0  # 0 of -0: which of the two is the smallest would hang on their order
    most = low.abs().maximum(high.abs())
    if not format.has_zero:
        return Fit(scale=most / ((format.levels - 1) / 2))
    if format.integer_zero:
        return _integer_zero(low, high, format)
    least = most / MOST_ZERO[format.meta]  # the step below which the zero point could not be stored well enough
    flat = high - low <= least / 2  # all but constant: a range from 0 to the constant meets it exactly
    low, high = low.where(~flat, low.clamp(max=0)), high.where(~flat, high.clamp(min=0))
    scale = (high - low) / (format.levels - 1)
    scale = scale.where(flat | (scale >= least), _power_of_two_above(least))
    return Fit(scale=scale, zero=_divide(-low, scale))


def _integer_zero(low: Tensor, high: Tensor, format: Format) -> Fit:
    """An integer zero point can lie only on the grid, so the range always takes in 0."""
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = (high - low) / (format.levels - 1)
    return Fit(scale=scale, zero=_divide(-low, scale).round_().clamp_(0, format.levels - 1))


def _power_of_two_above(value: Tensor) -> Tensor:
    """A step that every type stores exactly: far from 0, an error in the scale would move all values by many codes."""
    return torch.ldexp(torch.ones_like(value), torch.frexp(value).exponent)


def _divide(value: Tensor, scale: Tensor) -> Tensor:
    """The quotient, and 0 where the scale is 0."""
    return value / scale.where(scale > 0, torch.ones_like(scale))
