"""Speeds of the models of a comparison, in turn, and the memory that a run takes."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Shaped
from torch import Tensor

from fewbits.data.prepare import preparation_from
from fewbits.errors import FewbitsError
from fewbits.evaluate.entry import Entry
from fewbits.evaluate.settings import GENERATION, Settings
from fewbits.measure.memory import peak_memory
from fewbits.measure.result import Measure
from fewbits.measure.running import ask, config_value, device_of, dtype_of, evaluating, image_channels
from fewbits.measure.speed import Timing, generations, latencies, why_not_timed
from fewbits.models import Loaded

SIDE = 224  # pixels, of a classifier that does not say how large its images are
_PROBE = Timing(repeats=1, warmup=0)

Step = Callable[[Sequence[Entry], Timing], list[dict[str, Measure]]]  # measures of each entry


def measure_speed(entries: Sequence[Entry], settings: Settings, *, keep: bool = False) -> None:
    """Time models of one task in turn, and add what was measured to each.

    Args:
        entries: Models of one task.
        settings: What is measured, and how often.
        keep: Note errors in the entries that caused them, and time the others without them, instead of raising.
    """
    wanted = set(settings.applicable(entries[0].loaded.task))
    for names, step in _steps(settings):
        if names := names & wanted:
            _perform(entries, names, step, Timing(repeats=settings.repeats), keep=keep)


def _steps(settings: Settings) -> list[tuple[frozenset[str], Step]]:
    def inputs(entries: Sequence[Entry]) -> list[Tensor]:
        return [_input(entry.loaded, settings) for entry in entries]

    def latency(entries: Sequence[Entry], timing: Timing) -> list[dict[str, Measure]]:
        return [{"latency": each} for each in latencies([e.model for e in entries], inputs(entries), timing)]

    def writing(entries: Sequence[Entry], timing: Timing) -> list[dict[str, Measure]]:
        prompts = inputs(entries)
        reasons = [
            why_not_timed(entry.model, prompt, settings.new_tokens) for entry, prompt in zip(entries, prompts, strict=True)
        ]
        timed = [at for at, reason in enumerate(reasons) if reason is None]
        found: list[dict[str, Measure]] = [{} for _ in entries]
        if timed:
            models, chosen = [entries[at].model for at in timed], [prompts[at] for at in timed]
            made = generations(models, chosen, new_tokens=settings.new_tokens, timing=timing)
            for at, each in zip(timed, made, strict=True):
                found[at] = {name: getattr(each, name) for name in sorted(GENERATION)}
        for entry, reason in zip(entries, reasons, strict=True):
            if reason is not None:
                _note_untimed(entry, reason, settings)
        return found

    def peak(entries: Sequence[Entry], timing: Timing) -> list[dict[str, Measure]]:
        return [{"peak_memory": _peak(entry, one)} for entry, one in zip(entries, inputs(entries), strict=True)]

    return [(frozenset({"latency"}), latency), (GENERATION, writing), (frozenset({"peak_memory"}), peak)]


def _note_untimed(entry: Entry, reason: str, settings: Settings) -> None:
    """Say why a model's writing is not timed: an error if that was asked for, else a note."""
    names = sorted(GENERATION & set(settings.applicable(entry.loaded.task)))
    note = f"{entry.loaded.name}: no {', '.join(names)}: {reason}"
    if settings.measures:
        entry.fail(names, FewbitsError(reason))
    elif note not in entry.notes:
        entry.notes.append(note)


def _perform(entries: Sequence[Entry], names: frozenset[str], step: Step, timing: Timing, *, keep: bool) -> None:
    try:
        found = step(entries, timing)
    except Exception as error:  # of any type: the models' own code
        if not keep:
            raise
        if len(entries) == 1:
            entries[0].fail(sorted(names), error)
        else:
            _without_failing(entries, names, step, timing)
        return
    for entry, measures in zip(entries, found, strict=True):
        entry.add({name: measure for name, measure in measures.items() if name in names})


def _without_failing(entries: Sequence[Entry], names: frozenset[str], step: Step, timing: Timing) -> None:
    """Run each model once by itself; time those that can be run."""
    good = []
    for entry in entries:
        try:
            step([entry], _PROBE)
            good.append(entry)
        except Exception as error:  # of any type: the models' own code
            entry.fail(sorted(names), error)
    if good and len(good) < len(entries):
        _perform(good, names, step, timing, keep=True)
    elif good:
        error = FewbitsError("the models can be run one by one, but not in turn")
        for entry in good:
            entry.fail(sorted(names), error)


def _peak(entry: Entry, one: Tensor) -> Measure:
    with evaluating(entry.model):
        return peak_memory(lambda: ask(entry.model, one.to(device_of(entry.model))), device_of(entry.model))[1]


def _input(loaded: Loaded, settings: Settings) -> Shaped[Tensor, "1 ..."]:
    """A prompt of random tokens, or an image of noise: a speed does not depend on what is read."""
    rng = torch.Generator().manual_seed(settings.seed)
    if loaded.task == "causal-lm":
        vocabulary = config_value(loaded.model, "vocab_size") or 2
        return torch.randint(vocabulary, (1, settings.prompt), generator=rng)
    return torch.randn(1, *image_shape(loaded), generator=rng).to(dtype_of(loaded.model))


def image_shape(loaded: Loaded) -> tuple[int, int, int]:
    """Channels, height and width of a classifier's images: by its processor, its configuration or timm's settings."""
    channels = image_channels(loaded.model) or 3
    height, width = _processed_size(loaded) or _configured_size(loaded) or (SIDE, SIDE)
    return channels, height, width


def _processed_size(loaded: Loaded) -> tuple[int, int] | None:
    """What the image processor makes, if it is of one size."""
    if loaded.processor is None:
        return None
    try:
        return preparation_from(loaded.processor.settings()).output_size
    except FewbitsError:  # images cannot be prepared here, but noise can be timed
        return None


def _configured_size(loaded: Loaded) -> tuple[int, int] | None:
    if input_size := getattr(loaded.model, "default_cfg", {}).get("input_size"):
        return input_size[1], input_size[2]
    size = getattr(getattr(loaded.model, "config", None), "image_size", None)
    if isinstance(size, int):
        return size, size
    return (int(size[0]), int(size[1])) if isinstance(size, list | tuple) and len(size) == 2 else None
