"""Repacking at first use, and where the stored tensors are then.

A prepared layer keeps one copy of its weight on the GPU: the kernels' (`KernelWeight`). Its stored tensors move to the host's
memory, where `state_dict` and saving find them as they were, bit for bit; undoing the repacking instead would have to give back
the padding and any scale that is not f16, and would need room on the GPU when a model is saved. A model that is moved
(`model.cpu()`) computes from the stored tensors again.
"""

from typing import TYPE_CHECKING

import torch

from fewbits.runtime.dispatch import PREPARED, prepared
from fewbits.runtime.weight import KernelWeight, repack, supports
from fewbits.tensor import layout

if TYPE_CHECKING:
    from fewbits.layers import QuantizedLayer


def prepare(layer: "QuantizedLayer", *, keep: bool = True) -> KernelWeight | None:
    """Repack a layer that is on a GPU; None where kernels cannot take it. Without `keep` its stored tensors are given up."""
    known = prepared(layer)
    if known is not None:
        return known
    owner = layer.owner
    if not layer.like.is_cuda or supports(owner.scheme.format, owner.shape) is not None:
        return None
    if next(iter(owner.quantized.tensors.values())).device != layer.like.device:
        return None
    weight = repack(owner.quantized)
    if weight is None:
        return None
    for name in layout(owner.scheme.format, owner.shape):
        owner.register_buffer(name, owner.get_buffer(name).to("cpu" if keep else "meta"))
    setattr(owner, PREPARED, weight)
    return weight


def prepare_model(model: torch.nn.Module, *, keep: bool = True) -> int:
    """Repack all layers of a model that kernels can take, one after another; returns how many. `keep`: see `prepare`."""
    from fewbits.layers import QuantizedConv2d, QuantizedLayer

    layers = [m for m in model.modules() if isinstance(m, QuantizedLayer) and not isinstance(m, QuantizedConv2d)]
    return sum(prepare(layer, keep=keep) is not None for layer in layers)
