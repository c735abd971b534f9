"""Layers that another library quantized: marked, so that their bytes are told as codes and scales, and not as kept weights.

What such a layer stores is what its own state dict gives; the largest tensor of it are the codes, the others but the bias the
scales and what else is needed to read them.
"""

from torch import nn

_MARK = "_fewbits_foreign"


def mark(layer: nn.Module, weights: int) -> None:
    """Say that another library quantized this layer, which had so many weights."""
    setattr(layer, _MARK, weights)


def is_foreign(layer: nn.Module) -> bool:
    """Whether the layer is marked."""
    return hasattr(layer, _MARK)


def weights_of(model: nn.Module) -> int:
    """Weights that other libraries quantized in a model."""
    return sum(getattr(layer, _MARK) for layer in model.modules() if is_foreign(layer))
