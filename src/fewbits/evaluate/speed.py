"""Speeds of the models of a comparison, in turn, and the memory that a run takes."""

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from fewbits.evaluate.entry import Entry
from fewbits.evaluate.settings import GENERATION, Settings
from fewbits.measure.memory import peak_memory
from fewbits.measure.result import Measure
from fewbits.measure.running import ask, config_value, device_of, dtype_of, evaluating
from fewbits.measure.speed import Timing, generations, latencies, why_not_timed


def measure_speed(entries: list[Entry], settings: Settings) -> None:
    """Time models of one task against each other, and add what was measured to each."""
    wanted = set(settings.wanted(entries[0].loaded.task))
    timing = Timing(repeats=settings.repeats)
    models = [entry.model for entry in entries]
    inputs = [_input(entry, settings) for entry in entries]
    if "latency" in wanted:
        for entry, measure in zip(entries, latencies(models, inputs, timing), strict=True):
            entry.measures["latency"] = measure
    if GENERATION & wanted:
        _measure_generation(entries, inputs, settings, timing)
    if "peak_memory" in wanted:
        for entry, one in zip(entries, inputs, strict=True):
            entry.measures["peak_memory"] = _peak(entry, one)


def _measure_generation(entries: list[Entry], inputs: list[Tensor], settings: Settings, timing: Timing) -> None:
    """Generation speeds of the models that can be timed; the others have a note that says why not."""
    wanted = GENERATION & set(settings.wanted(entries[0].loaded.task))
    pairs = []
    for entry, one in zip(entries, inputs, strict=True):
        reason = why_not_timed(entry.model, one, settings.new_tokens)
        if reason is None:
            pairs.append((entry, one))
        else:
            entry.notes.append(f"{entry.loaded.name}: no {', '.join(sorted(wanted))}: {reason}")
    if not pairs:
        return
    timed, prompts = [entry for entry, _ in pairs], [one for _, one in pairs]
    made = generations([entry.model for entry in timed], prompts, new_tokens=settings.new_tokens, timing=timing)
    for entry, generation in zip(timed, made, strict=True):
        entry.measures |= {name: getattr(generation, name) for name in wanted}


def _peak(entry: Entry, one: Tensor) -> Measure:
    with evaluating(entry.model):
        return peak_memory(lambda: ask(entry.model, one.to(device_of(entry.model))), device_of(entry.model))[1]


def _input(entry: Entry, settings: Settings) -> Shaped[Tensor, "1 ..."]:
    """A prompt of random tokens, or an image of noise: a speed does not depend on what is read."""
    rng = torch.Generator().manual_seed(settings.seed)
    if entry.loaded.task == "causal-lm":
        vocabulary = config_value(entry.model, "vocab_size") or 2
        return torch.randint(vocabulary, (1, settings.prompt), generator=rng)
    return torch.randn(1, *_image_shape(entry.model), generator=rng).to(dtype_of(entry.model))


def _image_shape(model: nn.Module) -> tuple[int, int, int]:
    """Channels, height and width, by timm's or transformers' settings."""
    if input_size := getattr(model, "default_cfg", {}).get("input_size"):
        return tuple(input_size)
    side = config_value(model, "image_size") or 224
    return config_value(model, "num_channels") or 3, side, side
