import pytest

from fewbits.search.agreement import rank_correlation


def test_by_hand() -> None:
    assert rank_correlation([1.0, 2.0, 3.0], [10.0, 20.0, 30.0]) == pytest.approx(1)
    assert rank_correlation([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == pytest.approx(-1)
    assert rank_correlation([1.0, 2.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0]) == pytest.approx(
        0.9486833
    )  # as scipy.stats.spearmanr has it
    assert rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) == 0 and rank_correlation([1.0], [2.0]) == 0
