"""How well predictions and measurements agree."""

from collections.abc import Sequence

import numpy as np


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation; ties share their mean rank. 0 where one side does not vary, or with fewer than 2 values."""
    if len(a) < 2:
        return 0.0
    left, right = _ranks(a), _ranks(b)
    spread = left.std() * right.std()
    return 0.0 if spread == 0 else float(((left - left.mean()) * (right - right.mean())).mean() / spread)


def _ranks(values: Sequence[float]) -> "np.ndarray":
    _, where, counts = np.unique(np.asarray(values, dtype=float), return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    return ((ends - counts + ends - 1) / 2)[where]
