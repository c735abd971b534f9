"""Time: of one forward, of reading a prompt, of generating text. Every run is timed by itself; the median is the value.

Accelerators are waited for before each look at the clock. The first runs only warm up: allocators, caches and compilers.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, TypeVar

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from fewbits.errors import FewbitsError
from fewbits.measure.digest import hash_tokens
from fewbits.measure.result import Measure
from fewbits.measure.running import check_positions, device_of, dtype_name, evaluating, placed, plainly, synchronize
from fewbits.measure.statistics import median_se, spread
from fewbits.runtime.cache import cache_argument
from fewbits.runtime.session import Session

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How often a thing is done: `repeats` timed runs after `warmup` others."""

    repeats: int = 5
    warmup: int = 1

    def __post_init__(self) -> None:
        if self.repeats < 1 or self.warmup < 0:
            raise FewbitsError(f"at least 1 repeat and 0 warm-up runs, not {self.repeats} and {self.warmup}")


@dataclass(frozen=True, kw_only=True)
class Generation:
    """Three measures of the same runs: seconds in all; tokens/s of reading the prompt; tokens/s of writing what follows."""

    generate_time: Measure
    prefill_speed: Measure
    decode_speed: Measure


@dataclass(frozen=True, kw_only=True)
class Run:
    """One generation: its tokens and seconds until the first of them, and for the rest."""

    tokens: Int[Tensor, "b new"]
    prefill: float
    decode: float


Writer = Callable[[nn.Module, Tensor, int], Run]  # a model, a prompt `[b, t]`, the number of new tokens


def latency(model: nn.Module, inputs: Shaped[Tensor, "b ..."], timing: Timing | None = None) -> Measure:
    """Seconds of one forward of a batch (images, or token ids), which is on the model's device before the clock starts.

    Parts: `min`, `max`, `mean`, `runs` in seconds, and `per_second`, items of the batch by the median.
    """
    return latencies([model], [inputs], timing)[0]


def latencies(
    models: Sequence[nn.Module], inputs: Sequence[Shaped[Tensor, "_ ..."]], timing: Timing | None = None
) -> list[Measure]:
    """`latency` of several models, in turn within every repeat, so that a slow moment of the machine meets all of them."""
    timing = timing or Timing()
    pairs = [(model, placed(model, each)) for model, each in zip(models, inputs, strict=True)]
    with evaluating(*models):
        works = [partial(_took, partial(model, each, **plainly(model)), device_of(model)) for model, each in pairs]
        runs = _in_turn(works, timing)
    hows = [_how(model, timing, len(models)) for model in models]
    return [_latency(each, taken, how) for (_, each), taken, how in zip(pairs, runs, hows, strict=True)]


def _took(work: Callable[[], object], device: torch.device) -> float:
    """The seconds alone: what came out is let go, so that no run finds less memory than the one before."""
    return seconds(work, device)[1]


def _latency(inputs: Tensor, runs: list[float], how: str) -> Measure:
    what = f"one forward, batch {len(inputs)} of {'x'.join(str(n) for n in inputs.shape[1:])}"
    return _timed("latency", "s", runs, f"{what}, {how}", {"per_second": len(inputs) / median(runs)})


def _in_turn(works: Sequence[Callable[[], T]], timing: Timing) -> list[list[T]]:
    """What each work gave in its timed runs: one round after the other, all works in each."""
    rounds = [[work() for work in works] for _ in range(timing.warmup + timing.repeats)][timing.warmup :]
    return [list(column) for column in zip(*rounds, strict=True)]


def generation(
    model: nn.Module, prompt: Int[Tensor, "b t"], *, new_tokens: int = 64, timing: Timing | None = None
) -> Generation:
    """Time to write `new_tokens` (2 or more) after a prompt, greedily, with a KV cache; an <eos> does not end it.

    Reading the prompt (prefill) ends with the first new token; the others are decoding, one forward each.
    Raises FewbitsError for a model that keeps no cache, and for more tokens than it has positions.
    """
    return generations([model], [prompt], new_tokens=new_tokens, timing=timing)[0]


