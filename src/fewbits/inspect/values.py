"""What is told of a layer. Plain numbers, ready for JSON."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Counts:
    """A histogram in equal bins from `low` to `high`, both included."""

    low: float
    high: float
    counts: tuple[int, ...]

    @property
    def edges(self) -> tuple[float, ...]:
        step = (self.high - self.low) / max(1, len(self.counts))
        return tuple(self.low + step * at for at in range(len(self.counts) + 1))


@dataclass(frozen=True, kw_only=True)
class Channel:
    """An input or output whose largest weight stands out: `times` that of the median channel."""

    index: int
    largest: float
    times: float


@dataclass(frozen=True, kw_only=True)
class WeightsView:
    """How the weights lie. `kurtosis` is 3 for a normal distribution; `reach` the largest weight in standard deviations.

    `inputs` and `outputs` are the channels whose largest weight is at least `OUTLIER` times that of the median channel, the
    farthest first, `input_count` and `output_count` how many there are.
    """

    shape: tuple[int, ...]
    params: int
    dtype: str
    mean: float
    std: float
    low: float
    high: float
    kurtosis: float
    reach: float
    counts: Counts
    inputs: tuple[Channel, ...]
    outputs: tuple[Channel, ...]
    input_count: int
    output_count: int


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """A weight, what it becomes, and the error; in steps of its group's grid too. `clipped`: it lies beyond the grid."""

    row: int
    col: int
    weight: float
    becomes: float
    error: float
    steps: float
    clipped: bool


@dataclass(frozen=True, kw_only=True)
class ErrorView:
    """How far the stored weights are from the original's.

    `relative` is ||W - W'|| / ||W||, `sqnr` the same in decibels (-20 log10), `rms` and `worst` in units of the weights,
    `clipped` the share of weights beyond the ends of their group's grid by more than half a step.
    """

    relative: float
    sqnr: float
    rms: float
    worst: float
    clipped: float
    counts: Counts
    wrong: tuple[Wrong, ...]


@dataclass(frozen=True, kw_only=True)
class GroupBits:
    """The first weights of a group down to their bits.

    `at` are their places (row, column), `bits_at` where each code begins in the stream of all codes; `packed` are the bytes
    that hold these codes, from byte `first_byte` on; `scale_bytes` and `zero_bytes` as they are stored, lowest first, empty
    where they are not stored as one number (`/q8`, packed zero points, symmetric formats).
    """

    why: str
    at: tuple[tuple[int, int], ...]
    size: int
    scale: float
    zero: float | None
    weights: tuple[float, ...]
    codes: tuple[int, ...]
    values: tuple[float, ...]
    bits_at: tuple[int, ...]
    first_byte: int
    packed: bytes
    scale_bytes: bytes
    zero_bytes: bytes


@dataclass(frozen=True, kw_only=True)
class StoredView:
    """What is stored: bytes by tensor, the grid of a group of middling scale, how often each code is used.

    `entropy` is that of the codes in bits: how few a perfect compressor would need.
    """

    scheme: str
    bits: int
    nbytes: int
    bits_per_weight: float
    tensors: dict[str, int]
    groups: int
    group_size: int
    grid: tuple[float, ...]
    scales: tuple[float, float, float]
    used: tuple[int, ...]
    entropy: float
    shown: tuple[GroupBits, ...]


@dataclass(frozen=True, kw_only=True)
class LayerView:
    """One layer. `stored` is None without a scheme; `weights` are the original's, or what is stored where that is not to be had
    (then there is no `error`, and a note).
    """

    model: str
    name: str
    kind: str
    weights: WeightsView
    stored: StoredView | None = None
    error: ErrorView | None = None
    notes: tuple[str, ...] = ()
