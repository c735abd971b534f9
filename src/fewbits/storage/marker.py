"""What makes a saved folder fail loudly where it is opened without fewbits.

transformers skips a `quant_method` that it does not know, finds no weights for the quantized layers, and goes on with random
ones. Two things in the folder stop it:

- `transformers_weights` in config.json, the name of the weight file to read, is an instruction. transformers refuses it as
  a name, whatever class or option it is called with, and shows the text.
- Each quantized layer has a tensor `<layer>.weight` of no elements in the weight files. Where the configuration comes from
  elsewhere, its shape is not the weight's, and that is an error too.
"""

import re
from typing import Any

import torch
from torch import Tensor, nn

from fewbits.layers import QuantizedLayer

ATTRIBUTE = "transformers_weights"
INSTRUCTION = "this model was quantized by fewbits: pip install -U fewbits, and `import fewbits` before from_pretrained"


def mark_config(config: dict[str, Any]) -> dict[str, Any]:
    """The content of a config.json with the instruction in it."""
    return {**config, ATTRIBUTE: INSTRUCTION}


def unmark_config(config: Any) -> Any:
    """Take the instruction out of a transformers configuration in memory, which is returned."""
    if getattr(config, ATTRIBUTE, None) == INSTRUCTION:
        delattr(config, ATTRIBUTE)
    return config


def guards(model: nn.Module, size: int = 0) -> dict[str, Tensor]:
    """Tensors of one dimension that are stored under the names of the quantized layers' weights."""
    return {name: torch.zeros(size, dtype=torch.uint8) for name in guard_names(model)}


def guard_names(model: nn.Module) -> set[str]:
    """Names under which a folder may hold such tensors."""
    return {f"{name}.weight" for name, layer in model.named_modules() if isinstance(layer, QuantizedLayer)}


def ignore_guards(model: Any) -> None:
    """Have transformers not report the guards in a file as unexpected."""
    names = sorted(guard_names(model))
    if names:
        pattern = rf"^(?:\w+\.)?(?:{'|'.join(map(re.escape, names))})$"
        known = model._keys_to_ignore_on_load_unexpected  # None or a list in some versions of transformers, a set in others
        model._keys_to_ignore_on_load_unexpected = [pattern] if known is None else type(known)([*known, pattern])
