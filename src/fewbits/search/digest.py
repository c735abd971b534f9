"""A hash of a model: of all that its outputs depend on."""

import hashlib
import json
import re

import torch
from torch import nn

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_IDLE = ("_name_or_path", "transformers_version", "_attn_implementation", "_attn_implementation_internal")


def model_digest(model: nn.Module) -> str:
    """`sha256:...` of a model's classes, settings, configuration, and of the names, shapes, types and values of its tensors.

    Buffers that are not saved (rotary frequencies) count too, since outputs depend on them.
    """
    whole = hashlib.sha256(type(model).__name__.encode())
    whole.update(_ADDRESS.sub("", repr(model)).encode() + _configuration(model).encode())
    tensors = dict(model.named_buffers(remove_duplicate=False)) | dict(model.state_dict())
    for name, tensor in tensors.items():
        if isinstance(tensor, torch.Tensor):
            whole.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            whole.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return f"sha256:{whole.hexdigest()}"


def _configuration(model: nn.Module) -> str:
    """The configuration of a transformers model; of any other nothing."""
    config = getattr(model, "config", None)
    if not callable(getattr(config, "to_dict", None)):
        return ""
    known = {str(key): value for key, value in config.to_dict().items() if key not in _IDLE}  # type: ignore[union-attr]
    return json.dumps(known, sort_keys=True, default=lambda value: _ADDRESS.sub("", repr(value)))
