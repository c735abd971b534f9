"""What a plan has done to a model, told from the model."""

import torch
from torch import nn

from fewbits import plan_of
from fewbits.layers import QuantizedLayer


def quantized_names(model: nn.Module) -> set[str]:
    """Names of the layers that are quantized."""
    return {name for name, m in model.named_modules() if isinstance(m, QuantizedLayer)}


def schemes_of(model: nn.Module) -> dict[str, str]:
    """What was decided for each layer."""
    return {d.name: str(d.scheme or "keep") for d in plan_of(model).decisions}


def fingerprint(model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of all that the model holds."""
    return {name: t.clone() for name, t in model.state_dict().items()}


def unchanged(model: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    """Whether the model is what it was when its fingerprint was taken."""
    now = model.state_dict()
    same = now.keys() == before.keys() and all(torch.equal(now[k].nan_to_num(7), t.nan_to_num(7)) for k, t in before.items())
    return same and not quantized_names(model) and plan_of(model) is None
