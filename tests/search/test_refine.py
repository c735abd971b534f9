"""Refining against losses that do not add up: a bench of plain arithmetic in place of a model."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from fewbits.search.frontier import Side
from fewbits.search.measured import Bench
from fewbits.search.pick import added, best_within
from fewbits.search.refine import refine

COST = [[1.0, 2.0, 4.0, 8.0]] * 4
TABLE = [[8.0, 4.0, 2.0, 0.0]] * 4  # as predicted: all layers alike
TRUTH = [[8.0, 4.0, 2.0, 0.0], [40.0, 20.0, 10.0, 0.0], [8.0, 4.0, 2.0, 0.0], [1.6, 0.8, 0.4, 0.0]]


class Arithmetic(Bench):
    """What a bench measures, from the true losses."""

    def __init__(self) -> None:
        """Without a model."""

    def loss(self, choice: Sequence[int]) -> float:
        return added(TRUTH, choice)

    def flips(self, base: Sequence[int], flips: Iterable[tuple[int, int]], label: str = "") -> dict[tuple[int, int], float]:
        return {(u, o): self.loss((*base[:u], o, *base[u + 1 :])) for u, o in flips}


def solve(table: Any) -> tuple[int, ...] | None:
    return best_within(table, [Side(cost=COST, most=14.0)])


def test_corrected_losses_find_the_plan_that_the_predictions_miss() -> None:
    bench = Arithmetic()
    first, best = solve(TABLE), solve(TRUTH)
    assert first is not None and best is not None
    found = refine(bench, TABLE, solve, rounds=3)
    assert found is not None
    assert found.loss < 0.7 * added(TRUTH, first) and found.loss <= 1.1 * added(TRUTH, best)
    assert found.loss == pytest.approx(added(TRUTH, found.choice))


def test_no_rounds_no_looking_around() -> None:
    bench = Arithmetic()
    found = refine(bench, TABLE, solve, rounds=0)
    assert found is not None and found.choice == solve(TABLE) and found.table is TABLE
    assert refine(bench, TABLE, lambda _: None, rounds=2) is None
