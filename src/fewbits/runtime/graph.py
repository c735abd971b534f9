"""The model's own step as a CUDA graph over a static cache, for models whose layers all attend to the whole sequence.

The mask of a step is made here, once, so windows, recurrent layers, ALiBi and rotary embeddings that depend on the length are left
to the plain step. Before a model's first use its logits are compared with those of its own protocol.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from fewbits.errors import FewbitsError
from fewbits.runtime.cache import cache_argument, takes
from fewbits.runtime.sampling import Sampling
from fewbits.runtime.session import Session, uses_default_protocol

_AGREES = "_fewbits_graph_agrees"
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}  # of the largest logit; other types: 0.05
_NEEDED = ("attention_mask", "position_ids", "logits_to_keep", "use_cache")


def suits_graph(model: Any) -> bool:
    """Whether the recorded step takes a model: compared once with the model's own step, and remembered."""
    if not (uses_default_protocol(model) and all(takes(model, name) for name in _NEEDED) and _static(model, 8) is not None):
        return False
    known = model.__dict__.get(_AGREES)
    if known is None:
        known = model.__dict__[_AGREES] = _agrees(model)
    return known


def _static(model: Any, length: int) -> Any:
    """A static cache of full attention whose length can be set back; None where the model or the release has no such cache."""
    from transformers import StaticCache

    try:
        cache = StaticCache(config=model.config, max_cache_len=length)
    except Exception:  # a configuration that static caches do not know: not an error, the plain step takes the model
        return None
    layers: list[Any] = cache.layers
    plain = all(type(each).__name__ == "StaticLayer" for each in layers)
    return cache if plain and all(isinstance(getattr(each, "cumulative_length", None), Tensor) for each in layers) else None


def _agrees(model: Any) -> bool:
    """Whether a padded prompt and one step over a static cache have the logits of the model's own protocol."""
    device = next(model.parameters()).device
    ids = torch.tensor([[1, 2, 3, 4], [1, 1, 5, 6]], device=device)
    real = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]], device=device)
    decoder = GraphDecoder(model, Sampling())
    try:
        own = Session(model, ids, real, 2)
        want = [own.prefill()]
        want.append(own.step(ids[:, 0]))
        with torch.inference_mode():
            have = _unrecorded(decoder, ids, real)
    except (FewbitsError, RuntimeError, TypeError, ValueError, IndexError, AttributeError):
        return False  # the plain step says what is wrong, if it is
    share = _TOLERANCE.get(model.dtype, 0.05)
    return all(bool((a - b).abs().amax() <= share * b.abs().amax()) for a, b in zip(have, want, strict=True))


def _unrecorded(decoder: "GraphDecoder", ids: Tensor, real: Tensor) -> list[Tensor]:
    cache, n = _static(decoder.model, 6), ids.shape[1]
    hidden, positions = causal_mask(real, 6, decoder.model.dtype), (real.cumsum(-1) - 1).clamp(min=0)
    first = decoder._forward(ids, hidden, positions, cache)[:, -1]
    hidden = hidden[:, :, -1:].clone()
    hidden[..., n] = 0
    return [first, decoder._forward(ids[:, :1], hidden, positions[:, -1:] + 1, cache)[:, -1]]


class GraphDecoder:
    """The model's own forward over a static cache; the step for one more token is a CUDA graph."""

    def __init__(self, model: Any, sampling: Sampling) -> None:
        self.model, self.sampling, self.cache_name = model, sampling, str(cache_argument(model))

    def tokens(self, ids: Int[Tensor, "batch n"], mask: Tensor | None, count: int) -> Iterator[Int[Tensor, "batch steps"]]:
        """One step at a time."""
        from transformers import StaticCache

        n = ids.shape[1]
        generator = torch.Generator(ids.device).manual_seed(self.sampling.seed)
        real = torch.ones_like(ids) if mask is None else mask
        cache = StaticCache(config=self.model.config, max_cache_len=n + count)
        with torch.inference_mode():
            positions = (real.cumsum(-1) - 1).clamp(min=0)
            hidden = causal_mask(real, n + count, self.model.dtype)
            logits = self._forward(ids, hidden, positions, cache)
            token = self.sampling.choose(logits[:, -1], generator)[:, None]
            yield token
            step = _Recorded(self._forward, cache, token, hidden[:, :, -1:].clone(), positions[:, -1:] + 1, n)
            for at in range(n, n + count - 1):
                token = self.sampling.choose(step.run(token, at)[:, -1], generator)[:, None]
                yield token

    def _forward(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> Tensor:
        return self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
            **{self.cache_name: cache},
        ).logits


class _Recorded:
    """One step as a CUDA graph: its inputs stay where they were recorded, and are written before each run."""

    def __init__(self, forward: Any, cache: Any, token: Tensor, mask: Tensor, positions: Tensor, filled: int) -> None:
        self.token, self.mask, self.positions = token.clone(), mask, positions.clone()
        self.graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # what is set up at first use must not be recorded
            forward(self.token, self.mask, self.positions, cache)
        torch.cuda.current_stream().wait_stream(stream)
        _rewind(cache, filled)
        with torch.cuda.graph(self.graph):
            self.logits = forward(self.token, self.mask, self.positions, cache)
        _rewind(cache, filled)

    def run(self, token: Tensor, at: int) -> Tensor:
        self.token.copy_(token)
        self.mask[..., at] = 0
        self.graph.replay()
        self.positions += 1
        return self.logits


def _rewind(cache: Any, filled: int) -> None:
    for layer in cache.layers:
        layer.cumulative_length.fill_(filled)


def causal_mask(real: Int[Tensor, "batch n"], length: int, dtype: torch.dtype) -> Tensor:
    """What is added to the attention scores of a prompt over a cache of `length`: 0 where a token attends, else the least number."""
    batch, n = real.shape
    may = torch.zeros(batch, 1, n, length, dtype=torch.bool, device=real.device)
    may[..., :n] = torch.ones(n, n, dtype=torch.bool, device=real.device).tril() & real[:, None, None, :].bool()
    may[..., range(n), range(n)] = True  # a padding token looks at itself: a row of nothing would be NaN
    return torch.zeros(may.shape, dtype=dtype, device=real.device).masked_fill_(~may, torch.finfo(dtype).min)
