"""Bytes that a language model holds beside its weights: its KV cache at a batch and a context."""

from typing import Any

import torch
from torch import nn

from fewbits.errors import FewbitsError
from fewbits.measure.running import check_positions, config_value, device_of, dtype_of, evaluating, takes

TOKENS = 8  # read to see what a token takes


def cache_bytes(model: nn.Module, *, batch: int, context: int) -> int:
    """Bytes of the keys and values of `batch` sequences of `context` tokens, in the model's own type.

    Told from the cache that the model makes of 8 tokens. Sliding windows are counted as though they were the whole context.
    Raises FewbitsError for a context that the model has no positions for, and for a model that keeps no cache.
    """
    check_positions(model, context, "--context")
    if not takes(model, "past_key_values"):
        raise FewbitsError(f"{type(model).__name__} keeps no KV cache: --batch and --context are for language models")
    ids = torch.zeros(1, min(TOKENS, config_value(model, "max_position_embeddings") or TOKENS), dtype=torch.int64)
    with evaluating(model):
        cache = model(ids.to(device_of(model)), use_cache=True).past_key_values
    held = sum(t.numel() for t in _tensors(cache))
    if not held:
        raise FewbitsError(f"{type(model).__name__}: what its cache holds cannot be told: {type(cache).__name__}")
    return held * torch.empty((), dtype=dtype_of(model)).element_size() * batch * context // ids.shape[1]


def _tensors(cache: Any) -> list[torch.Tensor]:
    """Keys and values of every layer of a cache of transformers."""
    layers = getattr(cache, "layers", None) or []
    values = [getattr(layer, name, None) for layer in layers for name in ("keys", "values")]
    return [value for value in values if isinstance(value, torch.Tensor)]
