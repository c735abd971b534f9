"""Every plan that a search can choose: units of layers with their options, and the bytes of each. Plain data, without torch.

A unit is what takes one scheme: a layer, layers that share one weight, or layers that the user wants alike (fused ones).
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fewbits.plan import Plan, Rule
from fewbits.scheme import KEEP, Scheme


@dataclass(frozen=True, kw_only=True)
class Option:
    """What can be done to a unit: a scheme, or None to keep it; `nbytes` is what the unit then stores.

    `candidate` is the scheme that the user named, which differs from `scheme` where its groups do not divide the layer.
    """

    scheme: Scheme | None
    nbytes: int
    candidate: str

    def __str__(self) -> str:
        return str(self.scheme or KEEP)


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Layers that take one scheme. `layers` own their weights, `tied` read those of one of them."""

    name: str
    layers: tuple[str, ...]
    tied: tuple[str, ...]
    params: int
    options: tuple[Option, ...]

    def option_of(self, candidate: str) -> int:
        """The index of what this candidate comes to here; what is kept if it has no form that fits."""
        found = [i for i, option in enumerate(self.options) if candidate in option.candidate.split()]
        return found[0] if found else len(self.options) - 1


@dataclass(frozen=True, kw_only=True)
class Space:
    """Every plan that can be chosen: the units with their options, and `fixed` bytes of all that is not searched.

    `candidates` are in the order given; `rules` decide layers that are not searched, as the user wants them.
    """

    units: tuple[Unit, ...]
    fixed: int
    candidates: tuple[str, ...]
    rules: tuple[Rule, ...]
    total_params: int

    def nbytes(self, choice: Sequence[int]) -> int:
        """Bytes of the whole model under a choice."""
        return self.fixed + sum(unit.options[c].nbytes for unit, c in zip(self.units, choice, strict=True))

    def bits(self, choice: Sequence[int]) -> float:
        """Bits a weight of the searched layers, scales and zero points included."""
        return 8 * (self.nbytes(choice) - self.fixed) / self.params

    @property
    def params(self) -> int:
        return sum(unit.params for unit in self.units)

    def uniform(self, candidate: str) -> tuple[int, ...]:
        """The choice that gives every unit this candidate."""
        return tuple(unit.option_of(candidate) for unit in self.units)

    def kept(self) -> tuple[int, ...]:
        """The choice that changes nothing."""
        return tuple(len(unit.options) - 1 for unit in self.units)

    def counts(self, choice: Sequence[int]) -> list[tuple[str, int, int]]:
        """The schemes of a plan, with how many layers and weights take each, the most weights first."""
        layers: Counter[str] = Counter()
        weights: Counter[str] = Counter()
        for unit, c in zip(self.units, choice, strict=True):
            layers[str(unit.options[c])] += len(unit.layers)
            weights[str(unit.options[c])] += unit.params
        return [(scheme, layers[scheme], count) for scheme, count in weights.most_common()]

    def plan(self, choice: Sequence[int]) -> Plan:
        """The choice as a plan that `quantize` takes."""
        rules = [
            Rule(match=_literal(name), scheme=unit.options[c].scheme)
            for unit, c in zip(self.units, choice, strict=True)
            for name in (*unit.layers, *unit.tied)
        ]
        return Plan(rules=(*self.rules, *rules), on_misfit="error")


def _literal(name: str) -> str:
    """A pattern that matches this very name."""
    return name if not set(name) & set("*?[") else f"re:{re.escape(name)}"
