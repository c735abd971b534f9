import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewbits.search.frontier import Side, frontier, solve

Tables = tuple[list[list[float]], list[list[float]]]


@st.composite
def tables(draw: st.DrawFn) -> Tables:
    """Losses and costs of one to four units of two to four options."""
    sizes = draw(st.lists(st.integers(2, 4), min_size=1, max_size=4))
    number = st.integers(1, 50).map(float)
    return tuple([[draw(number) for _ in range(n)] for n in sizes] for _ in range(2))  # type: ignore[return-value]


def every_plan(loss: list[list[float]], cost: list[list[float]]) -> list[tuple[float, float]]:
    """Cost and loss of all plans."""
    plans = itertools.product(*(range(len(row)) for row in loss))
    return [(sum(r[c] for r, c in zip(cost, p, strict=True)), sum(r[c] for r, c in zip(loss, p, strict=True))) for p in plans]


@given(tables())
def test_no_plan_lies_below_the_hull(both: Tables) -> None:
    loss, cost = both
    points = frontier(loss, cost).points
    for a, b in itertools.pairwise(points):
        assert a.cost < b.cost and a.loss > b.loss
        for c, v in every_plan(loss, cost):
            if a.cost <= c <= b.cost:
                assert v >= a.loss + (b.loss - a.loss) * (c - a.cost) / (b.cost - a.cost) - 1e-9
    assert points[0].cost == min(c for c, _ in every_plan(loss, cost))
    assert points[-1].loss == pytest.approx(min(v for _, v in every_plan(loss, cost)))


@given(tables())
def test_a_point_is_the_sum_of_its_parts(both: Tables) -> None:
    loss, cost = both
    for point in frontier(loss, cost, fixed=7.0).points:
        assert point.cost == pytest.approx(7 + sum(row[c] for row, c in zip(cost, point.choice, strict=True)))
        assert point.loss == pytest.approx(sum(row[c] for row, c in zip(loss, point.choice, strict=True)))


@settings(max_examples=30)
@given(tables(), st.integers(1, 200))
def test_the_exact_plan_is_the_best_of_all(both: Tables, most: int) -> None:
    loss, cost = both
    fitting = [v for c, v in every_plan(loss, cost) if c <= most]
    found = solve(loss, [Side(cost=cost, most=float(most))], gap=0.0)
    if not fitting:
        assert found is None
    else:
        assert found is not None
        assert sum(row[c] for row, c in zip(cost, found, strict=True)) <= most
        assert sum(row[c] for row, c in zip(loss, found, strict=True)) == pytest.approx(min(fitting))


def test_two_limits_at_once() -> None:
    loss = [[4.0, 2.0, 0.0]] * 2
    seconds = [[1.0, 5.0, 2.0]] * 2
    found = solve(loss, [Side(cost=[[1.0, 2.0, 4.0]] * 2, most=5.0), Side(cost=seconds, most=4.0)])
    assert found in ((0, 2), (2, 0))


def test_hundreds_of_layers_take_well_under_a_second() -> None:
    import time

    layers, options = 300, 12
    loss = [[2.0**-o * (1 + u % 7) for o in range(options)] for u in range(layers)]
    cost = [[float((o + 1) * (1 + u % 5)) for o in range(options)] for u in range(layers)]
    start = time.process_time()
    points = frontier(loss, cost).points
    assert len(points) > 1000 and time.process_time() - start < 1.0
