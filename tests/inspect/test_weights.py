import pytest
import torch

from fewbits.inspect.weights import histogram, outliers, weights_view


def test_moments_of_a_normal_distribution() -> None:
    seen = weights_view(torch.randn(512, 256, generator=torch.Generator().manual_seed(0)) * 0.1 + 0.02)
    assert seen.params == 512 * 256 and seen.shape == (512, 256) and seen.dtype == "float32"
    assert seen.std == pytest.approx(0.1, rel=0.01) and seen.mean == pytest.approx(0.02, abs=0.001)
    assert seen.kurtosis == pytest.approx(3.0, abs=0.05) and 4 < seen.reach < 6
    assert not seen.input_count and not seen.output_count


def test_kurtosis_of_two_values_is_one() -> None:
    assert weights_view(torch.tensor([[1.0, -1.0], [-1.0, 1.0]])).kurtosis == pytest.approx(1.0)


def test_a_channel_that_stands_out_is_named() -> None:
    weight = torch.ones(8, 16)
    weight[:, 5] *= 9
    weight[:, 7] *= 4
    seen = weights_view(weight)
    assert [(c.index, c.times) for c in seen.inputs] == [(5, 9.0), (7, 4.0)] and seen.input_count == 2
    assert seen.output_count == 0  # each output has the large inputs


def test_a_histogram_counts_all() -> None:
    counts = histogram(torch.tensor([0.0, 0.0, 0.5, 1.0]), bins=2)
    assert (counts.low, counts.high, counts.counts, counts.edges) == (0.0, 1.0, (2, 2), (0.0, 0.5, 1.0))


def test_weights_that_are_all_the_same() -> None:
    seen = weights_view(torch.zeros(4, 4))
    assert (seen.std, seen.kurtosis, seen.reach, seen.counts.counts) == (0.0, 0.0, 0.0, (16,))
    assert outliers(torch.zeros(4)) == ((), 0)
