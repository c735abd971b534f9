"""What each layer shape costs in each scheme on this machine, and what a whole step then takes; and what plans are measured at.

Layers are timed with their weights out of the cache (`doctor.layers`); the rest of a step is what the original takes beside
its layers. A plan that is measured corrects it.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from fewbits import machine
from fewbits.apply import quantize
from fewbits.doctor.layers import FLOAT, time_layer
from fewbits.doctor.predict import plain_plan, plain_scheme
from fewbits.doctor.sample import twin
from fewbits.errors import FewbitsError
from fewbits.layers import replacement_for
from fewbits.measure.result import Measure
from fewbits.measure.running import ask, config_value, evaluating
from fewbits.measure.speed import Timing, generations, latencies
from fewbits.progress import track
from fewbits.runtime.cache import cache_argument
from fewbits.scheme import Scheme
from fewbits.search.costs import Clock
from fewbits.search.store import Store
from fewbits.search.trial import Trial

PROMPT, NEW = 32, 24  # tokens of a timed generation
TIMING = Timing(repeats=9, warmup=2)
RUNS = 7  # of one layer that is no linear layer
Shape = tuple[str, tuple[int, ...], int]


class Stopwatch:
    """Times one model's layers and plans. `images` are inputs for `latency`; `batch` sequences or images go in at a time."""

    def __init__(self, trial: Trial, store: Store, *, batch: int = 1, images: Tensor | None = None) -> None:
        self.trial, self.store, self.batch, self.images = trial, store, batch, images
        self._own = f"{machine.cpu_name()} {torch.get_num_threads()} threads"

    def clock(self, measure: str) -> Clock:
        """The table of a measure. Raises FewbitsError where the model cannot be timed so."""
        self._check(measure)
        self.trial.apply(self.trial.space.kept())
        return Clock(**self.store.get(self._key(measure), lambda: self._timed(measure)))

    def known(self, measure: str) -> Clock | None:
        """The table, where the layers were timed before."""
        found = self.store.known(self._key(measure))
        return None if found is None else Clock(**found)

    def _key(self, measure: str) -> str:
        return f"clock {measure} {self._own} {self._names()}"

    def measure(self, measure: str, choice: Sequence[int]) -> Measure:
        """A plan in quantized layers on this machine's kernels, the original in turn with it."""
        return self._measures(measure, choice)[1]

    def _timed(self, measure: str) -> dict[str, Any]:
        original = self._measures(measure, None)[0]
        seconds = self.batch / original.value if measure == "decode_speed" else float(original.value)
        inputs = self._inputs(measure)
        times = self._layer_times(inputs)
        table = []
        for unit in self.trial.space.units:
            row = []
            for option in unit.options:
                format = FLOAT if option.scheme is None else str(plain_scheme(option.scheme).format)
                row.append(sum(times[name, format] for name in unit.layers))
            table.append(row)
        protocol = f"{original.protocol}; layers timed one by one, their weights out of the cache"
        rest = seconds - sum(row[-1] for row in table)
        return asdict(Clock(table=table, rest=rest, items=self.batch, original=seconds, protocol=protocol))

    def _check(self, measure: str) -> None:
        if measure == "decode_speed" and cache_argument(self.trial.model) is None:
            raise FewbitsError(f"decode_speed: {type(self.trial.model).__name__} writes no text; limit latency instead")
        if measure == "latency" and self.images is None:
            raise FewbitsError("latency: needs data that are tensors, to run the model on")

    def _inputs(self, measure: str) -> dict[str, Tensor | int]:
        """What each layer gets in a step: an input, or for a linear layer its rows."""
        seen: dict[str, Tensor | int] = {}
        names = [name for unit in self.trial.space.units for name in unit.layers]
        if measure == "decode_speed":
            return dict.fromkeys(names, self.batch)

        def hook(name: str) -> Any:
            def note(_: nn.Module, args: tuple[Tensor, ...]) -> None:
                seen.setdefault(name, args[0].detach())

            return note

        hooks = [self.trial.layer(name).register_forward_pre_hook(hook(name)) for name in names]
        try:
            with evaluating(self.trial.model):
                ask(self.trial.model, self._batch_of_images())
        finally:
            for each in hooks:
                each.remove()
        return {
            n: x.numel() // x.shape[-1] if isinstance(x, Tensor) and _is_linear(self.trial.layer(n)) else x
            for n, x in seen.items()
        }

    def _layer_times(self, inputs: dict[str, Tensor | int]) -> dict[tuple[str, str], float]:
        """Seconds by layer and format; layers of one shape are timed once."""
        formats: dict[Shape, dict[str, None]] = {}
        members: dict[Shape, list[str]] = {}
        for unit in self.trial.space.units:
            for name in unit.layers:
                shape = self._shape(name, inputs.get(name, 0))
                members.setdefault(shape, []).append(name)
                for option in unit.options[:-1]:
                    if option.scheme is not None:
                        formats.setdefault(shape, {})[str(plain_scheme(option.scheme).format)] = None
        found: dict[tuple[str, str], float] = {}
        for shape, names in track(members.items(), "timing layers", unit="shape"):
            x = inputs.get(names[0], 0)
            times = self._time(names[0], x, list(formats.get(shape, {})))
            found |= {(name, format): seconds for name in names for format, seconds in times.items()}
        return found

    def _shape(self, name: str, x: Tensor | int) -> Shape:
        layer = self.trial.layer(name)
        size = tuple(layer.get_parameter("weight").shape)
        key = repr(layer) if not _is_linear(layer) else type(layer).__name__
        return f"{key} {tuple(x.shape) if isinstance(x, Tensor) else ''}", size, x if isinstance(x, int) else 0

    def _time(self, name: str, x: Tensor | int, formats: list[str]) -> dict[str, float]:
        layer = self.trial.layer(name)
        if isinstance(x, int):
            kind = replacement_for(layer)
            rows, cols = (layer.get_parameter("weight") if kind is None else kind.matrix_of(layer)).shape
            if not x:  # never run: it takes no time
                return dict.fromkeys([FLOAT, *formats], 0.0)
            return {t.format: t.seconds for t in time_layer(rows, cols, formats, [x])}
        return _time_plainly(layer, x, formats)

    def _measures(self, measure: str, choice: Sequence[int] | None) -> list[Measure]:
        """Of the original, and of a plan in turn with it."""
        self.trial.apply(self.trial.space.kept())
        original = self.trial.model
        sides: list[nn.Module] = [original]
        if choice is not None:
            sides.append(quantize(twin(original), plain_plan(self.trial.space.plan(choice))))
        if measure == "latency":
            return latencies(sides, [self._batch_of_images()] * len(sides), TIMING)
        room = config_value(original, "max_position_embeddings") or PROMPT + NEW
        vocabulary = config_value(original, "vocab_size") or 2
        length = max(1, min(PROMPT, room - NEW))
        prompt = torch.randint(vocabulary, (self.batch, length), generator=torch.Generator().manual_seed(0))
        new = min(NEW, room - length)
        return [g.decode_speed for g in generations(sides, [prompt] * len(sides), new_tokens=new, timing=TIMING)]

    def _batch_of_images(self) -> Tensor:
        if self.images is None:
            raise FewbitsError("latency: needs data that are tensors, to run the model on")
        return self.images[: self.batch]

    def _names(self) -> str:
        return f"batch {self.batch} " + " ".join(f"{u.name}:{','.join(map(str, u.options))}" for u in self.trial.space.units)


def _is_linear(layer: nn.Module) -> bool:
    kind = replacement_for(layer)
    return kind is not None and kind.takes_a8


def _time_plainly(layer: nn.Module, x: Tensor, formats: Sequence[str]) -> dict[str, float]:
    """Median seconds of a layer on an input, as it is and in some formats, in turn."""
    kind = replacement_for(layer)
    sides: dict[str, nn.Module] = {FLOAT: layer}
    if kind is not None:
        sides |= {format: kind.from_float(layer, Scheme.parse(format)) for format in formats}
    runs: dict[str, list[float]] = {name: [] for name in sides}
    with torch.inference_mode():
        for _ in range(RUNS):
            for name, side in sides.items():
                start = time.perf_counter()
                side(x)
                runs[name].append(time.perf_counter() - start)
    return {name: median(taken) for name, taken in runs.items()}
