import itertools

from fewbits.search.frontier import Side
from fewbits.search.pick import added, best_within, ladder

LOSS = [[8.0, 4.0, 1.0, 0.0], [6.0, 3.0, 1.0, 0.0]]
COST = [[1.0, 2.0, 3.0, 8.0], [1.0, 2.0, 4.0, 8.0]]
TIME = [[4.0, 3.0, 2.0, 1.0], [4.0, 3.0, 2.0, 1.0]]  # the finer, the faster


def test_without_sides_the_ladder_is_the_hull() -> None:
    rungs = ladder(LOSS, COST, [])
    assert rungs[0] == (0, 0) and rungs[-1] == (3, 3)
    assert all(added(COST, a) < added(COST, b) and added(LOSS, a) > added(LOSS, b) for a, b in itertools.pairwise(rungs))


def test_with_sides_every_rung_keeps_them() -> None:
    rungs = ladder(LOSS, COST, [Side(cost=TIME, most=5.0)])
    assert rungs and all(added(TIME, rung) <= 5 for rung in rungs)
    costs = [added(COST, rung) for rung in rungs]
    assert costs == sorted(costs) and rungs[-1] == (3, 3)


def test_nothing_fits() -> None:
    assert ladder(LOSS, COST, [Side(cost=TIME, most=1.0)]) == []
    assert best_within(LOSS, [Side(cost=COST, most=1.0)]) is None
