"""Measured losses: under whole plans, and of one layer changed at a time, from the block that it stands in on."""

from collections.abc import Callable, Iterable, Sequence

import torch

from fewbits.progress import track
from fewbits.search.objective import Objective
from fewbits.search.prefix import Prefix
from fewbits.search.store import Store
from fewbits.search.trial import Trial

Flip = tuple[int, int]  # a unit and an option for it


class Bench:
    """Measures what plans lose on the data that is chosen by, each plan once."""

    def __init__(self, trial: Trial, objective: Objective, store: Store) -> None:
        self.trial, self.objective, self.store = trial, objective, store
        self._prefix = Prefix(trial.model)
        self._recorded: tuple[int, ...] | None = None

    def loss(self, choice: Sequence[int]) -> float:
        """The mean loss a row under a plan."""

        def measure() -> float:
            self.trial.apply(choice)
            return self.trial.loss(self.objective).double().mean().item()

        return self.store.get(f"loss {self._key(choice)}", measure)

    def flips(self, base: Sequence[int], flips: Iterable[Flip], label: str = "measuring") -> dict[Flip, float]:
        """The mean loss under a plan in which one unit takes another option, for each of the flips."""
        found = {}
        for unit, option in track(list(flips), label, unit="layer"):
            changed = (*base[:unit], option, *base[unit + 1 :])
            found[unit, option] = self.store.get(
                f"loss {self._key(changed)}", lambda u=unit, c=changed: self._changed(tuple(base), u, c)
            )
        return found

    def _changed(self, base: tuple[int, ...], unit: int, changed: Sequence[int]) -> float:
        if self._recorded != base:
            self.trial.apply(base)
            self._prefix.record(self.trial.model, [self._run(i) for i in range(len(self.objective.batches))])
            self._recorded = base
        self.trial.apply(changed)
        layers = [self.trial.layer(name) for name in self.trial.space.units[unit].layers]
        start = min(self._prefix.start_of(layer) for layer in layers)
        value = self.trial.loss(self.objective, self._prefix, start).double().mean().item()
        self.trial.apply(base)
        return value

    def _run(self, at: int) -> Callable[[], None]:
        def run() -> None:
            with torch.no_grad():
                self.objective.loss(self.trial.model, at)

        return run

    def _key(self, choice: Sequence[int]) -> str:
        units = self.trial.space.units
        return " ".join(f"{u.name}={u.options[c]}" for u, c in zip(units, choice, strict=True))
