"""Losses of layers seen from a plan, not from the original: what a layer adds depends on how noisy the others are.

Below three bits losses do not add up. So each layer in turn is set free (or, where it is free, pressed) within the plan that
is being looked at, its loss is scaled to what that changed in truth, and the plan is sought again. The best plan that was
measured is kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fewbits.search.frontier import Table
from fewbits.search.measured import Bench, Flip
from fewbits.search.pick import added

DAMPING = 0.7  # of the corrections, in logarithms: a full step swings between two plans
MOST = 8.0  # a correction of one round lies within 1/8 and 8
Solver = Callable[[Table], tuple[int, ...] | None]


@dataclass(frozen=True, kw_only=True)
class Refined:
    """A plan, its measured loss on the data that is chosen by, and the losses of layers as corrected at it."""

    choice: tuple[int, ...]
    loss: float
    table: Table
    tried: tuple[tuple[tuple[int, ...], float, float], ...]  # plan, predicted, measured


def refine(bench: Bench, table: Table, solve: Solver, *, rounds: int) -> Refined | None:
    """Solve, look around the plan, correct, and solve again, until nothing changes; None where no plan fits."""
    choice = solve(table)
    if choice is None:
        return None
    tried = [(choice, added(table, choice), bench.loss(choice))]
    best, best_table = tried[0], table
    for _ in range(rounds):
        table = corrected(bench, table, choice, tried[-1][2])
        following = solve(table)
        if following is None or following in [t[0] for t in tried]:
            break
        choice = following
        tried.append((choice, added(table, choice), bench.loss(choice)))
        if tried[-1][2] < best[2]:
            best, best_table = tried[-1], table
    return Refined(choice=best[0], loss=best[2], table=best_table, tried=tuple(tried))


def corrected(bench: Bench, table: Table, choice: tuple[int, ...], loss: float) -> list[list[float]]:
    """Every layer's losses, scaled to what one change of that layer does within the plan."""
    flips = [(u, _other(table[u], c)) for u, c in enumerate(choice)]
    measured = bench.flips(choice, flips, "looking around")
    return [[v * _factor(row, choice[u], flips[u], loss, measured) for v in row] for u, row in enumerate(table)]


def _other(row: Sequence[float], c: int) -> int:
    """The option that frees the layer: the first with at most a quarter of the loss; else one that presses it, with four times."""
    order = sorted(range(len(row)), key=lambda i: -row[i])
    freer = [i for i in order if row[i] <= row[c] / 4]
    if freer and row[c] > 0:
        return freer[0]
    worse = [i for i in order if row[i] > 4 * row[c]]
    return worse[-1] if worse else order[0]


def _factor(row: Sequence[float], c: int, flip: Flip, loss: float, measured: dict[Flip, float]) -> float:
    expected, found = row[c] - row[flip[1]], loss - measured[flip]
    if expected == 0:
        return 1.0
    ratio = found / expected
    return min(max(ratio, 1 / MOST), MOST) ** DAMPING
