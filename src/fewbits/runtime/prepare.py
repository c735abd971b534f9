"""Repacking at first use, and where the stored tensors are then.

A prepared layer keeps one copy of its weight on the GPU: the kernels' (`KernelWeight`). Its stored tensors move to the host's
memory, where `state_dict` and saving find them as they were, bit for bit; undoing the repacking instead would have to give back
the padding and any scale that is not f16, and would need room on the GPU when a model is saved. A model that is moved
(`model.cpu()`) computes from the stored tensors again, and one whose stored tensors were changed is repacked.
"""

from typing import TYPE_CHECKING

import torch

from fewbits.runtime.dispatch import PREPARED, forget, prepared
from fewbits.runtime.weight import KernelWeight, repack, supports
from fewbits.tensor import layout

if TYPE_CHECKING:
    from fewbits.layers import QuantizedLayer

_NOTED = "_kernel_versions"  # attribute of a layer: the versions of its stored tensors that were repacked


def prepare(layer: "QuantizedLayer", *, keep: bool = True) -> KernelWeight | None:
    """Repack a layer that is on a GPU; None where kernels cannot take it. Without `keep` its stored tensors are given up."""
    owner = layer.owner
    known = prepared(layer)
    if known is not None:
        if not _is_changed(owner):
            return known
        forget(owner)
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
    setattr(owner, _NOTED, _versions(owner))
    return weight


def _is_changed(owner: "QuantizedLayer") -> bool:
    """Whether the stored tensors were replaced or changed in place after they were repacked."""
    return owner.__dict__.get(_NOTED) != _versions(owner) and not any(
        t.is_meta for t in owner._buffers.values() if t is not None
    )


def _versions(owner: "QuantizedLayer") -> list[int]:
    """Which tensors a layer stores, and how often each was changed in place."""
    found = []
    for name, tensor in owner._buffers.items():
        if tensor is not None and name != "like":
            found += [id(tensor), -1 if tensor.is_inference() else tensor._version]
    return found


def prepare_model(model: torch.nn.Module, *, keep: bool = True) -> int:
    """Repack all layers of a model that kernels can take, one after another; returns how many. `keep`: see `prepare`."""
    from fewbits.layers import QuantizedConv2d, QuantizedLayer

    layers = [m for m in model.modules() if isinstance(m, QuantizedLayer) and not isinstance(m, QuantizedConv2d)]
    return sum(prepare(layer, keep=keep) is not None for layer in layers)
