"""Scales and zero points that were read from a file are finite numbers."""

import torch
from torch import Tensor, nn

from fewbits.errors import FewbitsError
from fewbits.formats import Format
from fewbits.layers import QuantizedLayer

# Exponent bits of a float, all set for NaN and infinity, by the integer that holds it and whether that is bfloat16.
_EXPONENT = {"f16": 0x7C00, "bf16": 0x7F80, "f32": 0x7F800000, "q8": 0x7F800000}


def check(model: nn.Module) -> None:
    """Raise FewbitsError that names a quantized layer with a scale or zero point that is NaN or infinite."""
    found: dict[str, Tensor] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, QuantizedLayer) and not layer.tied:
            bad = [
                _has_bad(tensor, layer.scheme.format)
                for key, tensor in layer.quantized.tensors.items()
                if _is_float(key, tensor)
            ]
            if bad:
                found[name] = torch.stack(bad).any()
    if found and bool(torch.stack(list(found.values())).any()):  # one wait for a GPU
        first = next(name for name, bad in found.items() if bad)
        raise FewbitsError(
            f"layer {first}: has scales or zero points that are NaN or infinite: copy or download the model again"
        )


def _is_float(key: str, tensor: Tensor) -> bool:
    """Whether the tensor holds the bits of floats: packed codes and integer zero points are bytes."""
    return key != "codes" and tensor.dtype in (torch.int16, torch.int32) and tensor.numel() > 0


def _has_bad(tensor: Tensor, format: Format) -> Tensor:
    exponent = _EXPONENT[format.meta]
    return ((tensor & exponent) == exponent).any()
