"""From the losses of layers to plans: the hull of bytes against predicted loss, and the exact best plan under limits.

The loss of a plan is the sum of its layers' losses. On the lower convex hull of each layer's options, taking steps in the
order of loss saved a byte gives every plan on the hull of the whole (Everett 1963, Operations Research 11, 399-417). Between
two of them, and under side constraints, a mixed-integer program finds the best (HiGHS, by scipy).
"""

import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Table = Sequence[Sequence[float]]  # by unit and option
TIME_LIMIT = 10.0  # seconds for a mixed-integer program; it then gives the best plan that it has


@dataclass(frozen=True, kw_only=True)
class Point:
    """A plan on the hull: its cost (bytes), predicted loss, and the option of each unit."""

    cost: float
    loss: float
    choice: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """The plans of the hull, from the smallest to the one of least loss."""

    points: tuple[Point, ...]

    def within(self, cost: float) -> Point | None:
        """The best plan on the hull that costs no more."""
        fitting = [p for p in self.points if p.cost <= cost]
        return fitting[-1] if fitting else None


def frontier(loss: Table, cost: Table, *, fixed: float = 0.0) -> Frontier:
    """Every plan on the hull; n units of k options take n k log k."""
    hulls = [_hull(losses, costs) for losses, costs in zip(loss, cost, strict=True)]
    choice = [hull[0] for hull in hulls]
    steps = []
    for u, hull in enumerate(hulls):
        for a, b in itertools.pairwise(hull):
            steps.append(((loss[u][a] - loss[u][b]) / (cost[u][b] - cost[u][a]), u, b))
    total = fixed + sum(cost[u][c] for u, c in enumerate(choice))
    lost = sum(loss[u][c] for u, c in enumerate(choice))
    points = [Point(cost=total, loss=lost, choice=tuple(choice))]
    for _, u, b in sorted(steps, key=lambda s: -s[0]):
        total += cost[u][b] - cost[u][choice[u]]
        lost += loss[u][b] - loss[u][choice[u]]
        choice[u] = b
        points.append(Point(cost=total, loss=lost, choice=tuple(choice)))
    return Frontier(points=tuple(points))


def _hull(losses: Sequence[float], costs: Sequence[float]) -> list[int]:
    """Indices of the lower convex hull, by cost, where loss falls."""
    hull: list[int] = []
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], losses[i])):
        if hull and losses[i] >= losses[hull[-1]]:
            continue
        while len(hull) > 1 and _above(hull[-2], hull[-1], i, losses, costs):
            hull.pop()
        hull.append(i)
    return hull


def _above(a: int, b: int, c: int, losses: Sequence[float], costs: Sequence[float]) -> bool:
    """Whether b lies on or above the line from a to c."""
    return (losses[a] - losses[b]) * (costs[c] - costs[a]) <= (losses[a] - losses[c]) * (costs[b] - costs[a])


@dataclass(frozen=True, kw_only=True)
class Side:
    """A linear limit: the costs of the chosen options sum to at most `most`."""

    cost: Table
    most: float


def solve(objective: Table, sides: Sequence[Side], *, gap: float = 1e-4) -> tuple[int, ...] | None:
    """The choice that makes the objective least under all limits, to `gap` of it; None where there is none.

    Exact: mixed-integer programming over one binary variable a unit and option.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    sizes = [len(row) for row in objective]
    n = sum(sizes)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    one_each = csr_array((np.ones(n), (owner, np.arange(n))), shape=(len(sizes), n))
    one_each.indices, one_each.indptr = one_each.indices.astype(np.int32), one_each.indptr.astype(np.int32)  # for scipy < 1.15
    limits = [LinearConstraint(one_each, 1, 1)]  # type: ignore[arg-type]
    for side in sides:
        flat = np.concatenate([np.asarray(row, dtype=float) for row in side.cost])
        unit = max(np.abs(flat).max(), 1e-300)
        limits.append(LinearConstraint(flat[None] / unit, -np.inf, side.most / unit * (1 + 1e-12)))
    goal = np.concatenate([np.asarray(row, dtype=float) for row in objective])
    scale = max(float(np.abs(goal).max()), 1e-300)
    with _hushed():
        found = milp(
            goal / scale * n,
            constraints=limits,
            integrality=np.ones(n),
            bounds=Bounds(0, 1),
            options={"mip_rel_gap": gap, "time_limit": TIME_LIMIT},
        )
    if found.x is None:
        return None
    starts = np.cumsum([0, *sizes])
    choice = tuple(int(found.x[a:b].argmax()) for a, b in itertools.pairwise(starts))
    fits = all(sum(row[c] for row, c in zip(side.cost, choice, strict=True)) <= side.most * (1 + 1e-9) for side in sides)
    return choice if fits else None


@contextmanager
def _hushed() -> Iterator[None]:
    """HiGHS leaves a line of its own debugging on standard output now and then (scipy 1.17); nothing of it is for the reader."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