def generations(
    models: Sequence[nn.Module],
    prompts: Sequence[Int[Tensor, "_ _"]],
    *,
    new_tokens: int = 64,
    timing: Timing | None = None,
    write: Writer | None = None,
) -> list[Generation]:
    """`generation` of several models, in turn within every repeat. `write`: what does and times it, in place of `generate`."""
    timing = timing or Timing()
    if new_tokens < 2:
        raise FewbitsError(f"generating is timed from 2 new tokens on, not {new_tokens}: the first comes of reading the prompt")
    for model, prompt in zip(models, prompts, strict=True):
        check_positions(model, prompt.shape[1] + new_tokens, "prompt and new tokens")
        _check_cache(cache_argument(model) is not None, model)
    with evaluating(*models):
        works = [partial(write or generate, model, prompt, new_tokens) for model, prompt in zip(models, prompts, strict=True)]
        runs = _in_turn(works, timing)
    hows = [_how(model, timing, len(models)) for model in models]
    return [_generation(*each, new_tokens) for each in zip(prompts, runs, hows, strict=True)]


def why_not_timed(model: nn.Module, prompt: Int[Tensor, "b t"], new_tokens: int) -> str | None:
    """Why generating cannot be timed with a model: it keeps no cache, or its steps fail. None if it can."""
    if cache_argument(model) is None:
        return f"{type(model).__name__} keeps no KV cache"
    check_positions(model, prompt.shape[1] + new_tokens, "prompt and new tokens")
    try:
        with evaluating(model):
            generate(model, prompt[:, :2], 2)
    except FewbitsError as error:
        return str(error)
    return None


def _generation(prompt: Tensor, runs: list[Run], how: str, new_tokens: int) -> Generation:
    batch, length = prompt.shape
    how = f"prompt {length}, new {new_tokens}, batch {batch}, greedy, KV cache, {how}"
    data = hash_tokens(prompt.reshape(-1))
    decoded = batch * (new_tokens - 1)
    return Generation(
        generate_time=_timed("generate_time", "s", [r.prefill + r.decode for r in runs], how, {}, data),
        prefill_speed=_timed("prefill_speed", "tokens/s", [batch * length / r.prefill for r in runs], how, {}, data),
        decode_speed=_timed("decode_speed", "tokens/s", [decoded / r.decode for r in runs], how, {}, data),
    )


def generate(model: nn.Module, prompt: Int[Tensor, "b t"], new_tokens: int) -> Run:
    """Time the model's own greedy steps. The tokens equal transformers' `generate(do_sample=False)`; an <eos> ends nothing."""
    device = device_of(model)
    session = Session(model, prompt.to(device), None, new_tokens)

    def decode_rest() -> Tensor:
        token = first
        tokens = [token]
        for _ in range(new_tokens - 1):
            token = session.step(token).argmax(dim=-1)
            tokens.append(token)
        return torch.stack(tokens, dim=1)

    first, prefill = seconds(lambda: session.prefill().argmax(dim=-1), device)
    _check_cache(session.cache is not None, model)
    tokens, decode = seconds(decode_rest, device)
    return Run(tokens=tokens, prefill=prefill, decode=decode)


def seconds(work: Callable[[], T], device: torch.device | str = "cpu") -> tuple[T, float]:
    """Do the work and tell how long it took, until an accelerator is done with it."""
    device = torch.device(device)
    synchronize(device)
    start = time.perf_counter()
    result = work()
    synchronize(device)
    return result, time.perf_counter() - start


def quantize_time(work: Callable[[], T], device: torch.device | str = "cpu") -> tuple[T, Measure]:
    """Do the quantizing, once, and tell its seconds; reading and saving the model are not part of it."""
    result, took = seconds(work, device)
    where = f"one run, {torch.get_num_threads()} threads, {torch.device(device).type}"
    return result, Measure(name="quantize_time", value=took, unit="s", n=1, protocol=where)


def _check_cache(there: bool, model: nn.Module) -> None:
    if not there:
        raise FewbitsError(f"{type(model).__name__} keeps no KV cache: its decode speed cannot be measured")


def _how(model: nn.Module, timing: Timing, models: int) -> str:
    """What both kinds of timing say of how they were done; models in turn take each other's place in the caches."""
    device = device_of(model)
    where = f"{torch.get_num_threads()} threads" if device.type == "cpu" else device.type
    turns = f", {models} models in turn" if models > 1 else ""
    return f"median of {timing.repeats} runs after {timing.warmup}{turns}, {where}, {dtype_name(model)}"


def _timed(name: str, unit: str, runs: list[float], protocol: str, more: dict[str, Any], data: str | None = None) -> Measure:
    return Measure(
        name=name,
        value=median(runs),
        unit=unit,
        se=median_se(runs),
        n=len(runs),
        protocol=protocol,
        data=data,
        parts={**spread(runs), **more},
    )
