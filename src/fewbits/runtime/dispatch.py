"""The one place that chooses: a kernel that can do this layer on this input, or none.

A kernel is a module with `linear(layer, x) -> Tensor | None`, perhaps also `rows(layer, ids)`; None means "not mine" (device,
dtype, format, shape).
They are asked in order; none is imported before a tensor on its device comes along. With FEWBITS_KERNELS=0 in the environment
the CPU's are not asked, and layers are dequantized when they are used (the reference).
"""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from fewbits.layers import QuantizedLayer
    from fewbits.runtime.weight import KernelWeight

PREPARED = "_kernel_weight"  # attribute of a layer
CPU = "fewbits.runtime.cpu"
_MADE = (PREPARED, "_cpu_pack", "_cpu_table")  # attributes of a layer or its codes: what kernels made of its weight
KERNELS: dict[str, tuple[str, ...]] = {  # modules by device type
    "cpu": () if os.environ.get("FEWBITS_KERNELS") == "0" else (CPU,),
    "cuda": ("fewbits.runtime.gpu",),
}


def linear(layer: "QuantizedLayer", x: Float[Tensor, "*batch i"]) -> Float[Tensor, "*batch o"] | None:
    """`x` times the layer's weight, plus its bias, by the first kernel that can; None where none can."""
    for name in KERNELS.get(x.device.type, ()):
        answer = (sys.modules.get(name) or import_module(name)).linear(layer, x)  # torch.compile cannot trace an import
        if answer is not None:
            return answer
    return None


def rows(layer: "QuantizedLayer", ids: Int[Tensor, " n"]) -> Float[Tensor, "n cols"] | None:
    """Some rows of the layer's weight in f32, by the first kernel that can; None where none can."""
    for name in KERNELS.get(ids.device.type, ()):
        kernel = sys.modules.get(name) or import_module(name)
        answer = kernel.rows(layer, ids) if hasattr(kernel, "rows") else None
        if answer is not None:
            return answer
    return None


def forget(layer: "QuantizedLayer") -> None:
    """Drop what kernels made of a layer's weight, which is about to change; its stored tensors are where the layer is again."""
    if PREPARED in layer.__dict__:
        for name, tensor in layer._buffers.items():
            if tensor is not None and tensor.device != layer.like.device:
                back = torch.empty_like(tensor, device=layer.like.device) if tensor.is_meta else tensor.to(layer.like.device)
                layer._buffers[name] = back
    codes = layer._buffers.get("codes")
    for holder in (layer, codes):
        for name in _MADE:
            if holder is not None and name in holder.__dict__:
                delattr(holder, name)


def prepared(layer: "QuantizedLayer") -> "KernelWeight | None":
    """The weight of a layer as a GPU's kernels read it, if it has been rearranged for them and is where the layer is."""
    weight = getattr(layer.owner, PREPARED, None)
    return weight if weight is not None and weight.words.device == layer.like.device else None
