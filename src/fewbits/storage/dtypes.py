"""The dtypes of a model's floats: the one that most have, and the buffers that are not stored and have another one."""

from collections import Counter
from collections.abc import Mapping
from math import prod

import torch
from torch import nn

from fewbits.errors import FewbitsError
from fewbits.layers import QuantizedLayer
from fewbits.storage.tensors import not_stored


def main_dtype(model: nn.Module) -> torch.dtype:
    """The dtype that most of the model's numbers have, or would have if its quantized layers were not quantized."""
    counts: Counter[torch.dtype] = Counter()
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            counts[tensor.dtype] += tensor.numel()
    for layer in model.modules():
        if isinstance(layer, QuantizedLayer):
            counts[layer.like.dtype] += prod(layer.shape)
    return counts.most_common(1)[0][0] if counts else torch.float32


def exceptions(model: nn.Module) -> dict[str, str]:
    """Names and dtypes of the float buffers that are not stored and differ from the main dtype (a rotary table, mostly)."""
    main = main_dtype(model)
    buffers = {full: module.get_buffer(name) for module, name, full in not_stored(model)}
    return {n: name_of(b.dtype) for n, b in buffers.items() if b.is_floating_point() and b.dtype != main}


def restore(model: nn.Module, main: torch.dtype, others: Mapping[str, str]) -> None:
    """Give the float buffers that are not stored the dtypes they had when the model was saved."""
    for module, name, full in not_stored(model):
        buffer = module.get_buffer(name)
        want = parse(others[full]) if full in others else main
        if buffer.is_floating_point() and buffer.dtype != want:
            module._buffers[name] = buffer.to(want)


def parse(name: str) -> torch.dtype:
    """Undo `name_of`. Raises FewbitsError for what is no float dtype."""
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise FewbitsError(f"'{name}' is no dtype of floats: the manifest is damaged")
    return dtype


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
