"""Sensitivities: what every layer loses in every scheme, estimated from gradients and measured one layer at a time."""

from dataclasses import dataclass
from math import sqrt

from fewbits.search.fisher import fisher_scores
from fewbits.search.frontier import Frontier, Table, frontier
from fewbits.search.measured import Bench
from fewbits.search.objective import Objective
from fewbits.search.space import Space

LEAST = 1e-12  # a loss below it is none: float32 cannot tell


@dataclass(frozen=True, kw_only=True)
class Sensitivities:
    """Loss a row by unit and option (ragged; the last option keeps the layer and loses nothing).

    `cheap` is the Fisher information along the error, `diagonal` that of its diagonal alone, `measured` None where it was
    not asked for.
    """

    space: Space
    cheap: Table
    diagonal: Table
    measured: Table | None = None

    @property
    def loss(self) -> Table:
        """What plans are sought by: measured where it was asked for, else the geometric mean of both estimates.

        The one along the error knows correlations but has the noise of few samples, the diagonal neither.
        """
        return self.estimate if self.measured is None else self.measured

    @property
    def estimate(self) -> Table:
        """The geometric mean of both estimates."""
        return [[sqrt(a * d) for a, d in zip(*rows, strict=True)] for rows in zip(self.cheap, self.diagonal, strict=True)]

    def frontier(self) -> Frontier:
        """All plans of the hull of bytes against predicted loss."""
        return frontier(self.loss, costs(self.space), fixed=float(self.space.fixed))


def sensitivities(bench: Bench, gradients: Objective, *, samples: int, measure: bool = True) -> Sensitivities:
    """Estimate, and with `measure` also measure, every option of every unit."""
    space = bench.trial.space
    scores = fisher_scores(bench.trial, gradients, bench.store, most=samples)
    measured = None
    if measure:
        flips = [(u, c) for u, unit in enumerate(space.units) for c in range(len(unit.options) - 1)]
        found = bench.flips(space.kept(), flips, "one layer at a time")
        measured = [
            [max(found.get((u, c), 0.0), LEAST if (u, c) in found else 0.0) for c in range(len(unit.options))]
            for u, unit in enumerate(space.units)
        ]
    return Sensitivities(space=space, cheap=scores.along, diagonal=scores.diagonal, measured=measured)


def costs(space: Space) -> Table:
    """Bytes by unit and option."""
    return [[float(option.nbytes) for option in unit.options] for unit in space.units]
