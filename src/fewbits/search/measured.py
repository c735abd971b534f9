"""Measured losses: under whole plans, and of one layer changed at a time, from the block that it stands in on."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from fewbits.progress import track
from fewbits.search.objective import Objective
from fewbits.search.prefix import Prefix
from fewbits.search.store import Store
from fewbits.search.trial import Trial

Flip = tuple[int, int]  # a unit and an option for it


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The mean loss a row and its standard error; windows of a text, or images, count as the samples."""

    mean: float
    se: float


class Bench:
    """Measures what plans lose on the data that is chosen by, each plan once."""

    def __init__(self, trial: Trial, objective: Objective, store: Store) -> None:
        self.trial, self.objective, self.store = trial, objective, store
        self._prefix = Prefix(trial.model)
        self._recorded: tuple[int, ...] | None = None
        self._ready = False

    def loss(self, choice: Sequence[int]) -> float:
        """The mean loss a row under a plan."""
        return self.measure(choice).mean

    def measure(self, choice: Sequence[int]) -> Loss:
        """The same with its standard error."""

        def measure() -> list[float]:
            self._prepare()
            self.trial.apply(choice)
            return self._summed(self.trial.loss(self.objective))

        mean, se = self.store.get(self._key(choice), measure)
        return Loss(mean=mean, se=se)

    def flips(self, base: Sequence[int], flips: Iterable[Flip], label: str = "measuring") -> dict[Flip, float]:
        """The mean loss under a plan in which one unit takes another option, for each of the flips."""
        found = {}
        for unit, option in track(list(flips), label, unit="layer"):
            changed = (*base[:unit], option, *base[unit + 1 :])
            made = self.store.get(self._key(changed), lambda u=unit, c=changed: self._changed(tuple(base), u, c))
            found[unit, option] = made[0]
        return found

    def _prepare(self) -> None:
        """Take down what the original answers: not before a loss is wanted that is not stored."""
        if not self._ready:
            self.trial.apply(self.trial.space.kept())
            self.objective.remember(self.trial.model)
            self._ready = True

    def _changed(self, base: tuple[int, ...], unit: int, changed: Sequence[int]) -> list[float]:
        self._prepare()
        if self._recorded != base:
            self.trial.apply(base)
            self._prefix.record(self.trial.model, [self._run(i) for i in range(len(self.objective.batches))])
            self._recorded = base
        self.trial.apply(changed)
        layers = [self.trial.layer(name) for name in self.trial.space.units[unit].layers]
        start = min(self._prefix.start_of(layer) for layer in layers)
        value = self._summed(self.trial.loss(self.objective, self._prefix, start))
        self.trial.apply(base)
        return value

    def _summed(self, rows: Float[Tensor, " n"]) -> list[float]:
        """Mean and standard error, from the means of clusters of equal size."""
        means = rows.double().view(-1, self.objective.cluster).mean(dim=1)
        se = means.std().item() / sqrt(len(means)) if len(means) > 1 else 0.0
        return [means.mean().item(), se]

    def _run(self, at: int) -> Callable[[], None]:
        def run() -> None:
            with torch.no_grad():
                self.objective.loss(self.trial.model, at)

        return run

    def _key(self, choice: Sequence[int]) -> str:
        named = " ".join(f"{u.name}={u.options[c]}" for u, c in zip(self.trial.space.units, choice, strict=True))
        return f"loss {self.objective.digest} {named}"
