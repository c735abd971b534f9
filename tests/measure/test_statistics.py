from math import sqrt

import pytest
import torch

from fewbits.measure.statistics import clustered_mean, mean_of, median_se, percentile, share_se, spread, wilson


def test_mean_of_independent_values() -> None:
    mean = mean_of(torch.tensor([1.0, 2.0, 4.0, 9.0]))
    assert mean.value == 4.0
    assert mean.se == pytest.approx(sqrt((9 + 4 + 0 + 25) / 3 / 4))
    assert mean_of(torch.tensor([3.0])).se is None


def test_clusters_of_one_size_are_the_samples() -> None:
    values = torch.tensor([1.0, 3.0, 5.0, 7.0, 3.0, 3.0])
    mean = clustered_mean(values, torch.tensor([4, 4, 0, 0, 2, 2]))
    same = mean_of(torch.tensor([2.0, 6.0, 3.0]))
    assert (mean.value, mean.se) == (pytest.approx(same.value), pytest.approx(same.se))


def test_clusters_of_unequal_size_by_hand() -> None:
    mean = clustered_mean(torch.tensor([1.0, 2.0, 3.0, 6.0]), torch.tensor([0, 0, 0, 1]))
    assert mean.value == 3.0  # sums 6 and 6, counts 3 and 1: deviations 6 - 9 and 6 - 3
    assert mean.se == pytest.approx(sqrt(2 / 1 * (9 + 9)) / 4)
    assert clustered_mean(torch.tensor([1.0, 2.0]), torch.tensor([5, 5])).se is None


def test_each_value_its_own_cluster() -> None:
    values = torch.rand(50)
    alone, plain = clustered_mean(values, torch.arange(50)), mean_of(values)
    assert (alone.value, alone.se) == (pytest.approx(plain.value), pytest.approx(plain.se))


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_as_published(hits: int, n: int, low: float, high: float) -> None:
    assert wilson(hits, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson(n - hits, n) == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_share_se() -> None:
    assert share_se(25, 100) == pytest.approx(sqrt(0.25 * 0.75 / 100))


def test_percentiles() -> None:
    values = torch.arange(1.0, 201.0).flip(0)
    assert [percentile(values, p) for p in (50, 99, 100)] == [100.0, 198.0, 200.0]
    assert percentile(torch.tensor([7.0]), 1) == 7.0


def test_spread_of_runs() -> None:
    assert spread([3.0, 1.0, 2.0]) == {"min": 1.0, "max": 3.0, "mean": 2.0, "runs": [3.0, 1.0, 2.0]}
    assert median_se([3.0, 1.0, 2.0]) == pytest.approx(1.2533 / sqrt(3))
    assert median_se([3.0]) is None
