"""How weights lie: moments, histogram, channels that stand out."""

import torch
from jaxtyping import Float
from torch import Tensor

from fewbits.inspect.values import Channel, Counts, WeightsView
from fewbits.tensor import matrix_shape

BINS = 80
OUTLIER = 3.0  # times the median channel's largest weight
LISTED = 6  # channels


def weights_view(weight: Float[Tensor, "..."]) -> WeightsView:
    """Look at a weight whose first axis is the outputs."""
    shape = tuple(weight.shape)
    matrix = weight.detach().reshape(matrix_shape(shape)).float()
    low, high = (float(end) for end in matrix.aminmax())
    std, mean = (float(v) for v in torch.std_mean(matrix.double(), correction=0))
    size = matrix.abs()
    inputs, input_count = outliers(size.amax(0))
    outputs, output_count = outliers(size.amax(1))
    return WeightsView(
        shape=shape,
        params=weight.numel(),
        dtype=str(weight.dtype).removeprefix("torch."),
        mean=mean,
        std=std,
        low=low,
        high=high,
        kurtosis=_kurtosis(matrix, mean, std),
        reach=max(abs(low - mean), abs(high - mean)) / std if std else 0.0,
        counts=histogram(matrix),
        inputs=inputs,
        outputs=outputs,
        input_count=input_count,
        output_count=output_count,
    )


def histogram(values: Float[Tensor, "..."], bins: int = BINS) -> Counts:
    """Counts in equal bins between the ends."""
    low, high = (float(end) for end in values.aminmax())
    if low == high:
        return Counts(low=low, high=high, counts=(values.numel(),))
    counts = torch.histc(values.float(), bins, low, high).long()
    return Counts(low=low, high=high, counts=tuple(counts.tolist()))


def outliers(largest: Float[Tensor, " channels"]) -> tuple[tuple[Channel, ...], int]:
    """The channels that stand out, the farthest first, and how many there are."""
    middle = float(largest.median())
    if middle <= 0:
        return (), 0
    times = largest / middle
    count = int((times >= OUTLIER).sum())
    order = times.argsort(descending=True)[: min(count, LISTED)].tolist()
    return tuple(Channel(index=i, largest=float(largest[i]), times=float(times[i])) for i in order), count


def _kurtosis(matrix: Tensor, mean: float, std: float) -> float:
    if not std:
        return 0.0
    return float(((matrix - mean) / std).double().pow(4).mean())
