from math import sqrt

import pytest

from fewbits.search.agreement import rank_correlation
from tests import tiny
from tests.search.tiny import images, search, spiky, text


def test_both_kinds_agree_on_what_is_sensitive() -> None:
    one = search(spiky(tiny.llama()), text(samples=32), measure=True, samples=32)
    found = one.sensitivities
    assert found.measured is not None
    pairs = [(u, c) for u, unit in enumerate(one.space.units) for c in range(len(unit.options) - 1)]
    truth = [found.measured[u][c] for u, c in pairs]
    assert rank_correlation([found.estimate[u][c] for u, c in pairs], truth) > 0.9
    assert found.estimate[3][0] == pytest.approx(sqrt(found.cheap[3][0] * found.diagonal[3][0]))


def test_the_hull_goes_from_the_smallest_plan_to_the_finest() -> None:
    one = search(tiny.vit(), images())
    points = one.sensitivities.frontier().points
    least = one.space.fixed + sum(min(o.nbytes for o in unit.options) for unit in one.space.units)
    assert points[0].cost == least and points[-1].choice == one.space.kept() and points[-1].loss == pytest.approx(0, abs=1e-12)
