"""Decoders: given a prompt, they make tokens, a burst at a time. The fastest that can take the model is used.

fused: one kernel for whole steps (step.py): one sequence, a recognised model on an NVIDIA GPU of Hopper's generation or later
cpu:   a step of few operators (cpu/decoder.py): one sequence, a recognised model in float32
graph: the model's own step, recorded once as a CUDA graph over a static cache (graph.py): any batch on a GPU, full attention
plain: the model's own step, one call a token (session.py): any model
"""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from fewbits.errors import FewbitsError
from fewbits.runtime.graph import GraphDecoder, suits_graph
from fewbits.runtime.padding import prefilled
from fewbits.runtime.processors import has_processors
from fewbits.runtime.sampling import Sampling
from fewbits.runtime.vocabulary import check_ids

LONGEST = 1 << 17  # tokens of the longest sequence whose cache is allocated beforehand; longer ones have a growing one
BURST = 16  # steps of a launch of the fused kernel; whoever streams sees tokens in bursts of these


@runtime_checkable
class Decoder(Protocol):
    """Yields the next tokens of all sequences, `[batch, steps]`, until `count` have been made."""

    def tokens(self, ids: Int[Tensor, "batch n"], mask: Tensor | None, count: int) -> Iterator[Int[Tensor, "batch steps"]]: ...


class PlainDecoder:
    """The model's own forward with its own cache (session.py)."""

    def __init__(self, model: Any, sampling: Sampling) -> None:
        self.model, self.sampling = model, sampling

    def tokens(self, ids: Int[Tensor, "batch n"], mask: Tensor | None, count: int) -> Iterator[Int[Tensor, "batch steps"]]:
        """One step at a time."""
        generator = torch.Generator(ids.device).manual_seed(self.sampling.seed)
        session, logits = prefilled(self.model, ids, mask, count)
        refuse_nan(self.model, logits)
        for at in range(count):
            token = self.sampling.choose(logits, generator)
            yield token[:, None]
            if at + 1 < count:
                logits = session.step(token)


def refuse_nan(model: Any, logits: Tensor) -> None:
    """Raise FewbitsError for a model that gives NaN: the token with the largest logit would be any."""
    if bool(logits.isnan().any()):
        raise FewbitsError(f"{type(model).__name__}: the logits after the prompt are NaN: check its weights and dtype")


class FusedDecoder:
    """The prompt is read by few operators (prompt.py); then whole steps are one kernel."""

    def __init__(self, model: Any, engine: Any, sampling: Sampling, burst: int) -> None:
        self.model, self.engine, self.sampling, self.burst = model, engine, sampling, burst

    def tokens(self, ids: Int[Tensor, "batch n"], mask: Tensor | None, count: int) -> Iterator[Int[Tensor, "batch steps"]]:
        """As many steps a launch as are left, `burst` at most. Raises FewbitsError for tokens that the model does not have."""
        check_ids(ids, self.model)
        generator = torch.Generator(ids.device).manual_seed(self.sampling.seed)
        with torch.inference_mode():
            logits = self.engine.read(ids)
        refuse_nan(self.model, logits)
        token = self.sampling.choose(logits, generator)[:, None]
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
    if length > LONGEST or has_processors(model):
        return PlainDecoder(model, sampling)
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
    return GraphDecoder(model, sampling) if suits_graph(model) else PlainDecoder(model, sampling)


def why_not_fused(model: Any) -> str | None:
    """Why the fused steps cannot take a model, in words; None if a GPU's can.

    A model on the CPU that the CPU's step cannot take has that reason; else it lacks a GPU.
    """
    from fewbits.runtime import fused
    from fewbits.runtime.cpu.decoder import why_not
    from fewbits.runtime.structure import UnknownStructure

    if next(model.parameters()).device.type == "cpu" and (reason := why_not(model)) is not None:
        return reason
    try:
        fused.engine_for(model, 1)
    except UnknownStructure as reason:
        return str(reason)
    return None


def is_fused(model: Any, length: int) -> bool:
    """Whether the fused step of the GPU decodes one sequence of up to `length` tokens of this model."""
    return _engine(model, length) is not None


def _engine(model: Any, length: int) -> Any:
    """The model's engine on the GPU; None where the model's own step must be used, and `why_not_fused` gives the reason."""
    from fewbits.runtime import fused
    from fewbits.runtime.structure import UnknownStructure

    try:
        return fused.engine_for(model, length)
    except UnknownStructure:
        return None
