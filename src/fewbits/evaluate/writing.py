"""Text from a model by its name, as it comes, and how fast it came."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from fewbits import models
from fewbits.apply import plan_of, quantize
from fewbits.errors import FewbitsError
from fewbits.evaluate.row import Row
from fewbits.measure.digest import hash_tokens
from fewbits.measure.result import Measure
from fewbits.measure.running import check_positions, dtype_name, synchronize
from fewbits.models import Loaded
from fewbits.models.options import arithmetic_dtype
from fewbits.runtime import cpu
from fewbits.runtime.decode import is_fused
from fewbits.runtime.generate import stream, texts
from fewbits.runtime.prompts import token_ids
from fewbits.storage.light import Begun


@dataclass(frozen=True, kw_only=True)
class Writing:
    """How to write: `scheme` quantizes the model first; `dtype` None is float32 on the CPU and as stored elsewhere."""

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    scheme: str | None = None
    device: str = "cpu"
    dtype: str | None = None
    trust_remote_code: bool = False


def write(name: str, prompt: str, settings: Writing, tell: Callable[[str], None], begun: Begun | None = None) -> Row:
    """Continue a prompt, giving each piece of text to `tell` as soon as it is whole. The row has the speeds and the text.

    `begun`: the model's folder where it can be loaded for writing alone. Raises FewbitsError for a model that does not write, an
    empty prompt, and more tokens than the model has positions.
    """
    loaded = (begun and _light(begun, prompt, settings)) or _load(name, settings)
    ids = token_ids(prompt, loaded.tokenizer, torch.device("cpu"))[0][0]
    check_positions(loaded.model, ids.numel() + settings.max_new_tokens, "prompt and new tokens")
    if cpu.running():
        cpu.prepare(loaded.model)
    pieces = stream(
        loaded.model,
        ids,
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        seed=settings.seed,
        burst=16,
    )
    clock = _Clock(device=torch.device(settings.device))
    told = []
    for text in texts(clock.watch(pieces), loaded.tokenizer):
        told.append(text)
        tell(text)
    measures = _measures(clock, ids, loaded, settings)
    extra = {"prompt": prompt, "text": "".join(told), "new_tokens": sum(clock.counts)}
    return Row(model=name, plan=plan_of(loaded.model), measures=measures, extra=extra)


def _light(begun: Begun, prompt: str, settings: Writing) -> Loaded | None:
    """The model for writing alone; None where the fused step does not take it."""
    loaded = begun.load()
    if loaded is None:
        return None
    length = token_ids(prompt, loaded.tokenizer, torch.device("cpu"))[0].shape[1] + settings.max_new_tokens
    return loaded if is_fused(loaded.model, length) else None


def _load(name: str, settings: Writing) -> Loaded:
    loaded = models.load(name, device=settings.device, trust_remote_code=settings.trust_remote_code)
    if loaded.task != "causal-lm" or loaded.tokenizer is None:
        what = f"is for {loaded.task}" if loaded.task != "causal-lm" else "has no tokenizer"
        raise FewbitsError(f"{name}: {what}: text is written by a causal language model with its tokenizer")
    if settings.scheme is not None:
        quantize(loaded.model, settings.scheme)
    dtype = arithmetic_dtype(settings.dtype, settings.device)
    if dtype is not None:
        loaded.model.to(dtype)
    return loaded


@dataclass(kw_only=True)
class _Clock:
    """When each piece of tokens came, in seconds from the start, and how many were in it."""

    device: torch.device
    times: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def watch(self, pieces: Iterator[Any]) -> Iterator[Int[Tensor, "1 _"]]:
        passed = 0.0  # what is done with a piece (printing) does not count
        while True:
            start = time.perf_counter()
            piece = next(pieces, None)
            if piece is None:
                return
            synchronize(self.device)
            passed += time.perf_counter() - start
            self.times.append(passed)
            self.counts.append(piece.numel())
            yield piece.reshape(1, -1)


def _measures(clock: _Clock, ids: Tensor, loaded: Loaded, settings: Writing) -> dict[str, Measure]:
    """Reading the prompt ends with the first piece; there is no speed of writing where no other came."""
    new, whole, first = sum(clock.counts), clock.times[-1], clock.times[0]
    how = "greedy" if settings.temperature == 0 else f"temperature {settings.temperature}"
    where = f"{torch.get_num_threads()} threads" if settings.device == "cpu" else settings.device
    protocol = f"prompt {ids.numel()}, new {new}, batch 1, {how}, KV cache, one run, {where}, {dtype_name(loaded.model)}"
    data = hash_tokens(ids)

    def made(name: str, value: float, unit: str) -> Measure:
        return Measure(name=name, value=value, unit=unit, n=1, protocol=protocol, data=data)

    found = {
        "generate_time": made("generate_time", whole, "s"),
        "prefill_speed": made("prefill_speed", ids.numel() / first, "tokens/s"),
    }
    if len(clock.times) > 1:
        found["decode_speed"] = made("decode_speed", (new - clock.counts[0]) / (whole - first), "tokens/s")
    return found
