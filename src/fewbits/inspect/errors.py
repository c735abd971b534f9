"""Where a stored weight errs: how much, how often it clips, and which weights come out worst."""

from math import inf, log10

import torch
from jaxtyping import Float
from torch import Tensor

from fewbits.inspect.values import ErrorView, Wrong
from fewbits.inspect.weights import histogram
from fewbits.tensor import QuantizedTensor, decode, matrix_shape

LISTED = 8


def error_view(weight: Float[Tensor, "..."], stored: QuantizedTensor) -> ErrorView:
    """Hold the original's weights against what is stored."""
    rows, cols = matrix_shape(stored.shape)
    matrix = weight.detach().reshape(rows, cols).float()
    becomes = stored.dequantize().view(rows, cols)
    error = becomes - matrix
    clipped = beyond(matrix, stored)
    norm, off = float(matrix.double().norm()), float(error.double().norm())
    relative = off / norm if norm else 0.0
    return ErrorView(
        relative=relative,
        sqnr=-20 * log10(relative) if relative else inf,
        rms=off / weight.numel() ** 0.5,
        worst=float(error.abs().max()),
        clipped=float(clipped.float().mean()),
        counts=histogram(error),
        wrong=_worst(matrix, becomes, error, clipped, stored),
    )


def beyond(matrix: Float[Tensor, "rows cols"], stored: QuantizedTensor) -> Tensor:
    """Which weights lie beyond the ends of their group's grid by more than half a step, bool [rows, cols]."""
    rows, cols = matrix.shape
    r, c = stored.format.block(rows, cols)
    values = ends(stored)
    low, high = values[..., :1, None], values[..., -1:, None]
    step_low, step_high = values[..., 1:2, None] - low, high - values[..., -2:-1, None]
    blocks = matrix.view(rows // r, r, cols // c, c).transpose(1, 2)
    outside = (blocks < low - step_low / 2) | (blocks > high + step_high / 2)
    return outside.transpose(1, 2).reshape(rows, cols)


def ends(stored: QuantizedTensor) -> Float[Tensor, "block_rows block_cols levels"]:
    """The values of each group's grid at its two ends, two each (all of them for one bit), ascending."""
    scale, zero = stored.scale(), stored.zero()
    order = sorted_codes(stored)
    picked = torch.cat([order[:2], order[-2:]])
    grid = scale.shape
    codes = picked.view(1, 1, 1, -1).expand(grid[0], 1, grid[1], -1)
    return decode(stored.format, codes, scale, zero).view(grid[0], grid[1], -1)


def sorted_codes(stored: QuantizedTensor) -> Tensor:
    """All codes by the value that they stand for, uint8 [levels]; those of NaN left out."""
    levels = stored.format.levels
    codes = torch.arange(levels, dtype=torch.uint8).view(1, 1, 1, levels)
    one = torch.ones(1, 1)
    values = decode(stored.format, codes, one, None if stored.format.is_codebook else one * 0).view(-1)
    return codes.view(-1)[values.argsort(stable=True)][: int((~values.isnan()).sum())]


def _worst(matrix: Tensor, becomes: Tensor, error: Tensor, clipped: Tensor, stored: QuantizedTensor) -> tuple[Wrong, ...]:
    rows, cols = matrix.shape
    r, c = stored.format.block(rows, cols)
    scale = stored.scale()
    found = []
    for flat in error.abs().view(-1).topk(min(LISTED, error.numel())).indices.tolist():
        row, col = divmod(flat, cols)
        step = float(scale[row // r, col // c])
        off = float(error[row, col])
        found.append(
            Wrong(
                row=row,
                col=col,
                weight=float(matrix[row, col]),
                becomes=float(becomes[row, col]),
                error=off,
                steps=off / step if step else 0.0,
                clipped=bool(clipped[row, col]),
            )
        )
    return tuple(found)
