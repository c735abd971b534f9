"""Weights that are hard on a search, and the errors of each group of a quantized weight."""

import torch
from torch import Tensor

from fewbits.formats import Format
from fewbits.scheme import Scheme
from fewbits.tensor import matrix_shape


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _with(weight: Tensor, row: int, col: int, value: float) -> Tensor:
    weight[row, col] = value
    return weight


_NORMAL = randn(8, 64)
HARD = {
    "normal": _NORMAL,
    "exact zeros": _NORMAL * (randn(8, 64, seed=1) > 0),
    "all zeros": torch.zeros(8, 64),
    "groups of zeros": torch.cat([_NORMAL[:4], torch.zeros(4, 64)]),
    "constant": torch.full((8, 64), -0.37) * torch.arange(1, 9)[:, None],
    "one huge outlier": _with(_NORMAL.clone(), 3, 17, 1000.0),
    "tiny": _NORMAL * 1e-6,
    "far from zero": _NORMAL + 1000,
    "far and all but constant": _NORMAL * 1e-4 - 1000,
    "of one sign": _NORMAL.abs() + 0.1,
    "two values": (_NORMAL > 0.8).float() * 3 - 1,
    "heavy tails": _NORMAL / randn(8, 64, seed=2).abs().clamp(min=0.01),
    "bf16": (_NORMAL * 0.02).bfloat16().float(),
}


def errors(weight: Tensor, scheme: str) -> Tensor:
    """What each weight is off after quantizing, f64, a group a row. All of it has to be finite."""
    tensor = Scheme.parse(scheme).quantize(weight)
    made = tensor.dequantize()
    assert made.isfinite().all(), scheme
    return in_groups((made.double() - weight.double()), tensor.format)


def in_groups(weight: Tensor, format: Format) -> Tensor:
    rows, cols = matrix_shape(tuple(weight.shape))
    r, c = format.block(rows, cols)
    return weight.reshape(rows // r, r, cols // c, c).transpose(1, 2).reshape(-1, r * c)


def worst_rise(better: Tensor, worse: Tensor, p: float, noise: float) -> float:
    """The largest ratio, over the groups, of sum |error|**p. Errors below `noise`, of f32's own rounding, count as large as it."""
    before, after = worse.abs().clamp(min=noise).pow(p).sum(dim=1), better.abs().clamp(min=noise).pow(p).sum(dim=1)
    return float((after / before.clamp(min=1e-300)).max())
