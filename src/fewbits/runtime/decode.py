"""Decoders: given a prompt, they make tokens, a burst at a time. The fastest that can take the model is used.

fused: one kernel for whole steps (step.py): one sequence, a recognised model on an NVIDIA GPU of Hopper's generation or later
cpu:   a step of few operators (cpu/decoder.py): one sequence, a recognised model in float32
graph: the model's own step, recorded once as a CUDA graph over a static cache: any batch and any model on a GPU
plain: the model's own step, called again and again
"""

import inspect
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from fewbits.runtime.sampling import Sampling

BURST = 16  # steps of a launch of the fused kernel; whoever streams sees tokens in bursts of these
_ENGINE = "_fewbits_step_engine"


@runtime_checkable
class Decoder(Protocol):
    """Yields the next tokens of all sequences, `[batch, steps]`, until `count` have been made."""

    def tokens(self, ids: Int[Tensor, "batch n"], mask: Tensor | None, count: int) -> Iterator[Int[Tensor, "batch steps"]]: ...


class PlainDecoder:
    """The model's own forward with its own cache."""

    def __init__(self, model: Any, sampling: Sampling) -> None:
        self.model, self.sampling = model, sampling

    def tokens(self, ids: Int[Tensor, "batch n"], mask: Tensor | None, count: int) -> Iterator[Int[Tensor, "batch steps"]]:
        """One step at a time."""
        generator = torch.Generator(ids.device).manual_seed(self.sampling.seed)
        options: dict[str, Any] = {"past_key_values": None, "use_cache": True}
        if "logits_to_keep" in inspect.signature(self.model.forward).parameters:
            options["logits_to_keep"] = 1  # the vocabulary's products for the last token of the prompt alone
        inputs = ids
        for _ in range(count):
            if mask is not None:
                positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -inputs.shape[1] :]
                options |= {"attention_mask": mask, "position_ids": positions}
                mask = torch.cat([mask, mask.new_ones(mask.shape[0], 1)], dim=1)
            with torch.inference_mode():
                out = self.model(input_ids=inputs, **options)
            options["past_key_values"] = out.past_key_values
            inputs = self.sampling.choose(out.logits[:, -1], generator)[:, None]
            yield inputs


class GraphDecoder:
    """The model's own forward over a static cache; the step for one more token is a CUDA graph."""

    def __init__(self, model: Any, sampling: Sampling) -> None:
        self.model, self.sampling = model, sampling

    def tokens(self, ids: Int[Tensor, "batch n"], mask: Tensor | None, count: int) -> Iterator[Int[Tensor, "batch steps"]]:
        """One step at a time."""
        from transformers import StaticCache

        n = ids.shape[1]
        generator = torch.Generator(ids.device).manual_seed(self.sampling.seed)
        real = torch.ones_like(ids) if mask is None else mask
        cache = StaticCache(config=self.model.config, max_cache_len=n + count)
        with torch.inference_mode():
            positions = (real.cumsum(-1) - 1).clamp(min=0)
            hidden = _causal(real, n + count, self.model.dtype)
            logits = self._forward(ids, hidden, positions, cache)
            token = self.sampling.choose(logits[:, -1], generator)[:, None]
            yield token
            step = _Recorded(self._forward, cache, token, hidden[:, :, -1:].clone(), positions[:, -1:] + 1, n)
            for at in range(n, n + count - 1):
                token = self.sampling.choose(step.run(token, at)[:, -1], generator)[:, None]
                yield token

    def _forward(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> Tensor:
        return self.model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1
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


def _causal(real: Int[Tensor, "batch n"], length: int, dtype: torch.dtype) -> Tensor:
    """What is added to the scores of a prompt over a cache of some length: 0 where a token may look, else the least number."""
    batch, n = real.shape
    may = torch.zeros(batch, 1, n, length, dtype=torch.bool, device=real.device)
    may[..., :n] = torch.ones(n, n, dtype=torch.bool, device=real.device).tril() & real[:, None, None, :].bool()
    may[..., range(n), range(n)] = True  # a padding token looks at itself: a row of nothing would be NaN
    return torch.zeros(may.shape, dtype=dtype, device=real.device).masked_fill_(~may, torch.finfo(dtype).min)


class FusedDecoder:
    """The prompt is read by few operators (prompt.py); then whole steps are one kernel."""

    def __init__(self, model: Any, engine: Any, sampling: Sampling, burst: int) -> None:
        self.model, self.engine, self.sampling, self.burst = model, engine, sampling, burst

    def tokens(self, ids: Int[Tensor, "batch n"], mask: Tensor | None, count: int) -> Iterator[Int[Tensor, "batch steps"]]:
        """As many steps a launch as are left, `burst` at most."""
        generator = torch.Generator(ids.device).manual_seed(self.sampling.seed)
        with torch.inference_mode():
            token = self.sampling.choose(self.engine.read(ids), generator)[:, None]
        yield token
        at, end = ids.shape[1], ids.shape[1] + count - 1
        self.engine.tokens[at] = token[0, 0]
        while at < end:
            steps = 1 if self.sampling.cuts else min(self.burst, end - at)
            self.engine.decode(
                at, steps, temperature=self.sampling.temperature, seed=self.sampling.seed, logits=self.sampling.cuts
            )
            if self.sampling.cuts:
                self.engine.tokens[at + 1] = self.sampling.choose(self.engine.logits[None], generator)[0]
            yield self.engine.tokens[at + 1 : at + 1 + steps][None].long()
            at += steps


def decoder_for(model: Any, batch: int, length: int, sampling: Sampling, *, burst: int = BURST) -> Decoder:
    """The fastest decoder for sequences of up to `length` tokens."""
    device = next(model.parameters()).device.type
    if device == "cpu" and batch == 1:
        from fewbits.runtime.cpu.decoder import decoder

        known = decoder(model, sampling, length)
        if known is not None:
            return known
    if device != "cuda":
        return PlainDecoder(model, sampling)
    if batch == 1:
        engine = _engine(model, length)
        if engine is not None:
            return FusedDecoder(model, engine, sampling, burst)
    from fewbits.runtime.prepare import prepare_model

    prepare_model(model)
    return GraphDecoder(model, sampling)


def why_not_fused(model: Any) -> str | None:
    """Why the fused step cannot take a model, in words; None if it can."""
    from fewbits.runtime.step import StepEngine
    from fewbits.runtime.structure import UnknownStructure, recognise

    try:
        StepEngine(recognise(model), max_len=64)
    except UnknownStructure as reason:
        return str(reason)
    return None


def is_fused(model: Any, length: int) -> bool:
    """Whether the fused step writes with this model, one sequence of up to `length` tokens."""
    return _engine(model, length) is not None


def _engine(model: Any, length: int) -> Any:
    """The model's step engine, made when first needed or when a longer cache is."""
    from fewbits.runtime.step import StepEngine
    from fewbits.runtime.structure import UnknownStructure, recognise, window_of

    window = window_of(model.config)
    if window is not None and length > window:
        return None
    known = model.__dict__.get(_ENGINE)
    if known is not None and known.max_len >= length and known.dtype == model.dtype and known.device == model.device:
        return known
    try:
        engine = StepEngine(recognise(model), max_len=-(-length // 256) * 256)
    except UnknownStructure:  # not an error: the graph takes the model as it is, and why_not_fused tells the reason
        return None
    model.__dict__[_ENGINE] = engine
    return engine
