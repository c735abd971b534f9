"""A hash of a model."""

import hashlib

import torch
from torch import nn


def model_digest(model: nn.Module) -> str:
    """`sha256:...` of the names, shapes, types and values of all that a model stores, and of its class."""
    whole = hashlib.sha256(type(model).__name__.encode())
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, torch.Tensor):
            whole.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            whole.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return f"sha256:{whole.hexdigest()}"
