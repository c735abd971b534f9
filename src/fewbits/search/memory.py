"""Bytes that a language model holds beside its weights: its KV cache at a batch and a context."""

import torch
from torch import nn

from fewbits.errors import FewbitsError
from fewbits.measure.running import check_positions, config_value, device_of, evaluating
from fewbits.runtime.cache import cache_argument, cache_tensors
from fewbits.runtime.session import Session

SHORT, LONG = 8, 16  # tokens of the prompts whose caches are compared


def cache_bytes(model: nn.Module, *, batch: int, context: int) -> int:
    """Bytes of the cache of `batch` sequences of `context` tokens, in the types that the model keeps it in.

    Extrapolated from the caches of two short prompts: keys and values grow with the context, recurrent states do not. Sliding
    windows are counted as the whole context.

    Raises FewbitsError for a context that the model has no positions for, and for a model that keeps no cache.
    """
    check_positions(model, context, "--context")
    if cache_argument(model) is None:
        raise FewbitsError(f"{type(model).__name__} keeps no KV cache: --batch and --context are for language models")
    most = config_value(model, "max_position_embeddings") or LONG
    short, long = max(1, min(SHORT, most // 2)), max(2, min(LONG, most))
    with evaluating(model):
        held, more = _held(model, short), _held(model, long)
    if not more:
        raise FewbitsError(f"{type(model).__name__} keeps no KV cache after a prompt: its memory cannot be computed")
    return batch * (held + (more - held) * (context - short) // (long - short))


def _held(model: nn.Module, length: int) -> int:
    session = Session(model, torch.zeros(1, length, dtype=torch.int64, device=device_of(model)), None, 1)
    session.prefill()
    return sum(tensor.nbytes for tensor in cache_tensors(session.cache))
