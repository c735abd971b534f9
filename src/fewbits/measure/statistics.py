"""Means with their standard errors, and intervals of shares."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float, Int
from torch import Tensor

Z95 = 1.959963984540054  # the normal distribution's 97.5 % point


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean and its standard error; none where there is but one sample to tell from."""

    value: float
    se: float | None


def mean_of(values: Float[Tensor, " n"]) -> Mean:
    """The mean of independent values; the standard error is the sample's standard deviation over sqrt(n)."""
    n = values.numel()
    values = values.double()
    return Mean(value=values.mean().item(), se=values.std().item() / sqrt(n) if n > 1 else None)


def clustered_mean(values: Float[Tensor, " n"], cluster: Int[Tensor, " n"]) -> Mean:
    """The mean over all values, which are alike within a cluster (a window of text): clusters count as the samples.

    The ratio estimator (Cochran 1977, Sampling Techniques, eq. 6.13): with k clusters of sums s_i and counts n_i,
    m = sum s_i / sum n_i, se = sqrt(k / (k - 1) * sum (s_i - m n_i)^2) / sum n_i. Clusters of one size: std(m_i) / sqrt(k).
    """
    _, index = cluster.unique(return_inverse=True)
    k = int(index.max()) + 1
    sums = torch.zeros(k, dtype=torch.float64).index_add_(0, index, values.double())
    counts = index.bincount().double()
    mean = sums.sum() / counts.sum()
    if k == 1:
        return Mean(value=mean.item(), se=None)
    spread = (sums - mean * counts).square().sum() * k / (k - 1)
    return Mean(value=mean.item(), se=(spread.sqrt() / counts.sum()).item())


def share_se(hits: int, n: int) -> float:
    """The standard error of a share of independent items, sqrt(p (1 - p) / n)."""
    p = hits / n
    return sqrt(p * (1 - p) / n)


def wilson(hits: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a share, 95 % by default (Wilson 1927, J. Am. Stat. Assoc. 22, 209-212)."""
    p = hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def percentile(values: Float[Tensor, " n"], percent: int) -> float:
    """The smallest value that `percent` % of the values do not exceed (torch.quantile refuses more than 2**24 of them)."""
    rank = max(1, -(-values.numel() * percent // 100))
    return values.kthvalue(rank).values.item()


def spread(runs: Sequence[float]) -> dict[str, float | list[float]]:
    """The parts of a repeated measure: its smallest, largest and mean value, and every run in order."""
    return {"min": min(runs), "max": max(runs), "mean": statistics.fmean(runs), "runs": list(runs)}


def median_se(runs: Sequence[float]) -> float | None:
    """The standard error of a median, 1.2533 times that of the mean: exact for many normal runs, a rough guide for few."""
    return 1.2533 * statistics.stdev(runs) / sqrt(len(runs)) if len(runs) > 1 else None
