"""Hashes of what a measure read, so that figures are compared only where they were taken on the same data."""

import hashlib
from collections.abc import Sequence

import torch
from jaxtyping import Int, Shaped
from torch import Tensor


def hash_tokens(tokens: Int[Tensor, " n"] | Sequence[Int[Tensor, " _"]]) -> str:
    """`sha256:...` of token ids as 64-bit little-endian integers; of a list, with the length before each of its texts."""
    whole = hashlib.sha256()
    if isinstance(tokens, Tensor):
        whole.update(_bytes(tokens.long()))
    else:
        for text in tokens:
            whole.update(_bytes(torch.tensor([text.numel()])) + _bytes(text.long()))
    return f"sha256:{whole.hexdigest()}"


class BatchHash:
    """`sha256:...` of batches as they go by: values, dtype and shape of an item; not how they were cut into batches."""

    def __init__(self) -> None:
        self._streams: dict[str, "hashlib._Hash"] = {}

    def update(self, **tensors: Shaped[Tensor, "b ..."]) -> None:
        """Take in one batch of each named tensor, such as `images` and `labels`."""
        for name, tensor in tensors.items():
            if name not in self._streams:
                self._streams[name] = hashlib.sha256(f"{name} {tensor.dtype} {list(tensor.shape[1:])}".encode())
            self._streams[name].update(_bytes(tensor))

    def __str__(self) -> str:
        parts = b"".join(self._streams[name].digest() for name in sorted(self._streams))
        return f"sha256:{hashlib.sha256(parts).hexdigest()}"


def _bytes(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().reshape(-1)  # a scalar cannot be seen as bytes, a vector can
    return flat.view(torch.uint8).numpy().tobytes()
